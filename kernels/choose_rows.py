"""The loops of ``choose.py`` over subscribers who may get several actions, compiled by Numba."""

from typing import Any

import numpy as np
from numba import njit

from kernels.bundle_listed import search_listed
from kernels.bundle_rows import MUST as MUST
from kernels.bundle_rows import NO_ACTION as NO_ACTION
from kernels.bundle_search import members_of, work_for
from kernels.bundle_tiles import look_through, tile_of

PROPENSITY_GRID = 1 << 24
WEIGHT_GRID = 1 << 10
TILE = 512  # subscribers whose surpluses are held in cache at a time


@njit(cache=True, nogil=True)
def count_contact(tally: Any, p: Any, w: float) -> None:
    """Add one contact to its cell: contacts, p, w, w p in whole grid units."""
    accepts = np.int64(np.float64(p) * PROPENSITY_GRID)
    units = np.int64(w * WEIGHT_GRID)
    tally[0] += 1
    tally[1] += accepts
    tally[2] += units
    tally[3] += units * accepts


@njit(cache=True, nogil=True)
def choose_bundle_rows(
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, cap: Any, rules: Any,
    tables: Any, begin: int, end: int, chosen: Any, margin: Any, tally: Any,
) -> None:  # fmt: skip
    (actions, _), width, caps = propensity.shape, chosen.shape[0], cap.shape[0]
    tile, work = tile_of(TILE, actions, width), work_for(actions, width, caps)
    members = members_of(actions, caps, rules[3], rules[4])
    wide, nearest, _, _, _, listed, apart, bundles, _ = tile
    for low in range(begin, end, TILE):
        high = min(low + TILE, end)
        count = look_through(
            propensity, weight, group, most, fewest, rules, tables, low, high, tile
        )  # fmt: skip
        for t in range(high - low):
            margin[low + t] = 0.0 - nearest[t]
        for i in range(width):
            for s in range(low, high):
                chosen[i, s] = NO_ACTION
        search_listed(
            propensity, group, most, fewest, cap, rules, tables, members, low, count, tile, work
        )  # fmt: skip
        for t in listed[:count]:
            s = low + t
            margin[s] = apart[t]
            for i in range(width):
                a = bundles[t, i]
                chosen[i, s] = a
                if a >= 0:
                    count_contact(tally[group[s], a], propensity[a, s], wide[t])


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
def add_use(
    s: int, g: int, propensity: Any, days: int, bundle: Any, sign: float, entries: Any, found: Any,
    amount: Any, count: int,
) -> Any:  # fmt: skip
    """Add the use of a bundle to the ``count`` constraints so far; return how many there are then.

    Entries of an action are in order of their constraint, and so is the list. ``propensity`` has a
    row for every so many actions, its ``days``.
    """
    first, constraint, fixed, accept = entries
    actions = days * propensity.shape[0]
    for i in range(bundle.size):
        a = bundle[i]
        if a < 0:
            continue
        p = np.float64(propensity[a // days, s])
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
def difference(
    s: int, g: int, propensity: Any, days: int, best: Any, other: Any, entries: Any, found: Any,
    amount: Any,
) -> Any:  # fmt: skip
    """List the constraints that a switch between two bundles moves, and by how much."""
    count = add_use(s, g, propensity, days, best, 1.0, entries, found, amount, 0)
    return add_use(s, g, propensity, days, other, -1.0, entries, found, amount, count)


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
    actions, caps = propensity.shape[0], cap.shape[0]
    tile, work = tile_of(TILE, actions, width), work_for(actions, width, caps)
    members = members_of(actions, caps, rules[3], rules[4])
    wide, nearest, closest, _, _, listed, apart, bundles, others = tile
    found, amount = np.empty(curvature.shape[0], np.int64), np.empty(curvature.shape[0])
    none, other = np.full(1, NO_ACTION), np.empty(1, np.int64)
    for low in range(begin, end, TILE):
        high = min(low + TILE, end)
        count = look_through(
            propensity, weight, group, most, fewest, rules, tables, low, high, tile
        )  # fmt: skip
        search_listed(
            propensity, group, most, fewest, cap, rules, tables, members, low, count, tile, work
        )  # fmt: skip
        for t in listed[:count]:
            s, g = low + t, group[low + t]
            for a in bundles[t]:
                if a >= 0:
                    count_contact(tally[g, a], propensity[a, s], wide[t])
            if apart[t] < bandwidth:
                near[0] += 1
                moved = difference(
                    s, g, propensity, 1, bundles[t], others[t], entries, found, amount
                )  # fmt: skip
                add_square(found, amount, moved, unit, curvature)
            nearest[t] = -np.inf  # it is done
        for t in range(high - low):
            if not 0.0 - nearest[t] < bandwidth:
                continue
            near[0] += 1
            s, g = low + t, group[low + t]
            other[0] = closest[t]
            moved = difference(s, g, propensity, 1, none, other, entries, found, amount)
            add_square(found, amount, moved, unit, curvature)
