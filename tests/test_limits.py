"""Limits in their order, with their scope, in whole micro-units."""

import pytest
import yaml

from engine.limit_problems import problems
from engine.limits import MICRO, Limit, coefficients, limits, measured, micro
from engine.settings import parse


def job_of(**changes):
    content = {
        "name": "tiny",
        "as_of": "2026-10-01",
        "inputs": {"folder": "data", "subscribers": {"path": "s.csv"}},
        "scores": {"kind": "formula", "formulas": {"data": "0.5", "voice": "0.5"}},
        "catalogue": {
            "currency": "EUR",
            "channels": {"sms": {"unit_cost": 0.1, "capacity": 5}, "app": {}},
            "offers": {
                "data": {"category": "boost", "value": 5, "cost": 1.5, "channels": ["app", "sms"],
                         "quota": 7, "minimum": 2},
                "voice": {"category": "talk", "value": 4, "channels": ["sms"], "minimum": 0},
            },
        },
        "constraints": [
            {"name": "budget", "measure": "cost", "at_most": 0.1, "at_least": 0.05},
            {"name": "gold", "measure": "value", "categories": ["boost"], "channels": ["sms"],
             "where": "gold", "at_least": 3.3333333},
        ],
    }  # fmt: skip
    return parse(yaml.safe_dump(content | changes, sort_keys=False), "tiny.yaml")


def test_limits_come_from_channels_then_offers_then_constraints():
    # Actions: data@sms, data@app, voice@sms.
    whole = 1_000_000
    assert limits(job_of()) == [
        Limit("capacity:sms", "contacts", False, 5 * whole, (0, 2), None),  # noqa: FBT003
        Limit("quota:data", "contacts", False, 7 * whole, (0, 1), None),  # noqa: FBT003
        Limit("minimum:data", "contacts", True, 2 * whole, (0, 1), None),  # noqa: FBT003
        Limit("minimum:voice", "contacts", True, 0, (2,), None),  # noqa: FBT003
        Limit("budget", "cost", False, 100_000, (0, 1, 2), None),  # noqa: FBT003
        Limit("budget:minimum", "cost", True, 50_000, (0, 1, 2), None),  # noqa: FBT003
        Limit("gold", "value", True, 3_333_333, (0,), "gold"),  # noqa: FBT003
    ]


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("contacts", [(MICRO, 0)] * 3),
        ("acceptances", [(0, MICRO)] * 3),
        ("cost", [(100_000, 1_500_000), (0, 1_500_000), (100_000, 0)]),
        ("value", [(-100_000, 3_500_000), (0, 3_500_000), (-100_000, 4_000_000)]),
    ],
)
def test_coefficients_are_whole_micro_units(measure, expected):
    assert coefficients(job_of(), measure) == expected


@pytest.mark.parametrize(
    ("amount", "expected"), [(0.0, 0), (0.1 + 0.2, 300_000), (1e12, 10**18), (4.9e-7, 0)]
)
def test_micro_is_the_nearest_whole(amount, expected):
    assert micro(amount) == expected


def planned(days=3, **changes):
    return job_of(horizon={"days": days}, **changes)


def test_a_capacity_holds_each_day_and_a_constraint_of_each_day_is_one_for_each():
    """Actions: data@sms, data@app, voice@sms, each on days 1 to 3."""
    found = limits(planned(constraints=[
        {"name": "budget", "measure": "cost", "at_most": 1, "at_least": 0, "each_day": True},
        {"name": "late", "measure": "contacts", "at_most": 4, "days": [2, 3], "channels": ["app"]},
        {"name": "ends", "measure": "contacts", "at_most": 4, "days": [1, 3], "each_day": True},
        {"name": "share", "at_most": 0.5, "days": [1, 2],
         "ratio": {"of": {"measure": "contacts", "days": [2, 3]}, "to": "contacts"}},
    ]))  # fmt: skip
    by_name = {limit.name: limit.actions for limit in found}
    assert list(by_name) == [
        "capacity:sms:day-1", "capacity:sms:day-2", "capacity:sms:day-3",
        "quota:data", "minimum:data", "minimum:voice",
        "budget:day-1", "budget:day-1:minimum", "budget:day-2", "budget:day-2:minimum",
        "budget:day-3", "budget:day-3:minimum", "late", "ends:day-1", "ends:day-3", "share",
    ]  # fmt: skip
    assert by_name["capacity:sms:day-2"] == (1, 7)
    assert by_name["quota:data"] == (0, 1, 2, 3, 4, 5)
    assert by_name["budget:day-3"] == by_name["budget:day-3:minimum"] == (2, 5, 8)
    assert by_name["late"] == (4, 5)
    assert by_name["share"] == (1, 4, 7)  # what is divided; days of both
    assert found[-1].to.actions == (0, 1, 3, 4, 6, 7)


@pytest.mark.parametrize(("of", "to", "own", "expected"), [
    ([2, 3], [], [], [2, 3]), ([], [1], [], [1]), ([1, 2], [3, 2], [], [2]),
    ([3, 2], [], [2, 1], [2]), ([], [], [3, 1], [3, 1]), ([], [], [], [1, 2, 3]),
])  # fmt: skip
def test_a_ratio_of_each_day_is_one_of_the_days_that_both_sums_have(of, to, own, expected):
    """A day without ``to`` would allow no ``of`` at all, and one without ``of`` any ``to``."""
    ratio = {"of": {"measure": "cost", "days": of}, "to": {"measure": "contacts", "days": to}}
    share = {"name": "share", "at_most": 0.5, "each_day": True, "days": own, "ratio": ratio}
    found = [limit for limit in limits(planned(constraints=[share])) if limit.series == "share"]
    assert [limit.name for limit in found] == [f"share:day-{day}" for day in expected]
    assert all(limit.actions and limit.actions == limit.to.actions for limit in found)


def test_goals_meet_the_limit_of_a_day_and_a_measured_one_has_days():
    own = planned(
        constraints=[{"name": "all", "measure": "contacts", "each_day": True, "enforce": False}],
        goals=[{"name": "g", "meet": {"capacity:sms:day-2": 1.0}}],
    )
    assert list(problems(own)) == []
    assert [part.name for part in measured(own)] == ["all:day-1", "all:day-2", "all:day-3"]


@pytest.mark.parametrize(
    ("decay", "values"),
    [
        (None, [5_000_000] * 3),
        ({"half_life": "1d"}, [5_000_000, 2_500_000, 1_250_000]),
        ({"half_life": "2d"}, [5_000_000, 3_535_534, 2_500_000]),  # 5 / sqrt(2) = 3.53553390...
        ({"by_day": [0.5, 1.0, 0.0]}, [2_500_000, 5_000_000, 0]),
    ],
)
def test_later_days_take_value_off_and_no_cost(decay, values):
    offers = {"data": {"category": "x", "value": 5, "cost": 1.5, "channels": ["app"],
                       "decay": decay}}  # fmt: skip
    own = planned(
        catalogue={"currency": "EUR", "channels": {"app": {}}, "offers": offers},
        scores={"kind": "formula", "formulas": {"data": "0.5"}}, constraints=[],
    )  # fmt: skip
    assert coefficients(own, "value") == [(0, value - 1_500_000) for value in values]
    assert coefficients(own, "cost") == [(0, 1_500_000)] * 3
    if decay is None or "half_life" in decay:
        one = own.model_copy(update={"horizon": own.horizon.model_copy(update={"days": 1})})
        assert coefficients(one, "value") == [(0, 3_500_000)]
