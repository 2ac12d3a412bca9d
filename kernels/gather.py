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
