"""What contact policies leave each subscriber: caps less the contact history, minimums, closures.

A policy with a cap counts a group of actions: all, those of a channel, category or team, an offer's
or those of some offers. Caps in all and per channel count contacts, so a package on one channel
counts once, in the history too; the others count offers. Policies on the same group are one cap:
the tightest. A sliding cap leaves a new contact what the fullest window around it leaves, contacts
that are booked for later included. A cap over a household leaves room to all its members together;
no member gets more than that alone, so it is a cap of each as well, and all that one alone needs.
All policies hold, and each is asked by itself, so every one that stands in a pair's way is known.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from engine import expressions, tables
from engine.actions import Action, actions_of
from engine.history import History
from engine.households import Households
from engine.plan_rules import capped, capped_together, key_of, near_at_times, rules
from engine.policy_groups import PER, Group, groups_of, is_whole, packages
from engine.policy_questions import Asked, burst_of, in_order, offers_before, others_near
from engine.rules import has_bundle
from engine.send_times import SendTimes, is_closed
from engine.settings import Job
from engine.settings.base import seconds
from engine.settings.policies import EVER, MOST_CAP, ContactPolicy
from engine.spans import near_days
from kernels.backend import library
from kernels.choose import MOST_BUNDLE, MUST
from kernels.contact_windows import NEVER

CHUNK = 1 << 16  # subscribers of whom all actions are looked at together


@dataclass(frozen=True)
class Closed:
    """Actions that a policy closes to some subscribers, by itself: pairs, on the same days each."""

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
    room: Any  # [E, S] uint8, what caps over households leave, the same for all members
    households: Households | None  # None: no policy asks for them

    def forbids(self, policy: str, actions: int) -> Any:
        """Return [A, S] bool, the pairs that a policy forbids by itself."""
        return self._pairs(self.closed[policy], actions)

    def blocked(self, actions: int, rows: Any = slice(None)) -> Any:
        """Return [A, S] bool, the pairs that any policy forbids, of some rows."""
        return self._pairs(chain.from_iterable(self.closed.values()), actions, rows)

    def blocked_pairs(self, pairs: int) -> Any:
        """Return [P, S] bool, the pairs of which a policy forbids every day at once."""
        found = library(self.most).zeros((pairs, len(self.most)), bool)
        for own, days, rows in self._by_days():
            for pair in own if len(days) == self.times.days else ():
                found[pair] |= rows
        return found

    def blocked_days(self, day_class: Any) -> Any:
        """Return [M, S] uint16, bit d: a policy forbids pairs of a class on day d, not on all.

        Args:
            day_class: [P] int32, as in :class:`engine.rules.Rules`.
        """
        classes = int(day_class.max(initial=-1)) + 1
        found = library(self.most).zeros((classes, len(self.most)), "uint16")
        for own, days, rows in self._by_days():
            if len(days) < self.times.days:
                bits = rows * np.uint16(sum(1 << day for day in days))
                for m in {int(day_class[pair]) for pair in own}:
                    found[m] |= bits
        return found

    def _by_days(self) -> Iterator[tuple[set[int], set[int], Any]]:
        """Yield the pairs of what is closed, and its days."""
        days = self.times.days
        for one in chain.from_iterable(self.closed.values()):
            yield {a // days for a in one.actions}, {a % days for a in one.actions}, one.rows

    def _pairs(self, closed: Iterable[Closed], actions: int, rows: Any = slice(None)) -> Any:
        found = library(self.most).zeros((actions, len(self.most[rows])), bool)
        for one in closed:
            own = one.rows[rows]
            for a in one.actions:
                found[a] |= own
        return found


def left(job: Job, features: Any, history: History) -> Left:
    """Return what the policies leave of the caps, and the pairs each forbids by itself.

    Args:
        job: the job.
        features: the profile's partition.
        history: the partition's history.

    Raises:
        DataError: as of :meth:`engine.policy_questions.Asked.of`.
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
    place = {key_of(group): d for d, group in enumerate(groups)}
    together = {key_of(group): e for e, group in enumerate(capped_together(job))}
    rooms = side.full((len(together), rows), MOST_CAP, "uint8")
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
                for span, used in asked.spans(policy, group):
                    run = group.on(span.first, span.last, acts)
                    e = together.get(key_of(run)) if policy.over == "household" else None
                    own.append(Closed(run.actions, used >= policy.cap))
                    room = side.where(
                        used >= policy.cap, 0, policy.cap - used
                    )  # it wraps elsewhere
                    if e is not None:
                        rooms[e] = side.minimum(rooms[e], room)
                    if not all(span.is_held):
                        room = side.where(asked.times.of_rows(span.is_held), room, MOST_BUNDLE)
                    d = place.get(key_of(run))
                    if d is not None:
                        cap[d] = side.minimum(cap[d], room)
                    elif run.per == "all" and is_whole(run, acts):
                        most = side.minimum(most, room)
        for one in near_at_times(policy, job, acts):
            near = [one.days in near_days(policy, own) for own in asked.times.instants]
            d = place[key_of(one.group)]
            room = side.where(asked.times.of_rows(near), 1, MOST_BUNDLE)
            cap[d] = side.minimum(cap[d], room)
    for counted in _covers(job, groups, acts):  # a bundle has no more than its caps in all
        most = side.minimum(most, sum((cap[d] for d in counted), side.zeros(rows, "int64")))
    fewest = side.minimum(side.maximum(least, 0), MUST - 1) + MUST * must
    return Left(
        closed, most.astype("uint8"), fewest.astype("uint8"), cap, asked.times, rooms,
        asked.households,
    )  # fmt: skip


