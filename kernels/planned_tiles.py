"""Which subscribers of a tile need a search for their best plan, compiled by Numba.

The propensities of a pair are read once and serve all its days, in one pass without branches.
"""

from typing import Any

import numpy as np
from numba import njit

from kernels.bundle_rows import NO_ACTION
from kernels.choose_rows import TILE
from kernels.planned_search import DAYS

FEW = 8  # neighbours that are alike


@njit(cache=True, nogil=True)
def _four_days(
    p: Any, w: Any, fixed: Any, paid: Any, accept: Any, due: Any, d: int, most: Any
) -> None:
    """Raise the most surplus of a pair by that of four days; max(m, v) is m where v is NaN."""
    f0, f1, f2, f3 = fixed[d], fixed[d + 1], fixed[d + 2], fixed[d + 3]
    x0, x1, x2, x3 = paid[d], paid[d + 1], paid[d + 2], paid[d + 3]
    a0, a1, a2, a3 = accept[d], accept[d + 1], accept[d + 2], accept[d + 3]
    y0, y1, y2, y3 = due[d], due[d + 1], due[d + 2], due[d + 3]
    for t in range(most.size):
        m, u, q = most[t], w[t], np.float64(p[t])
        m = max(m, (u * f0 - x0) + (u * a0 - y0) * q)
        m = max(m, (u * f1 - x1) + (u * a1 - y1) * q)
        m = max(m, (u * f2 - x2) + (u * a2 - y2) * q)
        m = max(m, (u * f3 - x3) + (u * a3 - y3) * q)
        most[t] = m


@njit(cache=True, nogil=True)
def _seen(high: Any, a: int, pays: Any, nearest: Any, closest: Any) -> None:
    """Note for whom a pair pays, and where it is the best of those that do not."""
    bit = np.int64(1) << (a & 63)
    for t in range(high.size):
        v, n = high[t], nearest[t]
        pays[t] |= bit if v > 0.0 else 0
        v = -np.inf if v > 0.0 else v
        closest[t] = a if v > n else closest[t]
        nearest[t] = max(n, v)


@njit(cache=True, nogil=True)
def tile_of_days(pairs: int, width: int) -> Any:
    """Return room for a tile.

    Returns:
        wide: [T] float64, weights.
        high: [T] float64, the most surplus of a pair on any day.
        nearest: [T] float64, best surplus of the pairs that pay on no day; -inf: none is open.
        closest: [T] int64, the first of the best of them, or none.
        pays: [ceil(P / 64), T] int64, bit a % 64 of word a // 64: pair a may have a surplus.
        bare: [T] bool, whether any part of an allowed bundle is allowed too.
        listed: [T] int64, who is to be looked at, by number in the tile.
        apart: [T] float64, the margin of each that is listed.
        bundles: [T, Q] int64, its best bundle.
        others: [T, Q] int64, its second best bundle.
        follows: [T] bool, whether a subscriber's group and open days are those of the one before.
        paid: [P, DAYS] float64, what contacts pay, infinite on days on which a pair is not open.
    """
    return (
        np.empty(TILE), np.empty(TILE), np.empty(TILE), np.empty(TILE, np.int64),
        np.empty((-(-pairs // 64), TILE), np.int64), np.empty(TILE, np.bool_),
        np.empty(TILE, np.int64), np.empty(TILE), np.empty((TILE, width), np.int64),
        np.empty((TILE, width), np.int64), np.empty(TILE, np.bool_), np.empty((pairs, DAYS)),
    )  # fmt: skip


@njit(cache=True, nogil=True)
def _follow(group: Any, open_days: Any, low: int, end: int, follows: Any) -> None:
    """Note whose group and open days are those of the subscriber before."""
    follows[0] = False
    for t in range(1, end - low):
        follows[t] = group[low + t] == group[low + t - 1]
    for m in range(open_days.shape[0]):
        own = open_days[m, low:end]
        for t in range(1, own.size):
            follows[t] &= own[t] == own[t - 1]


@njit(cache=True, nogil=True)
def _paid_in(run: int, g: int, open_days: Any, day_class: Any, all_paid: Any, paid: Any) -> None:
    """Write what contacts pay in a run of subscribers of one group with the same open days."""
    for a in range(paid.shape[0]):
        mask = open_days[day_class[a], run]
        for d in range(DAYS):
            paid[a, d] = all_paid[g, a, d] if mask >> d & 1 else np.inf


@njit(cache=True, nogil=True)
def look_through_days(
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, open_days: Any,
    day_class: Any, needy: Any, fixed: Any, accept: Any, all_paid: Any, due: Any, last: int,
    low: int, end: int, tile: Any,
) -> int:  # fmt: skip
    """Fill a tile and list those for whom the empty bundle is not known to be the best.

    Args:
        propensity: [P, S] float32, and so on: as in :func:`kernels.planned.choose_planned_cpu`.
        weight: [S] float32.
        group: [S] int32; neighbours of one scope group with the same open days share their tables.
        most: [S] uint8.
        fewest: [S] uint8.
        open_days: [M, S] uint16.
        day_class: [P] int32.
        needy: pairs of which an action requires others.
        fixed: [P, DAYS] float64, money per contact.
        accept: [P, DAYS] float64, money per acceptance.
        all_paid: [G, P, DAYS] float64, money to pay per contact.
        due: [G, P, DAYS] float64, money to pay per acceptance.
        last: days of a pair, rounded up to four.
        low: first subscriber of the tile.
        end: the end of the tile.
        tile: from :func:`tile_of_days`.

    Returns:
        how many are listed.
    """
    wide, high, nearest, closest, pays, bare, listed, _, _, _, follows, paid = tile
    size = end - low
    for t in range(size):
        wide[t], nearest[t], closest[t] = weight[low + t], -np.inf, NO_ACTION
        bare[t] = (fewest[low + t] <= 1) & (most[low + t] >= 1)
    for a in needy:
        for t in range(size):
            is_open = (propensity[a, low + t] >= 0.0) & (open_days[day_class[a], low + t] != 0)
            bare[t] &= not is_open
    for k in range(pays.shape[0]):
        for t in range(size):
            pays[k, t] = 0
    _follow(group, open_days, low, end, follows)
    begin = 0
    while begin < size:
        stop = begin + 1
        while stop < size and follows[stop]:
            stop += 1
        if stop - begin < FEW:  # tables of their own would cost more than they save
            for a in range(propensity.shape[0]):
                bit = np.int64(1) << (a & 63)
                for t in range(begin, stop):
                    pays[a >> 6, t] |= bit if propensity[a, low + t] >= 0.0 else 0
            begin = stop
            continue
        g = group[low + begin]
        _paid_in(low + begin, g, open_days, day_class, all_paid, paid)
        w, h = wide[begin:stop], high[begin:stop]
        n, c = nearest[begin:stop], closest[begin:stop]
        for a in range(propensity.shape[0]):
            p = propensity[a, low + begin : low + stop]
            h[:] = -np.inf
            for d in range(0, last, 4):
                _four_days(p, w, fixed[a], paid[a], accept[a], due[g, a], d, h)
            _seen(h, a, pays[a >> 6, begin:stop], n, c)
        begin = stop
    count = 0
    for t in range(size):
        some = pays[0, t]
        for k in range(1, pays.shape[0]):
            some |= pays[k, t]
        listed[count] = t
        count += (some != 0) | (not bare[t])
    return count
