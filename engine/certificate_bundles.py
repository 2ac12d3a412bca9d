"""The best bundle under any policies, by trying bundles one after the other: for the certificate.

A bundle is at most four actions, of pairs on days. Actions are sorted by worth; a bundle grows by
later ones. What may not be together (offers, conflicts, caps) is left out of what can follow; what
must be together (a minimum, an offer that another needs) is asked of the whole bundle. A branch
ends when its total, and the most that so many different offers of what can follow are worth, do not
beat the best. Where the best actions of distinct offers may be together, they are the best bundle.
Everything is a whole number, so the best is the best.
"""

from typing import Any

import numpy as np
from numba import njit

from engine.certificate_freedom import Freedom
from engine.certificate_rules import BUNDLE
from engine.certificate_windows import UNBOUNDED

NONE = np.iinfo(np.int64).min // 4


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def best_of(worth: Any, is_open: Any, free: Any) -> Any:
    """Return the best bundles that are allowed.

    Args:
        worth: [S, P, N] int64.
        is_open: [S, P] uint16, bit d: on day d.
        free: from :meth:`engine.certificate_freedom.Freedom.arrays`.

    Returns:
        highest: [S] int64, their worth; ``NONE`` for those who must have one and can have none.
        chosen: [S, 4] int64, the actions of one that is worth it; -1: no more.
    """
    left, least, must, group = free[:4]
    conflict = free[8]
    highest, chosen = np.empty(len(worth), np.int64), np.empty((len(worth), BUNDLE), np.int64)
    scratch = scratch_of(worth.shape[1], worth.shape[2], free[7])
    for s in range(len(worth)):
        highest[s] = best_one(
            worth[s], is_open[s], left[s], (least[s], must[s]), conflict[group[s]], free[4:],
            scratch, chosen[s],
        )  # fmt: skip
    return highest, chosen


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def scratch_of(pairs: int, days: int, offer: Any) -> Any:
    """Return room for :func:`best_one` to work in."""
    room = np.empty((BUNDLE, pairs), np.int64)
    room[0] = ~np.int64(0)
    return (
        np.empty(pairs * days, np.int64),
        np.empty((pairs * days, 4), np.int64),
        np.empty(1 + offer.max(), np.int64),
        np.empty(1 + offer.max(), np.int64),
        np.empty((BUNDLE, pairs * days), np.int64),
        room,
    )


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def best_one(  # noqa: PLR0917 (arrays, as kernels take them)
    worth: Any, is_open: Any, left: Any, minimum: Any, conflict: Any, rules: Any, scratch: Any,
    chosen: Any,
) -> Any:  # fmt: skip
    """Return the worth of the best bundle of one subscriber, and write it down.

    Args:
        worth: [P, N] int64.
        is_open: [P] uint16, bit d: on day d.
        left: [D, N, N] uint8, of the caps.
        minimum: the least actions, and whether there must be some.
        conflict: [A, A] bool.
        rules: what :meth:`engine.certificate_freedom.Freedom.arrays` has from ``counted`` on.
        scratch: from :func:`scratch_of`.
        chosen: [4] int64, receives the actions; -1: no more.
    """
    counted, by_contact, contact, offer, _, needy, met_by, whole = rules
    value, act, top, first, after, room = scratch
    least, must = minimum
    chosen[:] = -1
    loses = must or least > 1 or len(needy) > 0  # whether an action may be worth its loss
    n = _candidates(worth, is_open, left, loses, counted, offer, act, value)
    best, most = np.int64(NONE) if must else np.int64(0), _most(left, whole)
    if n == 0 or most == 0:
        return best
    if not loses:
        best = _greedy(
            act, value, n, most, left, conflict, counted, by_contact, contact, room, chosen
        )  # fmt: skip
        n = _worthy(act, value, n, most, best, top, first)
    order = np.argsort(-value[:n], kind="mergesort")
    return _search(
        act[order], value[order], most, least, best, left, conflict, counted, by_contact,
        contact, room, after, needy, met_by, chosen,
    )  # fmt: skip


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _candidates(  # noqa: PLR0917 (arrays, as kernels take them)
    worth: Any, is_open: Any, left: Any, loses: int, counted: Any, offer: Any, act: Any, value: Any
) -> int:
    """Write down the actions that may be in a bundle, by themselves; return how many.

    A row of ``act`` has the action, its pair, its day and its offer.
    """
    days, n = worth.shape[1], 0
    for p in range(len(worth)):
        bits = np.int64(is_open[p])
        if bits == 0:
            continue
        for c in range(len(counted)):
            if counted[c, p]:
                for day in range(days):
                    if left[c, day, day] == 0:
                        bits &= ~(np.int64(1) << day)
        for day in range(days):
            if (bits >> day) & 1 and (loses or worth[p, day] > 0):
                act[n, 0], act[n, 1], act[n, 2], act[n, 3] = p * days + day, p, day, offer[p]
                value[n] = worth[p, day]
                n += 1
    return n


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _most(left: Any, whole: Any) -> int:
    """Return how many actions there may be at most, by the caps that count all pairs.

    The days fall into runs, of each of which there may be as many as is left; of others any number.
    """
    days, most = left.shape[1], BUNDLE
    fewest = np.zeros(days + 1, np.int64)
    for c in range(len(left)):
        if not whole[c]:
            continue
        for d in range(days):
            fewest[d + 1] = UNBOUNDED
            for i in range(d + 1):
                fewest[d + 1] = min(fewest[d + 1], fewest[i] + left[c, i, d])
        most = min(most, fewest[days])
    return most


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _greedy(  # noqa: PLR0917 (arrays, as kernels take them)
    act: Any, value: Any, n: int, most: int, left: Any, conflict: Any, counted: Any,
    by_contact: Any, contact: Any, room: Any, chosen: Any,
) -> Any:  # fmt: skip
    """Return what a bundle is worth that takes the worthiest action that fits, again and again.

    It is written down.
    """
    taken, total = np.zeros(BUNDLE, np.int64), np.int64(0)
    for size in range(most):
        best, place = np.int64(0), -1
        for i in range(n):
            if value[i] > best and (room[size, act[i, 1]] >> act[i, 2]) & 1:
                is_free = True
                for m in range(size):
                    is_free &= not conflict[act[taken[m], 0], act[i, 0]]
                if is_free:
                    best, place = value[i], i
        if place < 0:
            break
        taken[size], chosen[size] = place, act[place, 0]
        total += best
        if size + 1 < most:
            _make_room(act, taken, size + 1, left, counted, by_contact, contact, room)
    return total


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _worthy(  # noqa: PLR0917 (arrays, as kernels take them)
    act: Any, value: Any, n: int, most: int, best: int, top: Any, first: Any
) -> int:
    """Keep the actions that, with the best of other offers, beat a bundle; return how many."""
    first[:] = 0  # the best action of each offer
    for i in range(n):
        first[act[i, 3]] = max(first[act[i, 3]], value[i])
    count = min(most, len(top))
    for m in range(count):
        top[m] = 0
    for worth in first:  # the best of so many offers, in order
        m = count - 1
        if worth > top[m]:
            while m > 0 and worth > top[m - 1]:
                top[m] = top[m - 1]
                m -= 1
            top[m] = worth
    others = np.int64(0)  # all of them but one
    for m in range(count - 1):
        others += top[m]
    last = top[count - 1]
    kept = 0
    for i in range(n):
        own = first[act[i, 3]]
        rest = others - own + last if own > last else others  # without its own offer
        if value[i] + rest > best:
            value[kept] = value[i]
            for k in range(act.shape[1]):  # a row at once takes Numba two seconds to compile
                act[kept, k] = act[i, k]
            kept += 1
    return kept


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _search(  # noqa: PLR0917 (arrays, as kernels take them)
    act: Any, value: Any, most: int, least: int, best: int, left: Any, conflict: Any, counted: Any,
    by_contact: Any, contact: Any, room: Any, after: Any, needy: Any, met_by: Any, chosen: Any,
) -> Any:  # fmt: skip
    """Return the highest worth of a bundle of at most so many of some actions, the worthiest first.

    One that beats ``best`` is written down. Row ``depth`` of ``after`` has what can follow the
    first ``depth`` actions of a bundle.
    """
    is_simple = least <= 1 and len(needy) == 0
    size, place = np.zeros(BUNDLE, np.int64), np.zeros(BUNDLE, np.int64)
    taken, total = np.zeros(BUNDLE, np.int64), np.zeros(BUNDLE, np.int64)
    offers = np.zeros(BUNDLE, np.int64)
    for i in range(len(value)):
        after[0, i] = i
    size[0], depth = len(value), 0
    while depth >= 0:
        row, more = place[depth], most - depth
        place[depth] += 1
        if (
            row >= size[depth]
            or total[depth] + _reach(after, depth, row, size[depth], act, value, more, offers)
            <= best
        ):
            depth -= 1
            continue
        i = after[depth, row]
        taken[depth] = i
        worth = total[depth] + value[i]
        if (
            depth + 1 >= least
            and worth > best
            and (is_simple or _has_its_needs(act, taken, depth, needy, met_by))
        ):
            best = worth
            for m in range(BUNDLE):
                chosen[m] = act[taken[m], 0] if m <= depth else -1
        if more == 1:
            continue
        rest = _reach(after, depth, row + 1, size[depth], act, value, more - 2, offers)
        others = worth + max(rest, 0)
        _make_room(act, taken, depth + 1, left, counted, by_contact, contact, room)
        n = 0
        for j in range(row + 1, size[depth]):
            then = after[depth, j]
            if others + value[then] <= best:
                break
            is_free = (room[depth + 1, act[then, 1]] >> act[then, 2]) & 1
            if is_free and not conflict[act[i, 0], act[then, 0]]:
                after[depth + 1, n] = then
                n += 1
                if more == 2 and is_simple:
                    break
        depth += 1
        size[depth], place[depth], total[depth] = n, 0, worth
    return best


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _reach(  # noqa: PLR0917 (arrays, as kernels take them)
    after: Any, depth: int, begin: int, end: int, act: Any, value: Any, most: int, offers: Any
) -> Any:
    """Return the most that so many of some actions are worth, of distinct offers."""
    reach, n = np.int64(0), 0
    for row in range(begin, end):
        i = after[depth, row]
        if n == most or (n and value[i] <= 0):
            break
        is_new = True
        for m in range(n):
            is_new &= offers[m] != act[i, 3]
        if is_new:
            offers[n] = act[i, 3]
            reach += value[i]
            n += 1
    return reach


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _make_room(  # noqa: PLR0917 (arrays, as kernels take them)
    act: Any, taken: Any, size: int, left: Any, counted: Any, by_contact: Any, contact: Any,
    room: Any,
) -> None:  # fmt: skip
    """Write down, for each pair, the days on which it may be beside so many actions, by the caps.

    A bit for each day. All but the last action have had their room made.
    """
    on = np.empty(BUNDLE, np.int64)
    last = act[taken[size - 1], 1]
    room[size] = room[size - 1]
    for c in range(len(counted)):
        if not counted[c, last]:
            continue
        k = 0  # contacts that count, their days in order
        for n in range(size):
            pair, day = act[taken[n], 1], act[taken[n], 2]
            is_new = counted[c, pair]
            for m in range(n if by_contact[c] else 0):
                other = act[taken[m], 1]
                if counted[c, other] and contact[other] == contact[pair]:
                    is_new &= act[taken[m], 2] != day
            if is_new:
                place = k
                while place > 0 and on[place - 1] > day:
                    on[place] = on[place - 1]
                    place -= 1
                on[place] = day
                k += 1
        bits = _free_days(on, k, left[c])
        for pair in range(room.shape[1]):
            if not counted[c, pair]:
                continue
            own = bits
            for n in range(size if by_contact[c] else 0):
                if contact[act[taken[n], 1]] == contact[pair]:  # one contact with it
                    own |= np.int64(1) << act[taken[n], 2]
            room[size, pair] &= own


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _free_days(on: Any, k: int, left: Any) -> Any:
    """Return the days, as bits, on which one more contact may be beside k, of days in order."""
    bits, before = np.int64(0), 0  # contacts up to the day
    for day in range(len(left)):
        while before < k and on[before] <= day:
            before += 1
        is_free = True
        for i in range(before + 1):
            first = on[i] if i < before else day
            for j in range(before, k + 1):
                end = on[j - 1] if j > before else day
                is_free &= j - i + 1 <= left[first, end]
        bits |= np.int64(is_free) << day
    return bits


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _has_its_needs(act: Any, taken: Any, last: int, needy: Any, met_by: Any) -> Any:
    for r in range(len(needy)):
        is_needed = is_met = False
        for i in range(last + 1):
            is_needed |= needy[r, act[taken[i], 1]]
            is_met |= met_by[r, act[taken[i], 1]]
        if is_needed and not is_met:
            return False
    return True


def exempt(is_open: Any, free: Freedom, chunk: int) -> Any:
    """Return [S] bool: who must have a bundle and can have none.

    Args:
        is_open: [S, P] uint16, bit d: on day d.
        free: what they may have together.
        chunk: subscribers at a time.
    """
    found = np.zeros(len(is_open), bool)
    if not free.must.any():
        return found
    for start in range(0, len(is_open), chunk):
        rows = slice(start, start + chunk)
        own = is_open[rows]
        worth = np.zeros((*own.shape, free.past.days), np.int64)
        found[rows] = free.must[rows] & (best_of(worth, own, free.arrays(rows))[0] == NONE)
    return found
