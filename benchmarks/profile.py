"""Profile the same events by walras and by other engines: seconds, memory, and one streaming read.

``python -m benchmarks.profile --events 20000000 --subscribers 1000000 --json``: twelve features
(``benchmarks/profile_peers``) of synthetic events sorted by subscriber and time
(``benchmarks/profile_data.py``). Each engine runs in a process of its own, with the events loaded
in its own form; with ``--parquet`` from files to files, where walras writes one file of features
for each file of events, and every engine writes all subscribers in order. Files are read once
before they are timed, so they lie in the system's cache. No figure is shown before all engines
agree (``TOLERANCE``). ``reads`` are in units of one streaming read, by all cores, of the three
columns in memory, timed in the same run; ``kernel_reads`` of the two that walras's kernel reads.
``--curve`` varies the number of events, 20 a subscriber. The last line is one JSON object.
"""

import argparse
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from bokeh.layouts import gridplot
from bokeh.plotting import figure, output_file, save
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.process import apart, peers_python
from benchmarks.profile_data import Size, made
from benchmarks.profile_peers import ENGINES, FEATURES

TOLERANCE = 1e-9
"""Largest difference, relative or absolute. Engines add the same terms in other orders, take exp
or exp2, and the deviation in one pass or two: about 1e-13 of a sum of hundreds of terms, more of a
slope, whose terms cancel. Counts are thus equal."""
CURVE = (1_000_000, 3_000_000, 10_000_000, 30_000_000, 100_000_000)
EACH = 20  # events of a subscriber, on average, on the curve
COLOURS = {"ours": "#1b6ca8", "polars": "#b44d12", "duckdb": "#7a8b1f", "pandas": "#6b4c9a"}
PLOTTED = {"seconds": "time, s", "peak_bytes": "memory at most, bytes"}
SHOWN = ("events", "engine", "status", "seconds", "events_per_s", "reads", "peak_bytes", "ratio")


class DifferenceError(Exception):
    """Engines do not agree."""


def measured(size, folder, engines, options):
    """Draw events, run the engines on them, compare, and return the figures.

    Args:
        size: how many events of how many subscribers.
        folder: where the events are, or shall be.
        engines: names; the first is ours.
        options: ``repeats``, ``parquet`` and ``time_limit``.

    Returns:
        The figures of the point, as the command prints them.

    Raises:
        DifferenceError: features of an engine are not ours, or ours failed.
    """
    data = made(size, folder)
    source = "parquet" if options.parquet else "memory"
    point = {"events": size.events, "subscribers": size.subscribers, "source": source}
    rows, own = {}, None
    with TemporaryDirectory() as answers:
        for engine in engines:
            python = sys.executable if engine == "ours" else peers_python()
            answer = Path(answers, engine)
            command = [python, "-m", "benchmarks.profile_peers", engine, str(data.folder.resolve())]
            command += ["--repeats", str(options.repeats), "--answer", str(answer)]
            command += ["--parquet"] if options.parquet else []
            found = apart(command, answer, options.time_limit)
            rows[engine] = found.pop("figures")
            if engine == "ours":
                if rows[engine]["status"] != "OK":
                    raise DifferenceError(f"ours: {rows[engine]['status']}")
                own = found
            if rows[engine]["status"] == "OK":
                check(engine, found, own, is_ordered=options.parquet)
    return point | summarised(rows, size.events) | {"repeats": options.repeats}


