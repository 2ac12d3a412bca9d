"""The hours of the week against their definition, on every backend."""

import math
from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import hours
from kernels.logarithm import TABLE
from tests.sequences import check_kept, check_rows, instants, one_row
from tests.test_summary import WINDOWS, rows_of_events

HOUR_S, DAY_S, WEEK_S = 3_600, 86_400, 604_800
OFFSETS = st.sampled_from([0, HOUR_S, -HOUR_S, 20_700, 14 * HOUR_S, -12 * HOUR_S])
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOTHING = (None, None, None, 0)
# Each term and sum rounds a few times 2**-53, a logarithm is off by four units of at most 2**-50;
# with 12 hours or fewer and an entropy of at most 1.
CLOSE = 1e-14


def hours_of(times, offset_s):
    """Return best hour, its share, entropy and number of the hours; None is missing."""
    local = [EPOCH + timedelta(seconds=t + offset_s) for t in times]
    count = Counter(when.weekday() * 24 + when.hour for when in local)
    if not times:
        return NOTHING
    most = max(count.values())
    shares = [n / len(times) for n in count.values()]
    entropy = -math.fsum(p * math.log2(p) for p in shares) / math.log2(168)
    best = min(hour for hour, n in count.items() if n == most)
    return best, most / len(times), entropy, len(count)


def hours_definition(operands):
    """Return the four outputs of each window and row."""
    *events, windows, offset_s = operands
    rows = list(instants(*events))
    found = [
        [hours_of([t for t in times if at - w < t <= at], offset_s) for times, at in rows]
        for w in windows
    ]
    table = np.array(found, np.float64).reshape(len(windows), len(rows), len(NOTHING))
    return tuple(table[..., i] for i in range(len(NOTHING)))


@st.composite
def histories(draw):
    """Return the arguments of the operation."""
    time, _, *rows = draw(rows_of_events())
    return time, *rows, np.array(sorted(draw(WINDOWS)), np.int64), draw(OFFSETS)


@given(operands=histories())
def test_hours_match_their_definition(on_each_backend, operands):
    found, expected = on_each_backend("hours", *operands), hours_definition(operands)
    assert [field.dtype for field in found] == ["float64"] * 3 + ["int64"]
    for i in (0, 1, 3):  # discrete, or rounded once: no tolerance
        np.testing.assert_array_equal(found[i], expected[i])
    np.testing.assert_allclose(found[2], expected[2], rtol=0, atol=CLOSE)


@given(operands=histories())
def test_both_sides_agree_and_rows_do_not_see_each_other(on_each_backend, operands):
    check_rows(on_each_backend, "hours", operands, rows=(2, 3, 4))


@given(operands=histories())
def test_events_that_are_not_kept_could_as_well_be_absent(on_each_backend, operands):
    check_kept(on_each_backend, "hours", operands, kept=1, of_events=(0,), rows=(2, 3, 4))


def found(on_each_backend, times, at, window=WEEK_S, offset_s=0):
    ages = sorted((at - t for t in times), reverse=True)
    fields = on_each_backend("hours", *one_row(ages, at), np.array([window]), offset_s)
    return [field[0, 0] for field in fields]


@pytest.mark.parametrize(
    ("local", "hour"),
    [
        ((2026, 10, 5, 0, 0, 0), 0),  # a Monday
        ((2026, 10, 4, 23, 59, 59), 167),
        ((2026, 10, 8, 9, 30, 0), 3 * 24 + 9),
        ((1969, 12, 31, 23, 59, 59), 2 * 24 + 23),
        ((1700, 1, 1, 0, 0, 0), 4 * 24),
        ((2199, 12, 31, 12, 0, 0), 24 + 12),
    ],
)
@pytest.mark.parametrize("offset_h", [0, -12, 5.5, 14])
def test_hours_begin_on_monday_of_the_local_clock(on_each_backend, local, hour, offset_h):
    offset_s = int(offset_h * HOUR_S)
    t = int((datetime(*local, tzinfo=UTC) - EPOCH).total_seconds()) - offset_s
    assert found(on_each_backend, [t], t, offset_s=offset_s) == [hour, 1.0, 0.0, 1]


def test_of_equal_hours_the_first_is_best(on_each_backend):
    monday = 4 * DAY_S
    times = [monday + h * HOUR_S for h in (30, 3, 7, 7, 3, 31)]
    best, share, _, distinct = found(on_each_backend, times, monday + 40 * HOUR_S)
    assert (best, share, distinct) == (3, 2 / 6, 4)


def test_a_week_without_preference_has_an_entropy_of_1(on_each_backend):
    times = np.arange(0, WEEK_S, HOUR_S)
    best, share, entropy, distinct = found(on_each_backend, times, WEEK_S - 1)
    assert (best, share, distinct) == (0, 1 / 168, 168)
    assert 1.0 - 168 * 2**-53 <= entropy <= 1.0  # a sum of 168 terms, each rounded once


def test_more_events_than_there_are_logarithms_at_hand(on_each_backend):
    times = [0] * (3 * TABLE) + [HOUR_S] * TABLE
    best, share, entropy, distinct = found(on_each_backend, times, HOUR_S)
    assert (best, share, distinct) == (72, 0.75, 2)
    bits = 0.75 * math.log2(4 / 3) + 0.25 * 2
    assert entropy == pytest.approx(bits / math.log2(168), rel=CLOSE)


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_rows_without_events(on_each_backend, rows):
    whole, windows = np.zeros(rows, np.int64), np.array([1, 2], np.int64)
    nothing = np.empty(0, np.int64), np.empty(0, bool)
    *numbers, distinct = on_each_backend("hours", *nothing, *[whole] * 3, windows, 0)
    assert all(field.shape == (2, rows) and np.isnan(field).all() for field in numbers)
    assert distinct.shape == (2, rows) and not distinct.any()


def test_a_wrong_dtype_is_refused_with_the_name_of_the_argument():
    with pytest.raises(TypeError, match="hours: windows must be contiguous int64, got float64"):
        hours(*one_row([1]), np.ones(1), 0)
