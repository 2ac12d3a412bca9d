"""Subscribers and their listed pairs: S subscribers, N pairs, M uses other than zero."""

from dataclasses import dataclass
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
        )  # fmt: skip

    def up_to(self, key: int) -> Any:
        """Return the rows (positions) whose key is at most ``key``."""
        return up_to(self.key, key)

    def arrays(self) -> tuple[Any, ...]:
        """Return the subscriber side of the kernels' arguments."""
        return tuple(self.__dict__.values())

    def to_host(self) -> "PairBlock":
        """Return the block in host memory."""
        return PairBlock(*(to_cpu(array) for array in self.arrays()))


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
            for name in blocks[0].__dict__
        }
    )
