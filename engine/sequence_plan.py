"""The passes over events whose order matters: which kernel gives which quantity.

Quantities of one series of events (a table and what it keeps of it) with the same numbers share a
pass of their kernel, whatever their windows.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.quantities import Measure, Quantity, Source
from kernels import backend, bursts, fatigue, hours, open_case, repeats

Three = tuple[Any, Any, Any]


@dataclass(frozen=True)
class Kernel:
    """An operation of ``kernels`` and what it is called with: time, then what ``takes`` names."""

    function: Callable[..., Any]
    measures: tuple[Measure, ...]  # that its outputs hold, in order
    takes: tuple[str, ...]  # before start, stop and at
    windowed: bool = False  # whether windows come next; outputs of a span have a row for each


HOURS: tuple[Measure, ...] = ("best_hour", "hour_share", "hour_entropy", "hours")
KERNELS = (
    Kernel(fatigue, ("fatigue",), ("value", "kept")),
    Kernel(bursts, ("bursts", "burst_recency"), ("kept",), windowed=True),
    Kernel(repeats, ("repeats",), ("kept",), windowed=True),
    Kernel(open_case, ("openings", "open_days"), ("value",)),  # values are marks
    Kernel(hours, HOURS, ("kept",), windowed=True),
)
SEQUENTIAL: dict[Measure, Kernel] = {m: kernel for kernel in KERNELS for m in kernel.measures}
"""Kernel of a measure."""


@dataclass(frozen=True)
class SequencePass:
    """One pass over the events of a source."""

    source: Source
    kernel: Kernel
    windows: tuple[int, ...]  # s, ascending
    numbers: tuple[float, ...]  # last arguments of the kernel
    quantities: tuple[Quantity, ...]

    def run(self, series: Three, rows: Three) -> tuple[Any, ...]:
        """Return what the kernel finds of (time, value, kept) for rows (start, stop, at)."""
        time, value, kept = series
        given = {"value": value, "kept": kept}
        arrays = time, *(given[name] for name in self.kernel.takes), *rows
        if self.kernel.windowed:
            library = backend.library(time)
            arrays = *arrays, library.asarray(np.array(self.windows, np.int64))
        found = self.kernel.function(*arrays, *self.numbers)
        return found if isinstance(found, tuple) else (found,)

    def taken(self, found: tuple[Any, ...]) -> dict[Quantity, Any]:
        """Return each quantity from what the pass found."""
        taken = {}
        for q in self.quantities:
            field = found[self.kernel.measures.index(q.measure)]
            taken[q] = field if q.span_s is None else field[self.windows.index(q.span_s)]
        return taken


def sequence_passes(quantities: Iterable[Quantity]) -> list[SequencePass]:
    """Return the passes that give the quantities, whose measures are ``SEQUENTIAL``."""
    groups: dict[tuple[Source, Kernel, tuple[float, ...]], list[Quantity]] = {}
    for q in quantities:
        groups.setdefault((q.source, SEQUENTIAL[q.measure], q.more), []).append(q)
    return [
        SequencePass(source, kernel, _windows(own), numbers, tuple(own))
        for (source, kernel, numbers), own in groups.items()
    ]


def _windows(quantities: Iterable[Quantity]) -> tuple[int, ...]:
    return tuple(sorted({q.span_s for q in quantities if q.span_s is not None}))
