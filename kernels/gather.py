"""Take some subscribers of action-major arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit

from kernels.backend import library, read_only, to_cpu
from kernels.threads import LIGHT_CHUNK, each_chunk, each_task

EACH = 2_048  # columns that a thread takes at a time: each costs as many cache lines as rows


@njit(cache=True, nogil=True)
def _gather_columns(array: Any, rows: Any, begin: int, end: int, out: Any, place: int) -> None:
    taken = rows[begin:end]
    for a in range(array.shape[0]):
        source, target = array[a], out[a, place + begin : place + end]
        for i in range(target.size):
            target[i] = source[taken[i]]


def gather(array: Any, rows: Any) -> Any:
    """Return ``array[:, rows]``, contiguous: :func:`gather_all` of one part and one array."""
    return gather_all([[array]], [rows])[0]


def gather_all(parts: Sequence[Sequence[Any]], rows: Sequence[Any]) -> list[Any]:
    """Return some columns of every array, those of all parts one after another.

    Done by several threads on the CPU.

    Args:
        parts: by part, its arrays: [A, S] or [S], of any dtypes; at least one part.
        rows: by part, [N] int64, positions in [0, S).

    Returns:
        for each array [A, sum of N] or [sum of N], contiguous, on the arrays' side.
    """
    side = library(parts[0][0])
    if side is not np:
        taken = [
            [array[..., own] for array in arrays] for arrays, own in zip(parts, rows, strict=True)
        ]
        joined = [side.concatenate(same, axis=-1) for same in zip(*taken, strict=True)]
        return [side.ascontiguousarray(array) for array in joined]
    sizes = [len(own) for own in rows]
    places = np.cumsum([0, *sizes]).tolist()
    out = [np.empty((*array.shape[:-1], places[-1]), array.dtype) for array in parts[0]]
    targets = [np.atleast_2d(array) for array in out]
    sources = [[np.atleast_2d(array) for array in read_only(*arrays)] for arrays in parts]
    chosen = read_only(*rows)

    def work(task: tuple[int, int]) -> None:
        part, begin = task
        end = min(begin + EACH, sizes[part])
        for array, target in zip(sources[part], targets, strict=True):
            _gather_columns(array, chosen[part], begin, end, target, places[part])

    each_task(work, [(i, low) for i, size in enumerate(sizes) for low in range(0, size, EACH)])
    return out


@njit(cache=True, nogil=True)
def _marked_rows(mark: Any, begin: int, end: int, out: Any) -> int:
    count, mine = 0, mark[begin:end]
    for t in range(mine.size):
        out[count] = begin + t
        count += mine[t] != 0
    return count


@njit(cache=True, nogil=True)
def _rows_up_to(key: Any, most: int, begin: int, end: int, out: Any) -> int:
    count, mine = 0, key[begin:end]
    for t in range(mine.size):
        out[count] = begin + t
        count += mine[t] <= most
    return count


def _found(rows: int, find: Any) -> Any:
    """Return what ``find(begin, end, out)`` finds among rows, as many as it returns."""

    def work(begin: int, end: int) -> Any:
        out = np.empty(end - begin, np.int64)
        return out[: find(begin, end, out)]

    return np.concatenate([np.empty(0, np.int64), *each_chunk(rows, work, LIGHT_CHUNK)])


def marked(mark: Any) -> Any:
    """Return the positions [N] int64, ascending, where ``mark`` [S] uint8 is not 0."""
    if library(mark) is not np:
        return library(mark).flatnonzero(mark)
    (seen,) = read_only(mark)
    return _found(len(mark), lambda begin, end, out: _marked_rows(seen, begin, end, out))


def up_to(key: Any, most: int) -> Any:
    """Return the positions [N] int64, ascending, where ``key`` [S] int64 is at most ``most``."""
    if library(key) is not np:
        return library(key).flatnonzero(key <= most)
    (seen,) = read_only(key)
    return _found(len(key), lambda begin, end, out: _rows_up_to(seen, most, begin, end, out))


def counted(codes: Any, size: int) -> Any:
    """Return [size] int64, on the host, how often each of 0 .. size - 1 is among the codes.

    CuPy's ``bincount`` takes no empty array.
    """
    if not codes.size:
        return np.zeros(size, np.int64)
    return to_cpu(library(codes).bincount(codes.reshape(-1), minlength=size))


def counted_codes(chosen: Any, rows: Any, group: Any, shape: tuple[int, int]) -> Any:
    """Return [G, 1 + A] int64, on the host, how many of some rows have no action, or each action.

    Args:
        chosen: [Q, S] int16, bundles.
        rows: [N] int64, positions in [0, S).
        group: [N] int32 of these rows, or 0 for all.
        shape: G and 1 + A.
    """
    codes = chosen[:, rows].astype(np.int64) + 1
    codes[1:][codes[1:] == 0] = shape[1]  # places beyond a bundle
    cells = codes + group * (shape[1] + 1)
    return counted(cells, shape[0] * (shape[1] + 1)).reshape(shape[0], -1)[:, :-1]


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
