"""What contact policies leave each subscriber: caps less the contact history, minimums, closures.

A policy with a cap counts a group of actions: all, those of a channel, category or team, an offer's
or those of some offers. Caps in all and per channel count contacts, so a package on one channel
counts once, in the history too; the others count offers. Policies on the same group are one cap:
the tightest. A sliding cap leaves a new contact what the fullest window around it leaves, contacts
that are booked for later included. All policies hold, and each is asked by itself, so every one
that stands in a pair's way is known.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np

from engine import expressions, tables
from engine.actions import Action, actions_of
from engine.history import History
from engine.history_counts import Burst, Counter, contacts_in, latest_outcomes
from engine.policy_groups import (
    BY_CONTACT,
    PER,
    Group,
    capped,
    groups_of,
    is_whole,
    packages,
    rules,
)
from engine.rules import has_bundle
from engine.send_times import (
    LONGEST,
    SendTimes,
    Window,
    around,
    cap_windows,
    is_closed,
    past_windows,
    send_times,
    strictly,
)
from engine.settings import Job
from engine.settings.base import seconds
from engine.settings.policies import CAPS, EVER, ContactPolicy
from kernels.backend import library
from kernels.choose import MOST_BUNDLE, MUST
from kernels.contact_windows import NEVER


@dataclass(frozen=True)
class Closed:
    """Actions that a policy closes to some subscribers, by itself."""

    actions: tuple[int, ...]
    rows: Any  # [S] bool


@dataclass(frozen=True, eq=False)
class Left:
    """What the policies leave. Policies in the order of the job."""

    closed: dict[str, list[Closed]]  # by policy
    most: Any  # [S] uint8
    fewest: Any  # [S] uint8
    cap: Any  # [D, S] uint8
    times: SendTimes

    def forbids(self, policy: str, actions: int) -> Any:
        """Return [A, S] bool, the pairs that a policy forbids by itself."""
        return self._pairs(self.closed[policy], actions)

    def blocked(self, actions: int) -> Any:
        """Return [A, S] bool, the pairs that any policy forbids."""
        return self._pairs(chain.from_iterable(self.closed.values()), actions)

    def _pairs(self, closed: Iterable[Closed], actions: int) -> Any:
        found = library(self.most).zeros((actions, len(self.most)), bool)
        for one in closed:
            for a in one.actions:
                found[a] |= one.rows
        return found


@dataclass(frozen=True, eq=False)
class Asked:
    """What the policies of a job ask of a partition's history, and what it answers."""

    job: Job
    acts: Sequence[Action]
    features: Any
    times: SendTimes
    counts: dict[Counter, Any]  # [S] uint8
    latest: dict[Burst, Any]  # [S] int64

    @classmethod
    def of(cls, job: Job, features: Any, history: History) -> "Asked":
        """Ask the history all that the policies want to know, in one pass of each table."""
        acts, times = actions_of(job), send_times(job, features)
        asked = [one for policy in job.policies for one in _questions(policy, job, acts, times)]
        counters = list(dict.fromkeys(one for one in asked if isinstance(one, Counter)))
        bursts = list(dict.fromkeys(one for one in asked if isinstance(one, Burst)))
        keys = features["subscriber"]
        return cls(
            job, acts, features, times,
            contacts_in(job, keys, history, times, counters),
            latest_outcomes(job, keys, history, times, bursts),
        )  # fmt: skip

    def used(self, counter: Counter | None) -> Any:
        """Return [S] uint8, what the history has of a counter's contacts; 0 without one."""
        side = tables.array_library(self.features)
        return side.zeros(len(self.features), "uint8") if counter is None else self.counts[counter]

    @cached_property
    def instant(self) -> Any:
        """When each subscriber is contacted, [S] int64 s."""
        side = tables.array_library(self.features)
        return side.asarray(np.array(self.times.instants, np.int64))[self.times.zone]


