"""Tables on either side: pandas on the CPU, cuDF on the GPU; the frames choose.

The only file in the project that imports cuDF.

Kinds of columns: ``number`` (whole numbers, floats, decimals), ``text`` (strings, categories),
``boolean``, ``instant`` (dates, timestamps). A missing value is null; NaN in a number is null.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine import arrow
from kernels import backend as side

try:
    import cudf as cudf
except ImportError:  # a machine without cuDF is a CPU machine
    cudf = None

Kind = Literal["number", "text", "boolean", "instant"]
Schema = Mapping[str, Kind]
Backend = Literal["pandas", "cudf"]
BUFFER = 1 << 18  # bytes of a column of a file that are read at a time
KINDS: tuple[Kind, ...] = ("number", "text", "boolean", "instant")

INFERRED: dict[str, Kind] = {
    "string": "text", "empty": "text", "boolean": "boolean", "integer": "number",
    "floating": "number", "mixed-integer-float": "number", "decimal": "number",
    "date": "instant", "datetime": "instant", "datetime64": "instant",
}  # fmt: skip
"""Kind of an object column of pandas, by what it holds; one without values counts as text."""


def library(like: Any) -> Any:
    """Return the table library (pandas or cuDF) that owns a frame or series."""
    return pd if isinstance(like, pd.DataFrame | pd.Series) else cudf


def read(
    path: Path,
    columns: Sequence[str] | None = None,
    backend: Backend = "pandas",
    coded: Sequence[str] = (),
    *,
    rows: slice | None = None,
) -> Any:
    """Read a Parquet file.

    Args:
        path: the file.
        columns: columns to read, in this order; None: all of them.
        backend: the library that shall own the frame.
        coded: text columns that come as categories: few distinct values, each stored once.
        rows: the rows to read, by position; None: all of them.

    Returns:
        DataFrame with a plain index; booleans may be null, dates are timestamps, decimals floats.
        Nobody should write to its columns: see :func:`engine.arrow.frame`.
    """
    names = None if columns is None else list(columns)
    if backend == "cudf":
        part = {} if rows is None else {"skip_rows": rows.start, "nrows": rows.stop - rows.start}
        frame = cudf.read_parquet(path, columns=names, **part)
        return frame.astype(dict.fromkeys(coded, "category"))
    with pq.ParquetFile(path, read_dictionary=list(coded), buffer_size=BUFFER) as file:
        if rows is None:
            table = file.read(columns=names, use_threads=False)
        else:
            table = _rows(file, names, rows)
    return arrow.frame(table if names is None else table.select(names))


def _rows(file: Any, names: list[str] | None, rows: slice) -> Any:
    """Read some rows; whole row groups are read and cut."""
    counts = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    starts = [sum(counts[:i]) for i in range(len(counts))]
    groups = [
        i for i, (at, n) in enumerate(zip(starts, counts, strict=True))
        if at < rows.stop and at + n > rows.start
    ]  # fmt: skip
    table = file.read_row_groups(groups, columns=names, use_threads=False)
    return table.slice(rows.start - (starts[groups[0]] if groups else 0), rows.stop - rows.start)


def write(frame: Any, path: Path) -> None:
    """Write a Parquet file that is either whole or not there: under a temporary name, then renamed.

    Args:
        frame: DataFrame; its index is not written.
        path: the file; one that is there is replaced.
    """
    with unfinished(path) as temporary:
        if library(frame) is pd:
            rows = arrow.table(dict(frame.items()))
            texts = arrow.texts(rows.schema)
            pq.write_table(rows, temporary, compression="lz4", use_dictionary=texts)
        else:
            frame.to_parquet(temporary, index=False)


@contextmanager
def writing(path: Path, like: Any) -> Iterator[Callable[[Any], None]]:
    """Write a Parquet file piece by piece; as :func:`write` it is whole or not there.

    On the CPU pieces are written as they come, see :class:`engine.arrow.Writer`.

    Args:
        path: the file; one that is there is replaced.
        like: some of the file's columns with all their rows, which tell their types.

    Yields:
        What adds rows: columns by name, as :func:`frame` takes them. One call at least has to come.
    """
    with unfinished(path) as temporary:
        if library(like) is pd:
            with arrow.Writer(temporary, like) as writer:
                yield writer.add
        else:
            frames: list[Any] = []
            yield lambda columns: frames.append(frame(columns, like))
            concat(frames).to_parquet(temporary, index=False)


def temporary_name(path: Path) -> Path:
    """Return a name for a file until it is whole; a process that dies leaves such files behind."""
    return path.with_name(f".{path.name}.{uuid4().hex}.tmp")


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """Give a temporary name; what is there at the end, if all went well, gets the path's own."""
    temporary = temporary_name(path)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def schema(frame: Any, columns: Sequence[str] | None = None) -> dict[str, Kind]:
    """Return the kind of every column that has one; others (lists, structs, bytes) are left out.

    Args:
        frame: DataFrame.
        columns: names of the columns that are looked at; None: all of them.
    """
    names = frame.columns if columns is None else columns
    kinds = {name: _kind(frame[name]) for name in names}
    return {name: kind for name, kind in kinds.items() if kind is not None}


