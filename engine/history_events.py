"""The events of a partition's history in order: a row's one after another, and what kind they are.

A row is a subscriber, or a household with the events of all its members. Events are told apart by
their kind: offer, channel and what else the table says of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from engine import tables
from engine.history import TEXTS
from engine.households import Households
from engine.ingest import KEY, TIME
from engine.settings import Job
from kernels import disordered, ranges
from kernels.backend import library, to_cpu

ACCEPTED = "accepted"  # outcomes for which the job's condition of accepts holds
KNOWN_CODES = 1 << 11  # combinations of texts that are numbered whether they occur or not


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
    indptr: Any  # [R + 1] int64, of R rows
    order: Any | None  # [R] which subscriber a row is; None: in their order, or of households
    codes: int  # N
    kinds: Mapping[int, Kind]  # of the codes that occur
    households: Households | None = None  # whose rows they are; None: subscribers'
    members: int = 1  # codes of a kind: one for each member, kind by kind

    def counted(self, matches: Callable[[Any, Kind], bool], counters: Sequence[Any]) -> Any:
        """Return which counters count a code: indptr [N + 1] and counters, int32."""
        lists = [
            [c for c, counter in enumerate(counters) if matches(counter, self.kinds[n])]
            if n in self.kinds else []
            for n in range(self.codes // self.members)
        ]  # fmt: skip
        lists = [own for own in lists for _ in range(self.members)]
        side = library(self.time)
        indptr = np.cumsum([0, *map(len, lists)]).astype(np.int32)
        flat = np.array([c for own in lists for c in own], np.int32)
        return side.asarray(indptr), side.asarray(flat)

    def of_rows(self, values: Any) -> Any:
        """Return [R] of the rows what is known of subscribers, [S], the same for all members."""
        if self.households is not None:
            return self.households.of_each(values)
        return values if self.order is None else values[self.order]

    def back(self, found: Any) -> Any:
        """Return [C, S] what is known of the rows, [C, R], in the order of the partition's rows."""
        if self.households is not None:
            return found[:, self.households.number]
        if self.order is None:
            return found
        out = library(found).empty_like(found)
        out[:, self.order] = found
        return out

    def merged(self, households: Households, *, tell_members: bool) -> "Events":
        """Return the events of subscribers by household.

        Args:
            households: of the subscribers.
            tell_members: whether each member has codes of its own.
        """
        side, place = library(self.time), households.rows
        number = households.number[place]
        if self.order is not None:
            back = side.empty_like(self.order)
            back[self.order] = side.arange(len(back))
            place = back[place]
        first = self.indptr[:-1][place]
        end = side.cumsum(self.indptr[1:][place] - first)
        begin = side.concatenate([side.zeros(1, "int64"), end])
        event = side.arange(len(self.time))
        of = _owner(begin, len(event))
        event += (first - begin[:-1])[of]
        time, code = self.time[event], self.code[event]
        order = _in_time(number[of], time)
        members = 1
        if tell_members:
            members = households.most
            own = side.arange(len(place)) - households.indptr[number]
            code = code * members + own[of]
        return replace(
            self, time=time[order], code=code[order].astype("int32"), order=None,
            indptr=begin[households.indptr], codes=self.codes * members, households=households,
            members=members,
        )  # fmt: skip


def _in_time(row: Any, time: Any) -> Any:
    """Return the order of events by row and time; those of equal time stay as they are.

    One key, of which most is in order already, takes a thirtieth of the time of two. It has room
    for 4 million rows and all times that :mod:`kernels.contact_windows` knows.

    Args:
        row: [E] int64, ascending.
        time: [E] int64, s.
    """
    if not len(time):
        return row
    key = row * (time.max() - time.min() + 1)
    key += time
    return library(key).lexsort(key[None])


def _owner(begin: Any, events: int) -> Any:
    """Return [E] int64 whose event each one is.

    Args:
        begin: [S + 1] int64, the events of a row are ``begin[s]:begin[s + 1]``.
        events: E.
    """
    side = library(begin)
    return side.cumsum(side.bincount(begin[1:-1], minlength=events + 1))[:events]


def events_of(job: Job, frame: Any, keys: Any, accepted: Any = None) -> Events:
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
