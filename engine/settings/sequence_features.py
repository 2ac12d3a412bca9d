"""Settings of the features that look at the sequence of a subscriber's events."""

from typing import Annotated, Literal

from pydantic import Field

from engine.settings.base import Duration, Name, Settings, Sql, Where, Windows
from engine.settings.group_features import Per


class FatigueFeature(Settings):
    """The level of a leaky bucket: every event fills it, every day drains it, never below 0.

    With ``per`` a bucket for each channel, category or pair of both in the catalogue:
    ``<name>_<channel>``, ``<name>_<category>``, ``<name>_<channel>_<category>``.
    """

    op: Literal["fatigue"]
    name: Name
    """Name of the column, or stem of the columns; 0 without events."""
    of: str
    """``table``, each event adding 1, or ``table.column`` with values that are never negative."""
    leak_per_day: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.2
    """What the level loses in a day, in units of what events add."""
    per: Per | None = None
    """A column for each channel (the table's), category (of its offer) or pair; null: one."""
    where: Where = None


class BurstFeature(Settings):
    """Moments of many events, bad ones say: how many began in each window, and the last one's age.

    Events without a gap longer than ``within`` are a run. A run is a moment when ``at_least`` of
    its events lie in some stretch of that length: it begins with the earliest such stretch and ends
    with the run. Columns ``<name>_<window>`` and ``<name>_recency``.
    """

    op: Literal["bursts"]
    name: Name
    """Stem of the columns."""
    of: str
    """The event table."""
    at_least: Annotated[int, Field(ge=1, le=1_000_000)] = 3
    """Events that make a moment; with 1 every run is one."""
    within: Duration = "1h"
    """Length of the stretch they lie in, and longest gap inside a moment."""
    windows: Windows = ["7d", "30d"]
    """Trailing windows, for moments that began in them."""
    where: Where = None


class RepeatFeature(Settings):
    """Events that follow another one soon, repeat contacts say: columns ``<name>_<window>``."""

    op: Literal["repeats"]
    name: Name
    """Stem of the columns."""
    of: str
    """The event table."""
    within: Duration = "3d"
    """Longest time since the event before it."""
    windows: Windows = ["7d", "30d"]
    """Trailing windows of the later event; the one before it may be older."""
    where: Where = None


class OpenCaseFeature(Settings):
    """A case that was opened, a complaint say, and has not been closed since.

    ``<name>`` is the number of opening events later than the last closing one, ``<name>_days`` the
    age of the first of these. A closing event closes all that was opened until its own second; an
    event for which both conditions hold closes.
    """

    op: Literal["open_case"]
    name: Name
    """Name of the column of openings, 0 when no case is open, and stem of the other."""
    of: str
    """The event table."""
    opens: Sql
    """SQL condition over the table: the events that open a case."""
    closes: Sql
    """SQL condition over the table: the events that close it."""


class BestHourFeature(Settings):
    """The hour of the week with most events, 0 (Monday, 0:00) to 167, and how spread the hours are.

    Beside ``<name>`` columns ``<name>_share``, the share of the events that are in it,
    ``<name>_entropy``, 0 when all are in one hour to 1 when they are spread evenly, and
    ``<name>_hours``, the number of hours with events.
    """

    op: Literal["best_hour"]
    name: Name
    """Name of the column, the first of equal hours, missing without events; stem of the others."""
    of: str
    """The event table."""
    window: Duration = "90d"
    """Trailing window."""
    utc_offset_h: Annotated[
        float, Field(ge=-12, le=14, multiple_of=0.25, json_schema_extra={"unit": "h"})
    ] = 0.0
    """What the subscribers' clocks are ahead of UTC, in quarters of an hour."""
    where: Where = None


SequenceFeature = FatigueFeature | BurstFeature | RepeatFeature | OpenCaseFeature | BestHourFeature
