"""Take some subscribers of an action-major array."""

from typing import Any

import numpy as np
from numba import njit

from kernels.backend import library, read_only
from kernels.choose import each_chunk


@njit(cache=True, nogil=True)
def _gather_rows(array: Any, rows: Any, begin: int, end: int, out: Any) -> None:
    for a in range(array.shape[0]):
        for i in range(begin, end):
            out[a, i] = array[a, rows[i]]


def gather(array: Any, rows: Any) -> Any:
    """Return ``array[:, rows]``, contiguous, done by several threads on the CPU.

    Args:
        array: [A, S], any dtype.
        rows: [N] int64, positions in [0, S).

    Returns:
        [A, N] of the same dtype, on the array's side.
    """
    if library(array) is not np:
        return library(array).ascontiguousarray(array[:, rows])
    out = np.empty((array.shape[0], len(rows)), array.dtype)
    whole, picked = read_only(array, rows)
    each_chunk(len(rows), lambda begin, end: _gather_rows(whole, picked, begin, end, out))
    return out


@njit(cache=True, nogil=True)
def _gather_items(indptr: Any, rows: Any, starts: Any, begin: int, end: int, out: Any) -> None:
    for i in range(begin, end):
        low = indptr[rows[i]]
        for j in range(starts[i + 1] - starts[i]):
            out[starts[i] + j] = low + j


def gather_lists(indptr: Any, rows: Any) -> tuple[Any, Any]:
    """Return where the items of some rows' lists stand.

    Args:
        indptr: [S + 1] int64, items of row s are ``indptr[s]:indptr[s + 1]``.
        rows: [N] int64, positions in [0, S).

    Returns:
        [N + 1] int64, items of the rows taken; [M] int64, positions of the items. On the lists'
        side.
    """
    side = library(indptr)
    starts = side.zeros(len(rows) + 1, np.int64)
    starts[1:] = side.cumsum(indptr[rows + 1] - indptr[rows])
    count = int(starts[-1])
    if side is not np:
        at = side.arange(count)
        mine = side.searchsorted(starts, at, side="right") - 1
        return starts, at - starts[mine] + indptr[rows[mine]]
    out = np.empty(count, np.int64)
    whole, picked = read_only(indptr, rows)
    each_chunk(len(rows), lambda begin, end: _gather_items(whole, picked, starts, begin, end, out))
    return starts, out
