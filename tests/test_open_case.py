"""Open cases against their definition, on every backend."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import open_case
from tests.sequences import check_rows, one_row, same
from tests.test_summary import rows_of_events

DAY_S = 86_400


def case_of(opening, closing, at):
    """Return the number of openings after every closing, and the age of the first, in days."""
    still = [t for t in opening if all(t > c for c in closing)]
    return len(still), (at - min(still)) / DAY_S if still else np.nan


def open_case_definition(operands):
    """Return openings and age of the case of each row."""
    time, mark, start, stop, at = operands
    found = [
        case_of(*([int(t) for t in time[a:b][mark[a:b] == m]] for m in (1, -1)), int(t))
        for a, b, t in zip(start, stop, at, strict=True)
    ]
    return np.array([n for n, _ in found], np.int64), np.array([age for _, age in found])


@st.composite
def histories(draw):
    """Return the arguments of the operation."""
    time, _, _, *rows = draw(rows_of_events())
    marks = st.lists(st.integers(-1, 1), min_size=len(time), max_size=len(time))
    return time, np.array(draw(marks), np.int8), *rows


@given(operands=histories())
def test_cases_match_their_definition(on_each_backend, operands):
    openings, age = on_each_backend("open_case", *operands)
    assert (openings.dtype, age.dtype) == ("int64", "float64")
    expected_openings, expected_age = open_case_definition(operands)
    np.testing.assert_array_equal(openings, expected_openings)
    np.testing.assert_array_equal(age, expected_age)  # rounded once: no tolerance


@given(operands=histories())
def test_both_sides_agree_and_rows_do_not_see_each_other(on_each_backend, operands):
    check_rows(on_each_backend, "open_case", operands, rows=(2, 3, 4))


@given(operands=histories())
def test_the_order_within_a_second_does_not_matter(on_each_backend, operands):
    time, mark, start, stop, at = operands
    turned = mark.copy()
    for a, b in zip(start, stop, strict=True):
        for t in set(time[a:b].tolist()):
            own = a + np.flatnonzero(time[a:b] == t)
            turned[own] = mark[own][::-1]
    found = on_each_backend("open_case", time, turned, start, stop, at)
    same(found, on_each_backend("open_case", *operands))


@pytest.mark.parametrize(
    ("events", "openings", "age_s"),
    [
        ([(9, 1), (5, 1)], 2, 9),
        ([(9, 1), (5, -1)], 0, np.nan),
        ([(9, -1), (5, 1), (4, 0)], 1, 5),
        ([(9, 1), (5, -1), (5, 1)], 0, np.nan),  # in the same second: it is closed
        ([(9, 1), (5, 1), (5, -1), (4, 1), (3, 1)], 2, 4),
        ([(5, -1), (0, 1)], 1, 0),
        ([(5, 0), (5, 0)], 0, np.nan),
    ],
)
def test_small_histories(on_each_backend, events, openings, age_s):
    time, _, *row = one_row([age for age, _ in events])
    mark = np.array([m for _, m in events], np.int8)
    found, age = on_each_backend("open_case", time, mark, *row)
    assert found.tolist() == [openings]
    np.testing.assert_array_equal(age, [age_s / DAY_S])


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_rows_without_events(on_each_backend, rows):
    whole = np.zeros(rows, np.int64)
    nothing = np.empty(0, np.int64), np.empty(0, np.int8)
    openings, age = on_each_backend("open_case", *nothing, *[whole] * 3)
    assert openings.tolist() == [0] * rows and len(age) == rows and np.isnan(age).all()


def test_a_wrong_dtype_is_refused_with_the_name_of_the_argument():
    time, _, *row = one_row([1])
    with pytest.raises(TypeError, match="open_case: mark must be contiguous int8, got int64"):
        open_case(time, time, *row)
