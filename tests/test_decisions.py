"""An allocation as tables: every subscriber once, with what was chosen and why."""

import numpy as np
import pandas as pd
import pytest
import yaml

from engine import decisions
from engine.actions import actions
from engine.assemble import assemble
from engine.candidates import candidates
from engine.history import History
from engine.settings import parse
from engine.solve import solve

COLUMNS = ["subscriber", "time", "time_zone", "offer", "channel", "value", "cost", "propensity",
           "surplus", "reason", "dearest_limit", "partition"]  # fmt: skip


def job_of(**changes):
    content = {
        "name": "tiny",
        "as_of": "2026-10-01",
        "inputs": {"folder": "data", "subscribers": {"path": "s.csv"}},
        "scores": {"kind": "formula", "formulas": {"data": "0.5", "voice": "0.5"}},
        "holdout_share": 0.0,
        "catalogue": {
            "currency": "EUR",
            "weight": "weight",
            "channels": {"sms": {"unit_cost": 0.25, "capacity": 2}, "app": {"device": "has_app"}},
            "offers": {
                "data": {"category": "boost", "value": 4, "cost": 1, "channels": ["sms", "app"]},
                "voice": {"category": "talk", "value": 8, "cost": 2, "channels": ["sms"]},
            },
        },
        "policies": [{"name": "one", "at_most": 1}],
    }
    return parse(yaml.safe_dump(content | changes, sort_keys=False), "tiny.yaml")


def solved(job, features, parts=1, p=0.5):
    names = [action.name for action in actions(job.catalogue)]
    scores = {"subscriber": features["subscriber"]} | {
        n: np.full(len(features), p, np.float32) for n in names
    }
    scored = pd.DataFrame(scores)
    found = [candidates(job, features.iloc[i::parts], scored.iloc[i::parts], History())
             for i in range(parts)]  # fmt: skip
    placed = assemble(job, found)
    return placed, found, solve(placed.problem, job.solver)


def people(**columns):
    frame = {"subscriber": [1, 2, 3, 4, 5], "weight": [1.0, 2.0, 1.0, 1.0, 0.0],
             "has_app": [True, False, False, True, True]}  # fmt: skip
    return pd.DataFrame(frame | columns)


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_every_subscriber_is_told_once(parts):
    job, features = job_of(), people()
    placed, found, answer = solved(job, features, parts)
    table = decisions.allocated(job, placed, found, answer)
    left_out = decisions.undecided(placed, found, answer)
    assert list(table) == COLUMNS
    assert sorted([*table["subscriber"], *left_out["subscriber"]]) == [1, 2, 3, 4, 5]
    # Two text messages: the double weight first, then the best of the rest (app takes data only).
    rows = table.drop(columns=["reason", "dearest_limit", "partition", "surplus"])
    expected = {
        1: ("data", "app", 1.5, 0.5),
        2: ("voice", "sms", 5.5, 1.25),
        3: ("voice", "sms", 2.75, 1.25),
        4: ("data", "app", 1.5, 0.5),
    }
    assert {
        r.subscriber: (r.offer, r.channel, r.value, r.cost) for r in rows.itertuples()
    } == expected
    assert (table["propensity"] == 0.5).all()
    assert left_out.values.tolist() == [[5, "no_offer_worth_its_price", ""]]
    price = answer.prices[0]
    assert 1.25 <= price <= 2.75
    by_text = table[table["channel"] == "sms"]
    assert by_text["surplus"].tolist() == pytest.approx((by_text["value"] - price).tolist())
    assert set(by_text["dearest_limit"]) == {"capacity:sms"}
    assert set(table[table["channel"] == "app"]["dearest_limit"]) == {""}
    assert set(table["reason"]) <= {decisions.BEST, decisions.TIE}


def test_a_near_tie_is_called_one():
    job, features = job_of(), people(weight=[1.0] * 5, has_app=[False] * 5)
    placed, found, answer = solved(job, features)
    table = decisions.allocated(job, placed, found, answer)
    # All five are worth the same: two contacts fill the capacity, at a price that leaves none best.
    assert len(table) == 2 and table["surplus"].abs().max() < 1e-6
    best = sum(int((b >= 0).sum()) for b in answer.best)
    assert (table["reason"] == decisions.TIE).sum() >= 2 - best


