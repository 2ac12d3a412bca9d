"""The command ``walras``."""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from engine.errors import ConfigError
from engine.settings import Job
from engine.settings.job import LocalCluster
from jobs import ledger_cli, outcome, shape
from jobs.check import check as check_job
from jobs.manifest import version
from jobs.marker import marked
from jobs.options import AsJson, Debug, Quiet
from jobs.run_folder import Run, opened, run_job
from jobs.session import Chosen, Manner, Result, finish, on_job, prepared, refuse, session
from jobs.stages import committed, fingerprints, run_stages, sweep

app = typer.Typer(
    help="Profile telecom subscribers by the million and allocate offers to them, certified.",
    epilog="Exit codes: 0 done, 1 a failure of walras itself (where it failed is in a file "
    "failure-*.txt in the output folder), 2 wrong job file, input or folder, 3 infeasible, "
    "4 no allocation found and none proved impossible, 5 contacts refused by the ledger, "
    "130 interrupted, 141 nobody reads the output.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

JobFile = Annotated[Path, typer.Argument(metavar="JOB", help="The job file, YAML.")]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Output folder, over the job's own.")
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="PATH=VALUE", help="A setting over the file's; may be given often."
    ),
]

WIDTH = 120  # of tables where there is no terminal


class YesNo(StrEnum):
    """An answer."""

    YES = "yes"
    NO = "no"


