"""Fill the input folder of a job whose tables are made here: synthetic or packaged."""

import os
from pathlib import Path
from typing import Any

from engine.errors import ConfigError
from engine.settings import Job
from jobs import complete_journey, synthetic
from jobs.marker import marked
from jobs.stages import committed, sweep
from jobs.tasks import Tasks


def prepare(job: Job, tasks: Tasks) -> None:
    """Fill ``inputs.folder`` as ``inputs.source`` says, unless it was filled so before.

    The folder is filled under a temporary name and renamed: it is whole or not there. Of several
    processes that fill it at once the first wins, and the others take what it made.

    Raises:
        ConfigError: the folder holds something else, or the source is not installed.
    """
    source = _filling(job)
    folder = Path(os.path.realpath(job.inputs.folder))  # a link stays, what it leads to is filled
    if source["kind"] == "files" or marked(folder) == source:
        return
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        sweep(folder.parent)
        with committed(folder, folder.parent) as filling:
            _fill(filling, source, tasks)
    found = marked(folder)
    if found != source:
        raise ConfigError(
            f"inputs.folder: {folder} should be filled with {_text(source)}, but holds "
            f"{_text(found) if found else 'something else'}; name another folder or remove it"
        )


def _filling(job: Job) -> dict[str, Any]:
    """Return with what the folder says that it is filled, once it is."""
    source = job.inputs.source.model_dump(mode="json")
    return synthetic.filling(source) if source["kind"] == "synthetic" else source


def _fill(folder: Path, source: dict[str, Any], tasks: Tasks) -> None:
    if source["kind"] == "synthetic":
        size = (source["subscribers"], source["days"], source["seed"])
        synthetic.generate(folder, *size, tasks)
    else:
        complete_journey.write(folder, tasks)


def _text(source: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in source.items())
