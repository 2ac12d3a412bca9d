"""Surpluses in float32, and by how much they may be wrong: most choices need no more.

    surplus = (w value_fixed[a] - price_fixed[g, a]) + (w value_accept[a] - price_accept[g, a]) p

With m = w (|value_fixed| + |value_accept|) + |price_fixed| + |price_accept| and u = 2**-24, the
float32 surplus of tables rounded to float32 is off by at most 5.01 u m (each term passes at most
five roundings; w and p are exact in float32), the float64 one by much less. If the best float32
surplus leads the second best by more than twice that, the float64 surpluses have the same best.
Tables are at least ``LEAST`` or 0, so that no product or sum that matters is subnormal: GPUs that
flush those to 0 give the same bits.

Source:
    Higham, "Accuracy and Stability of Numerical Algorithms", 2002, sections 2.2 and 3.1.
"""

from typing import Any

import numpy as np

from kernels.backend import library

UNIT = 2.0**-24  # of float32: the largest relative error of a rounding
ROUNDINGS = 16.0  # in units: more than 2 x 5.01, and the roundings of margin and doubt themselves
MOST = 1e27  # money; beyond it sums might overflow, and nobody is beyond doubt
LEAST = 2.0**-40  # money; smaller coefficients are 0 on the screen
FLUSHED = 2.0**-37  # money: more than four coefficients below ``LEAST`` amount to


def screened(
    value_fixed: Any, value_accept: Any, price_fixed: Any, price_accept: Any
) -> tuple[tuple[Any, Any, Any, Any], Any]:
    """Return the tables in float32, and what margin puts a float32 choice beyond doubt.

    Args:
        value_fixed: [A] float64, as the other tables in :func:`kernels.choose.choose_cpu`.
        value_accept: [A] float64.
        price_fixed: [G, A] float64.
        price_accept: [G, A] float64.

    Returns:
        The tables in their order, float32; [1 + G] float32, the doubt: one of weight w in group g
        has the chosen action where the float32 margin is more than ``w doubt[0] + doubt[1 + g]``.
        On the tables' side.
    """
    side, tables = library(value_fixed), (value_fixed, value_accept, price_fixed, price_accept)
    fixed, accept, *paid = (abs(table) for table in tables)
    doubt = side.empty(1 + len(price_fixed), np.float32)
    if not len(value_fixed):
        doubt[:] = 0.0
        return tuple(table.astype(np.float32) for table in tables), doubt
    largest = side.stack([fixed.max(), accept.max(), paid[0].max(), paid[1].max()]).max()
    is_wide = largest > MOST
    own, theirs = fixed.max() + accept.max(), paid[0].max(axis=1) + paid[1].max(axis=1)
    doubt[0] = side.where(is_wide, np.inf, ROUNDINGS * UNIT * own + FLUSHED)
    doubt[1:] = side.where(is_wide, np.inf, ROUNDINGS * UNIT * theirs + FLUSHED)
    narrow = [side.where((abs(t) < LEAST) | is_wide, 0.0, t).astype(np.float32) for t in tables]
    return (narrow[0], narrow[1], narrow[2], narrow[3]), doubt


def usable(requires: Any) -> Any:
    """Return [N] int64, ascending, the actions that may be taken alone.

    Args:
        requires: [R, A, W] int64, as in :func:`kernels.choose.choose_cpu`.
    """
    side = library(requires)
    return side.flatnonzero((requires == 0).all(axis=(0, 2)))


def beyond(bandwidth: float) -> Any:
    """Return a float32 number that is more than ``bandwidth`` by what float32 sums may lose."""
    with np.errstate(over="ignore"):  # infinite then, which is more
        return np.float32(bandwidth) * np.float32(1.0 + 8 * UNIT)
