"""Columns of the features that look at the sequence of a subscriber's events."""

from collections.abc import Iterator

from engine.quantities import Column, Quantity, per_group, same, source_of, unit_of
from engine.settings import Job
from engine.settings.sequence_features import FatigueFeature, SequenceFeature


def sequence_columns(feature: SequenceFeature, job: Job) -> Iterator[Column]:
    """Return the columns of a feature, in order."""
    return _fatigue_columns(feature, job)


def sequence_names(feature: SequenceFeature, job: Job) -> list[str]:
    """Return the names of a feature's columns, in order; the feature may have problems."""
    if feature.per is None:
        return [feature.name]
    return [f"{feature.name}_{group}" for group in per_group(source_of(""), feature.per, job)]


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
