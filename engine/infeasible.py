"""Why no allocation exists: a minimal set of limits in conflict, and what would resolve it.

Without values, D_0(prices) = prices . limit + sum_s max over X_s of (- prices . use) is never
negative when an allocation exists (weak duality, Farkas). So prices with D_0 < 0 prove that none
does, and limits with a zero price have no part in the proof. The rest is thinned out one by one.
With the price of one limit held at 1, the least D_0 is the limit less the least use that the
other limits allow: how far that limit alone must move. For small problems CP-SAT is asked too: it
also finds what is impossible only in whole contacts. How far a ratio must move is told in terms of
the ratio: the least ``of - ratio to`` that the other limits allow falls as the ratio rises, and is
0 at the one that is looked for.

Soft limits are left out: they can be passed.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Any

import numpy as np

from engine import exact
from engine.conflicts import UNKNOWN, Move, conflicts_of
from engine.conflicts import Conflict as Conflict
from engine.errors import DataError
from engine.forms import (
    AnyProblem,
    at_ratio,
    oracle_of,
    ratio_of,
    stated_amounts_of,
    stated_limits_of,
    use_units_of,
    without_value,
)
from engine.limits import MICRO
from engine.oracle import Oracle
from engine.prices import Dual, Evaluation, minimise_dual
from engine.problem import Row
from engine.stop import Deadline

EVALUATIONS = 150  # most passes of one search
EFFORT = 10.0  # CP-SAT's deterministic time of one question
NOISE = 1e-7  # a share of the limits: less is rounding, not conflict
MOST_DOUBLINGS, MOST_CUTS = 24, 24  # of the bracket around a ratio


def explain(problem: AnyProblem, *, small: bool, deadline: Deadline) -> list[Conflict]:
    """Return sets of limits in conflict, or nothing if no conflict is proved.

    A set is minimal, unless the deadline came before that was known: then it holds one that is.

    Sets are looked for one after the other among the limits that are in none yet. How far a limit
    must move is reckoned with the others of its set and the limits that are in no set.

    Args:
        problem: the allocation problem; its soft limits do not count.
        small: whether CP-SAT may be asked what the dual does not prove: whole contacts count.
        deadline: after it no further set is looked for, no limit thinned
            out and no relaxation computed.
    """
    if problem.penalty is not None:
        problem = problem.with_rows(np.flatnonzero(np.isinf(problem.penalty)).tolist())
    problem = without_value(problem)
    search = _Search(problem, small, deadline)
    free = list(range(len(problem.rows)))
    sets: list[tuple[list[int], bool]] = []
    while free and not (sets and search.is_late()):
        core, is_minimal = search.core(free)
        if not core:
            break
        sets.append((core, is_minimal))
        free = [k for k in free if k not in core]
    found = []
    for number, (core, is_minimal) in enumerate(sets, start=1):
        rows = sorted([*free, *core])
        within = _Search(search.part(rows), small, deadline)
        moves = []
        for k in core:
            amount = UNKNOWN if search.is_late() else within.relaxation(rows.index(k))
            moves.append(Move(problem, k, _limit_of(problem, k), amount))
        found += conflicts_of(number, moves, is_minimal=is_minimal)
    return found


def _limit_of(problem: AnyProblem, k: int) -> float:
    ratio = ratio_of(problem, k)
    return abs(float(stated_amounts_of(problem)[k])) if ratio is None else float(ratio)


@dataclass(frozen=True, eq=False)
class _Search:
    problem: AnyProblem  # without values
    small: bool
    deadline: Deadline

    def is_late(self) -> bool:
        return self.deadline.is_over()

    def seconds(self) -> float:
        return self.deadline.seconds()

    def part(self, rows: list[int]) -> AnyProblem:
        """Return the problem with these of its rows, in their order."""
        return self.problem if len(rows) == len(self.problem.rows) else self.problem.with_rows(rows)

    def core(self, rows: list[int]) -> tuple[list[int], bool]:
        """Return a set of these rows in conflict, empty if none is proved; whether minimal."""
        core = self.conflict(rows) or []
        for k in list(core):
            rest = [i for i in core if i != k]
            if rest and self.is_late():
                return core, False
            if rest and self.conflict(rest) is not None:
                core = rest
        return core, True

    def conflict(self, rows: list[int]) -> list[int] | None:
        """Return those of the rows that a proof of conflict needs, or None if none is found."""
        part = self.part(rows)
        oracle = oracle_of(part)
        scale = oracle.scale
        dual = self.least(part, oracle, (np.zeros(len(rows)), 1.0 / scale))
        own = np.abs(stated_amounts_of(part))  # the limits of the proof
        size = float((dual.prices * own).sum())
        if dual.bound < -NOISE * max(1.0, size):
            return [rows[i] for i in np.flatnonzero(dual.prices * scale > 1e-6)]
        if self.small:
            answer = exact.solve_exactly(part, slack=0, effort=EFFORT, seconds=self.seconds())
            return rows if answer.status == "INFEASIBLE" else None
        return None

    def relaxation(self, k: int) -> float | None:
        """Return by how many units limit k must be raised (a minimum: lowered), or None."""
        others = [i for i in range(len(self.problem.rows)) if i != k]
        if others and self.conflict(others) is not None:
            return None
        if self.small:
            if ratio_of(self.problem, k) is not None:
                return self._ratio_exactly(k)
            least = exact.least_use(self.problem, k, effort=EFFORT, seconds=self.seconds())
            if least is None:
                return UNKNOWN
            return (least - stated_limits_of(self.problem)[k]) / use_units_of(self.problem)[k]
        if ratio_of(self.problem, k) is not None:
            return self._ratio(k)
        beyond = self.beyond(self.problem, k)
        return UNKNOWN if self.is_late() else beyond

    def beyond(self, problem: AnyProblem, k: int) -> float:
        """Return by how much the least use of limit k that the other limits allow is above it."""
        oracle = oracle_of(problem)
        scale = oracle.scale
        lowest, highest = np.zeros(len(scale)), 1e4 / scale
        lowest[k] = highest[k] = 1.0 / scale[k]
        return -self.least(problem, oracle, (lowest, highest)).bound * float(scale[k])

    def _ratio_exactly(self, k: int) -> float | None:
        """Return by how much ratio k must move, from whole contacts."""
        row, limit = self.problem.rows[k], ratio_of(self.problem, k)
        reached = exact.best_ratio(self.problem, k, effort=EFFORT, seconds=self.seconds())
        if reached is None or limit is None:
            return None
        return float(_outwards(reached, row) - limit) * (-1 if row.is_minimum else 1)

    def _ratio(self, k: int) -> float | None:
        """Return by how much ratio k must move, by the dual: where its form's least use is 0.

        The least use is monotone in the ratio: a bracket is doubled, then cut by false position,
        among ratios whose forms are in the exact range.
        """
        start, sign = ratio_of(self.problem, k), -1 if self.problem.rows[k].is_minimum else 1
        if start is None:
            return None

        def beyond(limit: Fraction) -> float | None:
            try:
                problem, scale = at_ratio(self.problem, k, limit)
            except (OverflowError, DataError):
                return None
            return self.beyond(problem, k) / scale

        inner, step = start, max(abs(start), Fraction(1, MICRO))
        first = beyond(inner)
        if first is None or first <= 0.0:
            return None
        over = first
        outer = max(Fraction(0), start + sign * step)
        for _ in range(MOST_DOUBLINGS):
            if self.is_late():
                return UNKNOWN
            short = beyond(outer)
            if short is None or short <= NOISE * first or outer == 0:
                break
            inner, over, step = outer, short, 2 * step
            outer = max(Fraction(0), start + sign * step)
        if short is None or short > NOISE * first:
            return None
        for _ in range(MOST_CUTS):
            if self.is_late():
                return UNKNOWN
            share = min(max(over / (over - short), 0.05), 0.95)
            middle = _on_grid(inner + (outer - inner) * Fraction(share))
            if middle in (inner, outer):
                break
            value = beyond(middle)
            if value is None:
                break
            if value > NOISE * first:
                inner, over = middle, value
            else:
                outer, short = middle, value
        return float(outer - start) * sign

    def least(self, problem: AnyProblem, oracle: Oracle, range_: tuple[Any, Any]) -> Dual:
        """Minimise D_0 over prices in a range."""

        def is_done(count: int, best: Evaluation, model: float) -> bool:
            return count >= EVALUATIONS or self.is_late()

        return minimise_dual(
            oracle.evaluate, stated_amounts_of(problem), range_[0], scale=oracle.scale, unit=1.0,
            range_=range_, radius=1.0, tolerance=1e-7, is_done=is_done,
        )  # fmt: skip


def _on_grid(limit: Fraction) -> Fraction:
    """Return the nearest ratio that can be asked for."""
    return Fraction(round(limit * MICRO), MICRO)


def _outwards(limit: Fraction, row: Row) -> Fraction:
    """Return the first ratio that can be asked for and is no tighter."""
    return Fraction(floor(limit * MICRO) if row.is_minimum else ceil(limit * MICRO), MICRO)
