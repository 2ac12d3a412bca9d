"""Limits in their order, with their scope, in whole micro-units."""

import pytest
import yaml

from engine.limits import MICRO, Limit, coefficients, limits, micro
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
