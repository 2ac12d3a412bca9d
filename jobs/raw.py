"""Raw input files: find them, read their schema, read their rows in bounded chunks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq

from engine.errors import DataError
from engine.ingest import FILE, ROW, whole_or_text
from jobs import csv_rows

ROWS = 1_000_000  # rows of a chunk, and so the memory a task needs
SUFFIXES = (".parquet", ".csv", ".csv.gz")
CSV_TYPES = (
    pa.null(), pa.int64(), pa.bool_(), pa.date32(), pa.time32("s"), pa.timestamp("s"),
    pa.timestamp("ns"), pa.timestamp("s", "UTC"), pa.timestamp("ns", "UTC"), pa.float64(),
    pa.string(),
)  # fmt: skip
"""What a column of a CSV file may be: the first of these that all its fields can be read as."""
UNREADABLE = (OSError, pa.ArrowException, ValueError)


@dataclass(frozen=True)
class RawFile:
    """An input file with its schema.

    Attributes:
        path: where it is.
        name: its path below ``inputs.folder``, for people.
        schema: its columns; those of a CSV file are text until :func:`typed`.
        groups: rows of each row group; empty for CSV.
        odd_key: of a typed CSV file, a key that is not written as a whole number, if there is one.
    """

    path: Path
    name: str
    schema: pa.Schema
    groups: tuple[int, ...] = ()
    odd_key: str = ""

    @property
    def is_csv(self) -> bool:
        """Whether the file is CSV."""
        return not self.name.endswith(".parquet")


@dataclass(frozen=True)
class Chunk:
    """Some row groups of a Parquet file, or a whole CSV file."""

    file: RawFile
    groups: tuple[int, ...]
    first_row: int


def find(folder: Path, pattern: str, where: str) -> list[Path]:
    """Return the files below ``folder`` that match a glob, in order of their names.

    Raises:
        DataError: no file matches, or a file is neither Parquet nor CSV.
    """
    try:
        if any(part == ".." or ("**" in part and part != "**") for part in Path(pattern).parts):
            raise ValueError
        paths = sorted(p for p in folder.glob(pattern) if p.is_file())
    except (ValueError, NotImplementedError):  # of glob: not a pattern, or an absolute one
        raise DataError(f"{where}: should be a glob below inputs.folder, got {pattern!r}") from None
    if not paths:
        raise DataError(f"{where}: no file matches {folder / pattern}")
    odd = [p for p in paths if not p.name.endswith(SUFFIXES)]
    if odd:
        raise DataError(f"{odd[0]}: is not an input file; its name should end in .parquet or .csv")
    return paths


def open_file(path: Path, folder: Path) -> RawFile:
    """Read the schema of a file.

    Args:
        path: the file.
        folder: the inputs folder, for its name.

    Raises:
        DataError: the file cannot be read, or names a column twice.
    """
    name = path.relative_to(folder).as_posix()
    try:
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                meta = file.metadata
                groups = tuple(meta.row_group(i).num_rows for i in range(meta.num_row_groups))
                raw = RawFile(path, name, file.schema_arrow.remove_metadata(), groups)
        else:
            names = csv_rows.names_of(path)
            raw = RawFile(path, name, pa.schema([(n, pa.string()) for n in names]))
    except UNREADABLE as error:
        raise unreadable(path, error) from None
    twice = sorted({n for n in raw.schema.names if raw.schema.names.count(n) > 1})
    if twice:
        raise DataError(f"{path}: names the column {twice[0]} twice; names should be unique")
    return raw


def typed(file: RawFile, key: str, household: str | None = None) -> RawFile:
    """Find the types of a CSV file's columns from all its rows, a block at a time.

    Args:
        file: any file; one that is not CSV has its types already.
        key: its key column, which stays text.
        household: its column of households, which stays text too; None: it has none.

    Raises:
        DataError: the file cannot be read.
    """
    if not file.is_csv:
        return file
    texts = (key, household)
    left = {n: CSV_TYPES if n not in texts else CSV_TYPES[-1:] for n in file.schema.names}
    odd_key = ""
    try:
        for batch in _csv_batches(Chunk(file, (), 0), file.schema):
            for name, types in left.items():
                left[name] = (*(t for t in types[:-1] if _is_read_as(batch[name], t)), types[-1])
            if key in left:
                odd_key = odd_key or _odd(batch[key])
    except UNREADABLE as error:
        raise unreadable(file.path, error) from None
    schema = pa.schema([(name, types[0]) for name, types in left.items()])
    return replace(file, schema=schema, odd_key=odd_key)


def _is_read_as(texts: Any, kind: pa.DataType) -> bool:
    """Say whether all fields of a CSV column are of a type; Arrow's own reader decides."""
    return csv_rows.is_read_as(texts, _convert(column_types={"field": kind}))


