"""Why an action of a subscriber is not open, in words, from the tables that decide it."""

from typing import Any

from engine import tables
from engine.actions import actions
from engine.candidates import caps, eligible
from engine.settings import Job
from kernels.backend import to_cpu


def closed(job: Job, features: Any, contacts: Any | None) -> list[list[str]]:
    """Return, for each row and action, why the pair is not open; empty where it is open.

    Args:
        job: the job.
        features: rows of the profile, one a subscriber.
        contacts: their contact history (subscriber, time, offer, channel), or None.
    """
    acts = actions(job.catalogue)
    side = tables.array_library(features)
    held = to_cpu(tables.unit_hash(features["subscriber"], job.seed) < job.holdout_share)
    allowed = to_cpu(eligible(job, features, acts, side))
    forbids = {name: to_cpu(f) for name, f in caps(job, features, contacts, side)[0].items()}
    out = []
    for row in range(len(features)):
        told = []
        for a in range(len(acts)):
            policies = [name for name, forbidden in forbids.items() if forbidden[a, row]]
            parts = ["held out"] if held[row] else []
            if not allowed[a, row]:
                parts.append("not valid, not eligible, or no consent or device for the channel")
            if policies:
                parts.append(f"policy {', '.join(policies)}")
            told.append("; ".join(parts))
        out.append(told)
    return out
