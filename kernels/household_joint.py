"""The joint best bundles of households whose members' own best do not go together, by Numba.

Surpluses in whole units (:func:`kernels.household_candidates.gather`) are added exactly: no sum
depends on its order. Actions that pay are searched; one that does not pay only lowers the surplus,
and then it matters for the second best joint choice alone.

Bounds know that a member has one action at most of those that all exclude one another
(:func:`kernels.household_candidates.classes_of`), but nothing of what two members exclude. So the
search goes without them first. Where a choice that it finds has two such offers, it is done again
twice: for all members without the one, and without the other. Whatever is allowed is found in one
of the two.
"""

import math
from typing import Any

import numpy as np
from numba import njit

from kernels.bundle_listed import may_join
from kernels.bundle_rows import NO_ACTION, surplus_at
from kernels.household_bound import improve, sum_up, thin_out
from kernels.household_candidates import MOST_MEMBERS, gather, list_tight
from kernels.household_search import explore, joins_path

FIRST_STEPS, NEXT_STEPS, LONGER = 60, 240, 2  # of the first search, of the next ones; by how much
# each is longer than the one before, if that did not end
NARROW, WIDER = 9, 4  # the first one with prices looks for 2**-9 of the bound below it; next ones,
# by how much farther, or less far where one did not end
ROUNDS, CLOSE = 16, 1e-7  # of pricing before a search, while bounds may fall by such a part


