"""The loops of ``choose.py`` over subscribers, compiled by Numba, a tile of them at a time."""

from typing import Any

import numpy as np
from numba import njit

from kernels.bundle_listed import search_listed
from kernels.bundle_rows import MUST as MUST
from kernels.bundle_rows import NO_ACTION as NO_ACTION
from kernels.bundle_rows import REST, is_free
from kernels.bundle_search import members_of, work_for
from kernels.bundle_tiles import look_through, tile_of

PROPENSITY_GRID = 1 << 24
WEIGHT_GRID = 1 << 10
TILE = 512  # subscribers whose best surpluses are held in cache at a time


# The loops below have no branches, so that they compile to vector instructions: ``max(b, v)`` is v
# where v is greater, else b, also where v is NaN (a pair that is not open).
@njit(cache=True, nogil=True)
def _one_action(p: Any, w: Any, x: Any, a: int, best: Any, second: Any, action: Any) -> None:
    for t in range(best.size):
        b, k = best[t], action[t]
        v = (w[t] * x[0] - x[1]) + (w[t] * x[2] - x[3]) * np.float64(p[t])
        second[t] = max(second[t], min(v, b))
        action[t] = a if v > b else k
        best[t] = max(b, v)


@njit(cache=True, nogil=True)
def _four_actions(
    p: Any, q: Any, r: Any, s: Any, w: Any, x: Any, a: int, best: Any, second: Any, action: Any
) -> None:
    """Four actions at once load and store the running best a quarter as often."""
    x0, x1, x2, x3 = x
    for t in range(best.size):
        b, c, k = best[t], second[t], action[t]
        v = (w[t] * x0[0] - x0[1]) + (w[t] * x0[2] - x0[3]) * np.float64(p[t])
        c = max(c, min(v, b))
        k = a if v > b else k
        b = max(b, v)
        v = (w[t] * x1[0] - x1[1]) + (w[t] * x1[2] - x1[3]) * np.float64(q[t])
        c = max(c, min(v, b))
        k = a + 1 if v > b else k
        b = max(b, v)
        v = (w[t] * x2[0] - x2[1]) + (w[t] * x2[2] - x2[3]) * np.float64(r[t])
        c = max(c, min(v, b))
        k = a + 2 if v > b else k
        b = max(b, v)
        v = (w[t] * x3[0] - x3[1]) + (w[t] * x3[2] - x3[3]) * np.float64(s[t])
        c = max(c, min(v, b))
        k = a + 3 if v > b else k
        b = max(b, v)
        best[t], second[t], action[t] = b, c, k


@njit(cache=True, nogil=True)
def _coefficients(tables: Any, g: int, a: int) -> Any:
    value_fixed, value_accept, price_fixed, price_accept = tables
    return value_fixed[a], price_fixed[g, a], value_accept[a], price_accept[g, a]


@njit(cache=True, nogil=True)
def _two_best(
    propensity: Any, group: Any, most: Any, fewest: Any, usable: Any, low: int, high: int,
    tables: Any, wide: Any, best: Any, second: Any, action: Any,
) -> None:  # fmt: skip
    """Fill the tile's best surplus, second best and best action; no action is worth 0.

    Runs of one scope group share their row of the tables.
    """
    for t in range(high - low):
        must = fewest[low + t] >= MUST
        best[t], second[t], action[t] = -np.inf if must else 0.0, -np.inf, NO_ACTION
    run = low
    while run < high:
        g, stop = group[run], run + 1
        while stop < high and group[stop] == g:
            stop += 1
        w = wide[run - low : stop - low]
        b, c = best[run - low : stop - low], second[run - low : stop - low]
        k = action[run - low : stop - low]
        i = 0
        while i + 4 <= usable.size:
            a = (usable[i], usable[i + 1], usable[i + 2], usable[i + 3])
            x = (
                _coefficients(tables, g, a[0]), _coefficients(tables, g, a[1]),
                _coefficients(tables, g, a[2]), _coefficients(tables, g, a[3]),
            )  # fmt: skip
            _four_actions(  # rows are cut out one by one, so that they are known to be contiguous
                propensity[a[0], run:stop], propensity[a[1], run:stop],
                propensity[a[2], run:stop], propensity[a[3], run:stop], w, x, i, b, c, k,
            )  # fmt: skip
            i += 4
        while i < usable.size:
            a0 = usable[i]
            _one_action(propensity[a0, run:stop], w, _coefficients(tables, g, a0), i, b, c, k)
            i += 1
        run = stop
    if usable.size < propensity.shape[0]:
        for t in range(high - low):
            action[t] = usable[action[t]] if action[t] >= 0 else NO_ACTION
    least, flags = 1, 0
    for s in range(low, high):
        least = min(least, most[s])
        flags |= fewest[s]
    for t in range(high - low if least == 0 or flags else 0):
        s = low + t
        if action[t] == NO_ACTION and fewest[s] >= MUST:
            best[t] = np.inf  # nothing is open: exempt
        if most[s] == 0 or fewest[s] & REST > 1:
            best[t], second[t], action[t] = 0.0, -np.inf, NO_ACTION


