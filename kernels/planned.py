"""Pick each subscriber's best bundle over several days at given prices.

As :mod:`kernels.choose`, where an action is a pair of offer and channel on a day: action a is pair
``a // N`` on day ``a % N``. The propensity is that of the pair, and is read once for all its days.
The same surpluses and margins come out as of the problem in which every action has a row of its
own.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from kernels import backend
from kernels.planned_rows import choose_planned_rows, curve_planned_rows
from kernels.planned_search import DAYS
from kernels.planned_spans import spans_rows
from kernels.threads import added_chunks, chunk_of, each_chunk

MOST_DAYS = 15  # a digit of a span holds so many


def spans_cpu(cap: Any, group: Any, first: Any, last: Any, groups: int, reach: int) -> Any:
    """Return on how many days from each day on a group has few actions.

    Args:
        cap: [D, S] uint8, how many actions of a group there may be on a run of days.
        group: [D] int32, in [0, L).
        first: [D] int32, the first day of the run.
        last: [D] int32, the last day of it.
        groups: L.
        reach: R, one less than the most actions of a bundle.

    Returns:
        spans: [L R, S] int64. Bits ``4 d`` to ``4 d + 3`` of row ``R l + r - 1``: so many days, day
        d being the first, have at most r actions of group l; 0: no bound.
    """
    (caps,) = backend.read_only(cap)
    runs = backend.read_only(group, first, last)
    out = np.zeros((groups * reach, cap.shape[1]), np.int64)
    each_chunk(cap.shape[1], lambda begin, end: spans_rows(caps, *runs, reach, begin, end, out))
    return out


def spans_gpu(cap: Any, group: Any, first: Any, last: Any, groups: int, reach: int) -> Any:
    caps, subscribers = cap.shape
    out = backend.cupy.zeros((groups * reach, subscribers), np.int64)
    backend.launch(
        backend.cuda_function("planned", "spans"), subscribers, cap, group, first, last,
        np.int64(subscribers), np.int32(caps), np.int32(reach), out,
    )  # fmt: skip
    return out


def _tables(days: int, *tables: Any) -> tuple[Any, ...]:
    """Return value and price tables with room for ``DAYS`` days of a pair; [G, A] -> [G, P, DAYS].

    On days that there are not, a contact pays infinitely much.
    """
    found = []
    for i, table in enumerate(tables):
        pairs = table.shape[-1] // days
        out = np.full((*table.shape[:-1], pairs, DAYS), np.inf if i == 2 else 0.0)
        out[..., :days] = table.reshape(*table.shape[:-1], pairs, days)
        found.append(out)
    fixed, accept, paid, due = found
    return fixed, accept, paid, due


def _read_only(rows: Any, rules: Any, plan: Any, tables: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the arguments as the loops take them: the tables with room for ``DAYS`` days."""
    days = len(plan[1]) // len(rows[0])
    yield from (backend.read_only(*own) for own in (rows, rules, plan, _tables(days, *tables)))


