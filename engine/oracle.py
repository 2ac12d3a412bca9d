"""One pass over the subscribers: their best bundles at some prices, added up."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numba import njit

from engine.limits import MICRO
from engine.prices import Evaluation
from engine.problem import Block, Problem
from kernels.backend import library, to_cpu
from kernels.choose import PROPENSITY_GRID, WEIGHT_GRID, choose, curve

LARGEST_PRICE = 1e4  # in typical values a contact
FINEST_SQUARE = 30  # curvature is summed in whole numbers of 2**-30, or coarser ones


@dataclass(frozen=True, eq=False)
class Entries:
    """What each action uses of each constraint, the zeros left out; a cell is a group's action."""

    first: Any  # [G A + 1] int64
    constraint: Any  # [N] int64, increasing within a cell
    fixed: Any  # [N] float64, units of the constraint per contact
    accept: Any  # [N] float64, per acceptance

    @staticmethod
    def of(problem: Problem) -> "Entries":
        """Collect the entries of a problem."""
        used = (problem.use_fixed != 0) | (problem.use_accept != 0)
        mask = problem.in_scope.T[:, None, :] & used.T[None, :, :]
        group, action, constraint = np.nonzero(mask)
        cell = group * len(problem.offer) + action
        return Entries(
            np.searchsorted(cell, np.arange(problem.groups * len(problem.offer) + 1)),
            np.ascontiguousarray(constraint),
            problem.use_fixed[constraint, action] / MICRO,
            problem.use_accept[constraint, action] / MICRO,
        )


@njit(cache=True)
def _paid(first: Any, constraint: Any, use: Any, prices: Any, out: Any) -> None:
    for cell in range(out.size):
        total = 0.0
        for e in range(first[cell], first[cell + 1]):
            total += prices[constraint[e]] * use[e]
        out[cell] = total


@njit(cache=True)
def _added(
    tally: Any, value: Any, first: Any, constraint: Any, fixed: Any, accept: Any, classes: Any,
    p_grid: float, w_grid: float, worth: Any, use: Any,
) -> None:  # fmt: skip
    """Add up value and use by class, in the order of groups, actions and constraints."""
    for g in range(tally.shape[0]):
        for a in range(tally.shape[1]):
            contacts, p = np.float64(tally[g, a, 0]), np.float64(tally[g, a, 1]) / p_grid
            weight = np.float64(tally[g, a, 2]) / w_grid
            weighted = np.float64(tally[g, a, 3]) / (p_grid * w_grid)
            worth[classes[g]] += weight * value[0, a] + weighted * value[1, a]
            cell = g * tally.shape[1] + a
            for e in range(first[cell], first[cell + 1]):
                use[constraint[e], classes[g]] += fixed[e] * contacts + accept[e] * p


@dataclass(frozen=True, eq=False)
class Survey:
    """The best bundles of all subscribers at some prices."""

    evaluation: Evaluation
    tally: Any  # [G, A, 4] int64 on the host, settled bundles included
    chosen: list[Any]  # by block: [Q, S] int16, on the block's side
    near: list[Any]  # by block: rows whose margin is within their reach


