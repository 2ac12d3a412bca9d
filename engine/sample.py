"""The first prices: the dual of samples, and how far from the whole base's prices they may be."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.newton import descend
from engine.oracle import Oracle
from engine.stop import Deadline

REACH = 2.5  # standard deviations that a surplus may move after the sample
GROWTH = 8  # a sample is so many times as large as the one before
LEAST, LEAST_PER_LIMIT = 500, 30  # subscribers of the first sample
LARGE_SHARE = 0.02  # large bases: the last sample has this share of all subscribers
BANDWIDTH, RADIUS = 0.3, 0.1  # of the first sample, in typical values
LEAST_BANDWIDTH = 0.02  # of the next one
TOLERANCE, ROUGH = 1e-6, 1e-5  # of the last sample's dual, and of the others'
MOST_EVALUATIONS = 80  # of one minimisation
FINER = 0.02  # bandwidth and radius, at least, where limits become finer; in typical values


@dataclass(frozen=True, eq=False)
class Guess:
    """Prices to start from, and how far they may be off."""

    prices: Any  # [K]
    reach: Any  # of the oracle's own kind
    bandwidth: float
    radius: float
    passes: float


def unsampled(oracle: Oracle, *, deadline: Deadline) -> Guess:
    """Return prices that may be off by anything: the smallest, or those of coarser limits."""
    prices, bandwidth, radius, reads = coarsely(oracle, 1.0, deadline=deadline)
    return Guess(prices, oracle.everybody, bandwidth, radius, reads)


def coarsely(oracle: Oracle, share: float, *, deadline: Deadline) -> tuple[Any, ...]:
    """Return the prices under ever finer limits; without coarser ones the smallest.

    Args:
        oracle: of some subscribers.
        share: of all subscribers.
        deadline: when to end.

    Returns:
        [K] prices, bandwidth and radius to go on with, and passes over these subscribers.
    """
    typical = oracle.typical
    prices, bandwidth, radius, reads = oracle.range[0], BANDWIDTH * typical, RADIUS * typical, 0.0
    for coarse, place in oracle.coarser():
        first = np.zeros(len(coarse.limit))
        first[place] = prices  # equal for all limits that are one here
        found = descend(
            coarse, coarse.limit * share, first, bandwidth=bandwidth, radius=radius,
            tolerance=ROUGH,
            is_done=lambda n, best, dual: n >= MOST_EVALUATIONS or deadline.is_over(),
        )  # fmt: skip
        prices, reads = found.prices[place], reads + found.evaluations
        radius = max(found.radius, FINER * typical)
        bandwidth = max(found.bandwidth, FINER * typical)
    return prices, bandwidth, radius, reads


def sampled(oracle: Oracle, sample: int, *, deadline: Deadline) -> Guess:
    """Return the prices of a sample of the subscribers.

    Args:
        oracle: over all subscribers.
        sample: subscribers of the last sample, unless the base is large.
        deadline: when to end.
    """
    total, typical = max(1, oracle.subscribers), oracle.typical
    sizes = [max(sample, int(LARGE_SHARE * total))]
    while sizes[0] >= GROWTH * max(LEAST, LEAST_PER_LIMIT * len(oracle.limit)):
        sizes.insert(0, sizes[0] // GROWTH)
    whole = oracle.sampled(min(1.0, sizes[-1] / total))
    prices: Any = None
    bandwidth, radius, reads = 0.0, 0.0, 0.0
    for size in sizes:
        is_last = size == sizes[-1]
        part = whole if is_last else whole.sampled(min(1.0, size / total))
        share = part.subscribers / total
        if prices is None:
            prices, bandwidth, radius, passes = coarsely(part, share, deadline=deadline)
            reads += passes * share
        found = descend(
            part, part.limit * share, prices, bandwidth=bandwidth, radius=radius,
            tolerance=TOLERANCE if is_last else ROUGH,
            is_done=lambda n, best, dual: n >= MOST_EVALUATIONS or deadline.is_over(),
        )  # fmt: skip
        reads += found.evaluations * share
        prices, radius = found.prices, max(found.radius, RADIUS * typical)
        bandwidth = max(found.bandwidth, LEAST_BANDWIDTH * typical)
    reach = REACH * whole.scattered(prices, found.curvature, 1.0 - share) + 1e-9 * typical
    return Guess(prices, reach, found.bandwidth, radius, reads)
