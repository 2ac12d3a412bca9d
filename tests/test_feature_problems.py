"""Every problem of a job's features is told at once, with what is allowed."""

import pytest

from engine import profile
from tests.profiled import FEATURES, JOB, SCHEMA, job_of


def test_a_sound_job_has_no_problems():
    assert profile.problems(JOB, SCHEMA) == []


@pytest.mark.parametrize(
    ("feature", "problem"),
    [
        (
            {"op": "count", "name": "x", "of": "usag"},
            "features.0 (x).of: unknown event table, got usag; did you mean usage? there are "
            "contacts, outcomes, usage",
        ),
        (
            {"op": "sum", "name": "x", "of": "usage.charg"},
            "features.0 (x).of: unknown value column, got usage.charg; did you mean charge? there "
            "are charge, mb",
        ),
        (
            {"op": "mean", "name": "x", "of": "usage"},
            "features.0 (x).of: needs a column (table.column), got usage; there are charge, mb",
        ),
        (
            {"op": "count", "name": "x", "of": "usage.mb"},
            "features.0 (x).of: takes a table without a column, got usage.mb; write usage",
        ),
        (
            {"op": "trend", "name": "x", "of": "usage", "window": "36h"},
            "features.0 (x).window: should be at least two times 1d (every), and a whole number of "
            "it, got 36h",
        ),
        (
            {"op": "trend", "name": "x", "of": "usage", "window": "1d"},
            "features.0 (x).window: should be at least two times 1d (every), and a whole number of "
            "it, got 1d",
        ),
        (
            {"op": "trend", "name": "x", "of": "usage", "every": "36h"},
            "features.0 (x).every: should be whole days, got 36h",
        ),
        (
            {"op": "share", "name": "x", "of": "usage", "windows": ["7d"]},
            "features.0 (x).where: share needs a condition, got none; say which events it is of",
        ),
        (
            {"op": "against_baseline", "name": "x", "of": "usage.mb", "windows": ["90d"]},
            "features.0 (x).windows: should be shorter than baseline (90d), got 90d",
        ),
        (
            {"op": "against_baseline", "name": "x", "of": "usage", "windows": ["7d"]},
            "features.0 (x).of: needs a column (table.column), got usage; there are charge, mb",
        ),
        (
            {"op": "std", "name": "x", "of": "usage", "windows": ["7d"]},
            "features.0 (x).of: needs a column (table.column), got usage; there are charge, mb",
        ),
        (
            {"op": "min", "name": "x", "of": "usage.md", "windows": ["7d"]},
            "features.0 (x).of: unknown value column, got usage.md; there are charge, mb",
        ),
        (
            {"op": "latest", "name": "x", "of": "contacts"},
            "features.0 (x).of: needs a column (table.column), got contacts; there are none",
        ),
        (
            {"op": "active_days", "name": "x", "of": "usage.mb"},
            "features.0 (x).of: takes a table without a column, got usage.mb; write usage",
        ),
        (
            {"op": "share", "name": "x", "of": "usage.mb", "where": "kind = 'data'"},
            "features.0 (x).of: takes a table without a column, got usage.mb; write usage",
        ),
        (
            {"op": "change", "name": "x", "of": "usage.charg"},
            "features.0 (x).of: unknown value column, got usage.charg; did you mean charge? there "
            "are charge, mb",
        ),
        (
            {"op": "overdue", "name": "x", "of": "usage.mb"},
            "features.0 (x).of: takes a table without a column, got usage.mb; write usage",
        ),
        (
            {"op": "trend", "name": "x", "of": "usage", "window": "30d", "every": "7d"},
            "features.0 (x).window: should be at least two times 7d (every), and a whole number of "
            "it, got 30d",
        ),
        (
            {"op": "run_out", "name": "x", "of": "usage", "balance": "balance", "within": "1d"},
            "features.0 (x).of: needs a column (table.column), got usage; there are charge, mb",
        ),
        (
            {"op": "rfm", "name": "x", "of": "usage"},
            "features.0 (x).of: needs a column (table.column), got usage; there are charge, mb",
        ),
        (
            {"op": "lifetime_value", "name": "x", "of": "usag.charge"},
            "features.0 (x).of: unknown event table, got usag.charge; did you mean usage? there "
            "are contacts, outcomes, usage",
        ),
        (
            {"op": "lifetime_value", "name": "x", "of": "usage.charge", "horizon": "600w"},
            "features.0 (x).horizon: should be at most 3650d, got 600w",
        ),
        (
            {"op": "tenure", "name": "x", "since": "sinc"},
            "features.0 (x).since: unknown subscriber column, got sinc; did you mean since? there "
            "are app, balance, plan, since, subscriber",
        ),
        (
            {"op": "tenure", "name": "x", "since": "plan"},
            "features.0 (x).since: should be a date or timestamp, got plan, which is text",
        ),
        (
            {"op": "run_out", "name": "x", "of": "usage.mb", "balance": "plan"},
            "features.0 (x).balance: should be a number, got plan, which is text",
        ),
        (
            {"op": "lifecycle", "name": "x", "of": "usage", "since": "since", "quiet": "40d"},
            "features.0 (x): should have quiet < dormant < lost, got 40d, 30d, 90d",
        ),
        (
            {"op": "tenure", "name": "balance", "since": "since"},
            "features: the column balance is also a subscriber column; give the feature another "
            "name",
        ),
        (
            {"op": "count", "name": "x", "of": "usage", "windows": ["7d", "7d"]},
            "features: the column x_7d is made 2 times; names and windows must differ",
        ),
    ],
)
def test_a_wrong_feature_is_named_with_what_is_allowed(feature, problem):
    assert profile.problems(job_of([feature]), SCHEMA) == [problem]


