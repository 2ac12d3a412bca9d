"""The contact history as the certificate reads it, and the pairs that policies close because of it.

Written for the certificate alone; with the solver it shares when contacts go out, and the tables of
time zones. Local dates come from pandas here. Letters as in DESIGN.md.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from engine import expressions, zones
from engine.actions import actions
from engine.certificate_rules import Closure
from engine.errors import DataError
from engine.history import History, accepting
from engine.send_times import SendTimes, send_times
from engine.settings import Job
from engine.settings.base import seconds
from engine.settings.policies import WEEKDAYS, ContactPolicy


@dataclass(frozen=True)
class Lines:
    """A table of the history: whose rows, when, and what they say."""

    row: Any  # [N] int64, the subscriber's position
    time: Any  # [N] int64 s
    codes: dict[str, tuple[Any, list[str]]]  # column -> code of each line, and texts by code
    repeated: Any  # [N] bool, lines of a package that an earlier one already stands for
    accepted: Any  # [N] bool, outcomes that are accepts

    def named(self, column: str, names: Sequence[str]) -> Any:
        """Return [N] bool: lines with one of some names in a column."""
        codes, texts = self.codes[column]
        return np.array([text in names for text in texts], bool)[codes]


@dataclass(frozen=True)
class Past:
    """The history of a partition, and when its subscribers are contacted."""

    job: Job
    size: int  # S
    times: SendTimes
    at: Any  # [S] int64 s
    contacts: Lines | None
    outcomes: Lines | None

    @classmethod
    def of(cls, job: Job, features: pd.DataFrame, history: History) -> "Past":
        """Read the history.

        Raises:
            DataError: it has other subscribers, or is missing though a policy counts it.
        """
        keys, times = pd.Index(features["subscriber"]), send_times(job, features)
        for policy in job.policies:
            if policy.looks_back and history.contacts is None:
                what = policy.within or policy.spacing or policy.each
                raise DataError(f"contacts: missing, but policy {policy.name} counts {what}")
            if policy.needs_outcomes and history.outcomes is None:
                raise DataError(f"outcomes: missing, but policy {policy.name} asks for them")
        at = np.array(times.instants, np.int64)[times.zone]
        contacts = _lines(job, "contacts", keys, history.contacts)
        return cls(job, len(keys), times, at, contacts,
                   _lines(job, "outcomes", keys, history.outcomes))  # fmt: skip

    def used(self, policy: ContactPolicy, names: Sequence[str] | None, *, once: bool) -> Any:
        """Return [S] int64, how many contacts count against a policy's cap or minimum.

        Args:
            policy: the policy.
            names: channels, categories ... that count; None: every contact does.
            once: whether a package on one channel counts once.
        """
        lines, length = self.contacts, policy.spacing or policy.within
        if lines is None or (length is None and policy.each is None):
            return np.zeros(self.size, np.int64)
        kept = np.ones(len(lines.row), bool)
        if names is not None:
            kept = lines.named("offer" if policy.per == "offers" else policy.per, names)
        if once:
            kept &= ~lines.repeated
        if policy.each is not None:
            kept &= self._is_same_period(policy)
            return np.bincount(lines.row[kept], minlength=self.size)
        if policy.cap is None:  # what is booked for later is not there yet
            kept &= lines.time <= self.at[lines.row]
        row, time = lines.row[kept], lines.time[kept]
        if length == "ever":
            return np.bincount(row, minlength=self.size)
        return self._fullest(row, time, seconds(str(length)))

    def _fullest(self, row: Any, time: Any, width: int) -> Any:
        """Return [S] int64, the most lines in a window that the new contact is in."""
        at = self.at[row]
        near = (time > at - width) & (time < at + width)
        row, time, at = row[near], time[near], at[near]
        most = np.bincount(row[time <= at], minlength=self.size)
        ends = time > at
        inside = _within(row, time, width)
        np.maximum.at(most, row[ends], inside[ends])
        return most

    def _is_same_period(self, policy: ContactPolicy) -> Any:
        """Return [N] bool: contacts in the calendar period in which the subscriber's new one is."""
        assert self.contacts is not None
        same = np.zeros(len(self.contacts.row), bool)
        of_row = self.times.zone[self.contacts.row]
        for z, (name, at) in enumerate(zip(self.times.zones, self.times.instants, strict=True)):
            own = np.flatnonzero(of_row == z)
            told = np.concatenate([self.contacts.time[own], [at]])
            label = _labels(told, name, policy)
            same[own] = label[:-1] == label[-1]
        return same

    def near(self, offers: Sequence[str], low: Any, high: Any) -> Any:
        """Return [S] bool: who has a contact with one of some offers strictly between two times.

        Args:
            offers: names.
            low: [S] int64 s; None: from the beginning.
            high: [S] int64 s; None: without end.
        """
        lines = self.contacts
        assert lines is not None
        kept = lines.named("offer", offers)
        for limit, sign in ((low, 1), (high, -1)):
            if limit is not None:
                kept &= sign * lines.time > sign * limit[lines.row]
        return np.bincount(lines.row[kept], minlength=self.size) > 0

    def latest(self, policy: ContactPolicy, column: str, names: Sequence[str] | None) -> Any:
        """Return [S] float64 s: when outcomes that a policy asks for last were enough; -inf.

        Those after the new contact are not there yet: a run may be booked long after it was made.
        """
        lines = self.outcomes
        found = np.full(self.size, -np.inf)
        if lines is None:
            return found
        kept = lines.named("outcome", policy.outcome) if policy.outcome else lines.accepted
        if names is not None:
            kept = kept & lines.named(column, names)
        kept = kept & (lines.time <= self.at[lines.row])
        row, time = lines.row[kept], lines.time[kept]
        enough = np.ones(len(row), bool)
        if policy.kind == "cool_down" and policy.times > 1:
            assert policy.within is not None
            width = None if policy.within == "ever" else seconds(policy.within)
            enough = _within(row, time, width) >= policy.times
        np.maximum.at(found, row[enough], time[enough].astype(np.float64))
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


