"""The two forms of a problem, structured and by pairs, and what the solver asks of either.

The only place that tells them apart.
"""

from fractions import Fraction
from typing import Any

import numpy as np

from engine import block as blocks
from engine.block import Block
from engine.limits import MICRO
from engine.offer_core import tally_of_bundles
from engine.oracle import Oracle
from engine.pair_core import units_of
from engine.pair_oracle import PairOracle
from engine.pair_problem import PairProblem
from engine.parts import told
from engine.problem import USE_UNIT, Problem, limit_units, penalty_units, use_units
from engine.spread_oracle import offer_oracle
from kernels.choose import PROPENSITY_GRID

AnyProblem = Problem | PairProblem


def oracle_of(problem: AnyProblem) -> Oracle:
    """Return the oracle over all subscribers."""
    if isinstance(problem, PairProblem):
        return PairOracle(problem, problem.blocks)
    return offer_oracle(problem)


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


def ratio_of(problem: AnyProblem, k: int) -> Fraction | None:
    """Return the limit of a ratio; None: the constraint limits a sum."""
    if isinstance(problem, PairProblem):
        ratio = problem.ratios[k] if problem.ratios else None
        return None if ratio is None else ratio.limit
    quotient = problem.rows[k].quotient
    return None if quotient is None else quotient.limit


def at_ratio(problem: AnyProblem, k: int, limit: Fraction) -> tuple[AnyProblem, int]:
    """Return the same problem with another limit of a ratio, and what its form is multiplied by.

    Args:
        problem: the problem.
        k: the ratio.
        limit: its new limit.

    Raises:
        OverflowError: the form is not exact in 64 bits.
    """
    if isinstance(problem, PairProblem):
        return problem.at_ratio(k, limit), 1
    quotient = problem.rows[k].quotient
    return problem.at_ratio(k, limit), 1 if quotient is None else quotient.scale(limit)


def use_units_of(problem: AnyProblem) -> list[int]:
    """Return [K] how many whole units of use are one unit of each constraint."""
    if isinstance(problem, PairProblem):
        return list(problem.use_unit)
    return [USE_UNIT] * len(problem.rows)


def open_pairs(problem: AnyProblem) -> int:
    """Return the number of open pairs; of several days each counts on every day."""
    if isinstance(problem, PairProblem):
        return problem.open_pairs
    pairs: int = sum(told(problem.blocks, blocks.open_pairs))
    return problem.days * pairs


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
        0,
        int(problem.value_fixed.min(initial=0)),
        int((problem.value_fixed + problem.value_accept).min(initial=0)),
    )
    contacts = float(sum(told(problem.blocks, _most_weighted)))
    return worst / MICRO * contacts - _most_penalties(problem) - 1.0


def _most_weighted(block: Block) -> float:
    return float((block.most.astype("float64") * block.weight).sum())


def _most_contacts(block: Block) -> float:
    return float(block.most.astype("float64").sum())


def _most_penalties(problem: Problem) -> float:
    """Return money that soft limits cost at most: every contact uses all it can of each."""
    if problem.penalty is None:
        return 0.0
    contacts = float(sum(told(problem.blocks, _most_contacts)))
    use = np.maximum(problem.use_fixed, problem.use_fixed + problem.use_accept)
    use = use.max(axis=1, initial=0) / MICRO
    overrun = problem.per_limit(np.maximum(use, 0.0) * contacts) - problem.limit / MICRO
    soft = np.isfinite(problem.penalty)
    return float((problem.penalty[soft] * np.maximum(overrun[soft], 0.0)).sum())


def used_units(problem: AnyProblem, chosen: list[Any]) -> list[int]:
    """Return [K] what bundles use of each limit, whole units.

    Args:
        problem: the problem.
        chosen: [Q, S] by block, on the host, as in :class:`engine.solve.Allocation`.
    """
    if not isinstance(problem, PairProblem):
        return use_units(problem, tally_of_bundles(problem, chosen))
    oracle, total = PairOracle(problem, problem.blocks), np.zeros(1 + len(problem.rows), np.int64)
    for block, bundles in zip(problem.blocks, chosen, strict=True):
        rows = np.arange(len(block))
        total += units_of(oracle, block.to_host(), rows, bundles.T).sum(axis=0)
    return [int(units) for units in total[1:]]


def without_value(problem: AnyProblem) -> AnyProblem:
    """Return the same problem with nothing to gain."""
    if isinstance(problem, PairProblem):
        return problem.without_value()
    nothing = problem.value_fixed * 0
    return problem.with_value(nothing, nothing)
