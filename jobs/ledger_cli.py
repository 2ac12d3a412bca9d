"""The commands of the contact ledger."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError

from engine.errors import ConfigError, DataError
from engine.settings import Job
from engine.settings.catalogue import Instant
from jobs import outcome as ends
from jobs.ledger import audit, book, care, events
from jobs.ledger.book import Booked, Planned
from jobs.ledger.table import Outcome
from jobs.options import AsJson, Debug, Quiet
from jobs.run_folder import run_job
from jobs.session import Manner, Result, finish, prepared, refuse, session

app = typer.Typer(
    help="Look at a contact ledger, look after it, and import other systems' contacts.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files, Parquet or CSV.")]
Ledger = Annotated[Path, typer.Argument(metavar="DIR", help="The ledger's folder.")]
OfRun = Annotated[
    Path | None,
    typer.Option("--ledger", metavar="DIR", help="The ledger; that of the run's job if not given."),
]
Into = Annotated[
    Path, typer.Option("--ledger", metavar="DIR", help="The ledger; made if it is not there.")
]


def commit(
    run: RunFolder,
    *,
    ledger: OfRun = None,
    resolve: Annotated[
        bool,
        typer.Option("--resolve", help="Run the job again where its contacts are refused."),
    ] = False,
    rebook: Annotated[
        bool,
        typer.Option("--rebook", help="Book those again that were cancelled since."),
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Book the contacts of a run, once, if they keep its policies on the ledger as it is now."""
    manner = Manner(as_json, quiet, debug)

    def work() -> Result:
        found = book.planned(run)
        folder = _ledger_of(found, ledger)
        if resolve and (found.ledger is None or found.ledger.resolve() != folder.resolve()):
            raise ConfigError(
                f"--resolve: {run} was not planned on {folder}; set inputs.ledger of its job"
            )
        if resolve:
            found, done = book.book_again(
                found, folder, lambda job: _run(job, manner), rebook=rebook
            )
        else:
            done = book.book(found, folder, rebook=rebook)
        what = "already booked" if done.already else "booked"
        told = {"run": str(found.folder), "contacts": done.rows, "already_done": done.already}
        text = f"{what}: {done.rows:,} contacts of {found.folder}"
        return _told(manner, folder, done, told, text)

    finish(work, run.parent, manner)


def _run(job: Job, manner: Manner) -> Path:
    refuse(job)
    with session(job.cluster, manner) as here:
        job, inputs = prepared(job, here)
        say, peak = here.tasks.note, here.workers.peak_bytes
        return run_job(job, inputs, here.tasks, say=say, peak_bytes=peak).folder


def cancel(
    run: RunFolder,
    *,
    ledger: OfRun = None,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="INSTANT", help="Contacts after this; now if left out."),
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Release the booked contacts of a run that are not yet sent: later, and without outcome."""
    manner = Manner(as_json, debug=debug)

    def work() -> Result:
        found = book.planned(run)
        folder = _ledger_of(found, ledger)
        when = datetime.now(UTC) if as_of is None else _instant(as_of)
        done = book.cancel(found, folder, when)
        told = {"run": str(run), "contacts": done.rows}
        return _told(manner, folder, done, told, f"cancelled: {done.rows:,} contacts of {run}")

    finish(work, run.parent, manner)


def outcomes(
    files: Files,
    *,
    ledger: Into,
    outcome: Annotated[
        Outcome | None,
        typer.Option("--outcome", help="Outcome of every row of files without that column."),
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Append what became of contacts (sent, accepted, opt_out ...), once for each file."""
    add = partial(events.add_outcomes, outcome=outcome)
    _append(files, ledger, add, Manner(as_json, debug=debug))


@app.command(name="import")
def import_(files: Files, *, ledger: Into, as_json: AsJson = False, debug: Debug = False) -> None:
    """Book contacts that other systems made, once for each file."""
    _append(files, ledger, events.import_contacts, Manner(as_json, debug=debug))


