"""The passes over a partition's events: which events a row sees, and what kernels make of them.

A row is a subscriber at an instant; its events are one range of the subscriber's. On the CPU rows
go through all passes of a table some at a time, so that their events are read from memory once.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache, reduce
from itertools import groupby
from operator import and_
from typing import Any

import numpy as np
import pandas as pd

from engine import expressions, tables
from engine.feature_plan import AnyPass
from engine.quantities import Quantity, Source
from kernels import backend, events_until, ranges
from kernels.threads import CHUNK, each_task

HEAVY = 1 << 16
"""Events of a row beyond which a device leaves the row to the processor: one thread would stall."""

COMPARED = 8
"""Most codes that are compared with those of the rows one by one: many rows at a time."""

REMEMBERED = 1 << 10
"""Most categories of a column whose answers are kept: cells, say, differ between partitions."""

Codes = Callable[[str], tuple[Any, tuple[str, ...]] | None]
"""Of a column: the code of each row and the texts by code; None where it has none."""


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
    kept: Any  # [E] bool, the events that count; [0]: all


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
            found_here = _run(series, (start, stop, at), one)
            for quantity, array in one.taken(found_here).items():
                found[quantity][some] = array

    chunk = CHUNK if library is np else max(count, 1)
    each_task(work, [slice(at, min(at + chunk, count)) for at in range(0, count, chunk)])
    return found


def _series(frame: Any, passes: list[AnyPass]) -> list[Series]:
    """Return what each pass reads; a condition is asked once."""
    time = tables.array(frame["time"])
    library = backend.library(time)
    coded = cache(lambda name: _coded(frame[name]))
    masks: dict[Source, Any] = {}
    read = []
    for source in (one.source for one in passes):
        events = source.events
        if events not in masks:
            masks[events] = _mask(frame, events, coded)
        value = library.empty(0)
        if source.column is not None:
            value = tables.array(frame[source.column]).astype("float64", copy=False)
            value = value * value if source.squared else value
        elif source.opens is not None and source.closes is not None:
            value = _marks(frame, source.opens, source.closes, coded)
        read.append(Series(time, value, masks[events]))
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


def _mask(frame: Any, source: Source, coded: Codes) -> Any:
    """Return which events of a table a source keeps, [E] bool; [0]: all of them."""
    if not source.conditions:
        return tables.array_library(frame).empty(0, bool)
    parsed = (expressions.parse(sql, str(source)) for sql in source.conditions)
    return reduce(and_, (_holds(condition, frame, coded) for condition in parsed))


def _marks(frame: Any, opens: str, closes: str, coded: Codes) -> Any:
    """Return what each event does to a case, [E] int8: 1 opens, -1 closes (also both), 0 none."""
    parsed = (expressions.parse(sql, sql) for sql in (opens, closes))
    opening, closing = (_holds(condition, frame, coded) for condition in parsed)
    return (opening & ~closing).astype("int8") - closing.astype("int8")


def _coded(series: Any) -> tuple[Any, tuple[str, ...]] | None:
    """Return the code of each row and the texts by code; None where a column has none."""
    found = tables.coded(series)
    return None if found is None else (found[0], tuple(tables.texts(found[1])))


def _holds(condition: expressions.Expression, frame: Any, coded: Codes) -> Any:
    """Return [E] bool; a condition over one column of categories is asked once of each."""
    names = sorted(condition.columns)
    of_column = coded(names[0]) if len(names) == 1 else None
    if of_column is None:
        return tables.array(condition.mask(frame)).astype(bool, copy=False)
    codes, texts = of_column
    asked = _of_texts if len(texts) <= REMEMBERED else _of_texts.__wrapped__
    return _of_codes(asked(condition, names[0], texts), codes)


@lru_cache(1_024)  # partitions have the same categories, most often
def _of_texts(condition: expressions.Expression, column: str, texts: tuple[str, ...]) -> Any:
    """Return for which values of its only column a condition holds, [texts] bool."""
    frame = pd.DataFrame({column: pd.Series(texts, dtype="str")})
    return tables.array(condition.mask(frame)).astype(bool, copy=False)


def _of_codes(holds: Any, codes: Any) -> Any:
    """Return what holds of each row by its code, [E] bool."""
    few = np.flatnonzero(holds)
    if len(few) > COMPARED:
        return backend.library(codes).asarray(holds)[codes]
    found = backend.library(codes).zeros(len(codes), bool)
    for code in few.tolist():
        found |= codes == code
    return found


def _run(series: Series, place: tuple[Any, Any, Any], one: AnyPass) -> Any:
    """Run a pass; a device leaves rows of very many events to the processor: the same bits."""
    arrays, (start, stop, at) = (series.time, series.value, series.kept), place
    library = backend.library(start)
    if library is np:
        return one.run(arrays, (start, stop, at))
    heavy = library.flatnonzero(stop - start > HEAVY)
    light = stop.copy()
    light[heavy] = start[heavy]
    found = one.run(arrays, (start, light, at))
    for r in backend.to_cpu(heavy).tolist():
        own = slice(int(start[r]), int(stop[r]))
        time, value, kept = (backend.to_cpu(a[own] if len(a) else a) for a in arrays)
        whole = np.zeros(1, np.int64), np.array([own.stop - own.start])
        row = one.run((time, value, kept), (*whole, backend.to_cpu(at[r : r + 1])))
        for field, filled in zip(found, row, strict=True):
            field[..., r : r + 1] = backend.to_gpu(filled)
    return found
