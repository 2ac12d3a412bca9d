"""Bound a multiple-choice problem by prices of its resources, exactly.

    bound(prices) = prices . capacity + sum_g max { value - prices . use : items of group g }

is worth at least every choice, at any prices >= 0 (weak duality). Prices come from the linear
relaxation in floats and are rounded to whole numbers of 1 / SCALE; from there on all is exact. An
item whose surplus is ``loss`` below its group's best is in no choice worth more than
``bound - loss``.
"""

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from ortools.linear_solver import pywraplp

SCALE = 1 << 40
RELAXATION_SHARE = 0.25  # of the time that is left, at most
MOST_COMPARED = 1 << 27  # uses; more are too many to look for dominated items


@dataclass(frozen=True, eq=False)
class Bound:
    """What prices prove."""

    exact: int  # the bound in 1 / SCALE
    loss: list[int]  # [E] what an item's surplus lacks to its group's best, in 1 / SCALE

    @property
    def value(self) -> int:
        """The bound: values are whole, so it is rounded down."""
        return self.exact // SCALE

    def possible(self, value: int) -> Any:
        """Return [E] bool: may the item be in a choice worth ``value`` or more?"""
        most = self.exact - value * SCALE
        return np.array([loss <= most for loss in self.loss], bool)


def dominated(value: Any, group: Any, use: Any) -> Any:
    """Return [E] bool: another item of the group is worth as much and uses no more of anything.

    Of equals the first stays. None is named where there are too many to compare.
    """
    lost = np.zeros(len(value), bool)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    members_of = np.split(order, starts[1:])
    if len(use) * sum(len(m) ** 2 for m in members_of) > MOST_COMPARED:
        return lost
    for members in members_of:
        for place, e in enumerate(members):
            as_good = (value[members] >= value[e]) & (use[:, members] <= use[:, [e]]).all(axis=0)
            same = (value[members] == value[e]) & (use[:, members] == use[:, [e]]).all(axis=0)
            as_good &= ~same | (np.arange(len(members)) < place)
            lost[e] = as_good.any()
    return lost


def resource_prices(problem: Any, deadline: float) -> list[int]:
    """Return [K] prices in 1 / SCALE from the linear relaxation; zeros if it was not solved."""
    solver = pywraplp.Solver.CreateSolver("GLOP")
    seconds = min(1e6, RELAXATION_SHARE * (deadline - perf_counter()))
    solver.SetTimeLimit(max(1, int(1000 * seconds)))
    variables = [solver.NumVar(0.0, solver.infinity(), "") for _ in range(len(problem.value))]
    objective = solver.Objective()
    objective.SetMaximization()
    rows = [solver.Constraint(1.0, 1.0) for _ in range(problem.groups)]
    for variable, value, g in zip(variables, problem.value.tolist(), problem.group, strict=True):
        objective.SetCoefficient(variable, float(value))
        rows[g].SetCoefficient(variable, 1.0)
    limits = []
    scales = [max(1.0, float(np.abs(use).max(initial=0))) for use in problem.use]
    for use, scale, capacity in zip(problem.use, scales, problem.capacity.tolist(), strict=True):
        row = solver.Constraint(-solver.infinity(), capacity / scale)
        for e in np.flatnonzero(use).tolist():
            row.SetCoefficient(variables[e], float(use[e]) / scale)
        limits.append(row)
    if solver.Solve() != pywraplp.Solver.OPTIMAL:
        return [0] * len(scales)
    duals = [row.dual_value() / scale for row, scale in zip(limits, scales, strict=True)]
    return [max(0, round(dual * SCALE)) for dual in duals]


def bound_at(problem: Any, prices: list[int]) -> Bound:
    """Return the exact bound at prices in 1 / SCALE, >= 0."""
    surplus = [value * SCALE for value in problem.value.tolist()]
    for price, use in zip(prices, problem.use, strict=True):
        if price:
            for e in np.flatnonzero(use).tolist():
                surplus[e] -= price * int(use[e])
    best: dict[int, int] = {}
    groups = problem.group.tolist()
    for g, s in zip(groups, surplus, strict=True):
        if s > best.get(g, s - 1):
            best[g] = s
    exact = sum(best.values())
    exact += sum(p * b for p, b in zip(prices, problem.capacity.tolist(), strict=True))
    return Bound(exact, [best[g] - s for g, s in zip(groups, surplus, strict=True)])
