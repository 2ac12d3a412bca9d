"""The two phases of the shuffle on disk, each for one item: small descriptions in, counts out.

A fragment is an Arrow file with one batch for every partition, over and over. A task holds one
chunk or one partition of one table, whatever the size of the inputs.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
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

    def checked() -> Iterator[pa.Table]:
        nonlocal counts
        for raw in read(item.chunk, item.schema):
            result = rows_of.check_events(raw, item.table, item.key[1], item.as_of)
            reasons = Counter(result.rejects["reason"].to_pylist())
            counts += Counts(rows=len(raw), future=result.future, rejected=reasons)
            if len(result.rejects):
                rejects.append(result.rejects)
            yield result.kept

    schema = rows_of.event_schema(item.table, item.key[1]).append(pa.field(ROW, pa.int64()))
    _write_fragment(item, schema, checked())
    if rejects:
        write(pa.concat_tables(rejects), item.fragment.with_suffix(".rejects"))
    return counts


def scatter_subscribers(item: Scatter) -> Counts:
    """Check the keys of a chunk of the subscriber table and write its fragment."""
    name, kind = item.key
    counts, missing, odd = Counts(), [], []

    def keyed() -> Iterator[pa.Table]:
        nonlocal counts
        for raw in read(item.chunk, item.schema):
            keys = rows_of.whole_or_text(raw[name], kind)
            counts += Counts(rows=len(raw))
            missing.extend(raw.filter(raw[name].is_null())[ROW].to_pylist())
            bad = raw.filter(keys.is_null()).filter(raw[name].filter(keys.is_null()).is_valid())
            odd.extend(
                zip(bad[ROW].to_pylist(), bad[name].cast(pa.string()).to_pylist(), strict=True)
            )
            place = raw.column_names.index(name)
            fine = raw.set_column(place, KEY, keys).drop_columns([ROW, FILE])
            yield fine.select([KEY, *(n for n in fine.column_names if n != KEY)]).filter(
                keys.is_valid()
            )

    others = [
        (n, t) for n, t in zip(item.schema.names, item.schema.types, strict=True) if n != name
    ]
    _write_fragment(item, pa.schema([(KEY, kind), *others]), keyed())
    where = f"{item.chunk.file.path}: column {name}"
    problems = []
    if missing:
        problems.append(
            f"{where}: {len(missing)} keys are null, the first in row {missing[0]}; "
            f"a subscriber key should never be null"
        )
    if odd:
        problems.append(
            f"{where}: {len(odd)} keys are not whole numbers of 64 bits, the first in row "
            f"{odd[0][0]}, got {odd[0][1]!r}; keys are whole numbers, or all of them text"
        )
    return counts + Counts(problems=tuple(problems))


def _write_fragment(item: Scatter, schema: pa.Schema, found: Iterator[pa.Table]) -> None:
    with pa.ipc.new_file(item.fragment, schema) as fragment:
        for rows in found:
            for batch in rows_of.split(rows, item.partitions):
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


def write(rows: pa.Table, path: Path) -> None:
    """Write a Parquet file that is either whole or not there."""
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    pq.write_table(rows, temporary, compression="lz4", use_dictionary=_texts(rows))
    temporary.replace(path)


def _texts(rows: pa.Table) -> list[str]:
    return [f.name for f in rows.schema if pa.types.is_string(f.type) and f.name != KEY]
