"""What each feature column is: its name, unit and formula, and the quantities it is made of.

A feature of the job file becomes one or more columns. A column is a formula over quantities; a
quantity is one number per row (a subscriber at an instant t) that a kernel computes from the
events of a source. Equal quantities are computed once, however many columns use them.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from engine.settings import Job
from engine.settings.base import seconds
from engine.settings.features import (
    DecayFeature,
    EventFeature,
    ExpressionFeature,
    Feature,
    LifecycleFeature,
    ResponseFeature,
    RunOutFeature,
    ScoreFeature,
    TenureFeature,
    TrendFeature,
    WindowFeature,
)
from kernels import backend

STAGES = ("new", "active", "quiet", "dormant", "lost")
DAY_S, HOUR_S = 86_400, 3_600

Measure = Literal["count", "sum", "max", "recency", "gap_mean", "gap_std", "decayed", "trend"]


@dataclass(frozen=True)
class Source:
    """Events of a table that a condition and a channel keep, each with a value."""

    table: str
    column: str | None = None  # its value column; None: each event counts 1
    where: str | None = None  # SQL condition; None: every event
    channel: str | None = None  # None: every channel

    def __str__(self) -> str:
        """Return the source for people: ``usage.charge where kind = 'data'``."""
        named = self.table if self.column is None else f"{self.table}.{self.column}"
        channel = None if self.channel is None else f"channel = '{self.channel}'"
        conditions = [c for c in (self.where, channel) if c is not None]
        return f"{named} where {' and '.join(conditions)}" if conditions else named


@dataclass(frozen=True)
class Quantity:
    """One number per row from the events of a source."""

    measure: Measure
    source: Source
    span_s: int | None = None  # window or half-life, s; None: the whole history


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

    @property
    def snapshot(self) -> bool:
        """Whether it needs a subscriber column whose past is not known (a start date is)."""
        return any(isinstance(i, Snapshot) and not i.days_since for i in self.inputs)

    @property
    def source(self) -> str:
        """Return where its inputs come from, for people."""
        named = (str(i.source) if isinstance(i, Quantity) else str(i) for i in self.inputs)
        return ", ".join(dict.fromkeys(named))


def source_of(of: str, where: str | None = None) -> Source:
    """Return the source that ``table`` or ``table.column`` names."""
    table, _, column = of.partition(".")
    return Source(table, column or None, where)


def columns_of(feature: Feature, job: Job) -> list[Column]:
    """Return the columns of a feature, in order.

    Args:
        feature: a feature without problems (:func:`engine.feature_problems.problems`).
        job: the job it is of.
    """
    match feature:
        case WindowFeature():
            return list(_window_columns(feature, job))
        case EventFeature():
            return [_event_column(feature)]
        case ResponseFeature():
            return list(_response_columns(feature, job))
        case RunOutFeature():
            return [_run_out_column(feature)]
        case LifecycleFeature():
            return [_lifecycle_column(feature)]
        case TenureFeature():
            text = f"days from {feature.since} to t"
            since = Snapshot(feature.since, days_since=True)
            return [Column(feature.name, feature.name, "days", text, (since,), _same)]
        case ExpressionFeature():
            return [Column(feature.name, feature.name, "", feature.sql, sql=feature.sql)]
    return [_weighed_column(feature, job)]


def names_of(feature: Feature, job: Job) -> list[str]:
    """Return the names of a feature's columns, in order; the feature may have problems."""
    if isinstance(feature, WindowFeature):
        return [f"{feature.name}_{window}" for window in feature.windows]
    if isinstance(feature, ResponseFeature):
        return [f"{feature.name}_{channel}" for channel in job.catalogue.channels]
    return [feature.name]


def _unit(source: Source, job: Job) -> str:
    if source.column is None:
        return "events"
    return job.inputs.tables()[source.table].values[source.column].unit


def _same(array: Any) -> Any:
    return array


def _mean(total: Any, count: Any) -> Any:
    library = backend.library(count)
    return library.where(count > 0, total / library.maximum(count, 1.0), math.nan)


def _window_columns(feature: WindowFeature, job: Job) -> Iterator[Column]:
    source = source_of(feature.of, feature.where)
    events = Source(source.table, None, source.where)
    for name, window in zip(names_of(feature, job), feature.windows, strict=True):
        span = seconds(window)
        compute: Callable[..., Any] = _same
        match feature.op:
            case "count":
                inputs: tuple[Quantity, ...] = (Quantity("count", events, span),)
                text = f"number of events in (t - {window}, t]"
            case "mean":
                inputs = (Quantity("sum", source, span), Quantity("count", events, span))
                text = f"sum / number of events in (t - {window}, t], missing without events"
                compute = _mean
            case "sum":
                inputs = (Quantity("sum", source, span),)
                text = f"sum over (t - {window}, t], 0 without events"
            case "max":
                inputs = (Quantity("max", source, span),)
                text = f"largest in (t - {window}, t], missing without events"
        yield Column(name, feature.name, _unit(source, job), text, inputs, compute)


