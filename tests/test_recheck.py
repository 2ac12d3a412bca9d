"""The re-check against its plain definition."""

from itertools import product

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import recheck
from engine.settings.base import seconds
from tests.ledgers import DAY, job_of

NOW = int(DAY.timestamp())
HOUR = 3_600
CATEGORY = {"data": "boost", "voice": "talk", "gone": None}
POLICIES = [
    "{name: all_, at_most: 1, within: 1d}",
    "{name: all_, at_most: 2, within: 7d}",
    "{name: by_channel, at_most: 1, per: channel, within: 2d}",
    "{name: sms, at_most: 1, per: channel, only: [sms], within: 1d}",
    "{name: kind, at_most: 1, per: category, within: 1d}",
    "{name: group, at_most: 1, per: offers, only: [data, voice], within: 1d}",
    "{name: one, exactly: 1, within: 1d}",
    "{name: now, at_most: 0}",
]
PACKAGE = "{name: pack, package: [data, voice]}"
HOURS = [-48, -24, -1, 0, 1, 23, 24, 47]


def contacts_at(hours):
    return st.tuples(
        st.sampled_from([1, 2]),
        st.sampled_from(hours).map(lambda hour: NOW + hour * HOUR),
        st.sampled_from(["data", "voice", "gone"]),
        st.sampled_from(["sms", "email"]),
    )


def frame(rows):
    table = pd.DataFrame(rows, columns=["subscriber", "time", "offer", "channel"])
    table = table.astype({"time": "int64", "offer": "str", "channel": "str"})
    return table.assign(time_zone="UTC")


NO_OUTCOMES = frame([]).assign(outcome=pd.Series(dtype="str"))


def definition(job, planned, contacts):
    """Return who breaks what: each window that ends at a contact is counted by itself.

    A package is one contact in the history, and one in the plan.
    """
    found = set()
    packages = {o: i for i, p in enumerate(job.policies) for o in p.package}
    for policy in job.policies:
        cap = policy.exactly if policy.at_most is None else policy.at_most
        if cap is None or policy.within is None:
            continue
        by_contact = policy.at_most is not None and policy.per in ("all", "channel")
        places = {"channel": ["sms", "email"], "category": ["boost", "talk"]}
        for member, who in product(places.get(policy.per, [None]), (1, 2)):
            if policy.only and policy.per != "offers" and member not in policy.only:
                continue

            def counts(row, policy=policy, member=member, who=who):
                subscriber, _, offer, channel = row
                if policy.per == "offers" and offer not in policy.only:
                    return False
                at = {"channel": channel, "category": CATEGORY[offer]}.get(policy.per)
                return subscriber == who and at == member

            rows = [(row, is_new) for rows, is_new in ((planned, True), (contacts, False))
                    for row in rows if counts(row)]  # fmt: skip
            ends = {NOW} | {r[1] for r, _ in rows if policy.exactly is None}
            for end in ends:
                window = [(r, new) for r, new in rows if end - seconds(policy.within) < r[1] <= end]
                kept = set()
                for i, ((_, time, offer, channel), new) in enumerate(window):
                    is_packed = by_contact and offer in packages
                    kept.add((time, channel, packages[offer], new) if is_packed else i)
                if len(kept) > cap and any(new for _, new in window):
                    found.add((who, policy.name))
    return found


@given(
    st.lists(
        contacts_at([0]).filter(lambda row: row[2] != "gone"),
        max_size=3,
        unique_by=lambda row: (row[0], row[2]),  # an offer goes out once
    ),
    st.lists(contacts_at(HOURS), max_size=5),
    st.sampled_from(POLICIES),
    st.booleans(),
)
def test_the_definition(planned, contacts, policy, has_package):
    policies = f"{policy}, {PACKAGE}" if has_package else policy
    job = job_of("ledger", policies=policies)
    contacts = [row for row in contacts if row[0] in {row[0] for row in planned}]
    found = recheck.broken(job, frame(planned), frame(contacts), NO_OUTCOMES)
    assert {(b.subscriber, b.policy) for b in found} == definition(job, planned, contacts)
    reached = recheck.reach(job)
    assert all(seconds(p.within) <= reached for p in job.policies if p.within)


