"""What a contact history says of a partition's subscribers: contacts in windows, latest outcomes.

Counters count some kinds of events; all counters of a job are found in one pass of
:mod:`kernels.contact_windows`, those over households in one more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from engine import tables
from engine.history import History, accepting
from engine.history_events import Events, Kind, events_of
from engine.households import Households
from engine.policy_groups import contact_codes, packages
from engine.send_times import SendTimes
from engine.settings import Job
from kernels import latest_burst, most_in_window
from kernels.contact_windows import NEVER


@dataclass(frozen=True)
class Counter:
    """Contacts of a group in a window; the window, by time zone: width, first and last end."""

    per: str
    names: tuple[str, ...]
    windows: tuple[tuple[int, int, int], ...]
    by_contact: bool = False  # whether a package on one channel counts once
    over: str = "subscriber"  # or "household": of whose members the contacts count together


@dataclass(frozen=True)
class Burst:
    """So many outcomes of a group within a window."""

    per: str
    names: tuple[str, ...]
    outcomes: tuple[str, ...]  # empty: accepts
    times: int
    width: int  # s
    over: str = "subscriber"  # as in Counter


Asked = TypeVar("Asked", Counter, Burst)


@dataclass(frozen=True, eq=False)
class Subscribers:
    """The subscribers of a partition."""

    key: Any  # [S] series
    times: SendTimes  # when they are contacted
    households: Households | None  # None: nothing is asked of households


def contacts_in(
    job: Job, own: Subscribers, history: History, counters: Sequence[Counter]
) -> dict[Counter, Any]:
    """Return for each counter the most contacts that a window of it holds, [S] uint8, up to 255.

    Args:
        job: the job.
        own: the partition's subscribers.
        history: their history.
        counters: what is counted.
    """
    side = tables.array_library(own.key)
    if history.contacts is None or not counters or not len(history.contacts):
        return {counter: side.zeros(len(own.key), "uint8") for counter in counters}
    every = events_of(job, history.contacts, own.key)
    found: dict[Counter, Any] = {}
    for events, asked in _by_rows(every, own, counters):
        by_contact = np.array([counter.by_contact for counter in asked], np.uint8)
        bounds = np.array([counter.windows for counter in asked], np.int64)  # [C, Z, 3]
        used = most_in_window(
            events.time, events.code, events.indptr, events.of_rows(own.times.zone),
            *events.counted(lambda counter, kind: kind.is_of(counter.per, counter.names), asked),
            side.asarray(_contact(job, events)), side.asarray(by_contact),
            *(side.asarray(bounds[:, :, i].T.copy()) for i in range(3)),
        )  # fmt: skip
        found |= dict(zip(asked, events.back(used), strict=True))
    return found


def _by_rows(
    events: Events, own: Subscribers, asked: Sequence[Asked]
) -> Iterator[tuple[Events, list[Asked]]]:
    """Yield the events subscriber by subscriber and by household, each with what asks for them."""
    alone = [one for one in asked if one.over == "subscriber"]
    if alone:
        yield events, alone
    together = [one for one in asked if one.over == "household"]
    if together:
        assert own.households is not None
        tell = any(isinstance(one, Counter) and one.by_contact for one in together)
        yield events.merged(own.households, tell_members=tell), together


def _contact(job: Job, events: Events) -> Any:
    """Return [N] int32, equal for codes that are one contact at one instant; -1: by itself."""
    packed = {offer for package in packages(job) for offer in package}
    present = {n: (k.offer, k.channel) for n, k in events.kinds.items() if k.offer in packed}
    kinds = np.full(events.codes // events.members, -1, np.int32)
    kinds[list(present)] = contact_codes(job, list(present.values()))
    found = kinds[:, None] * events.members + np.arange(events.members, dtype=np.int32)
    return np.where(kinds[:, None] < 0, -1, found).astype(np.int32).ravel()


def latest_outcomes(
    job: Job, own: Subscribers, history: History, bursts: Sequence[Burst]
) -> dict[Burst, Any]:
    """Return when each burst last was, [S] int64 s, ``kernels.contact_windows.NEVER`` if never.

    Arguments as in :func:`contacts_in`.
    """
    side = tables.array_library(own.key)
    if history.outcomes is None or not bursts or not len(history.outcomes):
        never = side.full(len(own.key), NEVER, "int64")
        return dict.fromkeys(bursts, never)
    every = events_of(job, history.outcomes, own.key, _accepts(job, history.outcomes))
    until = np.full(len(own.times.instants), int(job.as_of.timestamp()), np.int64)
    found: dict[Burst, Any] = {}
    for events, asked in _by_rows(every, own, bursts):
        latest = latest_burst(
            events.time, events.code, events.indptr, events.of_rows(own.times.zone),
            *events.counted(_is_of_burst, asked),
            side.asarray(np.array([burst.times for burst in asked], np.int32)),
            side.asarray(np.array([burst.width for burst in asked], np.int64)),
            side.asarray(until),
        )  # fmt: skip
        found |= dict(zip(asked, events.back(latest), strict=True))
    return found


def _accepts(job: Job, outcomes: Any) -> Any:
    """Return [E] bool, which outcomes are accepts."""
    condition = accepting(job)
    if condition is None:
        return tables.array_library(outcomes).ones(len(outcomes), bool)
    return tables.array(condition.mask(outcomes)).astype(bool)


def _is_of_burst(burst: Burst, kind: Kind) -> bool:
    answers = kind.outcome in burst.outcomes if burst.outcomes else kind.is_accepted
    return answers and kind.is_of(burst.per, burst.names)
