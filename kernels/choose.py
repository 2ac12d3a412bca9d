"""Pick each subscriber's best bundle at given prices: the Lagrangian subproblem.

A bundle is at most ``most`` actions, at most ``channel_most[c]`` on channel c and
``category_most[h]`` of category h, each offer on one channel. A pair's surplus is

    (w value_fixed[a] - price_fixed[g, a]) + (w value_accept[a] - price_accept[g, a]) p

in float64, never contracted; a bundle's is the sum of its own, best first. The search is exact.
Sums are 64-bit integers of grid units (p in 2**-24, w in 2**-10), so they do not depend on order.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import cache
from typing import Any

import numpy as np

from kernels import backend
from kernels.choose_rows import NO_ACTION as NO_ACTION
from kernels.choose_rows import PROPENSITY_GRID as PROPENSITY_GRID
from kernels.choose_rows import WEIGHT_GRID as WEIGHT_GRID
from kernels.choose_rows import choose_rows, settled_rows

MOST_ACTIONS, MOST_BUNDLE = 512, 4  # as in choose.cu
MOST_CODES = int(np.iinfo(np.int16).max)  # actions at most, as ``chosen`` is int16
CHUNK = 16_384  # subscribers a thread takes at a time
MOST_THREADS = ContextVar("MOST_THREADS", default=0)  # 0: one per processor of this process


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count)


def _each_chunk(rows: int, work: Any) -> list[Any]:
    processors = len(os.sched_getaffinity(0))  # those of the machine may be more
    threads = _threads(min(MOST_THREADS.get() or processors, processors))
    return list(threads.map(lambda low: work(low, min(low + CHUNK, rows)), range(0, rows, CHUNK)))


def choose_cpu(
    propensity: Any, weight: Any, group: Any, most: Any, channel_most: Any, category_most: Any,
    offer: Any, channel: Any, category: Any, value_fixed: Any, value_accept: Any,
    price_fixed: Any, price_accept: Any, width: int,
) -> tuple[Any, Any]:  # fmt: skip
    """Return each subscriber's best bundle at the prices, and what all bundles add up to.

    Of equal bundles the first in the order of the search wins: actions best first, ties by lowest
    index, bundles depth first. Both backends return the same bits.

    Args:
        propensity: [A, S] float32 in [0, 1], a multiple of 2**-24; NaN where the action is not
            open. An open action is allowed on its own (its caps are at least 1).
        weight: [S] float32 in [0, 1000], a multiple of 2**-10, weight of the subscriber's value.
        group: [S] int32, scope group in [0, G); fastest when equal groups are neighbours.
        most: [S] uint8, actions at most.
        channel_most: [C, S] uint8, actions on a channel at most.
        category_most: [H, S] uint8, actions of a category at most.
        offer: [A] int32, offer of an action.
        channel: [A] int32, channel of an action, in [0, C).
        category: [A] int32, category of an action, in [0, H).
        value_fixed: [A] float64, money per contact.
        value_accept: [A] float64, money per acceptance.
        price_fixed: [G, A] float64, money to pay per contact at the prices.
        price_accept: [G, A] float64, money to pay per acceptance at the prices.
        width: Q, the largest ``most``, at least 1 and at most 4.

    Returns:
        chosen: [Q, S] int16, the actions of the bundle, then ``NO_ACTION``.
        tally: [4, G, A] int64, of the chosen pairs by group and action: contacts, sum of p
            (units 2**-24), sum of w (2**-10), sum of w p (2**-34).

    Source:
        Fisher, "The Lagrangian Relaxation Method for Solving Integer Programming Problems",
        Management Science 27(1), 1981.
    """
    subscribers = propensity.shape[1]
    chosen = np.empty((width, subscribers), np.int16)
    rows = backend.read_only(propensity, weight, group, most)
    caps = backend.read_only(channel_most, category_most)
    kinds = backend.read_only(offer, channel, category)
    tables = backend.read_only(value_fixed, value_accept, price_fixed, price_accept)

    def work(begin: int, end: int) -> Any:
        tally = np.zeros((4, *price_fixed.shape), np.int64)
        choose_rows(*rows, caps, kinds, tables, begin, end, chosen, tally)
        return tally

    tally = np.zeros((4, *price_fixed.shape), np.int64)
    for part in _each_chunk(subscribers, work):
        tally += part
    return chosen, tally


def choose_gpu(
    propensity: Any, weight: Any, group: Any, most: Any, channel_most: Any, category_most: Any,
    offer: Any, channel: Any, category: Any, value_fixed: Any, value_accept: Any,
    price_fixed: Any, price_accept: Any, width: int,
) -> tuple[Any, Any]:  # fmt: skip
    actions, subscribers = propensity.shape
    chosen = backend.cupy.empty((width, subscribers), np.int16)
    tally = backend.cupy.zeros((4, *price_fixed.shape), np.int64)
    backend.launch(
        backend.cuda_function("choose", "choose"), subscribers, propensity, weight, group, most,
        channel_most, category_most, offer, channel, category, value_fixed, value_accept,
        price_fixed, price_accept, np.int64(subscribers), np.int32(actions),
        np.int64(price_fixed.shape[0]), np.int32(width), chosen, tally,
    )  # fmt: skip
    return chosen, tally


def settled_cpu(
    propensity: Any, weight: Any, group: Any, most: Any, channel_most: Any, category_most: Any,
    offer: Any, channel: Any, category: Any, value_fixed: Any, value_accept: Any,
    price_fixed: Any, price_accept: Any, spread_fixed: Any, spread_accept: Any, chosen: Any,
) -> Any:  # fmt: skip
    """Return which subscribers keep their bundle wherever prices move within the spread.

    Holds the chosen actions at their lowest surplus and all others at their highest. If the same
    bundle still wins, it wins for every price at which no pair's surplus moves by more than
    ``spread_fixed[g, a] + spread_accept[g, a] p``.

    Args:
        propensity: as in :func:`choose_cpu`.
        weight: as in :func:`choose_cpu`.
        group: as in :func:`choose_cpu`.
        most: as in :func:`choose_cpu`.
        channel_most: as in :func:`choose_cpu`.
        category_most: as in :func:`choose_cpu`.
        offer: as in :func:`choose_cpu`.
        channel: as in :func:`choose_cpu`.
        category: as in :func:`choose_cpu`.
        value_fixed: as in :func:`choose_cpu`.
        value_accept: as in :func:`choose_cpu`.
        price_fixed: as in :func:`choose_cpu`.
        price_accept: as in :func:`choose_cpu`.
        spread_fixed: [G, A] float64, money, >= 0.
        spread_accept: [G, A] float64, money, >= 0.
        chosen: [Q, S] int16, the bundles at the prices, from :func:`choose_cpu`.

    Returns:
        still: [S] uint8, 1 where the bundle is settled.
    """
    still = np.empty(propensity.shape[1], np.uint8)
    rows = backend.read_only(propensity, weight, group, most)
    caps = backend.read_only(channel_most, category_most)
    kinds = backend.read_only(offer, channel, category)
    tables = backend.read_only(value_fixed, value_accept, price_fixed, price_accept)
    spreads, (held,) = backend.read_only(spread_fixed, spread_accept), backend.read_only(chosen)
    _each_chunk(
        propensity.shape[1],
        lambda begin, end: settled_rows(
            *rows, caps, kinds, tables, spreads, held, begin, end, still
        ),
    )
    return still


def settled_gpu(
    propensity: Any, weight: Any, group: Any, most: Any, channel_most: Any, category_most: Any,
    offer: Any, channel: Any, category: Any, value_fixed: Any, value_accept: Any,
    price_fixed: Any, price_accept: Any, spread_fixed: Any, spread_accept: Any, chosen: Any,
) -> Any:  # fmt: skip
    actions, subscribers = propensity.shape
    still = backend.cupy.empty(subscribers, np.uint8)
    backend.launch(
        backend.cuda_function("choose", "settled"), subscribers, propensity, weight, group, most,
        channel_most, category_most, offer, channel, category, value_fixed, value_accept,
        price_fixed, price_accept, spread_fixed, spread_accept, chosen, np.int64(subscribers),
        np.int32(actions), np.int32(chosen.shape[0]), still,
    )  # fmt: skip
    return still


_SUBSCRIBER_SIDE = ("float32", "float32", "int32", "uint8", "uint8", "uint8")
_ACTION_SIDE = ("int32", "int32", "int32", "float64", "float64", "float64", "float64")

choose: Any = backend.twin(choose_cpu, choose_gpu, dtypes=_SUBSCRIBER_SIDE + _ACTION_SIDE)
settled: Any = backend.twin(
    settled_cpu,
    settled_gpu,
    dtypes=(*_SUBSCRIBER_SIDE, *_ACTION_SIDE, "float64", "float64", "int16"),
)
