"""From near-optimal prices to whole contacts: the core's subscribers are moved until limits hold.

Every subscriber starts at its best bundle. Limits are passed by a few units, because whole numbers
of indifferent subscribers switch together, and others are not used up. Moves of one subscriber,
least regretful first, are taken while they raise the value less a penalty on what limits are
passed by; penalties grow until nothing is passed. Then pairs of moves use up what is left. A soft
limit's penalty is its own from first to last, so it is passed where that pays.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from engine.core import Core

MOST_ROUNDS = 60
MOST_SWEEPS = 50
PENALTY, GROWTH = 2.0, 4.0  # first penalty, in prices; growth of those that do not hold
PAIRS = 1_500  # moves that are tried in pairs
MOST_PAIRINGS = 6


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
def _take_pairs(
    owner: Any, move: Any, value: Any, use: Any, soft: Any, current: Any, slack: Any
) -> int:
    """Take pairs of moves that gain value within the limits, as they come; return how many.

    What a limit is passed by costs ``soft`` a unit; of a hard one that is inf.
    """
    taken, has_soft = 0, bool((soft < np.inf).any())
    for x in range(move.size):
        for y in range(x + 1, move.size):
            i, s, j, t = move[x], owner[x], move[y], owner[y]
            now, then = current[s], current[t]
            gain = value[i] - value[now] + value[j] - value[then]
            if s == t or not (has_soft or gain > 1e-9):
                continue
            fits = True
            for k in range(slack.size):
                more = use[i, k] - use[now, k] + use[j, k] - use[then, k]
                if soft[k] < np.inf:
                    gain -= soft[k] * (max(more - slack[k], 0.0) - max(-slack[k], 0.0))
                elif more > slack[k] and more > 0.0:
                    fits = False
                    break
            if fits and gain > 1e-9:
                for k in range(slack.size):
                    slack[k] -= use[i, k] - use[now, k] + use[j, k] - use[then, k]
                current[s], current[t] = i, j
                taken += 1
    return taken


@njit(cache=True)
def _add_worst(first: Any, use: Any, worst: Any) -> None:
    """Add up by how much the use may rise, every subscriber taking the bundle that uses most."""
    for s in range(first.size - 1):
        for k in range(worst.size):
            most = use[first[s], k]
            for j in range(first[s] + 1, first[s + 1]):
                most = max(most, use[j, k])
            worst[k] += most - use[first[s], k]


@dataclass(frozen=True, eq=False)
class Table:
    """A core's bundles with the constraints that matter to it."""

    first: Any
    value: Any
    use: Any  # [B, K'] of the constraints with a price, and of those that the core could pass
    order: Any  # [N] subscribers, least regret of another bundle first
    price: Any  # [K']
    soft: Any  # [K'] what a unit beyond the limit costs, inf: hard
    typical: Any  # [K'] the largest use of a bundle
    worth: float  # the largest value of a bundle

    def sweep(self, penalty: Any, current: Any, room: Any) -> None:
        for _ in range(MOST_SWEEPS):
            moved = _sweep(self.first, self.value, self.use, self.order, penalty, current, room)
            if not moved:
                break


def mend(
    core: Core, slack: Any, margin: Any, soft: Any, *, allowed: float, rounds: int = MOST_ROUNDS
) -> Any:
    """Choose a bundle for each subscriber of the core such that limits hold.

    Args:
        core: the core; everybody else keeps the best bundle.
        slack: [K] float64, limit less use when the core too has its best bundles.
        margin: [K] float64, >= 0, room that is left unused, against rounding.
        soft: [K] float64, money that a unit beyond a limit costs, inf: it is hard.
        allowed: money: an answer that loses no more to the dual at the core's prices needs no
            improvement.
        rounds: how often penalties may grow: 1 where other cores are to help.

    Returns:
        [N] int64, each subscriber's bundle. Hard limits hold to the precision of float64, if the
        core allows it.
    """
    current = core.first[:-1].copy()
    relevant = may_bind(core, slack - margin)
    room, table = (slack - margin)[relevant], table_of(core, soft, relevant)
    is_hard = np.isinf(table.soft)
    unit = np.where(table.typical > 0.0, table.typical, 1.0)
    first = np.maximum(PENALTY * table.price, 0.01 * table.worth / unit)
    penalty = np.where(is_hard, first, table.soft)
    for _ in range(rounds):
        table.sweep(penalty, current, room)
        over = is_hard & (room < 0.0)
        if not over.any():
            break
        penalty = np.where(over, GROWTH * penalty, penalty)
    if (is_hard & (room < 0.0)).any():
        return current
    penalty = np.where(is_hard, 1e6 * table.worth / unit, table.soft)
    passed = np.where(is_hard, 0.0, table.soft - table.price)  # beyond what prices tell
    for _ in range(MOST_PAIRINGS):
        table.sweep(penalty, current, room)
        left = float((table.price * np.maximum(room, 0.0)).sum())
        left += float((passed * np.maximum(-room, 0.0)).sum())
        if left + float(core.regret[current].sum()) <= allowed:
            break
        owner, move = _moves(core, current, left)
        if not _take_pairs(owner, move, table.value, table.use, table.soft, current, room):
            break
    return current


def table_of(core: Core, soft: Any, relevant: Any) -> Table:
    """Return a core's bundles with some of the constraints."""
    use = np.ascontiguousarray(core.use[:, relevant])
    return Table(
        core.first, core.value, use, core.by_regret(), core.prices[relevant], soft[relevant],
        np.abs(use).max(axis=0, initial=0.0),
        float(np.abs(core.value).max(initial=0.0)) or 1.0,
    )  # fmt: skip


def may_bind(core: Core, slack: Any) -> Any:
    """Return the constraints [K'] that have a price, or that the core could pass at its worst."""
    worst = np.zeros(len(slack))
    _add_worst(core.first, core.use, worst)
    return np.flatnonzero((core.prices > 0) | (worst > slack))


def _moves(core: Core, current: Any, left: float) -> tuple[Any, Any]:
    """Return owner and bundle of the moves whose regret is below what limits have left to give."""
    owner = core.owner
    more = core.regret - core.regret[current][owner]
    able = np.flatnonzero((more < left) & (np.arange(len(more)) != current[owner]))
    if len(able) > PAIRS:
        able = np.sort(able[np.argpartition(more[able], PAIRS)[:PAIRS]])
    return owner[able], able
