"""Columns taken out of arrays, and rows found in them, against NumPy's own indexing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import gather
from kernels.threads import each_task

SIZES = st.sampled_from([0, 1, 2, 7, 64, 65])


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch):
    """Let several threads share a few rows."""
    monkeypatch.setattr(gather, "EACH", 3)
    monkeypatch.setattr(gather, "LIGHT_CHUNK", 16)


@given(st.lists(st.tuples(SIZES, st.integers(0, 2**32 - 1)), min_size=1, max_size=3))
def test_columns_of_several_parts_stand_one_after_another(shapes):
    parts, rows = [], []
    for size, seed in shapes:
        rng = np.random.default_rng(seed)
        parts.append(
            [
                rng.integers(0, 9, (3, size)).astype(np.uint8),
                rng.normal(size=size).astype(np.float32),
                rng.integers(-(2**62), 2**62, size),
                np.empty((0, size), np.int16),
            ]
        )
        rows.append(np.sort(rng.permutation(size)[: size // 2 + 1]).astype(np.int64))
    taken = gather.gather_all(parts, rows)
    for found, *arrays in zip(taken, *parts, strict=True):
        columns = [a[..., own] for a, own in zip(arrays, rows, strict=True)]
        expected = np.concatenate(columns, axis=-1)
        assert found.dtype == expected.dtype and found.flags.c_contiguous
        np.testing.assert_array_equal(found, expected)


@given(SIZES, st.integers(0, 2**32 - 1))
def test_rows_are_found_in_their_order(size, seed):
    rng = np.random.default_rng(seed)
    mark, key = rng.integers(0, 2, size).astype(np.uint8), rng.integers(0, 2**63 - 1, size)
    np.testing.assert_array_equal(gather.marked(mark), np.flatnonzero(mark))
    for most in (-1, int(key.mean()) if size else 0, 2**63 - 1):
        np.testing.assert_array_equal(gather.up_to(key, most), np.flatnonzero(key <= most))


def test_a_task_that_fails_says_so():
    def work(task):
        if task == 2:
            raise ValueError("two")
        return task

    assert each_task(work, [0, 1]) == [0, 1]
    with pytest.raises(ValueError, match="two"):
        each_task(work, range(4))


def test_codes_are_counted_also_where_there_are_none():
    assert gather.counted(np.array([[0, 2], [2, 2]]), 4).tolist() == [1, 0, 3, 0]
    assert gather.counted(np.empty((2, 0), np.int64), 3).tolist() == [0, 0, 0]
