"""The sets of features that ship: sound over their tables, with units, and worth their columns."""

import json
from pathlib import Path

import pandas as pd
import pytest

from engine import profile
from engine.settings import Job, load
from jobs.check import check, subscriber_kinds
from tests.test_cli import walras

CONFIGS = Path(__file__).parents[1] / "configs"
SETS = {"telecom": "quickstart", "retail": "complete_journey"}
LEAST = {"telecom": 120, "retail": 40}
OPERATORS = Job.model_json_schema()["properties"]["features"]["items"]["discriminator"]["mapping"]


def changes(name, folder):
    """Return changes of a job that take the set in place of the job's own features."""
    return [f"features=[{{include: features/{name}.yaml}}]", f"inputs.folder={folder}"]


def job_of(name, folder):
    return load(CONFIGS / f"{SETS[name]}.yaml", changes(name, folder))


def test_every_set_is_tested():
    assert {path.stem for path in (CONFIGS / "features").iterdir()} == set(SETS)


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_sound_and_each_of_its_columns_has_a_unit(name, tmp_path):
    job = job_of(name, tmp_path / "none")
    assert profile.problems(job, subscriber_kinds(job)) == []
    described = profile.describe(job)
    names = [row["name"] for row in described]
    assert len(set(names)) == len(names) >= LEAST[name]
    for row in described:
        assert row["unit"] and row["formula"] and row["source"], row["name"]


@pytest.mark.parametrize("name", SETS)
def test_a_set_serves_the_job_of_its_tables(name, tmp_path):
    """Offers, constraints and scores of the job find what they name in the set."""
    assert check(job_of(name, tmp_path / "none")).problems == []


def test_the_telecom_set_reads_every_table_of_the_operator_and_has_every_operator(tmp_path):
    job = job_of("telecom", tmp_path / "none")
    assert set(profile.event_columns(job)) == set(job.inputs.tables())
    named = {feature.op for feature in job.features}
    assert named == set(OPERATORS)
    plan = profile.passes(job)
    assert plan["passes"] < plan["quantities"] / 2


def test_the_readme_states_the_size_of_the_telecom_set(tmp_path):
    job = job_of("telecom", tmp_path / "none")
    readme = (CONFIGS.parent / "README.md").read_text()
    columns, passes = len(profile.columns(job)), profile.passes(job)["passes"]
    assert f"{columns} columns over the nine event tables" in readme
    assert f"in {passes} passes" in readme


def test_the_telecom_set_profiles_a_small_operator_without_empty_columns(tmp_path):
    options = [
        *changes("telecom", tmp_path / "in"),
        "inputs.source.subscribers=500",
        "inputs.partitions=2",
    ]
    words = [word for change in options for word in ("--set", change)]
    job = CONFIGS / "quickstart.yaml"
    result = walras("profile", job, *words, "--out", tmp_path / "runs", "--json", "--quiet")
    assert result.exit_code == 0, result.stderr
    stage = json.loads(result.stdout)
    found = pd.read_parquet(Path(stage["folder"]) / "features")
    assert len(found) == stage["summary"]["subscribers"] == 500
    assert stage["summary"]["passes"] == profile.passes(job_of("telecom", tmp_path))
    columns = found[stage["summary"]["columns"]]
    assert columns.columns[columns.isna().all()].tolist() == []
    constant = columns.nunique() == 1
    assert columns.columns[constant].tolist() == []
