"""The best bundle of each subscriber of a plain problem, exactly.

Written apart from the kernels that the solver runs on: benchmarks judge the solver by it. A depth
first search over a subscriber's pairs of positive surplus, best first, cut where even the best
pairs left, each of which fits by itself and all of which keep the channels' caps, add up to less.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numba import njit

from benchmarks.plain import Plain
from benchmarks.process import cores

CHUNK = 1 << 14  # subscribers that a thread takes at a time
MOST = 8  # pairs of a bundle at most: the search is exact, so it must stay small


@njit(cache=True, nogil=True)
def pair_surplus(value: Any, uses: Any, price: Any, begin: int, end: int, out: Any) -> None:
    """Write value less priced use of the pairs in a range: uses in the order listed."""
    pointer, row, amount = uses
    for n in range(begin, end):
        total = value[n]
        for m in range(pointer[n], pointer[n + 1]):
            total -= price[row[m]] * amount[m]
        out[n] = total


@njit(cache=True, nogil=True)
def scratch(pairs: int) -> Any:
    """Return room for one search over so many pairs of a subscriber."""
    return (
        np.empty(pairs, np.int64), np.empty(MOST + 1, np.int64), np.empty(MOST + 1, np.int64),
        np.empty(MOST + 1, np.float64), np.empty(MOST + 1, np.int64), np.empty(MOST, np.int64),
    )  # fmt: skip


@njit(cache=True, nogil=True)
def has_room(n: int, sign: int, uses: Any, room: Any, is_kept: Any) -> bool:
    """Whether the limits that are kept have room for a pair."""
    pointer, row, amount = uses
    for m in range(pointer[n], pointer[n + 1]):
        if is_kept[row[m]] and sign * amount[m] > room[row[m]]:
            return False
    return True


@njit(cache=True, nogil=True)
def occupy(n: int, sign: int, uses: Any, room: Any) -> None:
    """Take a pair's use off the room, or with sign -1 give it back."""
    pointer, row, amount = uses
    for m in range(pointer[n], pointer[n + 1]):
        room[row[m]] -= sign * amount[m]


@njit(cache=True, nogil=True)
def _joins(n: int, s: int, bundle: Any, size: int, arrays: Any) -> bool:
    _, action, _, category, category_most, channel, channel_most, offer = arrays
    a = action[n]
    in_category = in_channel = 0
    for i in range(size):
        b = action[bundle[i]]
        if offer[b] == offer[a]:
            return False
        in_category += category[b] == category[a]
        in_channel += channel[b] == channel[a]
    return in_category < category_most[category[a], s] and in_channel < channel_most[channel[a], s]


@njit(cache=True, nogil=True)
def _reach(
    total: float, s: int, size: int, first: int, count: int, surplus: Any, arrays: Any, work: Any
) -> float:
    """Return what no bundle that continues this one from candidate ``first`` exceeds."""
    order, bundle, _, _, picked, _ = work
    action, most, channel, channel_most = arrays[1], arrays[2][s], arrays[5], arrays[6]
    picks = 0
    for j in range(first, count):
        if size + picks >= most:
            break
        n = order[j]
        if not _joins(n, s, bundle, size, arrays):
            continue
        c = channel[action[n]]
        taken = 0
        for i in range(size):
            taken += channel[action[bundle[i]]] == c
        for i in range(picks):
            taken += channel[action[picked[i]]] == c
        if taken < channel_most[c, s]:
            picked[picks] = n
            picks += 1
            total += surplus[n]
    return total


@njit(cache=True, nogil=True)
def _candidates(
    s: int, surplus: Any, arrays: Any, uses: Any, room: Any, is_kept: Any, order: Any
) -> int:
    """List the subscriber's pairs of positive surplus, best first, ties in their order."""
    indptr = arrays[0]
    count = 0
    for n in range(indptr[s], indptr[s + 1]):
        if not surplus[n] > 0.0 or not _joins(n, s, order, 0, arrays):
            continue
        if room.size and not has_room(n, 1, uses, room, is_kept):
            continue
        place = count
        while place > 0 and surplus[order[place - 1]] < surplus[n]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = n
        count += 1
    return count


