"""Passes over several groups of a table's events, each kept by a condition of its own.

What is counted or added of events under conditions over the same columns (a channel each, say) is
found in one pass of :func:`kernels.grouped`: the events are read once, not once a condition, and
none is copied. Conditions that may hold together are told apart partition by partition
(:func:`layers`): a pass has a run for each set of groups without common events, most often one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from engine.event_conditions import REMEMBERED, Codes, held, mask, parsed
from engine.quantities import Measure, Quantity, Source
from engine.sequence_plan import Three
from kernels import backend, grouped
from kernels.grouped import CODES, MOST_GROUPS, Grouped

GROUPABLE: frozenset[Measure] = frozenset(("count", "sum", "recency"))
"""Measures that such a pass gives."""


@dataclass(frozen=True)
class Layer:
    """Groups without common events."""

    sources: tuple[Source, ...]  # their events, in order
    code: Any  # [E] int8
    group: Any  # [CODES] int8, on the CPU: which group has the events of a code


@dataclass(frozen=True)
class GroupPass:
    """One pass over the events of some sources: of one table, with one value column or none."""

    source: Source  # what is read: a table, and its value column
    groups: tuple[tuple[Source, tuple[Quantity, ...]], ...]  # events, and what is asked of them

    @property
    def sources(self) -> tuple[Source, ...]:
        """Return the events of each group."""
        return tuple(source for source, _ in self.groups)

    @property
    def by(self) -> tuple[str, ...]:
        """Return the columns that their conditions read."""
        return tuple(sorted({n for s in self.sources for c in parsed(s) for n in c.columns}))

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """Return all that it gives."""
        return tuple(q for _, own in self.groups for q in own)

    @property
    def windows(self) -> tuple[int, ...]:
        """Return its windows, s, ascending."""
        return tuple(sorted({q.span_s for q in self.quantities if q.span_s is not None}))

    def run(self, layer: Layer) -> Callable[[Three, Three], Grouped]:
        """Return what the kernel finds of (time, value, code) for rows (start, stop, at)."""
        windows = np.array(self.windows, np.int64)
        valued = int(self.source.column is not None)
        recent = int(any(q.measure == "recency" for q in self.quantities))

        def found(series: Three, rows: Three) -> Grouped:
            library = backend.library(series[0])
            arrays = *series, library.asarray(layer.group), *rows, library.asarray(windows)
            return grouped(*arrays, len(layer.sources), valued, recent)

        return found

    def taken(self, layer: Layer, found: Grouped) -> dict[Quantity, Any]:
        """Return each quantity of a layer from what the pass found."""
        asked, windows, taken = dict(self.groups), self.windows, {}
        fields: Mapping[Measure, Any] = {"count": found.count, "sum": found.total}
        for g, source in enumerate(layer.sources):
            for q in asked[source]:
                if q.span_s is None:
                    taken[q] = found.recency_days[g]
                else:
                    taken[q] = fields[q.measure][windows.index(q.span_s)][g]
        return taken


def is_groupable(source: Source, quantities: Sequence[Quantity]) -> bool:
    """Return whether such a pass gives the quantities of a source."""
    plain = bool(source.conditions) and not source.squared
    return plain and all(q.measure in GROUPABLE for q in quantities)


def group_passes(
    series: Mapping[Source, Sequence[Quantity]],
) -> tuple[list[GroupPass], dict[Source, list[Quantity]]]:
    """Return the passes over two groups or more, and the sources that have no other with them.

    What needs no values rides along with a value column of the same table and conditions.

    Args:
        series: what is asked of sources that are groupable.
    """
    kinds: dict[Any, dict[str | None, dict[Source, list[Quantity]]]] = {}
    for source, own in series.items():
        read = frozenset(name for condition in parsed(source) for name in condition.columns)
        columns = kinds.setdefault((source.table, read), {})
        columns.setdefault(source.column, {}).setdefault(source.events, []).extend(own)
    passes: list[GroupPass] = []
    alone: dict[Source, list[Quantity]] = {}
    for (table, _), columns in kinds.items():
        if len(columns) > 1 and None in columns:
            host = max((c for c in columns if c is not None), key=lambda c: len(columns[c]))
            for events, own in columns.pop(None).items():
                columns[host].setdefault(events, []).extend(own)
        for column, groups in columns.items():
            if len(groups) > 1:
                asked = tuple((events, tuple(own)) for events, own in groups.items())
                passes.append(GroupPass(Source(table, column), asked))
            else:
                alone |= {replace(events, column=column): own for events, own in groups.items()}
    return passes, alone


def layers(frame: Any, one: GroupPass, codes: Codes) -> tuple[Layer, ...]:
    """Return the runs of a pass over a table."""
    together = _together(one, codes)
    if together is None:
        return _by_masks({source: mask(frame, source, codes) for source in one.sources})
    code, holding = together
    count, found = len(next(iter(holding.values()))), []
    for sources in _apart(holding):
        group = np.full(max(CODES, count), len(sources), np.int8)
        for g, source in enumerate(sources):
            group[:count][holding[source]] = g
        if count <= CODES:
            found.append(Layer(sources, code.astype("int8", copy=False), group))
        else:
            of_events = backend.library(code).asarray(group)[code]
            found.append(Layer(sources, of_events, np.arange(CODES, dtype=np.int8)))
    return tuple(found)


def _together(one: GroupPass, codes: Codes) -> tuple[Any, dict[Source, Any]] | None:
    """Return a code of each event for all columns together, and for which codes sources hold.

    None where a column has no codes, a condition reads several columns, or codes are too many.
    """
    columns = [codes(name) for name in one.by]
    conditions = {source: parsed(source) for source in one.sources}
    if not all(len(c.columns) == 1 for own in conditions.values() for c in own):
        return None
    known = [column for column in columns if column is not None]
    sizes = [len(texts) for _, texts in known]
    if len(known) < len(columns) or prod(sizes) > REMEMBERED:
        return None
    code = known[0][0]
    for (more, _), size in zip(known[1:], sizes[1:], strict=True):
        code = code.astype("int32") * np.int32(size) + more
    holding = {}
    for source, own in conditions.items():
        holds = np.ones(sizes, bool)
        for axis, (name, (_, texts)) in enumerate(zip(one.by, known, strict=True)):
            of_name = [c for c in own if name in c.columns]
            if of_name:
                along = [1] * len(sizes)
                along[axis] = sizes[axis]
                holds &= held(of_name, name, texts).reshape(along)
        holding[source] = holds.ravel()
    return code, holding


def _by_masks(holding: Mapping[Source, Any]) -> tuple[Layer, ...]:
    """Return the layers of sources by the events that each keeps, [E] bool."""
    found = []
    for sources in _apart(holding):
        first, *others = (holding[source] for source in sources)
        code = (~first).astype("int8") * np.int8(len(sources))
        for g, own in enumerate(others, 1):
            code = backend.library(own).where(own, np.int8(g), code)
        found.append(Layer(sources, code, np.arange(CODES, dtype=np.int8)))
    return tuple(found)


def _apart(holding: Mapping[Source, Any]) -> list[tuple[Source, ...]]:
    """Return the sources in sets, as few as come first, of which no two keep the same."""
    sets: list[tuple[Any, list[Source]]] = []
    for source, own in holding.items():
        for place, (taken, members) in enumerate(sets):
            if len(members) < MOST_GROUPS and not (taken & own).any():
                members.append(source)
                sets[place] = taken | own, members
                break
        else:
            sets.append((own, [source]))
    return [tuple(members) for _, members in sets]
