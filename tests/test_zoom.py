"""Settling changes nothing: a settled bundle is best wherever prices are trusted."""

from dataclasses import replace
from math import inf
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import zoom as module
from engine.oracle import Oracle
from engine.problem import KEY_RANGE
from engine.zoom import sample_blocks, sampled_prices, settle, zoom
from tests import problems
from tests.problems import MICRO


def zoomed(problem, *, sample=200, tolerance=1e-7, seconds=inf, start=None):
    steps = []
    deadline = perf_counter() + seconds
    found = zoom(
        problem, sample=sample, tolerance=tolerance, tell=steps.append, deadline=deadline,
        start=start,
    )  # fmt: skip
    return found, steps


@settings(max_examples=25)
@given(problems.small_problems(palettes=("ties", "ties", "ties")))
def test_small_problems_reach_the_linear_optimum(problem):
    best = problems.best_by_ortools(problem, "GLOP")
    found, _ = zoomed(problem, tolerance=1e-9)
    if best is None:
        assert found.bound < -1.0
    else:
        # GLOP's own tolerance, here and there
        assert found.bound == pytest.approx(best, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("width", "seed"), [(1, 0), (2, 1), (3, 2)])
def test_settling_leaves_the_bound_where_it_was(width, seed):
    problem = problems.realistic(4_000, width=width, seed=seed)
    found, steps = zoomed(problem)
    plain, _ = zoomed(problem, sample=problem.subscribers)
    assert 0 < steps[-1].active < 0.95 * problem.subscribers
    assert plain.oracle.subscribers == problem.subscribers
    assert found.bound == pytest.approx(plain.bound, rel=4e-7)  # both to 1e-7, and dust as much
    settled = sum(len(rows) for rows, _ in found.fixed)
    assert settled + found.oracle.subscribers == problem.subscribers
    assert steps[-1].bound == found.bound and steps[-1].gap <= 1e-7


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("room", [0.0, 0.02, 0.2])
def test_settled_bundles_stay_best_in_the_trusted_region(room, blocks):
    problem = problems.realistic(2_000, seed=4, blocks=blocks)
    full = Oracle(problem, problem.blocks)
    prices = np.full(len(problem.rows), 0.05)
    tables = full.price_tables(prices)
    spread = tuple(np.full_like(table, room) for table in tables)
    rest, fixed, open_rows = settle(full, prices, spread)
    for block, (rows, bundles), open_ in zip(problem.blocks, fixed, open_rows, strict=True):
        assert sorted([*rows.tolist(), *open_.tolist()]) == list(range(len(block)))
        assert (full.choose(block, prices)[0][:, rows] == bundles).all()
    trust = module._trust(full, prices, spread)
    rng = np.random.default_rng(0)
    for _ in range(10):
        step = rng.normal(size=len(prices))
        reach = np.abs(trust.rows @ step)
        moved = (
            prices
            + 0.999 * step * (trust.spread / np.where(reach > 0, reach, inf).clip(1e-12)).min()
        )
        assert trust.is_inside(moved) or room == 0.0
        assert rest.tally(moved).tolist() == full.tally(moved).tolist()
    assert rest.subscribers < problem.subscribers
    assert not trust.is_inside(prices + 2 * room + 1.0)


def test_infinite_room_settles_nobody():
    problem = problems.realistic(500)
    full = Oracle(problem, problem.blocks)
    prices = np.zeros(len(problem.rows))
    fixed_prices, accept_prices = full.price_tables(prices)
    rest, *_ = settle(full, prices, (np.full_like(fixed_prices, inf), accept_prices))
    assert rest.subscribers == 500
    assert rest.tally(prices).tolist() == full.tally(prices).tolist()


def test_a_region_that_misses_the_minimum_moves():
    problem = problems.realistic(3_000, seed=5)
    right, _ = zoomed(problem)
    wrong = np.zeros(len(problem.rows))
    found, _ = zoomed(problem, start=(wrong, wrong + 1e-6))
    assert found.bound == pytest.approx(right.bound, rel=4e-7)


def test_a_start_at_the_answer_costs_few_reads():
    problem = problems.realistic(4_000, seed=6)
    first, _ = zoomed(problem)
    again, steps = zoomed(problem, start=(first.dual.prices, first.dual.prices * 1.01))
    assert again.passes < 15 and steps[-1].active < 0.5 * problem.subscribers
    assert again.bound == pytest.approx(first.bound, rel=4e-7)


@settings(max_examples=6)
@given(st.integers(0, 30), st.sampled_from([0.5, 0.8, 0.95]))
def test_a_tighter_limit_never_raises_the_bound_when_subscribers_settle(pick, share):
    problem = problems.realistic(1_000, seed=7, minimums=False)
    k = pick % len(problem.rows)
    bound = zoomed(problem, sample=100)[0].bound
    limit = problem.limit.copy()
    limit[k] = int(limit[k] * share)
    room = 4e-7 * bound  # both bounds are this near to their least
    assert zoomed(replace(problem, limit=limit), sample=100)[0].bound <= bound + room
    rest = [i for i in range(len(limit)) if i != k]
    assert zoomed(problem.with_rows(rest), sample=100)[0].bound >= bound - room


def test_without_limits_everybody_gets_the_best():
    problem = problems.realistic(1_000).with_rows([])
    found, _ = zoomed(problem, sample=100)
    assert len(found.dual.prices) == 0 and found.dual.gap <= 1e-12
    assert found.oracle.subscribers == 0


def test_the_deadline_ends_the_search_with_a_bound():
    problem = problems.realistic(2_000, seed=8)
    best, _ = zoomed(problem)
    late, steps = zoomed(problem, seconds=-1.0)
    assert late.bound >= best.bound * (1 - 1e-6) and len(steps) <= 3


@given(st.integers(0, 40), st.integers(1, 3))
def test_samples_are_disjoint_and_go_by_key(subscribers, blocks):
    problem = problems.realistic(subscribers, blocks=blocks)
    keys = [
        {int(k) for block in sample_blocks(problem, low, low + 0.5) for k in block.key}
        for low in (0.0, 0.5)
    ]
    whole = {int(k) for block in problem.blocks for k in block.key}
    assert keys[0] | keys[1] == whole and not keys[0] & keys[1]
    assert all(k < KEY_RANGE // 2 for k in keys[0])


def test_samples_give_prices_near_the_answer():
    problem = problems.realistic(4_000, seed=9)
    first, second = sampled_prices(problem, 2_000, deadline=inf)
    exact = zoomed(problem)[0]
    oracle = Oracle(problem, problem.blocks)
    for prices in (first, second, (first + second) / 2):
        bound = oracle.evaluate(prices).dual(problem.limit / MICRO)
        assert exact.bound * (1 - 1e-6) <= bound <= exact.bound * 1.05
