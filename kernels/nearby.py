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
from kernels.gather import gather_columns, marked_rows
from kernels.screen import screened, usable
from kernels.single_rows import choose_single_rows
from kernels.threads import each_task, each_whole

SPAN = 1 << 16  # subscribers at a time: their propensities fit a shared cache


@dataclass(frozen=True, eq=False)
class Nearby:
    """The choices of one block, and its near subscribers."""

    chosen: Any  # [1, S] int16
    margin: Any  # [S] float32, money
    tally: Any  # [G, 1 + A, 4] int64, of no action first
    rows: Any  # [N] int64, positions of those who are near
    pieces: list[list[Any]]  # their columns of every array, span by span


def choose_nearby(
    blocks: Sequence[Sequence[Any]], requires: Any, tables: Any, reach: Any
) -> tuple[list[Nearby], list[Any]]:
    """Return every block's choices, and the near subscribers' columns of all blocks together.

    Args:
        blocks: arrays of each block: propensity, weight, group, most and fewest as in
            :func:`kernels.choose.choose_cpu`, then any others, [S] or [N, S].
        requires: [R, A, W] int64, as there.
        tables: value_fixed, value_accept, price_fixed and price_accept, as there.
        reach: [G, 1 + A] float64, money, as in :func:`kernels.choose.within_cpu`.

    Returns:
        By block, its choices; by array, [A, sum of N] or [sum of N], block after block.
    """
    screen, doubt = screened(*tables)
    sides = (usable(requires), screen, doubt, tables)
    (reaches,) = read_only(reach)

    def work(arrays: Sequence[Any]) -> Nearby:
        whole = read_only(*arrays)
        subscribers, (groups, actions) = len(arrays[1]), tables[2].shape
        chosen, margin = np.empty((1, subscribers), np.int16), np.empty(subscribers, np.float32)
        tally, near = np.zeros((groups, 1 + actions, 4), np.int64), np.empty(subscribers, np.uint8)
        rows, pieces = [np.empty(0, np.int64)], []
        for begin in range(0, subscribers, SPAN):
            end = min(begin + SPAN, subscribers)
            choose_single_rows(*whole[:5], *sides, begin, end, chosen, margin, tally)
            within_rows(*read_only(chosen, margin, whole[2]), reaches, begin, end, near)
            found = np.empty(end - begin, np.int64)
            found = found[: marked_rows(*read_only(near), begin, end, found)]
            rows.append(found)
            pieces.append([_columns(array, found) for array in whole])
        return Nearby(chosen, margin, tally, np.concatenate(rows), pieces)

    choices = each_whole(work, blocks)
    pieces = [[array[..., :0] for array in blocks[0]]]
    pieces += [piece for choice in choices for piece in choice.pieces]
    joined = each_task(lambda same: np.concatenate(same, axis=-1), list(zip(*pieces, strict=True)))
    return choices, joined


def _columns(array: Any, rows: Any) -> Any:
    """Return ``array[..., rows]``, contiguous."""
    out = np.empty((*array.shape[:-1], len(rows)), array.dtype)
    gather_columns(np.atleast_2d(array), *read_only(rows), 0, len(rows), np.atleast_2d(out), 0)
    return out