@njit(cache=True, nogil=True)
def _usable(actions: int, rules: Any) -> Any:
    """Return the actions that may be taken alone."""
    found, count = np.empty(actions, np.int64), 0
    for a in range(actions):
        if is_free(a, rules[7]):
            found[count] = a
            count += 1
    return found[:count]


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
def choose_single_rows(
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, rules: Any, tables: Any,
    begin: int, end: int, chosen: Any, margin: Any, tally: Any,
) -> None:  # fmt: skip
    wide, best, second = np.empty(TILE), np.empty(TILE), np.empty(TILE)
    action, usable = np.empty(TILE, np.int64), _usable(propensity.shape[0], rules)
    for low in range(begin, end, TILE):
        high = min(low + TILE, end)
        for t in range(high - low):
            wide[t] = weight[low + t]
        _two_best(
            propensity, group, most, fewest, usable, low, high, tables, wide, best, second, action
        )
        for t in range(high - low):
            s, a = low + t, action[t]
            chosen[0, s] = a
            margin[s] = best[t] - second[t]
            if a >= 0:
                _count(tally[group[s], a], propensity[a, s], wide[t])


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
                    _count(tally[group[s], a], propensity[a, s], wide[t])


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
        for t in range(out.size):
            out[t] = np.float64(mine[t]) < longest
        for t in range(out.size):
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
def _difference(
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
def _add_square(found: Any, amount: Any, count: int, unit: float, curvature: Any) -> None:
    for i in range(count):
        for j in range(i + 1):
            curvature[found[i], found[j]] += np.int64(np.rint(amount[i] * amount[j] * unit))


@njit(cache=True, nogil=True)
def curve_single_rows(
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, rules: Any, tables: Any,
    entries: Any, bandwidth: float, unit: float, begin: int, end: int, tally: Any, curvature: Any,
    near: Any,
) -> None:  # fmt: skip
    value_fixed, value_accept, price_fixed, price_accept = tables
    wide, best, second = np.empty(TILE), np.empty(TILE), np.empty(TILE)
    action, usable = np.empty(TILE, np.int64), _usable(propensity.shape[0], rules)
    one, other = np.empty(1, np.int64), np.empty(1, np.int64)
    found, amount = np.empty(curvature.shape[0], np.int64), np.empty(curvature.shape[0])
    for low in range(begin, end, TILE):
        high = min(low + TILE, end)
        for t in range(high - low):
            wide[t] = weight[low + t]
        _two_best(
            propensity, group, most, fewest, usable, low, high, tables, wide, best, second, action
        )
        for t in range(high - low):
            s, a, g = low + t, action[t], group[low + t]
            if a >= 0:
                _count(tally[g, a], propensity[a, s], wide[t])
            if not best[t] - second[t] < bandwidth:
                continue
            near[0] += 1
            one[0], other[0] = a, NO_ACTION
            may_be_none = second[t] == 0.0 and a >= 0 and fewest[s] < MUST
            for i in usable[: 0 if may_be_none else usable.size]:
                v = (wide[t] * value_fixed[i] - price_fixed[g, i]) + (
                    wide[t] * value_accept[i] - price_accept[g, i]
                ) * np.float64(propensity[i, s])
                if i != a and v == second[t]:
                    other[0] = i
                    break
            count = _difference(s, g, propensity, one, other, entries, found, amount)
            _add_square(found, amount, count, unit, curvature)


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
                    _count(tally[g, a], propensity[a, s], wide[t])
            if apart[t] < bandwidth:
                near[0] += 1
                moved = _difference(
                    s, g, propensity, bundles[t], others[t], entries, found, amount
                )  # fmt: skip
                _add_square(found, amount, moved, unit, curvature)
            nearest[t] = -np.inf  # it is done
        for t in range(high - low):
            if not 0.0 - nearest[t] < bandwidth:
                continue
            near[0] += 1
            s, g = low + t, group[low + t]
            other[0] = closest[t]
            moved = _difference(s, g, propensity, none, other, entries, found, amount)
            _add_square(found, amount, moved, unit, curvature)
