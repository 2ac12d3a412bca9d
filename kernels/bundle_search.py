"""The exact search for one subscriber's best bundle among ranked actions, compiled by Numba.

Arrays are arguments one by one: to take one out of a tuple costs Numba a reference count, which
is more than a step of the search, and threads that share the array wait for each other there.
"""

from typing import Any

import numpy as np
from numba import njit

from kernels.bundle_rows import MUST, NO_ACTION, REST, is_complete, joins

FEW = 8  # so few candidates are not worth thinning out


@njit(cache=True, nogil=True)
def work_for(actions: int, width: int, caps: int) -> Any:
    """Return room for searches, in the order in which :func:`search` takes it.

    Returns:
        order: [A] int64, the candidates.
        ranked: [A] float64, their surpluses.
        lead: [A] int64, 1 where a candidate is the first of its offer.
        follow: [Q + 1] int64, the candidate to try next.
        bundle: [Q + 1] int64, the path so far.
        total: [Q + 1] float64, its surplus.
        picked: [Q + 1] int64, caps of what is added up.
        barred: [Q + 1, W] int64, bits of the actions that do not fit beside the path.
        room: [D] int64, what is left of each cap.
    """
    return (
        np.empty(actions, np.int64), np.empty(actions, np.float64), np.empty(actions, np.int64),
        np.empty(width + 1, np.int64), np.empty(width + 1, np.int64),
        np.empty(width + 1, np.float64), np.empty(width + 1, np.int64),
        np.empty((width + 1, -(-actions // 64)), np.int64), np.empty(caps, np.int64),
    )  # fmt: skip


@njit(cache=True, nogil=True)
def members_of(actions: int, caps: int, cap_indptr: Any, cap_group: Any) -> Any:
    """Return [D, W] int64, bits of the actions that a cap counts."""
    members = np.zeros((caps, -(-actions // 64)), np.int64)
    for a in range(actions):
        for k in range(cap_indptr[a], cap_indptr[a + 1]):
            members[cap_group[k], a >> 6] |= np.int64(1) << (a & 63)
    return members


@njit(cache=True, nogil=True)
def rank(a: int, value: float, count: int, order: Any, ranked: Any) -> None:
    """Put an action among the first ``count`` candidates: best first, of equals the first."""
    place = count
    while place > 0 and ranked[place - 1] < value:
        ranked[place] = ranked[place - 1]
        order[place] = order[place - 1]
        place -= 1
    ranked[place] = value
    order[place] = a


@njit(cache=True, nogil=True)
def _undominated(
    count: int, most: int, offer: Any, kind: Any, order: Any, ranked: Any, lead: Any
) -> int:
    """Drop candidates that no bundle needs, and return how many are left.

    An action can give way to a better one of its kind, unless another of the bundle has the
    better one's offer. So of the better ones those of its own offer always can, and all but
    ``most - 1`` of the other offers'. With two that can, the search meets two bundles that are as
    good before any with the action.
    """
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
    return kept


@njit(cache=True, nogil=True)
def _sum(
    total: float, depth: int, first: int, most: int, least: int, count: int, ranked: Any
) -> float:
    """Return what a bundle of ``depth`` actions reaches with the best of the rest, one at least."""
    for j in range(first, min(count, first + most - depth)):
        if j > first and depth + j - first >= least and not ranked[j] > 0.0:
            break
        total += ranked[j]
    return total


@njit(cache=True, nogil=True)
def _reach(
    total: float, depth: int, first: int, most: int, least: int, count: int, order: Any,
    ranked: Any, picked: Any, barred: Any, room: Any, cap_indptr: Any, cap_group: Any,
    per_contact: Any,
) -> float:  # fmt: skip
    """Return what no bundle with this beginning and at least one more action exceeds.

    Of the candidates from ``first`` on that may join the beginning, the best are taken while the
    first cap of each has room: all positive ones, others up to ``least`` actions. The other caps
    and relations of the rest are ignored: without them the best first is the best, pick by pick,
    so the rounded sum is not below that of any bundle.
    """
    picks = depth
    wanted = max(least, depth + 1)
    for j in range(first, count):
        if picks == most or (picks >= wanted and not ranked[j] > 0.0):
            break
        a = order[j]
        if barred[depth, a >> 6] >> (a & 63) & 1:
            continue
        d = -1
        if cap_indptr[a] < cap_indptr[a + 1] and not per_contact[cap_group[cap_indptr[a]]]:
            d = cap_group[cap_indptr[a]]
            left = room[d]
            for i in range(depth, picks):
                left -= picked[i] == d
            if left <= 0:
                continue
        picked[picks] = d
        picks += 1
        total += ranked[j]
    return total if picks >= wanted else -np.inf


@njit(cache=True, nogil=True)
def _enter(
    depth: int, count: int, order: Any, bundle: Any, barred: Any, room: Any, members: Any,
    contact: Any, cap_indptr: Any, cap_group: Any, per_contact: Any, conflicts: Any,
) -> None:  # fmt: skip
    """Take the room of the bundle's last action, and bar the candidates that no longer fit."""
    a = bundle[depth]
    for word in range(members.shape[1]):
        barred[depth + 1, word] = barred[depth, word] | conflicts[a, word]
    for k in range(cap_indptr[a], cap_indptr[a + 1]):
        d = cap_group[k]
        if per_contact[d] and joins(bundle, depth, a, contact):
            continue
        room[d] -= 1
        if room[d] > 0:
            continue
        if not per_contact[d]:
            for word in range(members.shape[1]):
                barred[depth + 1, word] |= members[d, word]
            continue
        for i in range(count):  # what goes out in a contact of the bundle still fits
            b = order[i]
            if members[d, b >> 6] >> (b & 63) & 1 and not joins(bundle, depth + 1, b, contact):
                barred[depth + 1, b >> 6] |= np.int64(1) << (b & 63)


@njit(cache=True, nogil=True)
def _leave(
    depth: int, bundle: Any, room: Any, contact: Any, cap_indptr: Any, cap_group: Any,
    per_contact: Any,
) -> None:  # fmt: skip
    """Give back the room of the bundle's last action."""
    a = bundle[depth]
    for k in range(cap_indptr[a], cap_indptr[a + 1]):
        d = cap_group[k]
        if not (per_contact[d] and joins(bundle, depth, a, contact)):
            room[d] += 1


@njit(cache=True, nogil=True)
def search(
    count: int, most: int, fewest: int, order: Any, ranked: Any, lead: Any, follow: Any,
    bundle: Any, total: Any, picked: Any, barred: Any, room: Any, members: Any, offer: Any,
    kind: Any, contact: Any, cap_indptr: Any, cap_group: Any, per_contact: Any, conflicts: Any,
    requires: Any, best: Any, other: Any,
) -> tuple[float, float]:  # fmt: skip
    """Write the best and the second best bundle of the ranked candidates; return their surpluses.

    The empty bundle is one of them where it is allowed; a surplus is ``-inf`` where there is none.
    Depth first, best first: a branch ends when what it can reach does not beat the second best.

    There are ``count`` candidates, best first in ``order`` and ``ranked``, and ``room`` is that of
    the caps that count them; both and what lies between are of :func:`work_for`. ``members`` is of
    :func:`members_of`; the relations, ``most`` (at least 1) and ``fewest`` are those of
    :func:`kernels.choose.choose_cpu`; ``best`` and ``other``, [Q] int64, hold no action.
    """
    least, no_needs = fewest & REST, requires.shape[0] == 0
    best_total = -np.inf if fewest >= MUST else 0.0
    second = -np.inf
    if count > FEW:
        count = _undominated(count, most, offer, kind, order, ranked, lead)
    depth = 0
    follow[0], total[0] = 0, 0.0
    for word in range(members.shape[1]):
        barred[0, word] = 0
    while depth >= 0:
        i = follow[depth]
        is_last = depth + 1 == most
        while i < count and barred[depth, order[i] >> 6] >> (order[i] & 63) & 1:
            i += 1
        is_open = i < count
        if is_open and is_last:
            is_open = total[depth] + ranked[i] > second
        elif is_open:
            is_open = _sum(total[depth], depth, i, most, least, count, ranked) > second
            if is_open and depth + 2 < most:  # for the last two it costs more than it saves
                is_open = second < _reach(
                    total[depth], depth, i, most, least, count, order, ranked, picked, barred, room,
                    cap_indptr, cap_group, per_contact,
                )  # fmt: skip
        if not is_open:
            depth -= 1
            if depth >= 0:
                _leave(depth, bundle, room, contact, cap_indptr, cap_group, per_contact)
            continue
        follow[depth] = i + 1
        bundle[depth] = order[i]
        reached = total[depth] + ranked[i]
        if (
            reached > second
            and depth + 1 >= least
            and (no_needs or is_complete(bundle, depth + 1, requires))
        ):
            if reached > best_total:
                second, best_total = best_total, reached
                for d in range(best.size):
                    other[d] = best[d]
                    best[d] = bundle[d] if d <= depth else NO_ACTION
            else:
                second = reached
                for d in range(best.size):
                    other[d] = bundle[d] if d <= depth else NO_ACTION
        if (
            not is_last
            and i + 1 < count
            and _sum(reached, depth + 1, i + 1, most, least, count, ranked) > second
        ):
            _enter(
                depth, count, order, bundle, barred, room, members, contact, cap_indptr,
                cap_group, per_contact, conflicts,
            )  # fmt: skip
            depth += 1
            follow[depth] = i + 1
            total[depth] = reached
    return best_total, second
