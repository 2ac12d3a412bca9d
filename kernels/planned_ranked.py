"""The search for the best plan where a worthless action may be needed, compiled by Numba.

For subscribers of whom a minimum is asked, and where actions require others.
"""

from typing import Any

import numpy as np
from numba import njit

from kernels.bundle_rows import MUST, NO_ACTION, REST, is_complete
from kernels.bundle_search import rank
from kernels.planned_search import may_join

MANY = 48  # candidates that are sorted at once, not one by one


@njit(cache=True, nogil=True)
def all_ranked(surplus: Any, order: Any, ranked: Any) -> int:
    """Rank all open actions, best first, of equals the first; return how many."""
    count = 0
    for a in range(surplus.size):
        if surplus[a] > 0.0 or surplus[a] <= 0.0:
            order[count], ranked[count] = a, surplus[a]
            count += 1
    if count > MANY:
        known, least = order[:count].copy(), -ranked[:count]
        place = np.argsort(least, kind="mergesort")
        for i in range(count):  # slices at once take Numba two seconds to compile
            order[i], ranked[i] = known[place[i]], -least[place[i]]
        return count
    for i in range(count):
        rank(order[i], ranked[i], i, order, ranked)
    return count


@njit(cache=True, nogil=True)
def search_ranked(
    count: int, most: int, fewest: int, order: Any, ranked: Any, follow: Any, bundle: Any,
    total: Any, pair_of: Any, day_of: Any, conflicts: Any, indptr: Any, groups: Any, within: Any,
    spans: Any, s: int, reach: int, at: Any, requires: Any, best: Any, other: Any,
) -> tuple[float, float]:  # fmt: skip
    """Write the best and the second best bundle of the ranked candidates; return their surpluses.

    As :func:`kernels.bundle_search.search`, with room by days: for those of whom a minimum is
    asked, and where actions require others.
    """
    least, no_needs = fewest & REST, requires.shape[0] == 0
    best_total = -np.inf if fewest >= MUST else 0.0
    second = -np.inf
    depth = 0
    follow[0], total[0] = 0, 0.0
    while depth >= 0:
        i = follow[depth]
        reached = total[depth]
        is_open = i < count
        if is_open:
            for j in range(i, min(count, i + most - depth)):
                if j > i and depth + j - i >= least and not ranked[j] > 0.0:
                    break
                reached += ranked[j]
            is_open = reached > second
        if not is_open:
            depth -= 1
            continue
        follow[depth] = i + 1
        if not may_join(
            bundle, depth, order[i], 0, pair_of, day_of, conflicts, indptr, groups, within, spans,
            s, reach, at,
        ):  # fmt: skip
            continue
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
        if depth + 1 < most:
            depth += 1
            follow[depth] = i + 1
            total[depth] = reached
    return best_total, second
