"""The contact history as the certificate reads it.

Written for the certificate alone; with the solver it shares when contacts go out, and the tables of
time zones. Local dates come from pandas here. Pairs are of offer and channel; each policy is asked
about each of the N days of the plan. Letters as in DESIGN.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from engine import zones
from engine.certificate_households import Homes, homes
from engine.certificate_rules import on_days
from engine.certificate_windows import END, LENGTH, Span, Windows
from engine.errors import DataError
from engine.history import History, accepting
from engine.send_times import send_times
from engine.settings import Job
from engine.settings.base import seconds
from engine.settings.policies import WEEKDAYS, ContactPolicy

LONGEST_PERIOD = 32  # days that no calendar period is longer than


@dataclass(frozen=True)
class Lines:
    """The L lines of a table of the history, by subscriber and time: what they say."""

    row: Any  # [L] int64, the subscriber's position
    indptr: Any  # [S + 1] int64, the lines of each subscriber
    time: Any  # [L] int64 s
    codes: dict[str, tuple[Any, list[str]]]  # column -> code of each line, and texts by code
    repeated: Any  # [L] bool, lines of a package that an earlier one already stands for
    accepted: Any  # [L] bool, outcomes that are accepts

    def named(self, column: str, names: Sequence[str]) -> Any:
        """Return [L] bool: lines with one of some names in a column."""
        codes, texts = self.codes[column]
        return np.array([text in names for text in texts], bool)[codes]

    def of(self, rows: Any, size: int) -> "Lines":
        """Return the lines of so many others, who have those of the subscribers in their rows."""
        row = rows[self.row]
        order = np.lexsort((self.time, row))
        row = row[order]
        codes = {name: (code[order], texts) for name, (code, texts) in self.codes.items()}
        indptr, rest = np.searchsorted(row, np.arange(size + 1)), (self.repeated, self.accepted)
        return Lines(row, indptr, self.time[order], codes, *(x[order] for x in rest))


@dataclass(frozen=True)
class Past:
    """The history of a partition, and when its subscribers are contacted.

    That of households is one too, as if each were a subscriber with what its members have.
    """

    job: Job
    size: int  # S
    zones: tuple[str, ...]  # [Z]
    zone: Any  # [S] int64
    instants: Any  # [Z, N] int64 s
    contacts: Lines
    outcomes: Lines | None
    homes: Homes | None = None  # the households, if a policy is over them, and
    joint: "Past | None" = None  # their history

    @classmethod
    def of(cls, job: Job, features: pd.DataFrame, history: History) -> "Past":
        """Read the history.

        Raises:
            DataError: it has other subscribers, or is missing though a policy counts it; or
                households are not as policies need them.
        """
        keys, times = pd.Index(features["subscriber"]), send_times(job, features)
        for policy in job.policies:
            if policy.looks_back and history.contacts is None:
                what = policy.within or policy.spacing or policy.each
                raise DataError(f"contacts: missing, but policy {policy.name} counts {what}")
            if policy.needs_outcomes and history.outcomes is None:
                raise DataError(f"outcomes: missing, but policy {policy.name} asks for them")
        instants = np.array(times.instants, np.int64).reshape(len(times.zones), -1)
        contacts = _lines(job, "contacts", keys, history.contacts)
        outcomes = history.outcomes
        found = cls(
            job, len(keys), times.zones, np.asarray(times.zone, np.int64), instants, contacts,
            None if outcomes is None else _lines(job, "outcomes", keys, outcomes),
        )  # fmt: skip
        together = homes(job, features, found.zone, found.zones)
        if together is None:
            return found
        return replace(found, homes=together, joint=found._of(together))

    def _of(self, together: Homes) -> "Past":
        """Return the history of households."""
        size = len(together.indptr) - 1
        outcomes = None if self.outcomes is None else self.outcomes.of(together.of, size)
        return replace(
            self,
            size=size,
            zone=self.zone[together.first],
            contacts=self.contacts.of(together.of, size),
            outcomes=outcomes,
        )

    def whose(self, policy: ContactPolicy) -> tuple["Past", Any]:
        """Return whose history a policy counts, and [S] whose of these a subscriber's is."""
        if policy.over == "household" and self.joint is not None and self.homes is not None:
            return self.joint, self.homes.of
        return self, np.arange(self.size)

    @property
    def days(self) -> int:
        """Return N."""
        return int(self.instants.shape[1])

    def at(self, day: int) -> Any:
        """Return [S] int64 s, when each subscriber is contacted on a day."""
        return self.instants[self.zone, day]

    def span(
        self, policy: ContactPolicy, names: Sequence[str] | None, days: Sequence[tuple[int, int]],
        *, once: bool,
    ) -> Span:  # fmt: skip
        """Return what counts against a policy's cap or minimum on pairs of days.

        Args:
            policy: the policy.
            names: channels, categories ... that count; None: every contact does.
            days: the pairs of days.
            once: whether a package on one channel counts once.
        """
        lines, length = self.whose(policy)[0].contacts, policy.spacing or policy.within
        is_past = length is not None or policy.each is not None
        kept = np.full(len(lines.row), is_past, bool)
        if names is not None:
            kept &= lines.named("offer" if policy.per == "offers" else policy.per, names)
        if once:
            kept &= ~lines.repeated
        cap = policy.cap if policy.cap is not None else policy.exactly or policy.at_least or 0
        windows = Windows.of(len(self.zones), days, self._window(policy))
        return Span(cap, kept, windows, is_joint=policy.over == "household")

    def _window(self, policy: ContactPolicy) -> Callable[..., tuple[int, int, int]]:
        """Return what tells the windows that hold two days, given a zone's number and the days."""
        length, at = policy.spacing or policy.within, self.instants.tolist()
        width = LENGTH if length in {None, "ever"} else seconds(str(length))
        if policy.cap is None:  # what is booked for later is not there yet
            return lambda z, i, d: (width, at[z][0], at[z][0])
        if policy.each is not None:
            periods = [
                _periods(own, name, policy)
                for own, name in zip(self.instants, self.zones, strict=True)
            ]

            def period(z: int, i: int, d: int) -> tuple[int, int, int]:
                (begin, end), is_same = periods[z][i], periods[z][i] == periods[z][d]
                return end - begin, end - 1, end - 1 if is_same and i <= d else begin

            return period
        if width == LENGTH:
            return lambda z, i, d: (width, END, END if i <= d else 0)
        return lambda z, i, d: (width, at[z][d], at[z][i] + width - 1 if i <= d else -END)

    def left(self, span: Span, rows: Any = slice(None)) -> Any:
        """Return [S, R] uint8, how many contacts a cap leaves some of the subscribers.

        Args:
            span: the cap.
            rows: which subscribers; all by default.
        """
        lines = self.contacts
        own = rows
        if span.is_joint:
            assert self.joint is not None and self.homes is not None
            lines, own = self.joint.contacts, self.homes.of[rows]
        begin, end = lines.indptr[:-1][own], lines.indptr[1:][own]
        return span.left(begin, end, lines.time, self.zone[rows])

    def near(self, offers: Sequence[str], within: str, *, sides: tuple[int, ...]) -> Any:
        """Return [S] uint16 who has a contact with one of some offers near a day, a bit for each.

        Args:
            offers: names.
            within: less than so long away, or ever.
            sides: -1: before the day's contact, 0: at the same time, 1: after it.
        """
        kept = np.flatnonzero(self.contacts.named("offer", offers))
        row, time = self.contacts.row[kept], self.contacts.time[kept]
        width, found = LENGTH if within == "ever" else seconds(within), []
        for day in range(self.days):
            gap = time - self.instants[self.zone[row], day]
            inside = (abs(gap) < width) & np.isin(np.sign(gap), sides)
            found.append(np.bincount(row[inside], minlength=self.size) > 0)
        return on_days(found)

    def latest(self, policy: ContactPolicy, column: str, names: Sequence[str] | None) -> list[Any]:
        """Return, for each day, [S] float64 s: when outcomes asked for last were enough; -inf.

        Those after the new contact are not there yet: a run may be booked long after it was made.
        """
        lines = self.outcomes
        if lines is None:
            return [np.full(self.size, -np.inf)] * self.days
        kept = lines.named("outcome", policy.outcome) if policy.outcome else lines.accepted
        if names is not None:
            kept = kept & lines.named(column, names)
        row, time = lines.row[kept], lines.time[kept]
        enough = np.ones(len(row), bool)
        if policy.kind == "cool_down" and policy.times > 1:
            assert policy.within is not None
            width = None if policy.within == "ever" else seconds(policy.within)
            enough = _within(row, time, width) >= policy.times
        row, time = row[enough], time[enough]
        found: list[Any] = []
        count = -1
        for day in range(self.days):
            there = time <= self.at(day)[row]
            if day and there.sum() == count:  # days follow each other: the same as before
                found.append(found[-1])
            else:
                found.append(self._last(row[there], time[there]))
            count = there.sum()
        return found

    def _last(self, row: Any, time: Any) -> Any:
        """Return [S] float64, the latest time of each subscriber's lines, or -inf."""
        found = np.full(self.size, -np.inf)
        np.maximum.at(found, row, time.astype(np.float64))
        return found


