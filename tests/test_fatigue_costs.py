"""What contacts cost in annoyance: solver and certificate against every outcome, and refusals."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.actions import actions
from engine.assemble import assemble
from engine.candidates import candidates
from engine.errors import ConfigError, DataError
from engine.history import History
from engine.limit_problems import problems as limit_problems
from engine.limits import MICRO, limits
from engine.problem import USE_UNIT, VALUE_UNIT, Row, penalties
from engine.session import Session
from engine.settings.job import Solver
from engine.solve import Status, solve
from tests import problems
from tests.certified import job_of, people, scores_of
from tests.problems import limits_of, outcomes, realistic
from tests.test_certificate_limits import found_by

TIGHT = Solver(gap_tolerance=1e-9)
STATE = {
    "of": "tired",
    "borders": [1.0, 2.5],
    "cost": [0, 0.25, 1.5],
    "channels": {"app": [0, 0, 0.5]},
}
DAYS = {"of": "days", "borders": [3], "channels": {"sms": [0.125, 0]}}


def cost_of(row, channel):
    """Return what a contact costs, by the definition."""
    level = int(row.tired >= 1) + int(row.tired >= 2.5)
    cost = STATE["channels"].get(channel, STATE["cost"])[level]
    if channel == "sms" and row.days < 3:  # null: never contacted
        cost += 0.125
    return cost


def tired(n=6):
    levels, days = [0.0, 1.0, 2.499, 2.5, 7.0, np.nan], [np.nan, 1.0, 3.0, 2.999, 9.0, 0.0]
    return people(n, tired=np.resize(levels, n), days=np.resize(days, n))


def job_with(**changes):
    return job_of(**{"fatigue": [STATE, DAYS], "constraints": [], "policies": [
        {"name": "two", "at_most": 2}], **changes})  # fmt: skip


def solved(job, features, p=0.5, **solver):
    placed = assemble(job, [candidates(job, features, scores_of(job, features, p), History())])
    return placed, solve(placed.problem, Solver(gap_tolerance=1e-9, **solver))


def test_levels_are_conditions_with_their_borders_exact():
    (limit,) = limits(job_with(fatigue=[{**STATE, "borders": [-1e-5, 0.1]}]))
    assert (limit.name, limit.amount, limit.penalty, limit.is_minimum) == (
        "fatigue",
        0,
        MICRO,
        False,
    )
    assert {(c.where, c.channel, c.cost) for c in limit.costs} == {
        ("(tired) >= -0.00001 AND (tired) < 0.1", "sms", 250_000),
        ("(tired) >= 0.1", "sms", 1_500_000), ("(tired) >= 0.1", "app", 500_000),
    }  # fmt: skip
    assert limits(job_with(fatigue=[])) == []
    assert limits(job_with(fatigue=[{**STATE, "cost": [0, 0, 0], "channels": {}}])) == []


@pytest.mark.parametrize("exact_pairs", [0, 20_000])
@pytest.mark.parametrize("p", [0.25, 0.5, 1.0])
def test_contacts_are_those_of_the_most_value_less_fatigue(exact_pairs, p):
    """Without other limits each subscriber takes its best bundle: both offers, if each pays."""
    job, features = job_with(), tired()
    placed, found = solved(job, features, p, exact_pairs=exact_pairs)
    money, best = {"a": 3 * p, "b": 6 * p}, 0.0
    contacts = []
    for row in features.itertuples():
        for value in money.values():  # on its best channel, each offer by itself
            net = {"sms": value - 0.25 - cost_of(row, "sms"), "app": value - cost_of(row, "app")}
            best += max(0.0, *net.values())
    assert found.status == Status.OPTIMAL and found.prices.tolist() == [1.0]
    assert found.value == best and found.bound == pytest.approx(best, abs=1e-9)
    names = [a.name.split("@") for a in actions(job.catalogue)]
    (order,), (chosen,) = list(placed.order), found.chosen
    contacts = [(int(order[s]), *names[a]) for q in chosen for s, a in enumerate(q) if a >= 0]
    stated = found_by(job, contacts, features=features, prices=[1.0]) if p == 0.5 else None
    if stated:
        spent = {c: sum(cost_of(features.iloc[s], c) for s, _, x in contacts if x == c)
                 for c in ("sms", "app")}  # fmt: skip
        assert stated["certified"] and (stated["value"], stated["penalties"]) == (best, 0.0)
        assert stated["fatigue"] == {
            "cost": sum(spent.values()), "unit": "EUR", "channels": spent}  # fmt: skip
        assert stated["bound"] == pytest.approx(best, abs=1e-9)


@st.composite
def charged(draw):
    """A small problem with a charge of several terms beside its limits."""
    problem = draw(problems.small_problems(related=False))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    terms, (groups, count) = 1 + int(rng.integers(3)), (problem.groups, len(problem.offer))
    fixed = rng.choice([0, 1, MICRO // 4, MICRO, 1_000_003], (terms, count)).astype(np.int64)
    limits_ = len(problem.rows)
    return replace(
        problem, rows=[*problem.rows, Row("fatigue", "fatigue", is_minimum=False)],
        use_fixed=np.concatenate([problem.use_fixed, fixed]),
        use_accept=np.concatenate([problem.use_accept, 0 * fixed]),
        in_scope=np.concatenate([problem.in_scope, rng.random((terms, groups)) < 0.6]),
        limit=np.append(problem.limit, 0), penalty=penalties([None] * limits_ + [MICRO]),
        term_of=np.append(np.arange(limits_), [limits_] * terms), checked=None,
    )  # fmt: skip


@settings(max_examples=120)
@given(charged())
def test_small_problems_are_solved_to_the_optimum_net_of_charges(problem):
    amounts, best = limits_of(problem), None
    for use, value in outcomes(problem).items():
        if all(u <= b for u, b in zip(use[:-1], amounts, strict=False)):
            worth = Fraction(value, VALUE_UNIT) - Fraction(use[-1], USE_UNIT)
            best = worth if best is None else max(best, worth)
    found = solve(problem, TIGHT)
    assert problem.is_charged.tolist()[-1]
    assert (found.status == Status.INFEASIBLE) == (best is None)
    if best is not None:
        assert found.value == pytest.approx(float(best), rel=1e-12, abs=1e-12)
        assert found.dual_bound >= float(best) - 1e-9 * abs(float(best))
        assert found.prices[-1] == 1.0


@pytest.mark.parametrize("seed", [4, 5, 9, 10, 11])
def test_whole_contacts_near_the_bound_count_charges(seed):
    base, rng = realistic(60, seed=seed), np.random.default_rng(seed)
    level, count = rng.integers(0, 4, base.groups), len(base.rows)
    fixed = np.arange(1, 5)[:, None] * np.full(len(base.offer), 150_000)
    problem = replace(
        base, rows=[*base.rows, Row("fatigue", "fatigue", is_minimum=False)],
        use_fixed=np.concatenate([base.use_fixed, fixed]),
        use_accept=np.concatenate([base.use_accept, 0 * fixed]),
        in_scope=np.concatenate([base.in_scope, level == np.arange(4)[:, None]]),
        limit=np.append(base.limit, 0), penalty=penalties([None] * count + [MICRO]),
        term_of=np.append(np.arange(count), [count] * 4), checked=None,
    )  # fmt: skip
    exact, rounded = (
        solve(problem, Solver(gap_tolerance=1e-6, exact_pairs=n)) for n in (20_000, 0)
    )
    assert rounded.value == exact.value


def test_a_price_is_known_only_where_no_use_is_below_the_limit():
    row = Row("fatigue", "fatigue", is_minimum=False)
    base = replace(realistic(20, seed=1), penalty=None)
    count = len(base.rows)

    def charge(fixed=1, accept=0, limit=0, penalty=MICRO):
        new = np.full((1, len(base.offer)), 1, np.int64)
        return replace(
            base, rows=[*base.rows, row], use_fixed=np.concatenate([base.use_fixed, fixed * new]),
            use_accept=np.concatenate([base.use_accept, accept * new]), term_of=None,
            in_scope=np.concatenate([base.in_scope, np.ones((1, base.groups), bool)]),
            limit=np.append(base.limit, limit), penalty=penalties([None] * count + [penalty]),
        ).is_charged.tolist()  # fmt: skip

    assert charge() == [False] * count + [True]
    assert charge(accept=-1)[-1] and charge(limit=-3)[-1]
    for other in ({"limit": 1}, {"penalty": None}, {"fixed": -1}, {"accept": -2}):
        assert charge(**other) == [False] * (count + 1)


def test_a_wrong_cost_fails_the_certificate():
    job, features = job_with(), tired()
    right = found_by(job, features=features, prices=[1.0])
    assert right["certified"] and right["fatigue"]["cost"] > 0
    for wrong in ({**STATE, "cost": [0, 0.250001, 1.5]}, {**STATE, "borders": [1.1, 2.5]}):
        other = found_by(job_with(fatigue=[wrong, DAYS]), features=features, prices=[1.0])
        assert other["value"] != right["value"]
        claims = {name: other["claimed"][name] for name in ("value", "uses")}
        assert not found_by(job, features=features, prices=[1.0], claims=claims)["certified"]
    with pytest.raises(ValueError, match="above the penalty"):
        found_by(job, features=features, prices=[1.25])


def test_items_of_one_state_add_up():
    features = tired()
    placed, found = solved(job_with(fatigue=[STATE, DAYS, STATE]), features)
    double = {
        **STATE, "cost": [0, 0.5, 3.0], "channels": {"app": [0, 0, 1.0]},
    }  # fmt: skip
    other, again = solved(job_with(fatigue=[double, DAYS]), features)
    assert found.value == again.value
    assert placed.problem.use_fixed.tolist() == other.problem.use_fixed.tolist()
    twice = found_by(job_with(fatigue=[STATE, DAYS, STATE]), features=features, prices=[1.0])
    once = found_by(job_with(fatigue=[double, DAYS]), features=features, prices=[1.0])
    assert twice["certified"] and twice["fatigue"] == once["fatigue"]
    assert twice["value"] == once["value"]


def test_the_more_tired_are_contacted_less_and_a_higher_cost_means_fewer_contacts():
    features = people(600, tired=np.arange(600) % 5 + 0.0, days=np.full(600, 9.0))
    capacity = {"name": "few", "measure": "contacts", "at_most": 500}
    cost, before = np.array([0, 0.4, 1.9]), None
    for times in (0, 1, 2):
        item = {"of": "tired", "borders": [1, 3], "cost": (times * cost).tolist()}
        job = job_with(fatigue=[item] if times else [], constraints=[capacity])
        placed, found = solved(job, features, exact_pairs=0)
        (order,), (chosen,) = list(placed.order), found.chosen
        contacts = np.zeros(600)
        contacts[np.asarray(order)] = (chosen >= 0).sum(axis=0)
        level = np.searchsorted([1, 3], features["tired"], side="right")
        each = [contacts[level == i].mean() for i in range(3)]
        if times:
            assert each[0] >= each[1] >= each[2] and each[0] > each[2]
            assert found.prices[-1] == 1.0 and cost @ np.bincount(level, contacts, 3) <= before
        before = cost @ np.bincount(level, contacts, 3)


def test_the_bits_are_the_same_for_any_blocks():
    rule = {"name": "few", "measure": "contacts", "at_most": 60}
    job, features = job_with(constraints=[rule]), tired(200)
    scores = scores_of(job, features)

    def found(*parts):
        own = [[f[r].reset_index(drop=True) for f in (features, scores)] for r in parts]
        placed = assemble(job, [candidates(job, *frames, History()) for frames in own])
        answer = solve(placed.problem, Solver(exact_pairs=0))
        return answer.value, answer.bound, answer.prices.tolist()

    assert found(slice(None)) == found(slice(0, 77), slice(77, None))


@pytest.mark.parametrize("objective", [{"minimise": "cost"}, {"maximise": "value"}])
def test_fatigue_counts_in_either_objective(objective):
    rule = {"name": "some", "measure": "contacts", "at_least": 4}
    job, features = job_with(constraints=[rule], objective=objective), tired()
    placed, found = solved(job, features)
    problem = placed.problem
    best = max(
        Fraction(value, VALUE_UNIT) - Fraction(use[1], USE_UNIT)
        for use, value in outcomes(problem).items() if use[0] <= limits_of(problem)[0]
    )  # fmt: skip
    assert found.value == pytest.approx(float(best), rel=1e-12)
    assert found.bound == pytest.approx(float(best), rel=1e-8)


def test_what_if_leaves_fatigue_out_and_asks_nothing_else_of_it():
    rule = {"name": "few", "measure": "contacts", "at_most": 5}
    placed, _ = solved(job_with(constraints=[rule]), tired())
    session = Session(placed.problem, TIGHT)
    with_it, without = session.solve(), session.solve(drop=["fatigue"])
    again = session.solve()
    assert without.value > with_it.value == again.value and again.prices[-1] == 1.0
    assert [told.name for told in session.sensitivity()] == ["few"]
    assert session.explain(row=0).actions
    for wrong in (lambda: session.solve({"fatigue": 3}), lambda: session.sensitivity(["fatigue"]),
                  lambda: session.frontier("fatigue", [1, 2])):  # fmt: skip
        with pytest.raises(ConfigError, match="fatigue: is a cost"):
            wrong()


def test_the_price_is_the_penalty_however_little_it_is_worth():
    job = job_with(fatigue=[{"of": "tired", "borders": [1], "cost": [0, 1e-6]}])
    placed, _ = solved(job, people(60, tired=np.arange(60) // 59 + 0.0))
    session = Session(placed.problem, Solver(exact_pairs=0))
    for drop in (("fatigue",), ()):
        assert session.solve(drop=drop).prices.tolist() == [1.0] * (1 - len(drop))


def test_every_wrong_setting_is_told_at_once():
    with pytest.raises(ConfigError) as error:
        job_with(fatigue=[
            {"of": "tired", "borders": [2, 1], "cost": [0, 1]},
            {"of": "days", "borders": [3]},
            {"of": "days", "borders": [3], "channels": {"sms": [1]}},
        ])  # fmt: skip
    text = str(error.value)
    assert "borders: must ascend, got [2.0, 1.0]" in text and "cost: has 2 levels" in text
    assert "has no cost" in text and "channels.sms: has 1 levels; 1 borders part 2" in text
    with pytest.raises(ConfigError) as error:
        job_with(objective={"maximise": "contacts"}, fatigue=[
            {"of": "days", "borders": [3], "channels": {"fax": [1, 0]}}])  # fmt: skip
    text = str(error.value)
    assert "fatigue.0.channels: unknown channel fax" in text and "objective counts contacts" in text


def test_what_is_wrong_with_the_whole_is_told():
    named = job_with(constraints=[{"name": "fatigue", "measure": "cost", "at_most": 3}])
    assert any("2 limits are called fatigue" in text for text in limit_problems(named))
    dear = [{"of": "days", "borders": [3], "cost": [1e9, 0]}] * 3
    assert any("may cost 3,000,000,000" in text for text in limit_problems(job_with(fatigue=dear)))


def test_too_many_groups_name_the_levels_of_fatigue():
    n = 17_000
    features = people(n, tired=np.arange(n) % 65 + 0.0, days=np.arange(n) // 65 + 0.0)
    costs = [k / 64 for k in range(65)]
    items = [
        {"of": of, "borders": [first + k for k in range(1, 65)], "cost": costs}
        for of, first in (("tired", 0), ("days", 0), ("days", 64), ("days", 128), ("days", 192))
    ]
    job = job_with(fatigue=items)
    with pytest.raises(DataError, match=r"with the levels of fatigue tell 16,\d\d\d groups"):
        assemble(job, [candidates(job, features, scores_of(job, features), History())])
