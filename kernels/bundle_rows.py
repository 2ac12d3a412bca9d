"""The exact search for one subscriber's best bundle, compiled by Numba."""

from typing import Any

import numpy as np
from numba import njit

NO_ACTION = -1


@njit(cache=True, nogil=True)
def fits(bundle: Any, count: int, a: int, s: int, caps: Any, kinds: Any) -> bool:
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
    """Sort the positive surpluses, best first, and drop those never in the two best bundles.

    In a bundle of at most ``most`` actions, each of the others rules out one better action of the
    same channel and category (by its offer): of ``most + 1`` better ones, two can take its place.
    """
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
        if better <= most:
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
        if not fits(bundle, depth, a, s, caps, kinds):
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
def best_bundle(
    surplus: Any, t: int, s: int, most: int, caps: Any, kinds: Any, room: Any, best: Any,
    other: Any,
) -> float:  # fmt: skip
    """Fill in the best bundle and the second best, and return how much better the best is.

    The second best may be the best with an action of no positive surplus added. It may only be
    missing (the margin is then infinite) where nothing is allowed.
    """
    order, ranked, follow, bundle, total, picked = room
    for i in range(best.size):
        best[i] = other[i] = NO_ACTION
    if most == 0:
        return np.inf
    count = _candidates(surplus, t, most, kinds, order, ranked)
    best_total, other_total = 0.0, -np.inf
    depth = 0
    follow[0], total[0] = 0, 0.0
    while depth >= 0:
        i = follow[depth]
        is_open = depth < most and i < count
        if is_open:
            reach = total[depth]
            for _ in range(depth, most):
                reach += ranked[i]
            is_open = reach > other_total  # the cheaper bound first
            if is_open:
                reach = _reach(
                    total[depth], bundle, depth, i, most, s, count, caps, kinds, order, ranked,
                    picked,
                )  # fmt: skip
                is_open = reach > other_total
        if not is_open:
            depth -= 1
            continue
        follow[depth] = i + 1
        if not fits(bundle, depth, order[i], s, caps, kinds):
            continue
        bundle[depth] = order[i]
        reached = total[depth] + ranked[i]
        if reached > best_total:
            other_total = best_total
            for d in range(best.size):
                other[d] = best[d]
            best_total = reached
            for d in range(best.size):
                best[d] = bundle[d] if d <= depth else NO_ACTION
        elif reached > other_total:
            other_total = reached
            for d in range(best.size):
                other[d] = bundle[d] if d <= depth else NO_ACTION
        depth += 1
        follow[depth] = i + 1
        total[depth] = reached
    size = 0
    while size < best.size and best[size] >= 0:
        size += 1
    for a in range(surplus.shape[0] if size < most else 0):
        value = surplus[a, t]
        if (
            value <= 0.0
            and best_total + value > other_total
            and fits(best, size, a, s, caps, kinds)
        ):
            other_total = best_total + value
            for d in range(best.size):
                other[d] = best[d] if d < size else NO_ACTION
            other[size] = a
    return best_total - other_total


@njit(cache=True, nogil=True)
def scratch(actions: int, width: int) -> Any:
    """Return room for one search: candidates, their surpluses, and the path through them."""
    return (
        np.empty(actions, np.int64), np.empty(actions, np.float64), np.empty(width + 1, np.int64),
        np.empty(width + 1, np.int64), np.empty(width + 1, np.float64),
        np.empty(width + 1, np.int64),
    )  # fmt: skip
