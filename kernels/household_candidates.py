"""What a joint search of a household works on: room, candidates, and caps that may bind, by Numba.

Surpluses are rounded to whole multiples of a power of 2, 2**-54 of a number above the largest.
"""

import math
from typing import Any

import numpy as np
from numba import njit

from kernels.bundle_listed import ranked_paying
from kernels.household_search import joins_path

MOST_MEMBERS = 8  # of a household
GRID_BITS = 54  # of the largest surplus, at most
LOWEST_EXPONENT = -900  # of a surplus, or so; keeps the grid's inverse finite


@njit(cache=True, nogil=True)
def joint_work(actions: int, width: int, caps: int, household_caps: int) -> Any:
    """Return room for joint searches, in the order of :mod:`kernels.household_joint`.

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
def gather(
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
def list_tight(n: int, rules: Any, household: Any, work: Any) -> int:
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
