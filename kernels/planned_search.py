"""The exact search for one subscriber's best bundle over several days, compiled by Numba.

An action is a pair of offer and channel on a day. Caps leave a group of pairs room on runs of days;
``spans`` say the same in few words: digit d, of 4 bits, of row r - 1 of a group is the number of
days from d on, d included, on which there are at most r actions of the group; 0: no bound there.
So r + 1 actions of the group are too many if the last is on a day before the first one's plus its
digit.

Bundles are tried in the order of their days, depth first. With the days chosen so far, the caps of
the groups that count all candidates say on which day the next action may be at the earliest, and so
the ones after it. A branch ends when the rest can add no more than other offers' highest surpluses
from those days on.

Where any part of an allowed bundle is allowed too, the candidates are the *good* pairs, those with
a surplus on some day, and only actions with a surplus are tried. Where a minimum is asked or an
action requires others, they are all open pairs: a worthless action may be needed.

Arrays are arguments one by one, as in :mod:`kernels.bundle_search`.
"""

from typing import Any

import numpy as np
from numba import njit

from kernels.bundle_rows import MUST, NO_ACTION, REST, is_complete

DAYS = 16  # tables have room for so many days of a pair
DIGIT, LARGEST_DIGIT = 4, 15
SLACK = 2.0**-40  # of the largest surplus: what sums in another order may differ by


@njit(cache=True, nogil=True)
def room_for(pairs: int, offer: Any, width: int) -> Any:
    """Return room for searches, in the order in which the functions here take it.

    Args:
        pairs: P.
        offer: [A] int32, offers of the actions.
        width: Q.

    Returns:
        good: [P] int64, candidates.
        value: [P + 1, DAYS] float64, their surpluses, -inf on days on which they are not open.
        own: [P] int64, which of the candidates' offers each is of.
        place: [O] int64, what own says of each offer.
        top: [O, DAYS] float64, the most surplus of an offer on a day; of good pairs at least 0.
        peak: [O, DAYS + 1] float64, the same on that day or later.
        shared: [R] int64, the spans of the groups that count all candidates, as one.
        at: [Q + 1] int64, days.
        follow: [Q + 1] int64, the day to try next.
        turn: [Q + 1] int64, the candidate to try next on that day.
        bundle: [Q + 1] int64, the path so far.
        total: [Q + 1] float64, its surplus.
        rest: [Q + 1] float64, what can follow the next action.
        taken: [O] bool, offers of the path.
        scratch: [Q + 1] int64.
    """
    offers = 0
    for o in offer:  # Numba takes a second to compile the maximum of an array
        offers = max(offers, int(o) + 1)
    return (
        np.empty(pairs, np.int64), np.empty((pairs + 1, DAYS)), np.empty(pairs, np.int64),
        np.empty(offers, np.int64), np.empty((offers, DAYS)), np.empty((offers, DAYS + 1)),
        np.empty(width + 1, np.int64), np.empty(width + 1, np.int64),
        np.empty(width + 1, np.int64), np.empty(width + 1, np.int64),
        np.empty(width + 1, np.int64), np.empty(width + 1), np.empty(width + 1),
        np.empty(offers, np.bool_), np.empty(width + 1, np.int64),
    )  # fmt: skip


@njit(cache=True, nogil=True)
def groups_of(within: Any) -> Any:
    """Return [P] int64, bits of the groups that a pair is in, of the first 62."""
    found = np.zeros(within.shape[1], np.int64)
    for group in range(min(62, within.shape[0])):
        for a in range(found.size):
            found[a] |= np.int64(within[group, a] != 0) << group
    return found


@njit(cache=True, nogil=True)
def _insert(at: Any, size: int, day: int) -> None:
    place = size
    while place > 0 and at[place - 1] > day:
        at[place] = at[place - 1]
        place -= 1
    at[place] = day


