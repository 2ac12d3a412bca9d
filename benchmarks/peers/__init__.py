"""Other people's solvers and the field's heuristics, on the same plain problems.

Each runs in a process of its own: ``python -m benchmarks.peers NAME INSTANCE.npz --gap G
--time-limit S`` (see ``__main__.py``). A peer is a function of a problem and a task that returns
its answer; ``PEERS`` says in which module it is, so that no peer's package is imported with
another's (OR-Tools and highspy do not stand one process).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter, process_time
from typing import Any

from benchmarks.process import cores

PEERS = {
    "pdlp-1e-4": "pdlp",
    "pdlp-1e-6": "pdlp",
    "highs-simplex": "highs",
    "highs-ipm": "highs",
    "highs-pdlp": "highs",
    "scip": "scip",
    "cp-sat": "cp_sat",
    "dualip": "dualip",
    "chunks": "chunks",
    "arrival": "arrival",
    "greedy": "greedy",
    "single-price": "single_price",
}
HEURISTICS = ("chunks", "arrival", "greedy", "single-price")


class AbsentError(Exception):
    """A peer's package is not installed."""


@dataclass
class Task:
    """What a peer is asked for, and when it began to solve."""

    name: str
    gap: float  # share of the bound that may be missing, where a peer can be told
    seconds: float  # wall clock for solving
    threads: int = field(default_factory=cores)
    on_begin: Callable[[], None] = lambda: None
    began: float | None = None
    began_cpu: float = 0.0

    def begin(self) -> None:
        """Say that the model is built: solving, and its time, begins."""
        self.on_begin()
        self.began, self.began_cpu = perf_counter(), process_time()

    def left(self) -> float:
        """Return the seconds left for solving."""
        return self.seconds - (perf_counter() - (self.began or perf_counter()))


@dataclass(frozen=True, eq=False)
class Answer:
    """What a peer found."""

    status: str  # in the peer's own words
    version: str
    chosen: Any  # [N] bool, or float64 shares of a linear program; all False: nothing found
    prices: Any | None = None  # [K] money for a unit of each limit, or None
    claimed_bound: float | None = None  # money, of a solver of whole numbers