class Oracle:
    """Evaluate the dual on some blocks, on top of settled bundles' constant sums."""

    def __init__(
        self,
        problem: Problem,
        blocks: Sequence[Block],
        constant: Any = 0,
        entries: Entries | None = None,
    ) -> None:
        """Hold the tables in money and units.

        Args:
            problem: the problem; its coefficients count, not its blocks.
            blocks: the subscribers to evaluate.
            constant: [G, A, 4] int64, the tally of settled bundles, or 0.
            entries: those of the problem, if known.
        """
        self.problem, self.blocks, self.constant = problem, blocks, constant
        self.width = problem.width
        self.value = np.stack([problem.value_fixed, problem.value_accept]) / MICRO
        self.entries = entries or Entries.of(problem)
        self.subscribers = sum(len(b) for b in blocks)
        self.scale = scale_of(problem)

    def over(self, blocks: Sequence[Block], constant: Any = 0) -> "Oracle":
        """Return the oracle of other subscribers of the same problem."""
        return Oracle(self.problem, blocks, constant, self.entries)

    def price_tables(self, prices: Any) -> tuple[Any, Any]:
        """Return [G, A] money per contact and per acceptance, summed in constraint order."""
        fixed, accept = np.empty((2, self.problem.groups, len(self.problem.offer)))
        entries = self.entries
        for use, out in ((entries.fixed, fixed), (entries.accept, accept)):
            _paid(entries.first, entries.constraint, use, prices, out.reshape(-1))
        return fixed, accept

    def _tables(self, block: Block, prices: Any) -> tuple[Any, ...]:
        problem, side = self.problem, library(block.propensity)
        tables = (
            problem.offer, problem.channel, problem.category, *self.value,
            *self.price_tables(prices),
        )  # fmt: skip
        return tuple(side.asarray(t) for t in tables)

    def _no_tally(self) -> Any:
        return np.zeros((self.problem.groups, len(self.problem.offer), 4), np.int64)

    def choose(self, block: Block, prices: Any, reach: Any = None) -> Any:
        """Return the block's bundles at the prices, near rows and the tally, on its side."""
        side = library(block.propensity)
        if reach is None:
            reach = np.zeros((self.problem.groups, 1 + len(self.problem.offer)))
        return choose(
            *block.arrays(), *self._tables(block, prices), side.asarray(reach), self.width
        )

    def survey(self, prices: Any, reach: Any = None) -> Survey:
        """Return the best bundles at the prices, and who is near to changing.

        Args:
            prices: [K] float64.
            reach: [G, 1 + A] float64, money, as in :func:`kernels.choose.choose_cpu`; None: nobody
                is near.
        """
        total = self._no_tally()
        bundles, rows = [], []
        for block in self.blocks:
            chosen, near, tally = self.choose(block, prices, reach)
            total += to_cpu(tally)
            bundles.append(chosen)
            rows.append(library(near).flatnonzero(near))
        total += self.constant
        return Survey(self.evaluation(prices, total), total, bundles, rows)

    def narrowed(self, survey: Survey) -> "Oracle":
        """Return the oracle of the near subscribers; the others keep their bundles."""
        blocks = [b.take(rows) for b, rows in zip(self.blocks, survey.near, strict=True)]
        inner = self.over(blocks)
        return self.over(blocks, survey.tally - inner.survey(survey.evaluation.prices).tally)

    def evaluate(self, prices: Any) -> Evaluation:
        """Return value and use of every class of groups at the prices."""
        return self.survey(prices).evaluation

    def curve(self, prices: Any, bandwidth: float) -> tuple[Evaluation, Any, int]:
        """Return the evaluation, the dual's curvature there, and how many made it up.

        Args:
            prices: [K] float64.
            bandwidth: money, margins below it count.

        Returns:
            the evaluation; [K, K] float64, second derivatives in prices of a typical contact
            (:func:`scale_of`); the number of subscribers whose margin is below the bandwidth.
        """
        entries, scale = self.entries, self.scale[self.entries.constraint]
        used = (entries.fixed / scale, entries.accept / scale)
        largest = self.width * float(sum(np.abs(u).max(initial=0.0) for u in used))
        size = 4 * max(largest, 1.0) ** 2 * max(self.subscribers, 1)
        unit = 2.0 ** min(FINEST_SQUARE, 61 - int(size).bit_length())
        count = len(self.problem.rows)
        total, squares, near = self._no_tally(), np.zeros((count, count), np.int64), 0
        for block in self.blocks:
            side = library(block.propensity)
            listed = (entries.first, entries.constraint, *used)
            found = curve(
                *block.arrays(), *self._tables(block, prices), *(side.asarray(x) for x in listed),
                bandwidth, unit, count, self.width,
            )  # fmt: skip
            tally, curvature, close = (to_cpu(x) for x in found)
            total += tally
            squares += curvature
            near += int(close[0])
        lower = squares / (unit * 2.0 * bandwidth)
        whole = lower + np.tril(lower, -1).T
        return self.evaluation(prices, total + self.constant), whole, near

    @cached_property
    def classes(self) -> Any:
        """Return [G] the cut class of each group."""
        return self.problem.classes

    def evaluation(self, prices: Any, tally: Any) -> Evaluation:
        """Return value and use of every class, from the tally of its contacts."""
        count = int(self.classes.max(initial=-1)) + 1
        worth, use = np.zeros(count), np.zeros((len(self.problem.rows), count))
        entries = self.entries
        _added(
            tally, self.value, entries.first, entries.constraint, entries.fixed, entries.accept,
            self.classes, float(PROPENSITY_GRID), float(WEIGHT_GRID), worth, use,
        )  # fmt: skip
        return Evaluation(prices, worth, use)


def scale_of(problem: Problem) -> Any:
    """Return [K] what a typical contact uses of each constraint, > 0, in its units."""
    use = np.abs(problem.use_fixed) + np.abs(problem.use_accept) * problem.typical_propensity
    return np.maximum(use.max(axis=1, initial=0), 1) / MICRO


def typical_value(problem: Problem) -> float:
    """Return the most that a typical contact gains or loses, money: the unit of prices."""
    value = np.abs(problem.value_fixed) + np.abs(problem.value_accept) * problem.typical_propensity
    return float(max(value.max(initial=0), 1) / MICRO)


def price_range(problem: Problem) -> tuple[Any, Any]:
    """Return [K] smallest and largest price: 0, and far more than any contact can be worth."""
    highest = LARGEST_PRICE * typical_value(problem) / scale_of(problem)
    return np.zeros(len(problem.rows)), highest
