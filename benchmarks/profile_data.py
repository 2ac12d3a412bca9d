"""Synthetic events to profile: a table of subscribers and one of events, drawn from a seed.

The tables lie as the stage ``ingest`` leaves them, so that the stage ``profile`` reads them too:
``subscribers/part-*.parquet`` and ``events/usage/part-*.parquet``, in each part a bucket of
subscribers and all their events, by subscriber and time. Keys are drawn so that a bucket is a range
of keys too: the parts one after the other are sorted as a whole. There are ``FILES`` parts; the
functions that write them are those of ``ingest``.

The number of events of a subscriber is skewed: multinomial with weights from a gamma distribution
of shape 0.8, so that at 20 a subscriber on average 7 % have none and some have hundreds. Events are
uniform over the 90 days before the as-of instant, at whole seconds; amounts are exponential
with mean 3, money, at full precision. Keys are whole numbers with gaps between them. A part is
drawn and written by itself, so memory is bounded by a part.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DAY_S = 86_400
DAYS = 90
AS_OF = 1_790_000_000  # s since 1970, UTC
FILES = 16
LAYOUT = 3  # raised with every change of what ``ingest`` writes
FIRST_KEY = 1_000_000_000
COLUMNS = ("subscriber", "time", "amount")


@dataclass(frozen=True)
class Size:
    """One set of events; everything else follows from the seed."""

    events: int
    subscribers: int
    seed: int = 7

    @property
    def name(self) -> str:
        """Return the name of its folder."""
        return f"events-{self.events}-{self.subscribers}-{self.seed}"


@dataclass(frozen=True)
class Data:
    """Where a set of events lies: parts of the same number hold the same subscribers."""

    folder: Path

    @property
    def subscribers(self) -> list[Path]:
        """Return the parts of the subscriber table, in order of their keys."""
        return sorted((self.folder / "subscribers").glob("part-*.parquet"))

    @property
    def events(self) -> list[Path]:
        """Return the parts of the event table, in order of their keys."""
        return sorted((self.folder / "events" / "usage").glob("part-*.parquet"))


def made(size: Size, folder: Path) -> Data:
    """Return the events of a size in a folder; they are drawn unless they are there."""
    from jobs.shuffle import write, write_events  # here, so that peers, which only read, lack it

    data = Data(folder / size.name)
    mark = data.folder / "made.json"  # written last
    about = json.dumps({**asdict(size), "as_of": AS_OF, "files": FILES, "layout": LAYOUT})
    if mark.exists() and mark.read_text() == about:
        return data
    rmtree(data.folder, ignore_errors=True)
    (data.folder / "subscribers").mkdir(parents=True)
    (data.folder / "events" / "usage").mkdir(parents=True)
    rng = np.random.default_rng(size.seed)
    weight = rng.gamma(0.8, 1.0, size.subscribers)
    count = rng.multinomial(size.events, weight / weight.sum())
    counts = np.array_split(count, min(FILES, size.subscribers))
    after = FIRST_KEY
    for part, own in enumerate(counts):
        name = f"part-{part:05}.parquet"
        key = keys_of(part, len(counts), len(own), after)
        after = int(key[-1]) + 1
        events = drawn(key, own, np.random.default_rng([size.seed, part]))
        keys = pa.chunked_array([key])
        write(pa.table({"subscriber": keys}), data.folder / "subscribers" / name)
        write_events(pa.table(events), keys, data.folder / "events" / "usage" / name)
    mark.write_text(about)
    return data


def keys_of(bucket: int, buckets: int, count: int, first: int) -> Any:
    """Return the first keys from ``first`` on that are of a bucket, [count] int64, ascending."""
    from engine import tables  # here, so that peers, which only read, lack it

    found = np.empty(0, np.int64)
    while len(found) < count:
        candidates = first + np.arange(2 * buckets * count, dtype=np.int64)
        found = np.append(found, candidates[tables.bucket(candidates, buckets) == bucket])
        first += len(candidates)
    return found[:count]


def drawn(key: Any, count: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Draw the events of some subscribers.

    Args:
        key: [S] int64, ascending.
        count: [S] int64, events of each.
        rng: where they come from.

    Returns:
        ``subscriber`` [E] int64, ``time`` [E] int64 s, ``amount`` [E] float64 money, by subscriber
        and time.
    """
    owner = np.repeat(np.arange(len(key)), count)
    span = DAYS * DAY_S
    time = np.sort(owner * span + rng.integers(0, span, len(owner))) - owner * span
    amount = rng.exponential(3.0, len(owner))
    return dict(zip(COLUMNS, (key[owner], AS_OF - span + time, amount), strict=True))


def read(files: Sequence[Path], columns: Sequence[str]) -> dict[str, Any]:
    """Return columns of Parquet files below each other, as contiguous NumPy arrays."""
    rows = [pq.ParquetFile(path).metadata.num_rows for path in files]
    out: dict[str, Any] = {}
    for at, end, path in zip(np.cumsum(rows) - rows, np.cumsum(rows), files, strict=True):
        table = pq.read_table(path, columns=list(columns))
        for name in columns:
            found = table[name].to_numpy()
            out.setdefault(name, np.empty(sum(rows), found.dtype))[at:end] = found
    return out
