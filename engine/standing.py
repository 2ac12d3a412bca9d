"""Where one subscriber stands with each policy: what counts, what is blocked, and until when.

Of a plan a cap tells its fullest window, that of the first day on which the history uses the most
of it; where it blocks, until when from that day on. All else is of the first day, but for the
actions that are blocked: those are of all days.

The answer to "until when" is of this policy alone and of the history as it is. A contact at t
counts in a sliding window of length D until t + D, so it forbids until then; a calendar cap forbids
until its period ends, a cool-down until its outcome is D old.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from engine import policies, zones
from engine.actions import actions_of
from engine.history import TEXTS, History
from engine.history_events import Kind
from engine.ingest import KEY, TIME
from engine.policy_groups import BY_CONTACT, Group, groups_of, packages
from engine.policy_questions import Asked, burst_of
from engine.send_times import around, send_times, strictly
from engine.settings import Job
from engine.settings.base import seconds
from engine.settings.policies import EVER, ContactPolicy, clock_s
from engine.spans import cap_windows


@dataclass(frozen=True)
class Contact:
    """A contact of the history."""

    time: int  # s
    kind: Kind
    number: Any  # contacts of equal number are one where caps count contacts
    of: int  # row of the profile whose it is; 0: the subscriber's own


@dataclass(frozen=True)
class Standing:
    """What a policy says of a subscriber, for one group of its actions."""

    policy: str
    kind: str
    group: str  # what it counts or closes: "all", or a channel, category, ...
    contacts: tuple[Contact, ...]  # in its window, oldest first
    used: int | None  # None: it is no cap
    allowed: int | None
    day: int | None  # of a cap: the day, from 0 on, of the contact that its window is around
    blocked: tuple[int, ...]  # actions
    until: int | None  # s, when it blocks them no longer; None: nothing blocked, or nobody knows


def standings(job: Job, features: Any, history: History) -> list[Standing]:
    """Return where a subscriber stands with each policy that looks at history or clock.

    Args:
        job: the job.
        features: the subscriber's row of the profile, then those of the other members of its
            household: a policy over households tells what all their history says.
        history: their history.
    """
    asked, every = Asked.of(job, features, history), _contacts(job, features, history)
    own = [contact for contact in every if contact.of == 0]
    return [
        one for policy in job.policies
        for one in _Subscriber(job, asked, every if policy.over == "household" else own).of(policy)
    ]  # fmt: skip


def instant_of(job: Job, features: Any) -> tuple[int, str]:
    """Return when the subscriber of the first row is contacted, and the time zone."""
    times = send_times(job, features)
    z = int(times.zone[0])
    return times.instants[z][0], times.zones[z]


def _contacts(job: Job, features: Any, history: History) -> list[Contact]:
    if history.contacts is None:
        return []
    frame = history.contacts.sort_values(TIME, kind="stable")
    package = {offer: n for n, offers in enumerate(packages(job)) for offer in offers}
    place = {key: row for row, key in enumerate(features["subscriber"].tolist())}
    found: list[Contact] = []
    for row in frame.to_dict("records"):
        said = {name: str(row[name]) for name in TEXTS if isinstance(row.get(name), str)}
        kind = Kind.of(job, {"offer": "", "channel": "", **said})
        one = (package[kind.offer], kind.channel) if kind.offer in package else len(found)
        of = place[row[KEY]]
        found.append(Contact(int(row[TIME]), kind, (int(row[TIME]), one, of), of))
    return found


@dataclass(frozen=True, eq=False)
class _Subscriber:
    job: Job
    asked: Asked
    contacts: Sequence[Contact]

    @property
    def at(self) -> int:
        """Return when the subscriber is contacted first."""
        return self.asked.times.instants[self._zone][0]

    def of(self, policy: ContactPolicy) -> Iterator[Standing]:
        """Yield where it stands with a policy, group by group."""
        acts = actions_of(self.job)
        by_offer = {o: tuple(a for a, x in enumerate(acts) if x.offer == o)
                    for o in self.job.catalogue.offers}  # fmt: skip
        if policy.cap is not None:
            for group in groups_of(policy, self.job, acts):
                yield self._cap(policy, group)
        elif policy.kind == "exclusive" and policy.within is not None:
            for offer in policy.exclusive:
                others = [o for o in policy.exclusive if o != offer]
                inside = self._inside(around(policy, self.asked.times), others)
                yield self._ended(policy, offer, inside, by_offer[offer])
        elif policy.kind == "not_after":
            yield from self._ordered(policy, by_offer)
        elif policy.kind == "cool_down":
            for group in groups_of(policy, self.job, acts):
                latest = int(self.asked.latest[burst_of(policy, group)][0])
                end = latest + seconds(policy.cool_down or "")
                blocked = self._blocked(policy, group.actions, is_first=end > self.at)
                yield Standing(policy.name, policy.kind, group.text, (), None, None, None, blocked,
                               end if end > self.at else None)  # fmt: skip
        elif policy.kind in {"quiet", "blackout", "suppress", "only_after"}:
            yield self._closed(policy)

    def _cap(self, policy: ContactPolicy, group: Group) -> Standing:
        cap = policy.cap or 0
        counted = [c for c in self.contacts if c.kind.is_of(group.per, group.names)]
        once = bool(packages(self.job)) and group.per in BY_CONTACT

        def fullest(width: int, begin: int, end: int) -> int:
            ends = {begin, *(c.time for c in counted if begin < c.time <= end)}
            inside = ([c for c in counted if e - width < c.time <= e] for e in ends)
            return max(len({c.number for c in some}) if once else len(some) for some in inside)

        windows = [cap_windows(policy, self.asked.times, d) for d in range(self.job.horizon.days)]
        used = [0 if own is None else fullest(*own[self._zone]) for own in windows]
        day = used.index(max(used))
        most, own = used[day], windows[day]
        width, first, last = (0, 0, 0) if own is None else own[self._zone]
        inside = [c for c in counted if own is not None and first - width < c.time <= last]
        until = None
        if most >= cap > 0 and policy.each is not None:
            until = last + 1
        elif most >= cap > 0 and (policy.spacing or policy.within) not in (None, EVER):
            at = self.asked.times.instants[self._zone][day]
            ends = sorted(c.time + width for c in counted if c.time + width > at)
            until = next(u for u in ends if fullest(width, u, u + width - 1) < cap)
        blocked = self._blocked(policy, group.actions, is_first=most >= cap)
        return Standing(
            policy.name, policy.kind, group.text, tuple(inside), most, cap, day, blocked, until
        )

    @property
    def _zone(self) -> int:
        return int(self.asked.times.zone[0])

    def _inside(self, windows: Any, offers: Sequence[str]) -> list[Contact]:
        width, _, last = windows[self._zone]
        return [
            c for c in self.contacts if c.kind.offer in offers and last - width < c.time <= last
        ]

    def _ended(
        self, policy: ContactPolicy, name: str, inside: Sequence[Contact], own: tuple[int, ...]
    ) -> Standing:
        """Return a standing that ends when the newest contact is so old as the policy says."""
        until = None
        if inside and policy.within != EVER:
            until = inside[-1].time + seconds(policy.within or "")
        blocked = self._blocked(policy, own, is_first=bool(inside))
        return Standing(
            policy.name, policy.kind, name, tuple(inside), None, None, None, blocked, until
        )

    def _ordered(
        self, policy: ContactPolicy, by_offer: dict[str, tuple[int, ...]]
    ) -> Iterator[Standing]:
        times, offer = self.asked.times, policy.offer or ""
        earlier = self._inside(strictly(policy, times, before=True), policy.not_after)
        yield self._ended(policy, offer, earlier, by_offer[offer])
        later = self._inside(strictly(policy, times, before=False), [offer])
        own = tuple(a for name in policy.not_after for a in by_offer[name])
        name = " or ".join(policy.not_after)
        blocked = self._blocked(policy, own, is_first=bool(later))
        yield Standing(policy.name, policy.kind, name, tuple(later), None, None, None, blocked,
                       later[-1].time if later else None)  # fmt: skip

    def _blocked(
        self, policy: ContactPolicy, own: tuple[int, ...], *, is_first: bool
    ) -> tuple[int, ...]:
        """Return which of some actions a policy forbids by itself.

        Args:
            policy: the policy.
            own: the actions, on all days.
            is_first: whether it forbids them on the first day; of one day that is all.
        """
        if self.job.horizon.days == 1:
            return own if is_first else ()
        forbidden = self._forbidden(policy)
        return tuple(a for a in own if a in forbidden)

    def _forbidden(self, policy: ContactPolicy) -> set[int]:
        """Return the actions, each on its day, that a policy forbids by itself."""
        closed = policies.left_of(self.asked, [policy]).closed[policy.name]
        return {a for one in closed if bool(one.rows[0]) for a in one.actions}

    def _closed(self, policy: ContactPolicy) -> Standing:
        """Return a standing that has nothing to count: hours, days and conditions."""
        blocked = tuple(sorted(self._forbidden(policy)))
        until, zone = None, zones.zone(self.asked.times.zones[self._zone])
        is_first = any(a % self.job.horizon.days == 0 for a in blocked)
        if is_first and policy.quiet is not None:
            until = zones.next_local(zone, self.at, clock_s(policy.quiet.split("-")[1]))[0]
        elif is_first and policy.blackout:
            day = zones.local_date(zone, self.at)
            while day in policy.blackout:
                day += zones.ONE_DAY
            until = zones.day_start(zone, day)
        return Standing(policy.name, policy.kind, "all", (), None, None, None, blocked, until)
