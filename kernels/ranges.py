"""Which events are a row's: those of its subscriber, and of these the ones until its instant.

A row is a subscriber at an instant. Events lie subscriber by subscriber and in time order, so
what a row may see is one range of events.
"""

from typing import Any

import numpy as np
from numba import njit

from kernels import backend
from kernels.threads import LIGHT_CHUNK, each_chunk


@njit(cache=True, nogil=True)
def _ranges(key: Any, wanted: Any, start: Any, end: Any) -> None:
    one, keys = np.uint64(1), np.uint64(len(key))
    place = np.uint64(np.searchsorted(key, wanted[0]))
    for r in range(len(wanted)):
        if r and wanted[r] == wanted[r - 1]:
            start[r], end[r] = start[r - 1], end[r - 1]
            continue
        while place < keys and key[place] < wanted[r]:
            place += one
        start[r] = place
        while place < keys and key[place] == wanted[r]:
            place += one
        end[r] = place


def ranges_cpu(key: Any, wanted: Any) -> tuple[Any, Any]:
    """Return where the events of each row's subscriber lie.

    Args:
        key: [E] int64, subscriber of an event, ascending.
        wanted: [R] int64, subscriber of a row, ascending.

    Returns:
        start: [R] int64, the events of a row are ``start[r]:end[r]``.
        end: [R] int64, see ``start``; equal to it for a row without events.
    """
    start, end = np.empty(len(wanted), np.int64), np.empty(len(wanted), np.int64)
    key, wanted = backend.read_only(key, wanted)
    each_chunk(
        len(wanted), lambda b, e: _ranges(key, wanted[b:e], start[b:e], end[b:e]), LIGHT_CHUNK
    )
    return start, end


def ranges_gpu(key: Any, wanted: Any) -> tuple[Any, Any]:
    rows = len(wanted)
    start, end = backend.cupy.empty(rows, np.int64), backend.cupy.empty(rows, np.int64)
    kernel = backend.cuda_function("ranges", "ranges")
    backend.launch(kernel, rows, key, wanted, np.int64(len(key)), np.int64(rows), start, end)
    return start, end


ranges = backend.twin(ranges_cpu, ranges_gpu, dtypes=("int64",) * 2)


@njit(cache=True, nogil=True)
def _disordered(key: Any, time: Any, begin: int, end: int) -> int:
    found, one = 0, np.uint64(1)
    for e in range(np.uint64(max(begin, 1)), np.uint64(end)):
        same = key[e] == key[e - one]
        found += (key[e] < key[e - one]) | (same & (time[e] < time[e - one]))
    return found


def disordered_cpu(key: Any, time: Any) -> Any:
    """Count the events that should stand before the event before them.

    Args:
        key: [E] int64, subscriber of an event.
        time: [E] int64, instant of an event, s.

    Returns:
        count: [1] int64; 0 when events lie by subscriber, and those of one by time.
    """
    key, time = backend.read_only(key, time)
    counts = each_chunk(len(key), lambda b, e: _disordered(key, time, b, e), LIGHT_CHUNK)
    return np.array([sum(counts)], np.int64)


def disordered_gpu(key: Any, time: Any) -> Any:
    count = backend.cupy.zeros(1, np.int64)
    kernel = backend.cuda_function("ranges", "disordered")
    backend.launch(kernel, len(key), key, time, np.int64(len(key)), count)
    return count


disordered = backend.twin(disordered_cpu, disordered_gpu, dtypes=("int64",) * 2)


@njit(cache=True, nogil=True)
def _events_until(time: Any, start: Any, end: Any, at: Any, stop: Any) -> None:
    for r in range(len(stop)):
        low, high = start[r], end[r]
        if high > low and time[np.uint64(high - 1)] <= at[r]:
            low = high  # all of them, as is usual
        while low < high:
            middle = low + (high - low) // 2
            if time[np.uint64(middle)] <= at[r]:
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
    time, *rows = backend.read_only(time, start, end, at)

    def work(begin: int, until: int) -> None:
        _events_until(time, *(a[begin:until] for a in rows), stop[begin:until])

    each_chunk(len(start), work, LIGHT_CHUNK)
    return stop


def events_until_gpu(time: Any, start: Any, end: Any, at: Any) -> Any:
    stop = backend.cupy.empty(len(start), np.int64)
    kernel = backend.cuda_function("ranges", "events_until")
    backend.launch(kernel, len(start), time, start, end, at, np.int64(len(start)), stop)
    return stop


events_until = backend.twin(events_until_cpu, events_until_gpu, dtypes=("int64",) * 4)