def _questions(
    policy: ContactPolicy, job: Job, acts: Sequence[Action], times: SendTimes
) -> Iterator[Counter | Burst]:
    """Yield what a policy wants to know of the history."""
    if policy.kind in CAPS:
        found = (counter_of(job, group, cap_windows(policy, times)) for group in
                 groups_of(policy, job, acts))  # fmt: skip
        yield from (counter for counter in found if counter is not None)
    elif policy.kind in {"exactly", "at_least"} and policy.within is not None:
        yield _offers(times, policy)
    elif policy.kind == "exclusive" and policy.within is not None:
        for offer in policy.exclusive:
            yield _others(policy, offer, times)
    elif policy.kind == "not_after":
        yield from _ordered(policy, times)
    elif policy.kind == "cool_down":
        yield from (burst_of(policy, group) for group in groups_of(policy, job, acts))
    elif policy.kind == "only_after":
        yield burst_of(policy, Group("offers", tuple(policy.only_after), ()))


def counter_of(job: Job, group: Group, windows: tuple[Window, ...] | None) -> Counter | None:
    """Return what counts the contacts of a cap's group; None: no past counts."""
    if windows is None:
        return None
    by_contact = bool(packages(job)) and group.per in BY_CONTACT
    return Counter(group.per, group.names, windows, by_contact)


def _offers(times: SendTimes, policy: ContactPolicy) -> Counter:
    windows = past_windows(policy, times)
    assert windows is not None
    return Counter("all", (), windows)


def _others(policy: ContactPolicy, offer: str, times: SendTimes) -> Counter:
    """Return what counts the offers that exclude one."""
    windows = around(policy, times)
    assert windows is not None
    return Counter("offers", tuple(o for o in policy.exclusive if o != offer), windows)


def _ordered(policy: ContactPolicy, times: SendTimes) -> tuple[Counter, Counter]:
    """Return what counts the offers before this one, and this one after each of them."""
    before, after = (strictly(policy, times, before=side) for side in (True, False))
    assert policy.offer is not None
    assert before is not None
    assert after is not None
    own = (policy.offer,)
    return Counter("offers", tuple(policy.not_after), before), Counter("offers", own, after)


def burst_of(policy: ContactPolicy, group: Group) -> Burst:
    is_ever = policy.within in (None, EVER) or policy.kind == "only_after"
    width = LONGEST if is_ever else seconds(policy.within or "")
    return Burst(group.per, group.names, tuple(policy.outcome), policy.times, width)


def left(job: Job, features: Any, history: History) -> Left:
    """Return what the policies leave of the caps, and the pairs each forbids by itself.

    Args:
        job: the job.
        features: the profile's partition.
        history: the partition's history.

    Raises:
        DataError: subscribers have time zones that do not exist.
    """
    asked = Asked.of(job, features, history)
    return left_of(asked, job.policies)


def left_of(asked: Asked, policies: Sequence[ContactPolicy]) -> Left:
    """Return what some of the policies leave; those on one group of the job's are one cap.

    Args:
        asked: what the job's policies ask of the history.
        policies: of the job, or with other caps than the job's.
    """
    job, acts, rows, groups = asked.job, asked.acts, len(asked.features), capped(asked.job)
    side = tables.array_library(asked.features)
    place = {(group.per in BY_CONTACT, group.actions): d for d, group in enumerate(groups)}
    most = side.full(rows, min(MOST_BUNDLE, len(job.catalogue.offers)), "uint8")
    least, must = side.zeros(rows, "int64"), side.zeros(rows, bool)
    cap = side.full((len(groups), rows), MOST_BUNDLE, "uint8")
    closed: dict[str, list[Closed]] = {}
    for policy in policies:
        own = closed[policy.name] = list(_closed(policy, asked))
        if policy.kind == "at_least":
            least = side.maximum(least, _still(policy, asked))
        elif policy.kind == "exactly":
            more = _still(policy, asked)
            own.append(Closed(tuple(range(len(acts))), more <= 0))
            most = side.minimum(most, side.maximum(more, 0).astype("uint8"))
            least = side.maximum(least, more)
            must |= more > 0
        elif policy.cap is not None:
            for group in groups_of(policy, job, acts):
                used = asked.used(counter_of(job, group, cap_windows(policy, asked.times)))
                own.append(Closed(group.actions, used >= policy.cap))
                room = side.where(used >= policy.cap, 0, policy.cap - used)  # it wraps elsewhere
                d = place.get((group.per in BY_CONTACT, group.actions))
                if d is not None:
                    cap[d] = side.minimum(cap[d], room)
                elif group.per == "all" and is_whole(group, acts):
                    most = side.minimum(most, room)
    for counted in _covers(job, groups, len(acts)):  # a bundle has no more than its caps in all
        most = side.minimum(most, sum((cap[d] for d in counted), side.zeros(rows, "int64")))
    fewest = side.minimum(side.maximum(least, 0), MUST - 1) + MUST * must
    return Left(closed, most.astype("uint8"), fewest.astype("uint8"), cap, asked.times)