def test_columns_of_a_run_out_must_differ_from_others():
    run_out = {"op": "run_out", "name": "x", "of": "usage.mb", "balance": "balance"}
    latest = {"op": "latest", "name": "x_chance", "of": "usage.mb"}
    assert profile.problems(job_of([run_out, latest]), SCHEMA) == []
    assert profile.problems(job_of([run_out | {"within": "1d"}, latest]), SCHEMA) == [
        "features: the column x_chance is made 2 times; names and windows must differ"
    ]


def test_names_and_kinds_do_not_need_sound_sources():
    job = job_of([{"op": "sum", "name": "x", "of": "nothing.there", "windows": ["7d"]}])
    assert profile.columns(job) == ["x_7d"]
    assert profile.kinds(job, SCHEMA) == SCHEMA | {"x_7d": "number"}


def test_all_problems_are_told_at_once_and_none_twice():
    wrong = [
        {"op": "count", "name": "a", "of": "usage", "where": "knd = 'data'"},
        {"op": "count", "name": "b", "of": "usage", "where": "kind"},
        {"op": "expression", "name": "c", "sql": "nothing + 1"},
        {"op": "expression", "name": "d", "sql": "c > 1"},  # fine once c is
        {"op": "expression", "name": "e", "sql": "plan + 1"},
        {"op": "expression", "name": "f", "sql": "later"},
        {"op": "recency", "name": "later", "of": "usage"},
    ]
    found = profile.problems(job_of(wrong), SCHEMA)
    starts = ("features.0 (a).where", "features.1 (b).where", "features.2 (c).sql",
              "features.4 (e).sql", "features.5 (f).sql")  # fmt: skip
    assert {next(s for s in starts if p.startswith(s)) for p in found} == set(starts)


def test_scores_and_responses_say_what_they_miss():
    inputs = JOB.inputs.model_dump() | {"contacts": None, "outcomes": None}
    inputs["events"]["usage"]["values"]["mb"]["minimum"] = None
    job = job_of([FEATURES[10], *FEATURES[13:15]], inputs=inputs)
    assert profile.problems(job, SCHEMA) == [
        "features.0 (heat).of: a score needs values that are never negative, got usage.mb with "
        "minimum None; set the column's minimum to 0 or more",
        "features.1 (rate).op: response_rate needs inputs.contacts, which is not set",
        "features.1 (rate).op: response_rate needs inputs.outcomes, which is not set",
        "features.2 (contacted).op: last_contact needs inputs.contacts, which is not set",
    ]
