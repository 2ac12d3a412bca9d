"""Listed pairs as the rows of a whole-number model: X_s of :mod:`engine.pair_problem`."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from engine.pair_block import PairBlock
from engine.pair_problem import PairProblem

Choices = list[tuple[list[int], int]]
Uses = list[tuple[list[int], list[int], int]]


def pairs_of(
    problem: PairProblem,
) -> tuple[Any, Any, Any, list[int], list[list[int]], Choices, Uses]:
    """Return the fields of :class:`engine.exact.Pairs`, in the order of subscribers' keys."""
    blocks = [block.to_host() for block in problem.blocks]
    subscribers = sorted(
        (key, b, row)
        for b, block in enumerate(blocks)
        for row, key in enumerate(block.key.tolist())
    )
    found: list[tuple[int, int, int]] = []
    value: list[int] = []
    use: list[list[int]] = [[] for _ in problem.rows]
    choices: Choices = []
    uses: Uses = []
    for _, b, row in subscribers:
        block = blocks[b]
        low, high = block.indptr[row : row + 2].tolist()
        first = len(found)
        actions = block.action[low:high]
        found += [(b, row, a) for a in actions.tolist()]
        value += block.value[low:high].tolist()
        for amounts in use:
            amounts += [0] * (high - low)
        start, end = block.use_first[low], block.use_first[high]
        of = np.repeat(np.arange(high - low), np.diff(block.use_first[low : high + 1]))
        for k, i, amount in zip(
            block.use_row[start:end].tolist(), of.tolist(), block.use_amount[start:end].tolist(),
            strict=True,
        ):  # fmt: skip
            use[k][first + i] = amount
        choices += _choices(problem, block, row, actions, first)
        if block.fewest[row]:
            everything = list(range(first, first + high - low))
            uses.append((everything, [-1] * len(everything), -1))
    block_, row_, action = np.array(found, np.int64).reshape(-1, 3).T
    return block_, row_, action, value, use, choices, uses


def sums_of(
    problem: PairProblem, pairs: Iterable[tuple[int, int, int]], k: int
) -> tuple[list[int], list[int]]:
    """Return what pairs (block, row, action) add to the two sums of a ratio, in one unit."""
    sums: tuple[list[int], list[int]] = [], []
    ratio = problem.ratios[k]
    if ratio is None:
        raise AssertionError(f"{problem.rows[k].name} is no ratio")
    blocks = [block.to_host() for block in problem.blocks]
    for b, row, action in pairs:
        block = blocks[b]
        first, end = block.indptr[row : row + 2]
        n = first + int(np.searchsorted(block.action[first:end], action))
        sums[0].append(int(block.sums[ratio.of, n]) * ratio.to_unit)
        sums[1].append(int(block.sums[ratio.to, n]) * ratio.of_unit)
    return sums


def _choices(problem: PairProblem, block: PairBlock, row: int, actions: Any, first: int) -> Choices:
    found = [(list(range(first, first + len(actions))), int(block.most[row]))]
    for of, caps in (
        (problem.offer, None),
        (problem.channel, block.channel_most),
        (problem.category, block.category_most),
    ):
        for item in np.unique(of[actions]):
            members = [first + int(i) for i in np.flatnonzero(of[actions] == item)]
            found.append((members, 1 if caps is None else int(caps[item, row])))
    return [(members, most) for members, most in found if len(members) > most]
