"""Whether the tables of a partition are as stage ``ingest`` leaves them."""

from typing import Any

from engine import placing, tables
from engine.ingest import KEY, TIME
from kernels import disordered, ranges


def subscriber_problem(keys: Any, partition: int, partitions: int, households: Any = None) -> str:
    """Say what is wrong with the keys of a partition's subscribers; empty where nothing is.

    Args:
        keys: [S] series, whole numbers or text; each should be once, ascending, in this
            partition.
        partition: the partition that it should be.
        partitions: number of partitions.
        households: [S] series of text, null: in none; None: the job knows no households.
    """
    before, after = _neighbours(keys)
    if not (after > before).all():
        return "subscribers are not in ascending order, each once"
    foreign = placing.of_subscribers(keys, households, partitions) != partition
    if foreign.any():
        first = keys.iloc[int(foreign.argmax())]
        return f"subscriber {first} is of another partition"
    return ""


def event_problem(frame: Any, own: Any, keys: Any) -> str:
    """Say what is wrong with the order of the events of a piece; empty where nothing is.

    Args:
        frame: events, which should ascend by ``subscriber``, those of one by ``time``.
        own: series, ascending, which should have the subscribers of all events.
        keys: [S] series, the subscribers of all pieces of the partition, ``own`` among them.
    """
    if _is_ordered(frame, own):
        return ""
    before, after = _neighbours(frame[KEY])
    same = after == before
    if not (same | (after > before)).all():
        return "its events are not in ascending order of subscribers"
    earlier, later = _neighbours(frame[TIME])
    if not (~same | (later >= earlier)).all():
        return "the events of a subscriber are not in ascending order of time"
    found = tables.library(frame).concat([frame[KEY].iloc[:1], after[~same]], ignore_index=True)
    if found.isin(own).all():
        return ""
    unknown = ~found.isin(keys)
    if unknown.any():
        return f"subscriber {found[unknown].iloc[0]} is not of this partition"
    return "its events are not in ascending order of subscribers"


def _is_ordered(frame: Any, keys: Any) -> bool:
    """Say whether events are in order and of the subscribers, where one pass can tell."""
    if len(frame) == 0:
        return True
    if not all(str(series.dtype) == "int64" for series in (frame[KEY], frame[TIME], keys)):
        return False
    key, time, wanted = (tables.array(series) for series in (frame[KEY], frame[TIME], keys))
    if int(disordered(key, time)[0]):
        return False
    start, end = ranges(key, wanted)
    return bool((end - start).sum() == len(key))


def _neighbours(series: Any) -> tuple[Any, Any]:
    """Return all values but the last, and all but the first, with one plain index."""
    before, after = series.iloc[:-1], series.iloc[1:]
    return before.reset_index(drop=True), after.reset_index(drop=True)
