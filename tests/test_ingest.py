"""Stage ``ingest`` against a plain definition; the same bits for any order and split of rows."""

import math
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import tables
from engine.ingest import check_events, seconds
from engine.settings import load
from jobs import raw
from jobs.ingest import ingest
from jobs.tasks import SerialTasks
from tests.ingested import (
    AS_OF,
    INSTANTS,
    PEOPLE,
    STRANGERS,
    arrow_type,
    content,
    job_of,
    parts_of,
    run,
    usage_table,
)

VALUES = [None, math.nan, math.inf, -math.inf, -1.0, -0.0, 0.0, 0.1, 2.0]


@st.composite
def raw_rows(draw):
    """Draw usage rows: few distinct values, so that every break of the schema and ties happen."""
    keys, times = draw(st.sampled_from(["whole", "text"])), draw(st.sampled_from(list(INSTANTS)))
    row = st.fixed_dictionaries(
        {
            "who": st.sampled_from([*PEOPLE[keys], *PEOPLE[keys], *STRANGERS[keys], None]),
            "at": st.sampled_from([*INSTANTS[times], *INSTANTS[times][:2]]),
            "mb": st.sampled_from([*VALUES, 0.0, 0.1, 2.0]),
            "drift": st.sampled_from([*VALUES, 0.0, 0.1, -1.0]),
            "kind": st.sampled_from(["a", "b", "", None]),
        }
    )
    return keys, times, draw(st.lists(row, max_size=draw(st.sampled_from([0, 1, 2, 30]))))


def as_written(row: dict, times: str) -> dict:
    """Return a row with the values that Arrow takes for its types."""
    at = row["at"]
    if at is not None and times == "instant":
        at = datetime.fromisoformat(at)
    if at is not None and times == "date":
        at = datetime.fromisoformat(at).date()
    return {**row, "at": at}


def definition(row: dict, people: list) -> tuple[str | None, int]:
    """Say why a row is rejected, or None, and its time in seconds."""
    if row["who"] is None:
        return "null key", 0
    if row["at"] is None:
        return "null time", 0
    time = instant(row["at"])
    if time is None:
        return "unparsable time", 0
    if not datetime(1700, 1, 1, tzinfo=UTC).timestamp() <= time < 7_258_118_400:
        return "time is before 1700 or after 2199", 0
    for name in ("mb", "drift"):
        if row[name] is None:
            return f"{name} is null", 0
        if not math.isfinite(row[name]):
            return f"{name} is not finite", 0
        if name == "mb" and row[name] < 0:
            return "mb is below 0", 0
    if time <= AS_OF.timestamp() and row["who"] not in people:
        return "unknown subscriber", time
    return None, time


def instant(at) -> int | None:
    """Return whole seconds since the epoch, rounded down."""
    if isinstance(at, int):
        return at
    if at.isdigit() and 9 <= len(at) <= 11:
        return int(at)
    if at[4:5] != "-" or int(at[:4]) < 1600:
        return None
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return math.floor(moment.timestamp())


def expected(rows: list[dict], people: list):
    """Return the kept rows in order, the reasons by row, and the number of future rows."""
    kept, reasons, future = [], {}, 0
    for place, row in enumerate(rows):
        reason, time = definition(row, people)
        if reason:
            reasons[place] = reason
        elif time > AS_OF.timestamp():
            future += 1
        else:
            kept.append((row["who"], time, row["mb"] + 0.0, row["drift"] + 0.0, row["kind"] or ""))
    return sorted(kept), reasons, future


def write_inputs(folder: Path, keys: str, schema: pa.Schema, parts: list[list[dict]]) -> None:
    folder.mkdir(parents=True)
    people = PEOPLE[keys]
    pq.write_table(pa.table({"id": people, "rank": range(len(people))}), folder / "people.parquet")
    for i, rows in enumerate(parts):
        path = folder / f"usage-{i}.parquet"
        pq.write_table(pa.Table.from_pylist(rows, schema), path, row_group_size=7)


