"""The two phases of the shuffle on disk, each for one item: small descriptions in, counts out.

A fragment is an Arrow file with one batch for every partition, over and over. A task holds one
chunk or one partition of one table, whatever the size of the inputs.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine import ingest as rows_of
from engine.ingest import FILE, KEY, ROW
from engine.settings.inputs import EventTable
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
    counts, rejects = Counts(), []
    schema = rows_of.event_schema(item.table, item.key[1]).append(pa.field(ROW, pa.int64()))
    with _new_fragment(item.fragment, schema) as fragment:
        for raw in read(item.chunk, item.schema):
            found = rows_of.check_events(raw, item.table, item.key[1], item.as_of)
            reasons = Counter(found.rejects["reason"].to_pylist())
            counts += Counts(rows=len(raw), future=found.future, rejected=reasons)
            if len(found.rejects):
                rejects.append(found.rejects)
            _write_batches(fragment, found.kept, item.partitions)
    if rejects:
        write(pa.concat_tables(rejects), item.fragment.with_suffix(".rejects"))
    return counts


def scatter_subscribers(item: Scatter) -> Counts:
    """Check the keys and numbers of a chunk of the subscriber table and write its fragment."""
    name, kind = item.key
    others = [(field.name, field.type) for field in item.schema if field.name != name]
    schema = pa.schema([(KEY, kind), *others])
    rows, null, odd = 0, [], []
    endless: dict[str, list[int]] = {n: [] for n, t in others if pa.types.is_floating(t)}
    with _new_fragment(item.fragment, schema) as fragment:
        for raw in read(item.chunk, item.schema):
            keys = rows_of.whole_or_text(raw[name], kind)
            keyed = pa.table([keys, *(raw[n] for n, _ in others)], schema=schema)
            _write_batches(fragment, keyed.filter(keys.is_valid()), item.partitions)
            rows += len(raw)
            bad = raw.filter(keys.is_null())
            null += bad.filter(bad[name].is_null())[ROW].to_pylist()
            odd += bad.filter(bad[name].is_valid())[ROW].to_pylist()
            for column, places in endless.items():
                places += raw.filter(pc.is_inf(raw[column]))[ROW].to_pylist()
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
    return Counts(rows=rows, problems=tuple(problems))


@contextmanager
def _new_fragment(path: Path, schema: pa.Schema) -> Iterator[Any]:
    """Give an Arrow file to write, which is whole at the end, or not there."""
    temporary = unfinished(path)
    with pa.ipc.new_file(str(temporary), schema) as fragment:
        yield fragment
    temporary.replace(path)


def _write_batches(fragment: Any, rows: pa.Table, partitions: int) -> None:
    for batch in rows_of.split(rows, partitions):
        fragment.write_batch(batch)


def _read_fragments(item: Gather) -> pa.Table:
    """Return the rows of a partition, each with the place of its fragment in column ``__file``."""
    tables = []
    for i, path in enumerate(item.fragments):
        with pa.memory_map(str(path)) as mapped, pa.ipc.open_file(mapped) as fragment:
            places = range(item.partition, fragment.num_record_batches, item.partitions)
            for place in places:
                rows = pa.Table.from_batches([fragment.get_batch(place)])
                tables.append(
                    rows.append_column(FILE, pa.repeat(pa.scalar(i, pa.int32()), len(rows)))
                )
    empty = item.schema.append(pa.field(ROW, pa.int64())).append(pa.field(FILE, pa.int32()))
    return pa.concat_tables(tables) if tables else empty.empty_table()


def gather_events(item: Gather) -> Counts:
    """Order the events of a partition and write its part."""
    with pq.ParquetFile(item.subscribers) as file:
        keys = file.read(columns=[KEY], use_threads=False)[KEY]
    events, unknown = rows_of.order_events(_read_fragments(item), keys)
    write(events, item.part)
    if len(unknown):
        rejects = rows_of.unknown_rejects(unknown, item.files)
        name = f"unknown-{item.partition:05}.rejects"
        write(rejects, item.fragments[0].with_name(name))
    rejected = Counter({"unknown subscriber": len(unknown)} if len(unknown) else {})
    return Counts(kept=len(events), rejected=rejected)


def gather_subscribers(item: Gather) -> Counts:
    """Order the subscribers of a partition and write its part."""
    rows = _read_fragments(item).select(item.schema.names)
    subscribers, again = rows_of.order_subscribers(rows)
    if not again:
        write(subscribers, item.part)
    return Counts(kept=len(rows), problems=tuple(again))


def unfinished(path: Path) -> Path:
    """Return a name for a file until it is whole; a worker that dies leaves such files behind."""
    return path.with_name(f".{path.name}.{uuid4().hex}.tmp")


def write(rows: pa.Table, path: Path) -> None:
    """Write a Parquet file that is either whole or not there."""
    temporary = unfinished(path)
    pq.write_table(rows, temporary, compression="lz4", use_dictionary=_texts(rows))
    temporary.replace(path)


def _texts(rows: pa.Table) -> list[str]:
    return [f.name for f in rows.schema if pa.types.is_string(f.type) and f.name != KEY]