def test_reasons_and_the_funnel():
    job = job_of(
        holdout_share=0.5,
        policies=[{"name": "never", "at_most": 0, "per": "channel", "only": ["sms"]}],
    )
    features = people()
    placed, found, answer = solved(job, features)
    table = decisions.allocated(job, placed, found, answer)
    left_out = decisions.undecided(placed, found, answer)
    reasons = dict(zip(left_out["subscriber"], left_out["reason"], strict=True))
    detail = dict(zip(left_out["subscriber"], left_out["detail"], strict=True))
    assert all(detail[s] == ("never" if why == "policy" else "") for s, why in reasons.items())
    for s in (2, 3):  # no app and no text message
        assert reasons[s] in {"hold_out", "policy"}
    funnel = decisions.funnel(5, table["subscriber"].nunique(), left_out, answer.status)
    counts = {step["step"]: step["subscribers"] for step in funnel}
    assert counts.pop("subscribers") == sum(counts.values()) == 5
    assert counts["hold_out"] == sum(why == "hold_out" for why in reasons.values())


def test_where_limits_conflict_everybody_open_is_left_out_for_it():
    impossible = {"name": "least", "measure": "contacts", "at_least": 100}
    job, features = job_of(constraints=[impossible]), people()
    placed, found, answer = solved(job, features)
    table = decisions.allocated(job, placed, found, answer)
    left_out = decisions.undecided(placed, found, answer)
    assert answer.status == "INFEASIBLE" and table.empty
    assert left_out["reason"].tolist() == ["limits_conflict"] * 5
    assert set(left_out["detail"]) == {"nothing allocated: limits conflict"}
    steps = {s["step"]: s for s in decisions.funnel(5, 0, left_out, answer.status)}
    assert steps["limits_conflict"] == {
        "step": "limits_conflict",
        "subscribers": 5,
        "text": "nothing is allocated, because limits conflict",
    }
    assert "no_offer_worth_its_price" not in steps


def test_totals_by_offer_and_segment():
    job, features = job_of(), people()
    placed, found, answer = solved(job, features)
    table = decisions.allocated(job, placed, found, answer)
    by_offer = decisions.by(table, "offer", ["data", "voice", "unused"])
    assert by_offer == [
        {"offer": "data", "contacts": 2, "acceptances": 1.0, "value": 3.0, "cost": 1.0},
        {"offer": "voice", "contacts": 2, "acceptances": 1.0, "value": 8.25, "cost": 2.5},
        {"offer": "unused", "contacts": 0, "acceptances": 0.0, "value": 0.0, "cost": 0.0},
    ]
    segments = pd.DataFrame(
        {
            "subscriber": [5, 4, 3, 2, 1],
            "tier": ["gold", "gold", None, "base", "base"],
            "many": ["a", "b", "c", "d", "e"],
        }
    )
    told = decisions.segments(segments, table)
    assert [tuple(row.values()) for row in told["tier"]] == [
        ("base", 2, 2, 2, 7.0),
        ("gold", 2, 1, 1, 1.5),
        ("unknown", 1, 1, 1, 2.75),
    ]
    assert len(told["many"]) == 5
    for name in ("offer", "channel", "value", "contacts", "cost", "segment", "propensity"):
        renamed = segments.rename(columns={"tier": name})
        assert decisions.segments(renamed, table)[name] == told["tier"]
    wide = pd.DataFrame({"subscriber": range(13), "each": [f"x{i}" for i in range(13)]})
    assert decisions.segments(wide, table) == {}


def test_nobody_is_told_in_an_empty_table():
    job, features = job_of(), people().iloc[:0]
    placed, found, answer = solved(job, features)
    table = decisions.allocated(job, placed, found, answer)
    left_out = decisions.undecided(placed, found, answer)
    assert list(table) == COLUMNS and len(table) == 0 and len(left_out) == 0
    funnel = decisions.funnel(0, 0, left_out, answer.status)
    assert {step["subscribers"] for step in funnel} == {0}


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        (None, "limits conflict"),
        (0.0, "not binding: one unit more is worth nothing"),
        (1.23456, "one contact more would be worth 1.235 EUR"),
    ],
)
def test_a_price_is_told_in_words(price, expected):
    placed, *_ = solved(job_of(), people())
    row = {"price": price, "overrun": 0.0}
    assert decisions.worth(placed.problem, 0, row, "EUR") == expected


def test_a_minimums_price_is_told_as_what_less_would_save():
    job = job_of(constraints=[{"name": "least", "measure": "value", "at_least": 1}])
    placed, *_ = solved(job, people())
    told = decisions.worth(placed.problem, 1, {"price": 2.0, "overrun": 0.0}, "EUR")
    assert told == "one EUR less to deliver would be worth 2 EUR"
