"""The loops of ``choose_pairs.py`` over subscribers, compiled by Numba.

``lists`` are the subscribers' arguments of :func:`kernels.choose_pairs.choose_pairs_cpu` in its
order, ``kinds`` those of actions, ``prices`` are worth and price.
"""

from typing import Any

import numpy as np
from numba import njit

NO_PAIR = -1


@njit(cache=True, nogil=True)
def surplus_of(n: int, lists: Any, worth: float, price: Any) -> float:
    """Return the surplus of pair ``n`` at the prices, uses added in their order."""
    value, use_first, use_row, use_amount = lists[3], lists[4], lists[5], lists[6]
    paid = 0.0
    for e in range(use_first[n], use_first[n + 1]):
        paid += price[use_row[e]] * np.float64(use_amount[e])
    return np.float64(value[n]) * worth - paid


@njit(cache=True, nogil=True)
def joins(bundle: Any, count: int, a: int, s: int, caps: Any, kinds: Any) -> bool:
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
def _best_bundle(
    s: int, most: int, lists: Any, kinds: Any, worth: float, price: Any, room: Any, best: Any,
    other: Any,
) -> float:  # fmt: skip
    """Fill in the best bundle of pairs and the second best, and return how much better it is.

    Depth first over the pairs of positive surplus, best first; a branch ends when it cannot beat
    the second best. The second best may also be the best with another pair added.
    """
    action, caps = lists[2], (lists[9], lists[10])
    order, ranked, held, follow, total = room
    low, high = lists[1][s], lists[1][s + 1]
    count = 0
    for n in range(low, high):
        v = surplus_of(n, lists, worth, price)
        if not v > 0.0:
            continue
        place = count
        while place > 0 and ranked[place - 1] < v:
            ranked[place], order[place] = ranked[place - 1], order[place - 1]
            place -= 1
        ranked[place], order[place] = v, n
        count += 1
    best_total, other_total = 0.0, -np.inf
    depth = 0
    follow[0], total[0] = 0, 0.0
    while depth >= 0:
        i = follow[depth]
        is_open = depth < most and i < count
        if is_open:
            highest = total[depth]
            for j in range(i, min(i + most - depth, count)):
                highest += ranked[j]
            is_open = highest > other_total
        if not is_open:
            depth -= 1
            continue
        follow[depth] = i + 1
        if not joins(held, depth, action[order[i]], s, caps, kinds):
            continue
        held[depth] = action[order[i]]
        reached = total[depth] + ranked[i]
        if reached > best_total:
            other_total = best_total
            for d in range(best.size):
                other[d] = best[d]
            best_total = reached
            for d in range(best.size):
                best[d] = order[follow[d] - 1] if d <= depth else NO_PAIR
        elif reached > other_total:
            other_total = reached
            for d in range(best.size):
                other[d] = order[follow[d] - 1] if d <= depth else NO_PAIR
        depth += 1
        follow[depth], total[depth] = i + 1, reached
    size = 0
    while size < best.size and best[size] >= 0:
        held[size] = action[best[size]]
        size += 1
    for n in range(low, high if size < most else low):
        v = surplus_of(n, lists, worth, price)
        if (
            v <= 0.0
            and best_total + v > other_total
            and joins(held, size, action[n], s, caps, kinds)
        ):
            other_total = best_total + v
            for d in range(best.size):
                other[d] = best[d] if d < size else NO_PAIR
            other[size] = n
    return float(best_total - other_total)


@njit(cache=True, nogil=True)
def _two_best(
    s: int, lists: Any, kinds: Any, worth: float, price: Any, room: Any, best: Any, other: Any
) -> float:
    """Fill in the best pairs and the second best, and return how much better the best are."""
    most, fewest = lists[7][s], lists[8][s]
    for i in range(best.size):
        best[i] = other[i] = NO_PAIR
    if most == 0:
        return np.inf
    if most > 1:
        return float(_best_bundle(s, most, lists, kinds, worth, price, room, best, other))
    b, c = -np.inf if fewest else 0.0, -np.inf
    first = second = NO_PAIR
    for n in range(lists[1][s], lists[1][s + 1]):
        v = surplus_of(n, lists, worth, price)
        if v > b:
            c, second = b, first
            b, first = v, n
        elif v > c:
            c, second = v, n
    best[0], other[0] = first, second
    return float(b - c) if c > -np.inf else float(np.inf)


