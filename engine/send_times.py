"""When the contacts of a run go out, in each subscriber's time zone, and windows around it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from engine import tables, zones
from engine.settings import Job
from engine.settings.base import seconds
from engine.settings.policies import EVER, WEEKDAYS, ContactPolicy, clock_s

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
    instants: tuple[int, ...]  # [Z] s


def instant_in(job: Job, zone: str) -> int:
    """Return when contacts go out to subscribers of a time zone, s."""
    start = int((job.horizon.start or job.as_of).timestamp())
    if job.horizon.at is None:
        return start
    return zones.next_local(zones.zone(zone), start, clock_s(job.horizon.at))


def send_times(job: Job, features: Any) -> SendTimes:
    """Return the time zones of a partition, and when contacts go out.

    Raises:
        DataError: subscribers have time zones that do not exist.
    """
    column = job.inputs.subscribers.time_zone
    if column is None:
        zone = tables.array_library(features).zeros(len(features), "int32")
        return SendTimes((job.time_zone,), zone, (instant_in(job, job.time_zone),))
    names, codes = zones.codes(features[column], job.time_zone)
    names = names or [job.time_zone]  # of nobody
    return SendTimes(tuple(names), codes, tuple(instant_in(job, name) for name in names))


def cap_windows(policy: ContactPolicy, times: SendTimes) -> tuple[Window, ...] | None:
    """Return, by time zone, the windows whose fullest counts for a cap; None: it has no past.

    A sliding window is any that the new contact is in, so contacts that are booked for later count
    as well; a calendar period is one window.
    """
    found: list[Window] = []
    for name, at in zip(times.zones, times.instants, strict=True):
        within = policy.spacing or policy.within
        if policy.each is not None:
            first_day = WEEKDAYS.index(policy.week_starts)
            begin, end = zones.period(zones.zone(name), at, policy.each, first_day)
            found.append((end - begin, end - 1, end - 1))
        elif within == EVER:
            found.append((LONGEST, LAST, LAST))
        elif within is not None:
            width = seconds(within)
            found.append((width, at, at + width - 1))
    return tuple(found) or None


def past_windows(policy: ContactPolicy, times: SendTimes) -> tuple[Window, ...] | None:
    """Return, by time zone, the window up to the new contact; None: it has no past."""
    if policy.within is None:
        return None
    width = LONGEST if policy.within == EVER else seconds(policy.within)
    return tuple((width, at, at) for at in times.instants)


def around(policy: ContactPolicy, times: SendTimes) -> tuple[Window, ...] | None:
    """Return, by time zone, the instants less than ``within`` from the new contact."""
    if policy.within is None:
        return None
    if policy.within == EVER:
        return tuple((LONGEST, LAST, LAST) for _ in times.instants)
    width = seconds(policy.within)
    return tuple((2 * width - 1, at + width - 1, at + width - 1) for at in times.instants)


def strictly(policy: ContactPolicy, times: SendTimes, *, before: bool) -> tuple[Window, ...] | None:
    """Return, by time zone, the instants less than ``within`` before (or after) the new contact."""
    if policy.within is None:
        return None
    found = []
    for at in times.instants:
        reach = LONGEST if policy.within == EVER else seconds(policy.within)
        low, high = (at - reach, at - 1) if before else (at, min(at + reach - 1, LAST))
        found.append((high - low, high, high) if high > low else NONE)
    return tuple(found)


def is_closed(policy: ContactPolicy, times: SendTimes) -> Any:
    """Return [Z] bool: whether quiet hours or a blackout close the instant of a time zone."""
    found = np.zeros(len(times.zones), bool)
    for z, (name, at) in enumerate(zip(times.zones, times.instants, strict=True)):
        zone = zones.zone(name)
        if policy.quiet is not None:
            found[z] = zones.is_quiet(zone, at, *map(clock_s, policy.quiet.split("-")))
        else:
            found[z] = zones.local_date(zone, at) in policy.blackout
    return found
