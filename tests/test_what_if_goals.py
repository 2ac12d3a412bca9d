"""What-ifs of a job with goals: the answers of jobs that state what the goals reached as limits."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine import asked
from engine.errors import ConfigError
from engine.solve import Status
from jobs.cli import app
from jobs.what_if import opened
from tests.golden import __main__ as golden

GOALS = [
    {"name": "volume", "meet": {"data_accepts": 200, "minimum:win_back": 1}},
    {"name": "reach", "maximise": "contacts", "within": 0.2},
]
FAR = [
    "constraints.2.at_least=1.5",
    "catalogue.offers.win_back.minimum=9",
    "solver.gap_tolerance=1e-12",
]
ASKED = [
    {}, {"budget": 6}, {"budget": 2.5}, {"data_accepts": 0.2}, {"gold_contacts": 0},
    {"minimum:win_back": 2}, {"minimum:win_back": 40}, {"kept:reach": 6, "budget": 7},
]  # fmt: skip


def at(out, *changes):
    """Return the settings of the golden job in its own words: its inputs, a folder, changes."""
    return [f"inputs.folder={golden.HERE / 'inputs'}", f"output={out}", *changes]


def run(out, *changes):
    """Run the golden job; return the exit code and its certificate."""
    words = ["run", golden.HERE / "job.yaml", "--quiet", "--json"]
    for change in at(out, *changes):
        words += ["--set", change]
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code in (0, 3), result.stderr
    folder = Path(json.loads(result.stdout)["run"])
    return result.exit_code, json.loads((folder / "certificate.json").read_text())


def stated(amounts):
    """Return the settings of a job without goals whose limits have these amounts."""
    reach = {"name": "reach", "measure": "contacts", "at_least": amounts["kept:reach"]}
    rules = [
        {"name": "budget", "measure": "cost", "at_most": amounts["budget"]},
        {"name": "gold_contacts", "measure": "contacts", "where": "segment = 'gold'",
         "at_most": amounts["gold_contacts"]},
        {"name": "data_accepts", "measure": "acceptances", "categories": ["data"],
         "at_least": amounts["data_accepts"]},
        reach,
    ]  # fmt: skip
    least = int(amounts["minimum:win_back"])
    return [f"constraints={json.dumps(rules)}", f"catalogue.offers.win_back.minimum={least}"]


@pytest.fixture(scope="module")
def goals_run(tmp_path_factory):
    """The output folder of the golden job with goals, its settings, and its certificate."""
    out = tmp_path_factory.mktemp("goals")
    changes = [f"goals={json.dumps(GOALS)}", *FAR]
    code, certificate = run(out, *changes)
    assert code == 0
    return out, changes, certificate


def test_a_job_with_goals_is_opened_with_the_levels_its_run_reached(goals_run):
    out, changes, certificate = goals_run
    job = opened(golden.HERE / "job.yaml", at(out, *changes))
    amounts = {name: asked.amount(job.session.problem, name) for name in job.session.limits}
    assert amounts == {row["name"]: row["limit"] for row in certificate["constraints"]}
    volume, reach = certificate["stages"]
    assert [dict(r.kept) for r in job.reached] == [volume["kept"], reach["kept"]]
    kept = volume["kept"]
    assert 0 < kept["data_accepts"] < 1.5 and 0 < kept["minimum:win_back"] < 9  # both are missed
    found = job.session.solve()
    assert found.value == certificate["value"] and found.status == Status.OPTIMAL
    told = {s.name: s for s in job.session.sensitivity()}
    for row in certificate["constraints"]:
        assert told[row["name"]].limit == row["limit"]


@pytest.mark.parametrize("question", ASKED)
def test_what_ifs_under_goals_are_runs_that_state_the_levels(goals_run, question):
    out, changes, _ = goals_run
    job = opened(golden.HERE / "job.yaml", at(out, *changes))
    job.session.solve()
    amounts = {name: asked.amount(job.session.problem, name) for name in job.session.limits}
    found = job.session.solve(question)
    code, certificate = run(out, FAR[2], *stated({**amounts, **question}))
    assert (found.status == Status.INFEASIBLE) == (code == 3)
    if code == 0:
        near = {"rel": 1e-12, "abs": 1e-12}
        assert found.value == pytest.approx(certificate["value"], **near)
        assert found.bound >= certificate["value"] - 1e-12
    subscriber = job.candidates[0].subscriber.iloc[0]
    told = job.explain(subscriber)
    assert len(told.actions) == len(job.session.names)


def test_the_limits_of_goals_that_conflict_are_named(goals_run):
    out, changes, _ = goals_run
    changes = [*changes, "catalogue.offers.outage_apology.minimum=90"]
    with pytest.raises(ConfigError, match="no allocation keeps minimum:outage_apology; relax it"):
        opened(golden.HERE / "job.yaml", at(out, *changes))
