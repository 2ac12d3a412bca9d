"""Run the stages of a job: each once per fingerprint, atomically, resumable.

A stage's result lies in ``<output>/.stages/<stage>-<fingerprint>``. It is made in a temporary
folder, written through to the disk and renamed, so a folder of that name is always whole. The
fingerprint is a hash of all that the result depends on, so an equal one is reused.
"""

import errno
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import psutil

from engine.errors import ConfigError
from engine.settings import Job
from jobs.manifest import digest, effective, version, write_json
from jobs.tasks import Tasks

STAGES = ("ingest", "profile", "score", "allocate")
STORE = ".stages"
TEMPORARY = ".tmp-"
TRIES = 5  # of removing a folder into which a task may still put files
UNFINISHED = ".*.tmp"  # files that tasks are writing

Say = Callable[[str], None]


@dataclass(frozen=True)
class Stage:
    """A finished stage."""

    name: str
    folder: Path
    fingerprint: str
    summary: dict[str, Any]
    seconds: float  # of the run that made it
    reused: bool


def parts(job: Job) -> dict[str, Any]:
    """Return, for each stage, the settings that its own work depends on.

    Not listed is what the results do not depend on (name, cluster, output, the inputs' folder,
    source and ledger, whose content is hashed instead) and what an earlier stage's fingerprint
    stands for.
    """
    full = effective(job)
    catalogue = full["catalogue"]
    inputs = {k: v for k, v in full["inputs"].items() if k not in {"folder", "source", "ledger"}}
    channels = list(catalogue["channels"])
    shape = [
        [name, offer["category"], sorted(offer["channels"], key=channels.index)]
        for name, offer in catalogue["offers"].items()
    ]
    is_by_offer = any(getattr(f, "per", None) not in (None, "channel") for f in job.features)
    groups = {"offers": shape} if is_by_offer else {}
    estimated = [item for item in full["fatigue"] if item["estimate"] is not None]
    learnt = {"fatigue": estimated} if estimated else {}
    return {
        "ingest": {"inputs": inputs, "as_of": full["as_of"]},
        "profile": {"features": full["features"], "channels": channels, **groups},
        "score": {"scores": full["scores"], "offers": shape, "seed": full["seed"], **learnt},
        "allocate": {
            k: full[k]
            for k in (
                "catalogue",
                "policies",
                "time_zone",
                "horizon",
                "constraints",
                "fatigue",
                "goals",
                "objective",
                "holdout_share",
                "solver",
                "seed",
            )  # fmt: skip
        },
    }


