"""Look after a ledger: fewer and larger files, retention, and a subscriber's right to erasure."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine import ingest as rows_of
from engine import tables
from engine.errors import ConfigError, DataError
from jobs.ledger import state
from jobs.ledger.book import Booked, filled
from jobs.ledger.files import read, sweep, written
from jobs.ledger.table import (
    BUCKETS,
    CANCELLED,
    CONTACT,
    LOG,
    OUTCOME,
    SUMMARY,
    File,
    Ledger,
    Outcome,
    commit,
    entries,
    existing,
    insisted,
    schema,
)

GROUP = ("subscriber", "offer", "channel", "category", "team")


@dataclass(frozen=True)
class Erased:
    """What became of the subscribers that were to be erased."""

    version: int
    rows: int
    files: int  # that were searched afterwards, and do not name them


def compact(folder: Path) -> Booked:
    """Write the files of each day and bucket as one; delete what the ledger no longer needs.

    Returns:
        The version, and the number of files that went.
    """

    def work() -> Booked:
        ledger = existing(folder)
        gone, made = [], []
        for _, group in groupby(ledger.files, key=lambda f: (f.date, f.bucket)):
            files = list(group)
            if len(files) > 1:
                gone += files
                made += written(ledger, read(ledger, _names(ledger), files=files))
        if not gone:
            return Booked(ledger.version, 0, already=True)
        commit(ledger, made, {}, removed=gone, moves_only=True)
        return Booked(ledger.version + 1, len(gone))

    done = insisted(work)
    sweep(folder)
    return done


def purge(folder: Path, before: date) -> Booked:
    """Sum up what lies before a day: one row for each subscriber, offer, channel, category, team.

    Counted are effective contacts, and outcomes by their kind. Outcomes from that day on stay; if
    their contact goes, they stand alone.

    Args:
        folder: the ledger.
        before: the first day that stays as it is.

    Returns:
        The version, and the number of rows that went.
    """

    def work() -> Booked:
        ledger = existing(folder)
        entry = f"purge:{ledger.version + 1}"
        found = [_purged(ledger, before, bucket, entry) for bucket in range(BUCKETS)]
        rows = sum(one.rows for one in found)
        if not rows:
            return Booked(ledger.version, 0, already=True)
        counts = Counter(entries(ledger))
        for one in found:
            counts.subtract(one.fewer)
            counts[entry] += one.summed
        commit(
            ledger,
            [file for one in found for file in one.made],
            {name: counts[name] for one in found for name in [*one.fewer, entry]},
            removed=[file for one in found for file in one.gone],
        )
        return Booked(ledger.version + 1, rows)

    done = insisted(work)
    sweep(folder)
    return done


@dataclass(frozen=True)
class _Purged:
    """What a purge does to one bucket."""

    rows: int = 0  # that go, summaries aside
    summed: int = 0  # summaries made
    fewer: Counter[str] = field(default_factory=Counter)  # rows that go, by entry
    made: tuple[File, ...] = ()
    gone: tuple[File, ...] = ()


def _purged(ledger: Ledger, before: date, bucket: int, entry: str) -> _Purged:
    """Sum up what one bucket has before a day; write its files."""
    old = [file for file in ledger.files if file.date < before and file.bucket == bucket]
    rows = read(ledger, _names(ledger), files=old)
    gone = np.sort(rows["contact"].filter(pc.equal(rows["kind"], CONTACT)).to_numpy())
    is_kept = _stays(rows, gone)
    kept, rows = rows.filter(is_kept), rows.filter(pc.invert(is_kept))
    detail = pc.sum(pc.not_equal(rows["kind"], SUMMARY)).as_py()
    if not detail:
        return _Purged()
    later = [file for file in state.within(ledger, before) if file.bucket == bucket]
    files, late = _later(ledger, later, gone)
    failed = late.filter(pc.equal(late["outcome"], Outcome.FAILED))["contact"]
    summed = filled(ledger, _summed(rows, failed), kind=SUMMARY, entry=entry)
    made = written(ledger, pa.concat_tables([summed, kept, _alone(late, gone)]))
    return _Purged(detail, len(summed), _counted(rows), tuple(made), (*old, *files))


def _stays(rows: pa.Table, gone: Any) -> Any:
    """Return the outcomes of contacts that stay: sent a little before the contact's day."""
    is_own = pc.or_(pc.equal(rows["contact"], 0), state.among(rows["contact"], gone))
    return pc.and_(pc.equal(rows["kind"], OUTCOME), pc.invert(is_own))


def _later(ledger: Ledger, files: Sequence[File], gone: Any) -> tuple[list[File], pa.Table]:
    """Return those files with outcomes of contacts that go, and their rows."""
    found, parts = [], [schema(ledger.key).empty_table()]
    is_outcome = pc.field("kind") == OUTCOME
    for file in files:
        answers = read(ledger, ["contact"], is_outcome, files=[file])
        if pc.any(state.among(answers["contact"], gone)).as_py():
            found.append(file)
            parts.append(read(ledger, _names(ledger), files=[file]))
    return found, pa.concat_tables(parts)


