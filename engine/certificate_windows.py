"""How many more contacts a cap leaves after the contact history, as the certificate counts them.

A cap bounds the contacts in each of its windows. For a plan of N days and any two of them, i <= d,
the windows that hold both instants hold all days in between; so of days i to d there may be as many
contacts as the cap less the most past contacts in such a window, and there is no bound where none
holds both. Any bundle keeps a cap if it keeps this for each two days on which it has contacts.

A window is half-open, ``(u - width, u]``. Contacts that are booked for later count like others.

S subscribers, Z time zones, N days, L lines of history.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

UNBOUNDED = 255
"""Where no window holds two days together."""
LENGTH, END = 1 << 62, 1 << 61  # of a window that holds everything


@dataclass(frozen=True)
class Windows:
    """Windows by time zone: for each a width, and the first and last instant at which it may end.

    Where the first is after the last there is none.
    """

    width: Any  # [Z, R] int64 s
    first: Any  # [Z, R] int64 s
    last: Any  # [Z, R] int64 s

    @classmethod
    def of(
        cls, zones: int, days: Sequence[tuple[int, int]], each: Callable[..., tuple[int, int, int]]
    ) -> "Windows":
        """Return the windows of R pairs of days.

        Args:
            zones: Z.
            days: the R pairs.
            each: returns width, first and last end, given a zone's number and two days.
        """
        found = [[each(z, i, d) for i, d in days] for z in range(zones)]
        table = np.array(found, np.int64).reshape(zones, len(days), 3)
        return cls(*(np.ascontiguousarray(table[:, :, n]) for n in range(3)))


def spans(days: int) -> list[tuple[int, int]]:
    """Return all N * N pairs of days, row by row."""
    return [(i, d) for i in range(days) for d in range(days)]


@dataclass(frozen=True)
class Span:
    """The lines of history that a cap counts, of all subscribers, and in which windows."""

    cap: int
    counted: Any  # [L] bool
    windows: Windows
    is_joint: bool = False  # whether the lines are of households

    def left(self, begin: Any, end: Any, time: Any, zone: Any) -> Any:
        """Return [S, R] uint8, how many more contacts there may be.

        Args:
            begin: [S] int64, the first line of each of some subscribers.
            end: [S] int64, the first line after theirs.
            time: [L] int64 s, in order for each subscriber.
            zone: [S] int64, their time zones.
        """
        own = self.windows
        out = np.empty((len(zone), own.width.shape[1]), np.uint8)
        _left(self.cap, begin, end, time, self.counted, zone, own.width, own.first, own.last, out)
        return out


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _left(  # noqa: PLR0917 (arrays, as kernels take them)
    cap: int, begin: Any, end: Any, time: Any, counted: Any, zone: Any,
    width: Any, first: Any, last: Any, out: Any,
) -> None:  # fmt: skip
    longest, runs = 1, out.shape[1]
    for s in range(len(zone)):
        longest = max(longest, end[s] - begin[s])
    own = np.empty(longest, np.int64)
    # Without a contact near, a subscriber has what the time zone has.
    fresh = np.empty((len(width), runs), np.uint8)
    low, high = np.full(len(width), END), np.full(len(width), -END)
    for z in range(len(width)):
        for r in range(runs):
            if first[z, r] > last[z, r]:
                fresh[z, r] = UNBOUNDED
            else:
                fresh[z, r] = min(cap, UNBOUNDED - 1)
                low[z] = min(low[z], first[z, r] - width[z, r])
                high[z] = max(high[z], last[z, r])
    for s in range(len(zone)):
        z, n = zone[s], 0
        for line in range(begin[s], end[s]):
            if counted[line] and low[z] < time[line] <= high[z]:
                own[n] = time[line]
                n += 1
        for r in range(runs):  # a row at once takes Numba two seconds to compile
            out[s, r] = fresh[z, r]
        for r in range(runs if n else 0):
            if first[z, r] <= last[z, r]:
                used = _fullest(own, n, width[z, r], first[z, r], last[z, r])
                out[s, r] = min(max(cap - used, 0), UNBOUNDED - 1)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _fullest(own: Any, n: int, width: int, first: int, last: int) -> int:
    """Return the most of n instants in order that are in one of some windows.

    Windows that are fullest end at an instant, or first of all.
    """
    most, low = 0, 0
    for high in range(n):
        end = max(own[high], first)
        if end > last:
            break
        while low <= high and own[low] <= end - width:
            low += 1
        most = max(most, high + 1 - low)
    return most
