"""What a job pursues, stage by stage, and the limits that hold at each: see :mod:`engine.goals`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import ceil, floor, gcd
from typing import Any

from engine.actions import actions_of
from engine.errors import DataError
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
from engine.problem import USE_UNIT, VALUE_UNIT, Problem, net_value, use_units
from engine.settings import Job
from engine.settings.constraints import Goal, Then
from engine.solve import Allocation
from kernels.choose import WEIGHT_GRID

OBJECTIVE, THEN = "objective", "objective.then"
KEPT = "kept:"  # before the name of a stage: the limit that keeps what it reached


@dataclass(frozen=True)
class Stage:
    """One thing that is pursued."""

    name: str  # of the goal, or objective, or objective.then
    aim: Aim
    meet: Mapping[str, int] = field(default_factory=dict)  # limit -> micro-weight of a unit missed
    within: Fraction = Fraction(0)  # share that later stages may give up


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


def last_question(job: Job, scales: Mapping[str, int]) -> Question:
    """Return what the last stage of a finished job asked, but for the amounts that were reached.

    Args:
        job: the job.
        scales: of the limits of its last stage, by name, where they are not 1.
    """
    *before, last = stages(job)
    own = limits(job)
    if last.name != OBJECTIVE:
        own = [replace(limit, penalty=None) for limit in own]
    is_weighted = job.catalogue.weight is not None
    kept = [
        _kept(job, stage, 0, scales.get(f"{KEPT}{stage.name}", 1), is_weighted=is_weighted)
        for stage in before if stage.aim.sign
    ]  # fmt: skip
    return Question(last.aim, (*own, *kept))


def _kept(job: Job, stage: Stage, amount: int, scale: int, *, is_weighted: bool) -> Limit:
    """Return the limit that keeps a measure: so many micro-units of ``sign`` times it, or more."""
    every = tuple(range(len(actions_of(job))))
    return Limit(
        f"{KEPT}{stage.name}", stage.aim.measure, stage.aim.sign > 0, amount, every, None,
        scale=scale, is_weighted=is_weighted and stage.aim.measure == "value",
    )  # fmt: skip


class Levels:
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
        has_weights = self.stock.groups.weight is not None
        scale = self._scale() if has_weights and stage.aim.measure == "value" else 1
        limit = _kept(self.job, stage, amount, scale, is_weighted=has_weights)
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
