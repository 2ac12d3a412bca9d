"""Find the prices: Newton's method on the dual, with curvature from the near ties.

    D(prices) = prices . limit + sum_s max over bundles of s of  value - prices . use

D is convex and, over many subscribers, nearly smooth. Its slope is ``limit - use`` at the best
bundles. Its second derivative is the density of subscribers who are about to switch, times the
squared change of use (``kernels.curve``): a count of near ties within a bandwidth that shrinks
with the steps. A step minimises the quadratic model over a box (prices >= 0, a trust region).

Nothing here proves anything: a bound comes from a pass over all subscribers at the prices found.
All arithmetic is in a fixed order without BLAS, so that any machine takes the same steps.

Source:
    Conn, Gould and Toint, "Trust-Region Methods", 2000, sections 6.1 and 12.1; the dual of a large
    base as a smooth function: Shapiro and Wardi, "Convergence analysis of stochastic algorithms",
    Mathematics of Operations Research 21(3), 1996.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from engine.oracle import Oracle
from engine.prices import Evaluation

FEWEST_TIES = 24  # near ties that a curvature is made of, at least, if the bandwidth may grow
MOST_PIVOTS, SWEEPS = 40, 200  # of one quadratic program
MOST_TIED, MOST_WIDER = 0.25, 64.0  # share of near ties; growth of the first bandwidth
DAMPING = 1e-6  # added to the curvature's diagonal, as a share of it
ACCEPT, GOOD = 0.05, 0.7  # share of the predicted fall that is a success, and a good one
NARROW, WIDEN = 0.25, 3.0


@njit(cache=True)
def _factored(matrix: Any, size: int) -> None:
    """Overwrite the lower triangle with its Cholesky factor; hopeless pivots are made large."""
    for j in range(size):
        pivot = matrix[j, j]
        root = np.sqrt(pivot) if pivot > 0.0 else 1e150
        matrix[j, j] = root
        for i in range(j + 1, size):
            matrix[i, j] /= root
        for k in range(j + 1, size):
            factor = matrix[k, j]
            if factor != 0.0:
                for i in range(k, size):
                    matrix[i, k] -= matrix[i, j] * factor


@njit(cache=True)
def _solve_factored(matrix: Any, size: int, x: Any) -> None:
    for j in range(size):
        x[j] /= matrix[j, j]
        for i in range(j + 1, size):
            x[i] -= matrix[i, j] * x[j]
    for j in range(size - 1, -1, -1):
        for i in range(j + 1, size):
            x[j] -= matrix[i, j] * x[i]
        x[j] /= matrix[j, j]


@njit(cache=True)
def box_minimum(slope: Any, curvature: Any, lowest: Any, highest: Any, pivots: int) -> Any:
    """Return d that minimises ``slope . d + d . curvature d / 2`` over ``lowest <= d <= highest``.

    Active sets: what leaves the box is held at its face, what pulls inward is let go. Should that
    not end within ``pivots``, one coordinate after the other is moved to its best.

    Args:
        slope: [K] float64.
        curvature: [K, K] float64, symmetric, positive semidefinite; a little is added to its
            diagonal.
        lowest: [K] float64, <= 0.
        highest: [K] float64, >= 0.
        pivots: most changes of the active set.
    """
    count = slope.size
    largest = 0.0
    for k in range(count):
        largest = max(largest, curvature[k, k])
    damped = curvature.copy()
    for k in range(count):
        damped[k, k] += DAMPING * curvature[k, k] + 1e-9 * largest + 1e-300
    held = np.zeros(count, np.int8)
    for k in range(count):
        if lowest[k] == 0.0 and slope[k] >= 0.0:
            held[k] = -1
    step = np.zeros(count)
    free, matrix, x = np.empty(count, np.int64), np.empty((count, count)), np.empty(count)
    for _ in range(pivots):
        size = 0
        for k in range(count):
            if held[k] == 0:
                free[size] = k
                size += 1
            else:
                step[k] = lowest[k] if held[k] < 0 else highest[k]
        for i in range(size):
            x[i] = -slope[free[i]]
            for k in range(count):
                if held[k] != 0 and step[k] != 0.0:
                    x[i] -= damped[free[i], k] * step[k]
            for j in range(i + 1):
                matrix[i, j] = damped[free[i], free[j]]
        _factored(matrix, size)
        _solve_factored(matrix, size, x)
        changed = False
        for i in range(size):
            k = free[i]
            step[k] = x[i]
            if x[i] < lowest[k]:
                held[k], changed = -1, True
            elif x[i] > highest[k]:
                held[k], changed = 1, True
        if not changed:
            for k in range(count):
                if held[k] == 0:
                    continue
                pull = slope[k]
                for j in range(count):
                    pull += damped[k, j] * step[j]
                inward = (held[k] < 0 and pull < 0.0) or (held[k] > 0 and pull > 0.0)
                if inward and lowest[k] < highest[k]:
                    held[k], changed = 0, True
            if not changed:
                return step
    step[:] = 0.0
    pull = slope.copy()  # the model's slope at the step
    for _ in range(SWEEPS):
        moved = 0.0
        for k in range(count):
            target = min(max(step[k] - pull[k] / damped[k, k], lowest[k]), highest[k])
            more = target - step[k]
            if more != 0.0:
                moved = max(moved, abs(more))
                step[k] = target
                for j in range(count):
                    pull[j] += damped[j, k] * more
        if moved <= 1e-9:
            break
    return step


@njit(cache=True)
def _fall(slope: Any, curvature: Any, step: Any) -> float:
    total = 0.0
    for k in range(step.size):
        bend = 0.0
        for j in range(step.size):
            bend += curvature[k, j] * step[j]
        total -= step[k] * (slope[k] + 0.5 * bend)
    return total


def foreseen(oracle: Oracle, limit: Any, at: Evaluation, curvature: Any) -> Any:
    """Return [K] the prices to which Newton's step leads, unbounded but for the prices' range.

    Args:
        oracle: whose dual it is.
        limit: [K] float64, units of the constraints.
        at: value and use where the step starts.
        curvature: [K, K] float64, as in :meth:`engine.oracle.Oracle.curve`.
    """
    bounds = oracle.range[0] * oracle.scale, oracle.range[1] * oracle.scale
    y, *_, step = _whole_step(oracle, limit, at, curvature, bounds)
    return np.clip((y + step) / oracle.scale, *oracle.range)


def _whole_step(
    oracle: Oracle, limit: Any, at: Evaluation, curvature: Any, bounds: tuple[Any, Any]
) -> tuple[Any, Any, tuple[Any, Any], Any]:
    """Return prices, slope, the box of steps within bounds, and the step to the model's minimum.

    Prices are those of a typical contact.
    """
    slope, y = (limit - at.use_in_all) / oracle.scale, at.prices * oracle.scale
    box = bounds[0] - y, bounds[1] - y
    return y, slope, box, box_minimum(slope, curvature, *box, MOST_PIVOTS)


@dataclass(frozen=True, eq=False)
class Descent:
    """Where Newton's method ended."""

    evaluation: Evaluation  # at the best prices
    dual: float  # D there, money
    curvature: Any  # [K, K] float64 there, prices in those of a typical contact
    bandwidth: float  # of the curvature, money
    near: int  # subscribers whose margin is within it
    still: float  # by how much D may still fall, by the last model; money
    radius: float  # of the trust region, money
    evaluations: int
    is_at_edge: bool  # whether a price has moved as far as it was allowed to

    @property
    def prices(self) -> Any:
        """Return [K] the best prices."""
        return self.evaluation.prices


