"""OR-Tools CP-SAT: the whole-number model on whole numbers, so that no limit is ever exceeded.

CP-SAT wants sums below 64 bits: where uses or values are finer, uses are rounded up and limits
down, and values up, so that its bound on the rounded values holds for the true ones.
"""

from importlib.metadata import version

import numpy as np
from ortools.sat.python import cp_model

from benchmarks.peers import Answer, Task
from benchmarks.peers.linear import linear
from benchmarks.peers.whole import whole
from benchmarks.plain import Plain

MOST_BITS = 52  # of all uses, or all values, together


def solve(plain: Plain, task: Task) -> Answer:
    """Solve to the gap asked for."""
    built, uses, limits = linear(plain), whole(plain, MOST_BITS), len(plain.limit)
    model = cp_model.CpModel()
    pairs = [model.new_int_var(0, int(most), "") for most in built.column_upper]
    by_row = np.argsort(uses.use_row, kind="stable")
    owner = np.repeat(np.arange(plain.pairs), np.diff(uses.use_indptr))[by_row]
    begins = np.searchsorted(uses.use_row[by_row], np.arange(limits + 1))
    for k in range(limits):
        entries = slice(begins[k], begins[k + 1])
        amounts = uses.amount[by_row[entries]].tolist()
        variables = [pairs[n] for n in owner[entries]]
        model.add(cp_model.LinearExpr.weighted_sum(variables, amounts) <= int(uses.limit[k]))
    caps = built.matrix.tocsr()[limits:]
    for r, most in enumerate(built.upper[limits:]):
        members = caps.indices[caps.indptr[r] : caps.indptr[r + 1]]
        model.add(cp_model.LinearExpr.sum([pairs[n] for n in members]) <= int(most))
    bits = int(np.frexp(np.abs(plain.value).sum())[1]) - plain.value_grid
    grid = plain.value_grid + max(0, bits - MOST_BITS)
    values = np.ceil(np.ldexp(plain.value, -grid)).astype(np.int64).tolist()
    model.maximize(cp_model.LinearExpr.weighted_sum(pairs, values))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = task.threads
    solver.parameters.random_seed = 1
    solver.parameters.max_time_in_seconds = task.seconds
    solver.parameters.relative_gap_limit = task.gap
    task.begin()
    status = solver.status_name(solver.solve(model))
    chosen, bound = np.zeros(plain.pairs, bool), None
    if status in ("OPTIMAL", "FEASIBLE"):
        chosen = np.fromiter((solver.value(v) for v in pairs), bool, plain.pairs)
        bound = float(np.ldexp(solver.best_objective_bound, grid)) * plain.value_unit
    return Answer(status, f"ortools {version('ortools')}", chosen, claimed_bound=bound)
