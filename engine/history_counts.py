"""What a contact history says of a partition's subscribers: contacts in windows, latest outcomes.

Events are told apart by their kind: offer, channel and what else the table says of them. Counters
count some kinds; all counters of a job are found in one pass of :mod:`kernels.contact_windows`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from engine import tables
from engine.history import TEXTS, History, accepting
from engine.ingest import KEY, TIME
from engine.policy_groups import contact_codes, packages
from engine.send_times import SendTimes
from engine.settings import Job
from kernels import disordered, latest_burst, most_in_window, ranges
from kernels.backend import library, to_cpu
from kernels.contact_windows import NEVER

ACCEPTED = "accepted"  # outcomes for which the job's condition of accepts holds
KNOWN_CODES = 1 << 11  # combinations of texts that are numbered whether they occur or not


@dataclass(frozen=True)
class Counter:
    """Contacts of a group in a window; the window, by time zone: width, first and last end."""

    per: str
    names: tuple[str, ...]
    windows: tuple[tuple[int, int, int], ...]
    by_contact: bool = False  # whether a package on one channel counts once


@dataclass(frozen=True)
class Burst:
    """So many outcomes of a group within a window."""

    per: str
    names: tuple[str, ...]
    outcomes: tuple[str, ...]  # empty: accepts
    times: int
    width: int  # s


@dataclass(frozen=True)
class Kind:
    """What a history says of an event."""

    offer: str
    channel: str
    category: str | None
    team: str | None
    outcome: str
    is_accepted: bool

    @classmethod
    def of(cls, job: Job, said: Mapping[str, str]) -> "Kind":
        """Return what a table says of an event; the catalogue knows categories and teams too."""
        offer = job.catalogue.offers.get(said["offer"])
        return cls(
            said["offer"], said["channel"],
            said.get("category") or (offer.category if offer else None),
            said.get("team") or (offer.team if offer else None),
            said.get("outcome", ""), bool(said.get(ACCEPTED)),
        )  # fmt: skip

    def is_of(self, per: str, names: tuple[str, ...]) -> bool:
        """Return whether it belongs to a group."""
        if per == "all":
            return True
        own = {"channel": self.channel, "category": self.category, "team": self.team}
        return own.get(per, self.offer) in names


@dataclass(frozen=True, eq=False)
class Events:
    """Events of a partition, in order, on the side of its frames."""

    time: Any  # [E] int64 s
    code: Any  # [E] int32
    indptr: Any  # [S + 1] int64
    order: Any | None  # [S] which subscriber the rows of ``indptr`` are; None: in their order
    codes: int
    kinds: Mapping[int, Kind]  # of the codes that occur

    def counted(self, matches: Callable[[Any, Kind], bool], counters: Sequence[Any]) -> Any:
        """Return which counters count a code: indptr [N + 1] and counters, int32."""
        lists = [
            [c for c, counter in enumerate(counters) if matches(counter, self.kinds[n])]
            if n in self.kinds else []
            for n in range(self.codes)
        ]  # fmt: skip
        side = library(self.time)
        indptr = np.cumsum([0, *map(len, lists)]).astype(np.int32)
        flat = np.array([c for own in lists for c in own], np.int32)
        return side.asarray(indptr), side.asarray(flat)

    def back(self, found: Any) -> Any:
        """Return [C, S] in the order of the partition's rows."""
        if self.order is None:
            return found
        out = library(found).empty_like(found)
        out[:, self.order] = found
        return out


def contacts_in(
    job: Job, keys: Any, history: History, times: SendTimes, counters: Sequence[Counter]
) -> dict[Counter, Any]:
    """Return for each counter the most contacts that a window of it holds, [S] uint8, up to 255.

    Args:
        job: the job.
        keys: [S] series, the partition's subscribers.
        history: their history.
        times: when they are contacted.
        counters: what is counted.
    """
    side = tables.array_library(keys)
    if history.contacts is None or not counters or not len(history.contacts):
        return {counter: side.zeros(len(keys), "uint8") for counter in counters}
    events = _events(job, history.contacts, keys)
    packed = {offer for package in packages(job) for offer in package}
    present = {n: (k.offer, k.channel) for n, k in events.kinds.items() if k.offer in packed}
    contact = np.full(events.codes, -1, np.int32)
    contact[list(present)] = contact_codes(job, list(present.values()))
    bounds = np.array([counter.windows for counter in counters], np.int64)  # [C, Z, 3]
    width, first, last = (side.asarray(bounds[:, :, i].T.copy()) for i in range(3))
    zone = times.zone if events.order is None else times.zone[events.order]
    by_contact = np.array([counter.by_contact for counter in counters], np.uint8)
    used = most_in_window(
        events.time, events.code, events.indptr, zone,
        *events.counted(lambda counter, kind: kind.is_of(counter.per, counter.names), counters),
        side.asarray(contact), side.asarray(by_contact), width, first, last,
    )  # fmt: skip
    return dict(zip(counters, events.back(used), strict=True))


