"""Contact policies as the certificate reads them: rooms, after the contact history, and relations.

Written for the certificate alone; it shares no code with the solver. Letters as in DESIGN.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from engine.certificate_rules import BUNDLE, Terms
from engine.errors import DataError
from engine.settings import Job
from engine.settings.base import seconds
from engine.settings.catalogue import ContactPolicy


@dataclass(frozen=True)
class Room:
    """How many more contacts a policy leaves each subscriber."""

    policy: str
    per: str  # run (its offers, no policy's contacts), all, channel, category or offers
    member: int  # position of the channel or category; -1 for the others
    text: str  # name of the policy and of the channel or category
    left: Any  # [S] int64, >= 0
    counted: Any  # [A] bool, the actions that count
    by_contact: bool  # whether a package on one channel counts once


@dataclass(frozen=True)
class Least:
    """How many offers a policy asks for, if there are any."""

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
        if policy.offer is not None:
            needed = tuple(place[o] for o in policy.requires)
            requires.append((policy.name, place[policy.offer], needed))
    return Relations(contact, tuple(exclusive), tuple(requires))


def _packages(job: Job) -> list[list[str]]:
    return [policy.package for policy in job.policies if policy.package]


def rooms(
    job: Job, terms: Terms, subscribers: "pd.Index[Any]", contacts: pd.DataFrame | None
) -> list[Room]:
    """Return what each contact policy leaves, after the contact history.

    Args:
        job: the job.
        terms: its terms.
        subscribers: [S] keys of the partition, unique.
        contacts: the partition's contact history; None: there is none.

    Raises:
        DataError: a policy counts a history that is missing, or one of other subscribers.
    """
    size, every = len(subscribers), np.ones(len(terms.offer), bool)
    no_policy = np.full(size, BUNDLE, np.int64)
    found = [Room("", "run", -1, f"a run's {BUNDLE} actions", no_policy, every, by_contact=False)]
    offers, channels = list(job.catalogue.offers), list(job.catalogue.channels)
    members: dict[str, Sequence[str]] = {
        "all": [""], "offers": [""], "channel": channels, "category": terms.categories,
    }  # fmt: skip
    place = {"channel": terms.channel, "category": terms.category}
    for policy in job.policies:
        cap = policy.exactly if policy.at_most is None else policy.at_most
        if cap is None:
            continue
        by_contact = policy.at_most is not None and policy.per in {"all", "channel"}
        used = _history(job, policy, subscribers, contacts, by_contact=by_contact)
        for m, member in enumerate(members[policy.per]):
            if policy.only and policy.per != "offers" and member not in policy.only:
                continue
            left = np.full(size, cap, np.int64)
            for rows in [rows for rows, name in used if name == member]:
                left -= np.bincount(rows, minlength=size)
            counted = place[policy.per] == m if policy.per in place else every
            if policy.per == "offers":
                counted = np.isin(terms.offer, [offers.index(o) for o in policy.only])
            text = f"policy {policy.name} {member}".rstrip()
            position = m if policy.per in place else -1
            per = "run" if policy.at_most is None else policy.per
            found.append(
                Room(policy.name, per, position, text, np.maximum(left, 0), counted, by_contact)
            )
    return found


def leasts(job: Job, subscribers: "pd.Index[Any]", contacts: pd.DataFrame | None) -> list[Least]:
    """Return what the policies with a minimum ask for; arguments as in :func:`rooms`."""
    found = []
    for policy in job.policies:
        wanted = policy.at_least or policy.exactly
        if wanted is None:
            continue
        left = np.full(len(subscribers), wanted, np.int64)
        for rows, _ in _history(job, policy, subscribers, contacts, by_contact=False):
            left -= np.bincount(rows, minlength=len(subscribers))
        left, is_exact = np.maximum(left, 0), policy.exactly is not None
        text = f"policy {policy.name} asks for " + ("exactly" if is_exact else "none or at least")
        found.append(Least(text, left, (left > 0) & is_exact))
    return found


def _history(
    job: Job,
    policy: ContactPolicy,
    subscribers: "pd.Index[Any]",
    contacts: pd.DataFrame | None,
    *,
    by_contact: bool,
) -> list[tuple[Any, str]]:
    """Return the subscribers' rows of the contacts that a policy counts, by channel or category."""
    if policy.within is None:
        return []
    if contacts is None:
        raise DataError(
            f"contacts: missing, but policy {policy.name} counts {policy.within} of history"
        )
    as_of = int(job.as_of.timestamp())
    recent = contacts["time"].between(as_of - seconds(policy.within), as_of, inclusive="right")
    history = contacts[recent]
    if by_contact:
        history = history[~_is_repeated(job, history)]
    rows = subscribers.get_indexer(pd.Index(history["subscriber"]))
    if (rows < 0).any():
        stranger = history["subscriber"].iloc[int(np.argmax(rows < 0))]
        raise DataError(f"contacts: subscriber {stranger} is not in this partition")
    if policy.per == "all":
        return [(rows, "")]
    if policy.per == "offers":
        return [(rows[history["offer"].isin(policy.only).to_numpy(bool)], "")]
    if policy.per == "channel":
        names = history["channel"].to_numpy(dtype=object)
    else:  # an offer that left the catalogue has no category any more
        of = {name: offer.category for name, offer in job.catalogue.offers.items()}
        names = np.array([of.get(offer, "") for offer in history["offer"]], dtype=object)
    return [(rows[names == name], name) for name in sorted(set(names))]


def _is_repeated(job: Job, history: pd.DataFrame) -> Any:
    """Return [N] bool: contacts of a package that an earlier row already stands for."""
    of = {offer: n for n, package in enumerate(_packages(job)) for offer in package}
    package = np.array([of.get(offer, -1) for offer in history["offer"]], np.int64)
    at = history[["subscriber", "time", "channel"]].assign(package=package)
    return at.duplicated().to_numpy() & (package >= 0)


def most(found: Iterable[Room], per: Sequence[str], members: int, subscribers: int) -> Any:
    """Return [S, members] uint8: the fewest contacts that the policies of some kinds leave."""
    left = np.full((subscribers, members), BUNDLE, np.int64)
    for room in found:
        if room.per in per:
            column = max(room.member, 0)
            np.minimum(left[:, column], room.left, out=left[:, column])
    return left.astype(np.uint8)
