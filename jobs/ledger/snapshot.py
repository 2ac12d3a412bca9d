"""The ledger as a job reads it: plain tables of contacts and outcomes, at one version.

They lie among the finished stages, a file for each day, so that a day that has not changed is a
file that has not: later runs need not read it again. Their content does not say which version or
which order of bookings made it.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine.settings import Job
from engine.settings.inputs import LEDGER
from jobs.ledger import state
from jobs.ledger.table import Conflict, Ledger, opened, schema
from jobs.manifest import write_json
from jobs.stages import STORE, committed, remove, sweep

RECORD = "ledger.json"
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
                    _export(ledger, temporary)
                    files = {
                        path.relative_to(temporary).as_posix(): path.stat().st_size
                        for path in sorted(temporary.glob("*/*"))
                    }
                    write_json(temporary / RECORD, {**known, "files": files})
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


def _export(ledger: Ledger | None, folder: Path) -> None:
    for name in LEDGER:
        _begun(folder, name)
    if ledger is None:
        return
    freed = state.freed(ledger)
    for day in sorted({file.date for file in ledger.files}):
        columns = {name: _columns(name) for name in LEDGER}
        contacts = state.contacts(ledger, columns["contacts"], first=day, last=day, freed=freed)
        outcomes = state.outcomes(ledger, columns["outcomes"], first=day, last=day)
        _write(contacts, folder / "contacts", day)
        _write(outcomes, folder / "outcomes", day)


def _write(rows: pa.Table, folder: Path, day: date) -> None:
    if len(rows):
        rows = rows.sort_by([(name, "ascending") for name in rows.column_names])
        pq.write_table(rows.combine_chunks(), folder / f"{day}.parquet")
