"""The exact search for one subscriber's best bundle, compiled by Numba.

``rules`` are the relations of :func:`kernels.choose.choose_cpu` in its order: offer, kind, contact,
cap_indptr, cap_group, per_contact, conflicts, requires.
"""

from typing import Any

import numpy as np
from numba import njit

NO_ACTION = -1
MUST = 128  # flag in ``fewest``: the empty bundle is allowed only where no other is
REST = MUST - 1  # the bits of ``fewest`` below the flag


@njit(cache=True, nogil=True)
def _joins(bundle: Any, count: int, a: int, contact: Any) -> bool:
    """Would ``a`` go out in one contact with one of the first ``count`` actions?"""
    found = False
    for i in range(count):
        found |= contact[bundle[i]] == contact[a]
    return found


@njit(cache=True, nogil=True)
def fits(bundle: Any, count: int, a: int, room: Any, rules: Any) -> bool:
    """May action ``a`` join the first ``count`` actions of ``bundle``, who left ``room``?"""
    _, _, contact, cap_indptr, cap_group, per_contact, conflicts, _ = rules
    for i in range(count):
        b = bundle[i]
        if conflicts[a, b >> 6] >> (b & 63) & 1:
            return False
    for k in range(cap_indptr[a], cap_indptr[a + 1]):
        d = cap_group[k]
        if room[d] <= 0 and not (per_contact[d] and _joins(bundle, count, a, contact)):
            return False
    return True


@njit(cache=True, nogil=True)
def fill(bundle: Any, count: int, a: int, amount: int, room: Any, rules: Any) -> None:
    """Take the room that ``a`` fills beside the first ``count`` actions; -1 gives it back."""
    _, _, contact, cap_indptr, cap_group, per_contact, _, _ = rules
    for k in range(cap_indptr[a], cap_indptr[a + 1]):
        d = cap_group[k]
        if not (per_contact[d] and _joins(bundle, count, a, contact)):
            room[d] -= amount


@njit(cache=True, nogil=True)
def _needs(requires: Any, r: int, a: int) -> bool:
    found = False
    for word in range(requires.shape[2]):
        found |= requires[r, a, word] != 0
    return found


@njit(cache=True, nogil=True)
def is_complete(bundle: Any, count: int, requires: Any) -> bool:
    """Has every action of the bundle what it requires?"""
    for r in range(requires.shape[0]):
        for i in range(count):
            a = bundle[i]
            met = not _needs(requires, r, a)
            for j in range(count):
                b = bundle[j]
                if requires[r, a, b >> 6] >> (b & 63) & 1:
                    met = True
            if not met:
                return False
    return True


@njit(cache=True, nogil=True)
def _candidates(
    surplus: Any, t: int, most: int, positive: Any, rules: Any, order: Any, ranked: Any, lead: Any
) -> tuple[int, int]:
    """Sort the surpluses (the positive ones or all), best first, and drop the dominated.

    Returns how many are left, and the first of the best of those that are not positive, or none.

    An action can give way to a better one of its kind, unless another of the bundle has the
    better one's offer. So of the better ones those of its own offer always can, and all but
    ``most - 1`` of the other offers'. With two that can, neither the best bundle nor the second
    best needs the action.
    """
    offer, kind = rules[0], rules[1]
    count, near, nearest = 0, NO_ACTION, -np.inf
    for a in range(surplus.shape[0]):
        value = surplus[a, t]
        if not value > 0.0:
            if value > nearest:
                near, nearest = a, value
            if positive or not value <= 0.0:  # NaN: not open
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
        a = order[i]
        own = others = 0
        if kind[a] >= 0:
            for j in range(kept):
                b = order[j]
                if kind[b] == kind[a]:
                    if offer[b] == offer[a]:
                        own += 1
                    else:
                        others += lead[j]
        if own + max(0, others - (most - 1)) < 2:
            order[kept] = a
            ranked[kept] = ranked[i]
            lead[kept] = own == 0  # the first of its offer: offers are counted once
            kept += 1
    return kept, near


# Elements are copied in loops: Numba takes eight seconds to compile an assignment to a slice.
@njit(cache=True, nogil=True)
def _reach(
    total: float, bundle: Any, depth: int, first: int, most: int, least: int, count: int, room: Any,
    rules: Any, order: Any, ranked: Any, picked: Any,
) -> float:  # fmt: skip
    """Return what no bundle with this beginning and at least one more action exceeds.

    Of the candidates from ``first`` on that may join the beginning, the best are taken while the
    first cap of each has room: all positive ones, others up to ``least`` actions. The other caps
    and relations of the rest are ignored: without them the best first is the best, pick by pick,
    so the rounded sum is not below that of any bundle.
    """
    cap_indptr, cap_group, per_contact = rules[3], rules[4], rules[5]
    picks = depth
    wanted = max(least, depth + 1)
    for j in range(first, count):
        if picks == most or (picks >= wanted and not ranked[j] > 0.0):
            break
        a = order[j]
        d = -1
        if cap_indptr[a] < cap_indptr[a + 1] and not per_contact[cap_group[cap_indptr[a]]]:
            d = cap_group[cap_indptr[a]]
            left = room[d]
            for i in range(depth, picks):
                left -= picked[i] == d
            if left <= 0:
                continue
        if not fits(bundle, depth, a, room, rules):
            continue
        picked[picks] = d
        picks += 1
        total += ranked[j]
    return total if picks >= wanted else -np.inf


