"""The Parquet files of the ledger: read, written, looked after.

The name of a file begins with the version that it was written for. One that the log does not name
by then belongs to a change that failed, so it may be deleted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from engine import tables
from engine.errors import DataError
from jobs.ledger.table import (
    BUCKETS,
    TEXTS,
    Conflict,
    File,
    Ledger,
    existing,
    one_line,
    opened,
    schema,
)
from jobs.stages import sync

EPOCH = date(1970, 1, 1).toordinal()
REMEDY = (
    "put the file back from a backup; without one its rows are lost, and those of its runs can be "
    "booked again only into a new ledger"
)


def read(
    ledger: Ledger,
    columns: Sequence[str],
    where: Any = None,
    *,
    files: Iterable[File] | None = None,
) -> pa.Table:
    """Read rows of some files, the files and their rows in order.

    Args:
        ledger: the ledger.
        columns: the columns to read.
        where: condition of the rows (an expression of Arrow); None: all rows.
        files: the files; None: all of them.

    Raises:
        Conflict: a file was removed by another process meanwhile.
        DataError: a file is not there, or is damaged.
    """
    own = schema(ledger.key)
    chosen = ledger.files if files is None else tuple(files)
    if not chosen:
        return pa.schema([own.field(name) for name in columns]).empty_table()
    try:
        paths = [str(ledger.place(file)) for file in chosen]
        form = ds.ParquetFileFormat(dictionary_columns=[])
        return ds.dataset(paths, schema=own, format=form).to_table(list(columns), filter=where)
    except (OSError, pa.ArrowException) as error:
        now = opened(ledger.folder)
        if now is None or now.version != ledger.version:
            raise Conflict from None
        raise DataError.of(damage(ledger, chosen) or [one_line(error)]) from None


def read_of(
    ledger: Ledger, columns: Sequence[str], where: Any, files: Sequence[File], keys: Any
) -> pa.Table:
    """Read the rows of some subscribers, a bucket at a time; arguments and errors as :func:`read`.

    Args:
        ledger: the ledger.
        columns: the columns to read, ``subscriber`` among them.
        where: condition of the rows.
        files: the files; those of other buckets are left out.
        keys: the subscribers, an Arrow array.
    """
    bucket = tables.bucket(keys.to_pandas(), BUCKETS)
    parts = [read(ledger, columns, where, files=[])]
    for each in np.unique(bucket).tolist():
        rows = read(ledger, columns, where, files=[file for file in files if file.bucket == each])
        known = keys.filter(pa.array(bucket == each))
        parts.append(rows.filter(pc.is_in(rows["subscriber"], known)))
    return pa.concat_tables(parts)


def damage(ledger: Ledger, files: Iterable[File]) -> list[str]:
    """Return what is wrong with the files of a ledger, each named, with what to do."""
    return [f"{ledger.place(f)}: {what}; {REMEDY}" for f in files if (what := _damage(ledger, f))]


def _damage(ledger: Ledger, file: File) -> str:
    path = ledger.place(file)
    try:
        size = path.stat().st_size
        if size != file.size:
            return f"is cut short or changed, has {size} bytes, the log says {file.size}"
        with pq.ParquetFile(path, page_checksum_verification=True) as content:
            rows = content.read(use_threads=False)
        if not rows.schema.equals(schema(ledger.key)):
            return "has other columns than the ledger"
        if len(rows) != file.rows:
            return f"has {len(rows)} rows, the log says {file.rows}"
        days = rows["time"].cast(pa.date32())
        if pc.any(pc.not_equal(days, pa.scalar(file.date))).as_py():
            return f"has rows of other days than {file.date}"
        if (tables.bucket(rows["subscriber"].to_pandas(), BUCKETS) != file.bucket).any():
            return f"has rows of other buckets than {file.bucket}"
    except FileNotFoundError:
        return "is missing"
    except (OSError, pa.ArrowException) as error:
        return f"cannot be read ({one_line(error)})"
    return ""


def written(ledger: Ledger, rows: pa.Table) -> list[File]:
    """Write rows into files for the next version, which no one sees before it is committed.

    Args:
        ledger: the ledger.
        rows: the columns of :func:`schema`, in any order.
    """
    if not len(rows):
        return []
    version = ledger.version + 1
    rows = rows.select(schema(ledger.key).names).combine_chunks()
    rows = rows.sort_by([("subscriber", "ascending"), ("time", "ascending")])
    day = rows["time"].cast(pa.date32()).cast(pa.int32()).to_numpy().astype(np.int64)
    part = day * BUCKETS + tables.bucket(rows["subscriber"].to_pandas(), BUCKETS)
    order = np.argsort(part, kind="stable")
    rows, part = rows.take(pa.array(order)).combine_chunks(), part[order]
    begins = np.flatnonzero(np.diff(part, prepend=part[0] - 1))
    made: list[File] = []
    try:
        for begin, end in zip(begins, [*begins[1:], len(rows)], strict=True):
            number, bucket = divmod(int(part[begin]), BUCKETS)
            when = date.fromordinal(EPOCH + number)
            name = f"date={when}/bucket={bucket}/{version:020}-{uuid4().hex}.parquet"
            made.append(File(name, when, bucket, int(end - begin), 0))
            path = ledger.place(made[-1])
            path.parent.mkdir(parents=True, exist_ok=True)
            own = rows.slice(begin, end - begin)
            pq.write_table(own, path, use_dictionary=list(TEXTS), write_page_checksum=True)
            sync(path)
            made[-1] = replace(made[-1], size=path.stat().st_size)
        buckets = {ledger.place(file).parent for file in made}
        for folder in sorted(buckets | {bucket.parent for bucket in buckets}):
            sync(folder)
        sync(ledger.folder)
    except BaseException:
        for file in made:
            ledger.place(file).unlink(missing_ok=True)
        raise
    return made


def leftovers(ledger: Ledger) -> list[Path]:
    """Return the files that no later version can name: removed, or of a change that failed."""
    named = {file.path for file in ledger.files}
    found = []
    for path in sorted(ledger.folder.glob("date=*/bucket=*/*.parquet")):
        version = path.name.partition("-")[0]
        is_named = path.relative_to(ledger.folder).as_posix() in named
        if not is_named and version.isdigit() and int(version) <= ledger.version:
            found.append(path)
    return found


def sweep(folder: Path) -> int:
    """Delete the files that the ledger no longer needs; return how many."""
    gone = leftovers(existing(folder))
    for path in gone:
        path.unlink(missing_ok=True)
    return len(gone)
