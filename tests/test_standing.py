"""Until when a policy blocks: by hand, and as the first instant at which it blocks no more."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from engine import policies
from engine.history import History
from engine.send_times import send_times
from engine.standing import instant_of, standings
from tests.certified import job_of

DAY = 86_400
TABLE = {"path": "x/*.parquet", "categories": ["offer", "channel"]}


def at(text):
    """Return an instant in UTC, s."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def job(*settings, as_of="2026-10-01T00:00:00", zone="UTC"):
    inputs = {"folder": "data", "subscribers": {"path": "s/*.parquet"}, "contacts": TABLE,
              "outcomes": TABLE}  # fmt: skip
    return job_of(policies=list(settings), inputs=inputs, as_of=f"{as_of}Z", time_zone=zone)


def past(*contacts, outcomes=()):
    """Return the history of subscriber 10: instants of contacts with offer and channel."""

    def frame(rows):
        table = pd.DataFrame(
            [(10, at(t), offer, channel) for t, offer, channel in rows],
            columns=["subscriber", "time", "offer", "channel"],
        )
        kinds = {"subscriber": "int64", "time": "int64", "offer": "str", "channel": "str"}
        return table.astype(kinds)

    return History(frame(contacts), frame(outcomes))


ME = pd.DataFrame({"subscriber": [10]})
SMS = {"name": "p", "at_most": 1, "per": "channel", "only": ["sms"]}
BY_HAND = {  # setting, history, until, used
    "a contact of a week": (
        {**SMS, "within": "7d"}, past(("2026-09-28T10:00:00", "a", "sms")),
        "2026-10-05T10:00:00", 1),
    "the second latest of three counts": (
        {"name": "p", "at_most": 2, "within": "7d"},
        past(("2026-09-26T01:00:00", "a", "sms"), ("2026-09-27T02:00:00", "b", "app"),
             ("2026-09-28T03:00:00", "a", "app")), "2026-10-04T02:00:00", 3),
    "booked for later": (
        {**SMS, "within": "2d"}, past(("2026-10-02T10:00:00", "a", "sms")),
        "2026-10-04T10:00:00", 1),
    "exactly so old is out": (
        {**SMS, "within": "7d"}, past(("2026-09-24T00:00:00", "a", "sms")), None, 0),
    "apart": (
        {"name": "p", "spacing": "2d"}, past(("2026-09-30T10:00:00", "a", "sms")),
        "2026-10-02T10:00:00", 1),
    "ever": ({**SMS, "within": "ever"}, past(("2020-01-01T00:00:00", "a", "sms")), None, 1),
    "nobody": ({"name": "p", "at_most": 0}, past(), None, 0),
}  # fmt: skip


def test_contacts_of_a_package_at_one_instant_are_one_and_others_are_not():
    """So counts :func:`engine.policies.left` too: offers a and b are a package, c is by itself."""
    same = [("2026-09-28T10:00:00", offer, "app") for offer in ("a", "a", "b", "c", "c")]
    letter = {"name": "letter", "package": ["a", "b"]}
    for most, is_closed in ((3, True), (4, False)):
        asked = job({"name": "p", "at_most": most, "within": "7d"}, letter)
        (told,) = standings(asked, ME, past(*same))
        assert told.used == 3 and bool(told.blocked) == is_closed
        found = policies.left(asked, ME, past(*same)).closed["p"]
        assert any(one.rows[0] for one in found) == is_closed


@pytest.mark.parametrize("case", BY_HAND)
def test_a_cap_blocks_until_its_window_has_room(case):
    setting, history, until, used = BY_HAND[case]
    (told,) = standings(job(setting), ME, history)
    assert told.until == (None if until is None else at(until))
    assert told.used == used
    assert bool(told.blocked) == (used >= told.allowed)


@pytest.mark.parametrize(
    ("setting", "as_of", "until"),
    [  # Berlin puts the clock back on 25 October 2026 at 3:00, and on on 29 March 2026 at 2:00
        ({"at_most": 1, "each": "day"}, "2026-10-25T05:00:00", "2026-10-25T23:00:00"),
        ({"at_most": 1, "each": "month"}, "2026-10-25T05:00:00", "2026-10-31T23:00:00"),
        ({"at_most": 1, "within": "1d"}, "2026-10-25T05:00:00", "2026-10-26T04:00:00"),
        ({"quiet": "21:00-08:00"}, "2026-10-24T20:00:00", "2026-10-25T07:00:00"),
        ({"quiet": "21:00-02:30"}, "2026-03-28T22:00:00", "2026-03-29T01:00:00"),
        ({"quiet": "08:00-09:00"}, "2026-10-24T20:00:00", None),
        ({"blackout": ["2026-10-24", "2026-10-25"]}, "2026-10-24T08:00:00", "2026-10-25T23:00:00"),
        ({"blackout": ["2026-10-26"]}, "2026-10-25T23:30:00", "2026-10-26T23:00:00"),
        ({"cool_down": "3d"}, "2026-10-25T05:00:00", "2026-10-28T04:00:00"),
        ({"suppress": "subscriber = 10"}, "2026-10-25T05:00:00", None),
        ({"offer": "a", "only_after": ["b"], "within": "1h"}, "2026-10-25T05:00:00", None),
    ],
)
def test_clocks_and_calendars_end_in_the_time_zone(setting, as_of, until):
    event = ("2026-10-25T04:00:00", "a", "sms")
    history = past(event, outcomes=[event]) if as_of.startswith("2026-10-25") else past()
    asked = job({"name": "p", **setting}, as_of=as_of, zone="Europe/Berlin")
    (told,) = standings(asked, ME, history)
    assert told.until == (None if until is None else at(until))
    assert instant_of(asked, ME) == (at(as_of), "Europe/Berlin")


