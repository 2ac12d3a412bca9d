"""From near-optimal prices to whole contacts: the core's subscribers are moved until limits hold.

Every subscriber starts at its best bundle. Limits are passed by a few units, because whole numbers
of indifferent subscribers switch together, and others are not used up. Moves of one subscriber,
least regretful first, are taken while they raise the value less a penalty on what limits are
passed by; penalties grow until nothing is passed. Then pairs of moves use up what is left.
"""

from typing import Any

import numpy as np
from numba import njit

from engine.core import Core

MOST_ROUNDS = 60
MOST_SWEEPS = 50
PENALTY, GROWTH = 2.0, 4.0  # first penalty, in prices; growth of those that do not hold
PAIRS = 1_500  # moves that are tried in pairs
MOST_PAIRINGS = 40


@njit(cache=True)
def _sweep(
    first: Any, value: Any, use: Any, order: Any, penalty: Any, current: Any, slack: Any
) -> int:
    """Move each subscriber in turn to the bundle that is best for all; return how many moved."""
    moved = 0
    for s in order:
        now = current[s]
        best, best_gain = now, 0.0
        for j in range(first[s], first[s + 1]):
            gain = value[j] - value[now]
            if j == now:
                continue
            for k in range(slack.size):
                more = use[j, k] - use[now, k]
                if more != 0.0:
                    before, after = slack[k], slack[k] - more
                    gain -= penalty[k] * (max(-after, 0.0) - max(-before, 0.0))
            if gain > best_gain + 1e-12:
                best, best_gain = j, gain
        if best != now:
            for k in range(slack.size):
                slack[k] -= use[best, k] - use[now, k]
            current[s] = best
            moved += 1
    return moved


@njit(cache=True)
def _pair(owner: Any, move: Any, value: Any, use: Any, current: Any, slack: Any) -> bool:
    """Take the first pair of moves that gains value within the limits; say whether there is one."""
    for x in range(move.size):
        i, s = move[x], owner[x]
        gain = value[i] - value[current[s]]
        for y in range(x + 1, move.size):
            j, t = move[y], owner[y]
            if s == t or not gain + value[j] - value[current[t]] > 1e-9:
                continue
            fits = True
            for k in range(slack.size):
                more = use[i, k] - use[current[s], k] + use[j, k] - use[current[t], k]
                if more > slack[k] and more > 0.0:
                    fits = False
                    break
            if fits:
                for k in range(slack.size):
                    slack[k] -= use[i, k] - use[current[s], k] + use[j, k] - use[current[t], k]
                current[s], current[t] = i, j
                return True
    return False


def mend(core: Core, prices: Any, slack: Any, margin: Any) -> Any:
    """Choose a bundle for each subscriber of the core such that limits hold.

    Args:
        core: the core; everybody else keeps the best bundle.
        prices: [K] float64, money per unit.
        slack: [K] float64, limit less use when the core too has its best bundles.
        margin: [K] float64, >= 0, room that is left unused, against rounding.

    Returns:
        [N] int64, each subscriber's bundle. Limits hold to the precision of float64, if the core
        allows it.
    """
    current = core.first[:-1].copy()
    relevant = np.flatnonzero((prices > 0) | _may_bind(core, slack - margin))
    use = np.ascontiguousarray(core.use[:, relevant])
    room, price = (slack - margin)[relevant], prices[relevant]
    order = core.by_regret()
    typical = np.abs(use).max(axis=0, initial=0.0)
    worth = float(np.abs(core.value).max(initial=0.0)) or 1.0
    penalty = np.maximum(PENALTY * price, 0.01 * worth / np.maximum(typical, 1e-300))
    for _ in range(MOST_ROUNDS):
        for _ in range(MOST_SWEEPS):
            if not _sweep(core.first, core.value, use, order, penalty, current, room):
                break
        over = room < 0.0
        if not over.any():
            break
        penalty = np.where(over, GROWTH * penalty, penalty)
    if (room >= 0.0).all():
        hard = np.full(len(room), 1e6 * worth) / np.maximum(typical, 1e-300)
        for _ in range(MOST_PAIRINGS):
            for _ in range(MOST_SWEEPS):
                if not _sweep(core.first, core.value, use, order, hard, current, room):
                    break
            left = float((price * np.maximum(room, 0.0)).sum())
            owner, move = _moves(core, current, left)
            if not _pair(owner, move, core.value, use, current, room):
                break
    return current


def _may_bind(core: Core, slack: Any) -> Any:
    """Return [K] whether the core could use up a limit, all its subscribers doing their worst."""
    if not len(core):
        return slack < 0
    most = np.maximum.reduceat(core.use, core.first[:-1], axis=0)
    return (most - core.use[core.first[:-1]]).sum(axis=0) > slack


def _moves(core: Core, current: Any, left: float) -> tuple[Any, Any]:
    """Return owner and bundle of the moves whose regret is below what limits have left to give."""
    owner = core.owner
    more = core.regret - core.regret[current][owner]
    able = np.flatnonzero((more < left) & (np.arange(len(more)) != current[owner]))
    picked = np.sort(able[np.argsort(more[able], kind="stable")[:PAIRS]])
    return owner[picked], picked
