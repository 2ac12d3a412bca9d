"""Blocks on workers give the bits of blocks at hand, also when a worker is lost on the way."""

import os
import signal

import numpy as np
import pytest
from distributed.scheduler import KilledWorker
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import AllocationError, ConfigError
from engine.parts import Dealt, Here, at_hand, told
from engine.settings.job import LocalCluster, Solver
from engine.solve import solve
from engine.spread_oracle import SpreadOracle, offer_oracle
from jobs import spread
from jobs.cluster import cluster
from jobs.progress import ShownTasks, Silent
from tests import problems

THREADS = LocalCluster(workers=2)
PROCESSES = LocalCluster(workers=2, processes=True)
SETTLING = Solver.model_construct(sample=200, exact_pairs=0)  # most subscribers settle


def answer(problem, solver, tell=lambda step: None):
    """Return all that an allocation says, by subscriber."""
    try:
        found = solve(problem, solver, tell)
    except AllocationError as error:
        return str(error)
    known = problem.gathered()
    told_of = (found.status, found.value, found.bound, found.dual_bound, found.prices.tolist())
    bundles = [problems.bundles_by_key(known, each) for each in (found.chosen, found.best)]
    return told_of, bundles, found.conflict


def in_parts(problem, blocks, seed):
    return problems.rearranged(problem, np.random.default_rng(seed), blocks)


@settings(max_examples=25)
@given(
    problems.small_problems(), st.integers(0, 99), st.integers(1, 8), st.sampled_from([0, 20_000])
)
def test_parts_give_the_bits_of_blocks_at_hand(problem, seed, blocks, exact_pairs):
    solver = Solver(exact_pairs=exact_pairs)
    moved = in_parts(problem, blocks, seed)
    parts = moved.with_blocks(Here(moved.blocks))
    assert isinstance(offer_oracle(parts), SpreadOracle)
    assert answer(parts, solver) == answer(problem, solver)


@pytest.mark.parametrize(("width", "size"), [(1, 3_000), (2, 1_500)])
@pytest.mark.parametrize("blocks", [1, 5])
def test_parts_give_the_same_bits_when_most_settle(width, size, blocks):
    problem = problems.realistic(size, seed=5, width=width)
    moved = in_parts(problem, blocks, blocks)
    parts = moved.with_blocks(Here(moved.blocks))
    assert answer(parts, SETTLING) == answer(problem, SETTLING)


def test_curve_and_evaluation_are_those_of_blocks_at_hand():
    problem = in_parts(problems.realistic(800, seed=1, width=2), 4, 0)
    one, other = offer_oracle(problem), offer_oracle(problem.with_blocks(Here(problem.blocks)))
    prices = np.linspace(0.0, 0.02, len(problem.rows))
    for a, b in zip(one.curve(prices, 0.3), other.curve(prices, 0.3), strict=True):
        if hasattr(a, "use"):
            a, b = np.append(a.use, a.value), np.append(b.use, b.value)
        np.testing.assert_array_equal(a, b)
    first, second = one.evaluate(prices), other.evaluate(prices)
    np.testing.assert_array_equal(first.use, second.use)
    assert first.dual(one.limit) == second.dual(other.limit)


def test_each_part_gets_its_own_arguments_and_is_asked_once():
    asked = []

    def size(item):
        asked.append(item)
        return len(item)

    parts = Here(["a", "bc"])
    joined = parts.map(lambda *words: "".join(words), parts, Dealt("xy"), "!")
    assert joined == ["aax!", "bcbcy!"]
    assert told(parts, size) == told(parts, size) == [1, 2] and asked == ["a", "bc"]
    assert told(["a", "bc"], size) == [1, 2]
    assert at_hand(parts) == list(parts) == ["a", "bc"]
    assert len(parts.keep(str.upper)) == 2


def made(block):
    return block


def pid_of(_):
    return os.getpid()


def fail(item, text):
    raise ValueError(f"{text}: {item}")


def added(item, other, own, large):
    return item + other + own + int(large.sum())


def spread_out(workers, items):
    rows = []
    kept = spread.spread(workers.client, made, items, int_of, rows.append)
    assert sorted(rows) == sorted(int_of(i) for i in items)
    return kept


def int_of(item):
    return len(item) if hasattr(item, "__len__") else 1


def test_workers_of_this_process_leave_results_here():
    with cluster(THREADS) as workers:
        kept = ShownTasks(workers, Silent()).keep("double", int_of, [(1, 2), "abc"], abs)
    assert isinstance(kept, Here) and kept.items == [2, 3]


@pytest.mark.usefixtures("forked_workers")
def test_a_lost_worker_is_survived_with_the_same_bits():
    problem = in_parts(problems.realistic(1_500, seed=5, width=2), 5, 1)
    first = answer(problem, SETTLING)
    with cluster(PROCESSES) as workers:
        tasks = ShownTasks(workers, Silent())
        assert workers.are_apart and list(tasks.keep("none", made, [], int_of)) == []
        parts = problem.with_blocks(spread_out(workers, problem.blocks))
        pids = parts.blocks.map(pid_of)
        assert len(set(pids)) == 2 and os.getpid() not in pids
        assert answer(parts, SETTLING) == first

        numbers = spread_out(workers, [1, 2, 3])
        more = numbers.keep(added, numbers, Dealt([10, 20, 30]), np.ones(99_999, np.int8))
        assert list(more) == [100_011, 100_023, 100_035]
        with pytest.raises(ValueError, match="^sorry: [123]$"):
            numbers.map(fail, "sorry")

        killed = []

        def kill(step):
            if not killed and step.step == "zoom":
                killed.append(pids[0])
                os.kill(pids[0], signal.SIGKILL)

        assert answer(parts, SETTLING, kill) == first
        assert killed and killed[0] not in parts.blocks.map(pid_of)
        assert list(more) == [100_011, 100_023, 100_035]


def test_a_worker_that_dies_of_every_task_is_a_clear_error():
    class Client:
        def map(self, *args, **options):
            return ["future"]

        def gather(self, futures, direct):
            raise KilledWorker("task", None, 3)

    with pytest.raises(ConfigError, match=r"^cluster: a worker or the scheduler was lost \(Kil"):
        spread.Spread(Client(), ["future"]).map(int_of)


def test_a_survey_of_another_oracle_is_a_mistake():
    problem = problems.realistic(50, seed=1)
    local = offer_oracle(problem)
    parts = offer_oracle(problem.with_blocks(Here(problem.blocks)))
    survey = local.survey(np.zeros(len(problem.rows)))
    with pytest.raises(AssertionError, match="another oracle"):
        parts.reached(survey, parts.everybody)