@njit(cache=True, nogil=True)
def _scratch(lists: Any, begin: int, end: int, width: int) -> Any:
    """Return room for the search of one subscriber of these."""
    longest = 0
    for s in range(begin, end if width > 1 else begin):
        longest = max(longest, lists[1][s + 1] - lists[1][s])
    return (
        np.empty(longest, np.int64), np.empty(longest), np.empty(width + 1, np.int64),
        np.empty(width + 1, np.int64), np.empty(width + 1),
    )  # fmt: skip


@njit(cache=True, nogil=True)
def _count(n: int, lists: Any, total: Any) -> None:
    total[0] += lists[3][n]
    for e in range(lists[4][n], lists[4][n + 1]):
        total[1 + lists[5][e]] += lists[6][e]


@njit(cache=True, nogil=True)
def choose_pair_rows(
    lists: Any, kinds: Any, worth: float, price: Any, begin: int, end: int, chosen: Any,
    margin: Any, total: Any,
) -> None:  # fmt: skip
    key, action, classes = lists[0], lists[2], total.shape[0]
    width = chosen.shape[0]
    room = _scratch(lists, begin, end, width)
    best, other = np.empty(width, np.int64), np.empty(width, np.int64)
    for s in range(begin, end):
        margin[s] = _two_best(s, lists, kinds, worth, price, room, best, other)
        mine = total[key[s] % classes]
        for i in range(width):
            n = best[i]
            chosen[i, s] = NO_PAIR if n < 0 else action[n]
            if n >= 0:
                _count(n, lists, mine)


@njit(cache=True, nogil=True)
def _difference(
    best: Any, other: Any, lists: Any, step: Any, change: Any, moved: Any, is_moved: Any
) -> int:
    """List the constraints that a switch from one bundle to another moves, and by how much."""
    count = 0
    for side in range(2):
        bundle, sign = (best, 1.0) if side == 0 else (other, -1.0)
        for i in range(bundle.size):
            n = bundle[i]
            if n < 0:
                continue
            for e in range(lists[4][n], lists[4][n + 1]):
                k = lists[5][e]
                more = sign * (np.float64(lists[6][e]) * step[k])
                if is_moved[k]:
                    change[k] += more
                else:
                    is_moved[k], change[k], moved[count] = True, more, k
                    count += 1
    return count


@njit(cache=True, nogil=True)
def curve_pair_rows(
    lists: Any, kinds: Any, worth: float, price: Any, step: Any, bandwidth: float, unit: float,
    begin: int, end: int, width: int, total: Any, curvature: Any, near: Any,
) -> None:  # fmt: skip
    key, classes = lists[0], total.shape[0]
    room = _scratch(lists, begin, end, width)
    best, other = np.empty(width, np.int64), np.empty(width, np.int64)
    change, moved = np.empty(step.size), np.empty(step.size, np.int64)
    is_moved = np.zeros(step.size, np.bool_)
    for s in range(begin, end):
        margin = _two_best(s, lists, kinds, worth, price, room, best, other)
        mine = total[key[s] % classes]
        for i in range(width):
            if best[i] >= 0:
                _count(best[i], lists, mine)
        if not margin < bandwidth:
            continue
        near[0] += 1
        count = _difference(best, other, lists, step, change, moved, is_moved)
        for i in range(count):
            k = moved[i]
            is_moved[k] = False
            for j in range(i + 1):
                square = np.int64(np.rint(change[k] * change[moved[j]] * unit))
                curvature[max(k, moved[j]), min(k, moved[j])] += square