@njit(cache=True, nogil=True)
def may_join(
    bundle: Any, count: int, a: int, known: int, pair_of: Any, day_of: Any, conflicts: Any,
    indptr: Any, groups: Any, within: Any, spans: Any, s: int, reach: int, at: Any,
) -> bool:  # fmt: skip
    """May action ``a`` join the first ``count`` actions of a bundle?

    Groups among the bits of ``known`` have room, as is known.
    """
    for i in range(count):
        b = bundle[i]
        if a == b or conflicts[a, b >> 6] >> (b & 63) & 1:
            return False
    for k in range(indptr[pair_of[a]], indptr[pair_of[a] + 1]):
        group, size = groups[k], 0
        if group < 62 and known >> group & 1:
            continue
        for i in range(count):
            if within[group, pair_of[bundle[i]]]:
                _insert(at, size, day_of[bundle[i]])
                size += 1
        if size == 0:
            continue
        _insert(at, size, day_of[a])
        for r in range(1, size + 1):
            digits = spans[group * reach + r - 1, s]
            for j in range(size + 1 - r):
                if at[j + r] < at[j] + (digits >> (DIGIT * at[j]) & LARGEST_DIGIT):
                    return False
    return True


@njit(cache=True, nogil=True)
def prepared(
    count: int, days: int, lowest: float, good: Any, value: Any, offer: Any, own: Any, place: Any,
    top: Any, peak: Any,
) -> int:  # fmt: skip
    """Number the offers of the candidates and note their peaks; return how many there are.

    ``lowest`` is what an action must be worth more than: 0 or -inf.
    """
    offers = 0
    for i in range(count):
        place[offer[good[i] * days]] = -1
    for i in range(count):
        o = offer[good[i] * days]
        if place[o] < 0:
            place[o] = offers
            for d in range(DAYS):
                top[offers, d] = lowest
            offers += 1
        mine = place[o]
        own[i] = mine
        for d in range(DAYS):
            top[mine, d] = max(top[mine, d], value[i, d])
    for o in range(offers):
        peak[o, days] = lowest
        for d in range(days - 1, -1, -1):
            peak[o, d] = max(top[o, d], peak[o, d + 1])
    return offers


@njit(cache=True, nogil=True)
def shared_spans(
    count: int,
    days: int,
    good: Any,
    groups_of_pair: Any,
    spans: Any,
    s: int,
    reach: int,
    shared: Any,
) -> Any:
    """Write the spans of the groups that count all candidates, the longest; return their bits."""
    bits = groups_of_pair[good[0]]
    for i in range(1, count):
        bits &= groups_of_pair[good[i]]
    for r in range(reach):
        shared[r] = 0
    rest, group = bits, 0
    while rest != 0:
        if rest & 1:
            for r in range(reach):
                one, two = spans[group * reach + r, s], shared[r]
                if two == 0 or one == two:
                    shared[r] = one
                elif one != 0:
                    longest = np.int64(0)
                    for d in range(days):
                        mask = np.int64(LARGEST_DIGIT) << (DIGIT * d)
                        longest |= max(one & mask, two & mask)
                    shared[r] = longest
        rest >>= 1
        group += 1
    return bits


@njit(cache=True, nogil=True)
def _earliest(at: Any, size: int, shared: Any, reach: int) -> Any:
    """Return the first day for one more action after ``size`` actions on ascending days."""
    day = at[size - 1]
    for r in range(1, min(reach, size) + 1):
        other = at[size - r]
        day = max(day, other + (shared[r - 1] >> (DIGIT * other) & LARGEST_DIGIT))
    return day


@njit(cache=True, nogil=True)
def _leaves_room(at: Any, size: int, day: int, shared: Any, reach: int, scratch: Any) -> bool:
    """Say whether the shared spans allow an action on a day beside those on ascending days."""
    for i in range(size):
        scratch[i] = at[i]
    _insert(scratch, size, day)
    for r in range(1, min(reach, size) + 1):
        for j in range(size + 1 - r):
            digit = shared[r - 1] >> (DIGIT * scratch[j]) & LARGEST_DIGIT
            if scratch[j + r] < scratch[j] + digit:
                return False
    return True


