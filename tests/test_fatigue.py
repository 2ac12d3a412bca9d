"""The level of a leaky bucket against its definition, on every backend."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import fatigue
from tests.sequences import ALL, check_kept, check_rows, one_row
from tests.test_summary import rows_of_events

DAY_S = 86_400
LEAKS = st.sampled_from([0.1, 0.5, 1.0, 24.0, 86_400.0])


def fatigue_definition(operands):
    """Return the level of each row, one step of the bucket after another."""
    time, value, kept, start, stop, at, leak_per_day = operands
    levels = []
    for a, b, t in zip(start, stop, at, strict=True):
        level, last = 0.0, None
        for e in range(a, b):
            if len(kept) and not kept[e]:
                continue
            if last is not None:
                level = max(0.0, level - leak_per_day * (int(time[e] - last) / DAY_S))
            level += value[e] if len(value) else 1.0
            last = time[e]
        gone = 0.0 if last is None else leak_per_day * (int(t - last) / DAY_S)
        levels.append(max(0.0, level - gone))
    return np.array(levels, np.float64)


@st.composite
def buckets(draw):
    """Return the arguments of the operation; values are never negative, or there are none."""
    time, value, *rows = draw(rows_of_events())
    value = np.abs(value) if draw(st.booleans()) else np.empty(0)
    return time, value, *rows, draw(LEAKS)


@given(operands=buckets())
def test_a_level_matches_its_definition(on_each_backend, operands):
    found = on_each_backend("fatigue", *operands)
    assert found.dtype == "float64"
    # The same products and sums in the same order: no tolerance.
    np.testing.assert_array_equal(found, fatigue_definition(operands))


@given(operands=buckets())
def test_both_sides_agree_and_rows_do_not_see_each_other(on_each_backend, operands):
    check_rows(on_each_backend, "fatigue", operands, rows=(3, 4, 5))


@given(operands=buckets())
def test_events_that_are_not_kept_could_as_well_be_absent(on_each_backend, operands):
    check_kept(on_each_backend, "fatigue", operands, kept=2, of_events=(0, 1), rows=(3, 4, 5))


@given(operands=buckets(), later=st.integers(0, 10**9))
def test_a_level_only_falls_without_events(on_each_backend, operands, later):
    *events, start, stop, at, leak = operands
    now = on_each_backend("fatigue", *events, start, stop, at, leak)
    then = on_each_backend("fatigue", *events, start, stop, at + later, leak)
    assert (then <= now).all() and (then >= 0).all()


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_rows_without_events_are_not_tired(on_each_backend, rows):
    whole = np.zeros(rows, np.int64)
    found = on_each_backend("fatigue", np.empty(0, np.int64), np.empty(0), ALL, *[whole] * 3, 1.0)
    assert found.tolist() == [0.0] * rows


def test_the_bucket_drains_to_0_and_no_further(on_each_backend):
    time, *rest = one_row([30 * DAY_S, 2 * DAY_S, 2 * DAY_S, DAY_S // 2])
    level = on_each_backend("fatigue", time, np.empty(0), *rest, 1.0)
    assert level.tolist() == [1.0]  # 1, drained; 2 at once; 0.5 and 1 more; half a day's leak
    valued = on_each_backend("fatigue", time, np.array([9.0, 1.0, 2.0, 0.25]), *rest, 1.0)
    assert valued.tolist() == [1.25]


def test_a_wrong_dtype_is_refused_with_the_name_of_the_argument():
    time, *rest = one_row([1])
    with pytest.raises(TypeError, match="fatigue: value must be contiguous float64, got int64"):
        fatigue(time, time, *rest, 1.0)
