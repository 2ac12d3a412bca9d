"""What contact policies leave each subscriber: caps less the contact history, minimums, relations.

A policy with ``at_most`` is a cap on a group of actions: all, those of a channel, of a category, or
of some offers. Caps in all and per channel count contacts, so a package on one channel counts once,
in the history too; the others count offers. Policies on the same group are one cap: the tightest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine import tables
from engine.actions import Action, actions
from engine.rules import Rules, has_bundle
from engine.settings import Job
from engine.settings.base import seconds
from engine.settings.catalogue import ContactPolicy
from kernels.choose import MOST_BUNDLE, MUST

PER = ("channel", "category", "offers", "all")  # the order of caps: those that bind most first


@dataclass(frozen=True)
class Group:
    """Actions that a policy counts together."""

    per: str  # one of PER
    names: tuple[str, ...]  # the channel, the category or the offers; of all: none
    actions: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Left:
    """What the policies leave. Policies in the order of the job."""

    forbids: dict[str, Any]  # policy -> [A, S] bool, the pairs that it forbids by itself
    most: Any  # [S] uint8
    fewest: Any  # [S] uint8
    cap: Any  # [D, S] uint8


def packages(job: Job) -> list[list[str]]:
    """Return the offers of each package."""
    return [policy.package for policy in job.policies if policy.package]


def groups_of(policy: ContactPolicy, job: Job, acts: Sequence[Action]) -> list[Group]:
    """Return each group that a policy counts by itself."""
    every, offers = range(len(acts)), job.catalogue.offers
    if policy.per == "all":
        return [Group("all", (), tuple(every))]
    if policy.per == "offers":
        inside = tuple(a for a in every if acts[a].offer in policy.only)
        return [Group("offers", tuple(sorted(policy.only)), inside)]
    of = [a.channel if policy.per == "channel" else offers[a.offer].category for a in acts]
    known = job.catalogue.channels if policy.per == "channel" else dict.fromkeys(of)
    return [
        Group(policy.per, (name,), tuple(a for a in every if of[a] == name))
        for name in policy.only or known
    ]


def capped(job: Job) -> list[Group]:
    """Return the D groups with a cap of their own, in the order of the caps.

    Without packages a cap on all contacts is the most actions of a bundle, and none of these.
    """
    acts = actions(job.catalogue)
    found = {
        (group.per, group.names): group
        for policy in job.policies
        if policy.at_most is not None
        for group in groups_of(policy, job, acts)
        if group.per != "all" or packages(job)
    }
    return sorted(found.values(), key=lambda group: PER.index(group.per))


def rules(job: Job) -> Rules:
    """Return the relations between a job's actions."""
    acts, names, groups = actions(job.catalogue), list(job.catalogue.offers), capped(job)
    members = np.zeros((len(groups), len(acts)), bool)
    for d, group in enumerate(groups):
        members[d, list(group.actions)] = True
    contact = np.arange(len(acts), dtype=np.int32)
    for package in packages(job):
        first: dict[str, int] = {}
        for a, action in enumerate(acts):
            if action.offer in package:
                contact[a] = first.setdefault(action.channel, a)
    return Rules(
        members,
        np.array(
            [bool(packages(job)) and group.per in ("channel", "all") for group in groups], bool
        ),
        contact,
        [
            (names.index(one), names.index(other))
            for policy in job.policies
            for i, one in enumerate(policy.exclusive)
            for other in policy.exclusive[:i]
        ],
        [
            (names.index(policy.offer), tuple(names.index(o) for o in policy.requires))
            for policy in job.policies
            if policy.offer is not None
        ],
    )


