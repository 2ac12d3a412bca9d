"""What-if questions to one base: its data stay in memory, and each answer begins at an earlier one.

The same questions in the same order give the same bits, for any order and any blocks of the
subscribers. An answer that began elsewhere may differ from it within the tolerance; what is
certified does not: no allocation is worth more than the bound, and the gap is what it says.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from engine import sensitivity as ranges
from engine.errors import ConfigError
from engine.explain import Explanation, explained, place_of
from engine.frontier import Point, monotone, point
from engine.limits import MICRO, micro
from engine.offer_oracle import OfferOracle
from engine.oracle import Oracle
from engine.problem import Problem, to_host
from engine.sensitivity import SHARE, Sensitivity, amount, in_units
from engine.settings.job import Solver
from engine.solve import Allocation, Status, solve_from
from engine.stop import Deadline, Stop
from engine.warm import Start, prices_from, sample_of
from engine.zoom import Tell
from kernels.backend import library

MOST_KNOWN = 64  # earlier answers whose prices are kept
TRIES = 3  # at each end of a range, each half as far as the one before
Reasons = Callable[[int, int], Sequence[str]]


@dataclass(frozen=True, eq=False)
class _Known:
    """The prices of an earlier answer."""

    rows: tuple[int, ...]  # of the base problem
    limit: Any  # [K] float64, units
    prices: Any  # [K]
    demand: Any  # [K] float64, units


class Session:
    """A problem in memory, and the prices of what has been asked."""

    def __init__(
        self, problem: Problem, settings: Solver | None = None, *, names: Sequence[str] = ()
    ) -> None:
        """Take in a problem; nothing is solved yet.

        Args:
            problem: the base; it is never changed.
            settings: of the solver; its defaults if left out.
            names: [A] of the actions, for people; empty: they are told by number.

        Raises:
            ConfigError: two limits of one name, or not as many names as actions.
        """
        self.problem, self.settings = problem, settings or Solver()
        self.rows = [row.name for row in problem.rows]
        twice = sorted({name for name in self.rows if self.rows.count(name) > 1})
        if twice:
            raise ConfigError(f"limits: named twice, got {', '.join(twice)}; name each once")
        self.names = list(names) or [f"action {a}" for a in range(len(problem.offer))]
        if len(self.names) != len(problem.offer):
            raise ConfigError(
                f"names: one of each of {len(problem.offer)} actions, got {len(self.names)}"
            )
        self._full = OfferOracle(problem, problem.blocks)
        self._sample = sample_of(self._full)
        self._known: list[_Known] = []
        self._last: tuple[Problem, tuple[int, ...], Allocation] | None = None

    def solve(
        self,
        limits: Mapping[str, float] | None = None,
        *,
        drop: Iterable[str] = (),
        tell: Tell = lambda step: None,
        stop: Stop | None = None,
    ) -> Allocation:
        """Return the best allocation under the base's limits, some of them changed or left out.

        Prices, uses and demand are of the limits that are kept, in the order of the base.

        Args:
            limits: new amounts by name, in the units of the measure; of a minimum the least use.
            drop: names of limits that do not hold.
            tell: as in :func:`engine.solve.solve`.
            stop: as in ``solve``.

        Raises:
            ConfigError: a name that is no limit's, or an amount that is no finite number >= 0.
            AllocationError: as in ``solve``.
        """
        problem, rows = self._changed(limits or {}, list(drop))
        full = self._full.under(problem)
        nearest = self._nearest(rows, full.limit)
        start = None if nearest is None else (lambda: self._start(nearest, rows, full))
        found = solve_from(full, self.settings, tell, start=start, stop=stop)
        if found.status != Status.INFEASIBLE:
            known = _Known(rows, full.limit, found.prices, found.demand)
            self._known = [*self._known, known][-MOST_KNOWN:]
        self._last = (problem, rows, found)
        return found

    def frontier(self, name: str, values: Iterable[float]) -> list[Point]:
        """Return the answers at several amounts of one limit, the lowest first.

        What is worth something at a tighter limit is allowed at a looser one, and a bound at a
        looser one holds at a tighter one: so values and bounds never fall as the limit loosens.

        Args:
            name: of the limit.
            values: its amounts, in the units of the measure.

        Raises:
            ConfigError: as in :meth:`solve`.
            AllocationError: as in :meth:`solve`.
        """
        amounts = sorted(set(map(float, values)))
        for value in amounts:
            self._changed({name: value}, [])
        points = []
        for value in amounts:
            found = self.solve({name: value})
            points.append(point(self.problem.rows, name, value, found))
        tightest = 1 if not amounts or not self._is_minimum(name) else -1
        return monotone(points[::tightest], self.settings.gap_tolerance)[::tightest]

    def explain(
        self, *, key: int | None = None, row: int | None = None, reasons: Reasons | None = None
    ) -> Explanation:
        """Explain what a subscriber gets in the last answer.

        Args:
            key: the subscriber's key, as in :class:`engine.problem.Block`; or else
            row: its position, all blocks one after the other.
            reasons: asked for block and row in it, answers for each action why it is not open.

        Raises:
            ConfigError: there is no answer yet, or no such subscriber.
        """
        problem, _, found = self._answered()
        b, position = place_of(problem.blocks, key=key, row=row)
        block = problem.blocks[b]
        one = to_host(block.take(library(block.propensity).asarray([position])))
        chosen = [int(a) for a in found.chosen[b][:, position] if a >= 0]
        told = reasons(b, position) if reasons else [""] * len(self.names)
        return explained(
            self._full.under(problem), found.prices, one, chosen=chosen, names=self.names,
            reasons=told,
        )  # fmt: skip

    def sensitivity(
        self, names: Iterable[str] | None = None, *, share: float = SHARE, verify: bool = True
    ) -> list[Sensitivity]:
        """Return, for limits of the last answer, the price and the range over which it holds.

        The range is an interval of that limit alone, all others as they are, at whose ends the
        price differs by no more than ``share`` from the price now; prices never rise with a limit,
        so it does so all along. The ends are foretold from the curvature (:func:`foretold` of
        :mod:`engine.sensitivity`) and, if ``verify``, the prices there are solved for; an end that
        fails is drawn in by half, ``TRIES`` times at most, then the range ends at the limit. A
        limit that costs nothing does so down to the use of the best bundles: that needs no proof.
        Each try costs between one and two passes.

        Args:
            names: of the limits; None: all.
            share: that the price may move.
            verify: whether to solve for the prices at the ends.

        Raises:
            ConfigError: there is no answer yet, limits conflict in it, or a name is not of it.
        """
        problem, rows, found = self._answered()
        if found.status == Status.INFEASIBLE:
            raise ConfigError("sensitivity: limits conflict in the last answer; relax one first")
        have = [row.name for row in problem.rows]
        asked = have if names is None else list(names)
        _refuse_unknown(asked, have, "sensitivity")
        full = self._full.under(problem)
        fall, rise = ranges.foretold(full, found.prices, share=share)
        here = Start(found.prices, found.demand, self._sample)
        return [
            self._range(k, (problem, found, here), (fall[k], rise[k]), share if verify else None)
            for k in map(have.index, asked)
        ]

    def _range(
        self, k: int, now: tuple[Problem, Allocation, Start], ends: tuple[float, float],
        share: float | None,
    ) -> Sensitivity:  # fmt: skip
        problem, found, here = now
        price, stored = float(found.prices[k]), float(problem.limit[k]) / MICRO
        to, there = [], []
        for side, end in zip((-1.0, 1.0), ends, strict=True):
            width, at = float(end), price
            if share is not None and price > 0.0:
                width, at = self._verified(k, (side, width, share), problem, here)
            to.append(stored + side * width)
            there.append(at)
        limit, use = amount(problem, k), float(found.use[k])
        (low, high), slack = in_units(problem, k, *to), stored - use
        if problem.rows[k].is_minimum:
            there.reverse()
            use = -use
        return Sensitivity(
            problem.rows[k].name, limit, use, slack, price, low, high, there[0], there[1],
            share is not None or price == 0.0,
        )  # fmt: skip

    def _verified(
        self, k: int, asked: tuple[float, float, float], problem: Problem, here: Start
    ) -> tuple[float, float]:
        """Return how far to one side the price is proved to hold, and the price there."""
        side, width, share = asked
        price, stored = float(here.prices[k]), float(problem.limit[k]) / MICRO
        for _ in range(TRIES):
            there = self._price(k, stored + side * width, problem, here)
            if abs(there - price) <= share * price:
                return width, there
            width /= 2.0
        return 0.0, price

    def _price(self, k: int, limit: float, problem: Problem, here: Start) -> float:
        """Return the price of limit k at another amount."""
        limits = problem.limit.copy()
        limits[k] = micro(limit)
        other = replace(problem, limit=limits)
        start = replace(here, sample=self._sample.under(other) if self._sample else None)
        deadline = Deadline(self.settings.time_limit_s)
        return float(prices_from(self._full.under(other), start, deadline=deadline)[k])

    def _is_minimum(self, name: str) -> bool:
        return self.problem.rows[self.rows.index(name)].is_minimum

    def _answered(self) -> tuple[Problem, tuple[int, ...], Allocation]:
        if self._last is None:
            raise ConfigError("session: nothing has been solved yet; call solve() first")
        return self._last

    def _changed(
        self, limits: Mapping[str, float], drop: list[str]
    ) -> tuple[Problem, tuple[int, ...]]:
        """Return the problem asked for, and which of the base's limits it has."""
        _refuse_unknown([*limits, *drop], self.rows, "limits")
        both = sorted(set(limits) & set(drop))
        if both:
            raise ConfigError(f"limits: both changed and dropped, got {', '.join(both)}")
        limit = self.problem.limit.copy()
        for name, value in limits.items():
            if not (np.isfinite(value) and 0 <= value <= 1e12):
                raise ConfigError(f"limits.{name}: must be a number from 0 to 1e12, got {value}")
            k = self.rows.index(name)
            limit[k] = micro(-value if self.problem.rows[k].is_minimum else value)
        rows = tuple(k for k, name in enumerate(self.rows) if name not in drop)
        return replace(self.problem, limit=limit).with_rows(rows), rows

    def _nearest(self, rows: tuple[int, ...], limit: Any) -> _Known | None:
        """Return the earlier answer of the same limits whose amounts are nearest, else the last."""
        same = [known for known in self._known if known.rows == rows]
        if not same:
            return self._known[-1] if self._known else None
        scale = self._full.scale[list(rows)]
        apart = [float((np.abs(known.limit - limit) / scale).sum()) for known in same]
        return same[len(apart) - 1 - int(np.argmin(apart[::-1]))]  # of equals the latest

    def _start(self, known: _Known, rows: tuple[int, ...], full: Oracle) -> Start:
        if known.rows == rows:
            sample = self._sample.under(full.problem) if self._sample else None
            return Start(known.prices, known.demand, sample)
        prices = dict(zip(known.rows, known.prices.tolist(), strict=True))
        return Start.at(full, np.array([prices.get(k, 0.0) for k in rows]))


def _refuse_unknown(names: Iterable[str], known: Sequence[str], where: str) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(
            f"{where}: unknown, got {', '.join(unknown)}; the limits are {', '.join(known)}"
        )
