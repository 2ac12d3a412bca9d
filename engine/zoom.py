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

from engine.newton import Descent, descend, foreseen
from engine.oracle import Oracle, Survey
from engine.prices import Evaluation, minimise_dual
from engine.sample import MOST_EVALUATIONS, Guess, sampled, unsampled
from engine.stop import Deadline

CORE = 3_000  # near subscribers at the final prices, about
SMALL = 4_000  # so few subscribers make the dual too angular for Newton's method
EDGE = 3.0  # prices may move so many times the reach before the next survey
AHEAD = 2.0  # times the step that is foreseen: so far may surpluses move
WARM = 0.02  # longest reach around prices that are found, in typical values
TIES_PER_LIMIT = 50  # near ties that a zoom's first curvature is made of
UNMET = 30.0  # contacts that a limit may be off at the last prices: those near make up for them
LEAST_REACH = 1e-8  # in typical values: a shorter one says nothing of the bandwidth
FINE = 1e-3  # the last prices are so much finer than the bound: fewer units to mend
DUST = (1e-3, 1e-5, 1e-7)  # prices below these shares of a typical value are tried as zero
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
    start: Survey  # where whole bundles are sought from: near subscribers at the last prices
    bound: float  # D(prices), money: no allocation is worth more
    still: float  # by how much D may still fall, by the last model; money
    passes: float

    @property
    def covers_all(self) -> bool:
        """Return whether everybody is near who may get anything."""
        return bool(np.isinf(self.start.reach).all())

    def widened(self, factor: float) -> "Zoomed":
        """Return the same survey with a longer reach."""
        reach = (self.start.reach + 1e-6 * self.oracle.typical) * factor
        return replace(self, start=self.oracle.reached(self.start, reach))

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
    limit = full.limit
    if start is not None:
        guess = start
    elif full.subscribers <= sample:
        guess = unsampled(full, deadline=deadline)
    else:
        guess = sampled(full, sample, deadline=deadline)
    prices, reads, bandwidth, radius = guess.prices, guess.passes, guess.bandwidth, guess.radius
    is_stuck, last, before = full.subscribers <= SMALL, None, prices
    for attempt in range(MOST_ROUNDS):
        survey = full.survey(prices)
        dual = survey.evaluation.dual(limit)
        small = tolerance * max(1.0, abs(dual))
        if full.subscribers <= CORE:
            reach = full.everybody
        elif last is None:
            reach = guess.reach
        else:
            is_lost = last.is_at_edge or is_stuck or not last.curvature.any()
            reach = _reach_around(full, survey, last, before, is_lost=is_lost)
        survey = full.reached(survey, reach)
        inner = full.narrowed(survey)
        share = inner.subscribers / max(1, full.subscribers)
        reads += 1.0 + share
        most = MOST_CUTS if is_stuck else MOST_EVALUATIONS

        def is_done(
            count: int, best: Evaluation, least: float, done: float = reads, part: float = share,
            active: int = inner.subscribers, first: float = dual, most: int = most,
        ) -> bool:  # fmt: skip
            seconds = perf_counter() - began
            gap = (first - least) / max(1.0, abs(first))
            bound = best.dual(limit)
            tell(Step("zoom", done + count * part, bound, gap, active, seconds))
            return count >= most or deadline.is_over()

        search = _cut if is_stuck else _descend
        # Who is farther than the reach is missing from the inner oracle, and from its curvature.
        seen = float(reach.mean() / 8 if last is None else reach.min())
        bandwidth = min(bandwidth, seen if seen > LEAST_REACH * full.typical else np.inf)
        sizes = bandwidth, radius, EDGE * float(reach.max(initial=0.0))
        fine = tolerance * (0.25 if attempt == 0 or is_stuck else FINE)
        unmet = np.inf if attempt == 0 else UNMET
        last = search(inner, prices, (*sizes, unmet), fine, is_done)
        reads += last.evaluations * share
        still = dual - last.dual + last.still
        if still <= small or attempt == MOST_ROUNDS - 1 or deadline.is_over():
            seconds, bound = perf_counter() - began, full.bound(survey)
            gap = min(still / max(1.0, abs(dual)), 1.0)  # at a box's edge: by all of it
            tell(Step("bound", reads, bound, gap, inner.subscribers, seconds))
            rounded_from = survey
            if last.evaluations > 1 and survey.near_count:
                rounded_from = full.with_near(survey, inner, last.prices, reach)
            start_from = full.deepened(_nearest(full, rounded_from))
            return Zoomed(full, survey, start_from, bound, still, reads)
        is_stuck = last.still > small and not last.is_at_edge
        before, prices, bandwidth = prices, last.prices, last.bandwidth
        radius = max(last.radius, bandwidth)
    raise AssertionError("the last attempt always returns")


