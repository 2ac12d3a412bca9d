"""Charts of the report: Bokeh figures without a toolbar, as wide as their place.

Bars lie on numbered rows, top to bottom, so that labels may be any text, even twice the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bokeh.core.properties import value
from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, NumeralTickFormatter, Span
from bokeh.plotting import figure

INK, SOFT, GRID = "#1f2933", "#52606d", "#e4e7eb"
STRONG, QUIET, WARM = "#1b6ca8", "#9fb3c8", "#b44d12"
EMPTY = "#e9eef3"  # of a stack: nothing counted
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
ROW_PX, FRAME_PX = 26, 52
LETTER = 0.08  # room for a letter behind a bar, share of the longest bar: enough on a phone
LABEL = 20  # longest label in letters, so that bars keep half of a phone's width


@dataclass(frozen=True)
class Bar:
    """One row of a bar chart."""

    label: str
    left: float
    right: float
    text: str  # written at the end of the bar
    colour: str = STRONG


@dataclass(frozen=True)
class Piece:
    """A part of a stacked bar."""

    left: float
    right: float
    colour: str
    text: str


def shade(one: str, other: str, share: float) -> str:
    """Return the colour so far on the way from one to another, both as ``#rrggbb``."""
    mixed = (
        round(int(one[i : i + 2], 16) * (1 - share) + int(other[i : i + 2], 16) * share)
        for i in (1, 3, 5)
    )
    return "#" + "".join(f"{part:02x}" for part in mixed)


def _short(label: str) -> str:
    half = LABEL // 2
    return label if len(label) <= LABEL else f"{label[: half - 1]}…{label[-half:]}"


def _frame(height: int, tips: list[tuple[str, str]], **options: Any) -> Any:
    plot = figure(
        height=height,
        sizing_mode="stretch_width",
        min_width=240,
        toolbar_location=None,
        tools=[],
        outline_line_color=None,
        background_fill_color=None,
        border_fill_color=None,
        output_backend="canvas",
        **options,
    )
    plot.add_tools(HoverTool(tooltips=tips))
    for axis in plot.axis:
        axis.axis_line_color = None
        axis.major_tick_line_color = axis.minor_tick_line_color = None
        axis.major_label_text_color = axis.axis_label_text_color = INK
        axis.major_label_text_font = axis.axis_label_text_font = FONT
        axis.major_label_text_font_size = axis.axis_label_text_font_size = "12px"
        axis.axis_label_text_font_style = "normal"
    plot.grid.grid_line_color = GRID
    return plot


def bars(rows: Sequence[Bar], *, axis: str, number: str = "0,0", limit: float | None = None) -> Any:
    """Draw horizontal bars, the first on top.

    Args:
        rows: the bars.
        axis: what the length means, with its unit.
        number: format of the numbers along the axis, in Bokeh's numeral language.
        limit: draws a line there.
    """
    places = list(range(len(rows)))
    highest = max([r.right for r in rows] + ([limit] if limit is not None else []), default=0) or 1
    source = ColumnDataSource(
        {
            "y": places,
            "left": [row.left for row in rows],
            "right": [row.right for row in rows],
            "label": [row.label for row in rows],
            "text": [row.text for row in rows],
            "colour": [row.colour for row in rows],
        }
    )
    plot = _frame(
        ROW_PX * len(rows) + FRAME_PX,
        [("", "@label: @text")],
        x_range=(0, max([r.right + LETTER * highest * len(r.text) for r in rows], default=1)),
        y_range=(len(rows) - 0.4, -0.6),
        x_axis_label=axis,
    )
    plot.hbar(y="y", left="left", right="right", height=0.66, color="colour", source=source)
    plot.text(
        x="right", y="y", text="text", x_offset=5, text_baseline="middle", source=source,
        text_font=value(FONT), text_font_size="12px", text_color=INK,
    )  # fmt: skip
    if limit is not None:
        plot.add_layout(Span(location=limit, dimension="height", line_color=SOFT, line_width=1.5))
    plot.yaxis.ticker = FixedTicker(ticks=places)
    plot.yaxis.major_label_overrides = {place: _short(rows[place].label) for place in places}
    plot.xaxis.formatter = NumeralTickFormatter(format=number)
    plot.xaxis[0].ticker.desired_num_ticks = 3
    plot.ygrid.grid_line_color = None
    return plot


def stacks(rows: Sequence[tuple[str, Sequence[Piece]]], *, axis: str) -> Any:
    """Draw stacked bars of shares, the first on top.

    Args:
        rows: label and pieces of each, from left to right.
        axis: what the length means.
    """
    flat = [(place, label, piece) for place, (label, own) in enumerate(rows) for piece in own]
    source = ColumnDataSource(
        {
            "y": [place for place, _, _ in flat],
            "label": [label for _, label, _ in flat],
            **{key: [getattr(piece, key) for _, _, piece in flat]
               for key in ("left", "right", "colour", "text")},
        }
    )  # fmt: skip
    plot = _frame(
        ROW_PX * len(rows) + FRAME_PX,
        [("", "@label, @text")],
        x_range=(0, 1),
        y_range=(len(rows) - 0.4, -0.6),
        x_axis_label=axis,
    )
    plot.hbar(
        y="y", left="left", right="right", height=0.66, color="colour", source=source,
        line_color="white", line_width=0.5,
    )  # fmt: skip
    plot.yaxis.ticker = FixedTicker(ticks=list(range(len(rows))))
    plot.yaxis.major_label_overrides = {i: _short(label) for i, (label, _) in enumerate(rows)}
    plot.xaxis.formatter = NumeralTickFormatter(format="0%")
    plot.ygrid.grid_line_color = None
    return plot


