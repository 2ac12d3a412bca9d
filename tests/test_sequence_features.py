"""Features of the order of events: plain definitions, point in time, independent of any split."""

import math
from itertools import pairwise
from operator import itemgetter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import profile
from engine.settings.base import seconds
from tests.profiled import AS_OF, SCHEMA, job_of
from tests.test_bursts import moments
from tests.test_hours import hours_of
from tests.test_open_case import case_of

DAY_S = 86_400
OFFERS = {"boost": "data", "talk": "voice", "roam": "data"}
CATALOGUE = {
    "currency": "EUR",
    "channels": {"sms": {}, "push": {}},
    "offers": {
        n: {"category": c, "value": 1, "channels": ["sms", "push"] if c == "voice" else ["sms"]}
        for n, c in OFFERS.items()
    },
}
FEATURES = [
    {"op": "fatigue", "name": "tired", "of": "contacts", "leak_per_day": 0.5, "per": "channel"},
    {"op": "fatigue", "name": "bored", "of": "contacts", "leak_per_day": 0.25, "per": "category"},
    {"op": "fatigue", "name": "load", "of": "usage.mb", "where": "kind = 'data'"},
    {"op": "bursts", "name": "bad", "of": "usage", "at_least": 2, "windows": ["30d", "1d"]},
    {"op": "bursts", "name": "data", "of": "usage", "within": "2h", "where": "kind = 'data'"},
    {"op": "repeats", "name": "again", "of": "usage", "within": "1d", "windows": ["2h", "2d"]},
    {"op": "open_case", "name": "case", "of": "usage", "opens": "kind = 'data'",
     "closes": "mb > 1"},
    {"op": "best_hour", "name": "hour", "of": "usage", "window": "2d", "utc_offset_h": 5.75,
     "where": "kind = 'voice'"},
    {"op": "best_hour", "name": "local", "of": "usage", "utc_offset_h": -3},
    {"op": "fatigue", "name": "worn", "of": "contacts", "per": "both"},
]  # fmt: skip


def job(features=FEATURES, **changes):
    return job_of(features, catalogue=CATALOGUE, **changes)


JOB = job()


@st.composite
def partitions(draw):
    """Few subscribers with few instants, many of them the same or just a setting apart."""
    keys = sorted(draw(st.sets(st.integers(1, 9), max_size=3)))
    hours = st.sampled_from([0, 1, 2, 3, 24, 25, 48, 7 * 24, 30 * 24])
    ages = st.builds(lambda h, off: h * 3_600 + off, hours, st.sampled_from([-1, 0, 1]))

    def events(**columns):
        size = draw(st.integers(0, 12)) if keys else 0
        kinds = {"subscriber": st.sampled_from(keys or [0]), "time": ages.map(lambda a: AS_OF - a)}
        table = {
            n: draw(st.lists(k, min_size=size, max_size=size)) for n, k in (kinds | columns).items()
        }
        types = {"subscriber": "int64", "time": "int64", "charge": "float64", "mb": "float64"}
        frame = pd.DataFrame(
            {n: pd.Series(v, dtype=types.get(n, "category" if v else "str")) for n, v in
             table.items()}
        )  # fmt: skip
        return frame.sort_values(["subscriber", "time"], kind="stable", ignore_index=True)

    number = st.sampled_from([0.0, 0.5, 2.0])
    # One offer and one channel are not in the catalogue.
    offers, channels = st.sampled_from([*OFFERS, "old"]), st.sampled_from(["sms", "push", "fax"])
    return pd.DataFrame({"subscriber": pd.Series(keys, dtype="int64")}), {
        "usage": events(charge=number, mb=number, kind=st.sampled_from(["data", "voice"])),
        "contacts": events(offer=offers, channel=channels),
        "outcomes": events(offer=offers, channel=channels),
    }


def fatigue_of(f, events, at):
    level, before, column = 0.0, None, f.of.partition(".")[2]
    for e in events:
        if before is not None:
            level = max(0, level - f.leak_per_day * (e.time - before) / DAY_S)
        level += getattr(e, column) if column else 1.0
        before = e.time
    return {"": 0.0 if before is None else max(0, level - f.leak_per_day * (at - before) / DAY_S)}


