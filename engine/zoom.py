"""Price zoom: prices from a sample, then only the subscribers whose choice is still open.

1. Sample: the dual is minimised on samples, each several times as large as the one before. The
   last one's curvature and scatter tell how far each action's surplus may still move.
2. Survey: one pass over all subscribers at these prices. Those whose margin is within that reach
   are kept; all others keep their bundles and become constants.
3. Zoom: the dual is minimised over the rest. A survey at the prices found gives the bound; it also
   shows who was left out wrongly, and the next zoom takes them in.

A survey whose near subscribers promise less than the tolerance ends the search: its bound and its
bundles are the answer's, whatever happened before.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np

from engine.limits import MICRO
from engine.newton import Descent, descend
from engine.oracle import Oracle, Survey, price_range, scale_of, typical_value
from engine.prices import Evaluation, minimise_dual
from engine.problem import Problem
from engine.sample import BANDWIDTH, MOST_EVALUATIONS, RADIUS, Guess, sampled

CORE = 6_000  # near subscribers at the final prices, about
SMALL = 4_000  # so few subscribers make the dual too angular for Newton's method
MOST_CUTS = 400  # evaluations by cutting planes
MOST_ROUNDS = 8


@dataclass(frozen=True)
class Step:
    """One line of the solver's log."""

    step: str
    reads: float  # passes over all subscribers so far, parts of passes counted as parts
    bound: float  # money
    gap: float  # how far the bound may still fall, as a share of it; then of the answer
    active: int  # subscribers not settled
    seconds: float


Tell = Callable[[Step], None]


@dataclass(frozen=True, eq=False)
class Zoomed:
    """Prices near the dual's minimum, everybody's bundles there, and who is near to changing."""

    oracle: Oracle  # over all subscribers
    survey: Survey  # at the prices
    bound: float  # D(prices), money: no allocation is worth more
    still: float  # by how much D may still fall, by the last model; money
    passes: float
    reach: Any  # [G, 1 + A] of the survey

    @property
    def covers_all(self) -> bool:
        """Return whether everybody is near."""
        return sum(len(rows) for rows in self.survey.near) == self.oracle.subscribers

    def widened(self, factor: float) -> "Zoomed":
        """Return the same prices surveyed with a longer reach."""
        least = typical_value(self.oracle.problem) * 1e-6
        reach = np.maximum(self.reach, least) * factor
        survey = self.oracle.survey(self.prices, reach)
        return replace(self, survey=survey, reach=reach, passes=self.passes + 1)

    @property
    def prices(self) -> Any:
        """Return [K] the prices."""
        return self.survey.evaluation.prices


def _moved(oracle: Oracle, one: Any, other: Any) -> Any:
    """Return [G, 1 + A] how far surpluses move between two prices against all others', money."""
    typical = oracle.problem.typical_propensity
    (fixed, accept), (fixed_, accept_) = (oracle.price_tables(p) for p in (one, other))
    move = np.abs(fixed - fixed_) + np.abs(accept - accept_) * typical
    move = np.concatenate([np.zeros((len(move), 1)), move], axis=1)
    return move + move.max(initial=0.0)


