"""Price zoom: prices from a sample, then only the subscribers whose choice is still open.

1. Sample: the dual is minimised on two small samples. Their mean starts the search, their
   difference tells how far each action's price may still move.
2. Settle: one pass over all subscribers holds each chosen bundle at its lowest surplus and all
   others at their highest; a bundle that still wins is taken as a constant and left out.
3. Zoom: the dual is minimised over the rest, within prices that move no action's price by more
   than was allowed for: there the zoomed dual is the true one. If the minimum lies on the face of
   that region, the subscribers are settled anew around it. One full pass at the end gives the
   bound, whatever happened before.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np

from engine.limits import MICRO
from engine.oracle import Oracle, price_range, scale_of, typical_value
from engine.prices import EVERYWHERE, Dual, Evaluation, Trust, minimise_dual
from engine.problem import KEY_RANGE, Block, Problem
from kernels.backend import library, to_cpu
from kernels.choose import choose, settled

SPREAD = 4.0  # spreads are this many times the difference between the two samples' prices
DUST = (1e-3, 1e-5, 1e-7)  # prices below these shares of a typical value are tried as zero
WIDEN = 2.0  # spreads grow by this when the minimum is on the region's face
MOST_SETTLINGS = 8
MOST_EVALUATIONS = 400  # of one minimisation


@dataclass(frozen=True)
class Step:
    """One line of the solver's log."""

    step: str
    reads: float  # passes over all subscribers so far, parts of passes counted as parts
    bound: float  # money
    gap: float  # (bound - lower bound of the least bound) / max(1, |bound|); then of the answer
    active: int  # subscribers not settled
    seconds: float


Tell = Callable[[Step], None]


def sample_blocks(problem: Problem, low: float, high: float) -> list[Block]:
    """Return the subscribers whose key, as a share of its range, is in ``[low, high)``."""
    first, last = int(low * KEY_RANGE), int(high * KEY_RANGE) - 1  # CuPy takes no 2**63
    picked = []
    for block in problem.blocks:
        rows = (block.key >= first) & (block.key <= last)
        if rows.any():
            picked.append(block.take(library(block.key).flatnonzero(rows)))
    return picked


def sampled_prices(
    problem: Problem, sample: int, *, deadline: float, evaluations: int = MOST_EVALUATIONS
) -> tuple[Any, Any]:
    """Return the prices that two disjoint samples of half the size each give."""
    share = min(0.5, sample / 2 / max(1, problem.subscribers))
    found: list[Any] = []
    for i in range(2):
        blocks = sample_blocks(problem, i * share, (i + 1) * share)
        oracle = Oracle(problem, blocks)
        picked = oracle.subscribers / max(1, problem.subscribers)
        dual = minimise_dual(
            oracle.evaluate,
            problem.limit / MICRO * picked,
            found[0] if found else np.zeros(len(problem.rows)),
            scale=scale_of(problem),
            unit=typical_value(problem),
            range_=price_range(problem),
            radius=typical_value(problem) * (0.02 if found else 0.1),
            tolerance=1e-5,
            is_done=lambda n, best, model: n >= evaluations or perf_counter() > deadline,
        )
        found.append(dual.prices)
    return found[0], found[1]


@dataclass(frozen=True, eq=False)
class Zoomed:
    """Prices at the dual's minimum and the subscribers whose choice they leave open."""

    dual: Dual
    bound: float  # D(prices) by a pass over all subscribers, money
    oracle: Oracle  # over the open subscribers, settled ones in its constant
    fixed: list[tuple[Any, Any]]  # by block: settled rows (positions) and their bundles [Q, rows]
    open_rows: list[Any]  # by block: positions of the open subscribers
    passes: float


