"""The passes over a partition's events: which sources are read, and what kernels make of them.

A row is a subscriber at an instant; its events are one range of the subscriber's. All windows of
a source (table, value column, condition, channel) share one pass of the window kernel.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from engine import expressions, tables
from engine.features import DAY_S, Column, Measure, Quantity, Source
from kernels import backend, decayed, events_until, rhythm, trend, windowed

RHYTHM: tuple[Measure, ...] = ("recency", "gap_mean", "gap_std")
Groups = Mapping[Source, list[Quantity]]


@dataclass(frozen=True)
class Rows:
    """R rows of a partition; arrays [R] int64 on one side."""

    position: Any  # the subscriber's position in the partition
    at: Any  # the instant, s
    last: Any  # the last instant whose events count, s


@dataclass(frozen=True)
class Events:
    """The events of a source and the range of them that each row sees."""

    frame: Any
    kept: Any | None  # [events of the table] bool; None: all
    time: Any  # [E] int64, s
    start: Any  # [R] int64
    stop: Any  # [R] int64

    def value(self, column: str | None) -> Any:
        """Return the values of a column, [E] float64; ones without a column."""
        if column is None:
            return backend.library(self.time).ones(len(self.time))
        array = tables.array(self.frame[column])
        kept = array if self.kept is None else array[self.kept]
        return kept.astype("float64", copy=False)


def searched(keys: Any, wanted: Any, side: str) -> Any:
    """Return [R] int64: where the wanted keys lie among sorted keys, numbers or text."""
    return keys.searchsorted(wanted, side=side).astype("int64", copy=False)


def grouped(columns: Iterable[Column]) -> dict[Source, list[Quantity]]:
    """Group the quantities of columns by table, condition and channel (sources without column)."""
    groups: dict[Source, list[Quantity]] = defaultdict(list)
    for quantity in dict.fromkeys(q for c in columns for q in c.inputs if isinstance(q, Quantity)):
        source = quantity.source
        groups[Source(source.table, None, source.where, source.channel)].append(quantity)
    return groups


def counted(groups: Groups) -> dict[str, int]:
    """Return how many sources are read and how often each kernel runs on a partition."""
    total = {"sources": 0, "windowed": 0, "rhythm": 0, "decayed": 0, "trend": 0}
    for quantities in groups.values():
        total["sources"] += len(
            {q.source.column for q in quantities if q.measure != "count"} or {None}
        )
        total["windowed"] += len(_windows(quantities))
        total["rhythm"] += len(_spans(quantities))
        for measure in ("decayed", "trend"):
            total[measure] += sum(q.measure == measure for q in quantities)
    return total


def needed(groups: Groups) -> dict[str, list[str]]:
    """Return the columns of each event table that are read, key and time first."""
    named: dict[str, set[str]] = {}
    for source, quantities in groups.items():
        of_table = named.setdefault(source.table, set())
        of_table |= {q.source.column for q in quantities if q.source.column is not None}
        if source.where is not None:
            of_table |= expressions.parse(source.where, str(source)).columns
        if source.channel is not None:
            of_table.add("channel")
    return {table: ["subscriber", "time", *sorted(names)] for table, names in named.items()}


def quantities(
    groups: Groups, frames: Mapping[str, Any], keys: Any, rows: Rows
) -> dict[Quantity, Any]:
    """Compute every quantity of the rows.

    Args:
        groups: the quantities, as :func:`grouped` returns them.
        frames: event tables by name, each sorted by subscriber and time.
        keys: the partition's subscribers, a sorted series.
        rows: the rows.

    Returns:
        [R] float64 by quantity.
    """
    seen: dict[str, Events] = {}
    found: dict[Quantity, Any] = {}
    for source, wanted in groups.items():
        if source.table not in seen:
            seen[source.table] = _events(frames[source.table], keys, rows)
        found |= _computed(_kept(seen[source.table], source), source, wanted, rows)
    return found


def _windows(quantities: Iterable[Quantity]) -> dict[str | None, list[int]]:
    """Return the windows of each value column, ascending; counts ride along with a column."""
    spans: dict[str | None, set[int]] = defaultdict(set)
    counted = set()
    for q in quantities:
        if q.measure in ("sum", "max"):
            spans[q.source.column].add(q.span_s or 0)
        elif q.measure == "count":
            counted.add(q.span_s or 0)
    if counted:
        spans[next(iter(spans), None)] |= counted
    return {column: sorted(windows) for column, windows in spans.items()}


def _events(frame: Any, keys: Any, rows: Rows) -> Events:
    """Find the events that each row sees: those of its subscriber until its last instant."""
    frame = frame.reset_index(drop=True)
    time = tables.array(frame["time"])
    first, after = (searched(frame["subscriber"], keys, side) for side in ("left", "right"))
    start, end = first[rows.position], after[rows.position]
    return Events(frame, None, time, start, events_until(time, start, end, rows.last))


def _kept(events: Events, source: Source) -> Events:
    """Keep the events of a condition and a channel."""
    masks = []
    if source.where is not None:
        masks.append(expressions.parse(source.where, str(source)).mask(events.frame))
    if source.channel is not None:
        masks.append(events.frame["channel"] == source.channel)
    if not masks:
        return events
    kept = tables.array(masks[0] & masks[-1]).astype(bool, copy=False)
    library = backend.library(kept)
    before = library.zeros(len(kept) + 1, np.int64)  # kept events before each event
    library.cumsum(kept, out=before[1:])
    start, stop = before[events.start], before[events.stop]
    return Events(events.frame, kept, events.time[kept], start, stop)


def _spans(quantities: Iterable[Quantity]) -> list[int | None]:
    """Return the windows for which the rhythm of the events is wanted; None: all of them."""
    return list(dict.fromkeys(q.span_s for q in quantities if q.measure in RHYTHM))


def _computed(
    events: Events, source: Source, wanted: list[Quantity], rows: Rows
) -> dict[Quantity, Any]:
    """Run the kernels that the quantities of one group need."""
    library = backend.library(events.time)
    value = cache(events.value)
    place = (events.start, events.stop, rows.at)
    found: dict[Quantity, Any] = {}

    def keep(measure: Measure, column: str | None, span: int | None, array: Any) -> None:
        found[Quantity(measure, replace(source, column=column), span)] = array

    for column, windows in _windows(wanted).items():
        lengths = library.asarray(windows, dtype=np.int64)
        count, total, largest = windowed(events.time, value(column), *place, lengths)
        for i, window in enumerate(windows):
            keep("count", None, window, count[i].astype("float64"))
            keep("sum", column, window, total[i])
            keep("max", column, window, largest[i])
    for span in _spans(wanted):
        start = events.start
        if span is not None:
            start = events_until(events.time, start, events.stop, rows.at - span)
        arrays = rhythm(events.time, start, events.stop, rows.at)
        for measure, array in zip(RHYTHM, arrays, strict=True):
            keep(measure, None, span, array)
    for q in wanted:
        if q.measure == "decayed":
            found[q] = decayed(events.time, value(q.source.column), *place, float(q.span_s or 0))
        if q.measure == "trend":
            days = (q.span_s or 0) // DAY_S
            found[q] = trend(events.time, value(q.source.column), *place, days)
    return {q: found[q] for q in wanted}
