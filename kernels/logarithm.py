"""Logarithms in IEEE operations alone, for compiled loops: the same bits everywhere.

Those of a library are rounded differently on processors and on GPUs. Twin: logarithm.cuh.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import njit

from kernels.exponential import LN_2_HIGH, LN_2_LOW

TERMS = 12  # of the series for |z| <= 0.1716: the next is below 2 ** -63
ROOT_2 = 1.4142135623730951
DOUBLE_PER_LN_2 = 2.8853900817779268  # 2 / ln(2)
ODD = tuple(1.0 / (2 * term + 1) for term in range(TERMS, 0, -1))  # factors of that series
FRACTION, HALF = (1 << 52) - 1, 1022 << 52  # bits of a number: its fraction, and those of 0.5
NEAR = 0.4  # from it on 1 + y is rounded first, which costs less than half a unit
TABLE = 1_024  # numbers whose logarithms are looked up


@njit(cache=True, nogil=True)
def binary_logarithm(number: int) -> float:
    """Return log2 of a whole number >= 1, within 2 units in the last place; exact for powers of 2.

    With ``number = 2 ** k * m`` and ``z = (m - 1) / (m + 1)`` it is
    ``k + 2 / ln 2 * (z + z ** 3 / 3 + z ** 5 / 5 + ...)``.
    """
    rest, halvings = float(number), 0.0
    while rest > ROOT_2:
        rest *= 0.5
        halvings += 1.0
    z, series = (rest - 1.0) / (rest + 1.0), 0.0
    for term in range(TERMS, 0, -1):
        series = series * (z * z) + 1.0 / (2 * term - 1)
    return halvings + z * series * DOUBLE_PER_LN_2


@njit(cache=True, nogil=True)
def logarithm_1p(y: float) -> float:
    """Return ``ln(1 + y)``, within 3 units in the last place; ``y >= 0``, finite.

    With ``1 + y = 2 ** k * m`` and ``z = (m - 1) / (m + 1)`` it is
    ``k ln 2 + 2 * (z + z ** 3 / 3 + z ** 5 / 5 + ...)``.
    """
    bits = np.float64(1.0 + y).view(np.int64)
    halvings, rest = 0.0, np.int64(bits & FRACTION | HALF).view(np.float64)
    above, below = y, 2.0 + y
    if y > NEAR:
        halvings = float((bits >> 52) - 1022)
        if rest < 0.5 * ROOT_2:
            rest *= 2.0
            halvings -= 1.0
        above, below = rest - 1.0, rest + 1.0
    z = above / below
    square, series = z * z, 0.0
    for factor in ODD:
        series = (series + factor) * square
    found: float = halvings * LN_2_HIGH + (2.0 * z + (2.0 * z * series + halvings * LN_2_LOW))
    return found


@cache
def logarithms() -> Any:
    """Return the binary logarithms of 0 (for which it says 0) to ``TABLE - 1``, [TABLE] float64."""
    return np.array([0.0, *(binary_logarithm(number) for number in range(1, TABLE))])
