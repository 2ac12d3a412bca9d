"""What every command shares: its job, its cluster and display, and how it ends."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import typer

from engine.errors import ConfigError, DataError
from engine.settings import Job, Loaded, read
from engine.settings.job import Cluster
from engine.settings.wrong import Places
from jobs import outcome, sources
from jobs.check import check
from jobs.cluster import Workers, cluster
from jobs.ledger.snapshot import pinned
from jobs.manifest import input_hashes
from jobs.progress import ShownTasks, display
from jobs.stages import writable

SETTING = re.compile(rf"({'|'.join(sorted(set(Job.model_fields) - {'output'}))})[.:]")

Result = tuple[int, dict[str, Any]]  # the exit code, and the result as JSON


@dataclass(frozen=True)
class Manner:
    """How a command speaks."""

    as_json: bool = False
    quiet: bool = False
    debug: bool = False


@dataclass(frozen=True)
class Chosen:
    """A job file with what the command line sets over it."""

    file: Path
    out: Path | None
    changes: tuple[str, ...]

    def load(self) -> Loaded:
        """Read the job; its folders become absolute, as workers may have another current one."""
        out = [f"output={json.dumps(str(self.out))}"] if self.out else []
        loaded = read(self.file, [*self.changes, *out])
        job = loaded.job
        ledger = job.inputs.ledger and job.inputs.ledger.absolute()
        folders = {"folder": job.inputs.folder.absolute(), "ledger": ledger}
        inputs = job.inputs.model_copy(update=folders)
        job = job.model_copy(update={"inputs": inputs, "output": job.output.absolute()})
        return replace(loaded, job=job)


@dataclass(frozen=True)
class Session:
    """A cluster that is up, and its tasks, shown."""

    workers: Workers
    tasks: ShownTasks


@contextmanager
def session(settings: Cluster, manner: Manner) -> Iterator[Session]:
    """Give tasks on a cluster, shown on the display that fits."""
    with cluster(settings) as workers, display(quiet=manner.quiet) as shown:
        yield Session(workers, ShownTasks(workers, shown))


def finish(work: Callable[[], Result], output: Path, manner: Manner) -> NoReturn:
    """Do a command's work, print its result or its error, and exit.

    Args:
        work: prints for people what it has to say, unless ``manner`` is JSON.
        output: folder for the traceback of a failure of our own.
        manner: how to speak.
    """
    try:
        code, result = work()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 (the border to people)
        code, lines = outcome.explain(error, output, debug=manner.debug)
        typer.echo("\n".join(lines), err=True)
        problems = [line.removeprefix("error: ") for line in "\n".join(lines).splitlines()]
        result = {"status": "ERROR", "problems": problems}
    if manner.as_json:
        try:
            typer.echo(json.dumps({"exit_code": code, **result}, allow_nan=False))
        except BrokenPipeError:
            raise
        except OSError as error:
            typer.echo(f"error: standard output cannot be written ({error.strerror})", err=True)
            code = outcome.WRONG
    raise typer.Exit(code)


def on_job(chosen: Chosen, manner: Manner, work: Callable[[Job], Result]) -> NoReturn:
    """Read a job and finish the work on it."""
    try:
        loaded = chosen.load()
    except ConfigError as error:
        refused = error
        finish(lambda: _raise(refused), Path("runs"), manner)

    def named() -> Result:
        try:
            return work(loaded.job)
        except (ConfigError, DataError) as error:
            raise type(error).of(_in_file(loaded.places, str(error))) from error

    finish(named, loaded.job.output, manner)


def _in_file(places: Places, text: str) -> list[str]:
    """Return an error's lines, those about settings with the file that they are in."""
    return [places.named(line) if SETTING.match(line) else line for line in text.splitlines()]


def _raise(error: Exception) -> NoReturn:
    raise error


def refuse(job: Job) -> None:
    """Raise every problem that shows without running anything.

    Raises:
        ConfigError: all of them.
    """
    writable(job.output)
    problems = check(job).problems
    if problems:
        raise ConfigError.of(problems)


def prepared(job: Job, here: Session) -> tuple[Job, dict[str, dict[str, str]]]:
    """Put the inputs of a job in place; return it with the content hash of every file, by table."""
    sources.prepare(job, here.tasks)
    job = pinned(job)
    return job, input_hashes(job)
