"""What a subscriber is still worth: BG/NBD for the transactions, Gamma-Gamma for the spend."""

import math
from typing import Any

import numpy as np
from numba import njit

from kernels import backend
from kernels.exponential import exponential
from kernels.logarithm import logarithm_1p
from kernels.threads import each_chunk

STEPS = 12  # of the horizon
MOST_TERMS = 1_000_000
ENOUGH = 2.0**-53  # of a series: its rest is no more
MOST_EXPONENT = 700.0  # a probability below 1e-300 is next to 0
NEAR = 0.5  # where 1 - exp(-y) would lose digits
FADING = tuple(1.0 / math.factorial(n) for n in range(15, 0, -1))
"""Factors of the series of it there, the highest first; the next term is below 2 ** -59."""


@njit(cache=True, nogil=True, error_model="numpy")
def _mean_fading(y: float, faded: float) -> float:
    """Return ``(1 - exp(-y)) / y``; ``faded`` is ``exp(-y)``."""
    series = 0.0
    for factor in FADING:
        series = factor - y * series
    return (1.0 - faded) / y if abs(y) > NEAR else series


@njit(cache=True, nogil=True, error_model="numpy")
def _by_purchases(
    s: float, b: float, bottom: float, z: Any, scaled: Any, term: Any, found: Any
) -> None:
    """Add positive terms: the chance of n purchases, times those made before dropping out."""
    made, share = 0.0, 1.0
    for i in range(STEPS):
        term[i] = exponential(-s * scaled[i])
        found[i] = 0.0
    for n in range(1, MOST_TERMS):
        made += share
        share *= (b + (n - 1.0)) / (bottom + (n - 1.0))
        factor = (s + (n - 1.0)) / n
        for i in range(STEPS):
            term[i] *= factor * z[i]
            found[i] += term[i] * made
        # Further ratios of terms are at most this, so the rest is at most a geometric series.
        ratio = z[STEPS - 1] * max((s + n) / n, 1.0)
        if term[STEPS - 1] * made * ratio <= ENOUGH * found[STEPS - 1] * (1.0 - ratio):
            break


