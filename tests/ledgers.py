"""Small run folders and files for tests of the contact ledger."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from engine.settings import parse
from jobs.ledger import book
from jobs.manifest import digest, effective

DAY = datetime(2026, 10, 1, tzinfo=UTC)
JOB = """
name: tiny
as_of: {as_of}
inputs: {{folder: in, ledger: {ledger}, subscribers: {{path: subscribers.csv, household: home}}}}
scores: {{kind: formula, formulas: {{data: "0.1", voice: "0.2"}}}}
catalogue:
  currency: EUR
  channels: {{sms: {{}}, email: {{}}}}
  offers:
    data: {{category: boost, value: 5, channels: [sms, email]}}
    voice: {{category: talk, value: 4, channels: [sms, email]}}
policies: [{policies}]
"""
TWO_A_WEEK = "{name: two_a_week, at_most: 2, within: 7d}"


def job_of(ledger, as_of=DAY, policies=TWO_A_WEEK):
    text = JOB.format(ledger=ledger, as_of=as_of.isoformat(), policies=policies)
    return parse(text, "job.yaml")


def run_folder(
    folder: Path, ledger, rows, *, as_of=DAY, policies=TWO_A_WEEK, version=-1, homes=None
):
    """Write what a finished run leaves and the ledger reads; rows: subscriber, offer, channel.

    homes: household by subscriber.
    """
    job = job_of(ledger, as_of, policies)
    (folder / "allocations").mkdir(parents=True)
    table = pd.DataFrame(rows, columns=["subscriber", "offer", "channel"])
    if not rows:  # as of a run whose keys are whole numbers
        table = table.astype({"subscriber": "int64"})
    table = table.assign(time=pd.Timestamp(as_of).as_unit("s"), time_zone="UTC")
    table.to_parquet(folder / "allocations/part-00000.parquet")
    if homes is not None:
        members = pd.DataFrame({"subscriber": list(homes), "household": list(homes.values())})
        members.to_parquet(folder / "households.parquet")
    fingerprint = digest([str(folder), [list(map(str, row)) for row in rows]])
    manifest = {"job": effective(job), "fingerprint": fingerprint,
                "ledger": {"id": "", "version": version}}  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    summary = {"status": "OPTIMAL", "contacts": len(rows)}
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def planned(folder, ledger, rows, **more):
    return book.planned(run_folder(folder, ledger, rows, **more))


def outcomes_file(path, rows, **more):
    """Write outcomes as CSV: subscriber, time, offer, channel, outcome."""
    names = ["subscriber", "time", "offer", "channel", "outcome", *more]
    columns = zip(*rows, *more.values(), strict=True) if more else rows
    if more:
        columns = [(*row, *rest) for row, *rest in zip(rows, *more.values(), strict=True)]
    pd.DataFrame(columns, columns=names).to_csv(path, index=False)
    return path