@njit(cache=True, nogil=True)
def _most_of(
    at: Any, size: int, more: int, need: int, days: int, offers: int, taken: Any, peak: Any,
    shared: Any, reach: int,
) -> float:  # fmt: skip
    """Return what ``need`` to ``more`` actions can add, the first on day ``at[size]`` or later.

    Of two in turn one offer counts once; of more, each counts by itself. -inf: there are not so
    many.
    """
    total, before, its_second, last = 0.0, -1.0, 0.0, -1
    found = 0.0 if need <= 0 else -np.inf
    for step in range(more):
        day = at[size + step]
        if day >= days:
            break
        floor = 0.0 if step >= need else -np.inf
        best, second, which = floor, floor, -1
        for o in range(offers):
            if not taken[o] and peak[o, day] > second:
                if peak[o, day] > best:
                    best, second, which = peak[o, day], best, o
                else:
                    second = peak[o, day]
        if which < 0:
            break
        if which == last:  # the same offer as before: one of the two takes its second best
            total += max(second, its_second + best - before)
            last = -1
        else:
            total += best
            before, its_second, last = best, second, which
        if step + 1 >= need:
            found = max(found, total)
        if step + 1 < more:
            at[size + step + 1] = _earliest(at, size + step + 1, shared, reach)
    return found


@njit(cache=True, nogil=True)
def _is_met(bundle: Any, count: int, a: int, requires: Any) -> bool:
    """Do the first ``count`` actions of a bundle, which have what they require, with ``a``?"""
    bundle[count] = a
    return bool(is_complete(bundle, count + 1, requires))


@njit(cache=True, nogil=True)
def _known(
    count: int, days: int, most: int, least: int, offers: int, good: Any, value: Any, own: Any,
    top: Any, bits: int, shared: Any, at: Any, bundle: Any, taken: Any, pair_of: Any, day_of: Any,
    conflicts: Any, indptr: Any, groups: Any, within: Any, spans: Any, s: int, reach: int,
    scratch: Any, requires: Any, may_be_empty: Any,
) -> float:  # fmt: skip
    """Return what two bundles reach, without the best of all being known; -inf: it is not known.

    One grows by the action of the most surplus on a day on which there is room, if it may join;
    the other is all but the last of it, or has another offer in its place. An action that requires
    others joins only after them.
    """
    total, before, size = 0.0, -np.inf, 0
    is_open: Any = np.int64(-1)
    for o in range(offers):
        taken[o] = False
    for _ in range(2 * most):
        floor = 0.0 if size >= least else -np.inf
        which, day, highest, next_which, next_day, second = -1, -1, floor, -1, -1, floor
        chosen, is_found = NO_ACTION, False
        for o in range(offers):
            for d in range(days):
                v = top[o, d]
                if not v > second or taken[o] or not is_open >> d & 1:
                    continue
                if v > highest:
                    next_which, next_day, second = which, day, highest
                    which, day, highest = o, d, v
                else:
                    next_which, next_day, second = o, d, v
        if which < 0:
            break
        for turn in range(2):
            o, d, v = (which, day, highest) if turn == 0 else (next_which, next_day, second)
            i = 0
            while o >= 0 and (own[i] != o or value[i, d] != v):
                i += 1
            a = good[i] * days + d
            fits = o >= 0 and may_join(
                bundle, size, a, bits, pair_of, day_of, conflicts, indptr, groups, within, spans, s,
                reach, scratch,
            )  # fmt: skip
            if fits and requires.shape[0] > 0 and not _is_met(bundle, size, a, requires):
                fits = False
                if turn == 0:
                    taken[o] = True
            if turn == 0:
                chosen, is_found = a, fits
            elif is_found:
                if size >= least and (size > 0 or may_be_empty):
                    before = max(before, total)
                if fits and size + 1 >= least:
                    before = max(before, total + v)
        if not is_found:
            if not taken[which]:
                is_open &= ~(np.int64(1) << day)
            continue
        bundle[size] = chosen
        total += highest
        taken[which] = True
        _insert(at, size, day)
        size += 1
        if size == most:
            break
        is_open = 0
        for e in range(days):
            is_open |= np.int64(_leaves_room(at, size, e, shared, reach, scratch)) << e
    return before


