"""Decayed sum and trend against their definitions, on every backend."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import backend
from tests.test_windows import rows_of_events

DAY_S = 86_400


def decay_definition(rows, half_life):
    """Yield the decayed sum of each row and the sum of the absolute terms."""
    time, value, start, stop, at = rows
    for a, b, t in zip(start, stop, at, strict=True):
        terms = [value[e] * 2.0 ** (-(int(t) - int(time[e])) / half_life) for e in range(a, b)]
        yield math.fsum(terms), math.fsum(map(abs, terms))


def trend_definition(rows, window_days):
    """Yield the exact slope of each row, by least squares over its daily sums, as a fraction."""
    time, value, start, stop, at = rows
    for a, b, t in zip(start, stop, at, strict=True):
        daily = [Fraction(0)] * window_days
        for e in range(a, b):
            for d in range(window_days):
                if t - (d + 1) * DAY_S < time[e] <= t - d * DAY_S:
                    daily[d] += Fraction(float(value[e]))
        x = [Fraction(-d) for d in range(window_days)]
        x_mean, y_mean = sum(x) / window_days, sum(daily) / window_days
        above = sum((p - x_mean) * (q - y_mean) for p, q in zip(x, daily, strict=True))
        yield above / sum((p - x_mean) ** 2 for p in x)


@given(rows=rows_of_events(step=3_600), half_life=st.sampled_from([1.0, 1_800.0, 3_600.0, 1e7]))
def test_decayed_matches_its_definition(on_each_backend, rows, half_life):
    found = on_each_backend("decayed", *rows[:5], half_life)
    expected = list(decay_definition(rows[:5], half_life))
    assert len(found) == len(expected)
    for x, (total, absolute) in zip(found, expected, strict=True):
        # exp2 is within 2 units in the last place (2**-52) on every side, and so is the one here;
        # each of the up to 7 products and adds rounds by half a unit: together below 16 units.
        assert abs(x - total) <= 16 * 2**-52 * absolute + 1e-300  # weights may underflow


def test_an_event_one_half_life_old_weighs_half(on_each_backend):
    time, value = np.array([0, 86_400], np.int64), np.array([8.0, 1.0])
    row = np.array([0], np.int64), np.array([2], np.int64), np.array([172_800], np.int64)
    assert on_each_backend("decayed", time, value, *row, 86_400.0).tolist() == [2.5]


@given(rows=rows_of_events(step=DAY_S), window_days=st.integers(2, 6))
def test_trend_matches_its_definition(on_each_backend, rows, window_days):
    _, value, start, stop, _, _ = rows
    found = on_each_backend("trend", *rows[:5], window_days)
    expected = list(trend_definition(rows[:5], window_days))
    assert len(found) == len(expected)
    squares = window_days * (window_days**2 - 1) / 12
    for x, slope, a, b in zip(found, expected, start, stop, strict=True):
        # Each product and each of the up to 7 adds rounds by 2**-53 of the absolute sum, whose
        # terms weigh at most (D - 1) / 2; the division rounds once: together below 16 of them.
        absolute = sum(abs(v) for v in value[a:b]) * window_days / 2 / squares
        assert abs(Fraction(float(x)) - slope) <= 16 * 2**-53 * absolute


@given(rows=rows_of_events(step=DAY_S), window_days=st.integers(2, 6))
def test_both_sides_return_the_same_trend_bits(on_each_backend, rows, window_days):
    here = on_each_backend("trend", *rows[:5], window_days)
    twin = backend.TWINS["trend"][0](*rows[:5], window_days)
    np.testing.assert_array_equal(here, twin)


@pytest.mark.parametrize("days", [2, 7, 28])
def test_the_trend_of_a_straight_line_is_its_slope(on_each_backend, days):
    ages = np.arange(days)[::-1]
    time = (-ages * DAY_S).astype(np.int64)  # one event a day, the newest at the instant
    row = np.array([0], np.int64), np.array([days], np.int64), np.array([0], np.int64)
    slope = on_each_backend("trend", time, 100.0 - 3.0 * ages, *row, days)
    assert slope[0] == pytest.approx(3.0, abs=days * 100 * 2**-52)