def fingerprints(job: Job, inputs: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return the fingerprint of every stage, 32 hexadecimal digits.

    Args:
        job: the job.
        inputs: content hash of every input file, by table.
    """
    found: dict[str, str] = {}
    for name, settings in parts(job).items():
        own = {"stage": name, "version": version(), "settings": settings}
        found[name] = digest({**own, "upstream": list(found.values()) or inputs})
    return found


def run_stages(
    job: Job, last: str, prints: Mapping[str, str], tasks: Tasks, *, say: Say
) -> dict[str, Stage]:
    """Run the stages up to ``last``, or take their finished results.

    Args:
        job: the job.
        last: the last stage to run.
        prints: the stages' fingerprints.
        tasks: what runs their per-partition work.
        say: told what is reused, begun and done.

    Raises:
        EngineError: what a stage raises; its unfinished result is removed.
    """
    sweep(job.output / STORE)
    done: dict[str, Stage] = {}
    for name in STAGES[: STAGES.index(last) + 1]:
        folder = place(job, name, prints[name])
        stage = finished(name, folder, prints[name])
        if stage is not None:
            say(f"{name}: reused, its inputs and settings are the same")
        else:
            if folder.exists():
                say(f"{name}: its stored result {folder} is damaged or cut short; it is made again")
                remove(folder)
            say(f"{name}: begins")
            stage = _run(job, name, prints[name], done, tasks)
            say(f"{name}: done in {stage.seconds:.1f} s")
        done[name] = stage
    return done


def finished(name: str, folder: Path, fingerprint: str) -> Stage | None:
    """Return the result in ``folder`` if it is whole, has this fingerprint and came to its end."""
    try:
        record = json.loads((folder / "stage.json").read_text(encoding="utf-8"))
        whole = all((folder / f).stat().st_size == size for f, size in record["files"].items())
        cut_short = record["summary"].get("interrupted", False)  # another run may come farther
        if record["fingerprint"] != fingerprint or not whole or cut_short:
            return None
        return Stage(name, folder, fingerprint, record["summary"], record["seconds"], reused=True)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # not there, or not JSON
        return None
    except (KeyError, TypeError, AttributeError):  # JSON of something else
        return None


def place(job: Job, name: str, fingerprint: str) -> Path:
    """Return the folder of a stage's result."""
    return job.output / STORE / f"{name}-{fingerprint[:16]}"


def _run(job: Job, name: str, fingerprint: str, done: Mapping[str, Stage], tasks: Tasks) -> Stage:
    folder = place(job, name, fingerprint)
    folders = {stage.name: stage.folder for stage in done.values()}
    began = perf_counter()
    with committed(folder, folder.parent) as temporary:
        summary = _call(name, job, folders, temporary, tasks)
        seconds = perf_counter() - began
        record = {
            "stage": name,
            "fingerprint": fingerprint,
            "version": version(),
            "settings": parts(job)[name],
            "upstream": {stage.name: stage.fingerprint for stage in done.values()},
            "seconds": seconds,
            "summary": summary,
            "files": _whole(temporary),
        }
        write_json(temporary / "stage.json", record)
    # As read back from JSON, so that a new result and a reused one are alike.
    stored = json.loads((folder / "stage.json").read_text(encoding="utf-8"))
    return Stage(name, folder, fingerprint, stored["summary"], seconds, reused=False)


def _whole(folder: Path) -> dict[str, int]:
    """Return the size of every whole file by its place; what tasks left cut short is removed.

    A task whose worker is lost is run again. Its first run may still end meanwhile, and take its
    unfinished file with it.
    """
    for cut_short in folder.rglob(UNFINISHED):
        cut_short.unlink(missing_ok=True)
    whole = (path for path in sorted(folder.rglob("*")) if not path.match(UNFINISHED))
    return {p.relative_to(folder).as_posix(): p.stat().st_size for p in whole if p.is_file()}


def stage_function(name: str) -> Callable[..., dict[str, Any]]:
    """Return the function of a stage; its module is imported when it is first needed."""
    function: Callable[..., dict[str, Any]] = getattr(import_module(f"jobs.{name}"), name)
    return function


def _call(
    name: str, job: Job, folders: Mapping[str, Path], folder: Path, tasks: Tasks
) -> dict[str, Any]:
    before: dict[str, tuple[Any, ...]] = {"ingest": (), "profile": (folders.get("ingest"),)}
    return stage_function(name)(job, *before.get(name, (dict(folders),)), folder, tasks)


@contextmanager
def committed(folder: Path, store: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes ``folder`` at the end, whole, or is removed.

    When another process has made ``folder`` meanwhile, its result stays and this one goes: equal
    names mean equal results.

    Args:
        folder: the folder to make.
        store: where the temporary folder lies, on the same file system.

    Raises:
        ConfigError: the folder is a mount point, which no other folder can replace.
    """
    if folder.is_mount():
        raise ConfigError(f"{folder}: is a mount point; name a new folder below it")
    store.mkdir(parents=True, exist_ok=True)
    temporary = store / f"{_mine()}{folder.name}"
    remove(temporary)
    temporary.mkdir()
    try:
        yield temporary
        _flush(temporary)
        try:
            temporary.rename(folder)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
        sync(folder.parent)
    finally:
        with suppress(OSError):  # what is left is swept by a later run
            remove(temporary)


def _mine() -> str:
    return f"{TEMPORARY}{socket.gethostname()}-{os.getpid()}-"


def sweep(store: Path) -> None:
    """Remove the temporary folders that processes of this machine left when they died."""
    head = f"{TEMPORARY}{socket.gethostname()}-"
    for path in store.glob(f"{head}*"):
        pid = path.name.removeprefix(head).partition("-")[0]
        if pid.isdigit() and _died(int(pid), path):
            with suppress(OSError):  # another user's, say
                remove(path)


def _died(pid: int, path: Path) -> bool:
    """Say whether no process of this number is as old as the folder (numbers come again)."""
    try:
        return bool(psutil.Process(pid).create_time() > path.stat().st_mtime + 1)
    except (psutil.NoSuchProcess, FileNotFoundError):
        return True


def writable(output: Path) -> None:
    """Make the output folder and prove that it can be written.

    Raises:
        ConfigError: when it cannot.
    """
    probe = output / STORE / f"{_mine()}probe"
    try:
        probe.mkdir(parents=True, exist_ok=True)
        probe.rmdir()
    except OSError as error:
        raise ConfigError(
            f"output: the folder cannot be written ({error.strerror}), got {output}; "
            "give another with --out or the setting output"
        ) from None


def remove(folder: Path) -> None:
    """Remove a folder, if there is one; a task that still runs may put files into it meanwhile.

    Raises:
        OSError: it cannot be removed.
    """
    for _ in range(TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        sleep(0.1)
    shutil.rmtree(folder)


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # as in _whole
            sync(path)
    sync(folder)


def sync(path: Path) -> None:
    """Have the disk hold what was written to a file or folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
