"""The fall of success with fatigue: against a plain likelihood, known slopes and listed futures."""

import numpy as np
import pytest
from scipy.optimize import minimize

from engine import fatigue_fit
from engine.errors import DataError
from engine.fatigue_fit import fit, item
from engine.settings.fatigue import Fatigue


def drawn(n=60_000, *, seed=1, slopes=(0.3, 0.1)):
    """Draw contacts by two channels in five strata; the harder ones are contacted more often."""
    rng = np.random.default_rng(seed)
    stratum, channel = rng.integers(0, 5, n), rng.integers(0, 2, n)
    state = rng.poisson(1.0 + stratum).astype(float)
    p = 1 / (1 + np.exp(1.0 + 0.4 * stratum + np.array(slopes)[channel] * state))
    return state, rng.random(n) < p, np.array(["call", "sms"])[channel], stratum


def plain(state, success, stratum):
    """Return slope, log-likelihood and the slope's error from all parameters at once.

    The likelihood is maximised by BFGS; the error is that of the information matrix there.
    """
    groups = np.unique(stratum)

    def loss(x):
        a = x[1:][np.searchsorted(groups, stratum)] - x[0] * state
        return np.logaddexp(0, np.where(success, -a, a)).sum()

    best = minimize(loss, np.zeros(1 + len(groups)), method="BFGS", options={"gtol": 1e-7})
    design = np.column_stack([-state, *(stratum == group for group in groups)]).astype(float)
    p = 1 / (1 + np.exp(-design @ best.x))
    information = design.T @ (design * (p * (1 - p))[:, None])
    return best.x[0], -best.fun, np.linalg.inv(information)[0, 0] ** 0.5


def test_the_slope_is_that_of_the_whole_likelihood():
    state, success, _, stratum = drawn(1_500)
    stratum[0] = 99  # tells nothing: one contact, one outcome
    (curve,) = fit(state, success, np.full(1_500, "call"), stratum).values()
    slope, height, error = plain(state[1:], success[1:], stratum[1:])
    # BFGS ends at a slope of 1e-7 or what its line search can tell.
    assert curve.slope == curve.own == pytest.approx(slope, abs=2e-6)
    assert curve.log_likelihood == pytest.approx(height, rel=1e-9)
    assert curve.error == curve.own_error == pytest.approx(error, rel=1e-4)
    assert (curve.contacts, curve.successes) == (1_500, int(success.sum()))


def test_known_slopes_are_recovered_within_strata_and_missed_without():
    for seed in range(3):
        state, success, channel, stratum = drawn(seed=seed)
        found = fit(state, success, channel, stratum)
        for name, slope in (("call", 0.3), ("sms", 0.1)):
            assert abs(found[name].slope - slope) < 4 * found[name].error < 0.1
        mixed = fit(state, success, channel, np.zeros(len(state)))
        assert mixed["call"].slope > 0.3 + 4 * mixed["call"].error  # who is hard is contacted more


def test_intervals_hold_the_slope_as_often_as_they_say():
    held = 0
    for seed in range(60):
        state, success, _, stratum = drawn(2_000, seed=seed, slopes=(0.2, 0.2))
        low, high = fit(state, success, np.full(2_000, "call"), stratum)["call"].interval
        held += low <= 0.2 <= high
    assert held >= 50  # 57 expected; 49 or fewer of 60 at 95 % has a chance of 2e-4


def test_success_is_the_average_over_strata_at_every_state():
    state, success, channel, stratum = drawn(4_000)
    stratum = np.where((channel == "sms") & (stratum == 4), 7, stratum)  # none succeeds
    success = success & (stratum != 7) | (channel == "sms") & (stratum == 3)  # all succeed
    for name, curve in fit(state, success, channel, stratum).items():
        rows = channel == name
        found = 0.0
        for g in np.unique(stratum[rows]):
            own = rows & (stratum == g)
            share, mean = own.sum() / rows.sum(), success[own].mean()
            if mean in (0.0, 1.0):
                found += share * mean
                continue
            low, high = -30.0, 30.0  # the intercept that expects as many successes as there were
            for _ in range(200):
                a = (low + high) / 2
                expected = (1 / (1 + np.exp(curve.slope * state[own] - a))).mean()
                low, high = (a, high) if expected < mean else (low, a)
            found += share / (1 + np.exp(curve.slope * 2.5 - a))
        assert curve.success([2.5])[0] == pytest.approx(found, rel=1e-9)