def check(engine, found, own, *, is_ordered):
    """Compare an engine's features with ours.

    Args:
        engine: its name.
        found: ``subscriber`` and [S] float64 by feature.
        own: the same of ours.
        is_ordered: whether the rows must be in order of the subscriber.

    Raises:
        DifferenceError: the first difference of a feature, and how many there are.
    """
    order = np.argsort(found["subscriber"], kind="stable")
    if is_ordered and not (order == np.arange(len(order))).all():
        raise DifferenceError(f"{engine}: rows are not in order of the subscriber")
    keys = found["subscriber"][order]
    if not np.array_equal(keys, own["subscriber"]):
        raise DifferenceError(
            f"{engine}: {len(keys)} rows of other subscribers than ours, {len(own['subscriber'])}"
        )
    for name in FEATURES:
        theirs, right = found[name][order], own[name]
        is_same = np.isclose(theirs, right, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
        if not is_same.all():
            s = int(np.flatnonzero(~is_same)[0])
            raise DifferenceError(
                f"{engine}: {name} of subscriber {keys[s]}: {theirs[s]!r}, ours {right[s]!r}; "
                f"{(~is_same).sum()} of {len(keys)} subscribers differ"
            )


def summarised(rows, events):
    """Return the figures of all engines, and how ours compares."""
    own = rows["ours"]
    for row in rows.values():
        if row["status"] == "OK":
            row["events_per_s"] = events / row["seconds"]
            row["streaming_reads"] = row["seconds"] / own["one_read_s"]
            row["ratio"] = row["seconds"] / own["seconds"]
    ended = [n for n, row in rows.items() if n != "ours" and row["status"] == "OK"]
    best = min(ended, key=lambda n: rows[n]["seconds"], default=None)
    found = {
        "engines": rows,
        "streaming_reads": own["streaming_reads"],
        "one_read_s": own["one_read_s"],
        "best_peer": best,
        "speedup_over_best_peer": rows[best]["ratio"] if best else None,
        "peak_bytes": own["peak_bytes"],
    }
    if "kernel_seconds" in own:
        found["kernel_seconds"] = own["kernel_seconds"]
        found["kernel_reads"] = own["kernel_seconds"] / own["kernel_read_s"]
    return found


def shown(points):
    """Print a table of all points."""
    table = Table(*SHOWN)
    for point in points:
        for engine, row in point["engines"].items():
            cells = [f"{point['events']:,}", engine, row.get("version", row["status"])]
            if row["status"] == "OK":
                cells += [f"{row['seconds']:.3g}", f"{row['events_per_s']:.3g}"]
                cells += [f"{row['streaming_reads']:.3g}", f"{row['peak_bytes'] / 1e9:.3g} GB"]
                cells += [f"{row['ratio']:.3g}"]
            table.add_row(*cells)
    console = Console(width=140)
    console.print(table)
    for point in points:
        if "kernel_seconds" in point:
            console.print(
                f"{point['events']:,} events: the kernel alone {point['kernel_seconds']:.3g} s, "
                f"{point['kernel_reads']:.3g} reads of what it reads"
            )


def plotted(points, path):
    """Write time and memory against events, log-log, with a line of slope 1."""
    plots = []
    for name, label in PLOTTED.items():
        plot = figure(
            width=520, height=400, x_axis_type="log", y_axis_type="log", toolbar_location=None,
            x_axis_label="events", y_axis_label=label,
        )  # fmt: skip
        for engine, colour in COLOURS.items():
            rows = [(p["events"], p["engines"].get(engine, {}).get(name)) for p in points]
            rows = [(x, y) for x, y in rows if y]
            if rows:
                x, y = zip(*rows, strict=True)
                plot.line(x, y, color=colour, legend_label=engine)
                plot.scatter(x, y, color=colour, size=7)
                if engine == "ours":
                    slope = [y[0] * n / x[0] for n in x]
                    plot.line(x, slope, line_dash="dashed", color="#9fb3c8", legend_label="slope 1")
        plot.legend.location = "top_left"
        plots.append(plot)
    output_file(path, title="Twelve features of each subscriber", mode="inline")
    save(gridplot(plots, ncols=2, toolbar_location=None))


def main(arguments=None):
    """Measure one size, or the curve."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("--events", type=int, default=20_000_000)
    parser.add_argument("--subscribers", type=int, default=1_000_000)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--parquet", action="store_true", help="from files to files")
    parser.add_argument("--data", type=Path, help="a folder for the events, which are kept there")
    parser.add_argument(
        "--curve", type=int, nargs="*", metavar="EVENTS", help="instead of one size, several"
    )
    parser.add_argument("--time-limit", type=float, default=1800.0, help="s, for each engine")
    parser.add_argument("--plot", type=Path, help="an .html file")
    parser.add_argument("--json", action="store_true", help="the figures as JSON, last")
    options = parser.parse_args(arguments)
    for name in ("events", "subscribers", "repeats"):
        if getattr(options, name) < 1:
            parser.error(f"--{name}: got {getattr(options, name)}; a whole number above 0")
    if options.plot and options.plot.suffix != ".html":
        parser.error(f"--plot: got {options.plot}; a name that ends in .html")
    if options.curve and min(options.curve) < EACH:
        parser.error(f"--curve: got {min(options.curve)}; {EACH} events or more")
    sizes = [Size(options.events, options.subscribers)]
    if options.curve is not None:
        sizes = [Size(n, n // EACH) for n in options.curve or CURVE]
    engines = ["ours", *(n for n in dict.fromkeys(options.engines) if n != "ours")]
    with TemporaryDirectory() as temporary:
        folder = options.data or Path(temporary)
        try:
            points = [measured(size, folder, engines, options) for size in sizes]
        except DifferenceError as error:
            parser.exit(1, f"profile: {error}\n")
    shown(points)
    if options.plot:
        plotted(points, options.plot)
    if options.json:
        found = points[0] if options.curve is None else {"points": points}
        print(json.dumps({"machine": machine.described(), **found}))
    bad = [f"{n}: {r['status']}" for p in points for n, r in p["engines"].items()
           if r["status"] != "OK"]  # fmt: skip
    for line in dict.fromkeys(bad):
        print(f"profile: {line}", file=sys.stderr)
    if any("ABSENT" not in line for line in bad):
        sys.exit(1)


if __name__ == "__main__":
    main()
