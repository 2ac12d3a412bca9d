"""Subscribers' weights: a formula, on a grid, each a number from 0 to 1000.

One that the grid would turn into 0, and is not, is refused: its subscriber would count for nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine import expressions, tables
from engine.errors import DataError
from engine.problem_checks import LARGEST_WEIGHT
from kernels.choose import WEIGHT_GRID


@dataclass(frozen=True)
class BadWeights:
    """Rows of a partition whose weight is not a number from 0 to 1000, or rounds to 0."""

    count: int
    subscriber: Any  # the first in key order
    value: float


def weights(sql: str | None, features: Any, side: Any) -> tuple[Any, tuple[BadWeights, ...]]:
    """Return [S] float32 weights in whole 1/1024, and which are none: they are of no use then.

    Args:
        sql: the formula; None: all are 1.
        features: the profile's partition, sorted by subscriber.
        side: the array library of the frame.
    """
    if sql is None:
        return side.ones(len(features), "float32"), ()
    weight = tables.array(expressions.parse(sql, "catalogue.weight").evaluate(features))
    weight = weight.astype("float64")
    on_grid = side.rint(weight * WEIGHT_GRID) / WEIGHT_GRID
    wrong = ~((weight >= 0) & (weight <= LARGEST_WEIGHT)) | ((on_grid == 0) & (weight > 0))
    if wrong.any():
        first = int(side.flatnonzero(wrong)[0])
        key = features["subscriber"].iloc[first]
        key = key.item() if hasattr(key, "item") else key
        return weight, (BadWeights(int(wrong.sum()), key, float(weight[first])),)
    return on_grid.astype("float32"), ()


def refuse_weights(sql: str | None, found: Sequence[BadWeights]) -> None:
    """Raise one error for the weights of all partitions together.

    Raises:
        DataError: the formula, the number of bad rows, the first subscriber in key order.
    """
    if found:
        first = min(found, key=lambda bad: bad.subscriber)
        count = sum(bad.count for bad in found)
        value = "no value" if np.isnan(first.value) else f"{first.value:.9g}"
        raise DataError(
            f"catalogue.weight: {sql}: the weight is wrong for {count} "
            f"subscriber{'s' if count > 1 else ''}, got {value} for subscriber "
            f"{first.subscriber}; every weight must be a number from 0 to {LARGEST_WEIGHT:g}, "
            f"and 0 or more than half of 1/{WEIGHT_GRID}, the grid it is rounded to"
        )
