"""Passes over groups of events: what shares one, and that each has what its condition gives."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import event_conditions, feature_passes, feature_plan, group_plan, profile
from engine.feature_groups import grouped
from engine.feature_passes import Series
from engine.features import columns_of
from engine.group_plan import GroupPass, Layer
from engine.quantities import Quantity, Source
from kernels import backend
from kernels.grouped import CODES, MOST_GROUPS
from tests import device_stand_in
from tests.profiled import AS_OF, job_of
from tests.test_grouped import passes

DAY_S = 86_400
KINDS = ["data", "voice", "sms", "never"]
WHERE = ["kind = 'data'", "kind IN ('voice', 'sms')", "kind = 'sms'", "kind <> 'data'", "mb > 1",
         "mb > 2 AND kind = 'data'"]  # fmt: skip
FEATURES = [
    feature
    for i, where in enumerate(WHERE)
    for feature in (
        {"op": "count", "name": f"n{i}", "of": "usage", "windows": ["1d", "7d"], "where": where},
        {"op": "sum", "name": f"s{i}", "of": "usage.charge", "windows": ["7d"], "where": where},
        {"op": "sum", "name": f"m{i}", "of": "usage.mb", "windows": ["30d"], "where": where},
        {"op": "recency", "name": f"r{i}", "of": "usage", "where": where},
    )
]  # fmt: skip


def planned(a_job):
    return feature_plan.planned(c for f in a_job.features for c in columns_of(f, a_job))


def shared(features):
    """Return the passes over groups of some features."""
    return [one for one in planned(job_of(features)) if isinstance(one, GroupPass)]


def test_conditions_over_the_same_columns_share_a_pass_for_each_value_column():
    found = {(one.source.column, one.by): len(one.groups) for one in shared(FEATURES)}
    assert found == {
        ("charge", ("kind",)): 4, ("mb", ("kind",)): 4,
    }  # fmt: skip
    given = [q for one in planned(job_of(FEATURES)) for q in one.quantities]
    assert len(given) == len(set(given)) == 5 * len(WHERE)


def test_a_condition_that_is_alone_and_other_measures_keep_their_pass():
    count = {"op": "count", "name": "a", "of": "usage", "windows": ["1d"], "where": WHERE[0]}
    others = [
        {"op": "active_days", "name": "b", "of": "usage", "windows": ["1d"], "where": WHERE[1]},
        {"op": "max", "name": "c", "of": "usage.mb", "windows": ["1d"], "where": WHERE[2]},
        {"op": "count", "name": "d", "of": "usage", "windows": ["1d"]},
    ]
    # What is counted where something else is asked too rides with that.
    riding = [count | {"name": f"e{i}", "windows": ["9d"], "where": WHERE[i]} for i in (1, 2)]
    for features in ([count, *others], [count, *others, *riding]):
        assert shared(features) == [] and len(planned(job_of(features))) == 4


def test_the_plan_names_the_columns_by_which_groups_differ():
    job = job_of(FEATURES)
    told = {
        one["source"]: one for one in grouped(c for f in job.features for c in columns_of(f, job))
    }
    assert told["usage.mb by kind"]["windows"] == ["30d"]
    assert {"n0_1d", "s3_7d", "r2"} <= set(told["usage.charge by kind"]["columns"])
    needed = feature_plan.needed(planned(job))
    assert needed == {"usage": ["subscriber", "time", "charge", "kind", "mb"]}


def table(rows, kinds=KINDS, *, coded=True):
    frame = pd.DataFrame(rows, columns=["subscriber", "days", "kind", "charge", "mb"])
    frame = frame.sort_values(["subscriber", "days"], ascending=[True, False], ignore_index=True)
    frame["time"] = AS_OF - (frame.pop("days") * DAY_S).astype("int64")
    frame["kind"] = pd.Categorical(frame["kind"], kinds) if coded else frame["kind"].astype("str")
    return frame.astype({"subscriber": "int64", "charge": "float64", "mb": "float64"})


@settings(max_examples=25)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(1, 3),
            st.sampled_from([0, 1, 5, 7, 29, 40]),
            st.sampled_from(KINDS[:3]),
            st.sampled_from([-0.0, 0.1, 0.2, 1e6]),
            st.sampled_from([0.5, 1.5, 3.0]),
        ),
        max_size=14,
    ),
    coded=st.booleans(),
)
def test_a_group_gives_the_bits_that_its_condition_gives_alone(rows, coded):
    people, events = pd.DataFrame({"subscriber": [1, 2, 3]}), {"usage": table(rows, coded=coded)}
    together = profile.profile_partition(job_of(FEATURES), people, events)
    for feature in FEATURES:
        job = job_of([feature])
        assert shared([feature]) == []
        alone = profile.profile_partition(job, people, events)
        names = profile.columns(job)
        pd.testing.assert_frame_equal(together[names], alone[names], check_exact=True)


def pass_over(conditions):
    sources = [Source("usage", where=where) for where in conditions]
    asked = {source: [Quantity("count", source, DAY_S)] for source in sources}
    (one,), _ = group_plan.group_passes(asked)
    return one


def runs(frame, one):
    codes = lambda name: event_conditions.coded(frame[name])  # noqa: E731 (an argument)
    return group_plan.layers(frame, one, codes)


@pytest.mark.parametrize("coded", [True, False])
def test_conditions_that_hold_together_are_in_layers_of_their_own(coded):
    frame = table([(1, 0, kind, 1, 1) for kind in KINDS[:3]], coded=coded)
    conditions = ["kind = 'data'", "kind = 'sms'", "kind <> 'sms'", "kind = 'voice'"]
    found = runs(frame, pass_over(conditions))
    assert [[s.where for s in layer.sources] for layer in found] == [
        ["kind = 'data'", "kind = 'sms'", "kind = 'voice'"], ["kind <> 'sms'"],
    ]  # fmt: skip
    groups = [layer.group[layer.code].tolist() for layer in found]
    by_kind = dict(zip(frame["kind"], zip(*groups, strict=True), strict=True))
    assert by_kind == {"data": (0, 0), "sms": (1, 1), "voice": (2, 0)}


@pytest.mark.parametrize("remembered", [1_024, 1])
def test_conditions_on_one_column_each_are_asked_of_both_together(monkeypatch, remembered):
    monkeypatch.setattr(group_plan, "REMEMBERED", remembered)  # 1: by masks
    frame = table([(1, 0, kind, 1, 1) for kind in KINDS[:3] * 4])
    frame["channel"] = pd.Categorical(["sms", "call", "push", "sms"] * 3)
    pairs = [(kind, channel) for kind in KINDS for channel in ("sms", "push")]
    sources = [
        Source("usage", where=f"kind = '{kind}'", channel=channel) for kind, channel in pairs
    ]
    asked = {source: [Quantity("count", source, DAY_S)] for source in sources}
    (one,), _ = group_plan.group_passes(asked)
    assert one.by == ("channel", "kind")
    for layer in runs(frame, one):
        group = np.asarray(layer.group)[layer.code]
        for g, source in enumerate(layer.sources):
            kind, channel = pairs[sources.index(source)]
            kept = (frame["kind"] == kind) & (frame["channel"] == channel)
            np.testing.assert_array_equal(group == g, kept.to_numpy())


@pytest.mark.parametrize("count", [CODES - 1, CODES, CODES + 1, 40_000])
def test_any_number_of_categories_and_groups(count):
    kinds = [f"cell {i:05}" for i in range(count)]
    asked = [kinds[0], kinds[-1], *kinds[5 : MOST_GROUPS + 5]]
    drawn = np.random.default_rng(count).integers(0, count, 300)
    frame = table([(1, 0, kinds[k], 1, 1) for k in [0, count - 1, *drawn]], kinds)
    found = runs(frame, pass_over([f"kind = '{kind}'" for kind in asked]))
    assert [len(layer.sources) for layer in found] == [MOST_GROUPS, 2]
    for layer in found:
        assert layer.code.dtype == layer.group.dtype == "int8"
        group = layer.group[layer.code]
        for g, source in enumerate(layer.sources):
            kept = (frame["kind"] == source.where.split("'")[1]).to_numpy()
            np.testing.assert_array_equal(group == g, kept)


@device_stand_in.on_a_device
@given(operands=passes())
def test_a_device_leaves_rows_of_very_many_events_to_the_processor(device, operands, monkeypatch):
    time, value, code, group, *place, windows, groups, valued, recent = operands
    sources = [Source("usage", where=f"kind = '{g}'") for g in range(groups)]
    column = "charge" if valued else None
    asked = [
        (s, [Quantity("count", s, w) for w in windows.tolist()]
            + [Quantity("recency", s)] * recent) for s in sources
    ]  # fmt: skip
    one = GroupPass(Source("usage", column), tuple((s, tuple(own)) for s, own in asked))
    layer = Layer(tuple(sources), code, group)
    expected = feature_passes._taken(
        one, Series(time, value, np.empty(0, bool), (layer,)), tuple(place)
    )
    with monkeypatch.context() as patch:
        patch.setattr(feature_passes, "HEAVY", 3)
        if device == "stand-in":
            device_stand_in.install(patch)
        there = Layer(tuple(sources), backend.to_gpu(code), group)
        series = Series(*map(backend.to_gpu, (time, value, np.empty(0, bool))), (there,))
        found = feature_passes._taken(one, series, tuple(map(backend.to_gpu, place)))
        assert found.keys() == expected.keys()
        for quantity, array in expected.items():
            np.testing.assert_array_equal(backend.to_cpu(found[quantity]), array)