@settings(max_examples=60)
@given(drawn=raw_rows(), cuts=st.integers(1, 3), partitions=st.sampled_from([1, 3]))
def test_definition(drawn, cuts, partitions, tmp_path_factory):
    keys, times, rows = drawn
    folder = tmp_path_factory.mktemp("definition") / "in"
    written = [as_written(row, times) for row in rows]
    parts = [list(part) for part in np.array_split(np.array(written, dtype=object), cuts)]
    write_inputs(folder, keys, arrow_type(times, keys), parts)
    out, summary = run(job_of(folder, partitions=partitions))
    kept, reasons, future = expected(rows, PEOPLE[keys])

    found = parts_of(out, "events/usage")
    assert len(found) == partitions
    assert sorted(t for part in found for t in zip(*part.to_pydict().values(), strict=True)) == kept
    for number, part in enumerate(found):
        listed = list(zip(*part.to_pydict().values(), strict=True))
        assert listed == sorted(listed)
        assert (tables.bucket(part["subscriber"].to_pandas(), partitions) == number).all()
        assert not any(math.copysign(1, value) < 0 for value in part["mb"].to_pylist())
    sizes = np.cumsum([0, *(len(part) for part in parts)])
    rejects = pq.read_table(out / "rejects" / "usage.parquet").to_pylist()
    where = {
        int(sizes[int(r["file"][6])]) + r["row"]: (r["reason"], r["subscriber"]) for r in rejects
    }
    key_of = {p: None if rows[p]["who"] is None else str(rows[p]["who"]) for p in reasons}
    assert where == {place: (reason, key_of[place]) for place, reason in reasons.items()}
    assert summary["subscribers"] == len(PEOPLE[keys])
    assert summary["tables"]["usage"] == {
        "rows": len(rows),
        "kept": len(kept),
        "future": future,
        "rejected": dict(Counter(reasons.values())),
    }
    assert not list(out.glob(".fragments*"))


@settings(max_examples=25)
@given(drawn=raw_rows(), seed=st.integers(0, 2**32 - 1), cuts=st.integers(1, 4))
def test_same_bits_for_any_order_and_split_of_rows(drawn, seed, cuts, tmp_path_factory):
    keys, times, rows = drawn
    root = tmp_path_factory.mktemp("bits")
    written = np.array([as_written(row, times) for row in rows], dtype=object)
    write_inputs(root / "one", keys, arrow_type(times, keys), [list(written)])
    shuffled = np.random.default_rng(seed).permutation(written)
    many = [list(part) for part in np.array_split(shuffled, cuts)]
    write_inputs(root / "many", keys, arrow_type(times, keys), many)
    people = pq.read_table(root / "many" / "people.parquet")
    pq.write_table(people.take([3, 0]), root / "many" / "people.parquet")
    pq.write_table(people.take([2, 1]), root / "many" / "people2.parquet")
    one, _ = run(job_of(root / "one"))
    other, _ = run(job_of(root / "many"))
    assert content(one) == content(other)


def test_events_at_one_instant_are_ordered_by_every_column(tmp_path):
    values = [(-1.0, "a"), (-1.0, "b"), (0.0, ""), (0.0, "b"), (2.0, "a")]
    rows = [
        {"who": who, "at": 5, "mb": mb, "drift": drift, "kind": kind}
        for who in (2, 1)
        for mb in (2.0, 0.0)
        for drift, kind in values * 2
    ]
    shuffled = list(np.random.default_rng(0).permutation(np.array(rows, dtype=object)))
    write_inputs(tmp_path / "in", "whole", arrow_type("epoch", "whole"), [shuffled])
    out, _ = run(job_of(tmp_path / "in", partitions=1))
    (found,) = parts_of(out, "events/usage")
    expected_rows = sorted((r["who"], 5, r["mb"], r["drift"], r["kind"]) for r in rows)
    assert list(zip(*found.to_pydict().values(), strict=True)) == expected_rows


def test_a_csv_field_that_does_not_parse_rejects_its_row(tmp_path):
    (tmp_path / "people.csv").write_text("id\n1\n2\n")
    (tmp_path / "usage.csv").write_text(
        "who,at,mb,drift,kind\n"
        "1,2026-09-01,1e3,-2,x\n"
        "one,2026-09-01,1,1,x\n"
        "99999999999999999999,2026-09-01,1,1,x\n"
        "1,soon,1,1,x\n"
        "1,2026-09-01,lots,1,x\n"
        "1,2026-09-01,nan,1,x\n"
        ",2026-09-01,1,1,x\n"
        "2,,1,1,x\n"
        "2,2026-09-01,,1,x\n"
    )
    out, summary = run(job_of(tmp_path))
    assert summary["tables"]["usage"]["rejected"] == {
        "unparsable key": 2, "unparsable time": 1, "mb is not a number": 2,
        "null key": 1, "null time": 1, "mb is null": 1,
    }  # fmt: skip
    rejects = pq.read_table(out / "rejects" / "usage.parquet").to_pylist()
    assert [r["row"] for r in rejects] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert rejects[2] == {
        "file": "usage.csv", "row": 3, "reason": "unparsable time", "subscriber": "1",
        "time": "soon",
    }  # fmt: skip
    kept = pa.concat_tables(parts_of(out, "events/usage")).to_pylist()
    assert kept == [
        {"subscriber": 1, "time": 1_788_220_800, "mb": 1000.0, "drift": -2.0, "kind": "x"}
    ]


