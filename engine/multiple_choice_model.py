"""Solve a multiple-choice problem of any form with the models of OR-Tools.

:func:`near_best` asks SCIP for a good choice among the items that the prices favour. :func:`solve`
is CP-SAT, for numbers of any size: first on the few items that the prices favour, where a good
choice is soon found, then on every item that the bound does not prove away.
"""

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from ortools.sat.python import cp_model

from engine import integers
from engine.integer_rows import add_limit
from engine.multiple_choice_bound import Bound

KERNELS = (2, 4)  # items a group, on average, in the first models
KERNEL_SHARE = 0.15  # of the time that is left, at most, for one of them
LEAST_SECONDS = 0.01
EASY = 100  # nodes of a refutation that is no work
SLOW, FAST = 3, 10  # growth of the nodes from one target to the next that is little, and much
MOST_NODES = 10_000_000


@dataclass(frozen=True, eq=False)
class Found:
    """What a search found."""

    chosen: Any  # [N] int64, item of each group; empty if no choice is known
    bound: int
    infeasible: bool = False


def next_distance(distance: int, last: int, nodes: int) -> int:
    """Return how far the next target goes beyond what is proved.

    Args:
        distance: how far the last went.
        last: the nodes of the refutation before.
        nodes: the nodes of the last refutation.
    """
    if nodes < EASY or nodes < SLOW * last:
        return 2 * distance
    return max(1, distance // 2) if nodes > FAST * last else distance


def solve(problem: Any, lagrangian: Bound, deadline: float, workers: int) -> Found:
    """Solve a problem.

    Args:
        problem: a :class:`engine.multiple_choice.MultipleChoice`, exactly one item a group.
        lagrangian: what prices prove.
        deadline: by ``perf_counter``.
        workers: threads.

    Returns:
        The best choice found and a bound.
    """
    best, value = np.empty(0, np.int64), None
    order = sorted(lagrangian.loss)
    for size in KERNELS:
        if size * problem.groups >= len(order):
            break
        items = np.array([loss <= order[size * problem.groups] for loss in lagrangian.loss])
        if value is not None:
            items &= lagrangian.possible(value + 1)
        now = perf_counter()
        until = now + KERNEL_SHARE * (deadline - now)
        found = _model(problem, np.flatnonzero(items), best, (until, workers))
        if len(found.chosen):
            best = found.chosen
            value = int(problem.value[best].sum())
            if value >= lagrangian.value:
                return Found(best, value)
    items = np.arange(len(order))
    if value is not None:
        items = np.flatnonzero(lagrangian.possible(value + 1))
    found = _model(problem, items, best, (deadline, workers))
    if value is None:
        return found
    if found.infeasible:  # nothing is better than what is known
        return Found(best, value)
    chosen = found.chosen if len(found.chosen) else best
    return Found(chosen, max(value, min(found.bound, lagrangian.value)))


def near_best(problem: Any, lagrangian: Bound, known: Any, limits: tuple[int, float]) -> Any:
    """Return a good choice among the items that the prices favour, or an empty one.

    Args:
        problem: the problem.
        lagrangian: what prices prove.
        known: [N] a choice to begin with, or empty.
        limits: items a group, on average; deadline.
    """
    order = sorted(lagrangian.loss)
    most = order[min(limits[0] * problem.groups, len(order) - 1)]
    favoured = np.array([loss <= most for loss in lagrangian.loss])
    if len(known):
        favoured &= lagrangian.possible(int(problem.value[known].sum()) + 1)
        favoured[known] = True
    items = np.flatnonzero(favoured)
    members: list[list[int]] = [[] for _ in range(problem.groups)]
    for place, g in enumerate(problem.group[items].tolist()):
        members[g].append(place)
    if not all(members):
        return np.empty(0, np.int64)
    uses = [(places, [-1] * len(places), -1) for places in members]  # at least one
    for use, capacity in zip(problem.use[:, items], problem.capacity.tolist(), strict=True):
        used = np.flatnonzero(use).tolist()
        uses.append((used, [int(use[i]) for i in used], capacity))
    taken = integers.near_best(
        problem.value[items].tolist(), [(places, 1) for places in members], uses,
        slack=0, nodes=MOST_NODES, seconds=limits[1] - perf_counter(),
        known=np.isin(items, known).tolist() if len(known) else [],
    )  # fmt: skip
    if taken is None:
        return np.empty(0, np.int64)
    chosen = np.empty(problem.groups, np.int64)
    chosen[problem.group[items[taken]]] = items[taken]
    return chosen


def _model(problem: Any, items: Any, known: Any, limits: tuple[float, int]) -> Found:
    """Look for a choice among some items that is worth more than a known one.

    Args:
        problem: the problem.
        items: [n] int64, the items that may be taken.
        known: [N] a choice, or empty.
        limits: deadline and threads.

    Returns:
        What CP-SAT found; ``infeasible`` if it proved that there is none.
    """
    none = np.empty(0, np.int64)
    most = 1 + int(np.abs(problem.value).sum())
    members: list[list[int]] = [[] for _ in range(problem.groups)]
    for place, g in enumerate(problem.group[items].tolist()):
        members[g].append(place)
    if not all(members):
        return Found(none, most, infeasible=True)
    model = cp_model.CpModel()
    variables = [model.new_bool_var("") for _ in items]
    for places in members:
        model.add_exactly_one(variables[place] for place in places)
    for use, capacity in zip(problem.use[:, items], problem.capacity.tolist(), strict=True):
        used = np.flatnonzero(use).tolist()
        add_limit(model, [variables[i] for i in used], [int(use[i]) for i in used], capacity)
    worth = cp_model.LinearExpr.weighted_sum(variables, problem.value[items].tolist())
    model.maximize(worth)
    if len(known):
        model.add(worth >= int(problem.value[known].sum()) + 1)
    seconds = limits[0] - perf_counter()
    if seconds < LEAST_SECONDS:
        return Found(none, most)
    solver = cp_model.CpSolver()
    parameters = solver.parameters
    parameters.num_workers = limits[1]
    parameters.random_seed = 1
    parameters.catch_sigint_signal = False
    parameters.max_time_in_seconds = seconds
    status = solver.solve(model)
    if status == cp_model.INFEASIBLE:
        return Found(none, most, infeasible=True)
    bound = most if status == cp_model.UNKNOWN else int(np.floor(solver.best_objective_bound))
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Found(none, bound)
    taken = items[[solver.boolean_value(v) for v in variables]]
    chosen = np.empty(problem.groups, np.int64)
    chosen[problem.group[taken]] = taken
    return Found(chosen, bound)
