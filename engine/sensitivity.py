"""How long prices hold when one limit changes.

The price of limit k is the slope of the best value in it, up to the gap, and never rises with the
limit: the dual is convex. So a range of one limit at whose ends the price is within a share of
what it is now is one in which it is so all along. With H the dual's curvature among the limits
that cost something, d price / d limit = - (inverse of H)_kk: that foretells the ends. It is an
estimate, for the near ties are counted and not followed; :meth:`engine.session.Session.sensitivity`
verifies it by solving for the prices at the ends.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.limits import MICRO
from engine.oracle import Oracle
from engine.problem import Problem
from engine.scatter import invert

SHARE = 0.05  # that a price may move and is said to hold
FARTHEST = 0.5  # of a limit: no range is said to be wider, to either side
AROUND = 0.02  # typical values: whose margin is above is not asked for the curvature
FEWEST, NARROWEST = 200, 1e-4  # near ties of a curvature; its first bandwidth, in typical values


@dataclass(frozen=True)
class Sensitivity:
    """The price of one limit, and the range of the limit over which it holds, others unchanged."""

    name: str
    limit: float  # units of the measure; of a minimum the least use
    use: float  # units, of the allocation
    slack: float  # units that the allocation leaves; of a minimum those above it
    price: float  # money that one unit more is worth (of a minimum: one unit less)
    holds_from: float  # units
    holds_to: float  # units; inf: however far
    price_from: float  # money, at holds_from
    price_to: float  # money, at holds_to
    is_verified: bool  # whether the prices at the ends were solved for


def foretold(oracle: Oracle, prices: Any, *, share: float = SHARE) -> tuple[Any, Any]:
    """Return [K] how far each limit may fall, and rise, while its price holds: an estimate.

    A limit that costs nothing may fall to what the best bundles use, and rise for ever.

    Args:
        oracle: over all subscribers.
        prices: [K] float64, near the dual's minimum.
        share: that a price may move.

    Returns:
        fall and rise, [K] float64 each, >= 0, units.
    """
    survey = oracle.survey(prices, oracle.nowhere + AROUND * oracle.typical)
    use, near = survey.evaluation.use_in_all, oracle.narrowed(survey)
    bandwidth, ties, curvature = NARROWEST * oracle.typical, 0, np.zeros((0, 0))
    while ties < min(FEWEST, near.subscribers) and bandwidth <= AROUND * oracle.typical:
        _, curvature, ties = near.curve(prices, bandwidth)
        bandwidth *= 2.0
    fall = rise = np.full(len(prices), 0.0)
    if ties:
        inverse, free = np.zeros((len(prices), len(prices))), np.flatnonzero(prices > 0)
        invert(curvature, free, inverse)
        bend = np.diag(inverse) / oracle.scale**2  # money by which a price falls with a unit
        most = FARTHEST * np.abs(oracle.limit)
        able = (prices > 0) & (bend > 0)
        fall = np.where(able, np.minimum(share * prices / np.where(able, bend, 1.0), most), 0.0)
        rise = fall
    free_of_charge = prices == 0
    fall = np.where(free_of_charge, np.maximum(oracle.limit - use, 0.0), fall)
    return fall, np.where(free_of_charge, np.inf, rise)


def ranges(problem: Problem, fall: Any, rise: Any) -> list[tuple[float, float]]:
    """Return the range of each limit that falls and rises by so much, as people know it.

    Of a limit that costs nothing one end is open: inf for others, 0 for a minimum.
    """
    found = []
    for k, (down, up) in enumerate(zip(fall.tolist(), rise.tolist(), strict=True)):
        stored = int(problem.limit[k]) / MICRO
        low, high = in_units(problem, k, stored - down, stored + up)
        found.append((max(0.0, low), high))
    return found


def in_units(problem: Problem, k: int, low: float, high: float) -> tuple[float, float]:
    """Return a range of limit k as it is stored as people know it: of a minimum the sign turns."""
    return (-high, -low) if problem.rows[k].is_minimum else (low, high)


def amount(problem: Problem, k: int) -> float:
    """Return limit k in units of its measure, as people know it."""
    stored = int(problem.limit[k]) / MICRO
    return -stored if problem.rows[k].is_minimum else stored
