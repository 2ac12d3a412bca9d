"""The allocation problem in its general form: every pair listed with numbers of its own.

    maximise    sum_n value[n] x[n]
    subject to  x over the pairs of s in X_s               for every subscriber s
                sum_n use[k,n] x[n] <= limit[k]            for every constraint k
                x in {0, 1}

A soft limit may be passed: each unit beyond it takes its penalty off the objective. A ratio of sums
is limited by its linear form (:mod:`engine.pair_ratio`). Blocks may be given in full, with a number
of every subscriber and action (:mod:`engine.pair_full`); they are listed.

X_s: at most ``most[s]`` pairs, ``channel_most[c,s]`` on channel c, ``category_most[h,s]`` of
category h, each offer once; where ``fewest[s]`` is 1, exactly one. Only listed pairs are open.

Every number is a whole number: of ``1 / value_unit`` money, and of ``1 / use_unit[k]`` units of
constraint k. No sum over an allocation reaches 2**62 (``MOST_UNITS``), so 64-bit sums are exact and
do not depend on order. S subscribers, A actions, N pairs, M uses other than zero, K constraints,
C channels, H categories, Q most pairs of any subscriber. A pair is 20 bytes, and 12 each use.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from math import inf
from typing import Any

import numpy as np

from engine.errors import DataError
from engine.pair_block import PairBlock
from engine.pair_checks import numbers, tables
from engine.pair_full import FullBlock
from engine.pair_grids import as_written, in_whole_units, not_finite, whole_limit
from engine.pair_lists import MOST_UNITS as MOST_UNITS
from engine.pair_lists import Measured, contacts_of, measured, most_units_of, refuse_wrong
from engine.pair_ratio import Ratio, SumRatio, names_of, sums_taken, with_forms
from engine.problem import UNIT, Row
from kernels.backend import library


@dataclass(frozen=True, eq=False)
class PairProblem:
    """One allocation problem of listed pairs. What is not by subscriber is on the host."""

    blocks: Sequence[PairBlock]
    offer: Any  # [A] int32
    channel: Any  # [A] int32
    category: Any  # [A] int32
    rows: Sequence[Row]  # [K]
    limit: Sequence[int]  # [K], in 1 / use_unit of the constraint, of any size
    value_unit: int  # whole units of value in one unit of money, >= 1
    use_unit: Sequence[int]  # [K] whole units of use in one unit of the constraint, >= 1
    currency: str = "money"  # its name, for people
    penalty: Any = None  # [K] float64, money per unit beyond a limit, inf: hard; None: all are hard
    ratios: Sequence[SumRatio | None] = ()  # [K] of each form of a ratio, that; empty: all are sums
    measured: Measured = field(init=False, repr=False)  # what pairs count on the whole

    def __post_init__(self) -> None:
        found = tables(self)
        if found:
            raise DataError.of(found)
        host = [block.to_host() for block in self.blocks]  # once: they may be large
        refuse_wrong(host, (self.offer, self.channel, self.category), len(self.rows))
        sizes = measured(host, len(self.offer), len(self.rows))
        object.__setattr__(self, "measured", sizes)
        found = numbers(self, host)
        if found:
            raise DataError.of(found)

    @staticmethod
    def of(
        blocks: Sequence[PairBlock | FullBlock],
        kinds: tuple[Any, Any, Any],
        rows: Sequence[Row],
        limit: Sequence[float],
        *,
        ratios: Sequence[Ratio] = (),
        currency: str = "money",
        penalty: Sequence[float] | None = None,
    ) -> "PairProblem":
        """Return the problem of pairs whose numbers are float64.

        Args:
            blocks: on the host; value and use_amount are float64, money and units of the
                constraints. Full ones are listed.
            kinds: offer, channel and category of each action, [A] int32.
            rows: the constraints that limit a sum.
            limit: of each of these, units of the constraints.
            ratios: the constraints that limit a ratio, which come after these. The sums of a
                ratio are uses of the blocks: of constraints above, or of further ones which are
                listed for ratios alone.
            currency: as in the class.
            penalty: as in the class; of a ratio money per unit of what is divided.

        Raises:
            DataError: numbers that are not finite, or whose range is too wide for whole units:
                subscriber, action and how many.
        """
        if len(limit) != len(rows):
            raise DataError(
                f"limit: has {len(limit)} entries; one for each of the {len(rows)} constraints "
                "that limit a sum is needed, none for a ratio"
            )
        names = names_of([row.name for row in rows], ratios)
        listed = [b.listed() if isinstance(b, FullBlock) else b for b in blocks]
        problems = not_finite(listed, names)
        problems += [
            f"limit of {row.name}: got {amount}; it must be a finite number"
            for row, amount in zip(rows, limit, strict=True)
            if not np.isfinite(amount)
        ]
        if problems:
            raise DataError.of(problems)
        most = most_units_of(listed)
        found, units = in_whole_units(listed, names[: len(rows)], most)
        limits = [whole_limit(float(b), unit) for b, unit in zip(limit, units[1:], strict=False)]
        kept: list[SumRatio | None] = []
        if ratios:
            refuse_wrong(found, kinds, len(names))
            found, forms, more = with_forms(found, listed, ratios, names, len(rows), most)
            kept, units = [*[None] * len(rows), *forms], [*units, *more]
            rows = [*rows, *(Row(r.name, "ratio", r.is_minimum) for r in ratios)]
            limits += [0] * len(ratios)
        soft = None if penalty is None else np.array(penalty, np.float64)
        return PairProblem(
            found, *kinds, rows, limits, units[0], units[1:], currency=currency, penalty=soft,
            ratios=kept,
        )  # fmt: skip

    @property
    def subscribers(self) -> int:
        """Return S."""
        return sum(len(block) for block in self.blocks)

    @property
    def contacts(self) -> int:
        """Return how many pairs an allocation may have."""
        return contacts_of(self.blocks)

    @property
    def most_units(self) -> int:
        """Return whole units that a number of a pair may have, so that sums stay in range."""
        return most_units_of(self.blocks)

    @property
    def width(self) -> int:
        """Return Q, the most pairs of any subscriber, at least 1."""
        return max([1, *(int(b.most.max()) for b in self.blocks if len(b))])

    @cached_property
    def has_musts(self) -> bool:
        """Return whether the empty bundle is no choice for somebody."""
        return any(bool(b.fewest.any()) for b in self.blocks)

    @property
    def limit_units(self) -> list[int]:
        """Return [K] limits in whole units."""
        return list(self.limit)

    @property
    def penalty_units(self) -> list[Fraction | None]:
        """Return [K] what a whole unit beyond each limit costs, in whole units of value.

        None: the limit is hard. A penalty with few decimals is what it is written as.
        """
        if self.penalty is None:
            return [None] * len(self.rows)
        amounts = zip(self.penalty.tolist(), self.use_unit, strict=True)
        return [None if p == inf else as_written(p) * self.value_unit / u for p, u in amounts]

    @property
    def least_value(self) -> float:
        """Return money that no allocation is worth less than: contacts at their worst."""
        worst = Fraction(self.measured.largest_value * self.contacts)
        most = zip(self.measured.largest_use.tolist(), self.limit, self.penalty_units, strict=True)
        for use, limit, cost in most:
            if cost is not None:
                worst += cost * max(0, use * self.contacts - limit)
        return -float(worst / self.value_unit) - 1.0

    @property
    def open_pairs(self) -> int:
        """Return N."""
        return sum(len(block.action) for block in self.blocks)

    def amount(self, k: int) -> float:
        """Return limit k in units of the constraint."""
        return self.limit[k] / self.use_unit[k]

    def unit(self, k: int) -> str:
        """Return the unit of limit k in words, one of it."""
        return UNIT.get(self.rows[k].measure, self.currency)

    def units(self, k: int) -> str:
        """Return the unit of limit k in words, many of it."""
        return f"{self.unit(k)}s" if self.rows[k].measure in UNIT else self.currency

    def with_blocks(self, blocks: Sequence[PairBlock]) -> "PairProblem":
        """Return the same problem over other subscribers."""
        return replace(self, blocks=blocks)

    def gathered(self) -> "PairProblem":
        """Return the same problem with its blocks at hand: they are."""
        return self

    def without_value(self) -> "PairProblem":
        """Return the same problem with nothing to gain."""
        blocks = [replace(b, value=library(b.key).zeros_like(b.value)) for b in self.blocks]
        return replace(self, blocks=blocks)

    def with_rows(self, keep: Sequence[int]) -> "PairProblem":
        """Return the same problem with some of its constraints."""
        place = np.full(len(self.rows), -1, np.int32)
        place[list(keep)] = np.arange(len(keep))
        return replace(
            self, blocks=[block.with_rows(place) for block in self.blocks],
            rows=[self.rows[k] for k in keep],
            limit=[self.limit[k] for k in keep], use_unit=[self.use_unit[k] for k in keep],
            penalty=None if self.penalty is None else self.penalty[np.array(keep, np.int64)],
            ratios=[self.ratios[k] for k in keep] if self.ratios else (),
        )  # fmt: skip

    def at_ratio(self, k: int, limit: Fraction) -> "PairProblem":
        """Return the same problem with another limit of the ratio k.

        Raises:
            OverflowError: uses of its form are too large for whole units.
        """
        ratios, units, ratio = list(self.ratios), list(self.use_unit), self.ratios[k]
        if ratio is None:
            raise AssertionError(f"{self.rows[k].name} is no ratio")
        is_minimum = self.rows[k].is_minimum
        forms, units[k] = ratio.form(self.blocks, limit, self.most_units, is_minimum=is_minimum)
        ratios[k] = replace(ratio, limit=limit)
        blocks = [block.with_uses(k, form) for block, form in zip(self.blocks, forms, strict=True)]
        return replace(self, blocks=blocks, use_unit=units, ratios=ratios)

    def reached(self, chosen: Sequence[Any]) -> dict[str, Fraction | None]:
        """Return the ratios that bundles reach, by name; None: of nothing.

        Args:
            chosen: [Q, S] by block, on the host, as in :class:`engine.solve.Allocation`.
        """
        named = zip(self.rows, self.ratios, strict=True) if self.ratios else ()
        sums = sums_taken(self.blocks, chosen) if self.ratios else []
        return {
            row.name: ratio.reached(sums) if sums else None
            for row, ratio in named
            if ratio is not None
        }
