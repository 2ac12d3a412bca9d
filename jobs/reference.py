"""The reference of every setting of a job file, made from the settings' models."""

import json
import re
from collections.abc import Iterator
from typing import Any

from rich.markup import escape
from rich.table import Table

from engine.settings import Job
from engine.settings.include import FEATURES, Include

COLUMNS = ("path", "type", "unit", "range", "default", "description")
BEGIN, END = "<!-- settings -->", "<!-- /settings -->"
TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
}
FORMATS = {"date-time": "instant", "path": "path"}
BOUNDS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
FILED = {FEATURES: Include}  # lists whose items may stand in a file, and what names it
SIZES = {"Length": "characters", "Items": "items", "Properties": "entries"}


def settings_reference() -> list[dict[str, str]]:
    """Return one row per setting, in the order of the job file.

    Returns:
        Rows with the keys of ``COLUMNS``. In a path, ``<name>`` stands for a key and ``<item>``
        for a list item; ``scores (kind: model)`` for settings that exist only with that kind. A
        setting without a default is required; one with settings of its own has type group.
    """
    schema = Job.model_json_schema()
    return list(_group("", schema, schema["$defs"]))


def markdown() -> str:
    """Return the reference as a Markdown table."""
    rows = [COLUMNS, tuple("-" * 3 for _ in COLUMNS)]
    for row in settings_reference():
        cells = [_cell(row[name]) for name in COLUMNS]
        rows.append((f"`{cells[0]}`", *cells[1:]))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def table() -> Table:
    """Return the reference as a table for the terminal: settings indented below their group."""
    shown = Table("setting", "value", "description", title="Settings of a job file")
    for row in settings_reference():
        value = ", ".join(filter(None, (row["type"], row["unit"], row["range"])))
        default = row["default"]
        value += f"; {default}" if default == "required" else f"; default {default}" * bool(default)
        cells = (_label(row["path"]), value, row["description"].replace("``", ""))
        shown.add_row(*map(escape, cells))
    return shown


def _label(path: str) -> str:
    """Return the last step of a path, indented by how many steps are above it."""
    above = re.sub(r"\.<\w+>", "", path)
    last = path[path.rindex("(") :] if path.endswith(")") else path.rsplit(".", 1)[-1]
    return "  " * (above.count(".") + above.count(" (")) + last


def insert(readme: str) -> str:
    """Return the README with the reference between its markers.

    Raises:
        ValueError: a marker is missing or stands twice.
    """
    for marker in (BEGIN, END):
        if readme.count(marker) != 1:
            raise ValueError(f"README: {marker} should stand once, got {readme.count(marker)}")
    before, _, rest = readme.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{markdown()}\n{END}{after}"


def _cell(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|").replace("\n", " ")


def _group(path: str, model: dict[str, Any], models: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Yield the rows of a model's settings; a constant is part of its path already."""
    for name, field in model["properties"].items():
        if "const" not in field and not _discriminates(name, field):
            default = _MISSING if name in model.get("required", []) else field.get("default")
            yield from _setting(f"{path}.{name}" if path else name, field, models, default)


def _discriminates(name: str, field: dict[str, Any]) -> bool:
    """Return whether a field only says which model this is, as ``op: [count, sum]`` does."""
    return name in {"op", "kind"} and "enum" in field and "description" not in field


_MISSING = object()


def _setting(
    path: str, field: dict[str, Any], models: dict[str, Any], default: object
) -> Iterator[dict[str, str]]:
    nullable, plain = _without_null(field)
    inside, below = plain, path
    if _named(plain):
        inside, below = _named(plain), f"{path}.<name>"
    elif plain.get("type") == "array":
        inside, below = plain["items"], f"{path}.<item>"
    members = _members(inside, models)
    many = "list of " if plain.get("type") == "array" else "groups by name" if below != path else ""
    what = f"{many}groups" if many == "list of " else many or "group"
    yield {
        "path": path,
        "type": (what if members else _type(plain)) + (" or null" if nullable else ""),
        "unit": str(inside.get("unit", "")),
        "range": "; ".join(dict.fromkeys(filter(None, (_range(plain), _range(inside))))),
        "default": _default(default, members),
        "description": field.get("description") or _summary(members[0][1]),
    }
    filed = FILED.get(path)
    if filed is not None:
        members = [*members, (" (include)", filed.model_json_schema())]
    for choice, model in members:
        if choice:
            yield {
                **dict.fromkeys(COLUMNS, ""),
                "path": below + choice,
                "type": "group",
                "description": _summary(model),
            }
        yield from _group(below + choice, model, models)


def _without_null(field: dict[str, Any]) -> tuple[bool, dict[str, Any]]:
    """Split ``X or null`` into whether null is allowed and X."""
    options = field.get("anyOf", [])
    others = [option for option in options if option.get("type") != "null"]
    return len(others) < len(options), {**field, **others[0]} if options else field


def _named(field: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of the entries of a mapping; empty for anything else."""
    patterns: dict[str, Any] = field.get("patternProperties", {})
    entries: object = field.get("additionalProperties") or next(iter(patterns.values()), {})
    return entries if isinstance(entries, dict) else {}


def _members(field: dict[str, Any], models: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the models a setting may hold, each with how its kind is written in a path."""
    if "$ref" in field:
        return [("", models[field["$ref"].rsplit("/", 1)[1]])]
    if "discriminator" not in field:
        return []
    name, mapping = field["discriminator"]["propertyName"], field["discriminator"]["mapping"]
    choices: dict[str, list[str]] = {}
    for option in field["oneOf"]:
        model = option["$ref"].rsplit("/", 1)[1]
        values = [value for value, target in mapping.items() if target == option["$ref"]]
        choices[model] = sorted(values)
    return [(f" ({name}: {', '.join(v)})", models[model]) for model, v in choices.items()]


def _type(field: dict[str, Any]) -> str:
    if "enum" in field:
        return "one of " + ", ".join(map(str, field["enum"]))
    if field.get("type") == "array":
        return f"list of {_type(field['items'])}"
    if _named(field):
        return f"{_type(_named(field))} by name"
    return FORMATS.get(field.get("format", ""), TYPES[field["type"]])


def _range(field: dict[str, Any]) -> str:
    """Return the limits of a value, or of the number of its parts."""
    limits = [f"{sign} {field[bound]:.12g}" for bound, sign in BOUNDS.items() if bound in field]
    for suffix, parts in SIZES.items():
        least, most = field.get(f"min{suffix}"), field.get(f"max{suffix}")
        if most is not None:
            limits.append(f"{least or 0} to {most} {parts}")
        elif least is not None:
            limits.append("not empty" if least == 1 else f"at least {least} {parts}")
    if "pattern" in field:
        limits.append(f"matches `{field['pattern']}`")
    return ", ".join(limits)


def _default(default: object, members: list[tuple[str, dict[str, Any]]]) -> str:
    if default is _MISSING:
        return "required"
    if isinstance(default, dict) and default and members:
        kind = default.get("kind")
        return f"kind: {kind}" if kind else "as below"
    return json.dumps(default) if not isinstance(default, str) else default


def _summary(model: dict[str, Any]) -> str:
    """Return the first paragraph of a model's docstring."""
    return " ".join(model["description"].split("\n\n")[0].split())
