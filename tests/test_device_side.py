"""The solver on device arrays: the same bits as on the host, and no array on the wrong side."""

import numpy as np
import pytest

from benchmarks.allocation import moved
from benchmarks.instance import CASES, instance
from benchmarks.plans import planned
from engine.settings.job import Solver
from engine.solve import solve
from kernels import backend
from tests import device_stand_in, problems

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
    ],
)
def test_a_problem_on_the_device_has_the_same_answer(case, subscribers, device, monkeypatch):
    if case == "related":
        problem = problems.related(problems.realistic(subscribers, width=3, minimums=False))
    elif case == "plan":
        problem, _ = planned(subscribers, 8, 5)
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
