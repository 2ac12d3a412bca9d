"""Contact policies of random plans of several days against their meaning."""

import numpy as np
import pytest
from hypothesis import given, settings

from engine import policies, reasons
from engine.actions import actions, actions_of
from engine.assemble import assemble
from engine.candidates import candidates
from engine.spans import all_instants, later_days
from tests import brute_policies as brute
from tests.policy_cases import cases, mapping_of, parsed, profiled, scored, told
from tests.test_policies import check_reasons


def allowed_by(problem, block, s, tried):
    """Return the bundles, of those tried, that a problem allows a row of a block."""
    spread = problem.spread(block)
    open_ = ~np.isnan(spread.propensity[:, s])
    sizes = int(spread.most[s]), int(spread.fewest[s]), spread.cap[:, s]
    return {
        bundle for bundle in tried
        if bundle and all(open_[list(bundle)])
        and problem.rules.allows(bundle, problem.offer, *sizes)
    }  # fmt: skip


def is_too_late(job, bundle):
    """Return whether an offer is soon after one that it is not after, in any time zone."""
    chosen = [actions_of(job)[a] for a in bundle]
    return any(
        one.offer in policy.not_after and other.offer == policy.offer
        and any((one.day, other.day) in later_days(policy, own) for own in all_instants(job))
        for policy in job.policies for one in chosen for other in chosen
    )  # fmt: skip


@settings(max_examples=60)
@given(cases(most=4, days=5))
def test_a_plan_has_the_bundles_that_the_policies_mean(case):
    mapping, people = case
    job, features, history = parsed(mapping), profiled(people), told(mapping, people)
    acts = brute.actions(mapping)
    assert acts == [(a.offer, a.channel, a.day) for a in actions_of(job)]
    left = policies.left(job, features, history)
    part = candidates(job, features, scored(job, features), history)
    placed = assemble(job, [part])
    problem, (block,), (order,) = placed.problem, placed.problem.blocks, placed.order
    closed = reasons.closed(job, features, history)
    place = {a: n for n, a in enumerate(acts)}
    tried = [tuple(place[a] for a in bundle) for bundle in brute.tried(mapping)]
    open_ = np.isfinite(problem.spread(block).propensity)
    assert len(block.propensity) == len(problem.rules.day_class) == len(actions(job.catalogue))
    for row, s in enumerate(order.tolist()):
        person = people[s]
        for policy in mapping["policies"]:
            alone = [brute.blocks(mapping, policy, person, a) for a in acts]
            assert left.forbids(policy["name"], len(acts))[:, s].tolist() == alone
        for d, counted in enumerate(problem.rules.members):
            assert block.cap[d, row] >= 1 or not open_[counted, row].any()
        allowed = brute.bundles(mapping, person)
        meant = {tuple(place[a] for a in bundle) for bundle in allowed if bundle}
        meant = {bundle for bundle in meant if not is_too_late(job, bundle)}
        assert allowed_by(problem, block, row, tried) == meant
        told_of = closed[s], part.reason[s], part.blocked_by[s]
        check_reasons(mapping, person, allowed, told_of)


DAY = 86_400
ROW = {"churned": False, "tenure": 1.0, "agreed": True}
ANY = [(0, 0), (0, 1), (1, 1)]
AS_OF = "2026-05-01T00:00:00+00:00"
LETTERS = {
    "channels": {"sms": {}},
    "offers": {n: {"category": "x", "value": 1, "channels": ["sms"]} for n in ("a", "b", "c")},
}


def pairs_of(mapping, people, s=0):
    """Return which two days may hold an offer each, for one of some people; (d, d): one day."""
    job, features, history = parsed(mapping), profiled(people), told(mapping, people)
    placed = assemble(job, [candidates(job, features, scored(job, features), history)])
    problem, (block,), (order,) = placed.problem, placed.problem.blocks, placed.order
    acts = actions_of(job)
    tried = {(n, m) for n, x in enumerate(acts) for m, y in enumerate(acts) if x.offer < y.offer}
    found = allowed_by(problem, block, order.tolist().index(s), tried)
    return sorted({tuple(sorted((acts[n].day, acts[m].day))) for n, m in found})


@pytest.mark.parametrize(
    ("policy", "past", "expected"),
    [
        # Three days with a contact of the day before: of days 0 and 1 it leaves one.
        ({"at_most": 2, "within": "3d"}, [-1],
         [(0, 2), (0, 3), (1, 2), (1, 3), (2, 2), (2, 3), (3, 3)]),
        # Booked for between days 1 and 2, it is in a window with any two days in a row.
        ({"at_most": 2, "within": "2d"}, [1.5], [(0, 2), (0, 3), (1, 3)]),
        ({"at_most": 2, "within": "2d"}, [], [(0, 0), (0, 1), (0, 2), (0, 3), (1, 1), (1, 2),
                                              (1, 3), (2, 2), (2, 3), (3, 3)]),
        ({"spacing": "2d"}, [], [(0, 2), (0, 3), (1, 3)]),
        ({"spacing": "2d"}, [-1.5], [(1, 3)]),
        ({"at_most": 1, "each": "day"}, [], [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]),
        ({"at_most": 2, "each": "week"}, [-0.5], [(0, 3), (1, 3), (2, 3), (3, 3)]),  # a Friday
        ({"at_most": 2}, [-0.5], [(0, 0), (0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3), (2, 2),
                                  (2, 3), (3, 3)]),
        ({"at_most": 2, "within": "ever"}, [9], []),
        ({"exclusive": ["a", "b", "c"], "within": "3d"}, [], [(0, 3)]),
        ({"quiet": "00:00-01:00"}, [], []),
        ({"blackout": ["2026-05-02", "2026-05-04"]}, [], [(0, 0), (0, 2), (2, 2)]),
    ],
)  # fmt: skip
def test_two_contacts_of_a_plan_by_hand(policy, past, expected):
    """Days 0 to 3 from a Friday on, at midnight; contacts of the past at so many days from it."""
    horizon = {"start": AS_OF, "days": 4}
    mapping = mapping_of([policy], AS_OF, catalogue=LETTERS, horizon=horizon)
    events = [brute.Event(brute.instant(AS_OF) + int(d * DAY), "a", "sms") for d in past]
    assert pairs_of(mapping, [brute.Person("UTC", ROW, events, [])]) == expected


@pytest.mark.parametrize(
    ("policy", "berlin", "utc"),
    [
        ({"spacing": "1d"}, [], [(0, 1)]),
        ({"at_most": 1, "within": "23h"}, [(0, 1)], [(0, 1)]),
        ({"exclusive": ["a", "b", "c"], "within": "1d"}, [], [(0, 1)]),
        ({"exclusive": ["a", "b", "c"], "within": "23h"}, [(0, 1)], [(0, 1)]),
        # Not after one another is kept as where clocks change: apart for everyone.
        ({"offer": "b", "not_after": ["a"], "within": "1d"}, ANY, ANY),
    ],
)
def test_a_day_of_23_hours_is_one_where_clocks_change(policy, berlin, utc):
    """Days 0 and 1 are 23 hours apart in Berlin."""
    start = "2025-03-29T08:00:00+00:00"
    mapping = mapping_of([policy], start, catalogue=LETTERS, horizon={"start": start, "days": 2})
    people = [brute.Person(zone, ROW, [], []) for zone in ("Europe/Berlin", "UTC")]
    assert [pairs_of(mapping, people, s) for s in (0, 1)] == [berlin, utc]