def choose_planned_cpu(
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, open_days: Any, spans: Any,
    offer: Any, conflicts: Any, requires: Any, day_class: Any, pair_of: Any, day_of: Any,
    indptr: Any, groups: Any, within: Any, value_fixed: Any, value_accept: Any,
    price_fixed: Any, price_accept: Any, width: int,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Return each subscriber's best bundle at the prices, and what all bundles add up to.

    Of equal bundles the first wins: by the first day, then the first pair. A bundle's surplus is
    the sum of its actions', in the order of their days.

    Args:
        propensity: [P, S] float32 in [0, 1], a multiple of 2**-24; NaN: open on no day.
        weight: as in ``choose_cpu``.
        group: as in ``choose_cpu``.
        most: as in ``choose_cpu``.
        fewest: as in ``choose_cpu``.
        open_days: [M, S] uint16, bit d: pairs of the class are open on day d, if they are at all.
        spans: [L (Q - 1), S] int64, room on runs of days, from :func:`spans_cpu`.
        offer: [A] int32, offer of an action.
        conflicts: as in ``choose_cpu``.
        requires: as in ``choose_cpu``.
        day_class: [P] int32, in [0, M).
        pair_of: [A] int32.
        day_of: [A] int32.
        indptr: [P + 1] int32, the groups of pair a are ``groups[indptr[a]:indptr[a + 1]]``.
        groups: [...] int32, in [0, L).
        within: [L, P] uint8, whether a pair is in a group.
        value_fixed: as in ``choose_cpu``.
        value_accept: as in ``choose_cpu``.
        price_fixed: as in ``choose_cpu``.
        price_accept: as in ``choose_cpu``.
        width: Q, the largest ``most``, from 1 to 4.

    Returns:
        chosen, margin and tally, as ``choose_cpu`` returns them.
    """
    subscribers = propensity.shape[1]
    rows, rules, plan, tables = _read_only(
        (propensity, weight, group, most, fewest, open_days, spans),
        (offer, conflicts, requires),
        (day_class, pair_of, day_of, indptr, groups, within),
        (value_fixed, value_accept, price_fixed, price_accept),
    )
    chosen = np.empty((width, subscribers), np.int16)
    margin = np.empty(subscribers, np.float32)

    def empty() -> tuple[Any]:
        return (np.zeros((*price_fixed.shape, 4), np.int64),)

    def work(begin: int, end: int) -> tuple[Any]:
        (tally,) = empty()
        choose_planned_rows(*rows, rules, plan, tables, begin, end, chosen, margin, tally)
        return (tally,)

    (tally,) = added_chunks(subscribers, work, empty, chunk_of(subscribers, width=2))
    return chosen, margin, tally


def _sizes(propensity: Any, pair_of: Any, conflicts: Any, requires: Any, width: int) -> Any:
    """Return S, P, N, W, R and Q as CUDA takes them."""
    pairs, subscribers = propensity.shape
    return (
        np.int64(subscribers), np.int32(pairs), np.int32(len(pair_of) // pairs),
        np.int32(conflicts.shape[1]), np.int32(requires.shape[0]), np.int32(width),
    )  # fmt: skip


def choose_planned_gpu(
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, open_days: Any, spans: Any,
    offer: Any, conflicts: Any, requires: Any, day_class: Any, pair_of: Any, day_of: Any,
    indptr: Any, groups: Any, within: Any, value_fixed: Any, value_accept: Any,
    price_fixed: Any, price_accept: Any, width: int,
) -> tuple[Any, Any, Any]:  # fmt: skip
    subscribers = propensity.shape[1]
    chosen = backend.cupy.empty((width, subscribers), np.int16)
    margin = backend.cupy.empty(subscribers, np.float32)
    tally = backend.cupy.zeros((*price_fixed.shape, 4), np.int64)
    backend.launch(
        backend.cuda_function("planned", "choose_planned"), subscribers, propensity, weight, group,
        most, fewest, open_days, spans, offer, conflicts, requires, day_class, pair_of, day_of,
        indptr, groups, within, value_fixed, value_accept, price_fixed, price_accept,
        *_sizes(propensity, pair_of, conflicts, requires, width), chosen, margin, tally,
    )  # fmt: skip
    return chosen, margin, tally


def curve_planned_cpu(
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, open_days: Any, spans: Any,
    offer: Any, conflicts: Any, requires: Any, day_class: Any, pair_of: Any, day_of: Any,
    indptr: Any, groups: Any, within: Any, value_fixed: Any, value_accept: Any,
    price_fixed: Any, price_accept: Any, first: Any, constraint: Any, use_fixed: Any,
    use_accept: Any, bandwidth: float, unit: float, constraints: int, width: int,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Return what the best bundles add up to, and how fast that changes with the prices.

    Args: as of :func:`choose_planned_cpu`, then as of :func:`kernels.choose.curve_cpu`.

    Returns:
        tally, curvature and near, as ``curve_cpu`` returns them.
    """
    subscribers = propensity.shape[1]
    rows, rules, plan, tables = _read_only(
        (propensity, weight, group, most, fewest, open_days, spans),
        (offer, conflicts, requires),
        (day_class, pair_of, day_of, indptr, groups, within),
        (value_fixed, value_accept, price_fixed, price_accept),
    )
    entries = backend.read_only(first, constraint, use_fixed, use_accept)

    def empty() -> tuple[Any, Any, Any]:
        return (
            np.zeros((*price_fixed.shape, 4), np.int64),
            np.zeros((constraints, constraints), np.int64),
            np.zeros(1, np.int64),
        )

    def work(begin: int, end: int) -> tuple[Any, Any, Any]:
        out = empty()
        span = (float(bandwidth), float(unit), begin, end)
        curve_planned_rows(*rows, rules, plan, tables, entries, *span, width, *out)
        return out

    return added_chunks(subscribers, work, empty, chunk_of(subscribers, width=2))


def curve_planned_gpu(
    propensity: Any, weight: Any, group: Any, most: Any, fewest: Any, open_days: Any, spans: Any,
    offer: Any, conflicts: Any, requires: Any, day_class: Any, pair_of: Any, day_of: Any,
    indptr: Any, groups: Any, within: Any, value_fixed: Any, value_accept: Any,
    price_fixed: Any, price_accept: Any, first: Any, constraint: Any, use_fixed: Any,
    use_accept: Any, bandwidth: float, unit: float, constraints: int, width: int,
) -> tuple[Any, Any, Any]:  # fmt: skip
    tally = backend.cupy.zeros((*price_fixed.shape, 4), np.int64)
    curvature = backend.cupy.zeros((constraints, constraints), np.int64)
    near = backend.cupy.zeros(1, np.int64)
    backend.launch(
        backend.cuda_function("planned", "curve_planned"), propensity.shape[1], propensity, weight,
        group, most, fewest, open_days, spans, offer, conflicts, requires, day_class, pair_of,
        day_of, indptr, groups, within, value_fixed, value_accept, price_fixed, price_accept, first,
        constraint, use_fixed, use_accept, np.float64(bandwidth), np.float64(unit),
        *_sizes(propensity, pair_of, conflicts, requires, width), np.int64(constraints),
        tally, curvature, near,
    )  # fmt: skip
    return tally, curvature, near


_SUBSCRIBER_SIDE = ("float32", "float32", "int32", "uint8", "uint8", "uint16", "int64")
_RULES = ("int32", "int64", "int64", "int32", "int32", "int32", "int32", "int32", "uint8")
_TABLES = ("float64", "float64", "float64", "float64")
_ENTRIES = ("int64", "int64", "float64", "float64")

choose_planned: Any = backend.twin(
    choose_planned_cpu, choose_planned_gpu, dtypes=(*_SUBSCRIBER_SIDE, *_RULES, *_TABLES)
)
curve_planned: Any = backend.twin(
    curve_planned_cpu, curve_planned_gpu, dtypes=(*_SUBSCRIBER_SIDE, *_RULES, *_TABLES, *_ENTRIES)
)
spans: Any = backend.twin(spans_cpu, spans_gpu, dtypes=("uint8", "int32", "int32", "int32"))
