"""The passes over a partition's events: which events a row sees, and what kernels make of them.

A row is a subscriber at an instant; its events are one range of the subscriber's. On the CPU rows
go through all passes of a table some at a time, so that their events are read from memory once.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any

import numpy as np

from engine import tables
from engine.event_conditions import coded, marks, mask
from engine.feature_plan import AnyPass
from engine.group_plan import GroupPass, Layer, layers
from engine.quantities import Quantity
from engine.sequence_plan import Three
from kernels import backend, events_until, ranges
from kernels.threads import CHUNK, each_task

HEAVY = 1 << 16
"""Events of a row beyond which a device leaves the row to the processor: one thread would stall."""


@dataclass(frozen=True)
class Rows:
    """R rows of a partition; arrays [R] int64 on one side."""

    position: Any | None  # the subscriber's position in the partition, ascending; None: each once
    at: Any  # the instant, s
    last: Any  # the last instant whose events count, s

    def of(self, array: Any) -> Any:
        """Return what an array of the partition's subscribers holds for each row."""
        return array if self.position is None else array[self.position]


@dataclass(frozen=True)
class Series:
    """What one pass reads, arrays on one side."""

    time: Any  # [E] int64, s
    value: Any  # [E] float64, or int8 marks of cases; [0] without values
    kept: Any  # [E] bool, the events that count; [0]: all, or those of layers
    layers: tuple[Layer, ...] = ()  # of a pass over groups


def quantities(
    passes: Iterable[AnyPass], frames: Mapping[str, Any], keys: Any, rows: Rows
) -> dict[Quantity, Any]:
    """Compute every quantity of the rows.

    Args:
        passes: as :func:`engine.feature_plan.planned` returns them.
        frames: event tables by name, each sorted by subscriber and time.
        keys: the partition's subscribers, a sorted series.
        rows: the rows.

    Returns:
        [R] float64 by quantity.
    """
    found: dict[Quantity, Any] = {}
    for table, own in groupby(passes, lambda one: one.source.table):
        found |= _of_table(frames[table].reset_index(drop=True), list(own), keys, rows)
    return found


def _of_table(frame: Any, passes: list[AnyPass], keys: Any, rows: Rows) -> dict[Quantity, Any]:
    """Compute the quantities of one table's events."""
    read = _series(frame, passes)
    time, count = tables.array(frame["time"]), len(rows.at)
    library = backend.library(time)
    ranged = _ranged(frame["subscriber"], keys, rows)
    found = {q: tables.room(count, frame) for one in passes for q in one.quantities}

    def work(some: slice) -> None:
        start, stop = ranged(some)
        at, last = (library.ascontiguousarray(instants[some]) for instants in (rows.at, rows.last))
        stop = events_until(time, start, stop, last)
        for one, series in zip(passes, read, strict=True):
            for quantity, array in _taken(one, series, (start, stop, at)).items():
                found[quantity][some] = array

    chunk = CHUNK if library is np else max(count, 1)
    each_task(work, [slice(at, min(at + chunk, count)) for at in range(0, count, chunk)])
    return found


def _taken(one: AnyPass, series: Series, place: Three) -> dict[Quantity, Any]:
    """Return what a pass finds of rows (start, stop, at)."""
    if not isinstance(one, GroupPass):
        return one.taken(_run((series.time, series.value, series.kept), place, one.run))
    found: dict[Quantity, Any] = {}
    for layer in series.layers:
        arrays = series.time, series.value, layer.code
        found |= one.taken(layer, _run(arrays, place, one.run(layer)))
    return found


def _series(frame: Any, passes: list[AnyPass]) -> list[Series]:
    """Return what each pass reads; a condition is asked once."""
    time = tables.array(frame["time"])
    nothing = backend.library(time).empty(0)
    codes = cache(lambda name: coded(frame[name]))
    kept = cache(lambda events: mask(frame, events, codes))
    read = []
    for one in passes:
        source, value = one.source, nothing
        if source.column is not None:
            value = tables.array(frame[source.column]).astype("float64", copy=False)
            value = value * value if source.squared else value
        elif source.opens is not None:
            value = marks(frame, source, codes)
        runs = layers(frame, one, codes) if isinstance(one, GroupPass) else ()
        read.append(Series(time, value, kept(source.events), runs))
    return read


def _ranged(events: Any, keys: Any, rows: Rows) -> Callable[[slice], tuple[Any, Any]]:
    """Return what tells of some rows where their subscribers' events lie."""
    if str(keys.dtype) == "int64":
        key, wanted = tables.array(events), rows.of(tables.array(keys))
        return lambda some: ranges(key, wanted[some])
    first, after = (rows.of(searched(events, keys, side)) for side in ("left", "right"))
    return lambda some: (first[some], after[some])


def searched(keys: Any, wanted: Any, side: str) -> Any:
    """Return [R] int64: where the wanted keys lie among sorted keys, numbers or text."""
    return keys.searchsorted(wanted, side=side).astype("int64", copy=False)


def _run(arrays: Three, place: Three, run: Callable[[Three, Three], Any]) -> Any:
    """Run a pass; a device leaves rows of very many events to the processor: the same bits."""
    start, stop, at = place
    library = backend.library(start)
    if library is np:
        return run(arrays, place)
    heavy = library.flatnonzero(stop - start > HEAVY)
    light = stop.copy()
    light[heavy] = start[heavy]
    found = run(arrays, (start, light, at))
    for r in backend.to_cpu(heavy).tolist():
        own = slice(int(start[r]), int(stop[r]))
        time, value, kept = (backend.to_cpu(a[own] if len(a) else a) for a in arrays)
        whole = np.zeros(1, np.int64), np.array([own.stop - own.start])
        row = run((time, value, kept), (*whole, backend.to_cpu(at[r : r + 1])))
        for field, filled in zip(found, row, strict=True):
            field[..., r : r + 1] = backend.to_gpu(filled)
    return found
