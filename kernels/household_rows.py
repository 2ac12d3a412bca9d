"""The loops of ``households.py`` over the households of some rows, compiled by Numba."""

from typing import Any

import numpy as np
from numba import njit

from kernels.bundle_listed import search_listed
from kernels.bundle_rows import NO_ACTION
from kernels.bundle_search import members_of, work_for
from kernels.bundle_tiles import look_through, tile_of
from kernels.choose_rows import TILE, add_square, add_use, count_contact, difference
from kernels.household_candidates import (
    MOST_MEMBERS,
    actions_sharing,
    go_together,
    joint_work,
)
from kernels.household_joint import search_jointly

REST_OF_JOINT = -1


@njit(cache=True, nogil=True)
def _first_of(household: Any, s: int, end: int) -> int:
    """Return the first row from ``s`` to ``end`` in which a household begins; else ``end``."""
    while s < end and (household[s] < 0 or (s > 0 and household[s] == household[s - 1])):
        s += 1
    return s


@njit(cache=True, nogil=True)
def _end_of(household: Any, s: int) -> int:
    """Return the row after the last one of the household that begins in row ``s``."""
    end = s + 1
    while end < household.size and household[end] == household[s]:
        end += 1
    return end


@njit(cache=True, nogil=True)
def _stretch(household: Any, s: int, end: int) -> Any:
    """Return the next rows, a tile at most, of whole households that begin before ``end``."""
    low = _first_of(household, s, end)
    high = low
    while high < end and household[high] >= 0:
        after = _end_of(household, high)
        if after - low > TILE + MOST_MEMBERS:
            break
        high = after
    return low, high


@njit(cache=True, nogil=True)
def _fill(
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, cap: Any, household: Any,
    room: Any, rules: Any, ties: Any, tables: Any, members: Any, sharing: Any, low: int, high: int,
    tile: Any, work: Any, joint: Any, heads: Any,
) -> None:  # fmt: skip
    """Fill a tile's bundles, others and margins of whole households.

    ``heads`` gets, in the first row of a household whose members choose together, how many they
    are, and ``REST_OF_JOINT`` in the others; 0 where a row chooses by itself.
    """
    _, nearest, closest, _, _, _, apart, bundles, others = tile
    count = look_through(propensity, weight, group, most, fewest, rules, tables, low, high, tile)
    for t in range(high - low):
        apart[t] = 0.0 - nearest[t]
        for i in range(bundles.shape[1]):
            bundles[t, i] = others[t, i] = NO_ACTION
        others[t, 0] = closest[t]
    search_listed(
        propensity, group, most, fewest, cap, rules, tables, members, low, count, tile, work
    )  # fmt: skip
    s = low
    while s < high:
        end, t = _end_of(household, s), s - low
        heads[t : end - low] = 0
        if not go_together(s, t, end - s, bundles, room, rules[2], ties, joint[28]):
            margin = search_jointly(
                s, t, end - s, propensity, group, most, cap, room, sharing, members, rules, ties,
                tables, tile, work[1], work[0], joint,
            )  # fmt: skip
            heads[t : end - low] = REST_OF_JOINT
            heads[t] = end - s
            apart[t : end - low] = margin
        s = end


@njit(cache=True, nogil=True)
def choose_household_rows(
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, cap: Any, household: Any,
    room: Any, rules: Any, ties: Any, tables: Any, begin: int, end: int, chosen: Any, margin: Any,
    tally: Any,
) -> None:  # fmt: skip
    actions, width, caps = propensity.shape[0], chosen.shape[0], cap.shape[0]
    tile, work = tile_of(TILE + MOST_MEMBERS, actions, width), work_for(actions, width, caps)
    joint, heads = joint_work(actions, width, caps, room.shape[0]), np.empty(tile[0].size, np.int64)
    members, sharing = members_of(actions, caps, rules[3], rules[4]), actions_sharing(rules[2])
    bound = (*ties, members_of(actions, room.shape[0], ties[0], ties[1]))
    wide, apart, bundles = tile[0], tile[6], tile[7]
    low, high = _stretch(household, begin, end)
    while low < high:
        _fill(
            propensity, weight, group, most, fewest, cap, household, room, rules, bound, tables,
            members, sharing, low, high, tile, work, joint, heads,
        )  # fmt: skip
        for t in range(high - low):
            s = low + t
            margin[s] = apart[t]
            for i in range(width):
                a = bundles[t, i]
                chosen[i, s] = a
                if a >= 0:
                    count_contact(tally[group[s], a], propensity[a, s], wide[t])
        low, high = _stretch(household, high, end)


@njit(cache=True, nogil=True)
def curve_household_rows(
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, cap: Any, household: Any,
    room: Any, rules: Any, ties: Any, tables: Any, entries: Any, bandwidth: float, unit: float,
    begin: int, end: int, width: int, tally: Any, curvature: Any, near: Any,
) -> None:  # fmt: skip
    actions, caps = propensity.shape[0], cap.shape[0]
    tile, work = tile_of(TILE + MOST_MEMBERS, actions, width), work_for(actions, width, caps)
    joint, heads = joint_work(actions, width, caps, room.shape[0]), np.empty(tile[0].size, np.int64)
    members, sharing = members_of(actions, caps, rules[3], rules[4]), actions_sharing(rules[2])
    bound = (*ties, members_of(actions, room.shape[0], ties[0], ties[1]))
    wide, apart, bundles, others = tile[0], tile[6], tile[7], tile[8]
    found, amount = np.empty(curvature.shape[0], np.int64), np.empty(curvature.shape[0])
    low, high = _stretch(household, begin, end)
    while low < high:
        _fill(
            propensity, weight, group, most, fewest, cap, household, room, rules, bound, tables,
            members, sharing, low, high, tile, work, joint, heads,
        )  # fmt: skip
        for t in range(high - low):
            s, g, moved = low + t, group[low + t], 0
            for a in bundles[t]:
                if a >= 0:
                    count_contact(tally[g, a], propensity[a, s], wide[t])
            if heads[t] == REST_OF_JOINT or not apart[t] < bandwidth:
                continue
            near[0] += 1
            if heads[t] == 0:
                moved = difference(
                    s, g, propensity, 1, bundles[t], others[t], entries, found, amount
                )  # fmt: skip
            else:
                for sign, side in ((1.0, bundles), (-1.0, others)):
                    for m in range(heads[t]):
                        moved = add_use(
                            s + m, group[s + m], propensity, 1, side[t + m], sign, entries, found,
                            amount, moved,
                        )  # fmt: skip
            add_square(found, amount, moved, unit, curvature)
        low, high = _stretch(household, high, end)