def zoom(
    problem: Problem,
    *,
    sample: int,
    tolerance: float,
    tell: Tell,
    deadline: float,
    start: Any = None,
) -> Zoomed:
    """Minimise the dual of the whole problem.

    Args:
        problem: the allocation problem.
        sample: subscribers of the first search.
        tolerance: the search ends when the bound may fall by less, as a share of it.
        tell: receives each step.
        deadline: ``perf_counter`` instant after which the search ends as it is.
        start: [K] prices that replace the sample's, from an earlier answer; None: there are none.

    Returns:
        Prices, bound, bundles and who is near to changing.
    """
    began = perf_counter()
    full = Oracle(problem, problem.blocks)
    limit, typical = problem.limit / MICRO, typical_value(problem)
    everybody = np.full((problem.groups, 1 + len(problem.offer)), np.inf)
    if start is not None:
        reach = np.full_like(everybody, 0.02 * typical)
        guess = Guess(np.asarray(start, float), reach, 0.02 * typical, 0.1 * typical, 0.0)
    elif full.subscribers <= sample:
        zero = np.zeros(len(problem.rows))
        guess = Guess(
            zero, everybody, BANDWIDTH * typical, RADIUS * typical, 0.0
        )  # fmt: skip
    else:
        guess = sampled(full, sample, deadline=deadline)
    prices, reach, reads = guess.prices, guess.reach, guess.passes
    bandwidth, radius, is_stuck = guess.bandwidth, guess.radius, full.subscribers <= SMALL
    for attempt in range(MOST_ROUNDS):
        if full.subscribers <= CORE:
            reach = everybody
        survey = full.survey(prices, reach)
        dual = survey.evaluation.dual(limit)
        inner = full.narrowed(survey)
        share = inner.subscribers / max(1, full.subscribers)
        reads += 1.0 + share

        most = MOST_CUTS if is_stuck else MOST_EVALUATIONS

        def is_done(
            count: int, best: Evaluation, least: float, before: float = reads, part: float = share,
            active: int = inner.subscribers, first: float = dual, most: int = most,
        ) -> bool:  # fmt: skip
            seconds = perf_counter() - began
            gap = (first - least) / max(1.0, abs(first))
            bound = best.dual(limit)
            tell(Step("zoom", before + count * part, bound, gap, active, seconds))
            return count >= most or perf_counter() > deadline

        search = _cut if is_stuck else _descend
        found = search(inner, prices, (bandwidth, radius), tolerance / 4, is_done)
        reads += found.evaluations * share
        still = dual - found.dual + found.still
        last = attempt == MOST_ROUNDS - 1 or perf_counter() > deadline
        if still <= tolerance * max(1.0, abs(dual)) or last:
            seconds = perf_counter() - began
            gap = still / max(1.0, abs(dual))
            tell(Step("bound", reads, dual, gap, inner.subscribers, seconds))
            return Zoomed(full, survey, dual, still, reads, reach)
        core = min(found.bandwidth * CORE / max(found.near, 1), 0.02 * typical)
        is_stuck = found.still > tolerance * max(1.0, abs(dual))
        if attempt > 0 or is_stuck:
            core = core + _moved(full, prices, found.prices)
        reach = np.zeros_like(everybody) + core
        prices, bandwidth = found.prices, found.bandwidth
        radius = max(found.radius, bandwidth)
    raise AssertionError("the last attempt always returns")


def _descend(
    oracle: Oracle, start: Any, sizes: tuple[float, float], tolerance: float, is_done: Any
) -> Descent:
    """Minimise by Newton's method."""
    bandwidth, radius = sizes
    return descend(
        oracle, oracle.problem.limit / MICRO, start, range_=price_range(oracle.problem),
        bandwidth=bandwidth, radius=radius, tolerance=tolerance, is_done=is_done,
    )  # fmt: skip


def _cut(
    oracle: Oracle, start: Any, sizes: tuple[float, float], tolerance: float, is_done: Any
) -> Descent:
    """Minimise by cutting planes: exact, also where few subscribers make the dual angular."""
    problem = oracle.problem
    typical = typical_value(problem)
    found = minimise_dual(
        oracle.evaluate, problem.limit / MICRO, start, scale=scale_of(problem), unit=typical,
        range_=price_range(problem), radius=max(2 * sizes[0], 0.02 * typical),
        tolerance=tolerance, is_done=is_done,
    )  # fmt: skip
    zero = np.zeros((len(found.prices), len(found.prices)))
    still = max(found.bound - found.model, 0.0) if found.is_inside else np.inf
    return Descent(
        found.best, found.bound, zero, sizes[0], oracle.subscribers, still, sizes[1],
        found.evaluations,
    )  # fmt: skip
