"""The loops of ``choose.py`` over subscribers who get one action at most, compiled by Numba.

Surpluses are screened in float32 (:mod:`kernels.screen`), eight to a vector instruction; whom that
leaves in doubt is looked at again in float64.
"""

from typing import Any

import numpy as np
from numba import njit

from kernels.bundle_rows import MUST, NO_ACTION, REST, coefficients, surplus_at
from kernels.choose_rows import PROPENSITY_GRID, WEIGHT_GRID, add_square, difference

TILE = 4_096  # subscribers whose best surpluses are held in cache at a time
STRETCH = 256  # subscribers that are looked through for doubts at a time
NOTHING = np.float32(-np.inf)


# The loops below have no branches, so that they compile to vector instructions: ``max(b, v)`` is v
# where v is greater, else b, also where v is NaN (a pair that is not open).
@njit(cache=True, nogil=True)
def _one_action(
    p: Any, w: Any, x: Any, a: Any, best: Any, second: Any, action: Any, taken: Any
) -> None:
    for t in range(best.size):
        b, k, z = best[t], action[t], taken[t]
        v = (w[t] * x[0] - x[1]) + (w[t] * x[2] - x[3]) * p[t]
        second[t] = max(second[t], min(v, b))
        action[t] = a if v > b else k
        taken[t] = p[t] if v > b else z
        best[t] = max(b, v)


@njit(cache=True, nogil=True)
def _four_actions(
    p: Any, q: Any, r: Any, s: Any, w: Any, x: Any, a: Any, best: Any, second: Any, action: Any,
    taken: Any,
) -> None:  # fmt: skip
    """Four actions at once load and store the running best a quarter as often."""
    x0, x1, x2, x3 = x
    a1, a2, a3 = np.int32(a + 1), np.int32(a + 2), np.int32(a + 3)
    for t in range(best.size):
        b, c, k, z = best[t], second[t], action[t], taken[t]
        v = (w[t] * x0[0] - x0[1]) + (w[t] * x0[2] - x0[3]) * p[t]
        c = max(c, min(v, b))
        k = a if v > b else k
        z = p[t] if v > b else z
        b = max(b, v)
        v = (w[t] * x1[0] - x1[1]) + (w[t] * x1[2] - x1[3]) * q[t]
        c = max(c, min(v, b))
        k = a1 if v > b else k
        z = q[t] if v > b else z
        b = max(b, v)
        v = (w[t] * x2[0] - x2[1]) + (w[t] * x2[2] - x2[3]) * r[t]
        c = max(c, min(v, b))
        k = a2 if v > b else k
        z = r[t] if v > b else z
        b = max(b, v)
        v = (w[t] * x3[0] - x3[1]) + (w[t] * x3[2] - x3[3]) * s[t]
        c = max(c, min(v, b))
        k = a3 if v > b else k
        z = s[t] if v > b else z
        b = max(b, v)
        best[t], second[t], action[t], taken[t] = b, c, k, z


@njit(cache=True, nogil=True)
def _is_blocked(most: int, fewest: int) -> bool:
    """Return whether one may not have one action."""
    return most == 0 or fewest & REST > 1


@njit(cache=True, nogil=True)
def _has_blocked(most: Any) -> Any:
    blocked = np.uint8(0)
    for t in range(most.size):
        blocked = np.uint8(blocked | np.uint8(most[t] == 0))
    return blocked > 0


@njit(cache=True, nogil=True)
def _has_least(fewest: Any) -> Any:
    flags = np.uint8(0)
    for t in range(fewest.size):
        flags = np.uint8(flags | fewest[t])
    return flags > 0


