"""The binary logarithm of whole numbers in IEEE operations alone: the same bits everywhere.

``log2`` of a library is rounded differently on processors and on GPUs. Twin: logarithm.cuh.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import njit

TERMS = 12  # of the series for |z| <= 0.1716: the next is below 2 ** -63
ROOT_2 = 1.4142135623730951
DOUBLE_PER_LN_2 = 2.8853900817779268  # 2 / ln(2)
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


@cache
def logarithms() -> Any:
    """Return the binary logarithms of 0 (for which it says 0) to ``TABLE - 1``, [TABLE] float64."""
    return np.array([0.0, *(binary_logarithm(number) for number in range(1, TABLE))])
