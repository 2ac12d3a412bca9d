"""Run a whole job and leave its run folder: whole, or not at all.

``<output>/<name>-<fingerprint>`` holds ``allocations/``, ``decisions/``, ``blocked.parquet``,
``prices.json``, ``certificate.json``, ``summary.json``, ``manifest.json`` and ``report.html``; and
``households.parquet``, where policies ask for the history of households.
The fingerprint is that of stage ``allocate``, so the same job on the same inputs is recognised.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.errors import ConfigError
from engine.settings import Job
from jobs.ledger.snapshot import version_of
from jobs.manifest import effective, versions, write_json
from jobs.stages import STORE, Say, Stage, committed, fingerprints, remove, run_stages
from jobs.tasks import Tasks

WRITTEN = ("summary.json", "manifest.json", "report.html")
STAGE_FILES = ("stage.json", *WRITTEN)  # of the allocate stage, not copied


@dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: Path
    summary: dict[str, Any]
    manifest: dict[str, Any]
    reused: bool


def run_job(
    job: Job,
    inputs: Mapping[str, Mapping[str, str]],
    tasks: Tasks,
    *,
    say: Say,
    peak_bytes: Callable[[], int],
) -> Run:
    """Run every stage that is missing and make the run folder, or recognise a finished run.

    Args:
        job: the job, its inputs in place.
        inputs: content hash of every input file, by table.
        tasks: what runs the stages' per-partition work.
        say: told what is reused, begun and done.
        peak_bytes: asked for the peak memory at the end.

    Raises:
        EngineError: what a stage raises.
    """
    prints = fingerprints(job, inputs)
    folder = job.output / f"{job.name}-{prints['allocate'][:12]}"
    if folder.exists():
        before = opened(folder)
        if not _was_interrupted(before):
            say(f"already done: {folder}")
            return before
        say(f"interrupted before, solved again: {folder}")
    started = datetime.now(UTC)
    stages = run_stages(job, "allocate", prints, tasks, say=say)
    if folder.exists() and _was_interrupted(opened(folder)):
        remove(folder)
    with committed(folder, job.output / STORE) as temporary:
        _assemble(temporary, stages["allocate"])
        manifest = _manifest(job, stages, inputs, started)
        write_json(temporary / "manifest.json", {**manifest, "peak_memory_bytes": peak_bytes()})
        _report(temporary)
    say(f"run folder: {folder}")
    made = opened(folder)
    return Run(folder, made.summary, made.manifest, reused=False)


def _was_interrupted(run: Run) -> bool:
    summary: Any = run.summary  # a folder that is no run may hold any JSON
    return isinstance(summary, dict) and summary.get("interrupted") is True


def opened(folder: Path) -> Run:
    """Open a finished run.

    Raises:
        ConfigError: when the folder is not one.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{folder}: is not a finished run ({type(error).__name__}: {error}); give the folder "
            "that `walras run` names, or move this one away"
        ) from None
    return Run(folder, summary, manifest, reused=True)


def _assemble(folder: Path, allocate: Stage) -> None:
    for path in sorted(allocate.folder.iterdir()):
        if path.is_dir():
            shutil.copytree(path, folder / path.name)
        elif path.name not in STAGE_FILES:
            shutil.copy2(path, folder / path.name)
    write_json(folder / "summary.json", allocate.summary)


def _manifest(
    job: Job,
    stages: Mapping[str, Stage],
    inputs: Mapping[str, Mapping[str, str]],
    started: datetime,
) -> dict[str, Any]:
    return {
        "name": job.name,
        "fingerprint": stages["allocate"].fingerprint,
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "job": effective(job),
        "seed": job.seed,
        "ledger": version_of(job),
        "inputs": {table: dict(hashes) for table, hashes in inputs.items()},
        "fingerprints": {name: stage.fingerprint for name, stage in stages.items()},
        "seconds": {name: stage.seconds for name, stage in stages.items()},
        "reused": [name for name, stage in stages.items() if stage.reused],
        "versions": versions(),
        "stages": {name: stage.summary for name, stage in stages.items()},
    }


def _report(folder: Path) -> None:
    from jobs.report import write  # draws with Bokeh, which takes a while to import

    write(folder)
