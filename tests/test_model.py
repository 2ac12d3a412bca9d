"""The model of past contacts: what trains it, what it learns, and the same bits."""

import json

import numpy as np
import pandas as pd
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import ensemble, model, training
from engine.actions import actions
from engine.errors import DataError
from engine.profile import profile_partition
from engine.quality import platt, quality
from tests.modelled import AS_OF, COLUMNS, DAY, frame, job_of, rows_of, sort, world


@pytest.fixture(scope="module")
def tiny():
    job, (subscribers, events) = job_of(), world()
    rows = rows_of(job, subscribers, events)
    fitted, measured = model.fit(job, rows, COLUMNS)
    features = profile_partition(job, subscribers, events)
    return job, subscribers, events, rows, fitted, measured, features


contact = st.tuples(
    st.integers(1, 2), st.integers(0, 6), st.sampled_from(["data", "voice"]), st.just("sms")
)


@given(st.lists(contact, max_size=6), st.lists(contact, max_size=6), st.integers(1, 3))
def test_accepted_matches_its_definition(contacts, outcomes, horizon):
    expected = [
        any((s, o, c) == (s2, o2, c2) and t < t2 <= t + horizon for s2, t2, o2, c2 in outcomes)
        for s, t, o, c in contacts
    ]
    found = training.accepted(frame(contacts, training.ROW), frame(outcomes, training.ROW), horizon)
    assert found.tolist() == expected


def test_a_contact_without_a_full_outcome_window_does_not_train():
    job = job_of(horizon="7d")
    edge = AS_OF - 7 * DAY
    contacts = frame([(1, edge + 1, "data", "sms"), (1, edge, "data", "sms")], training.ROW)
    assert training.usable(job, contacts)["time"].tolist() == [edge]
    draws, usable, late = training.smallest_draws(job, contacts)
    assert (len(draws), usable, late) == (1, 1, 1)


def test_events_at_or_after_a_contact_change_none_of_its_features():
    job = job_of()
    subscribers, events = world(60)
    before = rows_of(job, subscribers, events)
    first = events["contacts"].groupby("subscriber")["time"].min()
    time = subscribers["subscriber"].map(first)
    known = time.notna()
    future = pd.DataFrame(
        {"subscriber": subscribers["subscriber"][known], "time": time[known].astype("int64")}
    )
    planted = pd.concat([future.assign(mb=1e6), future.assign(time=AS_OF, mb=1e6)])
    changed = events | {"usage": sort(pd.concat([events["usage"], planted]))}
    after = rows_of(job, subscribers, changed)
    is_first = before["time"] == before["subscriber"].map(first)
    pd.testing.assert_frame_equal(before[is_first], after[is_first], check_exact=True)
    # the planted events do matter, to the contacts that come after them
    assert (after["mb_30d"] > 1e6 - 1).sum() > 20

    earlier = pd.concat([events["usage"], future.assign(time=future["time"] - 1, mb=1e6)])
    seen = rows_of(job, subscribers, events | {"usage": sort(earlier)})
    assert (seen.loc[is_first, "mb_30d"] >= 1e6).all()


def test_outcomes_are_no_feature_of_their_own_contact():
    job = job_of()
    subscribers, events = world(60)
    nothing = events | {"outcomes": events["outcomes"].iloc[:0]}
    known, unknown = rows_of(job, subscribers, events), rows_of(job, subscribers, nothing)
    assert known["accepted"].any() and not unknown["accepted"].any()
    pd.testing.assert_frame_equal(known[COLUMNS], unknown[COLUMNS], check_exact=True)


def test_only_accepts_are_accepted():
    job = job_of()
    subscribers, events = world(60)
    answers = events["outcomes"].assign(result="yes")
    refused = events["contacts"].assign(time=events["contacts"]["time"] + 1, result="no")
    both = events | {"outcomes": sort(pd.concat([answers, refused]))}
    table = job.inputs.outcomes.model_copy(update={"accepted": "result = 'yes'"})
    told = job.model_copy(update={"inputs": job.inputs.model_copy(update={"outcomes": table})})
    before, after = rows_of(job, subscribers, events), rows_of(told, subscribers, both)
    pd.testing.assert_frame_equal(after, before, check_exact=True)
    assert rows_of(job, subscribers, both)["accepted"].all()


def test_the_sample_is_the_same_for_any_order_and_partitioning():
    job = job_of(max_contacts=100)
    subscribers, events = world(200)
    contacts = events["contacts"]
    whole = training.sample_limit(job, [training.smallest_draws(job, contacts)[0]])
    parts = [contacts[contacts["subscriber"] % 5 == k] for k in range(5)]
    split = [training.smallest_draws(job, part.iloc[::-1])[0] for part in parts]
    assert training.sample_limit(job, split) == whole
    rows = training.training_rows(job, subscribers, events, limit=whole)
    assert (
        95 <= len(rows) <= 100
    )  # equal draws (a subscriber contacted twice at once) may cost some
    assert training.sample_limit(job, [split[0][:100]]) == training.EVERYTHING


