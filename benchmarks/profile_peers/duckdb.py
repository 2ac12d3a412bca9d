"""DuckDB, SQL.

The gap is ``lag() OVER ()``, a streaming window in the order of the rows, where the row before has
the same subscriber. Such a window is done by one thread, so the table is cut into as many ranges of
subscribers as there are threads, and of files each is a query of its own, in as many threads. Other
ways took longer: a window ``PARTITION BY subscriber ORDER BY time`` (twice the processor time), a
join with the row before by rowid or by position, one streaming window, gaps from ``list(time)``
(which also loses digits), FILTER for CASE, ``stddev_pop`` for the sum of squares, ``pow`` for exp.
The sum of squares is exact: of whole seconds, below 2 ** 53 but for subscribers of hundreds of
events, whose deviation is far from 0.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.process import cores
from benchmarks.profile_data import AS_OF, DAY_S, Data
from benchmarks.profile_peers import FEATURES, HALF_LIFE, LARGEST, SQUARES, TREND, WINDOWS, ZEROS


def load(data: Data) -> Any:
    """Return a connection to a database in memory that holds both tables."""
    database = _connected()
    for name, files in (("events", data.events), ("subscribers", data.subscribers)):
        database.execute(f"CREATE TABLE {name} AS SELECT * FROM {_files(*files)}")
    return database


def in_memory(loaded: Any) -> Any:
    """Make a table of the features, in memory."""
    (rows,) = loaded.execute("SELECT count(*) FROM subscribers").fetchone()
    parts = min(cores(), rows)
    first = "SELECT subscriber FROM subscribers LIMIT 1 OFFSET ?"
    cuts = [loaded.execute(first, [rows * i // parts]).fetchone()[0] for i in range(1, parts)]
    bounds = zip([None, *cuts], [*cuts, None], strict=True)
    sums = " UNION ALL ".join(f"({_sums('events' + _between(*bound))})" for bound in bounds)
    loaded.execute(f"CREATE OR REPLACE TABLE features AS {_features(sums, 'subscribers')}")
    return loaded


def columns(features: Any) -> dict[str, Any]:
    """Return the features as arrays."""
    arrays = features.execute("SELECT * FROM features").fetchnumpy()
    return {
        name: array.astype("float64").filled(float("nan")) if hasattr(array, "filled") else array
        for name, array in arrays.items()
    }


def from_parquet(data: Data, folder: Path) -> None:
    """Write a file of features for each file of events, each by a query of its own."""
    database = _connected()

    def one(files: tuple[Path, Path]) -> None:
        events, subscribers = files
        found = _features(_sums(_files(events)), _files(subscribers))
        to = f"{_quoted(folder / events.name)} (FORMAT parquet, COMPRESSION lz4)"
        database.cursor().execute(f"COPY ({found} ORDER BY subscriber) TO {to}")

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(one, zip(data.events, data.subscribers, strict=True)))


def _connected() -> Any:
    return duckdb.connect(config={"threads": cores()})


def _files(*files: Path) -> str:
    return f"read_parquet([{', '.join(map(_quoted, files))}])"


def _quoted(file: Path) -> str:
    return "'" + str(file).replace("'", "''") + "'"


def _between(low: int | None, high: int | None) -> str:
    """Return the condition of a range of subscribers, without the upper bound."""
    bounds = [f"subscriber >= {low}"] if low is not None else []
    bounds += [f"subscriber < {high}"] if high is not None else []
    return f" WHERE {' AND '.join(bounds)}" if bounds else ""


def _sums(rows: str) -> str:
    """Return the query of the features of subscribers with events."""
    within = {d: f"CASE WHEN time > {AS_OF - d * DAY_S} THEN" for d in (*WINDOWS, TREND)}
    middle = f"{(TREND - 1) / 2:g}e0"
    gaps = "(count(*) - 1)"
    wanted = [
        *(f"count({within[w]} 1 END) AS count_{w}d" for w in WINDOWS),
        *(f"sum({within[w]} amount ELSE 0 END) AS sum_{w}d" for w in WINDOWS),
        f"sum(amount * exp((time - {AS_OF}) * (ln(2) / {HALF_LIFE * DAY_S}))) AS decayed",
        f"sum({within[TREND]} amount * ({middle} - ({AS_OF} - time) // {DAY_S}) ELSE 0 END)"
        f" / {SQUARES} AS trend",
        f"({AS_OF} - max(time)) / {DAY_S} AS recency",
        f"CASE WHEN count(*) > 1 THEN (max(time) - min(time)) / {gaps} / {DAY_S} END AS gap_mean",
        f"CASE WHEN count(*) > 1 THEN sqrt(greatest(0, {gaps} * sum(gap * gap)"
        f" - (max(time) - min(time))::DOUBLE ** 2)) / {gaps} / {DAY_S} END AS gap_std",
        f"max({within[LARGEST]} amount END) AS max_{LARGEST}d",
    ]
    before = "CASE WHEN lag(subscriber) OVER () = subscriber THEN lag(time) OVER () END"
    events = f"SELECT *, (time - {before})::DOUBLE AS gap FROM {rows}"
    return f"SELECT subscriber, {', '.join(wanted)} FROM ({events}) GROUP BY subscriber"


def _features(sums: str, subscribers: str) -> str:
    """Return the query of the features of all subscribers."""
    wanted = ", ".join(f"coalesce({n}, 0) AS {n}" if n in ZEROS else n for n in FEATURES)
    return f"SELECT subscriber, {wanted} FROM {subscribers} LEFT JOIN ({sums}) USING (subscriber)"
