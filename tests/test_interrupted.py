"""Ctrl-C during the search: the best answer so far is certified and published, and no end to it."""

import json
import signal

import pytest

from engine import solve as engine_solve
from jobs import allocate
from jobs.stages import STORE
from tests.golden import __main__ as golden
from tests.test_cli import OPTIMAL, allocated, job, output_of, runs_in, walras

__all__ = ["allocated", "job"]  # fixtures


@pytest.fixture
def ctrl_c(monkeypatch):
    """Press Ctrl-C at the steps of the search that are put into the list returned."""
    pressed = []

    def solve(problem, settings, tell, **options):
        def told(step):
            tell(step)
            if step.step in pressed:
                signal.raise_signal(signal.SIGINT)

        return engine_solve.solve(problem, settings, told, **options)

    monkeypatch.setattr(allocate, "solve", solve)
    return pressed


def test_the_best_answer_so_far_is_published_and_the_next_run_goes_on(job, allocated):
    allocated["summary"] = {**OPTIMAL, "interrupted": True}
    assert walras("run", job).exit_code == 0
    (folder,) = runs_in(output_of(job))
    allocated["summary"] = OPTIMAL
    again = walras("run", job)
    assert (again.exit_code, allocated["runs"]) == (0, 2)
    assert "interrupted before, solved again" in again.stderr
    assert "cut short; it is made again" in again.stderr
    assert runs_in(output_of(job)) == [folder]
    assert "interrupted" not in json.loads((folder / "summary.json").read_text())
    assert "already done" in walras("run", job).stderr and allocated["runs"] == 2


def test_an_aborted_second_try_leaves_the_first_answer(job, allocated):
    allocated["summary"] = {**OPTIMAL, "interrupted": True}
    walras("run", job)
    (folder,) = runs_in(output_of(job))
    allocated["summary"] = KeyboardInterrupt()
    assert walras("run", job).exit_code == 130
    assert runs_in(output_of(job)) == [folder]
    assert json.loads((folder / "summary.json").read_text())["interrupted"]


def test_ctrl_c_in_the_search_certifies_what_there_is(tmp_path, ctrl_c):
    ctrl_c.append("bound")
    run = golden.run(tmp_path)
    summary, certificate = (
        json.loads((run / name).read_text()) for name in ("summary.json", "certificate.json")
    )
    assert summary["interrupted"] and certificate["certified"] and not summary["violations"]
    assert summary["status"] in ("TIME_LIMIT", "OPTIMAL")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_ends_the_run_with_nothing_left(tmp_path, ctrl_c):
    ctrl_c.extend(["bound", "rounded"])
    with pytest.raises(RuntimeError, match="exit code 130: (.|\n)*interrupted: nothing half-writt"):
        golden.run(tmp_path)
    assert runs_in(tmp_path) == []
    assert not list((tmp_path / STORE).glob(".tmp-*")) + list((tmp_path / STORE).glob("allocate-*"))
