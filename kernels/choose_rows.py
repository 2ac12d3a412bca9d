"""The loops of ``choose.py`` over subscribers who may get several actions, compiled by Numba."""

from typing import Any

import numpy as np
from numba import njit

from kernels.bundle_rows import MUST as MUST
from kernels.bundle_rows import NO_ACTION as NO_ACTION
from kernels.bundle_rows import best_bundle, best_single, scratch

PROPENSITY_GRID = 1 << 24
WEIGHT_GRID = 1 << 10
TILE = 512  # subscribers whose surpluses are held in cache at a time


@njit(cache=True, nogil=True)
def _surplus_tile(
    propensity: Any, weight: Any, group: Any, begin: int, end: int, tables: Any, out: Any
) -> None:
    """Fill ``out[a, s - begin]``; runs of one scope group share their row of the tables."""
    value_fixed, value_accept, price_fixed, price_accept = tables
    run = begin
    while run < end:
        g, stop = group[run], run + 1
        while stop < end and group[stop] == g:
            stop += 1
        for a in range(propensity.shape[0]):
            fixed, accept = value_fixed[a], value_accept[a]
            paid, paid_accept = price_fixed[g, a], price_accept[g, a]
            for s in range(run, stop):
                w = np.float64(weight[s])
                p = np.float64(propensity[a, s])
                out[a, s - begin] = (w * fixed - paid) + (w * accept - paid_accept) * p
        run = stop


@njit(cache=True, nogil=True)
def _count(tally: Any, p: Any, w: float) -> None:
    """Add one contact to its cell: contacts, p, w, w p in whole grid units."""
    accepts = np.int64(np.float64(p) * PROPENSITY_GRID)
    units = np.int64(w * WEIGHT_GRID)
    tally[0] += 1
    tally[1] += accepts
    tally[2] += units
    tally[3] += units * accepts


@njit(cache=True, nogil=True)
def _best_of(
    surplus: Any, t: int, s: int, most: int, fewest: int, cap: Any, rules: Any, room: Any,
    best: Any, other: Any,
) -> Any:  # fmt: skip
    if most > 1:
        return best_bundle(surplus, t, s, most, fewest, cap, rules, room, best, other)
    if most == 1:
        return best_single(surplus, t, fewest, rules, best, other)
    for i in range(best.size):
        best[i] = other[i] = NO_ACTION
    return np.inf


@njit(cache=True, nogil=True)
def choose_bundle_rows(
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, cap: Any, rules: Any,
    tables: Any, begin: int, end: int, chosen: Any, margin: Any, tally: Any,
) -> None:  # fmt: skip
    actions, width = propensity.shape[0], chosen.shape[0]
    surplus = np.empty((actions, TILE), np.float64)
    room = scratch(actions, width, cap.shape[0])
    best, other = np.empty(width, np.int64), np.empty(width, np.int64)
    for low in range(begin, end, TILE):
        high = min(low + TILE, end)
        _surplus_tile(propensity, weight, group, low, high, tables, surplus)
        for s in range(low, high):
            margin[s] = _best_of(
                surplus, s - low, s, most[s], fewest[s], cap, rules, room, best, other
            )
            for i in range(width):
                a = best[i]
                chosen[i, s] = a
                if a >= 0:
                    _count(tally[group[s], a], propensity[a, s], np.float64(weight[s]))


@njit(cache=True, nogil=True)
def _within_singles(chosen: Any, margin: Any, group: Any, reach: Any, near: Any) -> None:
    """Without branches: whether one is near is hard to foretell."""
    for t in range(near.size):
        near[t] = np.float64(margin[t]) < reach[group[t], chosen[t] + 1]


@njit(cache=True, nogil=True)
def within_rows(
    chosen: Any, margin: Any, group: Any, reach: Any, begin: int, end: int, near: Any
) -> None:
    """Look closer only at margins that are less than the longest reach of any bundle."""
    longest = 0.0
    for g in range(reach.shape[0]):
        for a in range(reach.shape[1]):
            longest = max(longest, reach[g, a])
    longest *= chosen.shape[0] + 1e-9
    for low in range(begin, end, TILE):
        high = min(low + TILE, end)
        mine, out = margin[low:high], near[low:high]
        close = 0
        for t in range(out.size):
            out[t] = np.float64(mine[t]) < longest
            close += out[t]
        if chosen.shape[0] == 1 and close:
            _within_singles(chosen[0, low:high], mine, group[low:high], reach, out)
            continue
        for t in range(out.size if close else 0):
            if out[t] == 0:
                continue
            s = low + t
            g = group[s]
            within = reach[g, 0] if chosen[0, s] < 0 else 0.0
            for i in range(chosen.shape[0]):
                if chosen[i, s] >= 0:
                    within += reach[g, chosen[i, s] + 1]
            near[s] = np.float64(margin[s]) < within


@njit(cache=True, nogil=True)
def difference(
    s: int, g: int, propensity: Any, best: Any, other: Any, entries: Any, found: Any, amount: Any
) -> int:
    """List the constraints that a switch between two bundles moves, and by how much.

    Entries of an action are in order of their constraint, and so is the list.
    """
    first, constraint, fixed, accept = entries
    actions = propensity.shape[0]
    count = 0
    for side in range(2):
        bundle = best if side == 0 else other
        sign = 1.0 if side == 0 else -1.0
        for i in range(bundle.size):
            a = bundle[i]
            if a < 0:
                continue
            p = np.float64(propensity[a, s])
            for e in range(first[g * actions + a], first[g * actions + a + 1]):
                more = sign * (fixed[e] + accept[e] * p)
                place = count
                while place > 0 and found[place - 1] > constraint[e]:
                    place -= 1
                if place > 0 and found[place - 1] == constraint[e]:
                    amount[place - 1] += more
                    continue
                for j in range(count, place, -1):
                    found[j], amount[j] = found[j - 1], amount[j - 1]
                found[place], amount[place] = constraint[e], more
                count += 1
    return count


@njit(cache=True, nogil=True)
def add_square(found: Any, amount: Any, count: int, unit: float, curvature: Any) -> None:
    for i in range(count):
        for j in range(i + 1):
            curvature[found[i], found[j]] += np.int64(np.rint(amount[i] * amount[j] * unit))


@njit(cache=True, nogil=True)
def curve_bundle_rows(
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, cap: Any, rules: Any,
    tables: Any, entries: Any, bandwidth: float, unit: float, begin: int, end: int, width: int,
    tally: Any, curvature: Any, near: Any,
) -> None:  # fmt: skip
    actions = propensity.shape[0]
    surplus = np.empty((actions, TILE), np.float64)
    room = scratch(actions, width, cap.shape[0])
    best, other = np.empty(width, np.int64), np.empty(width, np.int64)
    found, amount = np.empty(curvature.shape[0], np.int64), np.empty(curvature.shape[0])
    for low in range(begin, end, TILE):
        high = min(low + TILE, end)
        _surplus_tile(propensity, weight, group, low, high, tables, surplus)
        for s in range(low, high):
            g = group[s]
            margin = _best_of(
                surplus, s - low, s, most[s], fewest[s], cap, rules, room, best, other
            )
            for i in range(width):
                if best[i] >= 0:
                    _count(
                        tally[g, best[i]], propensity[best[i], s], np.float64(weight[s])
                    )  # fmt: skip
            if margin < bandwidth:
                near[0] += 1
                count = difference(s, g, propensity, best, other, entries, found, amount)
                add_square(found, amount, count, unit, curvature)