def _local(times: Any, zone: str) -> Any:
    """Return wall clock times of a zone, as a series without one."""
    utc = pd.Series(pd.to_datetime(times, unit="s", utc=True))
    return utc.dt.tz_convert(zones.zone(zone)).dt.tz_localize(None)


def _labels(times: Any, zone: str, policy: ContactPolicy) -> Any:
    """Return what tells calendar periods apart: a day begins when its date is first shown."""
    ends = _local(np.array([times.min(), times.max()]), zone)
    after = ends[1] + pd.Timedelta(days=2)
    days = pd.date_range(ends[0].normalize(), after, normalize=True)
    starts = days.tz_localize(
        zones.zone(zone), ambiguous=np.ones(len(days), bool), nonexistent="shift_forward"
    )
    begins = starts.tz_convert("UTC").tz_localize(None).astype("datetime64[s]").astype("int64")
    label = days.to_numpy("datetime64[s]").astype(np.int64)
    if policy.each == "month":
        label = np.asarray(days.year * 12 + days.month)
    elif policy.each == "week":
        label -= 86_400 * ((days.dayofweek.to_numpy() - WEEKDAYS.index(policy.week_starts)) % 7)
    return label[np.searchsorted(begins, times, "right") - 1]


def _lines(job: Job, table: str, keys: "pd.Index[Any]", frame: pd.DataFrame | None) -> Lines | None:
    """Return a table of the history as arrays; an offer may have left the catalogue."""
    if frame is None:
        return None
    row = keys.get_indexer(pd.Index(frame["subscriber"]))
    if (row < 0).any():
        stranger = frame["subscriber"].iloc[int(np.argmax(row < 0))]
        raise DataError(f"{table}: subscriber {stranger} is not in this partition")
    codes = {
        column: _coded(frame[column])
        for column in ("offer", "channel", "category", "team", "outcome")
        if column in frame.columns
    }
    for column in ("category", "team"):
        codes[column] = _told_or_known(job, column, codes)
    time = frame["time"].to_numpy(np.int64)
    accepted = np.ones(len(row), bool)
    condition = accepting(job) if table == "outcomes" else None
    if condition is not None:
        accepted = condition.mask(frame).to_numpy().astype(bool)
    return Lines(row.astype(np.int64), time, codes, _repeated(job, row, time, codes), accepted)


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


