"""Parts of a finished stage that are damaged or out of order are named; what to do is said."""

import json
import shutil
from datetime import UTC, datetime

import pandas as pd
import pytest

from engine import tables
from engine.errors import DataError
from engine.ordered import event_problem, subscriber_problem
from jobs import profile as stage
from jobs.reach import beyond_data
from jobs.stages import STORE
from jobs.tasks import SerialTasks
from tests.profiled import AS_OF, job_of
from tests.test_bad_input import job
from tests.test_cli import walras
from tests.test_memory import ONE, PARTITIONS, bounded
from tests.test_profile_stage import big_partition, ingested

__all__ = ["job"]  # a fixture
DAY_S = 86_400


@pytest.fixture
def source(tmp_path):
    return ingested(tmp_path / "in", *big_partition(60, 3_000), PARTITIONS)


def changed(path, change):
    tables.write(change(tables.read(path)), path)


def torn(path):
    content = bytearray(path.read_bytes())
    content[:-4] = bytes(len(content) - 4)
    path.write_bytes(content)


def reverse(frame):
    return frame.iloc[::-1]


def shuffled_times(frame):
    return frame.sort_values(["subscriber", "time"], ascending=[True, False])


def other_bucket(path):
    """Put another partition's events behind a part's own, in order."""
    other = tables.read(path.with_name("part-00002.parquet"))
    changed(path, lambda own: pd.concat([own, other]).sort_values(["subscriber", "time"]))


CASES = {
    "torn subscribers": ("subscribers", torn, "cannot be read as Parquet"),
    "torn events": ("events/usage", torn, "cannot be read as Parquet"),
    "a missing part": ("events/usage", lambda path: path.unlink(), "the part is missing"),
    "a missing column": (
        "events/usage",
        lambda path: changed(path, lambda frame: frame.drop(columns="charge")),
        "cannot be read as Parquet: .*charge",
    ),
    "subscribers out of order": (
        "subscribers", lambda path: changed(path, reverse), "subscribers are not in ascending",
    ),
    "a subscriber twice": (
        "subscribers",
        lambda path: changed(path, lambda frame: frame.iloc[[0, 0, *range(1, len(frame))]]),
        "subscribers are not in ascending order, each once",
    ),
    "events out of order": (
        "events/usage", lambda path: changed(path, reverse),
        "its events are not in ascending order of subscribers",
    ),
    "times out of order": (
        "events/usage", lambda path: changed(path, shuffled_times),
        "the events of a subscriber are not in ascending order of time",
    ),
    "events of another bucket": (
        "events/usage", other_bucket, r"subscriber \d+ is not of this partition",
    ),
    "subscribers of another bucket": (
        "subscribers",
        lambda path: path.write_bytes(path.with_name("part-00002.parquet").read_bytes()),
        r"subscriber \d+ is of another partition",
    ),
}  # fmt: skip


@pytest.mark.parametrize("pieces", ["whole", "halves"])
@pytest.mark.parametrize("case", CASES)
def test_a_damaged_part_is_named(source, tmp_path, monkeypatch, case, pieces):
    table, spoil, said = CASES[case]
    (source / "stage.json").write_text("{}")
    path = source / table / "part-00001.parquet"
    spoil(path)
    if pieces == "halves":
        bounded(monkeypatch, 12)
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match=f"^{path}: {said}") as error:
        stage.profile(ONE, source, tmp_path / "out", SerialTasks())
    assert f"delete the folder {source} and run the job again" in str(error.value)
    assert not (tmp_path / "out/features/part-00001.parquet").exists()


def text(frame):
    return frame.assign(subscriber=frame["subscriber"].map("{:03}".format))


@pytest.mark.parametrize("keys", ["whole", "text"])
@pytest.mark.parametrize("rows", [0, 1, 2, 5])
def test_order_is_judged_for_any_size_and_kind_of_key(keys, rows):
    frame = pd.DataFrame({"subscriber": [1, 1, 4, 4, 9][:rows], "time": [3, 3, 1, 2, 0][:rows]})
    people = pd.DataFrame({"subscriber": [1, 4, 9]})
    if keys == "text":
        frame, people = text(frame), text(people)
    assert event_problem(frame, people["subscriber"], people["subscriber"]) == ""
    assert subscriber_problem(people["subscriber"], 0, 1) == ""
    if rows >= 3:
        last = frame.iloc[::-1].reset_index(drop=True)
        assert "order of subscribers" in event_problem(
            last, people["subscriber"], people["subscriber"]
        )
        assert "not of this" in event_problem(
            frame, people["subscriber"].iloc[1:], people["subscriber"].iloc[1:]
        )
    late = frame.assign(time=frame["time"] - range(rows))
    assert ("order of time" in event_problem(late, people["subscriber"], people["subscriber"])) == (
        rows >= 2
    )


def test_windows_longer_than_the_data_are_told_with_their_names():
    features = [
        {"op": "sum", "name": "spent", "of": "usage.charge", "windows": ["1d", "7d", "30d"]},
        {"op": "recency", "name": "quiet", "of": "usage"},
        {"op": "trend", "name": "slope", "of": "usage.charge", "window": "8d"},
        {"op": "decayed_sum", "name": "recent", "of": "usage.charge", "half_life": "90d"},
        {"op": "last_contact", "name": "contacted", "window": "7d"},
    ]
    asked = job_of(features)
    week = AS_OF - 7 * DAY_S
    begin = datetime.fromtimestamp(week + 1, UTC)
    (usage,) = [n for n in beyond_data(asked, {"usage": week + 1, "contacts": week}) if n]
    assert usage["columns"] == ["spent_30d", "slope"]
    assert usage["table"] == "usage" and usage["first_event"] == begin.isoformat()
    assert "spent_30d, slope" in usage["note"] and usage["first_event"] in usage["note"]
    (later,) = beyond_data(asked, {"usage": week + 2, "contacts": week})
    assert later["columns"] == ["spent_7d", "spent_30d", "slope"]
    (none,) = [n for n in beyond_data(asked, {"usage": 0}) if n["table"] == "contacts"]
    assert none["first_event"] is None and "there are no events" in none["note"]
    assert beyond_data(asked, {"usage": 0, "contacts": 0}) == []


def test_profile_tells_its_memory_and_windows_beyond_the_data(job):
    result = walras("profile", job, "--json")
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)["summary"]
    assert summary["predicted_peak_bytes"] > 10_000_000 and summary["peak_bytes"] > 10_000_000
    assert "profile: memory: predicted" in result.stderr and " · peak " in result.stderr
    for note in summary["beyond_data"]:
        assert note["note"] in result.stderr


@pytest.mark.parametrize("table", ["subscribers", "events/network"])
def test_a_damaged_part_of_a_finished_stage_is_one_message(job, table):
    assert walras("ingest", job, "--quiet").exit_code == 0
    (folder,) = (job.parent / "runs" / STORE).glob("ingest-*")
    path = next((folder / table).glob("part-*.parquet"))
    path.write_bytes(bytes(path.stat().st_size))  # as large as before
    result = walras("profile", job, "--quiet")
    assert result.exit_code == 2, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: {path}: cannot be read as Parquet")
    assert f"delete the folder {folder} and run the job again" in line
    assert not list((job.parent / "runs" / STORE).glob("profile-*"))
    shutil.rmtree(folder)
    assert walras("profile", job, "--quiet").exit_code == 0
