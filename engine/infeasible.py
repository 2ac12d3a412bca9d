"""Why no allocation exists: a minimal set of limits in conflict, and what would resolve it.

Without values, D_0(prices) = prices . limit + sum_s max over X_s of (- prices . use) is never
negative when an allocation exists (weak duality, Farkas). So prices with D_0 < 0 prove that none
does, and limits with a zero price have no part in the proof. The rest is thinned out one by one.
With the price of one limit held at 1, the least D_0 is the limit less the least use that the
other limits allow: how far that limit alone must move. Small problems ask CP-SAT instead, whose
answers also count what is impossible only in whole contacts.
"""

from dataclasses import dataclass
from math import ceil
from time import perf_counter
from typing import Any

import numpy as np

from engine import exact
from engine.limits import MICRO
from engine.oracle import Oracle, scale_of
from engine.prices import Dual, Evaluation, minimise_dual
from engine.problem import MEASURE_UNIT, USE_UNIT, Problem

EVALUATIONS = 150  # most passes of one search
EFFORT = 10.0  # CP-SAT's deterministic time of one question
NOISE = 1e-7  # a share of the limits: less is rounding, not conflict


@dataclass(frozen=True)
class Conflict:
    """One limit of a set that no allocation can keep together."""

    constraint: str
    limit: float  # units of the measure
    smallest_relaxation: float | None  # how far it alone must move; None: moving it is not enough
    text: str


def explain(problem: Problem, *, small: bool, deadline: float) -> list[Conflict]:
    """Return a minimal set of limits in conflict, or nothing if no conflict is proved.

    Args:
        problem: the allocation problem.
        small: whether CP-SAT decides (exact in whole contacts) or the dual (fast on any size).
        deadline: ``perf_counter`` instant; after it no further limit is thinned out.
    """
    rows = list(range(len(problem.rows)))
    core = _conflict(problem, rows, small=small)
    if core is None:
        return []
    for k in list(core):
        rest = [i for i in core if i != k]
        if rest and perf_counter() < deadline and _conflict(problem, rest, small=small) is not None:
            core = rest
    return [_told(problem, k, _relaxation(problem, k, small=small)) for k in core]


def _conflict(problem: Problem, rows: list[int], *, small: bool) -> list[int] | None:
    """Return those of the rows that a proof of conflict needs, or None when there is no proof."""
    part = problem.with_rows(rows)
    if small:
        part = part.with_value(np.zeros_like(part.value_fixed), np.zeros_like(part.value_accept))
        answer = exact.solve_exactly(part, slack=0, effort=EFFORT, seconds=60.0)
        return rows if answer.status == "INFEASIBLE" else None
    scale = scale_of(part)
    dual = _least(part, (np.zeros(len(rows)), 1.0 / scale))
    size = float(np.abs(part.limit / MICRO / scale).max(initial=1.0))
    if dual.bound >= -NOISE * size:
        return None
    return [rows[i] for i in np.flatnonzero(dual.prices * scale > 1e-6)]


def _relaxation(problem: Problem, k: int, *, small: bool) -> float | None:
    """Return by how many units limit k must be raised (a minimum: lowered), or None."""
    others = [i for i in range(len(problem.rows)) if i != k]
    if others and _conflict(problem, others, small=small) is not None:
        return None
    limit = int(problem.limit[k])
    if small:
        least = exact.least_use(problem, k, effort=EFFORT, seconds=60.0)
        return None if least is None else (least - limit * (USE_UNIT // MICRO)) / USE_UNIT
    scale = scale_of(problem)
    lowest, highest = np.zeros(len(scale)), 1e4 / scale
    lowest[k] = highest[k] = 1.0 / scale[k]
    return -_least(problem, (lowest, highest)).bound * float(scale[k])


def _least(problem: Problem, range_: tuple[Any, Any]) -> Dual:
    """Minimise D_0 over prices in a range."""
    bare = problem.with_value(
        np.zeros_like(problem.value_fixed), np.zeros_like(problem.value_accept)
    )
    oracle = Oracle(bare, bare.blocks)
    limit = bare.limit / MICRO

    def is_done(count: int, best: Evaluation, model: float) -> bool:
        return count >= EVALUATIONS

    return minimise_dual(
        oracle.evaluate, limit, range_[0], scale=scale_of(bare), unit=1.0,
        range_=range_, radius=1.0, tolerance=1e-7, is_done=is_done,
    )  # fmt: skip


def _told(problem: Problem, k: int, relaxation: float | None) -> Conflict:
    row = problem.rows[k]
    unit, limit = MEASURE_UNIT[row.measure], abs(int(problem.limit[k])) / MICRO
    kind = "a minimum" if row.is_minimum else "a limit"
    if relaxation is None:
        text = f"{row.name} ({kind} of {limit:,g} {unit}): changing it alone is not enough"
        return Conflict(row.name, limit, None, text)
    amount = float(ceil(relaxation - 1e-6)) if row.measure == "contacts" else relaxation
    amount = max(amount, 0.0)
    target = limit - amount if row.is_minimum else limit + amount
    verb = "lower it" if row.is_minimum else "raise it"
    text = (
        f"{row.name} ({kind} of {limit:,g} {unit}): {verb} by at least {amount:,g}, to {target:,g}"
    )
    return Conflict(row.name, limit, amount, text)
