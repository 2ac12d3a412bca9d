"""Close in on the best choice from above, where any item may use any resource.

Is there a choice worth a target, just below what is proved? A tight target proves most items
away. Each answer lowers the bound or raises what is known. Counts in nodes, not seconds: the same
answer on any machine, unless the time ends it.
"""

from time import perf_counter
from typing import Any

import numpy as np

from engine.multiple_choice_bound import SCALE, Bound
from engine.multiple_choice_model import Found, near_best, next_distance
from kernels.choice_search import FOUND, OPEN, REFUTED, search, undo
from kernels.choice_state import Items, state_of

STEPS = 8  # at a node
STRETCH = 1 << 24  # item uses looked at between looks at the clock, about
MOST_NODES = 2000
FIRST_SHARE = 0.4  # of the time, for the search alone
# Then SCIP has so many items a group, on average, until this share of the time.
CORES = ((2, 0.55), (3, 0.7), (5, 0.8))
LEAST_SECONDS = 0.2
MOST_TOTAL = 1 << 58  # sums stay below, far from 64 bits


class Search:
    """The search for one target after another."""

    def __init__(self, problem: Any, lagrangian: Bound, prices: list[int]) -> None:
        """Begin.

        Args:
            problem: a :class:`engine.multiple_choice.MultipleChoice`, exactly one item a group;
                :func:`applies` says yes to it.
            lagrangian: what ``prices`` prove.
            prices: [K] in 1 / SCALE.
        """
        self.order = np.argsort(problem.group, kind="stable")
        self.problem = problem
        use = np.ascontiguousarray(problem.use.T[self.order])
        group = problem.group[self.order]
        self.unit = _unit(problem)
        dearest = [MOST_TOTAL // (len(prices) * (1 + most)) for most in _largest(problem)]
        first = np.searchsorted(group, np.arange(problem.groups + 1)).astype(np.int64)
        self.items = Items(first, group, problem.value[self.order], use, problem.capacity,
                           np.array(dearest, np.int64))  # fmt: skip
        self.state = state_of(self.items)
        rounded = [min(p * self.unit // SCALE, d) for p, d in zip(prices, dearest, strict=True)]
        self.price = np.array(rounded, np.int64)
        self.bound = lagrangian.value
        least = np.full(problem.groups, np.iinfo(np.int64).max)
        np.minimum.at(least, problem.group, problem.value)
        self.least = int(least.sum())  # no choice is worth less
        self.distance, self.last = 1, 0
        self.chosen: Any = np.empty(0, np.int64)
        self.value = self.least - 1
        self.nodes = int(min(MOST_NODES, 1 + STRETCH // (STEPS * max(1, use.size))))

    def know(self, chosen: Any) -> None:
        """Take a choice if it is the best so far."""
        value = int(self.problem.value[chosen].sum()) if len(chosen) else self.least - 1
        if value > self.value:
            self.chosen, self.value = chosen, value

    def closed(self) -> bool:
        """Say whether bound and value meet."""
        return self.value >= self.bound

    def close(self, deadline: float) -> None:
        """Lower the bound and raise the value until they meet or time ends."""
        while not self.closed() and perf_counter() < deadline:
            target = max(self.value + 1, self.bound - self.distance + 1)
            undo(self.items, self.state, 0)
            self.state.place[:] = 0
            self.state.price[0] = self.price
            code = OPEN
            while code == OPEN and perf_counter() < deadline:
                code = search(self.items, self.state, self.unit, target, STEPS, self.nodes)
            if code == FOUND:
                self.know(self.order[self.state.chosen])
            elif code == REFUTED:
                self.bound = target - 1
                self.distance = next_distance(self.distance, self.last, int(self.state.place[2]))
                self.last = int(self.state.place[2])


def _largest(problem: Any) -> list[int]:
    """Return by resource the largest use of a choice, or the capacity if that is larger."""
    rows = zip(problem.use, problem.capacity.tolist(), strict=True)
    return [
        max(abs(capacity), problem.groups * int(np.abs(use).max(initial=0)))
        for use, capacity in rows
    ]


def _unit(problem: Any) -> int:
    """Return a power of two: prices in 1 / unit are fine, and no sum of values wraps."""
    most: int = 1 + problem.groups * int(np.abs(problem.value).max(initial=0))
    return int(1 << max(0, min(40, (MOST_TOTAL // most).bit_length() - 1)))


def applies(problem: Any) -> bool:
    """Say whether the numbers are small enough for 64 bits with room for fine prices."""
    largest = max(_largest(problem), default=0)
    return len(problem.capacity) > 0 and largest < 1 << 40 and _unit(problem) >= 1 << 10


def solve(problem: Any, lagrangian: Bound, prices: list[int], deadline: float) -> Found:
    """Solve a problem to which :func:`applies` says yes.

    Args:
        problem: as for :class:`Search`.
        lagrangian: as for :class:`Search`.
        prices: as for :class:`Search`.
        deadline: by ``perf_counter``.

    Returns:
        The best choice found and a bound.
    """
    hunt = Search(problem, lagrangian, prices)
    now = perf_counter()
    hunt.close(now + FIRST_SHARE * (deadline - now))
    if not hunt.closed() and (deadline - perf_counter()) > LEAST_SECONDS:
        for core, share in CORES:
            until = now + share * (deadline - now)
            hunt.know(near_best(problem, lagrangian, hunt.chosen, (core, until)))
        hunt.close(deadline)
    infeasible = hunt.closed() and not len(hunt.chosen)
    return Found(hunt.chosen, max(hunt.bound, hunt.value), infeasible)
