"""The benchmarks check what they time; here their smallest size runs."""

import json

import numpy as np
import pytest

from benchmarks import bench


def test_the_smoke_size_of_every_case_agrees_with_its_definition(capsys):
    bench.main(["smoke", "--json"])
    *lines, last = capsys.readouterr().out.splitlines()
    results = json.loads(last)
    smoke = [name for name in bench.CASES if name.endswith(":smoke")]
    assert smoke
    assert [row["case"] for row in results["results"] if row["side"] == "cpu"] == smoke
    assert len(lines) == len(results["results"])
    assert all(row["events_per_s"] > 0 for row in results["results"])
    assert {"cpu", "numba", "numpy", "python"} <= set(results["machine"])


@pytest.mark.parametrize("operation", bench.OPERATIONS, ids=lambda o: o.name)
def test_a_wrong_result_is_not_timed(operation):
    operands = operation.operands(bench.SIZES[0])
    result = bench.outputs(bench.backend.TWINS[operation.name][0](*operands))
    bench.check(operation, operands, result)
    start, stop = operands[1 + operation.valued : 3 + operation.valued]
    busiest = int(np.argmax((stop - start)[: bench.CHECKED_ROWS]))
    wrong = [np.where(np.arange(array.shape[-1]) == busiest, array + 1, array) for array in result]
    with pytest.raises(AssertionError):
        bench.check(operation, operands, wrong)


def test_an_unknown_case_is_refused_with_those_that_exist(capsys):
    with pytest.raises(SystemExit) as stop:
        bench.main(["nothing"])
    assert stop.value.code == 2
    assert "windowed:smoke" in capsys.readouterr().err
