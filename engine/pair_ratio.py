"""Ratios of sums over listed pairs, such as cost per acceptance, as linear forms.

A ratio ``sum of <= limit sum to`` is kept as ``sum (of - limit to) <= 0``, one use a pair, in whole
numbers: exactly where numbers and limit have few digits, else rounded up, so that what keeps the
form keeps the ratio (a minimum likewise, negated). While ``to`` is nothing, a ratio of at most its
limit thus allows no ``of``, and one of at least its limit is kept.

Beside the form stand the two sums, 16 bytes a pair and ratio: what is reached is read off them, and
forms at other limits are made of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import lcm
from typing import Any

import numpy as np
from numba import njit

from engine.errors import DataError
from engine.pair_block import PairBlock
from engine.pair_core import place_of
from engine.pair_grids import FINEST, as_written, not_negative, unit_of, use_problems, whole
from kernels.backend import library, to_cpu

CHUNK = 65_536  # pairs at a time where numbers need more than 64 bits


@dataclass(frozen=True)
class Ratio:
    """A limit of a sum over a sum, as a problem is given it."""

    name: str
    of: int  # constraint of the blocks whose uses are divided: a limit's, or one beyond them
    to: int  # likewise what they are divided by, never negative
    limit: Fraction | float  # >= 0; a number with few decimals is what it is written as
    is_minimum: bool = False  # whether the ratio is at least the limit

    def problems(self) -> list[str]:
        """Return what is wrong with it, in words."""
        found = []
        if not (self.limit >= 0 and self.limit < np.inf):
            found.append(
                f"limit of {self.name}: got {self.limit}; it must be a finite number from 0"
            )
        if min(self.of, self.to) < 0:
            found.append(f"{self.name}: is of constraints {self.of} and {self.to}; 0 is the first")
        return found


@dataclass(frozen=True)
class SumRatio:
    """A ratio in whole units: which of a block's sums are divided."""

    limit: Fraction  # >= 0
    of: int  # row of PairBlock.sums
    to: int
    of_unit: int  # whole units of the sum in one unit of it, >= 1
    to_unit: int

    def factors(self, limit: Fraction) -> tuple[int, int, int]:
        """Return whole numbers x, y, z for which ``of - limit to`` is ``(x of - y to) / z``."""
        rate = limit / self.to_unit
        scale = lcm(self.of_unit, rate.denominator)
        return scale // self.of_unit, int(rate * scale), scale

    def form(
        self, blocks: Sequence[PairBlock], limit: Fraction, most: int, *, is_minimum: bool
    ) -> tuple[list[Any], int]:
        """Return the form's use of every pair, and the reciprocal of its whole unit.

        Args:
            blocks: their sums count.
            limit: the ratio to compare with.
            most: whole units that a use may have.
            is_minimum: whether the form is negated.

        Raises:
            OverflowError: a use is too large for any whole unit.
        """
        x, y, scale = self.factors(limit)
        sign = -1 if is_minimum else 1
        of, to = (_largest(blocks, row) for row in (self.of, self.to))
        largest = x * of + y * to
        if largest <= most and scale <= 1 << FINEST:
            x, y = (sign * factor if size else 0 for factor, size in ((x, of), (y, to)))
            return [b.sums[self.of] * x - b.sums[self.to] * y for b in blocks], scale
        coarser = most * scale // max(1, largest)
        if coarser == 0:
            raise OverflowError(f"is of up to {float(Fraction(largest, scale)):g} a pair")
        unit = 1 << min(coarser.bit_length() - 1, FINEST)
        factors = sign * x * unit, sign * y * unit, scale
        return [_rounded_up(b.sums[self.of], b.sums[self.to], factors) for b in blocks], unit

    def reached(self, sums: Sequence[int]) -> Fraction | None:
        """Return the ratio of some sums [2R], whole units; None: it is by nothing."""
        if not sums[self.to]:
            return None
        return Fraction(sums[self.of], self.of_unit) / Fraction(sums[self.to], self.to_unit)


def _largest(blocks: Sequence[PairBlock], row: int) -> int:
    parts = [b.sums[row] for b in blocks if len(b.action)]
    return max((max(int(x.max()), -int(x.min())) for x in parts), default=0)


