"""The exponential function in IEEE operations alone, for compiled loops: the same bits everywhere.

``exp`` of a library is rounded differently on processors and on GPUs. Twin: exponential.cuh.
"""

import math

from numba import njit

TERMS = 14  # of the series for |x| <= ln(2) / 2: the next is below 2 ** -63
PER_HALVING = 1.4426950408889634  # 1 / ln(2)
LN_2_HIGH, LN_2_LOW = 0.6931471803691238, 1.9082149292705877e-10
"""ln(2) as a sum; the first has so few bits that a whole number of them is exact."""
LEAST = -745.0  # below it the result is 0


@njit(cache=True, nogil=True)
def exponential(x: float) -> float:
    """Return e to the power of ``x``, within 2 units in the last place; ``x <= 700``."""
    if not x >= LEAST:
        return x if x != x else 0.0
    halves = math.floor(x * PER_HALVING + 0.5)
    rest = (x - halves * LN_2_HIGH) - halves * LN_2_LOW
    series = 1.0
    for term in range(TERMS, 0, -1):
        series = 1.0 + rest * series / term
    return math.ldexp(series, int(halves))
