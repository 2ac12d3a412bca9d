"""Wrong what-ifs: every problem at once, with what was found and is allowed; nothing is lost."""

import json
import math
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from engine.errors import ConfigError
from engine.session import Session
from jobs import outcome
from jobs.cli import app
from jobs.what_if import opened
from tests import problems
from tests.golden import __main__ as golden


def lines_of(error):
    """Return the lines that a command would print; its exit code is that of wrong input."""
    code, lines = outcome.explain(error, Path("nowhere"), debug=False)
    assert code == outcome.WRONG
    return [line.removeprefix("error: ") for line in lines]


def wrong(ask):
    with pytest.raises(ConfigError) as error:
        ask()
    return lines_of(error.value)


@pytest.fixture(scope="module")
def base():
    session = Session(problems.realistic(60, seed=4), measured=["watched"])
    session.solve()
    return session


def test_all_problems_of_a_question_are_told_at_once(base):
    amounts = {
        "bugdet": 1, "watched": 2, "budget": -1, "capacity_0": math.nan, "capacity_1": math.inf,
        "quota_0": "9", "quota_1": True, "minimum_0": -math.inf, "minimum_3": None,
    }  # fmt: skip
    before = base.explain(row=0), base.sensitivity(verify=False), base.problem.limit.copy()
    found = wrong(lambda: base.solve(amounts, drop=["nothing", "budget", "quota_2", "quota_2"]))
    ends = "must be a number from 0 to 1e12, got"
    assert found == [
        "limits.watched: is only measured (enforce: false), it limits nothing; enforce it in the "
        "job to ask for other amounts",
        f"limits: unknown, got bugdet, nothing; the limits are {', '.join(base.limits)}",
        "limits: both changed and dropped, got budget; do one of them",
        "limits: dropped twice, got quota_2; name each once",
        f"limits.budget: {ends} -1",
        f"limits.capacity_0: {ends} nan",
        f"limits.capacity_1: {ends} inf",
        f"limits.quota_0: {ends} '9'",
        f"limits.quota_1: {ends} True",
        f"limits.minimum_0: {ends} -inf",
        f"limits.minimum_3: {ends} None",
    ]
    # The last answer is still there, and the base as it was.
    assert (base.explain(row=0), base.sensitivity(verify=False)) == before[:2]
    assert (base.problem.limit == before[2]).all()
    assert (
        base.solve().value == base.solve({"budget": base.problem.limit[0] / problems.MICRO}).value
    )


def test_all_wrong_amounts_of_a_frontier_are_told_before_anything_is_solved(base):
    last = base.explain(row=1)
    found = wrong(lambda: base.frontier("budget", [100, -1, math.nan, "x", 10**400]))
    assert [line.rpartition(", got ")[2][:4] for line in found] == ["-1", "nan", "'x'", "1000"]
    assert base.explain(row=1) == last
    for values in ([], [1.0]):
        (unknown,) = wrong(lambda values=values: base.frontier("bugdet", values))
        assert unknown.startswith("frontier: unknown, got bugdet; the limits are budget, ")
    (measured,) = wrong(lambda: base.frontier("watched", [1]))
    assert measured.startswith("frontier.watched: is only measured")
    assert base.frontier("budget", []) == []
    assert [p.limit for p in base.frontier("budget", iter([Fraction(201, 2), np.int64(60)]))] == [
        60.0, 100.5,
    ]  # fmt: skip


def test_all_wrong_names_of_ranges_are_told_at_once(base):
    assert wrong(lambda: base.sensitivity(["x", "budget", "y"])) == [
        f"sensitivity: unknown, got x, y; the limits are {', '.join(base.limits)}"
    ]
    free = Session(base.problem.with_rows([]))
    free.solve()
    assert wrong(lambda: free.solve({"budget": 1})) == [
        "limits: unknown, got budget; there are no limits"
    ]
    assert free.sensitivity() == []


@pytest.fixture
def run(tmp_path):
    """The golden job's output folder after a run, and the settings that open it."""
    golden.run(tmp_path)
    return tmp_path, [f"inputs.folder={golden.HERE / 'inputs'}", f"output={tmp_path}"]


JOB = golden.HERE / "job.yaml"


