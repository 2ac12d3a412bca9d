"""Contact policies as the certificate reads them: rooms, after the contact history, and relations.

Written for the certificate alone; it shares no code with the solver. Letters as in DESIGN.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.certificate_closures import members
from engine.certificate_history import Past
from engine.certificate_rules import BUNDLE, Terms
from engine.certificate_windows import END, LENGTH, Span, Windows, spans
from engine.settings import Job
from engine.settings.base import seconds
from engine.settings.policies import EVER


@dataclass(frozen=True)
class Room:
    """A cap: which contacts it counts, planned and past."""

    policy: str
    per: str  # run (its offers, no policy's contacts), all, channel, category, team or offers
    member: int  # position of the channel or category; -1 for the others
    text: str  # name of the policy and of the channel or category
    span: Span  # of all pairs of days, past contacts and windows
    counted: Any  # [P] bool, the pairs that count
    by_contact: bool  # whether a package on one channel counts once

    @property
    def whose(self) -> str:
        """Return to whom it leaves contacts, in words; nothing of a subscriber."""
        return " to the household" if self.span.is_joint else ""


@dataclass(frozen=True)
class Least:
    """How many offers a policy asks for, if there are any."""

    policy: str
    text: str  # what it asks for
    wanted: Any  # [S] int64
    must: Any  # [S] bool, whether there have to be some


@dataclass(frozen=True)
class Apart:
    """Offers that a policy keeps apart in time."""

    policy: str
    offers: tuple[int, ...]  # of not_after: those that may not come before
    late: int | None  # the offer that may not come after them; None: all exclude each other
    width: int  # s, they are that far apart at least
    is_joint: bool = False  # whether those of all members of a household are

    def near(self, instants: Any) -> Any:
        """Return [N, N] bool: whether the second of two days is too near to the first."""
        gap = instants[None, :] - instants[:, None]
        return (abs(gap) < self.width) & ((self.late is None) | (gap > 0))

    def between(self, offer: Any) -> Any:
        """Return [P, P] bool: whether it concerns the second pair beside, or after, the first."""
        first = np.isin(offer, self.offers)
        return first[:, None] & (first if self.late is None else offer == self.late)


@dataclass(frozen=True)
class Relations:
    """What policies say of one run's offers, whoever the subscriber is."""

    contact: Any  # [P] int64, equal for the offers of a package on one channel
    apart: tuple[Apart, ...]
    requires: tuple[tuple[str, int, tuple[int, ...]], ...]  # policy, offer, offers

    def conflict(self, offer: Any, instants: Any) -> Any:
        """Return [A, A] bool: two actions that no subscriber has together.

        Args:
            offer: [P] the offers of pairs.
            instants: [N] int64 s, when the days go out.
        """
        pairs, days = len(offer), len(instants)
        found = np.zeros((pairs, days, pairs, days), bool)
        found |= (offer[:, None] == offer)[:, None, :, None]
        for apart in self.apart:
            found |= apart.between(offer)[:, None, :, None] & apart.near(instants)[:, None]
        both = found.reshape(pairs * days, pairs * days)
        return both | both.T

    def needs(self, offer: Any) -> tuple[Any, Any]:
        """Return [R, P] bool twice: the pairs that need another, and those that they need."""
        needy = [offer == one for _, one, _ in self.requires]
        met_by = [np.isin(offer, others) for _, _, others in self.requires]
        shape = (len(self.requires), len(offer))
        return np.reshape(needy, shape).astype(bool), np.reshape(met_by, shape).astype(bool)


def relations(job: Job, terms: Terms) -> Relations:
    """Return the relations between a job's actions, of one subscriber or of a household."""
    place = {name: o for o, name in enumerate(job.catalogue.offers)}
    contact = np.arange(len(terms.offer), dtype=np.int64)
    for offers in _packages(job):
        for channel in range(len(job.catalogue.channels)):
            inside = np.isin(terms.offer, [place[o] for o in offers]) & (terms.channel == channel)
            contact[inside] = np.argmax(inside)
    apart, requires = [], []
    for policy in job.policies:
        width = LENGTH if policy.within in {None, EVER} else seconds(str(policy.within))
        if policy.exclusive:
            own = tuple(place[o] for o in policy.exclusive)
            apart.append(Apart(policy.name, own, None, width, policy.is_joint))
        elif policy.offer is not None and policy.not_after:
            own = tuple(place[o] for o in policy.not_after)
            apart.append(Apart(policy.name, own, place[policy.offer], width))
        elif policy.offer is not None and policy.requires:
            needed = tuple(place[o] for o in policy.requires)
            requires.append((policy.name, place[policy.offer], needed))
    return Relations(contact, tuple(apart), tuple(requires))


def _packages(job: Job) -> list[list[str]]:
    return [policy.package for policy in job.policies if policy.package]


def rooms(job: Job, terms: Terms, past: Past) -> list[Room]:
    """Return the caps.

    Args:
        job: the job.
        terms: its terms.
        past: the partition's history.
    """
    every, days = np.ones(len(terms.offer), bool), spans(terms.days)
    whole = Windows.of(len(past.zones), days, lambda _, i, d: (LENGTH, END, END if i <= d else 0))
    run = Span(BUNDLE, np.zeros(len(past.contacts.row), bool), whole)
    found = [Room("", "run", -1, f"a run's {BUNDLE} actions", run, every, by_contact=False)]
    place = {"channel": list(job.catalogue.channels), "category": list(terms.categories)}
    for policy in job.policies:
        if policy.cap is None and policy.exactly is None:
            continue
        if policy.per == "offer" and policy.over == "subscriber":
            continue  # of one offer there is one contact at most: a closure
        by_contact = policy.cap is not None and policy.per in {"all", "channel"}
        for names, own in members(job, policy):
            span = past.span(policy, names, days, once=by_contact)
            counted = np.isin(np.arange(len(every)), own)
            name = names[0] if names is not None and policy.per != "offers" else ""
            per = "run" if policy.cap is None else policy.per
            if policy.exempt and per != "run":
                per = "offers"  # those that are not exempt
            member = place[per].index(name) if per in place else -1
            text = f"policy {policy.name} {name}".rstrip()
            found.append(Room(policy.name, per, member, text, span, counted, by_contact))
    return found


def leasts(job: Job, past: Past) -> list[Least]:
    """Return what the policies with a minimum ask for; arguments as in :func:`rooms`."""
    found = []
    for policy in job.policies:
        if policy.at_least is None and policy.exactly is None:
            continue
        span = past.span(policy, None, [(0, 0)], once=False)
        left = past.left(span)[:, 0].astype(np.int64)
        is_exact = policy.exactly is not None
        text = f"policy {policy.name} asks for " + ("exactly" if is_exact else "none or at least")
        found.append(Least(policy.name, text, left, (left > 0) & is_exact))
    return found


def most(past: Past, found: Iterable[Room], per: Sequence[str], members: int) -> Any:
    """Return [S, members] uint8: the fewest contacts that the policies of some kinds leave.

    This is of one day alone.
    """
    left = np.full((past.size, members), BUNDLE, np.uint8)
    for room in found:
        if room.per in per:
            column = max(room.member, 0)
            np.minimum(left[:, column], past.left(room.span)[:, 0], out=left[:, column])
    return left