def latest_outcomes(
    job: Job, keys: Any, history: History, times: SendTimes, bursts: Sequence[Burst]
) -> dict[Burst, Any]:
    """Return when each burst last was, [S] int64 s, ``kernels.contact_windows.NEVER`` if never.

    Arguments as in :func:`contacts_in`.
    """
    side = tables.array_library(keys)
    if history.outcomes is None or not bursts or not len(history.outcomes):
        never = side.full(len(keys), NEVER, "int64")
        return dict.fromkeys(bursts, never)
    events = _events(job, history.outcomes, keys, _accepts(job, history.outcomes))
    zone = times.zone if events.order is None else times.zone[events.order]
    until = np.full(len(times.instants), int(job.as_of.timestamp()), np.int64)
    found = latest_burst(
        events.time, events.code, events.indptr, zone,
        *events.counted(_is_of_burst, bursts),
        side.asarray(np.array([burst.times for burst in bursts], np.int32)),
        side.asarray(np.array([burst.width for burst in bursts], np.int64)), side.asarray(until),
    )  # fmt: skip
    return dict(zip(bursts, events.back(found), strict=True))


def _accepts(job: Job, outcomes: Any) -> Any:
    """Return [E] bool, which outcomes are accepts."""
    condition = accepting(job)
    if condition is None:
        return tables.array_library(outcomes).ones(len(outcomes), bool)
    return tables.array(condition.mask(outcomes)).astype(bool)


def _is_of_burst(burst: Burst, kind: Kind) -> bool:
    answers = kind.outcome in burst.outcomes if burst.outcomes else kind.is_accepted
    return answers and kind.is_of(burst.per, burst.names)


def _events(job: Job, frame: Any, keys: Any, accepted: Any = None) -> Events:
    """Return the events of a partition's subscribers, subscriber by subscriber and in time.

    Args:
        job: the job.
        frame: contacts or outcomes.
        keys: the subscribers.
        accepted: [E] bool, which outcomes are accepts; None: of contacts.
    """
    keys, order = keys.reset_index(drop=True), None
    if not keys.is_monotonic_increasing:
        order = tables.array(keys.argsort())
        keys = keys.iloc[order].reset_index(drop=True)
    if accepted is not None:
        frame = frame.assign(**{ACCEPTED: accepted})
    frame = _in_order(frame)
    start, end = _ranges(frame[KEY], keys)
    if int((end - start).sum()) < len(frame):  # some are of nobody here
        frame = frame[frame[KEY].isin(keys)].reset_index(drop=True)
        start, end = _ranges(frame[KEY], keys)
    code, codes, kinds = _kinds(job, frame)
    indptr = library(end).zeros(len(keys) + 1, "int64")
    indptr[1:] = end
    time = tables.array(frame[TIME]).astype("int64", copy=False)
    return Events(time, code, indptr, order, codes, kinds)


def _ranges(events: Any, keys: Any) -> tuple[Any, Any]:
    """Return where the events of each subscriber lie, both in ascending order."""
    if str(keys.dtype) == str(events.dtype) == "int64":
        found: tuple[Any, Any] = ranges(tables.array(events), tables.array(keys))
        return found
    first, after = (events.searchsorted(keys, side=side) for side in ("left", "right"))
    return first.astype("int64", copy=False), after.astype("int64", copy=False)


def _in_order(frame: Any) -> Any:
    """Return events by subscriber and time: as they are, where they are so already."""
    key, time = frame[KEY], frame[TIME]
    if str(key.dtype) == str(time.dtype) == "int64":
        if not int(disordered(tables.array(key), tables.array(time))[0]):
            return frame
    elif key.is_monotonic_increasing:
        key, at = key.reset_index(drop=True), tables.array(time)
        same = tables.array(key.iloc[1:].reset_index(drop=True) == key.iloc[:-1])
        if not (same.astype(bool) & (at[1:] < at[:-1])).any():
            return frame
    return frame.sort_values([KEY, TIME], kind="stable", ignore_index=True)


def _kinds(job: Job, frame: Any) -> tuple[Any, int, dict[int, Kind]]:
    """Return the code of each event, how many codes there may be, and what they stand for."""
    names = [name for name in TEXTS if name in frame.columns]
    codes, texts = zip(*(_coded(frame[name]) for name in names), strict=True)
    side = library(codes[0])
    if ACCEPTED in frame.columns:
        accepted = tables.array(frame[ACCEPTED])
        names, codes, texts = [*names, ACCEPTED], (*codes, accepted), (*texts, ["", ACCEPTED])
    sizes = [len(own) for own in texts]
    code = codes[0].astype("int32" if prod(sizes) <= KNOWN_CODES else "int64")
    for own, size in zip(codes[1:], sizes[1:], strict=True):
        code *= size
        code += own
    if prod(sizes) > KNOWN_CODES:
        found, code = side.unique(code, return_inverse=True)
        present = dict(enumerate(to_cpu(found).tolist()))
        count = len(present)
    else:
        count = prod(sizes)
        present = {n: n for n in range(count)}
    kinds = {}
    for n, place in present.items():
        parts = np.unravel_index(place, sizes)
        said = {name: texts[i][int(parts[i])] for i, name in enumerate(names)}
        kinds[n] = Kind.of(job, said)
    return code.astype("int32", copy=False), count, kinds


def _coded(series: Any) -> tuple[Any, list[str]]:
    """Return the code of each row and the texts by code; null is the empty text."""
    found = tables.coded(series.astype("category"))
    if found is None:
        found = tables.coded(series.astype("str").fillna("").astype("category"))
    assert found is not None
    return found[0], tables.texts(found[1])