def _odd(keys: Any) -> str:
    """Return the first key that is no whole number of 64 bits as Python writes it, or nothing."""
    whole = whole_or_text(keys, pa.int64()).cast(pa.string())
    same = pc.fill_null(pc.equal(whole, keys), pc.is_null(keys))
    odd = keys.filter(pc.invert(same))
    return str(odd[0]) if len(odd) else ""


def chunks(files: Sequence[RawFile]) -> list[Chunk]:
    """Cut files into chunks: Parquet at row groups, about ``ROWS`` rows each, CSV not at all."""
    cut = []
    for file in files:
        if file.is_csv:
            cut.append(Chunk(file, (), 0))
        start, rows, first = 0, 0, 0
        for i, count in enumerate(file.groups):
            rows += count
            if rows >= ROWS or i == len(file.groups) - 1:
                cut.append(Chunk(file, tuple(range(start, i + 1)), first))
                start, first, rows = i + 1, first + rows, 0
    return cut


def read(chunk: Chunk, schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows of a chunk, at most ``ROWS`` at once.

    Args:
        chunk: what to read.
        schema: the columns wanted, and their types.

    Yields:
        The columns, with ``__row`` (position in the file) and ``__file`` (its name).

    Raises:
        DataError: the file is not what it should be.
        OSError: the machine failed, see :mod:`jobs.attempts`.
    """
    row = chunk.first_row
    batches = _csv_batches(chunk, schema) if chunk.file.is_csv else _parquet_batches(chunk, schema)
    while True:
        try:
            batch = next(batches, None)
        except MemoryError:  # Arrow's is among those below
            raise
        except UNREADABLE as error:
            if isinstance(error, OSError) and error.errno:
                raise  # the machine's failure, not the file's
            raise unreadable(chunk.file.path, error) from None
        if batch is None:
            return
        rows = pa.table(batch.columns, schema=schema)
        position = pa.array(np.arange(row, row + len(rows)))
        name = pa.repeat(pa.scalar(chunk.file.name), len(rows))
        yield rows.append_column(ROW, position).append_column(FILE, name)
        row += len(rows)


def _parquet_batches(chunk: Chunk, schema: pa.Schema) -> Iterator[Any]:
    with pq.ParquetFile(chunk.file.path, page_checksum_verification=True) as file:
        options = {"row_groups": chunk.groups, "columns": schema.names, "use_threads": False}
        for batch in file.iter_batches(ROWS, **options):
            yield pa.Table.from_batches([batch]).select(schema.names).cast(schema)


def _csv_batches(chunk: Chunk, schema: pa.Schema) -> Iterator[Any]:
    options = _convert(column_types=schema, include_columns=schema.names)
    yield from csv_rows.batches(chunk.file.path, len(chunk.file.schema.names), options)


def _convert(**options: Any) -> Any:
    """An empty field of a CSV file is null, nothing else is."""
    return csv.ConvertOptions(null_values=[""], strings_can_be_null=True, **options)


def unreadable(path: Path, error: Exception) -> DataError:
    """Return the error of a file that cannot be read."""
    suffix = "Parquet" if path.suffix == ".parquet" else "CSV"
    return DataError(f"{path}: cannot be read as {suffix}: {' '.join(str(error).split())}")
