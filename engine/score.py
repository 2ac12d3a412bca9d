"""Propensities that the user brings: as columns, or as formulas over features.

    p[s, a] = entry of the action, or entry of its offer times the factor of its channel

An action's own entry goes first and takes no factor. Propensities from a model are in
``engine/model.py``.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from engine import expressions, fatigue_estimates, model, tables
from engine.actions import Action, actions
from engine.errors import ConfigError, DataError
from engine.settings import Job
from engine.settings.scores import ColumnScores, FormulaScores, ModelScores
from kernels import backend

SUM_UNIT = 2.0**32  # sums are in 64-bit fixed point: the same bits for any partitioning


@dataclass(frozen=True)
class Fault:
    """Rows of one action whose propensity is not a number from 0 to 1."""

    action: str
    source: str
    rows: int
    subscriber: Any  # the first in key order
    value: float


@dataclass(frozen=True)
class _Source:
    """Where the propensity of one action comes from."""

    action: Action
    place: str  # the setting
    text: str  # its column or formula
    factor: str | None = None  # formula of the channel's factor

    @property
    def label(self) -> str:
        times = f" times scores.channel_factors.{self.action.channel}: {self.factor}"
        return f"{self.place}: {self.text}{times if self.factor is not None else ''}"


def problems(job: Job, schema: Mapping[str, Any]) -> list[str]:
    """Check the scores of a job against the columns that exist.

    Args:
        job: the job.
        schema: kind by column, subscriber columns and features.

    Returns:
        Every problem, a line each; empty when there is none.
    """
    scores = job.scores
    if isinstance(scores, ModelScores):
        return model.problems(job, schema) + fatigue_estimates.problems(job, schema)
    found = _entry_problems(job)
    if isinstance(scores, ColumnScores):
        for name, column in scores.columns.items():
            found += _column_problems(f"scores.columns.{name}", column, schema)
        return found
    formulas = {f"scores.formulas.{name}": sql for name, sql in scores.formulas.items()}
    formulas |= {f"scores.channel_factors.{c}": sql for c, sql in scores.channel_factors.items()}
    for place, sql in formulas.items():
        try:
            kind = expressions.parse(sql, place).check(schema)
        except ConfigError as error:
            found += str(error).splitlines()
            continue
        if kind != "number":
            found.append(f"{place}: should be a number, got a {kind}: {sql}")
    return found


def _column_problems(place: str, column: str, schema: Mapping[str, Any]) -> list[str]:
    if column not in schema:
        close = get_close_matches(column, schema, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        return [f"{place}: unknown column {column}; {hint}there are {', '.join(sorted(schema))}"]
    if schema[column] != "number":
        return [f"{place}: should be a numeric column, got {column}, which is {schema[column]}"]
    return []


def _entry_problems(job: Job) -> list[str]:
    """Say which entries name nothing in the catalogue, and which actions have no entry."""
    entries, setting = _entries(job)
    offers, channels = job.catalogue.offers, job.catalogue.channels
    every = actions(job.catalogue)
    names = {a.name for a in every}
    found = []
    for name in entries:
        if name not in offers and name not in names:
            found.append(
                f"{setting}.{name}: is neither an offer nor an action (offer@channel) of the "
                f"catalogue; the offers are {', '.join(offers)}"
            )
    for offer in offers:
        missing = [a.name for a in every if a.offer == offer and a.name not in entries]
        if offer not in entries and missing:
            found.append(
                f"{setting}: no propensity for {', '.join(missing)}; "
                f"add an entry {offer} or one for each of them"
            )
    if isinstance(job.scores, FormulaScores):
        for channel in job.scores.channel_factors:
            if channel not in channels:
                found.append(
                    f"scores.channel_factors.{channel}: unknown channel; "
                    f"the channels are {', '.join(channels)}"
                )
    return found


def _entries(job: Job) -> tuple[dict[str, str], str]:
    if isinstance(job.scores, ColumnScores):
        return job.scores.columns, "scores.columns"
    assert isinstance(job.scores, FormulaScores)
    return job.scores.formulas, "scores.formulas"


def _sources(job: Job) -> list[_Source]:
    """Return the source of each action, in action order."""
    entries, setting = _entries(job)
    factors = job.scores.channel_factors if isinstance(job.scores, FormulaScores) else {}
    found = []
    for action in actions(job.catalogue):
        if action.name in entries:
            found.append(_Source(action, f"{setting}.{action.name}", entries[action.name]))
        else:
            factor = factors.get(action.channel)
            place = f"{setting}.{action.offer}"
            found.append(_Source(action, place, entries[action.offer], factor))
    return found


def score_partition(job: Job, features: Any) -> tuple[Any, list[Fault]]:
    """Compute the propensity of every action for the subscribers of a partition.

    Args:
        job: a job whose scores are columns or formulas, without problems.
        features: subscriber columns and features, sorted by subscriber (pandas or cuDF).

    Returns:
        propensity: frame with ``subscriber`` and, per action, a float32 column of its name.
        faults: the actions with values that are not in [0, 1]; the frame is of use only when
            there are none.
    """
    columns, faults = {"subscriber": features["subscriber"]}, []
    for source, values in _values(job, features):
        bad = ~((values >= 0) & (values <= 1))  # a missing value is bad too
        rows = int(bad.sum())
        if rows:
            first = int(bad.argmax())
            key = features["subscriber"].iloc[first]
            key = key.item() if hasattr(key, "item") else key
            faults.append(Fault(source.action.name, source.label, rows, key, float(values[first])))
        columns[source.action.name] = values.astype("float32")
    return tables.frame(columns, features), faults


def _values(job: Job, features: Any) -> Iterator[tuple[_Source, Any]]:
    """Yield each action's float64 propensities; each formula is evaluated once."""
    known: dict[str, Any] = {}

    def evaluated(place: str, sql: str) -> Any:
        if sql not in known:
            series = expressions.parse(sql, place).evaluate(features)
            known[sql] = tables.array(series.astype("float64"))
        return known[sql]

    for source in _sources(job):
        if isinstance(job.scores, ColumnScores):
            yield source, tables.array(features[source.text].astype("float64"))
        elif source.factor is None:
            yield source, evaluated(source.place, source.text)
        else:
            place = f"scores.channel_factors.{source.action.channel}"
            factor = evaluated(place, source.factor)
            yield source, evaluated(source.place, source.text) * factor


