"""Saturation against powers of two of the library, on every backend."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import backend

AMOUNTS = st.floats(-1e4, 1e4) | st.sampled_from(
    [0.0, -0.0, 5e-324, -1e-300, 1e300, -1e300, math.inf, -math.inf, math.nan]
)
SCALES = st.sampled_from([1.0, 3.0, 0.1, 1e-3, 250.0, 1e9])
UNITS = 4  # in the last place, of the power


def saturation_definition(amount, scale):
    with np.errstate(over="ignore"):
        return 1.0 - np.exp2(-np.asarray(amount) / scale)


@given(amount=st.lists(AMOUNTS, max_size=9), scale=SCALES)
def test_saturation_matches_its_definition_and_both_sides_have_the_same_bits(
    on_each_backend, amount, scale
):
    amount = np.array(amount, np.float64)
    found = on_each_backend("saturation", amount, scale)
    exact = saturation_definition(amount, scale)
    ends = ~np.isfinite(exact)
    np.testing.assert_array_equal(found[ends], exact[ends])
    off, power = np.abs(found[~ends] - exact[~ends]), 1.0 - exact[~ends]
    # The power is off by UNITS, and the difference from 1 is rounded once here and once there.
    assert (off <= UNITS * np.spacing(power) + 2 * np.spacing(np.maximum(1.0, power))).all()
    twin = backend.TWINS["saturation"][0](amount, scale)
    np.testing.assert_array_equal(found.view(np.int64), twin.view(np.int64))


def test_whole_halvings_are_exact(on_each_backend):
    halvings = np.arange(-1_023.0, 60.0)
    found = on_each_backend("saturation", 3.0 * halvings, 3.0)
    np.testing.assert_array_equal(found, 1.0 - np.ldexp(1.0, -halvings.astype(int)))


@pytest.mark.parametrize("rows", [0, 1, 2, 301])
def test_ragged_sizes(on_each_backend, rows):
    amount = np.random.default_rng(rows).gamma(0.5, 4.0, rows)
    found = on_each_backend("saturation", amount, 3.0)
    np.testing.assert_allclose(found, saturation_definition(amount, 3.0), rtol=0, atol=1e-15)
    assert ((found >= 0.0) & (found <= 1.0)).all()
