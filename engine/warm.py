"""From the prices of an earlier answer to those of changed limits, mostly in less than two passes.

1. Sample: the whole base's use at the old prices is known. What a change of limits does to the
   prices is read off a sample whose limits are shifted such that its slope at the old prices is
   the whole base's: its own error cancels, and only that of the change is left.
2. Survey: one pass at the prices foretold. It gives a bound, and who is near to changing; among
   these the dual is minimised, and whole contacts are chosen around the prices found.
3. If that leaves too large a gap, a survey at these prices gives the better bound and takes in who
   was missed. After some rounds the search begins anew, as if there were no earlier answer.

Source:
    Johnson and Zhang, "Accelerating stochastic gradient descent using predictive variance
    reduction", NIPS 2013: the shift.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np

from engine.deal import solve_tied, tied_prices
from engine.errors import ConfigError
from engine.newton import Descent, descend
from engine.oracle import Oracle
from engine.prices import Evaluation
from engine.rounding import Rounded, round_bundles
from engine.sample import LEAST_BANDWIDTH, MOST_EVALUATIONS, RADIUS, Guess
from engine.stop import Deadline
from engine.zoom import CORE, Step, Tell, Zoomed, zoom

SHARE, FEWEST = 0.02, 6_000  # of all subscribers: the sample, and how many it has at least
ERROR = 1.5  # standard deviations of the prices foretold that are allowed for
SPAN = 4.0  # how far prices may go among near subscribers, in their longest reach
ROUGH, FINE = 1e-5, 2.5e-8  # tolerances of the sample's dual, and of the near subscribers'
MOST_ROUNDS = 3


@dataclass(frozen=True, eq=False)
class Start:
    """Prices of an earlier answer, and what the best bundles use there."""

    prices: Any  # [K]
    use: Any  # [K] float64, units of the constraints
    sample: Oracle | None  # of the base, under the same limits; None: the base is small
    passes: float = 0.0  # that this took

    @staticmethod
    def known(full: Oracle, prices: Any, total: Any, sample: Oracle | None) -> "Start":
        """Take prices whose best bundles' total is known, whatever limits there are now."""
        units = zip(full.exact(total)[1], full.use_unit, strict=True)
        left = np.array([rest / unit for rest, unit in units])
        return Start(prices, full.limit - left, sample)

    @staticmethod
    def at(full: Oracle, prices: Any) -> "Start":
        """Evaluate some prices by a pass."""
        found = full.evaluate(np.clip(np.asarray(prices, float), *full.range))
        return Start(found.prices, found.use_in_all, sample_of(full), 1.0)


def sample_of(full: Oracle) -> Oracle | None:
    """Return the sample that changes are foretold by; None: the base is small."""
    if full.subscribers <= CORE:
        return None
    return full.sampled(min(1.0, max(SHARE, FEWEST / full.subscribers)))


def given(full: Oracle, prices: Any) -> Callable[[], Start]:
    """Return what evaluates the prices that a caller gives.

    Raises:
        ConfigError: they are not K numbers, zero or more.
    """
    start = np.asarray(prices, np.float64)
    if start.shape != full.limit.shape or not ((start >= 0) & np.isfinite(start)).all():
        raise ConfigError(
            f"prices: must be a price, 0 or more, of each of {len(full.limit)} limits, got "
            f"{np.array2string(start, threshold=9)}"
        )
    return lambda: Start.at(full, start)


def zoom_from(
    full: Oracle, start: Start | None, *, sample: int, tolerances: tuple[float, float], tell: Tell,
    deadline: Deadline,
) -> tuple[Zoomed, Rounded | None]:  # fmt: skip
    """Minimise the dual of the whole problem from an earlier answer; as :func:`engine.zoom.zoom`.

    Args:
        full: the oracle over all subscribers, under the limits of now.
        start: an earlier answer; None: there is none.
        sample: as in ``zoom``.
        tolerances: of the gap of the answer, and of the dual as in ``zoom``.
        tell: as in ``zoom``.
        deadline: as in ``zoom``.

    Returns:
        As ``zoom``; and whole bundles, if some were found that are good enough.
    """
    began, (enough, tolerance) = perf_counter(), tolerances
    told: dict[str, Any] = {"sample": sample, "tolerance": tolerance, "deadline": deadline}
    together = full.tied()
    if together is not None:
        answer = solve_tied(full, together, tolerance=enough, tell=tell, deadline=deadline)
        if answer is not None and (answer[1].is_feasible or deadline.is_over()):
            return answer
    if start is None:
        return zoom(full, tell=tell, **told), None
    if start.sample is None or not start.sample.subscribers:
        return zoom(full, tell=tell, start=_anywhere(full, start), **told), None
    guess = _foretold(full, start, start.sample, deadline)
    best: Zoomed | None = None
    kept: Rounded | None = None
    for _ in range(MOST_ROUNDS):
        here, found = _among_near(full, guess, deadline)
        best = here if best is None or here.bound < best.bound else best
        best = replace(best, start=here.start, passes=here.passes)
        seconds, gap = perf_counter() - began, here.still / max(1.0, abs(here.bound))
        tell(Step("bound", here.passes, here.bound, gap, here.survey.near_count, seconds))
        is_flat = here.still <= tolerance * max(1.0, abs(here.bound))
        rounded = round_bundles(best, tolerance=enough, deadline=deadline, is_quick=not is_flat)
        if kept is None or (rounded.is_feasible, rounded.value) > (kept.is_feasible, kept.value):
            kept = rounded
        if rounded.is_enough or deadline.is_over() or is_flat:
            return best, kept
        guess = replace(
            guess, prices=found.prices, reach=2.0 * guess.reach, bandwidth=found.bandwidth,
            passes=here.passes,
        )  # fmt: skip

    def later(step: Step) -> None:
        tell(replace(step, reads=guess.passes + step.reads))

    zoomed = zoom(full, tell=later, **told)
    return replace(zoomed, passes=guess.passes + zoomed.passes), None


