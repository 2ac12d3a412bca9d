"""Contacts that counters saw: the most in a window, and the last moment at which there were many.

A counter counts the events of some codes. The history of a partition is one array of events, a
subscriber's after another's.
"""

from typing import Any

import numpy as np
from numba import njit

from kernels import backend
from kernels.threads import CHUNK, each_chunk

MOST_COUNTED = 255  # more count as so many
NEVER = -(2**62)  # instant of what did not happen; far from overflow
TILE = 64  # subscribers whose counts are held in cache: a line of the cache each counter
TILE_OF_TIMES = 8  # likewise, of times
u: Any = np.uint64  # a signed index would be tested for being negative, at each event


@njit(cache=True, nogil=True, error_model="numpy")
def _has(code: int, c: int, counter_indptr: Any, counter: Any) -> bool:
    """Return whether a counter counts the events of a code."""
    for k in range(u(counter_indptr[u(code)]), u(counter_indptr[u(code) + u(1)])):
        if counter[k] == c:
            return True
    return False


@njit(cache=True, nogil=True, error_model="numpy")
def _is_repeated(
    e: int, begin: int, c: int, time: Any, code: Any, counter_indptr: Any, counter: Any,
    contact: Any,
) -> bool:  # fmt: skip
    """Return whether an event before this one belongs to the same contact, for a counter."""
    own = contact[u(code[u(e)])]
    i = e - 1
    while own >= 0 and i >= begin and time[u(i)] == time[u(e)]:
        if contact[u(code[u(i)])] == own and _has(code[u(i)], c, counter_indptr, counter):
            return True
        i -= 1
    return False


@njit(cache=True, nogil=True, error_model="numpy")
def _most_later(
    inside: int, begin: int, end: int, c: int, width: int, first: int, last: int, time: Any,
    code: Any, counter_indptr: Any, counter: Any, contact: Any, per_contact: Any,
) -> int:  # fmt: skip
    """Return the most events of a window that ends in ``[first, last]``, ``inside`` at first."""
    e, tail, best = end, begin, inside
    while e > begin and time[u(e - 1)] > first:
        e -= 1
    while tail < e and time[u(tail)] <= first - width:
        tail += 1
    lists, once = (counter_indptr, counter), per_contact[u(c)] > 0
    while e < end and time[u(e)] <= last:
        if _has(code[u(e)], c, *lists) and not (
            once and _is_repeated(e, begin, c, time, code, *lists, contact)
        ):
            inside += 1
            while time[u(tail)] <= time[u(e)] - width:
                if _has(code[u(tail)], c, *lists):
                    inside -= not (
                        once and _is_repeated(tail, begin, c, time, code, *lists, contact)
                    )
                tail += 1
            best = max(best, inside)
        e += 1
    return best


@njit(cache=True, nogil=True, error_model="numpy")
def _most_in_window(
    time: Any, code: Any, indptr: Any, zone: Any, counter_indptr: Any, counter: Any, contact: Any,
    per_contact: Any, width: Any, first: Any, last: Any, oldest: Any, later: Any, low: int,
    high: int, used: Any,
) -> None:  # fmt: skip
    counters = len(per_contact)
    tile, done = np.empty((counters, TILE), np.uint8), np.full(counters, -1, np.int64)
    for block in range(low, high, TILE):
        size = min(TILE, high - block)
        tile[:] = 0
        for t in range(u(size)):
            s = u(block) + t
            z, begin, end = u(zone[s]), indptr[s], indptr[s + u(1)]
            starts, widths, ends, edge = first[z], width[z], last[z], oldest[z]
            e = end
            while e > begin:
                at = time[u(e - 1)]
                if at <= edge:
                    break
                e -= 1
                is_tied = e > begin and time[u(e - 1)] == at
                n = u(code[u(e)])
                for k in range(u(counter_indptr[n]), u(counter_indptr[n + u(1)])):
                    c = u(counter[k])
                    # One comparison for both ends: it is negative, so large, after the window.
                    is_inside = u(starts[c] - at) < u(widths[c])
                    if is_tied and is_inside and per_contact[c]:
                        is_inside = not _is_repeated(
                            e, begin, counter[k], time, code, counter_indptr, counter, contact
                        )
                    seen = tile[c, t]
                    tile[c, t] = seen + np.uint8(is_inside & (seen < MOST_COUNTED))
            # Windows that end later matter where there are later events.
            e = end
            while e > begin and time[u(e - 1)] > later[z]:
                e -= 1
                at, n = time[u(e)], u(code[u(e)])
                for k in range(u(counter_indptr[n]), u(counter_indptr[n + u(1)])):
                    c = u(counter[k])
                    seen = tile[c, t]
                    if at <= starts[c] or at > ends[c] or done[c] == s or seen == MOST_COUNTED:
                        continue
                    done[c] = s
                    most = _most_later(
                        seen, begin, end, counter[k], widths[c], starts[c], ends[c], time, code,
                        counter_indptr, counter, contact, per_contact,
                    )  # fmt: skip
                    tile[c, t] = min(most, MOST_COUNTED)
        for c in range(u(counters)):
            for t in range(u(size)):  # a slice at once takes Numba two seconds to compile
                used[c, u(block) + t] = tile[c, t]


