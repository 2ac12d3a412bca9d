"""The best bundles of those subscribers of a tile who need a search, compiled by Numba.

The actions that pay are ranked and searched. An action that does not pay only lowers a bundle's
surplus where any part of a bundle is allowed too; then it matters for the second best bundle alone.
"""

from typing import Any

import numpy as np
from numba import njit

from kernels.bundle_rows import NO_ACTION, REST, best_single, joins, surplus_at
from kernels.bundle_search import rank, search

# Of a de Bruijn number's product with 2**n the six highest bits are another place for every n.
LOWEST_BIT = 0x03F79D71B4CB0A89
PLACES = np.empty(64, np.int64)
for _n in range(64):
    PLACES[((LOWEST_BIT << _n) % 2**64) >> 58] = _n


@njit(cache=True, nogil=True)
def ranked_paying(
    s: int, t: int, w: float, g: int, propensity: Any, paying: Any, value_fixed: Any,
    value_accept: Any, price_fixed: Any, price_accept: Any, order: Any, ranked: Any,
) -> int:  # fmt: skip
    """Rank the actions that pay; return how many."""
    count = 0
    for word in range(paying.shape[0]):
        bits = paying[word, t]
        while bits != 0:
            lowest = bits & -bits
            bits ^= lowest
            a = 64 * word + PLACES[((lowest * LOWEST_BIT) >> 58) & 63]
            v = surplus_at(
                w, g, propensity[a, s], a, value_fixed, value_accept, price_fixed, price_accept
            )
            rank(a, v, count, order, ranked)
            count += 1
    return count


@njit(cache=True, nogil=True)
def may_join(
    best: Any, size: int, a: int, s: int, cap: Any, members: Any, contact: Any, cap_indptr: Any,
    cap_group: Any, per_contact: Any, conflicts: Any,
) -> bool:  # fmt: skip
    """May action ``a`` join the ``size`` actions of a bundle?"""
    for i in range(size):
        if conflicts[a, best[i] >> 6] >> (best[i] & 63) & 1:
            return False
    for k in range(cap_indptr[a], cap_indptr[a + 1]):
        d = cap_group[k]
        whole = per_contact[d]
        left = np.int64(cap[d, s])
        for i in range(size):
            b = best[i]
            if members[d, b >> 6] >> (b & 63) & 1 and not (whole and joins(best, i, b, contact)):
                left -= 1
        if left <= 0 and not (whole and joins(best, size, a, contact)):
            return False
    return True


@njit(cache=True, nogil=True)
def _one_more(
    s: int, w: float, g: int, closest: int, nearest: float, best_total: float, second: float,
    propensity: Any, value_fixed: Any, value_accept: Any, price_fixed: Any, price_accept: Any,
    cap: Any, members: Any, contact: Any, cap_indptr: Any, cap_group: Any, per_contact: Any,
    conflicts: Any, best: Any, other: Any,
) -> float:  # fmt: skip
    """Return the second best surplus where the best and one more, that does not pay, may be it."""
    size, found = 0, closest
    while best[size] >= 0:
        size += 1
    if may_join(
        best, size, closest, s, cap, members, contact, cap_indptr, cap_group, per_contact, conflicts
    ):
        second = best_total + nearest
    else:
        found = NO_ACTION
        for a in range(propensity.shape[0]):
            v = surplus_at(
                w, g, propensity[a, s], a, value_fixed, value_accept, price_fixed, price_accept
            )
            if v <= 0.0 and best_total + v > second and may_join(
                best, size, a, s, cap, members, contact, cap_indptr, cap_group, per_contact,
                conflicts,
            ):  # fmt: skip
                found, second = a, best_total + v
    if found >= 0:
        for d in range(best.size):
            other[d] = best[d] if d < size else NO_ACTION
        other[size] = found
    return second


@njit(cache=True, nogil=True)
def search_listed(
    propensity: Any, group: Any, most: Any, fewest: Any, cap: Any, rules: Any, tables: Any,
    members: Any, low: int, count: int, tile: Any, work: Any,
) -> None:  # fmt: skip
    """Write the two best bundles of those who are listed, and the margin between them.

    The empty bundle is one of them where it is allowed; the margin is infinite where there is no
    second.

    Args:
        propensity: [A, S] float32, and so on: as in :func:`look_through`.
        group: [S] int32.
        most: [S] uint8.
        fewest: [S] uint8.
        cap: [D, S] uint8.
        rules: the relations.
        tables: value and prices.
        members: from :func:`kernels.bundle_search.members_of`.
        low: first subscriber of the tile.
        count: how many are listed.
        tile: that :func:`look_through` filled.
        work: from :func:`kernels.bundle_search.work_for`.
    """
    value_fixed, value_accept, price_fixed, price_accept = tables
    wide, nearest, closest, paying, bare, listed, apart, bundles, others = tile
    order, ranked, lead, follow, bundle, total, picked, barred, room = work
    offer, kind, contact, cap_indptr, cap_group, per_contact, conflicts, requires = rules
    surplus, width = np.empty(propensity.shape[0]), bundles.shape[1]
    best, other = np.empty(width, np.int64), np.empty(width, np.int64)
    for t in listed[:count]:
        s, w, g = low + t, wide[t], group[low + t]
        for d in range(width):
            best[d] = other[d] = NO_ACTION
        best_total, second, size = -np.inf, -np.inf, most[s]
        is_ranked = bare[t] and size > 1  # then an action that does not pay only costs
        found = 0
        if is_ranked:
            found = ranked_paying(
                s, t, w, g, propensity, paying, value_fixed, value_accept, price_fixed,
                price_accept, order, ranked,
            )  # fmt: skip
        elif size > 0 and fewest[s] & REST <= size:
            for a in range(surplus.size):
                surplus[a] = surplus_at(
                    w, g, propensity[a, s], a, value_fixed, value_accept, price_fixed, price_accept
                )
                if size > 1 and (surplus[a] > 0.0 or surplus[a] <= 0.0):  # NaN: not open
                    rank(a, surplus[a], found, order, ranked)
                    found += 1
        if is_ranked and found == 1:
            best[0], best_total, second = order[0], ranked[0], 0.0
        elif size == 1:
            best_total, second = best_single(surplus, fewest[s], requires, best, other)
        elif size > 1 and fewest[s] & REST <= size:
            for i in range(found):
                for k in range(cap_indptr[order[i]], cap_indptr[order[i] + 1]):
                    room[cap_group[k]] = cap[cap_group[k], s]
            best_total, second = search(
                found, size, fewest[s], order, ranked, lead, follow, bundle, total, picked, barred,
                room, members, offer, kind, contact, cap_indptr, cap_group, per_contact, conflicts,
                requires, best, other,
            )  # fmt: skip
        if is_ranked and best_total + nearest[t] > second and best[size - 1] < 0:
            second = _one_more(
                s, w, g, closest[t], nearest[t], best_total, second, propensity, value_fixed,
                value_accept, price_fixed, price_accept, cap, members, contact, cap_indptr,
                cap_group, per_contact, conflicts, best, other,
            )  # fmt: skip
        apart[t] = best_total - second if best_total > -np.inf else np.inf
        for d in range(width):
            bundles[t, d], others[t, d] = best[d], other[d]
