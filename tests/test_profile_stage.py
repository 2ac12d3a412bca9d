"""The stage of features: what it says of its columns, what it reads, and what it writes."""

import numpy as np
import pandas as pd
import pytest

from engine import profile, tables
from engine.errors import ConfigError
from jobs.profile import profile as profile_stage
from jobs.tasks import SerialTasks
from tests.profiled import AS_OF, FEATURES, JOB, SCHEMA, job_of

DAY_S = 86_400


def test_every_column_is_described_with_unit_formula_and_source():
    rows = {row["name"]: row for row in profile.describe(JOB)}
    assert list(rows) == profile.columns(JOB)
    assert all(row["formula"] for row in rows.values())
    assert rows["data_mb_7d"] == {
        "name": "data_mb_7d",
        "feature": "data_mb",
        "formula": "sum over (t - 7d, t], 0 without events",
        "unit": "MB",
        "source": "usage.mb where kind = 'data'",
        "snapshot": False,
    }
    assert rows["rate_sms"]["source"] == (
        "outcomes where channel = 'sms', contacts where channel = 'sms'"
    )
    assert rows["left_h"]["unit"] == "hours"
    assert rows["empty_chance"]["unit"] == "probability"
    assert [name for name, row in rows.items() if row["snapshot"]] == [
        "left_h", "rich", "label", "empty", "empty_early", "empty_chance",
    ]  # fmt: skip


def test_windows_of_a_source_share_one_pass():
    assert profile.passes(job_of(FEATURES[:4])) == {"tables": 1, "passes": 2, "quantities": 7}
    shared = [*FEATURES[8:9], {**FEATURES[12], "half_life": "7d"}]
    # Run-out uses the same smoothed spend; its quantile needs the squares too, another series.
    assert profile.passes(job_of(shared)) == {"tables": 1, "passes": 1, "quantities": 1}
    shared[1]["quantile"] = 0.1
    assert profile.passes(job_of(shared)) == {"tables": 1, "passes": 2, "quantities": 2}


def test_only_the_columns_that_features_need_are_read():
    assert profile.event_columns(job_of(FEATURES[:2])) == {
        "usage": ["subscriber", "time", "charge"]
    }
    assert profile.event_columns(job_of(FEATURES[4:5]))["usage"][2:] == ["kind", "mb"]
    assert profile.event_columns(job_of(FEATURES[14:15])) == {
        "contacts": ["subscriber", "time", "channel"]
    }
    needed = profile.subscriber_columns(JOB, SCHEMA)
    assert needed == ["since", "balance", "plan"]


def ingested(folder, subscribers, events, parts):
    """Write an ingest folder: subscribers dealt to parts by their bucket."""
    bucket = tables.bucket(subscribers["subscriber"], parts)
    for part in range(parts):
        mine = subscribers[bucket == part]
        (folder / "subscribers").mkdir(parents=True, exist_ok=True)
        tables.write(mine, folder / "subscribers" / f"part-{part:05}.parquet")
        for name, frame in events.items():
            (folder / "events" / name).mkdir(parents=True, exist_ok=True)
            own = frame[frame["subscriber"].isin(mine["subscriber"])]
            tables.write(own, folder / "events" / name / f"part-{part:05}.parquet")
    return folder


def big_partition(subscribers=50, events=4_000, seed=3):
    rng = np.random.default_rng(seed)
    days = pd.to_timedelta(rng.integers(0, 250, subscribers), "D")
    people = pd.DataFrame(
        {
            "subscriber": np.arange(subscribers) * 7,
            "since": pd.to_datetime("2026-01-01") + days,
            "balance": rng.gamma(1.0, 10.0, subscribers),
            "plan": rng.choice(["pre", "post"], subscribers),
            "app": rng.random(subscribers) < 0.5,
        }
    )

    def table(**columns):
        who = rng.choice(people["subscriber"], events)
        times = AS_OF - rng.integers(0, 60 * DAY_S, events)
        frame = pd.DataFrame({"subscriber": who, "time": times, **columns})
        return frame.sort_values(list(frame.columns), ignore_index=True)

    def numbers():
        return rng.gamma(1.0, 5.0, events)

    def texts(*allowed):
        return rng.choice(allowed, events)

    usage = table(charge=numbers(), mb=numbers(), kind=texts("data", "voice"))
    history = [table(offer="boost", channel=texts("sms", "push")) for _ in range(2)]
    return people, {"usage": usage, "contacts": history[0], "outcomes": history[1]}


@pytest.mark.parametrize("parts", [3, 8])
def test_the_stage_writes_the_same_features_for_any_number_of_partitions(tmp_path, parts):
    subscribers, events = big_partition()
    frames = []
    for name, count in (("one", 1), ("many", parts)):
        source = ingested(tmp_path / name / "in", subscribers, events, count)
        folder = tmp_path / name / "out"
        folder.mkdir()
        summary = profile_stage(JOB, source, folder, SerialTasks())
        assert summary["subscribers"] == len(subscribers)
        assert summary["columns"] == profile.columns(JOB)
        assert summary["features"] == len(profile.columns(JOB)) == len(summary["described"])
        assert summary["passes"] == profile.passes(JOB)
        files = sorted((folder / "features").iterdir())
        assert [f.name for f in files] == [f"part-{i:05}.parquet" for i in range(count)]
        whole = tables.concat([tables.read(f) for f in files])
        frames.append(whole.sort_values("subscriber", ignore_index=True))
    pd.testing.assert_frame_equal(*frames, check_exact=True)


def test_the_stage_stops_on_every_problem_of_the_features(tmp_path):
    subscribers, events = big_partition(3, 10)
    source = ingested(tmp_path / "in", subscribers, events, 1)
    folder = tmp_path / "out"
    folder.mkdir()
    wrong = [{"op": "count", "name": n, "of": "nothing"} for n in ("a", "b")]
    with pytest.raises(ConfigError) as error:
        profile_stage(job_of(wrong), source, folder, SerialTasks())
    assert [line.split(":")[0] for line in str(error.value).splitlines()] == [
        "features.0 (a).of", "features.1 (b).of",
    ]  # fmt: skip
