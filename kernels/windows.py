"""Which events a row may see, and their count, sum and largest value over trailing windows.

A row is a subscriber at an instant. Events lie subscriber by subscriber and in time order, so
what a row may see is one range of events.
"""

from typing import Any

import numpy as np
from numba import njit

from kernels import backend


@njit(cache=True, nogil=True)
def _events_until(time: Any, start: Any, end: Any, at: Any, stop: Any) -> None:
    for r in range(len(stop)):
        low, high = start[r], end[r]
        while low < high:
            middle = low + (high - low) // 2
            if time[middle] <= at[r]:
                low = middle + 1
            else:
                high = middle
        stop[r] = low


def events_until_cpu(time: Any, start: Any, end: Any, at: Any) -> Any:
    """Return where each row's events end: those at or before its instant.

    Args:
        time: [E] int64, instant of an event, s, ascending within a row's range.
        start: [R] int64, the events of the row's subscriber are ``start[r]:end[r]``.
        end: [R] int64, see ``start``.
        at: [R] int64, last instant that counts, s.

    Returns:
        stop: [R] int64, the events that count are ``start[r]:stop[r]``.
    """
    stop = np.empty(len(start), np.int64)
    _events_until(*backend.read_only(time, start, end, at), stop)
    return stop


def events_until_gpu(time: Any, start: Any, end: Any, at: Any) -> Any:
    stop = backend.cupy.empty(len(start), np.int64)
    kernel = backend.cuda_function("windows", "events_until")
    backend.launch(kernel, len(start), time, start, end, at, np.int64(len(start)), stop)
    return stop


events_until = backend.twin(events_until_cpu, events_until_gpu, dtypes=("int64",) * 4)


@njit(cache=True, nogil=True)
def _windowed(
    time: Any, value: Any, start: Any, stop: Any, at: Any, windows: Any,
    count: Any, total: Any, largest: Any,
) -> None:  # fmt: skip
    for r in range(len(start)):
        events, added, most = 0, 0.0, np.nan
        e = stop[r] - 1
        for w in range(len(windows)):
            # A longer window goes on where the shorter one ended: each event is read once.
            oldest = at[r] - windows[w]
            while e >= start[r] and time[e] > oldest:
                events += 1
                added += value[e]
                if not most >= value[e]:  # also true while there is none yet (NaN)
                    most = value[e]
                e -= 1
            count[w, r] = events
            total[w, r] = added
            largest[w, r] = most


def windowed_cpu(time: Any, value: Any, start: Any, stop: Any, at: Any, windows: Any) -> Any:
    """Return count, sum and largest value of each row's events over trailing windows.

    An event at ``t`` is in window ``w`` of a row when ``at - w < t <= at``. Values are added
    newest first, in float64, on both sides: same bits.

    Args:
        time: [E] int64, instant of an event, s, ascending within a row's range.
        value: [E] float64, value of an event, finite.
        start: [R] int64, the events of a row are ``start[r]:stop[r]``, all at or before ``at``.
        stop: [R] int64, see ``start``.
        at: [R] int64, instant of a row, s.
        windows: [W] int64, lengths, s, > 0, ascending.

    Returns:
        count: [W, R] int64, events in the window.
        sum: [W, R] float64, their values added; 0 when there is none.
        largest: [W, R] float64, their largest value; NaN when there is none.
    """
    shape = (len(windows), len(start))
    out = np.empty(shape, np.int64), np.empty(shape), np.empty(shape)
    _windowed(*backend.read_only(time, value, start, stop, at, windows), *out)
    return out


def windowed_gpu(time: Any, value: Any, start: Any, stop: Any, at: Any, windows: Any) -> Any:
    lengths, rows = shape = (len(windows), len(start))
    out = tuple(backend.cupy.empty(shape, dtype) for dtype in (np.int64, np.float64, np.float64))
    kernel = backend.cuda_function("windows", "windowed")
    arrays = (time, value, start, stop, at, windows)
    backend.launch(kernel, rows, *arrays, np.int64(rows), np.int64(lengths), *out)
    return out


windowed = backend.twin(
    windowed_cpu,
    windowed_gpu,
    dtypes=("int64", "float64", "int64", "int64", "int64", "int64"),
)
