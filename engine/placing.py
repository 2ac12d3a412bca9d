"""In which partition a subscriber is: a household has one for all its members.

    partition = bucket(household) of those in a household, else bucket(subscriber)

Events, lists and written allocations name subscribers and not their households. They follow by a
sorted table of the subscribers who are not in the bucket of their own key.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from engine import tables


@dataclass(frozen=True, eq=False)
class Moved:
    """The subscribers who are not in the bucket of their own key, on the host.

    Attributes:
        word: [M] uint64, :func:`engine.tables.words` of their keys, ascending, each once. No other
            subscriber has one of them.
        partition: [M] uint16, where they are.
    """

    word: Any
    partition: Any

    @classmethod
    def none(cls) -> Self:
        """Return the table of a job without households."""
        return cls(np.empty(0, np.uint64), np.empty(0, np.uint16))


def of_subscribers(keys: Any, households: Any, partitions: int) -> Any:
    """Return the partition of each subscriber, from its own row.

    Args:
        keys: [S] series, whole numbers or text, no nulls.
        households: [S] series of text, null: in none; None: the job knows no households.
        partitions: number of partitions, >= 1.

    Returns:
        [S] int64 in [0, partitions), NumPy or CuPy, on the side of the keys.
    """
    found = tables.bucket(keys, partitions)
    if households is not None:
        own = households.notna()
        if own.any():
            found[tables.array(own)] = tables.bucket(households[own], partitions)
    return found


def of_keys(keys: Any, moved: Moved, partitions: int) -> Any:
    """Return the partition of each key, that of its subscriber; of others the key's own bucket.

    Args:
        keys: [N] series or array on the host, whole numbers or text, no nulls.
        moved: the subscribers who are elsewhere.
        partitions: number of partitions, >= 1.

    Returns:
        [N] int64 in [0, partitions).
    """
    if not len(moved.word):
        return tables.bucket(keys, partitions)
    words = tables.words(keys)
    found = (words % np.uint64(partitions)).astype(np.int64)
    order = np.argsort(words)  # a long table is searched in order: ten times as fast
    words = words[order]
    place = np.searchsorted(moved.word, words)
    place[place == len(moved.word)] = 0
    is_moved = moved.word[place] == words
    found[order[is_moved]] = moved.partition[place[is_moved]]
    return found
