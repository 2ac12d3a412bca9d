"""The loops of ``choose.py`` over subscribers, compiled by Numba, a tile of them at a time."""

from typing import Any

import numpy as np
from numba import njit

from kernels.bundle_rows import MUST as MUST
from kernels.bundle_rows import NO_ACTION as NO_ACTION
from kernels.bundle_rows import best_bundle, best_single, scratch

PROPENSITY_GRID = 1 << 24
WEIGHT_GRID = 1 << 10
TILE = 256  # subscribers whose surpluses are held in cache at a time


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
def _worst_tile(
    propensity: Any, group: Any, begin: int, end: int, spreads: Any, chosen: Any, kept: Any,
    out: Any,
) -> None:  # fmt: skip
    """Lower the chosen actions' surpluses in ``out`` by their spread and raise all others."""
    spread_fixed, spread_accept = spreads
    for i in range(chosen.shape[0]):
        for s in range(begin, end):
            if chosen[i, s] >= 0:
                kept[i, s - begin] = out[chosen[i, s], s - begin]
    run = begin
    while run < end:
        g, stop = group[run], run + 1
        while stop < end and group[stop] == g:
            stop += 1
        for a in range(propensity.shape[0]):
            fixed, accept = spread_fixed[g, a], spread_accept[g, a]
            for s in range(run, stop):
                out[a, s - begin] += fixed + accept * np.float64(propensity[a, s])
        run = stop
    for i in range(chosen.shape[0]):
        for s in range(begin, end):
            a = chosen[i, s]
            if a >= 0:
                spread = spread_fixed[group[s], a] + spread_accept[group[s], a] * np.float64(
                    propensity[a, s]
                )
                out[a, s - begin] = kept[i, s - begin] - spread


@njit(cache=True, nogil=True)
def choose_rows(
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, cap: Any, rules: Any,
    tables: Any, begin: int, end: int, chosen: Any, tally: Any, margin: Any,
) -> None:  # fmt: skip
    actions = propensity.shape[0]
    surplus = np.empty((actions, TILE), np.float64)
    room = scratch(actions, chosen.shape[0], cap.shape[0])
    best = np.empty(chosen.shape[0], np.int64)
    for low in range(begin, end, TILE):
        high = min(low + TILE, end)
        _surplus_tile(propensity, weight, group, low, high, tables, surplus)
        for s in range(low, high):
            for i in range(best.size):
                best[i] = NO_ACTION
            margin[s] = np.inf
            if most[s] > 1:
                margin[s] = best_bundle(
                    surplus, s - low, s, most[s], fewest[s], cap, rules, room, best
                )
            elif most[s] > 0:
                margin[s] = best_single(surplus, s - low, fewest[s], rules, best)
            for i in range(best.size):
                a = best[i]
                chosen[i, s] = a
                if a >= 0:
                    p = np.int64(np.float64(propensity[a, s]) * PROPENSITY_GRID)
                    units = np.int64(np.float64(weight[s]) * WEIGHT_GRID)
                    tally[0, group[s], a] += 1
                    tally[1, group[s], a] += p
                    tally[2, group[s], a] += units
                    tally[3, group[s], a] += units * p


@njit(cache=True, nogil=True)
def settled_rows(
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, cap: Any, rules: Any,
    tables: Any, spreads: Any, chosen: Any, begin: int, end: int, still: Any,
) -> None:  # fmt: skip
    actions = propensity.shape[0]
    surplus = np.empty((actions, TILE), np.float64)
    kept = np.empty((chosen.shape[0], TILE), np.float64)
    room = scratch(actions, chosen.shape[0], cap.shape[0])
    best = np.empty(chosen.shape[0], np.int64)
    for low in range(begin, end, TILE):
        high = min(low + TILE, end)
        _surplus_tile(propensity, weight, group, low, high, tables, surplus)
        _worst_tile(propensity, group, low, high, spreads, chosen, kept, surplus)
        for s in range(low, high):
            for i in range(best.size):
                best[i] = NO_ACTION
            if most[s] > 1:
                best_bundle(surplus, s - low, s, most[s], fewest[s], cap, rules, room, best)
            elif most[s] > 0:
                best_single(surplus, s - low, fewest[s], rules, best)
            same = True
            for i in range(best.size):
                found = False
                for j in range(best.size):
                    found |= chosen[j, s] == best[i]
                same &= found and (best[i] < 0) == (chosen[i, s] < 0)
            still[s] = same
