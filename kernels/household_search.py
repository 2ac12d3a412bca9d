"""The exact search for the joint best bundles of one household, compiled by Numba.

Depth first, member by member in the order of rows: a member's candidates best first (ties by lowest
index), each with all that may follow it, and last of all no further one. Of equal joint choices the
first in this order wins. A branch ends when its bound does not beat the second best; as bounds only
leave out what cannot be among the two best, they never change the answer. What members of a
household exclude is none of its business, see :mod:`kernels.household_joint`.

Arrays are arguments one by one, as in :mod:`kernels.bundle_search`.
"""

from typing import Any

import numpy as np
from numba import njit

from kernels.bundle_rows import NO_ACTION
from kernels.household_bound import rest


@njit(cache=True, nogil=True)
def joins_path(k: int, count: int, a: int, path: Any, contact: Any) -> bool:
    """Would ``a`` go out in one contact with one of the first ``count`` actions of member k?"""
    found = False
    for i in range(count):
        found |= contact[path[k, i]] == contact[a]
    return found


@njit(cache=True, nogil=True)
def _take(
    k: int, depth: int, level: int, count: Any, order: Any, path: Any, barred: Any, own_room: Any,
    room: Any, members: Any, contact: Any, cap_indptr: Any, cap_group: Any, per_contact: Any,
    conflicts: Any, household_members: Any, household_indptr: Any, household_group: Any,
    household_per_contact: Any,
) -> None:  # fmt: skip
    """Take the room of member k's last action, and bar the candidates that no longer fit."""
    a = path[k, depth]
    words = household_members.shape[1]
    for word in range(words):
        barred[level + 1, word] = barred[level, word] | conflicts[a, word]
    for c in range(cap_indptr[a], cap_indptr[a + 1]):
        d = cap_group[c]
        if per_contact[d] and joins_path(k, depth, a, path, contact):
            continue
        own_room[k, d] -= 1
        if own_room[k, d] <= 0:
            _bar(
                k, depth, level, per_contact[d], members[d], count, order, path, barred, contact
            )  # fmt: skip
    for c in range(household_indptr[a], household_indptr[a + 1]):
        e = household_group[c]
        if household_per_contact[e] and joins_path(k, depth, a, path, contact):
            continue
        room[e] -= 1
        if room[e] <= 0:
            _bar(
                k, depth, level, household_per_contact[e], household_members[e], count, order,
                path, barred, contact,
            )  # fmt: skip


@njit(cache=True, nogil=True)
def _bar(
    k: int, depth: int, level: int, whole: int, members: Any, count: Any, order: Any, path: Any,
    barred: Any, contact: Any,
) -> None:  # fmt: skip
    """Bar the candidates of a cap without room; what goes out in a contact of the path fits."""
    if not whole:
        for word in range(members.size):
            barred[level + 1, word] |= members[word]
        return
    for i in range(count[k]):
        b = order[k, i]
        if members[b >> 6] >> (b & 63) & 1 and not joins_path(k, depth + 1, b, path, contact):
            barred[level + 1, b >> 6] |= np.int64(1) << (b & 63)


@njit(cache=True, nogil=True)
def _leave(
    level: int, k: int, entry: Any, taken: Any, path: Any, own_room: Any, room: Any, contact: Any,
    cap_indptr: Any, cap_group: Any, per_contact: Any, household_indptr: Any, household_group: Any,
    household_per_contact: Any,
) -> Any:  # fmt: skip
    """Leave a level of the path, the room of its action given back; return level and member."""
    if level == entry[k]:
        return level - 1, k - 1
    taken[k] -= 1
    a = path[k, taken[k]]
    joined = joins_path(k, taken[k], a, path, contact)
    for c in range(cap_indptr[a], cap_indptr[a + 1]):
        d = cap_group[c]
        if not (per_contact[d] and joined):
            own_room[k, d] += 1
    for c in range(household_indptr[a], household_indptr[a + 1]):
        e = household_group[c]
        if not (household_per_contact[e] and joined):
            room[e] += 1
    return level - 1, k


@njit(cache=True, nogil=True)
def _bar_for_next(
    k: int, from_level: int, level: int, path: Any, taken: Any, barred: Any, room: Any,
    household_members: Any, household_indptr: Any, household_group: Any,
) -> None:  # fmt: skip
    """Bar on ``level`` what does not fit beside member k's actions for those after it."""
    words = household_members.shape[1]
    for word in range(words):
        barred[level, word] = barred[from_level, word]
    for j in range(taken[k]):
        a = path[k, j]
        for c in range(household_indptr[a], household_indptr[a + 1]):
            e = household_group[c]
            if room[e] <= 0:
                for word in range(words):
                    barred[level, word] |= household_members[e, word]


