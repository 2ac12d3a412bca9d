"""The oracle of listed pairs: every pair with a value and uses of its own."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from engine.block import KEY_RANGE
from engine.core import Core
from engine.oracle import Oracle, Survey, unit_of_prices
from engine.pair_block import PairBlock, joined_pairs
from engine.pair_core import core_of, total_of_bundles, units_of
from engine.pair_problem import PairProblem
from engine.pair_scatter import against_others, deviations, spread_of
from engine.prices import Evaluation
from engine.problem import not_above, not_below
from kernels.backend import library, to_cpu
from kernels.choose import within
from kernels.choose_pairs import choose_pairs, curve_pairs
from kernels.gather import counted, counted_codes, marked

CLASSES = 16  # the bundles of so many classes of subscribers are added up apart, for the cuts
FINEST_SQUARE = 30  # curvature is summed in whole numbers of 2**-30, or coarser ones


class PairOracle(Oracle):
    """Evaluate the dual on some blocks of pairs, on top of settled bundles' constant sums."""

    problem: PairProblem

    def __init__(
        self, problem: PairProblem, blocks: Sequence[PairBlock], constant: Any = 0
    ) -> None:
        """Hold the tables in money and units.

        Args:
            problem: the problem; its blocks do not count.
            blocks: the subscribers to evaluate.
            constant: [G, 1 + K] int64, the total of settled bundles, or 0.
        """
        self.problem, self.constant = problem, constant
        self.blocks = [block.without_sums() for block in blocks]
        self.width, self.classes = problem.width, CLASSES
        self.subscribers = sum(len(b) for b in blocks)
        self.units = np.array([float(unit) for unit in problem.use_unit])
        limits = zip(problem.limit, problem.use_unit, strict=True)
        self.limit = np.array([units / unit for units, unit in limits], np.float64)
        sizes = problem.measured
        self.scale = np.maximum(sizes.mean_use, 1.0) / self.units
        gained = max(sizes.mean_value, 1.0) / problem.value_unit
        saved = np.where(np.isfinite(self.penalty), self.penalty, 0.0) * self.scale
        self.typical = unit_of_prices(gained, saved, is_worth=sizes.largest_value > 0)
        self.floor = -np.inf if problem.has_musts else 0.0
        self.kinds = (problem.offer, problem.channel, problem.category)

    def over(self, blocks: Sequence[PairBlock], constant: Any = 0) -> "PairOracle":
        """Return the oracle of other subscribers of the same problem, in one block."""
        return PairOracle(self.problem, [joined_pairs(list(blocks))] if blocks else [], constant)

    def under(self, problem: PairProblem) -> "PairOracle":
        """As in :meth:`engine.oracle.Oracle.under`."""
        return PairOracle(problem, self.blocks, self.constant)

    @property
    def empty(self) -> PairBlock:
        """Return a host block without subscribers."""
        pointer, none = np.zeros(1, np.int64), np.empty(0, np.int64)
        caps = (int(kind.max(initial=-1)) + 1 for kind in self.kinds[1:])
        return PairBlock(
            none, pointer, none.astype(np.int32), none, pointer, none.astype(np.int32), none,
            none.astype(np.uint8), none.astype(np.uint8),
            *(np.empty((rows, 0), np.uint8) for rows in caps),
        )  # fmt: skip

    def kernel_prices(self, prices: Any) -> tuple[Any, float]:
        """Return [K] money per whole unit of use, and money per whole unit of value."""
        return prices / self.units, 1.0 / self.problem.value_unit

    def _arguments(self, block: PairBlock, *tables: Any) -> tuple[Any, ...]:
        side = library(block.key)
        return (*block.arrays(), *(side.asarray(t) for t in (*self.kinds, *tables)))

    def _nothing(self) -> Any:
        return np.zeros((self.classes, 1 + len(self.problem.rows)), np.int64)

    def sampled(self, share: float) -> "PairOracle":
        """Return the oracle of the subscribers whose key is in the lowest share of its range."""
        last = int(share * KEY_RANGE) - 1  # CuPy takes no 2**63
        return self.over([b.take(b.up_to(last)) for b in self.blocks])

    def survey(self, prices: Any, reach: Any = None) -> Survey:
        """Return the best bundles at the prices, and who is near to changing.

        Args:
            prices: [K] float64.
            reach: [1 + A] float64, money, how far the surplus of no action, and of each action, may
                move against the others'; a bundle's is the sum over its pairs. None: nobody.
        """
        price, worth = self.kernel_prices(prices)
        sizes = worth, self.classes, self.width
        found = (choose_pairs(*self._arguments(b, price), *sizes) for b in self.blocks)
        return self._surveyed(prices, self._nothing() + self.constant, found, reach)

    def reached(self, survey: Survey, reach: Any) -> Survey:
        """As in :meth:`engine.oracle.Oracle.reached`."""
        rows = []
        for chosen, margin in zip(survey.chosen, survey.margin, strict=True):
            side = library(margin)
            group = side.zeros(len(margin), np.int32)  # one reach for all
            rows.append(marked(within(chosen, margin, group, side.asarray(reach[None]))))
        return replace(survey, near=rows, reach=reach)

    def near_by_reach(self, survey: Survey) -> Any:
        """As in :meth:`engine.oracle.Oracle.near_by_reach`: [1 + A]."""
        size = 1 + len(self.problem.offer)
        near = np.zeros(size, np.int64)
        for chosen, rows in zip(survey.chosen, survey.near, strict=True):
            near += counted_codes(chosen, rows, 0, (1, size))[0]
        return near

    @cached_property
    def users(self) -> tuple[Any, Any]:
        """As in :attr:`engine.oracle.Oracle.users`."""
        constraint, action = np.nonzero(self.problem.measured.usual.T)
        return constraint, action + 1

    def narrowed(self, survey: Survey) -> "PairOracle":
        """Return the oracle of the near subscribers; the others keep their bundles."""
        inner = self.over([b.take(r) for b, r in zip(self.blocks, survey.near, strict=True)])
        own = inner.survey(survey.evaluation.prices).total
        return inner.over(inner.blocks, survey.total - own)

    def curve(self, prices: Any, bandwidth: float) -> tuple[Evaluation, Any, int]:
        """As in :meth:`engine.oracle.Oracle.curve`."""
        price, worth = self.kernel_prices(prices)
        step, count = 1.0 / (self.units * self.scale), len(self.scale)
        largest = float((self.problem.measured.largest_use * step).max(initial=1.0))
        size = (2.0 * self.width * largest) ** 2 * max(self.subscribers, 1)
        unit = 2.0 ** min(FINEST_SQUARE, 61 - int(size).bit_length())
        total, squares, near = self._nothing(), np.zeros((count, count), np.int64), 0
        for block in self.blocks:
            found = curve_pairs(
                *self._arguments(block, price, step), worth, bandwidth, unit, self.classes,
                self.width,
            )  # fmt: skip
            more, curvature, close = (to_cpu(x) for x in found)
            total += more
            squares += curvature
            near += int(close[0])
        lower = squares / (unit * 2.0 * bandwidth)
        whole = lower + np.tril(lower, -1).T
        return self.evaluation(prices, total + self.constant), whole, near

    @property
    def everybody(self) -> Any:
        """Return the reach that takes in all."""
        return np.full(1 + len(self.problem.offer), np.inf)

    def scattered(self, prices: Any, curvature: Any, rest: float) -> Any:
        """As in :meth:`engine.oracle.Oracle.scattered`."""
        whole = joined_pairs([b.to_host() for b in self.blocks] or [self.empty])
        order = np.argsort(whole.key, kind="stable")
        block, step = whole.take(order), 1.0 / (self.units * self.scale)
        survey = self.over([block]).survey(prices)
        chosen = survey.chosen[0]
        spread = spread_of(block, chosen, step, (curvature, prices > 0)) * rest
        codes = (chosen[chosen >= 0] + 1).astype(np.int64)
        centre = survey.evaluation.use_in_all / self.scale / max(1, len(codes))
        move = deviations(block, step, spread, centre, len(self.problem.offer))
        return against_others(move, np.bincount(codes, minlength=len(move)))

    def moved(self, one: Any, other: Any, survey: Survey) -> Any:
        """As in :meth:`engine.oracle.Oracle.moved`.

        An action's pairs are taken to spread by as much as they use on average of each constraint.
        """
        usual = self.problem.measured.usual / self.units
        move, squares = np.zeros((2, 1 + len(usual)))
        for k in range(len(one)):
            part = usual[:, k] * (one[k] - other[k])
            move[1:] += part
            squares[1:] += part * part
        held = np.zeros(len(move), np.int64)
        for chosen in survey.chosen:
            held += counted(chosen.astype(np.int64) + 1, len(held))
        held[0] = 0  # places beyond a bundle
        return against_others(np.sqrt(move * move + squares), held)

    def core(self, survey: Survey, part: int) -> Core:
        """As in :meth:`engine.oracle.Oracle.core`."""
        return core_of(self, survey, part)

    def total_of(self, core: Core, rows: Any, taken: Any) -> Any:
        """As in :meth:`engine.oracle.Oracle.total_of`."""
        units = units_of(self, core.block, np.asarray(rows, np.int64), core.bundles[taken])
        return total_of_bundles(self, core.block.key[rows], units)

    def exact_bundles(self, core: Core, listed: list[int]) -> tuple[list[int], list[list[int]]]:
        """As in :meth:`engine.oracle.Oracle.exact_bundles`."""
        at = np.asarray(listed, np.int64)
        units = units_of(self, core.block, core.owner[at], core.bundles[at])
        return units[:, 0].tolist(), units[:, 1:].T.tolist()

    @cached_property
    def penalty(self) -> Any:
        """As in :attr:`engine.oracle.Oracle.penalty`."""
        units = zip(self.penalty_units, self.use_unit, strict=True)
        costs = [None if cost is None else cost * unit / self.value_unit for cost, unit in units]
        return np.array([np.inf if cost is None else not_above(cost) for cost in costs], np.float64)

    @property
    def penalty_units(self) -> list[Fraction | None]:
        """As in :attr:`engine.oracle.Oracle.penalty_units`."""
        return self.problem.penalty_units

    def exact(self, total: Any) -> tuple[int | Fraction, list[int]]:
        """As in :meth:`engine.oracle.Oracle.exact`."""
        worth, *used = total.sum(axis=0).tolist()
        left = [b - u for b, u in zip(self.problem.limit, used, strict=True)]
        value: int | Fraction = worth
        for room, cost in zip(left, self.penalty_units, strict=True):
            if cost is not None and room < 0:
                value += cost * room
        return value, left

    def bound(self, survey: Survey) -> float:
        """As in :meth:`engine.oracle.Oracle.bound`; rounding as in the structured form's."""
        prices, sizes = survey.evaluation.prices, self.problem.measured
        worth, *used = survey.total.sum(axis=0).tolist()
        exact = Fraction(worth, self.value_unit)
        for k, price in enumerate(prices.tolist()):
            exact += Fraction(price) * (self.problem.limit[k] - used[k]) / self.use_unit[k]
        paid = float((prices * sizes.largest_use / self.units).sum())
        size = self.width * self.subscribers * (sizes.largest_value / self.value_unit + paid)
        lists = (library(b.use_first).diff(b.use_first) for b in self.blocks)
        most = max((int(x.max()) for x in lists if len(x)), default=0)
        terms = most + 2 * self.width + 16
        return not_below(exact + Fraction(2.0 * terms * 2.0**-53 * size))

    @property
    def value_unit(self) -> int:
        """As in :attr:`engine.oracle.Oracle.value_unit`."""
        return self.problem.value_unit

    @property
    def use_unit(self) -> list[int]:
        """As in :attr:`engine.oracle.Oracle.use_unit`."""
        return list(self.problem.use_unit)

    @cached_property
    def _money(self) -> float:
        return float(self.problem.value_unit)

    def evaluation(self, prices: Any, total: Any) -> Evaluation:
        """Return value and use of every class, from their total."""
        value, use = total[:, 0] / self._money, total[:, 1:] / self.units
        return Evaluation(prices, value, np.ascontiguousarray(use.T), self.floor)
