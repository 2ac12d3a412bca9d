"""Limits in conflict: a minimal set, and how far each must move, against every outcome listed."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import infeasible
from engine.infeasible import explain
from engine.pair_problem import PairProblem
from engine.problem import Problem, Row
from engine.stop import Deadline
from tests import problems
from tests.problems import MICRO
from tests.test_pair_ratios import one_each
from tests.test_ratios import cost_per_acceptance


def explained(problem, *, small=True, seconds=60.0):
    return explain(problem, small=small, deadline=Deadline(seconds))


@settings(max_examples=100)
@given(problems.small_problems())
def test_conflicts_are_minimal_and_their_relaxations_are_the_smallest(problem):
    found = problems.outcomes(problem)
    names = [row.name for row in problem.rows]
    conflict = explained(problem)
    sets = [[] for _ in range(max((c.set_number for c in conflict), default=0))]
    for told in conflict:
        sets[told.set_number - 1].append(names.index(told.constraint))
    every = sum(sets, [])
    assert all(c.is_minimal for c in conflict)
    assert len(set(every)) == len(every) and all(sets)
    assert problems.optimum(problem, found, without=every) is not None  # none is overlooked
    for k, told in zip(every, conflict, strict=True):
        core = next(core for core in sets if k in core)
        outside = [i for i in range(len(names)) if i not in core]
        assert problems.optimum(problem, found, without=outside) is None
        assert problems.optimum(problem, found, without=[*outside, k]) is not None
        assert told.limit == abs(int(problem.limit[k])) / MICRO
        elsewhere = [i for i in every if i not in core]
        moved = smallest_move(problem, found, k, without=elsewhere)
        if moved is None:
            assert told.smallest_relaxation is None and "not enough" in told.text
        elif problem.rows[k].measure == "contacts":
            assert told.smallest_relaxation == -(-moved // MICRO)
        else:
            assert told.smallest_relaxation == pytest.approx(moved / MICRO, rel=1e-12)


def smallest_move(problem, found, k, without):
    """Return by how many micro-units limit k alone must move, or None."""
    limits = problems.limits_of(problem)
    others = [i for i in range(len(limits)) if i != k and i not in without]
    moves = [use[k] - limits[k] for use in found if all(use[i] <= limits[i] for i in others)]
    return min(moves) / problems.GRID if moves else None


@settings(max_examples=40)
@given(problems.small_problems(palettes=("ties", "ties", "one")), st.data())
def test_relaxing_by_a_contact_less_is_not_enough(problem, data):
    conflicts = explained(problem)
    told = [c for c in conflicts if c.smallest_relaxation is not None]
    for conflict in told if {c.set_number for c in conflicts} == {1} else []:
        k = [row.name for row in problem.rows].index(conflict.constraint)
        unit = MICRO if problem.rows[k].measure == "contacts" else 1
        enough = problem.limit.copy()
        enough[k] += round(conflict.smallest_relaxation * MICRO + (0 if unit == MICRO else 0.5))
        assert problems.optimum(replace(problem, limit=enough)) is not None
        enough[k] -= unit + (unit == 1)
        assert problems.optimum(replace(problem, limit=enough)) is None


def in_conflict(seed, *, minimum, capacity):
    """Return a problem whose first offer's minimum does not fit the first channels' capacities."""
    problem = problems.realistic(300, seed=seed, minimums=False)
    of_offer = (problem.offer == 0).astype(np.int64) * MICRO
    channels = sorted(set(problem.channel[problem.offer == 0].tolist()))
    fixed = [-of_offer, *((problem.channel == c).astype(np.int64) * MICRO for c in channels)]
    limit = [-minimum * MICRO, *[capacity * MICRO] * len(channels)]
    rows = [Row("enough", "contacts", is_minimum=True)]
    rows += [Row(f"narrow_{c}", "contacts", is_minimum=False) for c in channels]
    free = [k for k, r in enumerate(problem.rows) if r.name not in {"quota_0", "budget"}]
    problem = problem.with_rows(free)
    return replace(
        problem,
        rows=[*problem.rows, *rows],
        use_fixed=np.concatenate([problem.use_fixed, fixed]),
        use_accept=np.concatenate([problem.use_accept, np.zeros_like(fixed)]),
        in_scope=np.concatenate([problem.in_scope, np.ones((len(rows), problem.groups), bool)]),
        limit=np.concatenate([problem.limit, limit]),
    )


@pytest.mark.parametrize("seed", range(2))
def test_the_dual_tells_the_same_as_the_exact_model(seed):
    problem = in_conflict(seed, minimum=30, capacity=12)
    by_dual = explained(problem, small=False)
    assert [c.constraint for c in by_dual] == ["enough", "narrow_1", "narrow_2"]
    assert [c.smallest_relaxation for c in by_dual] == [6.0] * 3
    assert by_dual == explained(problem)


def test_the_dual_finds_no_conflict_where_there_is_none():
    assert explained(in_conflict(0, minimum=24, capacity=12), small=False) == []


def with_limit(problem, row, fixed, limit):
    """Return the problem with one more limit, on contacts with subscribers of any group."""
    return replace(
        problem,
        rows=[*problem.rows, row],
        use_fixed=np.concatenate([problem.use_fixed, [fixed]]),
        use_accept=np.concatenate([problem.use_accept, [np.zeros_like(fixed)]]),
        in_scope=np.concatenate([problem.in_scope, np.ones((1, problem.groups), bool)]),
        limit=np.concatenate([problem.limit, [limit]]),
    )


def test_conflicts_beside_each_other_are_all_told():
    problem = in_conflict(0, minimum=30, capacity=12)
    wish = Row("wish", "contacts", is_minimum=True)  # more contacts than there are subscribers
    problem = with_limit(problem, wish, (problem.offer == 1) * -MICRO, -400 * MICRO)
    told = explained(problem, small=False)
    sets = [{c.constraint for c in told if c.set_number == n} for n in (1, 2)]
    assert {"wish"} in sets and {"enough", "narrow_1", "narrow_2"} in sets
    alone = {c.constraint: c.smallest_relaxation for c in told}
    assert [alone[name] for name in ("enough", "narrow_1", "narrow_2")] == [6.0] * 3
    assert 100 <= alone["wish"] < 400
    exactly = explained(problem, small=True)
    assert {c.constraint: c.smallest_relaxation for c in exactly} == alone


@pytest.mark.parametrize("small", [False, True])
def test_where_two_limits_ask_too_much_of_a_third_one_alone_is_not_enough(small):
    problem = in_conflict(0, minimum=30, capacity=12)
    wish = Row("wish", "contacts", is_minimum=True)
    narrow = [k for k, row in enumerate(problem.rows) if row.name == "narrow_1"]
    fixed = -problem.use_fixed[narrow[0]]  # of the channel that narrow_1 limits to 12
    told = explained(with_limit(problem, wish, fixed, -20 * MICRO), small=small)
    assert {c.set_number for c in told} == {1}
    alone = {c.constraint: c.smallest_relaxation for c in told}
    assert alone["narrow_1"] == 8.0 and alone[(set(alone) - {"narrow_1"}).pop()] is None


def test_a_large_limit_elsewhere_hides_no_conflict():
    problem = in_conflict(0, minimum=30, capacity=12)
    much = Row("much", "contacts", is_minimum=False)
    problem = with_limit(problem, much, np.full(len(problem.offer), MICRO), 10**12 * MICRO)
    told = explained(problem, small=False)
    assert {c.constraint for c in told} == {"enough", "narrow_1", "narrow_2"}


def test_without_time_the_conflict_is_told_and_its_relaxation_is_not():
    problem = in_conflict(0, minimum=400, capacity=12)
    conflict = explain(problem, small=True, deadline=Deadline(-1.0))
    assert conflict and {c.smallest_relaxation for c in conflict} == {None}
    assert {c.is_minimal for c in conflict} == {False}
    assert "not found in the time limit" in conflict[0].text


@pytest.mark.parametrize("form", [Problem, PairProblem])
def test_each_ratio_tried_takes_one_problem_and_each_search_one_oracle(form, monkeypatch):
    """What else is built: the problem without values, and the limits without each, twice."""
    problem = (
        cost_per_acceptance(3, 1, minimum=20)
        if form is Problem
        else one_each([1, 2, 4], [2, 2, 3], 0.5, fewest=1)
    )
    calls = dict.fromkeys(("at_ratio", "oracle_of", "minimise_dual", "__post_init__"), 0)

    def counted(where, name):
        function = getattr(where, name)

        def call(*args, **named):
            calls[name] += 1
            return function(*args, **named)

        monkeypatch.setattr(where, name, call)

    for name in ("at_ratio", "oracle_of", "minimise_dual"):
        counted(infeasible, name)
    counted(form, "__post_init__")
    assert explained(problem, small=False)[0].smallest_relaxation > 0
    assert calls["at_ratio"] > 2 and calls["oracle_of"] == calls["minimise_dual"]
    rows = len(problem.rows)
    assert calls["__post_init__"] - calls["at_ratio"] <= 1 + (2 * rows if rows > 1 else 0)
