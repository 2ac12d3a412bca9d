"""Solve a multiple-choice problem whose items use one resource each.

The least cost is closed in on from below: is there a choice within a cost, just above what is
proved? A tight target proves many items away, so most answers come soon, and each raises the
bound. From above, moves improve a choice between the stretches of the search. All of it counts in
steps, not seconds: the same answer on any machine, unless the time ends it.
"""

from time import perf_counter
from typing import Any

import numpy as np

from engine.multiple_choice_bound import SCALE
from engine.multiple_choice_model import Found
from kernels.agent_bound import Items, state_of, undo
from kernels.agent_moves import NEAREST, Walk, walk_on
from kernels.agent_search import FOUND, OPEN, REFUTED, path_of, search

UNIT = 1 << 10  # prices are in 1 / UNIT
MOST_COST = 1 << 50  # sum of costs times UNIT, far from 64 bits
MOST_TABLE = 1 << 24  # entries of a knapsack's table
STEPS, ROOT_STEPS = 20, 60  # at a node; at a root
ROOT_LOOKS = 8  # so many times the prices at the root are moved before the search begins
STRETCH, MOST_NODES = 1 << 28, 200  # table entries and nodes between looks at the clock
EASY = 100  # nodes; a refutation within so many doubles the next target's distance
FIRST_ROUNDS = 300  # descents of the walk before the search
ROUNDS = 4000  # descents between looks at the clock, times groups


def applies(problem: Any) -> bool:
    """Say whether the problem is of this kind, and small enough for its tables."""
    used = problem.use != 0
    if (problem.use < 0).any() or (problem.capacity < 0).any() or (used.sum(axis=0) > 1).any():
        return False
    if not len(problem.capacity) or int(np.abs(problem.value).sum()) * UNIT > MOST_COST:
        return False
    most = 0
    for k in range(len(problem.capacity)):
        mine = used[k]
        if len(np.unique(problem.group[mine])) < int(mine.sum()):
            return False  # two items of a group with one resource
        room = min(int(problem.capacity[k]), sum(problem.use[k].tolist()))
        most = max(most, (int(mine.sum()) + 1) * (room + 1))
    return most <= MOST_TABLE


def _items(problem: Any) -> tuple[Items, Any]:
    """Return the problem by agents, and [E] which item of ``problem`` each is."""
    resources = len(problem.capacity)
    used = problem.use != 0
    agent = np.where(used.any(axis=0), used.argmax(axis=0), resources)
    use = problem.use.sum(axis=0)
    capacity = np.append(np.minimum(problem.capacity, problem.use.sum(axis=1)), 0)
    for k in range(resources):
        divisor = max(1, int(np.gcd.reduce(problem.use[k])))
        use[agent == k] //= divisor
        capacity[k] //= divisor
    open_ = use <= np.append(capacity[:-1], 0)[agent]
    # Of the items without a resource one is enough in a group; the others are dominated.
    order = np.flatnonzero(open_)[np.argsort(agent[open_], kind="stable")]
    first = np.searchsorted(agent[order], np.arange(resources + 2))
    items = Items(first.astype(np.int64), problem.group[order], use[order].astype(np.int64),
                  -problem.value[order], capacity.astype(np.int64))  # fmt: skip
    return items, order


def _walk(items: Items, agent: Any, prices: Any, groups: int) -> Walk:
    """Return a walk that begins where cost plus priced use is least."""
    agents = len(items.capacity)
    item = np.full((groups, agents), -1, np.int64)
    item[items.group, agent] = np.arange(len(agent))
    guide = items.cost + prices[agent] * items.use
    order = np.lexsort((guide, items.group))
    near = np.full((groups, NEAREST), -1, np.int64)
    start = np.searchsorted(items.group[order], np.arange(groups + 1))
    for place in range(NEAREST):
        there = start[:-1] + place < start[1:]
        near[there, place] = order[start[:-1][there] + place]
    choice = near[:, 0].copy()
    over = np.bincount(agent[choice], items.use[choice], agents).astype(np.int64) - items.capacity
    spread = float(np.ptp(items.cost)) / max(1.0, float(items.use.mean()))
    weight = np.maximum(2 * prices, max(spread, 1.0) / 10)
    return Walk(item, near, choice, choice.copy(), choice.copy(),
                np.full(1, np.iinfo(np.int64).max), np.full(1, np.inf), over, weight,
                np.array([0x9E3779B97F4A7C15], np.uint64))  # fmt: skip


