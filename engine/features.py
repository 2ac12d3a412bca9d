"""What each feature column is: its name, unit and formula, and the quantities it is made of."""

import operator
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from engine.group_features import group_columns, group_names
from engine.quantities import (
    DAY_S,
    Column,
    Quantity,
    Snapshot,
    ratio,
    same,
    source_of,
    unit_of,
)
from engine.run_out import run_out_columns
from engine.sequence_features import sequence_columns, sequence_names
from engine.settings import Job
from engine.settings.base import seconds
from engine.settings.features import (
    BaselineFeature,
    DecayFeature,
    EventFeature,
    ExpressionFeature,
    Feature,
    LatestFeature,
    LifecycleFeature,
    RunOutFeature,
    ScoreFeature,
    TenureFeature,
    TrendFeature,
    WindowFeature,
)
from engine.settings.group_features import GroupFeature
from engine.settings.sequence_features import SequenceFeature
from engine.settings.value_features import ValueFeature
from engine.value_features import value_columns, value_names
from kernels import backend, saturation

STAGES = ("new", "active", "quiet", "dormant", "lost")


def columns_of(feature: Feature, job: Job) -> list[Column]:
    """Return the columns of a feature, in order.

    Args:
        feature: a feature without problems (:func:`engine.feature_problems.problems`).
        job: the job it is of.
    """
    if isinstance(feature, GroupFeature):
        return list(group_columns(feature, job))
    if isinstance(feature, SequenceFeature):
        return list(sequence_columns(feature, job))
    if isinstance(feature, ValueFeature):
        return list(value_columns(feature, job))
    match feature:
        case WindowFeature():
            return list(_window_columns(feature, job))
        case BaselineFeature():
            return list(_baseline_columns(feature))
        case EventFeature():
            return [_event_column(feature)]
        case LatestFeature():
            latest = Quantity("latest", source_of(feature.of, feature.where))
            text, unit = (
                "value of the last event, missing without events",
                unit_of(latest.source, job),
            )
            return [Column(feature.name, feature.name, unit, text, (latest,), same)]
        case RunOutFeature():
            return list(run_out_columns(feature))
        case LifecycleFeature():
            return [_lifecycle_column(feature)]
        case TenureFeature():
            text = f"days from {feature.since} to t"
            since = Snapshot(feature.since, days_since=True)
            return [Column(feature.name, feature.name, "days", text, (since,), same)]
        case ExpressionFeature():
            return [Column(feature.name, feature.name, feature.unit, feature.sql, sql=feature.sql)]
    return [_weighed_column(feature, job)]


def names_of(feature: Feature, job: Job) -> list[str]:
    """Return the names of a feature's columns, in order; the feature may have problems."""
    if isinstance(feature, GroupFeature):
        return group_names(feature, job)
    if isinstance(feature, SequenceFeature):
        return sequence_names(feature, job)
    if isinstance(feature, ValueFeature):
        return value_names(feature)
    if isinstance(feature, WindowFeature | BaselineFeature):
        return [f"{feature.name}_{window}" for window in feature.windows]
    if isinstance(feature, RunOutFeature):
        more = {"early": feature.quantile, "chance": feature.within}
        stems = [f"{feature.name}_{stem}" for stem, asked in more.items() if asked is not None]
        return [feature.name, *stems]
    return [feature.name]


def _window_columns(feature: WindowFeature, job: Job) -> Iterator[Column]:
    source = source_of(feature.of, feature.where)
    every = replace(source.events, where=None)
    for name, window in zip(names_of(feature, job), feature.windows, strict=True):
        span, unit = seconds(window), unit_of(source, job)
        inside = f"(t - {window}, t]"
        count = Quantity("count", source.events, span)
        total = count if source.column is None else Quantity("sum", source, span)
        compute: Callable[..., Any] = same
        inputs: tuple[Quantity, ...]
        match feature.op:
            case "count":
                inputs, text = (count,), f"number of events in {inside}"
            case "sum":
                inputs, text = (total,), f"sum over {inside}, 0 without events"
            case "mean":
                inputs, compute = (total, count), ratio
                text = f"sum / number of events in {inside}, missing without events"
            case "min" | "max" | "std":
                inputs = (Quantity(feature.op, source, span),)
                what = {"min": "smallest", "max": "largest"}
                text = f"{what.get(feature.op, 'population standard deviation')} in {inside}"
                text += ", missing without events"
            case "active_days":
                inputs, unit = (Quantity("days", source.events, span),), "days"
                text = f"days, counted back from t, with events in {inside}"
            case "share":
                inputs, unit = (count, Quantity("count", every, span)), "share"
                text, compute = f"share of the events in {inside}, missing without any", ratio
            case "change":
                double = replace(total, span_s=2 * span)
                inputs, unit, compute = (total, double), "ratio", _change
                text = (
                    f"sum over {inside} / sum over (t - 2 * {window}, t - {window}], missing where "
                    "the earlier is 0"
                )
        yield Column(name, feature.name, unit, text, inputs, compute)


