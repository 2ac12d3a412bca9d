"""Ranges of events against their definitions, on every backend."""

import itertools
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import events_until, ranges
from tests.test_summary import rows_of_events

LEAST, MOST = -(2**63), 2**63 - 1
KEYS = st.sampled_from([LEAST, -1, 0, 1, 2, 3, 5, MOST - 1, MOST])
SORTED = st.lists(KEYS, max_size=9).map(lambda keys: np.array(sorted(keys), np.int64))


def ranges_definition(key, wanted):
    """Return the first event of each row's subscriber, and the first after those."""
    below = [sum(k < w for k in key.tolist()) for w in wanted.tolist()]
    not_above = [sum(k <= w for k in key.tolist()) for w in wanted.tolist()]
    return np.array(below, np.int64), np.array(not_above, np.int64)


def until_definition(time, start, end, at):
    """Return where the events of each row end."""
    rows = zip(start, end, at, strict=True)
    return np.array([a + np.sum(time[a:b] <= t) for a, b, t in rows], np.int64)


@given(key=SORTED, wanted=SORTED)
def test_ranges_match_their_definition(on_each_backend, key, wanted):
    found = on_each_backend("ranges", key, wanted)
    for one, other in zip(found, ranges_definition(key, wanted), strict=True):
        assert one.dtype == "int64"
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("rows", [0, 1, 2, 301])
def test_ranges_of_ragged_sizes(on_each_backend, rows):
    rng = np.random.default_rng(rows)
    key, wanted = (np.sort(rng.integers(0, 2 * rows + 1, n)) for n in (5 * rows, rows))
    found = on_each_backend("ranges", key, wanted)
    for one, other in zip(found, ranges_definition(key, wanted), strict=True):
        np.testing.assert_array_equal(one, other)


@given(key=SORTED, wanted=SORTED)
def test_chunks_of_rows_do_not_matter(key, wanted):
    expected = ranges(key, wanted)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_module("kernels.ranges"), "LIGHT_CHUNK", 2)
        for one, other in zip(ranges(key, wanted), expected, strict=True):
            np.testing.assert_array_equal(one, other)


@given(rows=rows_of_events(), later=st.lists(st.integers(-2, 2), min_size=5, max_size=5))
def test_events_until_matches_its_definition(on_each_backend, rows, later):
    time, _, _, start, end, at = rows
    at = at + np.array(later[: len(at)], np.int64)
    found = on_each_backend("events_until", time, start, end, at)
    assert found.dtype == "int64"
    np.testing.assert_array_equal(found, until_definition(time, start, end, at))


def test_instants_at_the_ends_of_64_bits(on_each_backend):
    time = np.array([LEAST, 0, 0, MOST], np.int64)
    start, end = np.zeros(4, np.int64), np.full(4, 4)
    assert on_each_backend("events_until", time, start, end, time).tolist() == [1, 3, 3, 4]


def test_a_wrong_dtype_is_refused_with_the_name_of_the_argument():
    whole = np.zeros(1, np.int64)
    with pytest.raises(TypeError, match="ranges: wanted must be contiguous int64, got float64"):
        ranges(whole, np.zeros(1))
    with pytest.raises(TypeError, match="events_until: at must be contiguous int64, got int32"):
        events_until(whole, whole, whole, whole.astype("int32"))


@given(events=st.lists(st.tuples(st.integers(0, 2), st.integers(-2, 2)), max_size=8))
def test_disordered_counts_events_that_belong_before_the_one_before(on_each_backend, events):
    key, time = (np.array([e[i] for e in events], np.int64) for i in (0, 1))
    found = on_each_backend("disordered", key, time)
    assert found.tolist() == [sum(b < a for a, b in itertools.pairwise(events))]
