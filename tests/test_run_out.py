"""When a balance is spent against the normal distribution of SciPy, on every backend."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import erfcx
from scipy.stats import invgauss, norm

from kernels import backend, run_out
from kernels.run_out import HALVINGS

# Each of the two tails has a relative error of 1.2e-7, and they add up to 1 at most; sums, products
# and the exponential round by some 1e-15 of them.
ROUNDING = 2.5e-7
BALANCES = st.sampled_from([math.nan, -1.0, -0.0, 0.0, 1e-9, 0.5, 3.0, 40.0, 1e4, 1e12])
RATES = st.sampled_from([0.0, 1e-12, 0.1, 1.0, 50.0])
VARIANCES = st.sampled_from([0.0, 5e-324, 1e-200, 1e-6, 1.0, 1e4, 1e300])
TIMES = st.sampled_from([24.0, 168.0, 2_160.0])
WITHIN = st.sampled_from([0.0, 1.0, 24.0, 720.0])
QUANTILES = st.sampled_from([0.0, 0.05, 0.1, 0.5, 0.95])


def spent_within(hours, balance, rate, variance):
    """Return the probability that a balance above 0 is spent within some hours."""
    deviation = math.sqrt(variance * hours)
    if rate == 0.0 or hours == 0.0:
        return 0.0
    if deviation == 0.0:
        return float(rate * hours >= balance)
    ahead, both = (balance - rate * hours) / deviation, (balance + rate * hours) / deviation
    # exp(2 r B / variance) P(N > both), with erfcx(x) = exp(x * x) erfc(x)
    return norm.cdf(-ahead) + 0.5 * math.exp(-0.5 * ahead * ahead) * erfcx(both / math.sqrt(2))


def run_out_definition(operands):
    """Return the expected time of each row, the least time of the quantile, and the probability."""
    *arrays, horizon, within, quantile = operands
    rows = []
    for row in zip(*(a.tolist() for a in arrays), strict=True):
        balance, rate, _ = row
        if math.isnan(balance):
            rows.append((math.nan,) * 3)
        elif balance <= 0.0:
            rows.append((0.0, 0.0, 1.0))
        else:
            expected = min(balance / rate, horizon) if rate else horizon
            low, high = 0.0, horizon
            while rate and quantile and high - low > horizon / 2**40:
                middle = (low + high) / 2
                low, high = (
                    (middle, high) if spent_within(middle, *row) < quantile else (low, middle)
                )
            early = 0.0 if rate and not quantile else high
            rows.append((expected, early, spent_within(within, *row)))
    return np.array(rows).reshape(-1, 3).T


@st.composite
def cases(draw):
    """Return the arguments of the operation."""
    rows = draw(st.lists(st.tuples(BALANCES, RATES, VARIANCES), max_size=9))
    arrays = np.array(rows, np.float64).reshape(-1, 3).T.copy()
    return *arrays, draw(TIMES), draw(WITHIN), draw(QUANTILES)


@given(operands=cases())
def test_run_out_matches_its_definition(on_each_backend, operands):
    *arrays, horizon, _, quantile = operands
    found = on_each_backend("run_out", *operands)
    expected, early, chance = run_out_definition(operands)
    np.testing.assert_array_equal(found[0], expected)  # one division: no tolerance
    np.testing.assert_allclose(found[2], chance, rtol=0, atol=ROUNDING)
    np.testing.assert_array_equal(np.isnan(found[1]), np.isnan(early))
    step = horizon / 2**HALVINGS
    columns = (a.tolist() for a in (found[1], early, *arrays))
    for time, exact, *row in zip(*columns, strict=True):
        if row[0] > 0.0 and row[1] > 0.0 and quantile > 0.0:
            # The bisection ends where its own probabilities pass the quantile.
            assert time == horizon or spent_within(time, *row) >= quantile - ROUNDING
            below = spent_within(time - step, *row) if time > step else 0.0
            assert below <= quantile + ROUNDING
        else:
            assert time == exact or math.isnan(time)


@given(operands=cases())
def test_a_quantile_is_the_first_cell_with_its_probability(on_each_backend, operands):
    *arrays, horizon, _, quantile = operands
    early, cell = on_each_backend("run_out", *operands)[1], horizon / 2**HALVINGS
    for time, *row in zip(early.tolist(), *(a.tolist() for a in arrays), strict=True):
        if not (row[0] > 0.0 and row[1] > 0.0 and quantile > 0.0):
            continue
        row = [np.array([x]) for x in row]
        at, before = (
            on_each_backend("run_out", *row, horizon, within, 0.0)[2][0]
            for within in (time, time - cell)
        )
        assert (at >= quantile or time == horizon) and before < quantile
        assert time / cell == round(time / cell)


@given(operands=cases())
def test_both_sides_return_the_same_bits(on_each_backend, operands):
    here = on_each_backend("run_out", *operands)
    for a, b in zip(here, backend.TWINS["run_out"][0](*operands), strict=True):
        assert a.dtype == b.dtype == "float64"
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("balance", [1.0, 30.0, 250.0])
@pytest.mark.parametrize("rate", [0.05, 1.0, 4.0])
@pytest.mark.parametrize("variance", [0.5, 20.0])
def test_the_time_is_inverse_gaussian(on_each_backend, balance, rate, variance):
    row = (np.array([x]) for x in (balance, rate, variance))
    _, early, chance = on_each_backend("run_out", *row, 1e5, 48.0, 0.2)
    shape = balance * balance / variance
    time = invgauss(balance / rate / shape, scale=shape)
    assert chance[0] == pytest.approx(time.cdf(48.0), abs=ROUNDING)
    # A time is off by more than its probability: by that over its density.
    assert early[0] == pytest.approx(time.ppf(0.2), rel=1e-5, abs=1e5 / 2**HALVINGS)


def grown(on_each_backend, row, within=24.0, quantile=0.1):
    """Return the outcomes of a row of which one argument may have several values."""
    arrays = np.broadcast_arrays(*map(np.atleast_1d, row))
    return on_each_backend("run_out", *(a.copy() for a in arrays), 2_160.0, within, quantile)


@given(variance=VARIANCES, rate=RATES, balance=BALANCES)
def test_more_spend_is_likelier_and_earlier_and_more_balance_is_not(
    on_each_backend, variance, rate, balance
):
    more = np.geomspace(1e-3, 1e4, 40)
    _, early, chance = grown(on_each_backend, (10.0, more, variance))
    assert (np.diff(chance) >= -2 * ROUNDING).all()
    assert (np.diff(early) <= 1e-3).all()
    expected, early, chance = grown(on_each_backend, (more, rate, variance))
    assert (np.diff(expected) >= 0).all() and (np.diff(early) >= -1e-3).all()
    assert (np.diff(chance) <= 2 * ROUNDING).all()
    assert ((chance >= 0) & (chance <= 1)).all() and (early <= 2_160.0).all()
    row = balance, rate, variance
    by_time = [grown(on_each_backend, row, within)[2][0] for within in (1.0, 9.0, 99.0, 999.0)]
    by_share = [grown(on_each_backend, row, quantile=q)[1][0] for q in (0.1, 0.5, 0.9)]
    assert not (np.diff(by_time) < -2 * ROUNDING).any()
    assert not (np.diff(by_share) < 0).any()  # the same probabilities, so no tolerance


def test_no_spend_lasts_and_an_empty_balance_does_not(on_each_backend):
    balance = np.array([5.0, 5.0, 0.0, -3.0, math.nan, math.inf])
    rate = np.array([0.0, 0.0, 1.0, 0.0, 1.0, 1.0])
    variance = np.array([0.0, 2.0, 1.0, 0.0, 1.0, 1.0])
    expected, early, chance = on_each_backend("run_out", balance, rate, variance, 99.0, 9.0, 0.1)
    for hours in (expected, early):
        np.testing.assert_array_equal(hours, [99.0, 99.0, 0.0, 0.0, math.nan, 99.0])
    np.testing.assert_array_equal(chance, [0.0, 0.0, 1.0, 1.0, math.nan, 0.0])


@pytest.mark.parametrize("variance", [0.0, 5e-324, 1e-300])
def test_steady_spend_is_spent_at_its_expected_time(on_each_backend, variance):
    one = np.ones(3)
    balance = np.array([5.0, 24.0, 30.0])
    expected, early, chance = on_each_backend(
        "run_out", balance, one, variance * one, 90.0, 29.0, 0.1
    )
    assert expected.tolist() == balance.tolist() and chance.tolist() == [1.0, 1.0, 0.0]
    np.testing.assert_allclose(early, balance, atol=90.0 / 2**29)


def test_large_exponents_do_not_overflow(on_each_backend):
    balance = np.array([1e6, 1e6, 1e9, 1e3])
    rate = np.array([1e4, 5e3, 1e7, 10.0])
    variance = 2.0 * rate * balance / np.array([1e6, 1e6, 1e9, 1e12])  # exp of these overflows
    expected, early, chance = on_each_backend("run_out", balance, rate, variance, 1e4, 100.0, 0.5)
    np.testing.assert_allclose(early, expected, rtol=2e-3)  # the median is next to the mean
    rows = zip(balance.tolist(), rate.tolist(), variance.tolist(), strict=True)
    exact = [spent_within(100.0, *row) for row in rows]
    np.testing.assert_allclose(chance, exact, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("rows", [0, 1, 2, 301])
def test_ragged_sizes(on_each_backend, rows):
    rng = np.random.default_rng(rows)
    arrays = (rng.gamma(1.0, scale, rows) for scale in (30.0, 1.0, 5.0))
    operands = *arrays, 2_160.0, 72.0, 0.1
    found = on_each_backend("run_out", *operands)
    for one, other in zip(found, run_out_definition(operands), strict=True):
        # A time is off by more than a probability: by that over the density of the time.
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_wrong_dtype_is_refused_with_the_name_of_the_argument():
    with pytest.raises(TypeError, match="run_out: rate must be contiguous float64, got int64"):
        run_out(np.ones(1), np.ones(1, np.int64), np.ones(1), 24.0, 24.0, 0.1)


@pytest.mark.parametrize("quantile", [5e-324, 1e-300, 1 - 2**-53])
def test_quantiles_next_to_their_bounds(on_each_backend, quantile):
    row = (np.array([x]) for x in (10.0, 1.0, 4.0))
    _, early, _ = on_each_backend("run_out", *row, 2_160.0, 24.0, quantile)
    assert 0.0 <= early[0] < 10.0 if quantile < 0.5 else early[0] > 10.0
