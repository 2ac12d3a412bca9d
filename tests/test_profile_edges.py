"""Features by hand: at the edges of windows and stages, without spend, without dates."""

import math
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from engine import profile
from engine.errors import DataError
from tests.profiled import AS_OF, JOB, job_of

DAY_S = 86_400


def one_person(ages_s, *, charge=0.0, tenure_s=400 * DAY_S, balance=1.0):
    """Return the features of one subscriber with events in every table at these ages."""
    since = pd.to_datetime([AS_OF - tenure_s], unit="s")
    person = {"subscriber": 1, "since": since, "balance": balance, "plan": "pre", "app": True}
    times = {"subscriber": 1, "time": np.array([AS_OF - age for age in ages_s], np.int64)}
    usage = pd.DataFrame(times | {"charge": charge, "mb": 0.0, "kind": "data"})
    history = pd.DataFrame(times | {"offer": "boost", "channel": "sms"})
    events = {"usage": usage, "contacts": history, "outcomes": history}
    (row,) = profile.profile_partition(JOB, pd.DataFrame(person), events).to_dict("records")
    return row


def test_a_contact_at_the_old_edge_of_the_window_is_out():
    assert math.isnan(one_person([7 * DAY_S])["contacted_sms"])
    assert one_person([7 * DAY_S - 1])["contacted_sms"] == (7 * DAY_S - 1) / DAY_S
    assert math.isnan(one_person([7 * DAY_S - 1])["contacted_push"])


@pytest.mark.parametrize(
    ("tenure_days", "recency_days", "expected"),
    [
        (29.9, 0, "new"), (29.9, 95, "new"), (30, 0, "active"), (30, 6.9, "active"),
        (30, 7, "quiet"), (30, 29.9, "quiet"), (30, 30, "dormant"), (100, 89.9, "dormant"),
        (100, 90, "lost"), (100, None, "lost"), (-5, None, "new"), (math.nan, 8, "quiet"),
    ],
)  # fmt: skip
def test_stages_begin_exactly_at_their_limits(tenure_days, recency_days, expected):
    ages = [] if recency_days is None else [int(recency_days * DAY_S)]
    tenure = math.nan if math.isnan(tenure_days) else int(tenure_days * DAY_S)
    assert one_person(ages, tenure_s=tenure)["stage"] == expected


@pytest.mark.parametrize(
    ("balance", "charge", "hours"),
    [
        (10.0, 0.0, 90 * 24.0),  # no spend: it lasts
        (1e9, 1.0, 90 * 24.0),
        (0.0, 0.0, 0.0),
        (-3.0, 1.0, 0.0),
        (10.0, 5.0, 10.0 / (5.0 * math.log(2.0) / (7 * 24))),
        (None, 5.0, None),
    ],
)
def test_run_out_is_the_balance_over_the_smoothed_spend_per_hour(balance, charge, hours):
    found = one_person([0], charge=charge, balance=math.nan if balance is None else balance)
    if hours is None:
        assert math.isnan(found["left_h"])
    else:
        assert found["left_h"] == pytest.approx(hours, rel=1e-15)


def test_dates_with_a_zone_and_missing_dates():
    subscribers = pd.DataFrame(
        {
            "subscriber": [1, 2],
            "since": pd.to_datetime(["2026-09-20T02:00:00+02:00", None]),
        }
    )
    job = job_of([{"op": "tenure", "name": "days", "since": "since"}])
    found = profile.profile_partition(job, subscribers, {})
    midnight = datetime(2026, 9, 20, tzinfo=UTC).timestamp()
    assert found["days"].tolist()[0] == (AS_OF - midnight) / DAY_S
    assert math.isnan(found["days"].tolist()[1])


def test_a_row_of_an_unknown_subscriber_is_refused():
    subscribers = pd.DataFrame({"subscriber": [1, 3]})
    rows = pd.DataFrame({"subscriber": [3, 2], "time": [0, 0]})
    with pytest.raises(DataError, match="unknown subscriber, got 2"):
        profile.features_at(job_of([]), subscribers, {}, rows)


def changes(older, recent):
    """Return the change of charges over a week, with these values of either week."""
    sides = ((older, 7 * DAY_S), (recent, 0))
    ages = [end + 60 * i for values, end in sides for i in range(len(values), 0, -1)]
    rows = {"subscriber": 1, "time": np.array([AS_OF - age for age in ages], np.int64)}
    usage = pd.DataFrame(rows | {"charge": [*older, *recent], "mb": 0.0, "kind": "data"})
    features = [
        {"op": "change", "name": "more", "of": "usage.charge", "windows": ["7d", "1d"]},
        {"op": "sum", "name": "spent", "of": "usage.charge", "windows": ["10d"]},
        {"op": "decayed_sum", "name": "faded", "of": "usage.charge", "half_life": "7d"},
    ]
    people = pd.DataFrame({"subscriber": [1], "since": pd.NaT, "plan": "pre"})
    (row,) = profile.profile_partition(job_of(features), people, {"usage": usage}).to_dict(
        "records"
    )
    return row["more_7d"]


@pytest.mark.parametrize("older", [[], [0.0], [0.0] * 5])
@pytest.mark.parametrize("recent", [[0.1] * 10, [0.1, 0.2, 0.7, 1e9, 1e-9], [1 / 3] * 1_001])
def test_a_change_from_nothing_is_missing_however_sums_round(older, recent):
    assert math.isnan(changes(older, recent))


def test_a_change_is_as_exact_as_the_sum_over_both_windows():
    older, recent = [0.1, 0.7] * 50, [1e6 / 3] * 300
    exact, both = math.fsum(recent) / math.fsum(older), math.fsum([*older, *recent])
    off = 400 * 2.0**-53 * both / math.fsum(older)  # of the earlier sum, n units of both at most
    assert changes(older, recent) == pytest.approx(exact, rel=off)
