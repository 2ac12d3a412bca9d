"""The relations between a job's actions: the caps of bundles, and what is not planned together.

Over several days a cap bounds each run of days that its windows hold (:mod:`engine.spans`), so a
group has a cap for each run. Offers that exclude one another for a time, or that are not after one
another, are apart on days that are so near. Where clocks change in some time zones only, two days
may be near in these alone. Of offers that exclude one another a cap of 1 says so, on all days from
the one to the other, which only holds for subscribers of these time zones. Offers that are not
after one another are then apart for everyone: the order of two is nothing that a cap counts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, permutations

import numpy as np

from engine.actions import Action, actions, actions_of
from engine.household_rules import HouseholdRules
from engine.policy_groups import (
    BY_CONTACT,
    PER,
    Group,
    contact_codes,
    groups_of,
    is_whole,
    packages,
)
from engine.rules import Rules
from engine.settings import Job
from engine.settings.policies import CAPS, EVER, ContactPolicy
from engine.spans import Run, all_instants, later_days, near_days, runs_of

OF_GROUPS = (*CAPS, "cool_down", "quiet", "blackout")  # those that close groups on single days


@dataclass(frozen=True)
class Apart:
    """Actions of which a bundle has one at most, where two days are near."""

    days: Run
    group: Group


def capped(job: Job) -> list[Group]:
    """Return the D groups with a cap of their own, in the order of the caps.

    Without packages a cap on all contacts is the most actions of a bundle, and none of these. Of
    one offer a bundle never has more than one action.
    """
    acts = actions_of(job)
    caps = chain.from_iterable(
        _caps(policy, job, acts) for policy in job.policies if policy.kind in CAPS
    )
    sometimes = (one.group for policy in job.policies for one in near_at_times(policy, job, acts))
    found = {key_of(group): group for group in (*caps, *sometimes)}
    days = {key: len({acts[a].day for a in group.actions}) for key, group in found.items()}
    return sorted(found.values(), key=lambda group: (PER.index(group.per), -days[key_of(group)]))


def key_of(group: Group) -> tuple[bool, tuple[int, ...]]:
    """Return what policies on one group have in common."""
    return group.per in BY_CONTACT, group.actions


def _caps(policy: ContactPolicy, job: Job, acts: Sequence[Action]) -> Iterator[Group]:
    """Yield the groups whose contacts a cap bounds, run by run."""
    if policy.per == "offer":
        return
    runs = runs_of(policy, job)
    for group in groups_of(policy, job, acts):
        if job.horizon.days > 1 and len({acts[a].offer for a in group.actions}) == 1:
            continue  # of one day it may be one of the caps that count every action
        is_most = group.per == "all" and is_whole(group, acts) and not packages(job)
        for run in sorted(runs):
            own = group.on(*run, acts)
            if own.actions and not (is_most and is_whole(own, acts)):
                yield own


def near_at_times(policy: ContactPolicy, job: Job, acts: Sequence[Action]) -> Iterator[Apart]:
    """Yield what excludes one another on days that are near in some time zones only."""
    if policy.kind != "exclusive":
        return
    always, ever = _near(policy, job)
    every = tuple(a for a, act in enumerate(acts) if act.offer in policy.exclusive)
    group = Group("offers", tuple(sorted(policy.exclusive)), every)
    for i, d in sorted(ever - always):
        if i < d:  # where they are near, so are all days between them
            yield Apart((i, d), group.on(i, d, acts))


def _near(policy: ContactPolicy, job: Job) -> tuple[set[Run], set[Run]]:
    """Return the days on which a policy keeps offers apart: in all time zones, and in any."""
    if policy.kind not in {"exclusive", "not_after"}:
        return set(), set()
    days = near_days if policy.kind == "exclusive" else later_days
    found = [days(policy, instants) for instants in all_instants(job)]
    return set.intersection(*found), set.union(*found)


def rules(job: Job) -> Rules:
    """Return the relations between a job's actions."""
    acts, names, groups = actions_of(job), list(job.catalogue.offers), capped(job)
    members = np.zeros((len(groups), len(acts)), bool)
    for d, group in enumerate(groups):
        members[d, list(group.actions)] = True
    has_packages = bool(packages(job))
    return Rules(
        members,
        np.array([has_packages and group.per in BY_CONTACT for group in groups], bool),
        np.array(contact_codes(job, [(a.offer, a.channel) for a in acts]), np.int32)
        if has_packages else np.arange(len(acts), dtype=np.int32),
        [
            (names.index(one), names.index(other))
            for policy in job.policies
            if policy.exclusive and _excludes_always(policy, job)
            for i, one in enumerate(policy.exclusive)
            for other in policy.exclusive[:i]
        ],
        [
            (names.index(policy.offer), tuple(names.index(o) for o in policy.requires))
            for policy in job.policies
            if policy.offer is not None and policy.requires
        ],
        job.horizon.days,
        day_class(job),
        _apart(job, acts),
        household_rules(job),
    )  # fmt: skip


