"""Rows of a CP-SAT model whose numbers are whole and of any size, though CP-SAT's have 64 bits."""

from collections.abc import Sequence
from math import gcd
from typing import Any

from ortools.sat.python import cp_model

MOST_SUM = 1 << 52  # CP-SAT's sums stay far below its 64-bit limit
LIMB = 1 << 40  # larger sums are kept in parts
DIGIT = 1 << 26  # larger whole variables are kept in two
SMALL_LIMB = 1 << 30  # parts of sums that such variables are in

Uses = Sequence[tuple[Sequence[int], Sequence[int], int]]
Softs = Sequence[tuple[Sequence[int], Sequence[int], int, Any]]
Choices = Sequence[tuple[Sequence[int], int]]
Row = tuple[Sequence[Any], Sequence[int], int, Sequence[int]]
"""Variables, coefficients, limit, and the largest value of each variable."""


def shrink(values: Sequence[int], soft: Softs = ()) -> tuple[list[int], int]:
    """Divide whole numbers until their sum is far below 64 bits.

    The common divisor goes first and loses nothing. If the sum is still too large, values are
    rounded up, so that a bound on the shrunk values holds for the true ones.

    Args:
        values: whole numbers of any size.
        soft: as in :func:`engine.integers.solve`; what their overruns may cost counts too.

    Returns:
        the shrunk values and the divisor.
    """
    costs = [cost * c for _, coefficients, limit, cost in soft for c in (*coefficients, limit)]
    divisor = max(1, gcd(*values, *costs))
    total = (sum(map(abs, values)) + sum(map(_most_cost, soft))) // divisor
    while total > MOST_SUM:
        divisor *= 2
        total //= 2
    return [-(-v // divisor) for v in values], divisor


def _most_cost(soft: tuple[Sequence[int], Sequence[int], int, Any]) -> int:
    """Return what the largest overrun of a soft limit costs."""
    _, coefficients, limit, cost = soft
    return max(0, sum(max(c, 0) for c in coefficients) - limit) * int(cost)


def add_limit(
    model: cp_model.CpModel,
    variables: Sequence[Any],
    coefficients: Sequence[int],
    limit: int,
    most: Sequence[int] | None = None,
) -> None:
    """Add ``sum coefficients x <= limit`` exactly, whatever the size of the numbers.

    Args:
        model: receives the limit.
        variables: [N] whole variables, at least 0.
        coefficients: [N] whole numbers.
        limit: a whole number.
        most: [N] the largest value of each variable; None: 1.
    """
    tops = [1] * len(variables) if most is None else most
    least = sum(min(c, 0) * top for c, top in zip(coefficients, tops, strict=True))
    greatest = sum(max(c, 0) * top for c, top in zip(coefficients, tops, strict=True))
    if greatest <= limit:
        return
    divisor = max(1, gcd(*coefficients))
    limit = max(limit, least - divisor) // divisor  # below ``least``: never kept, but 64 bits
    whole = [c // divisor for c in coefficients]
    if sum(abs(c) * top for c, top in zip(whole, tops, strict=True)) <= MOST_SUM:
        model.add(cp_model.LinearExpr.weighted_sum(variables, whole) <= limit)
        return
    low, high = _split(model, (variables, whole, limit, tops), LIMB if most is None else SMALL_LIMB)
    model.add(cp_model.LinearExpr.weighted_sum(low[0], low[1]) <= low[2])
    add_limit(model, *high)


def _split(model: cp_model.CpModel, row: Row, limb: int) -> tuple[Row, Row]:
    """Return two limits that say what one says, and share a new variable: the carry.

    With coefficients ``high * limb + low`` and a whole number ``carry``, ``sum c x <= limit`` is
    the same as ``sum low x <= limit_low + limb * carry`` and ``sum high x + carry <= limit_high``.
    Low parts are as small as may be, of either sign, and so is the carry's range: CP-SAT narrows
    large variables that hang together by a unit at a time.
    """
    variables, coefficients, limit, tops = row
    low = [(c + limb // 2) % limb - limb // 2 for c in coefficients]
    high = [(c - d) // limb for c, d in zip(coefficients, low, strict=True)]
    limit_high, limit_low = divmod(limit, limb)
    least, greatest = (
        sum(side(d, 0) * top for d, top in zip(low, tops, strict=True)) for side in (min, max)
    )
    first, last = (-((limit_low - end) // limb) for end in (least, greatest))
    carry, most = model.new_int_var(0, last - first, ""), [*tops, last - first]
    both = [*variables, carry]  # it counts from ``first``
    return (
        (both, [*low, -limb], limit_low + limb * first, most),
        (both, [*high, 1], limit_high - first, most),
    )


def add_soft(
    model: cp_model.CpModel,
    variables: Sequence[Any],
    soft: tuple[Sequence[int], Sequence[int], int, Any],
    divisor: int,
) -> list[tuple[Any, int]]:
    """Return variables and weights that add up to what a soft limit's overrun costs.

    The cost counts in whole divisors, rounded down, so that the model's bound stays a bound: z is
    the least whole number with ``cost (sum coefficients x - limit) < divisor (z + 1)``.
    """
    indices, coefficients, limit, cost = soft
    most = _most_cost(soft) // divisor
    if most == 0:
        return []
    digits = [(model.new_int_var(0, min(most, DIGIT - 1), ""), 1)]
    tops = [min(most, DIGIT - 1)]
    if most >= DIGIT:
        digits.append((model.new_int_var(0, most // DIGIT, ""), DIGIT))
        tops.append(most // DIGIT)
    row = (
        [*(variables[i] for i in indices), *(digit for digit, _ in digits)],
        [*(cost * c for c in coefficients), *(-divisor * weight for _, weight in digits)],
        cost * limit + divisor - 1,
        [*([1] * len(indices)), *tops],
    )
    for part in _split(model, row, divisor):  # so that no digit is in a carry
        add_limit(model, *part)
    return digits
