"""Windows that reach back further than the data: allowed, and told."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from engine.feature_plan import WINDOWED
from engine.features import columns_of
from engine.quantities import DAY_S, EVER_S, Quantity
from engine.settings import Job

SHOWN = 5  # columns that a note names


def beyond_data(job: Job, first: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return, for each table, the columns whose windows begin before its first event.

    Args:
        job: the job, its features without problems.
        first: instant of the first event of each table that has events, s.

    Returns:
        ``table``, ``first_event`` (ISO 8601, or null for a table without events), ``columns`` and
        a ``note`` for people, of each table with such columns.
    """
    as_of = int(job.as_of.timestamp())
    found: dict[str, list[str]] = defaultdict(list)
    for column in (c for feature in job.features for c in columns_of(feature, job)):
        for table in dict.fromkeys(_tables_before(column.inputs, as_of, first)):
            found[table].append(column.name)
    return [_told(table, first.get(table), names) for table, names in sorted(found.items())]


def _tables_before(inputs: tuple[Any, ...], as_of: int, first: Mapping[str, int]) -> list[str]:
    found = []
    for quantity in inputs:
        if isinstance(quantity, Quantity) and (span := _span(quantity)) is not None:
            begin = first.get(quantity.source.table)
            if begin is None or as_of - span < begin - 1:  # it has the second after t - w first
                found.append(quantity.source.table)
    return found


def _span(quantity: Quantity) -> int | None:
    """Return the seconds that a quantity's window is long; None for one without a window."""
    if quantity.measure == "trend" and quantity.bins is not None:
        return quantity.bins[0] * quantity.bins[1] * DAY_S
    if quantity.measure not in WINDOWED or quantity.span_s == EVER_S:
        return None
    return quantity.span_s


def _told(table: str, first: int | None, names: list[str]) -> dict[str, Any]:
    instant = None if first is None else datetime.fromtimestamp(first, UTC).isoformat()
    since = "there are no events" if instant is None else f"the first event is of {instant}"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    windows = f"{', '.join(names[:SHOWN])}{more}"
    note = f"{table}: windows reach back further than its data ({since}): {windows}"
    return {"table": table, "first_event": instant, "columns": names, "note": note}
