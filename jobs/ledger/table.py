"""The ledger's Delta table: its rows, its files, and the one way in which it changes.

Every change is one version of the log: files added, files removed and the rows of each entry
(a run, a file), all at once. A change is prepared for version ``v + 1`` and committed as exactly
that, so of two processes that have read version ``v`` one succeeds; the other begins anew.

No statistics of columns are in the log, so no subscriber is either.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from time import time_ns
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction, RemoveAction

from engine.errors import ConfigError, DataError
from jobs.stages import sync

R = TypeVar("R")

BUCKETS = 16
NAME = "walras contact ledger"
LOG = "_delta_log"
PARTITION = ["date", "bucket"]
INSTANT = pa.timestamp("us", "UTC")
TEXTS = ("kind", "offer", "channel", "category", "team", "outcome", "run", "entry")
CONTACT, CANCELLED, OUTCOME, SUMMARY = "contact", "cancelled", "outcome", "summary"
ID_STEP = 2**32  # a contact's id: the version that booked it times this, and its place in it


class Outcome(StrEnum):
    """What became of a contact."""

    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    IGNORED = "ignored"
    COMPLAINT = "complaint"
    OPT_OUT = "opt_out"


class Conflict(Exception):
    """Another process has changed the ledger meanwhile."""


def schema(key: pa.DataType) -> pa.Schema:
    """Return the columns of a ledger's files.

    kind: contact (booked), cancelled, outcome, or summary (what a purge has left). subscriber: the
    key. time: of the contact, of a cancellation too; of the outcome. offer, channel, category,
    team, outcome: text, empty where there is none. run: fingerprint of the contact's run, empty
    for other systems'. entry: what wrote the row, with a transaction of its own in the log.
    contact: id of the contact, 0 where there is none. count: of contacts or outcomes that the row
    stands for, 1 but for summaries. booked_at: when the row was written.
    """
    return pa.schema(
        [
            ("kind", pa.string()),
            ("subscriber", key),
            ("time", INSTANT),
            *((name, pa.string()) for name in TEXTS[1:]),
            ("contact", pa.int64()),
            ("count", pa.int64()),
            ("booked_at", INSTANT),
        ]
    )


@dataclass(frozen=True)
class File:
    """A file of the table, as the log names it."""

    path: str
    date: date
    bucket: int
    rows: int
    size: int


@dataclass(frozen=True)
class Ledger:
    """The table at one version."""

    folder: Path
    id: str
    version: int
    key: pa.DataType
    files: tuple[File, ...]  # by date
    delta: DeltaTable

    def rows_of(self, entry: str) -> int | None:
        """Return how many rows of an entry the ledger holds; None: it was never written."""
        found: int | None = self.delta.transaction_version(entry)
        return found

    def place(self, file: File) -> Path:
        """Return where a file lies."""
        return self.folder / file.path


def opened(folder: Path) -> Ledger | None:
    """Open the latest version of the ledger in a folder; None: there is none yet.

    Raises:
        DataError: the log cannot be read, or is not that of a ledger.
    """
    if not any((folder / LOG).glob("*.json")) and not any((folder / LOG).glob("*.parquet")):
        return None
    try:
        delta = DeltaTable(folder)
        meta, found = delta.metadata(), pa.table(delta.get_add_actions(flatten=True))
        columns = pa.schema(delta.schema())
    except (DeltaError, OSError, ValueError) as error:
        raise DataError(
            f"{folder / LOG}: the log of the ledger cannot be read ({one_line(error)}); "
            "put its missing or damaged files back from a backup"
        ) from None
    key = columns.field("subscriber").type if "subscriber" in columns.names else pa.null()
    key = pa.string() if pa.types.is_string(key) or pa.types.is_string_view(key) else key
    if meta.name != NAME or set(columns.names) != {*schema(key).names, *PARTITION}:
        raise DataError(f"{folder}: is a Delta table, but no contact ledger; give another folder")
    names = ("path", "partition.date", "partition.bucket", "num_records", "size_bytes")
    rows = zip(*(found[name].to_pylist() for name in names), strict=True)
    files = tuple(sorted((File(*row) for row in rows), key=lambda file: (file.date, file.path)))
    return Ledger(folder, str(meta.id), delta.version(), key, files, delta)


def opened_or_made(folder: Path, key: pa.DataType) -> Ledger:
    """Open the ledger in a folder, or make an empty one there.

    Args:
        folder: the folder.
        key: type of subscriber keys, int64 or string.

    Raises:
        ConfigError: the folder holds something else.
        DataError: as :func:`opened`, or the ledger's keys are of another type.
    """
    ledger = opened(folder)
    if ledger is None:
        if folder.exists() and (not folder.is_dir() or {p.name for p in folder.iterdir()} - {LOG}):
            raise ConfigError(f"{folder}: is no ledger and is not empty; give a new folder")
        own = schema(key)
        fields = [*own, pa.field("date", pa.date32()), pa.field("bucket", pa.int32())]
        try:
            DeltaTable.create(
                folder, Schema.from_arrow(pa.schema(fields)), name=NAME, partition_by=PARTITION,
                commit_properties=CommitProperties(max_commit_retries=0),  # the first, or none
            )  # fmt: skip
        except (DeltaError, OSError) as error:
            if opened(folder) is None:  # else another process has made it
                raise DataError(f"{folder}: cannot be written ({one_line(error)})") from None
        ledger = opened(folder)
        assert ledger is not None
        _keep(folder, 0)
        sync(folder)
        sync(folder.parent)
    if ledger.key != key:
        raise DataError(
            f"{folder}: subscriber keys of the ledger are {_named(ledger.key)}, got "
            f"{_named(key)}; they should be the same"
        )
    return ledger


def existing(folder: Path) -> Ledger:
    """Open a ledger that has to be there.

    Raises:
        ConfigError: it is not.
        DataError: as :func:`opened`.
    """
    ledger = opened(folder)
    if ledger is None:
        raise ConfigError(f"{folder}: there is no ledger; give the folder of one")
    return ledger


def insisted(work: Callable[[], R]) -> R:
    """Do work that reads and changes a ledger; begin it anew while others come first."""
    while True:
        try:
            return work()
        except Conflict:
            continue


def commit(
    ledger: Ledger,
    added: Sequence[File],
    entries: Mapping[str, int],
    *,
    removed: Sequence[File] = (),
    moves_only: bool = False,
) -> None:
    """Make the next version: all of it, or none.

    Args:
        ledger: the version that the change was made on.
        added: files, as :func:`written` gives them.
        entries: how many rows of an entry the ledger holds from now on.
        removed: files that go.
        moves_only: whether the rows stay the same.

    Raises:
        Conflict: another process has made that version.
        DataError: the log cannot be written.
    """
    now = time_ns() // 1_000_000
    is_data = not moves_only
    actions: list[AddAction | RemoveAction] = [
        RemoveAction(f.path, is_data, now, f.size, _partition(f)) for f in removed
    ]
    actions += [
        AddAction(f.path, f.size, _partition(f), now, is_data, json.dumps({"numRecords": f.rows}))
        for f in added
    ]
    properties = CommitProperties(
        max_commit_retries=0,  # exactly the next version, or a failure
        app_transactions=[Transaction(entry, rows) for entry, rows in entries.items()],
    )
    try:
        ledger.delta.create_write_transaction(
            actions, "append", ledger.delta.schema(), PARTITION, commit_properties=properties
        )
    except (DeltaError, OSError) as error:
        latest = opened(ledger.folder)
        named = set() if latest is None else {file.path for file in latest.files}
        for file in added:
            if file.path not in named:
                ledger.place(file).unlink(missing_ok=True)
        if latest is not None and latest.version > ledger.version:
            raise Conflict from None
        raise DataError(
            f"{ledger.folder / LOG}: cannot be written ({one_line(error)}); nothing was changed"
        ) from None
    _keep(ledger.folder, ledger.version + 1)


def _keep(folder: Path, version: int) -> None:
    """Have the disk hold a version of the log: Delta itself does not wait for it."""
    for path in sorted((folder / LOG).glob(f"{version:020}.*")):
        sync(path)
    sync(folder / LOG)


def _partition(file: File) -> dict[str, str | None]:
    return {"date": str(file.date), "bucket": str(file.bucket)}


def entries(ledger: Ledger) -> dict[str, int]:
    """Return how many rows of each entry the ledger should hold, from its log."""
    log, found, first = ledger.folder / LOG, {}, 0
    checkpoints = [int(p.name.split(".")[0]) for p in log.glob("*.checkpoint.parquet")]
    checkpoints = [version for version in checkpoints if version <= ledger.version]
    if checkpoints:
        first = max(checkpoints) + 1
        rows = pq.read_table(log / f"{first - 1:020}.checkpoint.parquet", columns=["txn"])["txn"]
        found = {row["appId"]: row["version"] for row in rows.drop_null().to_pylist()}
    for version in range(first, ledger.version + 1):
        for line in (log / f"{version:020}.json").read_text(encoding="utf-8").splitlines():
            if '"txn"' in line and "txn" in (action := json.loads(line)):
                found[action["txn"]["appId"]] = action["txn"]["version"]
    return found


def _named(key: pa.DataType) -> str:
    return "text" if pa.types.is_string(key) else "whole numbers"


def one_line(error: BaseException) -> str:
    """Return what an error says, on one line."""
    return " ".join(str(error).split())
