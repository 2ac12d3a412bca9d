"""The solver on listed pairs: against enumeration, the structured form, and itself rearranged."""

from dataclasses import replace
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.generators import matching
from benchmarks.pairs import pair_problem
from benchmarks.plain import lowered
from engine import rounding
from engine.core import MOST_CORE
from engine.errors import AllocationError, DataError
from engine.forms import oracle_of
from engine.pair_block import PairBlock
from engine.pair_problem import PairProblem
from engine.problem import Row
from engine.settings.job import Solver
from engine.solve import Status, solve
from engine.stop import Deadline
from engine.swaps import swap
from engine.zoom import zoom
from kernels import backend
from tests import pair_problems, problems
from tests.device_stand_in import install

TIGHT = Solver(gap_tolerance=1e-13)
ROUNDED = Solver(gap_tolerance=1e-9, exact_pairs=0)


@settings(max_examples=60)
@given(pair_problems.small_pair_problems())
def test_small_problems_are_solved_to_the_optimum(problem):
    best = pair_problems.optimum(problem)
    found = solve(problem, TIGHT)
    assert (found.status == Status.INFEASIBLE) == (best is None)
    assert bool(found.conflict) == (best is None)
    if best is not None:
        assert pair_problems.value_of(problem, found.chosen) == best
        assert found.value == best / problem.value_unit
        assert found.bound >= found.value - 1e-9


@settings(max_examples=40)
@given(pair_problems.small_pair_problems())
def test_prices_and_rounding_are_between_nothing_and_the_bound(problem):
    best = pair_problems.optimum(problem)
    try:
        found = solve(problem, ROUNDED)
    except AllocationError:  # whole contacts alone may be impossible: the dual cannot tell
        return
    assert best is not None or found.status == Status.INFEASIBLE
    if found.status == Status.INFEASIBLE:
        assert best is None
        return
    value = pair_problems.value_of(problem, found.chosen)
    assert value <= best <= (found.bound + 1e-9) * problem.value_unit
    assert found.value == value / problem.value_unit


@settings(max_examples=25)
@given(problems.small_problems(related=False, palettes=pair_problems.EXACT))
def test_a_structured_problem_has_the_same_answer_as_pairs(problem):
    pairs = pair_problem(lowered(problem))
    one, other = solve(problem, TIGHT), solve(pairs, TIGHT)
    assert (one.status, one.value) == (other.status, other.value)
    if one.status != Status.INFEASIBLE:
        assert min(one.dual_bound, other.dual_bound) >= one.value - 1e-9
        chosen = _dealt(problem, other.chosen[0])
        value = Fraction(problems.value_of(problem, chosen), problems.VALUE_UNIT)
        assert value == Fraction(one.value)


def _dealt(problem, chosen):
    """Return bundles of all subscribers by the problem's blocks."""
    ends = np.cumsum([len(block) for block in problem.blocks])
    return np.split(chosen, ends[:-1], axis=1)


@settings(max_examples=20)
@given(
    pair_problems.small_pair_problems(), st.integers(0, 99), st.integers(1, 5),
    st.sampled_from([0, 20_000]),
)  # fmt: skip
def test_any_order_and_any_blocks_give_the_same_bits(problem, seed, blocks, exact_pairs):
    solver = Solver(exact_pairs=exact_pairs)
    moved = pair_problems.rearranged(problem, np.random.default_rng(seed), blocks)
    assert answer(problem, solver) == answer(moved, solver)


def answer(problem, solver):
    try:
        found = solve(problem, solver)
    except AllocationError as error:
        return str(error)
    numbers = found.status, found.value, found.bound, found.dual_bound, found.prices.tolist()
    return (*numbers, pair_problems.by_key(problem, found.chosen), found.conflict)


