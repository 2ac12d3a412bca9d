"""Parameters of the whole base: the same for any partitions, written, and not trained on."""

import json

import numpy as np
import pandas as pd
import pytest

from engine import profile, tables, training
from engine.errors import DataError
from engine.fitted import NOTHING, Fitted
from jobs import profile as stage
from jobs import stored
from jobs.score import score
from jobs.tasks import SerialTasks
from kernels import lifetime
from tests import modelled
from tests.profiled import AS_OF, SCHEMA, job_of
from tests.test_profile_stage import big_partition, ingested

DAY_S = 86_400
VALUE = [
    {"op": "rfm", "name": "rfm", "of": "usage.charge", "window": "40d"},
    {"op": "lifetime_value", "name": "clv", "of": "usage.charge", "horizon": "360d",
     "where": "kind = 'voice'"},
    {"op": "response_rate", "name": "rate", "window": "90d", "priors": "fitted"},
    {"op": "expression", "name": "good", "sql": "clv / (1 + rfm)"},
    {"op": "recency", "name": "quiet", "of": "usage"},
]  # fmt: skip
JOB = job_of(VALUE)
FROM_BASE = [
    "rfm_recency", "rfm_frequency", "rfm_monetary", "rfm", "clv", "clv_alive", "clv_transactions",
    "clv_spend", "rate_sms", "rate_push", "good",
]  # fmt: skip


def run(folder, subscribers, events, parts, job=JOB):
    """Return the features of the stage, in order of the subscribers, and its parameters."""
    source = ingested(folder / "in", subscribers, events, parts)
    out = folder / "out"
    out.mkdir()
    stage.profile(job, source, out, SerialTasks())
    whole = tables.concat([tables.read(f) for f in sorted((out / "features").iterdir())])
    return whole.sort_values("subscriber", ignore_index=True), stage.fitted(job, out), out


def people(subscribers=300, events=4_000):
    """Return a partition some of whose subscribers have no events, or a single one."""
    subscribers, tables_ = big_partition(subscribers, events)
    usage = tables_["usage"]
    few = usage["subscriber"] % 5 == 0
    kept = usage[~few | ~usage.duplicated("subscriber")]
    return subscribers, {**tables_, "usage": kept.reset_index(drop=True)}


@pytest.mark.parametrize("parts", [2, 7])
def test_the_stage_is_the_same_bits_for_any_number_of_partitions(tmp_path, parts):
    subscribers, events = people()
    one, fitted, _ = run(tmp_path / "one", subscribers, events, 1)
    many, same, _ = run(tmp_path / "many", subscribers, events, parts)
    pd.testing.assert_frame_equal(one, many, check_exact=True)
    assert fitted == same and list(fitted.features) == ["rfm", "clv", "rate"]
    assert one["rfm"].nunique() > 5 and one["clv"].notna().any()


def test_a_partition_in_pieces_gives_the_same_parameters(tmp_path, monkeypatch):
    subscribers, events = people()
    whole, fitted, _ = run(tmp_path / "whole", subscribers, events, 2)
    monkeypatch.setattr(stage, "LEAST", 10)
    read = stored.read

    def short(path, columns=None, backend="pandas", texts=(), rows=None):
        if "usage" in path.parts and rows is None and columns != ["subscriber"]:
            raise MemoryError
        return read(path, columns, backend, texts, rows=rows)

    monkeypatch.setattr(stored, "read", short)
    halved, same, _ = run(tmp_path / "halved", subscribers, events, 2)
    assert fitted == same
    pd.testing.assert_frame_equal(whole, halved, check_exact=True)


def test_the_columns_are_what_the_kernels_make_of_the_parameters(tmp_path):
    subscribers, events = people()
    found, fitted, _ = run(tmp_path, subscribers, events, 3)
    model, usage = fitted.features["clv"], events["usage"]
    mine = usage[usage["kind"] == "voice"].groupby("subscriber")
    keys = found["subscriber"]
    number = keys.map(mine.size()).fillna(0.0).to_numpy(np.float64)
    last, first = (
        ((AS_OF - keys.map(time)) / DAY_S).to_numpy(np.float64)
        for time in (mine["time"].max(), mine["time"].min())
    )
    spent = keys.map(mine["charge"].sum()).fillna(0.0).to_numpy(np.float64)
    shapes = [getattr(model, n) for n in ("r", "alpha", "a", "b", "p", "q", "gamma")]
    numbers = np.array([*shapes, 360.0, 1.1 ** (-30 / 365)])
    exact = lifetime(number, last, first, spent, numbers)
    names = ("clv_alive", "clv_transactions", "clv_spend", "clv")
    for name, column in zip(names, exact, strict=True):
        # Sums of money are added in another order here.
        np.testing.assert_allclose(found[name], column, rtol=1e-12)
    assert (found["clv"].isna() == (number == 0)).all() and (number == 0).any()
    prior = fitted.features["rate"].groups["push"]
    contacts, accepts = (
        keys.map(frame[frame["channel"] == "push"].groupby("subscriber").size()).fillna(0.0)
        for frame in (
            events[name][events[name]["time"] > AS_OF - 90 * DAY_S]
            for name in ("contacts", "outcomes")
        )
    )
    rate = (accepts + prior.rate * prior.strength) / (contacts + prior.strength)
    np.testing.assert_array_equal(found["rate_push"], rate)


