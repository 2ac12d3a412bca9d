"""The joint best bundles of households whose members' own best do not go together, by Numba.

Surpluses are rounded to whole multiples of a power of 2, 2**-54 of a number above the largest, and
added exactly: no sum depends on its order. Actions that pay are searched; one that does not pay
only lowers the surplus, and then it matters for the second best joint choice alone.

Bounds know that a member has one action at most of those that all exclude one another
(:func:`classes_of`), but nothing of what two members exclude. So the search goes
without them first. Where a choice that it finds has two such offers, it is done again twice: for
all members without the one, and without the other. Whatever is allowed is found in one of the two.
"""

import math
from typing import Any

import numpy as np
from numba import njit

from kernels.bundle_listed import may_join, ranked_paying
from kernels.bundle_rows import NO_ACTION, surplus_at
from kernels.household_bound import improve, sum_up, thin_out
from kernels.household_search import explore, joins_path

MOST_MEMBERS = 8  # of a household
GRID_BITS = 54  # of the largest surplus, at most
LOWEST_EXPONENT = -900  # of a surplus, or so; keeps the grid's inverse finite
FIRST_STEPS, NEXT_STEPS, LONGER = 60, 240, 2  # of the first search, of the next ones; by how much
# each is longer than the one before, if that did not end
NARROW, WIDER = 9, 4  # the first one with prices looks for 2**-9 of the bound below it; next ones,
# by how much farther, or less far where one did not end
ROUNDS, CLOSE = 16, 1e-7  # of pricing before a search, while bounds may fall by such a part