def _alone(rows: pa.Table, gone: Any) -> pa.Table:
    """Return rows, their outcomes without the contacts that are gone."""
    contact = rows["contact"]
    kept = pc.if_else(state.among(contact, gone), pa.scalar(0, pa.int64()), contact)
    return rows.set_column(rows.schema.get_field_index("contact"), "contact", kept)


def _summed(rows: pa.Table, failed_later: Any) -> pa.Table:
    """Return one row for each group and kind of outcome: the count, and the time of the last."""
    kinds, contact = rows["kind"], rows["contact"]
    is_failed = pc.and_(pc.equal(kinds, OUTCOME), pc.equal(rows["outcome"], Outcome.FAILED))
    freed = contact.filter(pc.or_(pc.equal(kinds, CANCELLED), is_failed))
    freed = pa.chunked_array([*freed.chunks, *failed_later.chunks], pa.int64())
    is_freed = pc.and_(pc.equal(kinds, CONTACT), pc.is_in(contact, freed))
    rows = rows.filter(pc.and_(pc.not_equal(kinds, CANCELLED), pc.invert(is_freed)))
    summed = rows.group_by([*GROUP, "outcome"]).aggregate([("count", "sum"), ("time", "max")])
    return summed.rename_columns([*GROUP, "outcome", "count", "time"])


def erase(folder: Path, keys: Sequence[str]) -> Erased:
    """Remove all rows of some subscribers, delete the files that held them, and prove it.

    Args:
        folder: the ledger.
        keys: the subscribers, as text.

    Raises:
        ConfigError: there is no ledger, or a key is not of its type.
        DataError: a file still names one of them.
    """

    def work() -> tuple[Ledger, Any, int]:
        ledger = existing(folder)
        known = rows_of.whole_or_text(pa.chunked_array([pa.array(keys, pa.string())]), ledger.key)
        if known.null_count:
            odd = keys[known.is_null().index(value=True).as_py()]
            raise ConfigError(f"subscriber: should be a whole number, got {odd!r}")
        buckets = np.unique(tables.bucket(known.to_pandas(), BUCKETS)).tolist()
        wanted, files, gone, kept = pc.field("subscriber").isin(known.to_pylist()), [], [], []
        for file in (f for f in ledger.files if f.bucket in buckets):
            if len(read(ledger, ["contact"], wanted, files=[file])):
                files.append(file)
                rows = read(ledger, _names(ledger), files=[file])
                is_wanted = pc.is_in(rows["subscriber"], known.combine_chunks())
                gone.append(rows.filter(is_wanted))
                kept += written(ledger, rows.filter(pc.invert(is_wanted)))
        if files:
            counts, fewer = entries(ledger), _counted(pa.concat_tables(gone))
            left = {name: counts[name] - number for name, number in fewer.items()}
            commit(ledger, kept, left, removed=files)
        return ledger, known.combine_chunks(), sum(map(len, gone))

    ledger, known, rows = insisted(work)
    sweep(folder)
    searched = _searched(ledger, known)
    return Erased(existing(folder).version, rows, searched)


def _searched(ledger: Ledger, keys: Any) -> int:
    """Search every file in the folder for subscribers; return how many files there are.

    The log can name some only in statistics of columns, so it should have none. Files that another
    process is writing for a later version are its own.

    Raises:
        DataError: a file names one of them.
    """
    found, count = [], 0
    for path in sorted(p for p in ledger.folder.rglob("*") if p.is_file()):
        count += 1
        if LOG in path.parts:
            if any(set(json.loads(text)) - {"numRecords"} for text in _statistics(path)):
                found.append(f"{path}: has statistics of columns, which may name subscribers")
        elif path.suffix == ".parquet":
            version = path.name.partition("-")[0]
            if not version.isdigit():
                found.append(f"{path}: is no file of the ledger, and may name anyone; move it away")
            elif int(version) <= ledger.version + 1 and _holds(path, keys):
                found.append(f"{path}: still names a subscriber that was erased; delete it")
    if found:
        raise DataError.of(found)
    return count


def _holds(path: Path, keys: Any) -> bool:
    """Return whether a file has rows of subscribers; one that was swept meanwhile has none."""
    try:
        rows = pq.read_table(path, columns=["subscriber"])
    except FileNotFoundError:
        return False
    return bool(pc.any(pc.is_in(rows["subscriber"], keys)).as_py())


def _statistics(path: Path) -> list[str]:
    """Return the statistics of all files that a file of the log names."""
    if path.suffix == ".parquet":
        adds = pq.read_table(path, columns=["add"])["add"].drop_null().to_pylist()
        return [add["stats"] for add in adds if add["stats"]]
    if path.suffix != ".json" or path.name.startswith("_"):
        return []
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [line["add"]["stats"] for line in lines if line.get("add", {}).get("stats")]


def _counted(rows: pa.Table) -> Counter[str]:
    """Return the rows of each entry."""
    found = pc.value_counts(rows["entry"].combine_chunks()).to_pylist()
    return Counter({one["values"]: one["counts"] for one in found})


def _names(ledger: Ledger) -> list[str]:
    return list(schema(ledger.key).names)
