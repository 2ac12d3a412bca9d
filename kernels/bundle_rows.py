"""What may be in one subscriber's bundle, and the best single action, compiled by Numba.

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
def joins(bundle: Any, count: int, a: int, contact: Any) -> bool:
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
        if room[d] <= 0 and not (per_contact[d] and joins(bundle, count, a, contact)):
            return False
    return True


@njit(cache=True, nogil=True)
def fill(bundle: Any, count: int, a: int, amount: int, room: Any, rules: Any) -> None:
    """Take the room that ``a`` fills beside the first ``count`` actions; -1 gives it back."""
    _, _, contact, cap_indptr, cap_group, per_contact, _, _ = rules
    for k in range(cap_indptr[a], cap_indptr[a + 1]):
        d = cap_group[k]
        if not (per_contact[d] and joins(bundle, count, a, contact)):
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
def is_free(a: int, requires: Any) -> bool:
    """May action ``a`` be taken alone?"""
    free = True
    for r in range(requires.shape[0]):
        free &= not _needs(requires, r, a)
    return free


@njit(cache=True, nogil=True)
def best_single(surplus: Any, fewest: int, requires: Any, best: Any, other: Any) -> Any:
    """Write the best action and the second best, none being one, and return their surpluses.

    No memory, any number of actions.
    """
    if fewest & REST > 1:
        return -np.inf, -np.inf
    best_total = -np.inf if fewest >= MUST else 0.0
    second = -np.inf
    for a in range(surplus.size):
        value = surplus[a]
        if not value > second or not is_free(a, requires):
            continue
        if value > best_total:  # strict: the first of equals wins
            second, best_total, other[0], best[0] = best_total, value, best[0], a
        else:
            second, other[0] = value, a
    return best_total, second


@njit(cache=True, nogil=True)
def coefficients(tables: Any, g: int, a: int) -> Any:
    """Return what the surplus of an action is made of, in one scope group."""
    value_fixed, value_accept, price_fixed, price_accept = tables
    return value_fixed[a], price_fixed[g, a], value_accept[a], price_accept[g, a]


@njit(cache=True, nogil=True)
def surplus_at(
    w: float, g: int, p: float, a: int, value_fixed: Any, value_accept: Any, price_fixed: Any,
    price_accept: Any,
) -> Any:  # fmt: skip
    """Return an action's surplus; arrays come one by one, as those of tuples are counted."""
    return (w * value_fixed[a] - price_fixed[g, a]) + (
        w * value_accept[a] - price_accept[g, a]
    ) * np.float64(p)
