"""How much memory stage ``profile`` will take, said before it begins.

A partition's working set is what its task holds when it holds most:

    2 * tables + (waiting + 2 * piece) * columns * 8

- ``tables``: the subscribers, and of each event table the columns that are read of its longest row
  group (:mod:`jobs.partition`), twice for what is made of them: 8 bytes a row for numbers, instants
  and categories, 1 for booleans, for text its bytes and an offset of 8. The bytes of text are those
  of the file, or the length of the longer one of its least and greatest value in every row,
  whichever is more, as a dictionary holds each value once. A key that is text takes ``OBJECT`` more
  a row while it is searched.
- ``piece``: subscribers of a piece; their result, subscriber and feature columns, as the kernels
  fill it and as Arrow writes it.
- ``waiting``: subscribers whose result waits until it fills a row group of the result.

cuDF takes a partition at once: all row groups, one piece.

Tasks at once (one a worker thread) take the partitions that are largest on disk; where there are
more partitions than that, the allocator keeps ``KEPT`` of what earlier ones gave back. Added is
what each process holds before it begins, and ``KERNELS`` for its compiled kernels. The peak is that
of all processes since they began, as earlier stages may have held more. It is memory of the host:
on a GPU a working set has to fit the device, and where it does not it is halved.
"""

import resource
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from distributed.system import MEMORY_LIMIT

from engine.arrow import GROUP
from jobs import stored

KERNELS = 100 << 20  # bytes of a process: Numba, LLVM and the kernels of all families
KEPT = 0.4  # of the working set; measured with Arrow's pool and glibc
OBJECT = 64  # bytes of a text as a Python object, and its place
NUMBER, OFFSET = 8, 8  # bytes
SAFE = 0.8  # of the machine's memory; the rest is for everything else


@dataclass(frozen=True)
class Memory:
    """What the processes of a run hold, bytes.

    Attributes:
        held: what they hold now, all together.
        peak: the sum of the most that each has held.
        processes: how many they are.
        at_once: tasks that run at once.
        limit: of the machine that all of them are on; infinite for machines elsewhere.
    """

    held: int
    peak: int
    processes: int
    at_once: int
    limit: float = MEMORY_LIMIT


@dataclass(frozen=True)
class Prediction:
    """The memory of a stage, bytes: ``peak`` in all, of which ``working`` for each task at once."""

    peak: int
    working: int

    def advice(self, memory: Memory, partitions: int) -> str:
        """Say what to set where the machine has too little; empty where it has enough."""
        rest = SAFE * memory.limit - (self.peak - self.working * memory.at_once)
        if self.peak <= SAFE * memory.limit:
            return ""
        text = f"the machine has {sized(memory.limit)}; "
        if rest <= 0:
            return f"{text}set fewer cluster.workers"
        wanted = -(-partitions * self.working * memory.at_once // int(rest))
        return f"{text}set inputs.partitions={wanted} or fewer cluster.workers"


def here() -> tuple[int, int]:
    """Return what this process holds, and the most it has held (Linux: in KiB)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return psutil.Process().memory_info().rss, peak


def sized(count: float) -> str:
    """Return bytes for people."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1_000:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1_000
    return f"{count:,.1f} GB"


def predicted(
    memory: Memory,
    parts: Sequence[Mapping[Path, Sequence[str] | None]],
    coded: Iterable[str],
    features: int,
    *,
    in_pieces: bool = True,
) -> Prediction:
    """Predict the peak memory of ``profile`` from the metadata of its largest partitions.

    Args:
        memory: what is held before it.
        parts: files of each partition, the subscriber table first, with the columns to be read of
            each; None: all of them.
        coded: names of the text columns of events that are read as categories.
        features: number of feature columns.
        in_pieces: whether partitions are read by row groups; at once where not.

    Raises:
        DataError: a file is missing or damaged.
    """

    def on_disk(part: Mapping[Path, Any]) -> int:
        return sum(path.stat().st_size for path in part if path.exists())

    at_once = min(memory.at_once, len(parts))
    largest = sorted(parts, key=on_disk, reverse=True)[:at_once]
    working = [_working_set(p, frozenset(coded), features, in_pieces=in_pieces) for p in largest]
    kept = KEPT if len(parts) > at_once else 0.0
    total = int(sum(working) * (1 + kept))
    peak = memory.held + memory.processes * KERNELS + total
    return Prediction(max(peak, memory.peak), total // max(at_once, 1))


def _working_set(
    part: Mapping[Path, Sequence[str] | None],
    coded: frozenset[str],
    features: int,
    *,
    in_pieces: bool,
) -> int:
    tables, pieces, rows, columns = 0, 1, -1, features
    for path, wanted in part.items():
        meta = stored.metadata(path)
        if rows < 0:
            rows, columns = meta.num_rows, meta.num_columns + features
            tables += sum(_groups(meta, wanted, frozenset()))
        else:
            groups = _groups(meta, wanted, coded)
            groups = groups if in_pieces else [sum(groups)]
            tables, pieces = tables + max(groups, default=0), max(pieces, len(groups))
    row = columns * NUMBER
    return 2 * tables + min(rows * row, GROUP) + 2 * -(-rows // pieces) * row


def _groups(meta: Any, wanted: Sequence[str] | None, coded: frozenset[str]) -> list[int]:
    """Return the bytes of the wanted columns of each row group."""
    found = []
    for group in map(meta.row_group, range(meta.num_row_groups)):
        total = 0
        for i, column in enumerate(map(group.column, range(group.num_columns))):
            name = column.path_in_schema
            if wanted is None or name in wanted:
                is_key = i == 0 and wanted is not None
                total += _column(column, group.num_rows, is_coded=name in coded, is_key=is_key)
        found.append(total)
    return found


def _column(column: Any, rows: int, *, is_coded: bool, is_key: bool) -> int:
    if column.physical_type == "BOOLEAN":
        return rows
    if column.physical_type != "BYTE_ARRAY" or is_coded:
        return rows * NUMBER
    known = column.statistics
    longest = 0
    if known is not None and known.has_min_max:
        longest = max(len(str(value).encode()) for value in (known.min, known.max))
    text = max(int(column.total_uncompressed_size), rows * longest) + rows * OFFSET
    return text + rows * OBJECT * is_key
