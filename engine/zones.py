"""Time zones: local dates and wall clocks as instants, in whole seconds since 1970, UTC.

The zones are those of the package ``tzdata``, never the machine's own, so that an instant is the
same on every machine that has one release of it. A wall clock is told in whole seconds since
midnight, 0 to 86399.

A wall time that a zone skips stands for the first instant after the gap, one that comes twice for
the first. So a local day begins when its date is first shown, and ends when the next one begins: a
date that a zone skips has a day without length.
"""

from collections.abc import Iterator
from datetime import UTC as UTC_ZONE
from datetime import date as Date
from datetime import datetime, time, timedelta
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any, Literal
from zoneinfo import ZoneInfo

import numpy as np

from engine import tables
from engine.errors import ConfigError, DataError

Unit = Literal["day", "week", "month"]
UTC = "UTC"
DAY_S, WEEK_DAYS = 86_400, 7
EPOCH = datetime(1970, 1, 1, tzinfo=UTC_ZONE)
ONE_DAY, ONE_SECOND = timedelta(days=1), timedelta(seconds=1)
MOST_TOLD = 20  # unknown names of a column


@cache
def names() -> frozenset[str]:
    """Return the names of all zones, such as Europe/Berlin."""
    return frozenset((files("tzdata") / "zones").read_text().split())


def unknown(name: str) -> str:
    """Return what to say of a name that no zone has."""
    known = {own.lower(): own for own in sorted(names())}
    cities = {own.split("/")[-1]: known[own] for own in known}
    wanted = name.lower().replace(" ", "_")
    close = [known[own] for own in get_close_matches(wanted, known, 3)]
    close += [cities[own] for own in get_close_matches(wanted.split("/")[-1], cities, 3)]
    hint = f"did you mean {' or '.join(list(dict.fromkeys(close))[:3])}? " if close else ""
    return (
        f"unknown time zone {name}; {hint}it is a name of the IANA database, such as Europe/Berlin"
    )


@cache
def zone(name: str = UTC) -> ZoneInfo:
    """Return a time zone. Hand names, not zones, to other processes.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in names():
        raise ConfigError(unknown(name))
    with (files("tzdata") / "zoneinfo" / name).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def _local(zone: ZoneInfo, instant: int) -> datetime:
    """Return what calendar and wall clock show, without a zone."""
    return (EPOCH + timedelta(seconds=instant)).astimezone(zone).replace(tzinfo=None)


def local_date(zone: ZoneInfo, instant: int) -> Date:
    """Return the date that a calendar shows at an instant."""
    return _local(zone, instant).date()


def local_clock(zone: ZoneInfo, instant: int) -> int:
    """Return what the wall clock shows at an instant."""
    local = _local(zone, instant)
    return 3_600 * local.hour + 60 * local.minute + local.second


def is_quiet(zone: ZoneInfo, instant: int, begin: int, end: int) -> bool:
    """Return whether the wall clock is in ``[begin, end)``, over midnight where begin > end.

    Args:
        zone: the zone.
        instant: s.
        begin: wall clock, s.
        end: wall clock, s, or 86400; equal to ``begin``: at no time.
    """
    clock = local_clock(zone, instant)
    return begin <= clock < end if begin <= end else clock >= begin or clock < end


def at_local(zone: ZoneInfo, date: Date, clock: int) -> int:
    """Return the instant of a wall time on a date: see the head of the module."""
    wall = datetime.combine(date, time()) + timedelta(seconds=clock)
    late, early = ((wall.replace(tzinfo=zone, fold=fold) - EPOCH) // ONE_SECOND for fold in (0, 1))
    if late <= early:  # the wall time exists; if it comes twice, early is the second time
        return late
    # It is skipped: read with the offset before the gap it is late, with the one after it early.
    while late - early > 1:
        middle = (early + late) // 2
        if _local(zone, middle) < wall:
            early = middle
        else:
            late = middle
    return late


def day_start(zone: ZoneInfo, date: Date) -> int:
    """Return the first instant of a local date."""
    return at_local(zone, date, 0)


def period(zone: ZoneInfo, instant: int, unit: Unit, week_starts: int = 0) -> tuple[int, int]:
    """Return begin and end of the local calendar period that holds an instant.

    Args:
        zone: the zone.
        instant: s.
        unit: the period.
        week_starts: first day of a week, 0 (Monday) to 6.

    Returns:
        ``[start, end)``, s.
    """
    first = local_date(zone, instant)
    # Where the clock is put back over midnight, the evening before is shown once more.
    if instant >= day_start(zone, first + ONE_DAY):
        first += ONE_DAY
    after = first + ONE_DAY
    if unit == "week":
        first -= (first.weekday() - week_starts) % WEEK_DAYS * ONE_DAY
        after = first + WEEK_DAYS * ONE_DAY
    elif unit == "month":
        first = first.replace(day=1)
        after = (first + 31 * ONE_DAY).replace(day=1)
    return day_start(zone, first), day_start(zone, after)


def next_local(zone: ZoneInfo, instant: int, clock: int) -> tuple[int, Date]:
    """Return the first instant, at or after one, that is a day's ``at_local`` for a wall clock.

    Returns:
        instant: s.
        date: the day's; a later one is shown where the zone skips it.
    """
    date = local_date(zone, instant) - ONE_DAY
    while at_local(zone, date, clock) < instant:
        date += ONE_DAY
    return at_local(zone, date, clock), date


def codes(column: Any, default: str = UTC) -> tuple[list[str], Any]:
    """Return the zones of subscribers as codes.

    Args:
        column: [S] series of names of zones, pandas or cuDF.
        default: name of the zone of those without one (null, or an empty text).

    Returns:
        names: of the zones that occur, sorted.
        codes: [S] int32, places among the names, on the side of the column.

    Raises:
        DataError: a name that no zone has, or no texts.
    """
    kind, texts = tables.values(column)
    library = tables.array_library(column)
    if kind is None:  # it has no value at all
        return [default][: len(column)], library.zeros(len(column), np.int32)
    if kind != "text":
        raise DataError(f"{column.name}: should be names of time zones, got a {kind}")
    place, distinct = texts.factorize()
    place = library.asarray(place) + 1  # 0: null
    given = [default, *(name or default for name in tables.texts(distinct.to_series()))]
    count = library.bincount(place, minlength=len(given)).tolist() if len(column) else [0]
    used = {name for name, own in zip(given, count, strict=True) if own}
    if used - names():
        raise DataError.of(_problems(column.name, given, count))
    found = sorted(used)
    code = [found.index(name) if name in used else 0 for name in given]
    return found, library.asarray(np.array(code, np.int32))[place]


def _problems(where: str, given: list[str], count: list[int]) -> Iterator[str]:
    """Yield each unknown name and how many subscribers have it, the most frequent first."""
    wrong = sorted((-own, name) for name, own in zip(given, count, strict=True)
                   if name not in names() and own)  # fmt: skip
    for less, name in wrong[:MOST_TOLD]:
        yield f"{where}: {unknown(name)}; subscribers who have it: {-less}"
    if len(wrong) > MOST_TOLD:
        rest = -sum(less for less, _ in wrong[MOST_TOLD:])
        yield f"{where}: {len(wrong) - MOST_TOLD} more unknown time zones; subscribers: {rest}"
