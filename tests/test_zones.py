"""Local dates and wall clocks, against a walk over the instants, minute by minute."""

import subprocess
import sys
from bisect import bisect_left, bisect_right
from datetime import UTC, date, datetime, timedelta
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import zones
from engine.errors import ConfigError, DataError

DAY, MINUTE_S, DAY_S = timedelta(days=1), 60, 86_400
AROUND = 5  # days that are walked before and after a date
CHANGES = [
    ("Europe/Berlin", date(2025, 3, 30)), ("Europe/Berlin", date(2025, 10, 26)),
    ("America/New_York", date(2025, 3, 9)), ("America/New_York", date(2025, 11, 2)),
    ("Australia/Lord_Howe", date(2025, 4, 6)), ("Australia/Lord_Howe", date(2025, 10, 5)),
    ("America/Sao_Paulo", date(2018, 11, 4)), ("America/Sao_Paulo", date(2019, 2, 17)),
    ("Asia/Beirut", date(2024, 3, 31)), ("Asia/Beirut", date(2024, 10, 27)),
    ("America/Havana", date(2024, 3, 10)), ("America/Havana", date(2024, 11, 3)),
    ("America/St_Johns", date(2010, 3, 14)), ("America/St_Johns", date(2010, 11, 7)),
    ("Pacific/Apia", date(2011, 12, 30)), ("Asia/Kathmandu", date(1986, 1, 1)),
    ("UTC", date(2024, 2, 29)), ("Asia/Kolkata", date(2025, 8, 1)),
]  # fmt: skip
CHANGE = st.sampled_from(CHANGES)
CLOCK = st.one_of(
    st.sampled_from([0, 60, 1_800, 3_600, 7_140, 7_200, 9_000, 84_600, 86_340]),
    st.integers(0, 1_439).map(lambda minute: MINUTE_S * minute),
)


@cache
def walked(name, day):
    """Return instants around a date, what the clocks show, and the latest they have shown."""
    zone = zones.zone(name)
    start = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) - AROUND * DAY_S
    instants = range(start, start + 2 * AROUND * DAY_S, MINUTE_S)
    shown = [datetime.fromtimestamp(t, zone).replace(tzinfo=None) for t in instants]
    return instants, shown, np.maximum.accumulate(np.array(shown, "datetime64[s]")).tolist()


def first_at(name, day, wall):
    """Return the first instant at which the clocks show a time or a later one."""
    instants, _, latest = walked(name, day)
    return instants[bisect_left(latest, wall)]


def midnight(day):
    return datetime(day.year, day.month, day.day)


@given(change=CHANGE, shift=st.integers(-2, 2), clock=CLOCK)
def test_a_wall_time_is_the_first_instant_that_shows_it_or_more(change, shift, clock):
    name, day = change
    wall = midnight(day) + shift * DAY + timedelta(seconds=clock)
    found = zones.at_local(zones.zone(name), wall.date(), clock)
    assert found == first_at(name, day, wall)


@given(change=CHANGE, shift=st.integers(-2, 2))
def test_a_day_begins_when_its_date_is_first_shown(change, shift):
    name, day = change
    start = zones.day_start(zones.zone(name), day + shift * DAY)
    assert start == first_at(name, day, midnight(day + shift * DAY))


@given(change=CHANGE, minute=st.integers(-3_000, 3_000))
def test_date_and_clock_are_what_is_shown(change, minute):
    name, day = change
    instants, shown, _ = walked(name, day)
    i = len(instants) // 2 + minute
    zone, second = zones.zone(name), 59
    assert zones.local_date(zone, instants[i] + second) == shown[i].date()
    seconds = 3_600 * shown[i].hour + 60 * shown[i].minute + second
    assert zones.local_clock(zone, instants[i] + second) == seconds


