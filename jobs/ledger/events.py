"""Files of other systems: outcomes of contacts, and contacts that others made."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine import ingest as rows_of
from engine.errors import DataError
from jobs.borders import ALLOWED, kind_of, plain
from jobs.ledger import state
from jobs.ledger.book import Booked, filled, new_ids
from jobs.ledger.files import read_of, written
from jobs.ledger.table import (
    CONTACT,
    INSTANT,
    OUTCOME,
    Ledger,
    Outcome,
    commit,
    insisted,
    opened,
    opened_or_made,
)
from jobs.raw import RawFile, chunks, open_file
from jobs.raw import read as read_raw

SHOWN = 20  # rows of one problem that are told one by one
DELIVERY = (Outcome.SENT, Outcome.DELIVERED, Outcome.FAILED)  # of a contact that is there
NEEDED = {"subscriber": "key", "time": "time", "offer": "category", "channel": "category"}
OPTIONAL = {
    "outcomes": {"run": "category", "contact": "value"},
    "contacts": {"category": "category", "team": "category"},
}
EARLY_S = int(state.EARLY.total_seconds())


@dataclass
class _Problems:
    """What is wrong with the rows of a file."""

    path: Path
    lines: list[str]

    def add(self, bad: Any, column: str, values: Any, allowed: str) -> None:
        """Name rows, [N] bool, by what they hold in a column."""
        rows = np.flatnonzero(np.asarray(bad))
        for row in rows[:SHOWN].tolist():
            got = values[row].as_py()
            self.lines.append(f"{self.path} row {row}: column {column}: got {got!r}; {allowed}")
        if len(rows) > SHOWN:
            self.lines.append(
                f"{self.path}: column {column}: and {len(rows) - SHOWN:,} more rows; {allowed}"
            )

    def end(self) -> None:
        """Raise them, if there are any."""
        if self.lines:
            raise DataError.of(self.lines)


def import_contacts(path: Path, folder: Path) -> Booked:
    """Book contacts that another system made, once for each content of a file.

    Args:
        path: Parquet or CSV: subscriber, time, offer, channel; category and team if they are known.
        folder: the ledger, made if it is not there.

    Raises:
        ConfigError: the folder holds something else.
        DataError: every problem of the file; or the ledger is damaged.
    """

    def made(ledger: Ledger, rows: pa.Table) -> pa.Table:
        return filled(ledger, rows, kind=CONTACT, contact=new_ids(ledger, len(rows)))

    return _appended(path, folder, "contacts", made)


def add_outcomes(path: Path, folder: Path, outcome: str | None = None) -> Booked:
    """Append what became of contacts, once for each content of a file.

    A row belongs to the contact that it names by id, or by its run; else to the subscriber's latest
    one with that offer and channel at or before its time. Without one a response stands alone.

    Args:
        path: Parquet or CSV: subscriber, time, offer, channel, outcome; run or contact if known.
        folder: the ledger, made if it is not there.
        outcome: of every row of a file without that column; None: it should have one.

    Raises:
        ConfigError: the folder holds something else.
        DataError: every problem of the file; or the ledger is damaged.
    """

    def made(ledger: Ledger, rows: pa.Table) -> pa.Table:
        contact, run = _contacts_of(path, ledger, rows)
        return filled(ledger, rows, kind=OUTCOME, contact=contact, run=run)

    return _appended(path, folder, "outcomes", made, outcome)


def _appended(
    path: Path,
    folder: Path,
    kind: str,
    made: Callable[[Ledger, pa.Table], pa.Table],
    outcome: str | None = None,
) -> Booked:
    file = open_file(path, path.parent)
    with path.open("rb") as content:
        digest = file_digest(content, lambda: blake2b(digest_size=16)).hexdigest()
    entry = f"{kind}:{digest}"

    def work() -> Booked:
        before = opened(folder)
        rows = _checked(file, kind, None if before is None else before.key, outcome)
        ledger = opened_or_made(folder, rows.schema.field("subscriber").type)
        known = ledger.rows_of(entry)
        if known is not None:
            return Booked(ledger.version, known, already=True)
        rows = made(ledger, rows).drop(["entry"])
        rows = filled(ledger, rows, entry=entry)
        commit(ledger, written(ledger, rows), {entry: len(rows)})
        return Booked(ledger.version + 1, len(rows))

    return insisted(work)


def _checked(file: RawFile, kind: str, key: pa.DataType | None, outcome: str | None) -> pa.Table:
    """Return the rows of a file with the ledger's types.

    Raises:
        DataError: every problem of the file.
    """
    is_told = kind == "outcomes" and (outcome is None or "outcome" in file.schema.names)
    needed = {**NEEDED, **({"outcome": "category"} if is_told else {})}
    roles = needed | {n: r for n, r in OPTIONAL[kind].items() if n in file.schema.names}
    problems = _Problems(file.path, _border(file, needed, roles))
    problems.end()
    columns = pa.schema([(name, plain(file.schema.field(name).type)) for name in roles])
    parts = [rows for chunk in chunks([file]) for rows in read_raw(chunk, columns)]
    raw = pa.concat_tables([columns.empty_table(), *(part.select(list(roles)) for part in parts)])
    raw = raw.combine_chunks()
    key = _key_type(raw["subscriber"], key)
    keys, time = rows_of.whole_or_text(raw["subscriber"], key), rows_of.seconds(raw["time"])
    what = "whole number" if pa.types.is_integer(key) else "text"
    problems.add(pc.is_null(keys), "subscriber", raw["subscriber"], f"allowed is a {what}")
    when = pc.fill_null(time, rows_of.LATEST).to_numpy()
    odd = (when < rows_of.EARLIEST) | (when >= rows_of.LATEST)
    problems.add(odd, "time", raw["time"], "allowed is an instant from 1700 to 2199")
    made = {"subscriber": keys, "time": pa.array(when * 1_000_000).cast(INSTANT)}
    for name in roles:
        if roles[name] == "category":
            made[name] = pc.fill_null(raw[name].cast(pa.string()), "")
    for name in ("offer", "channel"):
        problems.add(pc.equal(made[name], ""), name, raw[name], "it should not be empty")
    if is_told:
        odd = pc.invert(pc.is_in(made["outcome"], pa.array(list(map(str, Outcome)))))
        problems.add(odd, "outcome", raw["outcome"], f"allowed is {', '.join(Outcome)}")
    elif kind == "outcomes":
        made["outcome"] = pa.repeat(outcome, len(raw))
    if "contact" in roles:
        number = rows_of.whole_or_text(raw["contact"], pa.int64())
        odd = pc.and_(pc.is_null(number), pc.is_valid(raw["contact"]))
        problems.add(odd, "contact", raw["contact"], "allowed is the id of a contact, or null")
        made["contact"] = pc.fill_null(number, 0)
    problems.end()
    rows = pa.table(made)
    first, _ = state.codes(rows, rows.slice(0, 0), rows.column_names)
    twice = np.ones(len(rows), bool)
    twice[np.unique(first, return_index=True)[1]] = False
    problems.add(twice, "subscriber", rows["subscriber"], "the row repeats an earlier one")
    problems.end()
    return rows


def _border(file: RawFile, needed: Mapping[str, str], roles: Mapping[str, str]) -> list[str]:
    found = ", ".join(file.schema.names)
    problems = [
        f"{file.path}: the column {name} is missing; the columns are {found}"
        for name in needed
        if name not in file.schema.names
    ]
    for name, role in roles.items():
        if name in file.schema.names and not file.is_csv:
            kind, allowed = kind_of(file.schema.field(name).type), ALLOWED[role]
            if kind not in allowed:
                problems.append(
                    f"{file.path}: column {name} has the type {file.schema.field(name).type}; "
                    f"allowed is {' or '.join(allowed)}"
                )
    return problems


def _key_type(keys: Any, known: pa.DataType | None) -> pa.DataType:
    """Return the type of subscriber keys: the ledger's; else whole numbers where all are."""
    if known is not None and (pa.types.is_string(keys.type) or pa.types.is_integer(keys.type)):
        return known
    if pa.types.is_integer(keys.type):
        return pa.int64()
    whole = rows_of.whole_or_text(keys, pa.int64())
    return pa.int64() if whole.null_count == keys.null_count else pa.string()


