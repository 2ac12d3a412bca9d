"""Plans whose days tie: who goes when is dealt, within every limit and the tolerance."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import plans
from engine.block import Block
from engine.coarse import tied, tied_days
from engine.deal import SHARE, _batches
from engine.offer_oracle import OfferOracle
from engine.parts import Here
from engine.settings.job import Solver
from engine.solve import Status, solve
from tests import device_stand_in, problems
from tests.test_plan_problem import BUDGET, by_day, problem_of

SIZE = 3_000, 10, 7
SOLVER = Solver(gap_tolerance=2e-4, exact_pairs=0)


def planned(size, fade, monkeypatch):
    """Return a plan of which each offer's values are left by so much on each day."""
    half_lives = np.full(1, np.inf)
    monkeypatch.setattr(plans, "HALF_LIVES", half_lives)
    problem, drawn = plans.planned(*size)
    shares = np.tile(fade, len(problem.offer) // len(fade))
    value = np.rint(problem.value_accept * shares).astype(np.int64)
    return replace(problem, value_accept=value), drawn


def worth(values):
    """Return a problem of limits by days of which contacts are worth so much on each day."""
    problem = problem_of([BUDGET, *by_day("capacity")])
    value = np.tile(values, len(problem.offer) // len(values))
    use = problem.use_fixed.copy()
    use[0] = 1
    return replace(
        problem, value_fixed=value, value_accept=2 * value, use_fixed=use, use_accept=use
    )


@pytest.mark.parametrize(
    ("values", "expected", "place"),
    [
        ([3, 3, 3, 3, 3], [0, 0, 0, 0, 0], [0, 1, 1, 1, 1, 1]),
        ([3, 3, 2, 2, 2], [1, 1, 0, 0, 0], [0, 1, 1, 2, 2, 2]),
        ([3, 2, 3, 2, 3], [1, 0, 1, 0, 1], [0, 1, 2, 1, 2, 1]),
        ([3, 3, 3, 2, 1], None, None),
        ([5, 4, 3, 2, 1], None, None),
    ],
)
def test_days_of_equal_worth_tie_where_they_are_many(values, expected, place):
    problem = worth(values)
    found = tied_days(problem)
    assert (None if found is None else found.tolist()) == expected
    assert (found is None) == (tied(problem) is None)
    if found is not None:
        coarse, own = tied(problem)
        assert own.tolist() == place
        sums = np.bincount(place, problem.limit)
        assert coarse.limit.tolist() == sums.tolist()


def test_days_that_use_another_amount_of_a_limit_do_not_tie():
    problem = worth([3, 3, 3, 3, 3])
    use = problem.use_fixed.copy()
    use[0] *= 1 + np.arange(use.shape[1]) % problem.rules.days
    assert tied_days(replace(problem, use_fixed=use)) is None


def test_batches_take_everybody_once_by_key(monkeypatch):
    problem, _ = planned(SIZE, np.ones(7), monkeypatch)
    whole = OfferOracle(problem, [Block.taken(problem.blocks, [np.arange(len(b)) for b in
                                                               problem.blocks])])  # fmt: skip
    batches = list(_batches(whole))
    keys = [np.sort(part.blocks[0].key) for _, part in batches]
    key = whole.blocks[0].key
    for (rows, _), own in zip(batches, keys, strict=True):
        assert np.sort(key[rows]).tolist() == own.tolist()
    assert np.concatenate(keys).tolist() == np.sort(key).tolist()
    sizes = [len(k) for k in keys]
    assert sizes[0] == len(key) // SHARE and (np.diff(sizes) <= 0).all()


@pytest.mark.parametrize(
    "fade", [[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 0.5, 0.5, 0.5, 0.5]], ids=["all", "two kinds"]
)
def test_tied_days_are_filled_within_the_tolerance(fade, monkeypatch):
    problem, drawn = planned(SIZE, fade, monkeypatch)
    found = solve(problem, SOLVER)
    assert found.status is Status.OPTIMAL and found.gap <= SOLVER.gap_tolerance
    value, uses = plans.recomputed(problem, found.chosen)
    assert value / 2**34 / 10**6 == pytest.approx(found.value, rel=1e-12)
    assert all(use <= int(b) * 2**24 for use, b in zip(uses, problem.limit, strict=True))
    for block, bundles, own in zip(problem.blocks, found.chosen, drawn, strict=True):
        plans.check_plans(problem, block, bundles, own)


def parts_of(problem, rng, count):
    """Return the subscribers in so many blocks, dealt at random, rows in the order they were."""
    block = Block.taken(problem.blocks, [np.arange(len(b)) for b in problem.blocks])
    to = rng.integers(0, count, len(block))
    return [block.take(np.flatnonzero(to == n)) for n in rng.permutation(count)]


def answer(problem):
    found = solve(problem, SOLVER)
    told = found.status, found.value, found.bound, found.prices.tolist()
    return told, problems.bundles_by_key(problem, found.chosen)


def test_the_deal_is_the_same_for_any_partitions(monkeypatch):
    problem, _ = planned((2_000, 10, 7), np.ones(7), monkeypatch)
    expected = answer(problem)
    assert expected[0][0] is Status.OPTIMAL
    blocks = parts_of(problem, np.random.default_rng(1), 5)
    assert answer(problem.with_blocks(blocks)) == expected
    parts = problem.with_blocks(Here(parts_of(problem, np.random.default_rng(2), 3)))
    found = solve(parts, SOLVER)
    assert (found.status, found.value, found.bound, found.prices.tolist()) == expected[0]


@pytest.mark.parametrize("seed", range(4))
def test_a_small_plan_of_tied_days_is_solved_exactly(seed, monkeypatch):
    """The exact model proves the best of a few subscribers; the dual's bound is above it."""
    problem, _ = planned((30 + seed, 10, 3), np.ones(3), monkeypatch)
    found = solve(problem, Solver(gap_tolerance=1e-9))
    assert found.status is Status.OPTIMAL
    assert found.value == pytest.approx(found.bound, rel=2e-9) and found.value > 0
    dealt = solve(problem, Solver(gap_tolerance=1.0, exact_pairs=0))
    assert dealt.value <= found.value * (1 + 1e-9) <= dealt.bound * (1 + 2e-9)


@device_stand_in.on_a_device
def test_on_a_device_the_deal_is_the_same(device, monkeypatch):
    problem, _ = planned((600, 10, 3), np.ones(3), monkeypatch)
    expected = answer(problem)
    if device == "stand-in":
        device_stand_in.install(monkeypatch)
    from benchmarks.allocation import moved

    found = solve(moved(problem, device), SOLVER)
    assert (found.status, found.value, found.bound, found.prices.tolist()) == expected[0]
