"""The synthetic operator: the same seed gives the same bytes, and its tables are worth learning."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from engine.errors import ConfigError
from engine.settings import load
from jobs import sources, synthetic
from jobs.check import check
from jobs.ingest import ingest
from jobs.marker import MARKER, mark
from jobs.tasks import SerialTasks
from jobs.traits import ALONE, CHANNELS, DIRTY, END, OFFERS, households_of
from tests.test_cli import walras

QUICKSTART = Path(__file__).parents[1] / "configs" / "quickstart.yaml"
EVENTS = (
    "usage", "recharges", "network", "care", "contacts", "outcomes", "speed", "cases", "advocacy",
)  # fmt: skip

COUNTS = {"usage": 962_009, "recharges": 142_812, "network": 80_291, "care": 11_988,
          "contacts": 64_538, "outcomes": 3_220}  # fmt: skip


class TwoThreads(SerialTasks):
    """Tasks in two threads."""

    def map(self, label, function, items, rows=None, named=str):
        with ThreadPoolExecutor(2) as threads:
            return list(threads.map(function, items))


@pytest.fixture(scope="module")
def operator(tmp_path_factory):
    """Return the tables of 20,000 subscribers, by name."""
    folder = tmp_path_factory.mktemp("operator")
    synthetic.generate(folder, 20_000, 90, 5, SerialTasks())
    return tables(folder)


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    return {path.name: pd.read_parquet(path) for path in folder.iterdir() if path.is_dir()}


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.parquet")}


def test_same_bytes_for_any_workers_and_other_bytes_for_another_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic, "CHUNK", 100)
    for name, tasks, seed in (
        ("a", SerialTasks(), 1),
        ("b", TwoThreads(), 1),
        ("c", TwoThreads(), 2),
    ):
        synthetic.generate(tmp_path / name, 250, 20, seed, tasks)
    one, other, another = (content(tmp_path / name) for name in "abc")
    assert one == other
    assert all(one[name] != another[name] for name in one)
    assert len(one) == 3 * (len(EVENTS) + 1)


def test_more_subscribers_leave_the_first_chunks_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic, "CHUNK", 100)
    synthetic.generate(tmp_path / "few", 200, 10, 3, SerialTasks())
    synthetic.generate(tmp_path / "many", 301, 10, 3, SerialTasks())
    few, many = content(tmp_path / "few"), content(tmp_path / "many")
    assert few.items() <= many.items()


@pytest.mark.parametrize(("subscribers", "days"), [(1, 1), (2, 1), (3, 400)])
def test_small_and_long_operators(subscribers, days, tmp_path):
    counts = synthetic.generate(tmp_path, subscribers, days, 0, SerialTasks())
    found = tables(tmp_path)
    assert counts == {name: len(table) for name, table in found.items()}
    assert found["subscribers"]["subscriber"].is_unique
    assert counts["subscribers"] == subscribers


def test_events_are_in_the_period_unsorted_and_after_activation(operator):
    activated = operator["subscribers"].set_index("subscriber")["activated_at"]
    for name in EVENTS:
        rows = operator[name].dropna()
        rows = rows[rows["subscriber"].isin(activated.index)]
        time = rows["time"]
        assert time.max() < pd.Timestamp(END, unit="s", tz="UTC")
        assert time.min() >= pd.Timestamp(END - 90 * 86_400, unit="s", tz="UTC")
        assert not time.is_monotonic_increasing
        assert not rows["subscriber"].is_monotonic_increasing
        start = pd.to_datetime(rows["subscriber"].map(activated), utc=True)
        assert (time >= start).all()


def test_the_size_and_the_share_of_acceptances_are_as_documented(operator):
    assert operator["subscribers"]["subscriber"].is_unique
    assert 0.3 < len(operator["usage"]) / 20_000 / 90 < 0.7
    assert 2.5 < len(operator["contacts"]) / 20_000 < 3.5
    assert 0.03 < len(operator["outcomes"]) / len(operator["contacts"]) < 0.08
    assert set(operator["contacts"]["offer"]) == set(OFFERS)
    assert set(operator["contacts"]["channel"]) == set(CHANNELS)


def test_a_stated_share_of_rows_is_dirty(operator):
    people = operator["subscribers"]["subscriber"]
    for name, amount in (("usage", "charge"), ("recharges", "amount")):
        rows = operator[name]
        breaks = [
            rows["subscriber"].isna(),
            rows["time"].isna(),
            rows["subscriber"].notna() & ~rows["subscriber"].isin(people),
            rows[amount] < 0,
        ]
        # An amount of exactly zero cannot be broken by its sign, so not every row is.
        assert all(0 < part.sum() <= len(rows) * DIRTY / 4 + 1 for part in breaks)
    for name in EVENTS[2:]:
        assert operator[name]["subscriber"].isin(people).all()


def test_two_in_five_are_in_households_of_two_to_five(operator):
    households = operator["subscribers"]["household"]
    assert households.notna().mean() == 0.4
    sizes = households.value_counts().value_counts(normalize=True)
    assert set(sizes.index) == {2, 3, 4, 5} and sizes.min() > 0.05


@settings(max_examples=50)
@given(first=st.integers(0, 300), count=st.integers(1, 200), seed=st.integers(0, 3))
def test_households_do_not_depend_on_chunks(first, count, seed):
    whole = households_of(0, 500, seed)
    assert households_of(first, count, seed).tolist() == whole[first : first + count].tolist()
    assert (whole == ALONE).sum() == 300
    assert (whole != households_of(0, 500, seed + 1)).any()


def test_contacts_respect_consent_and_the_app(operator):
    people = operator["subscribers"].set_index("subscriber")
    contacts = operator["contacts"]
    for channel in CHANNELS:
        reached = contacts.loc[contacts["channel"] == channel, "subscriber"]
        assert people.loc[reached, f"consent_{channel}"].all()
    pushed = contacts.loc[contacts["channel"] == "push", "subscriber"]
    assert people.loc[pushed, "has_app"].all()


def test_a_folder_of_fewer_tables_is_another_filling(tmp_path):
    changes = [f"inputs.folder={tmp_path}/in", "inputs.source.subscribers=50"]
    job = load(QUICKSTART, changes)
    sources.prepare(job, SerialTasks())
    earlier = {"kind": "synthetic", "subscribers": 50, "days": 90, "seed": 7}
    mark(tmp_path / "in", earlier)
    with pytest.raises(ConfigError, match="tables 10, but holds kind .*, seed 7; name another"):
        sources.prepare(job, SerialTasks())


def test_the_tables_that_jobs_are_trained_on_keep_their_rows(operator):
    """More tables are drawn from seeds of their own; these counts are of before they were."""
    assert {name: len(operator[name]) for name in EVENTS[:6]} == COUNTS


def test_a_plain_model_learns_who_accepts(operator):
    """What the tables show must tell acceptances from refusals, though not perfectly."""
    contacts, outcomes = operator["contacts"], operator["outcomes"]
    people = operator["subscribers"].set_index("subscriber")
    usage = operator["usage"].dropna().groupby("subscriber")["data_mb"].sum()
    keys = ["subscriber", "offer", "channel"]
    accepted = contacts.merge(outcomes[keys].drop_duplicates(), on=keys, how="left", indicator=True)
    label = (accepted["_merge"] == "both").to_numpy()
    who = people.loc[contacts["subscriber"]]
    shown = pd.DataFrame(
        {
            "data": np.log1p(usage.reindex(contacts["subscriber"]).fillna(0).to_numpy()),
            "arpu": np.log(who["arpu"].to_numpy()),
            "youth": (who["segment"] == "youth").to_numpy(),
        }
    )
    offers = pd.get_dummies(contacts["offer"]).to_numpy()
    blocks = [offers, pd.get_dummies(contacts["channel"]).to_numpy()]
    scaled = (shown - shown.mean()) / shown.std()
    blocks += [offers * scaled[[name]].to_numpy() for name in scaled]
    columns = np.concatenate(blocks, axis=1).astype(float)
    half = len(columns) // 2
    model = LogisticRegression(max_iter=2000).fit(columns[:half], label[:half])
    auc = roc_auc_score(label[half:], model.predict_proba(columns[half:])[:, 1])
    assert 0.65 < auc < 0.9


def test_quickstart_ingests_its_synthetic_operator(tmp_path):
    changes = [f"inputs.folder={tmp_path}/in", "inputs.source.subscribers=500"]
    job = load(QUICKSTART, changes)
    sources.prepare(job, SerialTasks())
    (tmp_path / "out").mkdir()
    summary = ingest(job, tmp_path / "out", SerialTasks())
    assert summary["subscribers"] == 500
    usage = summary["tables"]["usage"]
    assert usage["rows"] == usage["kept"] + sum(usage["rejected"].values()) > 10_000
    assert set(usage["rejected"]) == {
        "charge is below 0", "null key", "null time", "unknown subscriber"
    }  # fmt: skip
    assert all(table["future"] == 0 for table in summary["tables"].values())


def test_prepare_fills_a_folder_once_and_refuses_another(tmp_path):
    folder = tmp_path / "below" / "in"
    changes = [f"inputs.folder={folder}", "inputs.source.subscribers=50", "inputs.source.days=5"]
    sources.prepare(load(QUICKSTART, changes), SerialTasks())
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    sources.prepare(load(QUICKSTART, changes), SerialTasks())
    assert before == {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    with pytest.raises(ConfigError) as error:
        sources.prepare(load(QUICKSTART, [*changes, "inputs.source.seed=8"]), SerialTasks())
    assert str(error.value) == (
        f"inputs.folder: {folder} should be filled with kind synthetic, subscribers 50, days 5, "
        f"seed 8, tables 10, but holds kind synthetic, subscribers 50, days 5, seed 7, tables 10; "
        f"name another folder or remove it"
    )
    (folder / MARKER).unlink()
    with pytest.raises(ConfigError, match="but holds something else"):
        sources.prepare(load(QUICKSTART, changes), SerialTasks())


def test_prepare_leaves_nothing_when_it_is_interrupted(tmp_path, monkeypatch):
    def interrupted(*_):
        (tmp_path / "seen").write_text(str([p.name for p in tmp_path.iterdir()]))
        raise KeyboardInterrupt

    monkeypatch.setattr(synthetic, "generate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sources.prepare(load(QUICKSTART, [f"inputs.folder={tmp_path}/in"]), SerialTasks())
    assert ".tmp-" in (tmp_path / "seen").read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["seen"]


FILL = """
import sys, time
from pathlib import Path
from engine.settings import load
from jobs import sources, synthetic
from jobs.check import check
from jobs.tasks import SerialTasks