def closures(past: Past, features: pd.DataFrame) -> Iterator[Closure]:
    """Yield the pairs that policies close: by condition, hour, date, outcome or earlier contact."""
    job, at = past.job, past.at
    found = actions(job.catalogue)

    def of(offers: Sequence[str]) -> tuple[int, ...]:
        return tuple(a for a, action in enumerate(found) if action.offer in offers)

    def reach(within: str | None, sign: int) -> Any:
        return None if within == "ever" else at + sign * seconds(str(within))

    for policy in job.policies:
        text = f"policy {policy.name}"
        if policy.kind == "exclusive" and policy.within:
            for offer in policy.exclusive:
                others = [o for o in policy.exclusive if o != offer]
                low, high = reach(policy.within, -1), reach(policy.within, 1)
                yield Closure(text, of([offer]), past.near(others, low, high))
        elif policy.not_after and policy.offer:
            low, high = reach(policy.within, -1), reach(policy.within, 1)
            yield Closure(text, of([policy.offer]), past.near(policy.not_after, low, at))
            yield Closure(text, of(policy.not_after), past.near([policy.offer], at, high))
        elif policy.only_after and policy.offer:
            latest = past.latest(policy, "offer", policy.only_after)
            since = reach(policy.within or "ever", -1)
            met = np.isfinite(latest) if since is None else latest > since
            yield Closure(text, of([policy.offer]), ~met)
        elif policy.cool_down is not None:
            for names, own in members(job, policy):
                column = "offer" if policy.per == "offers" else policy.per
                latest = past.latest(policy, column, names)
                yield Closure(text, own, latest + seconds(policy.cool_down) > at)
        elif policy.cap is not None and policy.per == "offer":
            for names, own in members(job, policy):
                yield Closure(text, own, past.used(policy, names, once=False) >= policy.cap)
        elif policy.suppress or policy.quiet or policy.blackout:
            rows = _closed(past, policy, features)
            for _, own in members(job, policy):
                yield Closure(text, own, rows)


def members(
    job: Job, policy: ContactPolicy
) -> Iterator[tuple[tuple[str, ...] | None, tuple[int, ...]]]:
    """Yield what a policy counts or closes together: names (None: everything) and its actions.

    Exempt actions are none of it.
    """
    offers = job.catalogue.offers
    by_name: dict[str, list[int]] = {}
    everything = []
    for a, action in enumerate(actions(job.catalogue)):
        offer = offers[action.offer]
        own = {"channel": action.channel, "category": offer.category, "team": offer.team or ""}
        name = own.get(policy.per, action.offer)
        is_held = offer.purpose not in policy.exempt
        by_name.setdefault(name, []).extend([a] * is_held)
        everything += [a] * is_held
    if policy.per == "all":
        yield None, tuple(everything)
    elif policy.per == "offers":
        yield tuple(policy.only), tuple(a for n in policy.only for a in by_name.get(n, []))
    else:
        for name, found in by_name.items():
            if name and (not policy.only or name in policy.only):
                yield (name,), tuple(found)


def _closed(past: Past, policy: ContactPolicy, features: pd.DataFrame) -> Any:
    """Return [S] bool: whom a condition, the hour or the date closes."""
    if policy.suppress is not None:
        return _mask(policy.suppress, f"policies.{policy.name}.suppress", features)
    is_shut = []
    for name, at in zip(past.times.zones, past.times.instants, strict=True):
        local = _local([at], name).iloc[0]
        if policy.quiet is None:
            is_shut.append(local.date() in policy.blackout)
            continue
        clock = f"{local:%H:%M}"
        begin, end = policy.quiet.split("-")
        inside = begin <= clock < end if begin <= end else not end <= clock < begin
        is_shut.append(inside)
    return np.array(is_shut, bool)[past.times.zone]


def _mask(sql: str, where: str, frame: pd.DataFrame) -> Any:
    return expressions.parse(sql, where).mask(frame).to_numpy().astype(bool)
