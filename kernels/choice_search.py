"""Search for a choice worth at least a target, depth first, or prove that there is none.

    maximise    sum value[e] x[e]
    subject to  exactly one item of each group, sum use[e, k] x[e] <= capacity[k]

Compiled by Numba. At a node, prices of the K resources bound what is left by weak duality:

    L(price) = price . capacity + sum_g max { value - price . use : living items of group g }

An item whose surplus is further below its group's best than L is above the target dies. Prices
move along the subgradient (capacity less what the best items use). A branch chooses the best item
of the group whose second best lacks most, then refuses it at the same level. Prices are whole
numbers in 1 / unit, so that whatever is proved is exact.

Letters: E items, sorted by group; N groups; K resources.

Source:
    Fisher, "The Lagrangian relaxation method for solving integer programming problems",
    Management Science 27(1), 1981; the fixing as in Posta, Ferland, Michelon, Computational
    Optimization and Applications 52, 2012.
"""

from typing import Any

import numpy as np
from numba import njit

from kernels.agent_bound import copy

OPEN, REFUTED, FOUND = 0, 1, 2
BRANCH, NOTHING, CHOICE = 0, 1, 2  # what a node ends with
STALLED = 3  # steps without progress before they shorten
SHORTEN = 0.5
KEPT = 0.6  # share of the last direction in the next
FAR = 1 << 60


@njit(cache=True, nogil=True)
def _drop(items: Any, state: Any, e: int) -> None:
    """Let an item die."""
    state.alive[e] = False
    state.count[items.group[e]] -= 1
    state.trail[state.place[0]] = e
    state.place[0] += 1


@njit(cache=True, nogil=True)
def undo(items: Any, state: Any, height: int) -> None:
    """Bring back what died since the trail had this height."""
    while state.place[0] > height:
        state.place[0] -= 1
        e = state.trail[state.place[0]]
        state.alive[e] = True
        state.count[items.group[e]] += 1


@njit(cache=True, nogil=True)
def _room(items: Any, state: Any) -> bool:
    """Set ``used`` to what the least uses leave of the capacities; say whether that is enough."""
    resources = len(items.capacity)
    for k in range(resources):
        state.used[k] = items.capacity[k]
    for g in range(len(state.count)):
        if state.count[g] == 0:
            return False
        for k in range(resources):
            state.least[g, k] = FAR
        for e in range(items.first[g], items.first[g + 1]):
            if state.alive[e]:
                for k in range(resources):
                    state.least[g, k] = min(state.least[g, k], items.use[e, k])
        for k in range(resources):
            state.used[k] -= state.least[g, k]
    enough = True
    for k in range(resources):
        enough &= state.used[k] >= 0
    return bool(enough)


@njit(cache=True, nogil=True)
def _settle(items: Any, state: Any) -> bool:
    """Drop items that no longer fit; say whether a choice may be left."""
    while True:
        if not _room(items, state):
            return False
        height = state.place[0]
        for e in range(len(items.group)):
            g = items.group[e]
            if state.alive[e] and state.count[g] > 1:
                fits = True
                for k in range(len(items.capacity)):
                    fits &= items.use[e, k] - state.least[g, k] <= state.used[k]
                if not fits:
                    _drop(items, state, e)
        if state.place[0] == height:
            return True


@njit(cache=True, nogil=True)
def _evaluate(items: Any, state: Any, price: Any, unit: int) -> int:
    """Return L(price) in 1 / ``unit``; set ``surplus``, ``best`` and ``used``."""
    total, resources = 0, len(items.capacity)
    for k in range(resources):
        total += price[k] * items.capacity[k]
        state.used[k] = 0
    for g in range(len(state.count)):
        best = -1
        for e in range(items.first[g], items.first[g + 1]):
            if state.alive[e]:
                surplus = items.value[e] * unit
                for k in range(resources):
                    surplus -= price[k] * items.use[e, k]
                state.surplus[e] = surplus
                if best < 0 or surplus > state.surplus[best]:
                    best = e
        state.best[g] = best
        total += state.surplus[best]
        for k in range(resources):
            state.used[k] += items.use[best, k]
    return int(total)


@njit(cache=True, nogil=True)
def _keep(items: Any, state: Any, target: int) -> bool:
    """Keep the groups' best items if they are a choice worth the target."""
    for k in range(len(items.capacity)):
        if state.used[k] > items.capacity[k]:
            return False
    worth = 0
    for g in range(len(state.best)):
        worth += items.value[state.best[g]]
    if worth < target:
        return False
    copy(state.best, state.chosen)
    return True


