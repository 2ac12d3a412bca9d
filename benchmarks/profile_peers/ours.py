"""walras: the partition function in memory, the stage ``profile`` from files.

In memory everything is one partition, whose rows threads take some at a time. From files each part
is a task of the stage, in threads too; features of a part go to a file of the same name.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.machine import read_seconds
from benchmarks.process import cores
from benchmarks.profile_data import AS_OF, COLUMNS, Data, read
from benchmarks.profile_peers import FEATURES, HALF_LIFE, LARGEST, TREND, WINDOWS
from engine.feature_plan import planned
from engine.features import columns_of
from engine.profile import profile_partition
from engine.settings import Job
from jobs.profile import profile
from jobs.tasks import SerialTasks
from kernels import ranges, summarised
from kernels.threads import CHUNK, each_task


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
    arrays = zip(COLUMNS, (key, time, value), strict=True)
    tables = {"usage": pd.DataFrame(dict(arrays), copy=False)}
    rows = pd.DataFrame({COLUMNS[0]: keys}, copy=False)
    frame = profile_partition(job(as_of), rows, tables)
    return {name: frame[name].to_numpy() for name in FEATURES}


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
        named: Callable[[Any], str] | None = None,
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

    Rows go through it some at a time, as in the engine; what it finds is dropped.

    Args:
        loaded: as :func:`load` returns it.
        repeats: how often.

    Returns:
        ``kernel_seconds``, the median, and ``kernel_read_s``, one streaming read by all cores of
        the times and amounts, which are what it reads.
    """
    key, time, value, keys = loaded
    start, end = ranges(key, keys)
    at = np.full(len(keys), AS_OF, np.int64)
    (one,) = planned(column for feature in job().features for column in columns_of(feature, job()))
    events = time, value, np.empty(0, bool)

    def run(first: int) -> None:
        some = slice(first, first + CHUNK)
        summarised(*events, start[some], end[some], at[some], one.asked)

    seconds = []
    for _ in range(repeats + 1):
        begin = perf_counter()
        each_task(run, range(0, len(keys), CHUNK))
        seconds.append(perf_counter() - begin)
    one_read = read_seconds([time, value], cores())
    return {"kernel_seconds": median(seconds[1:]), "kernel_read_s": one_read}
