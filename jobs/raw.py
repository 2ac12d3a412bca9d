"""Raw input files: find them, read their schema, read their rows in bounded chunks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq

from engine.errors import DataError
from engine.ingest import FILE, ROW

ROWS = 1_000_000  # rows of a chunk, and so the memory a task needs
BLOCK_BYTES = 16 * 1024 * 1024  # of a CSV file read at once
SUFFIXES = (".parquet", ".csv", ".csv.gz")


@dataclass(frozen=True)
class RawFile:
    """An input file with its schema.

    Attributes:
        path: where it is.
        name: its path below ``inputs.folder``, for people.
        schema: its columns; of a CSV file read as text, all are text.
        groups: rows of each row group; empty for CSV.
    """

    path: Path
    name: str
    schema: pa.Schema
    groups: tuple[int, ...] = ()

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
        if ".." in Path(pattern).parts:
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


def open_file(path: Path, folder: Path, *, typed: bool) -> RawFile:
    """Read the schema of a file.

    Args:
        path: the file.
        folder: the inputs folder, for its name.
        typed: whether the columns of a CSV file get types (from all its rows) or stay text.

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
        elif typed:
            raw = RawFile(path, name, csv.read_csv(path, convert_options=_convert()).schema)
        else:
            with csv.open_csv(path, read_options=_read_options()) as reader:
                names = reader.schema.names
            raw = RawFile(path, name, pa.schema([(n, pa.string()) for n in names]))
    except (OSError, pa.ArrowException, ValueError) as error:
        raise unreadable(path, error) from None
    twice = sorted({n for n in raw.schema.names if raw.schema.names.count(n) > 1})
    if twice:
        raise DataError(f"{path}: names the column {twice[0]} twice; names should be unique")
    return raw


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
        DataError: the file cannot be read.
    """
    row = chunk.first_row
    batches = _csv_batches(chunk, schema) if chunk.file.is_csv else _parquet_batches(chunk, schema)
    while True:
        try:
            batch = next(batches, None)
        except (OSError, pa.ArrowException, ValueError) as error:
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
    with csv.open_csv(chunk.file.path, read_options=_read_options(), convert_options=options) as c:
        yield from c


def _read_options() -> Any:
    return csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES)


def _convert(**options: Any) -> Any:
    """An empty field of a CSV file is null, nothing else is."""
    return csv.ConvertOptions(null_values=[""], strings_can_be_null=True, **options)


def unreadable(path: Path, error: Exception) -> DataError:
    """Return the error of a file that cannot be read."""
    suffix = "Parquet" if path.suffix == ".parquet" else "CSV"
    return DataError(f"{path}: cannot be read as {suffix}: {' '.join(str(error).split())}")