def _change(recent: Any, both: Any) -> Any:
    # One pass adds both, newest first: without events between they are the same bits.
    return ratio(recent, both - recent)


def _baseline_columns(feature: BaselineFeature) -> Iterator[Column]:
    source = source_of(feature.of, feature.where)
    own = seconds(feature.baseline)
    usual = Quantity("sum", source, own), Quantity("count", source.events, own)
    for window in feature.windows:
        span = seconds(window)
        recent = Quantity("sum", source, span), Quantity("count", source.events, span)
        text = (
            f"mean over (t - {window}, t] / mean over (t - {feature.baseline}, t], missing without "
            "events or where the latter is 0"
        )
        name = f"{feature.name}_{window}"
        yield Column(name, feature.name, "ratio", text, (*recent, *usual), _against)


def _against(total: Any, count: Any, usual_total: Any, usual_count: Any) -> Any:
    return ratio(ratio(total, count), ratio(usual_total, usual_count))


def _event_column(feature: EventFeature) -> Column:
    events = source_of(feature.of, feature.where)
    recency, mean, deviation = (Quantity(m, events) for m in ("recency", "gap_mean", "gap_std"))
    few = "missing with fewer than two events"
    compute: Callable[..., Any] = same
    unit = "days"
    inputs: tuple[Quantity, ...]
    match feature.op:
        case "recency":
            inputs, text = (recency,), "t - last event, missing without events"
        case "first_seen":
            inputs, text = (Quantity("age", events),), "t - first event, missing without events"
        case "gap_mean":
            inputs, text = (mean,), f"mean gap between events, {few}"
        case "gap_std":
            inputs, text = (deviation,), f"population standard deviation of the gaps, {few}"
        case "gap_cv":
            inputs, unit, compute = (deviation, mean), "ratio", ratio
            text = f"standard deviation of the gaps / mean gap, {few} and where the mean is 0"
        case "expected_next":
            inputs, compute = (mean, recency), operator.sub
            text = f"mean gap - (t - last event), negative when late, {few}"
        case "overdue":
            inputs, unit, compute = (recency, mean), "ratio", ratio
            text = f"(t - last event) / mean gap, {few} and where the mean is 0"
    return Column(feature.name, feature.name, unit, text, inputs, compute)


def _weighed_column(feature: DecayFeature | ScoreFeature | TrendFeature, job: Job) -> Column:
    source = source_of(feature.of, feature.where)
    unit = unit_of(source, job)
    if isinstance(feature, TrendFeature):
        days = seconds(feature.every) // DAY_S
        bins = seconds(feature.window) // (days * DAY_S), days
        inputs = (Quantity("trend", source, bins=bins),)
        text = (
            f"least-squares slope of the sums of {feature.every} each over "
            f"(t - {feature.window}, t]"
        )
        per = f"{unit} per {feature.every}, per {feature.every}"
        return Column(feature.name, feature.name, per, text, inputs, same)
    inputs = (Quantity("decayed", source, seconds(feature.half_life)),)
    text = f"sum of value * 2 ** (-age / {feature.half_life})"
    if isinstance(feature, DecayFeature):
        return Column(feature.name, feature.name, unit, text, inputs, same)
    text = f"1 - 2 ** (-({text}) / {feature.scale:g})"
    compute = partial(_score, scale=feature.scale)
    return Column(feature.name, feature.name, "score in [0, 1]", text, inputs, compute)


def _score(decayed: Any, scale: float) -> Any:
    return saturation(decayed, scale)


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
