"""What a model of past contacts cannot learn from is told."""

import sys

import pytest

from engine import model
from engine import score as scores
from engine.errors import ConfigError
from engine.settings import Job
from tests.modelled import COLUMNS, job_of


def test_all_problems_of_a_model_are_told_at_once():
    schema = dict.fromkeys(COLUMNS, "number") | {"segment": "text"}
    job = job_of(features=["mb_30d", "nope", "segment", "mb_30d"], train_share=0.9)
    assert scores.problems(job, schema) == [
        "scores: train_share and calibrate_share should leave a share for the test, got 0.9 + 0.2; "
        "their sum must be below 1",
        "scores.features.1: unknown column nope; there are mb_30d, quiet_days, segment, "
        "usage_n_30d, usage_n_7d",
        "scores.features.2: should be a numeric or boolean column, got segment, which is text",
        "scores.features.3: mb_30d is named twice",
    ]
    assert scores.problems(job_of(), schema) == []
    (nothing,) = scores.problems(job_of(), {"segment": "text"})
    assert "no numeric feature to learn from" in nothing


RESERVED = ["time", "offer", "channel", "accepted"]


@pytest.mark.parametrize("name", RESERVED)
def test_a_feature_with_the_name_of_a_column_of_training_rows_is_refused(name):
    tiny = job_of().model_dump(mode="json", exclude_unset=True)
    features = [*tiny["features"], {"op": "recency", "name": name, "of": "usage"}]
    said = (
        f"features: the column {name} is also a column of the rows that train the model; "
        "give the feature another name"
    )
    schema = dict.fromkeys([*COLUMNS, name], "number")
    for listed in ([], [name]):
        scored = {"kind": "model", "features": listed}
        job = Job.model_validate({**tiny, "features": features, "scores": scored})
        assert scores.problems(job, schema) == [said]
    formulas = {"kind": "formula", "formulas": {"data": "0.1", "voice": "0.1"}}
    free = Job.model_validate({**tiny, "features": features, "scores": formulas})
    assert scores.problems(free, schema) == []  # it trains nothing


@pytest.mark.parametrize("name", ["subscriber", *RESERVED])
def test_a_subscriber_column_with_the_name_of_a_column_of_training_rows_is_not_learnt_from(name):
    schema = dict.fromkeys([*COLUMNS, name], "number")
    assert scores.problems(job_of(), schema) == []
    (problem,) = scores.problems(job_of(features=["mb_30d", name]), schema)
    assert problem.startswith(f"scores.features.1: {name} is also a column of the rows that train")


def test_a_missing_xgboost_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "xgboost", None)
    (found,) = scores.problems(job_of(), dict.fromkeys(COLUMNS, "number"))
    assert found.endswith("not installed; pip install 'walras[cpu]' or 'walras[gpu]'")
    with pytest.raises(ConfigError, match="needs XGBoost"):
        model.fit(job_of(), None, COLUMNS)
