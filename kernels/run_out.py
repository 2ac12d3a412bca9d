"""When a prepaid balance is spent: the first passage of a random depletion."""

import math
from statistics import NormalDist
from typing import Any

import numpy as np
from numba import njit

from kernels import backend
from kernels.exponential import exponential
from kernels.threads import LIGHT_CHUNK, each_chunk

HALVINGS = 30  # of the horizon: a quantile is told as a whole number of such cells
SECANTS = 8  # from then on every other step halves what is left
WIDER = 1e-6  # relative: more than the error of Phi
ERFC = (-1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398,
        1.48851587, -0.82215223, 0.17087277)  # fmt: skip


@njit(cache=True, nogil=True)
def _tail(z: float, exponent: float) -> float:
    """Return ``exp(exponent + z * z / 2) * P(N > z)`` of a standard normal N.

    ``z >= 0``; the relative error is 1.2e-7.
    """
    t = 1.0 / (1.0 + 0.5 * z * 0.7071067811865476)
    power = 0.0
    for factor in ERFC[::-1]:
        power = power * t + factor
    tail: float = 0.5 * t * exponential(power + exponent)
    return tail


@njit(cache=True, nogil=True)
def _spent_within(hours: float, balance: float, rate: float, variance: float) -> float:
    """Return the probability that the balance is spent within some hours."""
    deviation = math.sqrt(variance * hours)
    if not deviation > 0.0:  # no variance, or next to none: spending is steady
        return 1.0 if rate * hours >= balance else 0.0
    ahead, both = (balance - rate * hours) / deviation, (balance + rate * hours) / deviation
    # 2 rate B / variance - both ** 2 / 2 is -ahead ** 2 / 2: its large parts are never made.
    exponent = -0.5 * ahead * ahead
    first: float = _tail(abs(ahead), exponent)
    first = first if ahead >= 0.0 else 1.0 - first
    second: float = _tail(both, exponent)
    return min(1.0, first + second)


@njit(cache=True, nogil=True, error_model="numpy")  # a guess may be no number
def _passed(z: float, balance: float, rate: float, variance: float) -> float:
    """Return when the mean spend is ``z`` standard deviations below the balance, h."""
    reach = z * math.sqrt(variance)
    root = 2.0 * balance / (reach + math.sqrt(reach * reach + 4.0 * rate * balance))
    return root * root


@njit(cache=True, nogil=True, error_model="numpy")
def _cells_until(
    balance: float, rate: float, variance: float, horizon_h: float, quantile: float, last_z: float,
    first_z: float,
) -> float:  # fmt: skip
    """Return the fewest cells of the horizon with so much probability; -1: all have less.

    ``Phi((rate h - B) / s)`` is between half of the probability and all of it, so what is wanted
    lies between the times at which it is half the quantile and the quantile (``first_z`` and
    ``last_z``, of ``Phi(-z)``). Secants go on from there.
    """
    cells = 2.0**HALVINGS
    cell, low = horizon_h / cells, 0.0
    high: float = np.ceil(_passed(last_z, balance, rate, variance) / cell)
    high = high if high < cells else cells  # a NaN is beyond too
    above = _spent_within(high * cell, balance, rate, variance)
    if above < quantile and high < cells:
        low, high = high, cells
        above = _spent_within(horizon_h, balance, rate, variance)
    if above < quantile:
        return -1.0
    guess = np.floor(_passed(first_z, balance, rate, variance) / cell)
    here, chance, turn = high, above, 0
    while high - low > 1.0:
        guess = guess if guess > low else low + 1.0
        guess = guess if guess < high else high - 1.0
        other, others = here, chance
        here, chance = guess, _spent_within(guess * cell, balance, rate, variance)
        if chance < quantile:
            low = here
        else:
            high = here
        turn += 1
        guess = np.ceil(here - (chance - quantile) * (here - other) / (chance - others))
        if turn > SECANTS and turn % 2 == 0:
            guess = np.floor(0.5 * (low + high))
    return high


