"""The stage allocate: its files, what it refuses, and that no answer escapes its certificate."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from engine import tables
from engine.errors import ConfigError
from engine.settings import load
from engine.settings.job import LocalCluster
from jobs import allocate as stage
from jobs import certify
from jobs.cluster import cluster
from jobs.ingest import ingest
from jobs.profile import profile
from jobs.progress import ShownTasks, Silent
from jobs.score import score
from jobs.tasks import SerialTasks
from tests.golden.__main__ import EXPECTED, HERE, rendered

INPUTS = f"inputs.folder={HERE / 'inputs'}"


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """Run the stages before allocate on the golden job, one task after the other."""
    job, tasks = load(HERE / "job.yaml", [INPUTS]), SerialTasks()
    folders = {name: tmp_path_factory.mktemp(name) for name in ("ingest", "profile", "score")}
    ingest(job, folders["ingest"], tasks)
    profile(job, folders["ingest"], folders["profile"], tasks)
    score(job, folders, folders["score"], tasks)
    return folders


def allocate(stages, folder, *changes):
    return stage.allocate(
        load(HERE / "job.yaml", [INPUTS, *changes]), stages, folder, SerialTasks()
    )


def test_tasks_in_one_thread_give_the_answer_of_the_cluster(stages, tmp_path):
    summary = allocate(stages, tmp_path)
    assert rendered(tmp_path) == {path.name: path.read_text() for path in EXPECTED.iterdir()}
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["certified"] and summary["bound_by"] == "exact model (CP-SAT)"


def test_partitions_that_stay_on_worker_processes_give_the_same_answer(
    stages, tmp_path, monkeypatch
):
    here = allocate(stages, made(tmp_path, "here"))
    with cluster(LocalCluster(workers=2, processes=True)) as workers:
        tasks = ShownTasks(workers, Silent())
        job = load(HERE / "job.yaml", [INPUTS])
        there = stage.allocate(job, stages, made(tmp_path, "there"), tasks)
        assert rendered(tmp_path / "there") == rendered(tmp_path / "here")
        assert untimed(there) == untimed(here)
        monkeypatch.setattr(stage, "ROOM", 10**12)
        folder = made(tmp_path, "large")
        rows = stage.allocate(job, stages, folder, tasks)["baselines"]
    text = "this allocation; simple methods are not computed at this size"
    assert [(row["name"], row["text"]) for row in rows] == [("walras", text)]


def untimed(summary):
    steps = [{**step, "seconds": 0.0} for step in summary["iterations"]]
    return {**summary, "iterations": steps}


def made(folder, name):
    (folder / name).mkdir()
    return folder / name


def test_many_rows_are_split_into_files_in_order(stages, tmp_path, monkeypatch):
    (tmp_path / "one").mkdir()
    (tmp_path / "many").mkdir()
    allocate(stages, tmp_path / "one")
    monkeypatch.setattr(stage, "ROWS_A_FILE", 7)
    allocate(stages, tmp_path / "many")
    for table in ("allocations", "decisions"):
        whole = pd.read_parquet(tmp_path / "one" / table / "part-00000.parquet")
        paths = sorted((tmp_path / "many" / table).iterdir())
        assert len(paths) == -(-len(whole) // 7) > 1
        parts = pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)
        pd.testing.assert_frame_equal(parts, whole)


def test_what_a_dead_worker_left_among_the_dealt_rows_is_not_read(stages, tmp_path, monkeypatch):
    deal_out = certify.deal_out

    def deal_twice(deal):
        made = deal_out(deal)
        for path in deal.folder.glob("*/*.parquet"):
            path.with_name(f".{path.name}.tmp").write_bytes(path.read_bytes())
        return made

    monkeypatch.setattr(certify, "deal_out", deal_twice)
    assert allocate(stages, tmp_path)["certified"]
    assert not (tmp_path / ".dealt").exists()


def without_last_contact(found, problem):
    chosen = [bundles.copy() for bundles in found.chosen]
    chosen[0][:, int((chosen[0][0] >= 0).nonzero()[0][-1])] = -1
    return replace(found, chosen=chosen)


def everybody_by_sms(found, problem):
    """Give everybody without an offer the second one, if it is open by sms."""
    chosen = [bundles.copy() for bundles in found.chosen]
    for bundles, block in zip(chosen, problem.blocks, strict=True):
        bundles[0, (bundles[0] < 0) & (block.propensity[2] > 0)] = 2
    return replace(found, chosen=chosen)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (without_last_contact, "the solver claims value"),
        (everybody_by_sms, "capacity:sms"),
        (lambda found, _: replace(found, value=found.value + 1), "the solver claims value"),
        (
            lambda found, _: replace(found, dual_bound=found.dual_bound - 1),
            "the solver claims bound",
        ),
    ],
    ids=["a contact lost", "contacts too many", "a value too high", "a bound too low"],
)
def test_a_wrong_answer_does_not_pass_its_certificate(stages, tmp_path, monkeypatch, spoil, said):
    solve = stage.solve

    def wrong(problem, *rest, **options):
        return spoil(solve(problem, *rest, **options), problem)

    monkeypatch.setattr(stage, "solve", wrong)
    with pytest.raises(RuntimeError, match="failed its certificate") as error:
        allocate(stages, tmp_path)
    assert said in str(error.value)
    assert not (tmp_path / "prices.json").exists()


def test_a_constraint_with_both_bounds_is_two_limits(stages, tmp_path):
    both = "constraints.gold_contacts={name: gold, measure: contacts, where: \"segment = 'gold'\", "
    summary = allocate(stages, tmp_path, both + "at_most: 3, at_least: 2}")
    rows = {row["name"]: row for row in summary["constraints"]}
    upper, lower = rows["gold"], rows["gold:minimum"]
    assert (upper["at_most"], upper["at_least"]) == (3, None)
    assert (lower["at_most"], lower["at_least"]) == (None, 2)
    assert upper["use"] == lower["use"] and 2 <= lower["use"] <= 3


def test_every_constraint_without_subscribers_is_named_at_once(stages, tmp_path):
    nobody = "segment = 'platinum'"
    with pytest.raises(ConfigError) as error:
        allocate(
            stages, tmp_path,
            f"constraints.gold_contacts.where={nobody}", f"constraints.budget.where={nobody}",
        )  # fmt: skip
    assert str(error.value).splitlines() == [
        f"constraints.{name}.where: matches no subscriber, got {nobody}; "
        "change the condition or leave the constraint out"
        for name in ("budget", "gold_contacts")
    ]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("home", [["x", "y", "x", "", None, "y"], [7, 8, 7, None, None, 8]])
@pytest.mark.parametrize("key", [int, "k{}".format])
def test_the_ledger_is_told_all_members_of_households_that_get_a_contact(tmp_path, home, key):
    job = load(HERE / "job.yaml", [INPUTS, "inputs.subscribers.household=home"])
    people = pd.DataFrame({"subscriber": [key(n) for n in (5, 4, 9, 2, 3, 6)], "home": home})
    parts, order = [], [[5, 3, 1], [4, 2, 0]]  # x is in the second, y in the first partition
    for n, rows in enumerate(order):
        path = tmp_path / f"part-{n}.parquet"
        tables.write(people.iloc[rows].reset_index(drop=True), path)
        parts.append(certify.Part(job, "pandas", path, path, tmp_path))
    contacted = pd.DataFrame({"subscriber": [key(9), key(2), key(3)], "partition": [1, 0, 1]})
    found = stage.contacted_households(job, parts, contacted)
    assert found["subscriber"].tolist() == [key(5), key(9)]
    assert found["household"].tolist() == [home[0]] * 2
    none = stage.contacted_households(job, parts, contacted.iloc[1:])
    tables.write(none, tmp_path / "none.parquet")
    assert len(tables.read(tmp_path / "none.parquet", ["subscriber", "household"])) == 0
