"""How a job's features are grouped into passes, told for people."""

from collections.abc import Iterable
from typing import Any

from engine.feature_plan import Pass, planned
from engine.quantities import DAY_S, Column
from engine.settings.base import duration


def grouped(columns: Iterable[Column]) -> list[dict[str, Any]]:
    """Tell of every pass what it reads and what it gives.

    Args:
        columns: feature columns.

    Returns:
        For each pass: ``source`` (the events and values read), ``windows`` and ``half_lives``
        (durations), ``trends`` (``<window> by <bin>``), ``quantities`` (how many it gives) and
        ``columns`` (the names of those that use one).
    """
    wanted = list(columns)
    return [_told(one, wanted) for one in planned(wanted)]


def _told(one: Pass, columns: Iterable[Column]) -> dict[str, Any]:
    given = set(one.quantities)
    trends = [(duration(n * days * DAY_S), duration(days * DAY_S)) for n, days in one.asked.trends]
    return {
        "source": f"{one.source}, squared" if one.source.squared else str(one.source),
        "windows": [duration(span) for span in one.asked.windows if span],
        "half_lives": [duration(span) for span in one.asked.half_lives],
        "trends": [f"{window} by {every}" for window, every in trends],
        "quantities": len(given),
        "columns": [column.name for column in columns if given.intersection(column.inputs)],
    }
