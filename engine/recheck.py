"""Planned contacts against the contact history as it is now: which policies would they break?

What policies count is read as the certificate reads it. Asked again are those that look at a
history; what a run says of its own contacts, and of columns and hours, its certificate has said.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from engine.certificate_closures import closures
from engine.certificate_contacts import Contacts
from engine.certificate_history import Past
from engine.certificate_policies import leasts, relations, rooms
from engine.certificate_rules import terms
from engine.certificate_together import on_days, over_caps
from engine.history import History
from engine.limits import question
from engine.settings import Job
from engine.settings.base import seconds
from engine.settings.inputs import LEDGER
from engine.settings.policies import EVER, ContactPolicy

ZONE, HOUSEHOLD = "time_zone", "household"
FAR = 3_200_000_000  # s, a century: further back than any ledger
PERIOD = {"day": 2, "week": 8, "month": 32}  # days that no calendar period is longer than


@dataclass(frozen=True)
class Broken:
    """One policy that the planned contacts of one subscriber, or its household, would break."""

    subscriber: Any
    policy: str
    text: str


def reach(job: Job) -> int:
    """Return how far from a planned contact, in seconds, others can count with it."""
    return max((_reach(policy) for policy in _asked(job)), default=0)


def _reach(policy: ContactPolicy) -> int:
    if policy.within == EVER or (policy.kind == "only_after" and policy.within is None):
        return FAR
    lengths = [policy.within, policy.spacing, policy.cool_down]
    found = sum(seconds(length) for length in lengths if length is not None)
    return max(found, PERIOD[policy.each] * 86_400 if policy.each else 0)


def _asked(job: Job) -> list[ContactPolicy]:
    """Return the policies that look at a history."""
    return [policy for policy in job.policies if policy.looks_back or policy.needs_outcomes]


def _allowed(policy: ContactPolicy) -> str:
    """Return how many contacts a policy allows, and in how long."""
    period = f"within {policy.within or policy.spacing}" if policy.each is None else policy.each
    most = policy.exactly if policy.cap is None else policy.cap
    return f"{most} {'a ' if policy.each else ''}{period}"


def asks_households(job: Job) -> bool:
    """Return whether policies ask for the history of households."""
    return any(policy.over == "household" for policy in _asked(job))


def broken(
    job: Job,
    planned: pd.DataFrame,
    contacts: pd.DataFrame,
    outcomes: pd.DataFrame,
    households: pd.DataFrame | None = None,
) -> list[Broken]:
    """Return the policies that the planned contacts would break, by subscriber.

    Args:
        job: the job.
        planned: subscriber, offer, channel and time_zone of the contacts of a run, of several days
            their day, from 1 on; they go out when its job says.
        contacts: the effective contacts within :func:`reach` of the planned ones: subscriber, time
            (int64 s), offer, channel, category, team.
        outcomes: outcomes since the earliest of these: subscriber, time, offer, channel, outcome.
        households: subscriber and household of all members of those that are contacted; None: no
            policy asks for their history.
    """
    asked = _asked(job)
    if not asked or planned.empty:
        return []
    packages = [policy for policy in job.policies if policy.package]
    inputs = job.inputs.model_copy(update=LEDGER)
    columns = {"time_zone": ZONE, "household": None if households is None else HOUSEHOLD}
    known = {"subscribers": inputs.subscribers.model_copy(update=columns)}
    changed = {"policies": [*asked, *packages], "inputs": inputs.model_copy(update=known)}
    own = job.model_copy(update=changed)
    people = planned.drop_duplicates("subscriber", ignore_index=True)[["subscriber", ZONE]]
    if households is not None:
        people = _with_members(people, households)
    past = Past.of(own, people, History(contacts, outcomes))
    written = Contacts.of(own, pd.Index(people["subscriber"]), planned)
    row, keys, found = written.subscriber, people["subscriber"].tolist(), {}
    for closure in closures(past, people):
        for i in np.flatnonzero(closure.closes(row, written.pair, written.day)).tolist():
            policy = closure.text.removeprefix("policy ")
            found[row[i], policy] = f"{closure.text} closes {written.texts[i]}"
    held, by_name = terms(own, question(own)), {policy.name: policy for policy in asked}
    caps = [room for room in rooms(own, held, past) if room.policy]
    over = over_caps(written, past, caps, relations(own, held).contact)
    for room, s, (left, count, first, last) in over:
        leaves = f"{_allowed(by_name[room.policy])} and leaves {left}{room.whose}"
        days = f" {on_days(first, last)}" if past.days > 1 else ""
        found[s, room.policy] = f"{room.text} allows {leaves}, planned {count}{days}"
    offers = np.bincount(row, minlength=len(people))
    for least in leasts(own, past):
        for s in np.flatnonzero((offers > 0) & (offers < least.wanted)).tolist():
            found[s, least.policy] = f"{least.text} {least.wanted[s]}, planned {offers[s]}"
    told = [Broken(keys[s], policy, text) for (s, policy), text in found.items()]
    return sorted(told, key=lambda one: (str(one.subscriber), one.policy, one.text))


def _with_members(people: pd.DataFrame, households: pd.DataFrame) -> pd.DataFrame:
    """Return the subscribers with their households, and the other members, of the same zones."""
    numbered = households.assign(**{HOUSEHOLD: pd.factorize(households[HOUSEHOLD])[0]})
    found = people.merge(numbered, on="subscriber", how="outer")
    zones = found.dropna().drop_duplicates(HOUSEHOLD).set_index(HOUSEHOLD)[ZONE]
    return found.assign(**{ZONE: found[ZONE].fillna(found[HOUSEHOLD].map(zones))})
