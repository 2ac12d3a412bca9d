"""Columns of the feature ``run_out``: when a prepaid balance is spent.

Spend and its variance per hour are exponentially smoothed, each event being a spend of its own
(a compound Poisson process): with the decayed sums of the values and of their squares, both times
``ln 2 / half_life``, :func:`kernels.run_out` tells when the balance is used up.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from engine.quantities import HOUR_S, Column, Quantity, Snapshot, source_of
from engine.settings.base import seconds
from engine.settings.features import RunOutFeature
from kernels import run_out

EXPECTED, EARLY, CHANCE = range(3)  # outputs of the kernel


def run_out_columns(feature: RunOutFeature) -> Iterator[Column]:
    """Return the columns of a feature: hours, and those of its quantile and its probability."""
    source = source_of(feature.of, feature.where)
    half_life = seconds(feature.half_life)
    squares = Quantity("decayed", replace(source, squared=True), half_life)
    inputs = (Quantity("decayed", source, half_life), squares, Snapshot(feature.balance))
    smoothed = f"decayed spend * ln 2 / {half_life / HOUR_S:g} h"
    spent = "0 when the balance is 0 or below, missing when it is missing"
    walk = f"spend as a random walk of rate r = {smoothed} and variance from the decayed squares"

    def column(name: str, unit: str, text: str, output: int) -> Column:
        return Column(name, feature.name, unit, text, inputs, _computed(feature, output))

    text = f"{feature.balance} / ({smoothed}), at most {feature.horizon} and that without spend"
    yield column(feature.name, "hours", f"{text}; {spent}", EXPECTED)
    if feature.quantile is not None:
        text = f"time by which the balance is spent with probability {feature.quantile:g}, {walk}"
        text += f"; at most {feature.horizon} and that without spend; {spent}"
        yield column(f"{feature.name}_early", "hours", text, EARLY)
    if feature.within is not None:
        text = f"P(balance is spent within {feature.within}), {walk}; 0 without spend, 1 when the "
        text += "balance is 0 or below, missing when it is missing"
        yield column(f"{feature.name}_chance", "probability", text, CHANCE)


def _computed(feature: RunOutFeature, output: int) -> Callable[..., Any]:
    within = feature.within if output == CHANCE else None
    return partial(
        _told,
        per_hour=math.log(2.0) / (seconds(feature.half_life) / HOUR_S),
        horizon_h=seconds(feature.horizon) / HOUR_S,
        within_h=0.0 if within is None else seconds(within) / HOUR_S,
        quantile=(feature.quantile or 0.0) if output == EARLY else 0.0,
        output=output,
    )


def _told(
    decayed: Any, squares: Any, balance: Any, *, per_hour: float, output: int, **numbers: float
) -> Any:
    asked = numbers["horizon_h"], numbers["within_h"], numbers["quantile"]
    return run_out(balance, decayed * per_hour, squares * per_hour, *asked)[output]