def _kind(series: Any) -> Kind | None:
    types = pd.api.types
    dtype = series.dtype
    if types.is_bool_dtype(dtype):
        return "boolean"
    if types.is_numeric_dtype(dtype) or str(dtype).startswith("decimal"):
        return None if types.is_complex_dtype(dtype) else "number"
    if types.is_datetime64_any_dtype(dtype):
        return "instant"
    if str(dtype) == "category":  # cuDF has a class of its own
        return _kind(series.cat.categories.to_series())
    if library(series) is not pd:
        return "text" if types.is_string_dtype(dtype) else None
    if types.is_object_dtype(dtype):
        return INFERRED.get(types.infer_dtype(series, skipna=True))
    return "text" if types.is_string_dtype(dtype) else None


def array_library(like: Any) -> Any:
    """Return the array library (NumPy or CuPy) of a frame's or series' side."""
    return np if library(like) is pd else side.cupy


def frame(columns: Mapping[str, Any], like: Any) -> Any:
    """Return a DataFrame of arrays or series of one length, on the side of ``like``.

    On the CPU the arrays stay where they are, as columns that nobody should write to.
    """
    if library(like) is pd:
        return pd.DataFrame(dict(columns), copy=False)
    return library(like).DataFrame(dict(columns))


def room(rows: int, like: Any) -> Any:
    """Return an array for so many float64 numbers, on the side of ``like``, not yet filled.

    On the CPU it is of Arrow's pool, which keeps pages that were given back.
    """
    if library(like) is not pd:
        return side.cupy.empty(rows)
    return np.frombuffer(pa.allocate_buffer(8 * rows), np.float64)


def concat(frames: Sequence[Any]) -> Any:
    """Return the frames (at least one, of one side) below each other, with a plain index."""
    return library(frames[0]).concat(list(frames), ignore_index=True)


def array(series: Any) -> Any:
    """Return a column as a contiguous NumPy or CuPy array, on the side of the series.

    Nulls in a number become NaN (so whole numbers with nulls become float64). Text is an array of
    objects, on the CPU only. Do not write to the array: it may be the table's own memory.

    Raises:
        TypeError: a null in a column that has no value for it.
    """
    if library(series) is not pd:
        if series.has_nulls and pd.api.types.is_numeric_dtype(series.dtype):
            return series.to_cupy("float64", na_value=np.nan)
        return series.to_cupy()
    if isinstance(series.dtype, pd.api.extensions.ExtensionDtype) and series.isna().any():
        if pd.api.types.is_bool_dtype(series.dtype):
            raise TypeError(f"column {series.name}: a boolean column with nulls has no array")
        if pd.api.types.is_numeric_dtype(series.dtype):
            return np.ascontiguousarray(series.to_numpy("float64", na_value=np.nan))
    return np.ascontiguousarray(series.to_numpy())


def coded(series: Any) -> tuple[Any, Any] | None:
    """Return the code of each row and the categories by code; None where a column has none.

    A column with nulls has none either: they have no category.
    """
    if str(series.dtype) != "category" or series.isna().any():
        return None
    codes = array(series.cat.codes)
    return codes, library(series).Series(series.cat.categories).astype("str")


def texts(series: Any) -> list[str]:
    """Return the values of a column of text, without nulls, as a list."""
    found: list[str] = (series if library(series) is pd else series.to_pandas()).to_list()
    return found


def like(series: Any, pattern: str) -> Any:
    """Return a boolean series: whether the whole text matches a SQL LIKE pattern (no escape)."""
    if library(series) is not pd:
        return series.str.like(pattern).fillna(False)  # noqa: FBT003 (a value, not a switch)
    escaped = pattern.replace("\\", "\\\\")  # Arrow's own escape character
    matches = pc.match_like(pa.array(series, pa.large_string(), from_pandas=True), escaped)
    found: Any = pc.coalesce(matches, pa.scalar(value=False))
    return pd.Series(found.to_numpy(zero_copy_only=False), series.index)


def is_void(series: Any) -> bool:
    """Return whether a column of objects holds no value, so that its kind cannot be told."""
    if library(series) is not pd or not pd.api.types.is_object_dtype(series.dtype):
        return False
    return bool(pd.api.types.infer_dtype(series, skipna=True) == "empty")


def values(series: Any) -> tuple[Kind | None, Any]:
    """Return a column's kind and its values as arrays that know null.

    Returns:
        kind: the column's kind; None for one that is void.
        values: number: float64, null is NaN; instant: float64 microseconds since 1970, UTC, null
            is NaN; boolean: int8, 0 false, 1 null, 2 true; text: a series with a plain index;
            void: None.

    Raises:
        TypeError: the column has no kind.
    """
    if is_void(series):
        return None, None
    kind = _kind(series)
    series = series.reset_index(drop=True)
    if kind == "number":
        return kind, numbers(series)
    if kind == "text":
        return kind, series.astype("str")
    if kind == "boolean":
        if library(series) is pd:
            codes = series.astype("boolean").astype("Int8") * 2
            return kind, codes.to_numpy("int8", na_value=1)
        return kind, (series.astype("int8") * 2).fillna(1).to_cupy()
    if kind == "instant":
        return kind, _microseconds(series)
    raise TypeError(f"column {series.name}: no number, text, boolean or instant: {series.dtype}")


