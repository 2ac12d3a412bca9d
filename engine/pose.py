"""From limits and an aim to the coefficients of an allocation problem."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from engine.actions import actions_of
from engine.block import Block
from engine.limits import MICRO, Limit, Part, Question, coefficients
from engine.parts import Parts, at_hand, parts_of, told
from engine.plan_rules import rules
from engine.problem import Problem, Row, penalties
from engine.quotient import Quotient
from engine.settings import Job
from kernels.backend import library
from kernels.choose import PROPENSITY_GRID, WEIGHT_GRID


@dataclass(frozen=True, eq=False)
class Groups:
    """What is the same for all subscribers of a scope group, G of them."""

    conditions: tuple[str, ...]  # D distinct conditions of limits
    holds: Any  # [D, G] bool
    weight: Any  # [G] int64, 2**-10, when limits count it; else None

    def in_scope(self, where: str | None) -> Any:
        """Return [G] whether a condition holds."""
        if where is None:
            return np.ones(self.holds.shape[1], bool)
        return self.holds[self.conditions.index(where)]


@dataclass(frozen=True, eq=False)
class Stock:
    """The subscribers of a job, ready for any question about them."""

    job: Job
    blocks: Sequence[Block] | Parts
    groups: Groups

    def pose(self, question: Question) -> Problem:
        """Return the allocation problem that a question asks.

        Raises:
            OverflowError: a coefficient is beyond 64 bits.
        """
        catalogue, acts = self.job.catalogue, actions_of(self.job)
        offers, channels = list(catalogue.offers), list(catalogue.channels)
        aim, limits = question.aim, question.limits
        value = aim.sign * np.array(coefficients(self.job, aim.measure), np.int64)
        terms = [self._terms(limit) for limit in limits]
        counts = [len(fixed) for fixed, _, _ in terms]
        none = np.zeros((0, len(acts)), np.int64)
        scope = np.zeros((0, self.groups.holds.shape[1]), bool)
        return Problem(
            self.blocks
            if aim.measure == "value"
            else at_hand(parts_of(self.blocks).keep(_unweighted)),
            np.array([offers.index(a.offer) for a in acts], np.int32),
            np.array([channels.index(a.channel) for a in acts], np.int32),
            rules(self.job),
            value[:, 0].copy(),
            value[:, 1].copy(),
            [self._row(limit) for limit in limits],
            np.concatenate([none, *(fixed for fixed, _, _ in terms)]),
            np.concatenate([none, *(accept for _, accept, _ in terms)]),
            np.concatenate([scope, *(inside for _, _, inside in terms)]),
            np.array([_signed(limit) for limit in limits], np.int64),
            _typical_propensity(self.blocks),
            catalogue.currency,
            penalties([limit.penalty for limit in limits]),
            None if set(counts) <= {1} else np.arange(len(limits)).repeat(counts),
        )

    def _row(self, limit: Limit) -> Row:
        quotient = None if limit.to is None else self._quotient(limit, limit.to)
        return Row(
            limit.name, limit.measure, limit.is_minimum, limit.twin, quotient, limit.is_weighted,
            limit.scale, limit.series, limit.day,
        )  # fmt: skip

    def _quotient(self, limit: Limit, to: Part) -> Quotient:
        return Quotient(
            self._inside(limit.of), self._inside(to),
            self.groups.in_scope(limit.where), self.groups.in_scope(to.where),
            Fraction(limit.ratio, MICRO),
        )  # fmt: skip

    def _inside(self, part: Part) -> Any:
        """Return [2, A] a sum's coefficients, zero out of scope."""
        found = np.zeros((len(actions_of(self.job)), 2), np.int64)
        taken = list(part.actions)
        found[taken] = np.array(coefficients(self.job, part.measure), np.int64)[taken]
        return found.T

    def _terms(self, limit: Limit) -> tuple[Any, Any, Any]:
        """Return a limit as terms, a minimum negated: see :meth:`Quotient.terms`."""
        if limit.to is not None:
            quotient = self._quotient(limit, limit.to)
            return quotient.terms(Fraction(limit.ratio, MICRO), is_minimum=limit.is_minimum)
        if limit.costs:
            return self._costs(limit)
        sign, inside = -1 if limit.is_minimum else 1, self._inside(limit.of)
        scope = self.groups.in_scope(limit.where)
        if not limit.is_weighted:
            return sign * inside[:1], sign * inside[1:], scope[None]
        weights = np.unique(self.groups.weight)
        factors = [sign * limit.scale * int(w) // WEIGHT_GRID for w in weights]
        parts = np.array([[[f * int(c) for c in row] for row in inside] for f in factors], np.int64)
        return parts[:, 0], parts[:, 1], scope & (self.groups.weight == weights[:, None])

    def _costs(self, limit: Limit) -> tuple[Any, Any, Any]:
        """Return a sum of costs as terms: one for each condition."""
        conditions = list(dict.fromkeys(cost.where for cost in limit.costs))
        fixed = np.zeros((len(conditions), len(actions_of(self.job))), np.int64)
        for cost in limit.costs:
            fixed[conditions.index(cost.where), list(cost.actions)] += cost.cost
        scope = np.stack([self.groups.in_scope(where) for where in conditions])
        return fixed, np.zeros_like(fixed), scope


def _unweighted(block: Block) -> Block:
    """Return the block with all weights 1."""
    ones = library(block.weight).ones_like(block.weight)
    return Block(**{**block.__dict__, "weight": ones})


def _typical_propensity(blocks: Sequence[Block] | Parts) -> float:
    """Return the mean propensity of the open pairs, summed in whole grid units: order-free."""
    sums = told(blocks, _sum_and_count)
    total, count = sum(s for s, _ in sums), sum(c for _, c in sums)
    return total / PROPENSITY_GRID / count if count else 0.05


def _sum_and_count(block: Block) -> tuple[int, int]:
    open_ = block.propensity[block.propensity == block.propensity]
    return int((open_ * PROPENSITY_GRID).astype("int64").sum()), len(open_)


def _signed(limit: Limit) -> int:
    amount = limit.amount * limit.scale
    return -amount if limit.is_minimum else amount
