"""Global greedy: pairs by value over priced use, then each subscriber's bundle improved once.

A resource's price is one over its limit, so a pair is priced by the shares of the limits it takes:
the pseudo-utility of Toyoda and of Senju and Toyoda. Pairs are taken from the best ratio down while
caps and limits have room. Then each subscriber, from the most valuable on, gives back its pairs and
takes the most valuable bundle that fits, which is at least what it had.

Source: Senju and Toyoda, "An Approach to Linear Programming with 0-1 Variables", Management
Science 15(4), 1968.
"""

from typing import Any

import numpy as np
from numba import njit

from benchmarks.bundles import has_room, occupy
from benchmarks.peers import Answer, Task, arrival
from benchmarks.peers.sweep import sweep
from benchmarks.peers.whole import whole
from benchmarks.plain import Plain


def solve(plain: Plain, task: Task) -> Answer:
    """Take pairs by their ratio, then improve."""
    warm_up(plain)
    task.begin()
    return Answer("ENDED", "this repository", choice(plain))


def warm_up(plain: Plain) -> None:
    """Compile what :func:`choice` runs before its time is taken."""
    arrival.warm_up(plain)
    uses, nobody = whole(plain), np.empty(0, np.int64)
    _take(nobody, nobody, plain.arrays, uses.uses, uses.limit.copy(), uses.is_kept,
          np.zeros(plain.pairs, bool))  # fmt: skip


def choice(plain: Plain) -> Any:
    """Return [N] bool what greed takes."""
    uses, taken = whole(plain), np.zeros(plain.pairs, bool)
    share = np.zeros(len(plain.limit))
    is_priced = plain.limit > 0
    share[is_priced] = 1 / plain.limit[is_priced]
    pointer = np.minimum(plain.use_indptr[:-1], max(0, len(plain.use_row) - 1))
    priced = np.maximum(plain.use_amount, 0.0) * share[plain.use_row]
    cost = np.add.reduceat(priced, pointer) if len(priced) else np.zeros(plain.pairs)
    cost[np.diff(plain.use_indptr) == 0] = 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(plain.value > 0, plain.value / cost, -1.0)
    order = np.argsort(-ratio, kind="stable")
    _take(order[ratio[order] > 0], plain.owner, plain.arrays, uses.uses, uses.limit.copy(),
          uses.is_kept, taken)  # fmt: skip
    dearest = np.zeros(plain.subscribers)
    np.maximum.at(dearest, plain.owner, plain.value)
    return sweep(plain, uses, np.argsort(-dearest, kind="stable"), plain.value, taken)


@njit(cache=True, nogil=True)
def _take(
    order: Any, owner: Any, arrays: Any, uses: Any, room: Any, is_kept: Any, taken: Any
) -> None:
    for n in order:
        if _keeps_caps(n, owner[n], arrays, taken) and has_room(n, 1, uses, room, is_kept):
            occupy(n, 1, uses, room)
            taken[n] = True


@njit(cache=True, nogil=True)
def _keeps_caps(n: int, s: int, arrays: Any, taken: Any) -> bool:
    indptr, action, most, category, category_most, channel, channel_most, offer = arrays
    a = action[n]
    count = in_category = in_channel = 0
    for m in range(indptr[s], indptr[s + 1]):
        if taken[m]:
            b = action[m]
            if offer[b] == offer[a]:
                return False
            count += 1
            in_category += category[b] == category[a]
            in_channel += channel[b] == channel[a]
    return (
        count < most[s]
        and in_category < category_most[category[a], s]
        and in_channel < channel_most[channel[a], s]
    )
