"""The contact history of a partition, as the tables of ``inputs`` or the ledger have it."""

from dataclasses import dataclass
from typing import Any

from engine import expressions
from engine.settings import Job

TEXTS = ("offer", "channel", "category", "team", "outcome")
"""What the tables may say of an event; offer and channel are always there."""


@dataclass(frozen=True, eq=False)
class History:
    """A partition's contacts and outcomes; either may be None: there are none.

    Frames with subscriber, time (s), offer, channel and what else of :data:`TEXTS` there is, in any
    order. Contacts later than the as-of instant are booked already: they count where a window
    reaches them.
    """

    contacts: Any | None = None
    outcomes: Any | None = None  # with the columns of the condition of accepts


def accepting(job: Job) -> expressions.Expression | None:
    """Return the condition of outcomes that are accepts; None: all of them are."""
    sql = job.inputs.outcomes.accepted if job.inputs.outcomes else None
    return None if sql is None else expressions.parse(sql, "inputs.outcomes.accepted")


def columns_of_accepts(job: Job) -> set[str]:
    """Return the columns of outcomes that tell accepts."""
    condition = accepting(job)
    return set() if condition is None else set(condition.columns)
