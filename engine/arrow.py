"""Arrow tables as DataFrames of pandas and back, and into files: numbers stay where they are.

A column of numbers without nulls has the same bytes on both sides. In a table that is made of a
DataFrame a missing value is null, NaN too.
"""

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

GROUP = 16 << 20  # bytes in memory of a row group that is written
BATCH = 1 << 14  # values that Arrow's writer takes at a time
UNTOLD: Mapping[str, Any] = {}


def frame(rows: pa.Table) -> pd.DataFrame:
    """Return a table as a DataFrame with a plain index.

    Numbers without nulls are Arrow's own memory, which nobody should write to. Whole numbers with
    nulls and decimals become float64; booleans may be null, dates are timestamps.
    """
    for at, field in enumerate(rows.schema):
        if pa.types.is_decimal(field.type):  # pandas would make objects of them
            rows = rows.set_column(at, field.name, rows.column(at).cast(pa.float64()))
    made = {f.name: _plain(c) for f, c in zip(rows.schema, rows.columns, strict=True)}
    others = [name for name, array in made.items() if array is None]
    if made and not others:
        return pd.DataFrame(made, copy=False)
    booleans: dict[Any, Any] = {pa.bool_(): pd.BooleanDtype()}
    found = rows.select(others).to_pandas(
        types_mapper=booleans.get, date_as_object=False, ignore_metadata=True, use_threads=False
    )
    made |= {name: found[name] for name in others}
    return found if len(others) == len(made) else pd.DataFrame(made, copy=False)


def _plain(column: pa.ChunkedArray) -> Any:
    """Return a column of numbers without nulls as an array, one in chunks put together, or None."""
    is_number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if not is_number or column.null_count:
        return None
    whole = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return whole.to_numpy(zero_copy_only=True)


def table(columns: Mapping[str, Any], types: Mapping[str, pa.DataType] = UNTOLD) -> pa.Table:
    """Return columns of one length as a table.

    Args:
        columns: arrays or series by name.
        types: of columns whose values may not tell it.
    """
    return pa.table({name: _array(own, types.get(name)) for name, own in columns.items()})


def _array(column: Any, kind: pa.DataType | None) -> Any:
    if column.dtype != np.float64 or kind not in (None, pa.float64()):
        return pa.Array.from_pandas(column, type=kind)
    values = np.ascontiguousarray(column)
    missing, known = np.isnan(values), None
    count = int(np.count_nonzero(missing))
    if count:
        known = pa.py_buffer(np.packbits(~missing, bitorder="little"))
    return pa.Array.from_buffers(pa.float64(), len(values), [known, pa.py_buffer(values)], count)


def texts(schema: pa.Schema) -> list[str]:
    """Return the columns of text of a table that was a DataFrame."""
    return [field.name for field in schema if pa.types.is_large_string(field.type)]


class Writer:
    """Writes columns below each other to a Parquet file, in row groups of about ``GROUP`` bytes.

    The bytes of a float64 number are apart, by their place in it (``BYTE_STREAM_SPLIT``): those of
    one place are often alike, so that LZ4 takes less time and less room.
    """

    def __init__(self, path: Path, like: pd.DataFrame) -> None:
        """Begin a file.

        Args:
            path: the file.
            like: some of its columns with all their rows, which tell their types.
        """
        schema = pa.Schema.from_pandas(like, preserve_index=False)
        self._types = dict(zip(schema.names, schema.types, strict=True))
        self._path, self._open = path, ExitStack()
        self._writer: Any = None
        self._waiting: list[pa.Table] = []
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if kind is not None:
            with suppress(OSError):  # the file is of no use: what happened first is told
                self._open.close()
            return
        with self._open:
            if self._waiting:
                self._write()

    def add(self, columns: Mapping[str, Any]) -> None:
        """Add rows, arrays or series by name; the first tell the columns and the types of all."""
        rows = table(columns, self._types)
        self._types = dict(zip(rows.schema.names, rows.schema.types, strict=True))
        self._waiting.append(rows)
        self._bytes += rows.nbytes
        if self._bytes >= GROUP:
            self._write()

    def _write(self) -> None:
        rows = pa.concat_tables(self._waiting)
        if self._writer is None:
            floats = [field.name for field in rows.schema if field.type == pa.float64()]
            options: dict[str, Any] = {"compression": "lz4", "use_dictionary": texts(rows.schema)}
            options |= {"column_encoding": dict.fromkeys(floats, "BYTE_STREAM_SPLIT")}
            writer = pq.ParquetWriter(self._path, rows.schema, write_batch_size=BATCH, **options)
            self._writer = self._open.enter_context(writer)
        self._writer.write_table(rows, row_group_size=max(len(rows), 1))
        self._waiting.clear()
        self._bytes = 0
