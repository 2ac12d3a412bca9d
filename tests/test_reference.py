"""The reference of settings: complete, true, and the same in the README."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from engine.settings.base import Settings
from jobs import reference

README = Path(__file__).parents[1] / "README.md"


def models(base=Settings):
    found = base.__subclasses__()
    return found + [below for model in found for below in models(model)]


def rows():
    return {row["path"]: row for row in reference.settings_reference()}


def test_every_setting_of_every_model_is_listed_and_described():
    listed = {(row["path"].rsplit(".", 1)[-1], row["description"]) for row in rows().values()}
    for model in models():
        for name, field in model.model_fields.items():
            if name not in {"op", "kind"}:
                written = field.alias or name
                assert (written, field.description) in listed, f"{model.__name__}.{name}"
    assert all(row["description"] and row["type"] for row in rows().values())


@pytest.mark.parametrize(
    ("path", "row"),
    [
        ("seed", ("whole number", "", ">= 0, <= 4294967295", "7")),
        ("as_of", ("instant", "UTC without a zone", "", "required")),
        ("inputs.max_reject_share", ("number", "share", ">= 0, <= 1", "0.01")),
        ("inputs.source", ("group", "", "", "kind: files")),
        ("inputs.source (kind: synthetic).days", ("whole number", "", ">= 1, <= 3650", "90")),
        ("inputs.contacts", ("group or null", "", "", "null")),
        ("inputs.events", ("groups by name", "", "", "{}")),
        ("inputs.events.<name>.time", ("text", "", "", "time")),
        ("features", ("list of groups", "", "", "[]")),
        ("scores (kind: model).trees", ("whole number", "", ">= 1, <= 10000", "120")),
        (
            "scores (kind: formula).formulas",
            ("text by name", "SQL expression", "not empty", "required"),
        ),
        ("catalogue.offers", ("groups by name", "", "not empty", "required")),
        ("catalogue.offers.<name>.value", ("number", "money", ">= 0, <= 1000000000", "required")),
        (
            "policies.<item>.per",
            ("one of all, channel, category, team, offer, offers", "", "", "all"),
        ),
        (
            "constraints.<item>.at_most",
            ("number or null", "of the measure", ">= 0, <= 1e+12", "null"),
        ),
        ("solver", ("group", "", "", "as below")),
        ("solver.time_limit_s", ("number", "s", "> 0", "600.0")),
        ("output", ("path", "", "", "runs")),
    ],
)
def test_rows(path, row):
    found = rows()[path]
    assert tuple(found[name] for name in ("type", "unit", "range", "default")) == row


def test_paths_are_unique_and_in_the_order_of_the_file():
    paths = [row["path"] for row in reference.settings_reference()]
    assert len(set(paths)) == len(paths)
    top = [path for path in paths if "." not in path and " " not in path]
    assert top == list(dict.fromkeys(path.split(".")[0].split(" ")[0] for path in paths))


def test_the_markdown_is_a_table():
    lines = reference.markdown().split("\n")
    assert len(lines) == len(rows()) + 2
    for line in lines:
        assert line.replace("\\|", "").count("|") == len(reference.COLUMNS) + 1


def test_the_terminal_table_names_every_setting():
    shown = StringIO()
    Console(file=shown, width=600).print(reference.table())
    lines = shown.getvalue().splitlines()
    for line, row in zip(lines[4:-1], rows().values(), strict=True):
        assert row["path"].endswith(line.split("│")[1].strip())
        assert row["type"] in line and row["range"] in line and row["default"] in line


def test_the_readme_holds_the_reference():
    text = README.read_text(encoding="utf-8")
    assert text == reference.insert(text), "write it with jobs.reference.insert"


@pytest.mark.parametrize("readme", ["", "<!-- settings -->", "<!-- settings --> " * 2])
def test_a_readme_without_its_markers_is_an_error(readme):
    with pytest.raises(ValueError, match="should stand once"):
        reference.insert(readme)


def test_inserting_keeps_the_rest_and_is_idempotent():
    text = "a\n<!-- settings -->old<!-- /settings -->\nb\n"
    once = reference.insert(text)
    assert once.startswith("a\n<!-- settings -->\n| path |") and once.endswith(
        "|\n<!-- /settings -->\nb\n"
    )
    assert reference.insert(once) == once
