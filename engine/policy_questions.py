"""What the contact policies of a job want to know of a partition's history, and what it answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from engine import tables
from engine.actions import Action, actions_of
from engine.history import History
from engine.history_counts import Burst, Counter, Subscribers, contacts_in, latest_outcomes
from engine.households import Households, households_of
from engine.policy_groups import BY_CONTACT, Group, groups_of, packages
from engine.send_times import (
    LONGEST,
    SendTimes,
    Window,
    around,
    past_windows,
    send_times,
    strictly,
)
from engine.settings import Job
from engine.settings.base import seconds
from engine.settings.policies import CAPS, EVER, ContactPolicy
from engine.spans import Span, spans


@dataclass(frozen=True, eq=False)
class Asked:
    """What the policies of a job ask of a partition's history, and what it answers."""

    job: Job
    acts: Sequence[Action]
    features: Any
    times: SendTimes
    households: Households | None  # None: no policy asks for them
    counts: dict[Counter, Any]  # [S] uint8
    latest: dict[Burst, Any]  # [S] int64

    @classmethod
    def of(cls, job: Job, features: Any, history: History) -> "Asked":
        """Ask the history all that the policies want to know, in one pass of each table.

        Raises:
            DataError: subscribers have time zones that do not exist, or households do not fit, see
                :func:`engine.households.households_of`.
        """
        acts, times = actions_of(job), send_times(job, features)
        asked = [one for policy in job.policies for one in _questions(policy, job, acts, times)]
        counters = list(dict.fromkeys(one for one in asked if isinstance(one, Counter)))
        bursts = list(dict.fromkeys(one for one in asked if isinstance(one, Burst)))
        households = households_of(job, features, times)
        own = Subscribers(features["subscriber"], times, households)
        return cls(
            job, acts, features, times, households,
            contacts_in(job, own, history, counters),
            latest_outcomes(job, own, history, bursts),
        )  # fmt: skip

    def used(self, counter: Counter | None) -> Any:
        """Return [S] uint8, what the history has of a counter's contacts; 0 without one."""
        side = tables.array_library(self.features)
        return side.zeros(len(self.features), "uint8") if counter is None else self.counts[counter]

    def instant(self, day: int) -> Any:
        """Return when each subscriber is contacted on a day, [S] int64 s."""
        side = tables.array_library(self.features)
        return side.asarray(self.times.table[:, day])[self.times.zone]

    def spans(self, policy: ContactPolicy, group: Group) -> Iterator[tuple[Span, Any]]:
        """Yield the runs of days of a cap, and what their fullest windows hold, [S] uint8.

        Args:
            policy: with a cap.
            group: one that it counts.
        """
        for span in spans(policy, self.times):
            yield span, self.used(counter_of(self.job, group, span.windows, policy.over))


def _questions(
    policy: ContactPolicy, job: Job, acts: Sequence[Action], times: SendTimes
) -> Iterator[Counter | Burst]:
    """Yield what a policy wants to know of the history."""
    if policy.kind in CAPS:
        runs = spans(policy, times)
        for group in groups_of(policy, job, acts):
            found = (counter_of(job, group, span.windows, policy.over) for span in runs)
            yield from (counter for counter in found if counter is not None)
    elif policy.kind in {"exactly", "at_least"} and policy.within is not None:
        yield offers_before(policy, times)
    elif policy.kind == "exclusive" and policy.within is not None:
        for offer in policy.exclusive:
            yield from (others_near(policy, offer, times, day) for day in range(times.days))
    elif policy.kind == "not_after":
        for day in range(times.days):
            yield from in_order(policy, times, day)
    elif policy.kind == "cool_down":
        yield from (burst_of(policy, group) for group in groups_of(policy, job, acts))
    elif policy.kind == "only_after":
        yield burst_of(policy, Group("offers", tuple(policy.only_after), ()))


def counter_of(
    job: Job, group: Group, windows: tuple[Window, ...] | None, over: str
) -> Counter | None:
    """Return what counts the contacts of a cap's group; None: no past counts."""
    if windows is None:
        return None
    by_contact = bool(packages(job)) and group.per in BY_CONTACT
    return Counter(group.per, group.names, windows, by_contact, over)


def offers_before(policy: ContactPolicy, times: SendTimes) -> Counter:
    """Return what counts the offers of a minimum, up to the first day."""
    windows = past_windows(policy, times)
    assert windows is not None
    return Counter("all", (), windows)


def others_near(policy: ContactPolicy, offer: str, times: SendTimes, day: int) -> Counter:
    """Return what counts the offers that exclude one on a day."""
    windows = around(policy, times, day)
    assert windows is not None
    others = tuple(o for o in policy.exclusive if o != offer)
    return Counter("offers", others, windows, over=policy.over)


def in_order(policy: ContactPolicy, times: SendTimes, day: int) -> tuple[Counter, Counter]:
    """Return what counts the offers before this one of a day, and this one after each of them."""
    before, after = (strictly(policy, times, day, before=side) for side in (True, False))
    assert policy.offer is not None
    assert before is not None
    assert after is not None
    own = (policy.offer,)
    return Counter("offers", tuple(policy.not_after), before), Counter("offers", own, after)


def burst_of(policy: ContactPolicy, group: Group) -> Burst:
    """Return what tells when outcomes last closed a group's actions, or opened them."""
    is_ever = policy.within in (None, EVER) or policy.kind == "only_after"
    width = LONGEST if is_ever else seconds(policy.within or "")
    return Burst(
        group.per, group.names, tuple(policy.outcome), policy.times, width, policy.over
    )  # fmt: skip
