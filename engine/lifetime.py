"""The parameters of lifetime value, by maximum likelihood over a sample of subscribers.

The sample is drawn by a hash of the subscriber's key, and summed in the order of the draw, so that
the parameters do not depend on partitions, workers or the order of rows. Times are in units of the
mean T and money in that of the mean amount while the likelihood (:mod:`engine.likelihoods`) is
climbed, in the logarithms of the parameters, from two starts, within bounds in which
:func:`kernels.lifetime` is exact; of a large sample its first subscribers are climbed for first,
and all go on from there. A bound that is reached is told: ``at_bound``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from engine import tables
from engine.errors import DataError
from engine.likelihoods import Likelihood, of_amounts, of_transactions
from kernels import backend

FEW, MANY = 4_096, 4  # subscribers of a rough climb, where there are so many times as many
SEED = 2**32  # of the sample's draw; seeds of jobs, which draw the hold-out, are smaller
FEWEST = 30  # sampled subscribers with repeat transactions, and with money, that a fit needs
LONGEST = 1_000.0  # a horizon is at most so many times alpha
MOST_TURNS, FLAT = 1_000, 1e-5  # of a climb; a flat mean log-likelihood is at its top
ROUGH, CLOSE = (1e-9, 1e-5), (1e-15, 1e-9)  # relative gain and slope at which a climb ends
SHAPES = (1e-3, 50.0), (1e-3, 100.0), (1e-3, 100.0)  # of r, a, b
ALPHAS = 1e-6, 1e6  # in units of the mean T
SPENDS = (1e-2, 1e3), (1.01, 1e2), (1e-6, 1e6)  # of p, q, gamma in units of the mean amount
STARTS = (1.0, 1.0, 1.0, 1.0), (0.3, 0.2, 0.5, 3.0)  # r, alpha, a, b
SPEND_STARTS = (1.0, 2.0, 1.0), (5.0, 4.0, 3.0)  # p, q, gamma


@dataclass(frozen=True, eq=False)
class Sample:
    """Sampled subscribers with transactions: of a partition, or of all."""

    rows: Any  # [n, 5] float64: draw, events, recency and age (days), spent (money); sorted
    subscribers: int  # with transactions, sampled or not


@dataclass(frozen=True)
class Model:
    """The parameters, and what they were fitted to."""

    r: float
    alpha: float  # days
    a: float
    b: float
    p: float
    q: float
    gamma: float  # money
    log_likelihood: float  # of the BG/NBD, times in days
    spend_log_likelihood: float  # of the Gamma-Gamma
    sampled: int
    repeating: int  # of the sampled, with more than one transaction
    spending: int  # of the sampled, with money
    at_bound: tuple[str, ...]  # parameters that ended on a bound
    kind: Literal["lifetime_value"] = "lifetime_value"


@dataclass(frozen=True)
class Climbed:
    """The top of a likelihood."""

    parameters: Mapping[str, float]
    log_likelihood: float
    at_bound: tuple[str, ...]


def sampled(keys: Any, columns: Sequence[Any], most: int) -> Sample:
    """Return what a partition adds to the sample: its smallest draws, as many as all may be.

    Args:
        keys: the partition's subscribers, a series.
        columns: events, recency (days), age (days) and money of each, [S] float64.
        most: subscribers of the whole sample.
    """
    some = columns[0] > 0.0
    drawn = tables.unit_hash(keys, SEED)
    kept = [backend.to_cpu(column[some]) for column in (drawn, *columns)]
    return _smallest(np.stack(kept, axis=1), len(kept[0]), most)


def merged(parts: Sequence[Sample], most: int) -> Sample:
    """Return the sample of all partitions."""
    rows = np.concatenate([part.rows for part in parts])
    return _smallest(rows, sum(part.subscribers for part in parts), most)


def _smallest(rows: Any, subscribers: int, most: int) -> Sample:
    order = np.argsort(rows[:, 0])
    if not np.diff(rows[order, 0]).all():  # draws of two subscribers are hardly ever equal
        order = np.lexsort(rows.T[::-1])
    return Sample(rows[order[:most]], subscribers)


def fit(sample: Sample, horizon_days: float, where: str) -> Model:
    """Return the parameters that make a sample likeliest.

    Args:
        sample: of all partitions.
        horizon_days: the horizon, which bounds alpha from below.
        where: names the feature in errors.

    Raises:
        DataError: fewer than ``FEWEST`` sampled subscribers have repeat transactions, or money; or
            the likelihood has no top that can be found.
    """
    _, events, recency, age, spent = sample.rows.T
    repeating, spending = int((events > 1.0).sum()), int((spent > 0.0).sum())
    for number, what in ((repeating, "more than one transaction"), (spending, "a spend above 0")):
        if number < FEWEST:
            raise DataError(
                f"{where}: cannot be fitted: subscribers in the sample with {what} should be at "
                f"least {FEWEST}, got {number} of {len(events)}; take a table with more history, "
                "or leave the feature out"
            )
    came = transactions(events - 1.0, age - recency, age, where, least_alpha=horizon_days / LONGEST)
    some = spent > 0.0
    spend = amounts(events[some], spent[some] / events[some], where)
    shapes = {**came.parameters, **spend.parameters}
    return Model(
        r=shapes["r"],
        alpha=shapes["alpha"],
        a=shapes["a"],
        b=shapes["b"],
        p=shapes["p"],
        q=shapes["q"],
        gamma=shapes["gamma"],
        log_likelihood=came.log_likelihood,
        spend_log_likelihood=spend.log_likelihood,
        sampled=len(events),
        repeating=repeating,
        spending=spending,
        at_bound=came.at_bound + spend.at_bound,
    )


def transactions(
    repeats: Any, last: Any, age: Any, where: str, *, least_alpha: float = 0.0
) -> Climbed:
    """Fit r, alpha, a and b of the BG/NBD.

    Args:
        repeats: [n] float64, x.
        last: [n] float64, t_x, in a unit of time, at most ``age``.
        age: [n] float64, T, in the same unit; not all 0.
        where: names the feature in errors.
        least_alpha: least alpha, in the same unit.

    Raises:
        DataError: the likelihood has no top that can be found.
    """
    scale = float(age.mean())
    if not scale > 0.0:
        raise DataError(
            f"{where}: cannot be fitted: all transactions are at the as-of instant; take a table "
            "with more history, or leave the feature out"
        )

    def likelihood(some: slice) -> Likelihood:
        return of_transactions(repeats[some], last[some] / scale, age[some] / scale)

    least = max(ALPHAS[0], least_alpha / scale)
    bounds = {"r": SHAPES[0], "alpha": (least, ALPHAS[1]), "a": SHAPES[1], "b": SHAPES[2]}
    top = _climbed(likelihood, bounds, STARTS, (len(repeats), where))
    alpha = top.parameters["alpha"] * scale
    unscaled = top.log_likelihood - float(repeats.sum() * np.log(scale))
    return Climbed({**top.parameters, "alpha": alpha}, unscaled, top.at_bound)


def amounts(number: Any, mean: Any, where: str) -> Climbed:
    """Fit p, q and gamma of the Gamma-Gamma.

    Args:
        number: [n] float64, transactions of a subscriber, >= 1.
        mean: [n] float64, their mean amount, money, > 0.
        where: names the feature in errors.

    Raises:
        DataError: the likelihood has no top that can be found.
    """
    scale = float(mean.mean())

    def likelihood(some: slice) -> Likelihood:
        return of_amounts(number[some], mean[some] / scale)

    bounds = dict(zip(("p", "q", "gamma"), SPENDS, strict=True))
    top = _climbed(likelihood, bounds, SPEND_STARTS, (len(number), where))
    gamma = top.parameters["gamma"] * scale
    unscaled = top.log_likelihood - float(len(number) * np.log(scale))
    return Climbed({**top.parameters, "gamma": gamma}, unscaled, top.at_bound)


def _climbed(
    likelihood: Callable[[slice], Likelihood],
    bounds: Mapping[str, tuple[float, float]],
    starts: Sequence[Sequence[float]],
    named: tuple[int, str],
) -> Climbed:
    """Climb the log-likelihood of so many subscribers to its top, the best of all starts.

    If they are many, the starts are climbed from with a few, and all go on from the best end.
    """
    number, where = named
    with threadpool_limits(1, user_api="blas"):  # threads cost more than such small sums
        if number >= MANY * FEW:
            rough = _best(likelihood(slice(FEW)), bounds, starts, (FEW, *ROUGH))
            starts = [np.exp(rough.x).tolist()]
        best = _best(likelihood(slice(number)), bounds, starts, (number, *CLOSE))
    limits = np.log(list(bounds.values()))
    ends = (best.x <= limits[:, 0]) | (best.x >= limits[:, 1])
    if not np.abs(best.jac[~ends]).max(initial=0.0) <= FLAT:  # a NaN is no top either
        raise DataError(
            f"{where}: cannot be fitted: the likelihood has no top, got a slope of "
            f"{np.abs(best.jac[~ends]).max():.3g} after {best.nit} turns; take a table with more "
            "history, or leave the feature out"
        )
    values = dict(zip(bounds, np.exp(best.x).tolist(), strict=True))
    at_bound = tuple(name for name, end in zip(bounds, ends, strict=True) if end)
    return Climbed(values, float(-best.fun * number), at_bound)


def _best(
    likelihood: Likelihood,
    bounds: Mapping[str, tuple[float, float]],
    starts: Sequence[Sequence[float]],
    numbers: tuple[int, float, float],
) -> Any:
    """Climb in the logarithms of the parameters, from each start; return the best end.

    Numbers are how many subscribers there are, and the gain and slope of their mean at an end.
    """
    from scipy.optimize import minimize

    number, gain, slope = numbers
    limits = np.log(list(bounds.values()))

    def fallen(logs: Any) -> tuple[float, Any]:
        parameters = np.exp(logs)
        total, slopes = likelihood(*parameters)
        return -total / number, -slopes * parameters / number

    best = None
    for start in starts:
        first = np.clip(np.log(start), *limits.T)
        options = {"maxiter": MOST_TURNS, "ftol": gain, "gtol": slope}
        found = minimize(fallen, first, jac=True, method="L-BFGS-B", bounds=limits, options=options)
        if best is None or found.fun < best.fun:
            best = found
    return best
