"""How often subscribers are contacted: by day, and in the window of each cap, this run included.

A cap over households counts the contacts of all members together, and each household once.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np

from engine import tables, zones
from engine.actions import actions_of
from engine.history import History
from engine.ingest import TIME
from engine.policy_groups import BY_CONTACT, Group, contact_codes, groups_of, name_of
from engine.policy_questions import Asked
from engine.settings import Job
from engine.settings.base import seconds
from engine.settings.policies import EVER

ONE_DAY = timedelta(days=1)
MOST_DAYS, SOME_DAYS, PERIOD_DAYS = 92, 30, {"day": 7, "week": 14, "month": 62}


@dataclass(frozen=True)
class Counted:
    """How many subscribers, or households, have so many contacts in the window of a cap."""

    policy: str
    group: str  # what is counted: "all", or a channel, category, ...
    over: str  # whose contacts: each "subscriber", or each "household", those of one included
    cap: int
    before: dict[int, int]  # contacts -> subscribers or households, this run aside
    after: dict[int, int]  # this run included


@dataclass(frozen=True)
class Contacts:
    """Contacts of some partitions."""

    past: dict[str, int]  # local date -> contacts of the history, booked ones too
    planned: dict[str, int]  # local date -> contacts of this run
    counted: tuple[Counted, ...]  # each group of each cap, in the order of the job


def contacts(past: Asked, history: History, chosen: Any) -> Contacts:
    """Return how often a partition's subscribers are contacted.

    Exempt contacts of this run count in windows as those of the history do.

    Args:
        past: what policies ask of the history, on the host.
        history: the partition's history, on the host.
        chosen: [Q, S] int16, the actions of this run, then -1.
    """
    job = past.job
    zone, reach = zones.zone(job.time_zone), days_shown(job)
    now = int(job.as_of.timestamp())
    first = zones.local_date(zone, now) - reach * ONE_DAY
    place, row = np.nonzero(chosen >= 0)
    sent = past.times.table[past.times.zone[row], chosen[place, row] % past.times.days]
    last = zones.local_date(zone, int(max([now, *sent.max(initial=now, keepdims=True)])))
    dates = [first + i * ONE_DAY for i in range((last - first).days + reach + 1)]
    edges = np.array([zones.day_start(zone, day) for day in [*dates, dates[-1] + ONE_DAY]])

    def by_date(times: Any) -> dict[str, int]:
        at = np.searchsorted(edges, times, side="right")
        count = np.bincount(at, minlength=len(edges) + 1)[1:-1]
        return {dates[i].isoformat(): int(count[i]) for i in np.flatnonzero(count).tolist()}

    frame = history.contacts
    times = np.empty(0, np.int64) if frame is None else tables.array(frame[TIME])
    return Contacts(by_date(times), by_date(sent), tuple(_counted(past, chosen)))


def days_shown(job: Job) -> int:
    """Return how many days back contacts are told: as far as the longest window, within reason."""
    caps = [policy for policy in job.policies if policy.cap is not None]
    widths = [policy.spacing or policy.within for policy in caps]
    found = [-(-seconds(w) // 86_400) for w in widths if w is not None and w != EVER]
    found += [PERIOD_DAYS[policy.each] for policy in caps if policy.each is not None]
    return min(MOST_DAYS, max(found, default=SOME_DAYS))


def _counted(past: Asked, chosen: Any) -> Iterator[Counted]:
    job, acts = past.job, actions_of(past.job)
    contact = np.array([*contact_codes(job, [(a.offer, a.channel) for a in acts]), -1])
    for policy in job.policies:
        if policy.cap is None:
            continue
        for group in groups_of(policy, job, acts):
            counts, size = _counts(job, group), chosen.shape[1]
            rows, households = np.arange(size), None
            if policy.over == "household" and past.households is not None:
                households, rows = past.households, past.households.one
            before, after = np.zeros((2, size), np.int64)
            for span, used in past.spans(policy, group):
                inside = [span.first <= a.day <= span.last for a in acts]
                planned = _planned(chosen, counts & np.array([*inside, False]), contact, group)
                if households is not None:
                    planned = households.total(planned)
                held = np.array(span.is_held)[past.times.zone]
                np.maximum(before, used * held, out=before)
                np.maximum(after, (used + planned) * held, out=after)
            numbers = _tally(before[rows]), _tally(after[rows])
            yield Counted(policy.name, group.text, policy.over, policy.cap, *numbers)


def _counts(job: Job, group: Group) -> Any:
    """Return [A + 1] bool, the actions that a group's cap counts, exempt ones too; no action."""
    acts = actions_of(job)
    inside = [not group.names or name_of(job, group.per, a) in group.names for a in acts]
    return np.array([*inside, False])


def _planned(chosen: Any, counts: Any, contact: Any, group: Group) -> Any:
    """Return [S] int64, how many contacts (or offers) of this run a cap counts."""
    if group.per not in BY_CONTACT:
        return counts[chosen].sum(axis=0)
    own = np.sort(np.where(counts[chosen], contact[chosen], -1), axis=0)
    is_new = own >= 0
    is_new[1:] &= own[1:] != own[:-1]
    return is_new.sum(axis=0)


def _tally(numbers: Any) -> dict[int, int]:
    count = np.bincount(numbers)
    return {n: int(count[n]) for n in np.flatnonzero(count).tolist()}


def merged(parts: Sequence[Contacts]) -> Contacts:
    """Return the contacts of all partitions together; there is one at least."""
    counted = tuple(
        Counted(own[0].policy, own[0].group, own[0].over, own[0].cap,
                _sum(o.before for o in own), _sum(o.after for o in own))
        for own in zip(*(part.counted for part in parts), strict=True)
    )  # fmt: skip
    return Contacts(_sum(p.past for p in parts), _sum(p.planned for p in parts), counted)


def _sum(found: Iterable[dict[Any, int]]) -> dict[Any, int]:
    total: Counter[Any] = Counter()
    for own in found:
        total.update(own)
    return {key: total[key] for key in sorted(total)}


def shown(found: Contacts) -> dict[str, Any]:
    """Return what the summary tells: by day, without gaps; and by cap, the numbers from 0 on."""
    known = sorted({*found.past, *found.planned})
    days: list[dict[str, Any]] = []
    if known:
        first, last = date.fromisoformat(known[0]), date.fromisoformat(known[-1])
        for i in range((last - first).days + 1):
            day = (first + i * ONE_DAY).isoformat()
            days.append({"day": day, "past": found.past.get(day, 0),
                         "planned": found.planned.get(day, 0)})  # fmt: skip
    caps = [
        {"policy": one.policy, "group": one.group, "over": one.over, "cap": one.cap,
         "before": _listed(one.before, one.after), "after": _listed(one.after, one.before)}
        for one in found.counted
    ]  # fmt: skip
    return {"days": days, "caps": caps}


def _listed(numbers: dict[int, int], other: dict[int, int]) -> list[int]:
    return [numbers.get(n, 0) for n in range(max([*numbers, *other], default=0) + 1)]
