"""BG/NBD and Gamma-Gamma per subscriber against their plain integrals, on every backend."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import hyp2f1

from kernels import backend, lifetime
from kernels.lifetime import STEPS

# Terms are positive or lose at most (a + b) / r, 2e4 here, of their digits; so does the definition.
ROUNDING = 1e-9
CDNOW = (0.243, 4.414, 0.793, 2.426)
MODELS = st.sampled_from(
    [
        CDNOW,
        (0.05, 10.0, 1.0, 2.0),  # a = 1: the textbook formula divides by 0
        (3.0, 0.7, 0.2, 0.3),  # a + b < 1 + r
        (12.0, 2.0, 0.5, 1.0),
        (2.0, 30.0, 0.5, 2.5),  # a + b = 1 + r
        (0.5, 20.0, 40.0, 60.0),
    ]
)


def expected(model, x, t):
    """Return the transactions of one who is alive within t (in units of alpha + T).

    ``E[(1 - (1 + p t) ** -(r + x)) / p]`` of a probability p that is Beta(a, b + x), by the
    trapezoidal rule in its logit, which converges exponentially.
    """
    r, _, a, b = model
    b = b + x
    width = min(1.0, math.sqrt((a + b) / (a * b)))
    logit = math.log(a / b) + np.arange(-60.0 / min(a, 1.0), 60.0 / min(b, 1.0), 0.02) * width
    p, q = -np.logaddexp(0.0, -logit), -np.logaddexp(0.0, logit)  # ln(p), ln(1 - p)
    small = p < -300.0  # where the ratio is its limit to the last bit
    chance = np.exp(np.where(small, 0.0, p))
    made = -np.expm1(-(r + x) * np.log1p(chance * t)) / chance
    made[small] = (r + x) * t
    weight = a * p + b * q
    weight = np.exp(weight - weight.max())
    return float((weight * made).sum() / weight.sum())


def lifetime_definition(operands):
    """Return probability alive, expected transactions, spend and value of each row."""
    *arrays, model = operands
    r, alpha, a, b, p, q, gamma, horizon, discount = model.tolist()
    rows = []
    for events, recency, age, spent in zip(*(v.tolist() for v in arrays), strict=True):
        if not events >= 1.0:
            rows.append((math.nan,) * 4)
            continue
        x, scale = events - 1.0, alpha + age
        odds = 0.0
        if x > 0.0:
            late = (r + x) * math.log(scale / (alpha + age - recency))
            odds = a / (b + x - 1.0) * math.exp(min(late, 700.0))
        alive = 1.0 / (1.0 + odds)
        times = [horizon * i / STEPS / scale for i in range(STEPS + 1)]
        made = [expected((r, alpha, a, b), x, t) for t in times]
        spend = p * (gamma + spent) / (p * events + q - 1.0)
        discounted = math.fsum((made[i] - made[i - 1]) * discount**i for i in range(1, STEPS + 1))
        rows.append((alive, alive * made[-1], spend, alive * discounted * spend))
    return np.array(rows).reshape(-1, 4).T


def textbook(model, x, recency, age, horizon):
    """Return the expected transactions as Fader, Hardie and Lee (2005) write them, eq. 10."""
    r, alpha, a, b = model
    z = horizon / (alpha + age + horizon)
    hyper = hyp2f1(r + x, b + x, a + b + x - 1, z)
    above = (a + b + x - 1) / (a - 1) * (1 - (1 - z) ** (r + x) * hyper)
    ratio = (alpha + age) / (alpha + age - recency)
    return above / (1 + (x > 0) * a / (b + x - 1) * ratio ** (r + x))


@st.composite
def cases(draw, most_events=40):
    """Return the arguments of the operation; few distinct values, so that rows are equal."""
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from([0.0, 1.0, 2.0, 3.0, 12.0, float(most_events)]),
                st.sampled_from([0.0, 0.1, 0.5, 1.0]),
                st.sampled_from([0.0, 1.0, 38.86, 700.0]),
                st.sampled_from([0.0, 5.0, 1e4]),
            ),
            max_size=3,
        )
    )
    events, share, age, spent = np.array(rows, np.float64).reshape(-1, 4).T.copy()
    numbers = (6.25, 3.74, 15.44, draw(st.sampled_from([1.0, 39.0, 365.0])), 0.992)
    model = np.array([*draw(MODELS), *numbers])
    return events, share * age, age, spent, model


@settings(max_examples=30)
@given(operands=cases())
def test_lifetime_matches_its_definition(on_each_backend, operands):
    found = on_each_backend("lifetime", *operands)
    for one, exact in zip(found, lifetime_definition(operands), strict=True):
        np.testing.assert_allclose(one, exact, rtol=ROUNDING, atol=1e-290)


@given(operands=cases(10**6))
def test_both_sides_return_the_same_bits(on_each_backend, operands):
    here = on_each_backend("lifetime", *operands)
    for a, b in zip(here, backend.TWINS["lifetime"][0](*operands), strict=True):
        assert a.dtype == b.dtype == "float64"
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("model", [CDNOW, (2.0, 30.0, 3.0, 4.0)])
@pytest.mark.parametrize("x", [0, 1, 2, 26])
def test_the_expectation_is_the_published_formula(on_each_backend, model, x):
    row = (np.array([v]) for v in (x + 1.0, 8.43, 38.86, 0.0))
    numbers = np.array([*model, 6.25, 3.74, 15.44, 39.0, 1.0])
    found = on_each_backend("lifetime", *row, numbers)[1][0]
    # The textbook form subtracts numbers that are nearly equal and so loses some digits itself.
    assert found == pytest.approx(textbook(model, x, 8.43, 38.86, 39.0), rel=1e-9)


def test_the_published_example(on_each_backend):
    """A CDNOW buyer with x = 2, t_x = 30.43, T = 38.86 weeks is expected to buy 1.226 times."""
    row = (np.array([v]) for v in (3.0, 38.86 - 30.43, 38.86, 0.0))
    model = np.array([*CDNOW, 6.25, 3.74, 15.44, 39.0, 1.0])
    assert on_each_backend("lifetime", *row, model)[1][0] == pytest.approx(1.226, abs=5e-4)


def test_many_events_and_long_histories_do_not_overflow(on_each_backend):
    events = np.repeat([1e3, 1e6], 6)
    age = np.tile([1.0, 400.0, 2e4], 4)
    recency = np.where(np.arange(12) % 2, 0.0, age / 2)
    for model in (CDNOW, (50.0, 4.0, 0.1, 0.1), (0.01, 1.0, 100.0, 100.0), (0.01, 1.0, 0.01, 9.0)):
        whole = np.array([*model, 6.25, 3.74, 15.44, 900.0, 0.97])
        operands = events, recency, age, events * 3.0, whole
        found = on_each_backend("lifetime", *operands)
        assert all((np.isfinite(field) & (field >= 0.0)).all() for field in found)
        exact = lifetime_definition(operands)
        now = recency == 0.0
        assert (found[0][~now] < 1e-30).all()  # gone for long
        for one, other in zip(found, exact, strict=True):
            np.testing.assert_allclose(one[now], other[now], rtol=ROUNDING)


@pytest.mark.parametrize("x", [0.0, 1.0, 5.0, 100.0])
def test_more_time_is_more_transactions_and_a_longer_silence_is_less_life(on_each_backend, x):
    def row(recency=10.0, horizon=100.0, discount=0.99):
        arrays = (np.array([v]) for v in (x + 1.0, recency, 50.0, 70.0))
        model = np.array([*CDNOW, 6.25, 3.74, 15.44, horizon, discount])
        return [field[0] for field in on_each_backend("lifetime", *arrays, model)]

    assert (np.diff([row(horizon=h)[1] for h in (1.0, 10.0, 100.0, 1_000.0)]) > 0).all()
    alive = [row(recency=d)[0] for d in (0.0, 1.0, 10.0, 40.0)]
    assert (np.diff(alive) < 0).all() if x else alive == [1.0] * 4
    assert (np.diff([row(discount=d)[3] for d in (1.0, 0.99, 0.9)]) < 0).all()
    _, transactions, spend, value = row(discount=1.0)
    assert value == pytest.approx(transactions * spend, rel=1e-14)


@pytest.mark.parametrize("rows", [0, 1, 2, 301])
def test_ragged_sizes(on_each_backend, rows):
    rng = np.random.default_rng(rows)
    events, age = rng.integers(0, 9, rows).astype(float), rng.uniform(0.0, 300.0, rows)
    recency = np.where(events > 1, age * rng.random(rows), age)
    model = np.array([*CDNOW, 6.25, 3.74, 15.44, 90.0, 0.99])
    operands = events, recency, age, events * 4.0, model
    found = on_each_backend("lifetime", *operands)
    assert all(field.shape == (rows,) for field in found)
    some = slice(0, 9)
    exact = lifetime_definition((*(a[some] for a in operands[:4]), model))
    for one, other in zip(found, exact, strict=True):
        np.testing.assert_allclose(one[some], other, rtol=ROUNDING)


def test_a_wrong_dtype_is_refused_with_the_name_of_the_argument():
    one = np.ones(1)
    with pytest.raises(TypeError, match="lifetime: age must be contiguous float64, got int64"):
        lifetime(one, one, np.ones(1, np.int64), one, np.ones(9))
