"""Passes whose kernels look at the order of events: shared where they can be, alike on devices."""

import numpy as np
import pytest
from hypothesis import given

from engine import feature_passes, feature_plan
from engine.feature_groups import grouped
from engine.features import columns_of
from engine.sequence_plan import KERNELS, SEQUENTIAL
from kernels import backend
from tests import device_stand_in
from tests.sequences import same
from tests.test_sequence_features import DAY_S, FEATURES, JOB, job
from tests.test_summary import rows_of_events


def planned(a_job):
    return feature_plan.planned(c for f in a_job.features for c in columns_of(f, a_job))


PASSES = planned(JOB)


def test_windows_of_the_same_events_and_numbers_share_a_pass():
    burst = {"op": "bursts", "name": "a", "of": "usage", "windows": ["30d", "1d"]}
    shared = [burst, burst | {"name": "b", "windows": ["7d"]}, burst | {"name": "c", "at_least": 9}]
    passes = planned(job(shared))
    assert [one.windows for one in passes] == [
        (DAY_S, 7 * DAY_S, 30 * DAY_S), (DAY_S, 30 * DAY_S),
    ]  # fmt: skip
    assert [len(one.quantities) for one in passes] == [4, 3]


def test_every_kernel_has_a_pass_here():
    assert {one.kernel for one in PASSES} == set(KERNELS)
    assert {q.measure for one in PASSES for q in one.quantities} == set(SEQUENTIAL)


@device_stand_in.on_a_device
@pytest.mark.parametrize("feature", FEATURES, ids=lambda f: f["name"])
@given(rows=rows_of_events())
def test_a_device_leaves_rows_of_very_many_events_to_the_processor(
    device, feature, rows, monkeypatch
):
    time, value, kept, *place = rows
    one = planned(job([feature]))[0]
    value = np.abs(value)
    if "value" not in one.kernel.takes:
        value = np.empty(0)
    elif one.source.opens is not None:
        value = np.sign(np.round(value) - 1).astype("int8")
    expected = one.run((time, value, kept), tuple(place))
    with monkeypatch.context() as patch:
        patch.setattr(feature_passes, "HEAVY", 3)
        if device == "stand-in":
            device_stand_in.install(patch)
        series = tuple(map(backend.to_gpu, (time, value, kept)))
        found = feature_passes._run(series, tuple(map(backend.to_gpu, place)), one.run)
        same(tuple(map(backend.to_cpu, found)), expected)


def test_the_passes_of_features_name_their_windows():
    told = grouped(c for f in JOB.features for c in columns_of(f, JOB))
    assert [one["windows"] for one in told if "again_2d" in one["columns"]] == [["2h", "2d"]]
    assert all(not one["half_lives"] and not one["trends"] for one in told)
