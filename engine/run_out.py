"""Columns of the feature ``run_out``: when a prepaid balance is spent.

Spend and its variance per hour are exponentially smoothed, each event being a spend of its own
(a compound Poisson process): with the decayed sums of the values and of their squares, both times
``ln 2 / half_life``, :func:`kernels.run_out` tells when the balance is used up.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from engine.quantities import HOUR_S, Column, Quantity, Snapshot, source_of
from engine.settings.base import seconds
from engine.settings.features import RunOutFeature
from kernels import run_out

EARLY, CHANCE = 1, 2  # outputs of the kernel, after the expected time


def run_out_columns(feature: RunOutFeature) -> Iterator[Column]:
    """Return the columns of a feature: hours, and those of its quantile and its probability."""
    source = source_of(feature.of, feature.where)
    half_life = seconds(feature.half_life)
    decayed, balance = Quantity("decayed", source, half_life), Snapshot(feature.balance)
    squares = Quantity("decayed", replace(source, squared=True), half_life)
    smoothed = f"decayed spend * ln 2 / {half_life / HOUR_S:g} h"
    spent = "0 when the balance is 0 or below, missing when it is missing"
    walk = f"spend as a random walk of rate r = {smoothed} and variance from the decayed squares"
    text = f"{feature.balance} / ({smoothed}), at most {feature.horizon} and that without spend"
    mean, name = partial(_expected, feature=feature), feature.name
    yield Column(name, name, "hours", f"{text}; {spent}", (decayed, balance), mean)
    both, inputs = partial(_random, feature=feature), (decayed, squares, balance)
    if feature.quantile is not None:
        text = f"time by which the balance is spent with probability {feature.quantile:g}, {walk}"
        text += f"; at most {feature.horizon} and that without spend; {spent}"
        yield Column(f"{name}_early", name, "hours", text, inputs, both, part=EARLY)
    if feature.within is not None:
        text = f"P(balance is spent within {feature.within}), {walk}; 0 without spend, 1 when the "
        text += "balance is 0 or below, missing when it is missing"
        yield Column(f"{name}_chance", name, "probability", text, inputs, both, part=CHANCE)


def _expected(decayed: Any, balance: Any, *, feature: RunOutFeature) -> Any:
    rate = decayed * _per_hour(feature)
    return run_out(balance, rate, 0.0 * rate, _hours(feature.horizon), 0.0, 0.0)[0]


def _random(decayed: Any, squares: Any, balance: Any, *, feature: RunOutFeature) -> Any:
    """Return what the kernel does, whose quantile and probability are wanted."""
    per_hour, horizon_h = _per_hour(feature), _hours(feature.horizon)
    within_h = 0.0 if feature.within is None else _hours(feature.within)
    numbers = horizon_h, within_h, feature.quantile or 0.0
    return run_out(balance, decayed * per_hour, squares * per_hour, *numbers)


def _per_hour(feature: RunOutFeature) -> float:
    return math.log(2.0) / _hours(feature.half_life)


def _hours(duration: str) -> float:
    return seconds(duration) / HOUR_S