def _reach_around(
    full: Oracle, survey: Survey, last: Descent, before: Any, *, is_lost: bool
) -> Any:
    """Return how far surpluses may still move from the prices that a descent has found.

    Args:
        full: the oracle over all subscribers.
        survey: at the prices.
        last: the descent.
        before: the prices it started from.
        is_lost: whether its curvature foretells nothing: then they may move as far once more.
    """
    core = min(last.bandwidth * CORE / max(last.near, 1), WARM * full.typical)
    prices = survey.evaluation.prices
    if is_lost:
        moved = full.moved(before, prices, survey)
    else:
        next_ = foreseen(full, full.limit, survey.evaluation, last.curvature)
        moved = AHEAD * full.moved(prices, next_, survey)
    return full.nowhere + core + moved


def _nearest(full: Oracle, survey: Survey) -> Survey:
    """Return the survey with about ``CORE`` near subscribers, unless masses tie."""
    share = CORE / max(1, survey.near_count)
    if share >= 0.5 or np.isinf(survey.reach).all():
        return survey
    return full.reached(survey, survey.reach * share)


def _descend(
    oracle: Oracle, start: Any, sizes: tuple[float, ...], tolerance: float, is_done: Any
) -> Descent:
    """Minimise by Newton's method."""
    bandwidth, radius, room, unmet = sizes
    return descend(
        oracle, oracle.limit, start, bandwidth=bandwidth, radius=radius, room=room,
        tolerance=tolerance, unmet=unmet, ties=TIES_PER_LIMIT * len(oracle.limit), is_done=is_done,
    )  # fmt: skip


def _cut(
    oracle: Oracle, start: Any, sizes: tuple[float, ...], tolerance: float, is_done: Any
) -> Descent:
    """Minimise by cutting planes: exact, also where few subscribers make the dual angular."""
    (lowest, highest), room = oracle.range, sizes[2] / oracle.scale
    range_ = np.maximum(lowest, start - room), np.minimum(highest, start + room)
    found = minimise_dual(
        oracle.evaluate, oracle.limit, start, scale=oracle.scale, unit=oracle.typical,
        range_=range_, radius=max(2 * sizes[0], WARM * oracle.typical),
        tolerance=tolerance, is_done=is_done,
    )  # fmt: skip
    zero = np.zeros((len(found.prices), len(found.prices)))
    still = max(found.bound - found.model, 0.0)
    best = _without_dust(oracle, found.best, tolerance)
    is_at_edge = bool((np.abs(best.prices - start) > 0.99 * room).any())
    return Descent(
        best, best.dual(oracle.limit), zero, sizes[0], oracle.subscribers, still, sizes[1],
        found.evaluations, is_at_edge=is_at_edge,
    )  # fmt: skip


def _without_dust(oracle: Oracle, best: Evaluation, tolerance: float) -> Evaluation:
    """Set prices next to nothing to the smallest, zero for most, if the bound is as good.

    A limit with room to spare has a price of zero; cutting planes only come close to it.
    """
    bound = best.dual(oracle.limit)
    scaled = best.prices * oracle.scale / oracle.typical
    for dust in DUST:
        prices = np.where(scaled < dust, oracle.range[0], best.prices)
        if (prices == best.prices).all():
            break
        clean = oracle.evaluate(prices)
        if clean.dual(oracle.limit) <= bound + tolerance * max(1.0, abs(bound)):
            return clean
    return best
