"""Stage ``ingest``: a two-phase shuffle on disk.

Phase 1 reads each chunk of each file, checks its rows and writes one fragment, with a batch for
every partition. Phase 2 gathers the batches of a partition, orders them and writes its part.

Memory is bounded by one chunk or one partition for each task at once, see :mod:`jobs.shuffle`;
besides, the rejects of one table are sorted here at the end, some 100 bytes each.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine import ingest as rows_of
from engine.errors import DataError
from engine.ingest import KEY, REJECTS, ROW
from engine.settings import Job
from engine.settings.inputs import LEDGER
from jobs import households, stored
from jobs.borders import (
    Inputs,
    inspect,
    kind_of,
    plain,
    read_schema,
    subscriber_read_schema,
)
from jobs.earlier import Earlier, earlier, leave, record, take
from jobs.raw import chunks, read
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
from jobs.stages import remove
from jobs.tasks import Tasks

IN_FILES = [("file", "ascending"), ("row", "ascending")]
SHOWN = 3  # rejects and duplicate keys that an error shows


@dataclass(frozen=True)
class _Shuffle:
    """What the shuffle of a table needs to know."""

    job: Job
    inputs: Inputs
    before: Earlier
    folder: Path

    @property
    def fragments(self) -> Path:
        """Return where fragments lie: elsewhere with each earlier result.

        A task that still runs when an ingest begins anew takes none of the new ones for its own.
        """
        return self.folder / f".fragments-{self.before.folder.name if self.before.folder else 0}"


def ingest(job: Job, folder: Path, tasks: Tasks) -> dict[str, Any]:
    """Check the raw tables and write them by partition of subscribers, ordered by time.

    Files that an earlier result beside this one was made of are not read again, see
    :mod:`jobs.earlier`. If it is deleted meanwhile the ingest begins anew, without it.

    Args:
        job: the job.
        folder: receives ``subscribers/``, ``events/<table>/``, ``future/<table>/``, ``rejects/``,
            ``inputs.json``, and ``households/`` of a job that knows them.
        tasks: where the work is done.

    Returns:
        Subscribers, partitions, files of events that are new and reused, and for each table the
        rows read, kept, future and rejected.

    Raises:
        DataError: a schema is wrong, a file cannot be read, subscriber keys are null or repeated,
            or a table has more rejects than ``inputs.max_reject_share``.
    """
    inputs = inspect(job)
    own = record(job, inputs)
    while True:
        shuffle = _Shuffle(job, inputs, earlier(own, folder.parent), folder)
        try:
            return _ingested(shuffle, own, tasks)
        except (OSError, DataError):
            if shuffle.before.is_whole():
                raise
            tasks.tell(f"ingest: {shuffle.before.folder} was deleted meanwhile; begins anew")
            for path in folder.iterdir():
                remove(path)


def _ingested(shuffle: _Shuffle, own: Mapping[str, Any], tasks: Tasks) -> dict[str, Any]:
    """Ingest with what an earlier result spares; return the summary."""
    job, inputs, before, folder = shuffle.job, shuffle.inputs, shuffle.before, shuffle.folder
    files = _told(inputs, before, tasks)
    subscribers = _subscribers(shuffle, tasks)
    counts = {name: _events(shuffle, name, tasks) for name in job.inputs.tables()}
    for name, found in counts.items():
        if found.future:
            tasks.tell(f"{name}: after as_of, not counted", events=found.future)
    problems = [
        _too_many(name, found, job.inputs.max_reject_share, _rejects(shuffle, name))
        for name, found in counts.items()
        if found.rejected.total() > job.inputs.max_reject_share * found.rows
        and (job.inputs.ledger is None or name not in LEDGER)  # it remembers who has left
    ]
    if problems:
        raise DataError.of(problems)
    (folder / "rejects").mkdir()
    for name in counts:
        rejects = pa.concat_tables([REJECTS.empty_table(), *_rejects(shuffle, name)])
        write(rejects.sort_by(IN_FILES), _reject_file(folder, name))
    remove(shuffle.fragments)
    told = {
        name: {
            "rows": found.rows,
            "kept": found.kept,
            "future": found.future,
            "rejected": dict(sorted(found.rejected.items())),
        }
        for name, found in counts.items()
    }
    leave(folder, own, told)
    return {
        "subscribers": subscribers,
        "partitions": job.inputs.partitions,
        "files": files,
        "tables": told,
    }


def part(folder: Path, partition: int) -> Path:
    """Return the file of a partition."""
    return folder / f"part-{partition:05}.parquet"


def _told(inputs: Inputs, before: Earlier, tasks: Tasks) -> dict[str, int]:
    """Say how many files of events are new and how many were read before."""
    reused = sum(map(len, before.files.values()))
    files = {"new": sum(map(len, inputs.events.values())) - reused, "reused": reused}
    if reused:
        tasks.tell("ingest", new_files=files["new"], reused_files=files["reused"])
    return files


def _subscribers(shuffle: _Shuffle, tasks: Tasks) -> int:
    job, inputs, before, folder = shuffle.job, shuffle.inputs, shuffle.before, shuffle.folder
    out, fragments = folder / "subscribers", shuffle.fragments / "subscribers"
    moved = households.place(job, folder)
    out.mkdir()
    fragments.mkdir(parents=True)
    if moved is not None:
        moved.mkdir()
    if before.folder is not None and before.has_lists:
        parts = [part(out, partition) for partition in range(job.inputs.partitions)]
        for path in parts:
            take(before.folder / "subscribers" / path.name, path)
        if moved is not None:
            for name in households.FILES:
                take(before.folder / households.FOLDER / name, moved / name)
        return sum(stored.metadata(path).num_rows for path in parts)
    key, household = job.inputs.subscribers.key, job.inputs.subscribers.household
    scatter = [
        Scatter(
            chunk,
            subscriber_read_schema(chunk.file, inputs, job),
            (key, inputs.key),
            job.inputs.partitions,
            fragments / f"{i:06}.arrow",
            zone=job.inputs.subscribers.time_zone,
            household=household,
        )
        for i, chunk in enumerate(chunks(inputs.subscribers))
    ]
    found = tasks.map("ingest subscribers", scatter_subscribers, scatter, _rows, _chunk)
    problems = [problem for counts in found for problem in counts.problems]
    if problems:
        raise DataError.of(problems)
    if moved is not None:
        again = households.build([s.fragment for s in scatter], job.inputs.partitions, moved)
        _unique(key, again)
    lists = {name: _listed(shuffle, name) for name in job.inputs.lists}
    gather = [
        replace(item, lists={name: own[item.partition] for name, own in lists.items()})
        for item in _gathers(job, scatter, inputs.subscriber_schema, folder, out)
    ]
    counts = tasks.map("order subscribers", gather_subscribers, gather, _rows, _part)
    _unique(key, sorted(again for count in counts for again in count.problems))
    return sum(count.kept for count in counts)


def _unique(key: str, again: Sequence[str]) -> None:
    """Raise an error if keys occur more than once."""
    if again:
        raise DataError(
            f"inputs.subscribers: {len(again)} keys of column {key} occur more than once, such as "
            f"{', '.join(again[:SHOWN])}; there should be one row per subscriber"
        )


def _listed(shuffle: _Shuffle, name: str) -> list[Any]:
    """Return the keys that are on a list, by partition, as Arrow arrays.

    Raises:
        DataError: keys are null or not of the subscriber table's type.
    """
    settings, kind = shuffle.job.inputs.lists[name], shuffle.inputs.key
    own: list[list[Any]] = [[] for _ in range(shuffle.job.inputs.partitions)]
    moved = households.moved(households.place(shuffle.job, shuffle.folder))
    problems = []
    for chunk in chunks(shuffle.inputs.lists[name]):
        stored = pa.string() if chunk.file.is_csv else chunk.file.schema.field(settings.key).type
        for raw in read(chunk, pa.schema([(settings.key, plain(stored))])):
            keys = rows_of.whole_or_text(raw[settings.key], kind)
            if keys.null_count:
                row = int(np.flatnonzero(keys.is_null())[0])
                problems.append(
                    f"{chunk.file.path}: column {settings.key} (key): {keys.null_count} are null "
                    f"or no {kind_of(kind)}, the first {raw[settings.key][row]} in row "
                    f"{raw[ROW][row]}; a key should never be"
                )
                continue
            rows = pa.table({KEY: keys})
            where = rows_of.partition_of(rows[KEY], moved, len(own))
            batches = rows_of.split(rows, where, len(own))
            for batch, found in zip(batches, own, strict=True):
                found.append(batch[KEY])
    if problems:
        raise DataError.of(problems)
    return [pa.chunked_array(found, kind).unique() for found in own]


def _events(shuffle: _Shuffle, name: str, tasks: Tasks) -> Counts:
    """Shuffle the new files of an event table; return the counts of all its files."""
    job, inputs, before = shuffle.job, shuffle.inputs, shuffle.before
    settings, as_of = job.inputs.tables()[name], int(job.as_of.timestamp())
    fragments = shuffle.fragments / name
    for path in (fragments, shuffle.folder / "events" / name, shuffle.folder / "future" / name):
        path.mkdir(parents=True)
    new = [file for file in inputs.events[name] if file.name not in before.files.get(name, ())]
    scatter = [
        Scatter(
            chunk,
            read_schema(chunk.file, settings),
            (settings.key, inputs.key),
            job.inputs.partitions,
            fragments / f"{i:06}.arrow",
            settings,
            as_of,
            moved=households.place(job, shuffle.folder),
        )
        for i, chunk in enumerate(chunks(new))
    ]
    found = tasks.map(f"ingest {name}", scatter_events, scatter, _rows, _chunk)
    schema = rows_of.event_schema(settings, inputs.key)
    out = shuffle.folder / "events" / name
    gather = [
        _after(shuffle, name, item) for item in _gathers(job, scatter, schema, shuffle.folder, out)
    ]
    found += tasks.map(f"order {name}", gather_events, gather, _rows, _part)
    for item in scatter:
        item.fragment.unlink()
    own = before.counts.get(name, {"rows": 0, "rejected": {}})
    return sum(found, Counts(rows=own["rows"], rejected=Counter(own["rejected"])))


def _after(shuffle: _Shuffle, name: str, item: Gather) -> Gather:
    """Add to a partition of events where its rows of an earlier result are, and its other files."""
    before, file = shuffle.before.folder, item.part.name
    fragments = shuffle.fragments / name
    item = replace(
        item,
        as_of=int(shuffle.job.as_of.timestamp()),
        future=shuffle.folder / "future" / name / file,
        rejects=fragments / f"unknown-{item.partition:05}.rejects",
    )
    if before is None or name not in shuffle.before.files:
        return item
    waiting = before / "future" / name / file
    has_waiting = waiting.relative_to(before).as_posix() in shuffle.before.parts
    return replace(
        item,
        before=before / "events" / name / file,
        waiting=waiting if has_waiting else None,
    )


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


def _reject_file(folder: Path, name: str) -> Path:
    return folder / "rejects" / f"{name}.parquet"


def _rejects(shuffle: _Shuffle, name: str) -> Iterator[pa.Table]:
    """Give the rejects of a table, those of an earlier result first."""
    if shuffle.before.folder is not None and name in shuffle.before.files:
        yield pq.read_table(_reject_file(shuffle.before.folder, name), use_threads=False)
    for path in sorted((shuffle.fragments / name).glob("*.rejects")):
        yield pq.read_table(path, use_threads=False)


def _too_many(name: str, counts: Counts, allowed: float, found: Iterable[pa.Table]) -> str:
    first = REJECTS.empty_table()
    for rejects in found:
        first = pa.concat_tables([first, rejects]).sort_by(IN_FILES).slice(0, SHOWN)
    reasons = ", ".join(f"{n} × {reason}" for reason, n in sorted(counts.rejected.items()))
    shown = "; ".join(
        f"{r['file']} row {r['row']}: {r['reason']} (subscriber {r[KEY]}, time {r['time']})"
        for r in first.to_pylist()
    )
    return (
        f"{name}: {counts.rejected.total() / counts.rows:.2%} of {counts.rows} rows are rejected, "
        f"inputs.max_reject_share allows {allowed:.2%}: {reasons}; the first: {shown}"
    )
