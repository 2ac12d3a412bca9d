"""Training rows of the propensity model: past contacts, what followed, and what was known then.

    accepted = an outcome of the same subscriber, offer and channel is in (time, time + horizon]

Only contacts at or before ``as_of - horizon`` train: later ones have no full outcome window.
Features are as of each contact and see strictly earlier events only, so no row sees its future.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from engine import expressions, tables
from engine.fitted import NOTHING, Fitted
from engine.profile import describe, features_at
from engine.settings import Job
from engine.settings.base import seconds
from engine.settings.scores import ModelScores
from kernels import backend

KEYS = ["subscriber", "offer", "channel"]
ROW = ["subscriber", "time", "offer", "channel"]  # canonical order of training rows
EVERYTHING = 2.0  # a limit above every draw
SHARES = ("train", "calibrate", "test")  # by time
NEVER = np.iinfo(np.int64).max  # s, an instant after all others


def settings(job: Job) -> ModelScores:
    """Return the model's settings of a job whose scores are a model."""
    assert isinstance(job.scores, ModelScores)
    return job.scores


def model_columns(job: Job, schema: Mapping[str, Any]) -> list[str]:
    """Return the columns the model sees.

    Those listed, or else every numeric feature that is known as of a past contact. Not known is
    what depends on a subscriber column as the table has it now: it may tell what followed.

    Args:
        job: a job whose scores are a model.
        schema: kind by column, subscriber columns and features.
    """
    return settings(job).features or _numeric(job, schema, snapshot=False)


def left_out(job: Job, schema: Mapping[str, Any]) -> list[str]:
    """Return the numeric features that :func:`model_columns` leaves out."""
    return [] if settings(job).features else _numeric(job, schema, snapshot=True)


def snapshots(job: Job, columns: Iterable[str]) -> list[str]:
    """Return those of the columns that are not known as of a past contact, in order."""
    past = {column["name"] for column in describe(job) if not column["snapshot"]}
    return [name for name in columns if name not in past]


def stratified(job: Job) -> list[str]:
    """Return the columns by which estimates of fatigue compare like with like."""
    named = [name for f in job.fatigue if f.estimate is not None for name in f.estimate.strata]
    return [name for name in dict.fromkeys(named) if name not in ROW]


def _numeric(job: Job, schema: Mapping[str, Any], *, snapshot: bool) -> list[str]:
    return [
        column["name"]
        for column in describe(job)
        if column["snapshot"] == snapshot and schema.get(column["name"]) == "number"
    ]


def usable(job: Job, contacts: Any) -> Any:
    """Return the contacts whose outcome window ends by the as-of instant, in canonical order."""
    latest = int(job.as_of.timestamp()) - seconds(settings(job).horizon)
    kept = contacts.loc[contacts["time"] <= latest, ROW]
    return kept.sort_values(ROW).reset_index(drop=True)


def accepted(contacts: Any, outcomes: Any, horizon_s: int) -> Any:
    """Say which contacts were accepted.

    Args:
        contacts: frame with subscriber, time, offer, channel.
        outcomes: frame with the same columns, in any order.
        horizon_s: length of the outcome window, seconds.

    Returns:
        [contacts] bool: an outcome of the same subscriber, offer and channel lies in
        ``(time, time + horizon_s]``.
    """
    both = tables.concat([contacts[ROW], outcomes[ROW]])
    group = tables.array(both.groupby(KEYS, sort=False).ngroup().astype("int64"))
    time = tables.array(both["time"])
    library = backend.library(time)
    if not len(outcomes) or not len(contacts):
        return library.zeros(len(contacts), bool)
    start = int(time.min())
    span = int(time.max()) - start + horizon_s + 1  # no window reaches into the next group
    place = group * span + (time - start)
    at, known = place[: len(contacts)], library.sort(place[len(contacts) :])
    after = library.searchsorted(known, at, side="right")  # the first outcome strictly later
    found = known[library.minimum(after, len(known) - 1)]
    return (after < len(known)) & (found <= at + horizon_s)


