"""The benchmarks check what they time; here their smallest size runs."""

import json

import numpy as np
import pytest

from benchmarks import bench, cases
from kernels import backend


def test_every_operation_is_timed():
    assert {operation.name for operation in cases.OPERATIONS} == set(backend.TWINS)


def test_the_smoke_size_of_every_case_agrees_with_its_definition(capsys):
    bench.main(["smoke", "--json"])
    *lines, last = capsys.readouterr().out.splitlines()
    results = json.loads(last)
    smoke = [name for name in cases.CASES if name.endswith(":smoke")]
    assert len(smoke) == len(cases.OPERATIONS)
    assert sorted(r["case"] for r in results["results"] if r["side"] == "cpu") == sorted(smoke)
    assert len(lines) == len(results["results"])
    assert all(row["items_per_s"] > 0 for row in results["results"])
    assert {"cpu", "cores", "date", "numba", "numpy", "python"} <= set(results["machine"])


@pytest.mark.parametrize("operation", cases.OPERATIONS, ids=lambda o: o.label)
def test_a_wrong_result_is_not_timed(operation):
    operands = operation.operands(cases.PAIR_SIZES[0])
    result = bench.outputs(backend.TWINS[operation.name][0](*operation.own(operands)))
    bench.check(operation, operands, result)
    for i, array in enumerate(result):
        checked = array[..., : cases.CHECKED_ROWS]
        numbers = np.argwhere(checked == checked)
        if not len(numbers):
            continue  # not asked
        wrong = [a.copy() for a in result]
        wrong[i][tuple(numbers[0])] += 1
        with pytest.raises(AssertionError):
            bench.check(operation, operands, wrong)


def test_an_unknown_case_is_refused_with_those_that_exist(capsys):
    with pytest.raises(SystemExit) as stop:
        bench.main(["nothing"])
    assert stop.value.code == 2
    assert "counts:smoke" in capsys.readouterr().err
