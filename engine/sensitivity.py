"""How long prices hold when one limit changes.

The price of limit k is the slope of the best value in it, up to the gap, and never rises with the
limit: the dual is convex. So a range of one limit at whose ends the price is within a share of
what it is now is one in which it is so all along. With H the dual's curvature among the limits
that cost something, d price / d limit = - (inverse of H)_kk: that foretells the ends. It is an
estimate, for the near ties are counted and not followed; :func:`told` verifies it by solving for
the prices at the ends.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from engine import asked
from engine.errors import ConfigError
from engine.limits import MICRO, micro
from engine.oracle import Oracle
from engine.problem import Problem
from engine.scatter import invert
from engine.stop import Deadline
from engine.warm import Start, prices_from

SHARE = 0.05  # that a price may move and is said to hold
FARTHEST = 0.5  # of a limit: no range is said to be wider, to either side
AROUND = 0.02  # typical values: whose margin is above is not asked for the curvature
TRIES = 3  # at each end of a range, each half as far as the one before
FEWEST, NARROWEST = 200, 1e-4  # near ties of a curvature; its first bandwidth, in typical values


@dataclass(frozen=True)
class Sensitivity:
    """The price of one limit, and the range of the limit over which it holds, others unchanged."""

    name: str
    limit: float  # units of the measure; of a minimum the least use
    use: float  # units, of the allocation
    slack: float  # units that the allocation leaves; of a minimum those above it
    price: float  # money that a unit more is worth (of a minimum: a unit less)
    holds_from: float  # units
    holds_to: float  # units; inf: however far
    price_from: float  # money, at holds_from
    price_to: float  # money, at holds_to
    is_verified: bool  # whether the prices at the ends were solved for


def foretold(oracle: Oracle, prices: Any, *, share: float = SHARE) -> tuple[Any, Any]:
    """Return [K] how far each limit may fall, and rise, while its price holds: an estimate.

    A limit that costs nothing may fall to what the best bundles use, and rise for ever; one that is
    passed, at its penalty, may rise to their use, and fall for ever.

    Args:
        oracle: over all subscribers.
        prices: [K] float64, near the dual's minimum.
        share: that a price may move.

    Returns:
        fall and rise, [K] float64 each, >= 0, units.
    """
    survey = oracle.survey(prices, oracle.nowhere + AROUND * oracle.typical)
    use, near = survey.evaluation.use_in_all, oracle.narrowed(survey)
    bandwidth, ties, curvature = NARROWEST * oracle.typical, 0, np.zeros((0, 0))
    while ties < min(FEWEST, near.subscribers) and bandwidth <= AROUND * oracle.typical:
        _, curvature, ties = near.curve(prices, bandwidth)
        bandwidth *= 2.0
    fall = rise = np.full(len(prices), 0.0)
    if ties:
        inverse, free = (
            np.zeros((len(prices), len(prices))),
            np.flatnonzero((prices > 0) & (prices < oracle.range[1])),
        )
        invert(curvature, free, inverse)
        bend = np.diag(inverse) / oracle.scale**2  # money by which a price falls with a unit
        most = FARTHEST * np.abs(oracle.limit)
        able = (prices > 0) & (bend > 0)
        fall = np.where(able, np.minimum(share * prices / np.where(able, bend, 1.0), most), 0.0)
        rise = fall
    is_free, is_passed = prices == 0, prices >= oracle.range[1]
    fall = np.where(is_free, np.maximum(oracle.limit - use, 0.0), fall)
    rise = np.where(is_passed, np.maximum(use - oracle.limit, 0.0), rise)
    return np.where(is_passed, np.inf, fall), np.where(is_free, np.inf, rise)


def ranges(
    problem: Problem, prices: Any, fall: Any, rise: Any
) -> dict[str, tuple[float, float] | None]:
    """Return the range of each limit whose rows fall and rise by so much, as people know it.

    Of a limit that costs nothing one end is open: inf for others, for a minimum 0, or -inf where it
    is below 0. None: not told, for a ratio, and for an equation that costs nothing.
    """
    found: dict[str, tuple[float, float] | None] = {}
    for name, rows in asked.named(problem.rows).items():
        ends = _ends(problem, rows, prices, fall, rise)
        found[name] = None if ends is None else _in_units(problem, rows[0], *ends)
    return found


def told(
    full: Oracle, here: Start, use: Any, names: Iterable[str] | None, *, share: float,
    seconds: float | None,
) -> list[Sensitivity]:  # fmt: skip
    """Return, for limits of an answer, the price and the range over which it holds.

    The range is an interval of that limit alone, all others as they are, at whose ends the
    price differs by no more than ``share`` from the price now; prices never rise with a limit,
    so it does so all along. The ends are foretold from the curvature and, within ``seconds``, the
    prices there are solved for; an end that fails is drawn in by half, ``TRIES`` times at most,
    then the range ends at the limit. A limit that costs nothing does so down to the use of the best
    bundles, and one that is passed costs its penalty up to there: that needs no proof. Each try
    costs between one and two passes.

    Args:
        full: the oracle over all subscribers.
        here: the answer's prices.
        use: [K] what the answer uses, as limits are stored.
        names: of the limits; None: all but ratios and fatigue.
        share: that the price may move.
        seconds: for the prices at an end; None: they are not solved for.

    Raises:
        ConfigError: a name is no limit's, or a ratio's, or fatigue's.
    """
    problem = full.problem
    have = asked.named(problem.rows)
    why = {
        name: "a ratio, got no range; ask for a frontier of it"
        for name in have
        if problem.rows[have[name][0]].quotient is not None
    }
    why |= dict.fromkeys(asked.costs(problem), "a cost, no limit: its price is always 1")
    wanted = [name for name in have if name not in why] if names is None else list(names)
    problems = asked.unknown(wanted, problem.rows, "sensitivity")
    problems += [f"sensitivity.{name}: is {why[name]}" for name in wanted if name in why]
    if problems:
        raise ConfigError.of(problems)
    fall, rise = foretold(full, here.prices, share=share)
    search = _Search(full, here, share, seconds)
    return [search.told(name, have[name], use, fall, rise) for name in wanted]


@dataclass(frozen=True, eq=False)
class _Search:
    full: Oracle
    here: Start
    share: float
    seconds: float | None

    def told(self, name: str, rows: tuple[int, ...], use: Any, fall: Any, rise: Any) -> Sensitivity:
        problem, prices = self.full.problem, self.here.prices
        k = rows[0]
        row, price = problem.rows[k], self.price(rows, prices)
        stored = int(problem.limit[k]) / MICRO
        ends = _ends(problem, rows, prices, fall, rise) or (0.0, 0.0)
        needs_proof = bool((prices[list(rows)] > 0).any()) and price < self.full.range[1][k]
        to = list(ends)
        there = [price, price]
        if self.seconds is not None and needs_proof:
            for i, side in enumerate((-1.0, 1.0)):
                to[i], there[i] = self.verified(rows, side, ends[i])
        low, high = _in_units(problem, k, *to)
        if row.is_minimum:
            there.reverse()
        sign = -1.0 if row.is_minimum else 1.0
        return Sensitivity(
            name, asked.amount(problem, name), sign * float(use[k]) / row.scale + 0.0,
            (stored - float(use[k])) / row.scale, price * row.scale, low, high,
            there[0] * row.scale, there[1] * row.scale,
            self.seconds is not None or not needs_proof,
        )  # fmt: skip

    def price(self, rows: tuple[int, ...], prices: Any) -> float:
        """Return the price of a limit's form; of an equation that of its upper side."""
        return float(prices[rows[0]]) - sum(float(prices[k]) for k in rows[1:])

    def verified(self, rows: tuple[int, ...], side: float, width: float) -> tuple[float, float]:
        """Return how far to one side the price is proved to hold, and the price there."""
        price = self.price(rows, self.here.prices)
        for _ in range(TRIES):
            there = self.price(rows, self.prices(rows, side * width))
            if abs(there - price) <= self.share * abs(price):
                return width, there
            width /= 2.0
        return 0.0, price

    def prices(self, rows: tuple[int, ...], more: float) -> Any:
        """Return the prices where a limit is by so much higher."""
        problem, sample = self.full.problem, self.here.sample
        limits = problem.limit.copy()
        limits[rows[0]] += micro(more)
        for k in rows[1:]:
            limits[k] -= micro(more)
        other = replace(problem, limit=limits)
        start = replace(self.here, sample=sample.under(other) if sample else None)
        return prices_from(self.full.under(other), start, deadline=Deadline(self.seconds or 0.0))


def _ends(
    problem: Problem, rows: tuple[int, ...], prices: Any, fall: Any, rise: Any
) -> tuple[float, float] | None:
    """Return how far a limit falls and rises, as its first row is stored; None: not told."""
    if problem.rows[rows[0]].quotient is not None:
        return None
    for k in rows:
        if len(rows) == 1 or prices[k] > 0:
            ends = float(fall[k]), float(rise[k])
            return ends if k == rows[0] else ends[::-1]
    return None


def _in_units(problem: Problem, k: int, down: float, up: float) -> tuple[float, float]:
    """Return the range of row k that falls and rises by so much, in units of its measure."""
    row = problem.rows[k]
    stored = int(problem.limit[k]) / MICRO
    low, high = (stored - down) / row.scale, (stored + up) / row.scale
    if row.is_minimum:
        low, high = -high, -low
    is_loss = (-stored if row.is_minimum else stored) < 0  # of a value: it may be any
    return low if is_loss else max(0.0, low), high
