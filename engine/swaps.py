"""Better whole contacts: moves in pairs, to and fro across the limits.

A single move seldom fits what a limit has left, two that share a limit often do. So subscribers
are moved one or two at a time while that raises the value less a penalty on what limits are passed
by. The penalty begins low, so that limits are passed, and rises until they are kept; then all of
that again from there. The best answer that keeps the limits is remembered.

The search begins at the core's best bundles. Where there are several cores, the others stay as they
were moved before, to suit this one as it was: then single moves alone may end closer.

Source:
    Glover, "Heuristics for Integer Programming Using Surrogate Constraints", Decision Sciences
    8(1), 1977: strategic oscillation.
"""

from typing import Any

import numpy as np
from numba import njit

from engine.core import Core
from engine.mend import may_bind, table_of
from engine.stop import Deadline

MOST_MOVES = 2_000
MOST_CHECKS = 3e7  # of one pass over all pairs of moves
LEVELS = (0.5, 1.0, 2.0, 4.0, 16.0)  # penalties of the first cycle, in prices, beyond the price
LATER = ((0.2, 1.0, 4.0), (0.4, 1.0, 4.0), (0.6, 1.0, 4.0), (0.8, 1.0, 4.0))  # of the others
HARD = 1e6  # penalty that no value is worth
MOST_PASSES = 10
LEAST_GAIN = 1e-9  # money


@njit(cache=True)
def _differ(m: int, use: Any, then: int, now: int, rows: Any, more: Any, count: Any) -> None:
    """List what a move uses more than what it replaces."""
    size = 0
    for k in range(use.shape[1]):
        difference = use[then, k] - use[now, k]
        if difference != 0.0:
            rows[m, size], more[m, size] = k, difference
            size += 1
    count[m] = size


@njit(cache=True)
def _cost(k: int, penalty: Any, slack: float, more: float) -> float:
    """Return what a limit's penalty rises by when more is used."""
    return float(penalty[k] * (max(more - slack, 0.0) - max(-slack, 0.0)))


@njit(cache=True)
def _pass(
    owner: Any, of: Any, value: Any, use: Any, penalty: Any, move: Any, current: Any, slack: Any,
    rows: Any, more: Any, count: Any, gain: Any,
) -> int:  # fmt: skip
    """Make for each move in turn the best pair with it, or it alone, if that gains.

    Moves of subscriber s are ``of[s]:of[s + 1]``; what is moved away from takes the move's place.
    """
    size, limits = owner.size, slack.size
    first, listed = np.zeros(limits + 1, np.int64), np.empty(count.sum(), np.int64)
    for m in range(size):
        for i in range(count[m]):
            first[rows[m, i] + 1] += 1
    for k in range(limits):
        first[k + 1] += first[k]
    end = first[:-1].copy()
    for m in range(size):
        for i in range(count[m]):
            listed[end[rows[m, i]]] = m
            end[rows[m, i]] += 1
    used, seen, taken = np.zeros(limits), np.full(size, -1, np.int64), 0
    for x in range(size):
        alone = gain[x]
        for i in range(count[x]):
            k = rows[x, i]
            used[k] = more[x, i]
            alone -= _cost(k, penalty, slack[k], more[x, i])
        best, other = LEAST_GAIN, -2
        if alone > best:
            best, other = alone, -1
        for i in range(count[x]):
            for at in range(first[rows[x, i]], first[rows[x, i] + 1]):
                y = listed[at]
                if seen[y] == x or owner[x] == owner[y]:
                    continue
                seen[y] = x
                both = alone + gain[y]
                for j in range(count[y]):
                    k = rows[y, j]
                    both -= _cost(k, penalty, slack[k] - used[k], more[y, j])
                if both > best:
                    best, other = both, y
        for i in range(count[x]):
            used[rows[x, i]] = 0.0
        if other == -2:
            continue
        taken += 1
        for m in (x, other):
            if m < 0:
                continue
            s = owner[m]
            for i in range(count[m]):
                slack[rows[m, i]] -= more[m, i]
            current[s], move[m] = move[m], current[s]
            for i in range(of[s], of[s + 1]):
                gain[i] = value[move[i]] - value[current[s]]
                _differ(i, use, move[i], current[s], rows, more, count)
    return taken


def swap(
    core: Core, slack: Any, margin: Any, soft: Any, *, allowed: float, deadline: Deadline
) -> Any:
    """Choose a bundle for each subscriber of the core such that limits hold.

    Args:
        core: as in :func:`engine.mend.mend`.
        slack: likewise.
        margin: likewise.
        soft: likewise.
        allowed: likewise.
        deadline: when to end.

    Returns:
        [N] int64, each subscriber's bundle; the best ones if no answer kept the limits.
    """
    relevant = may_bind(core, slack - margin)
    room, table = (slack - margin)[relevant], table_of(core, soft, relevant)
    is_hard = np.isinf(table.soft)
    unit = np.where(table.typical > 0.0, table.typical, 1.0)
    price = np.maximum(table.price, 0.01 * table.worth / unit)
    current = core.first[:-1].copy()
    move = _moves(core, table.use)
    owner = core.owner[move]
    of = np.searchsorted(owner, np.arange(len(core) + 1))
    width = 2 * int((table.use != 0.0).sum(axis=1).max(initial=0))
    rows, more = np.zeros((len(move), width), np.int64), np.zeros((len(move), width))
    count, gain = np.zeros(len(move), np.int64), core.value[move] - core.value[current[owner]]
    for m in range(len(move)):
        _differ(m, table.use, move[m], current[owner[m]], rows, more, count)
    best, least = core.first[:-1].copy(), np.inf
    passed = np.where(is_hard, 0.0, table.soft - table.price)  # beyond what prices tell
    for cycle, levels in enumerate((LEVELS, *LATER)):
        if cycle and deadline.is_over():
            break
        for level in (*levels, HARD):
            penalty = np.where(is_hard, (1.0 + level) * price, table.soft)
            for _ in range(MOST_PASSES):
                if not _pass(
                    owner, of, table.value, table.use, penalty, move, current, room, rows, more,
                    count, gain,
                ):  # fmt: skip
                    break
        if (is_hard & (room < 0.0)).any():
            continue
        lost = float((table.price * np.maximum(room, 0.0)).sum() + core.regret[current].sum())
        lost += float((passed * np.maximum(-room, 0.0)).sum())
        if lost < least:
            best, least = current.copy(), lost
        if least <= allowed:
            break
    return best


def _moves(core: Core, use: Any) -> Any:
    """Return the bundles other than the best, of least regret, in their order: not too many."""
    regret = core.regret.copy()
    regret[core.first[:-1]] = np.inf
    able = np.argsort(regret, kind="stable")[: min(MOST_MOVES, len(regret) - len(core))]
    best = core.first[:-1][core.owner]
    while True:
        listed = np.count_nonzero(use[able] != use[best[able]], axis=0).astype(np.float64)
        each = listed.sum() / max(1, len(able))
        if (listed * listed).sum() * each <= MOST_CHECKS:
            return np.sort(able)
        able = able[: len(able) * 3 // 4]
