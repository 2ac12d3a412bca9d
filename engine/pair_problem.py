"""The allocation problem in its general form: every pair listed with numbers of its own.

    maximise    sum_n value[n] x[n]
    subject to  x over the pairs of s in X_s               for every subscriber s
                sum_n use[k,n] x[n] <= limit[k]            for every constraint k
                x in {0, 1}

A soft limit may be passed: each unit beyond it takes its penalty off the objective.

X_s: at most ``most[s]`` pairs, ``channel_most[c,s]`` on channel c, ``category_most[h,s]`` of
category h, each offer once; where ``fewest[s]`` is 1, exactly one. Only listed pairs are open.

Every number is a whole number: of ``1 / value_unit`` money, and of ``1 / use_unit[k]`` units of
constraint k. No sum over an allocation reaches 2**62 (``MOST_UNITS``), so 64-bit sums are exact and
do not depend on order. S subscribers, A actions, N pairs, M uses other than zero, K constraints,
C channels, H categories, Q most pairs of any subscriber.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from math import inf
from typing import Any

import numpy as np

from engine.errors import DataError
from engine.pair_block import PairBlock
from engine.pair_full import FullBlock
from engine.pair_grids import as_written, in_whole_units, not_finite, whole_limit
from engine.pair_lists import Measured, check_caps, check_lists, measured
from engine.problem import UNIT, Row
from kernels.backend import library
from kernels.choose import MOST_BUNDLE, MOST_CODES
from kernels.choose_pairs import MOST_PAIRS

MOST_UNITS = 1 << 62  # sums of whole units stay below it


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

    def __post_init__(self) -> None:
        actions, rows = len(self.offer), len(self.rows)
        problems = [
            f"{name}: has {len(found)} entries; one for each of the {wanted} {what} is needed"
            for name, found, wanted, what in (
                ("channel", self.channel, actions, "actions"),
                ("category", self.category, actions, "actions"),
                ("limit", self.limit, rows, "constraints"),
                ("use_unit", self.use_unit, rows, "constraints"),
            )
            if len(found) != wanted
        ]
        if actions > MOST_CODES:
            problems.append(f"actions: {actions} of them; at most {MOST_CODES} are allowed")
        if self.width > MOST_BUNDLE:
            problems.append(
                f"most: {self.width} pairs per subscriber; at most {MOST_BUNDLE} are allowed"
            )
        if min([self.value_unit, *self.use_unit]) < 1:
            problems.append("value_unit, use_unit: must be whole numbers of at least 1")
        problems += self._bad_rows()
        if problems:
            raise DataError.of(problems)
        sizes = actions, rows, int(self.channel.max(initial=-1)), int(self.category.max(initial=-1))
        first = 0
        for block in self.blocks:
            found = block.to_host()
            lists = check_lists(found, first, sizes, MOST_PAIRS)
            lists = lists or check_caps(found, first, (self.channel, self.category))
            if lists:
                raise DataError.of(lists)
            first += len(block)
        too_large = self._too_large()
        if too_large:
            raise DataError.of(too_large)

    @staticmethod
    def of(
        blocks: Sequence[PairBlock | FullBlock],
        kinds: tuple[Any, Any, Any],
        rows: Sequence[Row],
        limit: Sequence[float],
        *,
        currency: str = "money",
        penalty: Sequence[float] | None = None,
    ) -> "PairProblem":
        """Return the problem of pairs whose numbers are float64.

        Args:
            blocks: on the host; value and use_amount are float64, money and units of the
                constraints. Full ones are listed.
            kinds: offer, channel and category of each action, [A] int32.
            rows: [K] the constraints.
            limit: [K] units of the constraints.
            currency: as in the class.
            penalty: as in the class.

        Raises:
            DataError: numbers that are not finite, or whose range is too wide for whole units:
                subscriber, action and how many.
        """
        names = [row.name for row in rows]
        listed = [b.listed() if isinstance(b, FullBlock) else b for b in blocks]
        problems = not_finite(listed, names)
        problems += [
            f"limit of {name}: got {amount}; it must be a finite number"
            for name, amount in zip(names, limit, strict=False)
            if not np.isfinite(amount)
        ]
        if problems:
            raise DataError.of(problems)
        contacts = sum(int(b.most.astype(np.int64).sum()) for b in listed)
        most = (MOST_UNITS - 1) // max(1, contacts)
        found, units = in_whole_units(listed, names, most)
        limits = [whole_limit(float(b), unit) for b, unit in zip(limit, units[1:], strict=False)]
        soft = None if penalty is None else np.array(penalty, np.float64)
        return PairProblem(
            found, *kinds, rows, limits, units[0], units[1:], currency=currency, penalty=soft
        )

    def _bad_rows(self) -> list[str]:
        """Return the constraints that listed pairs do not have, in words."""
        found = [
            f"{row.name}: is a ratio; list the uses of its linear form, numerator less limit times "
            "denominator, with a limit of 0"
            for row in self.rows
            if row.quotient is not None
        ]
        if self.penalty is None:
            return found
        if len(self.penalty) != len(self.rows):
            return [
                *found,
                f"penalty: has {len(self.penalty)} entries; {len(self.rows)} are needed",
            ]
        return found + [
            f"penalty of {row.name}: got {penalty:g}; it must be above 0, or inf for a hard limit"
            for row, penalty in zip(self.rows, self.penalty, strict=True)
            if not penalty > 0
        ]

    def _too_large(self) -> list[str]:
        """Return the numbers whose sums may not fit, in words."""
        contacts = max(1, self.contacts)
        most = (MOST_UNITS - 1) // contacts
        named = [("value", self.measured.largest_value, self.value_unit)]
        for row, largest, unit in zip(
            self.rows, self.measured.largest_use.tolist(), self.use_unit, strict=True
        ):
            named.append((f"use of {row.name}", largest, unit))
        return [
            f"{name}: up to {largest / unit:g} in units of 1/{unit}; with {contacts} contacts at "
            f"most {most / unit:g} is allowed, so that sums stay below 2**62 units"
            for name, largest, unit in named
            if largest > most
        ]

    @cached_property
    def measured(self) -> Measured:
        """Return what pairs count on the whole."""
        return measured(self.blocks, len(self.offer), len(self.rows))

    @property
    def subscribers(self) -> int:
        """Return S."""
        return sum(len(block) for block in self.blocks)

    @property
    def contacts(self) -> int:
        """Return how many pairs an allocation may have."""
        return sum(int(block.most.astype(np.int64).sum()) for block in self.blocks)

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
        )  # fmt: skip
