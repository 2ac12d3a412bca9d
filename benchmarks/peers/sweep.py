"""Going through the subscribers one by one: each takes its best bundle that still fits."""

from typing import Any

import numpy as np
from numba import njit

from benchmarks.bundles import best_bundle, occupy, scratch
from benchmarks.peers.whole import Whole
from benchmarks.plain import Plain

SEED = 1


def arrival_order(plain: Plain) -> Any:
    """Return [S] the order in which subscribers come: at random, by a seed."""
    return np.random.default_rng(SEED).permutation(plain.subscribers)


def sweep(plain: Plain, uses: Whole, order: Any, surplus: Any, chosen: Any) -> Any:
    """Return a choice in which each subscriber in turn has taken its best bundle that fits.

    Args:
        plain: the problem.
        uses: its uses and limits in whole numbers.
        order: [S] subscribers.
        surplus: [N] float64: what a pair is worth; no pair of 0 or less is taken.
        chosen: [N] bool held before; a subscriber gives back its pairs at its turn.
    """
    out = chosen.copy()
    room = uses.limit.copy()
    _sweep(order, surplus, plain.arrays, uses.uses, room, uses.is_kept, out)
    return out


@njit(cache=True, nogil=True)
def _sweep(
    order: Any, surplus: Any, arrays: Any, uses: Any, room: Any, is_kept: Any, chosen: Any
) -> None:
    indptr = arrays[0]
    longest = 1
    for s in range(indptr.size - 1):
        longest = max(longest, indptr[s + 1] - indptr[s])
    for n in range(chosen.size):
        if chosen[n]:
            occupy(n, 1, uses, room)
    work = scratch(longest)
    for s in order:
        for n in range(indptr[s], indptr[s + 1]):
            if chosen[n]:
                occupy(n, -1, uses, room)
                chosen[n] = False
        size, _ = best_bundle(s, surplus, arrays, uses, room, is_kept, work)
        for d in range(size):
            chosen[work[5][d]] = True
            occupy(work[5][d], 1, uses, room)
