"""pandas.

Columns computed beforehand and one group-by object for all sums; the gap is the difference to the
row before where that has the same subscriber. Other ways took longer: ``groupby().diff()``,
``std(ddof=0)`` for the sum of squares (exact, see ``duckdb.py``), sorted groups, named aggregates.
pandas computes in one thread; of files, each is a task, in as many threads as there are cores.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.process import cores
from benchmarks.profile_data import AS_OF, COLUMNS, DAY_S, Data, read
from benchmarks.profile_peers import FEATURES, HALF_LIFE, LARGEST, SQUARES, TREND, WINDOWS, ZEROS


def load(data: Data) -> Any:
    """Return the events and the subscribers."""
    events = pd.DataFrame(read(data.events, COLUMNS), copy=False)
    return events, pd.DataFrame(read(data.subscribers, COLUMNS[:1]), copy=False)


def in_memory(loaded: Any) -> Any:
    """Return the features as a DataFrame."""
    events, subscribers = loaded
    key, time, amount = (events[name] for name in COLUMNS)
    age = AS_OF - time
    gap = time.diff().where(key.eq(key.shift()))
    made = {"subscriber": key, "time": time}
    for days in WINDOWS:
        is_within = age < days * DAY_S
        made[f"count_{days}d"] = is_within
        made[f"sum_{days}d"] = amount.where(is_within, 0.0)
    made["decayed"] = amount * np.exp2(age * (-1 / (HALF_LIFE * DAY_S)))
    slope = amount * ((TREND - 1) / 2 - age // DAY_S) / SQUARES
    made["trend"] = slope.where(age < TREND * DAY_S, 0.0)
    made["squares"] = gap * gap
    made["largest"] = amount.where(age < LARGEST * DAY_S)
    groups = pd.DataFrame(made, copy=False).groupby("subscriber", sort=False)
    found = groups[[*ZEROS, "squares"]].sum()
    last = groups["time"].last()
    span = (last - groups["time"].first()).astype("float64")
    gaps = (groups.size() - 1).replace(0, np.nan)
    found["recency"] = (AS_OF - last) / DAY_S
    found["gap_mean"] = span / gaps / DAY_S
    squares = (gaps * found["squares"] - span * span).clip(lower=0.0)
    found["gap_std"] = np.sqrt(squares) / gaps / DAY_S
    found[f"max_{LARGEST}d"] = groups["largest"].max()
    found = found[list(FEATURES)].reindex(subscribers["subscriber"])
    found[list(ZEROS)] = found[list(ZEROS)].fillna(0.0)
    return found


def columns(features: Any) -> dict[str, Any]:
    """Return the features as arrays."""
    rows = features.reset_index()
    return {name: rows[name].to_numpy() for name in rows.columns}


def from_parquet(data: Data, folder: Path) -> None:
    """Write a file of features for each file of events."""

    def one(files: tuple[Path, Path]) -> None:
        events, subscribers = (pd.read_parquet(file) for file in files)
        found = in_memory((events, subscribers)).reset_index()
        found.to_parquet(
            folder / files[0].name, index=False, compression="lz4", use_dictionary=False
        )

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(one, zip(data.events, data.subscribers, strict=True)))
