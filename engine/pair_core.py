"""The core of listed pairs: near subscribers, with every bundle a step away from their best."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from engine.core import MOST_CORE, Core, least_regretful
from engine.oracle import Survey
from engine.pair_block import PairBlock, joined_pairs
from kernels.backend import library, to_cpu
from kernels.choose import NO_ACTION
from kernels.pair_rows import joins, surplus_of

if TYPE_CHECKING:
    from engine.pair_oracle import PairOracle


@njit(cache=True)
def _surpluses(lists: Any, worth: float, price: Any, out: Any) -> None:
    for n in range(out.size):
        out[n] = surplus_of(n, lists, worth, price)


@njit(cache=True)
def place_of(lists: Any, s: int, a: int) -> int:
    """Return the pair of a subscriber and an action, which is listed."""
    low, high = lists[1][s], lists[1][s + 1]
    while low < high:
        middle = (low + high) // 2
        if lists[2][middle] < a:
            low = middle + 1
        else:
            high = middle
    return int(low)


@njit(cache=True)
def _neighbours(
    lists: Any, kinds: Any, surplus: Any, best: Any, room: float, owner: Any, bundles: Any,
    regret: Any,
) -> int:  # fmt: skip
    """List each subscriber's best bundle, then those that differ by one pair and cost < room.

    A pair is dropped, added or put in the place of another; who may not go without drops none.
    Returns how many there are; no more are written than there is space for.
    """
    indptr, action, most, fewest, caps = lists[1], lists[2], lists[7], lists[8], lists[9:11]
    width = best.shape[0]
    held, trial = np.empty(width, np.int64), np.empty(width, np.int64)
    count = 0
    for s in range(indptr.size - 1):
        size = 0
        for i in range(width):
            held[i] = best[i, s]
            size += best[i, s] >= 0
        for drop in range(-1, size):  # -1: nothing is dropped
            kept = 0
            for i in range(size):
                if i != drop:
                    trial[kept] = held[i]
                    kept += 1
            lost = surplus[place_of(lists, s, held[drop])] if drop >= 0 else 0.0
            for n in range(indptr[s] - 1, indptr[s + 1]):  # the one before: nothing is added
                is_added = n >= indptr[s]
                gain = surplus[n] if is_added else 0.0
                if is_added:
                    if not gain > lost - room or kept >= most[s]:
                        continue
                    if not joins(trial, kept, action[n], s, caps, kinds):
                        continue
                    is_held = False
                    for i in range(size):
                        is_held |= held[i] == action[n]
                    if is_held:
                        continue
                elif lost >= room or (drop >= 0 and fewest[s] > 0):
                    continue
                if count < owner.size:
                    owner[count] = s
                    regret[count] = lost - gain
                    for i in range(width):
                        bundles[count, i] = trial[i] if i < kept else NO_ACTION
                    if is_added:
                        bundles[count, kept] = action[n]
                count += 1
    return count


@njit(cache=True)
def _units(lists: Any, owner: Any, bundles: Any, out: Any) -> None:
    """Fill in value and uses of bundles in whole units."""
    for j in range(owner.size):
        for i in range(bundles.shape[1]):
            if bundles[j, i] < 0:
                continue
            n = place_of(lists, owner[j], bundles[j, i])
            out[j, 0] += lists[3][n]
            for e in range(lists[4][n], lists[4][n + 1]):
                out[j, 1 + lists[5][e]] += lists[6][e]


def core_of(oracle: "PairOracle", survey: Survey, part: int) -> Core:
    """Collect near subscribers of a survey, as in :meth:`engine.oracle.Oracle.core`."""
    taken = [to_cpu(rows) for rows in survey.near]
    parts = [b.take(r).to_host() for b, r in zip(oracle.blocks, survey.near, strict=True)]
    key = np.concatenate([block.key for block in parts] or [np.empty(0, np.int64)])
    place = np.concatenate(
        [np.stack([np.full(len(r), b), r], axis=1) for b, r in enumerate(taken)]
        or [np.empty((0, 2), np.int64)]
    )
    order = np.argsort(key, kind="stable")[part * MOST_CORE : (part + 1) * MOST_CORE]
    block = joined_pairs(parts or [oracle.empty]).take(order)
    place = place[order]
    best = np.full((oracle.width, len(block)), NO_ACTION, np.int16)
    for b, chosen in enumerate(survey.chosen):
        mine = place[:, 0] == b
        best[:, mine] = to_cpu(chosen[:, library(chosen).asarray(place[mine, 1])])
    surplus = np.empty(len(block.action))
    prices = survey.evaluation.prices
    price, worth = oracle.kernel_prices(prices)
    _surpluses(block.arrays(), worth, price, surplus)
    owner, bundles, regret = _listed(oracle, block, surplus, best)
    units = units_of(oracle, block, owner, bundles)
    value = units[:, 0] / oracle.value_unit
    use = units[:, 1:] / oracle.units
    first = np.searchsorted(owner, np.arange(len(block) + 1))
    return Core(block, place, first, bundles, regret, value, use, prices)


def _listed(
    oracle: "PairOracle", block: PairBlock, surplus: Any, best: Any
) -> tuple[Any, Any, Any]:
    """Return owner, bundle and regret of the bundles: those of least regret, not too many."""

    def list_them(room: float, *out: Any) -> int:
        return int(_neighbours(block.arrays(), oracle.kinds, surplus, best, room, *out))

    return least_regretful(list_them, len(block), best.shape[0])


def units_of(oracle: "PairOracle", block: PairBlock, owner: Any, bundles: Any) -> Any:
    """Return [N, 1 + K] int64, value and uses of bundles [N, Q] in whole units.

    Args:
        oracle: whose problem it is.
        block: on the host.
        owner: [N] row of each bundle's subscriber in the block.
        bundles: [N, Q] actions.
    """
    out = np.zeros((len(owner), 1 + len(oracle.problem.rows)), np.int64)
    _units(block.arrays(), owner, np.ascontiguousarray(bundles), out)
    return out


def total_of_bundles(oracle: "PairOracle", key: Any, units: Any) -> Any:
    """Return [G, 1 + K] the total of some bundles, by the class of their subscribers."""
    total = np.zeros((oracle.classes, units.shape[1]), np.int64)
    np.add.at(total, key % oracle.classes, units)
    return total
