"""A ledger as the history of a job: the same bits as its tables would give, at one version."""

import json
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from engine.errors import ConfigError
from engine.settings import parse
from jobs import check, ingest
from jobs.ledger import book, care, events, snapshot, state, table
from jobs.manifest import input_hashes
from jobs.stages import STORE, fingerprints, run_stages
from jobs.tasks import SerialTasks
from tests.ledgers import DAY, JOB, outcomes_file, planned
from tests.test_cli import walras
from tests.test_readme import JOB as README

AS_OF = DAY + timedelta(days=3)
HISTORY = (
    "contacts: {path: contacts.csv, categories: [offer, channel, category, team]}, "
    "outcomes: {path: outcomes.csv, categories: [offer, channel, outcome], "
    "accepted: \"outcome = 'accepted'\"}"
)


def job_in(home, history, **changes):
    text = JOB.format(ledger=home / "ledger", as_of=AS_OF.isoformat(), policies="")
    text = text.replace(", household: home", "")
    text = text.replace(f"ledger: {home / 'ledger'}", history).replace(
        "folder: in", f"folder: {home}"
    )
    changes = [f"{name}={value}" for name, value in changes.items()]
    text = text.replace(", household: home", "")  # the table has no such column here
    return parse(f"{text}output: {home}/runs\n", "job.yaml", changes)


@pytest.fixture
def home(tmp_path):
    """Return a folder with subscribers 1 and 2, and a ledger that knows 3 too."""
    (tmp_path / "subscribers.csv").write_text("subscriber\n1\n2\n")
    rows = [(1, "data", "sms"), (2, "voice", "sms"), (3, "data", "email")]
    for day in (0, 1, 5):
        run = planned(tmp_path / f"r{day}", tmp_path / "ledger", rows,
                      as_of=DAY + timedelta(days=day), policies="")  # fmt: skip
        book.book(run, tmp_path / "ledger")
    answers = [
        (1, "2026-10-02T10:00Z", "data", "sms", "accepted"),
        (2, "2026-10-02T10:00Z", "voice", "sms", "failed"),
    ]
    events.add_outcomes(outcomes_file(tmp_path / "answers.csv", answers), tmp_path / "ledger")
    return tmp_path


def ingested(job, folder):
    folder.mkdir()
    summary = ingest.ingest(job, folder, SerialTasks())
    paths = sorted(p for kind in ("events", "future") for p in (folder / kind).rglob("*.parquet"))
    own = ["subscriber", "time", "offer", "channel"]  # a future row also says where it was read
    return summary, {
        str(p.relative_to(folder)): pq.read_table(p, columns=own).to_pylist() for p in paths
    }


def test_the_history_is_what_its_tables_would_give(home):
    job = snapshot.pinned(job_in(home, f"ledger: {home / 'ledger'}"))
    found = table.existing(home / "ledger")
    for name, rows in (
        ("contacts", state.contacts(found, freed=state.freed(found))),
        ("outcomes", state.outcomes(found)),
    ):
        rows.to_pandas().to_csv(home / f"{name}.csv", index=False)
    plain = job_in(home, HISTORY, **{"inputs.max_reject_share": 1})
    summary, events_ = ingested(job, home / "a")
    other, expected = ingested(plain, home / "b")
    assert events_ == expected
    assert summary["tables"] == other["tables"]
    contacts = summary["tables"]["contacts"]
    assert contacts["rejected"] == {"unknown subscriber": 2} and contacts["kept"] == 3


def test_a_job_without_a_ledger_yet_has_no_history(tmp_path):
    (tmp_path / "subscribers.csv").write_text("subscriber\n1\n")
    job = job_in(tmp_path, f"ledger: {tmp_path / 'ledger'}")
    assert check.check(job).problems == []
    job = snapshot.pinned(job)
    assert snapshot.version_of(job) == {"id": "", "version": -1}
    summary, rows = ingested(job, tmp_path / "a")
    assert summary["tables"]["contacts"]["rows"] == 0 and not any(rows.values())
    assert not (tmp_path / "ledger").exists()


def test_a_version_is_written_once_and_named(home):
    job = job_in(home, f"ledger: {home / 'ledger'}")
    found = table.existing(home / "ledger")
    pinned = snapshot.pinned(job)
    folder = pinned.inputs.snapshot()
    assert folder == home / "runs" / STORE / f"ledger-{found.id}-{found.version}"
    assert snapshot.version_of(pinned) == {"id": found.id, "version": found.version}
    days = ["2026-10-01", "2026-10-02", "2026-10-06", "none"]
    assert [path.stem for path in sorted((folder / "contacts").iterdir())] == days
    made = folder.stat().st_mtime_ns
    assert snapshot.pinned(job).inputs.snapshot().stat().st_mtime_ns == made
    (folder / "contacts/2026-10-01.parquet").write_bytes(b"cut")
    again = snapshot.pinned(job).inputs.snapshot()
    assert len(pd.read_parquet(again / "contacts/2026-10-01.parquet")) == 3


def test_what_a_job_is_made_of_does_not_depend_on_how_the_ledger_came_to_it(home):
    job = job_in(home, f"ledger: {home / 'ledger'}")

    def prints():
        pinned = snapshot.pinned(job)
        return fingerprints(pinned, input_hashes(pinned))

    before = prints()
    care.compact(home / "ledger")
    run = planned(home / "new", home / "ledger", [(1, "data", "sms")], as_of=AS_OF, policies="")
    book.book(run, home / "ledger")
    assert prints() != before
    book.cancel(run, home / "ledger", DAY)
    assert prints() == before


