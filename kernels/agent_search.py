"""Search for choices within a cost, depth first, or prove that there are none.

At a node the prices of :mod:`kernels.agent_bound` are moved along the subgradient (how often a
group was taken, less one), items are proved away, and a branch is made where choosing an item and
refusing it both cost most at the last prices (not the best: there most of these costs are nearly
nothing). The item is chosen first, then refused at the same level.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from kernels.agent_bound import copy, drop, evaluate, prove, settle, undo

OPEN, REFUTED, FOUND = 0, 1, 2
BRANCH, NOTHING, CHOICE = 0, 1, 2  # what a node ends with
STALLED = 5  # steps without progress before they shorten
SHORTEN = 0.6
LEAST = -(1 << 62)
KEPT = 0.5  # share of the last direction in the next


class Path(NamedTuple):
    """Where the search stands."""

    pi: Any  # [N + 2, N] int64, prices by level
    mark: Any  # [N + 2] int64, the trail's height where a level began
    item: Any  # [N + 2] int64, the item chosen at a level
    level: Any  # [2] int64, the level; nodes so far
    best: Any  # [N] int64, the choice found: an item of each group
    bound: Any  # [1] int64, L at the best prices of the first node, in 1 / unit
    steps: Any  # [2] int64, steps at a node; at the root
    work: Any  # [4, N] int64
    direction: Any  # [N] float64


def path_of(groups: int, steps: int, root_steps: int) -> Path:
    """Return a search that has not begun."""
    levels = np.zeros((2, groups + 2), np.int64)
    return Path(
        pi=np.zeros((groups + 2, groups), np.int64),
        mark=levels[0],
        item=levels[1],
        level=np.zeros(2, np.int64),
        best=np.zeros(groups, np.int64),
        bound=np.zeros(1, np.int64),
        steps=np.array([steps, root_steps], np.int64),
        work=np.zeros((4, groups), np.int64),
        direction=np.zeros(groups),
    )


@njit(cache=True, nogil=True)
def _count(items: Any, state: Any, got: Any) -> bool:
    """Count how often a group is taken; say whether it is once everywhere."""
    for g in range(len(got)):
        got[g] = 0
    for e in range(len(items.group)):
        if state.alive[e] and (state.count[items.group[e]] == 1 or state.taken[e]):
            got[items.group[e]] += 1
    wrong = 0
    for g in range(len(got)):
        wrong += got[g] != 1
    return bool(wrong == 0)


@njit(cache=True, nogil=True)
def _step(state: Any, pi: Any, got: Any, direction: Any, length: float) -> None:
    """Move the prices of undecided groups."""
    norm = 0.0
    for g in range(len(pi)):
        direction[g] = KEPT * direction[g] + (1 - got[g]) if state.count[g] > 1 else 0.0
        norm += direction[g] * direction[g]
    if norm > 0.0:
        for g in range(len(pi)):
            pi[g] += np.int64(np.round(length / norm * direction[g]))


@njit(cache=True, nogil=True)
def _node(items: Any, state: Any, path: Any, unit: int, target: int) -> int:
    """Work on one node: NOTHING within the target, a CHOICE, or BRANCH."""
    level = path.level[0]
    pi, direction = path.pi[level], path.direction
    best_pi, got, downs, least = path.work[0], path.work[1], path.work[2], path.work[3]
    first = path.level[1] == 0  # only here does L hold for the whole problem
    steps = path.steps[1] if first else path.steps[0]
    most, best, length, stalled = target * unit, LEAST, 1.0, 0
    for g in range(len(pi)):
        direction[g] = 0.0
    for t in range(steps):
        if not settle(items, state):
            return NOTHING
        bound = evaluate(items, state, pi, unit)
        whole = _count(items, state, got)  # before items die, so that ``taken`` is their answer
        if bound > most or not (whole or prove(items, state, most - bound, downs, least)):
            if first:
                path.bound[0] = min(bound, most + 1)
            return NOTHING
        if whole:
            return CHOICE
        if bound > best:
            if bound - best > (most - bound) // 200:
                stalled = 0
            best = bound
            copy(pi, best_pi)
        else:
            stalled += 1
        if stalled < STALLED:
            if t < steps - 1:
                _step(state, pi, got, direction, length * (most + unit // 2 - bound))
        else:
            length *= SHORTEN
            stalled = 0
            copy(best_pi, pi)
    copy(best_pi, pi)
    if first:
        path.bound[0] = best
    return BRANCH if settle(items, state) else NOTHING


@njit(cache=True, nogil=True)
def _branch(items: Any, state: Any, downs: Any) -> int:
    """Return the item whose choice and whose refusal cost most, or -1: all is decided."""
    best, score = -1, -1.0
    for e in range(len(items.group)):
        g = items.group[e]
        if state.alive[e] and state.count[g] > 1:
            out = float(state.down[e])
            product = (state.up[e] + downs[g] - out + 1.0) * (out + 1.0)
            if product > score:
                best, score = e, product
    return best


@njit(cache=True, nogil=True)
def _keep(items: Any, state: Any, path: Any, target: int) -> bool:
    """Keep the choice if it is within the target."""
    cost = 0
    for e in range(len(items.group)):
        if state.alive[e] and (state.count[items.group[e]] == 1 or state.taken[e]):
            path.best[items.group[e]] = e
            cost += items.cost[e]
    return bool(cost <= target)


@njit(cache=True, nogil=True)
def search(items: Any, state: Any, path: Any, unit: int, target: int, nodes: int) -> int:
    """Go on with a search for a choice that costs at most ``target``.

    Args:
        items: the problem.
        state: what is open; a new search begins with everything open, at level 0.
        path: where the search stands.
        unit: prices are in 1 / unit.
        target: the cost.
        nodes: so many nodes before it returns, to look at the clock.

    Returns:
        OPEN, REFUTED (there is none) or FOUND (it is ``path.best``; the search may not go on).
    """
    for _ in range(nodes):
        level = path.level[0]
        code = _node(items, state, path, unit, target)
        path.level[1] += 1
        if code == BRANCH:
            e = _branch(items, state, path.work[2])
            if e >= 0:
                path.item[level] = e
                path.mark[level + 1] = state.height[0]
                copy(path.pi[level], path.pi[level + 1])
                path.level[0] = level + 1
                for f in range(len(items.group)):
                    if f != e and items.group[f] == items.group[e] and state.alive[f]:
                        drop(items, state, f)
                continue
            code = CHOICE
        if code == CHOICE and _keep(items, state, path, target):
            return FOUND
        if level == 0:
            return REFUTED
        undo(items, state, path.mark[level])
        path.level[0] = level - 1
        drop(items, state, path.item[level - 1])
    return OPEN
