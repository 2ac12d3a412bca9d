"""The report of a run: a page that opens from disk without a network, and tables in a terminal."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bokeh.document import Document
from bokeh.embed import components
from bokeh.resources import Resources
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from rich.table import Table as TextTable
from rich.text import Text

from engine.errors import DataError
from jobs import background, sections
from jobs.pieces import Section, Table, count

TEMPLATE = "report.html.jinja"
IN_TERMINAL = ("conflict", "funnel", "allocation", "goals", "limits", "baselines")


def write(run_folder: Path) -> Path:
    """Write ``report.html`` into a run folder: whole, or not at all.

    Args:
        run_folder: holds summary.json and manifest.json.

    Returns:
        The page's path.
    """
    summary, manifest = _read(run_folder, "summary.json"), _read(run_folder, "manifest.json")
    found = sections.outcome(summary, manifest)
    found += background.sections(manifest["stages"], manifest["seconds"])
    page = _page(summary, manifest, found)
    path = run_folder / "report.html"
    temporary = run_folder / f".report.html.{os.getpid()}.tmp"
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(path)
    return path


def table(run_folder: Path) -> list[Any]:
    """Return a run's summary as rich renderables: a headline, then its tables.

    Args:
        run_folder: holds summary.json and manifest.json.
    """
    summary, manifest = _read(run_folder, "summary.json"), _read(run_folder, "manifest.json")
    shown: list[Any] = [
        Text(f"{manifest['name']}: {summary['status']} {summary['remedy']}".strip())
    ]
    figures = TextTable(show_header=False, box=None)
    for figure in sections.headline(summary):
        figures.add_row(*(Text(figure[key]) for key in ("name", "value", "note")))
    shown.append(figures)
    for section in sections.outcome(summary, manifest):
        if section.id in IN_TERMINAL:
            shown += [_text_table(panel.table) for panel in section.panels if panel.table]
    return shown


def _text_table(table: Table) -> TextTable:
    shown = TextTable(title=Text(table.caption), title_justify="left")
    for column in table.columns:
        shown.add_column(
            Text(column.name), justify="right" if "n" in column.kind.split() else "left"
        )
    for row in table.rows:
        shown.add_row(*map(Text, row))  # as Text: brackets in names are no markup
    return shown


def _read(run_folder: Path, name: str) -> dict[str, Any]:
    path = run_folder / name
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); give the folder of a finished run"
        ) from None
    except ValueError as error:
        raise DataError(f"{path}: is not valid JSON: {error}; run the job again") from None
    return content


def _page(summary: Mapping[str, Any], manifest: Mapping[str, Any], found: list[Section]) -> str:
    """Render the page; all text is escaped, only Bokeh's own markup is not."""
    drawn = {
        f"{section.id}-{index}": panel.chart()
        for section in found
        for index, panel in enumerate(section.panels)
        if panel.chart is not None
    }
    document = Document()
    with document.models.freeze():  # else each root has Bokeh look through all of those before it
        for chart in drawn.values():
            document.add_root(chart)
    script, places = components(drawn) if drawn else ("", {})
    shown = [
        {
            "id": section.id,
            "title": section.title,
            "text": section.text,
            "panels": [
                vars(panel) | {"chart": places.get(f"{section.id}-{index}")}
                for index, panel in enumerate(section.panels)
            ],
        }
        for section in found
    ]
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    templates.filters["breakable"] = _breakable
    return templates.get_template(TEMPLATE).render(
        title=f"walras: {manifest['name']}",
        subtitle=_subtitle(summary, manifest),
        status=summary["status"],
        remedy=summary["remedy"],
        headline=sections.headline(summary),
        sections=shown,
        footer=_footer(manifest),
        resources=Resources(mode="inline", components=["bokeh"]).render(),
        script=script,
    )


def _breakable(name: str) -> Markup:
    """Escape a name and let a narrow column break it after its joints."""
    return Markup(re.sub(r"([_:@])", r"\1<wbr>", str(escape(name))))


def _subtitle(summary: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    job = manifest["job"]
    made_up = "; synthetic data" if job["inputs"]["source"]["kind"] == "synthetic" else ""
    return (
        f"As of {job['as_of']}; started {manifest['started']}; "
        f"{count(summary['subscribers'])} subscribers{made_up}"
    )


def _footer(manifest: Mapping[str, Any]) -> list[str]:
    versions = ", ".join(f"{name} {number}" for name, number in manifest["versions"].items())
    memory = manifest["peak_memory_bytes"] / 2**30
    return [
        f"Run {manifest['fingerprint']}; seed {manifest['job'].get('seed', '–')}; "
        f"peak memory {memory:.2f} GiB; {versions}.",
        "The same figures for machines: summary.json, certificate.json, prices.json and "
        "manifest.json beside this page; every decision: allocations/ and decisions/.",
    ]
