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

from engine.newton import Descent, descend
from engine.oracle import Oracle, Survey
from engine.prices import Evaluation, minimise_dual
from engine.sample import MOST_EVALUATIONS, Guess, sampled, unsampled
from engine.stop import Deadline

CORE = 6_000  # near subscribers at the final prices, about
SMALL = 4_000  # so few subscribers make the dual too angular for Newton's method
WARM = 0.02  # longest reach around prices that are found, in typical values
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

    @property
    def covers_all(self) -> bool:
        """Return whether everybody is near."""
        return self.survey.near_count == self.oracle.subscribers

    def widened(self, factor: float) -> "Zoomed":
        """Return the same prices surveyed with a longer reach."""
        reach = (self.survey.reach + 1e-6 * self.oracle.typical) * factor
        return replace(self, survey=self.oracle.survey(self.prices, reach), passes=self.passes + 1)

    @property
    def prices(self) -> Any:
        """Return [K] the prices."""
        return self.survey.evaluation.prices


def zoom(
    full: Oracle,
    *,
    sample: int,
    tolerance: float,
    tell: Tell,
    deadline: Deadline,
    start: Guess | None = None,
) -> Zoomed:
    """Minimise the dual of the whole problem.

    Args:
        full: the oracle over all subscribers.
        sample: subscribers of the first search.
        tolerance: the search ends when the bound may fall by less, as a share of it.
        tell: receives each step.
        deadline: when the search ends as it is.
        start: a guess that replaces the sample's, from an earlier answer; None: there is none.

    Returns:
        Prices, bound, bundles and who is near to changing.
    """
    began = perf_counter()
    limit, typical = full.limit, full.typical
    if start is not None:
        guess = start
    elif full.subscribers <= sample:
        guess = unsampled(full)
    else:
        guess = sampled(full, sample, deadline=deadline)
    prices, reach, reads = guess.prices, guess.reach, guess.passes
    bandwidth, radius, is_stuck = guess.bandwidth, guess.radius, full.subscribers <= SMALL
    for attempt in range(MOST_ROUNDS):
        if full.subscribers <= CORE:
            reach = full.everybody
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
            return count >= most or deadline.is_over()

        search = _cut if is_stuck else _descend
        found = search(inner, prices, (bandwidth, radius), tolerance / 4, is_done)
        reads += found.evaluations * share
        still = dual - found.dual + found.still
        last = attempt == MOST_ROUNDS - 1 or deadline.is_over()
        if still <= tolerance * max(1.0, abs(dual)) or last:
            seconds = perf_counter() - began
            gap = still / max(1.0, abs(dual))
            tell(Step("bound", reads, dual, gap, inner.subscribers, seconds))
            return Zoomed(full, survey, dual, still, reads)
        core = min(found.bandwidth * CORE / max(found.near, 1), WARM * typical)
        is_stuck = found.still > tolerance * max(1.0, abs(dual))
        if attempt > 0 or is_stuck:
            reach = full.moved(prices, found.prices) + core
        else:
            reach = full.nowhere + core
        prices, bandwidth = found.prices, found.bandwidth
        radius = max(found.radius, bandwidth)
    raise AssertionError("the last attempt always returns")


def _descend(
    oracle: Oracle, start: Any, sizes: tuple[float, float], tolerance: float, is_done: Any
) -> Descent:
    """Minimise by Newton's method."""
    bandwidth, radius = sizes
    return descend(
        oracle, oracle.limit, start, bandwidth=bandwidth, radius=radius, tolerance=tolerance,
        is_done=is_done,
    )  # fmt: skip


def _cut(
    oracle: Oracle, start: Any, sizes: tuple[float, float], tolerance: float, is_done: Any
) -> Descent:
    """Minimise by cutting planes: exact, also where few subscribers make the dual angular."""
    found = minimise_dual(
        oracle.evaluate, oracle.limit, start, scale=oracle.scale, unit=oracle.typical,
        range_=oracle.range, radius=max(2 * sizes[0], WARM * oracle.typical),
        tolerance=tolerance, is_done=is_done,
    )  # fmt: skip
    zero = np.zeros((len(found.prices), len(found.prices)))
    still = max(found.bound - found.model, 0.0) if found.is_inside else np.inf
    return Descent(
        found.best, found.bound, zero, sizes[0], oracle.subscribers, still, sizes[1],
        found.evaluations,
    )  # fmt: skip
