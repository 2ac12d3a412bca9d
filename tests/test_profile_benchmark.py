"""The profile benchmark checks what it times; here tiny sizes run."""

import json
import math
import os
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks import profile
from benchmarks.process import forget_peak, peak_memory
from benchmarks.profile_data import AS_OF, COLUMNS, DAY_S, DAYS, FILES, Size, made, read
from benchmarks.profile_peers import ENGINES, FEATURES, __main__

SIZE = Size(900, 60)
needs_peers = pytest.mark.skipif(
    "PEERS_PYTHON" not in os.environ and not all(map(find_spec, ("polars", "duckdb"))),
    reason="needs polars and duckdb: pip install 'walras[peers]', or PEERS_PYTHON",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("events")


@pytest.fixture(scope="module")
def data(folder):
    return made(SIZE, folder)


def definition(times, amounts):
    """Return the features of one subscriber in plain Python; missing is NaN."""
    ages = [AS_OF - t for t in times]
    gaps = [b - a for a, b in zip(times, times[1:], strict=False)]
    row = {}
    for days in (7, 30, 90):
        inside = [v for v, age in zip(amounts, ages, strict=True) if age < days * DAY_S]
        row[f"count_{days}d"], row[f"sum_{days}d"] = len(inside), math.fsum(inside)
        if days == 30:
            row["max_30d"] = max(inside, default=math.nan)
    mean = sum(gaps) / len(gaps) if gaps else math.nan
    row["recency"] = ages[-1] / DAY_S if ages else math.nan
    row["gap_mean"] = mean / DAY_S
    squares = math.fsum((g - mean) ** 2 for g in gaps)
    row["gap_std"] = math.sqrt(squares / len(gaps)) / DAY_S if gaps else math.nan
    pairs = list(zip(amounts, ages, strict=True))
    row["decayed"] = math.fsum(v * 2 ** (-age / (14 * DAY_S)) for v, age in pairs)
    daily = [math.fsum(v for v, age in pairs if age // DAY_S == d) for d in range(28)]
    slope = math.fsum((13.5 - d) * y for d, y in enumerate(daily))
    row["trend"] = slope / sum((13.5 - d) ** 2 for d in range(28))
    return row


def defined(data):
    """Return the features of all subscribers by the definition."""
    events, keys = read(data.events, COLUMNS), read(data.subscribers, COLUMNS[:1])[COLUMNS[0]]
    rows = []
    for key in keys:
        mine = events["subscriber"] == key
        rows.append(definition(events["time"][mine].tolist(), events["amount"][mine].tolist()))
    return {"subscriber": keys} | {n: np.array([float(r[n]) for r in rows]) for n in FEATURES}


@pytest.mark.parametrize("engine", ["ours", "pandas", *(
    pytest.param(n, marks=pytest.mark.skipif(find_spec(n) is None, reason=f"needs {n}"))
    for n in ("polars", "duckdb")
)])  # fmt: skip
def test_an_engine_computes_the_definition_in_memory_and_from_files(engine, data, tmp_path):
    module, expected = import_module(f"benchmarks.profile_peers.{engine}"), defined(data)
    loaded = module.load(data)
    for _ in range(2):
        found = module.columns(module.in_memory(loaded))
        profile.check(engine, found, expected, is_ordered=False)
    module.from_parquet(data, tmp_path)
    files = sorted(tmp_path.iterdir())
    assert all(path.suffix == ".parquet" for path in files)
    groups = [pq.read_metadata(path).row_group(0) for path in files]  # alike, so that times are
    assert {g.column(i).compression for g in groups for i in range(g.num_columns)} == {"LZ4"}
    found = read(files, ("subscriber", *FEATURES))
    profile.check(engine, found, expected, is_ordered=True)


def test_the_events_hold_what_makes_features_hard(data):
    rows = defined(data)
    assert (rows["count_90d"] == 0).any() and (rows["count_90d"] == 1).any()
    assert np.isnan(rows["max_30d"])[rows["count_90d"] > 0].any()
    assert (rows["trend"] < 0).any() and (rows["trend"] > 0).any()


def run(capsys, *options):
    """Run the command and return its JSON."""
    profile.main([*options, "--repeats", "1", "--json"])
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@needs_peers
@pytest.mark.parametrize("source", [[], ["--parquet"]])
def test_all_engines_agree_and_their_figures_are_told(source, folder, capsys):
    sizes = ["--events", "900", "--subscribers", "60", "--data", str(folder)]
    found = run(capsys, *sizes, *source)
    assert set(found["engines"]) == set(ENGINES)
    for row in found["engines"].values():
        assert row["status"] == "OK"
        assert row["seconds"] > 0 < row["streaming_reads"]
        assert row["events_per_s"] == 900 / row["seconds"]
        assert row["peak_bytes"] > 10e6
    peers = {n: r["seconds"] for n, r in found["engines"].items() if n != "ours"}
    own = found["engines"]["ours"]
    assert found["best_peer"] == min(peers, key=peers.get)
    assert found["speedup_over_best_peer"] == min(peers.values()) / own["seconds"]
    assert found["streaming_reads"] == own["seconds"] / found["one_read_s"]
    assert found["source"] == ("parquet" if source else "memory")
    assert ("kernel_reads" in found) == (not source)


def test_the_curve_is_drawn(tmp_path, folder, capsys):
    page = tmp_path / "curve.html"
    curve = ["--curve", "400", "900", "--engines", "ours", "--data", str(folder)]
    found = run(capsys, *curve, "--plot", str(page))
    assert [(p["events"], p["subscribers"]) for p in found["points"]] == [(400, 20), (900, 45)]
    assert all(p["speedup_over_best_peer"] is None for p in found["points"])
    assert "slope 1" in page.read_text()


def test_a_peer_that_is_not_installed_is_told_and_skipped(data, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "polars", None)
    monkeypatch.delitem(sys.modules, "benchmarks.profile_peers.polars", raising=False)
    answer = tmp_path / "answer"
    __main__.main(["polars", str(data.folder), "--answer", str(answer)])
    with np.load(answer) as file:
        status = json.loads(str(file["figures"]))["status"]
    assert status == "ABSENT: polars is not installed: pip install 'walras[peers]'"


def test_an_absent_peer_is_no_failure_but_a_broken_one_is(folder, monkeypatch, capsys):
    ended = {"ABSENT: polars is not installed": 0, "FAILED: exit status 1: no": 1}
    apart = profile.apart
    for status, code in ended.items():

        def peer(command, answer, most_s, status=status):
            if "polars" in command:
                return {"figures": {"status": status}}
            return apart(command, answer, most_s)

        monkeypatch.setattr(profile, "apart", peer)
        sizes = ["--events", "900", "--subscribers", "60", "--data", str(folder)]
        try:
            profile.main([*sizes, "--engines", "polars", "--repeats", "1"])
            assert code == 0
        except SystemExit as end:
            assert end.code == code == 1
        assert f"profile: polars: {status}" in capsys.readouterr().err


@pytest.mark.parametrize("name", FEATURES)
def test_a_difference_names_engine_feature_subscriber_and_both_values(name, data):
    own = defined(data)
    s = int(np.flatnonzero(~np.isnan(own[name]))[-1])
    for wrong in (own[name][s] * (1 + 1e-7) + 1e-7, math.nan):
        other = {n: a[::-1].copy() for n, a in own.items()}
        profile.check("polars", other, own, is_ordered=False)
        other[name][len(other[name]) - 1 - s] = wrong
        with pytest.raises(profile.DifferenceError) as error:
            profile.check("polars", other, own, is_ordered=False)
        said = str(error.value)
        assert said.startswith(f"polars: {name} of subscriber {own['subscriber'][s]}: ")
        assert repr(np.float64(wrong)) in said and f"ours {own[name][s]!r}; 1 of 60" in said


def test_missing_subscribers_and_another_order_are_differences(data):
    own = defined(data)
    short = {n: a[:-1] for n, a in own.items()}
    with pytest.raises(profile.DifferenceError, match="59 rows of other subscribers than ours, 60"):
        profile.check("duckdb", short, own, is_ordered=False)
    turned = {n: a[::-1] for n, a in own.items()}
    with pytest.raises(profile.DifferenceError, match="duckdb: rows are not in order"):
        profile.check("duckdb", turned, own, is_ordered=True)


def test_no_figure_is_shown_when_engines_differ(folder, monkeypatch, capsys):
    apart = profile.apart

    def wrong(command, answer, most_s):
        found = apart(command, answer, most_s)
        if "pandas" in command:
            found["trend"] = found["trend"] + 1.0
        return found

    monkeypatch.setattr(profile, "apart", wrong)
    monkeypatch.delenv("PEERS_PYTHON", raising=False)
    sizes = ["--events", "900", "--subscribers", "60", "--data", str(folder), "--repeats", "1"]
    with pytest.raises(SystemExit) as ended:
        profile.main([*sizes, "--engines", "pandas", "--json"])
    out = capsys.readouterr()
    assert ended.value.code == 1 and out.out == ""
    assert "profile: pandas: trend of subscriber " in out.err


def test_the_events_depend_on_their_seed_alone_and_lie_as_they_should(data, tmp_path):
    events, keys = read(data.events, COLUMNS), read(data.subscribers, COLUMNS[:1])[COLUMNS[0]]
    again = made(SIZE, tmp_path)
    for name, array in read(again.events, COLUMNS).items():
        np.testing.assert_array_equal(array, events[name])
    other = read(made(Size(900, 60, seed=8), tmp_path).events, COLUMNS)
    assert not np.array_equal(other["time"], events["time"])
    assert len(events["time"]) == 900 and len(keys) == 60 and (np.diff(keys) > 0).all()
    assert set(events["subscriber"]) <= set(keys)
    order = np.lexsort((events["time"], events["subscriber"]))
    np.testing.assert_array_equal(order, np.arange(900))
    assert AS_OF - DAYS * DAY_S <= events["time"].min() <= events["time"].max() < AS_OF
    assert len(data.events) == len(data.subscribers) == FILES
    for part, of in zip(data.events, data.subscribers, strict=True):
        assert part.name == of.name
        inside = set(read([part], COLUMNS[:1])[COLUMNS[0]])
        assert inside <= set(read([of], COLUMNS[:1])[COLUMNS[0]])


def test_events_that_are_there_are_not_drawn_again(tmp_path):
    one = made(Size(50, 3), tmp_path)
    Path(one.events[0]).write_bytes(b"mine")
    assert made(Size(50, 3), tmp_path).events[0].read_bytes() == b"mine"
    (one.folder / "made.json").write_text("of an older generator")
    assert made(Size(50, 3), tmp_path).events[0].read_bytes() != b"mine"


def test_peak_memory_can_count_from_now():
    array = np.ones(30_000_000)
    high = peak_memory()
    del array
    held = forget_peak()
    assert peak_memory() <= max(held, high - 100e6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--events", "0"], "--events: got 0; a whole number above 0"),
        (["--curve", "100", "3"], "--curve: got 3; 20 events or more"),
        (["--plot", "it.png"], "--plot: got it.png; a name that ends in .html"),
    ],
)
def test_wrong_options_are_refused(options, said, capsys):
    with pytest.raises(SystemExit) as ended:
        profile.main(options)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