@app.command()
def run(
    job: JobFile,
    *,
    out: Out = None,
    set_: Changes = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run a whole job: ingest, profile, score, allocate, report. Finished stages are reused."""
    manner = Manner(as_json, quiet, debug)

    def work(settings: Job) -> Result:
        refuse(settings)
        with session(settings.cluster, manner) as here:
            say, peak = here.tasks.note, here.workers.peak_bytes
            settings, inputs = prepared(settings, here)
            made = run_job(settings, inputs, here.tasks, say=say, peak_bytes=peak)
        return _show(made, manner)

    on_job(Chosen(job, out, tuple(set_ or ())), manner, work)


def _show(made: Run, manner: Manner) -> Result:
    """Print a run for people; return its exit code and it as JSON."""
    shape.refuse(made.folder / "summary.json", made.summary, shape.Summary)
    shape.refuse(made.folder / "manifest.json", made.manifest, shape.Manifest)
    failed = made.summary["status"] == "INFEASIBLE"
    if not manner.as_json:
        from jobs import report  # draws with Bokeh, which takes a while to import

        console = Console(width=None if sys.stdout.isatty() else WIDTH)
        console.print(*report.table(made.folder), sep="\n")
        for line in (f"run folder: {made.folder}", f"report: {made.folder / 'report.html'}"):
            console.print(line, soft_wrap=True, highlight=False, markup=False)
    if failed:
        typer.echo("\n".join(outcome.infeasible(made.summary)), err=True)
    return outcome.INFEASIBLE if failed else outcome.DONE, {
        "status": made.summary["status"],
        "run": str(made.folder),
        "already_done": made.reused,
        "seconds": made.manifest["seconds"],
        "peak_memory_bytes": made.manifest["peak_memory_bytes"],
        "summary": made.summary,
    }


def _stage_command(name: str, text: str) -> None:
    """Add the command of one stage."""

    @app.command(name=name, help=text)
    def command(
        job: JobFile,
        *,
        out: Out = None,
        set_: Changes = None,
        as_json: AsJson = False,
        quiet: Quiet = False,
        debug: Debug = False,
    ) -> None:
        manner = Manner(as_json, quiet, debug)
        chosen = Chosen(job, out, tuple(set_ or ()))
        on_job(chosen, manner, lambda settings: _run_stage(name, settings, manner))


def _run_stage(name: str, job: Job, manner: Manner) -> Result:
    refuse(job)
    with session(job.cluster, manner) as here:
        job, inputs = prepared(job, here)
        prints = fingerprints(job, inputs)
        stage = run_stages(job, name, prints, here.tasks, say=here.tasks.note)[name]
    if not manner.as_json:
        Console().print_json(data=stage.summary)
        typer.echo(f"{name}: {stage.folder}")
    failed = stage.summary.get("status") == "INFEASIBLE"
    if failed:
        typer.echo("\n".join(outcome.infeasible(stage.summary)), err=True)
    return outcome.INFEASIBLE if failed else outcome.DONE, {
        "stage": name,
        "folder": str(stage.folder),
        "already_done": stage.reused,
        "seconds": stage.seconds,
        "summary": stage.summary,
    }


_stage_command("ingest", "Order the event tables by subscriber and time, and set bad rows aside.")
_stage_command("profile", "Compute the features of every subscriber, after ingest.")
_stage_command("score", "Compute the propensity of every offer on every channel, after profile.")
_stage_command("allocate", "Choose offers under policies and constraints, certified, after score.")


@app.command()
def check(
    job: JobFile,
    *,
    out: Out = None,
    set_: Changes = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say every problem of a job file and its inputs at once; run nothing."""
    manner = Manner(as_json, debug=debug)

    def work(settings: Job) -> Result:
        found = check_job(settings)
        if found.problems:
            raise ConfigError.of(found.problems)
        if not as_json:
            typer.echo("\n".join(f"{name}: {text}" for name, text in found.facts.items()))
        return outcome.DONE, {"status": "OK", "facts": found.facts}

    on_job(Chosen(job, out, tuple(set_ or ())), manner, work)


@app.command()
def features(
    job: JobFile,
    *,
    out: Out = None,
    set_: Changes = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show every feature of a job: unit, formula, source, and the passes that give it."""
    manner = Manner(as_json, debug=debug)

    def work(settings: Job) -> Result:
        from jobs import features

        told = features.features(settings)
        if not as_json:
            console = Console(width=None if sys.stdout.isatty() else WIDTH)
            console.print(*features.tables(told), sep="\n", highlight=False)
        return outcome.DONE, {"status": "OK", **told}

    on_job(Chosen(job, out, tuple(set_ or ())), manner, work)


@app.command()
def generate(
    *,
    subscribers: Annotated[int, typer.Option(min=1, help="Number of subscribers.")] = 200_000,
    days: Annotated[int, typer.Option(min=1, max=3_650, help="Days of events.")] = 90,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the generator.")] = 7,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new or empty folder.")],
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Generate the tables of a synthetic operator as Parquet, in bounded memory."""
    manner = Manner(as_json, quiet, debug)
    folder = out.absolute()

    def work() -> Result:
        from jobs import synthetic

        target = _new_folder(out)
        sweep(target.parent)
        with (
            session(LocalCluster(), manner) as here,
            committed(target, target.parent) as temporary,
        ):
            made = synthetic.generate(temporary, subscribers, days, seed, here.tasks)
            source = marked(temporary)
        if marked(target) != source:
            raise ConfigError(f"--out: another process has filled {out} meanwhile; give another")
        if not as_json:
            typer.echo(f"generated: {folder}")
        return outcome.DONE, {"status": "OK", "folder": str(folder), "made": made}

    finish(work, folder.parent, manner)


def _new_folder(out: Path) -> Path:
    """Return the folder that ``--out`` names, or that the link there leads to, once it can be made.

    Raises:
        ConfigError: it cannot, or holds something.
    """
    target = Path(os.path.realpath(out))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        is_new = not target.exists() and not target.is_symlink()  # a link in a circle leads nowhere
        is_free = is_new or (target.is_dir() and not any(target.iterdir()))
    except OSError as error:
        raise ConfigError(
            f"--out: the folder cannot be made ({error.strerror}), got {out}; give another"
        ) from None
    if not is_free:
        raise ConfigError(f"--out: is there and is not empty, got {out}; give a new folder")
    return target


@app.command()
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    *,
    open_: Annotated[YesNo, typer.Option("--open", help="Open the page in a browser.")] = YesNo.NO,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show the summary of a run again; its page is beside it."""
    manner = Manner(as_json, debug=debug)

    def work() -> Result:
        result = _show(opened(run), manner)
        if open_ is YesNo.YES:
            typer.launch((run / "report.html").absolute().as_uri())
        return result

    finish(work, run.parent, manner)


@app.command()
def explain(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    subscriber: Annotated[str, typer.Argument(metavar="SUBSCRIBER", help="Its key.")],
    *,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Tell why a subscriber gets what it gets: its contacts, policies, offers and prices."""
    manner = Manner(as_json, quiet, debug)

    def work() -> Result:
        from jobs import explain

        told = explain.explain(opened(run), subscriber)
        if not as_json:
            console = Console(width=None if sys.stdout.isatty() else WIDTH)
            console.print(*explain.shown(told), sep="\n", highlight=False)
        return outcome.DONE, {"status": "OK", **told}

    finish(work, run.parent, manner)


@app.command()
def settings(*, as_json: AsJson = False, debug: Debug = False) -> None:
    """Show every setting of a job file: type, unit, range, default."""

    def work() -> Result:
        from jobs import reference

        if not as_json and sys.stdout.isatty():
            Console().print(reference.table())
        elif not as_json:
            typer.echo(reference.markdown())  # whole words, for files and searches
        return outcome.DONE, {"settings": reference.settings_reference()}

    finish(work, Path("runs"), Manner(as_json, debug=debug))


@app.command(name="version")
def show_version() -> None:
    """Show the version, with a hash of its sources."""
    typer.echo(version())


for ledger_command in (ledger_cli.commit, ledger_cli.cancel, ledger_cli.outcomes):
    app.command()(ledger_command)
app.add_typer(ledger_cli.app, name="ledger")


def main() -> None:
    """Run the command, and leave at once after Ctrl-C: threads at work cannot be stopped.

    So it does when nobody reads the output any more: there is nothing left to say.
    """
    try:
        app(prog_name="walras")
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # that is how Typer and Rich end then
            os._exit(outcome.UNREAD)
        if end.code == outcome.INTERRUPTED:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(outcome.INTERRUPTED)
        try:
            sys.stdout.flush()
        except OSError:  # told already; what is left unwritten would fail again at the exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise
