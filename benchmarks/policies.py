"""How fast contact policies are evaluated against a ledger of 90 days.

``python -m benchmarks.policies --subscribers 1000000 --contacts 20``: subscribers of the quickstart
catalogue, each with so many made-up contacts in the last 90 days and a fifth of them answered, held
in memory as stage ``ingest`` leaves them; the policies below, each kind at least once, in three
time zones. Timed is what a partition's policies leave (``engine.policies.left``): from frames to
caps and closed pairs. ``streaming_reads`` is the time over one streaming read of the history's
columns; ``policy_subscribers`` is policies times subscribers a second. The answer is first compared
with that of the certificate, which shares no code with it. With ``--households`` there are policies
over households too, of two members on average. The last line is JSON.
"""

import argparse
import json
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import pandas as pd

from benchmarks import machine
from engine import policies, tables
from engine.actions import actions_of
from engine.certificate_closures import closures
from engine.certificate_history import Past
from engine.certificate_policies import rooms
from engine.certificate_rules import terms
from engine.history import History
from engine.household_rules import MOST_MEMBERS
from engine.limits import question
from engine.settings import load

JOB = Path(__file__).parents[1] / "configs" / "quickstart.yaml"
ZONES = ("Atlantic/Azores", "Europe/Lisbon", "Europe/Madrid")
ANSWERS = ("accepted", "rejected", "ignored", "complaint")
DAY = 86_400
POLICIES = [
    "{name: two_offers, at_most: 2}",
    "{name: four_in_30_days, at_most: 4, within: 30d}",
    "{name: sms_weekly, at_most: 1, per: channel, only: [sms], within: 7d}",
    "{name: call_quarterly, at_most: 1, per: channel, only: [call], within: 90d}",
    "{name: category_weekly, at_most: 2, per: category, within: 7d}",
    "{name: same_offer, at_most: 1, per: offer, within: 14d}",
    "{name: monthly, at_most: 5, each: month}",
    "{name: weekly_push, at_most: 3, each: week, per: channel, only: [push], week_starts: sunday}",
    "{name: apart, spacing: 2d, exempt: [service]}",
    "{name: no_means_no, cool_down: 30d, outcome: [rejected], times: 2, within: 60d, per: offer}",
    "{name: complaint, cool_down: 14d, outcome: [complaint], exempt: [service]}",
    "{name: upsell_once, exclusive: [plan_upgrade, family_plan], within: 60d}",
    "{name: no_gift_after, offer: plan_upgrade, not_after: [outage_apology], within: 7d}",
    '{name: night, quiet: "21:00-08:00", exempt: [service]}',
    "{name: holidays, blackout: [2026-12-25, 2027-01-01]}",
    "{name: friction, suppress: friction, exempt: [service]}",
]
OVER_HOUSEHOLDS = [
    "{name: home_month, at_most: 8, within: 30d, over: household}",
    "{name: home_sms, at_most: 2, per: channel, only: [sms], within: 7d, over: household}",
    "{name: home_upsell, exclusive: [plan_upgrade, family_plan], within: 60d, over: household}",
    "{name: home_complaint, cool_down: 14d, outcome: [complaint], over: household}",
]


def job_of(*, households=False):
    """Return the quickstart job with the policies above."""
    rules = [*POLICIES, *(OVER_HOUSEHOLDS if households else [])]
    return load(JOB, [
        f"policies=[{', '.join(rules)}]", "catalogue.offers.outage_apology.purpose=service",
        "inputs.subscribers.household=home",
        "inputs.subscribers.time_zone=zone", "horizon.at='10:00'",
        "inputs.outcomes.categories=[offer, channel, outcome]",
    ])  # fmt: skip


def made(job, subscribers, contacts, seed=7):
    """Return the subscribers and their history, in order."""
    rng = np.random.default_rng(seed)
    now = int(job.as_of.timestamp())
    keys = np.arange(subscribers) * 3 + 1
    home = rng.integers(0, max(1, subscribers // 2), subscribers)
    place = pd.Series(home).groupby(home).cumcount()  # the ninth member begins another household
    home += subscribers * (place // MOST_MEMBERS).to_numpy()
    features = pd.DataFrame({
        "subscriber": keys,
        "home": pd.Series(home).astype("str"),
        "zone": pd.Series(np.array(ZONES)[home % len(ZONES)], dtype="str"),
        "friction": rng.random(subscribers) < 0.03,
    })  # fmt: skip

    def events(each, columns):
        count = rng.poisson(each, subscribers)
        owner = np.repeat(keys, count)
        time = now - rng.integers(0, 90 * DAY, len(owner))
        order = np.lexsort([time, owner])
        texts = {
            name: pd.Categorical.from_codes(rng.integers(0, len(texts), len(owner)), list(texts))
            for name, texts in columns.items()
        }
        return pd.DataFrame({"subscriber": owner, "time": time[order], **texts})

    said = {"offer": job.catalogue.offers, "channel": job.catalogue.channels}
    history = History(events(contacts, said), events(contacts / 5, {**said, "outcome": ANSWERS}))
    return features, history


def agrees(job, features, history):
    """Return whether solver and certificate leave the same caps and close the same pairs."""
    left = policies.left(job, features, history)
    shut = left.blocked(len(actions_of(job)))
    past = Past.of(job, features, history)
    other = np.zeros_like(shut)
    for closure in closures(past, features):
        other[np.ix_(closure.pairs, closure.days > 0)] = True
    for room in rooms(job, terms(job, question(job)), past):
        other[np.ix_(room.counted, past.left(room.span)[:, 0] == 0)] = True
    return bool((shut == other).all())


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--subscribers", type=int, default=1_000_000)
    parser.add_argument("--contacts", type=float, default=20.0, help="of a subscriber, on average")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--households", action="store_true", help="policies over households too")
    asked = parser.parse_args()
    job = job_of(households=asked.households)
    features, history = made(job, asked.subscribers, asked.contacts)
    some = features.iloc[: min(50_000, len(features))]
    own = History(*(f[f["subscriber"].isin(some["subscriber"])].reset_index(drop=True)
                    for f in (history.contacts, history.outcomes)))  # fmt: skip
    assert agrees(job, some, own), "solver and certificate read the policies differently"
    read = [
        tables.array(f[c].cat.codes if str(f[c].dtype) == "category" else f[c])
        for f in (history.contacts, history.outcomes)
        for c in f.columns
    ]
    one_read = machine.read_seconds(read, machine.cores())
    seconds = []
    for _ in range(asked.repeats + 1):  # the first turn compiles
        begin = perf_counter()
        policies.left(job, features, history)
        seconds.append(perf_counter() - begin)
    took = median(seconds[1:])
    figures = {
        "subscribers": asked.subscribers,
        "contacts": len(history.contacts),
        "outcomes": len(history.outcomes),
        "policies": len(job.policies),
        "seconds": round(took, 4),
        "subscribers_per_second": round(asked.subscribers / took),
        "policy_subscribers_per_second": round(len(job.policies) * asked.subscribers / took),
        "streaming_reads": round(took / one_read, 1),
        "cores": machine.cores(),
    }
    for name, value in figures.items():
        print(f"{name:30} {value:,}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
