"""The dual: never below an allocation's value, minimised to the linear program's optimum."""

from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.offer_oracle import OfferOracle
from engine.prices import Evaluation, minimise_dual
from engine.problem import VALUE_UNIT
from tests import problems
from tests.problems import MICRO

TIES = ("ties", "ties", "ties")
TOLERANCE = 1e-9
# GLOP ends within 1e-8 or so of its unit, a typical value, in a model of a few of them.
CLOSE = 1e-6


def oracle_of(problem):
    return OfferOracle(problem, problem.blocks)


def minimised(problem, *, start=None, most=300, unit=1.0):
    oracle = oracle_of(problem)
    started = np.zeros(len(problem.rows)) if start is None else start
    return minimise_dual(
        oracle.evaluate, oracle.limit, started, scale=oracle.scale, unit=unit * oracle.typical,
        range_=oracle.range, radius=oracle.typical, tolerance=TOLERANCE,
        is_done=lambda n, best, model: n >= most,
    )  # fmt: skip


def close(first, second):
    return abs(first - second) <= CLOSE * max(1.0, abs(first))


@settings(max_examples=60)
@given(problems.small_problems(), st.data())
def test_every_price_gives_a_bound(problem, data):
    best = problems.optimum(problem)
    share = st.sampled_from([0.0, 1e-6, 0.1, 0.5, 1.0, 3.0])
    oracle = oracle_of(problem)
    prices = oracle.typical / oracle.scale * [data.draw(share) for _ in problem.rows]
    bound = oracle.evaluate(prices).dual(oracle.limit)
    if best is not None:
        # float64 sums of a few terms, each as large as the limits' worth
        size = abs(bound) + float(np.abs(prices * problem.limit / MICRO).sum())
        assert bound >= best / VALUE_UNIT - 1e-12 * max(1.0, size)


@settings(max_examples=60)
@given(problems.small_problems(palettes=TIES))
def test_the_least_dual_is_the_linear_optimum(problem):
    best = problems.best_by_ortools(problem, "GLOP")
    dual = minimised(problem)
    if best is None:
        assert dual.bound < -1_000 * oracle_of(problem).typical
    else:
        assert close(dual.bound, best)
        assert dual.gap <= TOLERANCE or dual.evaluations == 300
        assert (dual.prices >= 0).all() and (dual.prices <= oracle_of(problem).range[1]).all()


@settings(max_examples=40)
@given(problems.small_problems(palettes=TIES), st.data())
def test_fewer_limits_never_lower_the_bound_and_tighter_ones_never_raise_it(problem, data):
    if not len(problem.rows):
        return
    k = data.draw(st.integers(0, len(problem.rows) - 1))
    bound = minimised(problem).bound
    if bound < -1_000:  # no allocation: the bound falls as far as prices reach
        return
    rest = [i for i in range(len(problem.rows)) if i != k]
    assert minimised(problem.with_rows(rest)).bound >= bound - CLOSE * max(1.0, abs(bound))
    tighter = problem.limit.copy()
    tighter[k] -= data.draw(st.sampled_from([1, MICRO // 2, MICRO]))
    assert minimised(replace(problem, limit=tighter)).bound <= bound + CLOSE * max(1.0, abs(bound))


@pytest.mark.parametrize("width", [1, 2])
def test_start_and_unit_change_nothing_but_the_way(width):
    problem = problems.realistic(300, width=width)
    first = minimised(problem)
    for start, unit in ((first.prices, 1.0), (5 * first.prices + 0.1, 1.0), (None, 100.0)):
        again = minimised(problem, start=start, unit=unit)
        assert close(first.bound, again.bound)
    assert first.gap <= TOLERANCE and first.is_inside


def test_one_price_falls_to_where_demand_meets_supply():
    """D(p) = 10 p + 4 max(0, 7 - 5 p) + 3 max(0, 2 - 5 p): flat nowhere, least at p = 7 / 5."""
    calls = count()

    def evaluate(prices):
        next(calls)
        takes = [7 - 5 * prices[0] > 0, 2 - 5 * prices[0] > 0]
        value = np.array([28.0 * takes[0], 6.0 * takes[1]])
        return Evaluation(prices, value, np.array([[20.0 * takes[0], 15.0 * takes[1]]]))

    dual = minimise_dual(
        evaluate, np.array([10.0]), np.zeros(1), scale=np.array([5.0]), unit=7.0,
        range_=(np.zeros(1), np.full(1, 100.0)), radius=0.01, tolerance=1e-9,
        is_done=lambda n, best, model: n >= 200,
    )  # fmt: skip
    assert dual.prices.tolist() == pytest.approx([1.4]) and dual.bound == pytest.approx(14.0)
    assert next(calls) < 60


def test_the_search_ends_when_told():
    dual = minimised(problems.realistic(300), most=3)
    assert dual.evaluations == 3 and dual.gap > TOLERANCE