def refuse(faults: Iterable[Fault]) -> None:
    """Raise one error for the faults of all partitions together.

    Raises:
        DataError: a line per action: its formula or column, the number of bad rows, the first
            subscriber in key order and its value.
    """
    by_action: dict[str, list[Fault]] = {}
    for fault in faults:
        by_action.setdefault(fault.action, []).append(fault)
    lines = []
    for action, some in by_action.items():
        first = min(some, key=lambda fault: fault.subscriber)
        value = "no value" if np.isnan(first.value) else f"{first.value:.9g}"
        rows = sum(fault.rows for fault in some)
        lines.append(
            f"{first.source}: propensity of {action} is wrong for {rows} "
            f"subscriber{'s' if rows > 1 else ''}, got {value} for subscriber "
            f"{first.subscriber}; every propensity must be a number from 0 to 1"
        )
    if lines:
        raise DataError.of(lines)


def fixed_sum(values: Any) -> int:
    """Sum numbers in [0, 1] in 64-bit fixed point, so that the order does not matter."""
    library = backend.library(values)
    return int(library.rint(values.astype("float64") * SUM_UNIT).astype("int64").sum())


def mean(fixed: int, rows: int) -> float:
    """Return the mean that a :func:`fixed_sum` over ``rows`` values stands for; 0 for none."""
    return fixed / SUM_UNIT / rows if rows else 0.0