@njit(cache=True, nogil=True)
def explore(
    n: int, constant: int, limit: Any, steps: int, who: Any, size: Any, count: Any, order: Any,
    gain: Any, less: Any, rank: Any, top: Any, own_room: Any, room: Any, own: Any, path: Any,
    taken: Any, entry: Any, later: Any, follow: Any, reached: Any, total: Any, barred: Any,
    members: Any, classes: Any, contact: Any, cap_indptr: Any, cap_group: Any, per_contact: Any,
    conflicts: Any, household_members: Any, household_indptr: Any, household_group: Any,
    household_per_contact: Any, best: Any, other: Any,
) -> Any:  # fmt: skip
    """Write the two best joint choices of more than ``limit``, by member; return their gains.

    Returns:
        steps: how many were left; 0: the search did not end.
        best_total: gain of the best one found; -1: none.
        second: gain of the second best one found; -1: none.
    """
    best_total, second = np.int64(-1), np.int64(-1)
    level, k = 0, 0
    follow[0], reached[0], total[0], taken[0], entry[0] = 0, constant, 0, 0, 0
    for word in range(household_members.shape[1]):
        barred[0, word] = 0
    later[0] = 0
    for j in range(1, n):
        later[0] += top[j, 0, size[j]]
    while steps > 0:
        steps -= 1
        depth, i, found = taken[k], follow[level], False
        if depth < size[k]:
            wanted = limit - reached[level] - later[k]
            while i < count[k]:
                a = order[k, i]
                if (
                    less[k, i] + top[k, i + 1, size[k] - depth - 1] > wanted
                    and not barred[level, a >> 6] >> (a & 63) & 1
                ):
                    found = True
                    break
                i += 1
        if found:
            path[k, depth] = order[k, i]
            _take(
                k, depth, level, count, order, path, barred, own_room, room, members, contact,
                cap_indptr, cap_group, per_contact, conflicts, household_members, household_indptr,
                household_group, household_per_contact,
            )  # fmt: skip
            follow[level] = i + 1
            level += 1
            taken[k] = depth + 1
            follow[level] = i + 1
            reached[level] = reached[level - 1] + less[k, i]
            total[level] = total[level - 1] + gain[k, i]
            continue
        if follow[level] <= count[k]:  # no further one, once
            follow[level] = count[k] + 1
            if k + 1 == n:
                value = total[level]
                if value > limit:
                    is_best = value > best_total
                    for j in range(n):
                        for q in range(best.shape[1]):
                            if is_best:
                                other[who[j], q] = best[who[j], q]
                                best[who[j], q] = path[j, q] if q < taken[j] else NO_ACTION
                            else:
                                other[who[j], q] = path[j, q] if q < taken[j] else NO_ACTION
                    if is_best:
                        second, best_total = best_total, value
                    else:
                        second = value
                    limit = max(limit, second)
            elif reached[level] + later[k] > limit:
                _bar_for_next(
                    k, entry[k], level + 1, path, taken, barred, room, household_members,
                    household_indptr, household_group,
                )  # fmt: skip
                after = np.int64(0)
                for j in range(k + 2, n):
                    after += rest(
                        j, level + 1, size, count, order, less, rank, barred, classes, own
                    )  # fmt: skip
                here = rest(
                    k + 1, level + 1, size, count, order, less, rank, barred, classes, own
                )  # fmt: skip
                if reached[level] + here + after > limit:
                    level += 1
                    k += 1
                    follow[level], taken[k], entry[k], later[k] = 0, 0, level, after
                    reached[level], total[level] = reached[level - 1], total[level - 1]
                    continue
        if level == 0:
            break
        level, k = _leave(
            level, k, entry, taken, path, own_room, room, contact, cap_indptr, cap_group,
            per_contact, household_indptr, household_group, household_per_contact,
        )  # fmt: skip
    while level > 0:  # out of steps: all room is given back
        level, k = _leave(
            level, k, entry, taken, path, own_room, room, contact, cap_indptr, cap_group,
            per_contact, household_indptr, household_group, household_per_contact,
        )  # fmt: skip
    return steps, best_total, second
