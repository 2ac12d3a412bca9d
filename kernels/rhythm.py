"""The rhythm of a subscriber's events: how long ago the last one was, and the gaps between."""

import math
from typing import Any

import numpy as np
from numba import njit

from kernels import backend

DAY_S = 86_400.0


@njit(cache=True, nogil=True)
def _rhythm(
    time: Any, start: Any, stop: Any, at: Any, recency_days: Any, gap_mean_days: Any,
    gap_std_days: Any,
) -> None:  # fmt: skip
    for r in range(len(start)):
        events = stop[r] - start[r]
        recency_days[r] = gap_mean_days[r] = gap_std_days[r] = np.nan
        if events > 0:
            recency_days[r] = (at[r] - time[stop[r] - 1]) / DAY_S
        if events > 1:
            gaps = float(events - 1)
            mean = (time[stop[r] - 1] - time[start[r]]) / gaps
            squares = 0.0
            for e in range(start[r] + 1, stop[r]):
                away = (time[e] - time[e - 1]) - mean
                squares += away * away
            gap_mean_days[r] = mean / DAY_S
            gap_std_days[r] = math.sqrt(squares / gaps) / DAY_S


def rhythm_cpu(time: Any, start: Any, stop: Any, at: Any) -> Any:
    """Return the age of each row's last event and the mean and deviation of its gaps.

    n events have n - 1 gaps. Recency needs one event, the gaps' mean and their population
    standard deviation need two (one gap deviates by 0); with fewer they are missing, NaN.

    Args:
        time: [E] int64, instant of an event, s, ascending within a row's range.
        start: [R] int64, the events of a row are ``start[r]:stop[r]``, all at or before ``at``.
        stop: [R] int64, see ``start``.
        at: [R] int64, instant of a row, s.

    Returns:
        recency_days: [R] float64, days from the last event to the instant, >= 0.
        gap_mean_days: [R] float64, mean gap, days, >= 0.
        gap_std_days: [R] float64, population standard deviation of the gaps, days, >= 0.
    """
    out = tuple(np.empty(len(start)) for _ in range(3))
    _rhythm(*backend.read_only(time, start, stop, at), *out)
    return out


def rhythm_gpu(time: Any, start: Any, stop: Any, at: Any) -> Any:
    rows = len(start)
    out = tuple(backend.cupy.empty(rows, np.float64) for _ in range(3))
    kernel = backend.cuda_function("rhythm", "rhythm")
    backend.launch(kernel, rows, time, start, stop, at, np.int64(rows), *out)
    return out


rhythm = backend.twin(rhythm_cpu, rhythm_gpu, dtypes=("int64",) * 4)
