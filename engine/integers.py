"""Whole-number models for OR-Tools: small problems (CP-SAT) and the rounding core (SCIP).

Both keep every limit exactly: CP-SAT works on whole numbers, SCIP's answer is checked in whole
numbers and asked for again with a little less room if its tolerance let a limit be passed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd
from time import perf_counter
from typing import Any

import numpy as np
from ortools.linear_solver import pywraplp
from ortools.sat.python import cp_model

from engine.errors import EngineError
from engine.integer_rows import Choices, Softs, Uses, add_limit, add_soft, shrink

SCIP_OPTIONS = """
limits/nodes = {nodes}
limits/absgap = {slack!r}
numerics/feastol = 1e-9
randomization/randomseedshift = 1
misc/catchctrlc = FALSE
"""
MARGINS = (0.0, 1e-9, 1e-7, 1e-5)  # room taken off a limit, as a share of it
MOST_WHOLE = 1_000_000  # largest coefficient that stays a whole number in SCIP's rows
LONGEST = 1e9  # seconds that SCIP can count


@dataclass(frozen=True)
class Answer:
    """What CP-SAT found."""

    status: str  # OPTIMAL (within the gap asked for), FEASIBLE, INFEASIBLE or UNKNOWN
    taken: Any  # [N] bool, or empty
    bound: int  # no answer is worth more, in units of the values given


def near_best(
    values: Sequence[int],
    choices: Choices,
    uses: Uses,
    soft: Softs = (),
    *,
    slack: int,
    nodes: int,
    seconds: float,
    known: Sequence[bool] = (),
) -> Any:
    """Maximise ``sum values[i] x[i]`` over x in {0, 1}, to within ``slack``, by SCIP.

    Args:
        values: as in :func:`solve`.
        choices: as in :func:`solve`.
        uses: as in :func:`solve`.
        soft: as in :func:`solve`; what overruns cost is known to SCIP to its own precision.
        slack: as in :func:`solve`.
        nodes: most nodes of the search, so that it ends at the same place on any machine.
        seconds: wall clock after which the best answer so far is returned.
        known: what a known answer takes, or empty.

    Returns:
        [N] bool what to take, every limit kept exactly; None if nothing was found.
    """
    end = perf_counter() + seconds
    for margin in MARGINS:
        taken = _scip(
            values, choices, (uses, soft, margin), slack=slack, nodes=nodes,
            seconds=end - perf_counter(), known=known,
        )  # fmt: skip
        if taken is None:
            break
        if _keeps(taken, uses):
            return taken
    nothing = np.zeros(len(values), bool)  # an answer too, where SCIP's tolerances leave no other
    return nothing if _keeps(nothing, uses) else None


def _keeps(taken: Any, uses: Uses) -> bool:
    return all(
        sum(c for i, c in zip(indices, coefficients, strict=True) if taken[i]) <= limit
        for indices, coefficients, limit in uses
    )


def _scip(
    values: Sequence[int],
    choices: Choices,
    limits: tuple[Uses, Softs, float],
    *,
    slack: int,
    nodes: int,
    seconds: float,
    known: Sequence[bool],
) -> Any:
    uses, soft, margin = limits
    solver = pywraplp.Solver.CreateSolver("SCIP")
    sizes = [abs(v) for v in values]
    sizes += [int(cost * _scaled(coefficients)[1]) for _, coefficients, _, cost in soft]
    unit = float(max(sizes, default=1) or 1)
    options = SCIP_OPTIONS.format(nodes=nodes, slack=slack / unit)
    if not solver.SetSolverSpecificParametersAsString(options):
        raise EngineError("SCIP refused its options")
    solver.SetTimeLimit(int(1000 * min(max(0.1, seconds), LONGEST)))
    variables = [solver.BoolVar("") for _ in values]
    objective = solver.Objective()
    objective.SetMaximization()
    for variable, value in zip(variables, values, strict=True):
        objective.SetCoefficient(variable, value / unit)
    for indices, most in choices:
        row = solver.Constraint(-solver.infinity(), most)
        for i in indices:
            row.SetCoefficient(variables[i], 1.0)
    for indices, coefficients, limit in uses:
        divisor, scale = _scaled(coefficients)
        row = solver.Constraint(-solver.infinity(), limit // divisor * divisor / scale
                                - margin * (1 + abs(limit) / scale))  # fmt: skip
        for i, coefficient in zip(indices, coefficients, strict=True):
            row.SetCoefficient(variables[i], coefficient / scale)
    if len(known):
        solver.SetHint(variables, [float(taken) for taken in known])
    for indices, coefficients, limit, cost in soft:
        _, scale = _scaled(coefficients)
        row = solver.Constraint(-solver.infinity(), limit / scale)
        overrun = solver.NumVar(0, solver.infinity(), "")
        row.SetCoefficient(overrun, -1.0)
        objective.SetCoefficient(overrun, -float(cost * scale / Fraction(unit)))
        for i, coefficient in zip(indices, coefficients, strict=True):
            row.SetCoefficient(variables[i], coefficient / scale)
    parameters = pywraplp.MPSolverParameters()
    parameters.SetDoubleParam(parameters.RELATIVE_MIP_GAP, 0.0)
    status = solver.Solve(parameters)
    if status not in (pywraplp.Solver.OPTIMAL, pywraplp.Solver.FEASIBLE):
        return None
    return np.array([v.solution_value() > 0.5 for v in variables], bool)


def _scaled(coefficients: Sequence[int]) -> tuple[int, int]:
    """Return the common divisor of a row, and what SCIP's coefficients are divided by."""
    divisor = max(1, gcd(*coefficients))
    largest = max(map(abs, coefficients), default=0) // divisor
    return divisor, divisor * (largest if largest > MOST_WHOLE else 1)


