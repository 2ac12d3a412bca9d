"""Which actions a policy counts or closes together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from engine.actions import Action
from engine.settings import Job
from engine.settings.policies import ContactPolicy

PER = ("channel", "category", "team", "offer", "offers", "all")
"""What a policy counts together, in the order of caps: those that bind most first."""
BY_CONTACT = ("channel", "all")  # they count contacts, a package once; the others count offers


@dataclass(frozen=True)
class Group:
    """Actions that a policy counts or closes together, and what of a history it counts."""

    per: str  # one of PER
    names: tuple[str, ...]  # the channel, category, team or offers; of all: none
    actions: tuple[int, ...]  # those that it holds for: exempt ones are counted alone

    @property
    def text(self) -> str:
        """Return what it is called, for people."""
        return " or ".join(self.names) or "all"

    def on(self, first: int, last: int, acts: Sequence[Action]) -> "Group":
        """Return those of its actions that are on some days in a row."""
        return replace(self, actions=tuple(a for a in self.actions if first <= acts[a].day <= last))


def packages(job: Job) -> list[list[str]]:
    """Return the offers of each package."""
    return [policy.package for policy in job.policies if policy.package]


def contact_codes(job: Job, offers_and_channels: Sequence[tuple[str, str]]) -> list[int]:
    """Return for each pair of offer and channel the first one that is one contact with it."""
    package = {offer: n for n, offers in enumerate(packages(job)) for offer in offers}
    first: dict[tuple[int, str], int] = {}
    return [
        first.setdefault((package[offer], channel), i) if offer in package else i
        for i, (offer, channel) in enumerate(offers_and_channels)
    ]


def name_of(job: Job, per: str, action: Action) -> str | None:
    """Return the name by which a policy counts an action: its channel, category, ...; or None."""
    offer = job.catalogue.offers[action.offer]
    names = {"channel": action.channel, "category": offer.category, "team": offer.team}
    return names.get(per, action.offer)


def groups_of(policy: ContactPolicy, job: Job, acts: Sequence[Action]) -> list[Group]:
    """Return each group that a policy counts or closes by itself."""
    offers = job.catalogue.offers
    held = [a for a, act in enumerate(acts) if offers[act.offer].purpose not in policy.exempt]
    if policy.per == "all":
        return [Group("all", (), tuple(held))]
    of = [name_of(job, policy.per, action) for action in acts]
    if policy.per == "offers":
        inside = tuple(a for a in held if of[a] in policy.only)
        return [Group("offers", tuple(sorted(policy.only)), inside)]
    known: Iterable[str | None] = dict.fromkeys(of)
    if policy.per == "channel":
        known = job.catalogue.channels
    return [
        Group(policy.per, (name,), tuple(a for a in held if of[a] == name))
        for name in policy.only or known
        if name is not None
    ]


def is_whole(group: Group, acts: Sequence[Action]) -> bool:
    """Return whether a group is all actions: its cap is the most actions of a bundle."""
    return len(group.actions) == len(acts)
