"""Features of each channel and category: plain definitions, point in time, and their problems."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import profile
from engine.settings.base import seconds
from tests.profiled import AS_OF, SCHEMA, job_of
from tests.test_sequence_features import DAY_S, GROUPS, group_of, job, partitions

FEATURES = [
    {"op": "response_rate", "name": "rate", "window": "7d", "prior": 0.25, "strength": 2},
    {"op": "response_rate", "name": "taste", "window": "7d", "per": "category"},
    {"op": "last_contact", "name": "since", "window": "1d"},
    {"op": "last_contact", "name": "last", "window": "1d", "per": "category"},
    {"op": "count_per", "name": "told", "of": "contacts", "windows": ["1d", "30d"]},
    {"op": "count_per", "name": "took", "of": "outcomes", "windows": ["7d"], "per": "category",
     "where": "channel = 'sms'"},
    {"op": "recency_per", "name": "asked", "of": "contacts", "where": "offer <> 'boost'"},
    {"op": "recency_per", "name": "liked", "of": "outcomes", "per": "category"},
    {"op": "response_rate", "name": "both", "window": "7d", "per": "both"},
    {"op": "last_contact", "name": "there", "window": "1d", "per": "both"},
    {"op": "count_per", "name": "each", "of": "contacts", "windows": ["7d"], "per": "both"},
    {"op": "recency_per", "name": "any", "of": "outcomes", "per": "both"},
]  # fmt: skip
KEPT = {
    "took": lambda e: e.channel == "sms",
    "asked": lambda e: e.offer != "boost",
}
JOB = job(FEATURES)


def definition(subscriber, events, at):
    """Return the features of one row from what happened before it; missing is None."""
    mine = {
        name: [e for e in frame[frame["subscriber"] == subscriber].itertuples() if e.time < at]
        for name, frame in events.items()
    }
    row = {}
    for f in JOB.features:
        for group in GROUPS[f.per]:
            own = {
                table: [
                    e.time
                    for e in seen
                    if group_of(e, f.per) == group and KEPT.get(f.name, lambda _: True)(e)
                ]
                for table, seen in mine.items()
                if table != "usage"
            }
            row |= {f"{f.name}_{group}{end}": v for end, v in figures(f, own, at).items()}
    return row


def figures(f, own, at):
    if f.op in ("count_per", "recency_per"):
        times = own[f.of]
        if f.op == "count_per":
            return {f"_{w}": sum(t > at - seconds(w) for t in times) for w in f.windows}
        return {"": (at - times[-1]) / DAY_S if times else None}
    contacts, accepts = (
        [t for t in own[table] if t > at - seconds(f.window)] for table in ("contacts", "outcomes")
    )
    if f.op == "last_contact":
        return {"": (at - contacts[-1]) / DAY_S if contacts else None}
    return {"": (len(accepts) + f.prior * f.strength) / (len(contacts) + f.strength)}


@settings(max_examples=50)
@given(partition=partitions(), age=st.sampled_from([-1, 0, 3_600, 2 * DAY_S]))
def test_rows_match_the_definition(partition, age):
    subscribers, events = partition
    at = AS_OF - age
    rows = pd.DataFrame({"subscriber": subscribers["subscriber"], "time": np.int64(at)})
    found = profile.features_at(JOB, subscribers, events, rows)
    assert list(found.columns) == profile.columns(JOB)
    for key, row in zip(subscribers["subscriber"], found.to_dict("records"), strict=True):
        expected = definition(key, events, at)
        assert list(row) == list(expected)
        for name, value in expected.items():
            # One product, sum and quotient at most, each rounded once.
            missing = value is None and math.isnan(row[name])
            assert missing or row[name] == pytest.approx(value, rel=4 * 2**-53), name


def test_columns_are_named_after_channels_categories_and_windows():
    names = profile.columns(JOB)
    assert {"rate_sms", "rate_push", "taste_data", "taste_voice"} <= set(names)
    assert {"told_sms_1d", "told_push_30d", "took_data_7d", "took_voice_7d"} <= set(names)
    described = {row["name"]: row for row in profile.describe(JOB)}
    assert all(row["unit"] and row["formula"] and row["source"] for row in described.values())
    assert described["took_data_7d"]["source"] == (
        "outcomes where channel = 'sms' and offer IN ('boost', 'roam')"
    )


def test_counts_and_rates_of_the_same_events_share_their_passes():
    features = [FEATURES[1], FEATURES[3], {**FEATURES[5], "where": None}]
    # Two categories of contacts in one, two of outcomes in the other.
    assert profile.passes(job(features))["passes"] == 2


def with_results(accepted, features):
    """Return a job whose outcomes say what the subscriber did."""
    inputs = job().inputs.model_dump()
    inputs["outcomes"] |= {"categories": ["offer", "channel", "result"], "accepted": accepted}
    return job(features, inputs=inputs)


def test_rejections_are_told_apart_from_accepts():
    features = [
        {"op": "response_rate", "name": "rate", "prior": 0.25, "strength": 2},
        {"op": "recency_per", "name": "refused", "of": "outcomes", "where": "result = 'no'"},
        {"op": "recency_per", "name": "disliked", "of": "outcomes", "where": "result = 'no'",
         "per": "category"},
    ]  # fmt: skip
    own = with_results("result = 'yes'", features)
    assert profile.problems(own, SCHEMA) == []
    assert profile.event_columns(own)["outcomes"] == [
        "subscriber", "time", "channel", "offer", "result",
    ]  # fmt: skip
    ages = np.array([9, 5, 3, 1]) * DAY_S
    events = {"subscriber": 1, "time": AS_OF - ages, "offer": "boost", "channel": "sms"}
    contacts = pd.DataFrame(events)
    outcomes = pd.DataFrame(events | {"result": ["no", "yes", "no", "later"]})
    (row,) = profile.profile_partition(
        own, pd.DataFrame({"subscriber": [1]}), {"contacts": contacts, "outcomes": outcomes}
    ).to_dict("records")
    assert row["rate_sms"] == (1 + 0.25 * 2) / (4 + 2)
    assert row["refused_sms"] == row["disliked_data"] == 3
    assert math.isnan(row["refused_push"]) and math.isnan(row["disliked_voice"])


def test_a_wrong_condition_of_accepts_is_told():
    (problem,) = profile.problems(with_results("reslt = 'yes'", FEATURES[:1]), SCHEMA)
    assert problem.startswith("inputs.outcomes.accepted: unknown column reslt")
    (problem,) = profile.problems(with_results("result", FEATURES[:1]), SCHEMA)
    assert problem.startswith("inputs.outcomes.accepted: ")


def test_pairs_need_both_columns_and_names_of_their_own():
    both = {"op": "recency_per", "name": "last", "of": "usage", "per": "both"}
    assert profile.problems(job([both]), SCHEMA) == [
        "features.0 (last).per: both needs the text column channel in usage; there are kind",
        "features.0 (last).per: both needs the text column offer in usage; there are kind",
    ]
    offers = {
        "one": {"category": "b", "value": 1, "channels": ["sms_a"]},
        "two": {"category": "a_b", "value": 1, "channels": ["sms"]},
    }
    alike = {"currency": "EUR", "channels": {"sms": {}, "sms_a": {}}, "offers": offers}
    features = [{**both, "of": "contacts"}]
    assert profile.problems(job_of(features, catalogue=alike), SCHEMA) == [
        "features.0 (last).per: 2 pairs of channel and category would both be named sms_a_b; "
        "rename one"
    ]


@pytest.mark.parametrize("op", ["count_per", "recency_per"])
def test_events_must_tell_their_channel_or_offer(op):
    wrong = [
        {"op": op, "name": "a", "of": "usage"},
        {"op": op, "name": "b", "of": "usage", "per": "category", "where": "mb"},
        {"op": op, "name": "c", "of": "nothing"},
        {"op": op, "name": "d", "of": "contacts", "where": "channel = 'sms'"},
    ]
    assert profile.problems(job(wrong), SCHEMA)[:2] == [
        "features.0 (a).per: channel needs the text column channel in usage; there are kind",
        "features.1 (b).per: category needs the text column offer in usage; there are kind",
    ]
    found = profile.problems(job(wrong), SCHEMA)
    assert [p.partition(":")[0] for p in found[2:]] == ["features.1 (b).where", "features.2 (c).of"]