@pytest.mark.parametrize("policy", POLICIES)
def test_nothing_planned_breaks_nothing(policy):
    job = job_of("ledger", policies=policy)
    history = frame([(1, NOW - i, "data", "sms") for i in range(5)])
    assert recheck.broken(job, frame([]), history, NO_OUTCOMES) == []


def test_what_is_told_names_the_policy_what_it_leaves_and_the_count():
    job = job_of("ledger", policies=POLICIES[2])
    history = frame([("a", NOW + HOUR, "data", "sms"), ("b", NOW - 49 * HOUR, "data", "sms")])
    plan = frame([("a", NOW, "voice", "sms"), ("b", NOW, "voice", "sms")])
    (told,) = recheck.broken(job, plan, history, NO_OUTCOMES)
    assert (told.subscriber, told.policy) == ("a", "by_channel")
    assert told.text == "policy by_channel sms allows 1 within 2d and leaves 0, planned 1"


def test_a_plan_of_several_days_is_asked_day_by_day():
    """Two in two days: of the plan's three, one is booked in between by somebody else."""
    policy = "{name: two, at_most: 2, within: 2d}"
    job = job_of("ledger", policies=policy)
    job = job.model_copy(update={"horizon": job.horizon.model_copy(update={"days": 3})})
    plan = frame([("a", NOW, "voice", "sms"), ("a", NOW + 48 * HOUR, "data", "sms")])
    plan = plan.assign(day=[1, 3])
    assert recheck.broken(job, plan, frame([])[:0], NO_OUTCOMES) == []
    early = frame([("a", NOW + 24 * HOUR, "gone", "sms")])
    assert recheck.broken(job, plan, early, NO_OUTCOMES) == []
    both = frame([("a", NOW + 24 * HOUR, "gone", "sms"), ("a", NOW + 25 * HOUR, "gone", "sms")])
    (told,) = recheck.broken(job, plan, both, NO_OUTCOMES)
    assert told.text == "policy two allows 2 within 2d and leaves 0, planned 1 on day 1"


@pytest.mark.parametrize(
    ("policy", "asks"),
    [
        ("{name: pair, at_least: 2, within: 1d}", "none or at least"),
        ("{name: pair, exactly: 2, within: 1d}", "exactly"),
    ],
)
def test_a_minimum_is_missed_where_the_history_has_fewer_than_before(policy, asks):
    job, plan = job_of("ledger", policies=policy), frame([("a", NOW, "voice", "sms")])
    there = frame([("a", NOW - HOUR, "data", "sms")])
    assert recheck.broken(job, plan, there, NO_OUTCOMES) == []
    late = there.assign(time=NOW - 24 * HOUR)
    for gone in (there[:0], late):
        (told,) = recheck.broken(job, plan, gone, NO_OUTCOMES)
        assert (told.subscriber, told.policy) == ("a", "pair")
        assert told.text == f"policy pair asks for {asks} 2, planned 1"


@pytest.mark.parametrize(
    ("policy", "is_closed_by_one", "times"),
    [
        ("{name: calm, cool_down: 7d, outcome: [rejected]}", True, 1),
        ("{name: calm, cool_down: 7d, outcome: [rejected], times: 2, within: 1d}", True, 2),
        ("{name: after, offer: voice, only_after: [data], outcome: [rejected]}", False, 1),
    ],
)
def test_outcomes_count_up_to_the_instant_of_the_contact(policy, is_closed_by_one, times):
    job, plan = job_of("ledger", policies=policy), frame([("a", NOW, "voice", "sms")])
    for latest in (NOW - HOUR, NOW, NOW + 1, NOW + HOUR):
        rows = [("a", latest - i, "data", "sms") for i in range(times)]
        told = recheck.broken(job, plan, frame([]), frame(rows).assign(outcome="rejected"))
        assert bool(told) == ((latest <= NOW) == is_closed_by_one)


HOMES = pd.DataFrame({"subscriber": ["a", "b", "c", "d"], "household": ["x", "x", "x", "y"]})
SMS = [("a", NOW, "voice", "sms"), ("c", NOW, "data", "sms")]


