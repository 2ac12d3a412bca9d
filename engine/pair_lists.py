"""What lists of pairs must be like, and what their numbers come to.

Numbers are added in two halves of 31 bits each, so that sums of any number of pairs fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from engine.errors import DataError
from engine.pair_block import PairBlock
from kernels.choose_pairs import MOST_PAIRS

LOW_BITS = 31
MOST_UNITS = 1 << 62  # sums of whole units stay below it


@dataclass(frozen=True, eq=False)
class Measured:
    """Sizes of a problem's pairs, the same in any order and any blocks."""

    pairs: int
    largest_value: int  # of any pair, whole units
    mean_value: float  # of a pair, whole units
    largest_use: Any  # [K] int64, of any pair, whole units
    mean_use: Any  # [K] float64, of a pair that uses the constraint, whole units
    usual: Any  # [A, K] float64, mean over the action's pairs, whole units


@njit(cache=True, nogil=True)
def _size(number: int) -> int:
    least = -(1 << 63)
    return abs(number) if number > least else abs(number + 1)


@njit(cache=True, nogil=True)
def _add(
    action: Any, value: Any, use_first: Any, use_row: Any, use_amount: Any, value_sum: Any,
    count: Any, largest: Any, used: Any, high: Any, low: Any,
) -> None:  # fmt: skip
    mask = (1 << LOW_BITS) - 1
    for n in range(action.size):
        a, v = action[n], _size(value[n])
        count[a] += 1
        value_sum[0] = max(value_sum[0], v)
        value_sum[1] += v >> LOW_BITS
        value_sum[2] += v & mask
        for e in range(use_first[n], use_first[n + 1]):
            k, u = use_row[e], _size(use_amount[e])
            largest[k] = max(largest[k], u)
            used[k] += 1
            high[a, k] += u >> LOW_BITS
            low[a, k] += u & mask


def measured(blocks: Sequence[PairBlock], actions: int, constraints: int) -> Measured:
    """Measure the pairs of some blocks.

    Args:
        blocks: on the host.
        actions: A.
        constraints: K.
    """
    value, count = np.zeros(3, np.int64), np.zeros(actions, np.int64)
    largest, used = np.zeros((2, constraints), np.int64)
    high, low = np.zeros((2, actions, constraints), np.int64)
    for block in blocks:
        lists = block.action, block.value, block.use_first, block.use_row, block.use_amount
        _add(*lists, value, count, largest, used, high, low)
    whole = np.ldexp(high.astype(np.float64), LOW_BITS) + low
    total = np.ldexp(high.sum(axis=0).astype(np.float64), LOW_BITS) + low.sum(axis=0)
    pairs = int(count.sum())
    mean = ((int(value[1]) << LOW_BITS) + int(value[2])) / max(1, pairs)
    return Measured(
        pairs, int(value[0]), mean, largest, total / np.maximum(used, 1),
        whole / np.maximum(count, 1)[:, None],
    )  # fmt: skip


def contacts_of(blocks: Sequence[PairBlock]) -> int:
    """Return how many pairs an allocation may have."""
    return sum(int(block.most.astype(np.int64).sum()) for block in blocks)


def most_units_of(blocks: Sequence[PairBlock]) -> int:
    """Return whole units that a number of a pair may have, so that sums stay in range."""
    return (MOST_UNITS - 1) // max(1, contacts_of(blocks))


def refuse_wrong(
    blocks: Sequence[PairBlock], kinds: tuple[Any, Any, Any], constraints: int
) -> None:
    """Refuse lists that are not right.

    Args:
        blocks: on the host.
        kinds: offer, channel and category of each action.
        constraints: K.

    Raises:
        DataError: what is wrong with them.
    """
    offer, channel, category = kinds
    ends = int(channel.max(initial=-1)), int(category.max(initial=-1))
    first = 0
    for block in blocks:
        problems = _check_lists(block, first, (len(offer), constraints, *ends))
        problems = problems or _check_caps(block, first, (channel, category))
        if problems:
            raise DataError.of(problems)
        first += len(block)


