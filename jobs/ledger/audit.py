"""Recount a ledger: what it holds, and whether all of it is there."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import DataError
from jobs.ledger import state
from jobs.ledger.files import damage, leftovers, read
from jobs.ledger.table import (
    BUCKETS,
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
    names = ["kind", "channel", "outcome", "run"]
    freed, parts = state.freed(ledger), []
    for bucket in range(BUCKETS):
        files = [file for file in ledger.files if file.bucket == bucket]
        rows = read(ledger, [*names, "contact", "count"], files=files)
        rows = rows.append_column("freed", state.among(rows["contact"], freed))
        parts.append(rows.group_by([*names, "freed"]).aggregate([("count", "sum")]).to_pandas())
    found = pd.concat(parts, ignore_index=True)
    booked, answers = found[found["kind"] == CONTACT], found[found["kind"] == OUTCOME]
    summed = found[(found["kind"] == SUMMARY) & (found["outcome"] == "")]
    live = pd.concat([booked[~booked["freed"].astype(bool)], summed])
    days = [file.date for file in ledger.files]
    return {
        "folder": str(ledger.folder),
        "id": ledger.id,
        "version": ledger.version,
        "contacts": {
            "booked": _sum(booked),
            "cancelled": _sum(found[found["kind"] == CANCELLED]),
            "failed": _sum(answers[answers["outcome"] == Outcome.FAILED]),
            "summed_up": _sum(summed),
            "effective": _sum(live),
        },
        "outcomes": _sums(answers, "outcome"),
        "channels": _sums(live, "channel"),
        "runs": _sums(booked[booked["run"] != ""], "run"),
        "first_day": str(min(days)) if days else None,
        "last_day": str(max(days)) if days else None,
        "rows": sum(file.rows for file in ledger.files),
        "files": len(ledger.files),
        "bytes": sum(file.size for file in ledger.files),
    }


def _sum(rows: pd.DataFrame) -> int:
    return int(rows["count_sum"].sum())


def _sums(rows: pd.DataFrame, by: str) -> dict[str, int]:
    sums = rows.groupby(by)["count_sum"].sum()
    return {str(name): int(count) for name, count in sums.items()}


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
        ids: dict[str, list[Any]] = {CONTACT: [], CANCELLED: [], OUTCOME: []}
        found: Counter[str] = Counter()
        for file in ledger.files:
            rows = read(ledger, ["kind", "contact", "entry"], files=[file])
            counts = pc.value_counts(rows["entry"].combine_chunks()).to_pylist()
            found.update({one["values"]: one["counts"] for one in counts})
            for kind, own in ids.items():
                own.append(rows["contact"].filter(pc.equal(rows["kind"], kind)).to_numpy())
        problems += _miscounted(folder, found, expected)
        problems += _unmatched(
            folder, {kind: np.concatenate([[], *own]).astype(np.int64) for kind, own in ids.items()}
        )
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


def _miscounted(folder: Path, found: Counter[str], expected: Mapping[str, int]) -> list[str]:
    """Return the entries of the log that have more or fewer rows than it says."""
    return [
        f"{folder}: entry {entry} has {found[entry]} rows, the log says {expected.get(entry, 0)}; "
        "another program has written here: go back to a backup"
        for entry in sorted(found.keys() | expected.keys())
        if found[entry] != expected.get(entry, 0)
    ]


def _unmatched(folder: Path, ids: Mapping[str, Any]) -> list[str]:
    """Return what refers to contacts that are not there, and contacts or releases there twice.

    Args:
        folder: the ledger.
        ids: of contacts, by kind of row, [N] int64.
    """
    what = "another program has written here: go back to a backup"
    problems, booked = [], np.sort(ids[CONTACT])
    for kind in (CONTACT, CANCELLED):
        own = np.sort(ids[kind])
        for contact in np.unique(own[1:][own[1:] == own[:-1]]).tolist():
            problems.append(f"{folder}: contact {contact} is {kind} twice; {what}")
    for kind in (CANCELLED, OUTCOME):
        own = ids[kind][ids[kind] != 0]
        lost = ~np.asarray(state.among(pa.array(own), booked))
        for contact in np.unique(own[lost]).tolist():
            problems.append(f"{folder}: {kind} names contact {contact}, which is not there; {what}")
    return problems
