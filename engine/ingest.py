"""Raw rows in, checked and ordered events out: the partition functions of stage ``ingest``.

They work on Arrow tables: sorting, hashing and casting run in Arrow's own threads-free kernels,
without the interpreter lock. A row is rejected for the first reason that holds, in the order
key, time, value columns in the order of the settings, unknown subscriber.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from engine import placing, zones
from engine.settings.inputs import EventTable

KEY, TIME, ROW, FILE = "subscriber", "time", "__row", "__file"
GROUP = 1 << 20  # events of a row group, at most on average
EARLIEST, LATEST = -8_520_336_000, 7_258_118_400  # 1700-01-01 and 2200-01-01, in seconds
OUT_OF_RANGE = "time is before 1700 or after 2199"
REJECTS = pa.schema(
    [
        ("file", pa.string()),
        ("row", pa.int64()),
        ("reason", pa.string()),
        (KEY, pa.string()),
        (TIME, pa.string()),
    ]
)

_WHOLE = r"^(0|-?[1-9]\d*)$"  # as it is usually written: 00123 may be another key than 123
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_EPOCH = r"^\d{9,11}$"  # eight digits would be a date such as 20260101
_ISO = (
    r"^(1[7-9]|2[01])\d{2}-\d{2}-\d{2}"
    r"([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})?)?$"
)


@dataclass(frozen=True)
class Checked:
    """What became of the raw rows of one chunk.

    Attributes:
        kept: rows that keep the schema: ``subscriber``, ``time`` (int64 s), values (float64),
            categories (text, never null) and ``__row``, their position in the file.
        rejects: the other rows, as ``REJECTS``.
        future: rows like those kept, after the as-of instant.
    """

    kept: pa.Table
    rejects: pa.Table
    future: pa.Table


def event_schema(table: EventTable, key: pa.DataType) -> pa.Schema:
    """Return the columns of ingested events, in order."""
    return pa.schema(
        [(KEY, key), (TIME, pa.int64())]
        + [(name, pa.float64()) for name in table.values]
        + [(name, pa.string()) for name in table.categories]
    )


def unknown_zones(raw: pa.Table, column: str) -> Iterator[tuple[str, int]]:
    """Yield the name and the row of each time zone that does not exist; null and "" are none.

    Args:
        raw: raw rows of the subscriber table, with ``__row``.
        column: name of a text column.
    """
    known = pa.array(["", *sorted(zones.names())])
    wrong = raw.filter(pc.invert(pc.is_in(pc.fill_null(raw[column], ""), known)))
    yield from zip(wrong[column].to_pylist(), wrong[ROW].to_pylist(), strict=True)


def check_events(raw: pa.Table, table: EventTable, key: pa.DataType, as_of: int) -> Checked:
    """Sort raw rows into kept, rejected and future ones.

    Args:
        raw: the columns that ``table`` names, of allowed types, and ``__row``, ``__file``.
        table: settings of the event table.
        key: type of the subscriber key, int64 or string.
        as_of: seconds; later events are future.
    """
    reasons: list[str] = []
    why = np.full(raw.num_rows, -1, np.int16)

    def reject(rows: np.ndarray, reason: str) -> None:
        why[rows & (why < 0)] = len(reasons)
        reasons.append(reason)

    keys = whole_or_text(raw[table.key], key)
    reject(_mask(pc.is_null(raw[table.key])), "null key")
    reject(_mask(pc.is_null(keys)), "unparsable key")
    time = seconds(raw[table.time])
    reject(_mask(pc.is_null(raw[table.time])), "null time")
    reject(_mask(pc.is_null(time)), "unparsable time")
    when = pc.fill_null(time, EARLIEST).to_numpy()
    reject((when < EARLIEST) | (when >= LATEST), OUT_OF_RANGE)
    values = {}
    for name, column in table.values.items():
        number = numbers(raw[name])
        reject(_mask(pc.is_null(raw[name])), f"{name} is null")
        reject(_mask(pc.is_null(number)), f"{name} is not a number")
        value = pc.fill_null(number, 0.0).to_numpy() + 0.0  # + 0.0: one zero, so that bits agree
        reject(~np.isfinite(value), f"{name} is not finite")
        if column.minimum is not None:
            reject(value < column.minimum, f"{name} is below {column.minimum:g}")
        values[name] = pa.array(value)
    categories = {n: pc.fill_null(raw[n].cast(pa.string()), "") for n in table.categories}
    kept = pa.table(
        {KEY: keys, TIME: time, **values, **categories, ROW: raw[ROW]},
        schema=event_schema(table, key).append(pa.field(ROW, pa.int64())),
    )
    fine = why < 0
    present, future = fine & (when <= as_of), fine & (when > as_of)
    bad = np.flatnonzero(~fine)
    return Checked(
        kept if present.all() else kept.filter(pa.array(present)),
        _rejects(raw, table, bad, [reasons[i] for i in why[bad]]),
        kept.filter(pa.array(future)),
    )


def _rejects(raw: pa.Table, table: EventTable, bad: np.ndarray, reasons: list[str]) -> pa.Table:
    rows = raw.take(pa.array(bad))
    return pa.table(
        {
            "file": rows[FILE].cast(pa.string()),
            "row": rows[ROW],
            "reason": pa.array(reasons, pa.string()),
            KEY: rows[table.key].cast(pa.string()),
            TIME: rows[table.time].cast(pa.string()),
        },
        schema=REJECTS,
    )


def _mask(rows: Any) -> np.ndarray:
    return np.asarray(rows)


def whole_or_text(column: Any, kind: pa.DataType) -> Any:
    """Return a key column as int64 or text; null where it is no such thing."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(kind) or not pa.types.is_integer(column.type):
        text = column.cast(pa.string())
        return text if pa.types.is_string(kind) else _whole(text)
    if pa.types.is_uint64(column.type):
        return _whole(column.cast(pa.string()))
    return column.cast(pa.int64())


