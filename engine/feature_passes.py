"""The passes over a partition's events: the fewest that give all quantities, and what they read.

A row is a subscriber at an instant; its events are one range of the subscriber's. Everything that
is asked of a series of events (a table, a condition, a channel, a value column) comes from one pass
of :func:`kernels.summarised`; what needs no values rides along with a column of the same events.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from engine import expressions, tables
from engine.quantities import Column, Measure, Quantity, Source
from kernels import backend, events_until, ranges, summarised
from kernels.summary import MOST_WEIGHED, Asked
from kernels.threads import LIGHT_CHUNK, each_chunk

FIELDS: dict[Measure, str] = {
    "recency": "recency_days", "age": "age_days", "gap_mean": "gap_mean_days",
    "gap_std": "gap_std_days", "latest": "latest", "count": "count", "sum": "total",
    "min": "least", "max": "most", "std": "spread", "days": "days", "decayed": "decayed",
    "trend": "trend",
}  # fmt: skip
"""Field of a summary that holds a measure."""
OF_TIMES: frozenset[Measure] = frozenset(("recency", "age", "gap_mean", "gap_std", "count", "days"))
"""Measures that need no values."""
WINDOWED: frozenset[Measure] = frozenset(("count", "sum", "min", "max", "std", "days"))
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
class Pass:
    """One pass over the events of a source."""

    source: Source
    asked: Asked
    quantities: tuple[Quantity, ...]

    def taken(self, summary: Any) -> dict[Quantity, Any]:
        """Return each quantity from what the pass found."""
        places: dict[str, tuple[Any, ...]] = dict.fromkeys(
            ("count", "sum", "min", "max", "std", "days"), self.asked.windows
        )
        places |= {"decayed": self.asked.half_lives, "trend": self.asked.trends}
        found = {}
        for quantity in self.quantities:
            field = getattr(summary, FIELDS[quantity.measure])
            place = places.get(quantity.measure)
            found[quantity] = field if place is None else field[place.index(_span(quantity))]
        return found


@dataclass(frozen=True)
class Events:
    """The events of a table, those that a condition keeps, and the range that each row sees."""

    frame: Any
    kept: Any  # [E] bool; [0]: all
    time: Any  # [E] int64, s
    start: Any  # [R] int64
    stop: Any  # [R] int64

    def value(self, source: Source) -> Any:
        """Return the values of a source, [E] float64; an empty array without a column."""
        if source.column is None:
            return backend.library(self.time).empty(0)
        value = tables.array(self.frame[source.column]).astype("float64", copy=False)
        return value * value if source.squared else value


def planned(columns: Iterable[Column]) -> tuple[Pass, ...]:
    """Return the passes that give the quantities of columns, table by table."""
    wanted = dict.fromkeys(q for c in columns for q in c.inputs if isinstance(q, Quantity))
    series: dict[Source, dict[Source, list[Quantity]]] = defaultdict(lambda: defaultdict(list))
    for quantity in wanted:
        source = quantity.source
        if quantity.measure in OF_TIMES:
            source = source.events
        series[source.events][source].append(quantity)
    passes = []
    for events, by_column in sorted(series.items(), key=lambda item: str(item[0])):
        own = by_column.get(events, [])
        if all(q.measure in OF_TIMES for q in own) and len(by_column) > 1:
            by_column.pop(events, None)
            next(iter(by_column.values())).extend(own)  # they ride with a column's values
        for source, quantities in by_column.items():
            passes += _passes(source, quantities)
    return tuple(sorted(passes, key=lambda one: one.source.table))


def counted(passes: Iterable[Pass]) -> dict[str, int]:
    """Return how many tables are read, and how many passes and quantities there are."""
    found = list(passes)
    return {
        "tables": len({one.source.table for one in found}),
        "passes": len(found),
        "quantities": sum(len(one.quantities) for one in found),
    }


def needed(passes: Iterable[Pass]) -> dict[str, list[str]]:
    """Return the columns of each event table that are read, key and time first."""
    named: dict[str, set[str]] = {}
    for one in passes:
        source = one.source
        of_table = named.setdefault(source.table, set())
        if source.column is not None:
            of_table.add(source.column)
        if source.where is not None:
            of_table |= expressions.parse(source.where, str(source)).columns
        if source.channel is not None:
            of_table.add("channel")
    return {table: ["subscriber", "time", *sorted(names)] for table, names in named.items()}


def quantities(
    passes: Iterable[Pass], frames: Mapping[str, Any], keys: Any, rows: Rows
) -> dict[Quantity, Any]:
    """Compute every quantity of the rows.

    Args:
        passes: as :func:`planned` returns them.
        frames: event tables by name, each sorted by subscriber and time.
        keys: the partition's subscribers, a sorted series.
        rows: the rows.

    Returns:
        [R] float64 by quantity.
    """
    found: dict[Quantity, Any] = {}
    seen: dict[Source, Events] = {}
    for one in passes:
        whole, kept = Source(one.source.table), one.source.events
        if whole not in seen:
            seen = {whole: _events(frames[whole.table], keys, rows)}  # one table at a time
        if kept not in seen:
            mask = _mask(seen[whole].frame, kept)
            seen = {whole: seen[whole], kept: replace(seen[whole], kept=mask)}
        found |= one.taken(_summary(seen[kept], one, rows))
    return found


def searched(keys: Any, wanted: Any, side: str) -> Any:
    """Return [R] int64: where the wanted keys lie among sorted keys, numbers or text."""
    return keys.searchsorted(wanted, side=side).astype("int64", copy=False)


def _span(quantity: Quantity) -> Any:
    """Return what tells a quantity apart from others of its measure and source."""
    return quantity.span_s if quantity.bins is None else quantity.bins


def _passes(source: Source, quantities: list[Quantity]) -> list[Pass]:
    """Return the passes over one series: one, unless there are many half-lives or trends."""
    weighed: dict[Measure, list[Any]] = {"decayed": [], "trend": []}
    for q in quantities:
        if q.measure in weighed and _span(q) not in weighed[q.measure]:
            weighed[q.measure].append(_span(q))
    passes = []
    left = set(quantities)
    for turn in range(max(1, *(-(-len(spans) // MOST_WEIGHED) for spans in weighed.values()))):
        some = slice(turn * MOST_WEIGHED, (turn + 1) * MOST_WEIGHED)
        half_lives, trends = (tuple(spans[some]) for spans in weighed.values())
        own = [
            q for q in quantities
            if (q.measure not in weighed and turn == 0)
            or (q.measure == "decayed" and _span(q) in half_lives)
            or (q.measure == "trend" and _span(q) in trends)
        ]  # fmt: skip
        measures = {q.measure for q in own}
        asked = Asked(
            windows=tuple(sorted({q.span_s or 0 for q in own if q.measure in WINDOWED})),
            valued=source.column is not None,
            rhythm="gap_std" in measures,
            extremes=bool({"min", "max"} & measures),
            spread="std" in measures,
            days="days" in measures,
            half_lives=half_lives,
            trends=trends,
        )
        passes.append(Pass(source, asked, tuple(own)))
        left -= set(own)
    assert not left
    return passes


def _events(frame: Any, keys: Any, rows: Rows) -> Events:
    """Find the events that each row sees: those of its subscriber until its last instant."""
    frame = frame.reset_index(drop=True)
    time = tables.array(frame["time"])
    if str(keys.dtype) == "int64":
        start, end = ranges(tables.array(frame["subscriber"]), rows.of(tables.array(keys)))
    else:
        first, after = (searched(frame["subscriber"], keys, side) for side in ("left", "right"))
        start, end = rows.of(first), rows.of(after)
    everything = backend.library(time).empty(0, bool)
    return Events(frame, everything, time, start, events_until(time, start, end, rows.last))


def _mask(frame: Any, source: Source) -> Any:
    """Return which events of a table a source keeps, [E] bool."""
    conditions = [] if source.where is None else [source.where]
    if source.channel is not None:
        conditions.append(f"channel = '{source.channel}'")
    masks = [_holds(expressions.parse(sql, str(source)), frame) for sql in conditions]
    return masks[0] & masks[-1]


def _holds(condition: expressions.Expression, frame: Any) -> Any:
    """Return [E] bool; a condition over one column of categories is asked once of each."""
    names = sorted(condition.columns)
    coded = tables.coded(frame[names[0]]) if len(names) == 1 else None
    if coded is None:
        return tables.array(condition.mask(frame)).astype(bool, copy=False)
    codes, categories = coded
    holds = tables.array(condition.mask(tables.frame({names[0]: categories}, frame)))
    return _of_codes(holds.astype(bool, copy=False), codes)


def _of_codes(holds: Any, codes: Any) -> Any:
    """Return what holds of each row by its code, [E] bool."""
    if backend.library(codes) is not np:
        return holds[codes]
    found = np.empty(len(codes), bool)

    def work(begin: int, end: int) -> None:
        np.take(holds, codes[begin:end], out=found[begin:end], mode="clip")

    if len(holds):
        each_chunk(len(codes), work, LIGHT_CHUNK)
    return found


def _summary(events: Events, one: Pass, rows: Rows) -> Any:
    """Run a pass; a device leaves rows of very many events to the processor: the same bits."""
    arrays = events.time, events.value(one.source), events.kept
    library = backend.library(events.time)
    if library is np:
        return summarised(*arrays, events.start, events.stop, rows.at, one.asked)
    heavy = library.flatnonzero(events.stop - events.start > HEAVY)
    stop = events.stop.copy()
    stop[heavy] = events.start[heavy]
    found = summarised(*arrays, events.start, stop, rows.at, one.asked)
    for r in backend.to_cpu(heavy).tolist():
        own = slice(int(events.start[r]), int(events.stop[r]))
        time, value, kept = (backend.to_cpu(a[own] if len(a) else a) for a in arrays)
        start, stop = np.zeros(1, np.int64), np.array([own.stop - own.start])
        at = backend.to_cpu(rows.at[r : r + 1])
        row = summarised(time, value, kept, start, stop, at, one.asked)
        for field, filled in zip(found, row, strict=True):
            field[..., r : r + 1] = backend.to_gpu(filled)
    return found
