"""Settings of the features: each is data, and names its operator, source and windows."""

from typing import Annotated, Literal

from pydantic import Field

from engine.settings.base import Duration, Name, Settings, Sql, Where, Windows
from engine.settings.group_features import GroupFeature
from engine.settings.sequence_features import SequenceFeature
from engine.settings.value_features import ValueFeature

Half = Annotated[Duration, Field(description="Age at which an event weighs half.")]


class WindowFeature(Settings):
    """A figure of each trailing window ``(t - w, t]``: columns ``<name>_<window>``.

    ``share`` is the share of the events for which ``where`` holds, ``change`` the sum over the
    window divided by the sum over the window of the same length before it. That one is the sum over
    both less the first: exactly 0 without events, else it may be off by n * 2 ** -53 of both, of n
    events.
    """

    op: Literal["count", "sum", "mean", "min", "max", "std", "active_days", "share", "change"]
    name: Name
    """Stem of the columns."""
    of: str
    """``table`` for count, active_days and share, either for change, else ``table.column``."""
    windows: Windows = ["1d", "7d", "30d", "90d"]
    """Trailing windows."""
    where: Where = None


class BaselineFeature(Settings):
    """The mean over a short window against the subscriber's own mean: ``<name>_<window>``."""

    op: Literal["against_baseline"]
    name: Name
    """Stem of the columns."""
    of: str
    """``table.column``."""
    windows: Windows = ["7d"]
    """Trailing windows that are compared, each shorter than ``baseline``."""
    baseline: Duration = "90d"
    """Trailing window of the subscriber's own mean."""
    where: Where = None


class EventFeature(Settings):
    """The rhythm of events: days since the last and the first, and the gaps between events.

    ``gap_cv`` is the gaps' deviation over their mean, ``expected_next`` the mean gap less the days
    since the last event (negative: late), ``overdue`` the days since the last over the mean gap.
    """

    op: Literal[
        "recency", "first_seen", "gap_mean", "gap_std", "gap_cv", "expected_next", "overdue"
    ]
    name: Name
    """Name of the column; missing when there are too few events."""
    of: str
    """The event table."""
    where: Where = None


class LatestFeature(Settings):
    """The value of the last event."""

    op: Literal["latest"]
    name: Name
    """Name of the column; missing without events."""
    of: str
    """``table.column``."""
    where: Where = None


class DecayFeature(Settings):
    """Exponentially decayed sum ``sum value * 2 ** (-age / half_life)``."""

    op: Literal["decayed_sum"]
    name: Name
    """Name of the column."""
    of: str
    """``table.column``, or ``table`` to count each event as 1."""
    half_life: Half = "14d"
    where: Where = None


class ScoreFeature(Settings):
    """A score in [0, 1): ``1 - 2 ** (-decayed sum / scale)``, of network trouble or care, say."""

    op: Literal["decayed_score"]
    name: Name
    """Name of the column."""
    of: str
    """``table.column``, or ``table`` to count each event as 1."""
    half_life: Half = "14d"
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Decayed sum at which the score is one half."""
    where: Where = None


class TrendFeature(Settings):
    """Least-squares slope of the sums of days (or weeks) over the window, per day (or week)."""

    op: Literal["trend"]
    name: Name
    """Name of the column."""
    of: str
    """``table.column``, or ``table`` to count each event as 1."""
    window: Duration = "28d"
    """Trailing window, a whole number of ``every``, at least two."""
    every: Duration = "1d"
    """Length of what is summed, whole days."""
    where: Where = None


class RunOutFeature(Settings):
    """Hours until the balance is spent: balance over exponentially smoothed spend.

    With ``quantile`` also ``<name>_early``, the hours by which it is spent with that probability;
    with ``within`` also ``<name>_chance``, the probability that it is spent within that time.
    """

    op: Literal["run_out"]
    name: Name
    """Name of the column; its unit is hours, infinite spend time is capped at ``horizon``."""
    of: str
    """``table.column`` with the spend, money."""
    balance: str
    """Subscriber column with the balance at the as-of instant, money."""
    half_life: Half = "7d"
    horizon: Duration = "90d"
    """Longest time reported."""
    quantile: Annotated[float | None, Field(gt=0, lt=1)] = None
    """Probability of the column ``<name>_early``; null: no such column."""
    within: Duration | None = None
    """Time of the column ``<name>_chance``; null: no such column."""
    where: Where = None


class TenureFeature(Settings):
    """Days since a date of the subscriber table."""

    op: Literal["tenure"]
    name: Name
    """Name of the column; its unit is days."""
    since: str
    """Subscriber column with the date."""


class LifecycleFeature(Settings):
    """Stage of life: new, active, quiet, dormant or lost, by tenure and recency."""

    op: Literal["lifecycle"]
    name: Name
    """Name of the (text) column."""
    of: str
    """Event table whose recency counts."""
    since: str
    """Subscriber column with the start date."""
    new: Duration = "30d"
    """Tenure below which a subscriber is new."""
    quiet: Duration = "7d"
    """Recency from which a subscriber is quiet."""
    dormant: Duration = "30d"
    """Recency from which a subscriber is dormant."""
    lost: Duration = "90d"
    """Recency from which a subscriber is lost (also without any event)."""


class ExpressionFeature(Settings):
    """A SQL expression over subscriber columns and the features listed before it."""

    op: Literal["expression"]
    name: Name
    """Name of the column."""
    sql: Sql
    """The expression."""
    unit: str = ""
    """Unit of the column, for people; empty: not stated."""


Feature = Annotated[
    WindowFeature
    | BaselineFeature
    | EventFeature
    | LatestFeature
    | DecayFeature
    | ScoreFeature
    | TrendFeature
    | RunOutFeature
    | GroupFeature
    | TenureFeature
    | LifecycleFeature
    | SequenceFeature
    | ValueFeature
    | ExpressionFeature,
    Field(discriminator="op"),
]
