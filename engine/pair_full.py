"""Blocks given in full: a value of every subscriber and action, and uses likewise.

Open pairs are listed as :mod:`engine.pair_problem` takes them. What comes out has 20 bytes a pair
(action, value, where its uses begin) and 12 a use other than zero (constraint, amount), and 8 a
subscriber. It is counted first and then written in its place, some subscribers at a time, so
nothing else is as large; :meth:`engine.pair_problem.PairProblem.of` holds up to three times as much
while it finds the whole units. A full block itself is 8 bytes a subscriber and action for the
value and for each constraint that is full, open or not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from engine.errors import DataError
from engine.pair_block import PairBlock
from kernels.backend import read_only
from kernels.threads import each_chunk

CHUNK = 8_192  # subscribers a thread takes at a time


@dataclass(frozen=True, eq=False)
class FullBlock:
    """Some of the subscribers and all their pairs, on the host: S subscribers, A actions."""

    key: Any  # [S] int64 in [0, KEY_RANGE), stable hash of the subscriber: the canonical order
    value: Any  # [A, S] float64, money; NaN: the pair is not open
    # [K] units of each constraint: None, nothing is used; [A] float64, by each pair of an action
    # the same; or [A, S] float64. Only those of open pairs count.
    uses: Sequence[Any]
    most: Any  # [S] uint8, as in PairBlock; so are the others
    fewest: Any  # [S] uint8
    channel_most: Any  # [C, S] uint8
    category_most: Any  # [H, S] uint8

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together.

        Raises:
            DataError: which, and what they should be like.
        """
        problems = []
        if self.value.ndim != 2 or self.value.dtype != np.float64:
            problems.append(
                f"value: is {_like(self.value)}; [A, S] float64 is needed, NaN where not open"
            )
        elif len(self.key) != self.value.shape[1]:
            problems.append(f"key: has {len(self.key)} entries; {self.value.shape[1]} are needed")
        if self.key.dtype != np.int64:
            problems.append(f"key: is {_like(self.key)}; int64 is needed")
        actions = self.value.shape[:1]
        for k, use in enumerate(self.uses):
            fits = use is None or use.shape in (actions, self.value.shape)
            if not fits or (use is not None and use.dtype != np.float64):
                problems.append(
                    f"uses of constraint {k}: are {_like(use)}; None, {actions} or "
                    f"{self.value.shape} float64 are needed"
                )
        if problems:
            raise DataError.of(problems)

    def listed(self) -> PairBlock:
        """Return the open pairs and their uses other than zero, numbers still float64."""
        (value,) = read_only(self.value)
        subscribers = value.shape[1]
        uses = [
            (k, *read_only(np.broadcast_to(use.T, value.T.shape).T))
            for k, use in enumerate(self.uses)
            if use is not None
        ]
        indptr = np.zeros(subscribers + 1, np.int64)
        each_chunk(subscribers, lambda *rows: _count_pairs(value, rows, indptr[1:]), CHUNK)
        np.cumsum(indptr, out=indptr)
        pairs = int(indptr[-1])
        action, worth = np.empty(pairs, np.int32), np.empty(pairs)
        first = np.zeros(pairs + 1, np.int64)

        def count(*rows: int) -> None:
            _list_pairs(value, rows, indptr, action, worth)
            for _, use in uses:
                _count_uses(value, use, rows, indptr, first[1:])

        each_chunk(subscribers, count, CHUNK)
        np.cumsum(first, out=first)
        row, amount = np.empty(int(first[-1]), np.int32), np.empty(int(first[-1]))

        def write(*rows: int) -> None:
            begin, end = (int(indptr[s]) for s in rows)
            place = first[begin:end].copy()  # where the next use of each pair goes
            for k, use in uses:
                _list_uses(value, use, rows, indptr, k, place, row, amount)

        each_chunk(subscribers, write, CHUNK)
        sides = self.most, self.fewest, self.channel_most, self.category_most
        return PairBlock(
            np.ascontiguousarray(self.key), indptr, action, worth, first, row, amount,
            *map(np.ascontiguousarray, sides),
        )  # fmt: skip


def _like(array: Any) -> str:
    return f"{array.shape} {array.dtype}"


@njit(cache=True, nogil=True)
def _count_pairs(value: Any, rows: tuple[int, int], count: Any) -> None:
    for a in range(value.shape[0]):
        for s in range(*rows):
            count[s] += not np.isnan(value[a, s])


@njit(cache=True, nogil=True)
def _list_pairs(
    value: Any, rows: tuple[int, int], indptr: Any, action: Any, worth: Any
) -> None:  # fmt: skip
    place = indptr[rows[0] : rows[1]].copy()
    for a in range(value.shape[0]):
        for s in range(*rows):
            if not np.isnan(value[a, s]):
                n = place[s - rows[0]]
                action[n], worth[n] = a, value[a, s]
                place[s - rows[0]] += 1


@njit(cache=True, nogil=True)
def _count_uses(
    value: Any, use: Any, rows: tuple[int, int], indptr: Any, count: Any
) -> None:  # fmt: skip
    """Count the uses of a constraint that are not zero; NaN is told later."""
    place = indptr[rows[0] : rows[1]].copy()
    for a in range(value.shape[0]):
        for s in range(*rows):
            if not np.isnan(value[a, s]):
                count[place[s - rows[0]]] += use[a, s] != 0.0
                place[s - rows[0]] += 1


@njit(cache=True, nogil=True)
def _list_uses(
    value: Any, use: Any, rows: tuple[int, int], indptr: Any, k: int, place: Any, row: Any,
    amount: Any,
) -> None:  # fmt: skip
    """Write the uses of a constraint to the next place of each pair."""
    pair = indptr[rows[0] : rows[1]] - indptr[rows[0]]
    for a in range(value.shape[0]):
        for s in range(*rows):
            if np.isnan(value[a, s]):
                continue
            n = pair[s - rows[0]]
            pair[s - rows[0]] += 1
            u = use[a, s]
            if u != 0.0:
                row[place[n]], amount[place[n]] = k, u
                place[n] += 1
