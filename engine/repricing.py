"""The core at prices of its own: those of its linear program.

The prices of a whole base are as fine as its bound needs. Where few subscribers are near to
changing a limit's use, a price may be off by more than the regrets that decide there, next to no
bound being lost. The linear program of the core against what is left of the limits has prices that
are exact for these subscribers: at them, all but as many subscribers as there are limits have one
best bundle, and those add up to what is left.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ortools.linear_solver import pywraplp

from engine.core import Core
from engine.mend import may_bind
from engine.stop import Deadline

EFFORT = 4.0  # of GLOP, in its own unit: the same on any machine
LONGEST_S = 1e6  # that the solver can count


@dataclass(frozen=True, eq=False)
class Repriced:
    """A core whose regrets count at its own prices."""

    core: Core
    place: Any  # [B] int64, where a bundle of the core before stands in this one


def repriced(
    core: Core, slack: Any, scale: Any, soft: Any, *, deadline: Deadline
) -> Repriced | None:
    """Return the core at the prices of its linear program.

    None: the program has no solution, or none that is found with some effort.

    Args:
        core: the core.
        slack: [K] float64, limit less use when the core too has its best bundles.
        scale: [K] float64, > 0, units of the constraint that a typical contact uses.
        soft: [K] float64, money that a unit beyond a limit costs, inf: it is hard.
        deadline: when to end.

    Source:
        Dantzig and Wolfe, "Decomposition Principle for Linear Programs", Operations Research 8(1),
        1960: the master program over the subscribers' bundles.
    """
    relevant = may_bind(core, slack)
    prices = np.zeros(len(slack))
    found = _duals(core, relevant, slack / scale, scale, soft, deadline=deadline)
    if found is None:
        return None
    prices[relevant] = found / scale[relevant]
    surplus = core.value.copy()
    for k in relevant:
        surplus -= core.use[:, k] * prices[k]
    best = np.maximum.reduceat(surplus, core.first[:-1])
    regret = best[core.owner] - surplus
    order = np.lexsort((regret, core.owner))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    mine = replace(
        core, bundles=core.bundles[order], regret=regret[order], value=core.value[order],
        use=core.use[order], prices=prices,
    )  # fmt: skip
    return Repriced(mine, place)


def _duals(
    core: Core, relevant: Any, room: Any, scale: Any, soft: Any, *, deadline: Deadline
) -> Any:  # fmt: skip
    """Return the prices of some limits, money per typical contact; None: there are none."""
    best = core.first[:-1]
    gain = core.value - core.value[best][core.owner]
    solver = pywraplp.Solver.CreateSolver("GLOP")
    solver.SetSolverSpecificParametersAsString(f"max_deterministic_time: {EFFORT}")
    solver.SetTimeLimit(max(1, int(1000 * min(deadline.seconds(), LONGEST_S))))
    objective = solver.Objective()
    objective.SetMaximization()
    columns = np.setdiff1d(np.arange(len(gain)), best).tolist()
    variables = {j: solver.NumVar(0.0, 1.0, "") for j in columns}
    choices: dict[int, Any] = {}
    for j in columns:
        objective.SetCoefficient(variables[j], float(gain[j]))
        s = int(core.owner[j])
        if s not in choices:
            choices[s] = solver.Constraint(-solver.infinity(), 1.0)
        choices[s].SetCoefficient(variables[j], 1.0)
    rows = []
    for k in relevant.tolist():
        row = solver.Constraint(-solver.infinity(), float(room[k]))
        more = (core.use[:, k] - core.use[best, k][core.owner]) / scale[k]
        for j in np.flatnonzero(more).tolist():
            row.SetCoefficient(variables[j], float(more[j]))
        if np.isfinite(soft[k]):
            beyond = solver.NumVar(0.0, solver.infinity(), "")
            row.SetCoefficient(beyond, -1.0)
            objective.SetCoefficient(beyond, -float(soft[k] * scale[k]))
        rows.append(row)
    if solver.Solve() != pywraplp.Solver.OPTIMAL:
        return None
    return np.maximum([row.dual_value() for row in rows], 0.0)
