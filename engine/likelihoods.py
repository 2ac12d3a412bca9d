"""Log-likelihoods of transactions (BG/NBD) and of their amounts (Gamma-Gamma), with their slopes.

BG/NBD, for x repeat transactions, the last one t_x after the first, seen for T:

    L(r, alpha, a, b) = Gamma(r + x) alpha^r / Gamma(r) * B(a, b + x) / B(a, b) *
        ((alpha + T)^-(r + x) + [x > 0] a / (b + x - 1) * (alpha + t_x)^-(r + x))

Gamma-Gamma, for n transactions with the mean amount m:

    L(p, q, gamma) = Gamma(p n + q) / (Gamma(p n) Gamma(q)) * gamma^q m^(p n - 1) n^(p n) /
        (gamma + n m)^(p n + q)

What depends on the number of transactions alone is computed once for each number.

Source: Fader, Hardie and Lee, "Counting Your Customers the Easy Way", Marketing Science 24(2),
2005; Fader and Hardie, "The Gamma-Gamma Model of Monetary Value", 2013.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

Likelihood = Callable[..., tuple[float, Any]]
"""Parameters -> their log-likelihood and its slopes, in their order."""


def of_transactions(x: Any, t_x: Any, t: Any) -> Likelihood:
    """Return the log-likelihood of r, alpha, a and b.

    Args:
        x: [n] float64, repeat transactions.
        t_x: [n] float64, when the last one was, after the first.
        t: [n] float64, how long a subscriber was seen, in the unit of ``t_x``.
    """
    from scipy.special import gammaln, psi

    levels, place, number = np.unique(x, return_inverse=True, return_counts=True)
    repeating = levels > 0.0

    def likelihood(r: float, alpha: float, a: float, b: float) -> tuple[float, Any]:
        # What depends on x alone is found once for each x.
        more = np.where(repeating, b + levels - 1.0, 1.0)
        first = np.where(repeating, np.log(a / more), -np.inf)
        open_, ended = np.log(alpha + t), np.log(alpha + t_x)
        late = first[place] + (r + x) * (open_ - ended)  # log odds of having dropped out
        either = np.logaddexp(0.0, late)
        gone = np.exp(late - either)
        total = (either - (r + x) * open_).sum()
        each = gammaln(r + levels) - gammaln(r) + r * np.log(alpha)
        each += gammaln(a + b) + gammaln(b + levels) - gammaln(b) - gammaln(a + b + levels)
        out = np.bincount(place, gone)
        times = gone * np.exp(-ended) + (1.0 - gone) * np.exp(-open_)
        both = psi(a + b) - psi(a + b + levels)
        slopes = (
            (number * (psi(r + levels) - psi(r) + np.log(alpha))).sum()
            - (open_ + gone * (ended - open_)).sum(),
            len(x) * r / alpha - ((r + x) * times).sum(),
            (number * both + out / a).sum(),
            (number * (both + psi(b + levels) - psi(b)) - out / more).sum(),
        )
        return total + (number * each).sum(), np.array(slopes)

    return likelihood


def of_amounts(n: Any, m: Any) -> Likelihood:
    """Return the log-likelihood of p, q and gamma.

    Args:
        n: [n] float64, transactions, >= 1.
        m: [n] float64, their mean amount, > 0.
    """
    from scipy.special import gammaln, psi

    levels, number = np.unique(n, return_counts=True)
    money, spread, fixed = n * m, (n * np.log(n * m)).sum(), np.log(m).sum()

    def likelihood(p: float, q: float, gamma: float) -> tuple[float, Any]:
        logs = np.log(gamma + money)
        mixed, alone = gammaln(p * levels + q), gammaln(p * levels)
        total = (number * (mixed - alone)).sum() - len(n) * (gammaln(q) - q * np.log(gamma))
        total += p * spread - fixed - ((p * n + q) * logs).sum()
        ahead = psi(p * levels + q)
        slopes = (
            (number * levels * (ahead - psi(p * levels))).sum() + spread - (n * logs).sum(),
            (number * ahead).sum() - len(n) * (psi(q) - np.log(gamma)) - logs.sum(),
            len(n) * q / gamma - ((p * n + q) / (gamma + money)).sum(),
        )
        return total, np.array(slopes)

    return likelihood