@pytest.mark.parametrize(
    ("policy", "contacts", "told"),
    [
        ("{name: p, at_most: 3, within: 1d, over: household}", [("b", NOW + HOUR, "voice", "sms")],
         []),
        ("{name: p, at_most: 2, within: 1d, over: household}", [("b", NOW + HOUR, "voice", "sms")],
         [("a", "policy p allows 2 within 1d and leaves 1 to the household, planned 2")]),
        ("{name: p, at_most: 2, within: 1d, over: household}",
         [("b", NOW + 24 * HOUR, "gone", "sms")], []),
        ("{name: p, at_most: 1, per: channel, within: 1d, over: household}",
         [("b", NOW, "voice", "email")],
         [("a", "policy p sms allows 1 within 1d and leaves 1 to the household, planned 2")]),
        ("{name: p, at_most: 1, per: offer, within: 1d, over: household}",
         [("b", NOW, "data", "email")],
         [("c", "policy p data allows 1 within 1d and leaves 0 to the household, planned 1")]),
        ("{name: p, at_most: 1, per: offer, within: 1d}", [("a", NOW, "data", "email")], []),
        ("{name: p, exclusive: [data, voice], within: 1d, over: household}",
         [("b", NOW - HOUR, "voice", "email")], [("c", "policy p closes data on sms")]),
        ("{name: p, exclusive: [data, voice], over: household}",
         [("b", NOW - HOUR, "voice", "email")], []),
        ("{name: p, suppress: churned, over: household}", [("a", NOW, "voice", "sms")], []),
    ],
)  # fmt: skip
def test_the_history_of_all_members_counts(policy, contacts, told):
    job = job_of("ledger", policies=policy)
    homes = HOMES if recheck.asks_households(job) else None
    found = recheck.broken(job, frame(SMS), frame(contacts), NO_OUTCOMES, homes)
    assert [(b.subscriber, b.text) for b in found] == told


def test_outcomes_of_all_members_count():
    job = job_of("ledger", policies="{name: calm, cool_down: 1d, times: 2, within: 7d, "
                 "outcome: [rejected], over: household}")  # fmt: skip
    rows = [("b", NOW - HOUR, "data", "sms"), ("a", NOW - 30 * HOUR, "data", "sms")]
    said = frame(rows).assign(outcome="rejected")
    plan = frame([*SMS, ("d", NOW, "voice", "sms")])
    found = recheck.broken(job, plan, frame([]), said, HOMES)
    assert [(b.subscriber, b.policy) for b in found] == [("a", "calm"), ("c", "calm")]
    assert recheck.broken(job, plan, frame([]), said.iloc[:1], HOMES) == []


SHARED = [
    "{name: p, at_most: 1, within: 1d}",
    "{name: p, at_most: 2, within: 7d}",
    "{name: p, spacing: 2d, per: channel}",
    "{name: p, at_most: 1, per: category, within: 1d}",
    "{name: p, at_most: 2, each: day}",
]


@given(
    st.lists(contacts_at([0]).filter(lambda row: row[2] != "gone"), max_size=4,
             unique_by=lambda row: (row[0], row[2])),
    st.lists(contacts_at(HOURS), max_size=5), st.sampled_from(SHARED), st.booleans(),
)  # fmt: skip
def test_a_household_is_as_one_subscriber_with_the_contacts_of_all(
    planned, contacts, policy, apart
):
    """So it is where no package makes a difference, and members get different offers."""
    planned = list({row[2]: row for row in planned}.values())
    homes = pd.DataFrame({"subscriber": [1, 2, 3], "household": [6, 7 if apart else 6, 8]})
    one = {1: 1, 2: 2 if apart else 1}
    home = dict(zip(homes["subscriber"], homes["household"], strict=True))

    def merged(rows):
        return frame([(one[row[0]], *row[1:]) for row in rows])

    known = {home[row[0]] for row in planned}
    contacts = [row for row in contacts if home[row[0]] in known]
    own = homes[homes["household"].isin(known)]
    job = job_of("ledger", policies=policy.replace("}", ", over: household}"))
    found = recheck.broken(job, frame(planned), frame(contacts), NO_OUTCOMES, own)
    plain = job_of("ledger", policies=policy)
    expected = recheck.broken(plain, merged(planned), merged(contacts), NO_OUTCOMES)
    assert {home[b.subscriber] for b in found} == {home[b.subscriber] for b in expected}
    texts = {b.text.replace(" to the household", "") for b in found}
    assert texts >= {b.text for b in expected}  # of a subscriber one is told
