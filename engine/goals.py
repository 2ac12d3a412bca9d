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

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from inspect import signature
from math import ceil, floor, gcd
from time import perf_counter
from typing import Any

import numpy as np

from engine.asked import netted
from engine.errors import AllocationError, DataError
from engine.limits import (
    MICRO,
    MOST_AMOUNT,
    MOST_USE,
    Aim,
    Limit,
    Question,
    aim,
    coefficients,
    limits,
    micro,
)  # fmt: skip
from engine.offer_core import tally_of_bundles
from engine.pose import Stock
from engine.problem import USE_UNIT, VALUE_UNIT, Problem, limit_units, net_value, use_units
from engine.settings import Job
from engine.settings.constraints import Goal, Then
from engine.solve import Allocation, Status, used
from engine.spread_oracle import offer_oracle
from engine.zoom import Step
from kernels.backend import to_cpu
from kernels.choose import WEIGHT_GRID

OBJECTIVE, THEN = "objective", "objective.then"


@dataclass(frozen=True)
class Stage:
    """One thing that is pursued."""

    name: str  # of the goal, or objective, or objective.then
    aim: Aim
    meet: Mapping[str, int] = field(default_factory=dict)  # limit -> micro-weight of a unit missed
    within: Fraction = Fraction(0)  # share that later stages may give up


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


def stages(job: Job) -> list[Stage]:
    """Return what a job pursues, in order: at least its objective."""
    found = [_stage(goal) for goal in job.goals]
    objective = job.objective
    within = _share(objective.then) if objective.then else Fraction(0)
    own = aim(objective.measure, objective.minimise)
    found.append(Stage(OBJECTIVE, own, within=within))
    if objective.then:
        found.append(Stage(THEN, aim(objective.then.measure, objective.then.minimise)))
    return found


def _stage(goal: Goal) -> Stage:
    if goal.meet:
        weights = {name: micro(weight) for name, weight in goal.meet.items()}
        return Stage(goal.name, Aim("contacts", 0), weights)
    return Stage(goal.name, aim(goal.measure, goal.minimise), within=_share(goal))


def _share(setting: Goal | Then) -> Fraction:
    return Fraction(str(setting.within))


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
    levels = _Levels(job, stock, limits(job))
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
    """Return the last stage's allocation as the answer to this problem; the bound is at price 0.

    It is added up exactly, so it is never too low; not in floating point.
    """
    value = _value_if_kept(problem, last.chosen)
    if value is None:
        raise AllocationError(why)
    prices = np.zeros(len(problem.rows))
    oracle = offer_oracle(problem)
    survey = oracle.survey(prices)
    bound = oracle.bound(survey)
    best = [to_cpu(bundles) for bundles in survey.chosen]
    return replace(
        last, status=Status.TIME_LIMIT, remedy=f"nothing better was found; {why}", best=best,
        prices=prices, value=float(value / VALUE_UNIT), bound=bound, dual_bound=bound,
        bound_by="prices (Lagrangian dual)", iterations=[], conflict=[],
        total=survey.total, use=used(problem, last.chosen),
    )  # fmt: skip


