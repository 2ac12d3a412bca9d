"""Engines that compute the same twelve features of the same events.

Each runs in a process of its own (``__main__.py``), with all cores, float64 and int64. A module
has ``load(data)``, which returns the events in the engine's own form (not timed);
``in_memory(loaded)``, which returns the features in the engine's own form, of every subscriber in
any order; ``columns(features)``, which makes NumPy arrays of them (not timed); and
``from_parquet(data, folder)``, which writes the features to files in a folder whose rows, file by
file by name, are in order of the subscriber. All write LZ4, as walras does: it takes less time than
their defaults.

Features, as of an instant ``t``: count and sum of the amounts over ``(t - w, t]`` for 7, 30 and 90
days; days since the last event; mean and population standard deviation of the gaps, days; the sum
decayed with a half-life of 14 days, ``2 ** (-age / 14 days)``; the least-squares slope of the daily
sums over 28 days (``kernels/decay.py``); the largest amount of 30 days. Without events counts,
sums, decayed sum and slope are 0, the others missing.
"""

WINDOWS = (7, 30, 90)  # days
HALF_LIFE = 14  # days
TREND = 28  # days
LARGEST = 30  # days
SQUARES = TREND * (TREND * TREND - 1) // 12  # sum of squares of the days' distance from the middle
ZEROS = (
    *(f"count_{w}d" for w in WINDOWS),
    *(f"sum_{w}d" for w in WINDOWS),
    "decayed",
    "trend",
)
"""Features that are 0 without events."""
FEATURES = (*ZEROS, "recency", "gap_mean", "gap_std", f"max_{LARGEST}d")
ENGINES = {"ours": "walras", "polars": "polars", "duckdb": "duckdb", "pandas": "pandas"}
"""Package by engine, also a module here; all but ours run with ``PEERS_PYTHON`` where set."""
