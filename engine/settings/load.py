"""Read a job file, with settings changed from the command line."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from engine.errors import ConfigError
from engine.settings.job import Job

MAX_BYTES = 16 * 1024 * 1024
BAD_YAML = (yaml.YAMLError, RecursionError, ValueError)


class _Loader(yaml.SafeLoader):
    """Safe YAML without aliases (no exponential growth) and without repeated keys."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.get_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None, None, "aliases (*name) are not allowed", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key should be a plain word", key.start_mark
                )
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} is set twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(  # YAML 1.1 takes 1e-4 for text: it wants 1.0e-4
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


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
        content = yaml.load(text, Loader=_Loader)
    except BAD_YAML as error:
        raise ConfigError(f"{where}: is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{where}: should be a mapping of settings, got {content!r:.60}")
    problems = []
    for change in changes:
        try:
            _change(content, change)
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    try:
        return Job.model_validate(content)
    except ValidationError as error:
        raise ConfigError("\n".join(_problems(where, error))) from None


def _change(content: dict[str, Any], change: str) -> None:
    path, equals, text = change.partition("=")
    if not equals or not path:
        raise ConfigError(f"--set {change}: should be path.to.setting=value")
    try:
        value = yaml.load(text, Loader=_Loader)
    except BAD_YAML as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"--set {change}: is not valid YAML: {reason}") from None
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


def _problems(where: str, error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors():
        place, known = _place(problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
        head = f"{where}: {place}: " if place else f"{where}: "
        if problem["type"] == "value_error" and isinstance(problem["input"], dict):
            for line in message.split("\n"):  # a line names the setting below, or is about all
                below = place and re.match(r"[a-z0-9_.]+: ", line)
                lines.append(f"{where}: {place}.{line}" if below else f"{head}{line}")
        elif problem["type"].startswith("union_tag"):
            switch = problem["ctx"]["discriminator"].strip("'")
            found = problem["input"].get(switch) if isinstance(problem["input"], dict) else None
            lines.append(f"{where}: {place}.{switch}: should say which, got {found!r:.80}; ")
            lines[-1] += f"there are {', '.join(known)}"
        elif problem["type"] == "path_type":
            lines.append(f"{head}input should be a valid path, got {problem['input']!r:.80}")
        elif problem["type"] == "missing":
            lines.append(f"{head}is missing; it has no default")
        elif problem["type"] == "extra_forbidden":
            there = ", ".join(known)
            lines.append(f"{head}unknown setting, got {problem['input']!r:.80}; there are {there}")
        else:
            lines.append(f"{head}{message}, got {problem['input']!r:.80}")
    return lines


def _place(steps: tuple[int | str, ...]) -> tuple[str, list[str]]:
    """Return a problem's path as in the file, and the settings or kinds that may stand there.

    Pydantic's own path also names the kind of a group that has several; the file does not.
    """
    schema: dict[str, Any] = Job.model_json_schema()
    models, path, known = schema["$defs"], [], []
    for step in steps:
        options = [o for o in schema.get("anyOf", []) if o.get("type") != "null"]
        schema = _model(options[0] if options else schema, models)
        if "discriminator" in schema:
            schema = _model({"$ref": schema["discriminator"]["mapping"][step]}, models)
            continue
        path.append(str(step))
        known = sorted(schema.get("properties", {}))
        patterns = schema.get("patternProperties", {}).values()  # mappings whose keys are names
        named: Any = schema.get("additionalProperties") or next(iter(patterns), {})
        inside = schema.get("items") if isinstance(step, int) else named
        schema = schema.get("properties", {}).get(step) or inside or {}
    if "discriminator" in schema:
        known = sorted(schema["discriminator"]["mapping"])
    return ".".join(path), known


def _model(schema: dict[str, Any], models: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference to a model."""
    while "$ref" in schema:
        schema = models[schema["$ref"].rsplit("/", 1)[1]]
    return schema
