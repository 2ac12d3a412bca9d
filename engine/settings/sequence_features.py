"""Settings of the features that look at the sequence of a subscriber's events."""

from typing import Annotated, Literal

from pydantic import Field

from engine.settings.base import Name, Settings, Where


class FatigueFeature(Settings):
    """The level of a leaky bucket: every event fills it, every day drains it, never below 0.

    With ``per`` a bucket for each channel or category of the catalogue:
    ``<name>_<channel>``, ``<name>_<category>``.
    """

    op: Literal["fatigue"]
    name: Name
    """Name of the column, or stem of the columns; 0 without events."""
    of: str
    """``table``, each event adding 1, or ``table.column`` with values that are never negative."""
    leak_per_day: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.2
    """What the level loses in a day, in units of what events add."""
    per: Literal["channel", "category"] | None = None
    """A column for each channel (the table's) or category (of its offer); null: one column."""
    where: Where = None


SequenceFeature = FatigueFeature