@njit(cache=True, nogil=True)
def _screen(
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, usable: Any, low: int,
    high: int, tables: Any, best: Any, second: Any, action: Any, taken: Any,
) -> None:  # fmt: skip
    """Fill the tile's best surplus, second best, best action and its propensity, in float32.

    No action is worth 0. Runs of one scope group share their row of the tables.
    """
    size = high - low
    has_blocked, has_least = _has_blocked(most[low:high]), _has_least(fewest[low:high])
    best[:size], second[:size] = np.float32(0.0), NOTHING
    action[:size], taken[:size] = np.int32(NO_ACTION), np.float32(0.0)
    for t in range(size if has_least else 0):
        best[t] = NOTHING if fewest[low + t] >= MUST else np.float32(0.0)
    run = low
    while run < high:
        g, stop = group[run], run + 1
        while stop < high and group[stop] == g:
            stop += 1
        w = weight[run:stop]
        b, c = best[run - low : stop - low], second[run - low : stop - low]
        k, z = action[run - low : stop - low], taken[run - low : stop - low]
        i = 0
        while i + 4 <= usable.size:
            a = (usable[i], usable[i + 1], usable[i + 2], usable[i + 3])
            x = (
                coefficients(tables, g, a[0]), coefficients(tables, g, a[1]),
                coefficients(tables, g, a[2]), coefficients(tables, g, a[3]),
            )  # fmt: skip
            _four_actions(  # rows are cut out one by one, so that they are known to be contiguous
                propensity[a[0], run:stop], propensity[a[1], run:stop],
                propensity[a[2], run:stop], propensity[a[3], run:stop],
                w, x, np.int32(i), b, c, k, z,
            )  # fmt: skip
            i += 4
        while i < usable.size:
            a0, x0 = usable[i], coefficients(tables, g, usable[i])
            _one_action(propensity[a0, run:stop], w, x0, np.int32(i), b, c, k, z)
            i += 1
        run = stop
    if usable.size < propensity.shape[0]:
        for t in range(size):
            action[t] = usable[action[t]] if action[t] >= 0 else NO_ACTION
    for t in range(size if has_blocked or has_least else 0):
        if _is_blocked(most[low + t], fewest[low + t]):
            best[t], second[t] = np.float32(0.0), NOTHING
            action[t], taken[t] = np.int32(NO_ACTION), np.float32(0.0)


@njit(cache=True, nogil=True)
def _is_any_below(margin: Any, weight: Any, each: Any, base: Any) -> Any:
    found = np.int32(0)
    for t in range(margin.size):
        found |= np.int32(not (margin[t] > weight[t] * each + base))
    return found > 0


@njit(cache=True, nogil=True)
def _doubtful(
    best: Any, second: Any, weight: Any, group: Any, doubt: Any, more: Any, margin: Any, found: Any
) -> int:
    """Fill the margins, and list who is not certain to have more than ``doubt + more``.

    They are few: where a stretch has none it is passed over.
    """
    for t in range(margin.size):
        margin[t] = best[t] - second[t]
    count, each, run = 0, doubt[0], 0
    while run < margin.size:
        g, stop = group[run], run + 1
        while stop < min(margin.size, run + STRETCH) and group[stop] == g:
            stop += 1
        base = doubt[1 + g] + more
        if _is_any_below(margin[run:stop], weight[run:stop], each, base):
            for t in range(run, stop):
                found[count] = t
                count += not (margin[t] > weight[t] * each + base)
        run = stop
    return count


@njit(cache=True, nogil=True)
def _two_best(
    propensity: Any, s: int, w: float, g: int, fewest: int, usable: Any, tables: Any
) -> Any:
    """Return best and second best action of one subscriber and the margin, in float64."""
    value_fixed, value_accept, price_fixed, price_accept = tables
    best, second = -np.inf if fewest >= MUST else 0.0, -np.inf
    action, other = NO_ACTION, NO_ACTION
    for a in usable:
        p = propensity[a, s]
        v = surplus_at(w, g, p, a, value_fixed, value_accept, price_fixed, price_accept)
        if v > best:  # strict: the first of equals wins
            best, second, action, other = v, best, a, action
        elif v > second:
            second, other = v, a
    return action, other, best - second if best > -np.inf else np.inf