@pytest.mark.parametrize("exactly", [False, True], ids=["caps", "exactly-one"])
@pytest.mark.parametrize("dense", [False, True], ids=["sparse", "dense"])
def test_knapsacks_are_solved_and_keep_their_bits_when_most_settle(dense, exactly):
    problem = pair_problems.knapsack(6_000, dense=dense, exactly=exactly)
    solver = Solver.model_construct(gap_tolerance=5e-3, sample=400, exact_pairs=0)
    found = solve(problem, solver)
    assert found.status == Status.OPTIMAL
    value = pair_problems.value_of(problem, found.chosen)
    assert found.value == value / problem.value_unit
    assert (found.prices > 0).any()
    moved = pair_problems.rearranged(problem, np.random.default_rng(1), 3)
    assert answer(problem, solver) == answer(moved, solver)


@pytest.mark.parametrize(
    ("subscribers", "dense", "tolerance", "by"),
    [(1_500, True, 5e-3, "prices"), (20, False, 1e-9, "exact model")],
    ids=["rounded", "exact"],
)
def test_who_must_have_one_has_one(subscribers, dense, tolerance, by):
    problem = pair_problems.knapsack(subscribers, exactly=True, dense=dense)
    found = solve(problem, Solver(gap_tolerance=tolerance))
    assert found.status == Status.OPTIMAL and found.bound_by.startswith(by)
    assert (found.chosen[0] >= 0).all()
    pair_problems.value_of(problem, found.chosen)


def test_a_conflict_of_pairs_is_explained():
    problem = pair_problems.knapsack(30, exactly=True, actions=4)
    tight = [units // 3 for units in problem.limit]
    found = solve(replace(problem, limit=tight), Solver())
    assert found.status == Status.INFEASIBLE
    assert {c.constraint for c in found.conflict} <= {row.name for row in problem.rows}
    assert "raise it by at least" in found.conflict[0].text


@pytest.mark.parametrize("width", [1, 3])
def test_on_the_device_the_bits_are_the_same(monkeypatch, width):
    problem = pair_problems.knapsack(500, exactly=width == 1)
    oracle = oracle_of(problem)
    prices = np.full(len(problem.rows), 0.05)
    here = oracle.survey(prices, oracle.nowhere + 0.05)
    core = oracle.core(here, 0)
    bend = oracle.curve(prices, 0.05)[1]
    with monkeypatch.context() as patch:
        install(patch)
        (block,) = problem.blocks
        on_device = [type(block)(*map(backend.to_gpu, block.arrays()))]
        there = type(oracle)(problem, on_device)
        found = there.survey(prices, oracle.nowhere + 0.05)
        assert found.total.tolist() == here.total.tolist()
        assert found.near[0].get().tolist() == here.near[0].tolist()
        assert there.narrowed(found).constant.tolist() == oracle.narrowed(here).constant.tolist()
        mine = there.core(found, 0)
        assert mine.bundles.tolist() == core.bundles.tolist()
        assert mine.regret.tolist() == core.regret.tolist()
        assert there.curve(prices, 0.05)[1].tolist() == bend.tolist()
        assert there.sampled(0.3).subscribers == oracle.sampled(0.3).subscribers


@settings(max_examples=30)
@given(pair_problems.small_pair_problems(with_musts=False), st.data())
def test_soft_limits_of_pairs_are_passed_where_that_pays(problem, data):
    """Against enumeration of every total use and its value."""
    costs = st.sampled_from([np.inf, 0.1, 1.0, 2.5])
    penalty = np.array([data.draw(costs) for _ in problem.rows])
    problem = replace(problem, penalty=penalty)
    least = problem.penalty_units
    best = None
    for use, value in pair_problems.totals(problem).items():
        over = [max(0, u - b) for u, b in zip(use, problem.limit, strict=True)]
        if any(o and cost is None for o, cost in zip(over, least, strict=True)):
            continue
        net = value - sum((o * (cost or 0) for o, cost in zip(over, least, strict=True)), 0)
        best = net if best is None else max(best, net)
    found = solve(problem, TIGHT)
    assert (found.status == Status.INFEASIBLE) == (best is None)
    if best is not None:
        assert found.value == pytest.approx(float(Fraction(best) / problem.value_unit), abs=1e-12)
        assert found.dual_bound >= found.value - 1e-9


@pytest.mark.parametrize("constraints", [0, 1])
@pytest.mark.parametrize("actions", [0, 1, 3])
@pytest.mark.parametrize("subscribers", [0, 1, 50])
def test_few_or_no_actions_subscribers_and_constraints_and_all_values_equal(
    constraints, actions, subscribers
):
    problem = equal(subscribers, actions, constraints)
    found = solve(problem, Solver(gap_tolerance=1e-9))
    most = min(subscribers, 7) if constraints else subscribers
    assert found.status == Status.OPTIMAL
    assert found.value == (most if actions else 0)
    moved = pair_problems.rearranged(problem, np.random.default_rng(1), 2)
    assert answer(problem, Solver()) == answer(moved, Solver())


def equal(subscribers, actions, constraints):
    """Every pair is worth 1 and uses 1 of a limit of 7."""
    pairs, one = subscribers * actions, np.ones((1, subscribers), np.uint8)
    index, uses = np.arange(actions, dtype=np.int32), pairs * constraints
    block = PairBlock(
        np.arange(subscribers) << 40, np.arange(subscribers + 1) * actions,
        np.tile(index, subscribers), np.ones(pairs), np.arange(pairs + 1) * constraints,
        np.zeros(uses, np.int32), np.ones(uses), one[0], one[0] * 0, one, one,
    )  # fmt: skip
    rows = [Row("few", "cost", is_minimum=False)] * constraints
    return PairProblem.of([block], (index, index * 0, index * 0), rows, [7.0] * constraints)


def test_values_from_1e_9_to_1e9_are_solved_exactly():
    problem = equal(2, 3, 1)
    value = np.array([1e-9, 1.0, 1e9, 1e-9, 2.0, 3e-9])
    problem = PairProblem.of(
        [replace(problem.blocks[0], value=value, use_amount=np.full(6, 4.0))],
        (problem.offer, problem.channel, problem.category), problem.rows, [8.0],
    )  # fmt: skip
    found = solve(problem, TIGHT)
    assert found.status == Status.OPTIMAL and found.value == 1e9 + 2.0
    assert found.chosen[0].tolist() == [[2, 1]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"penalty": np.array([0.0])}, "penalty of few: got 0; it must be above 0"),
        ({"penalty": np.array([np.nan])}, "penalty of few: got nan"),
        ({"penalty": np.ones(2)}, "penalty: has 2 entries; 1 are needed"),
    ],
)
def test_penalties_that_are_none_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        replace(equal(1, 1, 1), **changes)


