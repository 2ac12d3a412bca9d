"""The solver against every outcome listed, against plain models, and against itself rearranged."""

from dataclasses import replace
from fractions import Fraction
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.block import Block
from engine.errors import AllocationError
from engine.offer_oracle import OfferOracle
from engine.problem import VALUE_UNIT, Problem, Row
from engine.rules import plain
from engine.settings.job import Solver
from engine.solve import Status, solve
from tests import problems
from tests.problems import MICRO

TIGHT = Solver(gap_tolerance=1e-13)  # so that nothing but the optimum will do
ROUNDED = Solver(gap_tolerance=1e-9, exact_pairs=0)
# The bound is summed in float64, and what limits are worth may be far more than what is left.
ROUNDING = Fraction(1, 10**10)


def is_bound(bound, best):
    """Whether no allocation worth ``best`` whole units is above the bound."""
    return Fraction(bound) + ROUNDING * max(1, abs(Fraction(bound))) >= Fraction(best, VALUE_UNIT)


@settings(max_examples=120)
@given(problems.small_problems())
def test_small_problems_are_solved_to_the_optimum(problem):
    best = problems.optimum(problem)
    found = solve(problem, TIGHT)
    assert (found.status == Status.INFEASIBLE) == (best is None)
    assert bool(found.conflict) == (best is None)
    if best is None:
        assert not any((bundles >= 0).any() for bundles in found.chosen)
        return
    assert problems.value_of(problem, found.chosen) == best
    assert found.value == best / VALUE_UNIT
    assert is_bound(found.bound, best) and is_bound(found.dual_bound, best)
    # CP-SAT adds up whole numbers of 52 bits in all: its bound may be a unit off for each pair.
    worth = [
        abs(problems.worth(problem, s, (a,))[0]) for s in problems.in_words(problem) for a in s["p"]
    ]
    unit = sum(worth) / VALUE_UNIT / 2**51
    size = max(1.0, abs(found.bound))
    assert -ROUNDING <= found.gap <= 1e-9 + len(worth) * unit / size
    assert found.status == Status.OPTIMAL or found.gap > 1e-13


@settings(max_examples=80)
@given(problems.small_problems())
def test_prices_and_rounding_are_between_nothing_and_the_bound(problem):
    best = problems.optimum(problem)
    try:
        found = solve(problem, ROUNDED)
    except AllocationError as error:  # whole contacts alone may be impossible: the dual can't tell
        assert str(error) == (
            "solver: the search ended by itself without an allocation that keeps every limit, and "
            "without a proof that there is none; raise solver.exact_pairs or relax a minimum"
        )
        return
    if found.status == Status.INFEASIBLE:
        assert best is None
        return
    value = problems.value_of(problem, found.chosen)
    assert best is not None and value <= best and is_bound(found.bound, best)
    assert found.value == value / VALUE_UNIT
    assert found.gap >= -ROUNDING
    if found.status == Status.OPTIMAL:
        assert best - value <= 1e-9 * max(1.0, abs(found.bound)) * VALUE_UNIT


@settings(max_examples=80)
@given(problems.small_problems(), st.data())
def test_the_bound_at_any_prices_is_not_below_the_optimum_by_a_bit(problem, data):
    best = problems.optimum(problem)
    if best is None:
        return
    oracle = OfferOracle(problem, problem.blocks)
    # 1e9 on a bound of 12: sums in float64 alone would end below the optimum.
    price = st.sampled_from([0.0, 1e-7, 0.1, 1.0, 1e3]).map(lambda p: p * oracle.typical)
    prices = np.array([data.draw(price) for _ in problem.rows]) / oracle.scale
    prices = np.minimum(prices, oracle.penalty)
    assert Fraction(oracle.bound(oracle.survey(prices))) >= Fraction(best, VALUE_UNIT)


@pytest.mark.parametrize("seed", range(6))
def test_scip_finds_nothing_better(seed):
    problem = problems.realistic(40, seed=seed, offers=4, minimums=seed % 2 == 0)
    best = problems.best_by_ortools(problem, "SCIP")
    found = solve(problem, TIGHT)
    value = problems.value_of(problem, found.chosen) / VALUE_UNIT
    # SCIP accepts a limit passed by 1e-6 of it, and a gap as small.
    assert value == pytest.approx(best, rel=2e-6) and found.bound == pytest.approx(best, rel=2e-6)


@settings(max_examples=25)
@given(
    problems.small_problems(), st.integers(0, 99), st.integers(1, 8), st.sampled_from([0, 20_000])
)
def test_any_order_and_any_blocks_give_the_same_bits(problem, seed, blocks, exact_pairs):
    solver = Solver(exact_pairs=exact_pairs)
    moved = problems.rearranged(problem, np.random.default_rng(seed), blocks)
    assert_same(answer(problem, solver), answer(moved, solver))


