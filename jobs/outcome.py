"""How a command ends: its exit code, and what it says of an error.

0 done; 1 a failure of walras itself; 2 wrong job file, input or place; 3 infeasible; 4 undecided,
as no allocation was found and none proved impossible; 5 refused, as planned contacts would break
policies on the ledger as it is; 130 Ctrl-C; 141 nobody reads the output.
"""

import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.errors import AllocationError, EngineError, RefusedError
from engine.limits import resolution
from jobs.attempts import CLOSED, FULL

DONE, OURS, WRONG, INFEASIBLE, UNDECIDED, REFUSED = 0, 1, 2, 3, 4, 5
INTERRUPTED, UNREAD = 130, 141


def explain(error: BaseException, output: Path, *, debug: bool) -> tuple[int, list[str]]:
    """Return the exit code of an error and its message, one problem a line.

    A failure of walras itself leaves its traceback in a file in ``output``; with ``debug`` it is
    part of the message.

    Raises:
        BrokenPipeError: the error itself, as nobody would read a message.
    """
    if isinstance(error, BrokenPipeError):
        raise error
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, [
            "interrupted: nothing half-written is left; finished stages are kept and will be reused"
        ]
    if isinstance(error, AllocationError):
        return UNDECIDED, [f"no allocation found: {error}"]
    if isinstance(error, RefusedError):
        return REFUSED, [f"refused: {problem}" for problem in str(error).splitlines()]
    if isinstance(error, EngineError):
        return WRONG, [f"error: {problem}" for problem in str(error).splitlines()]
    if isinstance(error, MemoryError):
        return WRONG, [
            "error: memory: there is too little for this job; raise inputs.partitions or lower "
            "cluster.workers"
        ]
    if isinstance(error, OSError) and error.errno in FULL | CLOSED:
        place = error.filename or f"{output} or standard output"
        what = "is full" if error.errno in FULL else "cannot be written or read"
        return WRONG, [
            f"error: {place}: the disk or folder {what} ({error.strerror}); "
            "make room or give another folder with --out; no half-written run is left"
        ]
    return OURS, _ours(error, output, debug=debug)


def _ours(error: BaseException, output: Path, *, debug: bool) -> list[str]:
    text = "".join(traceback.format_exception(error))
    head = f"failure: walras itself failed ({type(error).__name__}: {str(error):.200})"
    if debug:
        return [text.rstrip(), head]
    path = output / f"failure-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.txt"
    try:
        output.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError:
        return [f"{head}; --debug shows where"]
    return [f"{head}; where is in {path}"]


def conflicts(summary: Mapping[str, Any]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Return each set of limits in conflict: what is to be done about it, and its limits."""
    sets: dict[int, list[Mapping[str, Any]]] = {}
    for row in summary["conflict"]:
        sets.setdefault(row["set_number"], []).append(row)
    found = []
    for i, rows in enumerate(sets.values(), start=1):
        which = f"conflict {i} of {len(sets)}: " if len(sets) > 1 else ""
        what = "these limits" if len(rows) > 1 else "this limit"
        text = resolution(what, len(rows), is_minimal=rows[0]["is_minimal"])
        found.append((which + text, rows))
    return found


def infeasible(summary: Mapping[str, Any]) -> list[str]:
    """Return which constraints conflict and how far each would have to give, a line each."""
    lines, sets = [], conflicts(summary)
    for text, rows in sets:
        lines.append(f"infeasible: {text}:")
        for row in rows:
            least = row["smallest_relaxation"]
            alone = "" if least is None else f"relaxing it alone takes {least:,.10g}; "
            lines.append(f"  {row['constraint']}: limit {row['limit']:,.10g}; {alone}{row['text']}")
    return [*lines, "each conflict must be resolved"] if len(sets) > 1 else lines
