"""Whole units for numbers that come as float64: the same for any order of rows and any blocks.

Numbers with few decimals are counted in 1, 1/10, ... 1/10**9, which loses nothing. Others are
counted in the finest power of two that keeps all sums below 2**62, or 2**-200: values are rounded
to the nearest unit, uses up and limits down, so that what keeps the whole limits keeps the given
ones. A number other than zero that is smaller than a unit is refused.
"""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import floor, frexp
from typing import Any

import numpy as np

from engine.errors import DataError
from engine.pair_block import PairBlock
from engine.problem import Row
from engine.problem_checks import allowed_sign, sign_of

MOST_DECIMALS, FINEST = 9, 200
FINITE = "it must be a finite number"
GLANCE = 4_096  # numbers looked at before all are


def unit_of(numbers: Sequence[Any], most: int) -> int:
    """Return the unit's reciprocal for some numbers, at least 1.

    Args:
        numbers: float64 arrays, finite.
        most: whole units that a number may have.
    """
    largest = max((float(np.abs(x).max(initial=0.0)) for x in numbers), default=0.0)
    for unit in (10**d for d in range(MOST_DECIMALS + 1)):
        if largest * unit > most:
            break
        if all(_is_exact(x[:GLANCE], unit) for x in numbers) and all(
            _is_exact(x, unit) for x in numbers
        ):
            return int(unit)
    exponent = most.bit_length() - 1 - frexp(largest)[1]
    return int(1 << min(max(exponent, 0), FINEST))


def _is_exact(numbers: Any, unit: int) -> bool:
    return bool((np.rint(numbers * unit) / unit == numbers).all())


def whole(numbers: Any, unit: int, *, up: bool) -> Any:
    """Return float64 numbers in whole units, rounded to the nearest or up; int64."""
    scaled = numbers * float(unit)
    if up and unit & (unit - 1) == 0:  # a decimal unit was chosen because it is exact
        return np.ceil(scaled).astype(np.int64)
    return np.rint(scaled).astype(np.int64)


def whole_limit(limit: float, unit: int) -> int:
    """Return a limit in whole units, rounded down; a decimal is what it is written as."""
    nearest = floor(Fraction(limit) * unit + Fraction(1, 2))
    return nearest if nearest / unit == limit else floor(Fraction(limit) * unit)


def as_written(amount: float | Fraction) -> Fraction:
    """Return a number exactly; one with few decimals is what it is written as."""
    if isinstance(amount, Fraction):
        return amount
    decimals = 10**MOST_DECIMALS
    nearest = round(Fraction(amount) * decimals)
    return Fraction(nearest, decimals) if nearest / decimals == amount else Fraction(amount)


def not_finite(blocks: Sequence[PairBlock], names: Sequence[str]) -> list[str]:
    """Return which values and uses are no numbers, in words: subscriber, action, count of all."""
    found = []
    values = [(np.flatnonzero(~np.isfinite(b.value)), b) for b in blocks]
    found += _told("value", values, _value_at)
    uses = [(np.flatnonzero(~np.isfinite(b.use_amount)), b) for b in blocks]
    for k, name in enumerate(names):
        mine = [(places[b.use_row[places] == k], b) for places, b in uses]
        found += _told(f"use of {name}", mine, _use_at)
    return found


def wrong_signs(
    blocks: Sequence[PairBlock], rows: Sequence[Row], units: Sequence[int]
) -> list[str]:
    """Return which uses have a sign that their constraint's measure never has, in words.

    Args:
        blocks: on the host, with whole uses; their lists being right.
        rows: [K] the constraints.
        units: [K] whole units of use in one unit of the constraint.
    """
    signs = np.array([sign_of(row) for row in rows], np.int64)
    wrong = [(np.flatnonzero(np.sign(b.use_amount) * signs[b.use_row] < 0), b) for b in blocks]
    found = []
    for k in sorted({int(k) for places, b in wrong for k in b.use_row[places]}):
        mine = [(places[b.use_row[places] == k], b) for places, b in wrong]

        def look(block: PairBlock, e: int, unit: int = units[k]) -> tuple[float, int]:
            amount, n = _use_at(block, e)
            return amount / unit, n

        found += _told(f"use of {rows[k].name}", mine, look, allowed=allowed_sign(rows[k]))
    return found


