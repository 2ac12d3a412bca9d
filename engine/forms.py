"""The two forms of a problem, structured and by pairs, and what the solver asks of either.

The only place that tells them apart.
"""

from fractions import Fraction
from typing import Any

import numpy as np

from engine.limits import MICRO
from engine.offer_core import tally_of_bundles
from engine.offer_oracle import OfferOracle
from engine.oracle import Oracle
from engine.pair_core import used_units
from engine.pair_oracle import PairOracle
from engine.pair_problem import PairProblem
from engine.problem import USE_UNIT, Problem, limit_units, penalty_units, use_units
from kernels.choose import PROPENSITY_GRID

AnyProblem = Problem | PairProblem


def oracle_of(problem: AnyProblem) -> Oracle:
    """Return the oracle over all subscribers."""
    if isinstance(problem, PairProblem):
        return PairOracle(problem, problem.blocks)
    return OfferOracle(problem, problem.blocks)


def limits_of(problem: AnyProblem) -> list[int]:
    """Return [K] limits in whole units of use."""
    return problem.limit_units if isinstance(problem, PairProblem) else limit_units(problem)


def stated_limits_of(problem: AnyProblem) -> list[int]:
    """Return [K] limits in whole units of use as they are stated, contacts not rounded."""
    if isinstance(problem, PairProblem):
        return problem.limit_units
    return [int(b) * PROPENSITY_GRID for b in problem.limit]


def stated_amounts_of(problem: AnyProblem) -> Any:
    """Return [K] limits in units of the constraints as they are stated, float64."""
    limits = zip(stated_limits_of(problem), use_units_of(problem), strict=True)
    return np.array([units / unit for units, unit in limits], np.float64)


def use_units_of(problem: AnyProblem) -> list[int]:
    """Return [K] how many whole units of use are one unit of each constraint."""
    if isinstance(problem, PairProblem):
        return list(problem.use_unit)
    return [USE_UNIT] * len(problem.rows)


def used_units_of(problem: AnyProblem, chosen: list[Any]) -> list[int]:
    """Return [K] what whole bundles [Q, S] of every block use, in whole units."""
    if isinstance(problem, PairProblem):
        return used_units(problem, chosen)
    return use_units(problem, tally_of_bundles(problem, chosen))


def open_pairs(problem: AnyProblem) -> int:
    """Return the number of open pairs."""
    if isinstance(problem, PairProblem):
        return problem.open_pairs
    return sum(int((b.propensity == b.propensity).sum()) for b in problem.blocks)


def penalties_of(problem: AnyProblem) -> list[Fraction | None]:
    """Return [K] what a use unit beyond each limit costs, in value units; None: it is hard."""
    if isinstance(problem, PairProblem):
        return problem.penalty_units
    return penalty_units(problem)


def least_value(problem: AnyProblem) -> float:
    """Return money that no allocation is worth less than.

    Every contact at its greatest loss, and at its greatest use of every soft limit.
    """
    if isinstance(problem, PairProblem):
        return problem.least_value
    worst = min(
        0, int(problem.value_fixed.min()), int((problem.value_fixed + problem.value_accept).min())
    )
    contacts = sum(float((b.most.astype("float64") * b.weight).sum()) for b in problem.blocks)
    return worst / MICRO * contacts - _most_penalties(problem) - 1.0


def _most_penalties(problem: Problem) -> float:
    """Return money that soft limits cost at most: every contact uses all it can of each."""
    if problem.penalty is None:
        return 0.0
    contacts = sum(float(b.most.astype("float64").sum()) for b in problem.blocks)
    use = np.maximum(problem.use_fixed, problem.use_fixed + problem.use_accept).max(axis=1) / MICRO
    overrun = problem.per_limit(np.maximum(use, 0.0) * contacts) - problem.limit / MICRO
    soft = np.isfinite(problem.penalty)
    return float((problem.penalty[soft] * np.maximum(overrun[soft], 0.0)).sum())


def without_value(problem: AnyProblem) -> AnyProblem:
    """Return the same problem with nothing to gain."""
    if isinstance(problem, PairProblem):
        return problem.without_value()
    nothing = problem.value_fixed * 0
    return problem.with_value(nothing, nothing)
