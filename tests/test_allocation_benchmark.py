"""The allocation benchmark checks what it times; here a small problem runs."""

import json

import numpy as np
import pytest

from benchmarks import allocation, gpu
from benchmarks.instance import CASES, instance
from engine.problem import USE_UNIT, VALUE_UNIT
from kernels import backend
from kernels.choose import choose

SIZES = ["--subscribers", "3000", "--actions", "20", "--constraints", "30", "--gap", "1e-2"]


@pytest.mark.parametrize("case", CASES)
def test_a_small_problem_is_solved_within_its_limits(case, capsys):
    allocation.main(["--case", case, *SIZES, "--json"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["status"] == "OPTIMAL"
    assert 0 <= found["gap"] <= 1e-2
    assert 0 < found["value"] <= found["bound"]
    assert found["seconds"] > 0 < found["streaming_reads"]
    assert found["binding"] >= 3


@pytest.mark.parametrize("case", ["v1", "knapsack-sparse", "knapsack-dense"])
def test_a_case_of_the_literature_is_solved_as_listed_pairs(case, capsys):
    sizes = ["--subscribers", "2000", "--actions", "8", "--gap", "1e-2", "--peers", "greedy"]
    allocation.main(["--case", case, *sizes, "--json"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["status"] == "OPTIMAL"
    assert 0 <= found["gap"] <= 1e-2 and 0 < found["value"] <= found["bound"]
    assert found["peak_bytes"] > 0 < found["streaming_reads"] and found["passes"] > 0
    (peer,) = found["peers"]
    assert peer["peer"] == "greedy" and peer["value"] <= found["bound"]


def test_an_instance_depends_on_its_seed_alone():
    one, two = (instance(CASES["bundles"], 500, 15, 20) for _ in range(2))
    for name, array in one.blocks[0].__dict__.items():
        np.testing.assert_array_equal(array, getattr(two.blocks[0], name))
    np.testing.assert_array_equal(one.limit, two.limit)


def test_too_many_constraints_are_refused_with_how_many_there_are(capsys):
    with pytest.raises(SystemExit):
        allocation.main(["--actions", "5", "--constraints", "1000"])
    assert "at most with 5 actions" in capsys.readouterr().err


@pytest.mark.parametrize("fault", ["offer twice", "not open", "cap"])
def test_a_bundle_that_is_not_allowed_is_found(fault):
    problem = instance(CASES["bundles"], 200, 15, 1)
    block = problem.blocks[0]
    open_ = ~np.isnan(block.propensity)
    s = int(np.flatnonzero(open_[:2].all(axis=0))[0])
    chosen = np.full((2, 200), -1, np.int16)
    allocation.recomputed(problem, [chosen])
    if fault == "offer twice":
        chosen[:, s] = 0, 1
    elif fault == "not open":
        chosen[0, np.flatnonzero(~open_[0])[0]] = 0
    else:
        chosen[0, s] = 0
        block.cap[0, s] = 0
    with pytest.raises(AssertionError, match="open" if fault == "not open" else "twice"):
        allocation.recomputed(problem, [chosen])


def test_recomputed_sums_are_those_of_a_plain_loop():
    problem = instance(CASES["bundles"], 200, 15, 30)
    block = problem.blocks[0]
    money = problem.value_fixed / 1e6, problem.value_accept / 1e6
    none = np.zeros((problem.groups, 15))
    rules = problem.rules.arrays(problem.offer)
    chosen, _, _ = choose(*block.arrays(), *rules, *money, none, none, 2)
    value, uses = allocation.recomputed(problem, [chosen])
    expected, use = 0.0, np.zeros(30)
    for s, bundle in enumerate(chosen.T):
        for a in bundle[bundle >= 0]:
            p, g = float(block.propensity[a, s]), block.group[s]
            expected += float(block.weight[s]) * (money[0][a] + money[1][a] * p)
            use += problem.in_scope[:, g] * (
                problem.use_fixed[:, a] / 1e6 + problem.use_accept[:, a] / 1e6 * p
            )
    assert value / VALUE_UNIT == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose([u / USE_UNIT for u in uses], use, rtol=1e-12)


@pytest.mark.skipif(backend.HAS_GPU, reason="this machine has one")
def test_without_a_gpu_the_gpu_run_says_so_and_fails(capsys):
    assert gpu.main([]) == 2
    assert "needs CuPy and an NVIDIA GPU" in capsys.readouterr().out


def test_a_failing_step_fails_and_shows_why(tmp_path):
    good, lines = gpu.run(gpu.Step("bad", ("-c", "raise SystemExit('no such')")), tmp_path, 1e18)
    assert not good
    assert "no such" in lines[-1]
    assert (tmp_path / "bad.txt").read_text().strip() == "no such"


def test_every_step_of_the_gpu_run_names_files_that_exist():
    files = [a for step in gpu.STEPS for a in step.arguments if a.endswith(".py")]
    assert files
    assert all((backend.HERE.parent / name).exists() for name in files)
