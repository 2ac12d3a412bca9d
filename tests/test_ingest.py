"""Stage ``ingest`` against a plain definition, row by row; and every broken input."""

import math
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import tables
from engine.errors import DataError
from engine.ingest import check_events, seconds
from engine.settings import Job, load
from jobs import raw
from jobs.ingest import ingest
from jobs.tasks import SerialTasks

AS_OF = datetime(2026, 10, 1, tzinfo=UTC)
PEOPLE = {"whole": [1, 2, 5, 7_000_000_000], "text": ["a", "b", "é", "7"]}
STRANGERS = {"whole": [3, -1], "text": ["c", ""]}
INSTANTS = {
    "instant": ["2026-09-30T10:00:00.999999", "2026-09-30T10:00:00", "1969-12-31T23:59:59.5",
                "2026-10-01T00:00:00", "2026-10-01T00:00:01", "1650-01-01T00:00:00", None],
    "date": ["2026-09-30", "2026-10-01", "2026-10-02", "1969-12-30", None],
    "epoch": [0, 1_790_000_000, 1_790_812_800, 1_790_812_801, 1_790_000_000_000, -9 * 10**9, None],
    "text": ["2026-09-30", "2026-09-30T10:00:00Z", "2026-09-30 12:00+02:00", "1790000000",
             "2026-10-01T00:00:00.5Z", "2026-10-01T02:00:01+02:00", "2026-02-30", "20260930",
             "yesterday", "2026-09-30T25:00", "0999-01-01", None],
}  # fmt: skip
VALUES = [None, math.nan, math.inf, -math.inf, -1.0, -0.0, 0.0, 0.1, 2.0]


def job_of(folder: Path, **changes) -> Job:
    """Return a job over ``people`` and ``usage`` below a folder."""
    inputs = {
        "folder": folder,
        "subscribers": {"path": "people*", "key": "id"},
        "events": {
            "usage": {
                "path": "usage*",
                "key": "who",
                "time": "at",
                "values": {"mb": {"unit": "MB", "minimum": 0}, "drift": {"unit": "points"}},
                "categories": ["kind"],
            }
        },
        "partitions": 3,
        "max_reject_share": 1,
        **changes,
    }
    offer = {"category": "data", "value": 1, "channels": ["sms"]}
    return Job.model_validate(
        {
            "name": "test",
            "as_of": AS_OF,
            "inputs": inputs,
            "scores": {"kind": "columns", "columns": {"boost": "p"}},
            "catalogue": {"currency": "EUR", "channels": {"sms": {}}, "offers": {"boost": offer}},
        }
    )


def run(job: Job, name: str = "out"):
    """Ingest into a folder beside the inputs."""
    out = job.inputs.folder / name
    out.mkdir(exist_ok=True)
    return out, ingest(job, out, SerialTasks())


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


def arrow_type(times: str, keys: str) -> pa.Schema:
    """Return the schema in which the drawn rows are written."""
    kinds = {"instant": pa.timestamp("us"), "date": pa.date32(), "epoch": pa.int64()}
    return pa.schema(
        {
            "who": pa.int32()
            if keys == "never"
            else pa.int64()
            if keys == "whole"
            else pa.string(),
            "at": kinds.get(times, pa.string()),
            "mb": pa.float64(),
            "drift": pa.float64(),
            "kind": pa.string(),
        }
    )


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


def parts_of(out: Path, table: str) -> list[pa.Table]:
    return [pq.read_table(path) for path in sorted((out / table).glob("part-*.parquet"))]


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
    assert not (out / ".fragments").exists()


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


