"""When the contacts of a run go out, in each subscriber's time zone, and windows around them.

A plan of N days has a send time on each: on the first day at the first instant that the job allows,
then at the same time of day, a calendar day later each. Z time zones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from engine import tables, zones
from engine.settings import Job
from engine.settings.base import seconds
from engine.settings.policies import EVER, ContactPolicy, clock_s
from kernels.backend import library

Window = tuple[int, int, int]
"""Width, and the first and last instant at which it may end, s: (u - width, u]."""

LONGEST = 1 << 62  # of a window that holds everything
LAST = 1 << 61  # its end, after everything
NONE = (1, LAST, LAST)  # one without events


@dataclass(frozen=True, eq=False)
class SendTimes:
    """The time zones of a partition's subscribers, and when contacts go out there."""

    zones: tuple[str, ...]
    zone: Any  # [S] int32, in [0, Z)
    instants: tuple[tuple[int, ...], ...]  # [Z, N] s, never earlier on a later day

    @property
    def days(self) -> int:
        """Return N."""
        return len(self.instants[0])

    def on(self, day: int) -> tuple[int, ...]:
        """Return [Z] s, when contacts of a day go out."""
        return tuple(own[day] for own in self.instants)

    def of_rows(self, by_zone: Sequence[Any]) -> Any:
        """Return [S] what is known by time zone, on the side of the rows."""
        return library(self.zone).asarray(np.array(by_zone))[self.zone]

    @cached_property
    def table(self) -> Any:
        """Return [Z, N] int64 s on the host."""
        return np.array(self.instants, np.int64)


@cache
def instants_in(start: int, clock: int | None, days: int, name: str) -> tuple[int, ...]:
    """Return when contacts go out in a time zone on each day.

    Args:
        start: first instant, s.
        clock: time of day there, s since midnight; None: that of ``start``, and at once.
        days: N.
        name: the time zone.
    """
    zone = zones.zone(name)
    first, date = start, zones.local_date(zone, start)
    if clock is None:
        clock = zones.local_clock(zone, start)
    else:
        first, date = zones.next_local(zone, start, clock)
    later = (zones.at_local(zone, date + day * zones.ONE_DAY, clock) for day in range(1, days))
    return (first, *later)


def plan_of(job: Job) -> tuple[int, int | None, int]:
    """Return what of a job the instants depend on: start, clock and days."""
    start = int((job.horizon.start or job.as_of).timestamp())
    at = job.horizon.at
    return start, None if at is None else clock_s(at), job.horizon.days


def send_times(job: Job, features: Any) -> SendTimes:
    """Return the time zones of a partition, and when contacts go out.

    Raises:
        DataError: subscribers have time zones that do not exist.
    """
    column, plan = job.inputs.subscribers.time_zone, plan_of(job)
    if column is None:
        zone = tables.array_library(features).zeros(len(features), "int32")
        return SendTimes((job.time_zone,), zone, (instants_in(*plan, job.time_zone),))
    names, codes = zones.codes(features[column], job.time_zone)
    names = names or [job.time_zone]  # of nobody
    return SendTimes(tuple(names), codes, tuple(instants_in(*plan, name) for name in names))


def past_windows(policy: ContactPolicy, times: SendTimes) -> tuple[Window, ...] | None:
    """Return, by time zone, the window up to the first day's contact; None: it has no past."""
    if policy.within is None:
        return None
    width = LONGEST if policy.within == EVER else seconds(policy.within)
    return tuple((width, at, at) for at in times.on(0))


def around(policy: ContactPolicy, times: SendTimes, day: int = 0) -> tuple[Window, ...] | None:
    """Return, by time zone, the instants less than ``within`` from the new contact of a day."""
    if policy.within is None:
        return None
    if policy.within == EVER:
        return tuple((LONGEST, LAST, LAST) for _ in times.zones)
    width = seconds(policy.within)
    return tuple((2 * width - 1, at + width - 1, at + width - 1) for at in times.on(day))


def strictly(
    policy: ContactPolicy, times: SendTimes, day: int = 0, *, before: bool
) -> tuple[Window, ...] | None:
    """Return, by time zone, the instants less than ``within`` before (or after) the new contact."""
    if policy.within is None:
        return None
    found = []
    for at in times.on(day):
        reach = LONGEST if policy.within == EVER else seconds(policy.within)
        low, high = (at - reach, at - 1) if before else (at, min(at + reach - 1, LAST))
        found.append((high - low, high, high) if high > low else NONE)
    return tuple(found)


def is_closed(policy: ContactPolicy, times: SendTimes, day: int = 0) -> Any:
    """Return [Z] bool: whether quiet hours or a blackout close a day's instant in a time zone."""
    found = np.zeros(len(times.zones), bool)
    for z, (name, at) in enumerate(zip(times.zones, times.on(day), strict=True)):
        zone = zones.zone(name)
        if policy.quiet is not None:
            found[z] = zones.is_quiet(zone, at, *map(clock_s, policy.quiet.split("-")))
        else:
            found[z] = zones.local_date(zone, at) in policy.blackout
    return found