@pytest.mark.parametrize("recovery", [1.0, 0.5])
def test_the_cost_is_what_later_contacts_lose(recovery):
    curve = fit(*drawn(4_000))["call"]
    for state in (0.0, 1.0, 3.5):
        without, with_it, lost = state, state + 1.0, 0.0
        for j in range(1, 80):  # the state decays, a contact is made, and leaves one more
            without, with_it = without * recovery, with_it * recovery
            lost += 0.6**j * (curve.success([without])[0] - curve.success([with_it])[0])
            without, with_it = without + 1.0, with_it + 1.0
        assert curve.cost([state], chance=0.6, recovery=recovery)[0] == pytest.approx(lost)
    cost = curve.cost(np.arange(20.0), chance=0.6, recovery=recovery)
    assert (cost > 0).all()
    assert (curve.cost([0.0, 4.0], chance=0.0) == 0.0).all()
    for wrong in ({"chance": 1.0}, {"chance": 0.5, "recovery": 0.0}):
        with pytest.raises(ValueError, match="chance: is in"):
            curve.cost([1.0], **wrong)


def test_an_item_of_a_job_costs_what_a_contact_does_where_a_level_begins():
    curves = fit(*drawn(4_000))
    found = item(curves, "tired", [0.5, 2], value=20, chance=0.6, recovery=0.5)
    cost = 20 * curves["sms"].cost([0.0, 0.5, 2.0], chance=0.6, recovery=0.5)
    assert Fatigue(**found).of_channel("sms") == np.round(cost, 6).tolist()
    assert (found["of"], found["borders"], sorted(found["channels"])) == (
        "tired", [0.5, 2.0], ["call", "sms"])  # fmt: skip
    for wrong in ([0.0, 1.0], [2.0, 1.0]):
        with pytest.raises(ValueError, match="must ascend from above 0"):
            item(curves, "tired", wrong, value=1, chance=0.5)


def test_where_success_rises_with_the_state_nothing_is_charged():
    state, success, channel, stratum = drawn(slopes=(-0.2, -0.2))
    for curve in fit(state, success, channel, stratum).values():
        assert curve.slope < 0 and (curve.cost([0.0, 3.0], chance=0.5) == 0.0).all()


def test_channels_are_drawn_to_their_mean_and_the_poor_ones_most():
    state, success, channel, stratum = drawn(20_000)
    rng = np.random.default_rng(5)
    channel = np.where(rng.random(len(channel)) < 0.02, "mail", channel)  # some of both
    few = np.flatnonzero(channel == "sms")[::400]
    channel[few], success[few] = "rare", False
    found = fit(state, success, channel, stratum)
    call, sms, mail, rare = (found[name] for name in ("call", "sms", "mail", "rare"))
    mean = rare.slope  # nothing is known of it
    assert rare.own is None and min(call.own, sms.own) < mean < max(call.own, sms.own)
    drawn_by = {name: abs(c.slope - c.own) / abs(mean - c.own)
                for name, c in (("call", call), ("mail", mail))}  # fmt: skip
    assert 0 < drawn_by["call"] < drawn_by["mail"] < 1 and rare.error > mail.error > call.error


def test_the_mean_of_channels_is_that_of_random_effects():
    state, success, channel, stratum = drawn(20_000)
    own = fit(state, success, channel, stratum)
    b, e = (np.array([getattr(own[n], f) for n in ("call", "sms")]) for f in ("own", "own_error"))
    w = e**-2  # DerSimonian and Laird, by their formulas
    q = (w * (b - (w * b).sum() / w.sum()) ** 2).sum()
    between = (q - 1) / (w.sum() - (w**2).sum() / w.sum())
    v = 1 / (e**2 + between)
    mean, of_mean = (v * b).sum() / v.sum(), e**2 / (e**2 + between)
    spread = e**2 * between / (e**2 + between) + of_mean**2 / v.sum()
    for i, name in enumerate(("call", "sms")):
        slope = of_mean[i] * mean + (1 - of_mean[i]) * b[i]
        assert own[name].slope == pytest.approx(slope, rel=1e-9)
        assert own[name].error == pytest.approx(spread[i] ** 0.5, rel=1e-9)


def test_the_order_of_contacts_changes_no_bit():
    rows = drawn(5_000)
    order = np.random.default_rng(2).permutation(5_000)
    one, two = fit(*rows), fit(*(column[order] for column in rows))
    for name in one:
        assert (one[name].slope, one[name].error) == (two[name].slope, two[name].error)
        assert one[name].log_likelihood == two[name].log_likelihood
        assert one[name].intercept.tolist() == two[name].intercept.tolist()


def test_what_tells_no_slope_is_refused():
    state, success, channel, stratum = drawn(1_000)
    with pytest.raises(DataError, match="no number >= 0"):
        fit(np.where(state == 2, np.nan, state), success, channel, stratum)
    with pytest.raises(DataError, match=f"no channel has {fatigue_fit.FEWEST} successes"):
        fit(np.ones(1_000), success, channel, stratum)
    with pytest.raises(DataError, match="parts successes from failures"):
        fit(state, state < 2, channel, np.zeros(1_000))
