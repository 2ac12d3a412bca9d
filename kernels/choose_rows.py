"""The loops of ``choose.py`` over subscribers, compiled by Numba, a tile of them at a time."""

from typing import Any

import numpy as np
from numba import njit

NO_ACTION = -1
PROPENSITY_GRID = 1 << 24
WEIGHT_GRID = 1 << 10
TILE = 256  # subscribers whose surpluses are held in cache at a time


@njit(cache=True, nogil=True)
def _fits(bundle: Any, count: int, a: int, s: int, caps: Any, kinds: Any) -> bool:
    """May action ``a`` join the first ``count`` actions of ``bundle``?"""
    channel_most, category_most = caps
    offer, channel, category = kinds
    in_channel = in_category = 0
    for i in range(count):
        b = bundle[i]
        if offer[b] == offer[a]:
            return False
        in_channel += channel[b] == channel[a]
        in_category += category[b] == category[a]
    return bool(
        in_channel < channel_most[channel[a], s] and in_category < category_most[category[a], s]
    )


@njit(cache=True, nogil=True)
def _candidates(surplus: Any, t: int, most: int, kinds: Any, order: Any, ranked: Any) -> int:
    """Sort the positive surpluses, best first, and drop those that ``most`` better dominate."""
    _, channel, category = kinds
    count = 0
    for a in range(surplus.shape[0]):
        value = surplus[a, t]
        if not value > 0.0:
            continue
        place = count
        while place > 0 and ranked[place - 1] < value:
            ranked[place] = ranked[place - 1]
            order[place] = order[place - 1]
            place -= 1
        ranked[place] = value
        order[place] = a
        count += 1
    kept = 0
    for i in range(count):
        better = 0
        for j in range(kept):
            if channel[order[j]] == channel[order[i]] and category[order[j]] == category[order[i]]:
                better += 1
        if better < most:
            order[kept] = order[i]
            ranked[kept] = ranked[i]
            kept += 1
    return kept


# Elements are copied in loops: Numba takes eight seconds to compile an assignment to a slice.
@njit(cache=True, nogil=True)
def _reach(
    total: float, bundle: Any, depth: int, first: int, most: int, s: int, count: int, caps: Any,
    kinds: Any, order: Any, ranked: Any, picked: Any,
) -> float:  # fmt: skip
    """Return what no bundle with this beginning exceeds.

    Of the candidates from ``first`` on that may join the beginning, the best are taken while their
    channel has room. Offers and categories of the rest are ignored: without them the best first is
    the best, pick by pick, so the rounded sum is not below that of any bundle.
    """
    channel = kinds[1]
    picks = depth
    for j in range(first, count):
        if picks == most:
            break
        a = order[j]
        if not _fits(bundle, depth, a, s, caps, kinds):
            continue
        in_channel = 0
        for i in range(depth):
            in_channel += channel[bundle[i]] == channel[a]
        for i in range(depth, picks):
            in_channel += channel[picked[i]] == channel[a]
        if in_channel < caps[0][channel[a], s]:
            picked[picks] = a
            picks += 1
            total += ranked[j]
    return total


@njit(cache=True, nogil=True)
def _best_bundle(
    surplus: Any, t: int, s: int, most: int, caps: Any, kinds: Any, scratch: Any, best: Any
) -> None:
    order, ranked, follow, bundle, total, picked = scratch
    count = _candidates(surplus, t, most, kinds, order, ranked)
    best_total = 0.0
    depth = 0
    follow[0], total[0] = 0, 0.0
    while depth >= 0:
        i = follow[depth]
        is_open = depth < most and i < count
        if is_open:
            reach = total[depth]
            for _ in range(depth, most):
                reach += ranked[i]
            is_open = reach > best_total  # the cheaper bound first
            if is_open:
                reach = _reach(
                    total[depth], bundle, depth, i, most, s, count, caps, kinds, order, ranked,
                    picked,
                )  # fmt: skip
                is_open = reach > best_total
        if not is_open:
            depth -= 1
            continue
        follow[depth] = i + 1
        if not _fits(bundle, depth, order[i], s, caps, kinds):
            continue
        bundle[depth] = order[i]
        reached = total[depth] + ranked[i]
        if reached > best_total:
            best_total = reached
            for d in range(best.size):
                best[d] = bundle[d] if d <= depth else NO_ACTION
        depth += 1
        follow[depth] = i + 1
        total[depth] = reached


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
def _best_single(surplus: Any, t: int) -> int:
    """Return the first action of highest surplus, or none."""
    best, best_surplus = NO_ACTION, 0.0
    for a in range(surplus.shape[0]):
        if surplus[a, t] > best_surplus:
            best, best_surplus = a, surplus[a, t]
    return best


@njit(cache=True, nogil=True)
def _scratch(actions: int, width: int) -> Any:
    """Return room for one search: candidates, their surpluses, and the path through them."""
    return (
        np.empty(actions, np.int64), np.empty(actions, np.float64), np.empty(width + 1, np.int64),
        np.empty(width + 1, np.int64), np.empty(width + 1, np.float64),
        np.empty(width + 1, np.int64),
    )  # fmt: skip


@njit(cache=True, nogil=True)
def choose_rows(
    propensity: Any, weight: Any, group: Any, most: Any, caps: Any, kinds: Any, tables: Any,
    begin: int, end: int, chosen: Any, tally: Any,
) -> None:  # fmt: skip
    actions = propensity.shape[0]
    surplus = np.empty((actions, TILE), np.float64)
    scratch = _scratch(actions, chosen.shape[0])
    best = np.empty(chosen.shape[0], np.int64)
    for low in range(begin, end, TILE):
        high = min(low + TILE, end)
        _surplus_tile(propensity, weight, group, low, high, tables, surplus)
        for s in range(low, high):
            for i in range(best.size):
                best[i] = NO_ACTION
            if most[s] > 1:
                _best_bundle(surplus, s - low, s, most[s], caps, kinds, scratch, best)
            elif most[s] > 0:
                best[0] = _best_single(surplus, s - low)
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
    propensity: Any, weight: Any, group: Any, most: Any, caps: Any, kinds: Any, tables: Any,
    spreads: Any, chosen: Any, begin: int, end: int, still: Any,
) -> None:  # fmt: skip
    actions = propensity.shape[0]
    surplus = np.empty((actions, TILE), np.float64)
    kept = np.empty((chosen.shape[0], TILE), np.float64)
    scratch = _scratch(actions, chosen.shape[0])
    best = np.empty(chosen.shape[0], np.int64)
    for low in range(begin, end, TILE):
        high = min(low + TILE, end)
        _surplus_tile(propensity, weight, group, low, high, tables, surplus)
        _worst_tile(propensity, group, low, high, spreads, chosen, kept, surplus)
        for s in range(low, high):
            for i in range(best.size):
                best[i] = NO_ACTION
            if most[s] > 1:
                _best_bundle(surplus, s - low, s, most[s], caps, kinds, scratch, best)
            elif most[s] > 0:
                best[0] = _best_single(surplus, s - low)
            same = True
            for i in range(best.size):
                found = False
                for j in range(best.size):
                    found |= chosen[j, s] == best[i]
                same &= found and (best[i] < 0) == (chosen[i, s] < 0)
            still[s] = same
