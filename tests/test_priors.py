"""Priors of response rates against Kleinman's moments by hand, and where they fall back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import priors


def counts_of(contacts, accepts):
    return priors.counted(np.asarray(accepts, np.float64), np.asarray(contacts, np.float64))


def moments(contacts, accepts):
    """Return rate and strength by sums over subscribers, without a bound on the strength."""
    n, k = (np.asarray(a, np.float64) for a in (contacts, accepts))
    rate, total = k.sum() / n.sum(), n.sum()
    spread = (n * (k / n - rate) ** 2).sum()
    chance, within = rate * (1 - rate), (1 - n / total).sum()
    rho = (spread - chance * within) / (chance * ((n * (1 - n / total)).sum() - within))
    return rate, 1 / rho - 1


def test_a_prior_is_that_of_the_moments():
    rng = np.random.default_rng(4)
    contacts = rng.integers(1, 12, 400)
    accepts = rng.binomial(contacts, rng.beta(0.6, 3.0, 400))
    prior = priors.fit([{"sms": counts_of(contacts, accepts)}], 0.05, 5.0).groups["sms"]
    rate, strength = moments(contacts, accepts)
    # The two forms of the spread cancel differently; both lose at most a few digits of 2**-53.
    assert prior.rate == pytest.approx(rate, rel=1e-15)
    assert prior.strength == pytest.approx(strength, rel=1e-10)
    assert (prior.subscribers, prior.source) == (400, "group")


def test_the_prior_of_a_known_population_is_found():
    rng = np.random.default_rng(5)
    contacts = rng.integers(1, 20, 40_000)
    accepts = rng.binomial(contacts, rng.beta(0.5, 4.5, 40_000))
    prior = priors.fit([{"sms": counts_of(contacts, accepts)}], 0.05, 5.0).groups["sms"]
    # Standard errors over 40,000 subscribers: of the rate 0.0008, of the strength about 0.08.
    assert prior.rate == pytest.approx(0.1, abs=4 * 0.0008)
    assert prior.strength == pytest.approx(5.0, abs=4 * 0.08)


@given(
    people=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=30, max_size=60),
    cut=st.integers(0, 60),
)
def test_a_prior_is_the_same_bits_for_any_split(people, cut):
    contacts, accepts = np.array(people).T

    def fitted(*slices):
        parts = [{"sms": counts_of(contacts[s], accepts[s])} for s in slices]
        return priors.fit(parts, 0.05, 5.0)

    whole = fitted(slice(None))
    assert whole == fitted(slice(cut), slice(cut, None)) == fitted(slice(None, None, -1))
    (prior,) = whole.groups.values()
    assert 0 < prior.rate < 1 and priors.STRENGTHS[0] <= prior.strength <= priors.STRENGTHS[1]


def test_too_little_takes_all_groups_and_then_the_settings():
    rng = np.random.default_rng(6)
    many, few = rng.integers(1, 9, 200), rng.integers(1, 9, 20)
    full = counts_of(many, rng.binomial(many, rng.beta(1, 3, 200)))
    parts = [{"sms": full, "push": counts_of(few, few // 2), "mail": counts_of([], [])}]
    found = priors.fit(parts, 0.07, 3.0).groups
    assert [found[name].source for name in ("sms", "push", "mail")] == [
        "group", "all groups", "all groups",
    ]  # fmt: skip
    assert found["push"].rate == found["mail"].rate != found["sms"].rate
    nothing = {"sms": counts_of([2] * 50, [0] * 50), "push": counts_of([1] * 50, [0] * 50)}
    for prior in priors.fit([nothing], 0.07, 3.0).groups.values():
        assert (prior.rate, prior.strength, prior.source) == (0.07, 3.0, "settings")


@pytest.mark.parametrize(
    ("accepts", "strength"),
    [([1] * 50, 1_000.0), ([0, 2] * 25, 0.1)],  # all alike; each subscriber all or nothing
)
def test_the_strength_is_bounded(accepts, strength):
    prior = priors.fit([{"sms": counts_of([2] * 50, accepts)}], 0.05, 5.0).groups["sms"]
    assert (prior.rate, prior.strength) == (0.5, strength)


def test_a_rate_is_smoothed_by_the_prior_of_its_group():
    found = priors.Priors({"sms": priors.Prior(0.2, 5.0, 9, "group")})
    accepts, contacts = np.array([0.0, 3.0]), np.array([0.0, 5.0])
    smoothed = priors.smoothed(found, accepts, contacts, group="sms")
    np.testing.assert_array_equal(smoothed, [0.2, 0.4])