def _rounded_up(of: Any, to: Any, factors: tuple[int, int, int]) -> Any:
    """Return ``(x of - y to) / z`` rounded up, by whole numbers of any size."""
    x, y, z = factors
    side, of, to = library(of), to_cpu(of), to_cpu(to)
    out = np.empty(len(of), np.int64)
    for low in range(0, len(of), CHUNK):
        here = slice(low, low + CHUNK)
        out[here] = -((y * to[here].astype(object) - x * of[here].astype(object)) // z)
    return side.asarray(out)


def names_of(limits: Sequence[str], ratios: Sequence[Ratio]) -> list[str]:
    """Return the names of all constraints that blocks list: those of limits, then of sums alone.

    Raises:
        DataError: a ratio that is none, or a constraint beyond the limits that no ratio is of.
    """
    found = dict(enumerate(limits))
    for ratio in ratios:
        found.setdefault(ratio.of, f"what {ratio.name} divides")
        found.setdefault(ratio.to, f"what {ratio.name} divides by")
    problems = [text for ratio in ratios for text in ratio.problems()]
    missing = sorted(set(range(max(found, default=-1) + 1)) - set(found))
    if missing and not problems:
        problems.append(f"ratios: constraint {missing[0]} is no limit's, and no ratio is of it")
    if problems:
        raise DataError.of(problems)
    return [found[k] for k in range(len(found))]


def with_forms(
    blocks: Sequence[PairBlock], given: Sequence[PairBlock], ratios: Sequence[Ratio],
    names: Sequence[str], limits: int, most: int,
) -> tuple[list[PairBlock], list[SumRatio], list[int]]:  # fmt: skip
    """Return blocks in which the forms of ratios come after the limits, and their sums beside.

    Args:
        blocks: in whole units.
        given: the same with float64 uses, finite.
        ratios: R of them.
        names: as from :func:`names_of`.
        limits: how many of these are limits.
        most: whole units that a number may have.

    Returns:
        the blocks; the ratios in whole units; [R] reciprocal units of the forms.

    Raises:
        DataError: numbers that are out of their unit's range, or divided by and below 0.
    """
    sums, kept = _sums(given, ratios, names, most)
    place = np.full(len(names), -1, np.int32)
    place[:limits] = np.arange(limits)
    pairs = zip(blocks, sums, strict=True)
    out, units = [replace(block.with_rows(place), sums=mine) for block, mine in pairs], []
    for k, (ratio, given_as) in enumerate(zip(kept, ratios, strict=True), start=limits):
        try:
            forms, unit = ratio.form(out, ratio.limit, most, is_minimum=given_as.is_minimum)
        except OverflowError as error:
            raise DataError(
                f"limit of {given_as.name}: got {float(ratio.limit):g}; the form of the ratio "
                f"{error}, and its sums are not exact in 64 bits"
            ) from None
        out = [block.with_uses(k, form) for block, form in zip(out, forms, strict=True)]
        units.append(unit)
    return out, kept, units


def _sums(
    blocks: Sequence[PairBlock], ratios: Sequence[Ratio], names: Sequence[str], most: int
) -> tuple[list[Any], list[SumRatio]]:
    """Return what pairs add to the two sums of each ratio, and the ratios, in whole units.

    Sums are rounded such that their ratio looks no better than it is.
    """
    found = [np.zeros((2 * len(ratios), len(b.action)), np.int64) for b in blocks]
    kept, problems = [], []
    for r, ratio in enumerate(ratios):
        units = []
        for is_to, k in enumerate((ratio.of, ratio.to)):
            places = [np.flatnonzero(b.use_row == k) for b in blocks]
            numbers = [b.use_amount[at] for b, at in zip(blocks, places, strict=True)]
            units.append(unit_of(numbers, most))
            wrong = use_problems(names[k], blocks, places, numbers, (units[-1], most))
            if is_to:
                wrong += not_negative(names[k], blocks, places, numbers)
            problems += wrong
            sign = -1 if is_to != ratio.is_minimum else 1  # -1: rounded down, 1: up
            for out, block, at, x in zip(found, blocks, places, numbers, strict=True):
                if not wrong:
                    pair = np.searchsorted(block.use_first, at, side="right") - 1
                    out[2 * r + is_to, pair] = sign * whole(sign * x, units[-1], up=True)
        kept.append(SumRatio(as_written(ratio.limit), 2 * r, 2 * r + 1, *units))
    if problems:
        raise DataError.of(dict.fromkeys(problems))
    return found, kept


@njit(cache=True)
def _add_taken(lists: Any, chosen: Any, sums: Any, out: Any) -> None:
    for s in range(chosen.shape[1]):
        for i in range(chosen.shape[0]):
            if chosen[i, s] >= 0:
                n = place_of(lists, s, chosen[i, s])
                for row in range(out.size):
                    out[row] += sums[row, n]


def sums_taken(blocks: Sequence[PairBlock], chosen: Sequence[Any]) -> list[int]:
    """Return [2R] what bundles add to the sums of ratios, whole units.

    Args:
        blocks: whose sums are known.
        chosen: [Q, S] by block, on the host.
    """
    total = [0] * len(blocks[0].sums) if blocks else []
    for block, bundles in zip(blocks, chosen, strict=True):
        host, out = block.to_host(), np.zeros(len(total), np.int64)
        _add_taken(host.arrays(), bundles, host.sums, out)
        total = [x + y for x, y in zip(total, out.tolist(), strict=True)]
    return total


def check_ratios(
    ratios: Sequence[SumRatio | None], limit: Sequence[int], blocks: Sequence[PairBlock], most: int
) -> list[str]:
    """Return what is wrong with a problem's ratios in whole units, in words.

    Args:
        ratios: [K], or none.
        limit: [K] of the forms.
        blocks: with their sums.
        most: whole units that a number may have.
    """
    if not ratios:
        return []
    if len(ratios) != len(limit):
        return [f"ratios: has {len(ratios)} entries; {len(limit)} are needed"]
    found = []
    for k, ratio in enumerate(ratios):
        if ratio is None:
            continue
        if limit[k] != 0:
            found.append(f"limit: is {limit[k]} for constraint {k}; of a ratio's form it is 0")
        for block in blocks:
            shape, pairs = np.shape(block.sums), len(block.action)
            if len(shape) != 2 or shape[0] <= max(ratio.of, ratio.to) or shape[1] != pairs:
                found.append(f"sums: has shape {shape}; two rows of {pairs} a ratio are needed")
            elif max(_largest([block], row) for row in (ratio.of, ratio.to)) > most:
                found.append(f"sums: of constraint {k} are above {most} a pair, and may wrap")
    return found
