"""Columns of the features that look at the sequence of a subscriber's events."""

from collections.abc import Iterator
from dataclasses import replace

from engine.quantities import HOUR_S, Column, Quantity, per_group, same, source_of, unit_of
from engine.sequence_plan import HOURS
from engine.settings import Job
from engine.settings.base import seconds
from engine.settings.sequence_features import (
    BestHourFeature,
    BurstFeature,
    FatigueFeature,
    OpenCaseFeature,
    RepeatFeature,
    SequenceFeature,
)


def sequence_columns(feature: SequenceFeature, job: Job) -> Iterator[Column]:
    """Return the columns of a feature, in order."""
    match feature:
        case FatigueFeature():
            return _fatigue_columns(feature, job)
        case BurstFeature():
            return _burst_columns(feature)
        case RepeatFeature():
            return _repeat_columns(feature)
        case OpenCaseFeature():
            return _case_columns(feature)
        case BestHourFeature():
            return _hour_columns(feature)


def sequence_names(feature: SequenceFeature, job: Job) -> list[str]:
    """Return the names of a feature's columns, in order; the feature may have problems."""
    match feature:
        case FatigueFeature():
            if feature.per is None:
                return [feature.name]
            ends = list(per_group(source_of(""), feature.per, job))
        case BurstFeature():
            ends = [*feature.windows, "recency"]
        case RepeatFeature():
            ends = feature.windows
        case OpenCaseFeature():
            return [feature.name, f"{feature.name}_days"]
        case BestHourFeature():
            return _hour_names(feature)
    return [f"{feature.name}_{end}" for end in ends]


def _fatigue_columns(feature: FatigueFeature, job: Job) -> Iterator[Column]:
    source = source_of(feature.of, feature.where)
    sources = [source] if feature.per is None else per_group(source, feature.per, job).values()
    leak = f"{feature.leak_per_day:g}"
    adds = "1" if source.column is None else "value"
    text = (
        f"level of a bucket: at each event max(0, level - {leak} * days since the one before) + "
        f"{adds}, at t max(0, level - {leak} * days since the last); 0 without events"
    )
    for name, own in zip(sequence_names(feature, job), sources, strict=True):
        level = Quantity("fatigue", own, more=(feature.leak_per_day,))
        yield Column(name, feature.name, unit_of(source, job), text, (level,), same)


def _burst_columns(feature: BurstFeature) -> Iterator[Column]:
    source, more = source_of(feature.of, feature.where), (feature.at_least, seconds(feature.within))
    what = (
        f"runs of events without a gap above {feature.within} in which {feature.at_least} or more "
        f"lie in some {feature.within}"
    )
    for window in feature.windows:
        count = Quantity("bursts", source, seconds(window), more=more)
        text = (
            f"number of {what}, the earliest such {feature.within} beginning in (t - {window}, t]"
        )
        yield Column(f"{feature.name}_{window}", feature.name, "moments", text, (count,), same)
    last = Quantity("burst_recency", source, more=more)
    text = f"t - last event of the last of the {what}; missing without one"
    yield Column(f"{feature.name}_recency", feature.name, "days", text, (last,), same)


def _repeat_columns(feature: RepeatFeature) -> Iterator[Column]:
    source = source_of(feature.of, feature.where)
    for window in feature.windows:
        count = Quantity("repeats", source, seconds(window), more=(seconds(feature.within),))
        text = (
            f"number of events in (t - {window}, t] at most {feature.within} after the one before"
        )
        yield Column(f"{feature.name}_{window}", feature.name, "events", text, (count,), same)


def _case_columns(feature: OpenCaseFeature) -> Iterator[Column]:
    source = replace(source_of(feature.of), opens=feature.opens, closes=feature.closes)
    after = "opening events in seconds after that of the last closing event"
    openings, days = Quantity("openings", source), Quantity("open_days", source)
    text = f"number of {after}; 0 when no case is open"
    yield Column(feature.name, feature.name, "events", text, (openings,), same)
    text = f"t - first of the {after}; missing when no case is open"
    yield Column(f"{feature.name}_days", feature.name, "days", text, (days,), same)


def _hour_columns(feature: BestHourFeature) -> Iterator[Column]:
    source, span = source_of(feature.of, feature.where), seconds(feature.window)
    more = (round(feature.utc_offset_h * HOUR_S),)
    inside, clock = f"(t - {feature.window}, t]", f"UTC{feature.utc_offset_h:+g}h"
    told = {
        "best_hour": (
            "hour of the week",
            f"hour of the week (0: Monday, 0:00 {clock}) with most events in {inside}, the first "
            "of equals, missing without events",
        ),
        "hour_share": (
            "share",
            f"share of the events in {inside} in the hour of the week with most of them, missing "
            "without events",
        ),
        "hour_entropy": (
            "share",
            f"-sum of p * log2 p / log2 168 over the shares p of the hours of the week ({clock}) "
            f"in {inside}, missing without events",
        ),
        "hours": ("hours", f"number of hours of the week ({clock}) with events in {inside}"),
    }
    for name, measure in zip(_hour_names(feature), HOURS, strict=True):
        unit, text = told[measure]
        quantity = Quantity(measure, source, span, more=more)
        yield Column(name, feature.name, unit, text, (quantity,), same)


def _hour_names(feature: BestHourFeature) -> list[str]:
    return [feature.name, *(f"{feature.name}_{end}" for end in ("share", "entropy", "hours"))]
