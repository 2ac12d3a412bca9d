"""The arrays of :mod:`kernels.choice_search`: E items sorted by group, N groups, K resources."""

from typing import Any, NamedTuple

import numpy as np


class Items(NamedTuple):
    """The problem; none of it changes."""

    first: Any  # [N + 1] int64, group g has the items first[g] .. first[g + 1] - 1
    group: Any  # [E] int64
    value: Any  # [E] int64
    use: Any  # [E, K] int64
    capacity: Any  # [K] int64
    dearest: Any  # [K] int64, prices stay at or below, so that nothing wraps


class State(NamedTuple):
    """Where the search stands, and room to work in."""

    alive: Any  # [E] bool
    count: Any  # [N] int64, living items of a group
    trail: Any  # [E] int64, items that died, in order
    place: Any  # [3] int64: height of the trail, level, nodes so far
    price: Any  # [N + 2, K] int64, by level
    mark: Any  # [N + 2] int64, the trail's height where a level began
    item: Any  # [N + 2] int64, the item chosen at a level
    chosen: Any  # [N] int64, the choice found
    surplus: Any  # [E] int64, value * unit - price . use
    best: Any  # [N] int64, a group's best item
    least: Any  # [N, K] int64, the least use of a group's living items
    used: Any  # [K] int64
    kept: Any  # [K] int64, the node's best prices
    direction: Any  # [K] float64


def state_of(items: Items) -> State:
    """Return a search in which everything is open."""
    count, resources = items.use.shape
    groups = len(items.first) - 1
    levels = np.zeros((2, groups + 2), np.int64)
    by_resource = np.zeros((2, resources), np.int64)
    return State(
        alive=np.ones(count, np.bool_),
        count=np.diff(items.first),
        trail=np.zeros(count, np.int64),
        place=np.zeros(3, np.int64),
        price=np.zeros((groups + 2, resources), np.int64),
        mark=levels[0],
        item=levels[1],
        chosen=np.zeros(groups, np.int64),
        surplus=np.zeros(count, np.int64),
        best=np.zeros(groups, np.int64),
        least=np.zeros((groups, resources), np.int64),
        used=by_resource[0],
        kept=by_resource[1],
        direction=np.zeros(resources),
    )
