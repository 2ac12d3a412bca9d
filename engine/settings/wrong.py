"""What is wrong with settings, said with the file and the place where people find them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

FEATURE = re.compile(r"features\.(\d+)(?![^. :])")


@dataclass(frozen=True)
class Places:
    """Where a job's settings stand.

    Attributes:
        file: name of the job file.
        features: of each feature, the name of its file, and its position there. Those beyond it
            stand in the job file, where the job has them.
    """

    file: str
    features: tuple[tuple[str, int], ...] = ()

    def feature(self, position: int) -> tuple[str, int]:
        """Return the file of a feature of the job, and its position there."""
        within = position < len(self.features)
        return self.features[position] if within else (self.file, position)

    def named(self, text: str) -> str:
        """Return a text that begins with a setting of the job, with the setting's file before it.

        ``features.57 (x).of: ...`` becomes ``features/telecom.yaml: features.3 (x).of: ...``.
        """
        found = FEATURE.match(text)
        if found is None:
            return f"{self.file}: {text}"
        file, position = self.feature(int(found[1]))
        return f"{file}: features.{position}{text[found.end() :]}"


def problems_of(
    model: type[BaseModel], error: ValidationError, named: Callable[[str], str]
) -> list[str]:
    """Return every problem of settings, a line each.

    Args:
        model: the model that refused them.
        error: how.
        named: puts the file before a text that begins with the path of a setting.
    """
    lines = []
    for problem in error.errors():
        place, known = _place(model, problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
        head = f"{place}: " if place else ""
        if problem["type"] == "value_error" and isinstance(problem["input"], dict):
            for line in message.split("\n"):  # a line names the setting below, or is about all
                below = place and re.match(r"[a-z0-9_.]+: ", line)
                lines.append(f"{place}.{line}" if below else f"{head}{line}")
        elif problem["type"].startswith("union_tag"):
            switch = problem["ctx"]["discriminator"].strip("'")
            found = problem["input"].get(switch) if isinstance(problem["input"], dict) else None
            lines.append(f"{place}.{switch}: should say which, got {found!r:.80}; ")
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
    return [named(line) for line in lines]


def _place(model: type[BaseModel], steps: tuple[int | str, ...]) -> tuple[str, list[str]]:
    """Return a problem's path as in the file, and the settings or kinds that may stand there.

    Pydantic's own path also names the kind of a group that has several; the file does not.
    """
    schema: dict[str, Any] = model.model_json_schema()
    models, path, known = schema.get("$defs", {}), [], []
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