generate = synthetic.generate

def slow(*arguments):
    generate(*arguments)
    print("made", flush=True)
    sys.stdin.readline()

synthetic.generate = slow
sources.prepare(load(Path(sys.argv[1]), sys.argv[2:]), SerialTasks())
print("there", flush=True)
"""


def filling(changes):
    """Start a process that prepares the inputs; it waits for a line before it puts them there."""
    words = [sys.executable, "-c", FILL, str(QUICKSTART), *changes]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(words, text=True, cwd=QUICKSTART.parents[1], **pipes)
    assert process.stdout.readline() == "made\n"
    return process


def test_of_several_processes_that_prepare_at_once_each_has_its_inputs(tmp_path):
    folder = tmp_path / "in"
    changes = [f"inputs.folder={folder}", "inputs.source.subscribers=50", "inputs.source.days=5"]
    first, second, other = map(filling, [changes, changes, [*changes, "inputs.source.seed=8"]])
    assert first.communicate("\n", timeout=60)[0] == "there\n"
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    assert second.communicate("\n", timeout=60)[0] == "there\n"
    assert "seed 8, tables 10, but holds kind synthetic" in other.communicate("\n", timeout=60)[1]
    assert before == {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("target", ["empty", "missing"])
def test_prepare_fills_what_a_link_leads_to(tmp_path, target):
    (tmp_path / "empty").mkdir()
    folder = tmp_path / "in"
    folder.symlink_to(tmp_path / target)
    changes = [f"inputs.folder={folder}", "inputs.source.subscribers=50", "inputs.source.days=5"]
    sources.prepare(load(QUICKSTART, changes), SerialTasks())
    assert folder.is_symlink() and (tmp_path / target / "subscribers").is_dir()
    assert not list(tmp_path.glob(".tmp-*"))


def test_prepare_refuses_a_mount_point_before_it_makes_anything(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path / "in")
    monkeypatch.setattr(synthetic, "generate", lambda *_: pytest.fail("made in vain"))
    with pytest.raises(ConfigError, match="/in: is a mount point; name a new folder below it"):
        sources.prepare(load(QUICKSTART, [f"inputs.folder={tmp_path}/in"]), SerialTasks())


def test_prepare_removes_what_a_killed_process_left(tmp_path):
    changes = [f"inputs.folder={tmp_path}/in", "inputs.source.subscribers=50"]
    process = filling(changes)
    process.kill()
    process.communicate()
    (left,) = tmp_path.iterdir()
    sources.prepare(load(QUICKSTART, changes), SerialTasks())
    assert not left.exists() and [path.name for path in tmp_path.iterdir()] == ["in"]


def test_prepare_takes_what_the_command_generated_with_the_same_settings(tmp_path):
    folder = tmp_path / "in"
    size = ("--subscribers", 60, "--days", 5, "--seed", 9)
    assert walras("generate", *size, "--out", folder, "--quiet").exit_code == 0
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    changes = [f"inputs.folder={folder}", "inputs.source.subscribers=60", "inputs.source.days=5"]
    same = load(QUICKSTART, [*changes, "inputs.source.seed=9"])
    sources.prepare(same, SerialTasks())
    assert check(same).problems == []
    assert before == {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    with pytest.raises(
        ConfigError, match="seed 7, tables 10, but holds .* seed 9, tables 10; name ano"
    ):
        sources.prepare(load(QUICKSTART, changes), SerialTasks())


def test_prepare_leaves_a_folder_of_files_alone(tmp_path):
    job = load(QUICKSTART, [f"inputs.folder={tmp_path}/in", "inputs.source={kind: files}"])
    sources.prepare(job, SerialTasks())
    assert not (tmp_path / "in").exists()
