"""The oracle of a base whose blocks stay where they are: on the workers that made them.

A pass is one task a partition. Tallies and curvatures come back, whole numbers, which add up to
the same bits in any order. Bundles and margins stay beside their blocks. Near subscribers are
gathered into an oracle of this process, on one device; so are samples.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from operator import itemgetter
from typing import Any

import numpy as np

from engine.block import KEY_RANGE, Block, joined
from engine.core import Core
from engine.offer_blocks import Ways, best_of, curve_of, heaviest, near_cells, near_rows, one_in
from engine.offer_core import Near, core_of, near_of
from engine.offer_oracle import OfferOracle
from engine.oracle import Survey
from engine.parts import Dealt, Parts
from engine.prices import Evaluation
from engine.problem import Problem
from kernels.backend import library, to_cpu


def offer_oracle(problem: Problem) -> OfferOracle:
    """Return the oracle of all subscribers of a problem, wherever its blocks are."""
    if isinstance(problem.blocks, Parts):
        return SpreadOracle(problem, problem.blocks)
    return OfferOracle(problem, problem.blocks)


@dataclass(frozen=True, eq=False)
class _Bundles:
    """The bundles of all partitions; to go through them brings them here, to the host."""

    best: Parts

    def __iter__(self) -> Iterator[Any]:
        return iter(self.best.map(_bundles))


@dataclass(frozen=True, eq=False)
class SpreadSurvey(Survey):
    """The best bundles of all subscribers, left beside their blocks."""

    blocks: Parts
    best: Parts  # of (chosen, margin, tally)
    sizes: tuple[int, ...]  # by block: how many are near

    @property
    def near_count(self) -> int:
        """As in :attr:`engine.oracle.Survey.near_count`."""
        return sum(self.sizes)

    @property
    def rows(self) -> Parts:
        """Return the near rows of each block, where the block is."""
        near: Any = self.near
        assert isinstance(near, Parts)
        return near

    @cached_property
    def near_here(self) -> list[Near]:
        """Return the near subscribers of each block, gathered once."""
        return self.blocks.map(_near_of, self.best, self.near)


class SpreadOracle(OfferOracle):
    """Evaluate the dual on all blocks, each where it is."""

    def __init__(self, problem: Problem, parts: Parts) -> None:
        """Hold the tables here, the blocks where they are.

        Args:
            problem: the problem.
            parts: its blocks.
        """
        super().__init__(problem, [])
        self.parts = parts
        self.subscribers = sum(parts.told(len))

    def under(self, problem: Problem) -> OfferOracle:
        """As in :meth:`engine.oracle.Oracle.under`."""
        return SpreadOracle(problem, self.parts)

    def _heaviest(self) -> float:
        return max(self.parts.told(heaviest), default=0.0)

    def _joined(self, blocks: list[Block]) -> OfferOracle:
        return self.over([joined(blocks)] if blocks else [])

    def sampled(self, share: float) -> OfferOracle:
        """As in :meth:`engine.oracle.Oracle.sampled`; the sample is gathered."""
        return self._joined(self.parts.map(_up_to, int(share * KEY_RANGE) - 1))

    def evaluate(self, prices: Any) -> Evaluation:
        """As in :meth:`engine.oracle.Oracle.evaluate`; nothing stays."""
        tallies = self._tallies(self._tables(prices))
        return self.evaluation(prices, sum(tallies, self._no_tally() + self.constant))

    def survey(self, prices: Any, reach: Any = None) -> Survey:
        """As in :meth:`engine.oracle.Oracle.survey`."""
        best = self.parts.keep(best_of, self._tables(prices), self.ways)
        total = sum(best.map(itemgetter(2)), self._no_tally() + self.constant)
        return self._survey(self.evaluation(prices, total), total, best, reach)

    def _survey(self, evaluation: Evaluation, total: Any, best: Parts, reach: Any) -> Survey:
        chosen: Any = _Bundles(best)
        none: Any = best.keep(_nobody) if reach is None else None
        sizes = (0,) * len(best)
        survey = SpreadSurvey(evaluation, total, chosen, none, none, reach, self.parts, best, sizes)
        return survey if reach is None else self.reached(survey, reach)

    def reached(self, survey: Survey, reach: Any) -> Survey:
        """As in :meth:`engine.oracle.Oracle.reached`."""
        own = _spread(survey)
        near: Any = self.parts.keep(_near_rows, own.best, reach)
        return replace(own, near=near, reach=reach, sizes=tuple(near.map(len)))

    def _near_cells(self, survey: Survey, shape: Any) -> list[Any]:
        own = _spread(survey)
        return self.parts.map(_near_cells_of, own.best, own.near, shape)

    def narrowed(self, survey: Survey) -> OfferOracle:
        """As in :meth:`engine.oracle.Oracle.narrowed`; the near subscribers are gathered."""
        inner = self._joined(self.parts.map(Block.take, survey.near))
        own = inner.survey(survey.evaluation.prices).total
        return inner.over(inner.blocks, survey.total - own)

    def filled(self, survey: Survey, theirs: Survey, reach: Any) -> Survey:
        """As in :meth:`engine.oracle.Oracle.filled`; the new bundles are sent back."""
        own = _spread(survey)
        ends = np.cumsum(own.sizes).tolist()  # the inner oracle has them in one block
        mine = (theirs.chosen, theirs.margin, theirs.near)
        chosen, margin, near = [to_cpu(x[0]) for x in mine] if ends else [np.empty(0)] * 3
        changes, still = [], []
        for end, size in zip(ends, own.sizes, strict=True):
            begin = end - size
            changes.append((chosen[:, begin:end], margin[begin:end]))
            still.append(near[(near >= begin) & (near < end)] - begin)
        best = own.best.keep(_replaced, own.near, Dealt(changes))
        rows: Any = own.rows.keep(_of_rows, Dealt(still))
        sizes = tuple(len(s) for s in still)
        kept: Any = _Bundles(best)
        none: Any = None
        both = np.minimum(reach, own.reach)  # nobody else was looked at
        return SpreadSurvey(
            theirs.evaluation, theirs.total, kept, none, rows, both, self.parts, best, sizes
        )

    def _curves(self, every: int, tables: Any, sizes: Any) -> list[Any]:
        return self.parts.map(_curve_of, tables, sizes, every, self.ways)

    def _tallies(self, tables: Any) -> list[Any]:
        return self.parts.map(_tally_at, tables, self.ways)

    def core(self, survey: Survey, part: int) -> Core:
        """As in :meth:`engine.oracle.Oracle.core`."""
        own = _spread(survey)
        return core_of(self, own.near_here, own.evaluation.prices, part)


def _spread(survey: Survey) -> SpreadSurvey:
    if not isinstance(survey, SpreadSurvey):
        raise AssertionError("the survey is of another oracle")
    return survey


def _bundles(best: tuple[Any, ...]) -> Any:
    return to_cpu(best[0])


def _nobody(best: tuple[Any, ...]) -> Any:
    return library(best[1]).empty(0, "int64")


def _up_to(block: Block, key: int) -> Block:
    return block.take(block.up_to(key))


def _tally_at(block: Block, tables: Any, ways: Ways) -> Any:
    return best_of(block, tables, ways)[2]


def _curve_of(block: Block, tables: Any, sizes: Any, every: int, ways: Ways) -> Any:
    return curve_of(one_in(block, every), tables, sizes, ways)


def _near_rows(block: Block, best: tuple[Any, ...], reach: Any) -> Any:
    return near_rows(block, best[0], best[1], reach)


def _near_cells_of(block: Block, best: tuple[Any, ...], rows: Any, shape: Any) -> Any:
    return near_cells(block, best[0], rows, shape)


def _near_of(block: Block, best: tuple[Any, ...], rows: Any) -> Near:
    return near_of(block, best[0], rows)


def _replaced(best: tuple[Any, ...], rows: Any, change: tuple[Any, Any]) -> tuple[Any, ...]:
    """Return other bundles and margins for some rows; the tally is left out."""
    side = library(best[1])
    chosen, margin = best[0].copy(), best[1].copy()
    chosen[:, rows], margin[rows] = (side.asarray(new) for new in change)
    return chosen, margin, None


def _of_rows(rows: Any, positions: Any) -> Any:
    return rows[library(rows).asarray(positions)]