def bursts_of(f, events, at):
    found = moments([e.time for e in events], f.at_least, seconds(f.within))
    row = {f"_{w}": sum(at - seconds(w) < begin <= at for begin, _ in found) for w in f.windows}
    return row | {"_recency": (at - found[-1][1]) / DAY_S if found else None}


def repeats_of(f, events, at):
    times = [e.time for e in events]
    later = [t for s, t in pairwise(times) if t - s <= seconds(f.within)]
    return {f"_{w}": sum(t > at - seconds(w) for t in later) for w in f.windows}


def open_case_of(_, events, at):
    closing = [e.time for e in events if e.mb > 1]
    opening = [e.time for e in events if e.kind == "data"]
    openings, days = case_of(opening, closing, at)
    return {"": openings, "_days": days if openings else None}


def best_hour_of(f, events, at):
    times = [e.time for e in events if e.time > at - seconds(f.window)]
    found = hours_of(times, round(f.utc_offset_h * 3_600))
    return dict(zip(("", "_share", "_entropy", "_hours"), found, strict=True))


DEFINITIONS = {
    "fatigue": fatigue_of, "bursts": bursts_of, "repeats": repeats_of, "open_case": open_case_of,
    "best_hour": best_hour_of,
}  # fmt: skip


GROUPS = {
    "channel": CATALOGUE["channels"],
    "category": ("data", "voice"),
    "both": ("sms_data", "sms_voice", "push_voice"),  # nothing of data goes by push
}


def group_of(event, per):
    category = OFFERS.get(event.offer)
    both = f"{event.channel}_{category}"
    return {"channel": event.channel, "category": category, "both": both}[per]


def groups(f):
    """Return the name of each group that a feature has columns for, and who is in it."""
    if getattr(f, "per", None) is None:
        return {"": lambda e: True}
    return {f"_{group}": lambda e, g=group: group_of(e, f.per) == g for group in GROUPS[f.per]}


def definition(job, subscriber, events, at, *, strictly):
    """Return the features of one row in plain Python; missing is None."""
    row = {}
    for f in job.features:
        table = f.of.partition(".")[0]
        mine = events[table][events[table]["subscriber"] == subscriber].itertuples()
        mine = [e for e in mine if e.time < at or (e.time == at and not strictly)]
        if getattr(f, "where", None) is not None:
            mine = [e for e in mine if e.kind == f.where.split("'")[1]]
        for group, holds in groups(f).items():
            found = DEFINITIONS[f.op](f, [e for e in mine if holds(e)], at)
            row |= {f"{f.name}{group}{suffix}": value for suffix, value in found.items()}
    return row


def agree(found, expected):
    """Compare a row with its definition: 12 events, each rounding a level of at most 24 twice."""
    assert list(found) == list(expected)
    for name, value in expected.items():
        if value is None:
            assert math.isnan(found[name]), name
        else:
            assert found[name] == pytest.approx(value, rel=1e-13, abs=1e-13), name


@settings(max_examples=60)
@given(partition=partitions())
def test_a_partition_matches_the_definition(partition):
    subscribers, events = partition
    found = profile.profile_partition(JOB, subscribers, events)
    assert list(found.columns) == ["subscriber", *profile.columns(JOB)]
    assert {str(found[n].dtype) for n in profile.columns(JOB)} == {"float64"}
    for key, row in zip(subscribers["subscriber"], found.to_dict("records"), strict=True):
        del row["subscriber"]
        agree(row, definition(JOB, key, events, AS_OF, strictly=False))


