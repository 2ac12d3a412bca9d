"""When in the week a subscriber is active: the best hour, its share, how spread the hours are."""

from typing import Any

import numpy as np
from numba import njit

from kernels import backend
from kernels.logarithm import binary_logarithm, logarithms
from kernels.threads import CHUNK, each_chunk

HOURS, HOUR_S = 168, 3_600
WEEK_S = HOURS * HOUR_S
MONDAY_S = 72 * HOUR_S  # from Monday to 1970-01-01, a Thursday
WEEKS = (1 << 62) // WEEK_S  # added to instants, so that none is negative


def shift_of(offset_s: int) -> int:
    """Return what turns an instant (UTC) into the time since some Monday, 0:00, of a local clock.

    Args:
        offset_s: what local clocks are ahead of UTC, s, less than a week either way.
    """
    return WEEKS * WEEK_S + MONDAY_S + offset_s


@njit(cache=True, nogil=True)
def _logarithm_of(number: int, table: Any) -> float:
    found: float = table[number] if number < len(table) else binary_logarithm(number)
    return found


@njit(cache=True, nogil=True)
def _hours(
    time: Any, kept: Any, start: Any, stop: Any, at: Any, windows: Any, table: Any, shift: int,
    best: Any, share: Any, entropy: Any, distinct: Any,
) -> None:  # fmt: skip
    narrowed, u, moved = len(kept) > 0, np.uint64, np.uint64(shift)
    week, one_hour = np.uint64(WEEK_S), np.uint64(HOUR_S)
    bins = np.zeros(HOURS, np.int64)  # all 0 between rows
    most_even = table[HOURS]
    for r in range(len(start)):
        for w in range(len(windows)):
            oldest, events, edge = stop[r], 0, at[r] - windows[w]
            while oldest > start[r]:
                t = time[u(oldest - 1)]
                if t <= edge:
                    break
                oldest -= 1
                if not narrowed or kept[u(oldest)]:
                    bins[(u(t) + moved) % week // one_hour] += 1
                    events += 1
            if events == 0:
                best[w, r] = share[w, r] = entropy[w, r] = np.nan
                distinct[w, r] = 0
                continue
            # Only the hours that were met are looked at, and cleared, newest event first.
            left, met, most, first = events, 0, 0, u(0)
            bits, whole = 0.0, _logarithm_of(events, table)
            e = stop[r]
            while left > 0:
                e -= 1
                hour = (u(time[u(e)]) + moved) % week // one_hour
                own = bins[hour] if not narrowed or kept[u(e)] else 0
                if own == 0:
                    continue
                bins[hour] = 0
                left -= own
                met += 1
                bits += own * (whole - _logarithm_of(own, table))
                if own > most or (own == most and hour < first):
                    most, first = own, hour
            best[w, r], share[w, r], distinct[w, r] = first, most / events, met
            entropy[w, r] = min(bits / events / most_even, 1.0)  # more only by rounding


def hours_cpu(
    time: Any, kept: Any, start: Any, stop: Any, at: Any, windows: Any, offset_s: int
) -> Any:
    """Return the best hour of the week, its share, and the entropy of the hours, of each window.

    Hours are 0 (Monday, 0:00 to 0:59) to 167 (Sunday, 23:00 to 23:59) of a clock that is
    ``offset_s`` ahead of UTC. With c_h of the n events of ``(at - w, at]`` in hour h, the entropy
    is ``sum_h c_h / n * (log2 n - log2 c_h) / log2 168``: 0 when all are in one hour, 1 when they
    are spread evenly over the week. Terms are added by the newest event of an hour, newest first,
    and logarithms are made alike everywhere (:mod:`kernels.logarithm`): both sides have the same
    bits.

    Args:
        time: [E] int64, instant of an event, s, ascending within a row's range.
        kept: [E] bool, the events that count; [0]: all of them.
        start: [R] int64, the events of a row are ``start[r]:stop[r]``, all at or before ``at``.
        stop: [R] int64, see ``start``.
        at: [R] int64, instant of a row, s.
        windows: [W] int64, lengths, s, > 0, ascending.
        offset_s: what the clock is ahead of UTC, s, less than a week either way.

    Returns:
        best: [W, R] float64, hour with most events, the first of equals, 0 to 167, NaN without
            events.
        share: [W, R] float64, share of the events that are in it, NaN without events.
        entropy: [W, R] float64, in [0, 1], NaN without events.
        distinct: [W, R] int64, hours with events, 0 to 168.

    Source:
        Shannon, "A mathematical theory of communication", 1948, section 6.
    """
    shape = (len(windows), len(start))
    out = *(np.empty(shape) for _ in range(3)), np.empty(shape, np.int64)
    events, rows = backend.read_only(time, kept), backend.read_only(start, stop, at)
    lengths, table = backend.read_only(windows, logarithms())

    def work(begin: int, end: int) -> None:
        place = (a[begin:end] for a in rows)
        own = (field[:, begin:end] for field in out)
        _hours(*events, *place, lengths, table, shift_of(offset_s), *own)

    each_chunk(len(start), work, CHUNK)
    return out


def hours_gpu(
    time: Any, kept: Any, start: Any, stop: Any, at: Any, windows: Any, offset_s: int
) -> Any:
    lengths, rows = shape = (len(windows), len(start))
    types = (np.float64, np.float64, np.float64, np.int64)
    out = tuple(backend.cupy.empty(shape, dtype) for dtype in types)
    table = backend.cupy.asarray(logarithms())
    kernel = backend.cuda_function("hours", "hours")
    numbers = map(np.int64, (shift_of(offset_s), len(kept), len(table), rows, lengths))
    arrays = (time, kept, start, stop, at, windows, table)
    backend.launch(kernel, rows, *arrays, *numbers, *out)
    return out


hours = backend.twin(
    hours_cpu, hours_gpu, dtypes=("int64", "bool", "int64", "int64", "int64", "int64")
)
