"""What-if questions to one base: its data stay in memory, and each answer begins at an earlier one.

The same questions in the same order give the same bits, for any order and any blocks of the
subscribers. An answer that began elsewhere may differ from it within the tolerance; what is
certified does not: no allocation is worth more than the bound, and the gap is what it says.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from engine import asked
from engine import sensitivity as ranges
from engine.block import to_host
from engine.errors import ConfigError
from engine.explain import Explanation, explained, place_of
from engine.frontier import Point, monotone, point
from engine.oracle import Oracle
from engine.problem import Problem
from engine.sensitivity import SHARE, Sensitivity
from engine.settings.job import Solver
from engine.solve import Allocation, Status, solve_from
from engine.spread_oracle import offer_oracle
from engine.stop import Stop
from engine.warm import Start, sample_of
from engine.zoom import Tell
from kernels.backend import library

MOST_KNOWN = 64  # earlier answers whose prices are kept
Reasons = Callable[[int, int, Sequence[int]], Sequence[str]]
"""Block, row in it and its best bundle: for each action what closes it, or keeps it out of that."""


@dataclass(frozen=True, eq=False)
class _Known:
    """The prices of an earlier answer."""

    rows: tuple[int, ...]  # of the base problem
    amounts: Any  # of its limits, units of their measures
    prices: Any  # [K]
    total: Any  # of the best bundles there


class Session:
    """A problem in memory, and the prices of what has been asked."""

    def __init__(
        self, problem: Problem, settings: Solver | None = None, *, names: Sequence[str] = (),
        measured: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """Take in a problem; nothing is solved yet.

        Args:
            problem: the base; it is never changed.
            settings: of the solver; its defaults if left out.
            names: [A] of the actions, for people; empty: they are told by number.
            measured: of the constraints that are only measured, to say so when they are asked for.

        Raises:
            ConfigError: two limits of one name, or not as many names as actions.
        """
        self.problem, self.settings = problem, settings or Solver()
        self.limits, self.measured = list(asked.named(problem.rows)), list(measured)
        self.names = list(names) or [f"action {a}" for a in range(len(problem.offer))]
        if len(self.names) != len(problem.offer):
            raise ConfigError(
                f"names: one of each of {len(problem.offer)} actions, got {len(self.names)}"
            )
        self._full = offer_oracle(problem)
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
            ConfigError: a name that is no limit's, or an amount that it may not have.
            AllocationError: as in ``solve``.
        """
        problem, rows = self._changed(limits or {}, list(drop))
        full = self._full.under(problem)
        amounts = np.array([asked.amount(problem, name) for name in asked.named(problem.rows)])
        nearest = self._nearest(rows, amounts)
        start = None if nearest is None else (lambda: self._start(nearest, rows, full))
        found = solve_from(full, self.settings, tell, start=start, stop=stop)
        if found.status != Status.INFEASIBLE:
            found = replace(found, prices=asked.netted(problem.rows, found.prices))
            known = _Known(rows, amounts, found.prices, found.total)
            self._known = [*self._known, known][-MOST_KNOWN:]
        self._last = (problem, rows, found)
        return found

    def frontier(self, name: str, values: Iterable[float]) -> list[Point]:
        """Return the answers at several amounts of one limit, the lowest first.

        What is worth something at a tighter limit is allowed at a looser one, and a bound at a
        looser one holds at a tighter one: so values and bounds never fall as the limit loosens.
        Of an equation, and of a soft ratio, no amount is tighter: there each answer is by itself.

        Args:
            name: of the limit.
            values: its amounts, in the units of the measure.

        Raises:
            ConfigError: as in :meth:`solve`.
            AllocationError: as in :meth:`solve`.
        """
        amounts: list[float] = list(values)
        problems = asked.unknown([name], self.problem.rows, "frontier", self.measured)
        for value in () if problems else amounts:
            try:
                self._changed({name: value}, [])
            except ConfigError as error:
                problems.append(str(error))
        if problems:
            raise ConfigError.of(problems)
        amounts, points = sorted(set(map(float, amounts))), []
        for value in amounts:
            found = self.solve({name: value})
            points.append(point(self._answered()[0], name, value, found))
        tightest = asked.loosens(self.problem, name) if amounts else 0
        if not tightest:
            return points
        return monotone(points[::tightest], self.settings.gap_tolerance)[::tightest]

    def explain(
        self, *, key: int | None = None, row: int | None = None, reasons: Reasons | None = None
    ) -> Explanation:
        """Explain what a subscriber gets in the last answer.

        Args:
            key: the subscriber's key, as in :class:`engine.problem.Block`; or else
            row: its position, all blocks one after the other.
            reasons: what knows the policies by name.

        Raises:
            ConfigError: there is no answer yet, or no such subscriber.
        """
        problem, _, found = self._answered()
        blocks = list(problem.blocks)
        b, position = place_of(blocks, key=key, row=row)
        block = blocks[b]
        one = to_host(block.take(library(block.propensity).asarray([position])))
        chosen = [int(a) for a in found.chosen[b][:, position] if a >= 0]
        told = partial(reasons, b, position) if reasons else None
        others = list(self.mates(b, position).values())
        return explained(
            self._full.under(problem), found.prices, one, chosen=chosen, names=self.names,
            reasons=told, others=others,
        )  # fmt: skip

    def mates(self, b: int, row: int) -> dict[int, tuple[int, ...]]:
        """Return what the others of a household get in the last answer, by row of their block.

        Args:
            b: the block.
            row: of a subscriber in it.
        """
        problem, _, found = self._answered()
        block, rows = list(problem.blocks)[b], []
        if len(block.household) and int(block.household[0, row]) >= 0:
            is_of_it = block.household[0] == block.household[0, row]
            rows = [int(s) for s in library(block.key).flatnonzero(is_of_it) if s != row]
        chosen = found.chosen[b]
        return {s: tuple(sorted(int(a) for a in chosen[:, s] if a >= 0)) for s in rows}

    def sensitivity(
        self, names: Iterable[str] | None = None, *, share: float = SHARE, verify: bool = True
    ) -> list[Sensitivity]:
        """Return, for limits of the last answer, the price and the range over which it holds.

        As :func:`engine.sensitivity.told`; the ranges of ratios are not told.

        Args:
            names: of the limits; None: all but ratios and fatigue.
            share: that the price may move.
            verify: whether to solve for the prices at the ends.

        Raises:
            ConfigError: there is no answer yet, limits conflict in it, or a name is not of it.
        """
        problem, _, found = self._answered()
        if found.status == Status.INFEASIBLE:
            raise ConfigError("sensitivity: limits conflict in the last answer; relax one first")
        full = self._full.under(problem)
        sample = self._sample.under(problem) if self._sample else None
        here = Start.known(full, found.prices, found.total, sample)
        time = self.settings.time_limit_s if verify else None
        return ranges.told(full, here, found.use, names, share=share, seconds=time)

    def _answered(self) -> tuple[Problem, tuple[int, ...], Allocation]:
        if self._last is None:
            raise ConfigError("session: nothing has been solved yet; call solve() first")
        return self._last

    def _changed(
        self, limits: Mapping[str, float], drop: list[str]
    ) -> tuple[Problem, tuple[int, ...]]:
        """Return the problem asked for, and which of the base's limits it has."""
        return asked.changed(self.problem, limits, drop, self.measured)

    def _nearest(self, rows: tuple[int, ...], amounts: Any) -> _Known | None:
        """Return the earlier answer of the same limits whose amounts are nearest, else the last."""
        same = [known for known in self._known if known.rows == rows]
        if not same:
            return self._known[-1] if self._known else None
        apart = [_apart(known.amounts, amounts) for known in same]
        return same[len(apart) - 1 - int(np.argmin(apart[::-1]))]  # of equals the latest

    def _start(self, known: _Known, rows: tuple[int, ...], full: Oracle) -> Start:
        prices = dict(zip(known.rows, known.prices.tolist(), strict=True))
        now = np.array([prices.get(k, 0.0) for k in rows])
        is_gone = any(prices[k] > 0.0 for k in known.rows if k not in rows)
        if is_gone or (now < full.range[0]).any():
            return Start.at(full, now)
        sample = self._sample.under(full.problem) if self._sample else None
        return Start.known(full, now, known.total, sample)


def _apart(one: Any, other: Any) -> float:
    """Return how far amounts are apart, each as a share of the larger."""
    size = np.maximum(np.maximum(np.abs(one), np.abs(other)), 1e-6)
    return float((np.abs(one - other) / size).sum())