def most_in_window_cpu(
    time: Any, code: Any, indptr: Any, zone: Any, counter_indptr: Any, counter: Any, contact: Any,
    per_contact: Any, width: Any, first: Any, last: Any,
) -> Any:  # fmt: skip
    """Return the most events that a window of a counter holds, over where the window may end.

    For each counter c and subscriber s in zone z it is the largest number, over whole ``u`` in
    ``[first[z, c], last[z, c]]``, of events of s that c counts with
    ``u - width[z, c] < time <= u``. It is met at ``first`` or at an event after it. Events of equal
    time may be in any order.

    Args:
        time: [E] int64, instant of an event, s, ascending within a subscriber, within 2**40 of 0.
        code: [E] int32, code of an event, in [0, N).
        indptr: [S + 1] int64, the events of a subscriber are ``indptr[s]:indptr[s + 1]``.
        zone: [S] int32, time zone of a subscriber, in [0, Z).
        counter_indptr: [N + 1] int32, see ``counter``.
        counter: int32, events of code n are counted by the counters
            ``counter[counter_indptr[n]:counter_indptr[n + 1]]``, all different, in [0, C).
        contact: [N] int32, what a code is part of, see ``per_contact``; -1: nothing.
        per_contact: [C] uint8, 1 where events of equal time whose codes have an equal ``contact``,
            not -1, count once, else 0.
        width: [Z, C] int64, length of a window, s, 1 to 2**62.
        first: [Z, C] int64, the first instant at which it may end, s, within 2**62 of 0.
        last: [Z, C] int64, the last one, >= first.

    Returns:
        used: [C, S] uint8; more than ``MOST_COUNTED`` are so many.
    """
    used = np.empty((len(per_contact), len(zone)), np.uint8)
    greatest = np.iinfo(np.int64).max
    oldest = np.min(first - width, axis=1, initial=greatest)
    later = np.min(first, axis=1, initial=greatest, where=first < last)
    arrays = backend.read_only(
        time, code, indptr, zone, counter_indptr, counter, contact, per_contact, width, first, last,
        oldest, later,
    )  # fmt: skip

    def work(low: int, high: int) -> None:
        _most_in_window(*arrays, low, high, used)

    each_chunk(len(zone), work, CHUNK)
    return used


def most_in_window_gpu(
    time: Any, code: Any, indptr: Any, zone: Any, counter_indptr: Any, counter: Any, contact: Any,
    per_contact: Any, width: Any, first: Any, last: Any,
) -> Any:  # fmt: skip
    counters, subscribers = len(per_contact), len(zone)
    used = backend.cupy.empty((counters, subscribers), np.uint8)
    kernel = backend.cuda_function("contact_windows", "most_in_window")
    arrays = (time, code, indptr, zone, counter_indptr, counter, contact, per_contact)
    numbers = map(np.int64, (subscribers, counters))
    backend.launch(kernel, subscribers, *arrays, width, first, last, *numbers, used)
    return used


