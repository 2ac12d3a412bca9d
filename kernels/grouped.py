"""Events of several groups in one pass: how many of each, their sums, and the last one."""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from kernels import backend
from kernels.summary import DAY_S, MOST_PAST
from kernels.threads import CHUNK, each_task

MOST_GROUPS = 16  # of one pass; on a device each takes a thread's memory
CODES = 128  # of events: 0 to 127


class Grouped(NamedTuple):
    """What a pass found of G groups and R rows, float64.

    Attributes:
        recency_days: [G, R] days from a group's last event to the instant, NaN without events; [0,
            R] if not wanted.
        count: [W, G, R] its events in each window.
        total: [W, G, R] their values added, newest first; 0 without events; [0, G, R] where events
            have none.
    """

    recency_days: Any
    count: Any
    total: Any


def _empty(library: Any, sizes: tuple[int, int, int], valued: int, recent: int) -> Grouped:
    lengths, groups, rows = sizes
    windowed = (backend.lines(library, n, groups, rows) for n in (lengths, lengths * valued))
    return Grouped(backend.lines(library, groups * recent, rows), *windowed)


@cache
def _compiled(valued: int, recent: int) -> Any:
    """Return the CPU's pass: with values or without, with the last events or without."""
    u = np.uint64  # a signed index would be tested for being negative, at each event

    @njit(cache=True, nogil=True, error_model="numpy")
    def summarise(  # type: ignore[no-untyped-def]
        time, value, code, group, start, stop, at, windows, groups, recency, count, total
    ):
        lengths, seen, added = len(windows), np.zeros(groups + 1), np.zeros(groups + 1)
        newest, none = np.zeros(groups + 1, np.int64), np.int64(MOST_PAST)
        for r in range(len(start)):
            for g in range(groups):
                seen[g] = added[g] = 0.0
                newest[g] = none
            first, e, instant = start[r], stop[r], at[r]
            for w in range(lengths + recent):
                edge = instant - windows[w] if w < lengths else MOST_PAST
                if w == lengths:  # older events matter to groups that are not yet seen alone
                    unseen = 0
                    for g in range(groups):
                        unseen += newest[g] == none
                    e = e if unseen else first
                while e > first:
                    t = time[u(e - 1)]
                    if t <= edge:
                        break
                    e -= 1
                    # Events of no group are counted too, in the place after the last group.
                    own = u(group[u(code[u(e)])])
                    seen[own] += 1.0
                    if valued:
                        added[own] += value[u(e)]
                    if recent:
                        newest[own] = max(newest[own], t)
                if w < lengths:
                    for g in range(groups):
                        count[w, g, r] = seen[g]
                        if valued:
                            total[w, g, r] = added[g]
            if recent:
                for g in range(groups):
                    days = (instant - newest[g]) / DAY_S
                    recency[g, r] = days if newest[g] > none else np.nan

    return summarise


def grouped_cpu(
    time: Any, value: Any, code: Any, group: Any, start: Any, stop: Any, at: Any, windows: Any,
    groups: int, valued: int, recent: int,
) -> Grouped:  # fmt: skip
    """Summarise the events of each row group by group, in one pass over them.

    An event at ``t`` is in window ``w`` of a row when ``at - w < t <= at``. For each group the
    fields have the same bits as those of :func:`kernels.summarised` for its events alone.

    Args:
        time: [E] int64, instant of an event, s, ascending within a row's range.
        value: [E] float64, value of an event, finite; [0] where ``valued`` is 0.
        code: [E] int8, code of an event, in [0, ``CODES``).
        group: [``CODES``] int8, group of the events with a code, in [0, G]; G: none.
        start: [R] int64, the events of a row are ``start[r]:stop[r]``, all at or before ``at``.
        stop: [R] int64, see ``start``.
        at: [R] int64, instant of a row, s.
        windows: [W] int64, lengths of trailing windows, s, > 0, ascending.
        groups: G, 1 to ``MOST_GROUPS``.
        valued: 1 if events have values that are added; else 0.
        recent: 1 if the last event of each group is wanted, however old it is; else 0.

    Returns:
        The fields of :class:`Grouped`.
    """
    found = _empty(np, (len(windows), groups, len(start)), valued, recent)
    events = backend.read_only(time, value, code, group)
    rows, (lengths,) = backend.read_only(start, stop, at), backend.read_only(windows)
    function = _compiled(valued, recent)

    def work(begin: int) -> None:
        some = slice(begin, min(begin + CHUNK, len(start)))
        place = (a[some] for a in rows)
        function(*events, *place, lengths, groups, *(field[..., some] for field in found))

    each_task(work, range(0, len(start), CHUNK))
    return found


def grouped_gpu(
    time: Any, value: Any, code: Any, group: Any, start: Any, stop: Any, at: Any, windows: Any,
    groups: int, valued: int, recent: int,
) -> Grouped:  # fmt: skip
    rows, lengths = len(start), len(windows)
    found = _empty(backend.cupy, (lengths, groups, rows), valued, recent)
    kernel = backend.cuda_function("grouped", "grouped")
    arrays = (time, value, code, group, start, stop, at, windows)
    numbers = map(np.int64, (rows, lengths, groups, valued, recent))
    backend.launch(kernel, rows, *arrays, *numbers, *found)
    return found


grouped = backend.twin(
    grouped_cpu,
    grouped_gpu,
    dtypes=("int64", "float64", "int8", "int8", "int64", "int64", "int64", "int64"),
)
