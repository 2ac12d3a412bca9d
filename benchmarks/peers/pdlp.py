"""OR-Tools PDLP: a first-order method for the linear program.

Source: Applegate et al., "Practical Large-Scale Linear Programming using Primal-Dual Hybrid
Gradient", NeurIPS 2021.
"""

from importlib.metadata import version

import numpy as np
from ortools.pdlp import solve_log_pb2, solvers_pb2
from ortools.pdlp.python import pdlp

from benchmarks.peers import Answer, Task
from benchmarks.peers.linear import linear
from benchmarks.plain import Plain


def solve(plain: Plain, task: Task) -> Answer:
    """Solve the relaxation to the tolerance in the peer's name, absolute and relative."""
    model = linear(plain)
    rows, columns = model.matrix.shape
    program = pdlp.QuadraticProgram()
    program.resize_and_initialize(columns, rows)
    program.objective_vector = -model.objective
    program.constraint_matrix = model.matrix
    program.constraint_lower_bounds = np.full(rows, -np.inf)
    program.constraint_upper_bounds = model.upper
    program.variable_lower_bounds = np.zeros(columns)
    program.variable_upper_bounds = model.column_upper
    parameters = solvers_pb2.PrimalDualHybridGradientParams(num_threads=task.threads)
    parameters.termination_criteria.time_sec_limit = task.seconds
    optimality = parameters.termination_criteria.simple_optimality_criteria
    optimality.eps_optimal_absolute = float(task.name.removeprefix("pdlp-"))
    optimality.eps_optimal_relative = optimality.eps_optimal_absolute
    task.begin()
    found = pdlp.primal_dual_hybrid_gradient(program, parameters)
    reason = solve_log_pb2.TerminationReason.Name(found.solve_log.termination_reason)
    return Answer(
        reason.removeprefix("TERMINATION_REASON_"),
        f"ortools {version('ortools')}",
        np.clip(found.primal_solution, 0.0, 1.0),
        -found.dual_solution[: len(plain.limit)],
    )
