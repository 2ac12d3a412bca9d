"""Bad moments: times at which many events came close together."""

from typing import Any

import numpy as np
from numba import njit

from kernels import backend
from kernels.threads import CHUNK, each_chunk

DAY_S = 86_400.0


@njit(cache=True, nogil=True)
def _bursts(
    time: Any, kept: Any, start: Any, stop: Any, at: Any, windows: Any, at_least: int,
    within: int, count: Any, recency_days: Any,
) -> None:  # fmt: skip
    narrowed, one = len(kept) > 0, np.uint64(1)
    for r in range(len(start)):
        for w in range(len(windows)):
            count[w, r] = 0
        seen, oldest, before, inside, last = 0, np.uint64(start[r]), 0, False, 0
        any_moment = False
        for e in range(np.uint64(start[r]), np.uint64(stop[r])):
            if narrowed and not kept[e]:
                continue
            t = time[e]
            inside = inside and t - before <= within
            before = t
            # The event at_least - 1 kept events ago, once there are so many.
            if seen >= at_least:
                oldest += one
            while narrowed and not kept[oldest]:
                oldest += one
            seen += 1
            begin = time[oldest]
            if not inside and seen >= at_least and t - begin <= within:
                inside = any_moment = True
                for w in range(len(windows) - 1, -1, -1):
                    if begin <= at[r] - windows[w]:
                        break
                    count[w, r] += 1
            if inside:
                last = t
        recency_days[r] = (at[r] - last) / DAY_S if any_moment else np.nan


def bursts_cpu(
    time: Any, kept: Any, start: Any, stop: Any, at: Any, windows: Any, at_least: int, within: int
) -> Any:
    """Return how many moments began in each window, and how long ago the last one was.

    A run is a longest stretch of events without a gap above ``within``. A run is a moment when
    ``at_least`` of its events lie in some ``[t, t + within]``; it begins at the earliest event t
    for which they do, and takes in the rest of the run. So moments do not overlap. A moment counts
    in window ``w`` of a row when it began in ``(at - w, at]``.

    Args:
        time: [E] int64, instant of an event, s, ascending within a row's range.
        kept: [E] bool, the events that count; [0]: all of them.
        start: [R] int64, the events of a row are ``start[r]:stop[r]``, all at or before ``at``.
        stop: [R] int64, see ``start``.
        at: [R] int64, instant of a row, s.
        windows: [W] int64, lengths, s, > 0, ascending.
        at_least: events, >= 1; with 1 every run is a moment.
        within: s, > 0.

    Returns:
        count: [W, R] int64, moments that began in the window.
        recency_days: [R] float64, days from the last event of the last moment to the instant, NaN
            without a moment.
    """
    count, recency_days = np.empty((len(windows), len(start)), np.int64), np.empty(len(start))
    events, rows = backend.read_only(time, kept), backend.read_only(start, stop, at)
    (lengths,) = backend.read_only(windows)

    def work(begin: int, end: int) -> None:
        out = count[:, begin:end], recency_days[begin:end]
        _bursts(*events, *(a[begin:end] for a in rows), lengths, at_least, within, *out)

    each_chunk(len(start), work, CHUNK)
    return count, recency_days


def bursts_gpu(
    time: Any, kept: Any, start: Any, stop: Any, at: Any, windows: Any, at_least: int, within: int
) -> Any:
    lengths, rows = shape = (len(windows), len(start))
    count = backend.cupy.empty(shape, np.int64)
    recency_days = backend.cupy.empty(rows, np.float64)
    kernel = backend.cuda_function("bursts", "bursts")
    numbers = map(np.int64, (at_least, within, len(kept), rows, lengths))
    arrays = (time, kept, start, stop, at, windows)
    backend.launch(kernel, rows, *arrays, *numbers, count, recency_days)
    return count, recency_days


bursts = backend.twin(
    bursts_cpu, bursts_gpu, dtypes=("int64", "bool", "int64", "int64", "int64", "int64")
)
