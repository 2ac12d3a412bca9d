"""Which subscribers of a tile need a search for their best bundle, compiled by Numba.

For most subscribers no action has a surplus at the prices. Whether one has, and the best of those
that have none, is told by one pass without branches; only the others are looked at one by one.
"""

from typing import Any

import numpy as np
from numba import njit

from kernels.bundle_rows import NO_ACTION, coefficients


# The loops below have no branches, so that they compile to vector instructions: ``max(b, v)`` is v
# where v is greater, else b, also where v is NaN (a pair that is not open).
@njit(cache=True, nogil=True)
def _one_action(
    p: Any, w: Any, x: Any, a: int, bit: int, paying: Any, nearest: Any, closest: Any
) -> None:
    for t in range(nearest.size):
        n = nearest[t]
        v = (w[t] * x[0] - x[1]) + (w[t] * x[2] - x[3]) * np.float64(p[t])
        paying[t] |= bit if v > 0.0 else 0
        v = -np.inf if v > 0.0 else v
        closest[t] = a if v > n else closest[t]
        nearest[t] = max(n, v)


@njit(cache=True, nogil=True)
def _four_actions(
    p: Any, q: Any, r: Any, s: Any, w: Any, x: Any, a: int, bit: int, paying: Any, nearest: Any,
    closest: Any,
) -> None:  # fmt: skip
    """Four actions at once load and store what is known a quarter as often."""
    x0, x1, x2, x3 = x
    bit1, bit2, bit3 = bit << 1, bit << 2, bit << 3
    for t in range(nearest.size):
        n, c, k = nearest[t], closest[t], paying[t]
        v = (w[t] * x0[0] - x0[1]) + (w[t] * x0[2] - x0[3]) * np.float64(p[t])
        k |= bit if v > 0.0 else 0
        v = -np.inf if v > 0.0 else v
        c = a if v > n else c
        n = max(n, v)
        v = (w[t] * x1[0] - x1[1]) + (w[t] * x1[2] - x1[3]) * np.float64(q[t])
        k |= bit1 if v > 0.0 else 0
        v = -np.inf if v > 0.0 else v
        c = a + 1 if v > n else c
        n = max(n, v)
        v = (w[t] * x2[0] - x2[1]) + (w[t] * x2[2] - x2[3]) * np.float64(r[t])
        k |= bit2 if v > 0.0 else 0
        v = -np.inf if v > 0.0 else v
        c = a + 2 if v > n else c
        n = max(n, v)
        v = (w[t] * x3[0] - x3[1]) + (w[t] * x3[2] - x3[3]) * np.float64(s[t])
        k |= bit3 if v > 0.0 else 0
        v = -np.inf if v > 0.0 else v
        c = a + 3 if v > n else c
        n = max(n, v)
        nearest[t], closest[t], paying[t] = n, c, k


@njit(cache=True, nogil=True)
def tile_of(size: int, actions: int, width: int) -> Any:
    """Return room for a tile of so many subscribers.

    Returns:
        wide: [T] float64, weights.
        nearest: [T] float64, best surplus of the actions that do not pay; -inf: none is open.
        closest: [T] int64, the first of the best of them, or none.
        paying: [ceil(A / 64), T] int64, bit a % 64 of word a // 64 where action a has a surplus.
        bare: [T] bool, whether any part of an allowed bundle is allowed too.
        listed: [T] int64, who is to be looked at, by number in the tile.
        apart: [T] float64, the margin of each that is listed.
        bundles: [T, Q] int64, its best bundle.
        others: [T, Q] int64, its second best bundle.
    """
    return (
        np.empty(size), np.empty(size), np.empty(size, np.int64),
        np.empty((-(-actions // 64), size), np.int64), np.empty(size, np.bool_),
        np.empty(size, np.int64), np.empty(size),
        np.empty((size, width), np.int64), np.empty((size, width), np.int64),
    )  # fmt: skip


@njit(cache=True, nogil=True)
def look_through(
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, rules: Any, tables: Any,
    low: int, high: int, tile: Any,
) -> int:  # fmt: skip
    """Fill a tile and list those for whom the empty bundle is not at once the best.

    Args:
        propensity: [A, S] float32, and so on: as in :func:`kernels.choose.choose_cpu`.
        weight: [S] float32.
        group: [S] int32; runs of one scope group share their row of the tables.
        most: [S] uint8.
        fewest: [S] uint8.
        rules: the relations.
        tables: value and prices.
        low: first subscriber of the tile.
        high: the end of the tile.
        tile: from :func:`tile_of`.

    Returns:
        how many are listed.
    """
    actions, has_needs = propensity.shape[0], rules[7].shape[0] > 0
    wide, nearest, closest, paying, bare, listed = tile[:6]
    for t in range(high - low):
        wide[t], nearest[t], closest[t] = weight[low + t], -np.inf, NO_ACTION
        bare[t] = (fewest[low + t] <= 1) & (most[low + t] >= 1) & (not has_needs)
    for word in range(paying.shape[0]):
        for t in range(high - low):
            paying[word, t] = 0
    run = low
    while run < high:
        g, stop = group[run], run + 1
        while stop < high and group[stop] == g:
            stop += 1
        w, n = wide[run - low : stop - low], nearest[run - low : stop - low]
        c = closest[run - low : stop - low]
        for a in range(0, actions - 3, 4):
            x = (
                coefficients(tables, g, a), coefficients(tables, g, a + 1),
                coefficients(tables, g, a + 2), coefficients(tables, g, a + 3),
            )  # fmt: skip
            _four_actions(  # rows are cut out one by one, so that they are known to be contiguous
                propensity[a, run:stop], propensity[a + 1, run:stop],
                propensity[a + 2, run:stop], propensity[a + 3, run:stop], w, x,
                a, np.int64(1) << (a & 63), paying[a >> 6, run - low : stop - low], n, c,
            )  # fmt: skip
        for a in range(actions - actions % 4, actions):
            _one_action(
                propensity[a, run:stop], w, coefficients(tables, g, a), a,
                np.int64(1) << (a & 63), paying[a >> 6, run - low : stop - low], n, c,
            )  # fmt: skip
        run = stop
    count = 0
    for t in range(high - low):
        pays = paying[0, t]
        for word in range(1, paying.shape[0]):
            pays |= paying[word, t]
        listed[count] = t
        count += (pays != 0) | (not bare[t])
    return count