def capped_together(job: Job) -> list[Group]:
    """Return the E groups with a cap over households, in the order of the caps.

    Of one offer a household may have several actions, of several members.
    """
    acts = actions_of(job)
    groups = chain.from_iterable(
        groups_of(policy, job, acts)
        for policy in job.policies
        if policy.is_joint and policy.cap is not None
    )
    found = {key_of(group): group for group in groups if group.actions}
    return sorted(found.values(), key=lambda group: PER.index(group.per))


def household_rules(job: Job) -> HouseholdRules | None:
    """Return what members of a household may have together; None: no policy says anything."""
    if not any(policy.is_joint for policy in job.policies):
        return None
    names, groups = list(job.catalogue.offers), capped_together(job)
    members = np.zeros((len(groups), len(actions_of(job))), bool)
    for e, group in enumerate(groups):
        members[e, list(group.actions)] = True
    has_packages = bool(packages(job))
    return HouseholdRules(
        members,
        np.array([has_packages and group.per in BY_CONTACT for group in groups], bool),
        [
            tuple(names.index(offer) for offer in policy.exclusive)
            for policy in job.policies
            if policy.is_joint and policy.exclusive
        ],
    )


def _excludes_always(policy: ContactPolicy, job: Job) -> bool:
    """Return whether a policy excludes its offers from one another on all days of a plan."""
    return len(_near(policy, job)[0]) == job.horizon.days**2


def _apart(job: Job, acts: Sequence[Action]) -> np.ndarray | None:
    """Return [A, A] bool, what is apart by its days; None: nothing."""
    days = job.horizon.days
    of, day = np.array([act.offer for act in acts]), np.array([act.day for act in acts])
    found = np.zeros((len(acts), len(acts)), bool)
    for policy in job.policies if days > 1 else ():
        near = np.zeros((days, days), bool)
        for days_apart in _near(policy, job)[policy.kind == "not_after"]:
            near[days_apart] = True
        for one, other in _pairs_apart(policy, job):
            rows, columns = np.flatnonzero(of == one), np.flatnonzero(of == other)
            found[np.ix_(rows, columns)] |= near[np.ix_(day[rows], day[columns])]
    found |= found.T
    return found if found.any() else None


def _pairs_apart(policy: ContactPolicy, job: Job) -> Iterator[tuple[str, str | None]]:
    """Yield the offers that a policy keeps apart on some days, the one that may be first first."""
    if policy.kind == "not_after":
        yield from ((other, policy.offer) for other in policy.not_after)
    elif policy.kind == "exclusive" and not _excludes_always(policy, job):
        yield from permutations(policy.exclusive, 2)


def day_class(job: Job) -> np.ndarray | None:
    """Return [P] int32, equal for pairs that are open on the same days; None: there is one day.

    They are valid at the same times, and each policy that closes single days has both or none.
    """
    if job.horizon.days == 1:
        return None
    pairs, offers = actions(job.catalogue), job.catalogue.offers
    kinds = [(o.valid_from, o.valid_until, o.until) for o in (offers[a.offer] for a in pairs)]
    sets = [set(own) for policy in job.policies for own in _closed_together(policy, job, pairs)]
    keys = [(kind, *(p in own for own in sets)) for p, kind in enumerate(kinds)]
    number = {key: n for n, key in enumerate(dict.fromkeys(keys))}
    return np.array([number[key] for key in keys], np.int32)


def _closed_together(
    policy: ContactPolicy, job: Job, pairs: Sequence[Action]
) -> Iterator[Sequence[int]]:
    """Yield the sets of pairs that a policy closes together, on some days and not on others."""
    within = policy.spacing or policy.within
    if policy.kind in OF_GROUPS:
        if policy.cap is None or policy.each is not None or within not in {None, EVER}:
            yield from (group.actions for group in groups_of(policy, job, pairs))
        return
    sets: dict[str, list[list[str | None]]] = {
        "exclusive": [[offer] for offer in policy.exclusive if within],
        "not_after": [[policy.offer], [*policy.not_after]],
        "only_after": [[policy.offer]],
    }
    for own in sets.get(policy.kind, []):
        yield [p for p, pair in enumerate(pairs) if pair.offer in own]
