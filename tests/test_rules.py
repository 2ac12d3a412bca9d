"""The relations between actions, against the same in words."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings

from engine.errors import DataError
from engine.rules import Rules, has_bundle
from kernels import backend
from kernels.choose import MOST_CAPS
from tests import device_stand_in, problems


@settings(max_examples=60)
@given(problems.small_problems())
def test_a_bundle_is_allowed_by_the_words_of_the_rules(problem):
    for block in problem.blocks:
        words = problems.in_words(problem.with_blocks([block]))
        for s, subscriber in enumerate(words):
            terms = problem.offer, int(block.most[s]), int(block.fewest[s]), block.cap[:, s]
            sizes = range(1, len(subscriber["p"]) + 1)
            found = {
                bundle
                for size in sizes
                for bundle in combinations(sorted(subscriber["p"]), size)
                if problem.rules.allows(bundle, *terms)
            }
            assert found == set(problems.bundles_of(problem, subscriber)) - {()}


@pytest.mark.parametrize("side", ["host", "stand-in"])
@settings(max_examples=40)
@given(problem=problems.small_problems())
def test_who_has_any_bundle(problem, side):
    with pytest.MonkeyPatch.context() as patch:
        if side == "stand-in":
            device_stand_in.install(patch)
        library = np if side == "host" else backend.cupy
        for block in problem.blocks:
            if not len(block):
                continue
            arrays = [~np.isnan(block.propensity), block.most, block.fewest, block.cap]
            open_, *sizes = (library.asarray(np.ascontiguousarray(a)) for a in arrays)
            found = has_bundle(problem.rules, problem.offer, open_, tuple(sizes), library)
            words = problems.in_words(problem.with_blocks([block]))
            expected = [set(problems.bundles_of(problem, one)) != {()} for one in words]
            assert backend.to_cpu(found).tolist() == expected


def test_more_caps_than_the_search_holds_are_refused():
    members = np.ones((MOST_CAPS + 1, 2), bool)
    with pytest.raises(DataError, match=f"{MOST_CAPS + 1} caps on groups of actions; at most"):
        Rules(members, np.zeros(len(members), bool), np.arange(2, dtype=np.int32))
