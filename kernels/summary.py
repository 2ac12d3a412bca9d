"""One pass over a series of events: windows, rhythm, decayed sums and trends of every row at once.

A row is a subscriber at an instant. Events lie subscriber by subscriber and in time order, so what
a row may see is one range of events; it is read once, newest first, whatever is asked of it. The
CPU twin is compiled for what is asked, so that its loop does no more than that.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numba.cpython.unsafe.tuple import tuple_setitem

from kernels import backend
from kernels.processor import prefetch, root
from kernels.threads import CHUNK, each_task
from kernels.weights import FINE, SHIFT, halving_tables, slope_table

DAY_S = 86_400
FIRST_LONGEST = 1 << 24  # ages that tables are made for at first, s: half a year
NARROW_CHUNK = 8_192  # rows whose kept events are copied at a time: they stay in the cache
LINE = 8  # numbers of a line of the cache
AHEAD, BEHIND = 128, 160  # so far after a row's, events are asked for before the row is read
MOST_PAST = -(2**62)  # before every instant, s
MARKS = ("valued", "extremes", "spread", "days")
MOST_WEIGHED = 4  # half-lives, and trends, of one pass; on a device each takes a register


@dataclass(frozen=True)
class Asked:
    """What is asked of a series of events, beside its rhythm.

    Attributes:
        windows: lengths of trailing windows, s, > 0, ascending.
        valued: whether events have values; otherwise each counts 1, and none are read.
        rhythm: whether the gaps' deviation is wanted; it takes events before all windows too.
        extremes: whether least and most of each window are wanted.
        spread: whether the standard deviation of each window is wanted.
        days: whether the active days of each window are wanted.
        half_lives: ages at which an event weighs half, s, > 0; at most ``MOST_WEIGHED``.
        trends: numbers of bins (>= 2) and days of a bin (>= 1); at most ``MOST_WEIGHED``.
    """

    windows: tuple[int, ...] = ()
    valued: bool = True
    rhythm: bool = False
    extremes: bool = False
    spread: bool = False
    days: bool = False
    half_lives: tuple[int, ...] = ()
    trends: tuple[tuple[int, int], ...] = ()

    @property
    def turns(self) -> int:
        """How many stretches of events are read: windows, and what is older if that matters."""
        older = self.rhythm or self.half_lives or self.trends
        return len(self.windows) + bool(older)

    @property
    def marks(self) -> str:
        """What a loop over events does beside adding values."""
        return " ".join(m for m in MARKS if getattr(self, m))


class Summary(NamedTuple):
    """What a pass found of R rows, float64; what was not asked has no rows of its own.

    Attributes:
        recency_days: [R] days from the last event to the instant, NaN without events.
        age_days: [R] days from the first event to the instant, NaN without events.
        gap_mean_days: [R] mean gap between events, days, NaN with fewer than two.
        gap_std_days: [R] population standard deviation of the gaps, days, NaN likewise and where
            nothing is asked of events older than the windows.
        latest: [R] value of the last event, 1 where events have none, NaN without events.
        count: [W, R] events in each window.
        total: [W, R] their values added, newest first; 0 without events.
        least: [W, R] their smallest value, NaN without events; of -0.0 and 0.0 the newest.
        most: [W, R] their largest value, likewise.
        spread: [W, R] population standard deviation of their values, NaN without events.
        days: [W, R] days with events in the window; day d is ``(at - (d + 1) days, at - d days]``.
        decayed: [H, R] values added, an event's weight halving with every half-life of age.
        trend: [T, R] least-squares slope of the sums of bins, per bin; bin b of n days holds
            ``(at - (b + 1) n days, at - b n days]``, and one without events sums to 0.
    """

    recency_days: Any
    age_days: Any
    gap_mean_days: Any
    gap_std_days: Any
    latest: Any
    count: Any
    total: Any
    least: Any
    most: Any
    spread: Any
    days: Any
    decayed: Any
    trend: Any


def _empty(library: Any, rows: int, asked: Asked) -> Summary:
    lengths = len(asked.windows)
    extremes, spread, days = (lengths * f for f in (asked.extremes, asked.spread, asked.days))
    each = lengths, lengths, extremes, extremes, spread, days
    lines = [1] * 5 + [*each, len(asked.half_lives), len(asked.trends)]
    block = backend.lines(library, sum(lines), rows)
    ends = np.cumsum(lines).tolist()
    fields = [block[end - n : end] for n, end in zip(lines, ends, strict=True)]
    return Summary(*(field[0] for field in fields[:5]), *fields[5:])


def _tables(asked: Asked, longest: int) -> tuple[Any, ...]:
    """Return fine and coarse factors and slopes for ages up to ``longest``, s."""
    fine, coarse = halving_tables(asked.half_lives, longest)
    return fine, coarse, slope_table(asked.trends, longest // DAY_S)


@cache
def _compiled(half_lives: int, trends: int, marks: str) -> Any:
    """Return the CPU's pass for so many weights; ``marks`` names what else its loop does.

    It returns whether all ages are within the tables, and stops at the first that is not.
    """
    valued, extremes, spread, days = (m in marks for m in MARKS)
    no_sums, no_tilts = (0.0,) * max(half_lives, 1), (0.0,) * max(trends, 1)
    u = np.uint64  # a signed index would be tested for being negative, at each event
    shift, fine_bits, fine_size, day_s, no_day = map(u, (SHIFT, FINE - 1, FINE, DAY_S, 2**63))

    @njit(cache=True, nogil=True, error_model="numpy")  # 0 / 0 is NaN, as on a device
    def summarise(  # type: ignore[no-untyped-def]
        time, value, start, stop, at, windows, turns, longest, fine, coarse, slopes,
        recency_days, age_days, gap_mean_days, gap_std_days, latest, count, total, least, most,
        deviation, active, decayed, trend,
    ):  # fmt: skip
        coarse_size, slope_size = u(len(coarse)), u(len(slopes))
        coarse_size //= u(max(half_lives, 1))
        slope_size //= u(max(trends, 1))
        for r in range(len(start)):
            first, end, instant = start[r], stop[r], at[r]
            events, e, newer, mean, usual = end - first, end, instant, 0.0, 0.0
            sums, tilts, added, squares = no_sums, no_tilts, 0.0, 0.0
            low, high, distinct, last_day = np.inf, -np.inf, 0, no_day
            recency_days[r] = age_days[r] = gap_mean_days[r] = gap_std_days[r] = latest[r] = np.nan
            # Rows ascend, and their events are read backwards, which no processor foresees.
            for later in range(AHEAD, BEHIND, LINE):
                prefetch(time, end + later)
                if valued:
                    prefetch(value, end + later)
            if events:
                newer, oldest = time[u(end - 1)], time[u(first)]
                if instant - oldest > longest:
                    return False
                latest[r] = value[u(end - 1)] if valued else 1.0
                recency_days[r], age_days[r] = (instant - newer) / DAY_S, (instant - oldest) / DAY_S
                if events > 1:
                    mean = (newer - oldest) / (events - 1)
                    gap_mean_days[r] = mean / DAY_S
            for w in range(turns):
                # A longer window goes on where the shorter one ended: each event is read once. The
                # turn after the longest takes all that is left.
                edge = instant - windows[w] if w < len(windows) else MOST_PAST
                while e > first:
                    t = time[u(e - 1)]
                    if t <= edge:
                        break
                    v, age = value[u(e - 1)] if valued else 1.0, u(instant - t)
                    added += v
                    away = (newer - t) - usual
                    squares += away * away
                    newer, usual = t, mean  # so that the first event, which ends no gap, adds 0
                    if extremes:
                        low, high = min(low, v), max(high, v)
                    for h in range(half_lives):
                        weight = coarse[u(h) * coarse_size + (age >> shift)]
                        weight *= fine[u(h) * fine_size + (age & fine_bits)]
                        sums = tuple_setitem(sums, h, sums[h] + v * weight)
                    if days or trends:
                        day = age // day_s
                        if days:
                            distinct += day != last_day
                            last_day = day
                        for k in range(trends):
                            tilt = v * slopes[u(k) * slope_size + day]
                            tilts = tuple_setitem(tilts, k, tilts[k] + tilt)
                    e -= 1
                if w < len(windows):
                    count[w, r], total[w, r] = end - e, added
                    if extremes:
                        least[w, r] = low if end > e else np.nan
                        most[w, r] = high if end > e else np.nan
                    if days:
                        active[w, r] = distinct
                elif events > 1:
                    gap_std_days[r] = root(squares / (events - 1)) / DAY_S
            for h in range(half_lives):
                decayed[h, r] = sums[h]
            for k in range(trends):
                trend[k, r] = tilts[k]
            if spread:
                for w in range(len(windows)):
                    deviation[w, r] = np.nan
                    if count[w, r] > 0:
                        mean, squares = total[w, r] / count[w, r], 0.0
                        for e in range(end - 1, end - 1 - int(count[w, r]), -1):
                            away = (value[u(e)] if valued else 1.0) - mean
                            squares += away * away
                        deviation[w, r] = root(squares / count[w, r])
        return True

    return summarise


@njit(cache=True, nogil=True)
def _narrowed(
    time: Any, value: Any, kept: Any, start: Any, stop: Any, own_time: Any, own_value: Any,
    own_start: Any, own_stop: Any,
) -> None:  # fmt: skip
    """Copy the kept events of the rows, row by row."""
    place, one = np.uint64(0), np.uint64(1)
    for r in range(len(start)):
        own_start[r] = place
        for e in range(np.uint64(start[r]), np.uint64(stop[r])):
            own_time[place] = time[e]  # written over by the next unless it is kept
            if len(value):
                own_value[place] = value[e]
            if kept[e]:
                place += one
        own_stop[r] = place


def _narrow(time: Any, value: Any, kept: Any, start: Any, stop: Any) -> list[Any]:
    """Return time, value, start and stop of the rows' kept events alone."""
    room = int((stop - start).sum()) + 1
    out = [np.empty(room, np.int64), np.empty(room if len(value) else 0)]
    out += [np.empty(len(start), np.int64) for _ in range(2)]
    _narrowed(time, value, kept, start, stop, *out)
    return out


