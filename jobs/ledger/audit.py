"""Recount a ledger: what it holds, and whether all of it is there."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import DataError
from jobs.ledger import state
from jobs.ledger.files import damage, leftovers, read
from jobs.ledger.table import (
    CANCELLED,
    CONTACT,
    LOG,
    OUTCOME,
    SUMMARY,
    Ledger,
    Outcome,
    entries,
    existing,
    insisted,
    one_line,
)


def shown(folder: Path) -> dict[str, Any]:
    """Return the state of a ledger, as JSON-able figures.

    Raises:
        ConfigError: there is none.
        DataError: it is damaged.
    """
    return insisted(lambda: _shown(existing(folder)))


def _shown(ledger: Ledger) -> dict[str, Any]:
    names = ["kind", "channel", "outcome", "run", "contact", "count"]
    rows = read(ledger, names)
    live = state.contacts(ledger, ["channel"], freed=state.freed(ledger))

    def of(kind: str) -> pa.Table:
        return rows.filter(pc.equal(rows["kind"], kind))

    summed = of(SUMMARY)
    is_contact = pc.equal(summed["outcome"], "")
    days = [file.date for file in ledger.files]
    booked = of(CONTACT)
    return {
        "folder": str(ledger.folder),
        "id": ledger.id,
        "version": ledger.version,
        "contacts": {
            "booked": len(booked),
            "cancelled": len(of(CANCELLED)),
            "failed": len(of(OUTCOME).filter(pc.equal(of(OUTCOME)["outcome"], Outcome.FAILED))),
            "summed_up": int(pc.sum(summed["count"].filter(is_contact)).as_py() or 0),
            "effective": len(live),
        },
        "outcomes": _counted(of(OUTCOME)["outcome"]),
        "channels": _counted(live["channel"]),
        "runs": _counted(booked["run"].filter(pc.not_equal(booked["run"], ""))),
        "first_day": str(min(days)) if days else None,
        "last_day": str(max(days)) if days else None,
        "rows": sum(file.rows for file in ledger.files),
        "files": len(ledger.files),
        "bytes": sum(file.size for file in ledger.files),
    }


def _counted(column: Any) -> dict[str, int]:
    found = pc.value_counts(column.combine_chunks()).to_pylist()
    return {one["values"]: one["counts"] for one in sorted(found, key=lambda one: one["values"])}


def verified(folder: Path) -> dict[str, Any]:
    """Recount everything of a ledger; return what was looked at.

    Raises:
        ConfigError: there is no ledger.
        DataError: everything that is wrong with it, and what to do.
    """
    ledger = existing(folder)
    problems = damage(ledger, ledger.files)
    try:
        expected = entries(ledger)
    except (OSError, pa.ArrowException, ValueError) as error:
        problems.append(
            f"{folder / LOG}: cannot be read ({one_line(error)}); put it back from a backup"
        )
        expected = None
    if not problems and expected is not None:
        names = ["kind", "contact", "entry", "outcome"]
        rows = read(ledger, names)
        problems += _miscounted(folder, rows, expected) + _unmatched(folder, rows)
    if problems:
        raise DataError.of(problems)
    return {
        "folder": str(folder),
        "version": ledger.version,
        "rows": sum(file.rows for file in ledger.files),
        "files": len(ledger.files),
        "entries": len(expected or {}),
        "leftovers": len(leftovers(ledger)),
    }


def _miscounted(folder: Path, rows: pa.Table, expected: Mapping[str, int]) -> list[str]:
    """Return the entries of the log that have more or fewer rows than it says."""
    found = Counter(_counted(rows["entry"]))
    return [
        f"{folder}: entry {entry} has {found[entry]} rows, the log says {expected.get(entry, 0)}; "
        "another program has written here: go back to a backup"
        for entry in sorted(found.keys() | expected.keys())
        if found[entry] != expected.get(entry, 0)
    ]


def _unmatched(folder: Path, rows: pa.Table) -> list[str]:
    """Return what refers to contacts that are not there, and contacts or releases there twice."""
    what = "another program has written here: go back to a backup"

    def ids(kind: str) -> Any:
        return rows["contact"].filter(pc.equal(rows["kind"], kind)).to_numpy()

    problems, booked = [], ids(CONTACT)
    for kind in (CONTACT, CANCELLED):
        own = np.sort(ids(kind))
        for contact in np.unique(own[1:][own[1:] == own[:-1]]).tolist():
            problems.append(f"{folder}: contact {contact} is {kind} twice; {what}")
    for kind in (CANCELLED, OUTCOME):
        own = ids(kind)
        for contact in np.unique(own[(own != 0) & ~np.isin(own, booked)]).tolist():
            problems.append(f"{folder}: {kind} names contact {contact}, which is not there; {what}")
    return problems
