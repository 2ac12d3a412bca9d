"""The two phases of the shuffle on disk, each for one item: small descriptions in, counts out.

A fragment is an Arrow file with one batch for every partition, over and over. Whatever the order
and size of the inputs, a task of phase 1 holds ``raw.ROWS`` rows (of CSV: some blocks of bytes),
their checked copy and that copy by partition; rejects go to disk with them. A task of phase 2 holds
one partition of one table: as it is read and as it is ordered. More partitions need less memory.
Where households are known, tasks share a table of subscribers too, see :mod:`jobs.households`.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine import ingest as rows_of
from engine import placing, tables, zones
from engine.ingest import FILE, KEY, ROW, TIME
from engine.merge import merge_events
from engine.settings.inputs import EventTable
from jobs import households, stored
from jobs.earlier import take
from jobs.raw import Chunk, read


@dataclass(frozen=True)
class Scatter:
    """Phase 1 of one chunk: what to read, and the fragment to write."""

    chunk: Chunk
    schema: pa.Schema
    key: tuple[str, pa.DataType]
    partitions: int
    fragment: Path
    table: EventTable | None = None
    as_of: int = 0
    zone: str | None = None  # column of time zones of the subscriber table
    household: str | None = None  # column of households of the subscriber table
    moved: Path | None = None  # folder of who is not in the bucket of the own key; None: nobody is


@dataclass(frozen=True)
class Gather:
    """Phase 2 of one partition: the fragments to read, and the part to write."""

    partition: int
    partitions: int
    fragments: Sequence[Path]
    files: Sequence[str]
    schema: pa.Schema
    subscribers: Path
    part: Path
    as_of: int = 0
    future: Path = Path()
    rejects: Path = Path()
    before: Path | None = None  # the part of an earlier result; None: there is none
    waiting: Path | None = None  # its rows that were future then; None: there were none
    lists: Mapping[str, Any] = field(default_factory=dict)  # keys on each list, an Arrow array


@dataclass(frozen=True)
class Counts:
    """What a task met."""

    rows: int = 0
    kept: int = 0
    future: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    problems: tuple[str, ...] = ()

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.rows + other.rows,
            self.kept + other.kept,
            self.future + other.future,
            self.rejected + other.rejected,
            self.problems + other.problems,
        )


def scatter_events(item: Scatter) -> Counts:
    """Check the event rows of a chunk and write its fragment."""
    assert item.table is not None
    counts, rejects = Counts(), item.fragment.with_suffix(".rejects")
    schema = rows_of.event_schema(item.table, item.key[1]).append(pa.field(ROW, pa.int64()))
    moved = households.moved(item.moved)
    with _new_fragment(item.fragment, schema) as fragment, _new_rejects(rejects) as rejected:
        for raw in read(item.chunk, item.schema):
            found = rows_of.check_events(raw, item.table, item.key[1], item.as_of)
            reasons = Counter(found.rejects["reason"].to_pylist())
            counts += Counts(rows=len(raw), rejected=reasons)
            rejected(found.rejects)
            both = pa.concat_tables([found.kept, found.future])
            place = rows_of.partition_of(both[KEY], moved, item.partitions)
            _write_batches(fragment, both, place, item.partitions)
    return counts


def scatter_subscribers(item: Scatter) -> Counts:
    """Check keys, numbers and time zones of a chunk of the subscriber table; write its fragment."""
    name, kind = item.key
    others = [
        (field.name, field.type if field.name != item.household else pa.string())
        for field in item.schema
        if field.name != name
    ]
    schema = pa.schema([(KEY, kind), *others])
    rows, null, odd = 0, [], []
    zone = item.zone if (item.zone, pa.string()) in others else None
    unknown: dict[str, list[int]] = {}
    endless: dict[str, list[int]] = {n: [] for n, t in others if pa.types.is_floating(t)}
    with _new_fragment(item.fragment, schema) as fragment, _new_words(item) as add_words:
        for raw in read(item.chunk, item.schema):
            keys = rows_of.whole_or_text(raw[name], kind)
            if item.household is not None:
                place = raw.schema.get_field_index(item.household)
                texts = rows_of.households(raw[item.household])
                raw = raw.set_column(place, item.household, texts)
            keyed = pa.table([keys, *(raw[n] for n, _ in others)], schema=schema)
            keyed = keyed.filter(keys.is_valid())
            _write_batches(fragment, keyed, add_words(keyed), item.partitions)
            rows += len(raw)
            bad = raw.filter(keys.is_null())
            null += bad.filter(bad[name].is_null())[ROW].to_pylist()
            odd += bad.filter(bad[name].is_valid())[ROW].to_pylist()
            for column, places in endless.items():
                places += raw.filter(pc.is_inf(raw[column]))[ROW].to_pylist()
            if zone is not None:
                for each, row in rows_of.unknown_zones(raw, zone):
                    unknown.setdefault(each, []).append(row)
    where = f"{item.chunk.file.path}: column {name}"
    problems = []
    if null:
        problems.append(
            f"{where}: {len(null)} keys are null, the first in row {null[0]}; "
            f"a subscriber key should never be null"
        )
    if odd:
        problems.append(
            f"{where}: {len(odd)} keys are not whole numbers of 64 bits, the first in row "
            f"{odd[0]}; keys are whole numbers, or text in all files"
        )
    problems += [
        f"{item.chunk.file.path}: column {column}: {len(places)} values are infinite, the first in "
        f"row {places[0]}; allowed are finite numbers, or null where there is none"
        for column, places in endless.items()
        if places
    ]
    first = sorted(unknown, key=lambda each: unknown[each])[: zones.MOST_TOLD]
    problems += [
        f"{item.chunk.file.path}: column {zone}: {zones.unknown(each)}; rows with it: "
        f"{len(unknown[each])}, the first {unknown[each][0]}"
        for each in first
    ]
    if len(unknown) > len(first):
        more = len(unknown) - len(first)
        problems.append(f"{item.chunk.file.path}: column {zone}: {more} more unknown time zones")
    return Counts(rows=rows, problems=tuple(problems))


@contextmanager
def _new_fragment(path: Path, schema: pa.Schema) -> Iterator[Any]:
    """Give an Arrow file to write, which is whole at the end, or not there."""
    with (
        tables.unfinished(path) as temporary,
        pa.ipc.new_file(str(temporary), schema) as fragment,
    ):
        yield fragment


@contextmanager
def _new_words(item: Scatter) -> Iterator[Callable[[pa.Table], np.ndarray]]:
    """Give what finds the partitions of subscribers; of a job with households it notes them."""
    if item.household is None:
        moved = placing.Moved.none()
        yield lambda rows: rows_of.partition_of(rows[KEY], moved, item.partitions)
        return
    with _new_fragment(households.words_of(item.fragment), households.WORDS) as notes:

        def add(rows: pa.Table) -> np.ndarray:
            keys, own = rows[KEY].to_pandas(), rows[item.household].to_pandas()
            place: np.ndarray = placing.of_subscribers(keys, own, item.partitions).astype(np.uint16)
            notes.write_batch(households.noted(tables.words(keys), place))
            return place

        yield add


@contextmanager
def _new_rejects(path: Path) -> Iterator[Callable[[pa.Table], None]]:
    """Give what writes rejects to a file, whole at the end; without any there is no file."""
    writers: list[Any] = []
    with ExitStack() as stack:

        def add(rejects: pa.Table) -> None:
            if not len(rejects):
                return
            if not writers:
                temporary = stack.enter_context(tables.unfinished(path))
                writers.append(stack.enter_context(pq.ParquetWriter(temporary, rejects.schema)))
            writers[0].write_table(rejects)

        yield add


def _write_batches(fragment: Any, rows: pa.Table, place: np.ndarray, partitions: int) -> None:
    for batch in rows_of.split(rows, place, partitions):
        fragment.write_batch(batch)


def _read_fragments(item: Gather) -> pa.Table:
    """Return the rows of a partition, each with the place of its fragment in column ``__file``."""
    found = []
    for i, path in enumerate(item.fragments):
        with pa.memory_map(str(path)) as mapped, pa.ipc.open_file(mapped) as fragment:
            places = range(item.partition, fragment.num_record_batches, item.partitions)
            for place in places:
                rows = pa.Table.from_batches([fragment.get_batch(place)])
                found.append(
                    rows.append_column(FILE, pa.repeat(pa.scalar(i, pa.int32()), len(rows)))
                )
    empty = item.schema.append(pa.field(ROW, pa.int64())).append(pa.field(FILE, pa.int32()))
    return pa.concat_tables(found) if found else empty.empty_table()


def gather_events(item: Gather) -> Counts:
    """Order the events of a partition, those of an earlier result included, and write its part."""
    with pq.ParquetFile(item.subscribers) as file:
        keys = file.read(columns=[KEY], use_threads=False)[KEY]
    rows, files = _with_waiting(item, _read_fragments(item))
    is_future = pc.greater(rows[TIME], item.as_of)
    future = rows.filter(is_future)
    events, unknown = rows_of.order_events(rows.filter(pc.invert(is_future)), keys)
    kept = _write_part(item, events, keys)
    if len(future):
        write(_named(future, files), item.future)
    if len(unknown):
        write(rows_of.unknown_rejects(unknown, files), item.rejects)
    rejected = Counter({"unknown subscriber": len(unknown)} if len(unknown) else {})
    return Counts(kept=kept, future=len(future), rejected=rejected)


def _write_part(item: Gather, events: pa.Table, keys: Any) -> int:
    """Write the part of a partition; return its events."""
    if item.before is None:
        write_events(events, keys, item.part)
        return len(events)
    if not len(events):
        take(item.before, item.part)
        return int(stored.metadata(item.part).num_rows)
    with pq.ParquetFile(item.before) as file:
        old = file.read(use_threads=False).cast(events.schema)
    write_events(merge_events(old, events, keys), keys, item.part)
    return len(old) + len(events)


def _with_waiting(item: Gather, rows: pa.Table) -> tuple[pa.Table, Sequence[str]]:
    """Add the rows that were future in an earlier result; return the files' names by place."""
    if item.waiting is None:
        return rows, item.files
    with pq.ParquetFile(item.waiting) as file:
        more = file.read(use_threads=False)
    names = more[FILE].combine_chunks().dictionary_encode()
    places = pc.add(names.indices.cast(pa.int32()), pa.scalar(len(item.files), pa.int32()))
    more = more.set_column(more.schema.get_field_index(FILE), FILE, places)
    return pa.concat_tables([rows, more]), [*item.files, *names.dictionary.to_pylist()]