def _whole(text: Any) -> Any:
    digits = pc.if_else(pc.match_substring_regex(text, _WHOLE), text, None)
    try:
        return digits.cast(pa.int64())
    except pa.ArrowInvalid:  # some number is beyond int64
        numbers = [None if d is None else int(d) for d in digits.to_pylist()]
        fits = [n if n is not None and -(2**63) <= n < 2**63 else None for n in numbers]
        return pa.chunked_array([pa.array(fits, pa.int64())])


def numbers(column: Any) -> Any:
    """Return a column as float64; null where text is not a number."""
    if pa.types.is_string(column.type):
        column = pc.if_else(pc.match_substring_regex(column, _NUMBER), column, None)
    return column.cast(pa.float64(), safe=False)


def seconds(column: Any) -> Any:
    """Return instants as whole seconds since the Unix epoch, UTC, rounded down.

    A time without a zone is UTC. Text is ISO 8601 (date, ``T`` or a blank, time, zone) or 9 to 11
    digits, seconds since the epoch; null where it is neither.
    """
    kind = column.type
    if pa.types.is_timestamp(kind):
        per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
        ticks = column.cast(pa.int64())
        if per_second == 1:
            return ticks
        filled = pc.fill_null(ticks, 0).to_numpy() // per_second
        return pa.chunked_array([pa.array(filled, mask=_mask(pc.is_null(ticks)))])
    if pa.types.is_date(kind):
        return column.cast(pa.timestamp("s")).cast(pa.int64())
    if pa.types.is_integer(kind):
        return whole_or_text(column, pa.int64())
    epoch = pc.if_else(pc.match_substring_regex(column, _EPOCH), column, None)
    return pc.coalesce(_iso(column), epoch.cast(pa.int64()))


def _iso(text: Any) -> Any:
    text = pc.if_else(pc.match_substring_regex(text, _ISO), text, None)
    instants = pd.to_datetime(text.to_pandas(), format="ISO8601", errors="coerce", utc=True)
    whole = instants.dt.floor("s").dt.as_unit("s")
    return pa.chunked_array([pa.Array.from_pandas(whole).cast(pa.int64())])


def households(column: Any) -> Any:
    """Return households as text, whatever they are; null where there is none: null or empty text.

    Args:
        column: whole numbers or text, an Arrow array.
    """
    text = whole_or_text(column, pa.string())
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def partition_of(keys: Any, moved: placing.Moved, partitions: int) -> np.ndarray:
    """Return the partition of each row, uint16, by the subscriber that it names.

    Args:
        keys: keys of subscribers, an Arrow array without nulls.
        moved: the subscribers who are not in the bucket of their own key.
        partitions: number of partitions, at most 65,536.
    """
    coded = keys.combine_chunks().dictionary_encode()  # text is slow to hash: each once
    found = placing.of_keys(coded.dictionary.to_pandas(), moved, partitions)
    small: np.ndarray = np.asarray(found).astype(np.uint16)[coded.indices]
    return small


