"""``choose`` and ``curve`` where nobody gets more than one action; see :mod:`kernels.choose`."""

from typing import Any

import numpy as np

from kernels import backend
from kernels.screen import beyond, screened, usable
from kernels.single_rows import choose_single_rows, curve_single_rows
from kernels.threads import added_chunks, chunk_of


def _no_tally(price_fixed: Any) -> Any:
    """Return [G, 1 + A, 4] of nothing; first come those who get no action."""
    groups, actions = price_fixed.shape
    return np.zeros((groups, 1 + actions, 4), np.int64)


def choose_cpu(rows: Any, requires: Any, tables: Any) -> tuple[Any, Any, Any]:
    """Return ``chosen``, ``margin`` and ``tally`` as :func:`kernels.choose.choose_cpu`.

    Args:
        rows: propensity, weight, group, most and fewest.
        requires: [R, A, W] int64.
        tables: value_fixed, value_accept, price_fixed and price_accept.
    """
    subscribers = rows[0].shape[1]
    chosen = np.empty((1, subscribers), np.int16)
    margin = np.empty(subscribers, np.float32)
    screen, doubt = screened(*tables)
    sides = (usable(requires), screen, doubt, tables)

    def empty() -> tuple[Any]:
        return (_no_tally(tables[2]),)

    def work(begin: int, end: int) -> tuple[Any]:
        (tally,) = empty()
        choose_single_rows(*rows, *sides, begin, end, chosen, margin, tally)
        return (tally,)

    (tally,) = added_chunks(subscribers, work, empty, chunk_of(subscribers, width=1))
    return chosen, margin, np.ascontiguousarray(tally[:, 1:])


def choose_gpu(rows: Any, requires: Any, tables: Any) -> tuple[Any, Any, Any]:
    actions, subscribers = rows[0].shape
    chosen = backend.cupy.empty((1, subscribers), np.int16)
    margin = backend.cupy.empty(subscribers, np.float32)
    tally = backend.cupy.zeros((*tables[2].shape, 4), np.int64)
    screen, doubt = screened(*tables)
    alone = usable(requires)
    backend.launch(
        backend.cuda_function("single", "choose_single"), subscribers, *rows, alone, doubt,
        *screen, *tables, np.int64(subscribers), np.int32(actions), np.int32(len(alone)), chosen,
        margin, tally,
    )  # fmt: skip
    return chosen, margin, tally


def curve_cpu(
    rows: Any, requires: Any, tables: Any, entries: Any, bandwidth: float, unit: float,
    constraints: int,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Return ``tally``, ``curvature`` and ``near`` as :func:`kernels.choose.curve_cpu`.

    Args:
        rows: propensity, weight, group, most and fewest.
        requires: [R, A, W] int64.
        tables: value_fixed, value_accept, price_fixed and price_accept.
        entries: first, constraint, use_fixed and use_accept.
        bandwidth: money.
        unit: of squares.
        constraints: K.
    """
    screen, doubt = screened(*tables)
    sides = (usable(requires), screen, doubt, tables, entries)
    sizes = (float(bandwidth), beyond(bandwidth), float(unit))

    def empty() -> tuple[Any, Any, Any]:
        squares = np.zeros((constraints, constraints), np.int64)
        return _no_tally(tables[2]), squares, np.zeros(1, np.int64)

    def work(begin: int, end: int) -> tuple[Any, Any, Any]:
        out = empty()
        curve_single_rows(*rows, *sides, *sizes, begin, end, *out)
        return out

    subscribers = rows[0].shape[1]
    chunk = chunk_of(subscribers, width=1)
    tally, curvature, near = added_chunks(subscribers, work, empty, chunk)
    return np.ascontiguousarray(tally[:, 1:]), curvature, near


def curve_gpu(
    rows: Any, requires: Any, tables: Any, entries: Any, bandwidth: float, unit: float,
    constraints: int,
) -> tuple[Any, Any, Any]:  # fmt: skip
    actions, subscribers = rows[0].shape
    tally = backend.cupy.zeros((*tables[2].shape, 4), np.int64)
    curvature = backend.cupy.zeros((constraints, constraints), np.int64)
    near = backend.cupy.zeros(1, np.int64)
    screen, doubt = screened(*tables)
    alone = usable(requires)
    backend.launch(
        backend.cuda_function("single", "curve_single"), subscribers, *rows, alone, doubt, *screen,
        *tables, *entries, np.float64(bandwidth), beyond(bandwidth), np.float64(unit),
        np.int64(subscribers), np.int32(actions), np.int32(len(alone)), np.int64(constraints),
        tally, curvature, near,
    )  # fmt: skip
    return tally, curvature, near
