"""SCIP through OR-Tools MathOpt: the whole-number model, by branch and cut."""

from datetime import timedelta
from importlib.metadata import version
from typing import Any

import numpy as np
from ortools.math_opt import model_pb2
from ortools.math_opt.python import mathopt

from benchmarks.peers import Answer, Task
from benchmarks.peers.linear import linear
from benchmarks.plain import Plain


def solve(plain: Plain, task: Task) -> Answer:
    """Solve to the gap asked for."""
    model = whole_model(plain)
    task.begin()
    chosen, status, bound = best(model, plain.pairs, gap=task.gap, seconds=task.seconds)
    if chosen is None:
        chosen = np.zeros(plain.pairs, bool)
    return Answer(status, f"ortools {version('ortools')}, SCIP", chosen, claimed_bound=bound)


def whole_model(plain: Plain) -> Any:
    """Build the model of whole pairs."""
    built = linear(plain)
    matrix, pairs = built.matrix.tocsr(), plain.pairs
    matrix.sort_indices()
    rows = len(built.upper)
    proto = model_pb2.ModelProto()
    proto.variables.ids.extend(range(pairs))
    proto.variables.lower_bounds.extend(np.zeros(pairs))
    proto.variables.upper_bounds.extend(built.column_upper)
    proto.variables.integers.extend([True] * pairs)
    proto.objective.maximize = True
    used = np.flatnonzero(built.objective)
    proto.objective.linear_coefficients.ids.extend(used)
    proto.objective.linear_coefficients.values.extend(built.objective[used])
    proto.linear_constraints.ids.extend(range(rows))
    proto.linear_constraints.lower_bounds.extend(np.full(rows, -np.inf))
    proto.linear_constraints.upper_bounds.extend(built.upper)
    entries = proto.linear_constraint_matrix
    entries.row_ids.extend(np.repeat(np.arange(rows), np.diff(matrix.indptr)))
    entries.column_ids.extend(matrix.indices)
    entries.coefficients.extend(matrix.data)
    return mathopt.Model.from_model_proto(proto)


def best(
    model: Any, pairs: int, *, gap: float, seconds: float, hint: Any = ()
) -> tuple[Any, str, float | None]:
    """Return the best whole answer found ([N] bool, or None), why it stopped, and its bound.

    Args:
        model: from :func:`whole_model`.
        pairs: N.
        gap: share of the bound that may be missing.
        seconds: wall clock.
        hint: [N] bool, an answer to begin with; empty: none.
    """
    parameters = mathopt.SolveParameters(
        time_limit=timedelta(seconds=max(seconds, 0.001)), relative_gap_tolerance=gap
    )
    hints = mathopt.ModelSolveParameters()
    if len(hint):
        start = dict(zip(model.variables(), hint.astype(float).tolist(), strict=True))
        hints.solution_hints.append(mathopt.SolutionHint(variable_values=start))
    found = mathopt.solve(model, mathopt.SolverType.GSCIP, params=parameters, model_params=hints)
    status = found.termination.reason.name
    bound = found.termination.objective_bounds.dual_bound
    if not found.has_primal_feasible_solution():
        return None, status, bound if np.isfinite(bound) else None
    values = found.variable_values()
    chosen = np.fromiter((values[v] > 0.5 for v in model.variables()), bool, pairs)
    return chosen, status, bound if np.isfinite(bound) else None