def _named(rows: pa.Table, files: Sequence[str]) -> pa.Table:
    """Return rows with the names of their files, in one order for any order of the input."""
    names = pa.array(files, pa.string()).take(rows[FILE].combine_chunks())
    rows = rows.set_column(rows.schema.get_field_index(FILE), FILE, names)
    return rows.sort_by([(FILE, "ascending"), (ROW, "ascending")])


def gather_subscribers(item: Gather) -> Counts:
    """Order the subscribers of a partition and write its part."""
    rows = _read_fragments(item).select(item.schema.names)
    subscribers, again = rows_of.order_subscribers(rows)
    for name, keys in item.lists.items():
        on_it = pc.is_in(subscribers[KEY], keys)
        subscribers = subscribers.append_column(name, on_it)
    if not again:
        write(subscribers, item.part)
    return Counts(kept=len(rows), problems=tuple(again))


def write_events(events: pa.Table, keys: Any, path: Path) -> None:
    """Write the part of a partition's events, of which no value is null.

    The bytes of a time lie apart, by their place in it (``BYTE_STREAM_SPLIT``): most are alike.

    Args:
        events: in order, see :func:`engine.ingest.order_events`.
        keys: the sorted keys of the partition; row groups end with a subscriber's events.
        path: the file.
    """
    schema = pa.schema([field.with_nullable(False) for field in events.schema])  # noqa: FBT003
    rows = pa.table(events.columns, schema=schema)
    options = {"compression": "lz4", "use_dictionary": _texts(rows)}
    apart = {TIME: "BYTE_STREAM_SPLIT"}
    with (
        tables.unfinished(path) as temporary,
        pq.ParquetWriter(temporary, schema, column_encoding=apart, **options) as writer,
    ):
        for start, stop in pairwise(rows_of.groups(events, keys)):
            writer.write_table(rows.slice(start, stop - start), max(stop - start, 1))


def write(rows: pa.Table, path: Path) -> None:
    """Write a Parquet file that is either whole or not there."""
    with tables.unfinished(path) as temporary:
        pq.write_table(rows, temporary, compression="lz4", use_dictionary=_texts(rows))


def _texts(rows: pa.Table) -> list[str]:
    return [f.name for f in rows.schema if pa.types.is_string(f.type) and f.name != KEY]
