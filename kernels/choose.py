"""Pick each subscriber's best bundle at given prices: the Lagrangian subproblem.

A bundle is at most ``most`` actions, none or at least ``fewest``, that keep every cap and conflict
and have what they require (:func:`choose_cpu`). A pair's surplus is

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
from kernels.choose_rows import MUST as MUST
from kernels.choose_rows import NO_ACTION as NO_ACTION
from kernels.choose_rows import PROPENSITY_GRID as PROPENSITY_GRID
from kernels.choose_rows import WEIGHT_GRID as WEIGHT_GRID
from kernels.choose_rows import choose_rows, settled_rows

MOST_ACTIONS, MOST_BUNDLE, MOST_CAPS = 512, 4, 256  # as in choose.cu
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
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, cap: Any,
    offer: Any, kind: Any, contact: Any, cap_indptr: Any, cap_group: Any, per_contact: Any,
    conflicts: Any, requires: Any, value_fixed: Any, value_accept: Any,
    price_fixed: Any, price_accept: Any, width: int,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Return each subscriber's best bundle at the prices, and what all bundles add up to.

    Of equal bundles the first in the order of the search wins: actions best first, ties by lowest
    index, bundles depth first. Both backends return the same bits.

    Args:
        propensity: [A, S] float32 in [0, 1], a multiple of 2**-24; NaN where the action is not
            open. No cap of an open action is 0.
        weight: [S] float32 in [0, 1000], a multiple of 2**-10, weight of the subscriber's value.
        group: [S] int32, scope group in [0, G); fastest when equal groups are neighbours.
        most: [S] uint8, actions at most.
        fewest: [S] uint8, actions at least, if any; with the flag ``MUST`` (exactly or at least so
            many) the bundle is empty only where no other is allowed.
        cap: [D, S] uint8, how many actions, or contacts, of a cap's group there may be.
        offer: [A] int32, offer of an action.
        kind: [A] int32, equal for actions that the same caps count and that conflict with nothing
            but other actions of their offer; negative: like no other.
        contact: [A] int32, actions of equal number go out in one contact.
        cap_indptr: [A + 1] int32, the caps that count action a are
            ``cap_group[cap_indptr[a]:cap_indptr[a + 1]]``; best first the one that binds most.
        cap_group: [...] int32, in [0, D).
        per_contact: [D] uint8, 1 where a cap counts contacts, 0 where it counts actions.
        conflicts: [A, W] int64, bit b % 64 of word b // 64: a and b are not in one bundle.
        requires: [R, A, W] int64, actions of which a requires one, in the same way; 0: nothing.
        value_fixed: [A] float64, money per contact.
        value_accept: [A] float64, money per acceptance.
        price_fixed: [G, A] float64, money to pay per contact at the prices.
        price_accept: [G, A] float64, money to pay per acceptance at the prices.
        width: Q, the largest ``most``, at least 1 and at most 4.

    Returns:
        chosen: [Q, S] int16, the actions of the bundle, then ``NO_ACTION``.
        tally: [4, G, A] int64, of the chosen pairs by group and action: contacts, sum of p
            (units 2**-24), sum of w (2**-10), sum of w p (2**-34).
        margin: [S] float64, money, >= 0, the bundle's surplus less that of the best other bundle
            that is allowed (none included, where it is); infinite where there is no other.

    Source:
        Fisher, "The Lagrangian Relaxation Method for Solving Integer Programming Problems",
        Management Science 27(1), 1981.
    """
    subscribers = propensity.shape[1]
    chosen, margin = np.empty((width, subscribers), np.int16), np.empty(subscribers)
    rows = backend.read_only(propensity, weight, group, most, fewest, cap)
    rules = backend.read_only(
        offer, kind, contact, cap_indptr, cap_group, per_contact, conflicts, requires
    )
    tables = backend.read_only(value_fixed, value_accept, price_fixed, price_accept)

    def work(begin: int, end: int) -> Any:
        tally = np.zeros((4, *price_fixed.shape), np.int64)
        choose_rows(*rows, rules, tables, begin, end, chosen, tally, margin)
        return tally

    tally = np.zeros((4, *price_fixed.shape), np.int64)
    for part in _each_chunk(subscribers, work):
        tally += part
    return chosen, tally, margin