def numbers(series: Any) -> Any:
    """Return a column of numbers as a float64 array; null is NaN."""
    if library(series) is pd:
        return series.to_numpy("float64", na_value=np.nan)
    return series.astype("float64").to_cupy(na_value=np.nan)


def _microseconds(series: Any) -> Any:
    if library(series) is not pd:
        if isinstance(series.dtype, pd.DatetimeTZDtype):
            series = series.dt.tz_convert("UTC").dt.tz_localize(None)
        return numbers(series.astype("datetime64[us]").astype("int64"))
    instants = pd.to_datetime(series, utc=True).dt.tz_localize(None).to_numpy("datetime64[us]")
    return np.where(np.isnat(instants), np.nan, instants.view("int64"))


def column(values: Any, kind: Kind, like: Any) -> Any:
    """Return values as :func:`values` gives them as a series with the index of ``like``.

    Booleans may be a boolean array too, then the series has no nulls.
    """
    tables = library(like)
    if kind == "text":
        series = values.copy(deep=False)
        series.index = like.index
        return series
    values = array_library(like).ascontiguousarray(values)
    if kind == "number" or values.dtype == "bool":
        return tables.Series(values, index=like.index)
    null = values == 1 if kind == "boolean" else values != values
    if kind == "boolean":
        series = tables.Series(values == 2, index=like.index)
        series = series.astype("boolean") if tables is pd else series
    else:
        whole = array_library(like).where(null, 0, values).astype("int64")
        series = tables.Series(whole, index=like.index).astype("datetime64[us]")
    return series.mask(tables.Series(null, index=like.index))


def repeat(text: str | None, like: Any) -> Any:
    """Return a text series of one value, or of nulls, as long as ``like``, with a plain index."""
    return library(like).Series([text], dtype="str").repeat(len(like)).reset_index(drop=True)


def _splitmix64(words: Any) -> Any:
    """Scramble 64-bit words, one to one.

    Source:
        Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def words(keys: Any) -> Any:
    """Return a scrambled 64-bit word for each key; text is hashed by ``pandas.util.hash_array``.

    Whole numbers that differ have words that differ. Texts that differ may share one.

    Args:
        keys: [S] series or array, whole numbers or text, no nulls.

    Returns:
        [S] uint64, NumPy or CuPy, on the side of the keys.
    """
    if pd.api.types.is_integer_dtype(keys.dtype):
        whole = array(keys) if hasattr(keys, "index") else keys
        if whole.dtype.kind in "iu":
            return _splitmix64(whole.astype("int64").view("uint64"))
    on_host = isinstance(keys, np.ndarray) or library(keys) is pd
    texts = np.asarray(keys if on_host else keys.to_pandas(), dtype=object)
    if pd.isna(texts).any():
        raise TypeError("keys must not be null")
    if pd.api.types.infer_dtype(texts) not in {"string", "empty"}:
        raise TypeError(f"keys must be whole numbers or text, got {keys.dtype}")
    # Its factorizing takes texts that differ after a NUL character for one.
    hashed = pd.util.hash_array(texts, categorize=False)
    return _splitmix64(hashed if on_host else side.to_gpu(hashed))


def bucket(keys: Any, partitions: int) -> Any:
    """Return the partition of each key: ``splitmix64(key) mod partitions``.

    It depends on the key alone: not on the machine, the process or other keys. Text keys are hashed
    by ``pandas.util.hash_array`` first, which has a fixed key of its own.

    Args:
        keys: [S] series or array, whole numbers or text, no nulls.
        partitions: number of partitions, >= 1.

    Returns:
        [S] int64 in [0, partitions), NumPy or CuPy, on the side of the keys.
    """
    return (words(keys) % np.uint64(partitions)).astype("int64")


def unit_hash(keys: Any, seed: int, *more: Any) -> Any:
    """Return a number in [0, 1) for each key, as if drawn at random, the same wherever it is drawn.

    Args:
        keys: [S] series or array, whole numbers or text, no nulls.
        seed: seed of the draw, taken modulo 2 ** 64.
        more: further columns like ``keys``, for keys of several columns.

    Returns:
        [S] float64 in [0, 1), NumPy or CuPy, on the side of the keys: 53 bits of
        ``splitmix64(splitmix64(key) xor splitmix64(seed))``, each further column mixed in likewise.
    """
    mixed = _splitmix64(np.array([seed % 2**64], "uint64"))[0]
    drawn = _splitmix64(words(keys) ^ mixed)
    for column in more:
        drawn = _splitmix64(drawn ^ words(column))
    return (drawn >> np.uint64(11)).astype("float64") * 2.0**-53