def in_whole_units(
    blocks: Sequence[PairBlock], names: Sequence[str], most: int
) -> tuple[list[PairBlock], list[int]]:
    """Return blocks whose values and uses are whole numbers, and their units.

    Args:
        blocks: with float64 values and uses, finite.
        names: [K] of the constraints.
        most: whole units that a number may have.

    Returns:
        the blocks; [1 + K] reciprocal units of value and uses.

    Raises:
        DataError: numbers that are out of their unit's range.
    """
    units = [unit_of([b.value for b in blocks], most)]
    out = [(_out(b.value, units[0], most), b) for b in blocks]
    problems = _told("value", out, _value_at, (units[0], most))
    amounts = [np.zeros(len(b.use_row), np.int64) for b in blocks]
    for k, name in enumerate(names):
        places = [np.flatnonzero(b.use_row == k) for b in blocks]
        numbers = [b.use_amount[at] for b, at in zip(blocks, places, strict=True)]
        unit = unit_of(numbers, most)
        problems += use_problems(name, blocks, places, numbers, (unit, most))
        for amount, at, x in zip(amounts, places, numbers if not problems else [], strict=False):
            amount[at] = whole(x, unit, up=True)
        units.append(unit)
    if problems:
        raise DataError.of(problems)
    return [
        replace(b, value=whole(b.value, units[0], up=False), use_amount=amount)
        for b, amount in zip(blocks, amounts, strict=True)
    ], units


def use_problems(
    name: str, blocks: Sequence[PairBlock], places: Sequence[Any], numbers: Sequence[Any],
    grid: tuple[int, int],
) -> list[str]:  # fmt: skip
    """Return which uses are out of their unit's range, in words.

    Args:
        name: of the constraint.
        blocks: with float64 uses.
        places: by block, where in them the uses are.
        numbers: by block, what they are.
        grid: the reciprocal unit, and whole units that a use may have.
    """
    parts = zip(blocks, places, numbers, strict=True)
    out = [(at[_out(x, *grid)], block) for block, at, x in parts]
    return _told(f"use of {name}", out, _use_at, grid)


def not_negative(
    name: str, blocks: Sequence[PairBlock], places: Sequence[Any], numbers: Sequence[Any]
) -> list[str]:
    """Return which uses are below 0, in words; the arguments are those of use_problems."""
    parts = zip(blocks, places, numbers, strict=True)
    out = [(at[np.flatnonzero(x < 0)], block) for block, at, x in parts]
    return _told(f"use of {name}", out, _use_at, allowed="what is divided by is 0 or more")


def _out(numbers: Any, unit: int, most: int) -> Any:
    size = np.abs(numbers)
    return np.flatnonzero((numbers != 0.0) & ((size * float(unit) < 1.0) | (size > most / unit)))


def _value_at(block: PairBlock, n: int) -> tuple[float, int]:
    return block.value[n], n


def _use_at(block: PairBlock, e: int) -> tuple[float, int]:
    return block.use_amount[e], int(np.searchsorted(block.use_first, e, side="right")) - 1


def _told(
    name: str, found: list[tuple[Any, PairBlock]], look: Any, grid: tuple[int, int] | None = None,
    *, allowed: str = FINITE,
) -> list[str]:  # fmt: skip
    """Return a line about some places, the first of them named, if there are any."""
    count, first = sum(len(places) for places, _ in found), 0
    for places, block in found:
        if len(places):
            number, n = look(block, int(places[0]))
            row = int(np.searchsorted(block.indptr, n, side="right")) - 1
            if grid is not None:
                allowed = (
                    f"with the others it must be 0 or from {1 / grid[0]:.3g} to "
                    f"{grid[1] / grid[0]:.3g}, so that sums are exact in 64 bits"
                )
            return [
                f"{name}: got {number:g} for subscriber {first + row}, action {block.action[n]}, "
                f"and {count} such in all; {allowed}"
            ]
        first += len(block.key)
    return []
