"""walras: the partition function in memory, the stage ``profile`` from files.

In memory the subscribers are cut into ranges of about equally many events, several for each core,
which threads take one by one. From files each part is a task of the stage, in threads too; features
of a part go to a file of the same name.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from shutil import rmtree
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.machine import read_seconds
from benchmarks.process import cores
from benchmarks.profile_data import AS_OF, COLUMNS, DAY_S, Data, read
from benchmarks.profile_peers import FEATURES, HALF_LIFE, LARGEST, TREND, WINDOWS
from engine.profile import profile_partition
from engine.settings import Job
from jobs.profile import profile
from jobs.tasks import SerialTasks
from kernels import decayed, events_until, rhythm, trend, windowed
from kernels.threads import each_task

RANGES = 4  # of subscribers for a core: so many keep all cores busy to the end


def job(as_of: int = AS_OF) -> Job:
    """Return a job whose features are the twelve."""
    spans = {"windows": [f"{days}d" for days in WINDOWS]}
    amount = {"of": "usage.amount"}
    features = [
        {"op": "count", "name": "count", "of": "usage", **spans},
        {"op": "sum", "name": "sum", **amount, **spans},
        {"op": "decayed_sum", "name": "decayed", **amount, "half_life": f"{HALF_LIFE}d"},
        {"op": "trend", "name": "trend", **amount, "window": f"{TREND}d"},
        *({"op": op, "name": op, "of": "usage"} for op in ("recency", "gap_mean", "gap_std")),
        {"op": "max", "name": "max", **amount, "windows": [f"{LARGEST}d"]},
    ]
    usage = {"path": "usage/*", "values": {"amount": {"unit": "money"}}}
    content = {
        "name": "profile_benchmark",
        "as_of": datetime.fromtimestamp(as_of, UTC),
        "inputs": {
            "folder": "unused",
            "subscribers": {"path": "subscribers/*"},
            "events": {"usage": usage},
        },
        "features": features,
        "scores": {"kind": "formula", "formulas": {"nothing": "0.5"}},
        "catalogue": {
            "currency": "EUR",
            "channels": {"sms": {}},
            "offers": {"nothing": {"category": "none", "value": 1, "channels": ["sms"]}},
        },
    }
    return Job.model_validate(content)


def ours(key: Any, time: Any, value: Any, keys: Any, as_of: int) -> dict[str, Any]:
    """Return the features of subscribers from arrays: here the engine is called.

    Args:
        key: [E] int64, subscriber of an event, ascending.
        time: [E] int64, instant of an event, s, ascending within a subscriber.
        value: [E] float64, amount of an event, money.
        keys: [S] int64, subscribers, ascending.
        as_of: the instant t, s.

    Returns:
        [S] float64 by feature.
    """
    wanted = job(as_of)

    def one(bound: tuple[slice, slice]) -> Any:
        subscribers, events = bound
        arrays = zip(COLUMNS, (key[events], time[events], value[events]), strict=True)
        tables = {"usage": pd.DataFrame(dict(arrays), copy=False)}
        rows = pd.DataFrame({COLUMNS[0]: keys[subscribers]}, copy=False)
        return profile_partition(wanted, rows, tables)

    frames = each_task(one, ranges(key, keys, RANGES * cores()))
    return {n: np.concatenate([frame[n].to_numpy() for frame in frames]) for n in FEATURES}


def ranges(key: Any, keys: Any, count: int) -> list[tuple[slice, slice]]:
    """Return ranges of subscribers that all have about as many events, and their events."""
    places = np.arange(1, count) * len(key) // count
    cuts = np.unique(np.searchsorted(keys, key[places] if len(key) else key))
    cuts = cuts[cuts > 0]
    bounds = [0, *cuts, len(keys)], [0, *np.searchsorted(key, keys[cuts]), len(key)]
    subscribers, events = ([slice(*ends) for ends in pairwise(bound)] for bound in bounds)
    return list(zip(subscribers, events, strict=True))


def load(data: Data) -> Any:
    """Return the columns of the events, and the subscribers."""
    events = read(data.events, COLUMNS)
    return *(events[name] for name in COLUMNS), read(data.subscribers, COLUMNS[:1])[COLUMNS[0]]


def in_memory(loaded: Any) -> dict[str, Any]:
    """Return the features by name, and the subscribers."""
    return {COLUMNS[0]: loaded[-1], **ours(*loaded, AS_OF)}


def columns(features: dict[str, Any]) -> dict[str, Any]:
    """Return the features as arrays, which they are."""
    return features


class Threads(SerialTasks):
    """Tasks of a stage, run by threads of this process."""

    def map(
        self,
        label: str,
        function: Callable[[Any], Any],
        items: Sequence[Any],
        rows: Callable[[Any], int] | None = None,
    ) -> list[Any]:
        """Return the results of the items in order."""
        return each_task(function, items)


def from_parquet(data: Data, folder: Path) -> None:
    """Run the stage; its files are left in the folder."""
    profile(job(), data.folder, folder, Threads())
    for path in (folder / "features").iterdir():
        path.rename(folder / path.name)
    rmtree(folder / "features")


def reads(loaded: Any) -> dict[str, float]:
    """Return the seconds of a streaming read, by all cores, of the events in memory."""
    return {"one_read_s": read_seconds(loaded[:-1], cores())}


def kernel(loaded: Any, repeats: int) -> dict[str, float]:
    """Time what reads the events alone: where a subscriber's events lie is known before.

    Args:
        loaded: as :func:`load` returns it.
        repeats: how often.

    Returns:
        ``kernel_seconds``, the median, and ``kernel_read_s``, one streaming read by all cores of
        the times and amounts, which are what it reads.
    """
    key, time, value, keys = loaded
    start = np.searchsorted(key, keys).astype(np.int64)
    at = np.full(len(keys), AS_OF, np.int64)
    stop = events_until(time, start, np.append(start, len(key))[1:], at)
    pieces = [rows for rows, _ in ranges(key, keys, RANGES * cores())]
    windows = np.array(WINDOWS, np.int64) * DAY_S

    def one(rows: slice) -> None:
        place = start[rows], stop[rows], at[rows]
        windowed(time, value, *place, windows)
        rhythm(time, *place)
        decayed(time, value, *place, float(HALF_LIFE * DAY_S))
        trend(time, value, *place, TREND)

    run = partial(each_task, one, pieces)
    run()
    seconds = []
    for _ in range(repeats):
        begin = perf_counter()
        run()
        seconds.append(perf_counter() - begin)
    one_read = read_seconds([time, value], cores())
    return {"kernel_seconds": median(seconds), "kernel_read_s": one_read}
