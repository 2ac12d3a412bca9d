"""Columns of the features with a column for each channel or category of the catalogue."""

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from engine.priors import smoothed
from engine.quantities import Column, Quantity, Source, per_group, same, source_of
from engine.settings import Job
from engine.settings.base import seconds
from engine.settings.group_features import (
    GroupCountFeature,
    GroupFeature,
    GroupRecencyFeature,
    ResponseFeature,
)
from kernels import backend


def group_columns(feature: GroupFeature, job: Job) -> Iterator[Column]:
    """Return the columns of a feature, in order."""
    match feature:
        case ResponseFeature():
            return _response_columns(feature, job)
        case GroupCountFeature():
            return _count_columns(feature, job)
        case GroupRecencyFeature():
            return _recency_columns(feature, job)


def group_names(feature: GroupFeature, job: Job) -> list[str]:
    """Return the names of a feature's columns, in order; the feature may have problems."""
    stems = [f"{feature.name}_{group}" for group in per_group(source_of(""), feature.per, job)]
    if isinstance(feature, GroupCountFeature):
        return [f"{stem}_{window}" for stem in stems for window in feature.windows]
    return stems


def _response_columns(feature: ResponseFeature, job: Job) -> Iterator[Column]:
    span, window = seconds(feature.window), f"(t - {feature.window}, t]"
    answers = job.inputs.outcomes
    accepts = source_of("outcomes", answers.accepted if answers is not None else None)
    contacted, accepted = (
        per_group(source, feature.per, job) for source in (source_of("contacts"), accepts)
    )
    for group in contacted:
        name, contacts, outcomes = f"{feature.name}_{group}", contacted[group], accepted[group]
        if feature.op == "last_contact":
            last = (Quantity("recency", contacts), Quantity("count", contacts, span))
            text = f"t - last contact, missing without one in {window}"
            yield Column(name, feature.name, "days", text, last, _recent)
            continue
        counts = (Quantity("count", outcomes, span), Quantity("count", contacts, span))
        if feature.priors == "fitted":
            text = (
                f"(accepts + prior * strength) / (contacts + strength) over {window}, prior and "
                f"strength by moments of the beta-binomial over all subscribers' {group}"
            )
            compute: Callable[..., Any] = partial(smoothed, group=group)
            unit = "accepts per contact"
            yield Column(name, feature.name, unit, text, counts, compute, fitted=True)
            continue
        text = (
            f"(accepts + {feature.prior:g} * {feature.strength:g}) / (contacts + "
            f"{feature.strength:g}) over {window}; above 1 only when accepts outnumber contacts"
        )
        compute = partial(_response_rate, prior=feature.prior, strength=feature.strength)
        yield Column(name, feature.name, "accepts per contact", text, counts, compute)


def _recent(recency: Any, count: Any) -> Any:
    return backend.library(count).where(count > 0.0, recency, math.nan)


def _response_rate(accepts: Any, contacts: Any, prior: float, strength: float) -> Any:
    return (accepts + prior * strength) / (contacts + strength)


def _count_columns(feature: GroupCountFeature, job: Job) -> Iterator[Column]:
    for group, source in _sources(feature, job):
        for window in feature.windows:
            count = Quantity("count", source, seconds(window))
            name, text = f"{feature.name}_{group}_{window}", f"events in (t - {window}, t]"
            yield Column(name, feature.name, "events", f"number of {text}", (count,), same)


def _recency_columns(feature: GroupRecencyFeature, job: Job) -> Iterator[Column]:
    for group, source in _sources(feature, job):
        last = (Quantity("recency", source),)
        text = "t - last event, missing without events"
        yield Column(f"{feature.name}_{group}", feature.name, "days", text, last, same)


def _sources(
    feature: GroupCountFeature | GroupRecencyFeature, job: Job
) -> Iterable[tuple[str, Source]]:
    return per_group(source_of(feature.of, feature.where), feature.per, job).items()
