"""HiGHS: dual simplex, interior point and PDLP for the linear program, by highspy.

``highs-ipm`` goes without crossover, which only takes time: neither its prices nor its value get
better by it. For ``highs-ipm`` and ``highs-pdlp`` the gap that is asked for is HiGHS's tolerance on
optimality and feasibility, as in PDLP's name; ``highs-simplex`` keeps its own.
Never in one process with OR-Tools, which brings a HiGHS of its own.
"""

import numpy as np

from benchmarks.peers import AbsentError, Answer, Task
from benchmarks.peers.linear import linear
from benchmarks.plain import Plain


def solve(plain: Plain, task: Task) -> Answer:
    """Solve the relaxation.

    Raises:
        AbsentError: highspy is not installed.
    """
    try:
        import highspy
    except ImportError as error:
        raise AbsentError("highspy is not installed: pip install highspy") from error
    model = linear(plain)
    program = highspy.HighsLp()
    program.num_row_, program.num_col_ = model.matrix.shape
    program.sense_ = highspy.ObjSense.kMaximize
    program.col_cost_ = model.objective
    program.col_lower_, program.col_upper_ = np.zeros(plain.pairs), model.column_upper
    program.row_lower_ = np.full(len(model.upper), -highspy.kHighsInf)
    program.row_upper_ = model.upper
    program.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    program.a_matrix_.start_, program.a_matrix_.index_ = model.matrix.indptr, model.matrix.indices
    program.a_matrix_.value_ = model.matrix.data
    highs = highspy.Highs()
    highs.silent()
    highs.setOptionValue("solver", task.name.removeprefix("highs-"))
    highs.setOptionValue("run_crossover", "off")
    if task.name != "highs-simplex":
        highs.setOptionValue("kkt_tolerance", task.gap)
    highs.setOptionValue("threads", task.threads)
    highs.setOptionValue("time_limit", float(task.seconds))
    highs.passModel(program)
    task.begin()
    highs.run()
    found = highs.getSolution()
    chosen, dual = np.array(found.col_value), np.array(found.row_dual)
    if not found.value_valid or len(chosen) != plain.pairs:
        chosen = np.zeros(plain.pairs)
    prices = dual[: len(plain.limit)] if found.dual_valid else None
    return Answer(
        highs.modelStatusToString(highs.getModelStatus()),
        f"highspy {highs.version()}", np.clip(chosen, 0.0, 1.0), prices,
    )  # fmt: skip
