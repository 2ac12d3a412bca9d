"""Soft limits: what passing them costs, against every outcome listed."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import integers
from engine.errors import AllocationError
from engine.infeasible import explain
from engine.offer_core import tally_of_bundles
from engine.problem import USE_UNIT, VALUE_UNIT, Row, net_value, penalties, penalty_units
from engine.settings.job import Solver
from engine.solve import Status, solve
from engine.stop import Deadline
from tests import problems
from tests.problems import MICRO
from tests.test_integers import kept, models
from tests.test_solve import ROUNDED, ROUNDING, TIGHT, line

# Nothing, a micro, a tie with the "ties" palette's money, an odd one, more than anything is worth.
PENALTIES = [None, None, 1, MICRO // 2, MICRO, 1_234_567, 10**15]
LONG = 600.0  # seconds: the effort ends a search, not the clock


@st.composite
def soft_problems(draw):
    problem = draw(problems.small_problems())
    count = len(problem.rows)
    each = draw(st.lists(st.sampled_from(PENALTIES), min_size=count, max_size=count))
    return replace(problem, penalty=penalties(each)), each


def best_by_listing(problem, each):
    """Return the most value less penalties within the hard limits, value units; None: none."""
    limits, best = problems.limits_of(problem), None
    for use, value in problems.outcomes(problem).items():
        worth = Fraction(value)
        over = [max(0, u - b) for u, b in zip(use, limits, strict=True)]
        if any(o and penalty is None for o, penalty in zip(over, each, strict=True)):
            continue
        for o, penalty in zip(over, each, strict=True):
            # micro-money a unit times use units, in value units
            worth -= Fraction(o, USE_UNIT) * Fraction(penalty or 0, MICRO) * VALUE_UNIT
        best = worth if best is None else max(best, worth)
    return best


def is_bound(bound, best):
    size = max(1, abs(Fraction(bound)))
    return Fraction(bound) + ROUNDING * size >= best / VALUE_UNIT


@settings(max_examples=150)
@given(soft_problems())
def test_small_problems_are_solved_to_the_optimum_net_of_penalties(case):
    problem, each = case
    best = best_by_listing(problem, each)
    found = solve(problem, TIGHT)
    assert (found.status == Status.INFEASIBLE) == (best is None)
    if best is None:
        hard = {row.name for row, p in zip(problem.rows, each, strict=True) if p is None}
        assert {told.constraint for told in found.conflict} <= hard
        return
    assert found.value == pytest.approx(float(best / VALUE_UNIT), rel=1e-12, abs=1e-12)
    assert found.value == float(net_value(problem, tally_of_bundles(problem, found.chosen))
                                / VALUE_UNIT)  # fmt: skip
    assert is_bound(found.bound, best) and is_bound(found.dual_bound, best)
    for price, penalty in zip(found.prices.tolist(), each, strict=True):
        assert price >= 0 and (penalty is None or Fraction(price) <= Fraction(penalty, MICRO))


@settings(max_examples=80)
@given(soft_problems())
def test_prices_and_rounding_are_between_nothing_and_the_bound(case):
    problem, each = case
    best = best_by_listing(problem, each)
    try:
        found = solve(problem, ROUNDED)
    except AllocationError:  # whole contacts alone may be impossible: the dual can't tell
        return
    if found.status == Status.INFEASIBLE:
        assert best is None
        return
    assert best is not None and is_bound(found.bound, best)
    value = net_value(problem, tally_of_bundles(problem, found.chosen))
    assert found.value == float(value / VALUE_UNIT) and value <= best


@pytest.mark.parametrize("exact_pairs", [0, 20_000])
@pytest.mark.parametrize(
    ("penalty", "value", "price"),
    [
        (0.25, 5 - 2 * 0.25, 0.25),  # passing costs less than a contact is worth: all five
        (2.0, 3.0, None),  # more: the limit of three is kept
    ],
)
def test_a_soft_limit_is_passed_where_that_pays(exact_pairs, penalty, value, price):
    problem = replace(line(5, rows=((3, False),)), penalty=np.array([penalty]))
    found = solve(problem, Solver(gap_tolerance=1e-9, exact_pairs=exact_pairs))
    assert (found.status, found.value) == (Status.OPTIMAL, value)
    assert found.prices[0] <= penalty
    assert price is None or found.prices[0] == pytest.approx(price)


@pytest.mark.parametrize("exact_pairs", [0, 20_000])
def test_a_soft_minimum_out_of_reach_is_missed_and_paid_for(exact_pairs):
    problem = replace(line(5, rows=((9, True),)), penalty=np.array([10.0]))
    found = solve(problem, Solver(gap_tolerance=1e-9, exact_pairs=exact_pairs))
    assert (found.status, found.value) == (Status.OPTIMAL, 5 - 4 * 10.0)


def test_many_subscribers_pass_a_soft_budget_by_prices():
    """The budget's price is at its penalty, and the answer is certified by prices and rounding."""
    problem = problems.realistic(1_500, seed=4)
    soft = [row.name == "budget" for row in problem.rows]
    tight = problem.limit.copy()
    tight[0] //= 3
    hard = solve(replace(problem, limit=tight), Solver(exact_pairs=0, sample=200))
    for penalty in (hard.prices[0] / 3, hard.prices[0] * 3):
        each = [round(penalty * MICRO) if is_soft else None for is_soft in soft]
        eased = replace(problem, limit=tight, penalty=penalties(each))
        found = solve(eased, Solver(exact_pairs=0, sample=200, gap_tolerance=2e-4))
        assert found.status == Status.OPTIMAL and found.value >= hard.value * (1 - 2e-4)
        if penalty < hard.prices[0]:
            assert found.prices[0] == pytest.approx(eased.penalty[0]) and found.value > hard.value