@njit(cache=True, nogil=True, error_model="numpy")
def _by_dropout(
    low: float, a: float, bottom: float, z: Any, scaled: Any, term: Any, total: Any, found: Any
) -> None:  # fmt: skip
    """Add a series whose length does not depend on how many transactions there were."""
    for i in range(STEPS):
        y = (a - 1.0) * scaled[i]
        faded = exponential(-y)
        found[i] = (bottom - 1.0) * scaled[i] * _mean_fading(y, faded)
        term[i] = total[i] = low * z[i] * faded
    n, last = 0.0, z[STEPS - 1]
    while n < MOST_TERMS:  # two terms at a time
        factor = (low + (n + 1.0)) * (a + n) / ((bottom + n) * (n + 2.0))
        n += 1.0
        further = (low + (n + 1.0)) * (a + n) / ((bottom + n) * (n + 2.0))
        n += 1.0
        for i in range(STEPS):
            one = term[i] * (factor * z[i])
            term[i] = one * (further * z[i])
            total[i] += one + term[i]
        later = last * max(a + n, n + 2.0)
        if low + (n + 1.0) > 0.0 and (
            abs(term[STEPS - 1]) * later <= ENOUGH * abs(total[STEPS - 1]) * (n + 2.0 - later)
        ):
            break
    for i in range(STEPS):
        found[i] -= total[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _lifetime(
    events: Any, recency: Any, age: Any, spent: Any, model: Any, alive: Any, expected: Any,
    spend: Any, value: Any,
) -> None:  # fmt: skip
    shape, alpha, a, b = model[0], model[1], model[2], model[3]
    z, scaled, term = np.empty(STEPS), np.empty(STEPS), np.empty(STEPS)
    total, found = np.empty(STEPS), np.empty(STEPS)
    for row in range(len(events)):
        alive[row] = expected[row] = spend[row] = value[row] = np.nan
        if not events[row] >= 1.0:
            continue
        x, scale = events[row] - 1.0, alpha + age[row]
        s, chance = shape + x, 1.0
        if x > 0.0:
            late = s * logarithm_1p(recency[row] / (alpha + (age[row] - recency[row])))
            chance = 1.0 / (1.0 + a / (b + x - 1.0) * exponential(min(late, MOST_EXPONENT)))
        for i in range(STEPS):
            days = model[7] * (i + 1.0) / STEPS
            z[i] = days / (scale + days)
            scaled[i] = logarithm_1p(days / scale)
        low = a + b - 1.0 - shape
        if low < 0.0 and x <= shape:
            _by_purchases(s, b + x, a + b + x, z, scaled, term, found)
        else:
            _by_dropout(low, a, a + b + x, z, scaled, term, total, found)
        fading, discounted, before = 1.0, 0.0, 0.0
        for i in range(STEPS):
            fading *= model[8]
            discounted += (found[i] - before) * fading
            before = found[i]
        alive[row], expected[row] = chance, chance * found[STEPS - 1]
        spend[row] = model[4] * (model[6] + spent[row]) / (model[4] * events[row] + model[5] - 1.0)
        value[row] = chance * discounted * spend[row]


def lifetime_cpu(events: Any, recency: Any, age: Any, spent: Any, model: Any) -> Any:
    """Return what each row's subscriber will do and be worth within a horizon.

    BG/NBD: transactions of a subscriber come at a rate of their own, Gamma(r, alpha) over
    subscribers, until one drops out, after each transaction with a probability of their own,
    Beta(a, b). With x = events - 1 repeat transactions, the last one t_x after the first, seen for
    T days, ``P(alive) = 1 / (1 + a / (b + x - 1) * ((alpha + T) / (alpha + t_x)) ** (r + x))``, and
    1 when x is 0. With z = t / (alpha + T + t), one who is alive is expected to make
    ``Y(t) = c / (a - 1) * (1 - (1 - z) ** (r + x) * F(r + x, b + x; c; z))`` transactions within t
    days, c being a + b + x - 1 and F the hypergeometric function 2F1. Gamma-Gamma: amounts of a
    subscriber are Gamma(p, nu), nu being Gamma(q, gamma) over subscribers, so that the mean amount
    is expected to be ``p * (gamma + spent) / (p * events + q - 1)``. The value of a horizon H is
    ``P(alive) * mean amount * sum over i = 1..12 of (Y(i H / 12) - Y((i - 1) H / 12)) * d ** i``.

    Y is summed without its singularities at a = 1 and c = 0: with s = r + x either as
    ``(1 - z) ** s * sum_n (s)_n / n! z ** n * sum_{k < n} (b + x)_k / (a + b + x)_k``, or after
    Euler's transformation, whose series is short for any x. A series ends when its rest is below
    2 ** -53 of it. The relative error is below 1e-9.

    Args:
        events: [R] float64, transactions, whole, the first included; up to 2 ** 53.
        recency: [R] float64, T - t_x, age of the last one, days, >= 0.
        age: [R] float64, T, age of the first one, days, >= recency.
        spent: [R] float64, amounts of all of them, money, >= 0.
        model: [9] float64: r, alpha (days), a, b, p, q, gamma (money), the horizon (days, at most
            1,000 alpha), the discount d of a twelfth of it, in (0, 1]; r in [0.001, 50], a and b in
            [0.001, 100], q > 1.

    Returns:
        alive: [R] float64, probability that the subscriber has not dropped out.
        transactions: [R] float64, expected within the horizon, >= 0.
        spend: [R] float64, expected money per transaction.
        value: [R] float64, expected discounted money within the horizon.
        All are NaN for a row without events.

    Source:
        Fader, Hardie and Lee, "Counting Your Customers the Easy Way: An Alternative to the
        Pareto/NBD Model", Marketing Science 24(2), 2005; Fader and Hardie, "The Gamma-Gamma Model
        of Monetary Value", 2013. Transformation: Abramowitz and Stegun, 15.3.3.
    """
    out = tuple(np.empty(len(events)) for _ in range(4))
    arrays = backend.read_only(events, recency, age, spent)
    (whole,) = backend.read_only(model)

    def work(begin: int, end: int) -> None:
        _lifetime(*(a[begin:end] for a in arrays), whole, *(a[begin:end] for a in out))

    each_chunk(len(events), work)
    return out


def lifetime_gpu(events: Any, recency: Any, age: Any, spent: Any, model: Any) -> Any:
    rows = len(events)
    out = tuple(backend.cupy.empty(rows, np.float64) for _ in range(4))
    kernel = backend.cuda_function("lifetime", "lifetime")
    backend.launch(kernel, rows, events, recency, age, spent, model, np.int64(rows), *out)
    return out


lifetime = backend.twin(lifetime_cpu, lifetime_gpu, dtypes=("float64",) * 5)