@njit(cache=True, nogil=True)
def _count(weight: Any, group: Any, action: Any, taken: Any, place: Any, tally: Any) -> None:
    """Add each contact to its cell, in whole grid units; those without one to a cell of theirs."""
    size, width = weight.size, np.int32(tally.shape[1])
    for t in range(size):
        place[t] = np.uint32(4) * np.uint32(group[t] * width + action[t] + np.int32(1))
    flat = tally.reshape(-1)
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)  # unsigned: no negative places
    for t in range(size):
        accepts = np.int64(np.int32(taken[t] * np.float32(PROPENSITY_GRID)))
        units = np.int64(np.int32(weight[t] * np.float32(WEIGHT_GRID)))
        i = np.uint64(place[t])
        contacts, p, w, both = flat[i], flat[i + one], flat[i + two], flat[i + three]
        flat[i], flat[i + one] = contacts + 1, p + accepts
        flat[i + two], flat[i + three] = w + units, both + units * accepts


@njit(cache=True, nogil=True)
def choose_single_rows(
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, usable: Any, screen: Any,
    doubt: Any, tables: Any, begin: int, end: int, chosen: Any, margin: Any, tally: Any,
) -> None:  # fmt: skip
    """Fill ``chosen``, ``margin`` and ``tally`` [G, 1 + A, 4], of no action first, of some rows."""
    best, second = np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    action, taken = np.empty(TILE, np.int32), np.empty(TILE, np.float32)
    place, doubtful = np.empty(TILE, np.uint32), np.empty(TILE, np.int64)
    for low in range(begin, end, TILE):
        high = min(low + TILE, end)
        size = high - low
        w, g, far = weight[low:high], group[low:high], margin[low:high]
        _screen(
            propensity, weight, group, most, fewest, usable, low, high, screen, best, second,
            action, taken,
        )  # fmt: skip
        count = _doubtful(
            best[:size], second[:size], w, g, doubt, np.float32(0.0), far, doubtful
        )  # fmt: skip
        for t in doubtful[:count]:
            s = low + t
            if _is_blocked(most[s], fewest[s]):
                continue
            action[t], _, far[t] = _two_best(
                propensity, s, np.float64(w[t]), g[t], fewest[s], usable, tables
            )
            taken[t] = propensity[action[t], s] if action[t] >= 0 else np.float32(0.0)
        codes = chosen[0, low:high]
        for t in range(size):
            codes[t] = action[t]
        _count(w, g, action[:size], taken[:size], place, tally)


@njit(cache=True, nogil=True)
def curve_single_rows(
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, usable: Any, screen: Any,
    doubt: Any, tables: Any, entries: Any, bandwidth: float, beyond: Any, unit: float, begin: int,
    end: int, tally: Any, curvature: Any,
    near: Any,
) -> None:  # fmt: skip
    """Add to ``tally`` [G, 1 + A, 4], of no action first, ``curvature`` and ``near``."""
    best, second = np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    action, taken, far = np.empty(TILE, np.int32), np.empty(TILE, np.float32), np.empty_like(best)
    place, doubtful = np.empty(TILE, np.uint32), np.empty(TILE, np.int64)
    one, two = np.empty(1, np.int64), np.empty(1, np.int64)
    found, amount = np.empty(curvature.shape[0], np.int64), np.empty(curvature.shape[0])
    for low in range(begin, end, TILE):
        high = min(low + TILE, end)
        size = high - low
        w, g = weight[low:high], group[low:high]
        _screen(
            propensity, weight, group, most, fewest, usable, low, high, screen, best, second,
            action, taken,
        )  # fmt: skip
        count = _doubtful(best[:size], second[:size], w, g, doubt, beyond, far[:size], doubtful)
        for t in doubtful[:count]:
            s = low + t
            if _is_blocked(most[s], fewest[s]):
                continue
            first, other, margin = _two_best(
                propensity, s, np.float64(w[t]), g[t], fewest[s], usable, tables
            )
            action[t] = first
            taken[t] = propensity[first, s] if first >= 0 else np.float32(0.0)
            if margin < bandwidth:
                near[0] += 1
                one[0], two[0] = first, other
                listed = difference(s, g[t], propensity, 1, one, two, entries, found, amount)
                add_square(found, amount, listed, unit, curvature)
        _count(w, g, action[:size], taken[:size], place, tally)
