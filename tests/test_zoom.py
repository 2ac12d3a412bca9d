"""The zoom: whoever is settled or left out, the bound is that of all and near the least."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import oracle as oracle_module
from engine import repricing, swaps
from engine import zoom as module
from engine.block import KEY_RANGE
from engine.offer_oracle import OfferOracle
from engine.repricing import repriced
from engine.sample import Guess, sampled
from engine.stop import Deadline
from engine.zoom import WARM, zoom
from tests import problems
from tests.problems import MICRO


def oracle_of(problem):
    return OfferOracle(problem, problem.blocks)


def zoomed(problem, *, sample=200, tolerance=1e-7, seconds=1e9, start=None):
    steps = []
    found = zoom(
        oracle_of(problem), sample=sample, tolerance=tolerance, tell=steps.append,
        deadline=Deadline(seconds), start=start,
    )  # fmt: skip
    return found, steps


def guess(problem, prices):
    """Return prices that may be off by little."""
    oracle = oracle_of(problem)
    reach = WARM * oracle.typical
    return Guess(prices, oracle.nowhere + reach, reach, 0.1 * oracle.typical, 0.0)


@pytest.fixture
def newton_always(monkeypatch):
    """Let Newton's method take bases of any size, and few subscribers be near."""
    monkeypatch.setattr(module, "SMALL", 500)
    monkeypatch.setattr(module, "CORE", 400)


@settings(max_examples=25)
@given(problems.small_problems(palettes=("ties", "ties", "ties")))
def test_small_problems_reach_the_linear_optimum(problem):
    best = problems.best_by_ortools(problem, "GLOP")
    found, _ = zoomed(problem, tolerance=1e-9)
    if best is None:
        assert found.bound < 0.0  # what is allowed is worth nothing or more
    else:
        # GLOP's own tolerance, here and there
        assert found.bound == pytest.approx(best, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("width", "seed"), [(1, 0), (2, 1), (3, 2)])