@njit(cache=True, nogil=True)
def best_bundle(
    surplus: Any, t: int, s: int, most: int, fewest: int, cap: Any, rules: Any, scratch: Any,
    best: Any, other: Any,
) -> Any:  # fmt: skip
    """Write the best and the second best bundle, and return the margin between them.

    The empty bundle is one of them where it is allowed; the margin is infinite where there is no
    second.
    """
    for d in range(best.size):
        best[d] = other[d] = NO_ACTION
    order, ranked, lead, follow, bundle, total, picked, room = scratch
    requires = rules[7]
    must, least = fewest >= MUST, fewest & REST
    if least > most or most == 0:
        return np.inf
    # Where any part of an allowed bundle is allowed too, an action of no surplus only lowers it.
    positive = not must and least <= 1 and requires.shape[0] == 0
    count, near = _candidates(surplus, t, most, positive, rules, order, ranked, lead)
    if positive and count == 0:  # an action on its own has room
        other[0] = near
        return 0.0 - surplus[near, t] if near >= 0 else np.inf
    for d in range(room.size):
        room[d] = cap[d, s]
    best_total = -np.inf if must else 0.0
    second = -np.inf
    size = depth = 0
    follow[0], total[0] = 0, 0.0
    while depth >= 0:
        i = follow[depth]
        is_open = i < count
        if is_open:
            reach = total[depth]
            for j in range(i, min(count, i + most - depth)):
                if j > i and depth + j - i >= least and not ranked[j] > 0.0:
                    break
                reach += ranked[j]
            is_open = reach > second  # the cheaper bound first; for one more action it is as good
            if is_open and depth + 1 < most:
                reach = _reach(
                    total[depth], bundle, depth, i, most, least, count, room, rules, order, ranked,
                    picked,
                )  # fmt: skip
                is_open = reach > second
        if not is_open:
            depth -= 1
            if depth >= 0:
                fill(bundle, depth, bundle[depth], -1, room, rules)
            continue
        follow[depth] = i + 1
        a = order[i]
        if not fits(bundle, depth, a, room, rules):
            continue
        bundle[depth] = a
        reached = total[depth] + ranked[i]
        if reached > second and depth + 1 >= least and is_complete(bundle, depth + 1, requires):
            if reached > best_total:
                second, best_total, size = best_total, reached, depth + 1
                for d in range(best.size):
                    other[d] = best[d]
                    best[d] = bundle[d] if d < size else NO_ACTION
            else:
                second = reached
                for d in range(best.size):
                    other[d] = bundle[d] if d <= depth else NO_ACTION
        if depth + 1 < most:
            fill(bundle, depth, a, 1, room, rules)
            depth += 1
            follow[depth] = i + 1
            total[depth] = reached
    # The second best may be the best and one more action of no surplus.
    if positive and size < most and near >= 0 and best_total + surplus[near, t] > second:
        for i in range(size):
            fill(best, i, best[i], 1, room, rules)
        if fits(best, size, near, room, rules):
            for d in range(best.size):
                other[d] = best[d] if d < size else NO_ACTION
            other[size] = near
            return best_total - (best_total + surplus[near, t])
        for a in range(surplus.shape[0]):
            value = surplus[a, t]
            if (
                value <= 0.0
                and best_total + value > second
                and fits(best, size, a, room, rules)
            ):  # fmt: skip
                second = best_total + value
                for d in range(best.size):
                    other[d] = best[d] if d < size else NO_ACTION
                other[size] = a
    return best_total - second if best_total > -np.inf else np.inf


@njit(cache=True, nogil=True)
def is_free(a: int, requires: Any) -> bool:
    """May action ``a`` be taken alone?"""
    free = True
    for r in range(requires.shape[0]):
        free &= not _needs(requires, r, a)
    return free


@njit(cache=True, nogil=True)
def best_single(surplus: Any, t: int, fewest: int, rules: Any, best: Any, other: Any) -> float:
    """Do as ``best_bundle`` where at most one action is taken: no memory, any number of actions."""
    requires = rules[7]
    for d in range(best.size):
        best[d] = other[d] = NO_ACTION
    must = fewest >= MUST
    if fewest & REST > 1:
        return np.inf
    best_total = -np.inf if must else 0.0
    second = -np.inf
    for a in range(surplus.shape[0]):
        value = surplus[a, t]
        if not value > second or not is_free(a, requires):
            continue
        if value > best_total:  # strict: the first of equals wins
            second, best_total, other[0], best[0] = best_total, value, best[0], a
        else:
            second, other[0] = value, a
    return best_total - second if best_total > -np.inf else np.inf


@njit(cache=True, nogil=True)
def scratch(actions: int, width: int, caps: int) -> Any:
    """Return room for one search: candidates, their surpluses, and the path through them."""
    return (
        np.empty(actions, np.int64), np.empty(actions, np.float64), np.empty(actions, np.int64),
        np.empty(width + 1, np.int64), np.empty(width + 1, np.int64),
        np.empty(width + 1, np.float64), np.empty(width + 1, np.int64), np.empty(caps, np.int64),
    )  # fmt: skip
