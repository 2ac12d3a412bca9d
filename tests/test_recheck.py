"""The re-check against its plain definition, and against the rooms of the certificate."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import recheck
from engine.certificate_policies import rooms
from engine.certificate_rules import terms
from engine.limits import question
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
contact = st.tuples(
    st.sampled_from([1, 2]),
    st.sampled_from([-48, -24, -1, 0, 1, 23, 24, 47]).map(lambda hour: NOW + hour * HOUR),
    st.sampled_from(["data", "voice", "gone"]),
    st.sampled_from(["sms", "email"]),
)


def frame(rows):
    table = pd.DataFrame(rows, columns=["subscriber", "time", "offer", "channel"])
    return table.astype({"time": "int64", "offer": "str", "channel": "str"})


def definition(job, planned, contacts):
    """Return who breaks what: each window that ends at a contact is counted by itself."""
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
            for (_, end, _, _), _ in rows:
                window = [(r, new) for r, new in rows if end - seconds(policy.within) < r[1] <= end]
                kept = set()
                for i, ((_, time, offer, channel), _) in enumerate(window):
                    is_packed = by_contact and offer in packages
                    kept.add((time, channel, packages[offer]) if is_packed else i)
                if len(kept) > cap and any(new for _, new in window):
                    found.add((who, policy.name))
    return found


@given(
    st.lists(contact.filter(lambda row: row[2] != "gone"), max_size=3),
    st.lists(contact, max_size=5),
    st.sampled_from(POLICIES),
    st.booleans(),
)
def test_the_definition(planned, contacts, policy, has_package):
    policies = f"{policy}, {PACKAGE}" if has_package else policy
    job = job_of("ledger", policies=policies)
    found = recheck.broken(job, frame(planned), frame(contacts), frame([]))
    assert {(b.subscriber, b.policy) for b in found} == definition(job, planned, contacts)
    reached = recheck.reach(job)
    assert all(seconds(p.within) <= reached for p in job.policies if p.within)


@settings(max_examples=25)  # of four plans each
@given(st.lists(contact, max_size=6), st.sampled_from(POLICIES[:6]))
def test_one_plan_at_the_instant_of_the_job_as_its_certificate_counts_it(contacts, policy):
    job = job_of("ledger", policies=policy)
    history = frame([row for row in contacts if row[1] <= NOW])
    keys, own = pd.Index([1, 2]), terms(job, question(job))
    for offer, channel in product(("data", "voice"), ("sms", "email")):
        action = [a for a in range(4) if (own.offer[a], own.channel[a]) ==
                  (["data", "voice"].index(offer), ["sms", "email"].index(channel))][0]  # fmt: skip
        left = np.min([r.left for r in rooms(job, own, keys, history) if r.counted[action]], axis=0)
        plan = frame([(who, NOW, offer, channel) for who in (1, 2)])
        found = recheck.broken(job, plan, history, frame([]))
        assert {b.subscriber for b in found} == {who for who in (1, 2) if left[who - 1] == 0}


@pytest.mark.parametrize("policy", POLICIES)
def test_nothing_planned_breaks_nothing(policy):
    job = job_of("ledger", policies=policy)
    history = frame([(1, NOW - i, "data", "sms") for i in range(5)])
    assert recheck.broken(job, frame([]), history, frame([])) == []


def test_what_is_told_names_the_policy_the_window_and_the_count():
    job = job_of("ledger", policies=POLICIES[2])
    history = frame([("a", NOW + HOUR, "data", "sms"), ("b", NOW - 49 * HOUR, "data", "sms")])
    plan = frame([("a", NOW, "voice", "sms"), ("b", NOW, "voice", "sms")])
    (told,) = recheck.broken(job, plan, history, frame([]))
    assert (told.subscriber, told.policy) == ("a", "by_channel")
    assert told.text == (
        "policy by_channel sms allows 1 within 2d, would be 2 by 2026-10-01 01:00:00 UTC"
    )