@njit(cache=True, nogil=True)
def joint_work(actions: int, width: int, caps: int, household_caps: int) -> Any:
    """Return room for joint searches, in the order in which :func:`search_jointly` takes it.

    Returns:
        who: [8] int64, the members with candidates, by their place in the household.
        size: [8] int64, the most actions of each.
        count: [8] int64, how many candidates each has.
        order: [8, A] int64, its candidates.
        value: [8, A] float64, their surpluses.
        gain: [8, A] int64, the same in whole numbers.
        less: [8, A] int64, less the prices of the caps that count them.
        share: [8, A] int64, among how many actions the price of their contact is split.
        rank: [8, A] int64, candidates by ``less``, best first.
        top: [8, A + 1, Q + 1] int64, as in :func:`kernels.household_bound.sum_up`.
        own_room: [8, D] int64, what is left of each member's caps.
        own_price: [8, D] int64, their prices.
        own_used: [8, D] float64, their use.
        room: [E] int64, what is left of the household's caps.
        price: [E] int64, their prices.
        used: [E] float64, their use.
        counted: [D or E] int64, how many candidates a cap counts; 0 between uses.
        tight: [3, 8 D + E] int64, caps that may bind: member (-1: the household), cap, price.
        over: [8 D + E] float64, by how much the use of each is over its room.
        picked: [3, Q] int64, candidates, their offers, and what they are worth.
        reach: [8] int64, what each member reaches at the prices.
        path: [8, Q] int64, the actions of each member so far.
        taken: [8] int64, how many.
        entry: [8] int64, the level on which a member's turn begins.
        later: [8] int64, what those after a member may add.
        stack: [3, L] int64, of a level: the candidate to try next, the bound's part of what is
            taken, and its gain.
        barred: [L, W] int64, bits of the actions that do not fit beside it.
        found: [2, 8, Q] int64, the two best joint choices, by place in the household.
        left: [E] int64, what bundles leave of the household's caps; -1 between uses.
        dropped: [3, A] int64, of each branch: the one offer, the other, and which is left out now.
        kept: [2, 8, Q] int64, the two best joint choices that are allowed.
    """
    n, words, levels = MOST_MEMBERS, -(-actions // 64), MOST_MEMBERS * (width + 1) + 1
    every, integer = n * caps + household_caps, np.int64
    return (
        np.empty(n, integer), np.empty(n, integer), np.empty(n, integer),
        np.empty((n, actions), integer), np.empty((n, actions)), np.empty((n, actions), integer),
        np.empty((n, actions), integer), np.empty((n, actions), integer),
        np.empty((n, actions), integer), np.empty((n, actions + 1, width + 1), integer),
        np.empty((n, caps), integer), np.empty((n, caps), integer), np.empty((n, caps)),
        np.empty(household_caps, integer), np.empty(household_caps, integer),
        np.empty(household_caps), np.zeros(max(caps, household_caps), integer),
        np.empty((3, every), integer), np.empty(every), np.empty((3, width), integer),
        np.empty(n, integer), np.empty((n, width), integer), np.empty(n, integer),
        np.empty(n, integer), np.empty(n, integer), np.empty((3, levels), integer),
        np.empty((levels, words), integer), np.empty((2, n, width), integer),
        np.full(household_caps, np.int64(-1)), np.empty((3, actions), integer),
        np.empty((2, n, width), integer),
    )  # fmt: skip


@njit(cache=True, nogil=True)
def actions_sharing(contact: Any) -> Any:
    """Return [A] int64, how many actions go out in one contact with an action, itself included."""
    sharing = np.zeros(contact.size, np.int64)
    largest = 0
    for a in range(contact.size):
        largest = max(largest, contact[a])
    total = np.zeros(largest + 1, np.int64)
    for a in range(contact.size):
        total[contact[a]] += 1
    for a in range(contact.size):
        sharing[a] = total[contact[a]]
    return sharing


@njit(cache=True, nogil=True)
def classes_of(conflicts: Any) -> Any:
    """Return [A] int32, the class of each action; all of one class exclude one another.

    An action joins the first class that it can.

    Args:
        conflicts: [A, W] int64, bit b % 64 of word b // 64: a subscriber has not both a and b.
    """
    actions, many = conflicts.shape[0], 0
    found, fits = np.empty(actions, np.int32), np.empty(actions + 1, np.bool_)
    for a in range(actions):
        for c in range(many + 1):
            fits[c] = True
        for b in range(a):
            if not conflicts[a, b >> 6] >> (b & 63) & 1:
                fits[found[b]] = False
        c = 0
        while not fits[c]:
            c += 1
        found[a] = c
        many = max(many, c + 1)
    return found


@njit(cache=True, nogil=True)
def go_together(
    s: int, t: int, heads: int, bundles: Any, room: Any, contact: Any, household: Any, left: Any
) -> bool:
    """Say whether the bundles of a household's members keep its caps and exclusions.

    Args:
        s: first row of the household.
        t: the same by number in the tile.
        heads: its members.
        bundles: [T, Q] int64.
        room: [E, S] uint8.
        contact: [A] int32.
        household: as :func:`kernels.households.choose_households_cpu` has it, and bits.
        left: [E] int64, -1; it is again afterwards.
    """
    indptr, group, per_contact, conflicts, _, _ = household
    fit = True
    for m in range(t, t + heads):
        for i in range(bundles.shape[1]):
            a = bundles[m, i]
            if a < 0:
                break
            for o in range(m, t + heads):
                for j in range(bundles.shape[1]):
                    b = bundles[o, j]
                    if b >= 0 and conflicts[a, b >> 6] >> (b & 63) & 1:
                        fit = False
            joined = joins_path(m, i, a, bundles, contact)
            for c in range(indptr[a], indptr[a + 1]):
                e = group[c]
                if left[e] < 0:
                    left[e] = room[e, s]
                if not (per_contact[e] and joined):
                    fit &= left[e] > 0
                    left[e] = max(left[e] - 1, 0)
    for m in range(t, t + heads):
        for i in range(bundles.shape[1]):
            a = bundles[m, i]
            if a >= 0:
                for c in range(indptr[a], indptr[a + 1]):
                    left[group[c]] = -1
    return fit


@njit(cache=True, nogil=True)
def _gather(
    s: int, t: int, heads: int, propensity: Any, group: Any, most: Any, cap: Any, room: Any,
    sharing: Any, rules: Any, household: Any, tables: Any, tile: Any, ranked: Any, listed: Any,
    branches: int, exponent: int, work: Any,
) -> Any:  # fmt: skip
    """List the candidates of a household; return members with any, and the power of 2 of a unit.

    An action with a household cap without room is none, nor is one of an offer that the branches
    leave out. The unit is that of the first call, without branches.
    """
    value_fixed, value_accept, price_fixed, price_accept = tables
    wide, _, _, paying = tile[:4]
    offer, _, _, cap_indptr, cap_group, _, _, _ = rules
    indptr, caps, _, _, _, _ = household
    who, size, count, order, value, gain, less, share = work[:8]
    own_room, own_price, _, left, price = work[10:15]
    dropped = work[29]
    n, largest = 0, 0.0
    for m in range(heads):
        found = ranked_paying(
            s + m, t + m, wide[t + m], group[s + m], propensity, paying, value_fixed, value_accept,
            price_fixed, price_accept, listed, ranked,
        )  # fmt: skip
        kept = 0
        for i in range(found if most[s + m] > 0 else 0):
            a, is_open = listed[i], True
            for b in range(branches):
                is_open &= offer[a] != dropped[dropped[2, b], b]
            if not is_open:
                continue
            for c in range(indptr[a], indptr[a + 1]):
                left[caps[c]], price[caps[c]] = room[caps[c], s], 0
                is_open &= left[caps[c]] > 0
            if not is_open:
                continue
            order[n, kept], value[n, kept] = a, ranked[i]
            share[n, kept] = min(sharing[a], most[s + m])
            for c in range(cap_indptr[a], cap_indptr[a + 1]):
                own_room[n, cap_group[c]], own_price[n, cap_group[c]] = cap[cap_group[c], s + m], 0
            kept += 1
        if kept > 0:
            who[n], size[n], count[n] = m, most[s + m], kept
            largest = max(largest, value[n, 0])
            n += 1
    if branches == 0:
        exponent = max(math.frexp(largest)[1], LOWEST_EXPONENT) - GRID_BITS
    unit = math.ldexp(1.0, -exponent)
    for k in range(n):
        for i in range(count[k]):
            gain[k, i] = less[k, i] = np.int64(np.rint(value[k, i] * unit))
    return n, exponent


@njit(cache=True, nogil=True)
def _tight(n: int, rules: Any, household: Any, work: Any) -> int:
    """List the caps that may bind, members' own first; return how many."""
    _, _, _, cap_indptr, cap_group, _, _, _ = rules
    indptr, caps, _, _, _, _ = household
    _, size, count, order = work[:4]
    own_room, room, counted, tight = work[10], work[13], work[16], work[17]
    found, together = 0, 0
    for k in range(n):
        together += size[k]
        for sign in range(2):
            for i in range(count[k]):
                a = order[k, i]
                for c in range(cap_indptr[a], cap_indptr[a + 1]):
                    d = cap_group[c]
                    if sign == 0:
                        counted[d] += 1
                        continue
                    if own_room[k, d] < min(counted[d], size[k]):
                        tight[0, found], tight[1, found] = k, d
                        found += 1
                    counted[d] = 0
    for sign in range(2):
        for k in range(n):
            for i in range(count[k]):
                a = order[k, i]
                for c in range(indptr[a], indptr[a + 1]):
                    e = caps[c]
                    if sign == 0:
                        counted[e] += 1
                        continue
                    if room[e] < min(counted[e], together):
                        tight[0, found], tight[1, found] = -1, e
                        found += 1
                    counted[e] = 0
    return found


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
            tights = _tight(n, rules, household, work)
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
        n, exponent = _gather(
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
        sharing: from :func:`actions_sharing`.
        members: from :func:`kernels.bundle_search.members_of`, of the members' own caps.
        rules: the relations.
        household: those of households, and the bits of the actions that its caps count.
        tables: value and prices.
        tile: that :func:`kernels.bundle_tiles.look_through` filled.
        ranked: [A] float64.
        listed: [A] int64.
        work: from :func:`joint_work`.
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
