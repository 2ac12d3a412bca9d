"""Amounts and ratios at the edge of the range of whole numbers, and beyond it: never wrapped."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine import asked
from engine.errors import ConfigError, DataError
from engine.limits import MOST_AMOUNT, MOST_USE
from engine.problem import VALUE_UNIT
from engine.quotient import Quotient
from engine.session import Session
from engine.settings.job import Solver
from engine.solve import Status
from tests import problems
from tests.problems import MICRO
from tests.test_ratios import optimum, with_ratios
from tests.test_solve import line

EXACT = Solver(gap_tolerance=1e-12)


def scaled(is_minimum, scale):
    """Return three subscribers, and a limit of 2 contacts whose form is so many times as large."""
    one = line(3, rows=((2, is_minimum),), fixed=-MICRO if is_minimum else MICRO)
    return replace(
        one,
        rows=[replace(one.rows[0], name="most", scale=scale)],
        use_fixed=one.use_fixed * scale,
        limit=one.limit * scale,
    )


@pytest.mark.parametrize("scale", [1, 1024, 1 << 20])
@pytest.mark.parametrize("is_minimum", [False, True])
def test_amounts_up_to_the_exact_range_are_kept_and_none_beyond(is_minimum, scale):
    session = Session(scaled(is_minimum, scale), EXACT)
    first = session.solve()
    assert first.value == (-2.0 if is_minimum else 2.0)
    edge = MOST_AMOUNT // scale // MICRO  # whole units
    most = min(edge, 10**12)
    for amount in (0, 1, 3, 4, most - 1, most):
        found = session.solve({"most": amount})
        if is_minimum:  # each contact is a loss
            assert (found.status == Status.INFEASIBLE) == (amount > 3)
            assert amount > 3 or found.value == -amount
        else:
            assert found.value == min(3, amount)
        assert asked.amount(session._answered()[0], "most") == amount
    (point, last) = session.frontier("most", [1, most])
    assert (point.limit, last.limit) == (1, most)
    for amount in (most + 1, 10 * most, 10**12 + 1, 10**30):
        with pytest.raises(ConfigError) as error:
            session.solve({"most": amount})
        text = str(error.value)
        assert text.endswith(f", got {amount}") and text.startswith("limits.most: must be ")
        assert ("to be exact" in text) == (amount <= 10**12)
        if "to be exact" in text:
            told = float(text.split("at most ")[1].split(" ")[0])
            assert told == pytest.approx(edge, rel=1e-5)
    assert session.solve().value == first.value  # and the base is as it was


HUGE = [0, 1, MICRO, 1_000_003, 2**31 + 11, 2**44 - 1, 2**51, 2**51 - 1, 2**62, 2**62 + 1]


@settings(max_examples=80)
@given(
    of=st.lists(st.sampled_from(HUGE), min_size=2, max_size=2),
    to=st.lists(st.sampled_from(HUGE), min_size=2, max_size=2),
    micro=st.sampled_from([0, 1, 333_333, 500_000, MICRO, 2 * MICRO, 10**9 + 7, 10**18]),
    same_scope=st.booleans(),
    is_minimum=st.booleans(),
)
@example(of=[2**62, 0], to=[2**62, 0], micro=MICRO, same_scope=False, is_minimum=False)
@example(of=[1, 0], to=[2**62, 2**62], micro=MICRO, same_scope=True, is_minimum=False)
@example(of=[2**51, 0], to=[0, 0], micro=MICRO, same_scope=True, is_minimum=True)
@example(of=[1, 0], to=[MICRO, 0], micro=1, same_scope=True, is_minimum=False)
def test_ratios_are_exact_or_refused(of, to, micro, same_scope, is_minimum):
    plain = line(3, p=0.5)
    limit, every = Fraction(micro, MICRO), np.array([True])
    pair = (np.array([[x] for x in one], np.int64) for one in (of, to))
    none = Quotient(*pair, every, every if same_scope else ~every, Fraction(0))
    if max(of) > MOST_USE:
        with pytest.raises(DataError, match=r"use_(fixed|accept) of ratio_0: got"):
            with_ratios(plain, [(none, is_minimum)])
        return
    base = with_ratios(plain, [(none, is_minimum)])
    scale = none.scale(limit)
    terms = [[scale * x for x in of], [-scale * limit * x for x in to]]
    assert all(x == int(x) for term in terms for x in term)  # scale makes them whole
    if same_scope:
        terms = [[x + y for x, y in zip(*terms, strict=True)]]
    size = sum(abs(x) for term in terms for x in term)
    value = micro / MICRO
    if size > MOST_USE or value > 1e12:
        with pytest.raises(
            ConfigError, match=r"limits.ratio_0: .*out of the exact range|from 0 to"
        ):
            asked.changed(base, {"ratio_0": value}, [])
        return
    then, _ = asked.changed(base, {"ratio_0": value}, [])
    sign = -1 if is_minimum else 1
    assert then.use_fixed[:, 0].tolist() == [sign * term[0] for term in terms]
    assert then.use_accept[:, 0].tolist() == [sign * term[1] for term in terms]
    assert then.rows[0].scale == scale and asked.amount(then, "ratio_0") == value


@pytest.mark.parametrize("micro", [1, 333_333, 10**9 + 7])
@pytest.mark.parametrize("money", [997, 999_983])
def test_a_session_answers_ratios_at_the_edge_and_is_whole_after_those_beyond(micro, money):
    """A contact of a thousand in millionths leaves a ratio six decimals; one of a million none."""
    plain = line(4, p=0.5)
    every = np.ones(1, bool)
    of, to = np.array([[money * MICRO], [1]]), np.array([[2 * MICRO + 1], [3]])
    problem = with_ratios(plain, [(Quotient(of, to, every, every, Fraction(10**6)), False)])
    session = Session(problem, EXACT)
    first = session.solve()
    try:
        found = session.solve({"ratio_0": micro / MICRO})
    except ConfigError as error:
        assert "is out of the exact range of a ratio; give it fewer decimals" in str(error)
        assert money == 999_983
    else:
        assert money == 997
        quotient = Quotient(of, to, every, every, Fraction(micro, MICRO))
        best = optimum(problem, [(quotient, False)])
        assert found.value == best / VALUE_UNIT
    again = session.solve()
    assert (again.value, again.status) == (first.value, first.status)
    assert problems.value_of(session.problem, again.chosen) == first.value * VALUE_UNIT
