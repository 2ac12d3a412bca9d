"""Improve a choice by moves, where items use one resource each: compiled by Numba.

A group moves to another agent, or two groups exchange their agents, while cost plus a weight for
each unit over capacity falls. At the end of a descent the weights of agents that are over rise,
those of the others fall, and some groups are moved at random. The randomness is a fixed sequence:
the same answer on any machine.

Source:
    Yagiura, Ibaraki, Glover, "An ejection chain approach for the generalized assignment problem",
    INFORMS Journal on Computing 16(2), 2004.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from kernels.agent_bound import copy

RISE, FALL = 1.25, 0.9
KICKS = 5  # at most so many groups are moved at random
NEAREST = 5  # to one of so many best agents


class Walk(NamedTuple):
    """Where the walk stands, N groups, M agents."""

    item: Any  # [N, M] int64, the item of a group with an agent; -1: none
    near: Any  # [N, NEAREST] int64, a group's best items at the first weights; -1: none
    choice: Any  # [N] int64, the item now
    home: Any  # [N] int64, the choice to go back to
    best: Any  # [N] int64, the cheapest choice within capacity
    cost: Any  # [1] int64, its cost
    home_cost: Any  # [1] float64, cost plus weighted excess of ``home``; infinite at first
    over: Any  # [M] int64, use less capacity
    weight: Any  # [M] float64, cost of a unit over
    seed: Any  # [1] uint64


@njit(cache=True, nogil=True)
def random(seed: Any, below: int) -> int:
    """Return the next number of a xorshift sequence, 0 <= number < ``below``."""
    x = seed[0]
    x ^= x << np.uint64(13)
    x ^= x >> np.uint64(7)
    x ^= x << np.uint64(17)
    seed[0] = x
    return int(np.int64(x >> np.uint64(11)) % below)


@njit(cache=True, nogil=True)
def _move(items: Any, agent: Any, walk: Any, g: int, e: int) -> None:
    """Give group g another item."""
    old = walk.choice[g]
    walk.over[agent[old]] -= items.use[old]
    walk.over[agent[e]] += items.use[e]
    walk.choice[g] = e


@njit(cache=True, nogil=True)
def _change(walk: Any, i: int, use: int) -> float:
    """Return what more use of an agent adds to the weighted excess."""
    return float(walk.weight[i] * (max(walk.over[i] + use, 0) - max(walk.over[i], 0)))


@njit(cache=True, nogil=True)
def _shift(items: Any, agent: Any, walk: Any, g: int) -> bool:
    """Move group g to the agent where it costs least, if that is better."""
    old = walk.choice[g]
    here = agent[old]
    gain = items.cost[old] - _change(walk, here, -items.use[old])
    best, least = -1, -1e-9
    for i in range(walk.item.shape[1]):
        e = walk.item[g, i]
        if e >= 0 and i != here:
            change = items.cost[e] + _change(walk, i, items.use[e]) - gain
            if change < least:
                best, least = e, change
    if best >= 0:
        _move(items, agent, walk, g, best)
    return best >= 0


@njit(cache=True, nogil=True)
def _exchange(items: Any, agent: Any, walk: Any, g: int) -> bool:
    """Exchange agents with the first group where that is better."""
    for h in range(len(walk.choice)):
        a, b = walk.choice[g], walk.choice[h]
        i, j = agent[a], agent[b]
        if i == j:
            continue
        c, d = walk.item[g, j], walk.item[h, i]
        if c < 0 or d < 0:
            continue
        cost = items.cost[c] + items.cost[d] - items.cost[a] - items.cost[b]
        cost += _change(walk, i, items.use[d] - items.use[a])
        cost += _change(walk, j, items.use[c] - items.use[b])
        if cost < -1e-9:
            _move(items, agent, walk, g, c)
            _move(items, agent, walk, h, d)
            return True
    return False


@njit(cache=True, nogil=True)
def _descend(items: Any, agent: Any, walk: Any) -> None:
    """Move and exchange until nothing is better."""
    groups = len(walk.choice)
    idle, g = 0, 0
    while idle < groups:
        better = _shift(items, agent, walk, g) or _exchange(items, agent, walk, g)
        idle = 0 if better else idle + 1
        g = g + 1 if g + 1 < groups else 0


@njit(cache=True, nogil=True)
def _worth(items: Any, choice: Any) -> int:
    """Return the cost of a choice."""
    cost = 0
    for g in range(len(choice)):
        cost += items.cost[choice[g]]
    return cost


@njit(cache=True, nogil=True)
def walk_on(items: Any, agent: Any, walk: Any, rounds: int) -> None:
    """Descend and kick so many times; ``best`` and ``cost`` are the cheapest within capacity.

    Args:
        items: the problem.
        agent: [E] int64, the agent of an item.
        walk: where the walk stands.
        rounds: so many descents.
    """
    groups, agents = len(walk.choice), len(walk.over)
    for _ in range(rounds):
        _descend(items, agent, walk)
        cost = _worth(items, walk.choice)
        excess, over = 0.0, False
        for i in range(agents - 1):
            excess += walk.weight[i] * max(walk.over[i], 0)
            over |= walk.over[i] > 0
        if not over and cost < walk.cost[0]:
            walk.cost[0] = cost
            copy(walk.choice, walk.best)
        for i in range(agents - 1):
            walk.weight[i] *= RISE if walk.over[i] > 0 else FALL if not over else 1.0
            walk.weight[i] = min(max(walk.weight[i], 1e-3), 1e12)
        if cost + excess <= walk.home_cost[0] or random(walk.seed, 50) == 0:
            copy(walk.choice, walk.home)
        else:
            for g in range(groups):
                if walk.choice[g] != walk.home[g]:
                    _move(items, agent, walk, g, walk.home[g])
        walk.home_cost[0] = _worth(items, walk.home)
        for i in range(agents - 1):
            walk.home_cost[0] += walk.weight[i] * max(walk.over[i], 0)
        for _ in range(1 + random(walk.seed, KICKS)):
            g = random(walk.seed, groups)
            e = walk.near[g, random(walk.seed, NEAREST)]
            if e >= 0:
                _move(items, agent, walk, g, e)