@pytest.mark.parametrize(("width", "size"), [(1, 3_000), (2, 1_000)])
def test_any_order_and_any_blocks_give_the_same_bits_when_most_settle(width, size):
    problem = problems.realistic(size, seed=3, width=width)
    solver = Solver.model_construct(sample=200, exact_pairs=0)
    first = answer(problem, solver)
    for blocks in (3, 8):
        moved = problems.rearranged(problem, np.random.default_rng(blocks), blocks)
        assert_same(first, answer(moved, solver))


def answer(problem, solver):
    try:
        found = solve(problem, solver)
    except AllocationError as error:
        return str(error)
    bundles = problems.bundles_by_key(problem, found.chosen)
    best = problems.bundles_by_key(problem, found.best)
    numbers = (found.status, found.value, found.bound, found.dual_bound, found.prices.tolist())
    return numbers, bundles, best, found.conflict


def assert_same(first, second):
    assert first == second


@pytest.mark.parametrize("seed", range(4))
def test_thousands_of_subscribers_leave_a_small_gap(seed):
    problem = problems.realistic(2_000 + 1_000 * seed, seed=seed, width=1 + seed % 3)
    found = solve(problem, Solver(sample=200, exact_pairs=0))
    assert found.status == Status.OPTIMAL
    assert found.value == problems.value_of(problem, found.chosen) / VALUE_UNIT
    assert -1e-12 <= found.gap <= 1e-4
    assert found.bound == found.dual_bound


@pytest.mark.parametrize("seed", range(3))
def test_relations_and_minimums_leave_a_small_gap_too(seed):
    problem = problems.related(
        problems.realistic(2_500, seed=seed, width=2 + seed % 3, minimums=False)
    )
    solver = Solver(sample=200, exact_pairs=0)
    found = solve(problem, solver)
    assert found.status == Status.OPTIMAL
    assert found.value == problems.value_of(problem, found.chosen) / VALUE_UNIT
    assert -1e-12 <= found.gap <= 1e-4
    sizes = np.concatenate([(chosen >= 0).sum(axis=0) for chosen in found.chosen])
    fewest = np.concatenate([block.fewest for block in problem.blocks])
    assert set(sizes[fewest == 2]) >= {0, 2} and (sizes[fewest == 2] != 1).all()
    moved = problems.rearranged(problem, np.random.default_rng(seed), 3)
    assert_same(answer(problem, solver), answer(moved, solver))


def line(subscribers, *, rows=(), fixed=MICRO, p=0.5):
    """Return a problem of one action: everybody is worth the same."""
    block = Block(
        np.arange(subscribers, dtype=np.int64),
        np.full((1, subscribers), p, np.float32),
        np.ones(subscribers, np.float32),
        np.zeros(subscribers, np.int32),
        np.ones(subscribers, np.uint8),
        np.zeros(subscribers, np.uint8),
        np.ones((0, subscribers), np.uint8),
    )
    one = np.zeros(1, np.int32)
    sign = np.array([-1 if is_minimum else 1 for _, is_minimum in rows], np.int64)
    return Problem(
        [block], one, one, plain(1), np.array([fixed]), np.array([0]),
        [Row(f"limit_{k}", "contacts", is_minimum) for k, (_, is_minimum) in enumerate(rows)],
        (sign * MICRO).reshape(-1, 1), np.zeros((len(rows), 1), np.int64),
        np.ones((len(rows), 1), bool), sign * np.array([b for b, _ in rows], np.int64) * MICRO,
    )  # fmt: skip


@pytest.mark.parametrize("exact_pairs", [0, 20_000])
@pytest.mark.parametrize(
    ("rows", "value"),
    [
        ((), 5.0),
        (((3, False),), 3.0),
        (((0, False),), 0.0),
        (((3, True),), 5.0),
        (((2, False), (2, True)), 2.0),
    ],
)
def test_equal_subscribers_fill_a_limit_to_the_last_unit(rows, value, exact_pairs):
    found = solve(line(5, rows=rows), Solver(gap_tolerance=1e-9, exact_pairs=exact_pairs))
    assert (found.status, found.value) == (Status.OPTIMAL, value)


@pytest.mark.parametrize("exact_pairs", [0, 20_000])
def test_a_minimum_is_met_at_the_least_loss(exact_pairs):
    problem = line(500, rows=((120, True),), fixed=-3 * MICRO)
    found = solve(problem, Solver(gap_tolerance=1e-9, exact_pairs=exact_pairs))
    assert (found.status, found.value) == (Status.OPTIMAL, -360.0)
    assert found.prices.tolist() == pytest.approx([3.0])


@pytest.mark.parametrize("exact_pairs", [0, 20_000])
def test_a_limit_of_any_size_is_kept(exact_pairs):
    problem = replace(line(5, rows=((2, False),)), limit=np.array([10**18]))
    found = solve(problem, Solver(gap_tolerance=1e-9, exact_pairs=exact_pairs))
    assert (found.status, found.value) == (Status.OPTIMAL, 5.0)


