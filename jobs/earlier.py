"""What an earlier result of stage ``ingest`` spares the next one.

A result says in ``inputs.json`` of which files it was made. Where all those of an event table are
among the files of a job, with the same content, only the files beside them are read: their rows are
merged into the ordered parts. Rows after the as-of instant lie in ``future/``, as they may count
for a later one. A table of which a file has changed is ingested from scratch, and so is the
subscriber table where a list has; the others are not. Of a result that differs in anything else
(the subscriber table, settings, partitions, an earlier as-of instant, walras itself) nothing is
taken.

Each result is whole by itself: an earlier one may be deleted when the next is made, or while it is,
which then begins anew. Parts that do not change are links to the earlier ones, and take no room of
their own.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import tables
from engine.settings import Job
from jobs.borders import Inputs
from jobs.manifest import digest, effective, input_hashes, version, write_json
from jobs.stages import finished

RECORD = "inputs.json"
FREE = ("folder", "source", "ledger", "max_reject_share")  # settings of inputs that change no row


@dataclass(frozen=True)
class Earlier:
    """An earlier result, or none.

    Attributes:
        folder: where it lies; None: there is none.
        files: names of the files that it was made of, by event table; only tables that it spares.
        counts: of each event table: ``rows`` and ``rejected``.
        parts: all its files, by their place below the folder.
        has_lists: whether its subscribers are those of the job too: no list has changed.
    """

    folder: Path | None
    files: Mapping[str, frozenset[str]]
    counts: Mapping[str, Mapping[str, Any]]
    parts: frozenset[str] = frozenset()
    has_lists: bool = False

    def is_whole(self) -> bool:
        """Say whether the result is still there; none is whole."""
        return self.folder is None or _read(self.folder / RECORD) is not None


NOTHING = Earlier(None, {}, {})


def record(job: Job, inspected: Inputs) -> dict[str, Any]:
    """Return what a result says of itself, before a row is read, for later ones to build on it.

    Of the files it names those that will be read: one that came since they were found is not among
    them, and one that went has no hash, so that no later file is taken for it.

    Args:
        job: the job.
        inspected: the files that will be read.
    """
    hashes = input_hashes(job)
    lists = {f"lists.{name}": own for name, own in inspected.lists.items()}
    files = {"subscribers": inspected.subscribers, **lists, **inspected.events}
    read = {name: {f.name: hashes[name].get(f.name) for f in own} for name, own in files.items()}
    inputs = {k: v for k, v in effective(job)["inputs"].items() if k not in FREE}
    same = {
        "version": version(),
        "inputs": inputs,
        "key": str(inspected.key),
        "subscribers": read.pop("subscribers"),
    }
    return {
        "same": digest(same),
        "lists": digest({name: read.pop(name) for name in lists}),
        "as_of": int(job.as_of.timestamp()),
        "files": read,
    }


def leave(folder: Path, own: Mapping[str, Any], counts: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the record of a result, with the ``rows`` and ``rejected`` of each event table."""
    write_json(folder / RECORD, {**own, "counts": dict(counts)})


def earlier(own: Mapping[str, Any], store: Path) -> Earlier:
    """Return the finished result that spares the most files, if any does.

    Args:
        own: record of the result to be made.
        store: folder of the stages' results.
    """
    best = NOTHING
    for path in sorted(store.glob(f"ingest-*/{RECORD}")):
        found = _read(path)
        if found is None or found["same"] != own["same"] or found["as_of"] > own["as_of"]:
            continue
        files = {
            name: frozenset(read)
            for name, read in found["files"].items()
            if read.items() <= own["files"].get(name, {}).items()
        }
        counts = {name: found["counts"][name] for name in files}
        has_lists = found["lists"] == own["lists"]
        one = Earlier(path.parent, files, counts, found["parts"], has_lists)
        best = max(best, one, key=_spared)  # of equals the first
    return best if _spared(best)[0] else NOTHING


def take(source: Path, target: Path) -> None:
    """Put a file of an earlier result into this one, whole: a link where the disk has links."""
    temporary = tables.temporary_name(target)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
    temporary.replace(target)
    temporary.unlink(missing_ok=True)  # rename leaves it where both are links to one file


def _spared(one: Earlier) -> tuple[int, bool]:
    """Return how many files a result spares, and whether the subscriber table too."""
    return sum(map(len, one.files.values())), one.has_lists


def _read(path: Path) -> dict[str, Any] | None:
    """Return the record of a finished and whole result, and its ``parts``."""
    try:
        stage = json.loads((path.parent / "stage.json").read_text(encoding="utf-8"))
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        print_, parts = stage["fingerprint"], frozenset(stage["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    is_whole = finished("ingest", path.parent, print_) is not None
    return {**content, "parts": parts} if is_whole else None
