"""Features from another file: taken whole, changed by name, and refused with file and place."""

import json

import pytest

from engine.errors import ConfigError
from engine.settings import load, parse, read
from jobs.manifest import effective
from jobs.stages import fingerprints
from tests.test_cli import walras
from tests.test_settings import JOB

SET = """
features:
  - {op: count, name: calls, of: usage, windows: [7d]}
  - {op: sum, name: cost, of: usage.charge, windows: [1d, 7d]}
  - {op: expression, name: cost_per_call, sql: "cost_7d / NULLIF(calls_7d, 0)"}
"""


@pytest.fixture
def folder(tmp_path):
    """Return a folder with a set of features below it."""
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "calls.yaml").write_text(SET)
    return tmp_path


def job_of(folder, *items):
    """Write the job of the settings' tests with other features; return its path."""
    head, _, rest = JOB.partition("features:")
    listed = "".join(f"  - {item}\n" for item in items)
    path = folder / "job.yaml"
    path.write_text(f"{head}features:\n{listed}{rest[rest.index('scores:') :]}")
    return path


def refused(path, *changes):
    with pytest.raises(ConfigError) as caught:
        load(path, changes)
    return str(caught.value).replace(str(path.parent), "DIR").splitlines()


def names(job):
    return [feature.name for feature in job.features]


TENURE = "{op: tenure, name: tenure_days, since: born}"
CALLS = "{include: sets/calls.yaml}"


def test_the_features_of_a_file_stand_in_place_of_the_item(folder):
    job = load(job_of(folder, TENURE, CALLS, "{op: recency, name: quiet_days, of: usage}"))
    assert names(job) == ["tenure_days", "calls", "cost", "cost_per_call", "quiet_days"]
    listed = SET.strip().splitlines()[1:]
    whole = job_of(folder, TENURE, *(line.strip()[2:] for line in listed),
                   "{op: recency, name: quiet_days, of: usage}")  # fmt: skip
    assert load(whole) == job


def test_features_may_be_left_out_by_name(folder):
    job = load(job_of(folder, "{include: sets/calls.yaml, except: [cost_per_call, calls]}"))
    assert names(job) == ["cost"]


def test_changes_go_over_included_features_by_name_and_by_place_in_the_whole_list(folder):
    path = job_of(folder, TENURE, CALLS)
    job = load(path, ["features.cost.windows=[30d]", "features.1.windows=[2d]"])
    assert job.features[2].windows == ["30d"] and job.features[1].windows == ["2d"]
    assert names(load(path, ["features=[{include: sets/calls.yaml, except: [cost]}]"])) == [
        "calls", "cost_per_call"
    ]  # fmt: skip
    replaced = load(path, ["features.0={include: sets/calls.yaml}", "features.calls.windows=[3d]",
                           "features.4={op: recency, name: r, of: usage}",
                           "features.5={op: recency, name: s, of: usage}",
                           "features.3={op: recency, name: t, of: usage}"])  # fmt: skip
    assert names(replaced) == ["calls", "cost", "cost_per_call", "t", "r", "s"]
    assert replaced.features[0].windows == ["3d"]


def test_problems_name_the_file_and_the_place_there_and_all_are_told(folder):
    (folder / "sets" / "wrong.yaml").write_text(
        "features:\n  - {op: count, name: a, of: usage, windows: [7d, 0d]}\n"
        "  - {op: recency, name: b, of: usage, half_life: 7d}\n  - 7\n  - {op: guess, name: c}\n"
    )
    path = job_of(folder, TENURE, CALLS, "{include: sets/wrong.yaml}", "{op: count, name: Bad}")
    found = refused(path, "holdout_share=1", "features.cost.of=7")
    ops = found[4].partition("there are ")[2]
    assert "count" in ops and "tenure" in ops
    assert found == [
        "DIR/sets/calls.yaml: features.1.of: input should be a valid string, got 7",
        "DIR/sets/wrong.yaml: features.0.windows.1: should be a duration: a whole number and s, m, "
        "h, d or w, for example 30d or 12h, got '0d'",
        "DIR/sets/wrong.yaml: features.1.half_life: unknown setting, got '7d'; there are name, of, "
        "op, where",
        "DIR/sets/wrong.yaml: features.2: input should be a valid dictionary or object to extract "
        "fields from, got 7",
        f"DIR/sets/wrong.yaml: features.3.op: should say which, got 'guess'; there are {ops}",
        "DIR/job.yaml: features.3.name: should be a name: a-z, 0-9 and _, starting with a letter, "
        "at most 63 long, got 'Bad'",
        "DIR/job.yaml: features.3.of: is missing; it has no default",
        "DIR/job.yaml: holdout_share: input should be less than 1, got 1",
    ]


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        (None, ["DIR/job.yaml: features.0.include: DIR/other.yaml: cannot be read: No such file or "
                "directory, got 'other.yaml'; a path starts at the folder of the job file"]),
        ("a: [", ["DIR/other.yaml: is not valid YAML: "]),
        ("a: &x 1\nb: *x", ["DIR/other.yaml: is not valid YAML: aliases (*name) are not allowed"]),
        ("- a", ["DIR/other.yaml: should be a mapping of settings, got ['a']"]),
        ("", ["DIR/other.yaml: should be a mapping of settings, got None"]),
        ("{}", ["DIR/other.yaml: features: is missing; it has no default"]),
        ("features: {a: 1}",
         ["DIR/other.yaml: features: should be a list of features, got {'a': 1}"]),
        ("seed: 3\nfeatures: [{include: a.yaml}, {op: recency, name: r, of: usage}]\n",
         ["DIR/other.yaml: seed: unknown setting, got 3; there is features",
          "DIR/other.yaml: features.0.include: an included file cannot include, got 'a.yaml'; "
          "include it in the job file"]),
    ],
)  # fmt: skip
def test_what_cannot_be_included_is_told_with_the_other_problems(folder, content, problems):
    if content is not None:
        (folder / "other.yaml").write_text(content)
    found = refused(job_of(folder, "{include: other.yaml}", CALLS), "seed=-1")
    *about_file, last = found
    assert last == "DIR/job.yaml: seed: input should be greater than or equal to 0, got -1"
    assert len(about_file) == len(problems)
    for line, expected in zip(about_file, problems, strict=True):
        assert line.startswith(expected) and (line == expected or "YAML" in expected)


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        ("{include: 7}", "include: input should be a valid string, got 7"),
        ("{include: ''}", "include: string should have at least 1 character, got ''"),
        ('{include: "a\\0b"}', "include: 'DIR/a\\x00b': cannot be read: "),
        ("{include: sets}", "include: DIR/sets: cannot be read: Is a directory, got 'sets'; "),
        ("{include: sets/calls.yaml, name: x}",
         "name: unknown setting, got 'x'; there are except, include"),
        ("{include: sets/calls.yaml, except: calls}", "except: input should be a valid list"),
        ("{include: sets/calls.yaml, except: [cost, calsl]}",
         "except.1: DIR/sets/calls.yaml has no such feature, got calsl; did you mean calls? there "
         "are calls, cost, cost_per_call"),
    ],
)  # fmt: skip
def test_a_wrong_item_that_includes(folder, item, problem):
    (line,) = refused(job_of(folder, TENURE, item))
    assert line.startswith(f"DIR/job.yaml: features.1.{problem}")