def test_parameters_are_the_same_to_the_last_bit_after_they_are_written(tmp_path):
    subscribers, events = people()
    _, fitted, out = run(tmp_path, subscribers, events, 2)
    assert Fitted.of(fitted.text()) == fitted
    written = json.loads((out / "fitted.json").read_text())["features"]
    assert written["clv"]["r"] == fitted.features["clv"].r
    assert written["rate"]["groups"]["sms"]["source"] == "group"


def test_a_job_without_such_features_has_no_pass_and_no_file(tmp_path):
    subscribers, events = people(20, 90)
    job = job_of(VALUE[-1:])
    assert profile.fit_columns(job) == {}
    _, fitted, out = run(tmp_path, subscribers, events, 1, job)
    assert fitted == NOTHING and not (out / "fitted.json").exists()


def test_only_what_parameters_need_is_read_for_them():
    assert profile.fit_columns(job_of(VALUE[:1] + VALUE[-1:])) == {
        "usage": ["subscriber", "time", "charge"]
    }
    assert set(profile.fit_columns(job_of(VALUE[2:3]))) == {"contacts", "outcomes"}


def test_columns_that_know_the_whole_base_are_snapshots():
    described = {row["name"]: row for row in profile.describe(JOB)}
    assert list(described) == profile.columns(JOB)
    assert [name for name, row in described.items() if row["snapshot"]] == FROM_BASE
    assert described["clv"]["unit"] == "money" and "360d" in described["clv"]["formula"]
    assert profile.problems(JOB, SCHEMA) == []
    given = job_of([{**VALUE[2], "priors": "given"}])
    assert not any(row["snapshot"] for row in profile.describe(given))


def test_rows_of_the_past_have_their_own_events_and_the_parameters_of_now(tmp_path):
    subscribers, events = people()
    found, fitted, _ = run(tmp_path, subscribers, events, 1)
    now = pd.DataFrame({"subscriber": subscribers["subscriber"], "time": AS_OF + 1})
    at = profile.features_at(JOB, subscribers, events, now, fitted)
    # A second later no event is younger, so scores of number and money are those of the stage.
    pd.testing.assert_series_equal(at["rfm_frequency"], found["rfm_frequency"])
    past = now.assign(time=AS_OF - 30 * DAY_S)
    early = {name: frame[frame["time"] < AS_OF - 30 * DAY_S] for name, frame in events.items()}
    one, other = (profile.features_at(JOB, subscribers, e, past, fitted) for e in (events, early))
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert not one["clv"].equals(at["clv"])


def model_job(**changes):
    """Return the tiny job of a model with RFM scores."""
    job = modelled.job_of(**changes)
    tiny = job.model_dump(mode="json", exclude_unset=True)
    more = [{"op": "rfm", "name": "rfm", "of": "usage.mb"}]
    return type(job).model_validate({**tiny, "features": [*tiny["features"], *more]})


def test_models_do_not_train_on_parameters_of_the_whole_base_by_default():
    job, (subscribers, _) = model_job(), modelled.world(12)
    schema = profile.kinds(job, tables.schema(subscribers))
    assert "rfm" not in training.model_columns(job, schema)
    assert "rfm" in training.left_out(job, schema)


def test_a_model_that_lists_such_a_column_trains_on_it_and_says_so(tmp_path):
    job, (subscribers, events) = model_job(features=["mb_30d", "rfm"]), modelled.world(300)
    _, _, profiled = run(tmp_path, subscribers, events, 2, job)
    (tmp_path / "score").mkdir()
    stages = {"ingest": tmp_path / "in", "profile": profiled}
    summary = score(job, stages, tmp_path / "score", SerialTasks())
    assert summary["columns"] == ["mb_30d", "rfm"] and summary["snapshots"] == ["rfm"]


def test_a_base_without_repeats_stops_the_stage_and_names_the_feature(tmp_path):
    subscribers, events = big_partition(40, 90)
    usage = events["usage"].drop_duplicates("subscriber")
    with pytest.raises(DataError, match=r"^features.1 \(clv\): cannot be fitted: .* got 0 of"):
        run(tmp_path, subscribers, {**events, "usage": usage}, 2)