@pytest.mark.parametrize("exact_pairs", [0, 20_000])
def test_nobody_gets_nothing(exact_pairs):
    found = solve(line(0, rows=((3, False),)), Solver(exact_pairs=exact_pairs))
    assert (found.status, found.value, found.gap) == (Status.OPTIMAL, 0.0, 0.0)
    found = solve(line(4, rows=((1, True),), p=np.nan), Solver(exact_pairs=exact_pairs))
    assert found.status == Status.INFEASIBLE
    assert [c.smallest_relaxation for c in found.conflict] == [1.0]


@pytest.mark.parametrize("exact_pairs", [0, 20_000])
def test_the_time_limit_ends_every_search(exact_pairs):
    problem = problems.realistic(1_500, seed=1)
    solver = Solver(time_limit_s=1e-6, gap_tolerance=1e-9, exact_pairs=exact_pairs, sample=200)
    began = perf_counter()
    try:
        found = solve(problem, solver)
    except AllocationError as error:
        assert str(error).startswith("solver: the time limit ended the search without an alloc")
        assert str(error).endswith("; raise solver.time_limit_s or relax a minimum")
    else:
        assert found.status == Status.TIME_LIMIT
        assert found.remedy.startswith("the time limit of 1e-06 s ended the search at a gap of ")
        assert found.remedy.endswith("; raise solver.time_limit_s, or solver.gap_tolerance to "
                                     "accept it")  # fmt: skip
        value = problems.value_of(problem, found.chosen) / VALUE_UNIT
        assert found.value == value <= found.bound
        relaxed = problems.best_by_ortools(problem, "GLOP")
        assert relaxed <= found.dual_bound * (1 + 1e-9)
    assert perf_counter() - began < 20  # a search of its own takes minutes at this tolerance


def test_a_search_that_ends_by_itself_blames_no_time_limit():
    problem = problems.realistic(1_500, seed=1)
    found = solve(problem, Solver(gap_tolerance=1e-12, exact_pairs=0, sample=200))
    assert found.status == Status.TIME_LIMIT and found.gap > 1e-12
    assert found.remedy == (
        f"the search ended by itself at a gap of {found.gap:.4g}, above the tolerance of 1e-12; "
        "raise solver.gap_tolerance to accept it"
    )


@pytest.mark.parametrize("exact_pairs", [0, 20_000])
def test_the_remedy_names_what_is_in_conflict(exact_pairs):
    alone = solve(line(5, rows=((9, True),)), Solver(exact_pairs=exact_pairs))
    assert alone.remedy == "no allocation keeps limit_0; relax it"
    pair = solve(line(5, rows=((2, False), (3, True))), Solver(exact_pairs=exact_pairs))
    assert pair.remedy == "no allocation keeps limit_0, limit_1 together; relax one of them"
    assert {pair.status, alone.status} == {Status.INFEASIBLE}


@pytest.mark.parametrize("exact_pairs", [0, 20_000])
def test_the_remedy_of_several_conflicts_tells_them_apart(exact_pairs):
    several = ((2, False), (3, True), (9, True))
    found = solve(line(5, rows=several), Solver(exact_pairs=exact_pairs))
    assert found.status == Status.INFEASIBLE
    sets = {c.constraint: c.set_number for c in found.conflict}
    assert sets["limit_0"] == sets["limit_1"] != sets["limit_2"]
    texts = {
        sets["limit_0"]: "no allocation keeps limit_0, limit_1 together; relax one of them",
        sets["limit_2"]: "no allocation keeps limit_2; relax it",
    }
    assert found.remedy == (
        f"conflict 1 of 2: {texts[1]}; conflict 2 of 2: {texts[2]}; each conflict must be resolved"
    )


def test_a_bound_far_above_does_not_loosen_the_exact_model():
    """An offer worth a million that no limit lets through: prices sell a share of it."""
    problem = line(3, rows=((3, False),))
    block = problem.blocks[0]
    p = np.tile(block.propensity, (2, 1))
    p[0] = [0.25, 0.5, 1.0]
    unaffordable = replace(
        problem,
        blocks=[replace(block, propensity=p)],
        offer=np.array([0, 1], np.int32),
        channel=np.zeros(2, np.int32),
        rules=plain(2),
        value_fixed=np.array([7 * MICRO, 10**12]),
        value_accept=np.array([MICRO, 0]),
        rows=[Row("spend", "value", is_minimum=False)],
        use_fixed=np.array([[1, 10**12]]),
        use_accept=np.array([[0, 0]]),
        limit=np.array([10**12 - 1]),
    )
    found = solve(unaffordable, Solver(gap_tolerance=1e-7))
    assert found.dual_bound > 999_999
    assert problems.value_of(unaffordable, found.chosen) == problems.optimum(unaffordable) > 0
    assert found.status == Status.OPTIMAL
