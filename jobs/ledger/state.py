"""What a ledger says: effective contacts, outcomes, and which rows belong together."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from jobs.ledger.files import read, read_of
from jobs.ledger.table import (
    CANCELLED,
    CONTACT,
    INSTANT,
    OUTCOME,
    SUMMARY,
    File,
    Ledger,
    Outcome,
)

EARLY = timedelta(days=1)
"""An outcome may be so much before its contact: senders begin early."""
HISTORY = ("subscriber", "time", "offer", "channel", "category", "team")


def within(ledger: Ledger, first: date = date.min, last: date = date.max) -> tuple[File, ...]:
    """Return the files of the days from ``first`` to ``last``."""
    begin = bisect_left(ledger.files, first, key=lambda file: file.date)
    end = bisect_right(ledger.files, last, key=lambda file: file.date)
    return ledger.files[begin:end]


def freed(ledger: Ledger, *, first: date = date.min, last: date = date.max) -> Any:
    """Return the ids of contacts on some days that were cancelled or failed, sorted, [N] int64."""
    is_cancelled = pc.field("kind") == CANCELLED
    gone = read(ledger, ["contact"], is_cancelled, files=within(ledger, first, last))
    failed = read(
        ledger,
        ["contact"],
        (pc.field("kind") == OUTCOME) & (pc.field("outcome") == Outcome.FAILED),
        files=within(ledger, first if first == date.min else first - EARLY),
    )
    return np.sort(pa.concat_tables([gone, failed])["contact"].to_numpy())


def contacts(
    ledger: Ledger,
    columns: Sequence[str] = HISTORY,
    *,
    first: date = date.min,
    last: date = date.max,
    of: Any = None,
    freed: Any,
) -> pa.Table:
    """Return the effective contacts: booked, not cancelled, and not failed.

    What a purge has summed up is as many contacts as it counted, the last at its time and each one
    before it a second earlier: at one time those of a package would be one contact.

    Args:
        ledger: the ledger.
        columns: the columns wanted.
        first: the first day.
        last: the last day.
        of: subscribers, an Arrow array; None: all of them.
        freed: ids as :func:`freed` gives them, for these days or more.
    """
    names = list(dict.fromkeys([*columns, "time", "kind", "contact", "count"]))
    is_sum = (pc.field("kind") == SUMMARY) & (pc.field("outcome") == "")
    is_one = (pc.field("kind") == CONTACT) | is_sum
    rows = _read(ledger, names, is_one, within(ledger, first, last), of)
    if len(freed):
        is_booked = pc.equal(rows["kind"], CONTACT)
        rows = rows.filter(pc.invert(pc.and_(is_booked, among(rows["contact"], freed))))
    return _repeated(rows).select(list(columns))


def outcomes(
    ledger: Ledger,
    columns: Sequence[str] = ("subscriber", "time", "offer", "channel", "outcome"),
    *,
    first: date = date.min,
    last: date = date.max,
    of: Any = None,
) -> pa.Table:
    """Return the outcomes of some days; arguments and summed up ones as of :func:`contacts`."""
    names = list(dict.fromkeys([*columns, "time", "count"]))
    is_outcome = (pc.field("kind") == OUTCOME) | (
        (pc.field("kind") == SUMMARY) & (pc.field("outcome") != "")
    )
    rows = _read(ledger, names, is_outcome, within(ledger, first, last), of)
    return _repeated(rows).select(list(columns))


def _read(ledger: Ledger, names: list[str], where: Any, files: Sequence[File], of: Any) -> pa.Table:
    if of is None:
        return read(ledger, names, where, files=files)
    return read_of(ledger, names, where, files, of)


def _repeated(rows: pa.Table) -> pa.Table:
    """Return each row as often as it counts, a second apart."""
    count = rows["count"].to_numpy()
    if (count == 1).all():
        return rows
    place = np.repeat(np.arange(len(rows)), count)
    nth = np.arange(len(place)) - (np.cumsum(count) - count)[place]
    found = rows.take(pa.array(place))
    time = found["time"].cast(pa.int64()).to_numpy() - 1_000_000 * nth
    at = found.schema.get_field_index("time")
    return found.set_column(at, found.schema.field("time"), pa.array(time).cast(INSTANT))


def seconds(column: Any) -> Any:
    """Return instants as whole seconds since 1970, rounded down, int64."""
    return column.cast(pa.int64()).to_numpy() // 1_000_000


def frame(rows: pa.Table) -> pd.DataFrame:
    """Return rows as :mod:`engine.recheck` takes them: times in whole seconds."""
    place = rows.schema.get_field_index("time")
    times = pa.array(seconds(rows["time"]))
    found: pd.DataFrame = rows.set_column(place, "time", times).to_pandas()
    return found


def among(column: Any, known: Any) -> Any:
    """Return whether each id is one of those known, sorted; [N] bool, an Arrow array."""
    ids = column.to_numpy()
    if not len(known):
        return pa.array(np.zeros(len(ids), bool))
    place = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    return pa.array(known[place] == ids)


def codes(one: pa.Table, other: pa.Table, columns: Sequence[str]) -> tuple[Any, Any]:
    """Return a whole number for each row of two tables, equal where the columns are equal."""
    total = np.zeros(len(one) + len(other), np.int64)
    for name in columns:
        both = pa.chunked_array(
            [*one[name].chunks, *other[name].chunks], one.schema.field(name).type
        )
        code = both.combine_chunks().dictionary_encode().indices.to_numpy()
        total = pd.factorize(total * (int(code.max(initial=0)) + 1) + code)[0]
    return total[: len(one)], total[len(one) :]