def _still(policy: ContactPolicy, asked: Asked) -> Any:
    """Return [S] int64, how many offers a minimum still wants after the history."""
    wanted = policy.at_least or policy.exactly
    counter = None if policy.within is None else _offers(asked.times, policy)
    return wanted - asked.used(counter).astype("int64")


def _closed(policy: ContactPolicy, asked: Asked) -> Iterator[Closed]:
    """Yield what a policy without a count closes."""
    job, acts, times = asked.job, asked.acts, asked.times

    def of(*offers: str | None) -> tuple[int, ...]:
        return tuple(a for a, act in enumerate(acts) if act.offer in offers)

    if policy.kind == "exclusive" and policy.within is not None:
        for offer in policy.exclusive:
            yield Closed(of(offer), asked.used(_others(policy, offer, times)) > 0)
    elif policy.kind == "not_after":
        before, after = _ordered(policy, times)
        yield Closed(of(policy.offer), asked.used(before) > 0)
        yield Closed(of(*policy.not_after), asked.used(after) > 0)
    elif policy.kind == "only_after":
        latest = asked.latest[burst_of(policy, Group("offers", tuple(policy.only_after), ()))]
        yield Closed(of(policy.offer), latest <= _ago(policy.within or EVER, asked.instant))
    elif policy.kind == "cool_down":
        assert policy.cool_down is not None
        since = _ago(policy.cool_down, asked.instant)
        for group in groups_of(policy, job, acts):
            yield Closed(group.actions, asked.latest[burst_of(policy, group)] > since)
    elif policy.kind in {"suppress", "quiet", "blackout"}:
        if policy.suppress is not None:
            mask = expressions.parse(policy.suppress, f"policies.{policy.name}.suppress")
            rows = tables.array(mask.mask(asked.features)).astype(bool)
        else:
            side = tables.array_library(asked.features)
            rows = side.asarray(is_closed(policy, times))[times.zone]
        for group in groups_of(policy, job, acts):
            yield Closed(group.actions, rows)


def _ago(duration: str, instant: Any) -> Any:
    """Return [S] int64, the instant so long before; before everything that was, for ever."""
    if duration == EVER:
        return library(instant).full_like(instant, NEVER)
    return instant - seconds(duration)


def _covers(job: Job, groups: Sequence[Group], acts: int) -> list[list[int]]:
    """Return sets of caps that count every action: per channel, category or team, if whole."""
    found = []
    for per in PER[:3]:
        own = [d for d, group in enumerate(groups) if group.per == per]
        whole = len({a for d in own for a in groups[d].actions}) == acts
        if whole and not (per == "channel" and packages(job)):
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
    acts, names = actions_of(job), list(job.catalogue.offers)
    offer = np.array([names.index(a.offer) for a in acts], np.int32)
    can = has_bundle(rules(job), offer, open_, (found.most, found.fewest, found.cap), side)
    stuck = open_.any(axis=0) & ~can
    for policy in [*whole, *needy]:
        own = range(len(acts))
        held = tuple(a for a in own if not policy.requires or acts[a].offer == policy.offer)
        found.closed[policy.name].append(Closed(held, stuck))