def prices_from(full: Oracle, start: Start, *, deadline: Deadline) -> Any:
    """Return [K] prices that minimise the dual among those whom the change may concern.

    Args:
        full: as in :func:`zoom_from`.
        start: as in ``zoom_from``.
        deadline: as in ``zoom_from``.
    """
    together = full.tied()
    if together is not None:
        return tied_prices(full, together, deadline=deadline)
    if start.sample is None or not start.sample.subscribers:
        return zoom(
            full, sample=full.subscribers, tolerance=FINE, tell=lambda step: None,
            deadline=deadline, start=_anywhere(full, start),
        ).prices  # fmt: skip
    return _among_near(full, _foretold(full, start, start.sample, deadline), deadline)[1].prices


def _anywhere(full: Oracle, start: Start) -> Guess:
    """Return the prices of an earlier answer, that may be off by anything."""
    sizes = LEAST_BANDWIDTH * full.typical, RADIUS * full.typical
    return Guess(start.prices, full.everybody, *sizes, start.passes)


def _foretold(full: Oracle, start: Start, part: Oracle, deadline: Deadline) -> Guess:
    """Return where the sample leads from an earlier answer, and how far that may be off."""
    share = part.subscribers / full.subscribers
    there = part.evaluate(start.prices)
    limit = (full.limit - start.use) * share + there.use_in_all
    bandwidth, radius = LEAST_BANDWIDTH * full.typical, RADIUS * full.typical
    found = descend(
        part, limit, start.prices, bandwidth=bandwidth, radius=radius, tolerance=ROUGH,
        is_done=lambda n, best, dual: n >= MOST_EVALUATIONS or deadline.is_over(),
    )  # fmt: skip
    # Prices are off as those of a sample are, but only for what has changed.
    rest = _changed(there, found.evaluation) * (1.0 - share)
    core = _core(found, share)
    reach = ERROR * part.scattered(found.prices, found.curvature, rest) + 4.0 * core
    passes = start.passes + (2 + found.evaluations) * share
    return Guess(found.prices, reach, found.bandwidth, max(found.radius, radius), passes)


def _among_near(full: Oracle, guess: Guess, deadline: Deadline) -> tuple[Zoomed, Descent]:
    """Survey the guessed prices, and minimise the dual among those who are near.

    Returns:
        the survey, and everybody's bundles when near subscribers move to the prices found; how the
        search among them ended.
    """
    survey = full.survey(guess.prices, guess.reach)
    inner = full.narrowed(survey)
    found = descend(
        inner, full.limit, guess.prices, bandwidth=guess.bandwidth, radius=guess.radius,
        tolerance=FINE, room=SPAN * float(guess.reach.max(initial=0.0)),
        is_done=lambda n, best, dual: n >= MOST_EVALUATIONS or deadline.is_over(),
    )  # fmt: skip
    near = full.with_near(survey, inner, found.prices, full.nowhere + _core(found, 1.0))
    near = full.deepened(near)
    share = inner.subscribers / full.subscribers
    bound = full.bound(survey)
    still = bound - found.dual + found.still
    passes = guess.passes + 1.0 + (2 + found.evaluations) * share
    return Zoomed(full, survey, near, bound, still, passes), found


def _core(found: Descent, share: float) -> float:
    """Return the reach that about ``CORE`` of all subscribers are near in."""
    return min(found.bandwidth, found.bandwidth * CORE * share / max(found.near, 1))


def _changed(one: Evaluation, other: Evaluation) -> float:
    """Return the share of the use that differs, all constraints counting alike, 1 at most."""
    size = np.maximum(np.abs(one.use), np.abs(other.use)).sum(axis=1)
    apart = np.abs(one.use - other.use).sum(axis=1)[size > 0] / size[size > 0]
    return float(min(1.0, apart.sum() / max(1, len(apart))))
