"""The days that a policy's windows hold together, second by second, and where clocks change."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.send_times import LAST, LONGEST, NONE, SendTimes, instants_in
from engine.settings.policies import ContactPolicy
from engine.spans import cap_windows, spans

DAY = 86_400


def policy(**settings):
    return ContactPolicy.model_validate({"name": "p", "at_most": 2, **settings})


def times(*instants, names=None):
    names = names or ("UTC",) * len(instants)
    return SendTimes(names, np.zeros(1, np.int32), instants)


def plan(text, days, zone, clock=None):
    at = None if clock is None else 3_600 * int(clock[:2]) + 60 * int(clock[3:])
    return instants_in(int(datetime.fromisoformat(text).timestamp()), at, days, zone)


def local(instants):
    return [f"{datetime.fromtimestamp(t, UTC):%d %H:%M}" for t in instants]


@given(st.lists(st.integers(0, 12), min_size=1, max_size=5).map(sorted), st.integers(1, 9))
def test_a_span_has_the_windows_that_hold_just_its_days(instants, width):
    """Every window that holds some day is one of one span; and no other is."""
    meant = {}
    for end in range(instants[0], instants[-1] + width):
        inside = [d for d, at in enumerate(instants) if end - width < at <= end]
        if inside:
            assert inside == list(range(inside[0], inside[-1] + 1))
            meant.setdefault((inside[0], inside[-1]), []).append(end)
    found = spans(policy(within=f"{width}s"), times(tuple(instants)))
    assert {(s.first, s.last): s.windows[0] for s in found} == {
        run: (width, ends[0], ends[-1]) for run, ends in meant.items()
    }
    assert all(ends == list(range(ends[0], ends[-1] + 1)) for ends in meant.values())
    assert len(found) <= 2 * len(instants) - 1
    for day, at in enumerate(instants):
        windows = cap_windows(policy(within=f"{width}s"), times(tuple(instants)), day)
        assert windows == ((width, at, at + width - 1),)


def test_without_a_window_and_for_ever_the_plan_is_one():
    two = times((5, 9), (6, 10))
    (alone,), (ever,) = spans(policy(), two), spans(policy(within="ever"), two)
    assert (alone.first, alone.last, alone.windows, alone.is_held) == (0, 1, None, (True, True))
    assert (ever.first, ever.last, ever.windows) == (0, 1, ((LONGEST, LAST, LAST),) * 2)


def test_where_clocks_change_a_zone_has_spans_of_its_own():
    berlin, utc = (plan("2025-03-29T08:00+00:00", 3, zone) for zone in ("Europe/Berlin", "UTC"))
    assert berlin[1] - berlin[0] == 23 * 3_600 and utc[1] - utc[0] == DAY
    found = spans(policy(within="1d"), times(berlin, utc, names=("Europe/Berlin", "UTC")))
    held = {(s.first, s.last): s.is_held for s in found}
    both = (True, True)
    assert held == {(0, 0): both, (0, 1): (True, False), (1, 1): both, (2, 2): both}
    shared = next(s for s in found if s.last - s.first == 1)
    assert shared.windows == ((DAY, berlin[1], berlin[0] + DAY - 1), NONE)


def test_a_period_holds_its_days():
    """From Friday 2026-01-30: a week ends on Sunday, the month on Saturday."""
    days = plan("2026-01-30T10:00+00:00", 5, "UTC")
    runs = {each: [(s.first, s.last) for s in spans(policy(each=each), times(days))]
            for each in ("day", "week", "month")}  # fmt: skip
    assert runs == {
        "day": [(d, d) for d in range(5)], "week": [(0, 2), (3, 4)], "month": [(0, 1), (2, 4)],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("start", "zone", "clock", "expected"),
    [
        # At once on the first day, then at the same local time: 11:00 CET is 11:00 CEST.
        ("2025-03-29T10:00+00:00", "Europe/Berlin", None, ["29 10:00", "30 09:00", "31 09:00"]),
        # 02:30 is skipped on the 30th: the first instant after the gap.
        ("2025-03-29T00:00+00:00", "Europe/Berlin", "02:30", ["29 01:30", "30 01:00", "31 00:30"]),
        # Twice on the 26th: the first.
        ("2025-10-25T00:00+00:00", "Europe/Berlin", "02:30", ["25 00:30", "26 00:30", "27 01:30"]),
        # Apia skips the 30th: its day is the first instant of the 31st.
        ("2011-12-29T10:00+00:00", "Pacific/Apia", "09:00", ["29 19:00", "30 10:00", "30 19:00"]),
    ],
)  # fmt: skip
def test_days_go_out_at_the_same_local_time(start, zone, clock, expected):
    assert local(plan(start, 3, zone, clock)) == expected