def content(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for folder in ("subscribers", "events")
        for path in (out / folder).rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("keys", ["whole", "text"])
def test_csv_gives_what_parquet_gives(keys, tmp_path):
    rows = [
        {"who": who, "at": at, "mb": mb, "drift": 0.5, "kind": kind}
        for who in [*PEOPLE[keys], STRANGERS[keys][0]]
        for at in INSTANTS["text"][:6]
        for mb, kind in ((0.0, "a"), (1.25, None))
    ]
    table = pa.Table.from_pylist(rows, arrow_type("text", keys))
    people = pa.table({"id": PEOPLE[keys], "rank": [1.5, 2, 3, 4], "on": [True, False, None, True]})
    results = []
    for kind, write in (("parquet", pq.write_table), ("csv", csv.write_csv)):
        folder = tmp_path / kind
        folder.mkdir()
        write(table, folder / f"usage.{kind}")
        write(people, folder / f"people.{kind}")
        results.append(run(job_of(folder)))
    assert results[0][1] == results[1][1]
    assert content(results[0][0]) == content(results[1][0])


def usage_csv(*keys):
    """Return a usage CSV file with an event of each key."""
    return "who,at,mb,drift,kind\n" + "".join(f"{key},2026-09-01,1,1,x\n" for key in keys)


@pytest.mark.parametrize(
    ("people", "kept", "rejected"),
    [
        (["7", "-8"], [7], {"unparsable key": 3}),
        (["007", "8"], ["007"], {"unknown subscriber": 3}),
        (["7", "+8"], ["7"], {"unknown subscriber": 3}),
        (["7", "00"], ["7"], {"unknown subscriber": 3}),
        (["7", "9223372036854775808"], ["7"], {"unknown subscriber": 3}),
        (["9223372036854775807", "7"], [7], {"unparsable key": 3}),
        (["7", "a"], ["7"], {"unknown subscriber": 3}),
    ],
)
@pytest.mark.parametrize("files", [1, 2])
def test_keys_of_csv_files_are_whole_numbers_only_if_all_are_written_as_such(
    people, kept, rejected, files, tmp_path
):
    for i in range(files):
        (tmp_path / f"people{i}.csv").write_text("id\n" + "\n".join(people[i::files]) + "\n")
    (tmp_path / "usage.csv").write_text(usage_csv("7", "007", "+7", "7.0"))
    out, summary = run(job_of(tmp_path))
    events = pa.concat_tables(parts_of(out, "events/usage"))
    assert events["subscriber"].to_pylist() == kept
    assert summary["tables"]["usage"]["rejected"] == rejected
    found = pa.concat_tables(parts_of(out, "subscribers"))["subscriber"].to_pylist()
    assert sorted(map(str, found)) == sorted(people)
    assert all(type(key) is type(kept[0]) for key in found)


def test_csv_keys_follow_parquet_files(tmp_path):
    """Stored keys say what they are: those of the subscriber table first, then those of events."""
    (tmp_path / "people0.csv").write_text("id\n1\n2\n")
    text = usage_table(who=pa.array(["1", "2"]))
    pq.write_table(text, tmp_path / "usage.parquet")
    assert run(job_of(tmp_path), "of events")[1]["tables"]["usage"]["kept"] == 2
    pq.write_table(pa.table({"id": ["x"]}), tmp_path / "people1.parquet")
    assert run(job_of(tmp_path), "of subscribers")[1]["subscribers"] == 3
    pq.write_table(pa.table({"id": [3]}), tmp_path / "people1.parquet")
    with pytest.raises(DataError, match="who .key. is text, but .* is whole number; they should"):
        run(job_of(tmp_path), "apart")


def test_a_csv_key_that_is_no_whole_number_is_named_where_it_should_be_one(tmp_path):
    (tmp_path / "people9.csv").write_text("id\n3\n004\n005\n")
    assert error_of(tmp_path, [usage_table()]) == [
        "IN/people9.csv: column id (key) has 004, which is not written as a whole number of 64 "
        "bits, but the keys of the table's Parquet files are whole numbers"
    ]
    (tmp_path / "people0.parquet").unlink()
    with pytest.raises(DataError) as error:
        run(job_of(tmp_path))
    assert str(error.value) == (
        f"{tmp_path}/usage0.parquet: column who (key) is whole number, but the key of the "
        f"subscriber table is text (004 in {tmp_path}/people9.csv is not written as a whole "
        "number); they should be the same"
    )


FIELDS = ["1", "0", "true", "TRUE", "1.5", "1e5", "NaN", "inf", "007", "9" * 20, "abc", "", "NULL",
          "2026-01-01", "2026-01-01 10:00:00", "2026-01-01T10:00:00.5", "2026-01-01T10:00:00Z",
          "2026-01-01T10:00:00.5+0200", "10:00", "10:00:00", '"a,b"', '"a\nb"']  # fmt: skip


@given(
    fields=st.sets(st.sampled_from(FIELDS), min_size=1, max_size=3).flatmap(
        lambda some: st.lists(st.sampled_from(sorted(some)), max_size=12)
    ),
    block=st.sampled_from([90, 2**20]),
)
def test_types_of_csv_columns_are_those_arrow_finds_in_the_whole_file(
    fields, block, tmp_path_factory
):
    path = tmp_path_factory.mktemp("types") / "people.csv"
    path.write_text("id,a\n" + "".join(f"x,{field}\n" for field in fields))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw, "BLOCK_BYTES", block)
        found = raw.typed(raw.open_file(path, path.parent), "id").schema
    options = csv.ConvertOptions(null_values=[""], strings_can_be_null=True)
    whole = csv.read_csv(path, convert_options=options)
    assert found == whole.schema.set(0, pa.field("id", pa.string()))