def test_chunks_do_not_show(tmp_path, monkeypatch):
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "who": rng.choice([1, 2, 5, 3], 500),
            "at": pd.Timestamp("2026-09-01") + pd.to_timedelta(rng.integers(0, 50, 500), "s"),
            "mb": rng.integers(-1, 3, 500).astype(float),
            "drift": 0.0,
            "kind": rng.choice(["a", "b"], 500),
        }
    )
    results = []
    for name, rows in (("large", 10**6), ("small", 40)):
        folder = tmp_path / name
        write_inputs(folder, "whole", pa.Schema.from_pandas(frame), [])
        frame.to_parquet(folder / "usage.parquet", row_group_size=64)
        monkeypatch.setattr(raw, "ROWS", rows)
        results.append(run(job_of(folder)))
    assert results[0][1] == results[1][1]
    assert content(results[0][0]) == content(results[1][0])
    rejects = [pq.read_table(out / "rejects" / "usage.parquet") for out, _ in results]
    assert rejects[0].equals(rejects[1])
    bad = ~frame["who"].isin([1, 2, 5]) | (frame["mb"] < 0)
    assert rejects[0]["row"].to_pylist() == np.flatnonzero(bad).tolist()


def test_types_of_keys_and_values_are_unified(tmp_path):
    people = pa.table({"id": pa.array([3, 1], pa.uint8()), "score": pa.array([1, 2], pa.int16())})
    pq.write_table(people, tmp_path / "people1.parquet")
    more = pa.table({"id": pa.array([2], pa.uint64()), "score": pa.array([0.5])})
    pq.write_table(more, tmp_path / "people2.parquet")
    usage = pa.table(
        {
            "who": pa.array([1, 2], pa.int16()),
            "at": pa.array([10**18, None], pa.timestamp("ns", "Asia/Tokyo")),
            "mb": pa.array([1, 2], pa.int8()),
            "drift": pa.array(["1.50", "2.00"]).cast(pa.decimal128(5, 2)),
            "kind": pa.array(["x", "y"]).dictionary_encode(),
        }
    )
    pq.write_table(usage, tmp_path / "usage.parquet")
    out, _ = run(job_of(tmp_path, partitions=1))
    (found,) = parts_of(out, "subscribers")
    assert found.to_pydict() == {"subscriber": [1, 2, 3], "score": [2.0, 0.5, 1.0]}
    assert found.schema.types == [pa.int64(), pa.float64()]
    (events,) = parts_of(out, "events/usage")
    assert [str(kind) for kind in events.schema.types] == [
        "int64", "int64", "double", "double", "string"
    ]  # fmt: skip
    assert events.to_pylist() == [
        {"subscriber": 1, "time": 10**9, "mb": 1.0, "drift": 1.5, "kind": "x"}
    ]


def test_empty_tables_are_fine(tmp_path):
    write_inputs(tmp_path / "in", "whole", arrow_type("epoch", "whole"), [[]])
    people = pq.read_table(tmp_path / "in" / "people.parquet")
    pq.write_table(people.slice(0, 0), tmp_path / "in" / "people.parquet")
    (tmp_path / "in" / "usage-1.csv").write_text("who,at,mb,drift,kind\n")
    out, summary = run(job_of(tmp_path / "in"))
    usage = {"rows": 0, "kept": 0, "future": 0, "rejected": {}}
    files = {"new": 2, "reused": 0}
    expected_summary = {"subscribers": 0, "partitions": 3, "files": files}
    assert summary == {**expected_summary, "tables": {"usage": usage}}
    assert [len(part) for part in parts_of(out, "events/usage")] == [0, 0, 0]
    assert {str(part.schema) for part in parts_of(out, "subscribers")} == {
        "subscriber: int64\nrank: int64"
    }


