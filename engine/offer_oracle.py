"""The oracle of a base: propensities of every subscriber and action, scoped linear uses."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from math import inf
from typing import Any

import numpy as np

from engine.block import KEY_RANGE, Block
from engine.coarse import coarser, tied
from engine.core import Core
from engine.entries import Entries, added, paid
from engine.household_rules import MOST_MEMBERS
from engine.limits import MICRO
from engine.offer_blocks import Ways, best_of, curve_of, heaviest, near_cells, near_rows, one_in
from engine.offer_core import core_of, exact_numbers, near_of, tally_of
from engine.oracle import Oracle, Survey, unit_of_prices
from engine.prices import Evaluation
from engine.problem import (
    USE_UNIT,
    VALUE_UNIT,
    Problem,
    limit_units,
    net_value,
    not_below,
    penalty_units,
    use_units,
    value_units,
    whole_limits,
)
from engine.scatter import add_scatter, deviations, invert, product
from kernels.backend import library
from kernels.choose import PROPENSITY_GRID, WEIGHT_GRID
from kernels.threads import each_whole

FINEST_SQUARE = 30  # curvature is summed in whole numbers of 2**-30, or coarser ones
COUNTED = 50_000  # subscribers that it is counted from, if that is enough ...
TIES_PER_LIMIT = 40  # ... for so many near ties


class OfferOracle(Oracle):
    """Evaluate the dual on some blocks, on top of settled bundles' constant sums."""

    value: Any  # [2, A] float64, money per contact and per acceptance
    entries: Entries
    rules: tuple[Any, ...]
    ways: Ways
    floor: float  # money, the least that subscribers are worth

    def __init__(
        self,
        problem: Problem,
        blocks: Sequence[Block],
        constant: Any = 0,
        of: "OfferOracle | None" = None,
    ) -> None:
        """Hold the tables in money and units.

        Args:
            problem: the problem; its coefficients count, not its blocks.
            blocks: the subscribers to evaluate.
            constant: [G, A, 4] int64, the tally of settled bundles, or 0.
            of: an oracle of the same problem, whose tables serve here too.
        """
        self.problem, self.blocks, self.constant = problem, blocks, constant
        self.subscribers = sum(len(b) for b in blocks)
        self.width = problem.width
        if of is not None:
            self.value, self.entries = of.value, of.entries
            self.rules, self.ways = of.rules, of.ways
            self.floor, self.limit = of.floor, of.limit
            self.scale, self.typical = of.scale, of.typical
            return
        self.value = np.stack([problem.value_fixed, problem.value_accept]) / MICRO
        self.entries = Entries.of(problem)
        self.rules, self.ways = problem.rules.arrays(problem.offer), Ways.of(problem)
        self.floor = -inf if problem.has_musts else 0.0
        self.limit = whole_limits(problem) / MICRO
        self.scale, self.typical = scale_of(problem), typical_value(problem)

    def over(self, blocks: Sequence[Block], constant: Any = 0) -> "OfferOracle":
        """Return the oracle of other subscribers of the same problem."""
        return OfferOracle(self.problem, blocks, constant, self)

    def under(self, problem: Problem) -> "OfferOracle":
        """As in :meth:`engine.oracle.Oracle.under`."""
        return OfferOracle(problem, self.blocks, self.constant)

    def coarser(self) -> Iterator[tuple["OfferOracle", Any]]:
        """As in :meth:`engine.oracle.Oracle.coarser`: days are taken together."""
        for problem, place in coarser(self.problem):
            yield self.under(problem), place

    def tied(self) -> tuple["OfferOracle", Any] | None:
        """As in :meth:`engine.oracle.Oracle.tied`."""
        found = tied(self.problem)
        return None if found is None else (self.under(found[0]), found[1])

    def price_tables(self, prices: Any) -> tuple[Any, Any]:
        """Return [G, A] money per contact and per acceptance, summed in constraint order."""
        fixed, accept = np.empty((2, self.problem.groups, len(self.problem.offer)))
        entries = self.entries
        for use, out in ((entries.fixed, fixed), (entries.accept, accept)):
            paid(entries.first, entries.constraint, use, prices, out.reshape(-1))
        return fixed, accept

    def _tables(self, prices: Any) -> tuple[Any, ...]:
        """Return the action side of the kernels' arguments, on the blocks' side."""
        tables = (*self.rules, *self.value, *self.price_tables(prices))
        side = library(self.blocks[0].propensity) if self.blocks else np
        return tuple(side.asarray(t) for t in tables)

    def _no_tally(self) -> Any:
        return np.zeros((self.problem.groups, len(self.problem.offer), 4), np.int64)

    def sampled(self, share: float) -> "OfferOracle":
        """Return the oracle of the subscribers whose key is in the lowest share of its range."""
        last = int(share * KEY_RANGE) - 1  # CuPy takes no 2**63
        return self._taken([b.up_to(last) for b in self.blocks])

    def survey(self, prices: Any, reach: Any = None) -> Survey:
        """Return the best bundles at the prices, and who is near to changing.

        Args:
            prices: [K] float64.
            reach: [G, 1 + A] float64, money, as in :func:`kernels.choose.choose_cpu`; None: nobody
                is near.
        """
        tables = self._tables(prices)
        found = self._each(self._best(tables), self.blocks)
        return self._surveyed(prices, self._no_tally() + self.constant, found, reach)

    def reached(self, survey: Survey, reach: Any) -> Survey:
        """As in :meth:`engine.oracle.Oracle.reached`."""
        parts = zip(self.blocks, survey.chosen, survey.margin, survey.near, strict=True)
        is_shorter = survey.reach is not None and bool((reach <= survey.reach).all())

        def rows_of(part: Any) -> Any:
            block, chosen, margin, near = part
            return near_rows(block, chosen, margin, reach, near if is_shorter else None)

        return replace(survey, near=self._each(rows_of, list(parts)), reach=reach)

    def _each(self, work: Callable[[Any], Any], parts: Sequence[Any]) -> list[Any]:
        """Return ``work(part)`` of every block's part; those on a device one after another."""
        return each_whole(work, parts) if self._is_here else [work(part) for part in parts]

    def near_by_reach(self, survey: Survey) -> Any:
        """As in :meth:`engine.oracle.Oracle.near_by_reach`: [G, 1 + A]."""
        shape = self.problem.groups, 1 + len(self.problem.offer)
        return sum(self._near_cells(survey, shape), np.zeros(shape, np.int64))

    def _near_cells(self, survey: Survey, shape: tuple[int, int]) -> list[Any]:
        blocks = zip(self.blocks, survey.chosen, survey.near, strict=True)
        return [near_cells(block, chosen, rows, shape) for block, chosen, rows in blocks]

    @cached_property
    def users(self) -> tuple[Any, Any]:
        """As in :attr:`engine.oracle.Oracle.users`."""
        first, actions = self.entries.first, len(self.problem.offer)
        cell = np.repeat(np.arange(len(first) - 1), np.diff(first))
        return self.entries.constraint, cell + cell // max(actions, 1) + 1

    def narrowed(self, survey: Survey) -> "OfferOracle":
        """Return the oracle of the near subscribers; the others keep their bundles."""
        inner = self._taken(survey.near)
        own = inner.survey(survey.evaluation.prices).total
        return inner.over(inner.blocks, survey.total - own)

    @property
    def _is_here(self) -> bool:
        """Return whether there are blocks, in host memory."""
        return bool(self.blocks) and library(self.blocks[0].key) is np

    def _taken(self, rows: Sequence[Any]) -> "OfferOracle":
        """Return the oracle of some rows of each block: one block of them costs fewer calls."""
        return self.over([Block.taken(self.blocks, rows)] if self.blocks else [])

    def curve(self, prices: Any, bandwidth: float) -> tuple[Evaluation, Any, int]:
        """As in :meth:`engine.oracle.Oracle.curve`."""
        entries, used = self.entries, self._scaled
        listed = (entries.first, entries.constraint, *used)
        largest = self.width * float(sum(np.abs(u).max(initial=0.0) for u in used))
        size = 4 * max(largest, 1.0) ** 2 * max(self.subscribers, 1) * self._together
        unit = 2.0 ** min(FINEST_SQUARE, 61 - int(size).bit_length())
        count = len(self.limit)
        arguments = (*self._tables(prices), *listed), (bandwidth, unit, count)
        every, (total, squares, near) = self.every, self._curved(self.every, *arguments)
        if every > 1 and near < TIES_PER_LIMIT * count:
            every, (total, squares, near) = 1, self._curved(1, *arguments)
        elif every > 1:
            total = sum(self._tallies(arguments[0][: -len(listed)]), self._no_tally())
        lower = every * squares / (unit * 2.0 * bandwidth)
        whole = lower + np.tril(lower, -1).T
        return self.evaluation(prices, total + self.constant), whole, every * near

    def _curved(self, every: int, tables: Any, sizes: Any) -> tuple[Any, Any, int]:
        """Return tally, squares and near ties of one in so many subscribers."""
        count = len(self.limit)
        total, squares, near = self._no_tally(), np.zeros((count, count), np.int64), 0
        for tally, curvature, close in self._curves(every, tables, sizes):
            total += tally
            squares += curvature
            near += int(close[0])
        return total, squares, near

    @property
    def _together(self) -> int:
        """Return of how many subscribers at most the bundles are chosen together."""
        return 1 if self.ways.households is None else MOST_MEMBERS

    @cached_property
    def every(self) -> int:
        """Return one in how many subscribers, a power of 2, make the curvature if ties are many."""
        return 1 << min(15, max(0, (self.subscribers // COUNTED).bit_length() - 1))

    @cached_property
    def _counted(self) -> list[Block]:
        return [one_in(block, self.every) for block in self.blocks]

    def _curves(self, every: int, tables: Any, sizes: Any) -> list[Any]:
        blocks = self.blocks if every == 1 else self._counted
        return [curve_of(block, tables, sizes, self.ways) for block in blocks]

    def _tallies(self, tables: Any) -> list[Any]:
        return [found[2] for found in self._each(self._best(tables), self.blocks)]

    def _best(self, tables: Any) -> Callable[[Block], tuple[Any, Any, Any]]:
        return lambda block: best_of(block, tables, self.ways)

    @cached_property
    def _scaled(self) -> tuple[Any, Any]:
        """Return the entries' uses per contact and per acceptance, in typical contacts."""
        unit = self.scale[self.entries.constraint]
        return self.entries.fixed / unit, self.entries.accept / unit

    @property
    def everybody(self) -> Any:
        """Return the reach that takes in all."""
        return np.full((self.problem.groups, 1 + len(self.problem.offer)), np.inf)

    def scattered(self, prices: Any, curvature: Any, rest: float) -> Any:
        """As in :meth:`engine.oracle.Oracle.scattered`."""
        tally = self.survey(prices).total
        groups, actions, _ = tally.shape
        contacts = tally[..., 0].reshape(-1).astype(np.float64)
        p = tally[..., 1].reshape(-1) / PROPENSITY_GRID
        overall = p.sum() / max(1.0, contacts.sum())
        mean = np.where(contacts > 0, p / np.maximum(contacts, 1.0), overall)
        entries, count = self.entries, len(self.scale)
        used = (entries.first, entries.constraint, *self._scaled)
        covariance, inverse = np.zeros((count, count)), np.zeros((count, count))
        add_scatter(contacts, mean, *used, covariance)
        invert(curvature, np.flatnonzero((prices > 0) & ~self.charged), inverse)
        spread = product(product(inverse, covariance), inverse) * rest
        centre = self.evaluation(prices, tally).use_in_all / self.scale
        out = np.empty((groups, actions + 1))
        deviations(spread, mean, *used, centre / max(1.0, contacts.sum()), out)
        return _against_others(out, tally)

    def moved(self, one: Any, other: Any, survey: Survey) -> Any:
        """As in :meth:`engine.oracle.Oracle.moved`."""
        (fixed, accept), (fixed_, accept_) = (self.price_tables(p) for p in (one, other))
        move = np.abs(fixed - fixed_) + np.abs(accept - accept_) * self.problem.typical_propensity
        move = np.concatenate([np.zeros((len(move), 1)), move], axis=1)
        return _against_others(move, survey.total)

    def core(self, survey: Survey, part: int) -> Core:
        """As in :meth:`engine.oracle.Oracle.core`."""
        near = map(near_of, self.blocks, survey.chosen, survey.near)
        return core_of(self, list(near), survey.evaluation.prices, part)

    def total_of(self, core: Core, rows: Any, taken: Any) -> Any:
        """As in :meth:`engine.oracle.Oracle.total_of`."""
        return tally_of(self.problem, core.block.take(rows), core.bundles[taken])

    def exact_bundles(self, core: Core, listed: list[int]) -> tuple[list[int], list[list[int]]]:
        """As in :meth:`engine.oracle.Oracle.exact_bundles`."""
        return exact_numbers(self.problem, core, listed)

    @property
    def charged(self) -> Any:
        """As in :attr:`engine.oracle.Oracle.charged`."""
        return self.problem.is_charged

    @cached_property
    def penalty(self) -> Any:
        """As in :attr:`engine.oracle.Oracle.penalty`."""
        return super().penalty if self.problem.penalty is None else self.problem.penalty

    @property
    def penalty_units(self) -> list[Fraction | None]:
        """As in :attr:`engine.oracle.Oracle.penalty_units`."""
        return penalty_units(self.problem)

    def exact(self, total: Any) -> tuple[int | Fraction, list[int]]:
        """As in :meth:`engine.oracle.Oracle.exact`."""
        used = use_units(self.problem, total)
        left = [b - u for b, u in zip(limit_units(self.problem), used, strict=True)]
        return net_value(self.problem, total), left

    def bound(self, survey: Survey) -> float:
        """As in :meth:`engine.oracle.Oracle.bound`.

        A surplus of N terms of size m in all is computed to ``1.01 (N + 8 + Q) 2**-53 m`` (Higham,
        "Accuracy and Stability of Numerical Algorithms", 3.1); that may count twice, for the bundle
        chosen and for the best one.
        """
        prices, problem = survey.evaluation.prices, self.problem
        left = zip(limit_units(problem), use_units(problem, survey.total), strict=True)
        exact = Fraction(value_units(problem, survey.total), VALUE_UNIT)
        for price, (limit, used) in zip(prices.tolist(), left, strict=True):
            exact += Fraction(price) * (limit - used) / USE_UNIT
        sizes = np.zeros(problem.groups * len(problem.offer))
        entries = self.entries
        use = np.abs(entries.fixed) + np.abs(entries.accept)
        paid(entries.first, entries.constraint, use, prices, sizes)
        worth = self._heaviest() * float(np.abs(self.value).sum(axis=0).max(initial=0.0))
        size = self.width * self.subscribers * (worth + float(sizes.max(initial=0.0)))
        terms = int(np.diff(entries.first).max(initial=0)) + 2 * self.width * self._together + 16
        return not_below(exact + Fraction(2.0 * terms * 2.0**-53 * size))

    def _heaviest(self) -> float:
        """Return the largest weight."""
        return max((heaviest(b) for b in self.blocks), default=0.0)

    @property
    def value_unit(self) -> int:
        """As in :attr:`engine.oracle.Oracle.value_unit`."""
        return VALUE_UNIT

    @property
    def use_unit(self) -> list[int]:
        """As in :attr:`engine.oracle.Oracle.use_unit`."""
        return [USE_UNIT] * len(self.limit)

    @cached_property
    def classes(self) -> Any:
        """Return [G] the cut class of each group."""
        return self.problem.classes

    def evaluation(self, prices: Any, tally: Any) -> Evaluation:
        """Return value and use of every class, from the tally of its contacts."""
        count = int(self.classes.max(initial=-1)) + 1
        worth, use = np.zeros(count), np.zeros((len(self.problem.rows), count))
        entries = self.entries
        added(
            tally, self.value, entries.first, entries.constraint, entries.fixed, entries.accept,
            self.classes, float(PROPENSITY_GRID), float(WEIGHT_GRID), worth, use,
        )  # fmt: skip
        return Evaluation(prices, worth, use, self.floor)


def _against_others(move: Any, tally: Any) -> Any:
    """Return [G, 1 + A] how far each surplus moves against others, from how far it moves itself.

    Others move as contacts do on average. Rare actions that may move farther are left out here; the
    next survey takes in those whom that concerns.
    """
    weight = np.concatenate([np.zeros((len(tally), 1)), tally[..., 0]], axis=1)
    others = (weight * move * move).sum() / max(1.0, weight.sum())
    return np.sqrt(move * move + others)


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
    if problem.penalty is None:
        return gained
    saved = np.where(np.isfinite(problem.penalty), problem.penalty, 0.0) * scale_of(problem)
    return unit_of_prices(gained, saved, is_worth=bool(value.any()))