def descend(
    oracle: Oracle,
    limit: Any,
    start: Any,
    *,
    bandwidth: float,
    radius: float,
    tolerance: float,
    room: float = np.inf,
    unmet: float = np.inf,
    ties: int = 0,
    is_done: Callable[[int, Evaluation, float], bool],
) -> Descent:
    """Minimise the dual of the oracle's subscribers from ``start``.

    Stops when the model promises less than ``tolerance * max(1, |D|)`` and no limit is missed by
    more than ``unmet``, when no step of any size helps, or when ``is_done(evaluations, best, D)``.

    Args:
        oracle: the subscribers.
        limit: [K] float64, units of the constraints.
        start: [K] float64, first prices.
        bandwidth: money, of the first curvature.
        radius: money per typical contact, the first trust region.
        tolerance: as above.
        room: money per typical contact, prices move no farther from the start.
        ties: of how many near ties the first curvature is made, at least; the bandwidth grows to
            that, if there are four times as many subscribers.
        unmet: typical contacts that a limit with a price may be off from its use.
        is_done: asked after every evaluation.
    """
    scale = oracle.scale
    first = np.clip(start, *oracle.range) * scale
    lowest, highest = oracle.range[0] * scale, oracle.range[1] * scale
    lowest, highest = np.maximum(lowest, first - room), np.minimum(highest, first + room)
    at = np.clip(start, *oracle.range)
    best, curvature, near = oracle.curve(at, bandwidth)
    count = 1
    if near < min(ties, MOST_TIED * oracle.subscribers):
        bandwidth *= min(ties / max(near, 1), MOST_WIDER)
        best, curvature, near = oracle.curve(at, bandwidth)
        count += 1
    dual, least_radius = best.dual(limit), radius * 1e-9
    is_flat, fewest = False, max(FEWEST_TIES, ties // 8)
    while True:
        y, slope, box, whole = _whole_step(oracle, limit, best, curvature, (lowest, highest))
        still = _fall(slope, curvature, whole)
        small = tolerance * max(1.0, abs(dual))
        is_met = np.abs(slope[whole != box[0]]).max(initial=0.0) <= unmet
        is_fine = still <= small and is_met
        ended = is_fine or is_done(count, best, dual) or radius < least_radius
        if ended or is_flat:
            is_at_edge = bool((np.abs(y - first) > 0.99 * room).any())
            return Descent(best, dual, curvature, bandwidth, near, still, radius, count, is_at_edge)
        step = whole
        if np.abs(whole).max(initial=0.0) > radius:
            near_by = np.maximum(box[0], -radius), np.minimum(box[1], radius)
            step = box_minimum(slope, curvature, *near_by, MOST_PIVOTS)
        promised = _fall(slope, curvature, step)
        length = float(np.abs(step).max(initial=0.0))
        width = bandwidth if near < fewest else min(bandwidth, max(length, bandwidth / 8))
        prices = np.clip((y + step) / scale, *oracle.range)
        trial, bend, found = oracle.curve(prices, width)
        count += 1
        fall = dual - trial.dual(limit)
        if fall > ACCEPT * promised:
            if fall > GOOD * promised and length > 0.5 * radius:
                radius *= WIDEN
            best, dual, curvature, near, bandwidth = trial, dual - fall, bend, found, width
            if found < FEWEST_TIES:
                bandwidth *= 2.0
        else:
            radius = NARROW * min(radius, length)
            is_flat = promised <= small