def test_a_large_csv_file_is_typed_in_little_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(raw, "BLOCK_BYTES", 2**12)
    path = tmp_path / "people.csv"
    path.write_text("id,a,b\n" + "".join(f"{i},{i / 7},some text\n" for i in range(100_000)))
    usual = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(usual)
    pa.set_memory_pool(pool)
    try:
        found = raw.typed(raw.open_file(path, tmp_path), "id")
    finally:
        pa.set_memory_pool(usual)
    assert found.schema.types == [pa.string(), pa.float64(), pa.string()]
    assert pool.max_memory() < path.stat().st_size / 8


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
    assert summary == {"subscribers": 0, "partitions": 3, "tables": {"usage": usage}}
    assert [len(part) for part in parts_of(out, "events/usage")] == [0, 0, 0]
    assert {str(part.schema) for part in parts_of(out, "subscribers")} == {
        "subscriber: int64\nrank: int64"
    }


def usage_table(**columns) -> pa.Table:
    """Return a correct usage table of two rows, with columns changed, or removed by None."""
    fine = {
        "who": pa.array([1, 2]), "at": pa.array(["2026-09-01", "2026-09-02"]),
        "mb": pa.array([1.0, 2.0]), "drift": pa.array([0.0, 0.0]), "kind": pa.array(["a", "b"]),
    }  # fmt: skip
    return pa.table({n: c for n, c in {**fine, **columns}.items() if c is not None})


def error_of(folder: Path, usage=(), people=None, **changes) -> list[str]:
    """Ingest these tables; return the lines of the error."""
    folder.mkdir(exist_ok=True)
    people = pa.table({"id": [1, 2]}) if people is None else people
    for i, table in enumerate(people if isinstance(people, list) else [people]):
        pq.write_table(table, folder / f"people{i}.parquet")
    for i, table in enumerate(usage):
        pq.write_table(table, folder / f"usage{i}.parquet")
    with pytest.raises(DataError) as error:
        run(job_of(folder, **changes))
    return str(error.value).replace(str(folder), "IN").splitlines()


def test_every_problem_of_every_file_is_named_at_once(tmp_path):
    bad = usage_table(mb=pa.array(["1", "2"]), kind=None)
    worse = usage_table(at=pa.array([1.5, 2.5]), who=pa.array(["1", "2"]))
    assert error_of(tmp_path, [usage_table(), bad, worse]) == [
        "IN/usage1.parquet: column mb (value) has the type string; "
        "allowed is number or whole number",
        "IN/usage1.parquet: the column kind is missing; the columns are who, at, mb, drift",
        "IN/usage2.parquet: column who is text, but whole number in IN/usage0.parquet; "
        "all files of a table should have one schema",
        "IN/usage2.parquet: column at (time) has the type double; "
        "allowed is instant or whole number or text",
        "IN/usage2.parquet: column who (key) is text, but the key of the subscriber table is "
        "whole number; they should be the same",
    ]


@pytest.mark.parametrize(
    ("people", "lines"),
    [
        (
            pa.table({"name": [1]}),
            ["IN/people0.parquet: the column id is missing; the columns are name"],
        ),
        (
            pa.table({"id": [1.5]}),
            ["IN/people0.parquet: column id (key) has the type double; "
             "allowed is whole number or text"],
        ),
        (
            pa.table({"id": [1], "subscriber": [2]}),
            ["IN/people0.parquet: has a column subscriber beside the key id; "
             "the key becomes subscriber, so rename one of them"],
        ),
        (
            [pa.table({"id": [1], "a": [1]}), pa.table({"id": [2], "b": [1]})],
            ["IN/people1.parquet: its columns differ from those of IN/people0.parquet in a, b; "
             "all files of a table should have one schema"],
        ),
        (
            [pa.table({"id": [1], "a": [1]}), pa.table({"id": [2], "a": ["x"]})],
            ["IN/people1.parquet: column a is string, but int64 in IN/people0.parquet; "
             "all files of a table should have one schema"],
        ),
        (
            pa.table({"id": [7, None, 8, None]}),
            ["IN/people0.parquet: column id: 2 keys are null, the first in row 1; "
             "a subscriber key should never be null"],
        ),
        (
            [pa.table({"id": [9, 1, 9, 5, 9]}), pa.table({"id": [5, 7]})],
            ["inputs.subscribers: 2 keys of column id occur more than once, such as 5, 9; "
             "there should be one row per subscriber"],
        ),
    ],
    ids=["no key", "key type", "taken name", "columns", "types", "null", "twice"],
)  # fmt: skip
def test_broken_subscriber_tables(people, lines, tmp_path):
    assert error_of(tmp_path, [usage_table()], people) == lines