@njit(cache=True, nogil=True)
def search_days(
    count: int, days: int, most: int, fewest: int, lowest: float, offers: int, good: Any,
    value: Any, own: Any, top: Any, peak: Any, bits: int, spans: Any, s: int, shared: Any, at: Any,
    follow: Any, turn: Any, bundle: Any, total: Any, rest: Any, taken: Any, scratch: Any,
    pair_of: Any, day_of: Any, conflicts: Any, indptr: Any, groups: Any, within: Any, reach: int,
    requires: Any, best: Any, other: Any,
) -> tuple[float, float]:  # fmt: skip
    """Write the best and the second best bundle of the candidates; return their surpluses.

    The empty bundle is one of them, unless ``fewest`` says that it is not. Of equal bundles the
    first wins: by the first day, then the first pair. Only actions worth more than ``lowest`` are
    tried: 0 where any part of an allowed bundle is allowed, where ``fewest`` and ``requires`` must
    say nothing; else -inf.

    There are ``count`` candidates, at least 1; all else is of :func:`room_for`, filled by
    :func:`prepared` and :func:`shared_spans`, or of :func:`kernels.planned.choose_planned_cpu`.
    """
    most, least, no_needs = min(most, offers), fewest & REST, requires.shape[0] == 0
    best_total, second = -np.inf if fewest >= MUST else 0.0, -np.inf
    if most < least:
        return best_total, second
    bar = _known(
        count, days, most, least, offers, good, value, own, top, bits, shared, at, bundle, taken,
        pair_of, day_of, conflicts, indptr, groups, within, spans, s, reach, scratch, requires,
        fewest < MUST,
    )  # fmt: skip
    largest = 0.0
    for o in range(offers):
        taken[o] = False
        for d in range(days):
            largest = max(largest, abs(top[o, d]) if top[o, d] > -np.inf else 0.0)
    bar = max(bar - SLACK * largest, lowest)
    depth, is_new = 0, True
    follow[0], turn[0], total[0] = 0, 0, 0.0
    while depth >= 0:
        d, i, more, need = follow[depth], turn[depth], most - depth, least - depth
        if is_new:
            is_open = d < days
            if is_open:
                at[depth] = d
                more_of = _most_of(at, depth, more, need, days, offers, taken, peak, shared, reach)
                is_open = total[depth] + more_of > bar
            if not is_open:
                depth -= 1
                is_new = False
                if depth >= 0:
                    taken[own[turn[depth] - 1]] = False
                continue
            rest[depth] = 0.0
            if more > 1:
                at[depth] = d
                at[depth + 1] = _earliest(at, depth + 1, shared, reach)
                rest[depth] = _most_of(
                    at, depth + 1, more - 1, need - 1, days, offers, taken, peak, shared, reach
                )
        is_new = True
        while i < count:
            v = value[i, d]
            reached = total[depth] + v
            i += 1
            if not v > lowest or not reached + rest[depth] > bar or taken[own[i - 1]]:
                continue
            a = good[i - 1] * days + d
            if depth > 0 and not may_join(
                bundle, depth, a, bits, pair_of, day_of, conflicts, indptr, groups, within, spans,
                s, reach, scratch,
            ):  # fmt: skip
                continue
            bundle[depth] = a
            if (
                reached > second
                and need <= 1
                and (no_needs or is_complete(bundle, depth + 1, requires))
            ):
                if reached > best_total:
                    second, best_total = best_total, reached
                    for k in range(best.size):
                        other[k] = best[k]
                        best[k] = bundle[k] if k <= depth else NO_ACTION
                else:
                    second = reached
                    for k in range(best.size):
                        other[k] = bundle[k] if k <= depth else NO_ACTION
                bar = max(bar, second)
            if more > 1 and reached + rest[depth] > bar:
                at[depth] = d
                after = _earliest(at, depth + 1, shared, reach)
                if after < days:
                    turn[depth] = i
                    taken[own[i - 1]] = True
                    depth += 1
                    follow[depth], total[depth] = after, reached
                    turn[depth] = i if after == d else 0
                    is_new = False
                    break
        if is_new:
            follow[depth], turn[depth] = d + 1, 0
        is_new = True
    return best_total, second
