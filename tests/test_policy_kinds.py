"""Each kind of contact policy by hand, to the second: for solver, certificate and plain meaning."""

import pytest

from tests import brute_policies as brute
from tests.brute_policies import Action, Event, Person, instant
from tests.policy_cases import checked, mapping_of, parsed, profiled, solved_for, told

AT = "2025-06-10T12:00:00+00:00"  # a Tuesday
NOW, SECOND, HOUR, DAY = instant(AT), 1, 3_600, 86_400
ROW = {"churned": False, "tenure": 9.0, "agreed": True}
CATALOGUE = {
    "channels": {"sms": {"consent": {"marketing": "agreed", "service": None}}, "app": {}},
    "offers": {
        "data": {"category": "boost", "team": "red", "value": 4, "channels": ["sms", "app"]},
        "voice": {"category": "talk", "team": "blue", "value": 8, "channels": ["sms"]},
        "notice": {"category": "care", "purpose": "service", "value": 1, "channels": ["sms"]},
    },
}  # fmt: skip
DATA_SMS, DATA_APP, VOICE, NOTICE = (
    Action("data", "sms"), Action("data", "app"), Action("voice", "sms"), Action("notice", "sms"),
)  # fmt: skip
ALL = {DATA_SMS, DATA_APP, VOICE, NOTICE}


def sent(time, offer="data", channel="sms", **more):
    """Return a contact, or an outcome."""
    return Event(time, offer, channel, **more)


def may(*rules, contacts=(), outcomes=(), at=AT, zone="", row=(), **changes):
    """Return the bundles that somebody may get, on which solver, certificate and meaning agree."""
    extra = ["category", "team"]
    job = mapping_of(rules, at, extra=extra, catalogue=CATALOGUE, **changes)
    person = Person(zone, ROW | dict(row), list(contacts), list(outcomes))
    features, history = profiled([person]), told(job, [person])
    acts, tried = brute.actions(job), brute.tried(job)
    _, [found] = solved_for(parsed(job), features, history)
    solver = {tuple(acts[a] for a in bundle) for bundle in found}
    check, _ = checked(job, [person])
    wrong = {violation.subscriber for violation in check.violations}
    certificate = {bundle for row, bundle in enumerate(tried) if row not in wrong}
    assert solver == certificate == brute.bundles(job, person)
    return solver


def is_open(*rules, action=DATA_SMS, **case):
    """Whether somebody may get an action, of all alone."""
    return (action,) in may(*rules, **case)


def singles(found):
    return {bundle[0] for bundle in found if len(bundle) == 1}


def sizes(found):
    return {len(bundle) for bundle in found}


