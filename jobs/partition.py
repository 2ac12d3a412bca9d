"""One partition of stage ``ingest``, read piece by piece: some subscribers and all their events.

``ingest`` cuts the row groups of events where pieces of subscribers end, so a piece is a whole row
group of the longest table and some rows of the others, whose row groups are kept until they are
given away. Row groups may be cut elsewhere too: one is then read again with the next. Whatever a
part holds, a piece begins where the last one ended, and all its events are in order and of its
subscribers, or the part is damaged.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from engine import ordered, tables
from engine import profile as engine_profile
from engine.ingest import KEY, pieces
from engine.settings import Job
from jobs import stored


@dataclass(frozen=True)
class Part:
    """One partition to profile."""

    job: Job
    backend: tables.Backend
    ingested: Path
    folder: Path
    name: str  # of its file in every table's folder
    partitions: int  # of all

    @property
    def subscribers(self) -> Path:
        """The file of its subscribers."""
        return self.ingested / "subscribers" / self.name

    def events(self, table: str) -> Path:
        """Return the file of its events of a table."""
        return self.ingested / "events" / table / self.name

    @property
    def is_cut(self) -> bool:
        """Whether it is read by row groups; a device takes a partition at once."""
        return self.backend == "pandas"

    def files(self) -> dict[Path, list[str] | None]:
        """Return all its files, with the columns that are read of each; None: all."""
        columns = engine_profile.event_columns(self.job)
        return {self.subscribers: None, **{self.events(t): own for t, own in columns.items()}}


class Partition:
    """What is read of a partition: its subscribers at once, events as they are asked for."""

    def __init__(self, part: Part, columns: Mapping[str, Sequence[str]]) -> None:
        """Read the subscribers.

        Args:
            part: the partition.
            columns: columns of each event table to read, key and time first.

        Raises:
            DataError: a file is damaged, or the subscribers are not as they should be.
        """
        self.subscribers = stored.read(part.subscribers, backend=part.backend)
        self._events = [_Events(part, table, own) for table, own in columns.items()]
        self._is_cut = part.is_cut
        number = int(part.name.removeprefix("part-").removesuffix(".parquet"))
        keys, household = self.subscribers[KEY], part.job.inputs.subscribers.household
        households = None if household is None else self.subscribers[household]
        if wrong := ordered.subscriber_problem(keys, number, part.partitions, households):
            raise stored.damaged(part.subscribers, wrong)

    @property
    def pieces(self) -> int:
        """In how many pieces it is read: as many as the longest table has row groups."""
        most = max([1, *(len(events.groups) for events in self._events if self._is_cut)])
        return min(most, max(len(self.subscribers), 1))

    def read(self, number: int) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Give the subscribers and the events of so many pieces, one after the other.

        Let go of a piece before the next, or both are held.

        Raises:
            DataError: a file is damaged or out of order.
        """
        for events in self._events:
            events.begin()
        for start, stop in pairwise(pieces(len(self.subscribers), number)):
            yield self._piece(slice(start, stop))

    def _piece(self, own: slice) -> tuple[Any, dict[str, Any]]:
        """Return the next piece: some subscribers and their events."""
        keys, found = self.subscribers[KEY], {}
        after = keys.iloc[own.stop] if own.stop < len(keys) else None
        for events in self._events:
            frame = events.until(after)
            if wrong := ordered.event_problem(frame, keys.iloc[own], keys):
                raise stored.damaged(events.path, wrong)
            found[events.table] = frame
        return self.subscribers.iloc[own].reset_index(drop=True), found


class _Events:
    """The events of a partition of one table, given piece by piece."""

    def __init__(self, part: Part, table: str, columns: Sequence[str]) -> None:
        self.table, self.path = table, part.events(table)
        texts = [c for c in part.job.inputs.tables()[table].categories if c in columns]
        self._read = partial(stored.read, self.path, columns, part.backend, texts)
        self.begin()

    def begin(self) -> None:
        """Begin anew with the first event."""
        self._given = 0  # rows of the file
        self._rest: Any = None  # those after them that were read

    @cached_property
    def groups(self) -> list[stored.Group]:
        """Its row groups, by their keys."""
        return stored.groups(self.path, KEY)

    def until(self, after: Any) -> Any:
        """Return the next events, those alone whose key is below ``after`` unless that is None.

        Raises:
            DataError: the file is damaged.
        """
        if after is None and not self._given:
            return self._read()
        own = (g for g in self.groups if after is None or g.least is None or g.least < after)
        stop = max((group.stop for group in own), default=self._given)
        if self._rest is None or stop > self._given + len(self._rest):
            self._rest = self._read(rows=slice(self._given, max(stop, self._given)))
        frame, cut = self._rest, len(self._rest)
        if after is not None and cut and not frame[KEY].iloc[-1] < after:
            cut = int(frame[KEY].searchsorted(after))
        self._given += cut
        self._rest = None if cut == len(frame) else frame.iloc[cut:]
        return frame.iloc[:cut].reset_index(drop=True)
