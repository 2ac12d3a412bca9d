"""``walras explain`` on the golden run: the run's own figures, and what it refuses."""

import json
import shutil

import pandas as pd
import pytest
from typer.testing import CliRunner

from jobs import explain
from jobs.cli import app
from jobs.run_folder import opened
from tests.golden import __main__ as golden
from tests.test_what_if_goals import FAR, GOALS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return golden.run(tmp_path_factory.mktemp("runs"))


def test_every_subscriber_is_explained_by_the_figures_of_its_run(folder):
    got, left = (pd.read_parquet(folder / name) for name in ("allocations", "decisions"))
    run, policies = opened(folder), set()
    for key in [*got["subscriber"].drop_duplicates()[:6], *left["subscriber"][:8]]:
        own = got[got["subscriber"] == key]
        told = explain.explain(run, str(key))
        assert told["subscriber"] == key
        assert set(told["gets"]) == set(own["offer"] + "@" + own["channel"])
        assert told["surplus"] == pytest.approx(own["surplus"].sum(), abs=1e-9)
        chosen = [a for a in told["actions"] if a["is_chosen"]]
        assert sorted(a["value"] for a in chosen) == pytest.approx(sorted(own["value"]))
        assert all(a["reason"] for a in told["actions"] if not a["is_open"])
        for policy in told["policies"]:
            for name in policy["blocks"]:
                (action,) = [a for a in told["actions"] if a["action"] == name]
                assert policy["policy"] in action["reason"]
                policies.add(policy["policy"])
            times = [contact["time"] for contact in policy["contacts"]]
            assert times == sorted(times) and len(times) >= policy["used"]
    assert policies == {"sms_weekly"}


ASKED = {
    "goals": ([f"goals={json.dumps(GOALS)}", *FAR], "objective, maximise value; it keeps what "
              "volume, reach reached"),
    "then": (["objective={maximise: value, then: {minimise: contacts, within: 0.1}}"],
             "objective.then, minimise contacts; it keeps what objective reached"),
    "value before": (["goals=[{name: worth, maximise: value, within: 0.2}]",
                      "objective={maximise: acceptances}", "fatigue=[]",
                      "catalogue.weight='LEAST(3, 0.5 + arpu / 40)'"],
                     "objective, maximise acceptances; it keeps what worth reached"),
}  # fmt: skip


@pytest.mark.parametrize("case", ASKED)
def test_of_several_stages_the_surplus_is_that_of_the_last(case, tmp_path):
    changes, said = ASKED[case]
    run = opened(golden.run(tmp_path, *changes))
    got, left = (pd.read_parquet(run.folder / name) for name in ("allocations", "decisions"))
    for key in [*got["subscriber"].drop_duplicates()[:8], *left["subscriber"][:3]]:
        own = got[got["subscriber"] == key]
        told = explain.explain(run, str(key))
        assert told["surplus"] == pytest.approx(own["surplus"].sum(), abs=1e-9)
        assert told["best_surplus"] >= told["surplus"] - 1e-9
        (line,) = [str(x) for x in explain.shown(told) if str(x).startswith("values, prices")]
        assert line == f"values, prices and surplus are of {said}"


def test_the_command_shows_a_table_or_one_json_object(folder):
    key = str(pd.read_parquet(folder / "allocations")["subscriber"].iloc[0])
    shown = CliRunner().invoke(app, ["explain", str(folder), key])
    assert shown.exit_code == 0 and f"subscriber {key} gets" in shown.stdout
    told = CliRunner().invoke(app, ["explain", str(folder), key, "--json", "--quiet"])
    assert json.loads(told.stdout)["gets"] and told.exit_code == 0


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (None, "no such subscriber, got nobody; there are 40 in the run"),
        ("profile-*", "stage profile that it came from was deleted"),
        ("*", "stage ingest that it came from was deleted"),
    ],
)
def test_what_cannot_be_explained_is_told(folder, tmp_path, spoil, said):
    shutil.copytree(folder.parent, tmp_path / "runs")
    for path in (tmp_path / "runs" / ".stages").glob(spoil) if spoil else ():
        shutil.rmtree(path)
    found = CliRunner().invoke(app, ["explain", str(tmp_path / "runs" / folder.name), "nobody"])
    assert found.exit_code == 2 and said in found.stderr
    is_run = CliRunner().invoke(app, ["explain", str(tmp_path), "1"])
    assert is_run.exit_code == 2 and "is not a finished run" in is_run.stderr


def test_subscribers_whose_keys_are_texts_are_explained(tmp_path):
    for path in (golden.HERE / "inputs").iterdir():
        table = pd.read_csv(path, dtype=str)
        if "subscriber" in table:
            table["subscriber"] = "s" + table["subscriber"]
        table.to_csv(tmp_path / path.name, index=False)
    run = golden.run(tmp_path / "runs", f"inputs.folder={tmp_path}")
    key = pd.read_parquet(run / "allocations")["subscriber"].iloc[0]
    told = explain.explain(opened(run), key)
    assert told["subscriber"] == key and key.startswith("s") and told["gets"]
