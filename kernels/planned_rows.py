"""The loops of ``planned.py`` over subscribers, compiled by Numba."""

from typing import Any

import numpy as np
from numba import njit

from kernels.bundle_rows import NO_ACTION, is_free
from kernels.choose_rows import TILE, add_square, count_contact, difference
from kernels.planned_listed import first_day, search_listed_days
from kernels.planned_search import DAYS, room_for
from kernels.planned_tiles import look_through_days, tile_of_days


@njit(cache=True, nogil=True)
def _needy(pair_of: Any, requires: Any) -> Any:
    """Return the pairs of which an action requires others, int64."""
    found = np.zeros(pair_of.max() + 1, np.bool_)
    for a in range(pair_of.size):
        found[pair_of[a]] |= not is_free(a, requires)
    return np.flatnonzero(found)


@njit(cache=True, nogil=True)
def choose_planned_rows(
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, open_days: Any, spans: Any,
    rules: Any, plan: Any, tables: Any, begin: int, end: int, chosen: Any, margin: Any, tally: Any,
) -> None:  # fmt: skip
    fixed, accept, all_paid, due = tables
    pairs, width = propensity.shape[0], chosen.shape[0]
    days, needy = plan[1].size // pairs, _needy(plan[1], rules[2])
    tile = tile_of_days(pairs, width)
    work = room_for(pairs, rules[0], width)
    wide, _, nearest, _, _, _, listed, apart, bundles, _, _, _ = tile
    last = min(DAYS, -(-days // 4) * 4)
    for low in range(begin, end, TILE):
        high = min(low + TILE, end)
        count = look_through_days(
            propensity, weight, group, most, fewest, open_days, plan[0], needy, fixed, accept,
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
    pairs = propensity.shape[0]
    days, needy = plan[1].size // pairs, _needy(plan[1], rules[2])
    tile = tile_of_days(pairs, width)
    work = room_for(pairs, rules[0], width)
    wide, _, nearest, closest, _, _, listed, apart, bundles, others, _, _ = tile
    last = min(DAYS, -(-days // 4) * 4)
    found, amount = np.empty(curvature.shape[0], np.int64), np.empty(curvature.shape[0])
    none, other = np.full(1, NO_ACTION), np.empty(1, np.int64)
    for low in range(begin, end, TILE):
        high = min(low + TILE, end)
        count = look_through_days(
            propensity, weight, group, most, fewest, open_days, plan[0], needy, fixed, accept,
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
                all_paid, due, work[1],
            )  # fmt: skip
            moved = difference(s, g, propensity, days, none, other, entries, found, amount)
            add_square(found, amount, moved, unit, curvature)
