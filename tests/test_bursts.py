"""Moments of many events against their definition, on every backend."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import bursts
from tests.sequences import check_kept, check_rows, instants, one_row
from tests.test_summary import WINDOWS, rows_of_events

DAY_S = 86_400
WITHIN = st.sampled_from([1, 2, 3_600, 7_201, DAY_S])


def moments(times, at_least, within):
    """Return begin and end of each moment: runs without long gaps, and what is dense in them."""
    runs = []
    for t in times:
        if runs and t - runs[-1][-1] <= within:
            runs[-1].append(t)
        else:
            runs.append([t])
    found = []
    for run in runs:
        dense = [t for t in run if sum(t <= u <= t + within for u in run) >= at_least]
        if dense:
            found.append((dense[0], run[-1]))
    return found


def bursts_definition(operands):
    """Return count and recency of each row's moments."""
    *events, windows, at_least, within = operands
    rows = [(moments(times, at_least, within), at) for times, at in instants(*events)]
    counts = [[sum(at - w < begin <= at for begin, _ in m) for m, at in rows] for w in windows]
    recency = [(at - m[-1][1]) / DAY_S if m else np.nan for m, at in rows]
    return np.array(counts, np.int64).reshape(len(windows), len(rows)), np.array(recency)


@st.composite
def searches(draw):
    """Return the arguments of the operation."""
    time, _, *rows = draw(rows_of_events())
    windows = np.array(sorted(draw(WINDOWS)), np.int64)
    return time, *rows, windows, draw(st.integers(1, 5)), draw(WITHIN)


@given(operands=searches())
def test_moments_match_their_definition(on_each_backend, operands):
    count, recency = on_each_backend("bursts", *operands)
    expected_count, expected_recency = bursts_definition(operands)
    assert (count.dtype, recency.dtype) == ("int64", "float64")
    np.testing.assert_array_equal(count, expected_count)
    np.testing.assert_array_equal(recency, expected_recency)  # rounded once: no tolerance


@given(operands=searches())
def test_both_sides_agree_and_rows_do_not_see_each_other(on_each_backend, operands):
    check_rows(on_each_backend, "bursts", operands, rows=(2, 3, 4))


@given(operands=searches())
def test_events_that_are_not_kept_could_as_well_be_absent(on_each_backend, operands):
    check_kept(on_each_backend, "bursts", operands, kept=1, of_events=(0,), rows=(2, 3, 4))


def found(on_each_backend, ages, at_least, within, windows=(1_000,)):
    count, recency = on_each_backend(
        "bursts", *one_row(ages), np.array(windows, np.int64), at_least, within
    )
    return count[:, 0].tolist(), np.rint(recency[0] * DAY_S)


def test_a_moment_takes_in_what_follows_without_a_longer_gap(on_each_backend):
    # Three within 10 s from age 100 on; 90 and 80 still belong to it, 69 does not.
    assert found(on_each_backend, [100, 95, 90, 80, 69], 3, 10) == ([1], 80)
    assert found(on_each_backend, [100, 95, 90, 69, 68, 67], 3, 10) == ([2], 67)


def test_a_run_that_is_nowhere_dense_is_none(on_each_backend):
    count, recency = found(on_each_backend, [50, 40, 30, 20], 3, 10)
    assert count == [0] and np.isnan(recency)


def test_a_moment_counts_in_the_windows_in_which_it_began(on_each_backend):
    # The run begins at age 120 but is dense from 105 on.
    ages = [120, 105, 100, 95, 85]
    assert found(on_each_backend, ages, 3, 15, (90, 105, 106, 200)) == ([0, 0, 1, 1], 85)


def test_with_one_event_every_run_is_a_moment(on_each_backend):
    assert found(on_each_backend, [99, 98, 50, 10, 10], 1, 5) == ([3], 10)


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_rows_without_events(on_each_backend, rows):
    whole = np.zeros(rows, np.int64)
    windows = np.array([1, 2], np.int64)
    nothing = np.empty(0, np.int64), np.empty(0, bool)
    count, recency = on_each_backend("bursts", *nothing, *[whole] * 3, windows, 2, 5)
    assert count.shape == (2, rows) and not count.any()
    assert recency.shape == (rows,) and np.isnan(recency).all()


def test_a_wrong_dtype_is_refused_with_the_name_of_the_argument():
    with pytest.raises(TypeError, match="bursts: windows must be contiguous int64, got float64"):
        bursts(*one_row([1]), np.ones(1), 2, 5)