@njit(cache=True, nogil=True)
def _search(n: int, floor: Any, members: Any, rules: Any, household: Any, work: Any) -> Any:
    """Write the two best joint choices of more than ``floor``; return their gains; -1: none.

    Exclusions over the household are left aside.

    The first search has few steps. Later ones have prices, which are improved between them, and
    look only for joint choices of more than a threshold a little below the bound. If one ends
    without two of them, the next begins a step below its threshold. If it does not end, that step
    is shorter and the search longer. No threshold changes the answer: when a search ends with two
    choices above it, they are the two best.
    """
    _, _, contact, cap_indptr, cap_group, per_contact, conflicts, _ = rules
    indptr, caps, of_contacts, _, classes, counts = household
    (
        who, size, count, order, value, gain, less, share, rank, top, own_room, own_price,
        own_used, room, price, used, _, tight, over, picked, reach, path, taken, entry, later,
        stack, barred, found, _, _, _,
    ) = work  # fmt: skip
    item, own, worth = picked[0], picked[1], picked[2]
    constant, bound, ahead = np.int64(0), np.int64(0), np.inf
    limit, lower = floor, max(floor, np.int64(0))
    margin: Any = np.int64(1)
    checked, threshold = np.int64(0), floor
    best_total, second, tights, steps = np.int64(-1), np.int64(-1), 0, FIRST_STEPS
    if n == 0:
        found[:] = NO_ACTION
        return np.int64(0), second
    while True:
        if np.inf > ahead > bound * CLOSE:
            constant, bound, ahead = improve(
                n, ROUNDS, lower, ahead, tights, tight[0], tight[1], size, count, order, gain, less,
                share, own_room, room, own_price, price, tight[2], over, own_used, used, classes,
                cap_indptr, cap_group, per_contact, indptr, caps, of_contacts, item, own, worth,
            )  # fmt: skip
        if ahead < np.inf:
            thin_out(
                n, limit, constant, size, count, order, gain, less, share, classes, reach, item,
                own, worth,
            )  # fmt: skip
            checked = min(checked, bound)
            threshold = max(limit, checked - margin)
        sum_up(n, size, count, order, less, rank, top, classes, item, own, worth)
        found[:] = NO_ACTION
        left, best_total, second = explore(
            n, constant, threshold, steps, who, size, count, order, gain, less, rank, top, own_room,
            room, own, path, taken, entry, later, stack[0], stack[1], stack[2], barred, members,
            classes, contact, cap_indptr, cap_group, per_contact, conflicts, counts, indptr, caps,
            of_contacts, found[0], found[1],
        )  # fmt: skip
        if left > 0 and (second >= 0 or threshold == limit):
            break
        limit, lower = max(limit, second - 1), max(lower, best_total)
        if left > 0:
            checked = threshold
            margin *= WIDER
        else:
            steps *= LONGER
            margin = max(margin // WIDER, 1)
        if ahead == np.inf:
            tights = list_tight(n, rules, household, work)
            for k in range(n):
                bound += top[k, 0, size[k]]
            ahead, checked, steps = bound / 4.0, bound, NEXT_STEPS
            margin = max(bound >> NARROW, 1)
    return best_total, second


@njit(cache=True, nogil=True)
def _clash(heads: int, choice: Any, excluded: Any) -> Any:
    """Return the first two actions of two members that exclude one another; -1: there are none."""
    for m in range(heads):
        for a in choice[m]:
            for o in range(m + 1 if a >= 0 else heads, heads):
                for b in choice[o]:
                    if b >= 0 and excluded[a, b >> 6] >> (b & 63) & 1:
                        return a, b
    return NO_ACTION, NO_ACTION


@njit(cache=True, nogil=True)
def _same(one: Any, other: Any, heads: int) -> bool:
    """Say whether two joint choices are one."""
    found = True
    for m in range(heads):
        for i in range(one.shape[1]):
            found &= one[m, i] == other[m, i]
    return found


@njit(cache=True, nogil=True)
def _copy(source: Any, target: Any) -> None:
    for m in range(source.shape[0]):
        for i in range(source.shape[1]):
            target[m, i] = source[m, i]


@njit(cache=True, nogil=True)
def _branch(
    s: int, t: int, heads: int, propensity: Any, group: Any, most: Any, cap: Any, room: Any,
    sharing: Any, members: Any, rules: Any, household: Any, tables: Any, tile: Any, ranked: Any,
    listed: Any, work: Any,
) -> Any:  # fmt: skip
    """Write the two best joint choices that are allowed; return their gains and the unit's power.

    Depth first, without the first offer first. A choice that two branches find counts once.
    """
    offer, found, dropped, kept = rules[0], work[27], work[29], work[30]
    depth, exponent = 0, 0
    best_total, second = np.int64(-1), np.int64(-1)
    for m in range(MOST_MEMBERS):
        for i in range(kept.shape[2]):
            kept[0, m, i] = kept[1, m, i] = NO_ACTION
    while True:
        n, exponent = gather(
            s, t, heads, propensity, group, most, cap, room, sharing, rules, household, tables,
            tile, ranked, listed, depth, exponent, work,
        )  # fmt: skip
        gains = _search(n, second, members, rules, household, work)
        is_open = False
        for r in range(2):
            if gains[r] <= second:
                break
            a, b = _clash(heads, found[r], household[3])
            if a >= 0:
                dropped[0, depth], dropped[1, depth], dropped[2, depth] = offer[a], offer[b], 0
                is_open = True
                break
            if best_total >= 0 and _same(found[r], kept[0], heads):
                continue
            if gains[r] > best_total:
                _copy(kept[0], kept[1])
                _copy(found[r], kept[0])
                second, best_total = best_total, gains[r]
            else:
                _copy(found[r], kept[1])
                second = gains[r]
        if is_open:
            depth += 1
            continue
        while depth > 0 and dropped[2, depth - 1] == 1:
            depth -= 1
        if depth == 0:
            break
        dropped[2, depth - 1] = 1
    _copy(kept[0], found[0])
    _copy(kept[1], found[1])
    return best_total, second, exponent


@njit(cache=True, nogil=True)
def _one_more(
    s: int, t: int, heads: int, gap: float, propensity: Any, group: Any, most: Any, cap: Any,
    room: Any, members: Any, rules: Any, household: Any, tables: Any, tile: Any, work: Any,
) -> Any:  # fmt: skip
    """Return the margin where the best choice and one action that does not pay may be second."""
    value_fixed, value_accept, price_fixed, price_accept = tables
    wide, nearest = tile[:2]
    _, _, contact, cap_indptr, cap_group, per_contact, conflicts, _ = rules
    indptr, caps, of_contacts, excluded, _, _ = household
    best, other, left = work[27][0], work[27][1], work[28]
    width, who, action = best.shape[1], NO_ACTION, NO_ACTION
    for e in range(left.size):
        left[e] = room[e, s]
    for m in range(heads):
        for i in range(width):
            a = best[m, i]
            if a >= 0:
                for c in range(indptr[a], indptr[a + 1]):
                    if not (of_contacts[caps[c]] and joins_path(m, i, a, best, contact)):
                        left[caps[c]] -= 1
    for m in range(heads):
        count, g, w = 0, group[s + m], wide[t + m]
        while count < width and best[m, count] >= 0:
            count += 1
        if count >= most[s + m] or not 0.0 - nearest[t + m] < gap:
            continue
        for a in range(propensity.shape[0]):
            v = surplus_at(
                w, g, propensity[a, s + m], a, value_fixed, value_accept, price_fixed, price_accept
            )
            if not (v <= 0.0 and 0.0 - v < gap):
                continue
            fit = may_join(
                best[m], count, a, s + m, cap, members, contact, cap_indptr, cap_group,
                per_contact, conflicts,
            )  # fmt: skip
            joined = joins_path(m, count, a, best, contact)
            for c in range(indptr[a], indptr[a + 1]):
                fit &= left[caps[c]] > 0 or (of_contacts[caps[c]] and joined)
            for o in range(heads if fit else 0):
                for i in range(width):
                    b = best[o, i]
                    if b >= 0 and excluded[a, b >> 6] >> (b & 63) & 1:
                        fit = False
            if fit:
                who, action, gap = m, a, 0.0 - v
    for e in range(left.size):
        left[e] = -1
    if action >= 0:
        other[:] = best
        count = 0
        while best[who, count] >= 0:
            count += 1
        other[who, count] = action
    return gap


@njit(cache=True, nogil=True)
def search_jointly(
    s: int, t: int, heads: int, propensity: Any, group: Any, most: Any, cap: Any, room: Any,
    sharing: Any, members: Any, rules: Any, household: Any, tables: Any, tile: Any, ranked: Any,
    listed: Any, work: Any,
) -> Any:  # fmt: skip
    """Write the two best joint choices of a household into the tile; return the margin.

    Args:
        s: first row of the household.
        t: the same by number in the tile.
        heads: its members, 8 at most.
        propensity: as in :func:`kernels.choose.choose_cpu`.
        group: as in :func:`kernels.choose.choose_cpu`.
        most: as in :func:`kernels.choose.choose_cpu`.
        cap: as in :func:`kernels.choose.choose_cpu`.
        room: [E, S] uint8.
        sharing: from :func:`kernels.household_candidates.actions_sharing`.
        members: from :func:`kernels.bundle_search.members_of`, of the members' own caps.
        rules: the relations.
        household: those of households, and the bits of the actions that its caps count.
        tables: value and prices.
        tile: that :func:`kernels.bundle_tiles.look_through` filled.
        ranked: [A] float64.
        listed: [A] int64.
        work: from :func:`kernels.household_candidates.joint_work`.
    """
    best_total, second, exponent = _branch(
        s, t, heads, propensity, group, most, cap, room, sharing, members, rules, household,
        tables, tile, ranked, listed, work,
    )  # fmt: skip
    gap = math.ldexp(np.float64(best_total - second), exponent) if second >= 0 else np.inf
    gap = _one_more(
        s, t, heads, gap, propensity, group, most, cap, room, members, rules, household, tables,
        tile, work,
    )  # fmt: skip
    bundles, others = tile[7], tile[8]
    for m in range(heads):
        for i in range(bundles.shape[1]):
            bundles[t + m, i], others[t + m, i] = work[27][0, m, i], work[27][1, m, i]
    return gap
