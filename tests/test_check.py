"""A check says every problem of a job and its inputs at once, and runs nothing."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import limit_problems
from engine.settings import load, parse
from jobs.check import check
from tests.test_cli import walras

ROOT = Path(__file__).parent.parent
JOB = """
name: tiny
as_of: 2026-10-01
inputs:
  folder: {folder}
  subscribers: {{path: subscribers.parquet, key: id}}
  events:
    usage: {{path: usage.parquet, key: id, values: {{charge: {{unit: money}}}}, categories: [kind]}}
features:
  - {{op: sum, name: spend, of: usage.charge, windows: [7d], where: "kind = 'data'"}}
  - {{op: expression, name: rich, sql: "spend_7d > 10"}}
scores: {{kind: formula, formulas: {{data: "0.1 * spend_7d"}}}}
catalogue:
  currency: EUR
  weight: "1 + spend_7d"
  channels: {{sms: {{consent: optin, device: rich, capacity: 9}}, email: {{}}}}
  offers:
    data: {{category: boost, value: 5, channels: [sms, email], eligible: "NOT rich", minimum: 1}}
policies: [{{name: one, at_most: 1}}]
constraints: [{{name: budget, measure: cost, at_most: 100, where: "segment = 'gold'"}}]
"""


def job_in(folder, *changes):
    """Write the inputs of the job, without a single row, and return it."""
    kinds = {
        "id": pa.int32(), "optin": pa.bool_(), "segment": pa.dictionary(pa.int8(), pa.string()),
        "born": pa.date32(), "worth": pa.decimal128(9, 2), "tags": pa.list_(pa.string()),
    }  # fmt: skip
    usage = {
        "id": pa.int64(),
        "time": pa.timestamp("us"),
        "charge": pa.float32(),
        "kind": pa.utf8(),
    }
    for name, columns in (("subscribers", kinds), ("usage", usage)):
        pq.write_table(pa.schema(columns.items()).empty_table(), folder / f"{name}.parquet")
    return parse(JOB.format(folder=folder), "job.yaml", changes)


def test_a_sound_job_has_no_problem_and_is_described(tmp_path):
    found = check(job_in(tmp_path))
    assert found.problems == []
    assert found.facts == {
        "job": "tiny, as of 2026-10-01 00:00 UTC",
        "inputs": f"{tmp_path} (files)",
        "subscriber columns": "5",
        "event tables": "1 (usage)",
        "features": "2 in 2 columns",
        "scores": "formula",
        "offers": "1 (data)",
        "channels": "2 (sms, email)",
        "actions": "2",
        "policies": "1 (one)",
        "constraints": "3 (1 stated, 1 capacities, 0 quotas, 1 minimums)",
        "pursues": "the most value",
        "hold-out": "5.0%",
        "cluster": "local",
    }


FAULTS = {  # the change, and what is said of it
    "inputs.events.usage.time=at": "the column at is missing",
    "inputs.events.usage.categories=[kind, charge]": "charge",
    "features.spend.of=usage.cost": "cost",
    "features.spend.where=kind = 1": "(spend).where",
    "catalogue.offers.data.eligible=old AND rich": "unknown column old",
    "catalogue.weight=segment": "catalogue.weight: should be a number",
    "constraints.budget.where=worth": "constraints.budget.where: should be a boolean",
    "catalogue.channels.email.consent=born": "catalogue.channels.email.consent: should be a bool",
    "catalogue.channels.email.device=phone": "catalogue.channels.email.device: there is no such",
}


@pytest.mark.parametrize(("change", "said"), FAULTS.items())
def test_each_fault_is_named(tmp_path, change, said):
    problems = check(job_in(tmp_path, change)).problems
    assert any(said in problem for problem in problems), problems


def test_all_faults_are_named_at_once(tmp_path):
    independent = [fault for fault in FAULTS if not fault.startswith("features")]
    problems = check(job_in(tmp_path, *independent)).problems
    for fault in independent:
        assert any(FAULTS[fault] in problem for problem in problems), (fault, problems)
    assert len(set(problems)) == len(problems)


def test_a_consent_column_that_is_not_boolean_names_those_that_are(tmp_path):
    (problem,) = check(job_in(tmp_path, "catalogue.channels.email.consent=segment")).problems
    assert problem == (
        "catalogue.channels.email.consent: should be a boolean column, got segment, a text; "
        "the boolean columns are optin, rich"
    )


@pytest.mark.parametrize("name", ["capacity:sms", "minimum:data", "quota:data", "budget:minimum"])
def test_a_constraint_with_the_name_of_another_limit_is_refused(tmp_path, name):
    def problems(called):
        both = {"name": "budget", "measure": "cost", "at_most": 100, "at_least": 0}
        other = {"name": called, "measure": "contacts", "at_most": 1}
        constraints = f"constraints={json.dumps([both, other])}"
        return check(job_in(tmp_path, constraints, "catalogue.offers.data.quota=9")).problems

    (problem,) = problems(name)
    assert problem.startswith(f"constraints: 2 limits are called {name}: capacities, quotas, min")
    assert problems(f"{name}2") == []  # such as capacity:sms2, of which there is none


def catalogue_of(offers, channels):
    """Return changes that make a catalogue of so many offers on so many channels."""
    names = [f"c{i}" for i in range(channels)]
    offer = {"category": "boost", "value": 1, "channels": names}
    catalogue = {
        "currency": "EUR",
        "channels": {name: {} for name in names},
        "offers": {f"o{i}": offer for i in range(offers)},
    }
    scores = {"kind": "formula", "formulas": {f"o{i}": "0.1" for i in range(offers)}}
    return [f"catalogue={json.dumps(catalogue)}", f"scores={json.dumps(scores)}"]


@pytest.mark.parametrize(
    ("actions", "policies", "fine"),
    [
        ((64, 8), "[]", True),
        ((57, 9), "[]", False),
        ((57, 9), "[{name: one, at_most: 1}, {name: two, at_most: 2}]", True),
        ((57, 9), "[{name: two, at_most: 2}]", False),
        ((57, 9), "[{name: each, at_most: 1, per: channel}]", False),
        ((513, 1), "[{name: each, at_most: 1, per: channel}]", True),
        ((513, 1), "[{name: each, at_most: 1, per: category, only: [boost]}]", True),
        ((513, 1), "[{name: each, at_most: 2, per: category}]", False),
        ((1, 513), "[]", True),  # an offer goes by one channel
    ],
)
def test_too_many_actions_are_refused_where_bundles_are_searched(tmp_path, actions, policies, fine):
    job = job_in(tmp_path, *catalogue_of(*actions), f"policies={policies}")
    count = actions[0] * actions[1]
    said = (
        f"catalogue: has {count} actions (an offer on a channel, on a day); at most 512 "
        "are allowed, or 32767 with a policy that leaves a subscriber one contact (at_most: 1)"
    )
    assert check(job).problems == ([] if fine else [said])


def test_more_actions_than_the_kernels_can_number_are_always_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limit_problems, "MOST_CODES", 9)
    one = "policies=[{name: one, at_most: 1}]"
    assert check(job_in(tmp_path, *catalogue_of(3, 3), one)).problems == []
    (problem,) = check(job_in(tmp_path, *catalogue_of(5, 2), one)).problems
    assert problem.startswith("catalogue: has 10 actions")


def test_missing_and_unreadable_files_are_named_together(tmp_path):
    job = job_in(tmp_path)
    (tmp_path / "subscribers.parquet").unlink()
    (tmp_path / "usage.parquet").write_text("no Parquet")
    problems = check(job).problems
    assert any("inputs.subscribers.path: no file matches" in problem for problem in problems)
    assert any("usage.parquet: cannot be read" in problem for problem in problems)


def test_the_key_is_called_subscriber_in_expressions(tmp_path):
    problems = check(job_in(tmp_path, "catalogue.offers.data.eligible=subscriber > 5")).problems
    assert problems == []
    (problem,) = check(job_in(tmp_path, "catalogue.offers.data.eligible=id > 5")).problems
    assert "unknown column id" in problem


@settings(max_examples=25)
@given(changes=st.sets(st.sampled_from(sorted(FAULTS))))
def test_any_set_of_faults_is_a_list_of_problems_and_no_failure(tmp_path_factory, changes):
    folder = tmp_path_factory.mktemp("job")
    problems = check(job_in(folder, *sorted(changes))).problems
    assert bool(problems) == bool(changes)


@pytest.mark.parametrize("name", ["quickstart", "complete_journey", "household"])
def test_the_job_files_of_the_project_are_sound_without_their_inputs(tmp_path, name):
    folder = tmp_path / "none"
    job = load(ROOT / "configs" / f"{name}.yaml", [f"inputs.folder={folder}"])
    found = check(job)
    assert found.problems == []
    assert not folder.exists()  # the sample for the schemas is gone


def test_problems_of_a_source_name_its_own_folder(tmp_path):
    folder = tmp_path / "none"
    changes = [f"inputs.folder={folder}", "inputs.events.usage.time=at"]
    (problem,) = check(load(ROOT / "configs" / "quickstart.yaml", changes)).problems
    assert problem.startswith(f"{folder}/usage/")


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    job = load(ROOT / "configs" / "quickstart.yaml", [f"inputs.folder={tmp_path}"])
    (problem,) = check(job).problems
    assert problem.startswith(f"inputs.folder: {tmp_path} should be filled with")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_command_prints_facts_or_problems_and_runs_nothing(tmp_path):
    path = tmp_path / "job.yaml"
    job_in(tmp_path)
    path.write_text(JOB.format(folder=tmp_path))
    before = sorted(tmp_path.rglob("*"))
    sound = walras("check", path)
    assert sound.exit_code == 0 and "offers: 1 (data)\n" in sound.stdout
    assert json.loads(walras("check", path, "--json").stdout)["facts"]["actions"] == "2"
    wrong = walras("check", path, "--set", "catalogue.weight=segment")
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert wrong.stderr == (
        f"error: {path}: catalogue.weight: should be a number expression, got a text: segment\n"
    )
    assert sorted(tmp_path.rglob("*")) == before
