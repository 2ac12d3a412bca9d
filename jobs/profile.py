"""Stage ``profile``: ingested partitions in, feature partitions out, one task a partition.

A task holds the columns that features need of one partition, and its features: see
:mod:`jobs.memory`. When memory runs out the partition's subscribers are halved and each piece is
done by itself, down to ``LEAST`` subscribers: features of a subscriber depend on no other.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from engine import ordered, tables
from engine import profile as engine_profile
from engine.errors import ConfigError
from engine.fitted import NOTHING, Fitted, Summaries
from engine.ingest import KEY, TIME
from engine.settings import Job
from jobs import memory, stored
from jobs.cluster import frames
from jobs.reach import beyond_data
from jobs.tasks import Tasks

T = TypeVar("T")
FITTED = "fitted.json"  # the parameters of the whole base, in the stage's folder
LEAST = 1_000  # subscribers of a piece; fewer save next to nothing


@dataclass(frozen=True)
class Part:
    """One partition to profile."""

    job: Job
    backend: tables.Backend
    ingested: Path
    folder: Path
    name: str  # of its file in every table's folder
    partitions: int  # of all

    @property
    def subscribers(self) -> Path:
        """The file of its subscribers."""
        return self.ingested / "subscribers" / self.name

    def events(self, table: str) -> Path:
        """Return the file of its events of a table."""
        return self.ingested / "events" / table / self.name

    def files(self) -> dict[Path, list[str] | None]:
        """Return all its files, with the columns that are read of each; None: all."""
        columns = engine_profile.event_columns(self.job)
        return {self.subscribers: None, **{self.events(t): own for t, own in columns.items()}}


@dataclass(frozen=True)
class Profiled:
    """What became of a partition.

    Attributes:
        rows: its subscribers.
        pieces: in how many pieces it was done.
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
    found = memory.predicted(before, [part.files() for part in parts], coded, features)
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

    def summarise(pieces: int) -> list[Summaries]:
        made = _pieces(part, pieces, columns)
        return [engine_profile.summarise_partition(part.job, *piece) for piece in made]

    return _halved(part, summarise)[0]


def _named(part: Part) -> str:
    return ", ".join(map(str, part.files()))


def profile_part(part: Part) -> Profiled:
    """Profile one partition, in pieces where memory runs out.

    Raises:
        DataError: one of its files is damaged or out of order.
        MemoryError: even pieces of ``LEAST`` subscribers are too large.
    """
    _, pieces = _halved(part, partial(_write, part, fitted(part.job, part.folder)))
    first = {}
    for table in engine_profile.event_columns(part.job):
        earliest = _earliest(part.events(table))
        if earliest is not None:
            first[table] = earliest
    return Profiled(stored.metadata(part.subscribers).num_rows, pieces, first)


def _halved(part: Part, work: Callable[[int], T]) -> tuple[T, int]:
    """Return ``work(pieces)``, and in how many pieces it did a partition without running out."""
    subscribers, pieces = stored.metadata(part.subscribers).num_rows, 1
    while True:
        try:
            return work(pieces), pieces
        except MemoryError:
            if subscribers < 2 * pieces * LEAST:
                raise
        pieces *= 2  # the exception is gone here, and with it the tables of the piece


def _write(part: Part, parameters: Fitted, pieces: int) -> None:
    """Profile so many pieces and write them as one part."""
    read = _pieces(part, pieces, engine_profile.event_columns(part.job))
    made = [engine_profile.profile_partition(part.job, *piece, parameters) for piece in read]
    features = made[0] if pieces == 1 else tables.concat(made)
    tables.write(features, part.folder / "features" / part.name)


def _pieces(
    part: Part, pieces: int, columns: Mapping[str, Sequence[str]]
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Give the subscribers and the events of each piece of a partition, one after the other."""
    subscribers = stored.metadata(part.subscribers).num_rows
    ends = [subscribers * i // pieces for i in range(pieces + 1)]
    for start, stop in zip(ends, ends[1:], strict=False):
        rows = None if pieces == 1 else slice(start, stop)
        yield _piece(part, rows, columns)


def _piece(
    part: Part, rows: slice | None, columns: Mapping[str, Sequence[str]]
) -> tuple[Any, dict[str, Any]]:
    """Return some subscribers of a partition, by their position, and their events."""
    subscribers = stored.read(part.subscribers, backend=part.backend, rows=rows)
    keys = subscribers[KEY]
    number = int(part.name.removeprefix("part-").removesuffix(".parquet"))
    if wrong := ordered.subscriber_problem(keys, number, part.partitions):
        raise stored.damaged(part.subscribers, wrong)
    return subscribers, dict(_events(part, keys, columns, is_whole=rows is None))


def _events(
    part: Part, keys: Any, wanted: Mapping[str, Sequence[str]], *, is_whole: bool
) -> Iterator[tuple[str, Any]]:
    """Give the events of some subscribers of a partition, table by table."""
    for table, columns in wanted.items():
        path = part.events(table)
        texts = [c for c in part.job.inputs.tables()[table].categories if c in columns]
        rows = None if is_whole else _rows_of(path, keys, part.backend)
        frame = stored.read(path, columns, part.backend, texts, rows=rows)
        if wrong := ordered.event_problem(frame, keys):
            raise stored.damaged(path, wrong)
        yield table, frame


def _rows_of(path: Path, keys: Any, backend: tables.Backend) -> slice:
    """Return where in a part the events of ascending keys lie."""
    if len(keys) == 0:
        return slice(0, 0)
    own = stored.read(path, [KEY], backend)[KEY]
    if not own.is_monotonic_increasing:
        raise stored.damaged(path, "its events are not in ascending order of subscribers")
    start = own.searchsorted(keys.iloc[0], side="left")
    return slice(int(start), int(own.searchsorted(keys.iloc[-1], side="right")))


def _earliest(path: Path) -> int | None:
    """Return the first instant of a part, s, from its metadata; None without events."""
    meta = stored.metadata(path)
    at = meta.schema.names.index(TIME)
    known = [meta.row_group(i).column(at).statistics for i in range(meta.num_row_groups)]
    return min((int(one.min) for one in known if one is not None and one.has_min_max), default=None)
