"""How a job's features are grouped into passes, told for people."""

from collections.abc import Iterable
from typing import Any

from engine.feature_plan import AnyPass, Pass, planned
from engine.group_plan import GroupPass
from engine.quantities import DAY_S, EVER_S, Column
from engine.settings.base import duration
from kernels.summary import Asked


def grouped(columns: Iterable[Column]) -> list[dict[str, Any]]:
    """Tell of every pass what it reads and what it gives.

    Args:
        columns: feature columns.

    Returns:
        For each pass: ``source`` (the events and values read, and the columns by which they are
        told apart where it has several groups of them), ``windows`` and ``half_lives``
        (durations, ``all`` for the
        whole history), ``trends`` (``<window> by <bin>``), ``quantities`` (how many it gives) and
        ``columns`` (the names of those that use one).
    """
    wanted = list(columns)
    return [_told(one, wanted) for one in planned(wanted)]


def _told(one: AnyPass, columns: Iterable[Column]) -> dict[str, Any]:
    given = set(one.quantities)
    read = f"{one.source}, squared" if one.source.squared else str(one.source)
    if isinstance(one, GroupPass):
        read = f"{read} by {', '.join(one.by)}"
    asked = one.asked if isinstance(one, Pass) else Asked(one.windows)
    trends = [(duration(n * days * DAY_S), duration(days * DAY_S)) for n, days in asked.trends]
    return {
        "source": read,
        "windows": [_length(span) for span in asked.windows if span],
        "half_lives": [duration(span) for span in asked.half_lives],
        "trends": [f"{window} by {every}" for window, every in trends],
        "quantities": len(given),
        "columns": [column.name for column in columns if given.intersection(column.inputs)],
    }


def _length(span: int) -> str:
    return "all" if span == EVER_S else duration(span)