ALL = [
    {"at_most": 2, "within": "3d"},
    {"at_most": 1, "per": "offer", "within": "5d"},
    {"at_most": 2, "per": "channel", "within": "4d"},
    {"at_most": 1, "each": "week"},
    {"spacing": "36h"},
    {"exclusive": ["a", "b"], "within": "3d"},
    {"offer": "a", "not_after": ["b"], "within": "4d"},
    {"cool_down": "4d", "per": "channel"},
    {"quiet": "22:00-07:00"},
    {"blackout": ["2026-10-01", "2026-10-02", "2026-10-04"]},
]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("has_package", [False, True])
@pytest.mark.parametrize("setting", ALL, ids=lambda s: next(iter(s)))
def test_until_is_the_first_instant_at_which_nothing_is_blocked(setting, has_package, seed):
    rng = np.random.default_rng(seed)
    more = [{"name": "letter", "package": ["a", "b"]}] * has_package
    asked = job({"name": "p", **setting}, *more, zone="Europe/Lisbon")

    def drawn(count, latest):
        hours = rng.integers(-7 * 24, latest, count) * 3_600 + int(asked.as_of.timestamp())
        return [(datetime.fromtimestamp(t, UTC).replace(tzinfo=None).isoformat(),
                 rng.choice(["a", "b"]), rng.choice(["sms", "app"])) for t in hours]  # fmt: skip

    history = past(*drawn(5, 48), outcomes=drawn(3, 0))

    def blocked(instant):
        """Return the actions of each closure of the policy, were contacts to go out then."""
        start = datetime.fromtimestamp(instant, UTC)
        later = asked.model_copy(
            update={"horizon": asked.horizon.model_copy(update={"start": start})}
        )
        found = policies.left(later, ME, history).closed["p"]
        return {a for one in found if one.rows[0] for a in one.actions}

    now, told = int(asked.as_of.timestamp()), standings(asked, ME, history)
    assert {a for one in told for a in one.blocked} == blocked(now)
    if len(told) == 1 and told[0].blocked:
        assert told[0].until > now
        assert not blocked(told[0].until)
        assert blocked(told[0].until - 1)
    for one in told:
        assert (one.until is None) == (not one.blocked)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("setting", ALL, ids=lambda s: next(iter(s)))
def test_of_a_plan_the_days_are_told_that_a_policy_blocks(setting, seed):
    rng = np.random.default_rng([seed, 5])
    asked = job({"name": "p", **setting}, zone="Europe/Lisbon")
    asked = asked.model_copy(update={"horizon": asked.horizon.model_copy(update={"days": 5})})
    start = int(asked.as_of.timestamp())

    def drawn(count, latest):
        hours = rng.integers(-7 * 24, latest, count) * 3_600 + start
        return [(datetime.fromtimestamp(t, UTC).replace(tzinfo=None).isoformat(),
                 rng.choice(["a", "b"]), rng.choice(["sms", "app"])) for t in hours]  # fmt: skip

    history = past(*drawn(4, 150), outcomes=drawn(3, 0))  # booked for later days, too
    closed = policies.left(asked, ME, history).closed["p"]
    told = standings(asked, ME, history)
    assert {a for one in told for a in one.blocked} == {
        a for one in closed if one.rows[0] for a in one.actions
    }


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("setting", [*ALL[:5], {"at_most": 2}, {"at_most": 1, "within": "ever"}],
                         ids=str)  # fmt: skip
def test_of_a_plan_a_cap_tells_the_day_with_the_fullest_window(setting, seed):
    """Each day is told as one on which contacts go out by themselves."""
    rng = np.random.default_rng([seed, 6])
    one = job({"name": "p", **setting}, zone="Europe/Berlin", as_of="2026-10-22T08:00:00")
    start = int(one.as_of.timestamp())

    def on(days, instant):
        horizon = one.horizon.model_copy(
            update={"days": days, "start": datetime.fromtimestamp(instant, UTC)}
        )
        return one.model_copy(update={"horizon": horizon})

    plan = on(5, start)
    hours = rng.integers(-4 * 24, 8 * 24, 5) * 3_600 + start
    texts = [datetime.fromtimestamp(t, UTC).replace(tzinfo=None).isoformat() for t in hours]
    history = past(*[(t, rng.choice(["a", "b"]), rng.choice(["sms", "app"])) for t in texts])
    (instants,) = send_times(plan, ME).instants
    alone = [standings(on(1, instant), ME, history) for instant in instants]
    for g, told in enumerate(standings(plan, ME, history)):
        own = [found[g] for found in alone]
        day = max(range(5), key=lambda d: (own[d].used, -d))
        expected = (own[day].used, own[day].contacts, own[day].until, day)
        assert (told.used, told.contacts, told.until, told.day) == expected


def test_of_a_plan_a_later_holiday_has_no_until_of_the_first_day():
    asked = job({"name": "p", "blackout": ["2026-10-03"]})
    asked = asked.model_copy(update={"horizon": asked.horizon.model_copy(update={"days": 5})})
    (told,) = standings(asked, ME, past())
    assert {a % 5 for a in told.blocked} == {2}
    assert told.until is None
