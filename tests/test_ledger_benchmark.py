"""The ledger's benchmark counts what it times; here its smallest size runs."""

import json

import pytest

from benchmarks import ledger


def test_every_command_is_timed(capsys):
    ledger.main(["--contacts", "20", "--rows", "60", "--json"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    names = [row["command"] for row in found["commands"]]
    assert names[:2] == ["3 runs written", "commit"] and names[-1] == "verify"
    assert len(names) == 12 and all(row["seconds"] > 0 for row in found["commands"])


def test_a_ledger_of_one_run_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        ledger.main(["--contacts", "20", "--rows", "20"])
    assert stop.value.code == 2 and "at least two runs" in capsys.readouterr().err
