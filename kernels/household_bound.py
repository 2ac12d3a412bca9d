"""Prices of the caps of one household, which bound what its members can reach, compiled by Numba.

With a price for each cap, no joint choice reaches more than the prices of all room and, member by
member, the best actions of distinct classes at their gains less the prices of the caps that count
them (weak duality). All numbers are whole, so bounds are exact and ties end a branch.

Lists of :mod:`kernels.household_search`: member k has ``count[k]`` candidates, best first, and
``size[k]`` actions at most.
"""

from typing import Any

import numpy as np
from numba import njit

LARGEST = 2.0**60  # of whole numbers that are added without a look at their size
PATIENCE = 4  # rounds without a much better bound, after which steps are halved
DEFLECTION = 1.5  # of Camerini, Fratta and Maffioli


@njit(cache=True, nogil=True)
def charge(
    n: int, count: Any, order: Any, gain: Any, less: Any, share: Any, own_price: Any, price: Any,
    cap_indptr: Any, cap_group: Any, per_contact: Any, household_indptr: Any, household_group: Any,
    household_per_contact: Any,
) -> None:  # fmt: skip
    """Write each candidate's gain less the prices of the caps that count it.

    The price of a contact is split among the actions that may go out in it.
    """
    for k in range(n):
        for i in range(count[k]):
            a = order[k, i]
            value = gain[k, i]
            for c in range(cap_indptr[a], cap_indptr[a + 1]):
                d = cap_group[c]
                value -= own_price[k, d] // (share[k, i] if per_contact[d] else 1)
            for c in range(household_indptr[a], household_indptr[a + 1]):
                e = household_group[c]
                value -= price[e] // (share[k, i] if household_per_contact[e] else 1)
            less[k, i] = value


@njit(cache=True, nogil=True)
def _insert(
    i: int, o: int, value: int, picks: int, most: int, item: Any, own: Any, worth: Any
) -> int:
    """Put a candidate among the best of distinct classes, best first; return how many there are."""
    for j in range(picks):
        if own[j] == o:
            if worth[j] >= value:
                return picks
            for later in range(j, picks - 1):
                item[later], own[later] = item[later + 1], own[later + 1]
                worth[later] = worth[later + 1]
            picks -= 1
            break
    if picks == most:
        if worth[picks - 1] >= value:
            return picks
        picks -= 1
    place = picks
    while place > 0 and worth[place - 1] < value:
        item[place], own[place], worth[place] = item[place - 1], own[place - 1], worth[place - 1]
        place -= 1
    item[place], own[place], worth[place] = i, o, value
    return picks + 1


@njit(cache=True, nogil=True)
def _picked(
    k: int, most: int, count: Any, order: Any, less: Any, classes: Any, item: Any, own: Any,
    worth: Any,
) -> int:  # fmt: skip
    """Pick the best candidates of distinct classes, of those worth more than nothing."""
    picks = 0
    for i in range(count[k]):
        if less[k, i] > 0 and (picks < most or less[k, i] > worth[picks - 1]):
            picks = _insert(i, classes[order[k, i]], less[k, i], picks, most, item, own, worth)
    return picks


