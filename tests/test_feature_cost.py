"""The benchmark of the telecom set runs, and its figures belong together."""

import json

from benchmarks import feature_cost


def test_more_features_are_measured_in_turns_up_to_the_whole_set(capsys, tmp_path):
    plot = tmp_path / "cost.html"
    feature_cost.main(["--subscribers", "500", "--repeats", "1", "--json", "--plot", str(plot)])
    *_, last = capsys.readouterr().out.splitlines()
    found = json.loads(last)
    points = found["points"]
    assert [p["features"] for p in points[:5]] == list(feature_cost.COUNTS)
    assert points[-1]["columns"] >= 120 and points[-1]["tables"] == 9
    for fewer, more in zip(points, points[1:], strict=False):
        assert fewer["columns"] < more["columns"] and fewer["quantities"] < more["quantities"]
        assert fewer["bytes"] <= more["bytes"]
    for point in points:
        assert point["ms_per_column"] == 1e3 * point["seconds"] / point["columns"]
    assert found["subscribers"] == 500 and "time of a column" in plot.read_text()