def _still(policy: ContactPolicy, asked: Asked) -> Any:
    """Return [S] int64, how many offers a minimum still wants after the history."""
    wanted = policy.at_least or policy.exactly
    counter = None if policy.within is None else offers_before(policy, asked.times)
    return wanted - asked.used(counter).astype("int64")


def _closed(policy: ContactPolicy, asked: Asked) -> Iterator[Closed]:
    """Yield what a policy without a count closes."""
    job, acts, times = asked.job, asked.acts, asked.times

    def of(day: int, *offers: str | None) -> tuple[int, ...]:
        return tuple(a for a, act in enumerate(acts) if act.offer in offers and act.day == day)

    for day in range(times.days):
        if policy.kind == "exclusive" and policy.within is not None:
            for offer in policy.exclusive:
                used = asked.used(others_near(policy, offer, times, day))
                yield Closed(of(day, offer), used > 0)
        elif policy.kind == "not_after":
            before, after = in_order(policy, times, day)
            yield Closed(of(day, policy.offer), asked.used(before) > 0)
            yield Closed(of(day, *policy.not_after), asked.used(after) > 0)
        elif policy.kind == "only_after":
            latest = asked.latest[burst_of(policy, Group("offers", tuple(policy.only_after), ()))]
            since = _ago(policy.within or EVER, asked.instant(day))
            yield Closed(of(day, policy.offer), latest <= since)
        elif policy.kind == "cool_down":
            since = _ago(policy.cool_down or EVER, asked.instant(day))
            for group in groups_of(policy, job, acts):
                rows = asked.latest[burst_of(policy, group)] > since
                yield Closed(group.on(day, day, acts).actions, rows)
        elif policy.kind in {"quiet", "blackout"}:
            rows = times.of_rows(is_closed(policy, times, day))
            for group in groups_of(policy, job, acts):
                yield Closed(group.on(day, day, acts).actions, rows)
    if policy.suppress is not None:
        mask = expressions.parse(policy.suppress, f"policies.{policy.name}.suppress")
        rows = tables.array(mask.mask(asked.features)).astype(bool)
        if policy.over == "household" and asked.households is not None:
            rows = asked.households.any(rows)
        for group in groups_of(policy, job, acts):
            yield Closed(group.actions, rows)


def _ago(duration: str, instant: Any) -> Any:
    """Return [S] int64, the instant so long before; before everything that was, for ever."""
    if duration == EVER:
        return library(instant).full_like(instant, NEVER)
    return instant - seconds(duration)


def _covers(job: Job, groups: Sequence[Group], acts: Sequence[Action]) -> list[list[int]]:
    """Return sets of caps that count every action: per channel, category or team, if whole.

    Each counts all days of a plan.
    """
    found, days = [], job.horizon.days
    of_plan = [len({acts[a].day for a in group.actions}) == days for group in groups]
    for per in PER[:3]:
        own = [d for d, group in enumerate(groups) if group.per == per and of_plan[d]]
        whole = len({a for d in own for a in groups[d].actions}) == len(acts)
        if whole and not (per == "channel" and packages(job)):
            found.append(own)
    return found


def may_be_stuck(job: Job) -> bool:
    """Return whether a policy wants offers together, so that what is open may fit in no bundle."""
    return any(p.at_least or (p.exactly or 0) > 1 or p.requires for p in job.policies)


def forbid_the_stuck(job: Job, found: Left, open_of: Callable[[slice], Any], side: Any) -> None:
    """Forbid all pairs of those who can have no bundle: a minimum or a requirement fails.

    Args:
        job: the job.
        found: what the policies leave; what they forbid is added to.
        open_of: [A, n] bool of n rows: the pairs that nothing else closes.
        side: the array library.
    """
    if not may_be_stuck(job):
        return
    acts, names, own_rules = actions_of(job), list(job.catalogue.offers), rules(job)
    offer = np.array([names.index(a.offer) for a in acts], np.int32)
    stuck = side.zeros(len(found.most), bool)
    for low in range(0, len(stuck), CHUNK):
        own = slice(low, low + CHUNK)
        open_ = open_of(own)
        sizes = found.most[own], found.fewest[own], side.ascontiguousarray(found.cap[:, own])
        stuck[own] = open_.any(axis=0) & ~has_bundle(own_rules, offer, open_, sizes, side)
    for policy in job.policies:
        if policy.at_least or (policy.exactly or 0) > 1:
            found.closed[policy.name].append(Closed(tuple(range(len(acts))), stuck))
        elif policy.requires:
            held = tuple(a for a, act in enumerate(acts) if act.offer == policy.offer)
            found.closed[policy.name].append(Closed(held, stuck))