def _accepts(job: Job, events: Mapping[str, Any]) -> Any:
    """Return the outcomes that are accepts."""
    assert job.inputs.outcomes is not None
    outcomes, condition = events["outcomes"], job.inputs.outcomes.accepted
    if condition is None:
        return outcomes
    return outcomes[expressions.parse(condition, "inputs.outcomes.accepted").mask(outcomes)]


def split(job: Job, time: Any) -> tuple[Any, Any]:
    """Split contacts by time into the shares that train, calibrate and test.

    A share begins at an instant, with all contacts of that instant.

    Args:
        job: a job whose scores are a model.
        time: [n] int64 s, instants of the contacts, in any order.

    Returns:
        share: [n] int, position in ``SHARES``.
        purged: [n] bool, the outcome window ends after the next share begins, so that the contact
            would tell its own share what happened in the next.
    """
    wanted, ordered = settings(job), np.sort(time)
    shares = (wanted.train_share, wanted.train_share + wanted.calibrate_share)
    begins = [ordered[int(len(time) * s)] if len(time) else NEVER for s in shares]
    share = np.searchsorted(begins, time, side="right")
    ends = np.array([*begins, NEVER])[share]
    return share, time + seconds(wanted.horizon) > ends


def draws(job: Job, contacts: Any) -> Any:
    """Return a number in [0, 1) per contact, from its subscriber and time alone."""
    return tables.unit_hash(contacts["subscriber"], job.seed, contacts["time"])


def sample_limit(job: Job, drawn: Iterable[Any]) -> float:
    """Return the limit below which ``max_contacts`` draws lie, or fewer where draws are equal."""
    most = settings(job).max_contacts
    merged = np.concatenate([np.empty(0), *drawn])
    return float(np.partition(merged, most)[most]) if len(merged) > most else EVERYTHING


def smallest_draws(job: Job, contacts: Any) -> tuple[Any, int, int]:
    """Return what a partition adds to the sample's limit.

    Returns:
        draws: [n] float64, the smallest draws of the usable contacts, enough for the limit.
        usable: number of usable contacts.
        too_late: number of contacts without a full outcome window.
    """
    kept, most = usable(job, contacts), settings(job).max_contacts
    drawn = backend.to_cpu(draws(job, kept))
    enough = np.partition(drawn, most)[: most + 1] if len(drawn) > most + 1 else drawn
    return enough, len(kept), len(contacts) - len(kept)


def training_rows(
    job: Job,
    subscribers: Any,
    events: Mapping[str, Any],
    fitted: Fitted = NOTHING,
    *,
    limit: float = EVERYTHING,
) -> Any:
    """Return the training rows of a partition.

    Args:
        job: a job whose scores are a model.
        subscribers: subscriber columns of the partition, sorted by subscriber.
        events: event tables of the partition by name, ``contacts`` and ``outcomes`` included.
        fitted: the parameters that features of the job take.
        limit: only contacts that draw less, see :func:`sample_limit`.

    Returns:
        Frame in canonical order: subscriber, time, offer, channel, ``accepted`` (bool), the
        subscriber columns that the model or strata name, then every feature column, as of ``time``.
    """
    contacts = usable(job, events["contacts"])
    drawn = draws(job, contacts)
    label = accepted(contacts, _accepts(job, events), seconds(settings(job).horizon))
    kept = contacts[drawn < limit].reset_index(drop=True)
    features = features_at(job, subscribers, dict(events), kept[["subscriber", "time"]], fitted)
    rows = {name: kept[name] for name in ROW} | {"accepted": label[drawn < limit]}
    wanted = [*settings(job).features, *stratified(job)]
    fixed = [name for name in dict.fromkeys(wanted) if name not in features.columns]
    at = subscribers["subscriber"].searchsorted(kept["subscriber"])
    for name in fixed:  # a subscriber column: a snapshot, the same at every instant
        rows[name] = subscribers[name].take(at).reset_index(drop=True)
    rows |= {name: features[name].reset_index(drop=True) for name in features.columns}
    return tables.frame(rows, kept)
