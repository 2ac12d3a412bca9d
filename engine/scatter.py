"""How far prices from a sample scatter, and with them the surpluses: small dense algebra.

Compiled loops in a fixed order, so that any machine finds the same subscribers near.
"""

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True)
def add_scatter(
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
def invert(curvature: Any, free: Any, out: Any) -> None:
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
def product(one: Any, other: Any) -> Any:
    out = np.zeros((one.shape[0], other.shape[1]))
    for i in range(one.shape[0]):
        for k in range(one.shape[1]):
            factor = one[i, k]
            if factor != 0.0:
                for j in range(other.shape[1]):
                    out[i, j] += factor * other[k, j]
    return out


@njit(cache=True)
def deviations(
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
