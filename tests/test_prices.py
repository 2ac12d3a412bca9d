"""The dual: never below an allocation's value, minimised to the linear program's optimum."""

from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.oracle import Oracle, price_range, scale_of, typical_value
from engine.prices import Evaluation, Trust, minimise_dual
from engine.problem import VALUE_UNIT
from tests import problems
from tests.problems import MICRO

TIES = ("ties", "ties", "ties")
TOLERANCE = 1e-9
# GLOP ends within 1e-8 or so of its unit, a typical value, in a model of a few of them.
CLOSE = 1e-6


def minimised(problem, *, start=None, most=300, trust=None, unit=1.0):
    oracle = Oracle(problem, problem.blocks)
    started = np.zeros(len(problem.rows)) if start is None else start
    return minimise_dual(
        oracle.evaluate, problem.limit / MICRO, started, scale=scale_of(problem),
        unit=unit * typical_value(problem), range_=price_range(problem),
        radius=typical_value(problem), tolerance=TOLERANCE,
        is_done=lambda n, best, model: n >= most, **({"trust": trust} if trust else {}),
    )  # fmt: skip


def close(first, second):
    return abs(first - second) <= CLOSE * max(1.0, abs(first))


@settings(max_examples=60)
@given(problems.small_problems(), st.data())
def test_every_price_gives_a_bound(problem, data):
    best = problems.optimum(problem)
    share = st.sampled_from([0.0, 1e-6, 0.1, 0.5, 1.0, 3.0])
    prices = typical_value(problem) / scale_of(problem) * [data.draw(share) for _ in problem.rows]
    bound = Oracle(problem, problem.blocks).evaluate(prices).dual(problem.limit / MICRO)
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
        assert dual.bound < -1_000 * typical_value(problem)
    else:
        assert close(dual.bound, best)
        assert dual.gap <= TOLERANCE or len(dual.evaluations) == 300
        assert (dual.prices >= 0).all() and (dual.prices <= price_range(problem)[1]).all()


@settings(max_examples=40)
@given(problems.small_problems(palettes=TIES))
def test_the_mix_of_choices_keeps_the_limits(problem):
    dual = minimised(problem)
    if (
        not len(problem.rows)
        or not dual.is_inside
        or problems.best_by_ortools(problem, "GLOP") is None
    ):
        return
    use, value = np.zeros(len(problem.rows)), 0.0
    shares = np.zeros(problem.groups)
    for (j, g), share in dual.mix.items():
        use += share * dual.evaluations[j].use[:, g]
        value += share * dual.evaluations[j].value[g]
        shares[g] += share
    assert (shares <= 1 + CLOSE).all()
    assert (use <= problem.limit / MICRO + CLOSE * scale_of(problem)).all()
    assert close(value, dual.bound)


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


def test_known_evaluations_save_their_repetition():
    problem = problems.realistic(300)
    first = minimised(problem)
    oracle = Oracle(problem, problem.blocks)
    again = minimise_dual(
        oracle.evaluate, problem.limit / MICRO, first.prices, scale=scale_of(problem),
        unit=typical_value(problem), range_=price_range(problem), radius=typical_value(problem),
        tolerance=TOLERANCE, known=first.evaluations, is_done=lambda n, best, model: n >= 300,
    )  # fmt: skip
    assert oracle.passes < len(first.evaluations) / 4
    assert close(first.bound, again.bound)


def test_prices_stay_where_they_are_trusted():
    problem = problems.realistic(300)
    free = minimised(problem)
    rows = np.eye(len(problem.rows))
    trust = Trust(rows, free.prices * 1.5, np.full(len(rows), free.prices.max() / 10))
    bounded = minimised(problem, start=free.prices * 1.5, trust=trust)
    assert (np.abs(bounded.prices - trust.centre) <= trust.spread * (1 + 1e-6)).all()
    assert not bounded.is_inside and bounded.bound > free.bound


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
    # Half of the first class: 0.5 of 20 fills the limit of 10.
    taken = sum(
        share for (j, g), share in dual.mix.items() if g == 0 and dual.evaluations[j].use[0, 0]
    )
    assert taken == pytest.approx(0.5)


def test_the_search_ends_when_told():
    dual = minimised(problems.realistic(300), most=3)
    assert len(dual.evaluations) == 3 and dual.gap > TOLERANCE