def _append(
    files: Sequence[Path], ledger: Path, add: Callable[[Path, Path], Booked], manner: Manner
) -> None:
    def work() -> Result:
        done, problems = {}, []
        for path in files:
            try:
                done[path] = add(path, ledger)
            except (ConfigError, DataError) as error:
                problems += str(error).splitlines()
        if problems:
            raise DataError.of(problems)
        if not manner.as_json:
            for path, one in done.items():
                what = "already there" if one.already else "appended"
                typer.echo(f"{what}: {one.rows:,} rows of {path}")
        told = [
            {"file": str(path), "rows": one.rows, "already_done": one.already}
            for path, one in done.items()
        ]
        last = max(one.version for one in done.values())
        return ends.DONE, {
            "status": "OK", "ledger": str(ledger), "version": last, "files": told,
        }  # fmt: skip

    finish(work, ledger.absolute().parent, manner)


@app.command()
def show(folder: Ledger, *, as_json: AsJson = False, debug: Debug = False) -> None:
    """Show what a ledger holds: contacts by status and channel, outcomes, runs, days, size."""
    _facts(folder, audit.shown, Manner(as_json, debug=debug))


@app.command()
def verify(folder: Ledger, *, as_json: AsJson = False, debug: Debug = False) -> None:
    """Recount everything of a ledger and name what is wrong, and how to recover."""
    _facts(folder, audit.verified, Manner(as_json, debug=debug))


def _facts(folder: Path, ask: Callable[[Path], dict[str, Any]], manner: Manner) -> None:
    def work() -> Result:
        found = ask(folder)
        if not manner.as_json:
            typer.echo("\n".join(_lines(found)))
        return ends.DONE, {"status": "OK", **found}

    finish(work, folder.absolute().parent, manner)


def _lines(found: Mapping[str, Any], head: str = "") -> list[str]:
    lines = []
    for name, value in found.items():
        if isinstance(value, Mapping):
            lines += _lines(value, f"{head}{name} ")
        else:
            shown = f"{value:,}" if isinstance(value, int) else "none" if value is None else value
            lines.append(f"{head}{name}: {shown}".replace("_", " "))
    return lines


@app.command()
def compact(folder: Ledger, *, as_json: AsJson = False, debug: Debug = False) -> None:
    """Write the files of each day and bucket as one, and delete what is no longer needed."""
    manner = Manner(as_json, debug=debug)

    def work() -> Result:
        done = care.compact(folder)
        told = {"files_removed": done.rows}
        return _told(manner, folder, done, told, f"compacted: {done.rows:,} files went")

    finish(work, folder.absolute().parent, manner)


@app.command()
def purge(
    folder: Ledger,
    *,
    before: Annotated[
        str, typer.Option("--before", metavar="DATE", help="The first day that stays.")
    ],
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Sum up what lies before a day: counts per subscriber, offer and channel stay."""
    manner = Manner(as_json, debug=debug)

    def work() -> Result:
        try:
            day = date.fromisoformat(before)
        except ValueError:
            raise ConfigError(f"--before: should be a day like 2026-10-01, got {before}") from None
        done = care.purge(folder, day)
        text = f"purged: {done.rows:,} rows before {day} were summed up"
        return _told(manner, folder, done, {"rows": done.rows}, text)

    finish(work, folder.absolute().parent, manner)


@app.command()
def erase(
    folder: Ledger,
    subscribers: Annotated[
        list[str], typer.Argument(metavar="SUBSCRIBER...", help="Keys of subscribers.")
    ],
    *,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Remove all that a ledger holds of subscribers, and search every file of it for them."""
    manner = Manner(as_json, debug=debug)

    def work() -> Result:
        done = care.erase(folder, subscribers)
        text = f"erased: {done.rows:,} rows; none of the {done.files:,} files names them"
        told = {"rows": done.rows, "files_searched": done.files}
        return _told(manner, folder, Booked(done.version, done.rows), told, text)

    finish(work, folder.absolute().parent, manner)


def _told(
    manner: Manner, folder: Path, done: Booked, figures: Mapping[str, Any], text: str
) -> Result:
    if not manner.as_json:
        typer.echo(f"{text}; {folder} is at version {done.version}")
    head = {"status": "OK", "ledger": str(folder), "version": done.version}
    return ends.DONE, {**head, **figures}


def _ledger_of(run: Planned, given: Path | None) -> Path:
    found = given or run.ledger
    if found is None:
        raise ConfigError(f"--ledger: is needed, as the job of {run.folder} has no inputs.ledger")
    return found


def _instant(text: str) -> datetime:
    try:
        found: datetime = TypeAdapter(Instant).validate_python(text)
    except ValidationError:
        raise ConfigError(
            f"--as-of: should be an instant like 2026-10-01T12:00:00Z, got {text}"
        ) from None
    return found