def zoom(
    problem: Problem,
    *,
    sample: int,
    tolerance: float,
    tell: Tell,
    deadline: float,
    start: tuple[Any, Any] | None = None,
) -> Zoomed:
    """Minimise the dual of the whole problem.

    Args:
        problem: the allocation problem.
        sample: subscribers of the first search.
        tolerance: as in :func:`engine.prices.minimise_dual`, for the true dual.
        tell: receives each step.
        deadline: ``perf_counter`` instant after which the search ends as it is.
        start: two guesses of the prices that replace the sample's.

    Returns:
        Prices, bound and open subscribers.
    """
    began = perf_counter()
    full = Oracle(problem, problem.blocks)
    limit, scale = problem.limit / MICRO, scale_of(problem)
    first, second = start or sampled_prices(problem, sample, deadline=deadline)
    reads = 0.0
    prices, move = (first + second) / 2, np.abs(first - second)
    spread = _spread(full, first, second)
    radius = float(np.clip((move * scale).max(initial=0.0), 1e-3, None)) * 2
    known: tuple[Evaluation, ...] = ()
    for attempt in range(MOST_SETTLINGS):
        last = attempt == MOST_SETTLINGS - 1 or full.subscribers <= 2 * sample
        if last:  # settle nothing: the plain dual
            spread = (np.full_like(spread[0], np.inf), spread[1])
        oracle, fixed, open_rows = settle(full, prices, spread)
        reads += 2.0
        weight = oracle.subscribers / max(1, problem.subscribers)

        def is_done(
            count: int, best: Evaluation, model: float, share: float = weight, before: float = reads
        ) -> bool:
            reached = before + count * share
            seconds = perf_counter() - began
            bound = best.dual(limit)
            gap = (bound - model) / max(1.0, abs(bound))
            tell(Step("zoom", reached, bound, gap, round(share * full.subscribers), seconds))
            return count >= MOST_EVALUATIONS or perf_counter() > deadline

        dual = minimise_dual(
            oracle.evaluate, limit, prices, scale=scale, unit=typical_value(problem),
            range_=price_range(problem), radius=radius, tolerance=tolerance,
            trust=_trust(full, prices, spread), known=known,
            is_done=is_done,
        )  # fmt: skip
        reads += (len(dual.evaluations) - len(known)) * weight
        if dual.is_inside or last or perf_counter() > deadline:
            clean, bound = _without_dust(full, dual, tolerance)
            seconds = perf_counter() - began
            tell(Step("bound", reads + 2, bound, dual.gap, oracle.subscribers, seconds))
            return Zoomed(clean, bound, oracle, fixed, open_rows, reads + 2)
        spread = (WIDEN * spread[0], WIDEN * spread[1])
        prices, known = dual.prices, dual.evaluations
    raise AssertionError("the last attempt always returns")


def _without_dust(full: Oracle, dual: Dual, tolerance: float) -> tuple[Dual, float]:
    """Set prices next to nothing to zero if the bound is as good, and return the bound.

    A limit with room to spare has a price of zero; the search only comes close to it.
    """
    limit = full.problem.limit / MICRO
    bound = full.evaluate(dual.prices).dual(limit)
    scaled = dual.prices * scale_of(full.problem) / typical_value(full.problem)
    for dust in DUST:
        prices = np.where(scaled < dust, 0.0, dual.prices)
        if (prices == dual.prices).all():
            break
        clean = full.evaluate(prices).dual(limit)
        if clean <= bound + tolerance * max(1.0, abs(bound)):
            return replace(dual, prices=prices), clean
    return dual, bound


def _trust(full: Oracle, prices: Any, spread: tuple[Any, Any]) -> Trust:
    """Return the prices at which no action's price leaves its spread around the present one."""
    if np.isinf(spread[0]).any():
        return EVERYWHERE
    _, groups = np.unique(full.problem.in_scope, axis=1, return_index=True)
    rows, centre, room = [], [], []
    tables = full.price_tables(prices)
    for use, table, width in zip((full.use_fixed, full.use_accept), tables, spread, strict=True):
        for g in groups:
            inside = use * full.problem.in_scope[:, g, None]
            coefficients = full.problem.per_limit(inside).T  # [A, K]
            moves = coefficients.any(axis=1)
            rows.append(coefficients[moves])
            centre.append(table[g, moves])
            room.append(width[g, moves])
    return Trust(np.concatenate(rows), np.concatenate(centre), np.concatenate(room))


def _spread(oracle: Oracle, first: Any, second: Any) -> tuple[Any, Any]:
    """Return [G, A] how far each action's price may be off, from two estimates of it."""
    fixed, accept = (
        np.abs(a - b)
        for a, b in zip(oracle.price_tables(first), oracle.price_tables(second), strict=True)
    )
    return _widened(fixed), _widened(accept)


def _widened(difference: Any) -> Any:
    typical = np.sqrt((difference * difference).mean())
    return SPREAD * (difference + typical) / 2 + 1e-9


def settle(
    full: Oracle, prices: Any, spread: tuple[Any, Any]
) -> tuple[Oracle, list[Any], list[Any]]:
    """Split the subscribers into settled ones and open ones.

    Args:
        full: the oracle over all subscribers.
        prices: [K] float64.
        spread: [G, A] float64 twice, how far a pair's surplus may move; inf settles nobody.

    Returns:
        oracle over the open subscribers, the settled rows and bundles and the open rows by block.
    """
    constant = np.zeros((4, full.problem.groups, len(full.problem.offer)), np.int64)
    constant += full.constant
    blocks, fixed, open_rows = [], [], []
    for block in full.blocks:
        side = library(block.propensity)
        arguments = full.arguments(block, prices)
        chosen, tally = choose(*arguments, full.width)
        if np.isinf(spread[0]).any():
            still = side.zeros(len(block), np.uint8)
        else:
            still = settled(*arguments, *(side.asarray(s) for s in spread), chosen)
        open_ = side.flatnonzero(still == 0)
        closed = side.flatnonzero(still)
        rest = block.take(open_)
        blocks.append(rest)
        open_rows.append(open_)
        fixed.append((closed, side.ascontiguousarray(chosen[:, closed])))
        constant += to_cpu(tally) - to_cpu(full.choose(rest, prices)[1])
    full.passes += 1
    return Oracle(full.problem, blocks, constant), fixed, open_rows
