"""One judge for every answer: its value, what it exceeds, and the bound at its prices.

By weak duality no allocation is worth more than

    L(lambda) = sum_s max over bundles of s (value - sum_k lambda_k use_k) + sum_k lambda_k limit_k

at any lambda >= 0, however it was found. So prices of any solver are raised to zero where they are
negative, evaluated once in float64 over whole bundles, and give a bound that counts for all.
"""

from dataclasses import dataclass
from math import fsum, inf
from typing import Any

import numpy as np
from numba import njit

from benchmarks.bundles import best_bundles
from benchmarks.plain import Plain

WHOLE = 1e-6  # a share of a pair this close to 0 or 1 is a whole one
TOLERANCE = 1e-9  # a sum of float64 shares this little above a limit is not above it
LIMB = 26  # bits: whole uses are summed in two parts that cannot overflow


@dataclass(frozen=True)
class Judgement:
    """What an answer is worth. Overruns are 0 when all is kept."""

    value: float  # units of money
    bound: float  # units of money; infinite without prices
    overrun_share: float  # the largest overrun of a limit, over max(1 unit of use, |limit|)
    overruns: int  # limits exceeded
    cap_overrun: float  # the largest excess over a subscriber's caps, pairs
    cap_overruns: int  # subscribers whose caps are exceeded
    fractional: int  # subscribers with a share of a pair


def judged(plain: Plain, chosen: Any, prices: Any | None = None) -> Judgement:
    """Judge an answer.

    Args:
        plain: the problem.
        chosen: [N] bool whole pairs, judged exactly; or float64 shares in [0, 1].
        prices: [K] money for one unit of a limit (after its ``use_unit``), or None: no bound.

    Raises:
        ValueError: shapes do not fit, or a share is outside [0, 1] by more than ``WHOLE``.
    """
    if chosen.shape != (plain.pairs,):
        raise ValueError(f"chosen: has shape {chosen.shape}; ({plain.pairs},) is needed")
    share = chosen.astype(np.float64)
    if not ((share >= -WHOLE) & (share <= 1 + WHOLE)).all():
        raise ValueError(f"chosen: shares from {share.min()} to {share.max()}")
    overrun_share, overruns = _overruns(plain, chosen)
    excess = _cap_excess(share, plain.arrays)
    is_whole = (share <= WHOLE) | (share >= 1 - WHOLE)
    return Judgement(
        fsum(plain.value * share) * plain.value_unit,
        inf if prices is None else lagrangian_bound(plain, prices),
        overrun_share, overruns,
        float(excess.max(initial=0.0)), int((excess > WHOLE).sum()),
        len(np.unique(plain.owner[~is_whole])),
    )  # fmt: skip


def lagrangian_bound(plain: Plain, prices: Any) -> float:
    """Return L(max(prices, 0)) in money, to float64's rounding.

    Raises:
        ValueError: a price is not a number.
    """
    if not np.isfinite(prices).all() or prices.shape != plain.limit.shape:
        raise ValueError(f"prices: {len(plain.limit)} finite numbers are needed")
    price = np.maximum(prices, 0.0) * (plain.use_unit / plain.value_unit)
    _, best = best_bundles(plain, price)
    return fsum([*best, *(price * plain.limit)]) * plain.value_unit


def _overruns(plain: Plain, chosen: Any) -> tuple[float, int]:
    """Return the largest overrun of a limit as a share of it, and how many are exceeded."""
    one = 1 / plain.use_unit
    if chosen.dtype != bool:
        use = _share_uses(chosen.astype(np.float64), *plain.uses, len(plain.limit))
        share = (use - plain.limit) / np.maximum(one, np.abs(plain.limit))
        return float(share.max(initial=0.0)), int((share > TOLERANCE).sum())
    units = np.ldexp(plain.use_amount, -plain.use_grid).astype(np.int64)
    high, low = _whole_uses(chosen, plain.use_indptr, plain.use_row, units, len(plain.limit))
    largest, count = 0.0, 0
    for k, limit in enumerate(plain.limit):
        over = (int(high[k]) << LIMB) + int(low[k]) - int(np.ldexp(limit, -plain.use_grid))
        count += over > 0
        scale = max(one, abs(float(limit))) * 2.0**-plain.use_grid
        largest = max(largest, over / scale)
    return largest, count


@njit(cache=True, nogil=True)
def _share_uses(share: Any, pointer: Any, row: Any, amount: Any, limits: int) -> Any:
    use = np.zeros(limits)
    for n in range(share.size):
        if share[n] != 0.0:
            for m in range(pointer[n], pointer[n + 1]):
                use[row[m]] += share[n] * amount[m]
    return use


@njit(cache=True, nogil=True)
def _whole_uses(chosen: Any, pointer: Any, row: Any, units: Any, limits: int) -> Any:
    high, low = np.zeros(limits, np.int64), np.zeros(limits, np.int64)
    for n in range(chosen.size):
        if chosen[n]:
            for m in range(pointer[n], pointer[n + 1]):
                high[row[m]] += units[m] >> LIMB
                low[row[m]] += units[m] & ((1 << LIMB) - 1)
    return high, low


@njit(cache=True, nogil=True)
def _cap_excess(share: Any, arrays: Any) -> Any:
    """Return [S] by how much each subscriber's worst cap is exceeded."""
    indptr, action, most, category, category_most, channel, channel_most, offer = arrays
    excess = np.zeros(indptr.size - 1)
    for s in range(excess.size):
        total = 0.0
        for n in range(indptr[s], indptr[s + 1]):
            a = action[n]
            total += share[n]
            of_offer = of_category = of_channel = 0.0
            for m in range(indptr[s], indptr[s + 1]):
                b = action[m]
                of_offer += share[m] * (offer[b] == offer[a])
                of_category += share[m] * (category[b] == category[a])
                of_channel += share[m] * (channel[b] == channel[a])
            excess[s] = max(
                excess[s], of_offer - 1.0, of_category - category_most[category[a], s],
                of_channel - channel_most[channel[a], s],
            )  # fmt: skip
        excess[s] = max(excess[s], total - most[s])
    return excess
