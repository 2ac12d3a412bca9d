"""Read the parts that a finished stage left; one that is damaged is named."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from engine import tables
from engine.errors import DataError

R = TypeVar("R")

DAMAGED = (OSError, pa.ArrowException, ValueError, KeyError)


@dataclass(frozen=True)
class Group:
    """A row group of a part: where it ends, and the least value of a column; None: not known."""

    stop: int
    least: Any


def read(path: Path, *args: Any, **options: Any) -> Any:
    """Read a part as :func:`engine.tables.read` does.

    Raises:
        DataError: it is no whole Parquet file, or lacks a column.
    """
    return _told(path, lambda: tables.read(path, *args, **options))


def metadata(path: Path) -> Any:
    """Return the Parquet metadata of a part.

    Raises:
        DataError: it is no whole Parquet file.
    """
    return _told(path, lambda: pq.read_metadata(path))


def groups(path: Path, column: str) -> list[Group]:
    """Return the row groups of a part that have rows, in order, with the least value of a column.

    Raises:
        DataError: it is no whole Parquet file, or lacks the column.
    """
    return _told(path, lambda: _groups(pq.read_metadata(path), column))


def _groups(meta: Any, column: str) -> list[Group]:
    at, found, stop = meta.schema.names.index(column), [], 0
    for group in (meta.row_group(i) for i in range(meta.num_row_groups)):
        known = group.column(at).statistics
        stop += group.num_rows
        least = known.min if known is not None and known.has_min_max else None
        if group.num_rows:
            found.append(Group(stop, least))
    return found


def damaged(path: Path, why: str) -> DataError:
    """Return the error of a part that is not as its stage left it."""
    stage = next((p for p in path.parents if (p / "stage.json").exists()), path.parent)
    return DataError(
        f"{path}: {why}; the stage's result is damaged: delete the folder {stage} and run the job "
        "again, which makes it anew"
    )


def _told(path: Path, work: Callable[[], R]) -> R:
    try:
        return work()
    except FileNotFoundError:
        raise damaged(path, "the part is missing") from None
    except MemoryError:  # Arrow's is a broken file too, by its class
        raise
    except DAMAGED as error:
        if isinstance(error, OSError) and error.errno:
            raise  # the machine's failure, not the file's
        said = " ".join(str(error).split())
        raise damaged(path, f"cannot be read as Parquet: {said}") from None