@pytest.mark.parametrize("n", [0, 1, 2, 7, 100])
def test_the_split_is_by_time(n):
    job = job_of(train_share=0.5, calibrate_share=0.3)
    time = np.random.default_rng(n).permutation(n) * 3
    share, _ = training.split(job, time)
    sizes = [n // 2, int(n * 0.8) - n // 2, n - int(n * 0.8)]
    assert np.bincount(share, minlength=3).tolist() == sizes
    assert (np.diff(share[np.argsort(time)]) >= 0).all()


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=40),
    st.integers(1, 9),
    st.sampled_from([0.2, 0.5, 0.6]),
)
def test_what_a_share_knows_ends_before_the_next_begins(times, horizon, train_share):
    job = job_of(horizon=f"{horizon}s", train_share=train_share, calibrate_share=0.3)
    time = np.array(times)
    share, purged = training.split(job, time)
    assert len(set(zip(times, share, strict=True))) == len(set(times))  # an instant is in one share
    edges = [sorted(times)[int(len(times) * s)] for s in (train_share, train_share + 0.3)]
    for t, own, out in zip(times, share, purged, strict=True):
        assert own == sum(edge <= t for edge in edges)
        assert out == (own < 2 and t + horizon > edges[own])
    for k in (0, 1):  # no outcome window of a share reaches into a later one
        kept, later = time[(share == k) & ~purged], time[share > k]
        assert not len(kept) or not len(later) or kept.max() + horizon <= later.min()


def test_purged_contacts_train_calibrate_and_measure_nothing(tiny):
    job, *_, rows, fitted, measured, _ = tiny
    share, purged = training.split(job, rows["time"].to_numpy())
    gone = [int((purged & (share == k)).sum()) for k in range(3)]
    assert measured["purged"] == {"train": gone[0], "calibrate": gone[1]}
    assert min(gone[:2]) > 20 and gone[2] == 0
    assert measured["contacts"]["train"] == (share == 0).sum() - gone[0]
    changed = rows.assign(
        accepted=rows["accepted"] ^ purged, mb_30d=rows["mb_30d"].where(~purged, 1e9)
    )
    again, same = model.fit(job, changed, COLUMNS)
    assert same == measured
    assert again.booster.save_raw() == fitted.booster.save_raw()
    assert (again.slope, again.intercept) == (fitted.slope, fitted.intercept)


def test_the_model_learns_what_drives_acceptance(tiny):
    *_, rows, fitted, measured, _ = tiny
    assert measured["auc"] > 0.7
    assert measured["brier"] < measured["brier_base"]
    assert sum((*measured["contacts"].values(), *measured["purged"].values())) == len(rows)
    _, purged = training.split(job_of(), rows["time"].to_numpy())
    assert sum(measured["accepts"].values()) == rows["accepted"][~purged].sum()
    assert sum(b["contacts"] for b in measured["calibration"]) == measured["contacts"]["test"]
    assert len(measured["calibration"]) == 10
    assert measured["importance"][0]["feature"] == "usage_n_7d"
    assert sum(i["gain"] for i in measured["importance"]) == pytest.approx(1)
    assert fitted.slope > 0
    json.dumps(measured, allow_nan=False)


def test_row_order_does_not_change_a_bit(tiny):
    job, *_, rows, fitted, measured, _ = tiny
    again, same = model.fit(job, rows.sample(frac=1, random_state=3), COLUMNS)
    assert same == measured
    assert again.booster.save_raw() == fitted.booster.save_raw()
    assert (again.slope, again.intercept) == (fitted.slope, fitted.intercept)


def test_propensities_match_a_prediction_row_by_row(tiny):
    job, *_, fitted, _, features = tiny
    result = model.propensities(job, fitted, features)
    assert list(result) == ["subscriber", *(a.name for a in actions(job.catalogue))]
    names = [*COLUMNS, *model.one_hot(job)]
    for action in actions(job.catalogue):
        rows = features[COLUMNS].assign(**dict.fromkeys(model.one_hot(job), 0.0))
        category = job.catalogue.offers[action.offer].category
        for one in (f"offer={action.offer}", f"channel={action.channel}", f"category={category}"):
            rows[one] = 1.0
        matrix = xgboost.DMatrix(rows[names].to_numpy("float32"))
        margin = fitted.booster.predict(matrix, output_margin=True).astype("float64")
        expected = 1 / (1 + np.exp(-(fitted.slope * margin + fitted.intercept)))
        assert result[action.name].tolist() == expected.astype("float32").tolist()
    values = result.drop(columns="subscriber").to_numpy()
    assert values.dtype == np.float32 and (values > 0).all() and (values < 1).all()
    assert (result["data@push"] > result["data@sms"]).mean() > 0.9  # the world likes push
    assert len(model.propensities(job, fitted, features.iloc[:0])) == 0