def _within(row: Any, time: Any, width: int | None) -> Any:
    """Return [N] int64: lines of the same subscriber in ``(time - width, time]``; None: until it.

    Subscribers lie behind each other on one axis, so far apart that no window reaches another.
    """
    if not len(row):
        return np.zeros(0, np.int64)
    start = int(time.min())
    whole = int(time.max()) - start + 1
    reach = whole if width is None else min(width, whole)
    place = row * 2 * whole + whole + (time - start)
    order = np.sort(place)
    return np.searchsorted(order, place, "right") - np.searchsorted(order, place - reach, "right")


def local_times(times: Any, zone: str) -> Any:
    """Return wall clock times of a zone, as a series without one."""
    utc = pd.Series(pd.to_datetime(times, unit="s", utc=True))
    return utc.dt.tz_convert(zones.zone(zone)).dt.tz_localize(None)


def _periods(instants: Any, zone: str, policy: ContactPolicy) -> list[tuple[int, int]]:
    """Return begin and end of the calendar period of each instant.

    A day begins when its date is first shown.
    """
    ends = local_times(np.array([instants.min(), instants.max()]), zone)
    more = pd.Timedelta(days=LONGEST_PERIOD)
    days = pd.date_range(ends[0].normalize() - more, ends[1].normalize() + more)
    starts = days.tz_localize(
        zones.zone(zone), ambiguous=np.ones(len(days), bool), nonexistent="shift_forward"
    )
    begins = starts.tz_convert("UTC").tz_localize(None).astype("datetime64[s]").astype("int64")
    label = days.to_numpy("datetime64[s]").astype(np.int64)
    if policy.each == "month":
        label = np.asarray(days.year * 12 + days.month)
    elif policy.each == "week":
        label -= 86_400 * ((days.dayofweek.to_numpy() - WEEKDAYS.index(policy.week_starts)) % 7)
    own = label[np.searchsorted(begins, instants, "right") - 1]
    first, after = np.searchsorted(label, own), np.searchsorted(label, own, "right")
    return list(zip(begins[first].tolist(), begins[after].tolist(), strict=True))


