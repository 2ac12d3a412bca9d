"""Pick each subscriber's best bundle at given prices: the Lagrangian subproblem.

A bundle is at most ``most`` actions, none or at least ``fewest``, that keep every cap and conflict
and have what they require (:func:`choose_cpu`). A pair's surplus is

    (w value_fixed[a] - price_fixed[g, a]) + (w value_accept[a] - price_accept[g, a]) p

in float64, never contracted; a bundle's is the sum of its own, best first. The search is exact.
Sums are 64-bit integers of grid units (p in 2**-24, w in 2**-10), so they do not depend on order.

The margin of a subscriber is the best bundle's surplus less the second best's: how far prices can
move before another is chosen. Where nobody gets more than one action (Q = 1) it is computed in
float32, unless that leaves the choice in doubt (:mod:`kernels.screen`).
"""

from typing import Any

import numpy as np

from kernels import backend, single
from kernels.choose_rows import MUST as MUST
from kernels.choose_rows import NO_ACTION as NO_ACTION
from kernels.choose_rows import PROPENSITY_GRID as PROPENSITY_GRID
from kernels.choose_rows import WEIGHT_GRID as WEIGHT_GRID
from kernels.choose_rows import choose_bundle_rows, curve_bundle_rows, within_rows
from kernels.threads import LIGHT_CHUNK, added_chunks, chunk_of, each_chunk

MOST_ACTIONS, MOST_BUNDLE, MOST_CAPS = 512, 4, 1024  # as in choose.cu
MOST_CODES = int(np.iinfo(np.int16).max)  # actions at most, as ``chosen`` is int16


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
        per_contact: [D] uint8, 1 where a cap counts contacts (all actions of one, or none of
            them), 0 where it counts actions.
        conflicts: [A, W] int64, bit b % 64 of word b // 64: a and b are not in one bundle.
        requires: [R, A, W] int64, actions of which a requires one, in the same way; 0: nothing.
        value_fixed: [A] float64, money per contact.
        value_accept: [A] float64, money per acceptance.
        price_fixed: [G, A] float64, money to pay per contact at the prices.
        price_accept: [G, A] float64, money to pay per acceptance at the prices.
        width: Q, the largest ``most``, at least 1 and at most 4.

    Returns:
        chosen: [Q, S] int16, the actions of the bundle, then ``NO_ACTION``.
        margin: [S] float32, money; infinite where nothing is allowed. With Q = 1 it is the float32
            margin of :func:`kernels.screen.screened` where that is beyond doubt.
        tally: [G, A, 4] int64, of the chosen pairs by group and action: contacts, sum of p
            (units 2**-24), sum of w (2**-10), sum of w p (2**-34).

    Source:
        Fisher, "The Lagrangian Relaxation Method for Solving Integer Programming Problems",
        Management Science 27(1), 1981.
    """
    rows = backend.read_only(propensity, weight, group, most, fewest)
    tables = backend.read_only(value_fixed, value_accept, price_fixed, price_accept)
    if width == 1:
        return single.choose_cpu(rows, requires, tables)
    subscribers = propensity.shape[1]
    chosen = np.empty((width, subscribers), np.int16)
    margin = np.empty(subscribers, np.float32)
    (caps,) = backend.read_only(cap)
    rules = backend.read_only(
        offer, kind, contact, cap_indptr, cap_group, per_contact, conflicts, requires
    )

    def empty() -> tuple[Any]:
        return (np.zeros((*price_fixed.shape, 4), np.int64),)

    def work(begin: int, end: int) -> tuple[Any]:
        (tally,) = empty()
        choose_bundle_rows(*rows, caps, rules, tables, begin, end, chosen, margin, tally)
        return (tally,)

    (tally,) = added_chunks(subscribers, work, empty, chunk_of(subscribers, width=width))
    return chosen, margin, tally


def _sizes(subscribers: int, actions: int, cap: Any, conflicts: Any, requires: Any) -> Any:
    """Return S, A, D, W and R as CUDA takes them."""
    return (
        np.int64(subscribers), np.int32(actions), np.int32(cap.shape[0]),
        np.int32(conflicts.shape[1]), np.int32(requires.shape[0]),
    )  # fmt: skip


def choose_gpu(
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, cap: Any,
    offer: Any, kind: Any, contact: Any, cap_indptr: Any, cap_group: Any, per_contact: Any,
    conflicts: Any, requires: Any, value_fixed: Any, value_accept: Any,
    price_fixed: Any, price_accept: Any, width: int,
) -> tuple[Any, Any, Any]:  # fmt: skip
    tables = (value_fixed, value_accept, price_fixed, price_accept)
    if width == 1:
        return single.choose_gpu((propensity, weight, group, most, fewest), requires, tables)
    actions, subscribers = propensity.shape
    chosen = backend.cupy.empty((width, subscribers), np.int16)
    margin = backend.cupy.empty(subscribers, np.float32)
    tally = backend.cupy.zeros((*price_fixed.shape, 4), np.int64)
    backend.launch(
        backend.cuda_function("choose", "choose"), subscribers, propensity, weight, group, most,
        fewest, cap, offer, kind, contact, cap_indptr, cap_group, per_contact, conflicts, requires,
        *tables, *_sizes(subscribers, actions, cap, conflicts, requires), np.int32(width),
        chosen, margin, tally,
    )  # fmt: skip
    return chosen, margin, tally


def within_cpu(chosen: Any, margin: Any, group: Any, reach: Any) -> Any:
    """Return who may choose another bundle when surpluses move.

    Args:
        chosen: [Q, S] int16, from :func:`choose_cpu`.
        margin: [S] float32, money, from :func:`choose_cpu`.
        group: [S] int32, as in :func:`choose_cpu`.
        reach: [G, 1 + A] float64, money: how far the surplus of no action, and of each action, may
            move against the others'; a bundle's reach is the sum over its actions.

    Returns:
        near: [S] uint8, 1 where the margin is less than the bundle's reach.
    """
    near = np.empty(len(margin), np.uint8)
    arrays = backend.read_only(chosen, margin, group, reach)
    each_chunk(len(margin), lambda begin, end: within_rows(*arrays, begin, end, near), LIGHT_CHUNK)
    return near


def within_gpu(chosen: Any, margin: Any, group: Any, reach: Any) -> Any:
    near = backend.cupy.empty(len(margin), np.uint8)
    backend.launch(
        backend.cuda_function("choose", "within"), len(margin), chosen, margin, group, reach,
        np.int64(len(margin)), np.int32(reach.shape[1] - 1), np.int32(chosen.shape[0]), near,
    )  # fmt: skip
    return near


def curve_cpu(
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, cap: Any,
    offer: Any, kind: Any, contact: Any, cap_indptr: Any, cap_group: Any, per_contact: Any,
    conflicts: Any, requires: Any, value_fixed: Any, value_accept: Any,
    price_fixed: Any, price_accept: Any, first: Any, constraint: Any, use_fixed: Any,
    use_accept: Any, bandwidth: float, unit: float, constraints: int, width: int,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Return what the best bundles add up to, and how fast that changes with the prices.

    A subscriber whose margin is below the bandwidth h may switch to its second best bundle. With d
    the change of use, the dual's second derivative in the prices is about the sum of d d' over
    these subscribers, over 2 h.

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
        first: [G A + 1] int64, entries of cell g A + a are ``first[g A + a]:first[g A + a + 1]``.
        constraint: [N] int64 in [0, K), increasing within a cell.
        use_fixed: [N] float64, use of the constraint per contact, in any unit.
        use_accept: [N] float64, use per acceptance, in the same unit.
        bandwidth: h, money, > 0.
        unit: squares are summed in whole numbers of ``1 / unit``; the caller chooses it such that
            no sum reaches 2**63.
        constraints: K.
        width: Q, as in :func:`choose_cpu`.

    Returns:
        tally: as in :func:`choose_cpu`.
        curvature: [K, K] int64, lower triangle, sum of d d' in units of ``1 / unit``.
        near: [1] int64, subscribers whose margin is below the bandwidth.
    """
    rows = backend.read_only(propensity, weight, group, most, fewest)
    tables = backend.read_only(value_fixed, value_accept, price_fixed, price_accept)
    entries = backend.read_only(first, constraint, use_fixed, use_accept)
    if width == 1:
        return single.curve_cpu(rows, requires, tables, entries, bandwidth, unit, constraints)
    subscribers = propensity.shape[1]
    (caps,) = backend.read_only(cap)
    rules = backend.read_only(
        offer, kind, contact, cap_indptr, cap_group, per_contact, conflicts, requires
    )

    def empty() -> tuple[Any, Any, Any]:
        return (
            np.zeros((*price_fixed.shape, 4), np.int64),
            np.zeros((constraints, constraints), np.int64),
            np.zeros(1, np.int64),
        )

    def work(begin: int, end: int) -> tuple[Any, Any, Any]:
        out = empty()
        span = (float(bandwidth), float(unit), begin, end)
        curve_bundle_rows(*rows, caps, rules, tables, entries, *span, width, *out)
        return out

    return added_chunks(subscribers, work, empty, chunk_of(subscribers, width=width))