@settings(max_examples=40)
@given(partition=partitions(), age=st.sampled_from([0, 1, 3_600, DAY_S, 2 * DAY_S]))
def test_features_at_an_instant_are_those_of_the_events_before_it(partition, age):
    subscribers, events = partition
    at = AS_OF - age
    rows = pd.DataFrame({"subscriber": subscribers["subscriber"], "time": np.int64(at)})
    found = profile.features_at(JOB, subscribers, events, rows)
    for key, row in zip(subscribers["subscriber"], found.to_dict("records"), strict=True):
        agree(row, definition(JOB, key, events, at, strictly=True))
    past = {name: frame[frame["time"] < at] for name, frame in events.items()}
    without = profile.features_at(JOB, subscribers, past, rows)
    pd.testing.assert_frame_equal(found, without, check_exact=True)


@settings(max_examples=20)
@given(partition=partitions())
def test_features_do_not_depend_on_how_subscribers_are_split(partition):
    subscribers, events = partition
    whole = profile.profile_partition(JOB, subscribers, events)
    for i, key in enumerate(subscribers["subscriber"]):
        one = {name: frame[frame["subscriber"] == key] for name, frame in events.items()}
        part = profile.profile_partition(JOB, subscribers.iloc[i : i + 1], one)
        expected = whole.iloc[i : i + 1].reset_index(drop=True)
        pd.testing.assert_frame_equal(part, expected, check_exact=True)


@pytest.mark.parametrize("feature", FEATURES, ids=itemgetter("name"))
def test_every_column_has_a_unit_a_formula_and_a_source(feature):
    described = profile.describe(job([feature]))
    assert [row["name"] for row in described] == profile.columns(job([feature]))
    assert all(row["unit"] and row["formula"] and row["source"] for row in described)
    assert not any(row["snapshot"] for row in described)


def test_sources_of_groups_name_the_channel_or_the_offers():
    sources = {row["name"]: row["source"] for row in profile.describe(JOB)}
    assert sources["tired_sms"] == "contacts where channel = 'sms'"
    assert sources["bored_data"] == "contacts where offer IN ('boost', 'roam')"


def test_only_the_columns_that_features_need_are_read():
    assert profile.event_columns(job(FEATURES[:2])) == {
        "contacts": ["subscriber", "time", "channel", "offer"]
    }


@pytest.mark.parametrize(
    ("feature", "problem"),
    [
        (
            {"op": "fatigue", "name": "x", "of": "contact"},
            ".of: unknown event table, got contact; did you mean contacts? there are contacts, "
            "outcomes, usage",
        ),
        (
            {"op": "fatigue", "name": "x", "of": "usage.mb", "per": "category"},
            ".per: category needs the text column offer in usage; there are kind",
        ),
        (
            {"op": "bursts", "name": "x", "of": "usage.mb"},
            ".of: takes a table without a column, got usage.mb; write usage",
        ),
        (
            {"op": "repeats", "name": "x", "of": "usage", "where": "knd = 'data'"},
            ".where: unknown column knd at line 1, column 1 (knd), got knd = 'data'; did "
            "you mean kind? there are charge, kind, mb",
        ),
    ],
)
def test_a_wrong_feature_is_named_with_what_is_allowed(feature, problem):
    assert profile.problems(job([feature]), SCHEMA) == [f"features.0 (x){problem}"]


def test_both_conditions_of_a_case_are_checked():
    case = {"op": "open_case", "name": "x", "of": "usage", "opens": "mb", "closes": "knd = 'a'"}
    found = profile.problems(job([case]), SCHEMA)
    assert [p.partition(":")[0] for p in found] == [
        "features.0 (x).opens", "features.0 (x).closes",
    ]  # fmt: skip


def test_a_case_reads_the_columns_of_its_conditions():
    case = FEATURES[6] | {"opens": "mb > 1", "closes": "kind = 'voice'"}
    assert profile.event_columns(job([case])) == {"usage": ["subscriber", "time", "kind", "mb"]}


def test_fatigue_takes_no_negative_values():
    inputs = JOB.inputs.model_dump()
    inputs["events"]["usage"]["values"]["mb"]["minimum"] = -1
    assert profile.problems(job(FEATURES[2:3], inputs=inputs), SCHEMA) == [
        "features.0 (load).of: fatigue needs values that are never negative, got usage.mb with "
        "minimum -1.0; set the column's minimum to 0 or more"
    ]
