"""Estimates of a job's fatigue from the rows that train its model.

A row is a past contact with its features as of its own instant. Its state is the item's expression
of these, its stratum the item's columns together, its success whether it was accepted. Contacts by
channels of the catalogue count, where the state is not null.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from engine import expressions, tables
from engine.errors import ConfigError, DataError
from engine.fatigue_fit import Curve, fit, item
from engine.profile import describe
from engine.settings import Job
from engine.settings.fatigue import Fatigue
from engine.training import snapshots, stratified
from kernels import backend

OFFER = "offer"  # a stratum that every contact has
NOT_KNOWN = "is not known as of a past contact; take features that use no subscriber column"
KINDS = ("text", "number", "boolean")  # of columns that tell strata


def _asked(job: Job) -> Iterator[tuple[str, Fatigue]]:
    """Yield the items to estimate, with the places of their settings."""
    for i, state in enumerate(job.fatigue):
        if state.estimate is not None:
            yield f"fatigue.{i}", state


def problems(job: Job, schema: Mapping[str, Any]) -> list[str]:
    """Return every problem of estimates, given the kind of each column."""
    found = []
    for place, state in _asked(job):
        assert state.estimate is not None
        found += _state_problems(job, state.of, f"{place}.of", schema)
        strata, names = f"{place}.estimate.strata", state.estimate.strata
        known = sorted(name for name, kind in schema.items() if kind in KINDS)
        made = {column["name"] for column in describe(job)}
        for i, name in enumerate(names):
            if name != OFFER and name not in known:
                found.append(
                    f"{strata}.{i}: unknown column {name}; there are {', '.join([OFFER, *known])}"
                )
            elif names.index(name) < i:
                found.append(f"{strata}.{i}: {name} is named twice")
            elif name in made and snapshots(job, [name]):
                found.append(f"{strata}.{i}: {name} {NOT_KNOWN}")
    return found


def _state_problems(job: Job, sql: str, where: str, schema: Mapping[str, Any]) -> list[str]:
    try:
        state = expressions.parse(sql, where)
        kind = state.check(schema)
    except ConfigError as error:
        return str(error).splitlines()
    if kind != "number":
        return [f"{where}: should be a number expression, got a {kind}: {sql}"]
    return [f"{where}: {name} {NOT_KNOWN}" for name in snapshots(job, sorted(state.columns))]


def columns(job: Job) -> list[str]:
    """Return the columns of training rows that estimates need, beside those that all have."""
    named = [
        name
        for place, state in _asked(job)
        for name in sorted(expressions.parse(state.of, f"{place}.of").columns)
    ]
    return list(dict.fromkeys([*named, *stratified(job)]))


def estimates(job: Job, rows: Any) -> list[dict[str, Any]]:
    """Estimate the items that ask for it, in their order.

    Args:
        job: a job whose scores are a model, without problems.
        rows: training rows of all partitions, with :func:`columns`, in any order.

    Returns:
        Of each item: ``of``, ``borders``, ``contacts`` that count, those ``without_state``, and
        ``channels``: of each its contacts, accepts, slope with its 95 % interval, and the cost at
        each level.

    Raises:
        DataError: states that are no numbers >= 0, or too few outcomes tell of a slope; all items.
    """
    found, wrong = [], []
    for place, state in _asked(job):
        try:
            found.append(_estimated(job, rows, place, state))
        except DataError as error:
            wrong += [f"{place}.estimate: {line}" for line in str(error).splitlines()]
    if wrong:
        raise DataError.of(wrong)
    return found


def _estimated(job: Job, rows: Any, place: str, state: Fatigue) -> dict[str, Any]:
    wanted = state.estimate
    assert wanted is not None
    level = expressions.parse(state.of, f"{place}.of").evaluate(rows).astype("float64")
    at = backend.to_cpu(tables.array(level))
    channel = np.array(tables.texts(rows["channel"].astype("str").fillna("")), dtype=str)
    ours, known = np.isin(channel, list(job.catalogue.channels)), ~np.isnan(at)
    kept = ours & known
    accepted = backend.to_cpu(tables.array(rows["accepted"]))
    stratum = _strata(rows, wanted.strata)
    curves = fit(at[kept], accepted[kept], channel[kept], stratum[kept])
    made = item(
        curves, state.of, state.borders,
        value=wanted.value, chance=wanted.chance, recovery=wanted.recovery,
    )  # fmt: skip
    return {
        "of": state.of,
        "borders": state.borders,
        "contacts": int(kept.sum()),
        "without_state": int((ours & ~known).sum()),
        "channels": [_told(name, curve, made["channels"][name]) for name, curve in curves.items()],
    }


def _told(name: str, curve: Curve, cost: list[float]) -> dict[str, Any]:
    low, high = curve.interval
    return {
        "channel": name,
        "contacts": curve.contacts,
        "accepted": curve.successes,
        "slope": curve.slope,
        "low": low,
        "high": high,
        "cost": cost,
    }


def _strata(rows: Any, names: list[str]) -> Any:
    """Return [n] the stratum of each row, numbered in the order of their values, null the last."""
    if not names:
        return np.zeros(len(rows), np.int64)
    kinds = tables.schema(rows[names])
    by = {
        str(i): rows[name].astype("str") if kinds.get(name) == "text" else rows[name]
        for i, name in enumerate(names)
    }
    groups = tables.frame(by, rows).groupby(list(by), sort=True, dropna=False).ngroup()
    return backend.to_cpu(tables.array(groups.astype("int64")))