def test_unknown_subscribers_are_refused_whatever_they_are(run):
    job = opened(JOB, run[1])
    known = job.candidates[0].subscriber.iloc[0]
    assert wrong(lambda: job.explain(known)) == [
        "session: nothing has been solved yet; call solve() first"
    ]
    job.session.solve()
    for key in (-1, "7", None, math.nan, [], 2**70):
        (line,) = wrong(lambda key=key: job.explain(key))
        assert line == f"explain: no such subscriber, got {key!r}; there are 40 in the job"


CHANGES = {
    "one that is gone": lambda folder: shutil.rmtree(folder),
    "a record cut short": lambda folder: record(folder).write_text(record(folder).read_text()[:99]),
    "an empty record": lambda folder: record(folder).write_text(""),
    "a record of something else": lambda folder: record(folder).write_text("[1, 2]"),
    "a record without files": lambda folder: record(folder).write_text('{"fingerprint": "x"}'),
    "a record that is no text": lambda folder: record(folder).write_bytes(b"\xff\xfe"),
    "a file in its place": lambda folder: (shutil.rmtree(folder), folder.write_text("x")),
    "the record of another stage": lambda folder: shutil.copy(
        next(folder.parent.glob("profile-*")) / "stage.json", record(folder)
    ),
    "a part cut short": lambda folder: largest(folder).write_bytes(b"PAR1"),
    "a part that is gone": lambda folder: largest(folder).unlink(),
}


def record(folder):
    return folder / "stage.json"


def largest(folder):
    return max(folder.rglob("*.parquet"), key=lambda path: path.stat().st_size)


def test_stages_that_are_not_there_or_half_written_are_all_named(run):
    out, settings = run
    kept = out.parent / f"{out.name}-kept"
    shutil.copytree(out, kept)
    try:
        for change in CHANGES.values():
            shutil.rmtree(out / ".stages")
            shutil.copytree(kept / ".stages", out / ".stages")
            for name in ("ingest", "score"):
                change(next((out / ".stages").glob(f"{name}-*")))
            first, last = wrong(lambda: opened(JOB, settings))
            for name, line in (("ingest", first), ("score", last)):
                assert f"stage {name} is not finished: {out}/.stages/{name}-" in line
                assert line.endswith(f"; run `walras score {JOB}` with the same settings")
    finally:
        shutil.rmtree(kept)
    words = ["score", JOB, "--quiet"] + [word for s in settings for word in ("--set", s)]
    assert CliRunner().invoke(app, list(map(str, words))).exit_code == 0
    assert (
        opened(JOB, settings).session.solve().value
        == json.loads(next(out.glob("golden-*/certificate.json")).read_text())["value"]
    )


def test_a_result_of_other_settings_or_inputs_is_not_taken(run, tmp_path_factory):
    """Scores of another catalogue, other inputs, or another place."""
    out, settings = run
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    inputs = tmp_path_factory.mktemp("inputs")
    shutil.copytree(golden.HERE / "inputs", inputs, dirs_exist_ok=True)
    contacts = inputs / "contacts.csv"
    contacts.write_text("\n".join(contacts.read_text().splitlines()[:-1]) + "\n")
    for changes, missing in (
        ([f"output={elsewhere}"], ["ingest", "profile", "score"]),
        ([f"inputs.folder={inputs}"], ["ingest", "profile", "score"]),
        (["scores.formulas.win_back='0.5'"], ["score"]),
    ):
        found = wrong(lambda changes=changes: opened(JOB, [*settings, *changes]))
        assert [line.split("stage ")[1].split()[0] for line in found] == missing
        assert all("is not there" in line for line in found)
    assert opened(JOB, settings).session.limits


def test_files_that_go_after_a_job_was_opened_are_named(run):
    out, settings = run
    job = opened(JOB, settings)
    value = job.session.solve().value
    shutil.rmtree(out / ".stages")
    key = job.candidates[0].subscriber.iloc[0]
    (line,) = wrong(lambda: job.explain(key))
    assert str(out) in line and "cannot be read" in line and "run `walras score` again" in line
    assert job.session.solve().value == value  # the session needs no files
    assert job.session.explain(row=0).actions