@njit(cache=True, nogil=True)
def improve(
    n: int, rounds: int, lower: int, ahead: float, tight: int, tight_member: Any, tight_cap: Any,
    size: Any, count: Any, order: Any, gain: Any, less: Any, share: Any, own_room: Any, room: Any,
    own_price: Any, price: Any, best_price: Any, over: Any, own_used: Any, used: Any, classes: Any,
    cap_indptr: Any, cap_group: Any, per_contact: Any, household_indptr: Any,
    household_group: Any, household_per_contact: Any, item: Any, own: Any, worth: Any,
) -> Any:  # fmt: skip
    """Improve the prices of the caps that may bind; ``less`` is that at the prices returned.

    Deflected subgradient steps toward a bound that is ``ahead`` of the lowest so far, and not below
    ``lower``, what some joint choice reaches; that is halved when steps do not get there.

    Returns:
        constant: what all room costs.
        bound: what no joint choice exceeds.
        ahead: for the next call.

    Source:
        Camerini, Fratta and Maffioli, "On improving relaxation methods by modified gradient
        techniques", Mathematical Programming Study 3, 1975.
    """
    best, best_constant, since = np.int64(-1), np.int64(0), 0
    before = 0.0
    dearest: Any = np.int64(0)
    for k in range(n):
        dearest = max(dearest, gain[k, 0] if count[k] > 0 else 0)
    for t in range(rounds + 1):
        charge(
            n, count, order, gain, less, share, own_price, price, cap_indptr, cap_group,
            per_contact, household_indptr, household_group, household_per_contact,
        )  # fmt: skip
        constant, cost = np.int64(0), 0.0
        for j in range(tight):
            k, d = tight_member[j], tight_cap[j]
            if k < 0:
                part = price[d] * room[d]
                used[d] = 0.0
            else:
                part = own_price[k, d] * own_room[k, d]
                own_used[k, d] = 0.0
            constant += part
            cost += np.float64(part)
        bound = constant
        for k in range(n):
            picks = _picked(k, size[k], count, order, less, classes, item, own, worth)
            for j in range(picks):
                bound += worth[j]
                a, portion = order[k, item[j]], 1.0 / share[k, item[j]]
                for c in range(cap_indptr[a], cap_indptr[a + 1]):
                    d = cap_group[c]
                    own_used[k, d] += portion if per_contact[d] else 1.0
                for c in range(household_indptr[a], household_indptr[a + 1]):
                    e = household_group[c]
                    used[e] += portion if household_per_contact[e] else 1.0
        if best < 0 or (cost < LARGEST and bound < best):
            if best >= 0 and np.float64(best - bound) < ahead / 8.0:
                since += 1
            else:
                since = 0
            best, best_constant = bound, constant
            for j in range(tight):
                k, d = tight_member[j], tight_cap[j]
                best_price[j] = price[d] if k < 0 else own_price[k, d]
        else:
            since += 1
        if since >= PATIENCE:
            ahead, since = ahead / 2.0, 0
        if bound <= lower or t == rounds:
            break
        along = 0.0
        for j in range(tight if before > 0.0 else 0):
            k, d = tight_member[j], tight_cap[j]
            excess = used[d] - room[d] if k < 0 else own_used[k, d] - own_room[k, d]
            along += excess * over[j]
        keep = DEFLECTION * max(0.0, -along) / before if before > 0.0 else 0.0
        square = 0.0
        for j in range(tight):
            k, d = tight_member[j], tight_cap[j]
            excess = used[d] - room[d] if k < 0 else own_used[k, d] - own_room[k, d]
            over[j] = excess + (keep * over[j] if before > 0.0 else 0.0)
            if over[j] < 0.0 and (price[d] if k < 0 else own_price[k, d]) == 0:
                over[j] = 0.0
            square += over[j] * over[j]
        is_plain, before = before == 0.0, square
        if square == 0.0:
            if is_plain:  # no prices are better
                ahead = 0.0
                break
            continue
        goal = max(np.float64(best) - ahead, np.float64(lower))
        step = max(np.float64(bound) - goal, 0.0) / square
        for j in range(tight):
            k, d = tight_member[j], tight_cap[j]
            move = np.int64(np.rint(min(max(step * over[j], -1e18), 1e18)))
            if k < 0:
                price[d] = min(max(price[d] + move, 0), dearest)
            else:
                own_price[k, d] = min(max(own_price[k, d] + move, 0), dearest)
    for j in range(tight):
        k, d = tight_member[j], tight_cap[j]
        if k < 0:
            price[d] = best_price[j]
        else:
            own_price[k, d] = best_price[j]
    charge(
        n, count, order, gain, less, share, own_price, price, cap_indptr, cap_group,
        per_contact, household_indptr, household_group, household_per_contact,
    )  # fmt: skip
    return best_constant, best, ahead


@njit(cache=True, nogil=True)
def thin_out(
    n: int, limit: int, constant: int, size: Any, count: Any, order: Any, gain: Any, less: Any,
    share: Any, classes: Any, reach: Any, item: Any, own: Any, worth: Any,
) -> None:  # fmt: skip
    """Drop the candidates that are in no joint choice of more than ``limit``."""
    bound = constant
    for k in range(n):
        picks = _picked(k, size[k], count, order, less, classes, item, own, worth)
        reach[k] = 0
        for j in range(picks):
            reach[k] += worth[j]
        bound += reach[k]
    for k in range(n):
        picks = _picked(k, size[k], count, order, less, classes, item, own, worth)
        kept = 0
        for i in range(count[k]):
            gives_way = worth[picks - 1] if picks == size[k] else 0
            for j in range(picks):
                if own[j] == classes[order[k, i]]:
                    gives_way = worth[j]
            if bound - gives_way + less[k, i] > limit:
                order[k, kept], gain[k, kept] = order[k, i], gain[k, i]
                less[k, kept], share[k, kept] = less[k, i], share[k, i]
                kept += 1
        count[k] = kept


@njit(cache=True, nogil=True)
def sum_up(
    n: int, size: Any, count: Any, order: Any, less: Any, rank: Any, top: Any, classes: Any,
    item: Any, own: Any, worth: Any,
) -> None:  # fmt: skip
    """Write what the best few of the candidates from each on are worth, and their order by worth.

    ``top[k, i, q]`` is of at most q actions of distinct classes among the candidates from i on.
    """
    for k in range(n):
        picks = 0
        for q in range(size[k] + 1):
            top[k, count[k], q] = 0
        for i in range(count[k] - 1, -1, -1):
            if less[k, i] > 0:
                own_class = classes[order[k, i]]
                picks = _insert(i, own_class, less[k, i], picks, size[k], item, own, worth)
            top[k, i, 0] = 0
            for q in range(size[k]):
                top[k, i, q + 1] = top[k, i, q] + (worth[q] if q < picks else 0)
        for i in range(count[k]):
            place = i
            while place > 0 and less[k, rank[k, place - 1]] < less[k, i]:
                rank[k, place] = rank[k, place - 1]
                place -= 1
            rank[k, place] = i


@njit(cache=True, nogil=True)
def rest(
    k: int, level: int, size: Any, count: Any, order: Any, less: Any, rank: Any, barred: Any,
    classes: Any, own: Any,
) -> Any:  # fmt: skip
    """Return what a member can add with candidates that are not barred."""
    total, picks = np.int64(0), 0
    for j in range(count[k]):
        i = rank[k, j]
        if picks == size[k] or less[k, i] <= 0:
            break
        a = order[k, i]
        if barred[level, a >> 6] >> (a & 63) & 1:
            continue
        is_new = True
        for p in range(picks):
            is_new &= own[p] != classes[a]
        if is_new:
            own[picks] = classes[a]
            picks += 1
            total += less[k, i]
    return total
