"""The best plans of those subscribers of a tile who need a search, compiled by Numba."""

from typing import Any

import numpy as np
from numba import njit

from kernels.bundle_listed import LOWEST_BIT, PLACES
from kernels.bundle_rows import MUST, NO_ACTION, REST, best_single
from kernels.planned_search import (
    DAYS,
    groups_of,
    may_join,
    prepared,
    search_days,
    shared_spans,
)


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
def _open_pairs(
    s: int, w: float, g: int, days: int, propensity: Any, open_days: Any, day_class: Any,
    fixed: Any, accept: Any, all_paid: Any, due: Any, good: Any, value: Any,
) -> int:  # fmt: skip
    """List all pairs that are open on some day, and return how many."""
    count, full = 0, (1 << days) - 1
    for a in range(propensity.shape[0]):
        p, mask = np.float64(propensity[a, s]), np.int64(open_days[day_class[a], s])
        if p >= 0.0 and mask != 0:
            _on_days(w, g, a, p, mask, fixed, accept, all_paid, due, full, value, count)
            good[count] = a
            count += 1
    return count


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
    (good, value, own, place, top, peak, shared, at, follow, turn, bundle, total, rest, taken,
     scratch) = work  # fmt: skip
    groups_of_pair = groups_of(within)
    days, width = pair_of.size // propensity.shape[0], bundles.shape[1]
    surplus = np.empty(pair_of.size)
    best, other = np.empty(width, np.int64), np.empty(width, np.int64)
    reach, no_needs = spans.shape[0] // max(1, within.shape[0]), requires[:0]
    for t in listed[:count]:
        s, w, g, size = low + t, wide[t], group[low + t], np.int64(most[low + t])
        for d in range(width):
            best[d] = other[d] = NO_ACTION
        best_total, second, found, near, close = -np.inf, -np.inf, 0, -np.inf, NO_ACTION
        lowest, least, needs = 0.0, np.int64(0), no_needs
        is_possible = size > 0 and fewest[s] & REST <= size
        if bare[t]:
            found, near, close = _good_pairs(
                s, t, w, g, days, pays, propensity, open_days, day_class, fixed, accept, all_paid,
                due, nearest[t], closest[t], good, value,
            )  # fmt: skip
        elif is_possible and size > 1:
            found = _open_pairs(
                s, w, g, days, propensity, open_days, day_class, fixed, accept, all_paid, due, good,
                value,
            )  # fmt: skip
            lowest, least, needs = -np.inf, np.int64(fewest[s]), requires
        offers = prepared(found, days, lowest, good, value, offer, own, place, top, peak)
        if bare[t] and (size == 1 or offers <= 1):
            best_total, second = _two_best(found, days, good, value, best, other)
        elif is_possible and size == 1:
            _surpluses(
                s, w, g, days, propensity, open_days, day_class, fixed, accept, all_paid, due,
                value, surplus,
            )  # fmt: skip
            best_total, second = best_single(surplus, fewest[s], requires, best, other)
        elif found:
            bits = shared_spans(found, days, good, groups_of_pair, spans, s, reach, shared)
            best_total, second = search_days(
                found, days, size, least, lowest, offers, good, value, own, top, peak, bits, spans,
                s, shared, at, follow, turn, bundle, total, rest, taken, scratch, pair_of, day_of,
                conflicts, indptr, groups, within, reach, needs, best, other,
            )  # fmt: skip
        elif is_possible and fewest[s] < MUST:
            best_total = 0.0
        if bare[t] and near > -np.inf and best_total + near > second and best[size - 1] < 0:
            if close < 0:
                close = first_day(
                    s, w, g, closest[t], days, propensity, open_days, day_class, fixed, accept,
                    all_paid, due, value,
                )  # fmt: skip
            second = _one_more(
                s, w, g, days, near, close, best_total, second, propensity, open_days, day_class,
                fixed, accept, all_paid, due, value, pair_of, day_of, conflicts, indptr, groups,
                within, spans, reach, scratch, best, other,
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
    within: Any, spans: Any, reach: int, scratch: Any, best: Any, other: Any,
) -> float:  # fmt: skip
    """Return the second best surplus where the best and one more, that does not pay, may be it."""
    size, found, full = 0, close, (1 << days) - 1
    while size < best.size and best[size] >= 0:
        size += 1
    if may_join(
        best, size, close, 0, pair_of, day_of, conflicts, indptr, groups, within, spans, s, reach,
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
                    within, spans, s, reach, scratch,
                ):  # fmt: skip
                    found, second = a * days + d, best_total + v
    if found >= 0:
        for d in range(best.size):
            other[d] = best[d] if d < size else NO_ACTION
        other[size] = found
    return second
