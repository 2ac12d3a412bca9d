"""Why no allocation exists: a minimal set of limits in conflict, and what would resolve it.

Without values, D_0(prices) = prices . limit + sum_s max over X_s of (- prices . use) is never
negative when an allocation exists (weak duality, Farkas). So prices with D_0 < 0 prove that none
does, and limits with a zero price have no part in the proof. The rest is thinned out one by one.
With the price of one limit held at 1, the least D_0 is the limit less the least use that the
other limits allow: how far that limit alone must move. For small problems CP-SAT is asked too: it
also finds what is impossible only in whole contacts.
"""

from dataclasses import dataclass
from math import ceil, isnan, nan
from typing import Any

import numpy as np

from engine import exact
from engine.limits import MICRO
from engine.offer_oracle import OfferOracle, scale_of
from engine.prices import Dual, Evaluation, minimise_dual
from engine.problem import USE_UNIT, Problem
from engine.stop import Deadline

EVALUATIONS = 150  # most passes of one search
EFFORT = 10.0  # CP-SAT's deterministic time of one question
UNKNOWN = nan  # a relaxation that the time did not allow to find
NOISE = 1e-7  # a share of the limits: less is rounding, not conflict


@dataclass(frozen=True)
class Conflict:
    """One limit of a set that no allocation can keep together."""

    set_number: int  # from 1: no two sets share a limit, so one of each must give way
    is_minimal: bool  # whether every limit of the set is known to have a part in the conflict
    constraint: str
    limit: float  # units of the measure
    smallest_relaxation: float | None  # how far it alone must move; None: not enough, or unknown
    text: str


def explain(problem: Problem, *, small: bool, deadline: Deadline) -> list[Conflict]:
    """Return sets of limits in conflict, or nothing if no conflict is proved.

    A set is minimal, unless the deadline came before that was known: then it holds one that is.

    Sets are looked for one after the other among the limits that are in none yet. How far a limit
    must move is reckoned with the others of its set and the limits that are in no set.

    Args:
        problem: the allocation problem.
        small: whether CP-SAT may be asked what the dual does not prove: whole contacts count.
        deadline: after it no further set is looked for, no limit thinned
            out and no relaxation computed.
    """
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
        within = _Search(problem.with_rows(rows), small, deadline)
        for k in core:
            amount = UNKNOWN if search.is_late() else within.relaxation(rows.index(k))
            limit = abs(int(problem.limit[k])) / MICRO
            text, least = _told(problem, k, limit, amount)
            found.append(Conflict(number, is_minimal, problem.rows[k].name, limit, least, text))
    return found


@dataclass(frozen=True, eq=False)
class _Search:
    problem: Problem
    small: bool
    deadline: Deadline

    def is_late(self) -> bool:
        return self.deadline.is_over()

    def seconds(self) -> float:
        return self.deadline.seconds()

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
        part = self.problem.with_rows(rows)
        scale = scale_of(part)
        dual = self.least(part, (np.zeros(len(rows)), 1.0 / scale))
        size = float((dual.prices * np.abs(part.limit / MICRO)).sum())  # of the proof's own limits
        if dual.bound < -NOISE * max(1.0, size):
            return [rows[i] for i in np.flatnonzero(dual.prices * scale > 1e-6)]
        if self.small:
            nothing = np.zeros_like(part.value_fixed)
            answer = exact.solve_exactly(
                part.with_value(nothing, nothing), slack=0, effort=EFFORT, seconds=self.seconds()
            )
            return rows if answer.status == "INFEASIBLE" else None
        return None

    def relaxation(self, k: int) -> float | None:
        """Return by how many units limit k must be raised (a minimum: lowered), or None."""
        others = [i for i in range(len(self.problem.rows)) if i != k]
        if others and self.conflict(others) is not None:
            return None
        if self.small:
            least = exact.least_use(self.problem, k, effort=EFFORT, seconds=self.seconds())
            if least is None:
                return UNKNOWN
            return (least - int(self.problem.limit[k]) * (USE_UNIT // MICRO)) / USE_UNIT
        scale = scale_of(self.problem)
        lowest, highest = np.zeros(len(scale)), 1e4 / scale
        lowest[k] = highest[k] = 1.0 / scale[k]
        least_bound = self.least(self.problem, (lowest, highest)).bound
        return UNKNOWN if self.is_late() else -least_bound * float(scale[k])

    def least(self, problem: Problem, range_: tuple[Any, Any]) -> Dual:
        """Minimise D_0 over prices in a range."""
        nothing = np.zeros_like(problem.value_fixed)
        bare = problem.with_value(nothing, nothing)
        oracle = OfferOracle(bare, bare.blocks)

        def is_done(count: int, best: Evaluation, model: float) -> bool:
            return count >= EVALUATIONS or self.is_late()

        return minimise_dual(
            oracle.evaluate, bare.limit / MICRO, range_[0], scale=scale_of(bare), unit=1.0,
            range_=range_, radius=1.0, tolerance=1e-7, is_done=is_done,
        )  # fmt: skip


def _told(
    problem: Problem, k: int, limit: float, relaxation: float | None
) -> tuple[str, float | None]:
    """Return in words how far limit k must move, and the number if there is one."""
    row = problem.rows[k]
    kind = "a minimum" if row.is_minimum else "a limit"
    head = f"{row.name} ({kind} of {limit:,g} {problem.units(k)})"
    if relaxation is None:
        return f"{head}: changing it alone is not enough", None
    if isnan(relaxation):
        return f"{head}: by how much it would have to change was not found in the time limit", None
    amount = float(ceil(relaxation - 1e-6)) if row.measure == "contacts" else relaxation
    amount = max(amount, 0.0)
    target = limit - amount if row.is_minimum else limit + amount
    verb = "lower it" if row.is_minimum else "raise it"
    return f"{head}: {verb} by at least {amount:,g}, to {target:,g}", amount
