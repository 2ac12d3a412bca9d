"""The contact ledger at its size: one run is booked into a ledger of many, and each other command.

``python -m benchmarks.ledger --contacts 1000000 --rows 20000000 --json``: the ledger has a run of
as many contacts every third day, subscribers drawn at random of five times as many. The run is
planned for the next third day under two policies of a week and a month, so that a month is read at
the re-check. Each time is of one call, what it made is counted before its time is told, and the
ledger is verified at the end. The last line is JSON.
"""

import argparse
import json
import resource
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import machine
from jobs.ledger import audit, book, care, events, files, snapshot, table
from jobs.ledger.book import Planned, filled, new_ids
from tests.ledgers import job_of

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
STEP = timedelta(days=3)
POLICIES = (
    "{name: week, at_most: 20, within: 7d}, {name: month, at_most: 60, per: channel, within: 30d}"
)


def job_in(home):
    """Return a job whose history is a ledger below a folder."""
    job = job_of(home / "ledger", FIRST, POLICIES)
    return job.model_copy(update={"output": home / "runs"})


def plan(job, number, contacts, seed=7):
    """Draw the contacts of a run, one for each of some subscribers."""
    random = np.random.default_rng([seed, number])
    rows = pa.table(
        {
            "subscriber": random.choice(5 * contacts, contacts, replace=False),
            "time": pa.repeat(pa.scalar(FIRST + number * STEP, table.INSTANT), contacts),
            "time_zone": pa.repeat("UTC", contacts),
            "offer": pa.array(np.array(["data", "voice"])[random.integers(0, 2, contacts)]),
            "channel": pa.array(np.array(["sms", "email"])[random.integers(0, 2, contacts)]),
            "category": pa.repeat("", contacts),
            "team": pa.repeat("", contacts),
        }
    )
    own = job.model_copy(update={"as_of": FIRST + number * STEP})
    return Planned(Path(f"run{number}"), own, f"{number:032}", None, -1, rows)


def grown(folder, job, contacts, runs):
    """Make a ledger of so many runs; nothing is checked."""
    for number in range(runs):
        run = plan(job, number, contacts)
        ledger = table.opened_or_made(folder, pa.int64())
        rows = filled(ledger, run.rows, kind="contact", run=run.fingerprint, entry=run.entry,
                      contact=new_ids(ledger, contacts))  # fmt: skip
        table.commit(ledger, files.written(ledger, rows), {run.entry: contacts})


def measured(home, contacts, rows):
    """Time each command; return a row a command."""
    folder, told = home / "ledger", []
    job, runs = job_in(home), rows // contacts

    def timed(name, work, expected):
        began = perf_counter()
        found = work()
        seconds = perf_counter() - began
        assert expected(found), (name, found)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        told.append({"command": name, "seconds": seconds, "peak_bytes": peak})

    timed(f"{runs} runs written", lambda: grown(folder, job, contacts, runs), lambda _: True)
    run = plan(job, runs, contacts)
    timed("commit", lambda: book.book(run, folder), lambda d: d.rows == contacts and not d.already)
    timed("commit again", lambda: book.book(run, folder), lambda d: d.already)
    answers = run.rows.select(["subscriber", "time", "offer", "channel"])
    answers = answers.append_column("outcome", pa.repeat("delivered", contacts))
    pq.write_table(answers, home / "answers.parquet")
    timed("outcomes", lambda: events.add_outcomes(home / "answers.parquet", folder),
          lambda d: d.rows == contacts)  # fmt: skip
    late = plan(job, runs + 1, contacts)
    timed("commit of the next run", lambda: book.book(late, folder), lambda d: d.rows == contacts)
    timed("cancel", lambda: book.cancel(late, folder, FIRST), lambda d: d.rows == contacts)
    timed("show", lambda: audit.shown(folder),
          lambda f: f["contacts"]["effective"] == (runs + 1) * contacts)  # fmt: skip
    timed("tables of a job", lambda: snapshot.pinned(job), lambda j: j.inputs.snapshot().is_dir())
    who = str(run.rows["subscriber"][0].as_py())
    timed("erase of one subscriber", lambda: care.erase(folder, [who]), lambda e: e.rows >= 2)
    timed("compact", lambda: care.compact(folder), lambda d: True)
    day = (FIRST + runs // 2 * STEP).date()
    timed("purge of half", lambda: care.purge(folder, day),
          lambda d: d.rows >= runs // 2 * contacts - 100)  # fmt: skip
    timed("verify", lambda: audit.verified(folder), lambda f: f["leftovers"] == 0)
    return told


def main(arguments=None):
    """Measure all commands."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger", description=__doc__)
    parser.add_argument("--contacts", type=int, default=100_000, help="of a run")
    parser.add_argument("--rows", type=int, default=2_000_000, help="of the ledger at first")
    parser.add_argument("--json", action="store_true", help="the figures as JSON, last")
    options = parser.parse_args(arguments)
    if options.contacts < 1 or options.rows < 2 * options.contacts:
        parser.error("--rows: at least two runs of --contacts, which is 1 or more")
    with TemporaryDirectory() as home:
        rows = measured(Path(home), options.contacts, options.rows)
    machine.printed(rows, ("command", "seconds", "peak_bytes"), 80)
    if options.json:
        figures = {"contacts": options.contacts, "rows": options.rows, "commands": rows}
        print(json.dumps({"machine": machine.described(), **figures}))


if __name__ == "__main__":
    main()
