"""How tired a subscriber is of what happened to them: a bucket that events fill and time drains."""

from typing import Any

import numpy as np
from numba import njit

from kernels import backend
from kernels.threads import CHUNK, each_chunk

DAY_S = 86_400.0


@njit(cache=True, nogil=True)
def _leaked(level: float, leak_per_day: float, seconds: int) -> float:
    left = level - leak_per_day * (seconds / DAY_S)
    return left if left > 0.0 else 0.0


@njit(cache=True, nogil=True)
def _fatigue(
    time: Any, value: Any, kept: Any, start: Any, stop: Any, at: Any, leak_per_day: float,
    level: Any,
) -> None:  # fmt: skip
    valued, narrowed = len(value) > 0, len(kept) > 0
    for r in range(len(start)):
        full = 0.0
        before = time[np.uint64(start[r])] if start[r] < stop[r] else at[r]
        for e in range(np.uint64(start[r]), np.uint64(stop[r])):
            if narrowed and not kept[e]:
                continue
            full = _leaked(full, leak_per_day, time[e] - before) + (value[e] if valued else 1.0)
            before = time[e]
        level[r] = _leaked(full, leak_per_day, at[r] - before)


def fatigue_cpu(
    time: Any, value: Any, kept: Any, start: Any, stop: Any, at: Any, leak_per_day: float
) -> Any:
    """Return the level of each row's leaky bucket.

    The level is 0 before the first event. At each event, in time order, it becomes
    ``max(0, level - leak * days since the event before) + value``; at the instant of the row it is
    ``max(0, level - leak * days since the last event)``.

    Args:
        time: [E] int64, instant of an event, s, ascending within a row's range.
        value: [E] float64, what an event adds, finite, >= 0; [0]: each adds 1.
        kept: [E] bool, the events that count; [0]: all of them.
        start: [R] int64, the events of a row are ``start[r]:stop[r]``, all at or before ``at``.
        stop: [R] int64, see ``start``.
        at: [R] int64, instant of a row, s.
        leak_per_day: what the level loses in a day, > 0.

    Returns:
        level: [R] float64, in units of the values, >= 0; 0 without events.

    Source:
        Turner, "New directions in communications", IEEE Communications Magazine 24 (10), 1986.
    """
    level = np.empty(len(start))
    events, rows = backend.read_only(time, value, kept), backend.read_only(start, stop, at)

    def work(begin: int, end: int) -> None:
        _fatigue(*events, *(a[begin:end] for a in rows), float(leak_per_day), level[begin:end])

    each_chunk(len(start), work, CHUNK)
    return level


def fatigue_gpu(
    time: Any, value: Any, kept: Any, start: Any, stop: Any, at: Any, leak_per_day: float
) -> Any:
    rows = len(start)
    level = backend.cupy.empty(rows, np.float64)
    kernel = backend.cuda_function("fatigue", "fatigue")
    numbers = np.float64(leak_per_day), *map(np.int64, (len(value), len(kept), rows))
    backend.launch(kernel, rows, time, value, kept, start, stop, at, *numbers, level)
    return level


fatigue = backend.twin(
    fatigue_cpu, fatigue_gpu, dtypes=("int64", "float64", "bool", "int64", "int64", "int64")
)
