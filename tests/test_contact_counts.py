"""Contacts by day and in the window of each cap, counted one subscriber and contact at a time."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from engine import contact_counts, zones
from engine.actions import actions
from engine.history import History
from engine.policy_groups import packages
from engine.policy_questions import Asked
from engine.standing import standings
from tests.test_policy_prices import AS_OF, DAY, drawn

CATEGORY = {"a": "data", "b": "voice", "c": "data", "d": "other"}


def planned(job, policy, group, bundle):
    """Return how many contacts of a bundle, exempt ones too, a policy counts for a group."""
    inside = [
        act for act in bundle
        if group == "all" or {"channel": act.channel, "category": CATEGORY[act.offer]}.get(
            policy.per, act.offer) in group.split(" or ")
    ]  # fmt: skip
    if policy.per not in {"all", "channel"}:
        return len(inside)
    packed = {offer: n for n, offers in enumerate(packages(job)) for offer in offers}
    return len({(packed.get(act.offer, act.offer), act.channel) for act in inside})


@pytest.mark.parametrize("seed", range(30))
def test_contacts_are_counted_against_every_cap(seed):
    job, (features, _, history), *_ = drawn(seed)
    acts, rng = actions(job.catalogue), np.random.default_rng(seed)
    chosen = np.sort(rng.integers(-1, len(acts), (2, len(features))), axis=0)[::-1]
    chosen[1, chosen[1] == chosen[0]] = -1
    found = contact_counts.contacts(Asked.of(job, features, history), history, chosen)
    before, after = {}, {}
    for s, key in enumerate(features["subscriber"]):
        own = History(*(f[f["subscriber"] == key] for f in vars(history).values()))
        bundle = [acts[a] for a in chosen[:, s] if a >= 0]
        for told in standings(job, features.iloc[[s]].reset_index(drop=True), own):
            if told.used is None:
                continue
            (policy,) = [p for p in job.policies if p.name == told.policy]
            more = told.used + planned(job, policy, told.group, bundle)
            before.setdefault((told.policy, told.group), Counter())[told.used] += 1
            after.setdefault((told.policy, told.group), Counter())[more] += 1
    assert {(c.policy, c.group): c.before for c in found.counted} == before
    assert {(c.policy, c.group): c.after for c in found.counted} == after


def test_contacts_are_told_by_local_date_without_gaps():
    job, (features, _, _), *_ = drawn(0)
    job = job.model_copy(update={"time_zone": "Asia/Tokyo", "policies": []})
    first = AS_OF - contact_counts.SOME_DAYS * DAY - 9 * 3_600  # a date begins there in Tokyo
    times = [first - 1, first, first + DAY - 1, AS_OF - 1, AS_OF + DAY]
    contacts = pd.DataFrame({"subscriber": features["subscriber"][:5], "time": times,
                             "offer": "a", "channel": "sms"})  # fmt: skip
    history = History(contacts)
    chosen = np.zeros((1, len(features)), np.int16)
    found = contact_counts.contacts(Asked.of(job, features, history), history, chosen)
    tokyo = zones.zone("Asia/Tokyo")

    def day(instant):
        return datetime.fromtimestamp(instant, UTC).astimezone(tokyo).date().isoformat()

    assert found.past == dict(Counter(day(t) for t in times[1:]))
    assert found.planned == {day(AS_OF): len(features)}
    days = contact_counts.shown(found)["days"]
    dates = [datetime.fromisoformat(row["day"]) for row in days]
    assert all(b - a == timedelta(days=1) for a, b in zip(dates, dates[1:], strict=False))
    assert sum(row["past"] for row in days) == 4
    assert contact_counts.shown(contact_counts.Contacts({}, {}, ())) == {"days": [], "caps": []}