@njit(cache=True, nogil=True)
def _undominated(count: int, most: int, order: Any, arrays: Any) -> int:
    """Drop a candidate when so many better ones of other offers could take its place."""
    _, action, _, category, _, channel, _, offer = arrays
    kept = 0
    for i in range(count):
        a = action[order[i]]
        better = 0
        for j in range(kept):
            b = action[order[j]]
            if category[b] == category[a] and channel[b] == channel[a]:
                better = most if offer[b] == offer[a] else better + 1
        if better < most:
            order[kept] = order[i]
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def best_bundle(
    s: int, surplus: Any, arrays: Any, uses: Any, room: Any, is_kept: Any, work: Any
) -> tuple[int, float]:
    """Find a subscriber's best bundle; its pairs are left in the last array of ``work``.

    Args:
        s: the subscriber.
        surplus: [N] float64.
        arrays: the subscribers' side of a problem.
        uses: the limits' side, whole numbers.
        room: [K] int64 what is left of each limit, or empty: no limit counts.
        is_kept: [K] bool, limits whose room counts.
        work: from :func:`scratch`.

    Returns:
        size and surplus of the bundle.
    """
    order, bundle, follow, total, _, best = work
    most = int(arrays[2][s])
    if most == 0:
        return 0, 0.0
    count = _candidates(s, surplus, arrays, uses, room, is_kept, order)
    if room.size == 0:
        count = _undominated(count, most, order, arrays)
    best_size, best_total, depth = 0, 0.0, 0
    follow[0], total[0] = 0, 0.0
    while depth >= 0:
        i = follow[depth]
        is_open = depth < most and i < count
        if is_open:
            reach = _reach(total[depth], s, depth, i, count, surplus, arrays, work)
            is_open = reach > best_total
        if not is_open:
            depth -= 1
            if depth >= 0 and room.size:
                occupy(bundle[depth], -1, uses, room)
            continue
        follow[depth] = i + 1
        n = order[i]
        if not _joins(n, s, bundle, depth, arrays):
            continue
        if room.size:
            if not has_room(n, 1, uses, room, is_kept):
                continue
            occupy(n, 1, uses, room)
        bundle[depth] = n
        depth += 1
        total[depth] = total[depth - 1] + surplus[n]
        follow[depth] = i + 1
        if total[depth] > best_total:
            best_total, best_size = total[depth], depth
            for d in range(depth):
                best[d] = bundle[d]
    return best_size, best_total


@njit(cache=True, nogil=True)
def _best_of_range(
    begin: int, end: int, surplus: Any, arrays: Any, uses: Any, chosen: Any, best: Any
) -> None:
    indptr = arrays[0]
    longest = 1
    for s in range(begin, end):
        longest = max(longest, indptr[s + 1] - indptr[s])
    work = scratch(longest)
    room, is_kept = np.empty(0, np.int64), np.empty(0, np.bool_)
    for s in range(begin, end):
        size, best[s] = best_bundle(s, surplus, arrays, uses, room, is_kept, work)
        for d in range(size):
            chosen[work[5][d]] = True


def best_bundles(plain: Plain, price: Any) -> tuple[Any, Any]:
    """Return each subscriber's best bundle at some prices.

    Args:
        plain: the problem.
        price: [K] float64, units of value for one unit of use.

    Returns:
        chosen: [N] bool.
        best: [S] float64 surplus of the bundles, units of value.

    Raises:
        ValueError: a subscriber may have so many pairs that the search could be long.
    """
    if plain.subscribers and plain.most.max() > MOST:
        raise ValueError(f"most: {plain.most.max()} pairs of a subscriber; at most {MOST} here")
    surplus, chosen = np.empty(plain.pairs), np.zeros(plain.pairs, bool)
    best = np.zeros(plain.subscribers)
    no_uses = plain.use_indptr, plain.use_row, np.empty(0, np.int64)

    def work(begin: int) -> None:
        end = min(begin + CHUNK, plain.subscribers)
        pairs = int(plain.indptr[begin]), int(plain.indptr[end])
        pair_surplus(plain.value, plain.uses, price, *pairs, surplus)
        _best_of_range(begin, end, surplus, plain.arrays, no_uses, chosen, best)

    with ThreadPoolExecutor(cores()) as threads:
        list(threads.map(work, range(0, plain.subscribers, CHUNK)))
    return chosen, best
