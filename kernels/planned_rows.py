"""The best bundles over several days, for the subscribers of a tile, compiled by Numba.

The propensities of a pair are read once and serve all its days. A pass without branches tells for
whom some action has a surplus; they, and those to whom pairs are closed on some of the days, are
looked at one by one.
"""

from typing import Any

import numpy as np
from numba import njit

from kernels.bundle_listed import LOWEST_BIT, PLACES
from kernels.bundle_rows import NO_ACTION, REST, best_single
from kernels.bundle_search import rank
from kernels.choose_rows import TILE, add_square, count_contact, difference
from kernels.planned_search import (
    DAYS,
    groups_of,
    may_join,
    prepared,
    room_for,
    search_good,
    search_ranked,
    shared_spans,
)

MANY = 48  # candidates that are sorted at once, not one by one
FEW = 8  # neighbours that are alike


@njit(cache=True, nogil=True)
def _four_days(
    p: Any, w: Any, fixed: Any, paid: Any, accept: Any, due: Any, d: int, most: Any
) -> None:
    """Raise the most surplus of a pair by that of four days; max(m, v) is m where v is NaN."""
    f0, f1, f2, f3 = fixed[d], fixed[d + 1], fixed[d + 2], fixed[d + 3]
    x0, x1, x2, x3 = paid[d], paid[d + 1], paid[d + 2], paid[d + 3]
    a0, a1, a2, a3 = accept[d], accept[d + 1], accept[d + 2], accept[d + 3]
    y0, y1, y2, y3 = due[d], due[d + 1], due[d + 2], due[d + 3]
    for t in range(most.size):
        m, u, q = most[t], w[t], np.float64(p[t])
        m = max(m, (u * f0 - x0) + (u * a0 - y0) * q)
        m = max(m, (u * f1 - x1) + (u * a1 - y1) * q)
        m = max(m, (u * f2 - x2) + (u * a2 - y2) * q)
        m = max(m, (u * f3 - x3) + (u * a3 - y3) * q)
        most[t] = m


@njit(cache=True, nogil=True)
def _seen(high: Any, a: int, pays: Any, nearest: Any, closest: Any) -> None:
    """Note for whom a pair pays, and where it is the best of those that do not."""
    bit = np.int64(1) << (a & 63)
    for t in range(high.size):
        v, n = high[t], nearest[t]
        pays[t] |= bit if v > 0.0 else 0
        v = -np.inf if v > 0.0 else v
        closest[t] = a if v > n else closest[t]
        nearest[t] = max(n, v)