def test_a_glob_without_files_is_named(tmp_path):
    assert error_of(tmp_path) == ["inputs.events.usage.path: no file matches IN/usage*"]
    for pattern in ("../x.parquet", "/etc/*.csv", "", "a**b"):
        table = {"path": pattern}
        (line,) = error_of(tmp_path, [usage_table()], events={"usage": table})
        assert line.startswith("inputs.events.usage.path: should be a glob below inputs.folder")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("usage.parquet", b"PAR1 this is no Parquet file PAR1", "cannot be read as Parquet"),
        ("usage.parquet", b"", "cannot be read as Parquet"),
        ("usage.csv", b"", "cannot be read as CSV"),
        ("usage.csv", b"who,at,mb,drift,kind\n1,2026-09-01,1,1\n", "cannot be read as CSV"),
        ("usage.csv", b"who,at,mb,drift,kind\n1,2026-09-01,1,1,\xff\n", "cannot be read as CSV"),
        ("usage.csv", b"who,who,at,mb,drift,kind\n", "names the column who twice"),
        ("usage.xlsx", b"", "is not an input file"),
    ],
    ids=["no parquet", "empty parquet", "empty csv", "short row", "no utf-8", "twice", "suffix"],
)
def test_unreadable_files_are_named(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    (line,) = error_of(tmp_path)
    assert line.startswith(f"IN/{name}: {message}")


def test_a_torn_page_is_named(tmp_path):
    path = tmp_path / "usage.parquet"
    rows = usage_table(who=pa.array(np.arange(5000)), **{
        name: pa.array(np.random.default_rng(1).random(5000)) for name in ("mb", "drift")
    }, at=pa.array(["2026-09-01"] * 5000), kind=pa.array(["a"] * 5000))  # fmt: skip
    pq.write_table(rows, path, write_page_checksum=True)
    torn = bytearray(path.read_bytes())
    torn[100:2000] = bytes(1900)
    path.write_bytes(torn)
    (line,) = error_of(tmp_path)
    assert line.startswith("IN/usage.parquet: cannot be read as Parquet: ")


def test_too_many_rejects_stop_the_job(tmp_path):
    bad = usage_table(who=pa.array([1, 77]), mb=pa.array([-1.0, 2.0]))
    worse = usage_table(who=pa.array([None, 78]))
    assert error_of(tmp_path, [bad, usage_table(), worse], max_reject_share=0.5) == [
        "usage: 66.67% of 6 rows are rejected, inputs.max_reject_share allows 50.00%: "
        "1 × mb is below 0, 1 × null key, 2 × unknown subscriber; the first: "
        "usage0.parquet row 0: mb is below 0 (subscriber 1, time 2026-09-01); "
        "usage0.parquet row 1: unknown subscriber (subscriber 77, time 2026-09-02T00:00:00Z); "
        "usage2.parquet row 0: null key (subscriber None, time 2026-09-01)"
    ]


def test_a_share_of_rejects_that_is_just_allowed(tmp_path):
    pq.write_table(pa.table({"id": [1, 2]}), tmp_path / "people.parquet")
    pq.write_table(usage_table(who=pa.array([1, 77])), tmp_path / "usage.parquet")
    _, summary = run(job_of(tmp_path, max_reject_share=0.5))
    assert summary["tables"]["usage"]["rejected"] == {"unknown subscriber": 1}


def test_column_names_that_clash_are_refused(tmp_path):
    number = {"unit": "points"}
    usage = {"path": "usage*", "key": "who", "time": "at"}
    for changes, name in (
        ({"values": {"subscriber": number}}, "subscriber"),
        ({"values": {"mb": number}, "categories": ["mb"]}, "mb"),
    ):
        table = usage_table(subscriber=pa.array([1, 2]))
        lines = error_of(tmp_path, [table], events={"usage": {**usage, **changes}})
        assert lines[0].startswith(f"inputs.events.usage: the column {name} would be there twice")


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
    assert check(as_of=0).future == 1
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
