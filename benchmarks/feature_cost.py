"""What a feature costs as their number grows: the standard telecom set, more of it at a time.

``python -m benchmarks.feature_cost --subscribers 200000 --json``: a synthetic operator is made and
ingested, its partitions are read into memory once, and the first 8, 16, 32 ... features of
``configs/features/telecom.yaml`` are computed of all of them, each number in a turn of its own;
the time is the median of the repeats. ``streaming_reads`` is the time over one streaming read of
the columns that the features read. ``--plot`` draws the time of a column against their number. The
last line is JSON.
"""

import argparse
import json
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
from bokeh.plotting import figure, output_file, save

from benchmarks import machine
from benchmarks.process import peak_memory
from engine import profile, tables
from engine.fitted import NOTHING
from engine.settings import load
from jobs import sources
from jobs.ingest import ingest
from jobs.tasks import SerialTasks

JOB = Path(__file__).parents[1] / "configs" / "quickstart.yaml"
COUNTS = (8, 16, 32, 64, 128)  # features of the set; last comes the whole set
SHOWN = ("features", "columns", "tables", "passes", "seconds", "ms_per_column", "streaming_reads")


def job_of(folder, subscribers):
    """Return the quickstart job with the telecom set, over a smaller or larger operator."""
    changes = [
        "features=[{include: features/telecom.yaml}]", f"inputs.folder={folder / 'inputs'}",
        f"inputs.source.subscribers={subscribers}",
    ]  # fmt: skip
    return load(JOB, changes)


def loaded(job, folder):
    """Make and ingest the operator; return the tables of each partition."""
    tasks = SerialTasks()
    sources.prepare(job, tasks)
    ingested = folder / "ingested"
    ingested.mkdir()
    ingest(job, ingested, tasks)
    parts = []
    for path in sorted((ingested / "subscribers").glob("part-*.parquet")):
        events = {}
        for table, columns in profile.event_columns(job).items():
            texts = [c for c in job.inputs.tables()[table].categories if c in columns]
            place = ingested / "events" / table / path.name
            events[table] = tables.read(place, columns, coded=texts)
        parts.append((tables.read(path), events))
    return parts


def measured(job, parts, repeats):
    """Time the features of a job over all partitions; return the figures."""
    needed = profile.event_columns(job)
    read = [
        tables.array(frame.cat.codes if str(frame.dtype) == "category" else frame)
        for _, events in parts
        for table, columns in needed.items()
        for frame in (events[table][column] for column in columns)
    ]
    one_read = machine.read_seconds([a for a in read if a.size], machine.cores())
    seconds = []
    for _ in range(repeats + 1):  # the first turn compiles
        begin = perf_counter()
        fitted = NOTHING
        if profile.fit_columns(job):  # parameters of the whole base, in a pass of their own
            fitted = profile.fit(job, [profile.summarise_partition(job, *part) for part in parts])
        for part in parts:
            profile.profile_partition(job, *part, fitted)
        seconds.append(perf_counter() - begin)
    took, plan, columns = median(seconds[1:]), profile.passes(job), len(profile.columns(job))
    return {
        "features": len(job.features), "columns": columns, **plan, "seconds": took,
        "ms_per_column": 1e3 * took / columns, "streaming_reads": took / one_read,
        "events": int(np.sum([len(f) for _, events in parts for f in events.values()])),
        "bytes": sum(a.nbytes for a in read), "one_read_s": one_read,
    }  # fmt: skip


def plotted(rows, path):
    """Write a figure: the time of a column against their number."""
    plot = figure(width=520, height=340, toolbar_location=None,
                  x_axis_label="feature columns", y_axis_label="time of a column, ms")  # fmt: skip
    x, y = ([row[name] for row in rows] for name in ("columns", "ms_per_column"))
    plot.line(x, y, color="#1b6ca8")
    plot.scatter(x, y, size=7, color="#1b6ca8")
    plot.y_range.start = 0
    output_file(path, title="What a feature costs", mode="inline")
    save(plot)


def main(arguments=None):
    """Measure the first features of the set, more at a time."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.feature_cost", description=__doc__)
    parser.add_argument("--subscribers", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--plot", type=Path, help="an .html file")
    parser.add_argument("--json", action="store_true", help="the figures as JSON, last")
    options = parser.parse_args(arguments)
    if options.plot and options.plot.suffix != ".html":
        parser.error(f"--plot: got {options.plot}; a name that ends in .html")
    with TemporaryDirectory() as temporary:
        job = job_of(Path(temporary), options.subscribers)
        parts = loaded(job, Path(temporary))
    rows = []
    for count in sorted({min(n, len(job.features)) for n in (*COUNTS, len(job.features))}):
        some = job.model_copy(update={"features": job.features[:count]})
        rows.append(measured(some, parts, options.repeats))
    machine.printed(rows, SHOWN, 120)
    if options.plot:
        plotted(rows, options.plot)
    if options.json:
        found = {"machine": machine.described(), "subscribers": options.subscribers}
        print(json.dumps(found | {"points": rows, "peak_bytes": peak_memory()}))


if __name__ == "__main__":
    main()