def days(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Draw contacts a day: those of the history, and those of this run on top of them.

    Args:
        rows: ``day``, ``past`` and ``planned``, day by day.
    """
    places = list(range(len(rows)))
    past, planned = ([row[key] for row in rows] for key in ("past", "planned"))
    top = [a + b for a, b in zip(past, planned, strict=True)]
    names = [row["day"] for row in rows]
    source = ColumnDataSource(
        {"x": places, "day": names, "past": past, "planned": planned, "top": top}
    )
    plot = _frame(
        240,
        [("", "@day"), ("history", "@past{0,0}"), ("this run", "@planned{0,0}")],
        x_range=(-0.6, len(rows) - 0.4), y_range=(0, 1.05 * max(top, default=0) or 1),
        y_axis_label="contacts",
    )  # fmt: skip
    both = (("past", 0, QUIET, "history"), ("top", "past", STRONG, "this run"))
    for upper, lower, colour, name in both:
        plot.vbar(
            x="x", bottom=lower, top=upper, width=0.8, color=colour, source=source,
            legend_label=name,
        )  # fmt: skip
    every = max(1, -(-len(rows) // 8))
    shown = places[len(places) - 1 :: -every]
    plot.xaxis.ticker = FixedTicker(ticks=shown)
    plot.xaxis.major_label_overrides = {place: names[place][5:] for place in shown}
    plot.xgrid.grid_line_color = None
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0")
    plot.legend.location, plot.legend.border_line_color = "top_left", None
    plot.legend.label_text_font, plot.legend.label_text_color = FONT, INK
    plot.legend.label_text_font_size, plot.legend.orientation = "12px", "horizontal"
    plot.legend.background_fill_alpha = 0.6
    return plot


def grid(rows: Sequence[tuple[str, Sequence[Piece]]], *, axis: str, columns: Sequence[str]) -> Any:
    """Draw a field of cells, the first row on top.

    Args:
        rows: label and cells of each; of a cell only colour and text count.
        axis: what the columns are.
        columns: their labels.
    """
    flat = [
        (y, x, label, cell) for y, (label, own) in enumerate(rows) for x, cell in enumerate(own)
    ]
    source = ColumnDataSource({
        "x": [x for _, x, _, _ in flat], "y": [y for y, _, _, _ in flat],
        "label": [label for _, _, label, _ in flat], "column": [columns[x] for _, x, _, _ in flat],
        "colour": [cell.colour for *_, cell in flat], "text": [cell.text for *_, cell in flat],
    })  # fmt: skip
    plot = _frame(
        ROW_PX * len(rows) + FRAME_PX,
        [("", "@label, @column: @text")],
        x_range=(-0.6, len(columns) - 0.4),
        y_range=(len(rows) - 0.4, -0.6),
        x_axis_label=axis,
    )
    plot.rect(x="x", y="y", width=1, height=0.8, color="colour", source=source, line_color="white")
    plot.yaxis.ticker = FixedTicker(ticks=list(range(len(rows))))
    plot.yaxis.major_label_overrides = {i: _short(label) for i, (label, _) in enumerate(rows)}
    plot.xaxis.ticker = FixedTicker(ticks=list(range(len(columns))))
    plot.xaxis.major_label_overrides = dict(enumerate(columns))
    plot.grid.grid_line_color = None
    return plot


def calibration(bins: Sequence[Mapping[str, Any]]) -> Any:
    """Draw the accept rate of each bin over its mean prediction; on the diagonal is right."""
    highest = max([max(b["predicted"], b["observed"]) for b in bins], default=0) * 1.1 or 1
    source = ColumnDataSource(
        {k: [b[k] for b in bins] for k in ("predicted", "observed", "contacts")}
    )
    plot = _frame(
        320,
        [("predicted", "@predicted{0.0%}"), ("observed", "@observed{0.0%}"),
         ("contacts", "@contacts{0,0}")],
        x_range=(0, highest), y_range=(0, highest),
        x_axis_label="predicted share of acceptances", y_axis_label="observed share",
    )  # fmt: skip
    plot.line([0, highest], [0, highest], color=SOFT, line_dash="dashed", line_width=1.5)
    plot.line("predicted", "observed", source=source, color=STRONG, line_width=2)
    plot.scatter("predicted", "observed", source=source, color=STRONG, size=8)
    for axis in plot.axis:
        axis.formatter = NumeralTickFormatter(format="0%" if highest > 0.08 else "0.0%")
        axis.ticker.desired_num_ticks = 5
    return plot


def convergence(steps: Sequence[Mapping[str, Any]], tolerance: float | None) -> Any:
    """Draw the gap of each solver step over time, the gap on a logarithmic scale.

    Args:
        steps: the steps with a gap above 0, at least one.
        tolerance: the gap that counts as solved, drawn as a dashed line.
    """
    keys = ("step", "seconds", "gap", "reads", "active")
    source = ColumnDataSource({key: [step[key] for step in steps] for key in keys})
    plot = _frame(
        300,
        [("", "@step"), ("gap", "@gap{0.0e+0}"), ("seconds", "@seconds{0.00}"),
         ("reads of the propensities", "@reads{0.0}"), ("open subscribers", "@active{0,0}")],
        y_axis_type="log", x_axis_label="seconds", y_axis_label="gap, share of the bound",
    )  # fmt: skip
    plot.line("seconds", "gap", source=source, color=STRONG, line_width=2)
    plot.scatter("seconds", "gap", source=source, color=STRONG, size=7)
    if tolerance:
        plot.add_layout(
            Span(location=tolerance, dimension="width", line_color=WARM, line_dash="dashed")
        )
    plot.xaxis[0].ticker.desired_num_ticks = 5
    return plot
