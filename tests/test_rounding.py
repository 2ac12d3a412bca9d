"""Rounding: whole bundles that keep every limit, near the bound, also when masses tie."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import rounding
from engine.problem import VALUE_UNIT, Row, total_units, value_units
from engine.rounding import joined, open_core, round_bundles, tally_of_bundles
from engine.zoom import zoom
from tests import problems
from tests.problems import MICRO


def zoomed(problem, sample=200):
    return zoom(problem, sample=sample, tolerance=1e-7, tell=lambda step: None, deadline=inf)


def rounded(problem, *, tolerance=1e-4, sample=200):
    found = zoomed(problem, sample)
    return found, round_bundles(problem, found, tolerance=tolerance, deadline=inf)


@pytest.mark.parametrize(("width", "blocks"), [(1, 1), (2, 3), (3, 2)])
def test_whole_bundles_keep_every_limit_and_lose_little(width, blocks):
    problem = problems.realistic(2_500, seed=width, width=width, blocks=blocks)
    found, answer = rounded(problem)
    assert answer.is_feasible
    assert problems.value_of(problem, answer.chosen) == answer.value
    bound = found.bound * VALUE_UNIT
    assert bound * (1 - 1e-4) <= answer.value <= bound * (1 + 1e-12)


@settings(max_examples=40)
@given(problems.small_problems(), st.data())
def test_a_tally_adds_up_to_value_and_use(problem, data):
    chosen = []
    value, use = 0, [0] * len(problem.rows)
    words = iter(problems.in_words(problem))
    for block in problem.blocks:
        bundles = np.full((problem.width, len(block)), -1, np.int16)
        for s in range(len(block)):
            subscriber = next(words)
            options = [b for b in [(), *((a,) for a in subscriber["p"])]
                       if problems.is_allowed(problem, subscriber, b)]  # fmt: skip
            bundle = data.draw(st.sampled_from(options))
            bundles[: len(bundle), s] = bundle
            more, uses = problems.worth(problem, subscriber, bundle)
            value += more
            use = [u + m for u, m in zip(use, uses, strict=True)]
        chosen.append(bundles)
    tally = tally_of_bundles(problem, chosen)
    assert sum(value_units(problem, tally)) == value
    assert total_units(problem, tally) == use


@pytest.mark.parametrize("core", [1, 7, 40, 3_000])
def test_masses_of_ties_are_dealt_by_shares(monkeypatch, core):
    """All subscribers are equal: only the shares tell how many get each offer."""
    monkeypatch.setattr(rounding, "CORE", core)
    problem = problems.realistic(400, seed=1, offers=3, channels=2, width=1, minimums=False)
    block = problem.blocks[0]
    p = np.full_like(block.propensity, 0.25)
    equal = replace(block, propensity=p, weight=np.ones_like(block.weight))
    problem = problem.with_blocks([equal]).with_value(
        np.arange(1, p.shape[0] + 1, dtype=np.int64) * MICRO, np.zeros(p.shape[0], np.int64)
    )
    found, answer = rounded(problem, tolerance=1e-9)
    assert answer.is_feasible
    value = problems.value_of(problem, answer.chosen)
    assert value == answer.value
    # Each class is dealt to within one contact of its shares, at least one unit is left to choose.
    lost = found.bound - value / VALUE_UNIT
    assert -1e-6 <= lost <= p.shape[0] * problem.groups


def test_an_overrun_of_the_dealt_is_never_returned(monkeypatch):
    monkeypatch.setattr(rounding, "CORE", 1)
    problem = problems.realistic(600, seed=2)
    _, answer = rounded(problem, sample=1_000)
    if answer.is_feasible:
        assert problems.value_of(problem, answer.chosen) == answer.value


def test_half_a_contact_is_no_answer():
    """At least and at most half a contact: a share can, a whole contact can't."""
    problem = problems.realistic(300, offers=1, channels=2, minimums=False).with_rows([])
    one = np.full((2, len(problem.offer)), MICRO)
    one[1] *= -1
    problem = replace(
        problem,
        rows=[Row("half", "contacts", is_minimum=False), Row("least", "contacts", is_minimum=True)],
        use_fixed=one,
        use_accept=np.zeros_like(one),
        in_scope=np.ones((2, problem.groups), bool),
        limit=np.array([MICRO // 2, -MICRO // 2]),
    )
    found, answer = rounded(problem)
    assert found.bound > 0 and not answer.is_feasible


def test_the_core_is_in_the_order_of_keys():
    problem = problems.realistic(1_500, seed=3, blocks=3)
    core = open_core(zoomed(problem), widen=0.01)
    assert (np.diff(core.block.key) > 0).all()
    assert all(() in bundles for bundles in core.candidates)
    spread = core.spread(core.first)
    words = {s["key"]: s for s in problems.in_words(problem)}
    for key, bundle in problems.bundles_by_key(problem, spread).items():
        assert problems.is_allowed(problem, words[key], bundle)


def test_joined_blocks_hold_all_rows():
    parts = problems.realistic(50, blocks=3).blocks
    whole = joined(parts)
    assert len(whole) == 50
    assert whole.key.tolist() == [k for part in parts for k in part.key.tolist()]
    assert whole.propensity.flags.c_contiguous
