"""The solver with households against every outcome listed, and against itself rearranged."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import AllocationError
from engine.offer_blocks import one_in
from engine.offer_oracle import OfferOracle
from engine.parts import Here
from engine.problem import VALUE_UNIT, whole_limits
from engine.settings.job import Solver
from engine.solve import Status, solve
from tests import household_bases as households
from tests import problems
from tests.test_solve import ROUNDED, TIGHT, is_bound

SETTLING = Solver.model_construct(sample=200, exact_pairs=0)  # most subscribers settle


@settings(max_examples=80)
@given(households.small_problems())
def test_small_problems_are_solved_to_the_optimum(problem):
    best = problems.optimum(problem, households.outcomes(problem))
    found = solve(problem, TIGHT)
    assert (found.status == Status.INFEASIBLE) == (best is None)
    if best is not None:
        assert households.value_of(problem, found.chosen) == best
        assert is_bound(found.bound, best) and is_bound(found.dual_bound, best)


@settings(max_examples=60)
@given(households.small_problems())
def test_prices_and_rounding_are_between_nothing_and_the_bound(problem):
    best = problems.optimum(problem, households.outcomes(problem))
    try:
        found = solve(problem, ROUNDED)
    except AllocationError:
        return
    assert (best is None) or (found.status != Status.INFEASIBLE)
    if found.status != Status.INFEASIBLE:
        value = households.value_of(problem, found.chosen)
        assert value <= best and is_bound(found.bound, best)


@settings(max_examples=60)
@given(households.small_problems(), st.integers(0, 99))
def test_the_dual_is_that_of_joint_choices(problem, seed):
    oracle = OfferOracle(problem, problem.blocks)
    prices = np.random.default_rng(seed).choice([0.0, 0.1, 1.0, 3.0], len(problem.rows))
    whole = replace(problem, limit=whole_limits(problem))
    exact = Fraction(households.dual(whole, [Fraction(p) for p in prices.tolist()])) / VALUE_UNIT
    survey = oracle.survey(prices)
    money = np.abs(problem.value_fixed) + np.abs(problem.value_accept)
    uses = prices @ (np.abs(problem.use_fixed) + np.abs(problem.use_accept))
    size = 1e3 * float((money + uses).max(initial=1.0)) / problems.MICRO
    size += float(prices @ np.abs(oracle.limit))
    assert exact <= Fraction(oracle.bound(survey))
    assert oracle.bound(survey) - float(exact) <= 1e-9 * size
    chosen = problems.bundles_by_key(problem, survey.chosen)
    for home in households.homes(problem):
        bundles = [chosen[s["key"]] for s in home[0]]
        assert households.keeps_together(problem, home[1], bundles)


@settings(max_examples=25)
@given(households.small_problems(), st.integers(0, 99), st.integers(1, 4),
       st.sampled_from([0, 20_000]))  # fmt: skip
def test_any_order_of_rows_and_any_parts_give_the_same_bits(problem, seed, blocks, exact_pairs):
    solver = Solver(exact_pairs=exact_pairs)
    moved = households.rearranged(problem, np.random.default_rng(seed), blocks)
    expected = answer(problem, solver)
    assert answer(moved, solver) == expected
    assert answer(moved.with_blocks(Here(moved.blocks)), solver) == expected


def answer(problem, solver):
    try:
        found = solve(problem, solver)
    except AllocationError as error:
        return str(error)
    bundles = [problems.bundles_by_key(problem.gathered(), x) for x in (found.chosen, found.best)]
    return found.status, found.value, found.bound, found.prices.tolist(), bundles


@pytest.mark.parametrize("width", [1, 2])
def test_a_base_is_solved_within_the_tolerance_and_to_the_same_bits(width):
    problem = households.realistic(6_000, seed=5, width=width)
    found = solve(problem, SETTLING)
    assert found.status == Status.OPTIMAL and found.gap <= 1e-4
    households.value_of(problem, found.chosen)
    moved = households.realistic(6_000, seed=5, width=width, blocks=5)
    again = solve(moved, SETTLING)
    assert (again.value, again.bound) == (found.value, found.bound)
    assert problems.bundles_by_key(moved, again.chosen) == problems.bundles_by_key(
        problem, found.chosen
    )


def test_samples_take_whole_households():
    problem = households.realistic(4_000, seed=2, blocks=3)
    sizes = members(problem.blocks)
    oracle = OfferOracle(problem, problem.blocks)
    for blocks in (oracle.sampled(0.2).blocks, [one_in(b, 4) for b in problem.blocks]):
        found = members(blocks)
        assert 0.1 < sum(found.values()) / sum(sizes.values()) < 0.4
        assert all(sizes[home] == count for home, count in found.items())


def members(blocks):
    own = np.concatenate([b.household[0] for b in blocks])
    known, counts = np.unique(own[own >= 0], return_counts=True)
    return dict(zip(known.tolist(), counts.tolist(), strict=True))


def test_near_households_are_near_as_a_whole():
    problem = households.realistic(3_000, seed=3, blocks=2)
    oracle = OfferOracle(problem, problem.blocks)
    prices = np.full(len(problem.rows), 0.02)
    survey = oracle.survey(prices, np.full_like(oracle.everybody, 0.05))
    inner = oracle.narrowed(survey)
    assert 0 < survey.near_count < problem.subscribers
    sizes, found = members(problem.blocks), members(inner.blocks)
    assert all(sizes[home] == count for home, count in found.items())
    assert (inner.survey(prices).total == survey.total).all()


@pytest.mark.parametrize("part", [0, 1])
def test_members_of_a_core_move_freely(part, monkeypatch):
    """Whatever bundles of a core are taken, households keep caps and exclusions."""
    monkeypatch.setattr("engine.offer_core.MOST_CORE", 700)
    problem = households.realistic(3_000, seed=4)
    oracle = OfferOracle(problem, problem.blocks)
    survey = oracle.survey(np.full(len(problem.rows), 0.02), oracle.everybody)
    core = oracle.core(survey, part)
    chosen = [bundles.copy() for bundles in survey.chosen]
    rng, changed = np.random.default_rng(0), 0
    for _ in range(5):
        taken = rng.integers(core.first[:-1], core.first[1:])
        for s, (b, row) in enumerate(core.place.tolist()):
            chosen[b][:, row] = core.bundles[taken[s]]
        changed += int((taken != core.first[:-1]).sum())
        found = problems.bundles_by_key(problem, chosen)
        for home in households.homes(problem):
            bundles = [found[s["key"]] for s in home[0]]
            assert households.keeps_together(problem, home[1], bundles)
    assert changed > 100
