"""Book the planned contacts of a run into the ledger, and cancel those not yet sent."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine import recheck
from engine.errors import ConfigError, DataError, RefusedError
from engine.settings import Job, parse
from jobs.ledger import state
from jobs.ledger.files import read, written
from jobs.ledger.table import (
    CANCELLED,
    CONTACT,
    ID_STEP,
    INSTANT,
    OUTCOME,
    Ledger,
    commit,
    existing,
    insisted,
    opened,
    opened_or_made,
    schema,
)
from jobs.run_folder import opened as opened_run

SHOWN = 20


@dataclass(frozen=True)
class Planned:
    """A run whose contacts can be booked."""

    folder: Path
    job: Job
    fingerprint: str
    ledger: Path | None  # the one that the run was planned on
    version: int  # of that ledger; -1: it was not there
    rows: pa.Table  # subscriber, time, time_zone, offer, channel, category, team
    households: pa.Table | None = None  # subscriber, household of all members; None: no policy asks

    @property
    def entry(self) -> str:
        """Return the name of its rows in the log."""
        return f"run:{self.fingerprint}"


@dataclass(frozen=True)
class Booked:
    """What a command did to a ledger."""

    version: int
    rows: int
    already: bool = False


def planned(folder: Path) -> Planned:
    """Read a run folder.

    Raises:
        ConfigError: it is no finished run, or one without an answer.
        DataError: its allocations are not those that its summary counts, or its households are not
            there.
    """
    run = opened_run(folder)
    try:
        job = parse(json.dumps(run.manifest["job"]), str(folder / "manifest.json"))
        fingerprint, on = run.manifest["fingerprint"], run.manifest["ledger"]
        status, count = run.summary["status"], run.summary["contacts"]
        version = -1 if on is None else int(on["version"])
    except (KeyError, TypeError) as error:
        raise ConfigError(
            f"{folder}: manifest.json or summary.json lacks {error}; run the job again"
        ) from None
    if status == "INFEASIBLE":
        raise ConfigError(f"{folder}: the run is {status}, so there is nothing to book")
    own = ["subscriber", "time", "time_zone", "offer", "channel"]
    own += ["day"] if job.horizon.days > 1 else []
    try:
        files = sorted((folder / "allocations").glob("*.parquet"))
        rows = pa.concat_tables(pq.read_table(path, columns=own) for path in files)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{folder / 'allocations'}: cannot be read ({error}); run the job again"
        ) from None
    if len(rows) != count:
        raise DataError(
            f"{folder / 'allocations'}: has {len(rows)} contacts, the run made {count}; "
            "run the job again"
        )
    where = None if on is None else job.inputs.ledger
    rows = _whole(job, rows)
    return Planned(folder, job, fingerprint, where, version, rows, _households(folder, job, rows))


def _households(folder: Path, job: Job, rows: pa.Table) -> pa.Table | None:
    """Return the members of the households that a run contacts; None: no policy asks for them."""
    if not recheck.asks_households(job):
        return None
    path = folder / "households.parquet"
    try:
        found = pq.read_table(path, columns=["subscriber", recheck.HOUSEHOLD])
        key = rows.schema.field("subscriber").type
        return found.set_column(0, "subscriber", found["subscriber"].cast(key))
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read ({error}); run the job again") from None


def _whole(job: Job, rows: pa.Table) -> pa.Table:
    """Return planned contacts as rows of a ledger know them."""
    kind = rows.schema.field("subscriber").type
    key = pa.int64() if pa.types.is_integer(kind) else pa.string()
    offers = job.catalogue.offers
    names = rows["offer"].combine_chunks().cast(pa.string()).dictionary_encode()
    known = [offers[name] for name in names.dictionary.to_pylist()]
    categories, teams = (
        pa.array(texts, pa.string()).take(names.indices)
        for texts in ([o.category for o in known], [o.team or "" for o in known])
    )
    day = {"day": rows["day"].cast(pa.int64())} if "day" in rows.column_names else {}
    return pa.table(
        {
            **day,
            "subscriber": rows["subscriber"].cast(key),
            "time": rows["time"].cast(INSTANT),
            "time_zone": rows["time_zone"].cast(pa.string()),
            "offer": names.cast(pa.string()),
            "channel": rows["channel"].cast(pa.string()),
            "category": categories,
            "team": teams,
        }
    )


def filled(ledger: Ledger, rows: pa.Table, **more: Any) -> pa.Table:
    """Return rows with all columns of the ledger; what is not given is empty, or now."""
    empty: dict[str, Any] = {"contact": 0, "count": 1, "booked_at": datetime.now(UTC)}
    made = {}
    for field in schema(ledger.key):
        value = more.get(field.name)
        if value is None and field.name in rows.column_names:
            made[field.name] = rows[field.name].cast(field.type)
        elif isinstance(value, pa.Array | pa.ChunkedArray | np.ndarray):
            made[field.name] = value
        else:
            value = empty.get(field.name, "") if value is None else value
            made[field.name] = pa.repeat(pa.scalar(value, field.type), len(rows))
    return pa.table(made, schema=schema(ledger.key))


def new_ids(ledger: Ledger, rows: int) -> Any:
    """Return ids of so many new contacts of the next version, [N] int64."""
    return (ledger.version + 1) * ID_STEP + np.arange(rows, dtype=np.int64)


def book(run: Planned, folder: Path, *, rebook: bool = False) -> Booked:
    """Book the contacts of a run, once, if they keep its policies on the ledger as it is.

    Args:
        run: the run.
        folder: the ledger.
        rebook: whether those are booked again that were cancelled since.

    Raises:
        ConfigError: the folder holds something else, or contacts were cancelled since.
        DataError: the ledger is damaged, or its keys are of another type.
        RefusedError: the contacts would break a policy.
    """
    key = run.rows.schema.field("subscriber").type

    def work() -> Booked:
        found = None if len(run.rows) else opened(folder)  # rows that are not there have no key
        ledger = opened_or_made(folder, key) if found is None else found
        own, entry, before = run, run.entry, ledger.rows_of(run.entry)
        if before is not None:
            own, entry = replace(run, rows=_released(run, ledger)), f"{entry}:{ledger.version + 1}"
            if not len(own.rows):
                return Booked(ledger.version, before, already=True)
            if not rebook:
                raise ConfigError(
                    f"{run.folder}: was booked in {folder}, and {len(own.rows):,} of its contacts "
                    "were cancelled since; give --rebook to book these again"
                )
        refuse(own, ledger)
        rows = filled(
            ledger, own.rows, kind=CONTACT, run=run.fingerprint, entry=entry,
            contact=new_ids(ledger, len(own.rows)),
        )  # fmt: skip
        commit(ledger, written(ledger, rows), {entry: len(rows)})
        return Booked(ledger.version + 1, len(rows))

    return insisted(work)


def _released(run: Planned, ledger: Ledger) -> pa.Table:
    """Return the contacts of a booked run that were cancelled and not booked again."""
    if not len(run.rows):
        return run.rows
    times = pc.min_max(run.rows["time"])
    days = (times[name].as_py().date() for name in ("min", "max"))
    known = ["subscriber", "time", "offer", "channel"]
    of_run = pc.field("run") == run.fingerprint
    rows = read(ledger, ["kind", "contact", *known], of_run, files=state.within(ledger, *days))
    kind, contact = (rows[name].to_numpy() for name in ("kind", "contact"))
    gone = np.sort(contact[kind == CANCELLED])
    is_live = (kind == CONTACT) & ~state.among(rows["contact"], gone).to_numpy(zero_copy_only=False)
    planned = run.rows.select(known)
    own, booked = state.codes(planned, rows.select(known).cast(planned.schema), known)
    is_released = np.isin(own, booked[kind == CANCELLED]) & ~np.isin(own, booked[is_live])
    return run.rows.filter(pa.array(is_released))


def refuse(run: Planned, ledger: Ledger) -> None:
    """Raise the policies that a run's contacts would break on a ledger.

    Raises:
        RefusedError: there are some.
    """
    if not len(run.rows):
        return
    reach = timedelta(seconds=recheck.reach(run.job))
    times = pc.min_max(run.rows["time"])
    first = _day(times["min"].as_py(), -reach)
    last, known = _day(times["max"].as_py(), reach), run.rows["subscriber"].unique()
    households = None
    if run.households is not None:
        households = run.households.to_pandas()
        members = run.households["subscriber"].combine_chunks()
        known = pa.concat_arrays([known, members]).unique()
    freed = state.freed(ledger, first=first, last=last)
    found = state.contacts(ledger, first=first, last=last, of=known, freed=freed)
    answers = state.outcomes(ledger, first=first, of=known)
    rows, history, said = map(state.frame, (run.rows, found, answers))
    broken = recheck.broken(run.job, rows, history, said, households)
    if broken:
        lines = [f"{run.folder}: subscriber {b.subscriber}: {b.text}" for b in broken[:SHOWN]]
        rest = len(broken) - SHOWN
        more = [f"{run.folder}: and {rest:,} more"] if rest > 0 else []
        raise RefusedError.of(
            [
                *lines,
                *more,
                f"{run.folder}: planned on version {run.version} of the ledger, which is at "
                f"{ledger.version}; nothing was booked; give --resolve to run the job again on it",
            ]
        )


def _day(time: datetime, shift: timedelta) -> date:
    try:
        return (time + shift).date()
    except OverflowError:
        return date.min if shift < timedelta() else date.max


def book_again(
    run: Planned, folder: Path, again: Callable[[Job], Path], *, rebook: bool = False
) -> tuple[Planned, Booked]:
    """Book a run; while it is refused, run its job again on the ledger as it is, and book that.

    Args:
        run: the run.
        folder: the ledger.
        again: runs a job and returns the run folder.
        rebook: as of :func:`book`.

    Raises:
        RefusedError: a run that was planned on the latest version is refused.
    """
    while True:
        try:
            return run, book(run, folder, rebook=rebook)
        except RefusedError:
            if run.version == existing(folder).version:
                raise
        run = planned(again(run.job))


def cancel(run: Planned, folder: Path, as_of: datetime) -> Booked:
    """Release the contacts of a run after an instant that have no outcome yet.

    Raises:
        ConfigError: there is no ledger, or the run was never booked.
        DataError: the ledger is damaged.
    """

    def work() -> Booked:
        ledger = existing(folder)
        if ledger.rows_of(run.entry) is None:
            raise ConfigError(f"{run.folder}: was not booked in {folder}; nothing to cancel")
        of_run = pc.field("run") == run.fingerprint
        names = ["kind", "contact", "time", "subscriber", "offer", "channel", "category", "team"]
        files = state.within(ledger, _day(as_of, -state.EARLY))
        rows = read(ledger, names, of_run, files=files)
        is_over = pc.is_in(rows["kind"], pa.array([CANCELLED, OUTCOME]))
        kept = pc.and_(
            pc.and_(
                pc.equal(rows["kind"], CONTACT),
                pc.greater(rows["time"], pa.scalar(as_of, INSTANT)),
            ),
            pc.invert(pc.is_in(rows["contact"], rows["contact"].filter(is_over).combine_chunks())),
        )
        rows = rows.filter(kept)
        if not len(rows):
            return Booked(ledger.version, 0, already=True)
        entry = f"cancel:{run.fingerprint}:{ledger.version + 1}"
        rows = filled(ledger, rows, kind=CANCELLED, run=run.fingerprint, entry=entry)
        commit(ledger, written(ledger, rows), {entry: len(rows)})
        return Booked(ledger.version + 1, len(rows))

    return insisted(work)
