"""Stages run once per fingerprint, are whole or absent, and go on where they stopped."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import ConfigError, DataError
from engine.settings import parse
from jobs import manifest, stages
from jobs.manifest import input_hashes
from jobs.stages import STAGES, STORE, fingerprints, run_stages
from jobs.tasks import SerialTasks

JOB = """
name: tiny
as_of: 2026-10-01
inputs:
  folder: {folder}
  partitions: 2
  subscribers: {{path: subscribers.csv}}
  events: {{usage: {{path: usage.csv, values: {{charge: {{unit: money}}, mb: {{unit: MB}}}}}}}}
features:
  - {{op: sum, name: spend, of: usage.charge, windows: [7d]}}
scores: {{kind: formula, formulas: {{data: "0.1", voice: "0.2"}}}}
catalogue:
  currency: EUR
  channels: {{sms: {{unit_cost: 0.1, capacity: 5}}, email: {{}}}}
  offers:
    data: {{category: boost, value: 5, channels: [sms, email]}}
    voice: {{category: boost, value: 4, channels: [sms]}}
constraints:
  - {{name: budget, measure: cost, at_most: 100}}
output: {folder}/runs
"""


def job_in(folder: Path, *changes: str):
    folder.mkdir(exist_ok=True)
    if not (folder / "usage.csv").exists():
        (folder / "subscribers.csv").write_text("subscriber\n1\n2\n")
        (folder / "usage.csv").write_text("subscriber,time,charge,mb\n1,2026-09-30,1.5,3\n")
    return parse(JOB.format(folder=folder), "job.yaml", changes)


@pytest.fixture
def calls(monkeypatch):
    """Replace every stage by one that writes a file; return the names of those that ran."""
    ran = []

    def fake(name):
        def run(job, *rest):
            *earlier, folder, tasks = rest
            ran.append(name)
            assert folder.is_dir() and not any(folder.iterdir())
            if name == "profile":
                assert (earlier[0] / "ingest.txt").exists()
            elif earlier:
                assert list(earlier[0]) == list(STAGES[: STAGES.index(name)])
            (folder / "sub").mkdir()
            (folder / "sub" / "part.txt").write_text(name)
            (folder / f"{name}.txt").write_text(name)
            return {"stage": name, "pair": (1, 2)}

        return run

    monkeypatch.setattr(stages, "stage_function", fake)
    return ran


def go(job, last="allocate", say=lambda text: None):
    return run_stages(job, last, fingerprints(job, input_hashes(job)), SerialTasks(), say=say)


def test_a_second_run_reuses_every_stage(tmp_path, calls):
    first = go(job_in(tmp_path / "in"))
    said = []
    second = go(job_in(tmp_path / "in"), say=said.append)
    assert calls == list(STAGES)
    assert [s.reused for s in first.values()] == [False] * 4
    assert [s.reused for s in second.values()] == [True] * 4
    assert all("reused" in line for line in said) and len(said) == 4
    assert {n: s.summary for n, s in first.items()} == {n: s.summary for n, s in second.items()}
    record = json.loads((second["score"].folder / "stage.json").read_text())
    assert record["summary"] == {"stage": "score", "pair": [1, 2]}
    assert record["files"] == {"score.txt": 5, "sub/part.txt": 5}
    assert record["upstream"] == {n: second[n].fingerprint for n in ("ingest", "profile")}


def test_a_stage_command_runs_what_is_missing_before_it_only(tmp_path, calls):
    job = job_in(tmp_path / "in")
    go(job, "profile")
    assert calls == ["ingest", "profile"]
    go(job, "allocate")
    assert calls == list(STAGES)


@pytest.mark.parametrize(
    ("change", "redone"),
    [
        ("name=other", ""),
        ("cluster={kind: local, workers: 2}", ""),
        ("output=elsewhere", ""),
        ("constraints.budget.at_most=50", "allocate"),
        ("catalogue.channels.sms.capacity=6", "allocate"),
        ("catalogue.offers.data.value=6", "allocate"),
        ("catalogue.offers.data.eligible=spend_7d > 0", "allocate"),
        ("catalogue.weight='2'", "allocate"),
        ("holdout_share=0.1", "allocate"),
        ("solver.gap_tolerance=0.01", "allocate"),
        ("policies=[{name: one, at_most: 1}]", "allocate"),
        ("seed=8", "score allocate"),
        ("scores.formulas.data='0.3'", "score allocate"),
        ("catalogue.offers.data.category=other", "score allocate"),
        ("catalogue.offers.voice.channels=[sms, email]", "score allocate"),
        ("features.spend.windows=[1d]", "profile score allocate"),
        ("catalogue.channels.push={}", "profile score allocate"),
        ("as_of=2026-10-02", "ingest profile score allocate"),
        ("inputs.partitions=3", "ingest profile score allocate"),
        ("inputs.events.usage.values.charge.minimum=0", "ingest profile score allocate"),
    ],
)
def test_a_changed_setting_redoes_what_depends_on_it_and_no_more(tmp_path, change, redone):
    before, job = job_in(tmp_path / "in"), job_in(tmp_path / "in", change)
    hashes = input_hashes(before)
    old, new = fingerprints(before, hashes), fingerprints(job, hashes)
    assert [name for name in STAGES if old[name] != new[name]] == redone.split()


def test_another_category_redoes_the_profile_of_features_by_category(tmp_path):
    by_category = "features=[{op: last_contact, name: since, per: category}]"
    before = job_in(tmp_path / "in", by_category)
    after = job_in(tmp_path / "in", by_category, "catalogue.offers.data.category=other")
    old, new = (fingerprints(job, input_hashes(before)) for job in (before, after))
    assert [name for name in STAGES if old[name] != new[name]] == list(STAGES[1:])


def test_the_order_of_channels_offers_and_value_columns_counts(tmp_path):
    hashes = input_hashes(job_in(tmp_path / "in"))
    text = JOB.format(folder=tmp_path / "in")
    base = fingerprints(parse(text, "job"), hashes)
    values = "charge: {unit: money}", "mb: {unit: MB}"
    channels = "sms: {unit_cost: 0.1, capacity: 5}", "email: {}"
    for (one, two), first in ((values, "ingest"), (channels, "profile")):
        swapped = parse(text.replace(f"{one}, {two}", f"{two}, {one}"), "job")
        new = fingerprints(swapped, hashes)
        assert [n for n in STAGES if base[n] != new[n]] == list(STAGES[STAGES.index(first) :])


def test_inputs_are_known_by_content_and_name_not_by_place_or_time(tmp_path):
    one, two = job_in(tmp_path / "one"), job_in(tmp_path / "two")
    os.utime(tmp_path / "two" / "usage.csv", (1, 1))
    assert input_hashes(one) == input_hashes(two)
    (tmp_path / "two" / "usage.csv").write_text("subscriber,time,charge,mb\n1,2026-09-30,1.6,3\n")
    old, new = (fingerprints(job, input_hashes(job)) for job in (one, two))
    assert not set(old.values()) & set(new.values())


def test_other_code_is_another_fingerprint(tmp_path, monkeypatch):
    job = job_in(tmp_path / "in")
    old = fingerprints(job, input_hashes(job))
    monkeypatch.setattr(stages, "version", lambda: "0.0.0")
    assert not set(old.values()) & set(fingerprints(job, input_hashes(job)).values())
    assert manifest.version() == manifest.version()


def test_a_table_without_files_is_refused(tmp_path):
    job = job_in(tmp_path / "in", "inputs.events.usage.path=none-*.csv")
    with pytest.raises(DataError, match=r"inputs\.events\.usage\.path: no file matches"):
        input_hashes(job)


@pytest.mark.parametrize("error", [DataError("bad"), KeyboardInterrupt(), OSError(28, "full")])
def test_a_stage_that_fails_leaves_nothing(tmp_path, monkeypatch, error):
    def fail(job, folder, tasks):
        (folder / "half.txt").write_text("half")
        raise error

    monkeypatch.setattr(stages, "stage_function", lambda name: fail)
    job = job_in(tmp_path / "in")
    with pytest.raises(type(error)):
        go(job)
    assert list((job.output / STORE).iterdir()) == []


def test_a_damaged_result_is_made_again(tmp_path, calls):
    job = job_in(tmp_path / "in")
    done = go(job)
    (done["profile"].folder / "sub" / "part.txt").write_text("torn")
    (done["score"].folder / "stage.json").write_text("{")
    said = []
    go(job, say=said.append)
    assert calls == [*STAGES, "profile", "score"]
    assert [line for line in said if "damaged" in line]
    assert (done["profile"].folder / "sub" / "part.txt").read_text() == "profile"


def test_temporary_folders_of_dead_processes_are_removed_and_of_living_ones_kept(tmp_path, calls):
    job = job_in(tmp_path / "in")
    store = job.output / STORE
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = stages.socket.gethostname()
    names = {
        "dead": f".tmp-{host}-{dead.pid}-ingest-0",
        "reborn": f".tmp-{host}-{os.getpid()}-older",
        "alive": f".tmp-{host}-{os.getpid()}-ingest-0",
        "elsewhere": ".tmp-another.host-1-ingest-0",
        "finished": "ingest-0123456789abcdef",
    }
    for name in names.values():
        (store / name).mkdir(parents=True)
    os.utime(store / names["reborn"], (1, 1))  # older than this process: the number came again
    go(job, "ingest")
    assert {key for key, name in names.items() if (store / name).exists()} == {
        "alive",
        "elsewhere",
        "finished",
    }


def test_what_a_late_task_takes_with_it_does_not_fail_the_stage(tmp_path, calls, monkeypatch):
    listed = Path.rglob

    def rglob(self, pattern):
        late = self / ".part.txt.0.tmp"
        late.write_text("")
        found = list(listed(self, pattern))
        late.unlink()
        return found

    job = job_in(tmp_path / "in")
    prints = fingerprints(job, input_hashes(job))
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rglob", rglob)
        run_stages(job, "ingest", prints, SerialTasks(), say=lambda text: None)
    assert go(job, "ingest")["ingest"].reused


def test_of_two_processes_that_make_the_same_result_the_first_wins(tmp_path):
    folder = tmp_path / "result"
    with stages.committed(folder, tmp_path) as temporary:
        (temporary / "a").write_text("mine")
        folder.mkdir()
        (folder / "a").write_text("theirs")
    assert (folder / "a").read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [folder]


def test_an_output_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"output: the folder cannot be written \(Not a dir"):
        stages.writable(tmp_path / "file" / "runs")
    stages.writable(tmp_path / "runs")
    assert list((tmp_path / "runs" / STORE).iterdir()) == []


def test_a_folder_that_cannot_be_removed_is_told(tmp_path, monkeypatch):
    def kept(folder, *, ignore_errors=False):
        if not ignore_errors:
            raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(stages, "sleep", lambda seconds: None)
    monkeypatch.setattr(stages.shutil, "rmtree", kept)
    with pytest.raises(PermissionError):
        stages.remove(tmp_path)
    stages.remove(tmp_path / "nothing")