def _check_lists(block: PairBlock, first: int, sizes: tuple[int, int, int, int]) -> list[str]:
    """Return what is wrong with a block's lists, in words.

    Args:
        block: on the host.
        first: subscriber that its first row is, for the words.
        sizes: A, K, and the last channel and category.
    """
    actions, constraints, channel, category = sizes
    subscribers, pairs = len(block.key), len(block.action)
    shapes = {
        "indptr": (subscribers + 1,), "value": (pairs,), "use_first": (pairs + 1,),
        "use_amount": block.use_row.shape, "most": (subscribers,), "fewest": (subscribers,),
    }  # fmt: skip
    found = [
        f"{name}: has shape {getattr(block, name).shape}; {shape} is needed"
        for name, shape in shapes.items()
        if getattr(block, name).shape != shape
    ]
    for name, last in (("channel_most", channel), ("category_most", category)):
        rows, columns = getattr(block, name).shape
        if rows <= last or columns != subscribers:
            found.append(
                f"{name}: has shape {(rows, columns)}; at least {last + 1} rows of {subscribers} "
                "are needed"
            )
    if found:
        return found
    for name, end in (("indptr", pairs), ("use_first", len(block.use_row))):
        pointer = getattr(block, name)
        if pointer[0] != 0 or pointer[-1] != end or (np.diff(pointer) < 0).any():
            found.append(f"{name}: must never fall and go from 0 to {end}")
    for name, below in (("action", actions), ("use_row", constraints)):
        array = getattr(block, name)
        wrong = np.flatnonzero((array < 0) | (array >= below))
        if len(wrong):
            found.append(
                f"{name}: {len(wrong)} are not in [0, {below}), the first {array[wrong[0]]} at "
                f"{wrong[0]}"
            )
    return found or _check_order(block, first)


def _check_order(block: PairBlock, first: int) -> list[str]:
    """Return what is wrong with lists whose positions are right."""
    owner = np.repeat(np.arange(len(block.key)), np.diff(block.indptr))
    found = []
    same = (owner[1:] == owner[:-1]) & (block.action[1:] <= block.action[:-1])
    pair = np.repeat(np.arange(len(block.action)), np.diff(block.use_first))
    again = (pair[1:] == pair[:-1]) & (block.use_row[1:] <= block.use_row[:-1])
    for name, wrong, whose, array in (
        ("action", same, owner, block.action), ("use_row", again, pair, block.use_row),
    ):  # fmt: skip
        places = np.flatnonzero(wrong)
        if len(places):
            one = "subscriber" if name == "action" else "pair"
            which = int(whose[places[0]]) + (first if name == "action" else 0)
            found.append(
                f"{name}: of one {one} must increase, each once; {len(places)} do not, the first "
                f"{array[places[0] + 1]} after {array[places[0]]} of {one} {which}"
            )
    length = np.diff(block.indptr)
    musts = block.fewest > 0
    for wrong, text in (
        (block.fewest > 1, "fewest: must be 0 or 1"),
        (musts & (block.most != 1), "fewest: where it is 1, most must be 1"),
        (musts & (length == 0), "fewest: is 1 where no pair is listed; exactly one is impossible"),
        ((block.most > 1) & (length > MOST_PAIRS),
         f"indptr: at most {MOST_PAIRS} pairs are allowed where most is 2 or more"),
    ):  # fmt: skip
        rows = np.flatnonzero(wrong)
        if len(rows):
            found.append(f"{text}; {len(rows)} subscribers, the first is {first + rows[0]}")
    return found


def _check_caps(block: PairBlock, first: int, kinds: tuple[Any, Any]) -> list[str]:
    """Return which pairs their caps never allow, in words.

    Args:
        block: on the host, its lists being right.
        first: subscriber that its first row is.
        kinds: channel and category of each action.
    """
    found: list[str] = []
    if min(block.channel_most.min(initial=1), block.category_most.min(initial=1)) > 0:
        return found
    owner = np.repeat(np.arange(len(block.key)), np.diff(block.indptr))
    for name, kind in zip(("channel_most", "category_most"), kinds, strict=True):
        caps = getattr(block, name)[kind[block.action], owner]
        places = np.flatnonzero(caps == 0)
        if len(places):
            n = places[0]
            found.append(
                f"{name}: is 0 for {len(places)} listed pairs, the first action "
                f"{block.action[n]} of subscriber {first + owner[n]}; leave such pairs out"
            )
    return found
