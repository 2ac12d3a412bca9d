"""Open cases: something was opened, a complaint say, and has not been closed since."""

from typing import Any

import numpy as np
from numba import njit

from kernels import backend
from kernels.threads import CHUNK, each_chunk

DAY_S = 86_400.0


@njit(cache=True, nogil=True)
def _open_case(
    time: Any, mark: Any, start: Any, stop: Any, at: Any, openings: Any, age_days: Any
) -> None:
    for r in range(len(start)):
        closing = stop[r] - 1
        while closing >= start[r] and mark[np.uint64(closing)] >= 0:
            closing -= 1
        opened = 0
        age_days[r] = np.nan
        for e in range(np.uint64(closing + 1), np.uint64(stop[r])):
            # What opens in the second of the last closing is closed by it, wherever it stands.
            if mark[e] > 0 and (closing < start[r] or time[e] > time[np.uint64(closing)]):
                if opened == 0:
                    age_days[r] = (at[r] - time[e]) / DAY_S
                opened += 1
        openings[r] = opened


def open_case_cpu(time: Any, mark: Any, start: Any, stop: Any, at: Any) -> Any:
    """Return how often a case was opened since the last closing, and for how long it is open.

    A case is open at the instant of a row when an opening event is later than the last closing
    one, or there is no closing one. A closing event closes whatever was opened before it and in
    its own second, in whatever order the events of that second stand.

    Args:
        time: [E] int64, instant of an event, s, ascending within a row's range.
        mark: [E] int8, 1: the event opens, -1: it closes, 0: neither.
        start: [R] int64, the events of a row are ``start[r]:stop[r]``, all at or before ``at``.
        stop: [R] int64, see ``start``.
        at: [R] int64, instant of a row, s.

    Returns:
        openings: [R] int64, opening events later than the last closing one; 0: no case is open.
        age_days: [R] float64, days from the first of these to the instant, NaN when none is open.
    """
    openings, age_days = np.empty(len(start), np.int64), np.empty(len(start))
    events, rows = backend.read_only(time, mark), backend.read_only(start, stop, at)

    def work(begin: int, end: int) -> None:
        out = openings[begin:end], age_days[begin:end]
        _open_case(*events, *(a[begin:end] for a in rows), *out)

    each_chunk(len(start), work, CHUNK)
    return openings, age_days


def open_case_gpu(time: Any, mark: Any, start: Any, stop: Any, at: Any) -> Any:
    rows = len(start)
    out = backend.cupy.empty(rows, np.int64), backend.cupy.empty(rows, np.float64)
    kernel = backend.cuda_function("open_case", "open_case")
    backend.launch(kernel, rows, time, mark, start, stop, at, np.int64(rows), *out)
    return out


open_case = backend.twin(
    open_case_cpu, open_case_gpu, dtypes=("int64", "int8", "int64", "int64", "int64")
)
