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

EARLY, CHANCE = 1, 2  # outputs of the kernel, after the expected time


def run_out_columns(feature: RunOutFeature) -> Iterator[Column]:
    """Return the columns of a feature: hours, and those of its quantile and its probability."""
    source = source_of(feature.of, feature.where)
    half_life = seconds(feature.half_life)
    decayed, balance = Quantity("decayed", source, half_life), Snapshot(feature.balance)
    squares = Quantity("decayed", replace(source, squared=True), half_life)
    numbers = {
        "per_hour": math.log(2.0) / (half_life / HOUR_S),
        "horizon_h": seconds(feature.horizon) / HOUR_S,
    }
    smoothed = f"decayed spend * ln 2 / {half_life / HOUR_S:g} h"
    spent = "0 when the balance is 0 or below, missing when it is missing"
    walk = f"spend as a random walk of rate r = {smoothed} and variance from the decayed squares"

    def column(stem: str, unit: str, text: str, compute: Callable[..., Any]) -> Column:
        name = feature.name + stem
        return Column(name, feature.name, unit, text, (decayed, squares, balance), compute)

    text = f"{feature.balance} / ({smoothed}), at most {feature.horizon} and that without spend"
    hours = column("", "hours", f"{text}; {spent}", partial(_expected, **numbers))
    yield replace(hours, inputs=(decayed, balance))
    if feature.quantile is not None:
        text = f"time by which the balance is spent with probability {feature.quantile:g}, {walk}"
        text += f"; at most {feature.horizon} and that without spend; {spent}"
        yield column("_early", "hours", text, partial(_early, share=feature.quantile, **numbers))
    if feature.within is not None:
        text = f"P(balance is spent within {feature.within}), {walk}; 0 without spend, 1 when the "
        text += "balance is 0 or below, missing when it is missing"
        within_h = seconds(feature.within) / HOUR_S
        chance = partial(_chance, within_h=within_h, **numbers)
        yield column("_chance", "probability", text, chance)


def _expected(decayed: Any, balance: Any, *, per_hour: float, horizon_h: float) -> Any:
    rate = decayed * per_hour
    return run_out(balance, rate, 0.0 * rate, horizon_h, 0.0, 0.0)[0]


def _early(
    decayed: Any, squares: Any, balance: Any, *, per_hour: float, horizon_h: float, share: float
) -> Any:
    walk = decayed * per_hour, squares * per_hour
    return run_out(balance, *walk, horizon_h, 0.0, share)[EARLY]


def _chance(
    decayed: Any, squares: Any, balance: Any, *, per_hour: float, horizon_h: float, within_h: float
) -> Any:
    walk = decayed * per_hour, squares * per_hour
    return run_out(balance, *walk, horizon_h, within_h, 0.0)[CHANCE]