def left(job: Job, features: Any, contacts: Any | None, side: Any) -> Left:
    """Return what the policies leave of the caps, and the pairs each forbids by itself.

    Args:
        job: the job.
        features: the profile's partition.
        contacts: the partition's contact history (subscriber, time, offer, channel), or None.
        side: the array library of the frames.
    """
    acts, rows, groups = actions(job.catalogue), len(features), capped(job)
    place = {(group.per, group.names): d for d, group in enumerate(groups)}
    most = side.full(rows, min(MOST_BUNDLE, len(job.catalogue.offers)), "int64")
    least, must = side.zeros(rows, "int64"), side.zeros(rows, bool)
    cap = side.full((len(groups), rows), MOST_BUNDLE, "int64")
    forbids: dict[str, Any] = {}
    for policy in job.policies:
        forbidden = forbids[policy.name] = side.zeros((len(acts), rows), bool)
        if policy.at_least is not None:
            more = policy.at_least - _used(job, policy, None, (features, contacts))
            least = side.maximum(least, more)
        elif policy.exactly is not None:
            more = side.maximum(policy.exactly - _used(job, policy, None, (features, contacts)), 0)
            forbids[policy.name] = forbidden | (more == 0)
            most, least = side.minimum(most, more), side.maximum(least, more)
            must |= more > 0
        elif policy.at_most is not None:
            for group in groups_of(policy, job, acts):
                used = _used(job, policy, group, (features, contacts))
                more = side.maximum(policy.at_most - used, 0)
                for a in group.actions:
                    forbidden[a] |= more == 0
                if (group.per, group.names) in place:
                    d = place[group.per, group.names]
                    cap[d] = side.minimum(cap[d], more)
                else:
                    most = side.minimum(most, more)
    for counted in _partitions(job, groups, len(acts)):  # a bundle has no more than its caps in all
        most = side.minimum(most, sum((cap[d] for d in counted), side.zeros(rows, "int64")))
    fewest = side.minimum(side.maximum(least, 0), MUST - 1) + MUST * must
    return Left(forbids, most.astype("uint8"), fewest.astype("uint8"), cap.astype("uint8"))


def _partitions(job: Job, groups: Sequence[Group], acts: int) -> list[list[int]]:
    """Return sets of caps that count every action: per channel and per category, if whole."""
    found = []
    for per in ("channel", "category"):
        own = [d for d, group in enumerate(groups) if group.per == per]
        is_whole = sum(len(groups[d].actions) for d in own) == acts
        if is_whole and not (per == "channel" and packages(job)):
            found.append(own)
    return found


def forbid_the_stuck(job: Job, found: Left, open_: Any, side: Any) -> None:
    """Forbid all pairs of those who can have no bundle: a minimum or a requirement fails.

    Args:
        job: the job.
        found: what the policies leave; what they forbid is added to.
        open_: [A, S] bool, pairs that nothing else closes.
        side: the array library.
    """
    whole = [p for p in job.policies if p.at_least or (p.exactly or 0) > 1]
    needy = [p for p in job.policies if p.requires]
    if not whole and not needy:
        return
    acts, names = actions(job.catalogue), list(job.catalogue.offers)
    offer = np.array([names.index(a.offer) for a in acts], np.int32)
    can = has_bundle(rules(job), offer, open_, (found.most, found.fewest, found.cap), side)
    stuck = open_.any(axis=0) & ~can
    for policy in whole:
        found.forbids[policy.name] |= stuck
    for policy in needy:
        for a, action in enumerate(acts):
            if action.offer == policy.offer:
                found.forbids[policy.name][a] |= stuck


def _used(job: Job, policy: ContactPolicy, group: Group | None, frames: tuple[Any, Any]) -> Any:
    """Return [S] int64, what the history has used of a policy's count in a group; None: offers."""
    features, contacts = frames
    side = tables.array_library(features)
    if policy.within is None or contacts is None:
        return side.zeros(len(features), "int64")
    as_of = int(job.as_of.timestamp())
    counted = contacts[
        (contacts["time"] > as_of - seconds(policy.within)) & (contacts["time"] <= as_of)
    ]
    if group is not None and group.per == "channel":
        counted = counted[counted["channel"] == group.names[0]]
    elif group is not None and group.per == "category":
        offers = job.catalogue.offers
        inside = [n for n in offers if offers[n].category == group.names[0]]
        counted = counted[counted["offer"].isin(inside)]
    elif group is not None and group.per == "offers":
        counted = counted[counted["offer"].isin(list(group.names))]
    used = _counts(features, counted)
    if group is not None and group.per in ("channel", "all"):
        for package in packages(job):  # what went out together was one contact
            own = counted[counted["offer"].isin(package)]
            once = own.drop_duplicates(["subscriber", "time", "channel"])
            used = used - (_counts(features, own) - _counts(features, once))
    return used


def _counts(features: Any, contacts: Any) -> Any:
    """Return [S] int64, the contacts of each subscriber."""
    side = tables.array_library(features)
    counts = contacts.groupby("subscriber").size().rename("used").reset_index()
    keys = features[["subscriber"]].reset_index(drop=True)
    keys["row"] = side.arange(len(keys))
    merged = keys.merge(counts, on="subscriber", how="left").sort_values("row")
    return tables.array(merged["used"].fillna(0).astype("int64"))
