"""Columns of the features of value: RFM scores and lifetime value.

Both take parameters from the whole base as of the job's instant (:mod:`engine.fitted`).
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

from engine import lifetime, rfm
from engine.quantities import DAY_S, EVER_S, Column, Quantity, source_of, unit_of
from engine.settings import Job
from engine.settings.base import seconds
from engine.settings.value_features import LifetimeFeature, RfmFeature, ValueFeature
from kernels import backend
from kernels import lifetime as lifetime_kernel
from kernels.exponential import exponential
from kernels.lifetime import STEPS
from kernels.logarithm import logarithm_1p

YEAR_DAYS = 365.0
WHOLE = "missing without one"


def value_columns(feature: ValueFeature, job: Job) -> Iterator[Column]:
    """Return the columns of a feature, in order."""
    if isinstance(feature, RfmFeature):
        return _rfm_columns(feature)
    return _lifetime_columns(feature, job)


def value_names(feature: ValueFeature) -> list[str]:
    """Return the names of a feature's columns, in order."""
    name = feature.name
    if isinstance(feature, RfmFeature):
        return [*(f"{name}_{dimension}" for dimension in rfm.DIMENSIONS), name]
    return [name, f"{name}_alive", f"{name}_transactions", f"{name}_spend"]


def horizon_days(feature: LifetimeFeature) -> float:
    """Return the horizon of a lifetime value, days."""
    return seconds(feature.horizon) / DAY_S


def _rfm_columns(feature: RfmFeature) -> Iterator[Column]:
    source, span = source_of(feature.of, feature.where), seconds(feature.window)
    events = source.events
    inputs = (
        Quantity("recency", events), Quantity("count", events, span), Quantity("sum", source, span),
    )  # fmt: skip
    inside = f"an event in (t - {feature.window}, t]"
    worse = {
        "recency": "the last one is longer ago",
        "frequency": "there are fewer",
        "monetary": "their sum is smaller",
    }
    *names, whole = value_names(feature)
    for name, (dimension, less) in zip(names, worse.items(), strict=True):
        text = (
            f"1 + floor({feature.bins} * share of the subscribers with {inside} of whom {less}), "
            f"values within 1 / 4096 being equal; {WHOLE}"
        )
        compute = partial(rfm.score, dimension=dimension)
        unit = f"score 1 to {feature.bins}"
        yield Column(name, feature.name, unit, text, inputs, compute, fitted=True)
    text = f"{names[0]} * 100 + {names[1]} * 10 + {names[2]}, {WHOLE}"
    yield Column(whole, feature.name, "three scores", text, inputs, rfm.combined, fitted=True)


def _lifetime_columns(feature: LifetimeFeature, job: Job) -> Iterator[Column]:
    source = source_of(feature.of, feature.where)
    events, unit = source.events, unit_of(source, job)
    inputs = (
        Quantity("count", events, EVER_S), Quantity("recency", events), Quantity("age", events),
        Quantity("sum", source, EVER_S),
    )  # fmt: skip
    alive = "P(still alive) of the BG/NBD by number, first and last of the events"
    spend = "expected mean of the Gamma-Gamma by number and sum of the events"
    made = f"transactions expected by the BG/NBD in (t, t + {feature.horizon}]"
    texts = (
        f"sum over {STEPS} equal parts of (t, t + {feature.horizon}] of expected transactions * "
        f"expected {unit} / (1 + {feature.discount:g}) ** (years to the end of the part)",
        alive, made, spend,
    )  # fmt: skip
    units = (unit, "probability", "transactions", f"{unit} per transaction")
    compute = partial(_told, feature=feature)
    parts = (3, 0, 1, 2)  # of what the kernel returns
    for name, of, text, part in zip(value_names(feature), units, texts, parts, strict=True):
        text += f"; {WHOLE}"
        yield Column(name, feature.name, of, text, inputs, compute, fitted=True, part=part)


def _told(model: lifetime.Model, *inputs: Any, feature: LifetimeFeature) -> Any:
    days = horizon_days(feature)
    shapes = (model.r, model.alpha, model.a, model.b, model.p, model.q, model.gamma)
    fading = exponential(-days / STEPS / YEAR_DAYS * logarithm_1p(feature.discount))
    library = backend.library(inputs[0])
    numbers = library.asarray([*shapes, days, fading], dtype="float64")
    events, recency, age, spent = (library.ascontiguousarray(a) for a in inputs)
    return lifetime_kernel(events, recency, age, spent, numbers)
