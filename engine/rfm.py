"""RFM scores: where a subscriber's recency, frequency and money lie among those of all.

    score(v) = 1 + floor(bins * (number of subscribers with a smaller value) / (number of all))

so equal values have one score, that of the lowest of them. The numbers of smaller values come from
counts of distinct values, added over partitions: integers, the same for any partitioning. Values
are counted in cells of 1 / 4,096 of their size at most (whole numbers up to 8,192 in cells of their
own): values of one cell count as equal. That is the only approximation, and it bounds what a
partition returns to 4,096 numbers for each doubling of the values.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from engine.quantities import DAY_S
from kernels import backend

CELL_BITS = 40  # of the 64 bits of a value, which its cell leaves out
FLIP = np.int64(2**63 - 1)
DIMENSIONS = ("recency", "frequency", "monetary")


@dataclass(frozen=True, eq=False)
class Counts:
    """How many subscribers have each value: of a partition, or of all."""

    cell: Any  # [n] int32, ascending
    subscribers: Any  # [n] int64


@dataclass(frozen=True)
class Cuts:
    """Least values of the scores from 2 on; those that no subscriber has are left out."""

    recency: tuple[float, ...]  # minus seconds since the last event
    frequency: tuple[float, ...]  # events
    monetary: tuple[float, ...]  # money
    subscribers: int  # with an event in the window
    kind: Literal["rfm"] = "rfm"


def counted(recency: Any, frequency: Any, monetary: Any) -> tuple[Counts, ...]:
    """Count the values of a partition's subscribers, dimension by dimension.

    Args:
        recency: [S] float64, days since the last event.
        frequency: [S] float64, events in the window; 0 leaves the subscriber out.
        monetary: [S] float64, money in the window.
    """
    found = []
    for value in _values(recency, frequency, monetary):
        library = backend.library(value)
        cell, number = library.unique(_cell(value[frequency > 0.0]), return_counts=True)
        found.append(Counts(backend.to_cpu(cell), backend.to_cpu(number).astype(np.int64)))
    return tuple(found)


def cuts(parts: Sequence[tuple[Counts, ...]], bins: int) -> Cuts:
    """Return where the scores of all subscribers begin, from the counts of the partitions."""
    wholes = [_merged(counts) for counts in zip(*parts, strict=True)]
    recency, frequency, monetary = (_begins(whole, bins) for whole in wholes)
    return Cuts(recency, frequency, monetary, int(wholes[0].subscribers.sum()))


def score(cuts: Cuts, recency: Any, frequency: Any, monetary: Any, *, dimension: str) -> Any:
    """Return the scores of one dimension, [R] float64, NaN without events in the window."""
    value = _values(recency, frequency, monetary)[DIMENSIONS.index(dimension)]
    library = backend.library(value)
    begin = library.asarray(getattr(cuts, dimension), dtype=np.float64)
    above = library.searchsorted(begin, value, side="right")
    return library.where(frequency > 0.0, above + 1.0, np.nan)


def combined(cuts: Cuts, recency: Any, frequency: Any, monetary: Any) -> Any:
    """Return the three scores as digits, [R] float64, NaN without events in the window."""
    first, second, third = (
        score(cuts, recency, frequency, monetary, dimension=name) for name in DIMENSIONS
    )
    return 100.0 * first + 10.0 * second + third


def _values(recency: Any, frequency: Any, monetary: Any) -> tuple[Any, ...]:
    """Return the values that are scored, each the better the larger."""
    seconds = backend.library(recency).rint(recency * -DAY_S)
    return seconds, frequency, monetary


def _cell(value: Any) -> Any:
    """Return the cell of each value, ascending with it, int32."""
    bits = (value + 0.0).view(np.int64)  # -0.0 becomes 0.0
    ordered = backend.library(value).where(bits < 0, bits ^ FLIP, bits)
    return (ordered >> CELL_BITS).astype(np.int32)


def _least(cell: Any) -> Any:
    """Return the smallest value of each cell."""
    ordered = cell.astype(np.int64) << CELL_BITS
    return np.where(ordered < 0, ordered ^ FLIP, ordered).view(np.float64)


def _merged(parts: Sequence[Counts]) -> Counts:
    cell = np.concatenate([part.cell for part in parts])
    order = np.argsort(cell, kind="stable")
    number = np.concatenate([part.subscribers for part in parts])[order]
    distinct, first = np.unique(cell[order], return_index=True)
    return Counts(distinct, np.add.reduceat(number, first) if len(first) else number)


def _begins(counts: Counts, bins: int) -> tuple[float, ...]:
    """Return the least value of each score from 2 on, of those that some value has."""
    smaller = np.cumsum(counts.subscribers) - counts.subscribers
    rank = bins * smaller // max(1, int(counts.subscribers.sum()))  # score - 1 of each cell
    places = np.searchsorted(rank, np.arange(1, bins))
    return tuple(_least(counts.cell[places[places < len(rank)]]).tolist())
