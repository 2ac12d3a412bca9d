"""Read a job file, with settings changed from the command line."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.errors import ConfigError
from engine.settings.include import FEATURES, included
from engine.settings.job import Job
from engine.settings.wrong import Places, problems_of
from engine.settings.yaml_text import content_of, mapping_of, text_of


@dataclass(frozen=True)
class Loaded:
    """A job, and where its settings stand."""

    job: Job
    places: Places


def load(path: Path, changes: Sequence[str] = ()) -> Job:
    """Read a YAML job file; :func:`read` without the places."""
    return read(path, changes).job


def read(path: Path, changes: Sequence[str] = ()) -> Loaded:
    """Read a YAML job file.

    Args:
        path: the job file.
        changes: settings over the file, each ``path.to.setting=value``; the value is YAML. They
            go over the features of included files too.

    Returns:
        The job, with the features of the files that it includes, and where they stand.

    Raises:
        ConfigError: every problem of the file, each naming the file, the setting, the value
            found and what is allowed.
    """
    return _loaded(text_of(path), str(path), changes, path.parent)


def parse(text: str, where: str, changes: Sequence[str] = ()) -> Job:
    """Read a job from YAML text; ``where`` names it in errors.

    Paths of included files start at the current folder.

    Raises:
        ConfigError: as :func:`load`.
    """
    return _loaded(text, where, changes, Path()).job


def _loaded(text: str, where: str, changes: Sequence[str], folder: Path) -> Loaded:
    content = mapping_of(text, where)
    places, problems = _included(content, Places(where), folder)
    wrong = []
    for change in changes:
        try:
            _change(content, change)
        except ConfigError as error:
            wrong.append(str(error))
            continue
        if change.startswith((f"{FEATURES}=", f"{FEATURES}.")):  # it may include a file
            known = Places(where) if change.startswith(f"{FEATURES}=") else places
            places, more = _included(content, known, folder)
            problems += more
    if wrong:
        raise ConfigError.of(problems + wrong)
    try:
        job = Job.model_validate(content)
    except ValidationError as error:
        raise ConfigError.of(problems + problems_of(Job, error, places.named)) from None
    if problems:
        raise ConfigError.of(problems)
    return Loaded(job, places)


def _included(content: dict[str, Any], places: Places, folder: Path) -> tuple[Places, list[str]]:
    """Put the features of files into the content; return where they stand, and problems."""
    items = content.get(FEATURES)
    if not isinstance(items, list):
        return places, []
    content[FEATURES], places, problems = included(items, places, folder)
    return places, problems


def _change(content: dict[str, Any], change: str) -> None:
    path, equals, text = change.partition("=")
    if not equals or not path:
        raise ConfigError(f"--set {change}: should be path.to.setting=value")
    value = content_of(text, f"--set {change}")
    *parents, last = path.split(".")
    place: Any = content
    for step in parents:
        if isinstance(place, list):
            place = place[_index(place, step, change)]
        elif isinstance(place, dict):
            place = place.setdefault(step, {})
        else:
            raise ConfigError(f"--set {change}: {step} is not below a group of settings")
    if isinstance(place, list):
        place[_index(place, last, change)] = value
    elif isinstance(place, dict):
        place[last] = value
    else:
        raise ConfigError(f"--set {change}: {last} is not below a group of settings")


def _index(items: list[Any], step: str, change: str) -> int:
    """Find a list item by its position or by its ``name``."""
    if step.isdecimal() and int(step) < len(items):
        return int(step)
    for index, item in enumerate(items):
        if isinstance(item, dict) and item.get("name") == step:
            return index
    names = [i.get("name", n) if isinstance(i, dict) else n for n, i in enumerate(items)]
    listed = ", ".join(map(str, names)) or "none"
    raise ConfigError(f"--set {change}: no item {step}; there are {listed}")
