"""Tables of the weight of an event by its age, the same bits on every machine.

``2 ** (-age / half_life)`` is the product of a coarse and a fine factor, by the high and the low
bits of the age in seconds. Both are made here, with IEEE adds and products alone, as ``exp2`` is
not rounded alike everywhere; a pass over events then takes two look-ups and a product for it.
"""

import math
from functools import lru_cache

import numpy as np

SHIFT = 11
FINE = 1 << SHIFT  # ages that the fine factor tells apart, s; both tables stay in the cache
TERMS = 18  # of the exponential series: ln(2) ** 19 / 19! is below 2 ** -64
TABLES = 32  # kept at a time
WEIGHTLESS = 1_075  # half-lives from which a weight is 0: the least number above it is 2 ** -1074


def halving(age: np.ndarray, half_life: int) -> np.ndarray:
    """Return ``2 ** (-age / half_life)``, within 4 units in the last place.

    Args:
        age: int64, s, >= 0.
        half_life: s, > 0.
    """
    halvings, rest = np.divmod(age, half_life)
    power = -math.log(2.0) * (rest / half_life)
    series = np.ones_like(power)
    for term in range(TERMS, 0, -1):
        series = 1.0 + power * series / term
    return np.ldexp(series, -np.minimum(halvings, 4_096).astype(np.int32))


@lru_cache(TABLES)
def halving_tables(half_lives: tuple[int, ...], oldest: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the factors of several half-lives for ages up to ``oldest``.

    Args:
        half_lives: H of them, s, > 0.
        oldest: the largest age, s.

    Returns:
        fine: [H * FINE] float64, ``2 ** (-low / half_life)``.
        coarse: [H * N] float64, ``2 ** (-(high * FINE) / half_life)``; N > oldest / FINE.
    """
    fine, coarse = (np.zeros((len(half_lives), n)) for n in (FINE, (oldest >> SHIFT) + 1))
    for own_fine, own_coarse, half_life in zip(fine, coarse, half_lives, strict=True):
        own_fine[:] = halving(np.arange(FINE, dtype=np.int64), half_life)
        # The rest stays 0, in pages that take no memory as long as nobody writes to them.
        weighty = min(len(own_coarse), -(-WEIGHTLESS * half_life >> SHIFT))
        own_coarse[:weighty] = halving(np.arange(weighty, dtype=np.int64) << SHIFT, half_life)
    return fine.ravel(), coarse.ravel()


@lru_cache(TABLES)
def slope_table(trends: tuple[tuple[int, int], ...], oldest_day: int) -> np.ndarray:
    """Return what a day weighs in the slopes of several trends.

    The least-squares slope over N bins, bin b (0 the newest) at x = -b, is
    ``sum_b y_b * ((N - 1) / 2 - b) / (N * (N * N - 1) / 12)``: linear in the sums y of the bins.

    Args:
        trends: T of them, each the number of its bins (>= 2) and the days of a bin.
        oldest_day: the largest age, in whole days.

    Returns:
        [T * (oldest_day + 1)] float64; 0 for days before the oldest bin.
    """
    day = np.arange(oldest_day + 1)
    rows = [np.empty(0)]
    for bins, days in trends:
        place = day // days
        slope = ((bins - 1) / 2.0 - place) / (bins * (bins * bins - 1.0) / 12.0)
        rows.append(np.where(place < bins, slope, 0.0))
    return np.concatenate(rows)