def split(rows: pa.Table, place: np.ndarray, partitions: int) -> list[pa.RecordBatch]:
    """Split rows by their partition: one batch a partition, input order kept.

    Args:
        rows: any rows.
        place: [rows] uint16, the partition of each.
        partitions: number of partitions.
    """
    order = np.argsort(place, kind="stable")  # of uint16: radix sort
    ends = np.searchsorted(place[order], np.arange(partitions), side="right")
    taken = rows.take(pa.array(order)).combine_chunks()
    starts = [0, *ends[:-1]]
    return [
        _batch(taken.slice(start, end - start)) for start, end in zip(starts, ends, strict=True)
    ]


def _batch(rows: pa.Table) -> pa.RecordBatch:
    columns = [pa.concat_arrays(c.chunks) if c.num_chunks else pa.array([], c.type) for c in rows]
    return pa.RecordBatch.from_arrays(columns, schema=rows.schema)


def order_subscribers(rows: pa.Table) -> tuple[pa.Table, list[str]]:
    """Sort the subscribers of a partition by key.

    Returns:
        The rows, and the keys that occur more than once, as text.
    """
    rows = rows.take(pc.sort_indices(rows, sort_keys=[(KEY, "ascending")]))
    keys = rows[KEY].to_numpy(zero_copy_only=False)
    again = np.unique(keys[1:][keys[1:] == keys[:-1]])
    return rows, [str(k) for k in again]


def order_events(rows: pa.Table, subscribers: Any) -> tuple[pa.Table, pa.Table]:
    """Order the events of a partition by subscriber, time, then every other column.

    Args:
        rows: events, with ``__row`` and ``__file`` beside their own columns.
        subscribers: the sorted keys of the partition.

    Returns:
        The events of known subscribers, without ``__row`` and ``__file``, and the other rows.
    """
    rank = pc.index_in(rows[KEY], value_set=subscribers)
    known = pc.is_valid(rank)
    unknown = rows.filter(pc.invert(known))
    if unknown.num_rows:
        rows, rank = rows.filter(known), rank.filter(known)
    own = [name for name in rows.column_names if name not in (ROW, FILE)]
    keys = rows.select(own).set_column(0, KEY, rank)  # ranks sort as keys do, and faster
    order = pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in own])
    return rows.select(own).combine_chunks().take(order), unknown


def pieces(count: int, number: int) -> list[int]:
    """Return where so many subscribers are cut into so many pieces: first and last place too.

    The cuts of fewer pieces are among those of more, where one number divides the other.
    """
    return [count * i // number for i in range(number + 1)]


def groups(events: pa.Table, subscribers: Any) -> list[int]:
    """Return where the ordered events of a partition are cut into row groups, both ends too.

    Cuts are those of the subscribers into 2 ** k pieces, with the least k that leaves at most
    ``GROUP`` events to a piece on average, or with one or two subscribers to a piece.

    Args:
        events: as :func:`order_events` returns them.
        subscribers: the sorted keys of the partition.
    """
    number = 1
    while len(events) > number * GROUP and 2 * number <= len(subscribers):
        number *= 2
    firsts = (subscribers[at].as_py() for at in pieces(len(subscribers), number)[1:-1])
    key = events[KEY].combine_chunks()
    cuts = [bisect_left(range(len(key)), first, key=lambda e: key[e].as_py()) for first in firsts]
    return [0, *cuts, len(events)]


def unknown_rejects(rows: pa.Table, files: Sequence[str]) -> pa.Table:
    """Return the rejects of rows whose subscriber is not in the subscriber table.

    Args:
        rows: the second result of :func:`order_events`; ``__file`` is a place in ``files``.
        files: names of the files.
    """
    instants = rows[TIME].cast(pa.timestamp("s"))
    return pa.table(
        {
            "file": pa.array([files[i] for i in rows[FILE].to_pylist()], pa.string()),
            "row": rows[ROW],
            "reason": pa.array(["unknown subscriber"] * rows.num_rows, pa.string()),
            KEY: rows[KEY].cast(pa.string()),
            TIME: pc.strftime(instants, format="%Y-%m-%dT%H:%M:%SZ"),
        },
        schema=REJECTS,
    )
