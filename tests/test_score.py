import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import score as scores
from engine import tables
from engine.actions import actions
from engine.errors import ConfigError, DataError
from engine.settings import Job
from jobs.score import score
from jobs.tasks import SerialTasks

SCHEMA = {
    "subscriber": "number",
    "segment": "text",
    "p_data": "number",
    "p_voice": "number",
    "spend": "number",
    "opted_in": "boolean",
}


def job_of(settings, **changes):
    """Two offers on two channels: three actions."""
    return Job.model_validate(
        {
            "name": "tiny",
            "as_of": "2026-10-01",
            "inputs": {"folder": "in", "subscribers": {"path": "s.parquet"}},
            "scores": settings,
            "catalogue": {
                "currency": "EUR",
                "channels": {"sms": {}, "push": {}},
                "offers": {
                    "data": {"category": "data", "value": 5, "channels": ["push", "sms"]},
                    "voice": {"category": "voice", "value": 3, "channels": ["sms"]},
                },
            },
        }
        | changes
    )


def by_column(**columns):
    return job_of({"kind": "columns", "columns": columns})


def by_formula(formulas, factors=None):
    return job_of({"kind": "formula", "formulas": formulas, "channel_factors": factors or {}})


def features(*, keys, **columns):
    return pd.DataFrame({"subscriber": keys, **columns})


def test_an_action_takes_its_own_column_before_its_offers():
    job = by_column(**{"data": "p_data", "data@push": "p_voice", "voice": "p_voice"})
    frame = features(keys=[1, 2], p_data=[0.1, 0.2], p_voice=[0.0, 1.0])
    result, faults = scores.score_partition(job, frame)
    assert list(result) == ["subscriber", "data@sms", "data@push", "voice@sms"]
    assert list(result)[1:] == [a.name for a in actions(job.catalogue)]
    assert result["data@sms"].tolist() == [np.float32(0.1), np.float32(0.2)]
    assert result["data@push"].tolist() == [0.0, 1.0]
    assert (result.drop(columns="subscriber").dtypes == "float32").all()
    assert not faults


def test_an_offers_formula_is_multiplied_by_its_channels_factor_and_an_actions_is_not():
    job = by_formula(
        {"data": "spend / 10", "voice": "0.5", "data@push": "spend / 20"},
        {"sms": "CASE WHEN spend > 1 THEN 0.5 ELSE 1 END", "push": "0.1"},
    )
    result, faults = scores.score_partition(job, features(keys=["a", "b"], spend=[1.0, 2.0]))
    assert not faults
    assert result["data@sms"].tolist() == pytest.approx([0.1, 0.1])
    assert result["data@push"].tolist() == pytest.approx([0.05, 0.1])
    assert result["voice@sms"].tolist() == pytest.approx([0.5, 0.25])


@pytest.mark.parametrize("rows", [0, 1, 2, 7])
def test_every_size_has_a_row_per_subscriber(rows):
    job = by_formula({"data": "spend", "voice": "0.25"})
    frame = features(keys=np.arange(rows), spend=np.full(rows, 0.5))
    result, faults = scores.score_partition(job, frame)
    assert result["subscriber"].tolist() == list(range(rows)) and not faults
    assert result["voice@sms"].tolist() == [0.25] * rows


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, -0.1, 1.5, np.nan, np.inf, -np.inf]), max_size=9))
def test_faults_are_the_rows_outside_0_to_1(values):
    frame = features(keys=list(range(10, 10 + len(values))), p_data=np.array(values, float))
    frame["p_voice"] = 0.5
    _, faults = scores.score_partition(by_column(data="p_data", voice="p_voice"), frame)
    bad = [(10 + i, v) for i, v in enumerate(values) if not 0 <= v <= 1]
    assert [f.action for f in faults] == (["data@sms", "data@push"] if bad else [])
    for fault in faults:
        assert (fault.rows, fault.subscriber) == (len(bad), bad[0][0])
        assert repr(fault.value) == repr(bad[0][1])


def test_one_error_names_every_bad_action_over_all_partitions():
    job = by_formula({"data": "spend", "voice": "p_voice"}, {"push": "0"})
    later = features(keys=[7, 9], spend=[1.5, 0.0], p_voice=[0.1, 0.1])
    first = features(keys=[2, 3, 5], spend=[0.0, 2.0, 3.0], p_voice=[0.5, np.nan, 0.0])
    faults = [f for part in (later, first) for f in scores.score_partition(job, part)[1]]
    with pytest.raises(DataError) as error:
        scores.refuse(faults)
    assert str(error.value).splitlines() == [
        "scores.formulas.data: spend: propensity of data@sms is wrong for 3 subscribers, got 2 "
        "for subscriber 3; every propensity must be a number from 0 to 1",
        "scores.formulas.voice: p_voice: propensity of voice@sms is wrong for 1 subscriber, got "
        "no value for subscriber 3; every propensity must be a number from 0 to 1",
    ]


