"""Weights of ages and the exponential function against exact numbers."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import weights
from kernels.exponential import LEAST, exponential
from kernels.weights import FINE, SHIFT, halving, halving_tables, slope_table

HALF_LIVES = st.sampled_from([1, 3, 1_800, 86_400, 7 * 86_400, 10**8]) | st.integers(1, 2**30)
DAY_S = 86_400
AGES = st.integers(0, 4_096) | st.integers(0, 2**34)


def powered(base, power):
    """Return ``base ** power`` (a fraction: above, below) to 50 digits."""
    with localcontext(prec=50):
        return (Decimal(base).ln() * Decimal(power[0]) / Decimal(power[1])).exp()


def units_off(found, exact):
    """Return how far a number is off, in units in the last place of the exact one."""
    with localcontext(prec=50):
        return abs(Decimal(float(found)) - exact) / Decimal(math.ulp(float(exact)))


@given(age=AGES, half_life=HALF_LIVES)
def test_halving_is_within_four_units_in_the_last_place(age, half_life):
    (found,) = halving(np.array([age]), half_life)
    assert units_off(found, powered(2, (-age, half_life))) <= 4


@given(half_life=HALF_LIVES, halvings=st.integers(0, 1_074) | st.integers(1_075, 2**33))
def test_whole_half_lives_are_exact(half_life, halvings):
    age = np.array([half_life * min(halvings, 2**62 // half_life)])
    assert halving(age, half_life).tolist() == [math.ldexp(1.0, -int(age[0]) // half_life)]


@given(age=AGES, half_lives=st.lists(HALF_LIVES, min_size=1, max_size=4).map(tuple))
def test_the_product_of_both_factors_is_the_weight(age, half_lives):
    age %= 2**24
    fine, coarse = halving_tables(half_lives, age)
    fine, coarse = fine.reshape(len(half_lives), FINE), coarse.reshape(len(half_lives), -1)
    for own_fine, own_coarse, half_life in zip(fine, coarse, half_lives, strict=True):
        weight = own_coarse[age >> SHIFT] * own_fine[age & (FINE - 1)]
        # Two factors within 4 units; a unit is 2 of the other's where a power of 2 is between.
        assert units_off(weight, powered(2, (-age, half_life))) <= 17


@pytest.mark.parametrize("half_lives", [(1, 3), (1_800, 2_048), (7 * DAY_S, DAY_S)])
def test_tables_of_centuries_are_made_of_the_ages_that_weigh_something(half_lives, monkeypatch):
    made = []

    def counted(age, half_life):
        made.append(len(age))
        return halving(age, half_life)

    monkeypatch.setattr(weights, "halving", counted)
    oldest = 500 * 366 * DAY_S
    fine, coarse = halving_tables.__wrapped__(half_lives, oldest)
    monkeypatch.undo()
    assert sum(made) <= sum(1_076 * h / FINE + 1 + FINE for h in half_lives)
    high = np.arange((oldest >> SHIFT) + 1) << SHIFT
    expected = np.concatenate([halving(high, h) for h in half_lives])
    np.testing.assert_array_equal(coarse, expected)
    low = np.arange(FINE)
    np.testing.assert_array_equal(fine, np.concatenate([halving(low, h) for h in half_lives]))


def test_no_half_life_has_no_table():
    assert [len(table) for table in halving_tables((), 100)] == [0, 0]
    assert len(slope_table((), 100)) == 0


@pytest.mark.parametrize("bins", [2, 3, 7, 52])
@pytest.mark.parametrize("days", [1, 7])
@pytest.mark.parametrize("oldest", [0, 1, 6, 400])
def test_a_day_weighs_in_a_slope_what_least_squares_say(bins, days, oldest):
    table = slope_table(((bins, days), (2, 1)), oldest).reshape(2, oldest + 1)
    for day in (0, 1, days - 1, days, bins * days - 1, bins * days, oldest):
        if day > oldest:
            continue
        sums = np.zeros(bins)
        if day < bins * days:
            sums[-1 - day // days] = 1.0  # oldest bin first
        slope = np.polyfit(np.arange(bins), sums, 1)[0]
        assert table[0, day] == pytest.approx(slope, abs=1e-12)  # of polyfit's own rounding


@given(x=st.floats(-708.0, 700.0) | st.floats(-1.0, 1.0))
def test_exponential_is_within_two_units_in_the_last_place(x):
    with localcontext(prec=50):
        exact = Decimal(x).exp()
    assert units_off(exponential(x), exact) <= 2


@given(x=st.floats(LEAST, -708.0))
def test_exponential_of_what_has_few_bits_is_within_one_of_the_least(x):
    assert abs(exponential(x) - math.exp(x)) <= 2**-1_074


def test_exponential_at_its_ends():
    assert exponential(0.0) == exponential(-0.0) == 1.0
    assert exponential(LEAST) == 2**-1_074
    assert exponential(-745.2) == exponential(-1e300) == exponential(-math.inf) == 0.0
    assert math.isnan(exponential(math.nan))
