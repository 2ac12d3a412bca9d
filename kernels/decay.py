"""Events weighed by their age: the exponentially decayed sum and the trend of daily sums."""

from typing import Any

import numpy as np
from numba import njit

from kernels import backend

DAY_S = 86_400
SEEN = ("int64", "float64", "int64", "int64", "int64")


@njit(cache=True, nogil=True)
def _decayed(
    time: Any, value: Any, start: Any, stop: Any, at: Any, half_life: float, total: Any
) -> None:
    for r in range(len(start)):
        added = 0.0
        for e in range(stop[r] - 1, start[r] - 1, -1):
            added += value[e] * np.exp2(-((at[r] - time[e]) / half_life))
        total[r] = added


def decayed_cpu(time: Any, value: Any, start: Any, stop: Any, at: Any, half_life: float) -> Any:
    """Return each row's sum of values, an event's weight halving with every half-life of age.

    ``sum over events of value * 2 ** (-(at - time) / half_life)``, added newest first. exp2 is
    not rounded alike everywhere, so the two sides may differ in the last bits.

    Args:
        time: [E] int64, instant of an event, s, ascending within a row's range.
        value: [E] float64, value of an event, finite.
        start: [R] int64, the events of a row are ``start[r]:stop[r]``, all at or before ``at``.
        stop: [R] int64, see ``start``.
        at: [R] int64, instant of a row, s.
        half_life: age at which an event weighs half, s, > 0.

    Returns:
        sum: [R] float64, in the unit of the values; 0 for a row without events.
    """
    total = np.empty(len(start))
    _decayed(*backend.read_only(time, value, start, stop, at), float(half_life), total)
    return total


def decayed_gpu(time: Any, value: Any, start: Any, stop: Any, at: Any, half_life: float) -> Any:
    total = backend.cupy.empty(len(start), np.float64)
    kernel = backend.cuda_function("decay", "decayed")
    numbers = (np.float64(half_life), np.int64(len(start)))
    backend.launch(kernel, len(start), time, value, start, stop, at, *numbers, total)
    return total


decayed = backend.twin(decayed_cpu, decayed_gpu, dtypes=SEEN)


@njit(cache=True, nogil=True)
def _trend(
    time: Any, value: Any, start: Any, stop: Any, at: Any, window_days: int, slope: Any
) -> None:
    days = float(window_days)
    middle = (days - 1.0) / 2.0
    squares = days * (days * days - 1.0) / 12.0
    for r in range(len(start)):
        added = 0.0
        for e in range(stop[r] - 1, start[r] - 1, -1):
            day = (at[r] - time[e]) // DAY_S
            if day >= window_days:
                break
            added += value[e] * (middle - day)
        slope[r] = added / squares


def trend_cpu(time: Any, value: Any, start: Any, stop: Any, at: Any, window_days: int) -> Any:
    """Return the least-squares slope of each row's daily sums over the last D days.

    Day d (0 is the newest) holds the events with ``at - (d + 1) days < time <= at - d days``;
    a day without events sums to 0. The slope over x = -d is
    ``sum_d y_d * ((D - 1) / 2 - d) / (D * (D * D - 1) / 12)``, linear in the daily sums, so it
    is added event by event, newest first, without forming them.

    Args:
        time: [E] int64, instant of an event, s, ascending within a row's range.
        value: [E] float64, value of an event, finite.
        start: [R] int64, the events of a row are ``start[r]:stop[r]``, all at or before ``at``.
        stop: [R] int64, see ``start``.
        at: [R] int64, instant of a row, s.
        window_days: D, days, >= 2.

    Returns:
        slope: [R] float64, change of the daily sum per day; 0 for a row without events.
    """
    slope = np.empty(len(start))
    _trend(*backend.read_only(time, value, start, stop, at), int(window_days), slope)
    return slope


def trend_gpu(time: Any, value: Any, start: Any, stop: Any, at: Any, window_days: int) -> Any:
    slope = backend.cupy.empty(len(start), np.float64)
    kernel = backend.cuda_function("decay", "trend")
    numbers = (np.int64(window_days), np.int64(len(start)))
    backend.launch(kernel, len(start), time, value, start, stop, at, *numbers, slope)
    return slope


trend = backend.twin(trend_cpu, trend_gpu, dtypes=SEEN)
