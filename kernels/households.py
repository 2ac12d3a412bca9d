"""Pick the best bundles of households' members at given prices, where they are bound together.

The members of a household each have a bundle by their own rules (:mod:`kernels.choose`), and
together

    the actions, or contacts, of all their bundles that cap e counts <= room[e]   for every e
    no action of one member's bundle excludes one of any member's

with the greatest sum of surpluses. A contact is of one member: the same to two members is two.

If the members' own best bundles go together, they are the answer, each with its own margin. If
not, the search of :mod:`kernels.household_search` finds the best and the second best joint choice,
and each member's margin is that between the two. It adds surpluses in whole multiples of a power of
2, so that no sum is rounded.
"""

from typing import Any

import numpy as np

from kernels import backend
from kernels.household_candidates import MOST_MEMBERS as MOST_MEMBERS
from kernels.household_candidates import classes_of
from kernels.household_rows import choose_household_rows, curve_household_rows
from kernels.threads import added_chunks, chunk_of

MEMORY = 1 << 26  # numbers of 8 bytes, in all threads of a device, about


def choose_households_cpu(
    propensity: Any, weight: Any, group: Any, most: Any, cap: Any, household: Any, room: Any,
    offer: Any, kind: Any, contact: Any, cap_indptr: Any, cap_group: Any, per_contact: Any,
    conflicts: Any, household_indptr: Any, household_group: Any, household_per_contact: Any,
    household_conflicts: Any, value_fixed: Any, value_accept: Any, price_fixed: Any,
    price_accept: Any, chosen: Any, margin: Any, tally: Any,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Write the members' best bundles at the prices, and add up what all these bundles are.

    Any part of an allowed bundle is allowed, and so is none at all. Rows without a household are
    left alone. Of equal joint choices the first in the order of the search wins.

    Args:
        propensity: [A, S] as in :func:`kernels.choose.choose_cpu`; at most 512 actions.
        weight: [S] as in :func:`kernels.choose.choose_cpu`.
        group: [S] as in :func:`kernels.choose.choose_cpu`.
        most: [S] as in :func:`kernels.choose.choose_cpu`.
        cap: [D, S] as in :func:`kernels.choose.choose_cpu`.
        household: [S] int64, equal for the members of a household, who are neighbours, at most 8;
            negative: of none.
        room: [E, S] uint8, how many actions, or contacts, of a cap's group the members may get
            together, the same for each; an action without room is never chosen.
        offer: [A] as in :func:`kernels.choose.choose_cpu`.
        kind: [A] as in :func:`kernels.choose.choose_cpu`.
        contact: [A] as in :func:`kernels.choose.choose_cpu`.
        cap_indptr: [A + 1] as in :func:`kernels.choose.choose_cpu`.
        cap_group: [...] as in :func:`kernels.choose.choose_cpu`.
        per_contact: [D] as in :func:`kernels.choose.choose_cpu`.
        conflicts: [A, W] as in :func:`kernels.choose.choose_cpu`; actions of one offer conflict.
        household_indptr: [A + 1] int32, the household's caps that count action a are
            ``household_group[household_indptr[a]:household_indptr[a + 1]]``.
        household_group: [...] int32, in [0, E).
        household_per_contact: [E] uint8, 1 where such a cap counts contacts.
        household_conflicts: [A, W] int64, bit b % 64 of word b // 64: a and b do not go to two
            members of a household, nor to one.
        value_fixed: [A] as in :func:`kernels.choose.choose_cpu`.
        value_accept: [A] as in :func:`kernels.choose.choose_cpu`.
        price_fixed: [G, A] as in :func:`kernels.choose.choose_cpu`.
        price_accept: [G, A] as in :func:`kernels.choose.choose_cpu`.
        chosen: [Q, S] int16, in/out: the actions of each member's bundle, then ``NO_ACTION``.
        margin: [S] float32, in/out, money; infinite where nothing else is allowed.
        tally: [G, A, 4] int64, in/out: the members' bundles are added, as in
            :func:`kernels.choose.choose_cpu`.

    Returns:
        chosen, margin, tally: the same three arrays.

    Source:
        Held, Wolfe and Crowder, "Validation of subgradient optimization", Mathematical Programming
        6, 1974.
    """
    subscribers, width = propensity.shape[1], chosen.shape[0]
    rows, rules, ties, tables = _sides(
        (propensity, weight, group, most, cap, household, room),
        (offer, kind, contact, cap_indptr, cap_group, per_contact, conflicts),
        (household_indptr, household_group, household_per_contact, household_conflicts),
        (value_fixed, value_accept, price_fixed, price_accept),
    )

    def empty() -> tuple[Any]:
        return (np.zeros_like(tally),)

    def work(begin: int, end: int) -> tuple[Any]:
        (part,) = empty()
        choose_household_rows(*rows, rules, ties, tables, begin, end, chosen, margin, part)
        return (part,)

    (found,) = added_chunks(subscribers, work, empty, chunk_of(subscribers, width=width + 1))
    tally += found
    return chosen, margin, tally


def _sides(rows: Any, rules: Any, ties: Any, tables: Any) -> tuple[Any, ...]:
    """Return the arguments as the loops take them: nobody has to have an action."""
    propensity, weight, group, most, cap, household, room = backend.read_only(*rows)
    conflicts = rules[-1]
    fewest, requires = backend.read_only(
        np.zeros_like(most), np.zeros((0, *conflicts.shape), np.int64)
    )
    return (
        (propensity, weight, group, most, fewest, cap, household, room),
        (*backend.read_only(*rules), requires),
        backend.read_only(*ties, classes_of(conflicts)), backend.read_only(*tables),
    )  # fmt: skip


def choose_households_gpu(
    propensity: Any, weight: Any, group: Any, most: Any, cap: Any, household: Any, room: Any,
    offer: Any, kind: Any, contact: Any, cap_indptr: Any, cap_group: Any, per_contact: Any,
    conflicts: Any, household_indptr: Any, household_group: Any, household_per_contact: Any,
    household_conflicts: Any, value_fixed: Any, value_accept: Any, price_fixed: Any,
    price_accept: Any, chosen: Any, margin: Any, tally: Any,
) -> tuple[Any, Any, Any]:  # fmt: skip
    inputs = (
        propensity, weight, group, most, cap, household, room, offer, kind, contact, cap_indptr,
        cap_group, per_contact, conflicts, household_indptr, household_group, household_per_contact,
        household_conflicts, value_fixed, value_accept, price_fixed, price_accept,
    )  # fmt: skip
    sizes, (rows, *memory) = _sizes(inputs, chosen.shape[0])
    backend.launch(
        backend.cuda_function("households", "choose_households"), rows, *inputs, *sizes, *memory,
        chosen, margin, tally,
    )  # fmt: skip
    return chosen, margin, tally


def _sizes(inputs: Any, width: int) -> tuple[Any, Any]:
    """Return classes and S, A, D, E, W and Q as CUDA takes them, and threads and their memory."""
    propensity, cap, room, conflicts = (inputs[i] for i in (0, 4, 6, 13))
    (actions, subscribers), caps, ties = propensity.shape, len(cap), len(room)
    each = 51 * actions + 8 * (actions + 1) * (width + 1) + 57 * caps + 8 * ties  # as in lay_out
    rows = min(subscribers, max(backend.THREADS, MEMORY // each))
    threads = min(-(-rows // backend.THREADS), backend.MOST_BLOCKS) * backend.THREADS
    sizes = (
        backend.to_gpu(classes_of(backend.to_cpu(conflicts))),
        np.int64(subscribers), np.int32(actions), np.int32(caps), np.int32(ties),
        np.int32(conflicts.shape[1]), np.int32(width),
    )  # fmt: skip
    return sizes, (rows, backend.cupy.empty(threads * each, np.int64), np.int64(each))


def curve_households_cpu(
    propensity: Any, weight: Any, group: Any, most: Any, cap: Any, household: Any, room: Any,
    offer: Any, kind: Any, contact: Any, cap_indptr: Any, cap_group: Any, per_contact: Any,
    conflicts: Any, household_indptr: Any, household_group: Any, household_per_contact: Any,
    household_conflicts: Any, value_fixed: Any, value_accept: Any, price_fixed: Any,
    price_accept: Any, first: Any, constraint: Any, use_fixed: Any, use_accept: Any, tally: Any,
    curvature: Any, near: Any, bandwidth: float, unit: float, width: int,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Add what the members' best bundles are, and how fast that changes with the prices.

    A household whose members choose together counts once: it may switch to its second best joint
    choice. Others count as in :func:`kernels.choose.curve_cpu`.

    Args:
        propensity: as in :func:`choose_households_cpu`.
        weight: as in :func:`choose_households_cpu`.
        group: as in :func:`choose_households_cpu`.
        most: as in :func:`choose_households_cpu`.
        cap: as in :func:`choose_households_cpu`.
        household: as in :func:`choose_households_cpu`.
        room: as in :func:`choose_households_cpu`.
        offer: as in :func:`choose_households_cpu`.
        kind: as in :func:`choose_households_cpu`.
        contact: as in :func:`choose_households_cpu`.
        cap_indptr: as in :func:`choose_households_cpu`.
        cap_group: as in :func:`choose_households_cpu`.
        per_contact: as in :func:`choose_households_cpu`.
        conflicts: as in :func:`choose_households_cpu`.
        household_indptr: as in :func:`choose_households_cpu`.
        household_group: as in :func:`choose_households_cpu`.
        household_per_contact: as in :func:`choose_households_cpu`.
        household_conflicts: as in :func:`choose_households_cpu`.
        value_fixed: as in :func:`choose_households_cpu`.
        value_accept: as in :func:`choose_households_cpu`.
        price_fixed: as in :func:`choose_households_cpu`.
        price_accept: as in :func:`choose_households_cpu`.
        first: as in :func:`kernels.choose.curve_cpu`.
        constraint: as in :func:`kernels.choose.curve_cpu`.
        use_fixed: as in :func:`kernels.choose.curve_cpu`.
        use_accept: as in :func:`kernels.choose.curve_cpu`.
        tally: [G, A, 4] int64, in/out, as in :func:`choose_households_cpu`.
        curvature: [K, K] int64, in/out, as in :func:`kernels.choose.curve_cpu`; a household moves
            up to 8 times as much as a subscriber.
        near: [1] int64, in/out: members and households with a margin below the bandwidth.
        bandwidth: money, > 0.
        unit: as in :func:`kernels.choose.curve_cpu`.
        width: Q, the largest ``most``, at least 1 and at most 4.

    Returns:
        tally, curvature, near: the same three arrays.
    """
    subscribers = propensity.shape[1]
    rows, rules, ties, tables = _sides(
        (propensity, weight, group, most, cap, household, room),
        (offer, kind, contact, cap_indptr, cap_group, per_contact, conflicts),
        (household_indptr, household_group, household_per_contact, household_conflicts),
        (value_fixed, value_accept, price_fixed, price_accept),
    )
    entries = backend.read_only(first, constraint, use_fixed, use_accept)

    def empty() -> tuple[Any, Any, Any]:
        return np.zeros_like(tally), np.zeros_like(curvature), np.zeros_like(near)

    def work(begin: int, end: int) -> tuple[Any, Any, Any]:
        out = empty()
        span = (float(bandwidth), float(unit), begin, end)
        curve_household_rows(*rows, rules, ties, tables, entries, *span, width, *out)
        return out

    found = added_chunks(subscribers, work, empty, chunk_of(subscribers, width=width + 1))
    for whole, more in zip((tally, curvature, near), found, strict=True):
        whole += more
    return tally, curvature, near


def curve_households_gpu(
    propensity: Any, weight: Any, group: Any, most: Any, cap: Any, household: Any, room: Any,
    offer: Any, kind: Any, contact: Any, cap_indptr: Any, cap_group: Any, per_contact: Any,
    conflicts: Any, household_indptr: Any, household_group: Any, household_per_contact: Any,
    household_conflicts: Any, value_fixed: Any, value_accept: Any, price_fixed: Any,
    price_accept: Any, first: Any, constraint: Any, use_fixed: Any, use_accept: Any, tally: Any,
    curvature: Any, near: Any, bandwidth: float, unit: float, width: int,
) -> tuple[Any, Any, Any]:  # fmt: skip
    inputs = (
        propensity, weight, group, most, cap, household, room, offer, kind, contact, cap_indptr,
        cap_group, per_contact, conflicts, household_indptr, household_group, household_per_contact,
        household_conflicts, value_fixed, value_accept, price_fixed, price_accept,
    )  # fmt: skip
    sizes, (rows, *memory) = _sizes(inputs, width)
    backend.launch(
        backend.cuda_function("households", "curve_households"), rows, *inputs, first, constraint,
        use_fixed, use_accept, np.float64(bandwidth), np.float64(unit), *sizes,
        np.int64(len(curvature)), *memory, tally, curvature, near,
    )  # fmt: skip
    return tally, curvature, near


_MEMBERS = ("float32", "float32", "int32", "uint8", "uint8", "int64", "uint8")
_RULES = ("int32", "int32", "int32", "int32", "int32", "uint8", "int64")
_TIES = ("int32", "int32", "uint8", "int64")
_TABLES = ("float64", "float64", "float64", "float64")
_ENTRIES = ("int64", "int64", "float64", "float64")
_INPUTS = (*_MEMBERS, *_RULES, *_TIES, *_TABLES)

choose_households: Any = backend.twin(
    choose_households_cpu, choose_households_gpu, dtypes=(*_INPUTS, "int16", "float32", "int64")
)
curve_households: Any = backend.twin(
    curve_households_cpu, curve_households_gpu,
    dtypes=(*_INPUTS, *_ENTRIES, "int64", "int64", "int64"),
)  # fmt: skip