@njit(cache=True, nogil=True)
def tile_of_days(pairs: int, width: int) -> Any:
    """Return room for a tile.

    Returns:
        wide: [T] float64, weights.
        high: [T] float64, the most surplus of a pair on any day.
        nearest: [T] float64, best surplus of the pairs that pay on no day; -inf: none is open.
        closest: [T] int64, the first of the best of them, or none.
        pays: [ceil(P / 64), T] int64, bit a % 64 of word a // 64: pair a may have a surplus.
        bare: [T] bool, whether any part of an allowed bundle is allowed too.
        listed: [T] int64, who is to be looked at, by number in the tile.
        apart: [T] float64, the margin of each that is listed.
        bundles: [T, Q] int64, its best bundle.
        others: [T, Q] int64, its second best bundle.
        follows: [T] bool, whether a subscriber's group and open days are those of the one before.
        paid: [P, DAYS] float64, what contacts pay, infinite on days on which a pair is not open.
    """
    return (
        np.empty(TILE), np.empty(TILE), np.empty(TILE), np.empty(TILE, np.int64),
        np.empty((-(-pairs // 64), TILE), np.int64), np.empty(TILE, np.bool_),
        np.empty(TILE, np.int64), np.empty(TILE), np.empty((TILE, width), np.int64),
        np.empty((TILE, width), np.int64), np.empty(TILE, np.bool_), np.empty((pairs, DAYS)),
    )  # fmt: skip


@njit(cache=True, nogil=True)
def _follow(group: Any, open_days: Any, low: int, end: int, follows: Any) -> None:
    """Note whose group and open days are those of the subscriber before."""
    follows[0] = False
    for t in range(1, end - low):
        follows[t] = group[low + t] == group[low + t - 1]
    for m in range(open_days.shape[0]):
        own = open_days[m, low:end]
        for t in range(1, own.size):
            follows[t] &= own[t] == own[t - 1]


@njit(cache=True, nogil=True)
def _paid_in(run: int, g: int, open_days: Any, day_class: Any, all_paid: Any, paid: Any) -> None:
    """Write what contacts pay in a run of subscribers of one group with the same open days."""
    for a in range(paid.shape[0]):
        mask = open_days[day_class[a], run]
        for d in range(DAYS):
            paid[a, d] = all_paid[g, a, d] if mask >> d & 1 else np.inf


@njit(cache=True, nogil=True)
def look_through_days(
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, open_days: Any,
    day_class: Any, has_needs: Any, fixed: Any, accept: Any, all_paid: Any, due: Any, last: int,
    low: int, end: int, tile: Any,
) -> int:  # fmt: skip
    """Fill a tile and list those for whom the empty bundle is not known to be the best.

    Args:
        propensity: [P, S] float32, and so on: as in :func:`kernels.planned.choose_planned_cpu`.
        weight: [S] float32.
        group: [S] int32; neighbours of one scope group with the same open days share their tables.
        most: [S] uint8.
        fewest: [S] uint8.
        open_days: [M, S] uint16.
        day_class: [P] int32.
        has_needs: whether any action requires another.
        fixed: [P, DAYS] float64, money per contact.
        accept: [P, DAYS] float64, money per acceptance.
        all_paid: [G, P, DAYS] float64, money to pay per contact.
        due: [G, P, DAYS] float64, money to pay per acceptance.
        last: days of a pair, rounded up to four.
        low: first subscriber of the tile.
        end: the end of the tile.
        tile: from :func:`tile_of_days`.

    Returns:
        how many are listed.
    """
    wide, high, nearest, closest, pays, bare, listed, _, _, _, follows, paid = tile
    size = end - low
    for t in range(size):
        wide[t], nearest[t], closest[t] = weight[low + t], -np.inf, NO_ACTION
        bare[t] = (fewest[low + t] <= 1) & (most[low + t] >= 1) & (not has_needs)
    for k in range(pays.shape[0]):
        for t in range(size):
            pays[k, t] = 0
    _follow(group, open_days, low, end, follows)
    begin = 0
    while begin < size:
        stop = begin + 1
        while stop < size and follows[stop]:
            stop += 1
        if stop - begin < FEW:  # tables of their own would cost more than they save
            for a in range(propensity.shape[0]):
                bit = np.int64(1) << (a & 63)
                for t in range(begin, stop):
                    pays[a >> 6, t] |= bit if propensity[a, low + t] >= 0.0 else 0
            begin = stop
            continue
        g = group[low + begin]
        _paid_in(low + begin, g, open_days, day_class, all_paid, paid)
        w, h = wide[begin:stop], high[begin:stop]
        n, c = nearest[begin:stop], closest[begin:stop]
        for a in range(propensity.shape[0]):
            p = propensity[a, low + begin : low + stop]
            h[:] = -np.inf
            for d in range(0, last, 4):
                _four_days(p, w, fixed[a], paid[a], accept[a], due[g, a], d, h)
            _seen(h, a, pays[a >> 6, begin:stop], n, c)
        begin = stop
    count = 0
    for t in range(size):
        some = pays[0, t]
        for k in range(1, pays.shape[0]):
            some |= pays[k, t]
        listed[count] = t
        count += (some != 0) | (not bare[t])
    return count


@njit(cache=True, nogil=True)
def _on_days(
    w: float, g: int, a: int, p: float, mask: int, fixed: Any, accept: Any, all_paid: Any,
    due: Any, full: int, out: Any, i: int,
) -> None:  # fmt: skip
    """Write a pair's surplus on each day into row ``i``, -inf where it is not open."""
    for d in range(DAYS):
        out[i, d] = (w * fixed[a, d] - all_paid[g, a, d]) + (w * accept[a, d] - due[g, a, d]) * p
    if mask != full:
        for d in range(DAYS):
            out[i, d] = out[i, d] if mask >> d & 1 else -np.inf


@njit(cache=True, nogil=True)
def _good_pairs(
    s: int, t: int, w: float, g: int, days: int, pays: Any, propensity: Any, open_days: Any,
    day_class: Any, fixed: Any, accept: Any, all_paid: Any, due: Any, nearest: float, first: int,
    good: Any, value: Any,
) -> tuple[int, float, int]:  # fmt: skip
    """List the pairs that pay on some day; return how many, and the best of all other actions.

    ``nearest`` is that of the pairs that pay on no day, ``first`` the first of those that have it;
    where that is the best, no action is named.
    """
    count, closest, full = 0, NO_ACTION, (1 << days) - 1
    for k in range(pays.shape[0]):
        bits = pays[k, t]
        while bits != 0:
            lowest = bits & -bits
            bits ^= lowest
            a = 64 * k + PLACES[((lowest * LOWEST_BIT) >> 58) & 63]
            mask = np.int64(open_days[day_class[a], s])
            _on_days(
                w, g, a, np.float64(propensity[a, s]), mask, fixed, accept, all_paid, due, full,
                value, count,
            )  # fmt: skip
            is_good = False
            for d in range(days):
                v = value[count, d]
                is_good |= v > 0.0
                if v <= 0.0 and (v > nearest or (v == nearest and a < first)):
                    nearest, closest, first = v, a * days + d, NO_ACTION
            if is_good:
                good[count] = a
                count += 1
    return count, nearest, closest


@njit(cache=True, nogil=True)
def _surpluses(
    s: int, w: float, g: int, days: int, propensity: Any, open_days: Any, day_class: Any,
    fixed: Any, accept: Any, all_paid: Any, due: Any, value: Any, surplus: Any,
) -> None:  # fmt: skip
    """Write the surplus of every action, NaN where it is not open."""
    surplus[:] = np.nan
    for a in range(propensity.shape[0]):
        p, mask = np.float64(propensity[a, s]), np.int64(open_days[day_class[a], s])
        if not p >= 0.0:
            continue
        _on_days(w, g, a, p, mask, fixed, accept, all_paid, due, mask, value, 0)
        for d in range(days):
            if mask >> d & 1:
                surplus[a * days + d] = value[0, d]


@njit(cache=True, nogil=True)
def _ranked(surplus: Any, order: Any, ranked: Any) -> int:
    """Rank all open actions, best first, of equals the first; return how many."""
    count = 0
    for a in range(surplus.size):
        if surplus[a] > 0.0 or surplus[a] <= 0.0:
            order[count], ranked[count] = a, surplus[a]
            count += 1
    if count > MANY:
        place = np.argsort(-ranked[:count], kind="mergesort")
        order[:count] = order[:count][place]
        ranked[:count] = ranked[:count][place]
        return count
    for i in range(count):
        rank(order[i], ranked[i], i, order, ranked)
    return count


@njit(cache=True, nogil=True)
def _two_best(
    count: int, days: int, good: Any, value: Any, best: Any, other: Any
) -> tuple[float, float]:
    """Write the best and the second best of single actions that pay, or none."""
    first, second = 0.0, -np.inf
    for i in range(count):
        for d in range(days):
            v, a = value[i, d], good[i] * days + d
            if not v > 0.0:
                continue
            if v > first:
                second, other[0], first, best[0] = first, best[0], v, a
            elif v > second:
                second, other[0] = v, a
    return first, second


@njit(cache=True, nogil=True)
def search_listed_days(
    propensity: Any, group: Any, most: Any, fewest: Any, open_days: Any, spans: Any, rules: Any,
    plan: Any, fixed: Any, accept: Any, all_paid: Any, due: Any, low: int, count: int, tile: Any,
    work: Any,
) -> None:  # fmt: skip
    """Write the two best bundles of those who are listed, and the margin between them.

    As :func:`kernels.bundle_listed.search_listed`, with the arrays of :func:`look_through_days`;
    ``spans`` [L R, S] int64, rules and plan are those of
    :func:`kernels.planned.choose_planned_cpu`, and work is of
    :func:`kernels.planned_search.room_for`.
    """
    wide, _, nearest, closest, pays, bare, listed, apart, bundles, others, _, _ = tile
    offer, conflicts, requires = rules
    day_class, pair_of, day_of, indptr, groups, within = plan
    (order, ranked, good, value, own, place, top, peak, word, shared, at, follow, turn, bundle,
     total, rest, taken, scratch) = work  # fmt: skip
    groups_of_pair = groups_of(within)
    days, width = pair_of.size // propensity.shape[0], bundles.shape[1]
    surplus = np.empty(pair_of.size)
    best, other = np.empty(width, np.int64), np.empty(width, np.int64)
    reach = spans.shape[0] // max(1, within.shape[0])
    for t in listed[:count]:
        s, w, g, size = low + t, wide[t], group[low + t], np.int64(most[low + t])
        for d in range(width):
            best[d] = other[d] = NO_ACTION
        best_total, second, found, offers, near, close = -np.inf, -np.inf, 0, 1, -np.inf, NO_ACTION
        is_possible = size > 0 and fewest[s] & REST <= size
        if bare[t]:
            found, near, close = _good_pairs(
                s, t, w, g, days, pays, propensity, open_days, day_class, fixed, accept, all_paid,
                due, nearest[t], closest[t], good, value,
            )  # fmt: skip
            offers = prepared(found, days, good, value, offer, own, place, top, peak)
        elif is_possible:
            _surpluses(
                s, w, g, days, propensity, open_days, day_class, fixed, accept, all_paid, due,
                value, surplus,
            )  # fmt: skip
        needs_spans = size > 1 and (offers > 1 or not bare[t])
        for k in range(word.size if needs_spans else 0):
            word[k] = spans[k, s]
        if bare[t] and (size == 1 or offers <= 1):
            best_total, second = _two_best(found, days, good, value, best, other)
        elif bare[t]:
            bits = shared_spans(found, days, good, groups_of_pair, word, reach, shared)
            best_total, second = search_good(
                found, days, size, offers, good, value, own, top, peak, bits, word, shared, at,
                follow, turn, bundle, total, rest, taken, scratch, pair_of, day_of, conflicts,
                indptr, groups, within, reach, best, other,
            )  # fmt: skip
        elif is_possible and size == 1:
            best_total, second = best_single(surplus, fewest[s], requires, best, other)
        elif is_possible:
            found = _ranked(surplus, order, ranked)
            best_total, second = search_ranked(
                found, size, fewest[s], order, ranked, follow, bundle, total, pair_of, day_of,
                conflicts, indptr, groups, within, word, reach, scratch, requires, best, other,
            )  # fmt: skip
        if bare[t] and near > -np.inf and best_total + near > second and best[size - 1] < 0:
            for k in range(word.size if best[0] >= 0 and not needs_spans else 0):
                word[k] = spans[k, s]
            if close < 0:
                close = first_day(
                    s, w, g, closest[t], days, propensity, open_days, day_class, fixed, accept,
                    all_paid, due, value,
                )  # fmt: skip
            second = _one_more(
                s, w, g, days, near, close, best_total, second, propensity, open_days, day_class,
                fixed, accept, all_paid, due, value, pair_of, day_of, conflicts, indptr, groups,
                within, word, reach, scratch, best, other,
            )  # fmt: skip
        apart[t] = best_total - second if best_total > -np.inf else np.inf
        for d in range(width):
            bundles[t, d], others[t, d] = best[d], other[d]


@njit(cache=True, nogil=True)
def first_day(
    s: int, w: float, g: int, a: int, days: int, propensity: Any, open_days: Any, day_class: Any,
    fixed: Any, accept: Any, all_paid: Any, due: Any, value: Any,
) -> int:  # fmt: skip
    """Return the action of a pair that is open: it on the first day of its most surplus."""
    mask = np.int64(open_days[day_class[a], s])
    p = np.float64(propensity[a, s])
    _on_days(w, g, a, p, mask, fixed, accept, all_paid, due, (1 << days) - 1, value, 0)
    best = 0
    for d in range(1, days):
        if value[0, d] > value[0, best]:
            best = d
    return a * days + best


@njit(cache=True, nogil=True)
def _one_more(
    s: int, w: float, g: int, days: int, near: float, close: int, best_total: float, second: float,
    propensity: Any, open_days: Any, day_class: Any, fixed: Any, accept: Any, all_paid: Any,
    due: Any, value: Any, pair_of: Any, day_of: Any, conflicts: Any, indptr: Any, groups: Any,
    within: Any, word: Any, reach: int, scratch: Any, best: Any, other: Any,
) -> float:  # fmt: skip
    """Return the second best surplus where the best and one more, that does not pay, may be it."""
    size, found, full = 0, close, (1 << days) - 1
    while size < best.size and best[size] >= 0:
        size += 1
    if may_join(
        best, size, close, 0, pair_of, day_of, conflicts, indptr, groups, within, word, reach,
        scratch,
    ):  # fmt: skip
        second = best_total + near
    else:
        found = NO_ACTION
        for a in range(propensity.shape[0]):
            p, mask = np.float64(propensity[a, s]), np.int64(open_days[day_class[a], s])
            if not p >= 0.0:
                continue
            _on_days(w, g, a, p, mask, fixed, accept, all_paid, due, full, value, 0)
            for d in range(days):
                v = value[0, d]
                if v <= 0.0 and best_total + v > second and may_join(
                    best, size, a * days + d, 0, pair_of, day_of, conflicts, indptr, groups,
                    within, word, reach, scratch,
                ):  # fmt: skip
                    found, second = a * days + d, best_total + v
    if found >= 0:
        for d in range(best.size):
            other[d] = best[d] if d < size else NO_ACTION
        other[size] = found
    return second


@njit(cache=True, nogil=True)
def choose_planned_rows(
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, open_days: Any, spans: Any,
    rules: Any, plan: Any, tables: Any, begin: int, end: int, chosen: Any, margin: Any, tally: Any,
) -> None:  # fmt: skip
    fixed, accept, all_paid, due = tables
    pairs, width, has_needs = propensity.shape[0], chosen.shape[0], rules[2].shape[0] > 0
    days = plan[1].size // pairs
    tile = tile_of_days(pairs, width)
    work = room_for(plan[1].size, pairs, int(rules[0].max()) + 1, spans.shape[0], width)
    wide, _, nearest, _, _, _, listed, apart, bundles, _, _, _ = tile
    last = min(DAYS, -(-days // 4) * 4)
    for low in range(begin, end, TILE):
        high = min(low + TILE, end)
        count = look_through_days(
            propensity, weight, group, most, fewest, open_days, plan[0], has_needs, fixed, accept,
            all_paid, due, last, low, high, tile,
        )  # fmt: skip
        for t in range(high - low):
            margin[low + t] = 0.0 - nearest[t]
        for i in range(width):
            for s in range(low, high):
                chosen[i, s] = NO_ACTION
        search_listed_days(
            propensity, group, most, fewest, open_days, spans, rules, plan, fixed, accept, all_paid,
            due, low, count, tile, work,
        )  # fmt: skip
        for t in listed[:count]:
            s = low + t
            margin[s] = apart[t]
            for i in range(width):
                a = bundles[t, i]
                chosen[i, s] = a
                if a >= 0:
                    count_contact(tally[group[s], a], propensity[a // days, s], wide[t])


@njit(cache=True, nogil=True)
def curve_planned_rows(
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, open_days: Any, spans: Any,
    rules: Any, plan: Any, tables: Any, entries: Any, bandwidth: float, unit: float, begin: int,
    end: int, width: int, tally: Any, curvature: Any, near: Any,
) -> None:  # fmt: skip
    fixed, accept, all_paid, due = tables
    pairs, has_needs = propensity.shape[0], rules[2].shape[0] > 0
    days = plan[1].size // pairs
    tile = tile_of_days(pairs, width)
    work = room_for(plan[1].size, pairs, int(rules[0].max()) + 1, spans.shape[0], width)
    wide, _, nearest, closest, _, _, listed, apart, bundles, others, _, _ = tile
    last = min(DAYS, -(-days // 4) * 4)
    found, amount = np.empty(curvature.shape[0], np.int64), np.empty(curvature.shape[0])
    none, other = np.full(1, NO_ACTION), np.empty(1, np.int64)
    for low in range(begin, end, TILE):
        high = min(low + TILE, end)
        count = look_through_days(
            propensity, weight, group, most, fewest, open_days, plan[0], has_needs, fixed, accept,
            all_paid, due, last, low, high, tile,
        )  # fmt: skip
        search_listed_days(
            propensity, group, most, fewest, open_days, spans, rules, plan, fixed, accept, all_paid,
            due, low, count, tile, work,
        )  # fmt: skip
        for t in listed[:count]:
            s, g = low + t, group[low + t]
            for a in bundles[t]:
                if a >= 0:
                    count_contact(tally[g, a], propensity[a // days, s], wide[t])
            if apart[t] < bandwidth:
                near[0] += 1
                moved = difference(
                    s, g, propensity, days, bundles[t], others[t], entries, found, amount
                )
                add_square(found, amount, moved, unit, curvature)
            nearest[t] = -np.inf  # it is done
        for t in range(high - low):
            if not 0.0 - nearest[t] < bandwidth:
                continue
            near[0] += 1
            s, g = low + t, group[low + t]
            other[0] = first_day(
                s, wide[t], g, closest[t], days, propensity, open_days, plan[0], fixed, accept,
                all_paid, due, work[3],
            )  # fmt: skip
            moved = difference(s, g, propensity, days, none, other, entries, found, amount)
            add_square(found, amount, moved, unit, curvature)
