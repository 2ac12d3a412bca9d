"""Instructions of the processor against what they stand for."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from kernels.processor import prefetch, root

rooted = njit(lambda x: root(x))


@njit
def asked_ahead(array, ahead):
    total = 0.0
    for k in range(len(array)):
        prefetch(array, k + ahead)
        total += array[k]
    return total


@given(x=st.floats(0.0) | st.just(math.nan) | st.just(-1.0))
def test_a_root_is_rounded_correctly(x):
    expected = math.nan if x < 0 else math.sqrt(x)
    np.testing.assert_array_equal(rooted(x), expected)


def test_an_element_behind_the_end_may_be_asked_for():
    array = np.arange(1_000.0)
    assert asked_ahead(array, 0) == asked_ahead(array, 10**12) == array.sum()
