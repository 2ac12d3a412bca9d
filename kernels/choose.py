"""Pick each subscriber's best bundle at given prices: the Lagrangian subproblem.

A bundle is at most ``most`` actions, at most ``channel_most[c]`` on channel c and
``category_most[h]`` of category h, each offer on one channel. A pair's surplus is

    (w value_fixed[a] - price_fixed[g, a]) + (w value_accept[a] - price_accept[g, a]) p

in float64, never contracted; a bundle's is the sum of its own, best first. The search is exact.
Sums are 64-bit integers of grid units (p in 2**-24, w in 2**-10), so they do not depend on order.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from os import cpu_count
from typing import Any

import numba
import numpy as np

from kernels import backend

NO_ACTION = -1
MOST_ACTIONS, MOST_BUNDLE = 512, 8  # as in choose.cu
PROPENSITY_GRID = 1 << 24
WEIGHT_GRID = 1 << 10
TILE = 256  # subscribers whose surpluses are held in cache at a time
CHUNK = 16_384  # subscribers a thread takes at a time


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
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
@numba.njit(cache=True, nogil=True)
def _best_bundle(
    surplus: Any, t: int, s: int, most: int, caps: Any, kinds: Any, scratch: Any, best: Any
) -> None:
    order, ranked, follow, bundle, total = scratch
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


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
def _best_of(
    surplus: Any, t: int, s: int, most: int, caps: Any, kinds: Any, scratch: Any, best: Any
) -> None:
    for i in range(best.size):
        best[i] = NO_ACTION
    if most > 1:
        _best_bundle(surplus, t, s, most, caps, kinds, scratch, best)
    elif most > 0:
        best_surplus = 0.0
        for a in range(surplus.shape[0]):
            if surplus[a, t] > best_surplus:
                best_surplus = surplus[a, t]
                best[0] = a


@numba.njit(cache=True, nogil=True)
def _scratch(actions: int, width: int) -> Any:
    """Return room for one search: candidates, their surpluses, and the path through them."""
    return (
        np.empty(actions, np.int64), np.empty(actions, np.float64), np.empty(width + 1, np.int64),
        np.empty(width + 1, np.int64), np.empty(width + 1, np.float64),
    )  # fmt: skip


@numba.njit(cache=True, nogil=True)
def _choose_rows(
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
            _best_of(surplus, s - low, s, most[s], caps, kinds, scratch, best)
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


@numba.njit(cache=True, nogil=True)
def _settled_rows(
    propensity: Any, weight: Any, group: Any, most: Any, caps: Any, kinds: Any, tables: Any,
    spread_fixed: Any, spread_accept: Any, chosen: Any, begin: int, end: int, still: Any,
) -> None:  # fmt: skip
    actions = propensity.shape[0]
    surplus = np.empty((actions, TILE), np.float64)
    scratch = _scratch(actions, chosen.shape[0])
    best = np.empty(chosen.shape[0], np.int64)
    for low in range(begin, end, TILE):
        high = min(low + TILE, end)
        _surplus_tile(propensity, weight, group, low, high, tables, surplus)
        for s in range(low, high):
            for a in range(actions):
                p = np.float64(propensity[a, s])
                spread = spread_fixed[group[s], a] + spread_accept[group[s], a] * p
                for i in range(best.size):
                    if chosen[i, s] == a:
                        spread = -spread
                surplus[a, s - low] += spread
            _best_of(surplus, s - low, s, most[s], caps, kinds, scratch, best)
            same = True
            for i in range(best.size):
                found = False
                for j in range(best.size):
                    found |= chosen[j, s] == best[i]
                same &= found and (best[i] < 0) == (chosen[i, s] < 0)
            still[s] = same


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cpu_count())


def _each_chunk(rows: int, work: Any) -> list[Any]:
    return list(
        _threads().map(lambda low: work(low, min(low + CHUNK, rows)), range(0, rows, CHUNK))
    )


def choose_cpu(
    propensity: Any, weight: Any, group: Any, most: Any, channel_most: Any, category_most: Any,
    offer: Any, channel: Any, category: Any, value_fixed: Any, value_accept: Any,
    price_fixed: Any, price_accept: Any, width: int,
) -> tuple[Any, Any]:  # fmt: skip
    """Return each subscriber's best bundle at the prices, and what all bundles add up to.

    Of equal bundles the first in the order of the search wins: actions best first, ties by lowest
    index, bundles depth first. Both backends return the same bits.

    Args:
        propensity: [A, S] float32 in [0, 1], a multiple of 2**-24; NaN where the action is not
            open. An open action is allowed on its own (its caps are at least 1).
        weight: [S] float32 in [0, 1000], a multiple of 2**-10, weight of the subscriber's value.
        group: [S] int32, scope group in [0, G); fastest when equal groups are neighbours.
        most: [S] uint8, actions at most.
        channel_most: [C, S] uint8, actions on a channel at most.
        category_most: [H, S] uint8, actions of a category at most.
        offer: [A] int32, offer of an action.
        channel: [A] int32, channel of an action, in [0, C).
        category: [A] int32, category of an action, in [0, H).
        value_fixed: [A] float64, money per contact.
        value_accept: [A] float64, money per acceptance.
        price_fixed: [G, A] float64, money to pay per contact at the prices.
        price_accept: [G, A] float64, money to pay per acceptance at the prices.
        width: Q, the largest ``most``, at least 1 and at most 8.

    Returns:
        chosen: [Q, S] int16, the actions of the bundle, then ``NO_ACTION``.
        tally: [4, G, A] int64, of the chosen pairs by group and action: contacts, sum of p
            (units 2**-24), sum of w (2**-10), sum of w p (2**-34).

    Source:
        Fisher, "The Lagrangian Relaxation Method for Solving Integer Programming Problems",
        Management Science 27(1), 1981.
    """
    subscribers = propensity.shape[1]
    chosen = np.empty((width, subscribers), np.int16)
    rows = backend.read_only(propensity, weight, group, most)
    caps = backend.read_only(channel_most, category_most)
    kinds = backend.read_only(offer, channel, category)
    tables = backend.read_only(value_fixed, value_accept, price_fixed, price_accept)

    def work(begin: int, end: int) -> Any:
        tally = np.zeros((4, *price_fixed.shape), np.int64)
        _choose_rows(*rows, caps, kinds, tables, begin, end, chosen, tally)
        return tally

    tally = np.zeros((4, *price_fixed.shape), np.int64)
    for part in _each_chunk(subscribers, work):
        tally += part
    return chosen, tally


def choose_gpu(
    propensity: Any, weight: Any, group: Any, most: Any, channel_most: Any, category_most: Any,
    offer: Any, channel: Any, category: Any, value_fixed: Any, value_accept: Any,
    price_fixed: Any, price_accept: Any, width: int,
) -> tuple[Any, Any]:  # fmt: skip
    actions, subscribers = propensity.shape
    chosen = backend.cupy.empty((width, subscribers), np.int16)
    tally = backend.cupy.zeros((4, *price_fixed.shape), np.int64)
    backend.launch(
        backend.cuda_function("choose", "choose"), subscribers, propensity, weight, group, most,
        channel_most, category_most, offer, channel, category, value_fixed, value_accept,
        price_fixed, price_accept, np.int64(subscribers), np.int32(actions),
        np.int64(price_fixed.shape[0]), np.int32(width), chosen, tally,
    )  # fmt: skip
    return chosen, tally


def settled_cpu(
    propensity: Any, weight: Any, group: Any, most: Any, channel_most: Any, category_most: Any,
    offer: Any, channel: Any, category: Any, value_fixed: Any, value_accept: Any,
    price_fixed: Any, price_accept: Any, spread_fixed: Any, spread_accept: Any, chosen: Any,
) -> Any:  # fmt: skip
    """Return which subscribers keep their bundle wherever prices move within the spread.

    Holds the chosen actions at their lowest surplus and all others at their highest. If the same
    bundle still wins, it wins for every price at which no pair's surplus moves by more than
    ``spread_fixed[g, a] + spread_accept[g, a] p``.

    Args:
        propensity: as in :func:`choose_cpu`.
        weight: as in :func:`choose_cpu`.
        group: as in :func:`choose_cpu`.
        most: as in :func:`choose_cpu`.
        channel_most: as in :func:`choose_cpu`.
        category_most: as in :func:`choose_cpu`.
        offer: as in :func:`choose_cpu`.
        channel: as in :func:`choose_cpu`.
        category: as in :func:`choose_cpu`.
        value_fixed: as in :func:`choose_cpu`.
        value_accept: as in :func:`choose_cpu`.
        price_fixed: as in :func:`choose_cpu`.
        price_accept: as in :func:`choose_cpu`.
        spread_fixed: [G, A] float64, money, >= 0.
        spread_accept: [G, A] float64, money, >= 0.
        chosen: [Q, S] int16, the bundles at the prices, from :func:`choose_cpu`.

    Returns:
        still: [S] uint8, 1 where the bundle is settled.
    """
    still = np.empty(propensity.shape[1], np.uint8)
    rows = backend.read_only(propensity, weight, group, most)
    caps = backend.read_only(channel_most, category_most)
    kinds = backend.read_only(offer, channel, category)
    tables = backend.read_only(value_fixed, value_accept, price_fixed, price_accept)
    held = backend.read_only(spread_fixed, spread_accept, chosen)
    _each_chunk(
        propensity.shape[1],
        lambda begin, end: _settled_rows(*rows, caps, kinds, tables, *held, begin, end, still),
    )
    return still


def settled_gpu(
    propensity: Any, weight: Any, group: Any, most: Any, channel_most: Any, category_most: Any,
    offer: Any, channel: Any, category: Any, value_fixed: Any, value_accept: Any,
    price_fixed: Any, price_accept: Any, spread_fixed: Any, spread_accept: Any, chosen: Any,
) -> Any:  # fmt: skip
    actions, subscribers = propensity.shape
    still = backend.cupy.empty(subscribers, np.uint8)
    backend.launch(
        backend.cuda_function("choose", "settled"), subscribers, propensity, weight, group, most,
        channel_most, category_most, offer, channel, category, value_fixed, value_accept,
        price_fixed, price_accept, spread_fixed, spread_accept, chosen, np.int64(subscribers),
        np.int32(actions), np.int32(chosen.shape[0]), still,
    )  # fmt: skip
    return still


_SUBSCRIBER_SIDE = ("float32", "float32", "int32", "uint8", "uint8", "uint8")
_ACTION_SIDE = ("int32", "int32", "int32", "float64", "float64", "float64", "float64")

choose: Any = backend.twin(choose_cpu, choose_gpu, dtypes=_SUBSCRIBER_SIDE + _ACTION_SIDE)
settled: Any = backend.twin(
    settled_cpu,
    settled_gpu,
    dtypes=(*_SUBSCRIBER_SIDE, *_ACTION_SIDE, "float64", "float64", "int16"),
)