def _lines(job: Job, table: str, keys: "pd.Index[Any]", frame: pd.DataFrame | None) -> Lines:
    """Return a table of the history as arrays; an offer may have left the catalogue."""
    if frame is None:
        frame = pd.DataFrame({"subscriber": keys[:0], "time": [], "offer": [], "channel": []})
    row = keys.get_indexer(pd.Index(frame["subscriber"]))
    if (row < 0).any():
        stranger = frame["subscriber"].iloc[int(np.argmax(row < 0))]
        raise DataError(f"{table}: subscriber {stranger} is not in this partition")
    time = frame["time"].to_numpy(np.int64)
    if _is_disordered(row, time):
        order = np.lexsort((time, row))
        row, time, frame = row[order], time[order], frame.iloc[order]
    codes = {
        column: _coded(frame[column])
        for column in ("offer", "channel", "category", "team", "outcome")
        if column in frame.columns
    }
    for column in ("category", "team"):
        codes[column] = _told_or_known(job, column, codes)
    accepted = np.ones(len(row), bool)
    condition = accepting(job) if table == "outcomes" else None
    if condition is not None:
        accepted = condition.mask(frame).to_numpy().astype(bool)
    row, repeated = row.astype(np.int64), _repeated(job, row, time, codes)
    indptr = np.searchsorted(row, np.arange(len(keys) + 1))
    return Lines(row, indptr, time, codes, repeated, accepted)


def _is_disordered(row: Any, time: Any) -> bool:
    is_back = (row[1:] < row[:-1]) | ((row[1:] == row[:-1]) & (time[1:] < time[:-1]))
    return bool(is_back.any())


def _coded(column: "pd.Series[Any]") -> tuple[Any, list[str]]:
    """Return the code of each line and the texts by code; null is the empty text."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        texts = [str(text) for text in column.cat.categories]
        code = column.cat.codes.to_numpy(np.int64)
        return np.where(code < 0, len(texts), code), [*texts, ""]
    code, found = pd.factorize(column.astype("str").fillna(""))
    return code, [str(text) for text in found]


def _repeated(job: Job, row: Any, time: Any, codes: dict[str, tuple[Any, list[str]]]) -> Any:
    """Return [N] bool: lines of a package that an earlier one already stands for."""
    packages = [policy.package for policy in job.policies if policy.package]
    found = np.zeros(len(row), bool)
    of_package = {offer: n for n, package in enumerate(packages) for offer in package}
    package = np.array([of_package.get(o, -1) for o in codes["offer"][1]], int)[codes["offer"][0]]
    own = np.flatnonzero(package >= 0)
    sent = {"row": row, "time": time, "channel": codes["channel"][0], "package": package}
    found[own] = pd.DataFrame({n: a[own] for n, a in sent.items()}).duplicated().to_numpy()
    return found


def _told_or_known(
    job: Job, column: str, codes: dict[str, tuple[Any, list[str]]]
) -> tuple[Any, list[str]]:
    """Return codes and texts of a category or team: what the table says, or else the catalogue."""
    (offer, names), known = codes["offer"], job.catalogue.offers
    of_offer = [getattr(known[n], column) or "" if n in known else "" for n in names]
    told, texts = codes.get(column, (np.zeros(len(offer), np.int64), [""]))
    every = sorted({*of_offer, *texts})
    table = [[every.index(text or own) for own in of_offer] for text in texts]
    found = np.array(table, np.int64).reshape(len(texts), len(of_offer))
    return found[told, offer], every