def solve(
    values: Sequence[int],
    choices: Choices,
    uses: Uses,
    soft: Softs = (),
    *,
    slack: int,
    effort: float,
    seconds: float,
    share: float = 0.0,
) -> Answer:
    """Maximise ``sum values[i] x[i]``, less what overruns cost, over x in {0, 1}.

    One worker, a fixed seed and a deterministic effort: the same answer on any machine, unless
    ``seconds`` cuts it short.

    Args:
        values: [N] whole numbers of any size.
        choices: (indices, most): at most ``most`` of them are taken.
        uses: (indices, coefficients, limit): ``sum coefficients x <= limit``, exactly kept.
        soft: (indices, coefficients, limit, cost): each unit by which the sum is above the limit
            takes ``cost`` off the value, a whole number.
        slack: an answer this close to the bound is good enough, in units of the values.
        effort: CP-SAT's deterministic time, about seconds.
        seconds: wall clock after which the best answer so far is returned.
        share: an answer this close to the bound, as a share of it, is good enough too.

    Returns:
        The answer.
    """
    model = cp_model.CpModel()
    variables = [model.new_bool_var("") for _ in values]
    for indices, most in choices:
        if len(indices) > most:
            model.add(sum(variables[i] for i in indices) <= most)
    for indices, coefficients, limit in uses:
        add_limit(model, [variables[i] for i in indices], coefficients, limit)
    scaled, divisor = shrink(values, soft)
    paid = [digit for limit in soft for digit in add_soft(model, variables, limit, divisor)]
    model.maximize(
        cp_model.LinearExpr.weighted_sum(
            [*variables, *(digit for digit, _ in paid)],
            [*scaled, *(-weight for _, weight in paid)],
        )
    )
    solver = cp_model.CpSolver()
    parameters = solver.parameters
    parameters.num_workers = 1
    parameters.random_seed = 1
    parameters.catch_sigint_signal = False  # or Ctrl-C ends the search, and later the process
    parameters.max_deterministic_time = effort
    parameters.max_time_in_seconds = max(0.1, seconds)
    parameters.absolute_gap_limit = float(slack // divisor)
    parameters.relative_gap_limit = share
    status = solver.status_name(solver.solve(model))
    found = status in ("OPTIMAL", "FEASIBLE")
    taken = np.array([solver.boolean_value(v) for v in variables], bool) if found else np.empty(0)
    # Values were rounded up, so the shrunk bound is not below the true one.
    bound = int(np.ceil(solver.best_objective_bound)) * divisor if found else 0
    return Answer(status, taken, bound)
