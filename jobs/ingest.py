"""Stage ``ingest``: a two-phase shuffle on disk.

Phase 1 reads each chunk of each file, checks its rows and writes one fragment, with a batch for
every partition. Phase 2 gathers the batches of a partition, orders them and writes its part.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine import ingest as rows_of
from engine.errors import DataError
from engine.ingest import KEY, REJECTS
from engine.settings import Job
from engine.settings.inputs import EventTable
from jobs.borders import Inputs, inspect, read_schema
from jobs.raw import chunks
from jobs.shuffle import (
    Counts,
    Gather,
    Scatter,
    gather_events,
    gather_subscribers,
    scatter_events,
    scatter_subscribers,
    write,
)
from jobs.tasks import Tasks

SHOWN = 3  # rejects and duplicate keys that an error shows


def ingest(job: Job, folder: Path, tasks: Tasks) -> dict[str, Any]:
    """Check the raw tables and write them bucketed by subscriber and ordered by time.

    Args:
        job: the job.
        folder: receives ``subscribers/``, ``events/<table>/`` and ``rejects/``.
        tasks: where the work is done.

    Returns:
        Subscribers, partitions, and for each table the rows read, kept, future and rejected.

    Raises:
        DataError: a schema is wrong, a file cannot be read, subscriber keys are null or repeated,
            or a table has more rejects than ``inputs.max_reject_share``.
    """
    inputs = inspect(job)
    fragments = folder / ".fragments"
    subscribers = _subscribers(job, inputs, folder, tasks)
    counts = {
        name: _events(job, inputs, (name, table), folder, tasks)
        for name, table in job.inputs.tables().items()
    }
    problems = [
        _too_many(name, found, job.inputs.max_reject_share, fragments / name)
        for name, found in counts.items()
        if found.rejected.total() > job.inputs.max_reject_share * found.rows
    ]
    if problems:
        raise DataError.of(problems)
    (folder / "rejects").mkdir()
    for name in counts:
        rejects = pa.concat_tables([REJECTS.empty_table(), *_rejects(fragments / name)])
        order = [("file", "ascending"), ("row", "ascending")]
        write(rejects.sort_by(order), folder / "rejects" / f"{name}.parquet")
    shutil.rmtree(fragments)
    return {
        "subscribers": subscribers,
        "partitions": job.inputs.partitions,
        "tables": {
            name: {
                "rows": found.rows,
                "kept": found.kept,
                "future": found.future,
                "rejected": dict(sorted(found.rejected.items())),
            }
            for name, found in counts.items()
        },
    }


def part(folder: Path, partition: int) -> Path:
    """Return the file of a partition."""
    return folder / f"part-{partition:05}.parquet"


def _subscribers(job: Job, inputs: Inputs, folder: Path, tasks: Tasks) -> int:
    out, fragments = folder / "subscribers", folder / ".fragments" / "subscribers"
    out.mkdir()
    fragments.mkdir(parents=True)
    key = job.inputs.subscribers.key
    names = [key if name == KEY else name for name in inputs.subscriber_schema.names]
    scatter = [
        Scatter(
            chunk,
            pa.schema(
                (name, kind if name != key or not chunk.file.is_csv else pa.string())
                for name, kind in zip(names, inputs.subscriber_schema.types, strict=True)
            ),
            (key, inputs.key),
            job.inputs.partitions,
            fragments / f"{i:06}.arrow",
        )
        for i, chunk in enumerate(chunks(inputs.subscribers))
    ]
    found = tasks.map("ingest subscribers", scatter_subscribers, scatter, _rows, _chunk)
    problems = [problem for counts in found for problem in counts.problems]
    if problems:
        raise DataError.of(problems)
    gather = _gathers(job, scatter, inputs.subscriber_schema, folder, out)
    counts = tasks.map("order subscribers", gather_subscribers, gather, _rows, _part)
    again = sorted(key for count in counts for key in count.problems)
    if again:
        raise DataError(
            f"inputs.subscribers: {len(again)} keys of column {key} occur more than once, such as "
            f"{', '.join(again[:SHOWN])}; there should be one row per subscriber"
        )
    return sum(count.kept for count in counts)


def _events(
    job: Job, inputs: Inputs, table: tuple[str, EventTable], folder: Path, tasks: Tasks
) -> Counts:
    name, settings = table
    out, fragments = folder / "events" / name, folder / ".fragments" / name
    out.mkdir(parents=True)
    fragments.mkdir(parents=True)
    scatter = [
        Scatter(
            chunk,
            read_schema(chunk.file, settings),
            (settings.key, inputs.key),
            job.inputs.partitions,
            fragments / f"{i:06}.arrow",
            settings,
            int(job.as_of.timestamp()),
        )
        for i, chunk in enumerate(chunks(inputs.events[name]))
    ]
    found = tasks.map(f"ingest {name}", scatter_events, scatter, _rows, _chunk)
    schema = rows_of.event_schema(settings, inputs.key)
    gather = _gathers(job, scatter, schema, folder, out)
    found += tasks.map(f"order {name}", gather_events, gather, _rows, _part)
    for item in scatter:
        item.fragment.unlink()
    return sum(found, Counts())


def _gathers(
    job: Job, scatter: Sequence[Scatter], schema: pa.Schema, folder: Path, out: Path
) -> list[Gather]:
    return [
        Gather(
            partition,
            job.inputs.partitions,
            [item.fragment for item in scatter],
            [item.chunk.file.name for item in scatter],
            schema,
            part(folder / "subscribers", partition),
            part(out, partition),
        )
        for partition in range(job.inputs.partitions)
    ]


def _chunk(item: Scatter) -> str:
    return str(item.chunk.file.path)


def _part(item: Gather) -> str:
    files = sorted(set(item.files))
    more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
    return f"{item.part.name} of {', '.join(files[:SHOWN])}{more}"


def _rows(counts: Counts) -> int:
    return counts.rows or counts.kept


def _rejects(fragments: Path) -> list[pa.Table]:
    return [pq.read_table(path, use_threads=False) for path in sorted(fragments.glob("*.rejects"))]


def _too_many(name: str, counts: Counts, allowed: float, fragments: Path) -> str:
    order = [("file", "ascending"), ("row", "ascending")]
    first = REJECTS.empty_table()
    for rejects in _rejects(fragments):
        first = pa.concat_tables([first, rejects]).sort_by(order).slice(0, SHOWN)
    reasons = ", ".join(f"{n} × {reason}" for reason, n in sorted(counts.rejected.items()))
    shown = "; ".join(
        f"{r['file']} row {r['row']}: {r['reason']} (subscriber {r[KEY]}, time {r['time']})"
        for r in first.to_pylist()
    )
    return (
        f"{name}: {counts.rejected.total() / counts.rows:.2%} of {counts.rows} rows are rejected, "
        f"inputs.max_reject_share allows {allowed:.2%}: {reasons}; the first: {shown}"
    )