def test_a_file_included_twice_names_its_features_twice(folder):
    found = refused(job_of(folder, CALLS, CALLS))
    assert found == [
        f"DIR/job.yaml: features: {name} is named twice"
        for name in ("calls", "cost", "cost_per_call")
    ]


def test_changes_that_fail_are_told_with_files_that_fail(folder):
    path = job_of(folder, CALLS, "{include: none.yaml}")
    missing, unknown = refused(path, "features.coost.windows=[1d]")
    assert "none.yaml: cannot be read" in missing
    assert unknown == (
        "--set features.coost.windows=[1d]: no item coost; there are calls, cost, cost_per_call"
    )


def test_fingerprints_see_the_content_of_the_file(folder):
    path = job_of(folder, CALLS)

    def prints():
        return fingerprints(load(path), {})

    before = prints()
    assert "calls" in json.dumps(effective(load(path))["features"])
    (folder / "sets" / "calls.yaml").write_text(f"# the same features\n{SET}")
    assert prints() == before
    (folder / "sets" / "calls.yaml").write_text(SET.replace("1d", "2d"))
    after = prints()
    assert after["ingest"] == before["ingest"] and after["profile"] != before["profile"]


def test_text_without_a_file_includes_from_the_current_folder(folder, monkeypatch):
    text = job_of(folder, CALLS).read_text()
    monkeypatch.chdir(folder)
    assert names(parse(text, "job.yaml")) == ["calls", "cost", "cost_per_call"]


def test_places_are_known_of_every_feature(folder):
    places = read(job_of(folder, TENURE, CALLS)).places
    set_file, job_file = str(folder / "sets" / "calls.yaml"), str(folder / "job.yaml")
    assert places.features == ((job_file, 0), (set_file, 0), (set_file, 1), (set_file, 2))
    assert places.named("features.3 (x).of: no") == f"{set_file}: features.2 (x).of: no"
    assert places.named("features.30: no") == f"{job_file}: features.30: no"
    assert places.named("features: no") == f"{job_file}: features: no"


def test_a_command_names_the_file_of_what_only_the_inputs_show_to_be_wrong(folder):
    inputs = folder / "in"
    inputs.mkdir()
    (inputs / "subscribers.csv").write_text("subscriber,born\n1,2020-01-01\n")
    (inputs / "usage.csv").write_text("subscriber,time,charge\n1,2026-09-30,1.5\n")
    (folder / "sets" / "calls.yaml").write_text(SET.replace("usage.charge", "usage.charg"))
    path = job_of(folder, TENURE, CALLS)
    changes = ("inputs.subscribers.path=subscribers.csv", "inputs.events.usage.path=usage.csv",
               f"inputs.folder={inputs}", "inputs.contacts=null",
               "features.tenure_days.since=age")  # fmt: skip
    options = [word for change in changes for word in ("--set", change)]
    result = walras("check", path, *options)
    assert result.exit_code == 2
    said = result.stderr.replace(str(folder), "DIR").splitlines()
    found = [line.removeprefix("error: ") for line in said]
    assert found == [
        "DIR/job.yaml: features.0 (tenure_days).since: unknown subscriber column, got age; there "
        "are born, subscriber",
        "DIR/sets/calls.yaml: features.1 (cost).of: unknown value column, got usage.charg; did you "
        "mean charge? there are charge",
    ]