def test_all_problems_of_the_columns_are_told_at_once():
    job = by_column(**{"data@sms": "p_dta", "radio": "p_data", "voice": "segment"})
    assert scores.problems(job, SCHEMA) == [
        "scores.columns.radio: is neither an offer nor an action (offer@channel) of the "
        "catalogue; the offers are data, voice",
        "scores.columns: no propensity for data@push; add an entry data or one for each of them",
        "scores.columns.data@sms: unknown column p_dta; did you mean p_data? there are opted_in, "
        "p_data, p_voice, segment, spend, subscriber",
        "scores.columns.voice: should be a numeric column, got segment, which is text",
    ]


def test_all_problems_of_the_formulas_are_told_at_once():
    job = by_formula({"data": "spnd / 2", "data@push": "opted_in"}, {"mail": "1", "sms": "1 +"})
    found = "\n".join(scores.problems(job, SCHEMA))
    assert "scores.formulas: no propensity for voice@sms" in found
    assert "scores.channel_factors.mail: unknown channel; the channels are sms, push" in found
    assert "scores.formulas.data: " in found and "spnd" in found
    assert "scores.formulas.data@push: should be a number, got a boolean: opted_in" in found
    assert "scores.channel_factors.sms: " in found
    assert scores.problems(by_formula({"data": "spend", "voice": "0.1"}), SCHEMA) == []


@given(st.lists(st.floats(0, 1, width=32), min_size=1), st.randoms())
def test_the_sum_has_the_same_bits_in_any_order_and_split(values, random):
    shuffled = random.sample(values, len(values))
    cut = random.randint(0, len(values))
    parts = [np.array(part, np.float32) for part in (shuffled[:cut], shuffled[cut:])]
    whole = scores.fixed_sum(np.array(values, np.float32))
    assert sum(map(scores.fixed_sum, parts)) == whole
    # each value is rounded to a multiple of 2**-32, so the mean errs by at most 2**-33
    assert (
        abs(scores.mean(whole, len(values)) - np.mean(values, dtype="float64")) <= 2.0**-33 + 1e-15
    )


def stage(tmp_path, job, parts):
    """Run the stage on feature frames; return its summary and its propensities."""
    folder, profiled = tmp_path / "score", tmp_path / "profile"
    (profiled / "features").mkdir(parents=True)
    folder.mkdir()
    for index, part in enumerate(parts):
        tables.write(part, profiled / "features" / f"part-{index:05}.parquet")
    summary = score(job, {"ingest": tmp_path, "profile": profiled}, folder, SerialTasks())
    return summary, sorted((folder / "propensity").iterdir())


def test_the_stage_writes_a_file_per_partition_and_tells_the_means(tmp_path):
    job = by_formula({"data": "spend", "voice": "0.25"}, {"push": "0.5"})
    parts = [features(keys=[1, 5], spend=[0.5, 1.0]), features(keys=[2], spend=[0.0])]
    empty = features(keys=np.empty(0, np.int64), spend=np.empty(0))
    summary, files = stage(tmp_path, job, [*parts, empty])
    assert json.loads(json.dumps(summary)) == {
        "kind": "formula",
        "actions": [
            {"action": "data@sms", "mean": 0.5},
            {"action": "data@push", "mean": 0.25},
            {"action": "voice@sms", "mean": 0.25},
        ],
    }
    assert [f.name for f in files] == [f"part-{i:05}.parquet" for i in range(3)]
    frames = [pd.read_parquet(f) for f in files]
    assert [f["subscriber"].tolist() for f in frames] == [[1, 5], [2], []]
    assert all((f.dtypes.iloc[1:] == "float32").all() for f in frames)
    assert frames[0]["data@push"].tolist() == [0.25, 0.5]


def test_the_stage_refuses_what_check_refuses(tmp_path):
    with pytest.raises(ConfigError, match="no propensity for voice@sms"):
        stage(tmp_path, by_formula({"data": "spend"}), [features(keys=[1], spend=[0.5])])


def test_the_stage_refuses_propensities_outside_0_to_1(tmp_path):
    job = by_column(data="p_data", voice="p_data")
    with pytest.raises(DataError, match=r"data@sms is wrong for 2 subscribers, got -0\.5 for sub"):
        stage(tmp_path, job, [features(keys=[8], p_data=[2.0]), features(keys=[4], p_data=[-0.5])])


def test_the_same_features_in_other_partitions_give_the_same_bits(tmp_path):
    job = by_formula({"data": "spend / 3", "voice": "spend * spend"}, {"sms": "0.7"})
    rng = np.random.default_rng(1)
    frame = features(keys=np.arange(50), spend=rng.random(50))
    (tmp_path / "one").mkdir()
    (tmp_path / "three").mkdir()
    one, files = stage(tmp_path / "one", job, [frame])
    three, split = stage(tmp_path / "three", job, [frame[i::3] for i in range(3)])
    assert one == three
    together = pd.concat(map(pd.read_parquet, split)).sort_values("subscriber", ignore_index=True)
    pd.testing.assert_frame_equal(pd.read_parquet(files[0]), together, check_exact=True)


def test_no_unfinished_file_is_left(tmp_path):
    _, files = stage(tmp_path, by_column(data="p", voice="p"), [features(keys=[1], p=[0.5])])
    assert [Path(f).name for f in files[0].parent.iterdir()] == ["part-00000.parquet"]
