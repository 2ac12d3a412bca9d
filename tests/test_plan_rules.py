"""The caps of a plan of several days, and what is not planned together, by hand."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from engine.actions import actions_of
from engine.limit_problems import problems
from engine.limits import limits
from engine.plan_rules import capped, day_class, rules
from engine.settings import load, parse

OFFERS = {
    "a": {"category": "x", "value": 1, "channels": ["sms", "app"]},
    "b": {"category": "x", "value": 1, "channels": ["sms"]},
    "c": {"category": "y", "value": 1, "channels": ["app"]},
}


def job(*policies, days=14, start="2026-10-01", offers=OFFERS, zone=None):
    return parse(yaml.safe_dump({
        "name": "tiny", "as_of": start, "horizon": {"days": days},
        "inputs": {"folder": "in", "subscribers": {"path": "s.csv", "time_zone": zone},
                   "contacts": {"path": "c.csv", "categories": ["offer", "channel"]},
                   "outcomes": {"path": "o.csv", "categories": ["offer", "channel"]}},
        "scores": {"kind": "formula", "formulas": {next(iter(offers)): "0.5"}},
        "catalogue": {"currency": "EUR", "channels": {"sms": {}, "app": {}}, "offers": offers},
        "policies": [{"name": f"p{i}", **policy} for i, policy in enumerate(policies)],
    }, sort_keys=False), "tiny.yaml")  # fmt: skip


def runs(own):
    """Return the first and last day of each cap, in their order."""
    acts = actions_of(own)
    days = [[acts[a].day for a in group.actions] for group in capped(own)]
    return [(min(inside), max(inside)) for inside in days]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        # A window of 7 days slides in, day by day, and out.
        ({"at_most": 2, "within": "7d"},
         [(0, d) for d in range(6)] + [(d - 6, d) for d in range(6, 14)]
         + [(d, 13) for d in range(8, 14)]),
        # Of a cap of one the widest runs say all: a day is closed by the history, or it is not.
        ({"at_most": 1, "within": "7d"}, [(d - 6, d) for d in range(6, 14)]),
        ({"spacing": "2d"}, [(d, d + 1) for d in range(13)]),
        ({"spacing": "1d"}, [(d, d) for d in range(14)]),
        # What holds the whole plan is the most actions of a bundle, no cap.
        ({"at_most": 2}, []),
        ({"at_most": 2, "within": "ever"}, []),
        ({"at_most": 1, "within": "30d"}, []),
        ({"at_most": 2, "within": "14d"},
         [(0, d) for d in range(13)] + [(d, 13) for d in range(1, 14)]),
        ({"at_most": 1, "per": "channel", "only": ["sms"]}, [(0, 13)]),
        ({"at_most": 1, "each": "week"}, [(0, 3), (4, 10), (11, 13)]),  # from a Thursday on
        # Of one offer there is one action at most.
        ({"at_most": 2, "within": "7d", "per": "offer"}, []),
        ({"at_most": 2, "within": "7d", "per": "category", "only": ["y"]}, []),
    ],
)  # fmt: skip
def test_a_group_has_a_cap_for_each_run_of_days(policy, expected):
    found = runs(job(policy))
    assert sorted(found) == sorted(expected)
    widths = [last - first for first, last in found]
    assert widths == sorted(widths, reverse=True)  # those that bind most first


def test_a_cap_counts_its_actions_on_its_days():
    own = job({"at_most": 1, "per": "channel", "only": ["app"], "within": "2d"}, days=3)
    acts, members = actions_of(own), rules(own).members
    assert [[(acts[a].offer, acts[a].channel, acts[a].day) for a in np.flatnonzero(row)]
            for row in members] == [
        [("a", "app", d), ("a", "app", d + 1), ("c", "app", d), ("c", "app", d + 1)] for d in (0, 1)
    ]  # fmt: skip


def test_policies_on_one_group_and_run_share_a_cap():
    own = job({"at_most": 2, "within": "3d"}, {"at_most": 3, "within": "2d"}, days=3)
    assert sorted(runs(own)) == [(0, 0), (0, 1), (1, 2), (2, 2)]


def apart(own):
    acts, found = actions_of(own), rules(own).apart
    names = [f"{a.offer}{a.day}" for a in acts if a.channel == "sms" or a.offer == "c"]
    own = [n for n, a in enumerate(acts) if a.channel == "sms" or a.offer == "c"]
    return {
        frozenset((names[i], names[j])) for i, j in zip(*np.nonzero(found[np.ix_(own, own)]),
                                                        strict=True)
    }  # fmt: skip


def test_offers_that_exclude_one_another_are_apart_on_near_days():
    own = job({"exclusive": ["a", "b"], "within": "2d"}, days=3)
    near = {(d, e) for d in range(3) for e in range(3) if abs(d - e) < 2}
    assert apart(own) == {frozenset((f"a{d}", f"b{e}")) for d, e in near}
    assert rules(own).exclusive == []
    for within in ({}, {"within": "3d"}, {"within": "ever"}):
        whole = rules(job({"exclusive": ["a", "b"], **within}, days=3))
        assert (whole.exclusive, whole.apart) == ([(1, 0)], None)


def test_an_offer_that_is_not_after_another_is_before_it_or_late():
    own = job({"offer": "a", "not_after": ["b", "c"], "within": "2d"}, days=3)
    wrong = {(d, d + 1) for d in (0, 1)}
    assert apart(own) == {frozenset((f"{o}{d}", f"a{e}")) for o in "bc" for d, e in wrong}
    ever = job({"offer": "a", "not_after": ["b"], "within": "ever"}, days=3)
    assert apart(ever) == {frozenset((f"b{d}", f"a{e}")) for d in range(3) for e in range(d + 1, 3)}


def test_days_that_are_near_in_some_time_zones_are_a_cap_of_these():
    """In Berlin 2026-03-29 has 23 hours; zones of other changes have none of the days near."""
    policy = {"exclusive": ["a", "b"], "within": "1d"}
    alone = job(policy, days=2, start="2026-03-28T12:00:00Z")
    assert len(rules(alone).members) == 0  # in UTC alone
    own = job(policy, days=2, start="2026-03-28T12:00:00Z", zone="zone")
    assert apart(own) == {frozenset(("a0", "b0")), frozenset(("a1", "b1"))}
    (group,) = capped(own)
    acts = actions_of(own)
    assert {(acts[a].offer, acts[a].day) for a in group.actions} == {
        (offer, day) for offer in "ab" for day in (0, 1)
    }


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"at_most": 1}, [0, 0, 0, 0]),
        ({"at_most": 1, "within": "7d"}, [0, 0, 0, 0]),
        ({"spacing": "2d", "per": "channel"}, [0, 1, 0, 1]),
        ({"spacing": "2d", "per": "offer"}, [0, 0, 1, 2]),
        ({"at_most": 1, "per": "offer", "within": "ever"}, [0, 0, 0, 0]),
        ({"suppress": "old"}, [0, 0, 0, 0]),
        ({"quiet": "21:00-08:00", "per": "category", "only": ["y"]}, [0, 0, 0, 1]),
        ({"cool_down": "3d", "per": "category", "only": ["x"]}, [0, 0, 0, 1]),
        ({"exclusive": ["a", "c"]}, [0, 0, 0, 0]),
        ({"exclusive": ["a", "c"], "within": "2d"}, [0, 0, 1, 2]),
        ({"offer": "b", "not_after": ["a", "c"], "within": "2d"}, [0, 0, 1, 0]),
        ({"offer": "b", "only_after": ["a"], "within": "9d"}, [0, 0, 1, 0]),
    ],
)
def test_pairs_that_are_open_on_the_same_days_are_of_a_class(policy, expected):
    """Pairs: a@sms, a@app, b@sms, c@app."""
    assert day_class(job(policy)).tolist() == expected
    assert day_class(job(policy, days=1)) is None


def test_offers_that_end_at_other_times_are_of_other_classes():
    offers = {**OFFERS, "b": {**OFFERS["b"], "until": "hours"}}
    assert day_class(job(offers=offers)).tolist() == [0, 0, 1, 0]
    offers["c"] = {**OFFERS["c"], "valid_until": "2026-10-04"}
    assert day_class(job(offers=offers)).tolist() == [0, 0, 1, 2]


def test_the_plan_of_fourteen_days_is_a_sound_job():
    own = load(Path(__file__).parents[1] / "configs" / "plan.yaml")
    assert list(problems(own)) == []
    found = rules(own).plan()
    assert (found.days, len(found.day_class)) == (14, 14)
    assert [limit.name for limit in limits(own)][:2] == ["capacity:sms:day-1", "capacity:sms:day-2"]


def test_a_plan_of_too_many_caps_is_refused():
    offers = {f"o{i}": {"category": f"c{i // 2}", "value": 1, "channels": ["app"]}
              for i in range(80)}  # fmt: skip
    own = job({"at_most": 2, "within": "30d", "per": "category"}, offers=offers)
    assert len(capped(own)) == 40 * 27
    (problem,) = (text for text in problems(own) if text.startswith("policies: have"))
    assert problem == (
        "policies: have 1080 caps on different channels, categories and groups of offers, and on "
        "different days; at most 1024 are allowed; name those that matter under only, or plan "
        "fewer days"
    )
