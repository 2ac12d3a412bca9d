"""Choose single actions and take the near subscribers' columns while they are in the cache.

The same as ``choose``, ``within`` and a gather one after another, for blocks in host memory; but
the propensities are read from memory once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.backend import read_only
from kernels.choose_rows import within_rows
from kernels.gather import gather_all, gather_columns, marked_rows
from kernels.screen import screened, usable
from kernels.single_rows import choose_single_rows
from kernels.threads import each_task

SPAN = 1 << 16  # subscribers at a time: their propensities fit a shared cache
MOST_NEAR = 0.25  # share of a span that is taken on the way; more is taken afterwards, all at once


@dataclass(frozen=True, eq=False)
class Choices:
    """The choices of one block."""

    chosen: Any  # [1, S] int16
    margin: Any  # [S] float32, money
    rows: Any  # [N] int64, positions of those who are near


def choose_nearby(
    blocks: Sequence[Sequence[Any]], requires: Any, tables: Any, reach: Any
) -> tuple[list[Choices], Any, list[Any]]:
    """Return every block's choices, their tally, and the near subscribers' columns.

    Args:
        blocks: arrays of each block: propensity, weight, group, most and fewest as in
            :func:`kernels.choose.choose_cpu`, then any others, [S] or [N, S].
        requires: [R, A, W] int64, as there.
        tables: value_fixed, value_accept, price_fixed and price_accept, as there.
        reach: [G, 1 + A] float64, money, as in :func:`kernels.choose.within_cpu`.

    Returns:
        By block, its choices; [G, A, 4] int64, the tally of all blocks; by array, [A, sum of N] or
        [sum of N], block after block.
    """
    screen, doubt = screened(*tables)
    sides = (usable(requires), screen, doubt, tables)
    (reaches,) = read_only(reach)
    whole = [read_only(*arrays) for arrays in blocks]
    sizes = [len(arrays[1]) for arrays in blocks]
    chosen = [np.empty((1, size), np.int16) for size in sizes]
    margin = [np.empty(size, np.float32) for size in sizes]
    groups, actions = tables[2].shape

    def work(task: tuple[int, int]) -> tuple[Any, Any, list[Any] | None]:
        i, begin = task
        end, mine = min(begin + SPAN, sizes[i]), whole[i]
        tally = np.zeros((groups, 1 + actions, 4), np.int64)
        choose_single_rows(*mine[:5], *sides, begin, end, chosen[i], margin[i], tally)
        near, rows = np.empty(end, np.uint8), np.empty(end - begin, np.int64)
        within_rows(*read_only(chosen[i], margin[i], mine[2]), reaches, begin, end, near)
        rows = rows[: marked_rows(*read_only(near), begin, end, rows)]
        is_few = len(rows) <= MOST_NEAR * SPAN
        return tally, rows, [_columns(array, rows) for array in mine] if is_few else None

    tasks = [(i, begin) for i, size in enumerate(sizes) for begin in range(0, size, SPAN)]
    found = each_task(work, tasks)
    tally = sum((one for one, _, _ in found), np.zeros((groups, 1 + actions, 4), np.int64))
    rows = [[np.empty(0, np.int64)] for _ in blocks]
    for (i, _), (_, mine, _) in zip(tasks, found, strict=True):
        rows[i].append(mine)
    near = [np.concatenate(parts) for parts in rows]
    choices = [Choices(*one) for one in zip(chosen, margin, near, strict=True)]
    return choices, tally[:, 1:], _joined(blocks, near, [columns for _, _, columns in found])


def _joined(blocks: Any, near: Any, pieces: list[list[Any] | None]) -> list[Any]:
    """Return the near subscribers' columns: the pieces one after another, if all were taken."""
    if any(columns is None for columns in pieces):
        return gather_all(blocks, near)
    parts = [[array[..., :0] for array in blocks[0]], *(c for c in pieces if c is not None)]
    return each_task(lambda same: np.concatenate(same, axis=-1), list(zip(*parts, strict=True)))


def _columns(array: Any, rows: Any) -> Any:
    """Return ``array[..., rows]``, contiguous."""
    out = np.empty((*array.shape[:-1], len(rows)), array.dtype)
    gather_columns(np.atleast_2d(array), *read_only(rows), 0, len(rows), np.atleast_2d(out), 0)
    return out