def choose_gpu(
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, cap: Any,
    offer: Any, kind: Any, contact: Any, cap_indptr: Any, cap_group: Any, per_contact: Any,
    conflicts: Any, requires: Any, value_fixed: Any, value_accept: Any,
    price_fixed: Any, price_accept: Any, width: int,
) -> tuple[Any, Any, Any]:  # fmt: skip
    actions, subscribers = propensity.shape
    chosen = backend.cupy.empty((width, subscribers), np.int16)
    tally = backend.cupy.zeros((4, *price_fixed.shape), np.int64)
    margin = backend.cupy.empty(subscribers, np.float64)
    backend.launch(
        backend.cuda_function("choose", "choose"), subscribers, propensity, weight, group, most,
        fewest, cap, offer, kind, contact, cap_indptr, cap_group, per_contact, conflicts, requires,
        value_fixed, value_accept, price_fixed, price_accept, np.int64(subscribers),
        np.int32(actions), np.int32(cap.shape[0]), np.int32(conflicts.shape[1]),
        np.int32(requires.shape[0]), np.int64(price_fixed.shape[0]), np.int32(width), chosen,
        tally, margin,
    )  # fmt: skip
    return chosen, tally, margin


def settled_cpu(
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, cap: Any,
    offer: Any, kind: Any, contact: Any, cap_indptr: Any, cap_group: Any, per_contact: Any,
    conflicts: Any, requires: Any, value_fixed: Any, value_accept: Any,
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
        fewest: as in :func:`choose_cpu`.
        cap: as in :func:`choose_cpu`.
        offer: as in :func:`choose_cpu`.
        kind: as in :func:`choose_cpu`.
        contact: as in :func:`choose_cpu`.
        cap_indptr: as in :func:`choose_cpu`.
        cap_group: as in :func:`choose_cpu`.
        per_contact: as in :func:`choose_cpu`.
        conflicts: as in :func:`choose_cpu`.
        requires: as in :func:`choose_cpu`.
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
    rows = backend.read_only(propensity, weight, group, most, fewest, cap)
    rules = backend.read_only(
        offer, kind, contact, cap_indptr, cap_group, per_contact, conflicts, requires
    )
    tables = backend.read_only(value_fixed, value_accept, price_fixed, price_accept)
    spreads, (held,) = backend.read_only(spread_fixed, spread_accept), backend.read_only(chosen)
    _each_chunk(
        propensity.shape[1],
        lambda begin, end: settled_rows(*rows, rules, tables, spreads, held, begin, end, still),
    )
    return still


def settled_gpu(
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, cap: Any,
    offer: Any, kind: Any, contact: Any, cap_indptr: Any, cap_group: Any, per_contact: Any,
    conflicts: Any, requires: Any, value_fixed: Any, value_accept: Any,
    price_fixed: Any, price_accept: Any, spread_fixed: Any, spread_accept: Any, chosen: Any,
) -> Any:  # fmt: skip
    actions, subscribers = propensity.shape
    still = backend.cupy.empty(subscribers, np.uint8)
    backend.launch(
        backend.cuda_function("choose", "settled"), subscribers, propensity, weight, group, most,
        fewest, cap, offer, kind, contact, cap_indptr, cap_group, per_contact, conflicts, requires,
        value_fixed, value_accept, price_fixed, price_accept, spread_fixed, spread_accept, chosen,
        np.int64(subscribers), np.int32(actions), np.int32(cap.shape[0]),
        np.int32(conflicts.shape[1]), np.int32(requires.shape[0]), np.int32(chosen.shape[0]), still,
    )  # fmt: skip
    return still


_SUBSCRIBER_SIDE = ("float32", "float32", "int32", "uint8", "uint8", "uint8")
_RULES = ("int32", "int32", "int32", "int32", "int32", "uint8", "int64", "int64")
_TABLES = ("float64", "float64", "float64", "float64")

choose: Any = backend.twin(choose_cpu, choose_gpu, dtypes=_SUBSCRIBER_SIDE + _RULES + _TABLES)
settled: Any = backend.twin(
    settled_cpu,
    settled_gpu,
    dtypes=(*_SUBSCRIBER_SIDE, *_RULES, *_TABLES, "float64", "float64", "int16"),
)