class _Levels:
    """The limits as they stand after the stages so far."""

    def __init__(self, job: Job, stock: Stock, asked: Iterable[Limit]) -> None:
        self.job, self.stock = job, stock
        self.limits = list(asked)  # changed as levels are reached
        self.added: list[Limit] = []
        self.is_past_objective = False

    def question(self, course: list[Stage], *, is_objective: bool) -> Question:
        """Return what the first of the remaining stages asks."""
        stage, later = course[0], {name for other in course[1:] for name in other.meet}
        taken = []
        for limit in self.limits:
            if limit.name in stage.meet:
                taken.append(replace(limit, penalty=stage.meet[limit.name]))
            elif limit.name in later:
                continue
            elif limit.penalty is None or is_objective:
                taken.append(limit)
            elif self.is_past_objective:
                taken.append(replace(limit, penalty=None))
        return Question(stage.aim, (*taken, *self.added))

    def keep(
        self, stage: Stage, question: Question, problem: Problem, found: Allocation
    ) -> dict[str, float]:
        """Turn what a stage has reached into limits; return their amounts."""
        tally = tally_of_bundles(problem, found.chosen)
        uses = dict(zip((x.name for x in question.limits), use_units(problem, tally), strict=True))
        self.is_past_objective |= stage.name == OBJECTIVE
        kept = {}
        for i, limit in enumerate(self.limits):
            is_soft = limit.penalty is not None and stage.name == OBJECTIVE
            if limit.name in stage.meet or is_soft:
                self.limits[i] = _as_reached(limit, uses[limit.name])
                kept[limit.name] = self.limits[i].amount / MICRO
        if stage.aim.sign:
            level = self._level(stage, net_value(problem, tally), tally, problem)
            self.added.append(level)
            kept[level.name] = level.amount / MICRO
        return kept

    def _level(self, stage: Stage, net: Any, tally: Any, problem: Problem) -> Limit:
        """Return the limit that keeps what a measure has reached."""
        gross = Fraction(net_value(replace(problem, penalty=None), tally), VALUE_UNIT)
        given_up = stage.within * abs(Fraction(net, VALUE_UNIT))
        least = gross - given_up  # of sign * measure
        amount = floor(least * MICRO) if stage.aim.sign > 0 else ceil(-least * MICRO)
        every = tuple(range(len(problem.offer)))
        is_weighted = stage.aim.measure == "value" and self.stock.groups.weight is not None
        scale = self._scale() if is_weighted else 1
        limit = Limit(
            f"kept:{stage.name}", stage.aim.measure, stage.aim.sign > 0, amount, every, None,
            scale=scale, is_weighted=is_weighted,
        )  # fmt: skip
        if abs(amount * scale) > MOST_AMOUNT:
            raise DataError(
                f"{_setting(stage)}: what it reached, {amount / MICRO:,.10g}, is above "
                f"{MOST_AMOUNT / scale / MICRO:,.10g} and cannot be kept exactly; take smaller or "
                "rounder weights, or money in another unit"
            )
        return limit

    def refuse_inexact(self, course: list[Stage]) -> None:
        """Raise if what a stage will reach cannot be kept in whole numbers, whatever it is."""
        if self.stock.groups.weight is None or not len(self.stock.groups.weight):
            return
        scale = self._scale()
        weight = int(self.stock.groups.weight.max())
        problems = []
        for stage in course[:-1]:
            if not stage.aim.sign or stage.aim.measure != "value":
                continue
            value = max(sum(map(abs, pair)) for pair in coefficients(self.job, "value"))
            if value * (weight * scale // WEIGHT_GRID) > MOST_USE:
                problems.append(
                    f"{_setting(stage)}: the value reached cannot be kept exactly: the largest "
                    f"weight {weight / WEIGHT_GRID:.10g} times the largest value "
                    f"{value / MICRO:,.10g} is above {MOST_USE / scale / MICRO:,.0f}; take smaller "
                    "or rounder weights (catalogue.weight), or money in another unit"
                )
        if problems:
            raise DataError.of(problems)

    def _scale(self) -> int:
        """Return the least whole number that makes all weights whole."""
        return WEIGHT_GRID // gcd(WEIGHT_GRID, *self.stock.groups.weight.tolist())


def _setting(stage: Stage) -> str:
    return stage.name if stage.name == OBJECTIVE else f"goals.{stage.name}"


def _as_reached(limit: Limit, use: int) -> Limit:
    """Return a limit as it was kept, or as far as it was met, in whole micro-units."""
    reached = Fraction(use, USE_UNIT) * MICRO / limit.scale  # of the form, negated for a minimum
    if limit.is_minimum:
        return replace(limit, amount=min(limit.amount, floor(-reached)))
    return replace(limit, amount=max(limit.amount, ceil(reached)))
