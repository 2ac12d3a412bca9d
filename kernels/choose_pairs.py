"""Pick each subscriber's best bundle at given prices, where every pair is listed by itself.

A pair (subscriber, action) has a value and uses of its own. Its surplus is

    value worth - sum over its uses of price[use_row] use_amount

in float64, uses in their order, never contracted; a bundle's is the sum of its own, best first. A
bundle is at most ``most`` pairs, at most ``channel_most[c]`` on channel c and ``category_most[h]``
of category h, each offer once. The search is exact. Sums are 64-bit integers of the caller's whole
units, so they do not depend on order; the caller sees to it that they fit.
"""

from typing import Any

import numpy as np

from kernels import backend
from kernels.pair_rows import choose_pair_rows, curve_pair_rows
from kernels.threads import added_chunks, each_chunk

MOST_PAIRS = 512  # as in choose_pairs.cu: pairs of one subscriber who may have two or more
CHUNK = 16_384  # subscribers a thread takes at a time


def choose_pairs_cpu(
    key: Any, indptr: Any, action: Any, value: Any, use_first: Any, use_row: Any, use_amount: Any,
    most: Any, fewest: Any, channel_most: Any, category_most: Any, offer: Any, channel: Any,
    category: Any, price: Any, worth: float, classes: int, width: int,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Return each subscriber's best bundle at the prices, and what all bundles add up to.

    Of equal bundles the first in the order of the search wins: pairs best first, ties by lowest
    action, bundles depth first. Both backends return the same bits.

    Args:
        key: [S] int64, >= 0; its remainder modulo G is the subscriber's class.
        indptr: [S + 1] int64, pairs of subscriber s are ``indptr[s]:indptr[s + 1]``.
        action: [N] int32 in [0, A), ascending within a subscriber.
        value: [N] int64, whole units.
        use_first: [N + 1] int64, uses of pair n are ``use_first[n]:use_first[n + 1]``.
        use_row: [M] int32 in [0, K), increasing within a pair.
        use_amount: [M] int64, whole units of the constraint.
        most: [S] uint8, pairs at most.
        fewest: [S] uint8: 1 where the bundle may not be empty (``most`` is 1 there), else 0.
        channel_most: [C, S] uint8, pairs on a channel at most; where a pair is listed, at least 1.
        category_most: [H, S] uint8, pairs of a category at most; likewise.
        offer: [A] int32, offer of an action.
        channel: [A] int32, channel of an action, in [0, C).
        category: [A] int32, category of an action, in [0, H).
        price: [K] float64, money per whole unit of a constraint.
        worth: money per whole unit of value.
        classes: G, at least 1.
        width: Q, the largest ``most``, at least 1 and at most 4. Above 1, a subscriber has at most
            512 pairs.

    Returns:
        chosen: [Q, S] int16, the actions of the bundle, then ``NO_ACTION``.
        margin: [S] float32, money, how much better it is than the second best; infinite where
            there is no second.
        total: [G, 1 + K] int64, value and uses of the chosen pairs of each class, whole units.

    Source:
        Fisher, "The Lagrangian Relaxation Method for Solving Integer Programming Problems",
        Management Science 27(1), 1981.
    """
    subscribers, shape = len(indptr) - 1, (classes, 1 + len(price))
    chosen = np.empty((width, subscribers), np.int16)
    margin = np.empty(subscribers, np.float32)
    lists = backend.read_only(
        key, indptr, action, value, use_first, use_row, use_amount, most, fewest, channel_most,
        category_most,
    )  # fmt: skip
    kinds, (prices,) = backend.read_only(offer, channel, category), backend.read_only(price)

    def work(begin: int, end: int) -> Any:
        total = np.zeros(shape, np.int64)
        out = (begin, end, chosen, margin, total)
        choose_pair_rows(lists, kinds, float(worth), prices, *out)
        return total

    total = np.zeros(shape, np.int64)
    for part in each_chunk(subscribers, work, CHUNK):
        total += part
    return chosen, margin, total


def choose_pairs_gpu(
    key: Any, indptr: Any, action: Any, value: Any, use_first: Any, use_row: Any, use_amount: Any,
    most: Any, fewest: Any, channel_most: Any, category_most: Any, offer: Any, channel: Any,
    category: Any, price: Any, worth: float, classes: int, width: int,
) -> tuple[Any, Any, Any]:  # fmt: skip
    subscribers = len(indptr) - 1
    chosen = backend.cupy.empty((width, subscribers), np.int16)
    margin = backend.cupy.empty(subscribers, np.float32)
    total = backend.cupy.zeros((classes, 1 + len(price)), np.int64)
    backend.launch(
        backend.cuda_function("choose_pairs", "choose_pairs"), subscribers, key, indptr, action,
        value, use_first, use_row, use_amount, most, fewest, channel_most, category_most, offer,
        channel, category, price, np.float64(worth), np.int64(classes), np.int64(len(price)),
        np.int64(subscribers), np.int32(width), chosen, margin, total,
    )  # fmt: skip
    return chosen, margin, total


def curve_pairs_cpu(
    key: Any, indptr: Any, action: Any, value: Any, use_first: Any, use_row: Any, use_amount: Any,
    most: Any, fewest: Any, channel_most: Any, category_most: Any, offer: Any, channel: Any,
    category: Any, price: Any, step: Any, worth: float, bandwidth: float, unit: float,
    classes: int, width: int,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Return what the best bundles add up to, and how fast that changes with the prices.

    A subscriber whose margin is below the bandwidth h may switch to its second best bundle. With d
    the change of use, the dual's second derivative in the prices is about the sum of d d' over
    these subscribers, over 2 h.

    Args:
        key: as in :func:`choose_pairs_cpu`.
        indptr: as in :func:`choose_pairs_cpu`.
        action: as in :func:`choose_pairs_cpu`.
        value: as in :func:`choose_pairs_cpu`.
        use_first: as in :func:`choose_pairs_cpu`.
        use_row: as in :func:`choose_pairs_cpu`.
        use_amount: as in :func:`choose_pairs_cpu`.
        most: as in :func:`choose_pairs_cpu`.
        fewest: as in :func:`choose_pairs_cpu`.
        channel_most: as in :func:`choose_pairs_cpu`.
        category_most: as in :func:`choose_pairs_cpu`.
        offer: as in :func:`choose_pairs_cpu`.
        channel: as in :func:`choose_pairs_cpu`.
        category: as in :func:`choose_pairs_cpu`.
        price: as in :func:`choose_pairs_cpu`.
        step: [K] float64, what a whole unit of each constraint counts in d, in any unit.
        worth: as in :func:`choose_pairs_cpu`.
        bandwidth: h, money, > 0.
        unit: squares are summed in whole numbers of ``1 / unit``; the caller chooses it such that
            no sum reaches 2**63.
        classes: G, as in :func:`choose_pairs_cpu`.
        width: Q, as in :func:`choose_pairs_cpu`.

    Returns:
        total: as in :func:`choose_pairs_cpu`.
        curvature: [K, K] int64, lower triangle, sum of d d' in units of ``1 / unit``.
        near: [1] int64, subscribers whose margin is below the bandwidth.
    """
    subscribers, count = len(indptr) - 1, len(price)
    lists = backend.read_only(
        key, indptr, action, value, use_first, use_row, use_amount, most, fewest, channel_most,
        category_most,
    )  # fmt: skip
    kinds, (prices, steps) = (
        backend.read_only(offer, channel, category),
        backend.read_only(price, step),
    )

    def empty() -> tuple[Any, Any, Any]:
        return (
            np.zeros((classes, 1 + count), np.int64), np.zeros((count, count), np.int64),
            np.zeros(1, np.int64),
        )  # fmt: skip

    def work(begin: int, end: int) -> tuple[Any, Any, Any]:
        out = empty()
        span = (float(bandwidth), float(unit), begin, end, width)
        curve_pair_rows(lists, kinds, float(worth), prices, steps, *span, *out)
        return out

    return added_chunks(subscribers, work, empty, CHUNK)


def curve_pairs_gpu(
    key: Any, indptr: Any, action: Any, value: Any, use_first: Any, use_row: Any, use_amount: Any,
    most: Any, fewest: Any, channel_most: Any, category_most: Any, offer: Any, channel: Any,
    category: Any, price: Any, step: Any, worth: float, bandwidth: float, unit: float,
    classes: int, width: int,
) -> tuple[Any, Any, Any]:  # fmt: skip
    subscribers, count = len(indptr) - 1, len(price)
    total = backend.cupy.zeros((classes, 1 + count), np.int64)
    curvature = backend.cupy.zeros((count, count), np.int64)
    near = backend.cupy.zeros(1, np.int64)
    backend.launch(
        backend.cuda_function("choose_pairs", "curve_pairs"), subscribers, key, indptr, action,
        value, use_first, use_row, use_amount, most, fewest, channel_most, category_most, offer,
        channel, category, price, step, np.float64(worth), np.float64(bandwidth),
        np.float64(unit), np.int64(classes), np.int64(count), np.int64(subscribers),
        np.int32(width), total, curvature, near,
    )  # fmt: skip
    return total, curvature, near


_LISTS = (
    "int64", "int64", "int32", "int64", "int64", "int32", "int64", "uint8", "uint8", "uint8",
    "uint8",
)  # fmt: skip
_KINDS = ("int32", "int32", "int32")

choose_pairs: Any = backend.twin(
    choose_pairs_cpu, choose_pairs_gpu, dtypes=(*_LISTS, *_KINDS, "float64")
)
curve_pairs: Any = backend.twin(
    curve_pairs_cpu, curve_pairs_gpu, dtypes=(*_LISTS, *_KINDS, "float64", "float64")
)