class _Search:
    """The search for one target after another."""

    def __init__(self, items: Items, groups: int, pi: Any) -> None:
        self.items, self.groups, self.pi = items, groups, pi
        self.state = state_of(items, groups)
        self.path = path_of(groups, STEPS, ROOT_STEPS)
        sizes = np.diff(items.first) * (items.capacity + 1)
        self.nodes = int(min(MOST_NODES, 1 + STRETCH // (STEPS * int(sizes.sum()) + 1)))

    def begin(self, target: int) -> None:
        """Open everything, for a new target."""
        undo(self.items, self.state, 0)
        self.path.level[:] = 0
        self.path.pi[0] = self.pi
        self.target = target

    def go_on(self) -> int:
        """Search some nodes."""
        return self._search(self.nodes)

    def _search(self, nodes: int) -> int:
        return int(search(self.items, self.state, self.path, UNIT, self.target, nodes))

    def root(self, target: int, deadline: float) -> int:
        """Look at the root alone and keep its prices; return the proved least cost."""
        proved = np.iinfo(np.int64).min
        for _ in range(ROOT_LOOKS):
            self.begin(target)
            code = self._search(1)
            if code == REFUTED:
                return target + 1
            bound = -(-int(self.path.bound[0]) // UNIT)
            if code == FOUND:
                return max(proved, bound)
            self.pi = self.path.pi[0].copy()
            proved = max(proved, bound)
            if perf_counter() > deadline:
                break
        return proved


def solve(problem: Any, prices: list[int], deadline: float) -> Found:
    """Solve a problem to which :func:`applies` says yes.

    Args:
        problem: a :class:`engine.multiple_choice.MultipleChoice`, exactly one item a group.
        prices: [K] of the resources, in 1 / SCALE.
        deadline: by ``perf_counter``.

    Returns:
        The best choice found and a bound.
    """
    items, order = _items(problem)
    groups = problem.groups
    if (np.bincount(items.group, minlength=groups) == 0).any():
        return Found(np.empty(0, np.int64), 0, infeasible=True)
    agent = np.repeat(np.arange(len(items.capacity)), np.diff(items.first))
    divisors = [max(1, int(np.gcd.reduce(use))) for use in problem.use]
    money = np.array([p * d / SCALE for p, d in zip(prices, divisors, strict=True)] + [0.0])
    walk = _walk(items, agent, money, groups)
    pi = np.full(groups, np.iinfo(np.int64).max)
    guide = np.round((items.cost + money[agent] * items.use) * UNIT).astype(np.int64)
    np.minimum.at(pi, items.group, guide)
    dearest = np.full(groups, np.iinfo(np.int64).min)
    np.maximum.at(dearest, items.group, items.cost)
    most = int(dearest.sum())
    proved = _close(_Search(items, groups, pi), walk, agent, most, deadline)
    if int(walk.cost[0]) > most:  # no choice is known
        return Found(np.empty(0, np.int64), -proved, infeasible=proved > most)
    return Found(order[walk.best], -min(proved, int(walk.cost[0])))


def _close(hunt: _Search, walk: Walk, agent: Any, most: int, deadline: float) -> int:
    """Raise what is proved and lower what is known until they meet or time ends.

    Returns:
        the proved least cost; above ``most``, which any choice costs at most, if there is none.
    """
    items = hunt.items
    rounds = max(1, ROUNDS // hunt.groups)
    for _ in range(0, FIRST_ROUNDS, rounds):
        if perf_counter() < deadline:
            walk_on(items, agent, walk, rounds)
    proved = hunt.root(min(most, int(walk.cost[0]) - 1), deadline)
    distance = 1
    while perf_counter() < deadline:
        known = min(most, int(walk.cost[0]) - 1)
        if proved > known:
            break
        hunt.begin(min(known, proved + distance - 1))
        code = OPEN
        while code == OPEN and perf_counter() < deadline and int(walk.cost[0]) > hunt.target:
            code = hunt.go_on()
            if code == OPEN:
                walk_on(items, agent, walk, rounds)
        if code == FOUND:
            walk.cost[0] = items.cost[hunt.path.best].sum()
            walk.best[:] = hunt.path.best
        elif code == REFUTED:
            proved = hunt.target + 1
            distance *= 2 if hunt.path.level[1] < EASY else 1
    return proved
