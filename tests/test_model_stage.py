"""The stage that trains and scores: what it learns from, and the same bits for any partitions."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import tables, training
from engine.profile import kinds, profile_partition
from engine.settings import Job
from jobs.score import score
from jobs.tasks import SerialTasks
from tests.modelled import AS_OF, COLUMNS, DAY, job_of, rows_of, world


def snapshot_job(**changes):
    """The tiny job with features over subscriber columns."""
    job = job_of(**changes)
    more = [
        {"op": "run_out", "name": "left_hours", "of": "usage.mb", "balance": "balance",
         "half_life": "7d"},
        {"op": "expression", "name": "per_mb", "sql": "balance / (1 + mb_30d)"},
        {"op": "expression", "name": "twice", "sql": "2 * per_mb"},
        {"op": "expression", "name": "busy", "sql": "usage_n_7d / (1 + usage_n_30d)"},
        {"op": "tenure", "name": "tenure_days", "since": "start"},
    ]  # fmt: skip
    tiny = job.model_dump(mode="json", exclude_unset=True)
    return Job.model_validate({**tiny, "features": [*tiny["features"], *more]})


KNOWN = [*COLUMNS, "busy", "tenure_days"]
NOT_KNOWN = ["left_hours", "per_mb", "twice"]


@given(st.lists(st.sampled_from([0.0, 1.0, 50.0, 1e6, np.nan]), min_size=12, max_size=12))
@settings(max_examples=25)
def test_present_values_of_subscribers_change_nothing_that_trains(balances):
    job, (subscribers, events) = snapshot_job(), world(12)
    known = subscribers.assign(start=pd.Timestamp("2026-01-05"), balance=20.0)
    columns = training.model_columns(job, kinds(job, tables.schema(known)))
    assert columns == KNOWN
    before = rows_of(job, known, events)
    after = rows_of(job, known.assign(balance=balances), events)
    seen = [*training.ROW, "accepted", *columns]
    pd.testing.assert_frame_equal(before[seen], after[seen], check_exact=True)
    if set(balances) != {20.0}:  # what is left out does change
        assert not before["per_mb"].equals(after["per_mb"])


def test_the_summary_names_what_is_left_out_and_what_is_listed_all_the_same(tmp_path):
    subscribers, events = world(300)
    known = subscribers.assign(start=pd.Timestamp("2026-01-05"), balance=20.0)
    summary, _ = run_stage(tmp_path / "default", snapshot_job(), [(known, events)])
    assert summary["columns"] == KNOWN
    assert summary["left_out"] == NOT_KNOWN and summary["snapshots"] == []
    listed = snapshot_job(features=["mb_30d", "twice", "tenure_days", "left_hours", "balance"])
    summary, _ = run_stage(tmp_path / "listed", listed, [(known, events)])
    assert summary["columns"] == ["mb_30d", "twice", "tenure_days", "left_hours", "balance"]
    assert summary["snapshots"] == ["twice", "left_hours", "balance"]
    assert summary["left_out"] == []


def run_stage(folder, job, parts):
    """Write ingest and profile parts as their stages do, score them; return summary and rows."""
    for name in ("profile/features", "ingest/subscribers", "score"):
        (folder / name).mkdir(parents=True)
    for index, (subscribers, events) in enumerate(parts):
        part = f"part-{index:05}.parquet"
        tables.write(subscribers, folder / "ingest" / "subscribers" / part)
        tables.write(
            profile_partition(job, subscribers, events), folder / "profile" / "features" / part
        )
        for name, table in events.items():
            (folder / "ingest" / "events" / name).mkdir(parents=True, exist_ok=True)
            tables.write(table, folder / "ingest" / "events" / name / part)
    stages = {name: folder / name for name in ("ingest", "profile")}
    summary = score(job, stages, folder / "score", SerialTasks())
    files = sorted((folder / "score" / "propensity").iterdir())
    rows = pd.concat(map(pd.read_parquet, files)).sort_values("subscriber", ignore_index=True)
    return summary, rows


def test_the_stage_gives_the_same_bits_for_1_and_3_partitions(tmp_path):
    job = job_of(max_contacts=900)
    subscribers, events = world()
    parts = [
        (
            subscribers[subscribers["subscriber"] % 7 % 3 == k].reset_index(drop=True),
            {n: e[e["subscriber"] % 7 % 3 == k].reset_index(drop=True) for n, e in events.items()},
        )
        for k in range(3)
    ]
    empty = (subscribers.iloc[:0], {n: e.iloc[:0] for n, e in events.items()})
    one, rows = run_stage(tmp_path / "one", job, [(subscribers, events)])
    three, split = run_stage(tmp_path / "three", job, [*parts, empty])
    assert one == three
    pd.testing.assert_frame_equal(rows, split, check_exact=True)
    assert one["kind"] == "model" and one["columns"] == COLUMNS
    late = (events["contacts"]["time"] > AS_OF - 7 * DAY).sum()
    assert one["excluded"]["without a full outcome window"] == late
    counts = (one[name].values() for name in ("contacts", "purged", "excluded"))
    assert sum(map(sum, counts)) == len(events["contacts"])
    assert one["excluded"]["not sampled"] > 0
    assert [a["mean"] for a in one["actions"]] == pytest.approx(
        rows.drop(columns="subscriber").mean().tolist(), rel=1e-6
    )
    json.dumps(one, allow_nan=False)
    left = sorted(p.name for p in (tmp_path / "one" / "score").iterdir())
    assert left == ["calibration.json", "model.json", "propensity"]


def test_text_keys_in_the_same_order_give_the_same_bits(tmp_path):
    job, (subscribers, events) = job_of(), world(300)

    def named(frame):
        return frame.assign(subscriber=[f"s{key:06}" for key in frame["subscriber"]])

    numbers, rows = run_stage(tmp_path / "numbers", job, [(subscribers, events)])
    texts = (named(subscribers), {name: named(table) for name, table in events.items()})
    names, named_rows = run_stage(tmp_path / "texts", job, [texts])
    assert names == numbers
    pd.testing.assert_frame_equal(named(rows), named_rows, check_exact=True, check_dtype=False)
    assert named_rows["subscriber"].iloc[1] == "s000003"


def test_a_listed_subscriber_column_is_learnt_from(tmp_path):
    job, (subscribers, events) = job_of(features=["mb_30d", "likes", "app"]), world(300)
    accepts = events["outcomes"].groupby("subscriber").size()
    likes = subscribers["subscriber"].map(accepts).fillna(0).astype("float64")
    known = subscribers.assign(likes=likes, app=(subscribers["subscriber"] % 2 == 0))
    rows = training.training_rows(job, known, events)
    assert (rows["likes"] == rows["subscriber"].map(known.set_index("subscriber")["likes"])).all()
    summary, _ = run_stage(tmp_path, job, [(known, events)])
    assert summary["columns"] == ["mb_30d", "likes", "app"]
    assert summary["snapshots"] == ["likes", "app"] and summary["left_out"] == []
    assert summary["importance"][0]["feature"] == "likes"


def test_columns_may_have_names_that_xgboost_refuses(tmp_path):
    names = ["arpu [EUR]", "a<b", "channel=sms", "f0"]
    job, (subscribers, events) = job_of(features=["mb_30d", *names]), world(300)
    accepts = events["outcomes"].groupby("subscriber").size()
    likes = subscribers["subscriber"].map(accepts).fillna(0).astype("float64")
    known = subscribers.assign(**{name: likes * (name == "a<b") for name in names})
    summary, _ = run_stage(tmp_path, job, [(known, events)])
    assert summary["columns"] == ["mb_30d", *names]
    assert summary["importance"][0]["feature"] == "a<b"
    assert {one["feature"] for one in summary["importance"]}.isdisjoint(["arpu [EUR]", "f0"])
