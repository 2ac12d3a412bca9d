"""The days of a plan that a policy's windows hold together, in each time zone.

A cap of N in every window of a length W asks: where a window holds days i to d of the plan, and no
others, the contacts planned on these days are at most N less the contacts that the history has in
the window. As a window slides from the first day on, days come in and go out at 2 N instants; in
between its days are the same, a *run*, and the fullest of these windows counts. So a policy has at
most 2 N - 1 runs, each with the windows that hold just it. A calendar period is one window.

Runs differ by time zone where clocks change. What is the same for all subscribers of a job, such as
the caps of its bundles, goes by the runs of all time zones that there may be.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from engine import zones
from engine.send_times import LAST, LONGEST, NONE, SendTimes, Window, instants_in, plan_of
from engine.settings import Job
from engine.settings.base import seconds
from engine.settings.policies import EVER, WEEKDAYS, ContactPolicy

Run = tuple[int, int]  # first and last day, from 0 on
Reach = tuple[zones.Unit | None, str, int | None]
"""What runs depend on: a calendar period, the first day of its weeks, and a width, s."""


@dataclass(frozen=True)
class Span:
    """A run of days, and the windows that hold just these days."""

    first: int
    last: int
    windows: tuple[Window, ...] | None  # by time zone; None: it has no past
    is_held: tuple[bool, ...]  # by time zone: whether there are such windows


def spans(policy: ContactPolicy, times: SendTimes) -> list[Span]:
    """Return the runs of days that windows of a cap hold in a partition's time zones."""
    own = [
        _runs(_reach(policy), name, instants)
        for name, instants in zip(times.zones, times.instants, strict=True)
    ]
    has_past = policy.each is not None or policy.spacing or policy.within
    return [
        Span(
            *run,
            tuple(found.get(run, NONE) for found in own) if has_past else None,
            tuple(run in found for found in own),
        )
        for run in sorted({run for found in own for run in found})
    ]


def cap_windows(policy: ContactPolicy, times: SendTimes, day: int = 0) -> tuple[Window, ...] | None:
    """Return, by time zone, all windows of a cap that hold the contact of a day; None: no past."""
    own = [span for span in spans(policy, times) if span.first <= day <= span.last]
    held = [
        [span.windows[z] for span in own if span.is_held[z] and span.windows is not None]
        for z in range(len(times.zones))
    ]
    if not all(held):
        return None
    return tuple((some[0][0], min(w[1] for w in some), max(w[2] for w in some)) for some in held)


def runs_of(policy: ContactPolicy, job: Job) -> set[Run]:
    """Return the runs of days on which a cap bounds a plan, in all time zones there may be.

    Where the cap is 1, a run inside another one of its time zone bounds no more than that does: a
    contact of the history in its windows closes its days.
    """
    found: set[Run] = set()
    for own in _all_runs(_reach(policy), *plan_of(job), _zones_of(job)):
        found |= set(own) if policy.cap != 1 else {
            run for run in own
            if not any(o != run and o[0] <= run[0] and run[1] <= o[1] for o in own)
        }  # fmt: skip
    return found


def holds_plan(policy: ContactPolicy, job: Job) -> bool:
    """Return whether some window of a cap holds the whole plan, in any time zone."""
    plan = (0, job.horizon.days - 1)
    return all(plan in own for own in _all_runs(_reach(policy), *plan_of(job), _zones_of(job)))


def near_days(policy: ContactPolicy, instants: tuple[int, ...]) -> set[Run]:
    """Return the pairs of days that are apart by less than a policy's ``within``, both ways."""
    width = LONGEST if policy.within in {None, EVER} else seconds(policy.within or "")
    days = range(len(instants))
    return {(i, d) for i in days for d in days if abs(instants[d] - instants[i]) < width}


def later_days(policy: ContactPolicy, instants: tuple[int, ...]) -> set[Run]:
    """Return the pairs of days of which the second is later, by less than ``within``."""
    return {(i, d) for i, d in near_days(policy, instants) if instants[d] > instants[i]}


def all_instants(job: Job) -> frozenset[tuple[int, ...]]:
    """Return the send times after the first, s, in all time zones that there may be."""
    return _all_instants(*plan_of(job), _zones_of(job))


def _reach(policy: ContactPolicy) -> Reach:
    within = policy.spacing or policy.within
    width = LONGEST if within == EVER else 0 if within is None else seconds(within)
    return policy.each, policy.week_starts, width or None


def _runs(reach: Reach, name: str, instants: tuple[int, ...]) -> dict[Run, Window]:
    """Return the runs of a time zone, each with the windows that hold just its days."""
    each, _, width = reach
    if each is not None:
        return dict(_periods(reach, name, instants))
    if width is None or width == LONGEST:
        plan = (0, len(instants) - 1)
        return {plan: NONE if width is None else (LONGEST, LAST, LAST)}
    found: dict[Run, Window] = {}
    edges = sorted({*instants, *(at + width for at in instants)})
    for begin, end in pairwise(edges):
        inside = [day for day, at in enumerate(instants) if at <= begin < at + width]
        if inside:
            found[inside[0], inside[-1]] = (width, begin, end - 1)
    return found


def _periods(reach: Reach, name: str, instants: tuple[int, ...]) -> Iterator[tuple[Run, Window]]:
    """Yield the calendar periods of a time zone that days of the plan are in."""
    each, week_starts, _ = reach
    assert each is not None
    day = 0
    while day < len(instants):
        first_day = WEEKDAYS.index(week_starts)
        begin, end = zones.period(zones.zone(name), instants[day], each, first_day)
        last = max(d for d, at in enumerate(instants) if at < end)
        yield (day, last), (end - begin, end - 1, end - 1)
        day = last + 1


def _zones_of(job: Job) -> str | None:
    """Return the one time zone that there is; None: any."""
    return job.time_zone if job.inputs.subscribers.time_zone is None else None


@cache
def _all_instants(
    start: int, clock: int | None, days: int, only: str | None
) -> frozenset[tuple[int, ...]]:
    if days == 1:
        return frozenset({(0,)})
    found = set()
    for name in [only] if only else zones.names():
        first, *later = instants_in(start, clock, days, name)
        found.add((0, *(at - first for at in later)))
    return frozenset(found)


@cache
def _all_runs(
    reach: Reach, start: int, clock: int | None, days: int, only: str | None
) -> frozenset[frozenset[Run]]:
    """Return the runs of each time zone that there may be."""
    if days == 1:
        return frozenset({frozenset({(0, 0)})})
    if reach[0] is None:
        every = _all_instants(start, clock, days, only)
        return frozenset(frozenset(_runs(reach, zones.UTC, own)) for own in every)
    names = [only] if only else sorted(zones.names())
    return frozenset(
        frozenset(_runs(reach, name, instants_in(start, clock, days, name))) for name in names
    )
