"""Passes over events: what they read, conditions over categories, and rows of very many events."""

import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import event_conditions, expressions, feature_passes, feature_plan, profile
from engine.event_conditions import COMPARED
from engine.feature_plan import Pass
from engine.quantities import Source
from kernels import backend, summarised
from kernels.summary import MOST_WEIGHED
from tests import device_stand_in
from tests.profiled import AS_OF, job_of
from tests.test_profile import partitions
from tests.test_summary import EVERYTHING, passes, same

KINDS = ["data", "voice", "", "never"]
CONDITIONS = [
    "kind = 'data'", "kind <> 'data'", "kind IN ('voice', '')", "kind LIKE '%a%'", "kind > 'data'",
    "NOT kind = 'never'", "kind = 'unheard'", "kind IS NULL", "kind IS NOT NULL",
    "kind = 'data' AND place = 'home'", "kind = place OR mb > 1", "mb > 1",
    "COALESCE(kind, 'voice') = 'voice'", "1 = 1",
]  # fmt: skip


def codes_of(frame):
    """Return what tells the codes of a column."""
    return lambda name: event_conditions.coded(frame[name])


@settings(max_examples=50)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from([*KINDS[:3], None]),
            st.sampled_from(["home", "data"]),
            st.sampled_from([0.5, 2.0, None]),
        ),
        max_size=9,
    ),
    without_nulls=st.booleans(),
    condition=st.sampled_from(CONDITIONS),
)
def test_a_condition_over_categories_holds_as_over_text(rows, without_nulls, condition):
    frame = pd.DataFrame(rows, columns=["kind", "place", "mb"])
    frame = frame.astype({"kind": "str", "place": "str", "mb": "float64"})
    frame = frame.dropna(ignore_index=True) if without_nulls else frame
    coded = frame.assign(
        kind=pd.Categorical(frame["kind"], KINDS), place=frame["place"].astype("category")
    )
    parsed = expressions.parse(condition, "here")
    expected = parsed.mask(frame).to_numpy(bool)
    for events in (frame, coded):
        found = event_conditions.holds(parsed, events, codes_of(events))
        assert found.dtype == bool and found.tolist() == expected.tolist()


@settings(max_examples=12)
@given(partition=partitions(text_keys=False))
def test_features_of_categories_are_those_of_text(partition):
    subscribers, events = partition
    count = {"op": "count", "windows": ["7d"]}
    job = job_of(
        [
            {**count, "name": "n", "of": "usage", "where": "kind = 'voice' AND charge > 0"},
            {"op": "share", "name": "s", "of": "usage", "where": "kind = 'data'"},
            {"op": "last_contact", "name": "c"},
        ]
    )
    coded = {
        name: frame.astype(dict.fromkeys({"kind", "offer", "channel"} & {*frame}, "category"))
        for name, frame in events.items()
    }
    pd.testing.assert_frame_equal(
        profile.profile_partition(job, subscribers, coded),
        profile.profile_partition(job, subscribers, events),
        check_exact=True,
    )


def test_answers_for_very_many_categories_are_not_kept():
    condition = expressions.parse("cell = 'cell 7'", "here")
    before = event_conditions._of_texts.cache_info().currsize
    for count in (event_conditions.REMEMBERED, event_conditions.REMEMBERED + 1, 40_000):
        cells = pd.Series([f"cell {i}" for i in range(count)], dtype="category")
        frame = pd.DataFrame({"cell": cells})
        found = event_conditions.holds(condition, frame, codes_of(frame))
        assert len(found) == count and np.flatnonzero(found).tolist() == [7]
    assert event_conditions._of_texts.cache_info().currsize == before + 1


@pytest.mark.parametrize("many", [0, 1, COMPARED, COMPARED + 1, 100])
def test_a_condition_may_hold_for_any_number_of_categories(many):
    cells = [f"cell {i:03}" for i in range(120)]
    condition = expressions.parse(f"cell < 'cell {many:03}'", "here")
    rows = np.random.default_rng(many).integers(0, 120, 500)
    frame = pd.DataFrame({"cell": pd.Categorical.from_codes(rows, cells)})
    found = event_conditions.holds(condition, frame, codes_of(frame))
    np.testing.assert_array_equal(found, rows < many)


def test_more_half_lives_and_trends_than_a_pass_takes():
    lives = [f"{days}d" for days in range(1, 2 * MOST_WEIGHED)]
    features = [
        {"op": "decayed_sum", "name": f"d{i}", "of": "usage.mb", "half_life": life}
        for i, life in enumerate(lives)
    ]
    features += [
        {"op": "trend", "name": f"t{i}", "of": "usage.mb", "window": f"{i + 2}d"}
        for i in range(MOST_WEIGHED + 1)
    ]
    job = job_of([*features, {"op": "sum", "name": "s", "of": "usage.mb", "windows": ["9d"]}])
    assert profile.passes(job)["passes"] == 2
    events = pd.DataFrame({"subscriber": [1, 1], "time": [AS_OF - 86_400, AS_OF], "mb": [2.0, 4.0]})
    people = pd.DataFrame({"subscriber": [1]})
    (row,) = profile.profile_partition(job, people, {"usage": events}).to_dict("records")
    for i in range(len(lives)):
        assert row[f"d{i}"] == pytest.approx(4.0 + 2.0 * 2.0 ** (-1 / (i + 1)), rel=1e-14)
    for i in range(MOST_WEIGHED + 1):
        slope = np.polyfit(np.arange(i + 2), [0.0] * i + [2.0, 4.0], 1)[0]
        assert row[f"t{i}"] == pytest.approx(slope, abs=1e-12)
    assert row["s_9d"] == 6.0


@device_stand_in.on_a_device
@given(operands=passes())
def test_a_device_leaves_rows_of_very_many_events_to_the_processor(device, operands, monkeypatch):
    *arrays, asked = operands
    expected = summarised(*operands)
    one = Pass(Source("usage"), asked, ())
    alone = []

    def seen(*values):
        alone.append(isinstance(values[0], np.ndarray))
        return summarised(*values)

    with monkeypatch.context() as patch:
        patch.setattr(feature_passes, "HEAVY", 3)
        patch.setattr(feature_plan, "summarised", seen)
        if device == "stand-in":
            device_stand_in.install(patch)
        time, value, kept, *place = map(backend.to_gpu, arrays)
        found = feature_passes._run((time, value, kept), tuple(place), one.run)
        same(type(found)(*map(backend.to_cpu, found)), expected)
    _, _, _, start, stop, _ = arrays
    assert alone == [False] + [True] * int((stop - start > 3).sum())


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_rows_without_events_are_no_rows_of_very_many(monkeypatch):
    device_stand_in.install(monkeypatch)
    nothing = [backend.to_gpu(np.empty(0, dtype)) for dtype in ("int64", "float64", "bool")]
    place = tuple(backend.to_gpu(np.zeros(2, np.int64)) for _ in range(3))
    found = feature_passes._run(tuple(nothing), place, Pass(Source("usage"), EVERYTHING, ()).run)
    assert backend.to_cpu(found.count).tolist() == [[0.0, 0.0], [0.0, 0.0]]
