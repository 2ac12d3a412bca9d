"""The first prices: the dual of samples, and how far from the whole base's prices they may be."""

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numba import njit

from engine.limits import MICRO
from engine.newton import Descent, descend
from engine.oracle import Entries, Oracle, price_range, typical_value
from engine.problem import KEY_RANGE, Block, Problem
from kernels.backend import library
from kernels.choose import PROPENSITY_GRID

REACH = 2.5  # standard deviations that a surplus may move after the sample
GROWTH = 8  # a sample is so many times as large as the one before
LARGE_SHARE = 0.02  # large bases: the last sample has this share of all subscribers
BANDWIDTH, RADIUS = 0.3, 0.1  # of the first sample, in typical values
LEAST_BANDWIDTH = 0.02  # of the next one
TOLERANCE, ROUGH = 1e-6, 1e-5  # of the last sample's dual, and of the others'
MOST_EVALUATIONS = 80  # of one minimisation


def sample_blocks(problem: Problem, share: float) -> list[Block]:
    """Return the subscribers whose key is in the lowest ``share`` of its range."""
    last = int(share * KEY_RANGE) - 1  # CuPy takes no 2**63
    picked = []
    for block in problem.blocks:
        rows = library(block.key).flatnonzero(block.key <= last)
        if len(rows):
            picked.append(block.take(rows))
    return picked


@dataclass(frozen=True, eq=False)
class Guess:
    """Prices to start from, and how far they may be off."""

    prices: Any  # [K]
    reach: Any  # [G, 1 + A] money, as in kernels.choose
    bandwidth: float
    radius: float
    passes: float