def test_soft_limits_have_no_part_in_a_conflict():
    problem = line(5, rows=((2, False), (3, True), (9, True)))
    each = [None, MICRO, None]
    told = explain(replace(problem, penalty=penalties(each)), small=True, deadline=Deadline(60.0))
    assert [conflict.constraint for conflict in told] == ["limit_2"]


def test_penalties_are_never_above_what_they_stand_for():
    each = [None, 1, 100_000, 1_234_567, 3, 10**15 + 1]
    held = penalties(each)
    problem = replace(line(1, rows=((1, False),) * len(each)), penalty=held)
    unit = Fraction(VALUE_UNIT, USE_UNIT * MICRO)
    for held_one, exact, cost in zip(held.tolist(), each, penalty_units(problem), strict=True):
        if exact is None:
            assert held_one == np.inf and cost is None
        else:
            assert Fraction(held_one) <= Fraction(exact, MICRO) and cost == exact * unit
    assert penalties([None, None]) is None


@settings(max_examples=150)
@given(models(), st.data())
def test_the_exact_model_counts_overruns_of_any_size(model, data):
    values, choices, uses = model
    soft = [(*use, data.draw(st.sampled_from([1, 3, 2**30, 7**20]))) for use in uses[1:]]
    uses = uses[:1]

    def worth(taken):
        total = sum(v for v, t in zip(values, taken, strict=True) if t)
        for indices, coefficients, limit, cost in soft:
            use = sum(c for i, c in zip(indices, coefficients, strict=True) if taken[i])
            total -= cost * max(0, use - limit)
        return total

    allowed = [
        taken
        for number in range(2 ** len(values))
        if kept(taken := [bool(number >> i & 1) for i in range(len(values))], choices, uses)
    ]
    best = max(map(worth, allowed), default=None)
    answer = integers.solve(values, choices, uses, soft, slack=0, effort=10.0, seconds=LONG)
    if best is None:
        assert answer.status == "INFEASIBLE"
        return
    if answer.status == "FEASIBLE":  # numbers of 60 bits may take more than the effort
        assert worth(answer.taken) <= best <= answer.bound
        return
    assert answer.status == "OPTIMAL"
    _, divisor = integers.shrink(values, soft)
    slack = divisor * (len(values) + len(soft) + 1)
    assert best - slack < worth(answer.taken) <= best <= answer.bound < best + slack


@pytest.mark.parametrize(
    ("values", "soft", "worth"),
    [
        ([-1], ([0], [1], -1, 7**20), -(7**20)),
        ([0, 2**24], ([1, 0], [3**50, -(3**50)], 3**50 - 1, 7**20), 2**24),
    ],
)
def test_large_overruns_are_no_long_search(values, soft, worth):
    """Digits of an overrun that hung together with carries were narrowed a unit at a time."""
    choices = [([0], 1)]
    answer = integers.solve(values, choices, [], [soft], slack=0, effort=0.01, seconds=LONG)
    _, divisor = integers.shrink(values, [soft])
    assert answer.status == "OPTIMAL" and worth <= answer.bound < worth + 4 * divisor


def test_the_rows_of_a_problem_keep_their_penalties():
    problem = replace(line(3, rows=((1, False), (2, False))), penalty=np.array([np.inf, 2.0]))
    assert problem.with_rows([1]).penalty.tolist() == [2.0]
    assert problem.with_rows([]).penalty.tolist() == []
    assert problem.with_rows([1]).rows == [Row("limit_1", "contacts", is_minimum=False)]
