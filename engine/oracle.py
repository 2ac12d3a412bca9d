"""One pass over the subscribers: their best bundles at some prices, added up."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.limits import MICRO
from engine.prices import Evaluation
from engine.problem import Block, Problem
from kernels.backend import library, to_cpu
from kernels.choose import PROPENSITY_GRID, WEIGHT_GRID, choose

LARGEST_PRICE = 1e4  # in typical values a contact


class Oracle:
    """Evaluate the dual on some blocks, on top of settled bundles' constant sums."""

    def __init__(self, problem: Problem, blocks: Sequence[Block], constant: Any = 0) -> None:
        """Hold the tables in money and units.

        Args:
            problem: the problem; its coefficients count, not its blocks.
            blocks: the subscribers to evaluate.
            constant: [4, G, A] int64, the tally of settled bundles, or 0.
        """
        self.problem, self.blocks, self.constant = problem, blocks, constant
        self.width = problem.width
        self.value_fixed = problem.value_fixed / MICRO
        self.value_accept = problem.value_accept / MICRO
        self.use_fixed, self.use_accept = problem.use_fixed / MICRO, problem.use_accept / MICRO
        self.subscribers = sum(len(b) for b in blocks)
        self.passes = 0

    def price_tables(self, prices: Any) -> tuple[Any, Any]:
        """Return [G, A] money per contact and per acceptance, summed in constraint order."""
        shape = (self.problem.groups, len(self.problem.offer))
        fixed, accept = np.zeros(shape), np.zeros(shape)
        prices = self.problem.per_term(prices)
        for k in np.flatnonzero(prices):
            rows = self.problem.in_scope[k]
            fixed[rows] += prices[k] * self.use_fixed[k]
            accept[rows] += prices[k] * self.use_accept[k]
        return fixed, accept

    def arguments(self, block: Block, prices: Any) -> Any:
        """Return the arguments of the kernels on the block's side."""
        problem = self.problem
        side = library(block.propensity)
        tables = (
            problem.offer,
            problem.channel,
            problem.category,
            self.value_fixed,
            self.value_accept,
            *self.price_tables(prices),
        )
        return (*block.arrays(), *(side.asarray(t) for t in tables))

    def choose(self, block: Block, prices: Any) -> Any:
        """Return the block's bundles at the prices and their tally, on the block's side."""
        return choose(*self.arguments(block, prices), self.width)

    def tally(self, prices: Any) -> Any:
        """Return [4, G, A] int64 on the host, settled bundles included."""
        self.passes += 1
        total = np.zeros((4, self.problem.groups, len(self.problem.offer)), np.int64)
        for block in self.blocks:
            total += to_cpu(self.choose(block, prices)[1])
        return total + self.constant

    def evaluate(self, prices: Any) -> Evaluation:
        """Return value and use of every class of groups at the prices."""
        contacts, p, weight, weighted = self.tally(prices).astype(np.float64)
        p, weight = p / PROPENSITY_GRID, weight / WEIGHT_GRID
        weighted = weighted / (PROPENSITY_GRID * WEIGHT_GRID)
        value = np.zeros(self.problem.groups)
        use = np.zeros(self.problem.in_scope.shape)
        for a in range(len(self.problem.offer)):  # in action order: the same bits everywhere
            value += weight[:, a] * self.value_fixed[a] + weighted[:, a] * self.value_accept[a]
            use += (
                self.use_fixed[:, a, None] * contacts[:, a]
                + self.use_accept[:, a, None] * p[:, a]
            )  # fmt: skip
        use = self.problem.per_limit(use * self.problem.in_scope)
        classes = self.problem.classes
        shared = (
            np.zeros(classes.max(initial=-1) + 1),
            np.zeros((len(use), classes.max(initial=-1) + 1)),
        )
        np.add.at(shared[0], classes, value)
        np.add.at(shared[1].T, classes, use.T)
        return Evaluation(prices, *shared)


def scale_of(problem: Problem) -> Any:
    """Return [K] what a typical contact uses of each constraint, > 0, in its units."""
    use = np.abs(problem.use_fixed) + np.abs(problem.use_accept) * problem.typical_propensity
    most = np.zeros(len(problem.rows))
    np.maximum.at(most, problem.terms, use.max(axis=1, initial=0.0))
    return np.maximum(most, 1) / MICRO


def typical_value(problem: Problem) -> float:
    """Return the most that a typical contact gains or loses, money: the unit of prices.

    By its value, or by what it saves or costs in penalties.
    """
    value = np.abs(problem.value_fixed) + np.abs(problem.value_accept) * problem.typical_propensity
    gained = float(max(value.max(initial=0), 1) / MICRO)
    if problem.penalty is not None:
        saved = np.where(np.isfinite(problem.penalty), problem.penalty, 0.0) * scale_of(problem)
        gained = max(gained, float(saved.max(initial=0.0)))
    return gained


def price_range(problem: Problem) -> tuple[Any, Any]:
    """Return [K] smallest and largest price: 0, and far more than any contact can be worth.

    Or the penalty of a soft limit, if that is less.
    """
    highest = LARGEST_PRICE * typical_value(problem) / scale_of(problem)
    if problem.penalty is not None:
        highest = np.minimum(highest, problem.penalty)
    return np.zeros(len(problem.rows)), highest
