"""Read a job file, with settings changed from the command line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from engine.errors import ConfigError
from engine.settings.job import Job

MAX_BYTES = 16 * 1024 * 1024


class _Loader(yaml.SafeLoader):
    """Safe YAML without aliases (no exponential growth) and without repeated keys."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.get_event()
            raise yaml.composer.ComposerError(
                None, None, "aliases (*name) are not allowed", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} is set twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load(path: Path, changes: Sequence[str] = ()) -> Job:
    """Read a YAML job file.

    Args:
        path: the job file.
        changes: settings over the file, each ``path.to.setting=value``; the value is YAML.

    Returns:
        The job.

    Raises:
        ConfigError: every problem of the file, each naming the file, the setting, the value
            found and what is allowed.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path}: is larger than {MAX_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text: {error.reason}") from None
    return parse(text, str(path), changes)


def parse(text: str, where: str, changes: Sequence[str] = ()) -> Job:
    """Read a job from YAML text; ``where`` names it in errors.

    Raises:
        ConfigError: as :func:`load`.
    """
    try:
        content = yaml.load(text, Loader=_Loader)  # noqa: S506 (a safe loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{where}: is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{where}: should be a mapping of settings, got {content!r:.60}")
    for change in changes:
        _change(content, change)
    try:
        return Job.model_validate(content)
    except ValidationError as error:
        raise ConfigError("\n".join(_problems(where, error))) from None


def _change(content: dict[str, Any], change: str) -> None:
    path, equals, text = change.partition("=")
    if not equals or not path:
        raise ConfigError(f"--set {change}: should be path.to.setting=value")
    try:
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 (a safe loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {change}: is not valid YAML: {error}") from None
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
    if step.isdigit() and int(step) < len(items):
        return int(step)
    for index, item in enumerate(items):
        if isinstance(item, dict) and item.get("name") == step:
            return index
    names = ", ".join(str(i.get("name", n)) for n, i in enumerate(items) if isinstance(i, dict))
    raise ConfigError(f"--set {change}: no item {step}; there are {names}")


def _problems(where: str, error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
        head = f"{where}: {place}: " if place else f"{where}: "
        if problem["type"] == "value_error" and isinstance(problem["input"], dict):
            lines += [f"{where}: {m}" if not place else f"{head}{m}" for m in message.split("; ")]
        elif problem["type"] == "missing":
            lines.append(f"{head}is missing; it has no default")
        else:
            lines.append(f"{head}{message}, got {problem['input']!r:.80}")
    return lines
