"""Features against plain definitions, point in time, and independent of how rows are split."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import profile, tables
from engine.features import columns_of
from engine.settings.base import seconds
from kernels import saturation
from tests.profiled import AS_OF, JOB, SCHEMA, job_of
from tests.test_run_out import run_out_definition

DAY_S = 86_400


@st.composite
def partitions(draw, text_keys=None):
    """A partition: few subscribers, events at and around the edges of windows, ties, gaps."""
    ids = sorted(draw(st.sets(st.integers(1, 30), max_size=4)))
    text_keys = draw(st.booleans()) if text_keys is None else text_keys
    keys = sorted(f"k{i}" for i in ids) if text_keys else ids
    day = st.sampled_from([0, 1, 2, 4, 7, 30, 31])
    times = st.builds(lambda d, off: AS_OF - d * DAY_S - off, day, st.sampled_from([-1, 0, 1]))
    number = st.sampled_from([0.0, 0.1, 2.5, 1e4])

    def events(**columns):
        size = draw(st.integers(0, 9)) if keys else 0
        kinds = {"subscriber": st.sampled_from(keys or [0]), "time": times, **columns}
        table = {n: draw(st.lists(k, min_size=size, max_size=size)) for n, k in kinds.items()}
        types = dict.fromkeys(("charge", "mb"), "float64") | {"time": "int64"}
        types |= dict.fromkeys(("kind", "offer", "channel"), "str")
        types["subscriber"] = "str" if text_keys else "int64"
        frame = pd.DataFrame({n: pd.Series(v, dtype=types[n]) for n, v in table.items()})
        return frame.sort_values(list(frame.columns), ignore_index=True)

    def column(values, dtype):
        drawn = draw(st.lists(values, min_size=len(keys), max_size=len(keys)))
        return pd.Series(drawn, dtype=dtype)

    dates = [None, *pd.to_datetime(["2026-01-01", "2026-09-20"])]
    subscribers = pd.DataFrame(
        {
            "subscriber": pd.Series(keys, dtype="str" if text_keys else "int64"),
            "since": column(st.sampled_from(dates), "datetime64[us]"),
            "balance": column(st.sampled_from([None, -1.0, 0.0, 3.0, 1e9]), "float64"),
            "plan": column(st.sampled_from(["pre", "post"]), "str"),
            "app": column(st.booleans(), "bool"),
        }
    )
    history = {"offer": st.just("boost"), "channel": st.sampled_from(["sms", "push"])}
    return subscribers, {
        "usage": events(charge=number, mb=number, kind=st.sampled_from(["data", "voice"])),
        "contacts": events(**history),
        "outcomes": events(**history),
    }


def definition(job, person, events, at, *, strictly):
    """Compute the features of one row in plain Python; missing is None."""
    mine = {}
    for name, frame in events.items():
        rows = frame[frame["subscriber"] == person.subscriber].itertuples()
        mine[name] = [e for e in rows if e.time < at or (e.time == at and not strictly)]
    tenure = None if pd.isna(person.since) else (at - person.since.timestamp()) / DAY_S
    row = {}
    for f in job.features:
        table, _, column = getattr(f, "of", "").partition(".")
        seen = mine.get(table, [])
        if getattr(f, "where", None):
            seen = [e for e in seen if e.kind == f.where.split("'")[1]]
        values = [getattr(e, column) if column else 1.0 for e in seen]
        times = [e.time for e in seen]
        for window in getattr(f, "windows", []):
            row[f"{f.name}_{window}"] = windowed(f, seen, mine[table], at, seconds(window))
        gaps, recency = np.diff(times) / DAY_S, (at - times[-1]) / DAY_S if times else None
        decayed = math.fsum(
            v * 2.0 ** (-(at - t) / seconds(f.half_life))
            for v, t in zip(values, times, strict=True)
        ) if hasattr(f, "half_life") else 0.0  # fmt: skip
        match f.op:
            case "recency":
                row[f.name] = recency
            case "first_seen":
                row[f.name] = (at - times[0]) / DAY_S if times else None
            case "gap_mean":
                row[f.name] = gaps.mean() if len(gaps) else None
            case "gap_std":
                row[f.name] = gaps.std() if len(gaps) else None
            case "gap_cv":
                row[f.name] = gaps.std() / gaps.mean() if gaps.any() else None
            case "expected_next":
                row[f.name] = gaps.mean() - recency if len(gaps) else None
            case "overdue":
                row[f.name] = recency / gaps.mean() if gaps.any() else None
            case "latest":
                row[f.name] = values[-1] if values else None
            case "decayed_sum":
                row[f.name] = decayed
            case "decayed_score":
                row[f.name] = 1 - 2 ** (-decayed / f.scale)
            case "trend":
                every = seconds(f.every)
                sums = np.zeros(seconds(f.window) // every)
                for v, t in zip(values, times, strict=True):
                    if (at - t) // every < len(sums):
                        sums[-1 - (at - t) // every] += v
                row[f.name] = np.polyfit(np.arange(len(sums)), sums, 1)[0]
            case "run_out":
                ages = [(v, at - t) for v, t in zip(values, times, strict=True)]
                row |= run_out(person.balance, ages, f)
            case "response_rate" | "last_contact":
                row |= responses(f, mine, at)
            case "tenure":
                row[f.name] = tenure
            case "lifecycle":
                row[f.name] = stage(f, tenure, recency if times else math.inf)
    row["per_day"] = row["spent_7d"] / 7
    row["rich"] = row["per_day"] > 0 and person.plan == "pre"
    row["label"] = row["stage"] if row["rich"] else person.plan
    return row


def windowed(f, seen, every, at, span):
    """Compute a figure of one window; ``every`` are the events without the condition."""
    column = f.of.partition(".")[2]

    def inside(events, newest, oldest):
        found = [e for e in events if at - oldest < e.time <= at - newest]
        return [getattr(e, column) if column else 1.0 for e in found]

    values = inside(seen, 0, span)
    match f.op:
        case "count":
            return len(values)
        case "sum":
            return math.fsum(values)
        case "mean":
            return math.fsum(values) / len(values) if values else None
        case "min":
            return min(values, default=None)
        case "max":
            return max(values, default=None)
        case "std":
            return np.std(values) if values else None
        case "active_days":
            return len({(at - e.time) // DAY_S for e in seen if e.time > at - span})
        case "share":
            whole = inside(every, 0, span)
            return len(values) / len(whole) if whole else None
        case "change":
            before = math.fsum(inside(seen, span, 2 * span))
            return math.fsum(values) / before if before else None
        case "against_baseline":
            usual = inside(seen, 0, seconds(f.baseline))
            return np.mean(values) / np.mean(usual) if values and any(usual) else None
    raise AssertionError(f.op)


def run_out(balance, ages, f):
    """Compute the columns of a run-out from the values and ages of events."""
    hours, horizon = seconds(f.half_life) / 3_600, seconds(f.horizon) / 3_600
    rate, variance = (
        math.fsum(v**power * 2.0 ** (-age / seconds(f.half_life)) for v, age in ages)
        * (math.log(2.0) / hours)
        for power in (1, 2)
    )
    within, quantile = seconds(f.within or "1h") / 3_600, f.quantile or 0.1
    row = (np.array([x]) for x in (balance, rate, variance))
    expected, early, chance = run_out_definition((*row, horizon, within, quantile))
    found = {f.name: expected[0]}
    found |= {f"{f.name}_early": early[0]} if f.quantile else {}
    found |= {f"{f.name}_chance": chance[0]} if f.within else {}
    return {name: None if math.isnan(value) else value for name, value in found.items()}


def responses(feature, mine, at):
    row = {}
    for channel in ("sms", "push"):
        contacts, outcomes = (
            [
                e.time
                for e in mine[table]
                if e.channel == channel and e.time > at - seconds(feature.window)
            ]
            for table in ("contacts", "outcomes")
        )
        rate = (len(outcomes) + feature.prior * feature.strength) / (
            len(contacts) + feature.strength
        )
        last = (at - contacts[-1]) / DAY_S if contacts else None
        row[f"{feature.name}_{channel}"] = rate if feature.op == "response_rate" else last
    return row


def stage(feature, tenure, recency):
    if tenure is not None and tenure < seconds(feature.new) / DAY_S:
        return "new"
    for name in ("lost", "dormant", "quiet"):
        if recency >= seconds(getattr(feature, name)) / DAY_S:
            return name
    return "active"


# The sum of an earlier window is a difference: 9 values of 1e4 leave 1e-10 of one of 0.1. The
# normal distribution has a relative error of 1.2e-7, and a time that over its density.
LOOSE = {"more_1d": 1e-8, "more_2d": 1e-8, "empty_early": 1e-4, "empty_chance": 1e-6}


def agree(found, expected):
    """Compare a row with its definition.

    Up to 9 values of at most 1e4 are summed, in an order of its own on either side, with
    rounding of 2**-53 each; least squares and the square root lose a few units more.
    """
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
        if isinstance(value, str | bool | np.bool):
            assert found[name] == value, name
        elif value is None:
            assert math.isnan(found[name]), name
        else:
            off = LOOSE.get(name, 1e-12)
            assert found[name] == pytest.approx(value, rel=off, abs=max(1e-10, off / 10)), name


@settings(max_examples=25)
@given(partition=partitions())
def test_a_partition_matches_the_definition(partition):
    subscribers, events = partition
    found = profile.profile_partition(JOB, subscribers, events)
    assert list(found.columns) == [*subscribers.columns, *profile.columns(JOB)]
    pd.testing.assert_frame_equal(found[list(subscribers.columns)], subscribers)
    for person, row in zip(subscribers.itertuples(), found.to_dict("records"), strict=True):
        expected = definition(JOB, person, events, AS_OF, strictly=False)
        agree({n: row[n] for n in profile.columns(JOB)}, expected)


@settings(max_examples=25)
@given(partition=partitions(), data=st.data())
def test_rows_at_their_own_instants_match_the_definition(partition, data):
    subscribers, events = partition
    people = st.sampled_from(list(range(len(subscribers))) or [0])
    instants = st.sampled_from([AS_OF - d * DAY_S - off for d in (0, 2, 7, 30) for off in (-1, 0)])
    picked = data.draw(st.lists(st.tuples(people, instants), max_size=5))
    picked = picked if len(subscribers) else []
    rows = pd.DataFrame(
        {
            "subscriber": subscribers["subscriber"].iloc[[p for p, _ in picked]].array,
            "time": np.array([t for _, t in picked], np.int64),
        }
    )
    found = profile.features_at(JOB, subscribers, events, rows)
    assert list(found.columns) == profile.columns(JOB)
    persons = list(subscribers.itertuples())
    for (p, at), row in zip(picked, found.to_dict("records"), strict=True):
        agree(row, definition(JOB, persons[p], events, at, strictly=True))


@settings(max_examples=12)
@given(partition=partitions())
def test_events_at_or_after_an_instant_do_not_change_its_features(partition):
    subscribers, events = partition
    at = AS_OF - 2 * DAY_S
    rows = pd.DataFrame({"subscriber": subscribers["subscriber"], "time": at})
    past = {name: frame[frame["time"] < at] for name, frame in events.items()}
    with_future = profile.features_at(JOB, subscribers, events, rows)
    without = profile.features_at(JOB, subscribers, past, rows)
    pd.testing.assert_frame_equal(with_future, without, check_exact=True)


@settings(max_examples=12)
@given(partition=partitions())
def test_features_do_not_depend_on_how_subscribers_are_split(partition):
    subscribers, events = partition
    whole = profile.profile_partition(JOB, subscribers, events)
    for i, key in enumerate(subscribers["subscriber"]):
        one = {name: frame[frame["subscriber"] == key] for name, frame in events.items()}
        part = profile.profile_partition(JOB, subscribers.iloc[i : i + 1], one)
        expected = whole.iloc[i : i + 1].reset_index(drop=True)
        pd.testing.assert_frame_equal(part, expected, check_exact=True)


@settings(max_examples=10)
@given(partition=partitions())
def test_kinds_are_those_of_the_frame(partition):
    subscribers, events = partition
    found = profile.profile_partition(JOB, subscribers, events)
    schema = SCHEMA | {"subscriber": tables.schema(subscribers)["subscriber"]}
    assert profile.kinds(JOB, schema) == tables.schema(found)
    numbers = [n for n, kind in profile.kinds(JOB, schema).items() if kind == "number"]
    made = [n for n in numbers if n in profile.columns(JOB)]
    assert {str(found[n].dtype) for n in made} == {"float64"}


def test_a_score_has_the_bits_of_its_kernel():
    feature = {"op": "decayed_score", "name": "heat", "of": "usage", "scale": 3}
    job = job_of([feature])
    (column,) = columns_of(job.features[0], job)
    decayed = np.random.default_rng(3).gamma(0.5, 4.0, 1_000)
    np.testing.assert_array_equal(column.compute(decayed), saturation(decayed, 3.0))
