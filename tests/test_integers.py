"""Whole-number models against every choice listed, with coefficients of any size."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import integer_rows, integers

# Small ones tie; a micro-unit beside a billion money; odd ones that no divisor shrinks.
NUMBERS = [0, 1, -1, 2, 3, -5, 2**24, 10**15 * 2**24, 10**15 * 2**24 + 1, 3**50, -(3**50), 7**30]


@st.composite
def models(draw):
    count = draw(st.integers(0, 7))
    numbers = st.lists(st.sampled_from(NUMBERS), min_size=count, max_size=count)
    everything = list(range(count))
    uses = []
    for _ in range(draw(st.integers(0, 3))):
        used = draw(st.lists(st.sampled_from(everything), unique=True)) if count else []
        coefficients = [draw(st.sampled_from(NUMBERS)) for _ in used]
        # The use of some choice is a limit that is met to the last unit.
        some = sum(c for c in coefficients if draw(st.booleans()))
        uses.append((used, coefficients, some + draw(st.sampled_from([-1, 0, 0, 1, 10**30]))))
    choices = [(everything[i::3], draw(st.integers(0, 2))) for i in range(min(3, count))]
    return draw(numbers), choices, uses


def kept(taken, choices, uses):
    return all(sum(taken[i] for i in c) <= most for c, most in choices) and all(
        sum(c for i, c in zip(indices, coefficients, strict=True) if taken[i]) <= limit
        for indices, coefficients, limit in uses
    )


def best(values, choices, uses):
    worth = [
        sum(v for v, t in zip(values, taken, strict=True) if t)
        for taken in product((False, True), repeat=len(values))
        if kept(taken, choices, uses)
    ]
    return max(worth, default=None)


@settings(max_examples=150)
@given(models())
def test_solve_is_exact_for_numbers_of_any_size(model):
    values, choices, uses = model
    most = best(*model)
    answer = integers.solve(values, choices, uses, slack=0, effort=10.0, seconds=10.0)
    assert answer.status == ("INFEASIBLE" if most is None else "OPTIMAL")
    if most is None:
        return
    assert kept(answer.taken, choices, uses)
    worth = sum(v for v, t in zip(values, answer.taken, strict=True) if t)
    _, divisor = integers.shrink(values)
    assert answer.bound >= most  # values are rounded up by less than the divisor each
    assert (
        most - worth < divisor * max(1, len(values))
        and answer.bound - most < divisor * len(values) + 1
    )


@settings(max_examples=60)
@given(models())
def test_near_best_keeps_every_limit(model):
    values, choices, uses = model
    uses = [u for u in uses if any(u[1])]
    taken = integers.near_best(values, choices, uses, slack=0, nodes=1_000, seconds=10.0)
    if taken is None:
        # What it may miss is near a limit, within SCIP's tolerance of it.
        tighter = [(i, c, b - 1 - 2 * sum(map(abs, c)) // 10**5) for i, c, b in uses]
        assert best(values, choices, tighter) is None
    else:
        assert kept(taken, choices, uses)


def test_near_best_is_best_for_usual_numbers():
    rng = np.random.default_rng(5)
    for _ in range(10):
        values = rng.integers(-5, 20, 9).tolist()
        choices = [(list(range(i, i + 3)), 1) for i in (0, 3, 6)]
        uses = [(list(range(9)), (rng.integers(0, 9, 9) * 10**12 + 1).tolist(), 12 * 10**12)]
        taken = integers.near_best(values, choices, uses, slack=0, nodes=1_000, seconds=10.0)
        assert kept(taken, choices, uses)
        assert sum(v for v, t in zip(values, taken, strict=True) if t) == best(
            values, choices, uses
        )


@given(st.lists(st.sampled_from(NUMBERS)))
def test_shrunk_values_are_never_below_the_true_ones(values):
    small, divisor = integers.shrink(values)
    assert sum(map(abs, small)) <= integer_rows.MOST_SUM + len(values)
    for value, shrunk in zip(values, small, strict=True):
        assert 0 <= shrunk * divisor - value < divisor


def test_a_few_units_of_slack_end_the_search():
    answer = integers.solve([3, 5], [], [([0, 1], [1, 1], 1)], slack=10, effort=1.0, seconds=1.0)
    assert answer.status in ("OPTIMAL", "FEASIBLE") and 5 <= answer.bound <= 15
    assert answer.bound - sum(v for v, t in zip([3, 5], answer.taken, strict=True) if t) <= 10


def test_an_empty_model_is_solved():
    answer = integers.solve([], [], [([], [], 0)], slack=0, effort=1.0, seconds=1.0)
    assert (answer.status, answer.bound, len(answer.taken)) == ("OPTIMAL", 0, 0)
    assert len(integers.near_best([], [], [], slack=0, nodes=1, seconds=1.0)) == 0


@pytest.mark.parametrize("limit", [-1, -(10**40)])
def test_nothing_uses_less_than_nothing(limit):
    answer = integers.solve([1], [], [([0], [1], limit)], slack=0, effort=1.0, seconds=1.0)
    assert answer.status == "INFEASIBLE"
