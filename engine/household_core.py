"""What the room of a household leaves each of its members while subscribers are moved one by one.

The bundles of a household are chosen together; rounding moves subscribers by themselves. So the
room is dealt out: each member keeps what its best bundle uses, and what is left goes to the one
member that would gain most by another action. Of offers that exclude one another over the
household, that member may take one that goes with what the others have; the others take none anew.
However members are moved then, the household keeps its caps and exclusions.
"""

from typing import Any

import numpy as np
from numba import njit

from engine.problem import Problem

FREE = 255  # room of those who are alone


def deal(problem: Problem, block: Any, surplus: Any, best: Any) -> Any:
    """Return [D + E, N] uint8, the room of caps, those of the household behind a member's own.

    What a member may not take is closed: its surplus becomes NaN.

    Args:
        problem: with rules of households.
        block: [N] whole households, members beside one another, on the host.
        surplus: [A, N] float64, changed in place.
        best: [Q, N] int16, bundles that keep all rules together.
    """
    rules = problem.rules
    assert rules.households is not None
    room = np.full(block.room.shape, FREE, np.uint8)
    _deal(
        block.household[0], block.room, surplus, best, rules.contact,
        *rules.households.arrays(problem.offer), room,
    )  # fmt: skip
    return np.concatenate([block.cap, room])


@njit(cache=True)
def _deal(  # noqa: PLR0917 (arrays, as kernels take them)
    household: Any, left: Any, surplus: Any, best: Any, contact: Any, indptr: Any, caps: Any,
    per_contact: Any, conflicts: Any, room: Any,
) -> None:  # fmt: skip
    used = np.zeros(left.shape[0], np.int64)
    first = 0
    while first < household.size:
        end = first + 1
        if household[first] < 0:
            first = end
            continue
        while end < household.size and household[end] == household[first]:
            end += 1
        used[:] = 0
        free, most = first, -np.inf
        for s in range(first, end):
            room[:, s] = 0
            _count(best[:, s], contact, indptr, caps, per_contact, room[:, s])
            for e in range(used.size):
                used[e] += room[e, s]
            gain = _best_other(surplus[:, s], best[:, s])
            if gain > most:
                free, most = s, gain
        for e in range(used.size):
            room[e, free] += np.uint8(left[e, first] - used[e])
        for s in range(first, end):
            for a in range(surplus.shape[0]):
                if _is_held(best[:, s], a):
                    continue
                barred = False
                for word in range(conflicts.shape[1]):
                    barred |= s != free and conflicts[a, word] != 0
                for other in range(first, end):
                    for i in range(best.shape[0] if other != s else 0):
                        b = best[i, other]
                        if b >= 0 and conflicts[a, b >> 6] >> (b & 63) & 1:
                            barred = True
                if barred:
                    surplus[a, s] = np.nan
        first = end


@njit(cache=True)
def _count(  # noqa: PLR0917 (arrays, as kernels take them)
    bundle: Any, contact: Any, indptr: Any, caps: Any, per_contact: Any, used: Any
) -> None:  # fmt: skip
    """Add what a bundle uses of each cap."""
    for i in range(bundle.size):
        a = bundle[i]
        if a < 0:
            break
        is_joined = False
        for j in range(i):
            is_joined |= contact[bundle[j]] == contact[a]
        for k in range(indptr[a], indptr[a + 1]):
            if not (is_joined and per_contact[caps[k]]):
                used[caps[k]] += 1


@njit(cache=True)
def _is_held(bundle: Any, a: int) -> bool:
    found = False
    for i in range(bundle.size):
        found |= bundle[i] == a
    return found


@njit(cache=True)
def _best_other(surplus: Any, bundle: Any) -> float:
    """Return the largest surplus of an action that is not in a bundle."""
    most = -np.inf
    for a in range(surplus.size):
        if surplus[a] > most and not _is_held(bundle, a):
            most = surplus[a]
    return most
