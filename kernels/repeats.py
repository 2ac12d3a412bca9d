"""Repeats: events that follow another one of the same subscriber soon, as repeat contacts do."""

from typing import Any

import numpy as np
from numba import njit

from kernels import backend
from kernels.threads import CHUNK, each_chunk


@njit(cache=True, nogil=True)
def _repeats(
    time: Any, kept: Any, start: Any, stop: Any, at: Any, windows: Any, within: int, count: Any
) -> None:
    narrowed = len(kept) > 0
    for r in range(len(start)):
        found, newer, e, any_newer = 0, 0, stop[r], False
        for w in range(len(windows)):
            # The event after the gap counts: the one before it may lie before the window.
            edge = at[r] - windows[w]
            while e > start[r] and not (any_newer and newer <= edge):
                e -= 1
                if narrowed and not kept[np.uint64(e)]:
                    continue
                t = time[np.uint64(e)]
                found += any_newer and newer - t <= within
                newer, any_newer = t, True
            count[w, r] = found


def repeats_cpu(
    time: Any, kept: Any, start: Any, stop: Any, at: Any, windows: Any, within: int
) -> Any:
    """Return how many events of each window follow another event of the row soon.

    An event is a repeat when the event before it is at most ``within`` older. It counts in window
    ``w`` of a row when it is itself in ``(at - w, at]``; the event before it may be older.

    Args:
        time: [E] int64, instant of an event, s, ascending within a row's range.
        kept: [E] bool, the events that count; [0]: all of them.
        start: [R] int64, the events of a row are ``start[r]:stop[r]``, all at or before ``at``.
        stop: [R] int64, see ``start``.
        at: [R] int64, instant of a row, s.
        windows: [W] int64, lengths, s, > 0, ascending.
        within: s, > 0.

    Returns:
        count: [W, R] int64, repeats in the window.
    """
    count = np.empty((len(windows), len(start)), np.int64)
    events, rows = backend.read_only(time, kept), backend.read_only(start, stop, at)
    (lengths,) = backend.read_only(windows)

    def work(begin: int, end: int) -> None:
        _repeats(*events, *(a[begin:end] for a in rows), lengths, within, count[:, begin:end])

    each_chunk(len(start), work, CHUNK)
    return count


def repeats_gpu(
    time: Any, kept: Any, start: Any, stop: Any, at: Any, windows: Any, within: int
) -> Any:
    lengths, rows = shape = (len(windows), len(start))
    count = backend.cupy.empty(shape, np.int64)
    kernel = backend.cuda_function("repeats", "repeats")
    numbers = map(np.int64, (within, len(kept), rows, lengths))
    backend.launch(kernel, rows, time, kept, start, stop, at, windows, *numbers, count)
    return count


repeats = backend.twin(
    repeats_cpu, repeats_gpu, dtypes=("int64", "bool", "int64", "int64", "int64", "int64")
)
