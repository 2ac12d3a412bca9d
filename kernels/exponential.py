"""The exponential function in IEEE operations alone, for compiled loops: the same bits everywhere.

``exp`` of a library is rounded differently on processors and on GPUs. Twin: exponential.cuh.
"""

import math
from typing import Any

import numpy as np
from numba import njit

TERMS = 14  # of the series for |x| <= ln(2) / 2: the next is below 2 ** -63
EVEN, ODD = (
    tuple(1.0 / math.factorial(n) for n in range(most, 1, -2)) for most in (TERMS, TERMS - 1)
)
"""Factors of even and odd powers from the second on, the highest first: two short chains."""
PER_HALVING = 1.4426950408889634  # 1 / ln(2)
LN_2_HIGH, LN_2_LOW = 0.6931471803691238, 1.9082149292705877e-10
"""ln(2) as a sum; the first has so few bits that a whole number of them is exact."""
LEAST = -745.0  # below it the result is 0
LEAST_POWER = -538  # of 2, half of what LEAST takes
POWERS: Any = np.ldexp(1.0, np.arange(LEAST_POWER, 506))  # up to half of what 700 takes


@njit(cache=True, nogil=True)
def exponential(x: float) -> float:
    """Return e to the power of ``x``, within 2 units in the last place; ``x <= 700``."""
    if not x >= LEAST:
        return x if x != x else 0.0
    halves = np.floor(x * PER_HALVING + 0.5)
    rest = (x - halves * LN_2_HIGH) - halves * LN_2_LOW
    square, even, odd = rest * rest, 0.0, 0.0
    for factor in EVEN:
        even = even * square + factor
    for factor in ODD:
        odd = odd * square + factor
    series = 1.0 + (rest + square * (even + odd * rest))
    # 2 to the power of halves is one of subnormals too, if in two steps: only the last one rounds.
    whole = int(halves)
    half = whole >> 1
    first, second = np.uint64(half - LEAST_POWER), np.uint64(whole - half - LEAST_POWER)
    found: float = series * POWERS[first] * POWERS[second]
    return found
