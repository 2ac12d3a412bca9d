"""Windowed count, sum and max against their definition, on every backend."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import backend, windowed

VALUES = st.sampled_from([-2.5, 0.0, 0.1, 0.2, 1.0, 1e6])


@st.composite
def rows_of_events(draw, step=1):
    """Few subscribers with few distinct instants, and rows (subscriber, instant) over them.

    Instants are multiples of ``step``, give or take one second, so ties and events exactly at
    the edge of a window are common, and so are subscribers without events.
    """
    instants = st.builds(lambda k, off: k * step + off, st.integers(0, 6), st.integers(-1, 1))
    per_subscriber = draw(st.lists(st.lists(instants, max_size=7), max_size=4))
    time = np.array([t for times in per_subscriber for t in sorted(times)], np.int64)
    value = np.array(draw(st.lists(VALUES, min_size=len(time), max_size=len(time))), np.float64)
    ends = np.cumsum([0, *map(len, per_subscriber)])
    subscriber = st.integers(0, max(len(per_subscriber) - 1, 0))
    pairs = st.lists(st.tuples(subscriber, instants), max_size=5)
    rows = draw(pairs) if per_subscriber else []
    start = np.array([ends[s] for s, _ in rows], np.int64)
    end = np.array([ends[s + 1] for s, _ in rows], np.int64)
    at = np.array([t for _, t in rows], np.int64)
    stop = np.array(
        [a + np.sum(time[a:b] <= t) for a, b, t in zip(start, end, at, strict=True)], np.int64
    )
    return time, value, start, stop, at, end


def window_definition(rows, windows):
    """Yield (count, sum, max) of each window of each row, window by window."""
    time, value, start, stop, at = rows
    for window in windows:
        for a, b, t in zip(start, stop, at, strict=True):
            inside = [value[e] for e in range(a, b) if t - window < time[e] <= t]
            total = 0.0
            for v in reversed(inside):
                total += v
            yield len(inside), total, max(inside, default=math.nan)


def listed(count, total, largest):
    """Return the three outputs as one list; NaN as None, so that lists compare."""
    most = [None if math.isnan(m) else m for m in largest.ravel().tolist()]
    return list(zip(count.ravel().tolist(), total.ravel().tolist(), most, strict=True))


@given(rows=rows_of_events(), windows=st.sets(st.integers(1, 8), max_size=4))
def test_windowed_matches_its_definition(on_each_backend, rows, windows):
    windows = np.array(sorted(windows), np.int64)
    count, total, largest = on_each_backend("windowed", *rows[:5], windows)
    assert count.shape == total.shape == largest.shape == (len(windows), len(rows[4]))
    assert (count.dtype, total.dtype, largest.dtype) == ("int64", "float64", "float64")
    expected = [
        (c, t, None if math.isnan(m) else m) for c, t, m in window_definition(rows[:5], windows)
    ]
    assert listed(count, total, largest) == expected  # same order of adds: no tolerance


@given(rows=rows_of_events())
def test_events_until_matches_its_definition(on_each_backend, rows):
    time, _, start, stop, at, end = rows
    assert on_each_backend("events_until", time, start, end, at).tolist() == stop.tolist()


def test_an_event_at_the_old_edge_is_out_and_at_the_instant_is_in(on_each_backend):
    time, value = np.array([0, 1, 86_400], np.int64), np.array([4.0, 2.0, 1.0])
    row = np.array([0], np.int64), np.array([3], np.int64), np.array([86_400], np.int64)
    count, total, largest = on_each_backend(
        "windowed", time, value, *row, np.array([86_400], np.int64)
    )
    assert listed(count, total, largest) == [(2, 3.0, 2.0)]


@given(rows=rows_of_events())
def test_a_window_holds_at_least_what_a_shorter_one_holds(on_each_backend, rows):
    count, _, largest = on_each_backend("windowed", *rows[:5], np.arange(1, 9, dtype=np.int64))
    assert (np.diff(count, axis=0) >= 0).all()
    more = np.diff(largest, axis=0)
    assert (more[~np.isnan(more)] >= 0).all()


@given(rows=rows_of_events())
def test_rows_do_not_see_each_other(on_each_backend, rows):
    time, value, start, stop, at, _ = rows
    windows = np.array([2, 5], np.int64)
    together = on_each_backend("windowed", time, value, start, stop, at, windows)
    for r in range(len(at)):
        one = slice(r, r + 1)
        alone = on_each_backend("windowed", time, value, start[one], stop[one], at[one], windows)
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_array_equal(a[:, one], b)


def test_a_wrong_dtype_is_refused_with_the_name_of_the_argument():
    whole = np.zeros(1, np.int64)
    with pytest.raises(TypeError, match="windowed: value must be contiguous float64, got int64"):
        windowed(whole, whole, whole, whole, whole, whole)


def test_inputs_stay_writable_and_unchanged():
    arrays = [np.arange(3, dtype=np.int64) for _ in range(2)]
    views = backend.read_only(*arrays)
    assert not any(view.flags.writeable for view in views)
    assert all(array.flags.writeable for array in arrays)
    assert all(np.shares_memory(a, v) for a, v in zip(arrays, views, strict=True))
