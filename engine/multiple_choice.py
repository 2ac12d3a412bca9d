"""Choose one item of each group within limits, to proved optimality, in whole numbers.

    maximise    sum_e value[e] x[e]
    subject to  exactly (or at most) one item of each group
                sum_e use[k, e] x[e] <= capacity[k]    for each resource k
                x in {0, 1}

It is the allocation problem on a small scale: groups are subscribers, items are actions, resources
are global constraints. Prices of the resources come from the linear relaxation and are rounded to
whole numbers, so that the Lagrangian bound and what it proves about items are exact. Problems
whose items use one resource each go to a search with a knapsack a resource; others to a search
with these prices, helped by SCIP where it does not end soon; those with numbers too large for 64
bits to CP-SAT. An answer is checked in whole numbers by code that shares nothing with the search.
"""

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from engine import agents, choices, multiple_choice_model
from engine.errors import AllocationError, DataError
from engine.multiple_choice_bound import bound_at, dominated, resource_prices
from engine.solve import Status

NOTHING = -1
MOST_VALUE = 1 << 50  # the sum of values is exact in 64-bit floats, with room for differences


@dataclass(frozen=True, eq=False)
class MultipleChoice:
    """A problem: E items in N groups, K resources."""

    value: Any  # [E] int64, any sign
    group: Any  # [E] int64, 0 <= group < groups
    use: Any  # [K, E] int64, any sign
    capacity: Any  # [K] int64
    groups: int
    exactly: bool = True  # one item of each group, or at most one

    def __post_init__(self) -> None:
        """Refuse what does not fit together or is too large to be exact.

        Raises:
            DataError: each problem on a line.
        """
        items, resources = len(self.value), len(self.capacity)
        problems = []
        if self.use.shape != (resources, items) or self.group.shape != (items,):
            problems.append(
                f"use and group: shapes do not fit, got {self.use.shape} and {self.group.shape}; "
                f"{items} values and {resources} capacities ask for {(resources, items)} and "
                f"{(items,)}"
            )
        elif items and ((self.group < 0) | (self.group >= self.groups)).any():
            problems.append(f"group: must be from 0 to {self.groups - 1}, got {self.group.max()}")
        for name in ("value", "use", "capacity", "group"):
            array = getattr(self, name)
            if array.dtype != np.int64:
                problems.append(f"{name}: must be whole numbers (int64), got {array.dtype}")
        if not problems:
            most = sum(map(abs, self.value.tolist()))
            if most > MOST_VALUE:
                problems.append(f"value: sizes may add up to {MOST_VALUE} at most, got {most}")
        if problems:
            raise DataError.of(problems)


@dataclass(frozen=True, eq=False)
class Choice:
    """An answer."""

    status: Status
    value: int | None  # None: no choice is known
    bound: int | None  # no choice is worth more; None: there is no choice
    chosen: Any  # [N] int64, item of each group or NOTHING; empty if no choice is known

    @property
    def remedy(self) -> str:
        """What the status means and what helps."""
        if self.status is Status.OPTIMAL:
            return "no choice is worth more"
        if self.status is Status.INFEASIBLE:
            return "no choice keeps all capacities: raise one"
        return "raise the time limit, or accept the gap to the bound"


def check(problem: MultipleChoice, chosen: Any) -> int:
    """Return what a choice is worth, in plain whole numbers.

    Raises:
        AllocationError: it breaks a rule of the problem.
    """
    total, used = 0, [0] * len(problem.capacity)
    for g, e in enumerate(chosen.tolist()):
        if e == NOTHING and not problem.exactly:
            continue
        if not 0 <= e < len(problem.value) or int(problem.group[e]) != g:
            raise AllocationError(f"group {g}: got item {e}, which is not one of its items")
        total += int(problem.value[e])
        used = [u + int(more) for u, more in zip(used, problem.use[:, e], strict=True)]
    if len(chosen) != problem.groups:
        raise AllocationError(f"got {len(chosen)} choices; there are {problem.groups} groups")
    for k, (u, most) in enumerate(zip(used, problem.capacity.tolist(), strict=True)):
        if u > most:
            raise AllocationError(f"resource {k}: {u} used; {most} is the capacity")
    return total


def solve(problem: MultipleChoice, *, seconds: float, workers: int = 2) -> Choice:
    """Solve a problem.

    Value, bound and status are the same on any machine unless ``seconds`` cuts the search short.

    Args:
        problem: the problem.
        seconds: wall clock after which the best answer so far is returned, with a bound.
        workers: threads.

    Returns:
        The answer, checked.

    Raises:
        AllocationError: an answer fails its check, which is a fault of this module.
    """
    deadline = perf_counter() + seconds
    whole = _with_nothing(problem)
    if _short_of_items(whole):
        return Choice(Status.INFEASIBLE, None, None, np.empty(0, np.int64))
    kept = np.flatnonzero(~dominated(whole.value, whole.group, whole.use))
    small = MultipleChoice(
        whole.value[kept], whole.group[kept], whole.use[:, kept], whole.capacity, whole.groups
    )
    prices = resource_prices(small, deadline)
    lagrangian = bound_at(small, prices)
    if agents.applies(small):
        found = agents.solve(small, lagrangian, prices, deadline)
    elif choices.applies(small):
        found = choices.solve(small, lagrangian, prices, deadline)
    else:
        found = multiple_choice_model.solve(small, lagrangian, deadline, workers)
    if found.infeasible:
        return Choice(Status.INFEASIBLE, None, None, np.empty(0, np.int64))
    bound = min(lagrangian.value, found.bound)
    if not len(found.chosen):
        return Choice(Status.TIME_LIMIT, None, bound, found.chosen)
    chosen = kept[found.chosen]
    chosen[chosen >= len(problem.value)] = NOTHING
    value = check(problem, chosen)
    if value > bound:
        raise AllocationError(f"a choice is worth {value}, above the bound {bound}")
    status = Status.OPTIMAL if value == bound else Status.TIME_LIMIT
    return Choice(status, value, bound, chosen)


def _with_nothing(problem: MultipleChoice) -> MultipleChoice:
    """Return the problem with an item "nothing" in each group, if one item is not asked for."""
    if problem.exactly:
        return problem
    extra = np.arange(problem.groups, dtype=np.int64)
    none = np.zeros(problem.groups, np.int64)
    unused = np.zeros((len(problem.capacity), problem.groups), np.int64)
    return MultipleChoice(
        np.concatenate([problem.value, none]),
        np.concatenate([problem.group, extra]),
        np.concatenate([problem.use, unused], axis=1),
        problem.capacity,
        problem.groups,
    )


def _short_of_items(problem: MultipleChoice) -> bool:
    """Has a group no item, or some resource not enough for the least use of every group?"""
    counts = np.bincount(problem.group, minlength=problem.groups)
    if (counts == 0).any():
        return True
    for use, capacity in zip(problem.use, problem.capacity.tolist(), strict=True):
        least = np.full(problem.groups, np.iinfo(np.int64).max)
        np.minimum.at(least, problem.group, use)
        if sum(least.tolist()) > capacity:
            return True
    return False
