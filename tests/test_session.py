"""What-if answers against fresh ones, explanations against every bundle listed, and the stop."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.asked import amount
from engine.errors import ConfigError
from engine.frontier import Point, monotone
from engine.offer_oracle import OfferOracle
from engine.problem import VALUE_UNIT
from engine.sensitivity import foretold, ranges
from engine.session import Session
from engine.settings.job import Solver
from engine.solve import Status, solve
from tests import problems
from tests.problems import MICRO

LARGE = Solver(exact_pairs=0, gap_tolerance=1e-3)  # of thousands: prices and rounding alone


def changed(problem, name, factor):
    """Return the problem with one limit changed by a factor, and its new amount."""
    k = [row.name for row in problem.rows].index(name)
    limit = problem.limit.copy()
    limit[k] = int(limit[k] * factor) // MICRO * MICRO
    return replace(problem, limit=limit), abs(int(limit[k])) / MICRO


@pytest.fixture(scope="module")
def base():
    """A session of 8,000 subscribers that has answered once."""
    session = Session(problems.realistic(8_000, seed=11, minimums=False), LARGE)
    session.first = session.solve()
    return session


@settings(max_examples=30)
@given(problems.small_problems(), st.floats(0, 3), st.integers(0, 3))
def test_small_what_ifs_are_solved_to_the_optimum(problem, factor, pick):
    session = Session(problem, Solver(gap_tolerance=1e-13))
    session.solve()
    if not problem.rows:
        return
    name = problem.rows[pick % len(problem.rows)].name
    other, amount = changed(problem, name, factor)
    best = problems.optimum(other)
    before = problem.limit.copy()
    found = session.solve({name: amount})
    assert (problem.limit == before).all()
    assert (found.status == Status.INFEASIBLE) == (best is None)
    if best is not None:
        assert problems.value_of(other, found.chosen) == best
        assert found.value == best / VALUE_UNIT
        used = [u / MICRO for u in uses(other, found.chosen)]
        assert found.use.tolist() == pytest.approx(used, rel=1e-12)
    dropped = session.solve(drop=[name])
    without = problems.optimum(problem, without=[pick % len(problem.rows)])
    assert (dropped.status == Status.INFEASIBLE) == (without is None)
    assert without is None or dropped.value == without / VALUE_UNIT


def uses(problem, chosen):
    """Return the use of every limit in micro-units, by the plain formulas."""
    bundles = problems.bundles_by_key(problem, chosen)
    worths = [problems.worth(problem, s, bundles[s["key"]])[1] for s in problems.in_words(problem)]
    return [sum(w[k] for w in worths) / 2**24 for k in range(len(problem.rows))]


@pytest.mark.parametrize(
    ("name", "factor"), [("budget", 1.0), ("budget", 0.9), ("budget", 1.4), ("capacity_1", 0.8)]
)
def test_one_changed_limit_costs_three_passes_at_most(base, name, factor):
    other, amount = changed(base.problem, name, factor)
    found, fresh = base.solve({name: amount}), solve(other, LARGE)
    problems.value_of(other, found.chosen)
    assert found.status == fresh.status == Status.OPTIMAL and found.gap <= 1e-3
    # Each value is below each bound, whichever way it was found.
    assert found.value <= fresh.bound * (1 + 1e-12) and fresh.value <= found.bound * (1 + 1e-12)


def test_the_passes_of_a_warm_start():
    problem = problems.realistic(60_000, seed=12, minimums=False)
    session = Session(problem, Solver(exact_pairs=0))
    cold = session.solve()
    assert cold.status == Status.OPTIMAL
    for factor in (0.97, 1.05):
        other, amount = changed(problem, "budget", factor)
        warm = session.solve({"budget": amount})
        assert (warm.status, warm.iterations[-1].reads <= 3.0) == (Status.OPTIMAL, True)
        given_ = solve(other, Solver(exact_pairs=0), prices=cold.prices)
        assert (given_.status, given_.iterations[-1].reads <= 4.0) == (Status.OPTIMAL, True)


def test_prices_are_k_numbers_of_zero_or_more(base):
    for wrong in ([1.0], -base.first.prices - 1.0, base.first.prices * np.nan):
        with pytest.raises(ConfigError, match="prices: must be a price"):
            solve(base.problem, LARGE, prices=wrong)


@pytest.mark.parametrize("blocks", [2, 5])
def test_the_same_questions_give_the_same_bits_in_any_order_of_rows(blocks):
    problem = problems.realistic(7_000, seed=13, minimums=False)
    moved = problems.rearranged(problem, np.random.default_rng(blocks), blocks)
    told = []
    for one in (problem, moved):
        session = Session(one, LARGE)
        answers = [session.solve(), session.solve({"budget": 150}), session.solve(drop=["quota_1"])]
        told.append(
            [
                (a.value, a.bound, a.prices.tolist(), problems.bundles_by_key(one, a.chosen))
                for a in answers
            ]
        )
    assert told[0] == told[1]


def test_a_frontier_never_falls(base):
    values = [300, 120, 160, 160, 240, 200.5]
    points = base.frontier("budget", values)
    assert [p.limit for p in points] == sorted(set(values))
    for before, after in zip(points, points[1:], strict=False):
        assert before.value <= after.value and before.bound <= after.bound
    for p in points:
        assert p.uses["budget"] <= p.limit and p.value <= p.bound * (1 + 1e-12)
        assert p.status == Status.OPTIMAL and p.price >= 0
    assert base.frontier("budget", []) == []


def test_a_frontier_of_a_minimum_loosens_downwards():
    session = Session(problems.realistic(3_000, seed=2), LARGE)
    points = session.frontier("minimum_0", [0, 60, 100, 30_000])
    values = [p.value for p in points]
    assert points[-1].status == Status.INFEASIBLE and values[-1] is None and not points[-1].uses
    assert values[:-1] == sorted(values[:-1], reverse=True)
    assert all(p.uses["minimum_0"] >= p.limit for p in points[:-1])


def test_points_prove_each_other():
    rough = [(1.0, 5.0, 9.0), (2.0, 4.0, 8.0), (3.0, 7.0, 7.5)]
    points = [
        Point(limit, Status.TIME_LIMIT, value, bound, 1.0, 0.0, {"a": limit})
        for limit, value, bound in rough
    ]
    found = monotone(points, 0.1)
    assert [(p.value, p.bound) for p in found] == [(5.0, 7.5), (5.0, 7.5), (7.0, 7.5)]
    assert [p.uses["a"] for p in found] == [1.0, 1.0, 3.0]
    assert [p.status for p in found] == [Status.TIME_LIMIT, Status.TIME_LIMIT, Status.OPTIMAL]


def test_wrong_questions_are_told_with_what_there_is(base):
    for ask, said in (
        (lambda: base.solve({"bugdet": 1}), "limits: unknown, got bugdet; the limits are budget, "),
        (lambda: base.solve(drop=["nothing"]), "limits: unknown, got nothing"),
        (lambda: base.solve({"budget": -1}), "limits.budget: must be a number from 0"),
        (lambda: base.solve({"budget": np.nan}), "limits.budget: must be a number from 0"),
        (lambda: base.solve({"budget": 1}, drop=["budget"]), "both changed and dropped"),
        (lambda: base.frontier("budget", [1, -1]), "limits.budget: must be a number from 0"),
        (lambda: base.explain(), "explain: give either"),
        (lambda: base.explain(row=8_000), "no such subscriber, got row 8000; there are 8,000"),
        (lambda: base.explain(key=-5), "no such subscriber, got key -5"),
        (lambda: base.sensitivity(["x"]), "sensitivity: unknown, got x"),
        (lambda: Session(base.problem).explain(row=0), "nothing has been solved yet"),
        (lambda: Session(base.problem, names=["a"]), "names: one of each of "),
    ):
        with pytest.raises(ConfigError) as error:
            ask()
        assert said in str(error.value)


@settings(max_examples=40)
@given(problems.small_problems(with_minimums=False), st.integers(0, 5))
def test_explanations_agree_with_every_bundle_listed(problem, pick):
    session = Session(problem)
    found = session.solve()
    if not problem.subscribers:
        return
    row = pick % problem.subscribers
    told = session.explain(row=row)
    words = problems.in_words(problem)[row]
    assert told == session.explain(key=words["key"])
    surplus, greatest = {}, 1.0
    for size in range(words["most"] + 1):
        for bundle in combinations(sorted(words["p"]), size):
            if problems.is_allowed(problem, words, bundle):
                value, use = problems.worth(problem, words, bundle)
                paid = sum(p * u / 2**24 / MICRO for p, u in zip(found.prices, use, strict=True))
                surplus[bundle] = value / VALUE_UNIT - paid
                greatest = max(greatest, abs(value) / VALUE_UNIT, abs(paid))
    near = {"rel": 1e-9, "abs": 1e-12 * greatest}
    assert told.best_surplus == pytest.approx(max(surplus.values()), **near)
    assert told.best_surplus == pytest.approx(surplus[told.best], **near)
    if found.status != Status.INFEASIBLE:  # then nobody gets anything, must it or not
        assert told.chosen_surplus == pytest.approx(surplus[told.chosen], **near)
    rest = [s for bundle, s in surplus.items() if bundle != told.best]
    if rest:
        assert told.margin == pytest.approx(max(surplus.values()) - max(rest), **near)
    else:
        assert told.margin == np.inf
    for action in told.actions:
        having = [s for bundle, s in surplus.items() if action.action in bundle]
        assert action.is_open == (action.action in words["p"] and words["most"] > 0)
        assert (action.change is None) == (not having or action.action in told.best)
        if action.change:
            having = max(having)
            assert action.change.shortfall == pytest.approx(told.best_surplus - having, **near)
    assert told.text().count("\n  ") == len(problem.offer)


def test_an_explanation_in_words():
    rows = ((2, False),)
    problem = line(3, rows)
    session = Session(problem, names=["gift"])
    session.solve()
    told = session.explain(row=0, reasons=lambda block, row, best: [f"beside {best}"])
    assert "gets " in told.text() and "gift: surplus" in told.text()
    blocked = replace(problem.blocks[0], propensity=np.full((1, 3), np.nan, np.float32))
    session = Session(problem.with_blocks([blocked]), names=["gift"])
    session.solve()
    told = session.explain(row=1, reasons=lambda block, row, best: [f"policy of {block}, {row}"])
    assert "gift: not open (policy of 0, 1)" in told.text() and told.chosen == ()


def line(subscribers, rows):
    from tests.test_solve import line as made

    return made(subscribers, rows=rows)


def test_ranges_hold_at_their_ends(base):
    base.solve()
    told = {s.name: s for s in base.sensitivity(["budget", "quota_1", "capacity_0"])}
    guessed = {s.name: s for s in base.sensitivity(verify=False)}
    assert len(guessed) == len(base.problem.rows)
    for s in told.values():
        assert s.is_verified and s.holds_from <= s.limit <= s.holds_to and s.slack >= 0
        assert s.slack == pytest.approx(s.limit - s.use)
        if s.price == 0:
            assert (s.holds_to, s.price_from, s.price_to) == (np.inf, 0, 0)
            continue
        for price in (s.price_from, s.price_to):
            assert abs(price - s.price) <= 0.05 * s.price
        assert guessed[s.name].holds_from <= s.holds_from
    budget = told["budget"]
    assert budget.price > 0 and budget.holds_from < budget.limit < budget.holds_to
    fresh = solve(changed(base.problem, "budget", budget.holds_to / budget.limit)[0], LARGE)
    assert fresh.prices[0] == pytest.approx(budget.price, rel=0.08)


@settings(max_examples=60)
@given(problems.small_problems(), st.integers(0, 2**32 - 1))
def test_no_allocation_is_worth_more_than_the_dual_at_any_prices(problem, seed):
    best = problems.optimum(problem)
    oracle = OfferOracle(problem, problem.blocks)
    rng = np.random.default_rng(seed)
    prices = rng.choice([0.0, 0.5, 1.0, 7.0], len(problem.rows)) * oracle.typical / oracle.scale
    bound = oracle.evaluate(prices).dual(oracle.limit)
    if best is not None:
        size = max(1.0, abs(bound), float(np.abs(prices * oracle.limit).sum()))
        assert best / VALUE_UNIT <= bound + 1e-12 * size


@settings(max_examples=30)
@given(problems.small_problems(), st.integers(0, 3), st.sampled_from([0.0, 0.5, 0.9]))
def test_fewer_limits_bound_no_lower_and_tighter_ones_no_higher(problem, pick, factor):
    if not problem.rows:
        return
    exact = Solver(gap_tolerance=1e-9)
    k = pick % len(problem.rows)
    session = Session(problem, exact)
    found = session.solve()
    if found.status == Status.INFEASIBLE:
        return
    room = 3e-9 * max(1.0, abs(found.dual_bound)) + 1e-9  # both are this near to their least
    room += roundings(problem, found.prices)  # and lifted by what rounding may have hidden
    assert session.solve(drop=[problem.rows[k].name]).dual_bound >= found.dual_bound - room
    limit = problem.limit.copy()
    limit[k] = int(limit[k] * factor) if limit[k] > 0 else int(limit[k] * (2 - factor))
    tighter = abs(int(limit[k])) / MICRO
    if tighter > 1e12:
        return
    after = session.solve({problem.rows[k].name: tighter})
    if after.status != Status.INFEASIBLE:
        assert after.dual_bound <= found.dual_bound + room


def roundings(problem, prices):
    """Return what 100 roundings of every surplus come to: a bound allows for half of that."""
    value = np.abs(problem.value_fixed) + np.abs(problem.value_accept)
    use = np.abs(problem.use_fixed) + np.abs(problem.use_accept)
    paid = [p * use[problem.terms == k].sum() for k, p in enumerate(prices.tolist())]
    weight = sum(float(block.weight.sum()) for block in problem.blocks) + problem.subscribers
    return 100 * 2.0**-53 * weight * (float(value.sum()) + sum(paid)) / MICRO


@settings(max_examples=40)
@given(problems.small_problems())
def test_foretold_ranges_hold_the_limit(problem):
    session = Session(problem)
    found = session.solve()
    if found.status == Status.INFEASIBLE:
        return
    oracle = OfferOracle(problem, problem.blocks)
    told = ranges(problem, found.prices, *foretold(oracle, found.prices))
    assert list(told) == [row.name for row in problem.rows]
    for k, (low, high) in enumerate(told.values()):
        limit = amount(problem, problem.rows[k].name)
        assert low <= max(limit, 0.0) and limit <= high
        if found.prices[k] == 0:
            assert (low == 0.0) if problem.rows[k].is_minimum else (high == np.inf)
