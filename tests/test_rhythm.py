"""Recency and gaps against their definition, on every backend."""

import math
import statistics
from fractions import Fraction

import numpy as np
from hypothesis import given

from kernels import backend
from tests.test_windows import rows_of_events

DAY_S = 86_400


def rhythm_definition(time, start, stop, at):
    """Yield (recency, mean gap, deviation of the gaps) of each row, days; None when missing."""
    for a, b, t in zip(start, stop, at, strict=True):
        times = [int(x) for x in time[a:b]]
        gaps = [Fraction(later - earlier) for earlier, later in zip(times, times[1:], strict=False)]
        recency = (int(t) - times[-1]) / DAY_S if times else None
        mean = float(statistics.mean(gaps)) / DAY_S if gaps else None
        deviation = math.sqrt(statistics.pvariance(gaps)) / DAY_S if gaps else None
        yield recency, mean, deviation


@given(rows=rows_of_events(step=3_600))
def test_rhythm_matches_its_definition(on_each_backend, rows):
    time, _, start, stop, at, _ = rows
    outputs = on_each_backend("rhythm", time, start, stop, at)
    expected = list(rhythm_definition(time, start, stop, at))
    assert len(expected) == len(outputs[0])
    for recency, mean, deviation, row in zip(*outputs, expected, strict=True):
        found = [None if math.isnan(x) else x for x in (recency, mean, deviation)]
        assert found[:2] == list(row[:2])  # one rounding each: no tolerance
        assert (found[2] is None) == (row[2] is None)
        if found[2] is not None:
            # The mean is rounded once (2**-53 of it), each deviation, square and sum once more:
            # for the 7 events here the result is off by less than 16 * 2**-53 of mean plus std.
            assert abs(found[2] - row[2]) <= 16 * 2**-53 * (row[1] + row[2])


@given(rows=rows_of_events(step=3_600))
def test_both_sides_return_the_same_bits(on_each_backend, rows):
    time, _, start, stop, at, _ = rows
    here = on_each_backend("rhythm", time, start, stop, at)
    twin = backend.TWINS["rhythm"][0](time, start, stop, at)
    for a, b in zip(here, twin, strict=True):
        np.testing.assert_array_equal(a, b)


def test_equal_gaps_do_not_deviate(on_each_backend):
    time = np.arange(0, 700, 7, dtype=np.int64)
    row = (np.array([0], np.int64), np.array([100], np.int64), np.array([700], np.int64))
    recency, mean, deviation = on_each_backend("rhythm", time, *row)
    assert (recency[0], mean[0], deviation[0]) == (7 / DAY_S, 7 / DAY_S, 0.0)