def _event_column(feature: EventFeature) -> Column:
    text = {
        "recency": "t - last event, missing without events",
        "gap_mean": "mean gap between events, missing with fewer than two",
        "gap_std": "population standard deviation of the gaps, missing with fewer than two events",
    }[feature.op]
    inputs = (Quantity(feature.op, source_of(feature.of, feature.where)),)
    return Column(feature.name, feature.name, "days", text, inputs, _same)


def _weighed_column(feature: DecayFeature | ScoreFeature | TrendFeature, job: Job) -> Column:
    source = source_of(feature.of, feature.where)
    unit = _unit(source, job)
    if isinstance(feature, TrendFeature):
        inputs = (Quantity("trend", source, seconds(feature.window)),)
        text = f"least-squares slope of the daily sums over (t - {feature.window}, t]"
        return Column(feature.name, feature.name, f"{unit} per day, per day", text, inputs, _same)
    inputs = (Quantity("decayed", source, seconds(feature.half_life)),)
    text = f"sum of value * 2 ** (-age / {feature.half_life})"
    if isinstance(feature, DecayFeature):
        return Column(feature.name, feature.name, unit, text, inputs, _same)
    text = f"1 - 2 ** (-({text}) / {feature.scale:g})"
    compute = partial(_score, scale=feature.scale)
    return Column(feature.name, feature.name, "score in [0, 1]", text, inputs, compute)


def _score(decayed: Any, scale: float) -> Any:
    return 1.0 - backend.library(decayed).exp2(-decayed / scale)


def _run_out_column(feature: RunOutFeature) -> Column:
    half_life_s, horizon_s = seconds(feature.half_life), seconds(feature.horizon)
    decayed = Quantity("decayed", source_of(feature.of, feature.where), half_life_s)
    text = (
        f"{feature.balance} / (decayed spend * ln 2 / {half_life_s / HOUR_S:g} h), at most "
        f"{feature.horizon} and that without spend; 0 when the balance is 0 or below, missing "
        "when it is missing"
    )
    compute = partial(_run_out, half_life_h=half_life_s / HOUR_S, horizon_h=horizon_s / HOUR_S)
    inputs = (decayed, Snapshot(feature.balance))
    return Column(feature.name, feature.name, "hours", text, inputs, compute)


def _run_out(decayed: Any, balance: Any, half_life_h: float, horizon_h: float) -> Any:
    where = backend.library(decayed).where
    per_hour = decayed * (math.log(2.0) / half_life_h)
    lasts = (per_hour <= 0.0) | (balance >= per_hour * horizon_h)
    hours = where(lasts, horizon_h, balance / where(lasts, 1.0, per_hour))
    return where(balance <= 0.0, 0.0, where(balance != balance, math.nan, hours))


def _response_columns(feature: ResponseFeature, job: Job) -> Iterator[Column]:
    span, window = seconds(feature.window), f"(t - {feature.window}, t]"
    for name, channel in zip(names_of(feature, job), job.catalogue.channels, strict=True):
        contacts, outcomes = (Source(table, channel=channel) for table in ("contacts", "outcomes"))
        if feature.op == "last_contact":
            last = (Quantity("recency", contacts, span),)
            text = f"t - last contact, missing without one in {window}"
            yield Column(name, feature.name, "days", text, last, _same)
            continue
        text = (
            f"(accepts + {feature.prior:g} * {feature.strength:g}) / (contacts + "
            f"{feature.strength:g}) over {window}; above 1 only when accepts outnumber contacts"
        )
        compute = partial(_response_rate, prior=feature.prior, strength=feature.strength)
        counts = (Quantity("count", outcomes, span), Quantity("count", contacts, span))
        yield Column(name, feature.name, "accepts per contact", text, counts, compute)


def _response_rate(accepts: Any, contacts: Any, prior: float, strength: float) -> Any:
    return (accepts + prior * strength) / (contacts + strength)


def _lifecycle_column(feature: LifecycleFeature) -> Column:
    limits = {name: getattr(feature, name) for name in ("new", "lost", "dormant", "quiet")}
    text = (
        f"new: tenure below {feature.new}; else by recency, lost: from {feature.lost} or no "
        f"event, dormant: from {feature.dormant}, quiet: from {feature.quiet}; else active"
    )
    compute = partial(_stage, **{name: seconds(limit) / DAY_S for name, limit in limits.items()})
    inputs = (Snapshot(feature.since, days_since=True), Quantity("recency", source_of(feature.of)))
    return Column(feature.name, feature.name, "stage", text, inputs, compute, STAGES)


def _stage(
    tenure: Any, recency: Any, *, new: float, quiet: float, dormant: float, lost: float
) -> Any:
    """Return positions in ``STAGES``; an unknown tenure is not new, an unknown recency is lost."""
    where = backend.library(recency).where
    stage = where(recency < quiet, 1, where(recency < dormant, 2, where(recency < lost, 3, 4)))
    return where(tenure < new, 0, stage)
