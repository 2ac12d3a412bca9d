"""The certificate of plans of several days: hand examples, and best bundles by enumeration."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.certificate_bundles import best_of
from engine.certificate_windows import UNBOUNDED
from tests.certified import checked, history, job_of, kinds, people

DAY = 86_400
AS_OF = 1_790_812_800  # 2026-10-01T00:00:00Z


def plan_of(days, *policies, **changes):
    """Return a job of some days whose only limits are what policies leave."""
    return job_of(horizon={"days": days}, policies=list(policies), constraints=[], **changes)


def seen(job, chosen, *, contacts=None, features=None, change=None):
    """Return the check of contacts (row, offer, channel, day from 0 on), sent when they are due."""

    def dated(frame):
        frame["time"] += pd.to_timedelta(frame["day"] - 1, unit="D")
        return change(frame) if change else frame

    features = people(2) if features is None else features
    return checked(job, features, chosen, contacts=contacts, change=dated, prices=())


def texts(check):
    return [violation.text for violation in check.violations]


WEEKLY = {"name": "weekly", "at_most": 1, "within": "7d"}
FIRST_AND_EIGHTH = ((0, "a", "sms", 0), (0, "b", "app", 7))


def test_a_window_is_asked_on_each_day():
    """Seven days later is out of the window, one day less is not."""
    job = plan_of(8, WEEKLY)
    assert seen(job, FIRST_AND_EIGHTH).violations == ()
    near = seen(job, [FIRST_AND_EIGHTH[0], (0, "b", "app", 6)])
    assert texts(near) == ["policy weekly leaves 1, got 2 contacts from day 1 to 7"]


def test_history_and_plan_count_together():
    """Two in three days: one of the history and one on the first day leave the second day none."""
    job = plan_of(4, {"name": "two", "at_most": 2, "within": "3d"})
    sent = history((10, AS_OF - DAY, "gone", "fax"))
    early = seen(job, [(0, "a", "sms", 0), (0, "b", "app", 1)], contacts=sent)
    assert texts(early) == ["policy two leaves 1, got 2 contacts from day 1 to 2"]
    assert seen(job, [(0, "a", "sms", 0), (0, "b", "app", 2)], contacts=sent).violations == ()
    booked = history((10, AS_OF + DAY, "gone", "fax"), (10, AS_OF + 3 * DAY, "gone", "fax"))
    assert texts(seen(job, [(0, "a", "sms", 2)], contacts=booked)) == [
        "policy two leaves 0, got 1 contacts on day 3"
    ]


def test_a_week_of_the_calendar_ends_within_the_plan():
    """The first of October of 2026 is a Thursday: Monday is its fifth day."""
    job = plan_of(5, {"name": "weekly", "at_most": 1, "each": "week"})
    assert seen(job, [(0, "a", "sms", 3), (0, "b", "app", 4)]).violations == ()
    assert kinds(seen(job, [(0, "a", "sms", 0), (0, "b", "app", 3)])) == ["policy"]


def test_an_offer_goes_out_on_one_day():
    found = seen(plan_of(2), [(0, "a", "sms", 0), (0, "a", "app", 1)])
    assert kinds(found) == ["duplicate"]


def test_offers_are_apart_by_days():
    apart = {"name": "apart", "exclusive": ["a", "b"], "within": "2d"}
    assert texts(seen(plan_of(3, apart), [(0, "a", "sms", 0), (0, "b", "sms", 1)])) == [
        "policy apart excludes a and b together"
    ]
    assert seen(plan_of(3, apart), [(0, "a", "sms", 0), (0, "b", "sms", 2)]).violations == ()


def test_an_offer_may_not_follow_another():
    late = {"name": "late", "offer": "b", "not_after": ["a"], "within": "2d"}
    assert texts(seen(plan_of(3, late), [(0, "a", "sms", 0), (0, "b", "sms", 1)])) == [
        "policy late keeps b from following a so soon"
    ]
    for a, b in [(0, 0), (1, 0), (0, 2)]:
        chosen = [(0, "a", "sms", a), (0, "b", "sms", b)]
        assert seen(plan_of(3, late), chosen).violations == ()


@pytest.mark.parametrize(("hours", "last"), [(0.0, 0), (23.9, 0), (24.0, 1), (None, 2)])
def test_an_offer_closes_when_its_hours_are_over(hours, last):
    catalogue = job_of().catalogue.model_dump(mode="json")
    catalogue["offers"]["a"]["until"] = "hours"
    job, features = plan_of(3, catalogue=catalogue), people(1, hours=pd.array([hours], "Float64"))
    for day in range(3):
        found = texts(seen(job, [(0, "a", "app", day)], features=features))
        late = [f"a on app on day {day + 1} is closed: a is too late"]
        assert found == (late if day > last else [])


def test_validity_ends_within_the_plan():
    catalogue = job_of().catalogue.model_dump(mode="json")
    catalogue["offers"]["a"] |= {"valid_from": "2026-10-02", "valid_until": "2026-10-03"}
    job = plan_of(3, catalogue=catalogue)
    found = [texts(seen(job, [(0, "a", "app", day)])) for day in range(3)]
    assert found == [
        ["a on app on day 1 is closed: a is not valid yet"], [],
        ["a on app on day 3 is closed: a is no longer valid"],
    ]  # fmt: skip


def test_a_wrong_time_or_day_is_caught():
    def later(frame):
        return frame.assign(time=frame["time"] + pd.Timedelta(days=1))

    (told,) = seen(plan_of(3), [(0, "a", "app", 1)], change=later).violations
    assert told.kind == "written" and told.text.endswith("2026-10-02 00:00:00+00:00 is due")
    for day in (0, 4):
        wrong = seen(plan_of(3), [(0, "a", "app", 1)], change=lambda f, d=day: f.assign(day=d))
        assert texts(wrong) == [f"no such action: a on app on day {day}"]


def test_values_decay_by_day():
    catalogue = job_of().catalogue.model_dump(mode="json")
    catalogue["offers"]["a"]["decay"] = {"by_day": [1.0, 0.5, 0.0]}
    found = [
        seen(plan_of(3, catalogue=catalogue), [(0, "a", "app", day)]).value for day in range(3)
    ]
    unit = 2**34 * 10**6  # of money; p is a half, an acceptance is worth 4 less its cost of 1
    assert found == [3 * unit // 2, unit // 2, -unit // 2]


# ── Best bundles ────────────────────────────────────────────────────────────────────────────────


@st.composite
def choices(draw):
    """One subscriber's worths of pairs on days, and what may go together."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pairs, days, caps = (int(rng.integers(1, n)) for n in (5, 5, 4))
    highest = draw(st.sampled_from([3, 20, 10**12]))
    worth = rng.integers(-highest // 4, highest, (1, pairs, days))
    offer = rng.integers(0, 4, pairs)
    apart = np.repeat(np.repeat(offer[:, None] == offer, days, axis=0), days, axis=1)
    some = rng.random(apart.shape) < draw(st.sampled_from([0.0, 0.1, 0.4]))
    left = rng.choice([0, 1, 1, 2, 2, 3, UNBOUNDED, UNBOUNDED], (1, caps, days, days))
    for i, d in combinations(range(days), 2):  # fewer windows hold more days: they leave no less
        left[..., i, d] = left[..., i : d + 1, i : d + 1].max(axis=(2, 3))
    counted = rng.random((caps, pairs)) < draw(st.sampled_from([0.6, 1.0]))
    needs = int(draw(st.booleans()))
    needy, met_by = (rng.random((needs, pairs)) < 0.4 for _ in range(2))
    least = rng.choice([0, 0, 0, 2], 1)
    return worth, rng.integers(0, 1 << days, (1, pairs)).astype(np.uint16), (
        left.astype(np.uint8), least, rng.random(1) < 0.2, np.zeros(1, np.int64), counted,
        np.zeros(caps, bool), np.arange(pairs), offer, (apart | some | some.T)[None], needy, met_by,
        counted.all(axis=1),
    )  # fmt: skip


def best_by_trying(worth, is_open, free):
    """Return the most that a bundle is worth: every set of up to four actions is looked at."""
    (left,), (least,), (must,), _, counted, _, _, _, (conflict,), needy, met_by, _ = free
    days = worth.shape[2]

    def keeps(bundle):
        own = [divmod(a, days) for a in bundle]
        return (
            all(is_open[0, p] >> d & 1 for p, d in own)
            and not any(conflict[a, b] for a, b in combinations(bundle, 2))
            and len(bundle) >= least
            and all(
                any(met[p] for p, _ in own) or not any(needs[p] for p, _ in own)
                for needs, met in zip(needy, met_by, strict=True)
            )
            and all(
                sum(cap[p] and i <= d <= j for p, d in own) <= room[i, j]
                for cap, room in zip(counted, left, strict=True)
                for p, i in own for q, j in own
                if cap[p] and cap[q] and i <= j
            )
        )  # fmt: skip

    tried = (b for size in range(1, 5) for b in combinations(range(worth[0].size), size))
    found = [int(worth[0].reshape(-1)[list(b)].sum()) for b in tried if keeps(b)]
    return max(found, default=None) if must else max(found, default=0, key=lambda w: max(w, 0))


@settings(max_examples=120)
@given(choices())
def test_the_best_bundle_of_days_is_the_best(choice):
    worth, is_open, free = choice
    (found,) = best_of(worth, is_open, free)[0].tolist()
    best = best_by_trying(*choice)
    if best is None:
        assert found < -(10**15)
    elif free[2][0]:
        assert found == best
    else:
        assert found == max(best, 0)
