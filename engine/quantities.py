"""What feature columns are made of: sources of events, quantities of them, and snapshots.

A column is a formula over quantities; a quantity is one number per row (a subscriber at an instant
t) that a kernel computes from the events of a source. Equal quantities are computed once, however
many columns use them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

from engine.settings import Job
from kernels import backend

DAY_S, HOUR_S = 86_400, 3_600
EVER_S = 2**40  # a window that holds the whole history

Measure = Literal[
    "count", "sum", "min", "max", "std", "days", "recency", "age", "gap_mean", "gap_std", "latest",
    "decayed", "trend", "fatigue", "bursts", "burst_recency", "repeats", "openings",
    "open_days", "best_hour", "hour_share", "hour_entropy", "hours",
]  # fmt: skip


@dataclass(frozen=True)
class Source:
    """Events of a table that a condition and a channel keep, each with a value."""

    table: str
    column: str | None = None  # its value column; None: each event counts 1
    where: str | None = None  # SQL condition; None: every event
    channel: str | None = None  # None: every channel
    offers: tuple[str, ...] = ()  # of these alone; empty: every offer, and none
    squared: bool = False  # whether its values are squared
    opens: str | None = None  # SQL condition of the events that open a case; None: no cases
    closes: str | None = None  # SQL condition of those that close it

    @property
    def events(self) -> "Source":
        """Return the same events without their values."""
        return replace(self, column=None, squared=False)

    def __str__(self) -> str:
        """Return the source for people: ``usage.charge where kind = 'data'``."""
        named = self.table if self.column is None else f"{self.table}.{self.column}"
        if self.opens is not None:
            named = f"{named} opened by {self.opens}, closed by {self.closes}"
        return f"{named} where {' and '.join(self.conditions)}" if self.conditions else named

    @property
    def conditions(self) -> list[str]:
        """Return the SQL conditions that its events fulfil."""
        found = [] if self.where is None else [self.where]
        if self.channel is not None:
            found.append(f"channel = '{self.channel}'")
        if self.offers:
            found.append(f"offer IN ({', '.join(map(repr, self.offers))})")
        return found


@dataclass(frozen=True)
class Quantity:
    """One number per row from the events of a source."""

    measure: Measure
    source: Source
    span_s: int | None = None  # window or half-life, s; None: the whole history
    bins: tuple[int, int] | None = None  # of a trend: how many, and days of each
    more: tuple[float, ...] = ()  # further numbers that its kernel takes


@dataclass(frozen=True)
class Snapshot:
    """A subscriber column as the input table has it: a number, or the days since an instant."""

    column: str
    days_since: bool = False

    def __str__(self) -> str:
        """Return the source for people."""
        return f"subscribers.{self.column}"


@dataclass(frozen=True)
class Column:
    """One feature column."""

    name: str
    feature: str  # the feature of the job file that it belongs to
    unit: str
    formula: str  # for people
    inputs: tuple[Quantity | Snapshot, ...] = ()
    compute: Callable[..., Any] | None = None  # arrays of the inputs -> [R] float64 (or labels)
    labels: tuple[str, ...] = ()  # of a text column: compute returns positions in it
    sql: str | None = None  # of an expression, which has no inputs and no compute
    fitted: bool = False  # whether compute takes the feature's parameters of the whole base first
    part: int | None = None  # which of the arrays of a compute that several columns share

    @property
    def snapshot(self) -> bool:
        """Whether it needs what is known as of the job's instant alone.

        That is a subscriber column (a start date does not count) or parameters of the whole base.
        """
        return self.fitted or any(isinstance(i, Snapshot) and not i.days_since for i in self.inputs)

    @property
    def source(self) -> str:
        """Return where its inputs come from, for people."""
        named = (str(i.source) if isinstance(i, Quantity) else str(i) for i in self.inputs)
        return ", ".join(dict.fromkeys(named))


def source_of(of: str, where: str | None = None) -> Source:
    """Return the source that ``table`` or ``table.column`` names."""
    table, _, column = of.partition(".")
    return Source(table, column or None, where)


def per_group(source: Source, per: str, job: Job) -> dict[str, Source]:
    """Return the events of each channel, category or pair of both in the catalogue, by its name.

    An event is of the category of its offer; one of an offer that the catalogue lacks is of none.
    """
    if per == "channel":
        return {name: replace(source, channel=name) for name in job.catalogue.channels}
    offers: dict[str, list[str]] = {}
    for name, offer in job.catalogue.offers.items():
        offers.setdefault(offer.category, []).append(name)
    if per == "category":
        return {name: replace(source, offers=tuple(own)) for name, own in offers.items()}
    return {
        f"{channel}_{category}": replace(source, channel=channel, offers=tuple(offers[category]))
        for channel, category in pairs(job)
    }


def pairs(job: Job) -> list[tuple[str, str]]:
    """Return each channel with each category of an offer that it can carry, in their order."""
    known = job.catalogue.channels, dict.fromkeys(o.category for o in job.catalogue.offers.values())
    carried = {(c, o.category) for o in job.catalogue.offers.values() for c in o.channels}
    return [pair for pair in product(*known) if pair in carried]


def unit_of(source: Source, job: Job) -> str:
    """Return the unit of a source's values."""
    if source.column is None:
        return "events"
    return job.inputs.tables()[source.table].values[source.column].unit


def same(array: Any) -> Any:
    """Return a quantity as it is."""
    return array


def ratio(above: Any, below: Any) -> Any:
    """Return the ratio; missing where it is over 0."""
    library = backend.library(below)
    return library.where(below != 0.0, above / library.where(below != 0.0, below, 1.0), math.nan)