@settings(max_examples=40)
@given(pair_problems.small_pair_problems(), st.integers(0, 99))
def test_the_bound_at_any_prices_is_never_below_the_optimum(problem, seed):
    best = pair_problems.optimum(problem)
    oracle = oracle_of(problem)
    prices = np.random.default_rng(seed).exponential(1.0, len(problem.rows))
    bound = oracle.bound(oracle.survey(prices))
    assert bound >= oracle.survey(prices).evaluation.dual(oracle.limit) - 1e-9
    assert best is None or Fraction(bound) >= Fraction(best, problem.value_unit)


def near_optimum():
    """The matching of the literature, small, near the dual's minimum; many are near."""
    oracle = oracle_of(pair_problem(matching(30_000, 20, 20)))
    return zoom(
        oracle, sample=5_000, tolerance=1e-7, tell=lambda step: None, deadline=Deadline(60.0)
    )


def test_moves_in_pairs_keep_limits_and_come_closer_than_single_ones():
    """Where one core holds all who are near; where it does not, single moves may do better."""
    zoomed = near_optimum()
    single, core = rounding._moved(zoomed, 0.0, Deadline(60.0))
    assert len(core) == zoomed.start.near_count
    double = rounding._chosen_by(partial(swap, deadline=Deadline(60.0)), single, core, 0.0)
    assert single.is_feasible and double.is_feasible
    assert single.value < double.value <= zoomed.bound * zoomed.oracle.value_unit


def test_of_several_cores_a_full_one_is_worked_on():
    wide = near_optimum().widened(8.0)
    assert wide.start.near_count > MOST_CORE
    _, core = rounding._moved(wide, 0.0, Deadline(60.0))
    assert len(core) == MOST_CORE
