"""Logarithms without a library's: exact for powers of two, else within two units."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.logarithm import TABLE, binary_logarithm, logarithm_1p, logarithms

NUMBERS = st.integers(1, 10**15) | st.integers(1, 50).flatmap(
    lambda k: st.sampled_from([2**k - 1, 2**k + 1])
)


@given(number=NUMBERS)
def test_a_logarithm_is_within_two_units_in_the_last_place(number):
    assert abs(binary_logarithm(number) - math.log2(number)) <= 2 * math.ulp(math.log2(number))


@pytest.mark.parametrize("power", [0, 1, 2, 10, 31, 52])
def test_logarithms_of_powers_of_two_are_exact(power):
    assert binary_logarithm(2**power) == power


@given(number=st.integers(1, 10**10))
def test_logarithms_grow(number):
    assert binary_logarithm(number + 1) > binary_logarithm(number)


def test_the_table_holds_what_the_function_says():
    assert logarithms().tolist() == [0.0, *map(binary_logarithm, range(1, TABLE))]


@given(y=st.one_of(st.floats(0.0, 1e300), st.sampled_from([0.0, 5e-324, 0.4, 0.41, 1.0, 3.0])))
def test_the_natural_logarithm_is_within_three_units(y):
    assert abs(logarithm_1p(y) - math.log1p(y)) <= 3 * math.ulp(math.log1p(y))
