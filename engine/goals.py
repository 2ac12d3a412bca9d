"""Goals before the objective, and what is pursued after it: one search after the other.

The stages are the job's goals in their order, its objective, and ``objective.then``. What a stage
has reached becomes a limit of those after it, in whole micro-units:

- A goal that meets limits leaves them out of the stages before it, makes the weighted sum of its
  misses least, and then keeps each limit, or where it is missed, what was reached of it.
- A measure may not fall (or rise) by more than ``within`` times what was reached.
- Soft limits may be passed in the objective, at their penalties in its unit. Before it they do not
  count; after it they are kept where it left them.

A search that ends worse than the one before it left things is replaced by that one's allocation,
which keeps every limit of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from inspect import signature
from time import perf_counter
from typing import Any

import numpy as np

from engine.asked import netted
from engine.errors import AllocationError
from engine.levels import OBJECTIVE, Levels, Stage, stages
from engine.limits import Question, limits
from engine.offer_core import tally_of_bundles
from engine.pose import Stock
from engine.problem import VALUE_UNIT, Problem, limit_units, net_value, use_units
from engine.settings import Job
from engine.solve import Allocation, Status, used
from engine.spread_oracle import offer_oracle
from engine.zoom import Step
from kernels.backend import to_cpu


@dataclass(frozen=True, eq=False)
class Reached:
    """A stage with its answer, and what the stages after it keep of it."""

    stage: Stage
    question: Question
    found: Allocation
    kept: Mapping[str, float]  # limit -> amount from now on, units of its measure


@dataclass(frozen=True, eq=False)
class Pursued:
    """The answer of the last stage, and those before it."""

    problem: Problem
    question: Question
    found: Allocation
    before: list[Reached]


def pursue(
    job: Job,
    stock: Stock,
    solve: Callable[..., Allocation],
    tell: Callable[[Step], None] = lambda step: None,
) -> Pursued:
    """Pursue one stage after the other within ``solver.time_limit_s``.

    Args:
        job: the job.
        stock: its subscribers.
        solve: :func:`engine.solve.solve`, or what stands in for it.
        tell: receives each step of each search.

    Returns:
        The last stage's answer. A stage in which limits conflict ends it; one that the time limit
        cut short makes the whole TIME_LIMIT.

    Raises:
        AllocationError: the first stage found nothing, and no conflict.
        DataError: a level to keep is beyond the range of whole numbers.
    """
    deadline = perf_counter() + job.solver.time_limit_s
    course = stages(job)
    levels = Levels(job, stock, limits(job))
    levels.refuse_inexact(course)
    before: list[Reached] = []
    remedy = ""
    for i, stage in enumerate(course):
        question = levels.question(course[i:], is_objective=stage.name == OBJECTIVE)
        problem = stock.pose(question)
        left = max(1e-6, deadline - perf_counter())
        search = _Search(solve, job, left if before else job.solver.time_limit_s, tell)
        found = search.best(problem, question, before)
        found = replace(found, prices=netted(problem.rows, found.prices))
        if found.status != Status.OPTIMAL and not remedy:
            remedy = found.remedy if len(course) == 1 else f"{stage.name}: {found.remedy}"
        if i == len(course) - 1 or found.status == Status.INFEASIBLE:
            break
        kept = levels.keep(stage, question, problem, found)
        before.append(Reached(stage, question, found, kept))
    if found.status != Status.INFEASIBLE and remedy:
        found = replace(found, status=Status.TIME_LIMIT, remedy=remedy)
    return Pursued(problem, question, found, before)


@dataclass(frozen=True, eq=False)
class _Search:
    solve: Callable[..., Allocation]
    job: Job
    seconds: float
    tell: Callable[[Step], None]

    def best(self, problem: Problem, question: Question, before: list[Reached]) -> Allocation:
        """Search, and take the last stage's allocation where that is better."""
        settings = self.job.solver.model_copy(update={"time_limit_s": self.seconds})
        try:
            found = self._found(problem, settings, (question, before))
        except AllocationError as error:
            if not before:
                raise
            return _nothing_better(problem, before[-1].found, str(error))
        if not before:
            return found
        last = before[-1].found.chosen
        value = _value_if_kept(problem, last)
        if value is None or float(value / VALUE_UNIT) <= found.value:
            return found
        value_found = float(value / VALUE_UNIT)
        gap = (found.bound - value_found) / max(1.0, abs(found.bound))
        status, remedy = found.status, found.remedy
        if gap <= settings.gap_tolerance:
            status = Status.OPTIMAL
            remedy = f"the gap of {gap:.2g} is within the tolerance of {settings.gap_tolerance:g}"
        return replace(
            found, chosen=last, value=value_found, status=status, remedy=remedy,
            use=used(problem, last),
        )  # fmt: skip

    def _found(self, problem: Problem, settings: Any, more: tuple[Any, Any]) -> Allocation:
        question, before = more
        if before and "prices" in signature(self.solve).parameters:  # a warm start
            known = dict(
                zip(
                    (limit.name for limit in before[-1].question.limits),
                    before[-1].found.prices.tolist(),
                    strict=True,
                )
            )
            start = np.array([known.get(limit.name, 0.0) for limit in question.limits])
            return self.solve(problem, settings, self.tell, prices=start)
        return self.solve(problem, settings, self.tell)


def _value_if_kept(problem: Problem, chosen: list[Any]) -> Any:
    """Return an allocation's objective, value units, if it keeps all hard limits, else None."""
    tally = tally_of_bundles(problem, chosen)
    uses, amounts = use_units(problem, tally), limit_units(problem)
    soft = problem.is_soft.tolist()
    if any(
        use > amount and not is_soft
        for use, amount, is_soft in zip(uses, amounts, soft, strict=True)
    ):
        return None
    return net_value(problem, tally)


def _nothing_better(problem: Problem, last: Allocation, why: str) -> Allocation:
    """Return the last stage's allocation as the answer; the bound is at the smallest prices.

    It is added up exactly, so it is never too low; not in floating point.
    """
    value = _value_if_kept(problem, last.chosen)
    if value is None:
        raise AllocationError(why)
    oracle = offer_oracle(problem)
    prices = oracle.range[0]
    survey = oracle.survey(prices)
    bound = oracle.bound(survey)
    best = [to_cpu(bundles) for bundles in survey.chosen]
    return replace(
        last, status=Status.TIME_LIMIT, remedy=f"nothing better was found; {why}", best=best,
        prices=prices, value=float(value / VALUE_UNIT), bound=bound, dual_bound=bound,
        bound_by="prices (Lagrangian dual)", iterations=[], conflict=[],
        total=survey.total, use=used(problem, last.chosen),
    )  # fmt: skip