@given(at=st.datetimes(datetime(1700, 1, 1), datetime(2199, 12, 31)), zone=st.integers(-14, 14))
def test_text_reads_as_the_standard_library_reads_it(at, zone):
    texts = [
        at.isoformat(),
        at.isoformat(" ", "seconds") + "Z",
        at.isoformat(timespec="minutes") + f"{zone:+03}:30",
        at.date().isoformat(),
    ]
    found = seconds(pa.chunked_array([texts])).to_pylist()
    assert found == [instant(text) for text in texts]


def test_a_partition_function_never_changes_its_input():
    table = job_of(Path()).inputs.events["usage"]
    rows = usage_table(mb=pa.array([-0.0, None]))
    rows = rows.append_column("__row", pa.array([0, 1])).append_column(
        "__file", pa.array(["f"] * 2)
    )
    before = rows.to_pydict()
    check = partial(check_events, rows, table, pa.int64())
    assert check(as_of=2**40).kept["mb"].to_pylist() == [0.0]
    assert len(check(as_of=0).future) == 1
    assert rows.to_pydict() == before


def test_the_golden_job_rejects_what_was_planted(tmp_path):
    golden = Path(__file__).parent / "golden"
    job = load(golden / "job.yaml", [f"inputs.folder={golden}/inputs"])
    summary = ingest(job, tmp_path, SerialTasks())
    assert summary["subscribers"] == 40
    assert summary["tables"]["usage"] == {
        "rows": 240,
        "kept": 235,
        "future": 1,
        "rejected": {
            "charge is below 0": 1,
            "null key": 1,
            "unknown subscriber": 1,
            "unparsable time": 1,
        },
    }
    rejects = pq.read_table(tmp_path / "rejects" / "usage.parquet").to_pylist()
    assert [r["file"] for r in rejects] == ["usage-1.csv"] * 4


@pytest.mark.parametrize(
    ("unit", "per_second"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)]
)
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_instants_of_every_unit_round_down(unit, per_second, zone):
    ticks = [-per_second - 1, -per_second, -1, 0, 1, per_second - 1, per_second, None]
    found = seconds(pa.chunked_array([pa.array(ticks, pa.timestamp(unit, zone))])).to_pylist()
    assert found == [None if t is None else t // per_second for t in ticks]


def test_no_more_rows_than_a_chunk_are_held_at_once(tmp_path, monkeypatch):
    rows = [{"who": who, "at": 5, "mb": mb, "drift": 0.0, "kind": ""} for who in (1, 2, 9)
            for mb in np.linspace(-1, 1, 100)]  # fmt: skip
    write_inputs(tmp_path / "in", "whole", arrow_type("epoch", "whole"), [rows])  # one row group
    monkeypatch.setattr(raw, "ROWS", 40)
    held, rejects = [], []

    def check(some, *settings):
        found = check_events(some, *settings)
        held.append(len(some))
        rejects.append(len(found.rejects))
        return found

    monkeypatch.setattr("jobs.shuffle.rows_of.check_events", check)
    out, summary = run(job_of(tmp_path / "in"))
    assert max(held) == 40 and sum(held) == 300 and 0 < max(rejects) <= 40
    found = pq.read_table(out / "rejects" / "usage.parquet")
    assert len(found) == sum(summary["tables"]["usage"]["rejected"].values()) > sum(rejects)


@pytest.mark.parametrize("error", [MemoryError("no room"), OSError(5, "no answer")])
def test_a_failure_of_the_machine_is_no_fault_of_the_file(tmp_path, monkeypatch, error):
    write_inputs(tmp_path / "in", "whole", arrow_type("epoch", "whole"), [[]])

    def fail(*_):
        raise error
        yield

    monkeypatch.setattr(raw, "_parquet_batches", fail)
    with pytest.raises(type(error), match=str(error.args[-1])):
        run(job_of(tmp_path / "in"))


def test_events_after_as_of_are_told_by_table(tmp_path):
    rows = [{"who": 1, "at": AS_OF.timestamp() + i, "mb": 1.0, "drift": 0.0, "kind": ""}
            for i in range(4)]  # fmt: skip
    write_inputs(tmp_path / "in", "whole", arrow_type("epoch", "whole"), [rows])
    told = []

    class Told(SerialTasks):
        def tell(self, label, **figures):
            told.append((label, figures))

    (tmp_path / "out").mkdir()
    ingest(job_of(tmp_path / "in"), tmp_path / "out", Told())
    assert told == [("usage: after as_of, not counted", {"events": 3})]
