"""Events that follow another one soon, against their definition, on every backend."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import repeats
from tests.sequences import check_kept, check_rows, instants, one_row
from tests.test_summary import WINDOWS, rows_of_events

DAY_S = 86_400
WITHIN = st.sampled_from([1, 2, 3_600, 7_201, DAY_S])


def repeats_definition(operands):
    """Return how many events of each window have another one shortly before them."""
    *events, windows, within = operands
    rows = list(instants(*events))
    counts = [
        [
            sum(
                at - w < t <= at and t - s <= within for s, t in zip(times, times[1:], strict=False)
            )
            for times, at in rows
        ]
        for w in windows
    ]
    return np.array(counts, np.int64).reshape(len(windows), len(rows))


@st.composite
def searches(draw):
    """Return the arguments of the operation."""
    time, _, *rows = draw(rows_of_events())
    return time, *rows, np.array(sorted(draw(WINDOWS)), np.int64), draw(WITHIN)


@given(operands=searches())
def test_repeats_match_their_definition(on_each_backend, operands):
    count = on_each_backend("repeats", *operands)
    assert count.dtype == "int64"
    np.testing.assert_array_equal(count, repeats_definition(operands))


@given(operands=searches())
def test_both_sides_agree_and_rows_do_not_see_each_other(on_each_backend, operands):
    check_rows(on_each_backend, "repeats", operands, rows=(2, 3, 4))


@given(operands=searches())
def test_events_that_are_not_kept_could_as_well_be_absent(on_each_backend, operands):
    check_kept(on_each_backend, "repeats", operands, kept=1, of_events=(0,), rows=(2, 3, 4))


def found(on_each_backend, ages, within, windows):
    count = on_each_backend("repeats", *one_row(ages), np.array(windows, np.int64), within)
    return count[:, 0].tolist()


def test_the_earlier_event_may_lie_before_the_window(on_each_backend):
    assert found(on_each_backend, [15, 10, 0], 10, (10, 11, 16)) == [1, 2, 2]


def test_the_gap_may_be_as_long_as_asked_and_no_longer(on_each_backend):
    assert found(on_each_backend, [31, 20, 10], 10, (99,)) == [1]


def test_events_of_one_second_repeat_each_other(on_each_backend):
    assert found(on_each_backend, [5, 5, 5], 1, (5, 6)) == [0, 2]


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_rows_without_events(on_each_backend, rows):
    whole, windows = np.zeros(rows, np.int64), np.array([1, 2], np.int64)
    nothing = np.empty(0, np.int64), np.empty(0, bool)
    count = on_each_backend("repeats", *nothing, *[whole] * 3, windows, 5)
    assert count.shape == (2, rows) and not count.any()


def test_a_wrong_dtype_is_refused_with_the_name_of_the_argument():
    time, kept, *rest = one_row([1])
    with pytest.raises(TypeError, match="repeats: kept must be contiguous bool, got int64"):
        repeats(time, time, *rest, time, 5)
