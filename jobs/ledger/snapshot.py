"""The ledger as a job reads it: plain tables of contacts and outcomes, at one version.

They lie among the finished stages, a file for each day, so that a day that has not changed is a
file that has not: later runs need not read it again, and later versions have it as a hard link to
the same file. Their content does not say which version or which order of bookings made it.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine.settings import Job
from engine.settings.inputs import LEDGER
from jobs.ledger import state
from jobs.ledger.files import read
from jobs.ledger.table import CONTACT, Conflict, Ledger, opened, schema
from jobs.manifest import write_json
from jobs.stages import STORE, committed, remove, sweep

RECORD = "ledger.json"
FREED = "freed.npy"  # ids of the contacts that are in no table, sorted
NONE = {"id": "", "version": -1}  # of a ledger that is not there yet


def pinned(job: Job) -> Job:
    """Return a job whose history is its ledger as it is now; without a ledger, as it is.

    Raises:
        DataError: the ledger is damaged.
    """
    if job.inputs.ledger is None:
        return job
    store = job.output / STORE
    while True:
        ledger = opened(job.inputs.ledger)
        known = NONE if ledger is None else {"id": ledger.id, "version": ledger.version}
        folder = store / f"ledger-{known['id'] or 'none'}-{known['version']}"
        try:
            if not _is_whole(folder):
                sweep(store)
                remove(folder)
                with committed(folder, store) as temporary:
                    days = {} if ledger is None else _days(ledger)
                    _export(ledger, temporary, _Earlier.of(store, known, days))
                    files = {
                        path.relative_to(temporary).as_posix(): path.stat().st_size
                        for path in sorted(temporary.glob("*/*"))
                    }
                    record = {**known, "files": files, "days": days}
                    write_json(temporary / RECORD, record)
        except Conflict:
            continue
        return job.model_copy(update={"inputs": job.inputs.at(folder)})


def version_of(job: Job) -> dict[str, Any] | None:
    """Return the id and version of the ledger that a job reads; None: it reads none."""
    folder = job.inputs.snapshot()
    if folder is None:
        return None
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    return {name: record[name] for name in NONE}


@contextmanager
def outlined(job: Job) -> Iterator[Job]:
    """Give a job whose history has the ledger's columns and types, and no rows.

    Raises:
        DataError: the ledger is damaged.
    """
    if job.inputs.ledger is None:
        yield job
        return
    with TemporaryDirectory() as temporary:
        ledger = opened(job.inputs.ledger)
        for name in LEDGER:
            _begun(Path(temporary), name)
            if ledger is not None:
                columns = [schema(ledger.key).field(column) for column in _columns(name)]
                rows = pa.schema(columns).empty_table()
                pq.write_table(rows, Path(temporary) / name / "none.parquet")
        yield job.model_copy(update={"inputs": job.inputs.at(Path(temporary))})


def _is_whole(folder: Path) -> bool:
    try:
        files: Mapping[str, int] = json.loads((folder / RECORD).read_text(encoding="utf-8"))[
            "files"
        ]
        return all((folder / name).stat().st_size == size for name, size in files.items())
    except (OSError, ValueError, KeyError):
        return False


def _columns(table: str) -> list[str]:
    return ["subscriber", "time", *LEDGER[table].categories]


def _begun(folder: Path, table: str) -> None:
    """Make the folder of a table with a file that has no rows, so that there is one."""
    (folder / table).mkdir()
    text = f"{','.join(_columns(table))}\n"
    (folder / table / "none.csv").write_text(text, encoding="utf-8")


def _days(ledger: Ledger) -> dict[str, list[str]]:
    """Return the ledger's files of each day, by name; a file never changes."""
    found: dict[str, list[str]] = {}
    for file in ledger.files:
        found.setdefault(str(file.date), []).append(file.path)
    return found


@dataclass(frozen=True)
class _Earlier:
    """The tables of an earlier version, and the days that may be as they were."""

    folder: Path
    files: frozenset[str]
    days: frozenset[str]  # of which the ledger has the same files

    @classmethod
    def of(
        cls, store: Path, known: Mapping[str, Any], days: Mapping[str, list[str]]
    ) -> "_Earlier | None":
        """Return the latest that is there, if any."""
        found: dict[int, Path] = {}
        for folder in store.glob(f"ledger-{known['id']}-*"):
            version = folder.name.rpartition("-")[2]
            if version.isdigit() and int(version) < known["version"] and _is_whole(folder):
                found[int(version)] = folder
        if not found:
            return None
        folder = found[max(found)]
        try:
            record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
            was = record["days"]
            alike = frozenset(day for day, files in days.items() if was.get(day) == files)
            return cls(folder, frozenset(record["files"]), alike)
        except (OSError, ValueError, KeyError):
            return None

    def same(self, ledger: Ledger, freed: Any) -> frozenset[str]:
        """Return the days whose tables are as they were, given the contacts that are in none."""
        try:
            changed = np.setxor1d(np.load(self.folder / FREED), freed)
        except (OSError, ValueError):
            return frozenset()
        files = [file for file in ledger.files if str(file.date) in self.days]
        where = (pc.field("kind") == CONTACT) & pc.field("contact").isin(pa.array(changed))
        times = read(ledger, ["time"], where, files=files if len(changed) else [])["time"]
        return self.days - {str(day) for day in pc.unique(times.cast(pa.date32())).to_pylist()}

    def give(self, name: str, folder: Path) -> bool:
        """Link a file, if there was one, into the new version; return whether that is done."""
        try:
            if name in self.files:
                (folder / name).hardlink_to(self.folder / name)
            return True
        except OSError:  # it went meanwhile, or there are no such links here
            return False


def _export(ledger: Ledger | None, folder: Path, earlier: _Earlier | None) -> None:
    for name in LEDGER:
        _begun(folder, name)
    if ledger is None:
        return
    freed = state.freed(ledger)
    np.save(folder / FREED, freed)
    same = frozenset() if earlier is None else earlier.same(ledger, freed)
    columns = {name: _columns(name) for name in LEDGER}
    for day in sorted({file.date for file in ledger.files}):
        names = [f"{name}/{day}.parquet" for name in LEDGER]
        if earlier and str(day) in same and all(earlier.give(name, folder) for name in names):
            continue
        contacts = state.contacts(ledger, columns["contacts"], first=day, last=day, freed=freed)
        outcomes = state.outcomes(ledger, columns["outcomes"], first=day, last=day)
        _write(contacts, folder / "contacts", day)
        _write(outcomes, folder / "outcomes", day)


def _write(rows: pa.Table, folder: Path, day: date) -> None:
    path = folder / f"{day}.parquet"
    path.unlink(missing_ok=True)  # never through a link
    if len(rows):
        rows = rows.sort_by([(name, "ascending") for name in rows.column_names])
        pq.write_table(rows.combine_chunks(), path)
