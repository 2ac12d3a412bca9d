"""The policy that forbids an action beside a bundle, against what each policy says in words."""

from itertools import combinations

import pytest

from engine.actions import actions
from engine.history import History
from engine.reasons import beside
from tests.certified import history, job_of, people

POLICIES = {
    "exclusive": ({"exclusive": ["a", "b"]}, lambda got: not {"a", "b"} <= got),
    "requires": ({"offer": "b", "requires": ["a"]}, lambda got: "b" not in got or "a" in got),
    "group": (
        {"at_most": 1, "per": "offers", "only": ["a", "b"]},
        lambda got: len(got & {"a", "b"}) <= 1,
    ),
    "exactly": ({"exactly": 1}, lambda got: len(got) == 1),
    "at_least": ({"at_least": 2}, lambda got: len(got) in {0, 2}),
}


@pytest.mark.parametrize("kind", POLICIES)
def test_the_policy_that_forbids_an_action_beside_a_bundle_is_named(kind):
    setting, allows = POLICIES[kind]
    job = job_of(policies=[{"name": "two", "at_most": 2}, {"name": "rule", **setting}])
    acts = actions(job.catalogue)
    for size in range(3):
        for bundle in combinations(range(len(acts)), size):
            offers = [acts[a].offer for a in bundle]
            if len(set(offers)) < size:
                continue
            told = beside(job, (people(1), History(history())), bundle)
            for a, action in enumerate(acts):
                others = [acts[b].offer for b in bundle if b != a]
                if action.offer in others:
                    assert "another channel" in told[a]
                else:
                    assert ("rule" in told[a]) == (not allows({*others, action.offer}))
