"""The solver on device arrays: the same bits as on the host, and no array on the wrong side."""

import numpy as np
import pytest

from benchmarks.allocation import moved
from benchmarks.instance import CASES, instance
from benchmarks.plans import planned
from engine.history_events import Events
from engine.households import Households
from engine.settings.job import Solver
from engine.solve import solve
from kernels import backend
from tests import device_stand_in, household_bases, problems

SETTINGS = Solver(gap_tolerance=1e-3, sample=1_000, exact_pairs=0)


@device_stand_in.on_a_device
@pytest.mark.parametrize(
    ("case", "subscribers"),
    [
        ("one-offer", 4_000),
        ("bundles", 3_000),
        ("bundles", 900),
        ("related", 1_500),
        ("plan", 1_200),
        ("households", 1_500),
    ],
)
def test_a_problem_on_the_device_has_the_same_answer(case, subscribers, device, monkeypatch):
    if case == "related":
        problem = problems.related(problems.realistic(subscribers, width=3, minimums=False))
    elif case == "plan":
        problem, _ = planned(subscribers, 8, 5)
    elif case == "households":
        problem = household_bases.realistic(subscribers, blocks=2)
    else:
        problem = instance(CASES[case], subscribers, 12, 12)
    expected = solve(problem, SETTINGS)
    if device == "stand-in":
        device_stand_in.install(monkeypatch)
    found = solve(moved(problem, "cuda"), SETTINGS)
    assert found.status == expected.status == "OPTIMAL"
    assert (found.value, found.bound) == (expected.value, expected.bound)
    assert found.prices.tolist() == expected.prices.tolist()
    for one, other in zip(found.chosen, expected.chosen, strict=True):
        assert isinstance(one, np.ndarray)
        np.testing.assert_array_equal(one, other)


@device_stand_in.on_a_device
@pytest.mark.parametrize("sizes", [[], [1], [2], [1, 3, 1, 2, 4]])
def test_events_of_households_on_the_device_are_those_of_the_host(sizes, device, monkeypatch):
    rng = np.random.default_rng(len(sizes))
    number = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    key = np.where(np.array(sizes, np.int64)[number] > 1, number, -1)
    indptr = np.concatenate([[0], rng.integers(0, 4, len(number)).cumsum()])
    time = np.sort(rng.integers(0, 9, indptr[-1]))
    code = rng.integers(0, 3, indptr[-1]).astype(np.int32)
    mask = rng.random(len(number)) < 0.3
    if device == "stand-in":
        device_stand_in.install(monkeypatch)

    def told(side):
        homes = Households(side(number), len(sizes), side(key))
        events = Events(side(time), side(code), side(indptr), None, 3, {})
        own = events.merged(homes, tell_members=True)
        return (homes.rows, homes.indptr, homes.any(side(mask)), homes.keys(side(key)),
                own.time, own.code, own.indptr)  # fmt: skip

    for one, other in zip(told(backend.to_gpu), told(np.array), strict=True):
        assert not isinstance(one, np.ndarray) and one.dtype == other.dtype
        np.testing.assert_array_equal(backend.to_cpu(one), other)


def test_the_stand_in_refuses_what_cupy_refuses(monkeypatch):
    device_stand_in.install(monkeypatch)
    array = backend.to_gpu(np.arange(3))
    for mistake in (
        lambda: np.asarray(array),
        lambda: array + np.arange(3),
        lambda: np.arange(3) + array,
        lambda: array < 2**63,
        lambda: backend.cupy.lexsort((array, array)),
    ):
        with pytest.raises((TypeError, OverflowError)):
            mistake()
    assert backend.to_cpu(2 - array * 2).tolist() == [2, 0, -2]
