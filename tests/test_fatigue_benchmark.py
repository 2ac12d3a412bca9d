"""The benchmark of fatigue runs on a small made campaign, and its figures belong together."""

import json

import numpy as np
import pandas as pd
import pytest

from benchmarks import fatigue


@pytest.fixture
def campaign(tmp_path):
    """Write 4,000 made clients: they are called until they take it, or at random no more."""
    rng = np.random.default_rng(3)
    month = rng.choice(["may", "oct"], 4_000)
    times, is_won = np.ones(4_000, int), np.zeros(4_000, bool)
    going = np.ones(4_000, bool)
    for state in range(12):
        p = 1 / (1 + np.exp(0.3 * state + np.where(month == "may", 2.5, 1.0)))
        is_won |= going & (rng.random(4_000) < p)
        going &= ~is_won & (rng.random(4_000) < 0.7)
        times += going
    frame = {"contact": rng.choice(["cellular", "telephone"], 4_000), "month": month,
             "poutcome": "none", "campaign": times, "y": np.where(is_won, "yes", "no")}  # fmt: skip
    pd.DataFrame(frame).to_parquet(tmp_path / "bank.parquet")
    return str(tmp_path / "bank.parquet")


def test_the_curve_is_that_of_the_campaign_and_fatigue_is_worth_its_cost(campaign, capsys):
    fatigue.main([campaign, "--json"])
    found = json.loads(capsys.readouterr().out)
    for slope in found["slopes"].values():
        low, high = slope["interval"]
        assert low < 0.3 < high and low < slope["slope"] < high
    curve, rows = found["curve"], {row["rule"]: row for row in found["allocations"]}
    assert curve[0]["calls"] == found["clients"] == 4_000
    for row, following in zip(curve, curve[1:], strict=False):
        assert row["alike"] > following["alike"] and row["cost"] > following["cost"] > 0
    for row in curve[:5]:  # the curve is calibrated: within four deviations of a share
        assert abs(row["fitted"] - row["observed"]) < 4 * (row["fitted"] / row["calls"]) ** 0.5
    alone, priced = rows.pop("value alone"), rows.pop("value less fatigue")
    assert len(rows) == fatigue.SHOWN
    assert priced["calls"] < alone["calls"] and priced["value"] < alone["value"]
    # No rule is better than what is optimal, up to the gap.
    for row in (alone, *rows.values()):
        assert row["net"] <= priced["net"] * (1 + 1e-4)
        assert row["net"] == row["value"] - row["fatigue"]


def test_the_tables_are_told(campaign, capsys):
    fatigue.main([campaign, "--calls", "500"])
    said = capsys.readouterr().out
    assert "value less fatigue" in said and "at most 10 calls before" in said and "slope" in said