most_in_window: Any = backend.twin(
    most_in_window_cpu,
    most_in_window_gpu,
    dtypes=(
        "int64", "int32", "int64", "int32", "int32", "int32", "int32", "uint8", "int64", "int64",
        "int64",
    ),
)  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy")
def _latest_burst(
    time: Any, code: Any, indptr: Any, zone: Any, counter_indptr: Any, counter: Any, times: Any,
    width: Any, until: Any, low: int, high: int, latest: Any,
) -> None:  # fmt: skip
    counters = len(times)
    tile = np.empty((counters, TILE_OF_TIMES), np.int64)
    seen, newer = np.empty(counters, np.int32), np.empty(counters, np.int64)
    for block in range(low, high, TILE_OF_TIMES):
        size = min(TILE_OF_TIMES, high - block)
        tile[:] = NEVER
        for t in range(u(size)):
            s = u(block) + t
            begin, e, edge, missing = indptr[s], indptr[s + u(1)], until[u(zone[s])], counters
            seen[:] = 0
            while e > begin and missing > 0:
                e -= 1
                at, n = time[u(e)], u(code[u(e)])
                if at > edge:
                    continue
                for k in range(u(counter_indptr[n]), u(counter_indptr[n + u(1)])):
                    c = u(counter[k])
                    if tile[c, t] != NEVER:
                        continue
                    seen[c] += 1
                    # The event times - 1 counted events later, once there are so many.
                    if seen[c] == 1:
                        newer[c] = e
                    elif seen[c] > times[c]:
                        i = newer[c] - 1
                        while not _has(code[u(i)], counter[k], counter_indptr, counter):
                            i -= 1
                        newer[c] = i
                    if seen[c] >= times[c] and at > time[u(newer[c])] - width[c]:
                        tile[c, t] = time[u(newer[c])]
                        missing -= 1
        for c in range(u(counters)):
            for t in range(u(size)):  # as above
                latest[c, u(block) + t] = tile[c, t]


def latest_burst_cpu(
    time: Any, code: Any, indptr: Any, zone: Any, counter_indptr: Any, counter: Any, times: Any,
    width: Any, until: Any,
) -> Any:  # fmt: skip
    """Return when a counter last saw so many events within its window.

    For each counter c and subscriber s in zone z it is the time of the latest event x of s that c
    counts with ``x <= until[z]`` for which c counts at least ``times[c]`` events in
    ``(x - width[c], x]``. Events of equal time each count, and may be in any order.

    Args:
        time: [E] int64, instant of an event, s, ascending within a subscriber, within 2**40 of 0.
        code: [E] int32, code of an event, in [0, N).
        indptr: [S + 1] int64, the events of a subscriber are ``indptr[s]:indptr[s + 1]``.
        zone: [S] int32, time zone of a subscriber, in [0, Z).
        counter_indptr: [N + 1] int32, see ``counter``.
        counter: int32, events of code n are counted by the counters
            ``counter[counter_indptr[n]:counter_indptr[n + 1]]``, all different, in [0, C).
        times: [C] int32, events, >= 1; with 1 it is the last event's time.
        width: [C] int64, length of a window, s, 1 to 2**62.
        until: [Z] int64, the last instant that matters, s.

    Returns:
        latest: [C, S] int64, s; ``NEVER`` if there is none.
    """
    latest = np.empty((len(times), len(zone)), np.int64)
    arrays = backend.read_only(
        time, code, indptr, zone, counter_indptr, counter, times, width, until
    )

    def work(low: int, high: int) -> None:
        _latest_burst(*arrays, low, high, latest)

    each_chunk(len(zone), work, CHUNK)
    return latest


def latest_burst_gpu(
    time: Any, code: Any, indptr: Any, zone: Any, counter_indptr: Any, counter: Any, times: Any,
    width: Any, until: Any,
) -> Any:  # fmt: skip
    counters, subscribers = len(times), len(zone)
    latest = backend.cupy.empty((counters, subscribers), np.int64)
    kernel = backend.cuda_function("contact_windows", "latest_burst")
    arrays = (time, code, indptr, zone, counter_indptr, counter, times, width, until)
    numbers = map(np.int64, (subscribers, counters))
    backend.launch(kernel, subscribers, *arrays, *numbers, latest)
    return latest


latest_burst: Any = backend.twin(
    latest_burst_cpu,
    latest_burst_gpu,
    dtypes=(
        "int64", "int32", "int64", "int32", "int32", "int32", "int32", "int64", "int64",
    ),
)  # fmt: skip