def _contacts_of(path: Path, ledger: Ledger, rows: pa.Table) -> tuple[Any, Any]:
    """Return the contact of each outcome, 0 where there is none, and the contact's run.

    Raises:
        DataError: every row whose contact is not there.
    """
    time = state.seconds(rows["time"])
    last = int(time.max(initial=0)) + EARLY_S
    names = ["subscriber", "time", "offer", "channel", "run", "contact"]
    files = state.within(ledger, last=date.fromordinal(719_163 + last // 86_400))
    of = rows["subscriber"].unique()
    own = read_of(ledger, names, pc.field("kind") == CONTACT, files, of).combine_chunks()
    found = np.full(len(rows), -1, np.int64)
    none = pa.repeat("", len(rows))
    run = rows["run"] if "run" in rows.column_names else none
    named = np.zeros(len(rows), np.int64)
    if "contact" in rows.column_names:
        named = rows["contact"].to_numpy()
    has_run = np.asarray(pc.not_equal(run, "")) & (named == 0)
    rows = rows.set_column(0, "subscriber", rows["subscriber"])
    keyed = rows.drop([n for n in ("run", "contact") if n in rows.column_names])
    keyed = keyed.append_column("run", run).append_column("contact", pa.array(named))
    place = ("subscriber", "offer", "channel")
    for chosen, columns, early in (
        (named != 0, (*place, "contact"), EARLY_S),
        (has_run, (*place, "run"), EARLY_S),
        ((named == 0) & ~has_run, place, 0),
    ):
        at = np.flatnonzero(chosen)
        found[at] = _latest(keyed.take(pa.array(at)), own, columns, early)
    problems = _Problems(path, [])
    lost = found < 0
    said = "there is no such contact of this subscriber, offer and channel by then"
    problems.add(lost & (named != 0), "contact", pa.array(named), said)
    problems.add(lost & has_run, "run", run, said)
    is_delivery = np.asarray(pc.is_in(rows["outcome"], pa.array(list(map(str, DELIVERY)))))
    alone = lost & (named == 0) & ~has_run & is_delivery
    problems.add(alone, "outcome", rows["outcome"], said)
    problems.end()
    taken = own.take(pa.array(found, mask=lost))
    return pc.fill_null(taken["contact"], 0), pc.fill_null(taken["run"], "")


def _latest(rows: pa.Table, own: pa.Table, columns: Sequence[str], early: int) -> Any:
    """Return the position of each row's latest contact so far, -1: there is none; [N] int64."""
    wanted, known = state.codes(rows, own, columns)
    if not len(rows) or not len(own):
        return np.full(len(rows), -1, np.int64)
    time, until = state.seconds(own["time"]), state.seconds(rows["time"]) + early
    first = min(int(time.min()), int(until.min()))
    span = max(int(time.max()), int(until.max())) - first + 1
    key = known * span + (time - first)
    order = np.argsort(key, kind="stable")
    at = np.searchsorted(key[order], wanted * span + (until - first), side="right") - 1
    position = order[np.maximum(at, 0)]
    return np.where((at >= 0) & (known[position] == wanted), position, -1)
