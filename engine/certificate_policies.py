"""Contact policies as the certificate reads them: rooms, after the contact history, and relations.

Written for the certificate alone; it shares no code with the solver. Letters as in DESIGN.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.certificate_history import Past, members
from engine.certificate_rules import BUNDLE, Terms
from engine.settings import Job


@dataclass(frozen=True)
class Room:
    """How many more contacts a policy leaves each subscriber."""

    policy: str
    per: str  # run (its offers, no policy's contacts), all, channel, category, team or offers
    member: int  # position of the channel or category; -1 for the others
    text: str  # name of the policy and of the channel or category
    left: Any  # [S] int64, >= 0
    counted: Any  # [A] bool, the actions that count
    by_contact: bool  # whether a package on one channel counts once


@dataclass(frozen=True)
class Least:
    """How many offers a policy asks for, if there are any."""

    policy: str
    text: str  # what it asks for
    wanted: Any  # [S] int64
    must: Any  # [S] bool, whether there have to be some


@dataclass(frozen=True)
class Relations:
    """What policies say of one run's offers, whoever the subscriber is."""

    contact: Any  # [A] int64, equal for the offers of a package on one channel
    exclusive: tuple[tuple[str, tuple[int, ...]], ...]  # policy, offers
    requires: tuple[tuple[str, int, tuple[int, ...]], ...]  # policy, offer, offers

    def conflict(self, offer: Any) -> Any:
        """Return [A, A] bool: two actions that no subscriber has together."""
        found = offer[:, None] == offer
        for _, offers in self.exclusive:
            inside = np.isin(offer, offers)
            found |= inside[:, None] & inside
        return found

    def needs(self, offer: Any) -> tuple[Any, Any]:
        """Return [R, A] bool twice: the actions that need another, and those that they need."""
        needy = [offer == one for _, one, _ in self.requires]
        met_by = [np.isin(offer, others) for _, _, others in self.requires]
        shape = (len(self.requires), len(offer))
        return np.reshape(needy, shape).astype(bool), np.reshape(met_by, shape).astype(bool)


def relations(job: Job, terms: Terms) -> Relations:
    """Return the relations between a job's actions."""
    place = {name: o for o, name in enumerate(job.catalogue.offers)}
    contact = np.arange(len(terms.offer), dtype=np.int64)
    for offers in _packages(job):
        for channel in range(len(job.catalogue.channels)):
            inside = np.isin(terms.offer, [place[o] for o in offers]) & (terms.channel == channel)
            contact[inside] = np.argmax(inside)
    exclusive, requires = [], []
    for policy in job.policies:
        if policy.exclusive:
            exclusive.append((policy.name, tuple(place[o] for o in policy.exclusive)))
        if policy.offer is not None and policy.requires:
            needed = tuple(place[o] for o in policy.requires)
            requires.append((policy.name, place[policy.offer], needed))
    return Relations(contact, tuple(exclusive), tuple(requires))


def _packages(job: Job) -> list[list[str]]:
    return [policy.package for policy in job.policies if policy.package]


def rooms(job: Job, terms: Terms, past: Past) -> list[Room]:
    """Return what each cap leaves, after the contact history.

    Args:
        job: the job.
        terms: its terms.
        past: the partition's history.
    """
    every = np.ones(len(terms.offer), bool)
    no_policy = np.full(past.size, BUNDLE, np.int64)
    found = [Room("", "run", -1, f"a run's {BUNDLE} actions", no_policy, every, by_contact=False)]
    place = {"channel": list(job.catalogue.channels), "category": list(terms.categories)}
    for policy in job.policies:
        if policy.per == "offer" or (policy.cap is None and policy.exactly is None):
            continue  # of one offer there is one contact at most: a closure
        by_contact = policy.cap is not None and policy.per in {"all", "channel"}
        cap = policy.exactly if policy.cap is None else policy.cap
        for names, own in members(job, policy):
            left = cap - past.used(policy, names, once=by_contact)
            counted = np.isin(np.arange(len(every)), own)
            name = names[0] if names is not None and policy.per != "offers" else ""
            per = "run" if policy.cap is None else policy.per
            if policy.exempt and per != "run":
                per = "offers"  # those that are not exempt
            member = place[per].index(name) if per in place else -1
            text = f"policy {policy.name} {name}".rstrip()
            room = Room(policy.name, per, member, text, np.maximum(left, 0), counted, by_contact)
            found.append(room)
    return found


def leasts(job: Job, past: Past) -> list[Least]:
    """Return what the policies with a minimum ask for; arguments as in :func:`rooms`."""
    found = []
    for policy in job.policies:
        wanted = policy.at_least or policy.exactly
        if wanted is None:
            continue
        left = np.maximum(wanted - past.used(policy, None, once=False), 0)
        is_exact = policy.exactly is not None
        text = f"policy {policy.name} asks for " + ("exactly" if is_exact else "none or at least")
        found.append(Least(policy.name, text, left, (left > 0) & is_exact))
    return found


def most(found: Iterable[Room], per: Sequence[str], members: int, subscribers: int) -> Any:
    """Return [S, members] uint8: the fewest contacts that the policies of some kinds leave."""
    left = np.full((subscribers, members), BUNDLE, np.int64)
    for room in found:
        if room.per in per:
            column = max(room.member, 0)
            np.minimum(left[:, column], room.left, out=left[:, column])
    return left.astype(np.uint8)
