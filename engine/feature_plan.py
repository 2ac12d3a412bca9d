"""The plan of a job's features: the fewest passes over events that give all their quantities.

Everything that is asked of a series of events (a table, a condition, a channel, a value column)
comes from one pass of :func:`kernels.summarised`; what needs no values rides along with a column of
the same events. What is only counted or added under several conditions over the same columns comes
from one pass for all of them (:mod:`engine.group_plan`).
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from engine import expressions
from engine.group_plan import GroupPass, group_passes, is_groupable
from engine.quantities import Column, Measure, Quantity, Source
from engine.sequence_plan import HOURS, SEQUENTIAL, SequencePass, Three, sequence_passes
from kernels import summarised
from kernels.summary import MOST_WEIGHED, Asked

FIELDS: dict[Measure, str] = {
    "recency": "recency_days", "age": "age_days", "gap_mean": "gap_mean_days",
    "gap_std": "gap_std_days", "latest": "latest", "count": "count", "sum": "total",
    "min": "least", "max": "most", "std": "spread", "days": "days", "decayed": "decayed",
    "trend": "trend",
}  # fmt: skip
"""Field of a summary that holds a measure."""
OF_TIMES: frozenset[Measure] = frozenset(("recency", "age", "gap_mean", "gap_std", "count", "days"))
"""Measures that need no values."""
WINDOWED: frozenset[Measure] = frozenset(
    ("count", "sum", "min", "max", "std", "days", "bursts", "repeats", *HOURS)
)


@dataclass(frozen=True)
class Pass:
    """One pass over the events of a source."""

    source: Source
    asked: Asked
    quantities: tuple[Quantity, ...]

    def run(self, series: Three, rows: Three) -> Any:
        """Return what the kernel finds of (time, value, kept) for rows (start, stop, at)."""
        return summarised(*series, *rows, self.asked)

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


AnyPass = Pass | SequencePass | GroupPass


def planned(columns: Iterable[Column]) -> tuple[AnyPass, ...]:
    """Return the passes that give the quantities of columns, table by table."""
    wanted = dict.fromkeys(q for c in columns for q in c.inputs if isinstance(q, Quantity))
    series: dict[Source, dict[Source, list[Quantity]]] = defaultdict(lambda: defaultdict(list))
    for quantity in (q for q in wanted if q.measure not in SEQUENTIAL):
        source = quantity.source
        if quantity.measure in OF_TIMES:
            source = source.events
        series[source.events][source].append(quantity)
    passes: list[AnyPass] = [*sequence_passes(q for q in wanted if q.measure in SEQUENTIAL)]
    together: dict[Source, list[Quantity]] = {}
    for events, by_column in sorted(series.items(), key=lambda item: str(item[0])):
        own = by_column.get(events, [])
        if all(q.measure in OF_TIMES for q in own) and len(by_column) > 1:
            by_column.pop(events, None)  # they ride with a column's values
            hosts = sorted(by_column, key=lambda s: is_groupable(s, [*by_column[s], *own]))
            by_column[hosts[0]].extend(own)
        for source, quantities in by_column.items():
            if is_groupable(source, quantities):
                together[source] = quantities
            else:
                passes += _passes(source, quantities)
    grouped, alone = group_passes(together)
    passes += grouped
    for source, quantities in alone.items():
        passes += _passes(source, quantities)
    return tuple(sorted(passes, key=lambda one: one.source.table))


def counted(passes: Iterable[AnyPass]) -> dict[str, int]:
    """Return how many tables are read, and how many passes and quantities there are."""
    found = list(passes)
    return {
        "tables": len({one.source.table for one in found}),
        "passes": len(found),
        "quantities": sum(len(one.quantities) for one in found),
    }


def needed(passes: Iterable[AnyPass]) -> dict[str, list[str]]:
    """Return the columns of each event table that are read, key and time first."""
    named: dict[str, set[str]] = {}
    for one in passes:
        of_table = named.setdefault(one.source.table, set())
        if one.source.column is not None:
            of_table.add(one.source.column)
        for source in one.sources if isinstance(one, GroupPass) else (one.source,):
            for sql in filter(None, (*source.conditions, source.opens, source.closes)):
                of_table |= expressions.parse(sql, str(source)).columns
    return {table: ["subscriber", "time", *sorted(names)] for table, names in named.items()}


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
