"""What a problem of listed pairs must be like, beside its lists, told in words where it is not."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.pair_block import PairBlock
from engine.pair_grids import wrong_signs
from engine.pair_ratio import check_ratios
from kernels.choose import MOST_BUNDLE, MOST_CODES

if TYPE_CHECKING:
    from engine.pair_problem import PairProblem


def tables(problem: "PairProblem") -> list[str]:
    """Return what is wrong with a problem's sizes, units, constraints and penalties."""
    actions, rows = len(problem.offer), len(problem.rows)
    found = [
        f"{name}: has {len(entries)} entries; one for each of the {wanted} {what} is needed"
        for name, entries, wanted, what in (
            ("channel", problem.channel, actions, "actions"),
            ("category", problem.category, actions, "actions"),
            ("limit", problem.limit, rows, "constraints"),
            ("use_unit", problem.use_unit, rows, "constraints"),
        )
        if len(entries) != wanted
    ]
    if actions > MOST_CODES:
        found.append(f"actions: {actions} of them; at most {MOST_CODES} are allowed")
    if problem.width > MOST_BUNDLE:
        found.append(
            f"most: {problem.width} pairs per subscriber; at most {MOST_BUNDLE} are allowed"
        )
    if min([problem.value_unit, *problem.use_unit]) < 1:
        found.append("value_unit, use_unit: must be whole numbers of at least 1")
    return found + _structured(problem) + _penalties(problem)


def _structured(problem: "PairProblem") -> list[str]:
    return [
        f"{row.name}: is a ratio of a structured problem; give it as engine.pair_ratio.Ratio"
        for row in problem.rows
        if row.quotient is not None
    ]


def _penalties(problem: "PairProblem") -> list[str]:
    if problem.penalty is None:
        return []
    if len(problem.penalty) != len(problem.rows):
        return [f"penalty: has {len(problem.penalty)} entries; {len(problem.rows)} are needed"]
    return [
        f"penalty of {row.name}: got {penalty:g}; it must be above 0, or inf for a hard limit"
        for row, penalty in zip(problem.rows, problem.penalty, strict=True)
        if not penalty > 0
    ]


def numbers(problem: "PairProblem", blocks: Sequence[PairBlock]) -> list[str]:
    """Return what is wrong with the values, uses and ratios of right lists.

    Args:
        problem: the problem, measured.
        blocks: its blocks on the host.
    """
    return (
        _too_large(problem)
        + check_ratios(problem.ratios, problem.limit, blocks, problem.most_units)
        + wrong_signs(blocks, problem.rows, problem.use_unit)
    )


def _too_large(problem: "PairProblem") -> list[str]:
    """Return the numbers whose sums may not fit."""
    contacts, most = max(1, problem.contacts), problem.most_units
    sizes = problem.measured
    named = [("value", sizes.largest_value, problem.value_unit)]
    for row, largest, unit in zip(
        problem.rows, sizes.largest_use.tolist(), problem.use_unit, strict=True
    ):
        named.append((f"use of {row.name}", largest, unit))
    return [
        f"{name}: up to {largest / unit:g} in units of 1/{unit}; with {contacts} contacts at "
        f"most {most / unit:g} is allowed, so that sums stay below 2**62 units"
        for name, largest, unit in named
        if largest > most
    ]