def sampled(oracle: Oracle, sample: int, *, deadline: float) -> Guess:
    """Return the prices of a sample of the subscribers.

    Args:
        oracle: over all subscribers.
        sample: subscribers of the last sample, unless the base is large.
        deadline: ``perf_counter`` instant.
    """
    problem = oracle.problem
    total, limit = max(1, oracle.subscribers), problem.limit / MICRO
    typical = typical_value(problem)
    size = max(sample, int(LARGE_SHARE * total))
    sizes = [size]
    while sizes[0] > 2 * GROWTH * len(problem.rows) + 500:
        sizes.insert(0, sizes[0] // GROWTH)
    prices, reads = np.zeros(len(problem.rows)), 0.0
    bandwidth, radius = BANDWIDTH * typical, RADIUS * typical
    blocks = sample_blocks(problem, min(1.0, size / total))
    for size in sizes:
        part = oracle.over(
            blocks
            if size == sizes[-1]
            else sample_blocks(problem.with_blocks(blocks), min(1.0, size / total))
        )
        share = part.subscribers / total
        found = descend(
            part, limit * share, prices, range_=price_range(problem), bandwidth=bandwidth,
            radius=radius, tolerance=TOLERANCE if size == sizes[-1] else ROUGH,
            is_done=lambda n, best, dual: n >= MOST_EVALUATIONS or perf_counter() > deadline,
        )  # fmt: skip
        reads += found.evaluations * share
        prices, radius = found.prices, max(found.radius, RADIUS * typical)
        bandwidth = max(found.bandwidth, LEAST_BANDWIDTH * typical)
    tally = part.survey(prices).tally
    reach = _reach(part.entries, oracle.scale, tally, found, 1.0 - share)
    return Guess(prices, REACH * reach + 1e-9 * typical, found.bandwidth, radius, reads)


@njit(cache=True)
def _scatter(
    counts: Any, mean: Any, first: Any, constraint: Any, fixed: Any, accept: Any, out: Any
) -> None:
    """Add up n u u' over cells, u being the use of one contact of the cell."""
    for cell in range(counts.size):
        if counts[cell] == 0.0:
            continue
        for e in range(first[cell], first[cell + 1]):
            use = fixed[e] + accept[e] * mean[cell]
            for f in range(first[cell], first[cell + 1]):
                other = fixed[f] + accept[f] * mean[cell]
                out[constraint[e], constraint[f]] += counts[cell] * use * other


@njit(cache=True)
def _inverse(curvature: Any, free: Any, out: Any) -> None:
    """Fill in the inverse of the curvature on the free constraints, by Gauss and Jordan."""
    size = free.size
    work = np.zeros((size, 2 * size))
    largest = 0.0
    for i in range(size):
        largest = max(largest, curvature[free[i], free[i]])
    for i in range(size):
        for j in range(size):
            work[i, j] = curvature[free[i], free[j]]
        work[i, i] = work[i, i] * (1.0 + 1e-3) + 1e-6 * largest + 1e-300
        work[i, size + i] = 1.0
    for i in range(size):
        pivot = work[i, i]
        for j in range(2 * size):
            work[i, j] /= pivot
        for k in range(size):
            factor = work[k, i]
            if k != i and factor != 0.0:
                for j in range(2 * size):
                    work[k, j] -= factor * work[i, j]
    for i in range(size):
        for j in range(size):
            out[free[i], free[j]] = work[i, size + j]


@njit(cache=True)
def _product(one: Any, other: Any) -> Any:
    out = np.zeros((one.shape[0], other.shape[1]))
    for i in range(one.shape[0]):
        for k in range(one.shape[1]):
            factor = one[i, k]
            if factor != 0.0:
                for j in range(other.shape[1]):
                    out[i, j] += factor * other[k, j]
    return out


@njit(cache=True)
def _deviations(
    spread: Any, mean: Any, first: Any, constraint: Any, fixed: Any, accept: Any, centre: Any,
    out: Any,
) -> None:  # fmt: skip
    """Fill in sd((u - centre) . move) for the use u of each cell and, first in a row, of none."""
    count = centre.size
    use = np.empty(count)
    for g in range(out.shape[0]):
        for a in range(out.shape[1]):
            for k in range(count):
                use[k] = -centre[k]
            if a > 0:
                cell = g * (out.shape[1] - 1) + a - 1
                for e in range(first[cell], first[cell + 1]):
                    use[constraint[e]] += fixed[e] + accept[e] * mean[cell]
            square = 0.0
            for k in range(count):
                if use[k] != 0.0:
                    for j in range(count):
                        square += use[k] * spread[k, j] * use[j]
            out[g, a] = np.sqrt(max(square, 0.0))


def _reach(entries: Entries, scale: Any, tally: Any, found: Descent, rest: float) -> Any:
    """Return [G, 1 + A] the standard deviation of a surplus against all others', money.

    The slope of a sample of n scatters as the uses of its contacts do, with covariance C; so the
    sample's prices scatter around the true ones with covariance H^-1 C H^-1, H its curvature.
    """
    groups, actions, _ = tally.shape
    contacts = tally[..., 0].reshape(-1).astype(np.float64)
    p = tally[..., 1].reshape(-1) / PROPENSITY_GRID
    overall = p.sum() / max(1.0, contacts.sum())
    mean = np.where(contacts > 0, p / np.maximum(contacts, 1.0), overall)
    unit = scale[entries.constraint]
    used = (entries.first, entries.constraint, entries.fixed / unit, entries.accept / unit)
    count = len(scale)
    covariance, inverse = np.zeros((count, count)), np.zeros((count, count))
    _scatter(contacts, mean, *used, covariance)
    free = np.flatnonzero(found.prices > 0)
    _inverse(found.curvature, free, inverse)
    spread = _product(_product(inverse, covariance), inverse) * rest
    centre = found.evaluation.use_in_all / scale / max(1.0, contacts.sum())
    out = np.empty((groups, actions + 1))
    _deviations(spread, mean, *used, centre, out)
    # Against whom: what contacts have on average. Rare actions that may move farther are left out
    # here; the next survey takes in those whom that concerns.
    weight = np.concatenate([np.zeros((groups, 1)), tally[..., 0]], axis=1)
    others = (weight * out * out).sum() / max(1.0, weight.sum())
    return np.sqrt(out * out + others)
