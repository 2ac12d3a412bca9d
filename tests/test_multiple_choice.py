"""One item of each group within capacities: against every choice listed."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import agents, choices, multiple_choice
from engine.errors import AllocationError, DataError
from engine.multiple_choice import MultipleChoice, check, solve
from engine.multiple_choice_bound import SCALE, bound_at, dominated
from engine.solve import Status

SECONDS = 600.0  # tests do not wait for a limit


def problem_of(value, group, use, capacity, groups, *, exactly=True):
    arrays = (np.array(a, np.int64) for a in (value, group, use, capacity))
    value, group, use, capacity = arrays
    use = use.reshape(len(capacity), len(value))
    return MultipleChoice(value, group, use, capacity, groups, exactly)


def best(problem):
    """Return the value of the best choice by listing all, or None."""
    members = [np.flatnonzero(problem.group == g).tolist() for g in range(problem.groups)]
    if not problem.exactly:
        members = [[*m, -1] for m in members]
    worth = []
    for choice in product(*members):
        taken = [e for e in choice if e >= 0]
        if (problem.use[:, taken].sum(axis=1) <= problem.capacity).all():
            worth.append(int(problem.value[taken].sum()))
    return max(worth, default=None)


@st.composite
def problems(draw, *, one_resource):
    groups = draw(st.integers(1, 5))
    resources = draw(st.integers(1, 3))
    few = st.sampled_from([0, 1, 1, 2, 3, 7])
    value, group, use = [], [], []
    for g in range(groups):
        for place in range(resources + 1 if one_resource else draw(st.integers(1, 4))):
            if one_resource and place and draw(st.booleans()):
                continue
            value.append(draw(st.sampled_from([-5, -1, 0, 1, 2, 2, 9])))
            group.append(g)
            column = [0] * resources
            if one_resource:
                if place < resources:
                    column[place] = draw(few)
            else:
                column = [draw(few) for _ in range(resources)]
                if draw(st.integers(0, 9)) == 0:
                    column[0] = -3
            use.append(column)
    capacity = draw(st.lists(st.integers(0, 9), min_size=resources, max_size=resources))
    order = draw(st.permutations(range(len(value))))
    return problem_of(
        [value[i] for i in order],
        [group[i] for i in order],
        np.array([use[i] for i in order]).T,
        capacity,
        groups,
        exactly=draw(st.booleans()),
    )


def is_proved(problem):
    found, most = solve(problem, seconds=SECONDS, workers=1), best(problem)
    if most is None:
        assert (found.status, found.value, found.bound) == (Status.INFEASIBLE, None, None)
        return
    assert (found.status, found.value, found.bound) == (Status.OPTIMAL, most, most)
    assert check(problem, found.chosen) == most


@settings(max_examples=60, deadline=None)
@given(problems(one_resource=False))
def test_any_problem_is_solved(problem):
    is_proved(problem)


@settings(max_examples=40, deadline=None)
@given(problems(one_resource=False))
def test_cp_sat_solves_what_the_searches_refuse(problem):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agents, "applies", lambda _: False)
        patch.setattr(choices, "applies", lambda _: False)
        is_proved(problem)


@settings(max_examples=100, deadline=None)
@given(problems(one_resource=True))
def test_a_problem_of_one_resource_an_item_is_solved(problem):
    is_proved(problem)


@settings(max_examples=60, deadline=None)
@given(problems(one_resource=False), st.lists(st.integers(0, 3 * SCALE), min_size=3, max_size=3))
def test_the_bound_holds_at_any_prices(problem, prices):
    problem = multiple_choice._with_nothing(problem)
    bound, most = bound_at(problem, prices[: len(problem.capacity)]), best(problem)
    if most is None:
        return
    assert most <= bound.value
    left = np.flatnonzero(bound.possible(most))
    small = problem_of(
        problem.value[left], problem.group[left], problem.use[:, left],
        problem.capacity, problem.groups,
    )  # fmt: skip
    assert best(small) == most


@settings(max_examples=60, deadline=None)
@given(problems(one_resource=False))
def test_a_dominated_item_is_not_needed(problem):
    left = np.flatnonzero(~dominated(problem.value, problem.group, problem.use))
    small = problem_of(
        problem.value[left], problem.group[left], problem.use[:, left],
        problem.capacity, problem.groups, exactly=problem.exactly,
    )  # fmt: skip
    assert best(small) == best(problem)


def assignment(seed, *, agents_, jobs):
    """Return a problem in the manner of type d, where cost falls with use."""
    draw = np.random.default_rng(seed)
    use = draw.integers(1, 101, (jobs, agents_))
    cost = 111 - use + draw.integers(-10, 11, (jobs, agents_))
    uses = np.zeros((agents_, jobs * agents_), np.int64)
    for i in range(agents_):
        uses[i, i::agents_] = use[:, i]
    capacity = 8 * use.sum(axis=0) // (10 * agents_)
    return problem_of(-cost.ravel(), np.repeat(np.arange(jobs), agents_), uses, capacity, jobs)


@pytest.mark.parametrize("seed", range(4))
def test_all_searches_agree(seed, monkeypatch):
    problem = assignment(seed, agents_=3, jobs=14)
    assert agents.applies(problem)
    found = solve(problem, seconds=SECONDS)
    monkeypatch.setattr(agents, "applies", lambda _: False)
    other = solve(problem, seconds=SECONDS)
    monkeypatch.setattr(choices, "applies", lambda _: False)
    third = solve(problem, seconds=SECONDS)
    assert found.status is other.status is third.status is Status.OPTIMAL
    assert found.value == other.value == third.value


def test_the_same_choice_every_time():
    problem = assignment(9, agents_=5, jobs=30)
    first, second = (solve(problem, seconds=SECONDS).chosen for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("capacity", [10**12, 30])
def test_no_time_still_gives_a_valid_bound(capacity):
    draw = np.random.default_rng(3)
    value, use = draw.integers(1, 99, 200), draw.integers(1, 9, (2, 200))
    problem = problem_of(value, np.repeat(np.arange(20), 10), use, [capacity, capacity], 20)
    found, true = solve(problem, seconds=1e-6), solve(problem, seconds=SECONDS)
    if found.bound is not None:
        assert found.bound >= (true.value or 0)
    assert found.remedy


def test_large_numbers_stay_exact():
    big = 1 << 45
    problem = problem_of([big, big + 1, 3], [0, 0, 1], [[1 << 60, 1 << 61, 5]], [(1 << 61) + 5], 2)
    assert solve(problem, seconds=SECONDS).value == big + 4


def test_what_does_not_fit_is_refused():
    with pytest.raises(DataError, match="shapes do not fit"):
        MultipleChoice(*(np.zeros(s, np.int64) for s in (2, 2, (1, 3), 1)), 1)
    with pytest.raises(DataError, match="group: must be from 0 to 0, got 1"):
        problem_of([1, 1], [0, 1], [[1, 1]], [1], 1)
    with pytest.raises(DataError, match="may add up to"):
        problem_of([1 << 60], [0], [[1]], [1], 1)
    with pytest.raises(DataError, match="value: must be whole numbers"):
        MultipleChoice(np.ones(1), *(np.zeros(s, np.int64) for s in (1, (1, 1), 1)), 1)


def test_a_wrong_answer_is_caught():
    problem = problem_of([1, 2], [0, 1], [[3, 3]], [5], 2)
    for chosen in ([0, 1], [1, 0], [0, -1], [0], [0, 7]):
        with pytest.raises(AllocationError):
            check(problem, np.array(chosen))


def test_a_group_without_items_is_infeasible():
    assert solve(problem_of([1], [0], [[1]], [5], 2), seconds=SECONDS).status is Status.INFEASIBLE
    either = problem_of([1], [0], [[1]], [5], 2, exactly=False)
    found = solve(either, seconds=SECONDS)
    assert (found.value, found.chosen.tolist()) == (1, [0, -1])