def test_settling_leaves_the_bound_where_it_was(newton_always, monkeypatch, width, seed):
    problem = problems.realistic(6_000, width=width, seed=seed)
    found, steps = zoomed(problem, sample=1_000)
    assert 0 < steps[-1].active < 0.95 * problem.subscribers
    assert steps[-1].bound == found.bound and steps[-1].gap <= 1e-7
    monkeypatch.setattr(module, "SMALL", 10_000)
    plain, _ = zoomed(problem)
    assert found.bound == pytest.approx(plain.bound, rel=4e-7)  # both to 1e-7 by their models


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("reach", [0.0, 0.02, 0.2])
def test_the_settled_keep_their_bundles_while_surpluses_move_within_reach(reach, blocks):
    problem = problems.realistic(2_000, seed=4, blocks=blocks)
    full = oracle_of(problem)
    prices = np.full(len(problem.rows), 0.05)
    survey = full.survey(prices, full.nowhere + reach)
    inner = full.narrowed(survey)
    assert inner.subscribers == survey.near_count < problem.subscribers
    rng = np.random.default_rng(0)
    for _ in range(10):
        step = rng.normal(size=len(prices))
        fixed, accept = (
            np.abs(after - before)
            for after, before in zip(
                full.price_tables(prices + step), full.price_tables(prices), strict=True
            )
        )
        # No bundle of one action moves by more than half the reach, and no two against each other
        # by more than all of it; bundles of more have more reach.
        share = 0.499 * reach / (fixed + accept).max()
        moved = prices + share * step
        everyone = full.survey(moved).evaluation
        rest = inner.survey(moved).evaluation
        np.testing.assert_allclose(rest.use, everyone.use, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(rest.value, everyone.value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("blocks", [1, 3])
def test_a_shorter_reach_finds_whom_it_would_find_in_all(blocks):
    full = oracle_of(problems.realistic(2_000, seed=4, blocks=blocks))
    prices = np.full(len(full.limit), 0.05)
    rng = np.random.default_rng(0)
    longer = full.nowhere + rng.uniform(0.0, 0.2, full.nowhere.shape)
    shorter = longer * rng.uniform(0.0, 1.0, longer.shape)
    step = full.reached(full.survey(prices, longer), shorter)
    at_once = full.survey(prices, shorter)
    assert 0 < at_once.near_count < full.survey(prices, longer).near_count
    for found, expected in zip(step.near, at_once.near, strict=True):
        np.testing.assert_array_equal(found, expected)


def holders(problem, survey, k):
    """Return, by block and row, whether a subscriber's bundle uses any of a constraint."""
    coefficients = (problem.use_fixed != 0) | (problem.use_accept != 0)
    terms = np.flatnonzero(problem.terms == k)
    found = []
    for block, chosen in zip(problem.blocks, survey.chosen, strict=True):
        mine = np.zeros(len(block), bool)
        for actions in chosen:
            for t in terms:
                mine |= problem.in_scope[t][block.group] & coefficients[t][actions] & (actions >= 0)
        found.append(mine)
    return np.concatenate(found)


@pytest.mark.parametrize(("width", "blocks"), [(1, 1), (2, 3)])
def test_tight_limits_have_enough_near_or_all_of_theirs(width, blocks):
    problem = problems.realistic(6_000, seed=width, width=width, blocks=blocks)
    full = oracle_of(problem)
    survey = full.survey(np.full(len(full.limit), 0.02), full.nowhere + 1e-4)
    deeper = full.deepened(survey)
    left = full.exact(survey.total)[1]
    near = np.zeros(problem.subscribers, bool)
    offset = 0
    for block, before, rows in zip(problem.blocks, survey.near, deeper.near, strict=True):
        assert set(before) <= set(rows)
        near[offset + rows] = True
        offset += len(block)
    short = 0
    for k in np.flatnonzero((survey.evaluation.prices > 0) | (np.array(left) < 0)):
        mine = holders(problem, survey, k)
        short += mine.any() and (mine & near).sum() < oracle_module.FEWEST_NEAR
    assert survey.near_count < deeper.near_count <= oracle_module.MOST_NEAR
    assert short <= 0.2 * len(full.limit)  # a reach is lengthened a few times, by guess


def test_a_core_is_repriced_to_its_linear_programs_minimum(monkeypatch):
    problem = problems.realistic(6_000, seed=1, width=2)
    full = oracle_of(problem)
    found, _ = zoomed(problem, sample=1_000)
    core = full.core(found.start, 0)
    rng = np.random.default_rng(0)
    best = core.first[:-1]
    slack = np.array(full.exact(found.start.total)[1], float) / np.array(full.use_unit)
    soft = full.penalty
    with monkeypatch.context() as patch:
        patch.setattr(repricing, "EFFORT", 1e-9)
        assert repriced(core, slack, full.scale, soft, deadline=Deadline(60.0)) is None
    again = repriced(core, slack, full.scale, soft, deadline=Deadline(60.0))
    assert again is not None
    np.testing.assert_array_equal(again.core.bundles[again.place], core.bundles)
    np.testing.assert_array_equal(again.core.value[again.place], core.value)
    np.testing.assert_array_equal(again.core.use[again.place], core.use)
    assert (again.core.regret[best] == 0.0).all() and (again.core.regret >= 0.0).all()
    room = slack + core.use[best].sum(axis=0)

    def dual(prices):
        surplus = core.value - (core.use * prices).sum(axis=1)
        return float((prices * room).sum() + np.maximum.reduceat(surplus, best).sum())

    least = dual(again.core.prices)
    assert least <= dual(core.prices) + 1e-9
    for _ in range(50):
        near_by = np.maximum(again.core.prices + rng.normal(size=len(slack)) * 1e-3, 0.0)
        assert least <= dual(near_by) + 1e-9


def test_infinite_reach_settles_nobody():
    problem = problems.realistic(500)
    full = oracle_of(problem)
    survey = full.survey(np.zeros(len(problem.rows)), full.everybody)
    rest = full.narrowed(survey)
    may = sum(int((~np.isnan(b.propensity)).any(axis=0).sum()) for b in problem.blocks)
    assert rest.subscribers == may
    assert rest.survey(survey.evaluation.prices).total.tolist() == survey.total.tolist()


def test_a_start_that_misses_the_minimum_moves(newton_always):
    problem = problems.realistic(6_000, seed=5)
    right, _ = zoomed(problem)
    found, _ = zoomed(problem, start=guess(problem, np.zeros(len(problem.rows))))
    assert found.bound == pytest.approx(right.bound, rel=4e-7)


def test_a_start_at_the_answer_costs_few_reads(newton_always):
    problem = problems.realistic(6_000, seed=6)
    first, _ = zoomed(problem)
    again, steps = zoomed(problem, start=guess(problem, first.prices))
    assert again.passes < 4 and steps[-1].active < 0.5 * problem.subscribers
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


@pytest.mark.parametrize("subscribers", [1_000, 9_000])
def test_without_limits_everybody_gets_the_best(subscribers):
    problem = problems.realistic(subscribers).with_rows([])
    found, _ = zoomed(problem, sample=100)
    assert len(found.prices) == 0 and found.still <= 1e-12 and found.passes <= 4


def test_the_deadline_ends_the_search_with_a_bound():
    problem = problems.realistic(2_000, seed=8)
    best, _ = zoomed(problem)
    late, steps = zoomed(problem, seconds=-1.0)
    assert late.bound >= best.bound * (1 - 1e-6) and len(steps) <= 3


@given(st.integers(0, 40), st.integers(1, 3))
def test_samples_go_by_key(subscribers, blocks):
    problem = problems.realistic(subscribers, blocks=blocks)
    part = oracle_of(problem).sampled(0.5)
    keys = {int(k) for block in part.blocks for k in block.key}
    whole = {int(k) for block in problem.blocks for k in block.key}
    assert keys == {k for k in whole if k < KEY_RANGE // 2}


def test_a_sample_tells_how_far_its_surpluses_may_be_off():
    """Nine of ten subscribers who change their bundle from the sample's prices to the best ones
    are near by the sample's own estimate."""  # fmt: skip
    problem = problems.realistic(20_000, seed=9, blocks=2)
    full = oracle_of(problem)
    there = sampled(full, 2_000, deadline=Deadline(1e9))
    exact, _ = zoomed(problem, sample=20_000)
    assert exact.bound * (1 - 1e-6) <= full.evaluate(there.prices).dual(problem.limit / MICRO)
    survey = full.survey(there.prices, there.reach)
    now = full.survey(exact.prices)
    changed = near = 0
    for before, after, rows in zip(survey.chosen, now.chosen, survey.near, strict=True):
        moved = (np.sort(before, axis=0) != np.sort(after, axis=0)).any(axis=0)
        changed += moved.sum()
        near += moved[rows].sum()
    assert changed > 20 and near >= 0.9 * changed
    assert survey.near_count < 0.6 * problem.subscribers


def test_moves_in_pairs_end_with_the_deadline(monkeypatch):
    """Also while a limit is passed: the first cycle is made, no other."""
    problem = problems.realistic(6_000, seed=1, width=2)
    found, _ = zoomed(problem, sample=1_000)
    core = found.oracle.core(found.start, 0)
    cycles = []
    monkeypatch.setattr(swaps, "_pass", lambda *arguments: cycles.append(0) or 0)
    slack = np.full(len(problem.rows), -1e9)
    swaps.swap(core, slack, 0.0 * slack, found.oracle.penalty, allowed=0.0, deadline=Deadline(-1.0))
    assert len(cycles) == len(swaps.LEVELS) + 1