def curve_gpu(
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, cap: Any,
    offer: Any, kind: Any, contact: Any, cap_indptr: Any, cap_group: Any, per_contact: Any,
    conflicts: Any, requires: Any, value_fixed: Any, value_accept: Any,
    price_fixed: Any, price_accept: Any, first: Any, constraint: Any, use_fixed: Any,
    use_accept: Any, bandwidth: float, unit: float, constraints: int, width: int,
) -> tuple[Any, Any, Any]:  # fmt: skip
    tables = (value_fixed, value_accept, price_fixed, price_accept)
    entries = (first, constraint, use_fixed, use_accept)
    if width == 1:
        rows = (propensity, weight, group, most, fewest)
        return single.curve_gpu(rows, requires, tables, entries, bandwidth, unit, constraints)
    actions, subscribers = propensity.shape
    tally = backend.cupy.zeros((*price_fixed.shape, 4), np.int64)
    curvature = backend.cupy.zeros((constraints, constraints), np.int64)
    near = backend.cupy.zeros(1, np.int64)
    backend.launch(
        backend.cuda_function("choose", "curve"), subscribers, propensity, weight, group, most,
        fewest, cap, offer, kind, contact, cap_indptr, cap_group, per_contact, conflicts, requires,
        *tables, *entries, np.float64(bandwidth), np.float64(unit),
        *_sizes(subscribers, actions, cap, conflicts, requires), np.int32(width),
        np.int64(constraints), tally, curvature, near,
    )  # fmt: skip
    return tally, curvature, near


_SUBSCRIBER_SIDE = ("float32", "float32", "int32", "uint8", "uint8", "uint8")
_RULES = ("int32", "int32", "int32", "int32", "int32", "uint8", "int64", "int64")
_TABLES = ("float64", "float64", "float64", "float64")
_ENTRIES = ("int64", "int64", "float64", "float64")

choose: Any = backend.twin(choose_cpu, choose_gpu, dtypes=(*_SUBSCRIBER_SIDE, *_RULES, *_TABLES))
within: Any = backend.twin(within_cpu, within_gpu, dtypes=("int16", "float32", "int32", "float64"))
curve: Any = backend.twin(
    curve_cpu, curve_gpu, dtypes=(*_SUBSCRIBER_SIDE, *_RULES, *_TABLES, *_ENTRIES)
)