@njit(cache=True, nogil=True)
def _run_out(
    balance: Any, rate: Any, variance: Any, horizon_h: float, within_h: float, quantile: float,
    last_z: float, first_z: float, expected: Any, early: Any, chance: Any,
) -> None:  # fmt: skip
    for r in range(len(balance)):
        if not balance[r] > 0.0:
            missing = balance[r] != balance[r]
            expected[r] = early[r] = np.nan if missing else 0.0
            chance[r] = np.nan if missing else 1.0
            continue
        expected[r] = early[r] = horizon_h
        chance[r] = 0.0
        if not rate[r] > 0.0:
            continue
        if balance[r] < rate[r] * horizon_h:
            expected[r] = balance[r] / rate[r]
        if within_h > 0.0:
            chance[r] = _spent_within(within_h, balance[r], rate[r], variance[r])
        if quantile == 0.0:
            early[r] = 0.0
            continue
        cells = _cells_until(balance[r], rate[r], variance[r], horizon_h, quantile, last_z, first_z)
        if cells >= 0.0:
            early[r] = cells * (horizon_h / 2.0**HALVINGS)


def _normals(quantile: float) -> tuple[float, float]:
    """Return z with a ``Phi(-z)`` of a little more than the quantile, and of less than half it."""
    if quantile == 0.0:
        return 0.0, 0.0
    most = min(quantile * (1.0 + WIDER), 0.5 + 0.5 * quantile)
    least = max(0.5 * quantile * (1.0 - WIDER), math.ulp(0.0))
    normal = NormalDist()
    return -normal.inv_cdf(min(most, math.nextafter(1.0, 0.0))), -normal.inv_cdf(least)


def run_out_cpu(
    balance: Any, rate: Any, variance: Any, horizon_h: float, within_h: float, quantile: float
) -> Any:
    """Return when each balance is spent: expected, at a quantile, and how likely within a time.

    Spending is taken as a random walk with drift ``rate`` and ``variance`` per hour (Brownian
    motion). The time until it has used up the balance B is inverse Gaussian:
    ``P(T <= h) = Phi((rate h - B) / s) + exp(2 rate B / variance) Phi(-(rate h + B) / s)`` with
    ``s = sqrt(variance h)``; its mean is ``B / rate``, and without variance it is that. Phi has a
    relative error of 1.2e-7.

    Args:
        balance: [R] float64, money; NaN is unknown.
        rate: [R] float64, mean spend, money per hour, >= 0.
        variance: [R] float64, variance of spend, money ** 2 per hour, >= 0.
        horizon_h: longest time told, h, > 0.
        within_h: time whose probability is wanted, h, >= 0; of 0 it is 0.
        quantile: share of the time distribution, >= 0 and < 1; its time is 0 for 0.

    Returns:
        expected: [R] float64, mean time, h, at most the horizon, and the horizon without spend.
        early: [R] float64, time by which the balance is spent with probability ``quantile``, h,
            at most the horizon; exact to horizon / 2 ** 30, of which it is a whole number.
        chance: [R] float64, probability that it is spent within ``within_h``; 0 without spend.
        A balance of 0 or below is spent: 0, 0 and 1. All are NaN where the balance is.

    Source:
        Schroedinger, Physikalische Zeitschrift 16, 1915; Chhikara and Folks, The Inverse Gaussian
        Distribution, 1989, section 2.4. Phi: Press et al., Numerical Recipes in C, 1992, erfcc.
    """
    out = tuple(np.empty(len(balance)) for _ in range(3))
    arrays = backend.read_only(balance, rate, variance)
    numbers = float(horizon_h), float(within_h), float(quantile), *_normals(quantile)

    def work(begin: int, end: int) -> None:
        _run_out(*(a[begin:end] for a in arrays), *numbers, *(a[begin:end] for a in out))

    each_chunk(len(balance), work, LIGHT_CHUNK)
    return out


def run_out_gpu(
    balance: Any, rate: Any, variance: Any, horizon_h: float, within_h: float, quantile: float
) -> Any:
    rows = len(balance)
    out = tuple(backend.cupy.empty(rows, np.float64) for _ in range(3))
    kernel = backend.cuda_function("run_out", "run_out")
    numbers = map(np.float64, (horizon_h, within_h, quantile, *_normals(quantile)))
    backend.launch(kernel, rows, balance, rate, variance, *numbers, np.int64(rows), *out)
    return out


run_out = backend.twin(run_out_cpu, run_out_gpu, dtypes=("float64",) * 3)