def summarised_cpu(
    time: Any, value: Any, kept: Any, start: Any, stop: Any, at: Any, asked: Asked
) -> Summary:
    """Summarise the events of each row: windows, rhythm, decayed sums and trends in one pass.

    An event at ``t`` is in window ``w`` of a row when ``at - w < t <= at``. The weight of an event
    is ``2 ** (-(at - t) / half_life)``. Sums are added newest first, in float64, with weights from
    tables made alike everywhere (:mod:`kernels.weights`): the same bits on both sides. n events
    have n - 1 gaps.

    Args:
        time: [E] int64, instant of an event, s, ascending within a row's range.
        value: [E] float64, value of an event, finite; [0] where ``asked.valued`` is false.
        kept: [E] bool, the events that count; [0]: all of them.
        start: [R] int64, the events of a row are ``start[r]:stop[r]``, all at or before ``at``.
        stop: [R] int64, see ``start``.
        at: [R] int64, instant of a row, s.
        asked: what is wanted beside the rhythm.

    Returns:
        The fields of :class:`Summary`.
    """
    found = _empty(np, len(start), asked)
    function = _compiled(len(asked.half_lives), len(asked.trends), asked.marks)
    events, rows = backend.read_only(time, value, kept), backend.read_only(start, stop, at)
    (windows,) = backend.read_only(np.array(asked.windows, np.int64))

    reach = [FIRST_LONGEST]

    def work(begin: int, end: int) -> None:
        *place, instant = (a[begin:end] for a in rows)
        own: tuple[Any, ...] = (*events[:2], *place)
        if len(kept):
            own = backend.read_only(*_narrow(*events, *place))
        out = [field[..., begin:end] for field in found]
        longest, done = reach[0], False
        while not done:
            tables = backend.read_only(*_tables(asked, longest))
            done = function(*own, instant, windows, asked.turns, longest, *tables, *out)
            reach[0] = max(reach[0], longest)
            longest *= 2

    # Tasks, not chunks: a single thread too shall copy kept events of some rows at a time only.
    rows_each = NARROW_CHUNK if len(kept) else CHUNK
    bounds = range(0, len(start), rows_each)
    each_task(lambda low: work(low, min(low + rows_each, len(start))), bounds)
    return found


def summarised_gpu(
    time: Any, value: Any, kept: Any, start: Any, stop: Any, at: Any, asked: Asked
) -> Summary:
    rows, found = len(start), _empty(backend.cupy, len(start), asked)
    seen = stop > start
    oldest = int((at[seen] - time[start[seen]]).max()) if seen.any() else 0
    windows = backend.cupy.asarray(np.array(asked.windows, np.int64))
    tables = [backend.cupy.asarray(table) for table in _tables(asked, 1 << oldest.bit_length())]
    half_lives, trends = len(asked.half_lives), len(asked.trends)
    sizes = len(tables[1]) // max(half_lives, 1), len(tables[2]) // max(trends, 1)
    marks = (getattr(asked, mark) for mark in MARKS)
    counts = (len(kept), *sizes, rows, len(asked.windows), asked.turns, half_lives, trends, *marks)
    kernel = backend.cuda_function("summary", "summarised")
    arrays = (time, value, kept, start, stop, at, windows, *tables)
    backend.launch(kernel, rows, *arrays, *map(np.int64, counts), *found)
    return found


summarised = backend.twin(
    summarised_cpu,
    summarised_gpu,
    dtypes=("int64", "float64", "bool", "int64", "int64", "int64"),
)
