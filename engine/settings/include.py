"""Features that a job takes from another file, put in their place before the job is checked."""

from collections.abc import Iterable
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from engine.errors import ConfigError
from engine.settings.base import Name, Settings
from engine.settings.wrong import Places, problems_of
from engine.settings.yaml_text import mapping_of, text_of

FEATURES = "features"


class Include(Settings):
    """The features of a file, put in place of this item of the list."""

    include: Annotated[str, Field(min_length=1)]
    """A YAML file, relative to the job file: ``features: [...]``; it includes no other."""
    except_: list[Name] = Field(default=[], alias="except")
    """Names of features of the file that are left out."""


def included(items: list[Any], places: Places, folder: Path) -> tuple[list[Any], Places, list[str]]:
    """Put the features of files in place of the items that include them.

    Args:
        items: items of a job's features, as YAML has them.
        places: where the items stand.
        folder: folder at which paths start.

    Returns:
        The items, where they stand, and every problem, a line each; of a file with problems no
        item is taken.
    """
    found: list[tuple[Any, tuple[str, int]]] = []
    problems: list[str] = []
    for i, item in enumerate(items):
        place = places.feature(i)
        if not _includes(item):
            found.append((item, place))
            continue
        try:
            found += _taken(item, f"{place[0]}: {FEATURES}.{place[1]}", folder)
        except ConfigError as error:
            problems += str(error).splitlines()
    standing = tuple(place for _, place in found)
    return [item for item, _ in found], replace(places, features=standing), problems


def _includes(item: object) -> bool:
    return isinstance(item, dict) and "include" in item


def _taken(
    item: dict[str, Any], where: str, folder: Path
) -> list[tuple[dict[str, Any], tuple[str, int]]]:
    """Return the features of a file, each with its file and its position there.

    Raises:
        ConfigError: every problem of the item, or of what the file is made of.
    """
    try:
        settings = Include.model_validate(item)
    except ValidationError as error:
        raise ConfigError.of(problems_of(Include, error, lambda text: f"{where}.{text}")) from None
    path = folder / settings.include
    try:
        text = text_of(path)
    except ConfigError as error:
        allowed = f"got {settings.include!r}; a path starts at the folder of the job file"
        raise ConfigError(f"{where}.include: {error}, {allowed}") from None
    features = _features(mapping_of(text, str(path)), str(path))
    names = [feature.get("name") for feature in features if isinstance(feature, dict)]
    unknown = [i for i, name in enumerate(settings.except_) if name not in names]
    if unknown:
        raise ConfigError.of(
            f"{where}.except.{i}: {path} has no such feature, got {settings.except_[i]}; "
            f"{_there_are(settings.except_[i], names)}"
            for i in unknown
        )
    return [
        (feature, (str(path), i))
        for i, feature in enumerate(features)
        if not isinstance(feature, dict) or feature.get("name") not in settings.except_
    ]


def _features(content: dict[str, Any], file: str) -> list[Any]:
    """Return the features of an included file's content."""
    problems = [
        f"{file}: {key}: unknown setting, got {value!r:.80}; there is {FEATURES}"
        for key, value in content.items()
        if key != FEATURES
    ]
    items = content.get(FEATURES)
    if FEATURES not in content:
        problems.append(f"{file}: {FEATURES}: is missing; it has no default")
    elif not isinstance(items, list):
        problems.append(f"{file}: {FEATURES}: should be a list of features, got {items!r:.80}")
    taken = items if isinstance(items, list) else []
    problems += [
        f"{file}: {FEATURES}.{i}.include: an included file cannot include, got "
        f"{item['include']!r:.80}; include it in the job file"
        for i, item in enumerate(taken)
        if _includes(item)
    ]
    if problems:
        raise ConfigError.of(problems)
    return taken


def _there_are(name: str, names: Iterable[Any]) -> str:
    known = [str(n) for n in names]
    close = get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}there are {', '.join(known)}" if known else "there are none"
