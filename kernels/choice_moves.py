"""Improve a choice by moves, where any item may use any resource: compiled by Numba.

A group takes another of the items that the prices favour, or two groups do at once, while value
less a weight for each unit over capacity rises. At the end of a descent the weights of resources
that are over rise, the others fall, and some groups are moved at random. The randomness is a fixed
sequence: the same answer on any machine.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from kernels.agent_bound import copy
from kernels.agent_moves import random

RISE, FALL = 1.2, 0.9
KICKS = 4  # at most so many groups are moved at random
BACK = 30  # one in so many worse choices is kept
SOME = 1e-9  # a gain is at least so large


class Walk(NamedTuple):
    """Where the walk stands, N groups, Q near items, K resources."""

    near: Any  # [N, Q] int64, a group's items that the prices favour, best first; -1: none
    choice: Any  # [N] int64, the item now
    home: Any  # [N] int64, the choice to go back to
    best: Any  # [N] int64, the most valuable choice within capacity
    value: Any  # [1] int64, its value
    over: Any  # [K] int64, use less capacity
    weight: Any  # [K] float64, value of a unit over
    trial: Any  # [K] int64
    seed: Any  # [1] uint64


@njit(cache=True, nogil=True)
def _move(items: Any, walk: Any, g: int, e: int) -> None:
    """Give group g another item."""
    for k in range(len(walk.over)):
        walk.over[k] += items.use[e, k] - items.use[walk.choice[g], k]
    walk.choice[g] = e


@njit(cache=True, nogil=True)
def _excess(weight: Any, over: Any) -> float:
    """Return what is over, weighted."""
    total = 0.0
    for k in range(len(over)):
        total += weight[k] * max(over[k], 0)
    return total


@njit(cache=True, nogil=True)
def _other(items: Any, walk: Any, h: int, gain: int, excess: float) -> int:
    """Return the item of group h that is best with the uses in ``trial``, or -1.

    Args:
        items: the problem.
        walk: where the walk stands.
        h: the group.
        gain: value gained by what ``trial`` already has.
        excess: the weighted excess now.
    """
    now = walk.choice[h]
    best, most = -1, SOME
    for q in range(walk.near.shape[1]):
        f = walk.near[h, q]
        if f < 0:
            break
        if f == now:
            continue
        left = float(gain + items.value[f] - items.value[now]) + excess
        for k in range(len(walk.trial)):
            left -= walk.weight[k] * max(walk.trial[k] + items.use[f, k] - items.use[now, k], 0)
        if left > most:
            best, most = f, left
    return best


@njit(cache=True, nogil=True)
def _improve(items: Any, walk: Any, g: int) -> bool:
    """Move group g, alone or with another, where that is better."""
    excess, resources = _excess(walk.weight, walk.over), len(walk.over)
    copy(walk.over, walk.trial)
    alone = _other(items, walk, g, 0, excess)
    if alone >= 0:
        _move(items, walk, g, alone)
        return True
    for q in range(walk.near.shape[1]):
        e, now = walk.near[g, q], walk.choice[g]
        if e < 0:
            break
        if e == now:
            continue
        for k in range(resources):
            walk.trial[k] = walk.over[k] + items.use[e, k] - items.use[now, k]
        for h in range(len(walk.choice)):
            if h != g:
                f = _other(items, walk, h, items.value[e] - items.value[now], excess)
                if f >= 0:
                    _move(items, walk, g, e)
                    _move(items, walk, h, f)
                    return True
    return False


@njit(cache=True, nogil=True)
def _worth(items: Any, choice: Any) -> int:
    """Return the value of a choice."""
    worth = 0
    for g in range(len(choice)):
        worth += items.value[choice[g]]
    return worth


@njit(cache=True, nogil=True)
def walk_on(items: Any, walk: Any, rounds: int) -> None:
    """Descend and kick so many times; ``best`` and ``value`` are the best within capacity.

    Args:
        items: the problem, as in :mod:`kernels.choice_search`.
        walk: where the walk stands.
        rounds: so many descents.
    """
    groups = len(walk.choice)
    for _ in range(rounds):
        idle, g = 0, random(walk.seed, groups)
        while idle < groups:
            idle = 0 if _improve(items, walk, g) else idle + 1
            g = g + 1 if g + 1 < groups else 0
        worth, over = _worth(items, walk.choice), False
        for k in range(len(walk.over)):
            over |= walk.over[k] > 0
        if not over and worth > walk.value[0]:
            walk.value[0] = worth
            copy(walk.choice, walk.best)
        for k in range(len(walk.over)):
            factor = RISE if walk.over[k] > 0 else FALL if not over else 1.0
            walk.weight[k] = min(max(walk.weight[k] * factor, SOME), 1.0 / SOME)
        copy(walk.over, walk.trial)
        score = worth - _excess(walk.weight, walk.over)
        now_home = _worth(items, walk.home)
        for h in range(groups):
            e, f = walk.home[h], walk.choice[h]
            for k in range(len(walk.trial)):
                walk.trial[k] += items.use[e, k] - items.use[f, k]
        if score >= now_home - _excess(walk.weight, walk.trial) or random(walk.seed, BACK) == 0:
            copy(walk.choice, walk.home)
        else:
            for h in range(groups):
                if walk.choice[h] != walk.home[h]:
                    _move(items, walk, h, walk.home[h])
        for _ in range(1 + random(walk.seed, KICKS)):
            h = random(walk.seed, groups)
            e = walk.near[h, random(walk.seed, walk.near.shape[1])]
            if e >= 0:
                _move(items, walk, h, e)


def walk_of(items: Any, loss: Any, price: Any, near: int) -> Walk:
    """Return a walk that begins at the items the prices favour most.

    Args:
        items: the problem.
        loss: [E] float64, what an item's surplus lacks to its group's best.
        price: [K] float64, value of a unit.
        near: so many items of a group are looked at.
    """
    groups, order = len(items.first) - 1, np.lexsort((loss, items.group))
    table = np.full((groups, near), -1, np.int64)
    for q in range(near):
        there = items.first[:-1] + q < items.first[1:]
        table[there, q] = order[items.first[:-1][there] + q]
    choice = table[:, 0].copy()
    over = items.use[choice].sum(axis=0) - items.capacity
    return Walk(table, choice, choice.copy(), choice.copy(), np.full(1, np.iinfo(np.int64).min),
                over, np.maximum(2.0 * price, SOME), over.copy(),
                np.array([0x9E3779B97F4A7C15], np.uint64))  # fmt: skip