@pytest.mark.parametrize("cells", [1, 700, 2**24])
def test_the_same_bits_for_any_number_of_rows_at_a_time(tiny, cells, monkeypatch):
    job, *_, fitted, _, features = tiny
    expected = model.propensities(job, fitted, features.iloc[:201])
    monkeypatch.setattr(ensemble, "CELLS", cells)
    for rows in (0, 1, 2, 201):
        found = model.propensities(job, fitted, features.iloc[:rows])
        pd.testing.assert_frame_equal(found, expected.iloc[:rows], check_exact=True)


@given(seed=st.integers(0, 2**16), depth=st.integers(1, 5))
@settings(max_examples=25)
def test_resolved_trees_have_the_bits_of_the_booster(seed, depth):
    """Rows full of ties and gaps; 0/1 columns of which several are 1 at once, or none."""
    rng = np.random.default_rng(seed)
    numbers = rng.choice([0.0, 1.0, 2.5, -3.0, np.nan], (60, 2)).astype("float32")
    hot = rng.integers(0, 2, (60, 3)).astype("float32")
    whole = np.hstack([numbers, hot])
    label = (hot @ [1, 2, 4] + np.nan_to_num(numbers[:, 0]) + rng.normal(size=60) > 3.5).astype(int)
    label[:2] = 0, 1
    options = {"max_depth": depth, "min_child_weight": 0, "nthread": 1, "eta": 0.5,
               "objective": "binary:logistic"}  # fmt: skip
    booster = xgboost.train(options, xgboost.DMatrix(whole, label), 7)
    ones = [frozenset(s) for s in ((), (2,), (3, 4), (2, 3, 4), (2,))]
    found = ensemble.resolved(booster, 2, ones)
    assert len(found.start) <= 1 + 7 * 4  # the two equal actions share every tree
    assert found.terms[1] == found.terms[4]
    for some, margins in zip(ones, found.margins(whole), strict=True):
        whole[:, 2:] = [float(column in some) for column in (2, 3, 4)]
        expected = booster.inplace_predict(whole, predict_type="margin")
        assert margins.tolist() == expected.tolist()


def test_a_saved_model_scores_the_same_bits(tiny, tmp_path):
    job, *_, fitted, _, features = tiny
    fitted.save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["calibration.json", "model.json"]
    loaded = model.propensities(job, model.Model.load(tmp_path), features)
    pd.testing.assert_frame_equal(
        model.propensities(job, fitted, features), loaded, check_exact=True
    )


def test_max_propensity_caps(tiny):
    *_, rows, _, _, features = tiny
    job = job_of(max_propensity=0.2)
    fitted, measured = model.fit(job, rows, COLUMNS)
    result = model.propensities(job, fitted, features).drop(columns="subscriber")
    assert 0.2 - 1e-7 < result.max().max() <= 0.2  # one float32 step below at most
    assert max(b["predicted"] for b in measured["calibration"]) == pytest.approx(0.2)


def test_too_few_accepts_are_told_with_their_counts(tiny):
    *_, rows, _, _, _ = tiny
    job = job_of(min_accepts=1_000)
    with pytest.raises(
        DataError, match=r"training share has \d+ accepted of \d+ contacts \(\d+ more are purged\)"
    ):
        model.fit(job, rows, COLUMNS)
    refused = rows.assign(accepted=False)
    with pytest.raises(DataError) as error:
        model.fit(job_of(), refused, COLUMNS)
    assert "training share has 0 accepted of" in str(error.value)
    assert "calibration share has 0 accepted of" in str(error.value)
    with pytest.raises(DataError, match="test share has no contacts"):
        model.fit(job_of(), rows.iloc[:0], COLUMNS)


def test_an_infinite_feature_is_named(tiny):
    job, *_, rows, _, _, _ = tiny
    with pytest.raises(DataError, match="feature mb_30d: is infinite or beyond 3.4e38 for 2 rows"):
        model.fit(job, rows.assign(mb_30d=rows["mb_30d"].where(rows.index > 1, 1e300)), COLUMNS)


def test_a_test_share_of_one_class_has_no_auc():
    measured = quality(np.array([0.1, 0.2, 0.4]), np.array([0, 0, 0]), 0.1)
    assert measured["auc"] is None
    assert measured["auc_note"] == "all contacts of the test share were refused"
    assert measured["brier"] == pytest.approx((0.01 + 0.04 + 0.16) / 3)
    assert measured["brier_base"] == pytest.approx(0.01)
    assert [b["contacts"] for b in measured["calibration"]] == [1, 1, 1]


def test_platt_finds_the_odds():
    rng = np.random.default_rng(2)
    margin = rng.normal(size=20_000)
    label = (rng.random(20_000) < 1 / (1 + np.exp(-(0.6 * margin - 1.5)))).astype(int)
    # standard errors of both are about 0.02 at this size
    assert platt(margin, label) == pytest.approx((0.6, -1.5), abs=0.06)
    slope, intercept = platt(np.array([-1.0, 1.0]), np.array([0, 1]))  # separable, yet finite
    assert np.isfinite([slope, intercept]).all() and slope > 1
