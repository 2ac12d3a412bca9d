"""Solve an allocation problem: by price zoom and rounding, then exactly where that leaves a gap."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from itertools import groupby
from time import perf_counter
from typing import Any

import numpy as np

from engine import exact, infeasible
from engine.errors import AllocationError
from engine.forms import (
    AnyProblem,
    least_value,
    limits_of,
    open_pairs,
    oracle_of,
    use_units_of,
    used_units,
)
from engine.infeasible import Conflict
from engine.limits import resolution
from engine.oracle import Oracle
from engine.problem import not_below
from engine.rounding import round_bundles
from engine.settings.job import Solver
from engine.stop import Deadline, Stop, first_ctrl_c
from engine.warm import Start, given, zoom_from
from engine.zoom import Step, Tell
from kernels.backend import to_cpu
from kernels.choose import NO_ACTION

LEAST_TOLERANCE = 1e-9  # the linear program over prices is not much better
DUAL_TOLERANCE = 2e-7  # the prices are this good, so that few subscribers are left open
EXACT_EFFORT = 20.0  # CP-SAT's deterministic time for a small problem
EXPLAIN_SHARE = 0.25  # a conflict may be looked for this share of the time limit beyond it


class Status(StrEnum):
    """Why the solver stopped.

    OPTIMAL: the gap is within the tolerance. TIME_LIMIT: it stopped before the gap was within the
    tolerance; the remedy says whether the time limit, an interruption or the search itself
    ended it.
    INFEASIBLE: limits in conflict prove that no allocation exists.
    """

    OPTIMAL = "OPTIMAL"
    TIME_LIMIT = "TIME_LIMIT"
    INFEASIBLE = "INFEASIBLE"


@dataclass(frozen=True, eq=False)
class Allocation:
    """Who gets what, and what that is worth."""

    status: Status
    remedy: str
    chosen: list[Any]  # by block: [Q, S] int16 on the host, NO_ACTION beyond the bundle
    best: list[Any]  # by block: [Q, S] int16, the best bundle at the prices
    prices: Any  # [K] float64, money per unit
    value: float  # money, less what passing soft limits costs
    bound: float  # money, no allocation is worth more
    bound_by: str
    dual_bound: float  # money, the Lagrangian bound at the prices; at least ``bound``
    iterations: list[Step]
    conflict: list[Conflict]
    total: Any  # of the best bundles, as the oracle adds them up
    use: Any  # [K] float64, units: what the chosen ones use; as limits are stored
    was_interrupted: bool = False  # the best answer so far, as the search was told to end

    @property
    def gap(self) -> float:
        """Return the share of the bound not reached."""
        return (self.bound - self.value) / max(1.0, abs(self.bound))


def solve(
    problem: AnyProblem,
    settings: Solver,
    tell: Tell = lambda step: None,
    *,
    prices: Any = None,
    stop: Stop | None = None,
) -> Allocation:
    """Return the best allocation, its bound and the prices.

    Args:
        problem: the allocation problem.
        settings: tolerance, time limit, sample size, size below which the model is exact.
        tell: receives each step of the search.
        prices: [K] of an earlier answer to begin with, where limits have changed since; None: there
            is none. They change neither the gap that is reached nor what is certified.
        stop: asked between passes: an event or a callable that ends the search with the best
            answer so far. The first Ctrl-C does so too (in the main thread).

    Returns:
        The allocation; with status INFEASIBLE an empty one and the limits in conflict.

    Raises:
        ConfigError: prices that are not K numbers, zero or more.
        AllocationError: nothing was found, and no conflict proved.
    """
    full = oracle_of(problem)
    start = None if prices is None else given(full, prices)
    return solve_from(full, settings, tell, start=start, stop=stop)


def solve_from(
    full: Oracle,
    settings: Solver,
    tell: Tell,
    *,
    start: Callable[[], Start] | None = None,
    stop: Stop | None = None,
) -> Allocation:
    """As :func:`solve`, on an oracle that is there already.

    Args:
        full: the oracle over all subscribers.
        settings: as in ``solve``.
        tell: as in ``solve``.
        start: gives an earlier answer to begin with; None: there is none.
        stop: as in ``solve``.
    """
    deadline = Deadline(settings.time_limit_s, stop)
    with first_ctrl_c(deadline.interrupt):
        return _solved(full, settings, deadline.listening(tell), start, deadline)


def _solved(
    full: Oracle, settings: Solver, tell: Tell, start: Callable[[], Start] | None,
    deadline: Deadline,
) -> Allocation:  # fmt: skip
    began = perf_counter()
    problem: AnyProblem = full.problem
    steps: list[Step] = []

    def log(step: Step) -> None:
        steps.append(step)
        tell(step)

    zoomed, rounded = zoom_from(
        full, None if start is None else start(), sample=settings.sample,
        tolerances=(settings.gap_tolerance, _dual_tolerance(settings)), tell=log, deadline=deadline,
    )  # fmt: skip
    prices, bound, bound_by = zoomed.prices, zoomed.bound, "prices (Lagrangian dual)"
    unit = zoomed.oracle.value_unit
    proved_empty = bound < 0 and bound < least_value(problem)
    chosen: list[Any] | None = None
    left: list[int] | None = None  # of each limit, if known
    value = 0.0
    if not proved_empty:
        if rounded is None:
            rounded = round_bundles(zoomed, tolerance=settings.gap_tolerance, deadline=deadline)
        if rounded.is_feasible:
            chosen, value = rounded.chosen, float(rounded.value / unit)
            left = rounded.left
    is_open = chosen is None or bound - value > settings.gap_tolerance * max(1.0, abs(bound))
    small = is_open and open_pairs(problem) <= settings.exact_pairs
    if small:
        problem = problem.gathered()
    if small and not proved_empty and not deadline.was_interrupted:
        # As a share of the answer's own bound: the dual's may be far above it.
        half = settings.gap_tolerance / 2
        answer = exact.solve_exactly(
            problem, slack=int(half * unit), share=half, effort=EXACT_EFFORT,
            seconds=deadline.seconds(),
        )  # fmt: skip
        if answer.status in ("OPTIMAL", "FEASIBLE"):
            if chosen is None or answer.value / unit > value:
                chosen, value = answer.chosen, float(answer.value / unit)
                left = None
            exact_bound = not_below(Fraction(answer.bound) / unit)
            if exact_bound < bound:
                bound, bound_by = exact_bound, "exact model (CP-SAT)"
    is_late = deadline.is_over()
    conflict: list[Conflict] = []
    if chosen is None:
        if not deadline.was_interrupted:
            until = deadline.later(settings.time_limit_s * EXPLAIN_SHARE)
            conflict = infeasible.explain(problem, small=small, deadline=until)
        if not conflict:
            raise AllocationError(_nothing_found(deadline, small=small, is_late=is_late))
    best = [to_cpu(bundles) for bundles in zoomed.survey.chosen]
    if chosen is None:
        chosen = [np.full_like(b, NO_ACTION) for b in best]
    gap = (bound - value) / max(1.0, abs(bound))
    seconds, active = perf_counter() - began, zoomed.survey.near_count
    passes = zoomed.passes if rounded is None else rounded.passes
    log(Step("rounded", passes, bound, gap, active, seconds))
    status, remedy = _status(gap, settings, conflict, deadline)
    return Allocation(
        status, remedy, chosen, best, prices, value, bound, bound_by, zoomed.bound, steps, conflict,
        zoomed.survey.total, used(problem, chosen, left), deadline.was_interrupted,
    )  # fmt: skip


def used(problem: AnyProblem, chosen: list[Any], left: list[int] | None = None) -> Any:
    """Return [K] float64 what bundles use of each limit, units, as limits are stored.

    Args:
        problem: the problem.
        chosen: the bundles by block.
        left: [K] of each limit, in whole units of use, if that is known.
    """
    if left is None:
        units = used_units(problem, chosen)
    else:
        units = [b - rest for b, rest in zip(limits_of(problem), left, strict=True)]
    return np.array([use / unit for use, unit in zip(units, use_units_of(problem), strict=True)])


def _dual_tolerance(settings: Solver) -> float:
    return min(max(settings.gap_tolerance / 4, LEAST_TOLERANCE), DUAL_TOLERANCE)


def _status(
    gap: float, settings: Solver, conflict: list[Conflict], deadline: Deadline
) -> tuple[Status, str]:
    if conflict:
        return Status.INFEASIBLE, _resolution(conflict)
    tolerance = f"the tolerance of {settings.gap_tolerance:g}"
    if gap <= settings.gap_tolerance:
        return Status.OPTIMAL, f"the gap of {gap:.2g} is within {tolerance}"
    reached = f"at a gap of {gap:.4g}, above {tolerance}"
    if deadline.was_interrupted:
        return Status.TIME_LIMIT, (
            f"the search was interrupted {reached}: this is the best answer so far; run again, or "
            "raise solver.gap_tolerance to accept it"
        )
    if deadline.is_over():
        return Status.TIME_LIMIT, (
            f"the time limit of {settings.time_limit_s:g} s ended the search {reached}; raise "
            "solver.time_limit_s, or solver.gap_tolerance to accept it"
        )
    return Status.TIME_LIMIT, (
        f"the search ended by itself {reached}; raise solver.gap_tolerance to accept it"
    )


def _resolution(conflict: list[Conflict]) -> str:
    """Return what is in conflict and what to relax, set by set."""
    sets = [list(limits) for _, limits in groupby(conflict, lambda c: c.set_number)]
    found = [
        resolution(
            ", ".join(c.constraint for c in limits), len(limits), is_minimal=limits[0].is_minimal
        )
        for limits in sets
    ]
    if len(found) == 1:
        return found[0]
    told = (f"conflict {i} of {len(found)}: {text}" for i, text in enumerate(found, start=1))
    return "; ".join([*told, "each conflict must be resolved"])


def _nothing_found(deadline: Deadline, *, small: bool, is_late: bool) -> str:
    if deadline.was_interrupted:
        return (
            "solver: the search was interrupted without an allocation that keeps every limit, and "
            "without a proof that there is none; let it run longer"
        )
    end = "the time limit ended the search" if is_late else "the search ended by itself"
    more = "" if small else "raise solver.exact_pairs or "
    way = "raise solver.time_limit_s or " if is_late else more
    return (
        f"solver: {end} without an allocation that keeps every limit, and without a proof that "
        f"there is none; {way}relax a minimum"
    )
