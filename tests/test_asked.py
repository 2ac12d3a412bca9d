"""What may be asked of each kind of limit, against problems posed with it from the start."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import asked
from engine.errors import ConfigError
from engine.problem import VALUE_UNIT, Row, penalties
from engine.quotient import Quotient
from engine.session import Session
from engine.settings.job import Solver
from engine.solve import Status, solve
from tests import problems
from tests.problems import MICRO
from tests.test_ratios import optimum, ratio_problems, with_ratios
from tests.test_soft_limits import best_by_listing, soft_problems

EXACT = Solver(gap_tolerance=1e-13)


def with_equation(problem, amount):
    """Return the problem with one equation in place of its limits: so many contacts."""
    fixed = np.full((1, len(problem.offer)), MICRO, np.int64)
    sides = [Row("calls:high", "contacts", False, "calls")]  # noqa: FBT003
    sides.append(Row("calls:low", "contacts", True, "calls"))  # noqa: FBT003
    return replace(
        problem,
        rows=sides,
        use_fixed=np.concatenate([fixed, -fixed]),
        use_accept=np.zeros((2, len(problem.offer)), np.int64),
        in_scope=np.ones((2, problem.groups), bool),
        limit=np.array([amount, -amount], np.int64) * MICRO,
    )


@settings(max_examples=25)
@given(problems.small_problems(), st.integers(0, 4), st.integers(0, 4))
def test_an_equation_changes_both_its_sides_and_nets_their_prices(problem, first, then):
    session = Session(with_equation(problem, first), EXACT)
    session.solve()
    found, best = session.solve({"calls": then}), problems.optimum(with_equation(problem, then))
    assert session.limits == ["calls"]
    assert (found.status == Status.INFEASIBLE) == (best is None)
    if best is not None:
        assert found.value == best / VALUE_UNIT and found.use.tolist() == [then, -then]
        assert found.prices.min() == 0
    free = session.solve(drop=["calls"])
    without = problems.optimum(problem.with_rows([]))
    assert free.status == Status.INFEASIBLE or free.value == without / VALUE_UNIT
    points = session.frontier("calls", [0, 1, 2])
    for n, p in enumerate(points):  # each is by itself
        alone = problems.optimum(with_equation(problem, n))
        assert p.value == (None if alone is None else alone / VALUE_UNIT)


@settings(max_examples=40)
@given(ratio_problems(), st.sampled_from([0, 1, 333_333, MICRO, 7_000_001]))
def test_a_changed_ratio_is_that_of_a_problem_posed_with_it(case, micro):
    problem, quotients = case
    limit = Fraction(micro, MICRO)
    session = Session(problem, EXACT)
    session.solve()
    found = session.solve({"ratio_0": micro / MICRO})
    (first, is_minimum), *rest = quotients
    other = [(replace(first, limit=limit), is_minimum), *rest]
    best, posed = optimum(problem, other), with_ratios(problem, other)
    assert (found.status == Status.INFEASIBLE) == (best is None)
    if best is not None:
        assert found.value == best / VALUE_UNIT == solve(posed, EXACT).value
    then, _ = asked.changed(problem, {"ratio_0": micro / MICRO}, [])
    assert (then.use_fixed == posed.use_fixed).all()
    assert asked.amount(then, "ratio_0") == micro / MICRO


@settings(max_examples=40)
@given(soft_problems(), st.integers(0, 3))
def test_a_changed_soft_limit_keeps_its_penalty(case, amount):
    problem, each = case
    if not problem.rows:
        return
    row = problem.rows[0]
    limit = problem.limit.copy()
    limit[0] = (-amount if row.is_minimum else amount) * MICRO
    posed = replace(problem, limit=limit)
    session = Session(problem, EXACT)
    session.solve()
    found, best = session.solve({row.name: amount}), best_by_listing(posed, each)
    assert (found.status == Status.INFEASIBLE) == (best is None)
    if best is not None:
        assert found.value == pytest.approx(float(best / VALUE_UNIT), rel=1e-12, abs=1e-12)


def test_questions_that_no_limit_can_answer_are_told_why():
    problem = with_equation(problems.realistic(20, seed=1), 3)
    session = Session(problem, measured=["watched"])
    for limits, drop, said in (
        ({"watched": 1}, [], "limits.watched: is only measured (enforce: false)"),
        ({"calls:low": 1}, [], "limits.calls:low: is one side of an equation; ask for calls"),
        ({}, ["calls:high"], "limits.calls:high: is one side of an equation; ask for calls"),
        ({"cals": 1}, [], "limits: unknown, got cals; the limits are calls"),
        ({"calls": np.nan}, [], "limits.calls: must be a number from 0 to 1e12, got nan"),
        ({"calls": -1}, [], "limits.calls: must be a number from 0 to 1e12, got -1"),
        ({"calls": 2e12}, [], "limits.calls: must be a number from 0 to 1e12, got 2"),
        ({"calls": 1}, ["calls"], "limits: both changed and dropped, got calls"),
    ):
        with pytest.raises(ConfigError) as error:
            session.solve(limits, drop=drop)
        assert said in str(error.value)


def test_a_soft_ratio_keeps_the_penalty_of_a_unit_of_what_is_divided():
    half, quarter = Fraction(1, 2), Fraction(1, 4)
    plain = problems.realistic(5, seed=3, offers=2, channels=1).with_rows([])
    of, to = (np.array([[c] * len(plain.offer), [0] * len(plain.offer)]) for c in (MICRO, 3))
    every = np.ones(plain.groups, bool)
    wide = Quotient(of, to, every, every, half)
    problem = with_ratios(plain, [(wide, False)])
    row = replace(problem.rows[0], scale=wide.scale(half))
    problem = replace(problem, rows=[row], penalty=penalties([6 * MICRO // row.scale]))
    then, _ = asked.changed(problem, {"ratio_0": 0.25}, [])
    assert (row.scale, then.rows[0].scale) == (2, wide.scale(quarter)) == (2, 4)
    assert problem.penalty[0] * row.scale == then.penalty[0] * then.rows[0].scale == 6.0
