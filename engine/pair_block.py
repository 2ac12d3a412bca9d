"""Subscribers and their listed pairs: S subscribers, N pairs, M uses other than zero, R sums."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kernels.backend import library, to_cpu
from kernels.gather import gather, gather_lists, up_to


@dataclass(frozen=True, eq=False)
class PairBlock:
    """Some of the subscribers and their pairs; the arrays may live on either side, all on one."""

    key: Any  # [S] int64 in [0, KEY_RANGE), stable hash of the subscriber: the canonical order
    indptr: Any  # [S + 1] int64, pairs of subscriber s are indptr[s]:indptr[s + 1]
    action: Any  # [N] int32, ascending within a subscriber
    value: Any  # [N] int64, in 1 / value_unit money
    use_first: Any  # [N + 1] int64, uses of pair n are use_first[n]:use_first[n + 1]
    use_row: Any  # [M] int32, constraint, increasing within a pair
    use_amount: Any  # [M] int64, in 1 / use_unit of the constraint
    most: Any  # [S] uint8
    fewest: Any  # [S] uint8, 1 where exactly one pair must be taken (most is 1 there), else 0
    channel_most: Any  # [C, S] uint8, at least 1 where a pair is listed
    category_most: Any  # [H, S] uint8, likewise
    sums: Any = None  # [R, N] int64, what pairs add to the sums of ratios; None: there is no ratio

    def __len__(self) -> int:
        return len(self.key)

    def take(self, rows: Any) -> "PairBlock":
        """Return the block of some of its rows (positions)."""
        indptr, pairs = gather_lists(self.indptr, rows)
        use_first, uses = gather_lists(self.use_first, pairs)
        return PairBlock(
            self.key[rows], indptr, self.action[pairs], self.value[pairs], use_first,
            self.use_row[uses], self.use_amount[uses], self.most[rows], self.fewest[rows],
            gather(self.channel_most, rows), gather(self.category_most, rows),
            None if self.sums is None else gather(self.sums, pairs),
        )  # fmt: skip

    def up_to(self, key: int) -> Any:
        """Return the rows (positions) whose key is at most ``key``."""
        return up_to(self.key, key)

    def arrays(self) -> tuple[Any, ...]:
        """Return the subscriber side of the kernels' arguments."""
        return tuple(array for name, array in self.__dict__.items() if name != "sums")

    def to_host(self) -> "PairBlock":
        """Return the block in host memory."""
        arrays = {name: to_cpu(a) for name, a in self.__dict__.items() if a is not None}
        return PairBlock(**arrays)

    def without_sums(self) -> "PairBlock":
        """Return the block as prices need it."""
        return self if self.sums is None else replace(self, sums=None)

    def with_rows(self, place: Any) -> "PairBlock":
        """Return the block with its constraints numbered anew.

        Args:
            place: [K] int32 on the host, the new number of each, in the same order; -1: its uses
                are left out.
        """
        side = library(self.key)
        row = side.asarray(place)[self.use_row] if len(place) else self.use_row
        kept = side.flatnonzero(row >= 0)
        first = side.searchsorted(kept, self.use_first).astype(np.int64)
        return replace(self, use_first=first, use_row=row[kept], use_amount=self.use_amount[kept])

    def with_uses(self, k: int, amounts: Any) -> "PairBlock":
        """Return the block with other uses of one constraint.

        Args:
            k: the constraint.
            amounts: [N] of every pair, zeros included.
        """
        side = library(self.key)
        kept, is_new = side.flatnonzero(self.use_row != k), amounts != 0
        pair = side.searchsorted(self.use_first, kept, side="right") - 1
        before = side.zeros(len(self.use_first), np.int64)  # new uses of the pairs before
        before[1:] = side.cumsum(is_new)
        first = side.searchsorted(kept, self.use_first) + before
        place = side.arange(len(kept)) + before[pair] + (is_new[pair] & (self.use_row[kept] > k))
        is_mine = side.ones(int(first[-1]), np.bool_)
        is_mine[place] = False
        row = side.full(len(is_mine), k, np.int32)
        amount = side.empty(len(is_mine), amounts.dtype)
        row[place], amount[place] = self.use_row[kept], self.use_amount[kept]
        amount[is_mine] = amounts[is_new]
        return replace(self, use_first=first, use_row=row, use_amount=amount)


def joined_pairs(blocks: list[PairBlock]) -> PairBlock:
    """Return one block of the subscribers of all."""
    if len(blocks) == 1:
        return blocks[0]
    side = library(blocks[0].key)

    def lists(name: str) -> Any:
        parts, end = [side.zeros(1, np.int64)], 0
        for block in blocks:
            pointer = getattr(block, name)
            parts.append(pointer[1:] + end)
            end += int(pointer[-1])
        return side.concatenate(parts)

    return PairBlock(
        **{
            name: lists(name)
            if name in {"indptr", "use_first"}
            else side.ascontiguousarray(
                side.concatenate([getattr(b, name) for b in blocks], axis=-1)
            )
            for name, array in blocks[0].__dict__.items()
            if array is not None
        }
    )
