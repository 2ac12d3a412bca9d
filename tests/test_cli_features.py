"""The command features: every column and the passes that give them, with nothing run."""

import json

import pytest

from engine import profile
from engine.settings import load
from engine.settings.base import SECONDS, duration, seconds
from tests.test_cli import ROOT, walras

JOB = """
name: told
as_of: 2026-10-01
inputs:
  folder: {folder}
  subscribers: {{path: subscribers.csv}}
  events:
    usage: {{path: usage.csv, values: {{charge: {{unit: money}}, mb: {{unit: MB, minimum: 0}}}},
            categories: [kind]}}
features:
  - {{op: count, name: n, of: usage, windows: [12h, 7d]}}
  - {{op: sum, name: spend, of: usage.charge, windows: [7d, 4w]}}
  - {{op: sum, name: calls, of: usage.charge, windows: [7d], where: "kind = '[voice]'"}}
  - {{op: decayed_sum, name: recent, of: usage.charge, half_life: 14d}}
  - {{op: trend, name: slope, of: usage.mb, window: 28d, every: 7d}}
  - {{op: run_out, name: left, of: usage.charge, balance: balance, half_life: 7d, within: 2d}}
  - {{op: expression, name: per_day, sql: "spend_7d / 7", unit: money per day}}
scores: {{kind: formula, formulas: {{data: "0.1"}}}}
catalogue:
  currency: EUR
  channels: {{sms: {{}}}}
  offers: {{data: {{category: data, value: 5, channels: [sms]}}}}
"""


@pytest.fixture
def job(tmp_path):
    """Write a job and its subscriber table, without the event table; return its path."""
    (tmp_path / "subscribers.csv").write_text("subscriber,balance\n1,2.5\n")
    path = tmp_path / "job.yaml"
    path.write_text(JOB.format(folder=tmp_path))
    return path


def test_every_column_is_shown_with_unit_formula_and_source(job):
    before = sorted(job.parent.rglob("*"))
    result = walras("features", job)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    for row in profile.describe(load(job)):
        (line,) = [text for text in lines if text.startswith(f"│ {row['name']} ")]
        words = [cell.strip() for cell in line.strip("│").split("│")]
        assert row["formula"].startswith(words[2]) and row["source"].startswith(words[3])
        assert row["unit"] == words[1]
    assert "│ calls_7d " in result.stdout and "'[voice]'" in result.stdout  # no markup of rich
    assert "models leave them out unless listed: left, left_chance" in " ".join(lines)
    assert "1 table in 4 passes for 9 quantities and 10 columns" in lines
    assert sorted(job.parent.rglob("*")) == before


def test_as_json_the_list_and_the_plan_are_one_object(job):
    result = walras("features", job, "--json")
    assert result.exit_code == 0 and result.stderr == ""
    told = json.loads(result.stdout)
    assert told["features"] == profile.describe(load(job))
    assert told["features"][-1] == {
        "name": "per_day", "feature": "per_day", "formula": "spend_7d / 7",
        "unit": "money per day", "source": "spend_7d", "snapshot": False,
    }  # fmt: skip
    plan = told["plan"]
    groups = {group.pop("source"): group for group in plan.pop("groups")}
    assert plan == {"tables": 1, "passes": 4, "quantities": 9, "columns": 10}
    assert groups == {
        "usage.charge": {
            "windows": ["12h", "7d", "28d"], "half_lives": ["14d", "7d"], "trends": [],
            "quantities": 6,
            "columns": ["n_12h", "n_7d", "spend_7d", "spend_4w", "recent", "left", "left_chance"],
        },
        "usage.charge, squared": {
            "windows": [], "half_lives": ["7d"], "trends": [], "quantities": 1,
            "columns": ["left_chance"],
        },
        "usage.mb": {
            "windows": [], "half_lives": [], "trends": ["28d by 7d"], "quantities": 1,
            "columns": ["slope"],
        },
        "usage.charge where kind = '[voice]'": {
            "windows": ["7d"], "half_lives": [], "trends": [], "quantities": 1,
            "columns": ["calls_7d"],
        },
    }  # fmt: skip


def test_each_pass_is_shown_and_each_quantity_is_in_one(job):
    told = json.loads(walras("features", job, "--json").stdout)
    groups = told["plan"]["groups"]
    assert len(groups) == told["plan"]["passes"]
    assert sum(group["quantities"] for group in groups) == told["plan"]["quantities"]
    lines = walras("features", job).stdout.splitlines()
    for group in groups:
        ending = f"│ {group['quantities']:>10} │ {len(group['columns']):>7} │"
        assert any(group["source"] in line and line.endswith(ending) for line in lines)


def test_all_problems_of_features_are_told(job):
    changes = ("features.n.of=usag", "features.left.balance=worth", "features.per_day.sql='a +'")
    options = [word for change in changes for word in ("--set", change)]
    result = walras("features", job, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    first, second, third = result.stderr.splitlines()
    assert first.endswith(
        f"{job}: features.0 (n).of: unknown event table, got usag; did you mean usage? there are "
        "usage"
    )
    assert second.endswith(
        f"{job}: features.5 (left).balance: unknown subscriber column, got worth; there are "
        "balance, subscriber"
    )
    assert f"{job}: features.6 (per_day).sql: " in third
    as_json = walras("features", job, *options, "--json")
    assert as_json.exit_code == 2 and len(json.loads(as_json.stdout)["problems"]) == 3


def test_a_subscriber_table_that_is_not_there_is_told(job):
    (job.parent / "subscribers.csv").unlink()
    result = walras("features", job)
    assert result.exit_code == 2 and "inputs.subscribers.path" in result.stderr


def test_a_job_without_features_has_none(job):
    result = walras("features", job, "--set", "features=[]")
    assert result.exit_code == 0
    assert "0 tables in 0 passes for 0 quantities and 0 columns" in result.stdout
    assert "half-lives" not in result.stdout


def test_a_synthetic_operator_need_not_be_there(tmp_path):
    folder = tmp_path / "none"
    job = ROOT / "configs" / "quickstart.yaml"
    result = walras("features", job, "--set", f"inputs.folder={folder}", "--json")
    assert result.exit_code == 0 and not folder.exists()
    names = [row["name"] for row in json.loads(result.stdout)["features"]]
    assert names == profile.columns(load(job))


@pytest.mark.parametrize("unit", "smhd")
@pytest.mark.parametrize("count", [1, 2, 7, 1_000, 999_999])
def test_a_length_is_written_as_a_duration(count, unit):
    length = count * SECONDS[unit]
    assert seconds(duration(length)) == length
    longer = "smhd"["smhd".index(duration(length)[-1]) + 1 :]
    assert all(length % SECONDS[one] for one in longer)
