"""A small ingest job for tests: its raw tables written and read, and what is wrong with them."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.errors import DataError
from engine.settings import Job
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


def parts_of(out: Path, table: str) -> list[pa.Table]:
    return [pq.read_table(path) for path in sorted((out / table).glob("part-*.parquet"))]


def content(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for folder in ("subscribers", "events")
        for path in (out / folder).rglob("*")
        if path.is_file()
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
