"""The growth benchmark varies one size at a time; here tiny sizes run."""

import json
from dataclasses import replace
from time import perf_counter

import numpy as np
import pytest

from benchmarks import growth
from benchmarks.instance import CASES, instance

BASE = {"subscribers": 2000, "actions": 10, "constraints": 10, "width": 2, "groups": 16}


def test_tiny_points_are_solved_and_told(tmp_path, capsys):
    sizes = [f"--{axis}={n}" for axis, n in BASE.items()]
    lists = ["--subscribers-list", "1000", "2000", "--groups-list", "4", "64"]
    for axis in ("actions", "constraints", "width"):
        lists += [f"--{axis}-list", str(BASE[axis])]
    page = tmp_path / "growth.html"
    rest = ["--gap", "0.05", "--repeats", "1", "--plot", str(page), "--json"]
    growth.main([*sizes, *lists, *rest])
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["points"]
    assert len(rows) == 7
    for row in rows:
        assert row["status"] == "OPTIMAL"
        assert row["value"] <= row["bound"]
        assert row["gap"] <= 0.05
        assert row["seconds"] > 0 < row["streaming_reads"]
    assert "slope 1" in page.read_text()


def test_each_axis_varies_one_size():
    for point in growth.points(BASE, growth.AXES):
        assert {a for a in BASE if point[a] != BASE[a]} <= {point["axis"]}


def test_a_point_without_time_is_told_as_not_run():
    row = growth.measured({"axis": "width", **BASE}, 0.1, 1, float("-inf"))
    assert (row["status"], row["seconds"]) == ("NOT_RUN", None)


def test_a_point_without_an_answer_says_why(monkeypatch):
    def impossible(point):
        problem = growth.instance(CASES["one-offer"], point["subscribers"], 10, 30)
        least = [row.is_minimum for row in problem.rows].index(True)
        limit = problem.limit.copy()
        limit[least] *= 1_000
        return replace(problem, limit=limit)

    monkeypatch.setattr(growth, "drawn", impossible)
    row = growth.measured({"axis": "width", **BASE}, 0.1, 1, perf_counter() + 60)
    assert (row["status"], row["seconds"]) == ("NO_ANSWER", None)
    assert row["reason"].startswith("INFEASIBLE: ")


def test_wrong_sizes_are_told_before_anything_is_measured(capsys):
    with pytest.raises(SystemExit) as ended:
        growth.main(["--constraints-list", "5", "400"])
    assert ended.value.code == 2
    assert "207 at most with 20 actions" in capsys.readouterr().err


@pytest.mark.parametrize("groups", [4, 16, 64])
def test_groups_change_no_subscriber(groups):
    one = growth.drawn({**BASE, "groups": groups})
    two = instance(CASES["bundles"], 2000, 10, 10)
    a, b = one.blocks[0], two.blocks[0]
    for name in ("propensity", "weight"):
        x, y = getattr(a, name), getattr(b, name)
        np.testing.assert_array_equal(x[..., np.argsort(a.key)], y[..., np.argsort(b.key)])
    assert one.groups == groups and (np.diff(a.group) >= 0).all()
