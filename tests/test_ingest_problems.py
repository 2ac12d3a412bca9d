"""Every broken input of ``ingest`` is named, with where and what is allowed."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine import zones
from tests.ingested import (
    error_of,
    job_of,
    run,
    usage_table,
)


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


def test_time_zones_that_do_not_exist_are_named_with_file_and_row(tmp_path):
    subscribers = {"path": "people*", "key": "id", "time_zone": "tz"}
    names = ["UTC", "Mars", None, "", "Europe/Brelin", "Mars"]
    typed = pa.table({"id": range(6), "tz": pa.array(names).dictionary_encode()})
    for i, people in enumerate((typed, pa.table({"id": range(6), "tz": names}))):
        first, second = error_of(
            tmp_path / str(i), [usage_table()], people, subscribers=subscribers
        )
        where = "IN/people0.parquet: column tz: unknown time zone"
        assert first.startswith(f"{where} Mars; ") and first.endswith(
            "; rows with it: 2, the first 1"
        )
        assert second.startswith(f"{where} Europe/Brelin; did you mean Europe/Berlin")
        assert second.endswith("; rows with it: 1, the first 4")
    many = pa.table({"id": range(50), "tz": [f"zone {i % 25}" for i in range(50)]})
    lines = error_of(tmp_path / "many", [usage_table()], many, subscribers=subscribers)
    assert len(lines) == zones.MOST_TOLD + 1
    assert lines[-1] == "IN/people0.parquet: column tz: 5 more unknown time zones"


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