@pytest.mark.parametrize(
    ("contacts", "expected"),
    [
        ([NOW - DAY], True), ([NOW - DAY + SECOND], False), ([NOW], False),
        ([NOW + DAY - SECOND], False), ([NOW + DAY], True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("rule", [{"at_most": 1, "within": "1d"}, {"spacing": "1d"}])
def test_a_sliding_cap(rule, contacts, expected):
    """In every (u - D, u] with the new contact are N contacts at most; spacing: one."""
    assert is_open(rule, contacts=map(sent, contacts)) == expected


def test_a_sliding_cap_counts_the_fullest_window():
    """12 h before and 12 h after are never in (u - 24 h, u] together; a second less, they are."""
    rule, early, late = {"at_most": 2, "within": "1d"}, NOW - 12 * HOUR, NOW + 12 * HOUR
    assert sizes(may(rule, contacts=[sent(early), sent(late)])) == {0, 1}
    assert sizes(may(rule, contacts=[sent(early), sent(late - SECOND)])) == {0}
    ever = {"at_most": 2, "within": "ever"}
    assert sizes(may(ever, contacts=[sent(0), sent(NOW + 999 * DAY)])) == {0}
    assert sizes(may({"at_most": 2}, contacts=[sent(NOW)] * 3)) == {0, 1, 2}


@pytest.mark.parametrize(
    ("each", "zone", "at", "first", "end"),
    [  # a day of 23 h, one of 25 h, one that begins in the summer and once more in the winter time
        ("day", "Europe/Berlin", "2025-03-30T12:00:00+02:00", "2025-03-29T23:00:00+00:00",
         "2025-03-30T22:00:00+00:00"),
        ("day", "Europe/Berlin", "2025-10-26T12:00:00+01:00", "2025-10-25T22:00:00+00:00",
         "2025-10-26T23:00:00+00:00"),
        ("day", "America/St_Johns", "2010-11-06T23:30:00-03:30", "2010-11-07T00:00:00-02:30",
         "2010-11-08T00:00:00-03:30"),
        ("month", "", "2024-02-29T23:59:59+00:00", "2024-02-01T00:00:00+00:00",
         "2024-03-01T00:00:00+00:00"),
        ("month", "Europe/Berlin", "2025-08-01T00:00:00+02:00", "2025-08-01T00:00:00+02:00",
         "2025-09-01T00:00:00+02:00"),
        ("month", "", "2025-07-31T22:00:00+00:00", "2025-07-01T00:00:00+00:00",
         "2025-08-01T00:00:00+00:00"),
        ("week", "", AT, "2025-06-08T00:00:00+00:00", "2025-06-15T00:00:00+00:00"),
    ],
)  # fmt: skip
def test_a_calendar_cap(each, zone, at, first, end):
    """In the local day, week or month of the new contact are N contacts at most."""
    rule = {"at_most": 1, "each": each, "week_starts": "sunday" if each == "week" else "monday"}
    edges = [instant(first) - 1, instant(first), instant(end) - 1, instant(end)]
    found = [is_open(rule, contacts=[sent(t)], at=at, zone=zone) for t in edges]
    assert found == [True, False, False, True]


def test_a_group_is_counted_by_its_own_name():
    """The name is the history's own; without one, that of the catalogue's offer."""
    daily = {"at_most": 1, "within": "1d"}

    def closed(rule, **event):
        return ALL - singles(may(daily | rule, contacts=[Event(NOW, **event)]))

    data, sms = {DATA_SMS, DATA_APP}, {DATA_SMS, VOICE, NOTICE}
    assert closed({"per": "channel"}, offer="gone", channel="sms") == sms
    assert closed({"per": "channel", "only": ["app"]}, offer="gone", channel="sms") == set()
    assert closed({"per": "category"}, offer="data", channel="x") == data
    assert closed({"per": "category"}, offer="data", channel="x", category="talk") == {VOICE}
    assert closed({"per": "team"}, offer="gone", channel="x", team="blue") == {VOICE}
    assert closed({"per": "team"}, offer="notice", channel="sms") == set()
    assert closed({"per": "offer"}, offer="data", channel="x") == data
    listed = {"per": "offers", "only": ["data", "notice"]}
    assert closed(listed, offer="notice", channel="x") == {*data, NOTICE}


def test_exempt_offers_are_neither_limited_nor_counted():
    """The history counts them all the same."""
    rule = {"at_most": 1, "within": "1d", "exempt": ["service"]}
    assert (VOICE, NOTICE) in may(rule) and (DATA_SMS, VOICE) not in may(rule)
    assert singles(may(rule, contacts=[sent(NOW, "notice")])) == {NOTICE}


def test_caps_with_different_exemptions_leave_what_none_of_them_counts():
    """Together the caps have as many actions as there are, one of them twice and one never."""
    rules = [
        {"at_most": 0, "per": "channel", "only": ["sms"]},
        {"at_most": 0, "per": "channel", "exempt": ["service"]},
    ]
    offers = {
        "data": {"category": "boost", "value": 4, "channels": ["sms", "app"]},
        "notice": {
            "category": "care", "purpose": "service", "value": 1, "channels": ["sms", "app"],
        },
    }  # fmt: skip
    job = mapping_of(rules, AT, catalogue={"channels": {"sms": {}, "app": {}}, "offers": offers})
    person = Person("", ROW, [], [])
    _, [found] = solved_for(parsed(job), profiled([person]), told(job, [person]))
    acts = brute.actions(job)
    assert {tuple(acts[a] for a in bundle) for bundle in found} == {(), (("notice", "app", 0),)}


def test_exactly_and_at_least():
    """Offers in (t - D, t] count towards it; booked ones do not."""
    assert sizes(may({"exactly": 2})) == {2} and sizes(may({"at_least": 2})) == {0, 2, 3}
    two, many = {"exactly": 2, "within": "1d"}, {"at_least": 3, "within": "1d"}
    for time, counts in [(NOW - DAY, 0), (NOW - DAY + SECOND, 1), (NOW, 1), (NOW + SECOND, 0)]:
        assert sizes(may(two, contacts=[sent(time)])) == {2 - counts}
        assert sizes(may(many, contacts=[sent(time)])) == {0, *range(3 - counts, 4)}
    assert sizes(may(two, contacts=[sent(NOW)] * 2)) == {0}
    assert sizes(may(many, contacts=[sent(NOW)] * 4)) == {0, 1, 2, 3}
    ever = {"exactly": 2, "within": "ever"}
    assert sizes(may(ever, contacts=[sent(0), sent(NOW + DAY)])) == {1}
    assert sizes(may({"exactly": 4})) == {0}  # there are three offers: exempt


def test_suppress_closes_for_whom_a_condition_holds():
    """Nothing of the group, but what is exempt."""
    rule = {"suppress": "churned", "exempt": ["service"]}
    assert singles(may(rule)) == ALL
    assert singles(may(rule, row={"churned": True})) == {NOTICE}


@pytest.mark.parametrize(
    ("event", "ago", "expected"),
    [
        (7 * DAY, 0, True), (7 * DAY - SECOND, 0, False),  # from t - C on it is over
        (DAY, 30 * DAY, True), (DAY, 30 * DAY - SECOND, False),  # (e - W, e]
    ],
)  # fmt: skip
def test_a_cool_down_begins_with_the_last_of_so_many_outcomes(event, ago, expected):
    """There is an e with t < e + C, and in (e - W, e] are K outcomes at least."""
    rule = {"cool_down": "7d", "times": 2, "within": "30d", "outcome": ["no"]}
    late = NOW - event
    outcomes = [sent(late, outcome="no"), sent(late - ago, "voice", outcome="no")]
    assert is_open(rule, outcomes=outcomes) == expected
    outcomes[1] = sent(late - ago, outcome="late")  # does not count
    assert is_open(rule, outcomes=outcomes)


def test_a_cool_down_after_any_accept():
    """Without outcomes, accepts count: where the condition of accepts holds."""
    rule, yes = {"cool_down": "1d", "per": "offer"}, "outcome = 'yes'"
    outcomes = [sent(NOW, outcome="yes"), sent(NOW, "voice", outcome="no")]
    assert singles(may(rule, outcomes=outcomes, accepted=yes)) == {VOICE, NOTICE}
    assert singles(may(rule, outcomes=outcomes)) == {NOTICE}


@pytest.mark.parametrize(
    ("clock", "expected"),
    [("20:59:59", True), ("21:00:00", False), ("00:00:00", False), ("07:59:59", False),
     ("08:00:00", True)],
)  # fmt: skip
def test_quiet_hours(clock, expected):
    """The wall clock is in [a, b), over midnight where a > b."""
    here = {"at": f"2025-06-10T{clock}+02:00", "zone": "Europe/Berlin"}
    assert is_open({"quiet": "21:00-08:00"}, **here) == expected
    assert is_open({"quiet": "08:00-21:00"}, **here) != expected


def test_blackouts_are_local_dates():
    """23:30 in London is the next day in Berlin."""
    rule, at = {"blackout": ["2024-02-29"]}, "2024-02-28T23:30:00+00:00"
    assert is_open(rule, at=at, zone="Europe/London")
    assert not is_open(rule, at=at, zone="Europe/Berlin")
    assert is_open(rule, at="2024-02-29T23:00:00+00:00", zone="Europe/Berlin")


def test_exclusive_offers():
    """One of them in the run; none while another has a contact less than D away."""
    rule, pair = {"exclusive": ["data", "voice"]}, (DATA_SMS, VOICE)
    assert pair not in may(rule) and (DATA_SMS, NOTICE) in may(rule)
    apart = rule | {"within": "1d"}
    for time, expected in [(NOW - DAY, True), (NOW - DAY + SECOND, False), (NOW, False),
                           (NOW + DAY - SECOND, False), (NOW + DAY, True)]:  # fmt: skip
        assert is_open(apart, contacts=[sent(time, "voice")]) == expected
    assert is_open(apart, contacts=[sent(NOW)]), "an offer does not exclude itself"
    assert not is_open(rule | {"within": "ever"}, contacts=[sent(0, "voice")])


def test_an_offer_that_requires_another():
    """In this run: the history does not help."""
    found = may({"offer": "voice", "requires": ["data"]}, contacts=[sent(NOW)])
    assert singles(found) == ALL - {VOICE} and (DATA_APP, VOICE) in found


def test_an_offer_not_after_another():
    """Not less than D after it; nor is the other made less than D before a booked one."""
    rule = {"offer": "voice", "not_after": ["data"], "within": "1d"}
    assert (DATA_SMS, VOICE) in may(rule)
    for time, expected in [(NOW - DAY, True), (NOW - DAY + SECOND, False), (NOW - SECOND, False),
                           (NOW, True), (NOW + SECOND, True)]:  # fmt: skip
        assert is_open(rule, action=VOICE, contacts=[sent(time)]) == expected
        booked = 2 * NOW - time
        assert is_open(rule, action=DATA_APP, contacts=[sent(booked, "voice")]) == expected
    ever = rule | {"within": "ever"}
    assert not is_open(ever, action=VOICE, contacts=[sent(0)])
    assert not is_open(ever, contacts=[sent(NOW + 999 * DAY, "voice")])


def test_nothing_was_before_the_epoch_either():
    """An outcome that never was is no early one."""
    rule, at = {"offer": "voice", "only_after": ["data"]}, "1965-06-10T12:00:00+00:00"
    early = [sent(instant(at) - 999 * DAY)]
    assert not is_open(rule, action=VOICE, at=at)
    assert is_open(rule, action=VOICE, at=at, outcomes=early)


def test_an_offer_only_after_an_outcome():
    """An outcome of one of the others, later than t - D."""
    rule = {"offer": "voice", "only_after": ["data"], "outcome": ["yes"]}
    for time, within, expected in [
        (NOW - DAY, "1d", False), (NOW - DAY + SECOND, "1d", True), (NOW, "1d", True),
        (0, "ever", True),
    ]:  # fmt: skip
        outcomes = [sent(time, outcome="yes")]
        assert is_open(rule | {"within": within}, action=VOICE, outcomes=outcomes) == expected
    assert not is_open(rule, action=VOICE, outcomes=[sent(NOW, outcome="no")])
    assert not is_open(rule, action=VOICE, outcomes=[sent(NOW, "notice", outcome="yes")])
    assert singles(may(rule)) == ALL - {VOICE}


def test_a_package_is_one_contact():
    """On one channel and at one time; for caps in all and per channel, but not on offers."""
    rules = {"package": ["data", "voice"]}, {"at_most": 2, "within": "1d", "per": "channel"}
    assert (DATA_SMS, VOICE, NOTICE) in may(*rules)
    both = [sent(NOW - HOUR), sent(NOW - HOUR, "voice")]
    assert (DATA_SMS, VOICE) in may(*rules, contacts=both)
    later = [both[0], sent(NOW - HOUR + SECOND, "voice")]
    assert singles(may(*rules, contacts=later)) == {DATA_APP}
    offers = {"at_most": 1, "per": "offers", "only": ["data", "voice"]}
    assert (DATA_SMS, VOICE) not in may(rules[0], offers)
    assert (DATA_SMS, VOICE) in may(rules[0], {"at_most": 1})


@pytest.mark.parametrize(
    ("start", "clock", "first"),
    [
        ("2025-06-10T12:00:00+02:00", "12:00", "2025-06-10T12:00:00+02:00"),
        ("2025-06-10T12:00:01+02:00", "12:00", "2025-06-11T12:00:00+02:00"),
        ("2025-07-31T23:00:01+02:00", "00:30", "2025-08-01T00:30:00+02:00"),
        ("2025-03-30T01:00:00+01:00", "02:30", "2025-03-30T03:00:00+02:00"),  # skipped
        ("2025-10-26T00:00:00+02:00", "02:30", "2025-10-26T02:30:00+02:00"),  # the first of two
        ("2025-10-26T02:30:01+02:00", "02:30", "2025-10-27T02:30:00+01:00"),  # once a day
    ],
)
def test_when_contacts_go_out(start, clock, first):
    """The first instant from the start on at which a local day comes to the time of day."""
    horizon = {"start": start, "at": clock}
    case = {"at": "2025-03-01T00:00:00+00:00", "zone": "Europe/Berlin", "horizon": horizon}
    rule, time = {"spacing": "1s"}, instant(first)
    found = [is_open(rule, contacts=[sent(time + d)], **case) for d in (-1, 0, 1)]
    assert found == [True, False, True]


def test_subscribers_without_a_zone_have_that_of_the_job():
    """At 22:00 UTC it is midnight in Berlin."""
    case = {"at": "2025-06-10T22:00:00+00:00", "time_zone": "Europe/Berlin"}
    assert not is_open({"quiet": "00:00-01:00"}, **case)
    assert is_open({"quiet": "00:00-01:00"}, zone="UTC", **case)
