"""How the time of an allocation grows with its sizes, one of them varied at a time.

``python -m benchmarks.growth --plot growth.html --json``: around a base point, varies subscribers,
actions, constraints, offers of a bundle and scope groups. Each answer is checked before its time
counts (``benchmarks/allocation.py``); the time is the median of the repeats. A point that ends
above its gap says TIME_LIMIT; one without an answer, which may be infeasible, says NO_ANSWER and
why; one that the budget has no time left for says NOT_RUN. The budget
is looked at before each point, so drawing the last one may pass it. The last line is JSON.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
from bokeh.layouts import gridplot
from bokeh.plotting import figure, output_file, save

from benchmarks import machine
from benchmarks.allocation import WARM_UP, judged
from benchmarks.instance import SEGMENTS, SPLIT, Case, instance
from engine.errors import AllocationError
from engine.settings.job import Solver

AXES = {
    "subscribers": (50_000, 100_000, 200_000, 500_000, 1_000_000),
    "actions": (5, 10, 20, 50, 100),
    "constraints": (5, 15, 30, 60, 200),
    "width": (1, 2, 3, 4),
    "groups": (4, 16, 64, 256, 1024, 4096),
}
UNITS = {"width": "offers of a bundle", "groups": "scope groups"}
FEW = 1_000  # subscribers of a point that is drawn to see whether it can be
SHOWN = ("axis", *AXES, "status", "gap", "seconds", "streaming_reads", "passes")


def drawn(point):
    """Draw the problem of a point; its groups split the segments evenly.

    Raises:
        ValueError: groups are not a multiple of the segments.
    """
    if point["groups"] % SEGMENTS:
        raise ValueError(f"groups: got {point['groups']}; a multiple of {SEGMENTS}")
    case = Case("growth", point["width"])
    problem = instance(case, *(point[n] for n in ("subscribers", "actions", "constraints")))
    split = point["groups"] // SEGMENTS
    blocks = [regrouped(block, split) for block in problem.blocks]
    return replace(problem, blocks=blocks, in_scope=problem.in_scope[:, ::SPLIT].repeat(split, 1))


def regrouped(block, split):
    """Return a block whose segments are split so many ways, sorted by group and key."""
    group = (block.group // SPLIT * split + (block.key >> 20) % split).astype(np.int32)
    order = np.lexsort((block.key, group))
    arrays = {n: np.ascontiguousarray(a[..., order]) for n, a in block.__dict__.items()}
    return replace(block, **arrays | {"group": group[order]})


def points(base, axes):
    """Return the points: of each axis its list, everything else as in the base point."""
    return [{"axis": axis, **base, axis: n} for axis, values in axes.items() for n in values]


def measured(point, gap, repeats, until):
    """Draw, solve, check and time a point before an instant of the clock."""
    nothing = dict.fromkeys(("gap", "seconds", "streaming_reads", "passes", "value", "bound"))
    if perf_counter() >= until:
        return {**point, "status": "NOT_RUN", **nothing}
    problem = drawn(point)
    few = drawn({**point, "subscribers": min(WARM_UP, point["subscribers"])})
    try:
        judged(few, Solver(gap_tolerance=1, exact_pairs=0))  # compiles, which takes its time
        limit = max(1.0, until - perf_counter()) / (repeats + 1)
        settings = Solver(gap_tolerance=gap, exact_pairs=0, time_limit_s=limit)
        return {**point, **judged(problem, settings, repeats=repeats)}
    except AllocationError as error:
        return {**point, "status": "NO_ANSWER", **nothing, "reason": str(error)}


def plotted(rows, path):
    """Write a figure with one small plot an axis, log-log, a line of slope 1 beside each."""
    plots = []
    for axis in dict.fromkeys(row["axis"] for row in rows):
        plot = figure(
            width=380, height=300, x_axis_type="log", y_axis_type="log", toolbar_location=None,
            x_axis_label=UNITS.get(axis, axis), y_axis_label="time, s",
        )  # fmt: skip
        timed = [r for r in rows if r["axis"] == axis and r["seconds"]]
        if timed:
            x, y = [r[axis] for r in timed], [r["seconds"] for r in timed]
            plot.line(x, [y[0] * n / x[0] for n in x], line_dash="dashed", color="#9fb3c8",
                      legend_label="slope 1")  # fmt: skip
            plot.line(x, y, color="#1b6ca8")
            colours = ["#1b6ca8" if r["status"] == "OPTIMAL" else "#b44d12" for r in timed]
            plot.scatter(x, y, size=7, color=colours)
            plot.legend.location = "top_left"
        plots.append(plot)
    output_file(path, title="How time grows", mode="inline")
    save(gridplot(plots, ncols=3, toolbar_location=None))


def main(arguments=None):
    """Measure all points."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    for axis, default in zip(AXES, (100_000, 20, 30, 2, 16), strict=True):
        parser.add_argument(f"--{axis}", type=int, default=default, help="of the base point")
    for axis, values in AXES.items():
        parser.add_argument(f"--{axis}-list", type=int, nargs="*", default=values)
    parser.add_argument("--gap", type=float, default=1e-4, help="share of the bound")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=180.0, help="for all points together")
    parser.add_argument("--plot", type=Path, help="an .html file")
    parser.add_argument("--json", action="store_true", help="the figures as JSON, last")
    options = parser.parse_args(arguments)
    if options.plot and options.plot.suffix != ".html":
        parser.error(f"--plot: got {options.plot}; a name that ends in .html")
    base = {axis: getattr(options, axis) for axis in AXES}
    todo = points(base, {axis: getattr(options, f"{axis}_list") for axis in AXES})
    for point in todo:  # all arguments before any time is spent
        try:
            drawn({**point, "subscribers": min(FEW, point["subscribers"])})
        except ValueError as error:
            parser.error(str(error))
    began, rows = perf_counter(), []
    for i, point in enumerate(todo):
        left = options.seconds - (perf_counter() - began)
        share = min(left, 4 * left / (len(todo) - i))
        rows.append(measured(point, options.gap, options.repeats, perf_counter() + share))
    machine.printed(rows, SHOWN, 140)
    if options.plot:
        plotted(rows, options.plot)
    if options.json:
        print(json.dumps({"machine": machine.described(), "gap": options.gap, "points": rows}))


if __name__ == "__main__":
    main()