@njit(cache=True, nogil=True)
def _prove(items: Any, state: Any, room: int) -> int:
    """Drop items that lack more than ``room`` to their group's best; return the open groups."""
    undecided = 0
    for g in range(len(state.count)):
        if state.count[g] > 1:
            undecided += 1
            most = state.surplus[state.best[g]]
            for e in range(items.first[g], items.first[g + 1]):
                if state.alive[e] and most - state.surplus[e] > room:
                    _drop(items, state, e)
    return undecided


@njit(cache=True, nogil=True)
def _step(items: Any, state: Any, price: Any, length: float) -> None:
    """Move the prices."""
    norm = 0.0
    for k in range(len(price)):
        way = KEPT * state.direction[k] + (state.used[k] - items.capacity[k])
        if price[k] <= 0 and way < 0.0:
            way = 0.0
        state.direction[k] = way
        norm += way * way
    if norm > 0.0:
        for k in range(len(price)):
            moved = price[k] + np.floor(length / norm * state.direction[k] + 0.5)
            price[k] = np.int64(min(max(moved, 0.0), float(items.dearest[k])))


@njit(cache=True, nogil=True)
def _node(items: Any, state: Any, unit: int, target: int, steps: int) -> int:
    """Work on one node: NOTHING worth the target, a CHOICE, or BRANCH."""
    if not _settle(items, state):
        return NOTHING
    price, least = state.price[state.place[1]], target * unit
    lowest, length, stalled = 2 * FAR, 1.0, 0
    for k in range(len(price)):
        state.direction[k] = 0.0
    for t in range(steps):
        bound = _evaluate(items, state, price, unit)
        if bound < least:
            return NOTHING
        if _keep(items, state, target):
            return CHOICE
        if _prove(items, state, bound - least) == 0:
            return NOTHING
        if bound < lowest:
            if lowest - bound > (bound - least) // 100:
                stalled = 0
            lowest = bound
            copy(price, state.kept)
        else:
            stalled += 1
        if stalled >= STALLED:
            length *= SHORTEN
            stalled = 0
            copy(state.kept, price)
        if t < steps - 1:
            _step(items, state, price, length * (bound - least + unit // 2))
    copy(state.kept, price)
    return BRANCH


@njit(cache=True, nogil=True)
def _branch(items: Any, state: Any) -> int:
    """Return the best item of the group whose second best lacks most; -1: all is decided."""
    pick, score = -1, -1
    for g in range(len(state.count)):
        if state.count[g] > 1:
            lack = FAR * 2
            for e in range(items.first[g], items.first[g + 1]):
                if state.alive[e] and e != state.best[g]:
                    lack = min(lack, state.surplus[state.best[g]] - state.surplus[e])
            if lack > score:
                pick, score = state.best[g], lack
    return pick


@njit(cache=True, nogil=True)
def search(items: Any, state: Any, unit: int, target: int, steps: int, nodes: int) -> int:
    """Go on with a search for a choice worth at least ``target``.

    Args:
        items: the problem.
        state: where the search stands; a new search begins with everything open, at level 0.
        unit: prices are in 1 / unit.
        target: the value.
        steps: prices are moved so often at a node.
        nodes: so many nodes before it returns, to look at the clock.

    Returns:
        OPEN, REFUTED (there is none) or FOUND (it is ``state.chosen``; the search may not go on).
    """
    place = state.place
    for _ in range(nodes):
        level = place[1]
        code = _node(items, state, unit, target, steps)
        place[2] += 1
        if code == CHOICE:
            return FOUND
        if code == BRANCH:
            e = _branch(items, state)
            if e < 0:  # all was decided after the last look: look once more
                continue
            state.item[level] = e
            state.mark[level + 1] = place[0]
            copy(state.price[level], state.price[level + 1])
            place[1] = level + 1
            g = items.group[e]
            for f in range(items.first[g], items.first[g + 1]):
                if f != e and state.alive[f]:
                    _drop(items, state, f)
            continue
        if level == 0:
            return REFUTED
        undo(items, state, state.mark[level])
        place[1] = level - 1
        _drop(items, state, state.item[level - 1])
    return OPEN