@given(change=CHANGE, minute=st.integers(-3_000, 3_000), second=st.integers(0, 59))
def test_days_follow_each_other_without_a_gap(change, minute, second):
    name, day = change
    instants = walked(name, day)[0]
    instant = instants[len(instants) // 2 + minute] + second
    starts = [first_at(name, day, midnight(day + k * DAY)) for k in range(-4, 5)]
    own = bisect_right(starts, instant)
    found = zones.period(zones.zone(name), instant, "day")
    assert found == (starts[own - 1], starts[own]) and found[0] <= instant < found[1]


@given(change=CHANGE, minute=st.integers(-3_000, 3_000), clock=CLOCK)
def test_the_next_time_of_day_is_the_first_of_the_days_that_follow(change, minute, clock):
    name, day = change
    instants = walked(name, day)[0]
    instant = instants[len(instants) // 2 + minute]
    times = [
        first_at(name, day, midnight(day + k * DAY) + timedelta(seconds=clock))
        for k in range(-4, 4)
    ]
    expected = min(t for t in times if t >= instant)
    assert zones.next_local(zones.zone(name), instant, clock)[0] == expected


def instant_of(text):
    """Return the instant of a time with an offset."""
    return int(datetime.fromisoformat(text).timestamp())


def told(name, start_and_end):
    """Return both ends of a period as local texts."""
    zone = zones.zone(name)
    return [datetime.fromtimestamp(t, zone).isoformat() for t in start_and_end]


@pytest.mark.parametrize(
    ("name", "instant", "unit", "start", "end"),
    [
        ("Europe/Berlin", "2025-07-31T23:59:59+02:00", "month", "2025-07-01T00:00:00+02:00",
         "2025-08-01T00:00:00+02:00"),
        ("Europe/Berlin", "2025-08-01T00:00:00+02:00", "month", "2025-08-01T00:00:00+02:00",
         "2025-09-01T00:00:00+02:00"),
        ("Europe/Berlin", "2025-03-10T12:00:00+01:00", "month", "2025-03-01T00:00:00+01:00",
         "2025-04-01T00:00:00+02:00"),
        ("Europe/Berlin", "2024-02-29T23:00:00+01:00", "month", "2024-02-01T00:00:00+01:00",
         "2024-03-01T00:00:00+01:00"),
        ("America/New_York", "2024-12-31T23:30:00-05:00", "month", "2024-12-01T00:00:00-05:00",
         "2025-01-01T00:00:00-05:00"),
        ("America/New_York", "2025-11-02T12:00:00-05:00", "day", "2025-11-02T00:00:00-04:00",
         "2025-11-03T00:00:00-05:00"),
        ("America/Sao_Paulo", "2018-11-04T12:00:00-02:00", "day", "2018-11-04T01:00:00-02:00",
         "2018-11-05T00:00:00-02:00"),
        ("America/Havana", "2024-11-03T00:30:00-05:00", "day", "2024-11-03T00:00:00-04:00",
         "2024-11-04T00:00:00-05:00"),
        ("America/St_Johns", "2010-11-06T23:30:00-03:30", "day", "2010-11-07T00:00:00-02:30",
         "2010-11-08T00:00:00-03:30"),
        ("Pacific/Apia", "2011-12-29T20:00:00-10:00", "day", "2011-12-29T00:00:00-10:00",
         "2011-12-31T00:00:00+14:00"),
        ("Europe/Berlin", "2025-03-30T12:00:00+02:00", "week", "2025-03-24T00:00:00+01:00",
         "2025-03-31T00:00:00+02:00"),
    ],
)  # fmt: skip
def test_periods(name, instant, unit, start, end):
    found = zones.period(zones.zone(name), instant_of(instant), unit)
    assert told(name, found) == [start, end]


@pytest.mark.parametrize("week_starts", range(7))
def test_a_week_has_seven_days_from_its_first(week_starts):
    zone = zones.zone("Europe/Berlin")
    for k in range(14):  # the 26th has 25 hours
        day = date(2025, 10, 15) + k * DAY
        start, end = zones.period(zone, zones.at_local(zone, day, 3_600), "week", week_starts)
        first = zones.local_date(zone, start)
        assert first.weekday() == week_starts and first <= day < first + 7 * DAY
        assert end == zones.day_start(zone, first + 7 * DAY)


def test_quiet_hours_go_over_midnight():
    zone = zones.zone("Europe/Berlin")
    evening, morning = 21 * 3_600, 8 * 3_600

    def quiet(clock, begin=evening, end=morning):
        return zones.is_quiet(zone, zones.at_local(zone, date(2025, 6, 1), clock), begin, end)

    assert [quiet(c) for c in (evening - 1, evening, 23 * 3_600, 0, 1_800, morning - 1)] == [
        False, True, True, True, True, True,
    ]  # fmt: skip
    assert not quiet(morning) and quiet(evening, evening, DAY_S) and not quiet(0, evening, DAY_S)
    assert quiet(9_000, 7_200, 10_800) and not quiet(10_800, 7_200, 10_800)
    assert not quiet(evening, evening, evening)
    before = instant_of("2025-03-30T01:59:59+01:00")  # then it is 3:00
    assert zones.is_quiet(zone, before, 0, 7_200) and not zones.is_quiet(zone, before + 1, 0, 7_200)


def test_every_zone_can_be_read_and_its_days_are_in_order():
    assert {"UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"} <= zones.names()
    for name in zones.names():
        zone = zones.zone(name)
        starts = [zones.day_start(zone, date(2025, 1, 1) + k * DAY) for k in range(366)]
        lengths = set(np.diff(starts).tolist())  # the Troll station moves its clocks by two hours
        assert min(lengths) >= 22 * 3_600 and max(lengths) <= 26 * 3_600, name


def test_the_tables_of_the_machine_are_not_read():
    text = (
        "import zoneinfo; zoneinfo.reset_tzpath(()); from datetime import date;"
        "from engine.zones import day_start, zone;"
        "print(day_start(zone('Asia/Tokyo'), date(2025, 1, 1)))"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert int(done.stdout) == instant_of("2025-01-01T00:00:00+09:00")


@pytest.mark.parametrize(
    ("name", "meant"),
    [("Europe/Brelin", "Europe/Berlin"), ("europe/berlin", "Europe/Berlin"),
     ("Berlin", "Europe/Berlin"), ("new york", "America/New_York")],
)  # fmt: skip
def test_an_unknown_zone_is_refused_with_names_like_it(name, meant):
    with pytest.raises(ConfigError, match=f"unknown time zone {name}; did you mean {meant}"):
        zones.zone(name)


@pytest.mark.parametrize("name", ["", "../zones", "/etc/localtime", "Europe", "x" * 70])
def test_what_is_no_name_of_a_zone_is_refused(name):
    with pytest.raises(ConfigError, match="unknown time zone"):
        zones.zone(name)


@pytest.mark.parametrize("dtype", ["str", "object", "category"])
def test_codes_of_a_column(dtype):
    column = pd.Series(["Europe/Berlin", None, "Asia/Tokyo", "", "Europe/Berlin"], dtype=dtype)
    names, codes = zones.codes(column, "Africa/Lagos")
    assert names == ["Africa/Lagos", "Asia/Tokyo", "Europe/Berlin"]
    assert codes.dtype == "int32" and codes.tolist() == [2, 0, 1, 0, 2]
    names, codes = zones.codes(column)
    assert names == ["Asia/Tokyo", "Europe/Berlin", "UTC"] and codes.tolist() == [1, 2, 0, 2, 1]
    assert zones.codes(column[:1], "Africa/Lagos")[0] == ["Europe/Berlin"]


@pytest.mark.parametrize("rows", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["str", "object"])
def test_codes_without_any_zone(rows, dtype):
    names, codes = zones.codes(pd.Series([None] * rows, dtype=dtype))
    assert (names, codes.tolist(), codes.dtype) == (["UTC"] * min(rows, 1), [0] * rows, "int32")


def test_unknown_zones_of_a_column_are_told_together():
    wrong = pd.Series(["Mars", "Europe/Brelin", None, "UTC", "Mars"], name="time_zone")
    with pytest.raises(DataError) as told_of:
        zones.codes(wrong)
    first, second = str(told_of.value).splitlines()
    assert first.startswith("time_zone: unknown time zone Mars; ") and first.endswith("it: 2")
    assert "Brelin; did you mean Europe/Berlin" in second and second.endswith("it: 1")
    many = pd.Series([f"zone {i}" for i in range(zones.MOST_TOLD + 5)] + ["UTC"], name="time_zone")
    with pytest.raises(DataError) as told_of:
        zones.codes(many)
    assert str(told_of.value).splitlines()[zones.MOST_TOLD :] == [
        "time_zone: 5 more unknown time zones; subscribers: 5"
    ]


def test_numbers_are_no_zones():
    with pytest.raises(DataError, match="time_zone: should be names of time zones, got a number"):
        zones.codes(pd.Series([1.0, 2.0], name="time_zone"))
