"""Fill the input folder of a job whose tables are made here: synthetic or packaged."""

import json
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

from engine.errors import ConfigError
from engine.settings import Job
from jobs import complete_journey, synthetic
from jobs.tasks import Tasks

MARKER = ".walras-source.json"


def prepare(job: Job, tasks: Tasks) -> None:
    """Fill ``inputs.folder`` as ``inputs.source`` says, unless it was filled so before.

    The folder is filled under a temporary name and renamed: it is whole or not there.

    Raises:
        ConfigError: the folder holds something else, or the source is not installed.
    """
    source, folder = job.inputs.source.model_dump(mode="json"), job.inputs.folder
    if source["kind"] == "files" or _found(folder) == source:
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        found = _found(folder)
        raise ConfigError(
            f"inputs.folder: {folder} should be filled with {_text(source)}, but holds "
            f"{_text(found) if found else 'something else'}; name another folder or remove it"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    filling = folder.with_name(f".{folder.name}.{uuid4().hex}.filling")
    filling.mkdir()
    try:
        _fill(filling, source, tasks)
        (filling / MARKER).write_text(json.dumps(source), encoding="utf-8")
        filling.rename(folder)
    finally:
        shutil.rmtree(filling, ignore_errors=True)


def _fill(folder: Path, source: dict[str, Any], tasks: Tasks) -> None:
    if source["kind"] == "synthetic":
        size = (source["subscribers"], source["days"], source["seed"])
        synthetic.generate(folder, *size, tasks)
    else:
        complete_journey.write(folder, tasks)


def _found(folder: Path) -> dict[str, Any] | None:
    """Return the settings with which a folder was filled, if it was."""
    try:
        found = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _text(source: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in source.items())
