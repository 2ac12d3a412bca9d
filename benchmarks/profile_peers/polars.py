"""Polars, its streaming engine.

One hash group-by of columns computed beforehand. The gap is the difference to the row before where
that row has the same subscriber; a window's count is that of values that are not null. Other ways
took longer: the gap by ``diff().over()`` (twice as long), or within the group-by; filters within
the group-by; sums of masks; ``2.0 ** x`` for exp; the group-by of sorted keys, which columns with
the sorted flag get; the engine in memory; of files, one query for each.
"""

from math import log
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.profile_data import AS_OF, DAY_S, Data
from benchmarks.profile_peers import FEATURES, HALF_LIFE, LARGEST, SQUARES, TREND, WINDOWS, ZEROS


def load(data: Data) -> Any:
    """Return the events and the subscribers, each column one piece of memory."""
    return tuple(pl.read_parquet(files).rechunk() for files in (data.events, data.subscribers))


def in_memory(loaded: Any) -> Any:
    """Return the features as a DataFrame."""
    events, subscribers = loaded
    return _features(events.lazy(), subscribers.lazy()).collect(engine="streaming")


def columns(features: Any) -> dict[str, Any]:
    """Return the features as arrays."""
    return {name: features[name].to_numpy() for name in features.columns}


def from_parquet(data: Data, folder: Path) -> None:
    """Write the features to one file, by one query over all files."""
    events, subscribers = (pl.scan_parquet(files) for files in (data.events, data.subscribers))
    found = _features(events, subscribers).sort("subscriber")
    found.sink_parquet(folder / "features.parquet", compression="lz4", engine="streaming")


def _features(events: Any, subscribers: Any) -> Any:
    key, time, amount = (pl.col(name) for name in ("subscriber", "time", "amount"))
    age = AS_OF - time
    weight = (age * (-log(2) / (HALF_LIFE * DAY_S))).exp()
    middle = (TREND - 1) / 2
    within = {days: pl.when(age < days * DAY_S) for days in (*WINDOWS, TREND)}
    rows = events.with_columns(
        *(within[w].then(amount).alias(f"amount_{w}d") for w in WINDOWS),
        gap=pl.when(key == key.shift()).then(time.diff()),
        decayed=amount * weight,
        trend=within[TREND].then(amount * (middle - age // DAY_S)),
    )
    sums = rows.group_by(key).agg(
        *(pl.col(f"amount_{w}d").count().cast(pl.Int64).alias(f"count_{w}d") for w in WINDOWS),
        *(pl.col(f"amount_{w}d").sum().alias(f"sum_{w}d") for w in WINDOWS),
        pl.col(f"amount_{LARGEST}d").max().alias(f"max_{LARGEST}d"),
        pl.col("decayed").sum(),
        pl.col("trend").sum() / SQUARES,
        recency=(AS_OF - time.max()) / DAY_S,
        span=time.max() - time.min(),
        gaps=pl.len().cast(pl.Int64) - 1,
        gap_std=pl.col("gap").std(ddof=0) / DAY_S,
    )
    mean = pl.when(pl.col("gaps") > 0).then(pl.col("span") / pl.col("gaps") / DAY_S)
    found = subscribers.join(sums.with_columns(gap_mean=mean), on="subscriber", how="left")
    return found.select(
        "subscriber", *(pl.col(n).fill_null(0) if n in ZEROS else pl.col(n) for n in FEATURES)
    )
