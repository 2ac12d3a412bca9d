"""Stage ``profile``: ingested partitions in, feature partitions out, one task a partition.

A task takes its partition piece by piece (:mod:`jobs.partition`): features of a subscriber depend
on no other. It holds the subscribers, of one piece the columns that features need, and features
until they are a row group: see :mod:`jobs.memory`. When memory runs out, pieces are halved, down to
``LEAST`` subscribers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import starmap
from pathlib import Path
from typing import Any, TypeVar

from engine import profile as engine_profile
from engine import tables
from engine.errors import ConfigError
from engine.fitted import NOTHING, Fitted, Summaries
from engine.ingest import TIME
from engine.settings import Job
from jobs import memory, stored
from jobs.cluster import frames
from jobs.partition import Part, Partition
from jobs.reach import beyond_data
from jobs.tasks import Tasks

T = TypeVar("T")
FITTED = "fitted.json"  # the parameters of the whole base, in the stage's folder
LEAST = 1_000  # subscribers of a piece; fewer save next to nothing


@dataclass(frozen=True)
class Profiled:
    """What became of a partition.

    Attributes:
        rows: its subscribers.
        pieces: in how many pieces it was done after memory ran out; 1 if it did not.
        first: instant of the first event of each table that has one, s.
    """

    rows: int
    pieces: int
    first: Mapping[str, int]


def profile(job: Job, ingested: Path, folder: Path, tasks: Tasks) -> dict[str, Any]:
    """Compute the features of every subscriber as of the job's instant.

    Args:
        job: the job.
        ingested: folder of the ingest stage.
        folder: an empty folder, which receives ``features/part-*.parquet``, and ``fitted.json``
            where features take parameters of the whole base.
        tasks: where the partitions run.

    Returns:
        Number of subscribers and of feature columns, the columns' names and descriptions, how many
        sources and kernel passes a partition takes, the peak memory as predicted and as it was,
        the partitions done in pieces, and the columns that reach back beyond their table's events.

    Raises:
        ConfigError: every problem of the features.
        DataError: a part of the ingest stage is damaged or out of order, or parameters of the
            whole base cannot be fitted.
    """
    (folder / "features").mkdir()
    names = sorted(path.name for path in (ingested / "subscribers").glob("part-*.parquet"))
    schema = tables.schema(stored.read(ingested / "subscribers" / names[0]))
    if problems := engine_profile.problems(job, schema):
        raise ConfigError.of(problems)
    parts = [Part(job, frames(job.cluster), ingested, folder, name, len(names)) for name in names]
    predicted = _predicted(parts, tasks)
    _fit(parts, tasks)
    found = tasks.map("profile", profile_part, parts, rows=lambda p: p.rows, named=_named)
    in_pieces = {
        name.removesuffix(".parquet"): one.pieces
        for name, one in zip(names, found, strict=True)
        if one.pieces > 1
    }
    for name, pieces in in_pieces.items():
        tasks.tell(f"partition {name}: out of memory, done in {pieces} pieces")
    peak = tasks.memory().peak
    tasks.tell("profile: memory", predicted=memory.sized(predicted), peak=memory.sized(peak))
    first = {t: min(p.first[t] for p in found if t in p.first) for p in found for t in p.first}
    beyond = beyond_data(job, first)
    for note in beyond:
        tasks.tell(note["note"])
    columns = engine_profile.columns(job)
    return {
        "subscribers": sum(one.rows for one in found),
        "features": len(columns),
        "passes": engine_profile.passes(job),
        "predicted_peak_bytes": predicted,
        "peak_bytes": peak,
        "in_pieces": in_pieces,
        "beyond_data": beyond,
        "columns": columns,
        "described": engine_profile.describe(job),
    }


def _predicted(parts: list[Part], tasks: Tasks) -> int:
    """Predict the peak memory, bytes, and say it with what to do about it."""
    job, before = parts[0].job, tasks.memory()
    coded = {name for table in job.inputs.tables().values() for name in table.categories}
    features = len(engine_profile.columns(job))
    files = [part.files() for part in parts]
    found = memory.predicted(before, files, coded, features, in_pieces=parts[0].is_cut)
    figures = {
        "predicted": memory.sized(found.peak),
        "each_task": memory.sized(found.working),
        "tasks_at_once": min(before.at_once, len(parts)),
    }
    if advice := found.advice(before, len(parts)):
        figures["but"] = advice
    tasks.tell("profile: memory", **figures)
    return found.peak


def fitted(job: Job, folder: Path) -> Fitted:
    """Return the parameters that a finished stage's features took."""
    if not engine_profile.fit_columns(job):
        return NOTHING
    return Fitted.of((folder / FITTED).read_text())


def _fit(parts: Sequence[Part], tasks: Tasks) -> None:
    """Fit the parameters of the whole base and write them, if features take any."""
    job, folder = parts[0].job, parts[0].folder
    if engine_profile.fit_columns(job):
        found = tasks.map("fit features", fit_part, parts, named=_named)
        whole = engine_profile.fit(job, [summaries for some in found for summaries in some])
        (folder / FITTED).write_text(whole.text())


def fit_part(part: Part) -> list[Summaries]:
    """Summarise one partition for the parameters of the whole base, in pieces where it must.

    Raises:
        DataError, MemoryError: as :func:`profile_part`.
    """
    columns = engine_profile.fit_columns(part.job)

    def summarise(partition: Partition, number: int) -> list[Summaries]:
        made = partial(engine_profile.summarise_partition, part.job)
        return list(starmap(made, partition.read(number)))

    return _halved(part, columns, summarise)[0]


def _named(part: Part) -> str:
    return ", ".join(map(str, part.files()))


def profile_part(part: Part) -> Profiled:
    """Profile one partition, in pieces where memory runs out.

    Raises:
        DataError: one of its files is damaged or out of order.
        MemoryError: even pieces of ``LEAST`` subscribers are too large.
    """
    columns = engine_profile.event_columns(part.job)
    write = partial(_write, part, fitted(part.job, part.folder))
    rows, pieces = _halved(part, columns, write)
    first = {table: _earliest(part.events(table)) for table in columns}
    return Profiled(rows, pieces, {table: at for table, at in first.items() if at is not None})


def _halved(
    part: Part, columns: Mapping[str, Sequence[str]], work: Callable[[Partition, int], T]
) -> tuple[T, int]:
    """Work on a partition in pieces, twice as many as long as memory runs out.

    Returns:
        ``work(partition, pieces)``, and the pieces if memory ran out, else 1.
    """
    partition, times = Partition(part, columns), 1
    while True:
        number = times * partition.pieces
        try:
            return work(partition, number), number if times > 1 else 1
        except MemoryError:
            if len(partition.subscribers) < 2 * number * LEAST:
                raise
        times *= 2  # the exception is gone here, and with it the tables of the piece


def _write(part: Part, parameters: Fitted, partition: Partition, number: int) -> int:
    """Profile so many pieces and write them as one part; return its subscribers."""
    with tables.writing(part.folder / "features" / part.name, partition.subscribers) as add:
        made = partial(engine_profile.profile_columns, part.job, fitted=parameters)
        for columns in starmap(made, partition.read(number)):  # which lets go of each piece
            add(columns)
    return len(partition.subscribers)


def _earliest(path: Path) -> int | None:
    """Return the first instant of a part, s, from its metadata; None without events."""
    known = (group.least for group in stored.groups(path, TIME))
    return min((int(least) for least in known if least is not None), default=None)
