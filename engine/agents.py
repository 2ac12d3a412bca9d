"""Solve a multiple-choice problem whose items use one resource each.

The least cost is closed in on from below: is there a choice within a cost, just above what is
proved? A tight target proves many items away, so most answers come soon, and each raises the
bound. From above, moves improve a choice between the stretches of the search. All of it counts in
steps, not seconds: the same answer on any machine, unless the time ends it.
"""

from time import perf_counter
from typing import Any

import numpy as np

from engine.multiple_choice_bound import SCALE, Bound
from engine.multiple_choice_model import Found, near_best, next_distance
from kernels.agent_bound import Items, state_of, undo
from kernels.agent_moves import NEAREST, Walk, walk_on
from kernels.agent_search import FOUND, OPEN, REFUTED, path_of, search

UNIT = 1 << 10  # prices are in 1 / UNIT
MOST_COST = 1 << 50  # sum of costs times UNIT, far from 64 bits
MOST_TABLE = 1 << 24  # entries of a knapsack's table
STEPS, ROOT_STEPS = 20, 60  # at a node; at a root
ROOT_LOOKS = 8  # so many times the prices at the root are moved before the search begins
STRETCH, MOST_NODES = 1 << 27, 200  # table entries and nodes between looks at the clock
FIRST_SHARE, MODEL_SHARE = 0.5, 0.7  # of the time, at which SCIP begins and ends
CORE = 3  # items a group, on average, for SCIP
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

    def __init__(self, items: Items, groups: int, pi: Any, most: int) -> None:
        self.items, self.groups, self.pi, self.most = items, groups, pi, most
        self.proved = np.iinfo(np.int64).min  # no choice costs less
        self.distance, self.last = 1, 0
        self.state = state_of(items, groups)
        size = int((np.diff(items.first) * (items.capacity + 1)).sum())
        steps = min(ROOT_STEPS, max(STEPS, STRETCH // (size + 1)))
        self.path = path_of(groups, STEPS, steps)
        self.nodes = int(min(MOST_NODES, 1 + STRETCH // (STEPS * size + 1)))

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

    def closed(self, walk: Walk) -> bool:
        """Say whether nothing is left to find; ``most`` is what any choice costs at most."""
        return self.proved > min(self.most, int(walk.cost[0]) - 1)

    def root(self, target: int, deadline: float) -> None:
        """Look at the root alone, keep its prices and what it proves."""
        for _ in range(ROOT_LOOKS):
            self.begin(target)
            code = self._search(1)
            if code == REFUTED:
                self.proved = target + 1
                return
            bound = -(-int(self.path.bound[0]) // UNIT)
            self.proved = max(self.proved, bound)
            if code == FOUND or perf_counter() > deadline:
                return
            self.pi = self.path.pi[0].copy()


def solve(problem: Any, lagrangian: Bound, prices: list[int], deadline: float) -> Found:
    """Solve a problem to which :func:`applies` says yes.

    Args:
        problem: a :class:`engine.multiple_choice.MultipleChoice`, exactly one item a group.
        lagrangian: what the prices prove.
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
    hunt = _Search(items, groups, pi, int(dearest.sum()))
    now = perf_counter()
    _begin(hunt, walk, agent, deadline)
    _close(hunt, walk, agent, now + FIRST_SHARE * (deadline - now))
    if not hunt.closed(walk) and perf_counter() < deadline:
        place = np.zeros(len(problem.value), np.int64)
        place[order] = np.arange(len(order))
        known = order[walk.best] if int(walk.cost[0]) <= hunt.most else np.empty(0, np.int64)
        until = now + MODEL_SHARE * (deadline - now)
        found = near_best(problem, lagrangian, known, (CORE, until))
        if len(found) and -int(problem.value[found].sum()) < int(walk.cost[0]):
            _take(hunt, walk, agent, place[found])
        _close(hunt, walk, agent, deadline)
    if int(walk.cost[0]) > hunt.most:  # no choice is known
        return Found(np.empty(0, np.int64), -hunt.proved, infeasible=hunt.proved > hunt.most)
    return Found(order[walk.best], -min(hunt.proved, int(walk.cost[0])))


def _take(hunt: _Search, walk: Walk, agent: Any, chosen: Any) -> None:
    """Let the walk go on from a choice that is the best so far."""
    items = hunt.items
    for part in (walk.best, walk.choice, walk.home):
        part[:] = chosen
    walk.cost[0] = items.cost[chosen].sum()
    walk.home_cost[0] = walk.cost[0]
    used = np.bincount(agent[chosen], items.use[chosen], len(items.capacity))
    walk.over[:] = used.astype(np.int64) - items.capacity


def _begin(hunt: _Search, walk: Walk, agent: Any, deadline: float) -> None:
    """Walk for a while, and look at the root."""
    rounds = max(1, ROUNDS // hunt.groups)
    for _ in range(0, FIRST_ROUNDS, rounds):
        if perf_counter() < deadline:
            walk_on(hunt.items, agent, walk, rounds)
    hunt.root(min(hunt.most, int(walk.cost[0]) - 1), deadline)


def _close(hunt: _Search, walk: Walk, agent: Any, deadline: float) -> None:
    """Raise what is proved and lower what is known until they meet or time ends."""
    rounds, items = max(1, ROUNDS // hunt.groups), hunt.items
    while perf_counter() < deadline and not hunt.closed(walk):
        known = min(hunt.most, int(walk.cost[0]) - 1)
        hunt.begin(min(known, hunt.proved + hunt.distance - 1))
        code = OPEN
        while code == OPEN and perf_counter() < deadline and int(walk.cost[0]) > hunt.target:
            code = hunt.go_on()
            if code == OPEN and perf_counter() < deadline:
                walk_on(items, agent, walk, rounds)
        if code == FOUND:
            _take(hunt, walk, agent, hunt.path.best)
        elif code == REFUTED:
            hunt.proved = hunt.target + 1
            hunt.distance = next_distance(hunt.distance, hunt.last, int(hunt.path.level[1]))
            hunt.last = int(hunt.path.level[1])
