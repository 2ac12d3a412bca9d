"""A search that is told to end does so between passes, with the best answer so far."""

import signal
import threading

import pytest

from engine.errors import AllocationError
from engine.problem import VALUE_UNIT
from engine.settings.job import Solver
from engine.solve import Status, solve
from engine.stop import Deadline
from tests import problems
from tests.test_solve import line

LARGE = Solver(exact_pairs=0, gap_tolerance=1e-3)


def test_a_stop_ends_the_search_with_the_best_so_far():
    problem = problems.realistic(3_000, seed=8, minimums=False)
    solver = Solver(exact_pairs=0, gap_tolerance=1e-6)
    steps = []  # the search for prices is the same at either tolerance
    assert not solve(problem, LARGE, steps.append).was_interrupted
    late = sum(step.step == "zoom" for step in steps)
    event = threading.Event()
    for end, stop in (
        (event.set, event),
        (interrupt, None),
        (lambda: signal.raise_signal(signal.SIGINT), None),
    ):
        told = []

        def tell(step, end=end, told=told):
            told.append(step)
            if len(told) == late:
                end()

        found = solve(problem, solver, tell, stop=stop)
        assert found.status == Status.TIME_LIMIT and found.was_interrupted
        assert found.remedy.startswith("the search was interrupted at a gap of ")
        assert problems.value_of(problem, found.chosen) / VALUE_UNIT == found.value <= found.bound
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        with pytest.raises(AllocationError, match="was interrupted without an allocation"):
            solve(problem, solver, stop=lambda: True)  # before prices are known to be any good


def interrupt():
    raise KeyboardInterrupt


def test_a_stop_before_anything_is_found_says_so():
    problem = line(3, rows=((3, False), (5, True)))
    with pytest.raises(AllocationError, match="was interrupted without an allocation"):
        solve(problem, Solver(), stop=lambda: True)


def test_a_deadline_remembers_that_it_was_interrupted():
    answers = iter([False, True, False])
    deadline = Deadline(60.0, lambda: next(answers))
    assert [deadline.is_over() for _ in range(3)] == [False, True, True]
    assert deadline.later(100.0).is_over() and Deadline(-1.0).is_over()
    assert not Deadline(-1.0).was_interrupted and Deadline(-1.0).seconds() == 1.0