def test_days_that_have_not_changed_are_not_read_again(home):
    job = job_in(home, f"ledger: {home / 'ledger'}")
    store = home / "runs" / STORE

    def files():
        pinned = snapshot.pinned(job)
        prints = fingerprints(pinned, input_hashes(pinned))
        return run_stages(pinned, "ingest", prints, SerialTasks(), say=str)["ingest"].summary

    assert files()["files"] == {"new": 6, "reused": 0}
    run = planned(home / "new", home / "ledger", [(1, "data", "sms")], as_of=AS_OF, policies="")
    book.book(run, home / "ledger")
    again = files()
    assert again["files"] == {"new": 1, "reused": 6}
    assert again["tables"]["contacts"]["kept"] == 4 and len(list(store.glob("ledger-*"))) == 2


def test_days_that_have_not_changed_are_the_same_files_and_all_are_right(home):
    """A contact that is freed by an outcome of another day changes its own day."""
    job = job_in(home, f"ledger: {home / 'ledger'}")

    def files(folder):
        return {path.relative_to(folder).as_posix(): path for path in folder.glob("*/*.parquet")}

    def pinned(own=job):
        folder = snapshot.pinned(own).inputs.snapshot()
        alone = own.model_copy(update={"output": home / f"alone-{folder.name}"})
        whole = files(snapshot.pinned(alone).inputs.snapshot())  # nothing to link to
        found = files(folder)
        assert {n: p.read_bytes() for n, p in found.items()} == {
            n: p.read_bytes() for n, p in whole.items()
        }
        return {name: path.stat().st_ino for name, path in found.items()}

    def changed(before, after):
        return {
            name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
        }

    start, run = pinned(), planned(home / "new", home / "ledger", [(1, "data", "sms")],
                                   as_of=AS_OF, policies="")  # fmt: skip
    assert len(start) == 4
    book.book(run, home / "ledger")
    booked = pinned()
    assert changed(start, booked) == {"contacts/2026-10-04.parquet"}
    failed = outcomes_file(home / "f.csv", [(3, "2026-10-07", "data", "email", "failed")])
    events.add_outcomes(failed, home / "ledger")
    answered = pinned()
    assert changed(booked, answered) == {
        "contacts/2026-10-06.parquet", "outcomes/2026-10-07.parquet"
    }  # fmt: skip
    book.cancel(run, home / "ledger", DAY)
    assert changed(answered, pinned()) == {"contacts/2026-10-04.parquet"}
    care.compact(home / "ledger")
    care.purge(home / "ledger", (DAY + timedelta(days=1)).date())
    pinned()


def test_a_damaged_version_gives_no_file_to_later_ones(home):
    job = job_in(home, f"ledger: {home / 'ledger'}")
    folder = snapshot.pinned(job).inputs.snapshot()
    (folder / "contacts/2026-10-01.parquet").write_bytes(b"cut")
    run = planned(home / "new", home / "ledger", [(1, "data", "sms")], as_of=AS_OF, policies="")
    book.book(run, home / "ledger")
    later = snapshot.pinned(job).inputs.snapshot()
    assert later != folder and len(pd.read_parquet(later / "contacts/2026-10-01.parquet")) == 3


def test_check_finds_keys_of_another_kind_and_damage(home):
    pd.DataFrame({"subscriber": ["a"]}).to_parquet(home / "subscribers.parquet")
    changes = {"inputs.subscribers.path": "subscribers.parquet"}
    job = job_in(home, f"ledger: {home / 'ledger'}", **changes)
    problems = check.check(job).problems
    assert len(problems) == 2 and all("is whole number, but the key" in p for p in problems)
    (home / "ledger" / table.LOG / f"{1:020}.json").write_text("{")
    assert any("the log of the ledger" in p for p in check.check(job).problems)


def test_other_histories_beside_a_ledger_are_refused(home):
    with pytest.raises(ConfigError) as refused:
        job_in(home, f"ledger: {home / 'ledger'}, {HISTORY}")
    assert [line.split(" comes")[0] for line in str(refused.value).splitlines()] == [
        "job.yaml: inputs.contacts:",
        "job.yaml: inputs.outcomes:",
    ]


@pytest.fixture
def operator(tmp_path, monkeypatch):
    """Make a small operator whose job reads and fills a ledger; return the words of its runs."""
    monkeypatch.chdir(tmp_path)
    job = yaml.safe_load(README)
    job["inputs"] = {**job["inputs"], "contacts": None, "ledger": "ledger"}
    job["inputs"]["source"] |= {"subscribers": 150, "days": 10}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job, sort_keys=False))
    return ["run", "job.yaml", "--out", "runs", "--quiet", "--json"]


def result(*words, code=0):
    done = walras(*words)
    assert done.exit_code == code, done.stderr
    return json.loads(done.stdout)


def test_a_run_that_is_refused_is_run_again_on_the_ledger_as_it_is(operator):
    first = result(*operator)
    rival = result(*operator, "--set", "name=rival", "--set", "policies.two_a_week.at_most=1")
    result("commit", first["run"], "--json")
    refused = result("commit", rival["run"], "--json", code=5)
    assert "policy two_a_week allows 1 within 7d and leaves 0, planned 1" in refused["problems"][0]
    again = result("commit", rival["run"], "--resolve", "--quiet", "--json")
    assert again["run"] != rival["run"] and again["version"] == 2
    found = result("ledger", "show", "ledger", "--json")
    assert found["contacts"]["booked"] == first["summary"]["contacts"] + again["contacts"]
    manifest = json.loads((Path(again["run"]) / "manifest.json").read_text())
    assert manifest["ledger"]["version"] == 1
    assert result("commit", again["run"], "--json")["already_done"]
