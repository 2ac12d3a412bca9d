"""Every problem of a job and its inputs at once, with nothing run.

Only schemas are read, and CSV files of the subscriber table for the types of their columns. What a
synthetic or packaged source has not written yet is written small, to a temporary folder.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pyarrow as pa

from engine import expressions, limit_problems, profile, score, tables
from engine.actions import actions, actions_of
from engine.errors import ConfigError, DataError, EngineError
from engine.levels import Stage, stages
from engine.settings import Job
from engine.settings.inputs import SyntheticSource
from jobs import sources
from jobs.borders import inspect
from jobs.ledger.snapshot import outlined
from jobs.tasks import SerialTasks

SAMPLE_SUBSCRIBERS, SAMPLE_DAYS = 50, 10


@dataclass(frozen=True)
class Check:
    """What a check found: problems, a line each, and what the job is."""

    problems: list[str]
    facts: dict[str, str]


def check(job: Job) -> Check:
    """Check a job against its inputs.

    Args:
        job: the job, its settings valid by themselves.

    Returns:
        Every problem, and what the job is.
    """
    problems = limit_problems.problems(job)
    with _inputs_of(job, problems) as sampled:
        schema = None if sampled is None else _subscribers(sampled, problems)
        if sampled is not None:  # people know the folder that the job names
            at, named = str(sampled.inputs.folder), str(job.inputs.folder)
            problems = [problem.replace(at, named) for problem in problems]
    if schema is not None:
        problems += profile.problems(job, schema)
        features = _kinds(job, schema)
        if features is not None:
            problems += score.problems(job, features)
            problems += _catalogue_problems(job, features)
    return Check(list(dict.fromkeys(problems)), _facts(job, schema))


def subscriber_kinds(job: Job) -> dict[str, tables.Kind]:
    """Return the kind of each column of the subscriber table; no other table needs to be there.

    Raises:
        ConfigError: the inputs' folder cannot be filled, or holds something else.
        DataError: every problem of the subscriber table.
    """
    problems: list[str] = []
    with _inputs_of(job, problems) as sampled:
        if sampled is None:
            raise ConfigError.of(problems)
        return _subscribers_alone(sampled)


@contextmanager
def _inputs_of(job: Job, problems: list[str]) -> Iterator[Job | None]:
    """Give the job with a folder that holds its tables, or None when there can be none."""
    source, folder = job.inputs.source, job.inputs.folder
    filled = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if source.kind == "files" or filled:
        yield job if _prepared(job, problems) else None
        return
    with TemporaryDirectory() as temporary:
        if isinstance(source, SyntheticSource):
            small = {
                "subscribers": min(source.subscribers, SAMPLE_SUBSCRIBERS),
                "days": min(source.days, SAMPLE_DAYS),
            }
            source = source.model_copy(update=small)
        inputs = {"folder": Path(temporary) / "inputs", "source": source}
        sample = job.model_copy(update={"inputs": job.inputs.model_copy(update=inputs)})
        yield sample if _prepared(sample, problems) else None


def _prepared(job: Job, problems: list[str]) -> bool:
    try:
        sources.prepare(job, SerialTasks())
    except EngineError as error:
        problems += str(error).splitlines()
        return False
    return True


def _subscribers(job: Job, problems: list[str]) -> dict[str, tables.Kind] | None:
    """Check every input file; return the kinds of the subscriber columns if they are known."""
    try:
        with outlined(job) as own:
            return _column_kinds(inspect(own).columns)
    except DataError as error:
        problems += str(error).splitlines()
    # Another table or list is wrong perhaps, and this one is not: then the rest is checked.
    try:
        return _subscribers_alone(job)
    except DataError:
        return None


def _subscribers_alone(job: Job) -> dict[str, tables.Kind]:
    """Return the kinds of the subscriber columns, whatever the other tables and the lists are.

    Raises:
        DataError: every problem of the subscriber table.
    """
    nothing: dict[str, Any] = {"events": {}, "contacts": None, "outcomes": None, "lists": {}}
    alone = job.model_copy(update={"inputs": job.inputs.model_copy(update=nothing)})
    return {**_column_kinds(inspect(alone).columns), **dict.fromkeys(job.inputs.lists, "boolean")}


def _column_kinds(schema: pa.Schema) -> dict[str, tables.Kind]:
    """Return the kind of each column, as a table without rows would be read."""
    decimal = pa.types.is_decimal
    fields = [
        pa.field(field.name, pa.float64() if decimal(field.type) else field.type)
        for field in schema
        if not pa.types.is_nested(field.type)
    ]
    frame = (
        pa.schema(fields)
        .empty_table()
        .to_pandas(types_mapper={pa.bool_(): pd.BooleanDtype()}.get, date_as_object=False)
    )
    return tables.schema(frame)


def _kinds(job: Job, schema: Mapping[str, tables.Kind]) -> Mapping[str, tables.Kind] | None:
    """Return the kinds of subscriber and feature columns; None when a feature is wrong."""
    try:
        return profile.kinds(job, schema)
    except ConfigError:  # listed by profile.problems
        return None


def _catalogue_problems(job: Job, schema: Mapping[str, tables.Kind]) -> list[str]:
    """Check the expressions and columns of catalogue and constraints."""
    catalogue = job.catalogue
    conditions = {
        f"catalogue.offers.{name}.eligible": offer.eligible
        for name, offer in catalogue.offers.items()
    }
    for policy in job.policies:
        conditions[f"policies.{policy.name}.suppress"] = policy.suppress
    for constraint in job.constraints:
        place = f"constraints.{constraint.name}"
        conditions[f"{place}.where"] = constraint.where
        if constraint.ratio is not None:
            conditions[f"{place}.ratio.of.where"] = constraint.ratio.of.where
            conditions[f"{place}.ratio.to.where"] = constraint.ratio.to.where
    problems: list[str] = []
    for where, sql in conditions.items():
        problems += _expression_problems(sql, where, "boolean", schema)
    numbers: dict[str, str | None] = {
        f"fatigue.{i}.of": fatigue.of for i, fatigue in enumerate(job.fatigue)
    }
    for name, offer in catalogue.offers.items():
        numbers[f"catalogue.offers.{name}.until"] = offer.until
    for where, sql in {**numbers, "catalogue.weight": catalogue.weight}.items():
        problems += _expression_problems(sql, where, "number", schema)
    for name, channel in catalogue.channels.items():
        one = None if isinstance(channel.consent, dict) else channel.consent
        asked = {"consent": one, "device": channel.device}
        asked |= {f"consent.{purpose}": column for purpose, column in channel.consents.items()}
        for setting, column in asked.items():
            if column is not None:
                where = f"catalogue.channels.{name}.{setting}"
                problems += _boolean_problems(column, where, schema)
    return problems + _time_zone_problems(job, schema)


def _time_zone_problems(job: Job, schema: Mapping[str, tables.Kind]) -> list[str]:
    """Check the column of time zones."""
    column = job.inputs.subscribers.time_zone
    if column is None or schema.get(column) == "text":
        return []
    texts = ", ".join(sorted(name for name, kind in schema.items() if kind == "text")) or "none"
    got = f"{column}, a {schema[column]}" if column in schema else f"{column}, which is not there"
    where = "inputs.subscribers.time_zone"
    return [f"{where}: should be a text column, got {got}; the text columns are {texts}"]


def _expression_problems(
    sql: str | None, where: str, expected: str, schema: Mapping[str, tables.Kind]
) -> list[str]:
    if sql is None:
        return []
    try:
        kind = expressions.parse(sql, where).check(schema)
    except ConfigError as error:
        return str(error).splitlines()
    if kind == expected:
        return []
    return [f"{where}: should be a {expected} expression, got a {kind}: {sql}"]


def _boolean_problems(column: str, where: str, schema: Mapping[str, tables.Kind]) -> list[str]:
    booleans = ", ".join(sorted(name for name, kind in schema.items() if kind == "boolean"))
    allowed = f"the boolean columns are {booleans or 'none'}"
    if column not in schema:
        return [f"{where}: there is no such column, got {column}; {allowed}"]
    if schema[column] != "boolean":
        return [f"{where}: should be a boolean column, got {column}, a {schema[column]}; {allowed}"]
    return []


def _pursued(stage: Stage) -> str:
    """Say what a stage pursues."""
    if stage.meet:
        return f"meets {', '.join(stage.meet)}"
    return f"the {'most' if stage.aim.sign > 0 else 'least'} {stage.aim.measure}"


def _actions(job: Job) -> str:
    """Say how many actions there are; of one day they are the pairs of offer and channel."""
    pairs, days = len(actions(job.catalogue)), job.horizon.days
    return str(pairs) if days == 1 else f"{len(actions_of(job))} ({pairs} on each of {days} days)"


def _facts(job: Job, schema: Mapping[str, tables.Kind] | None) -> dict[str, str]:
    """Say what the job is."""
    catalogue = job.catalogue

    def listed(names: Mapping[str, object] | list[str]) -> str:
        return f"{len(names)} ({', '.join(names)})" if names else "0"

    capacities = sum(channel.capacity is not None for channel in catalogue.channels.values())
    quotas = sum(offer.quota is not None for offer in catalogue.offers.values())
    minimums = sum(offer.minimum is not None for offer in catalogue.offers.values())
    constraints = len(job.constraints) + capacities + quotas + minimums
    columns = profile.columns(job) if schema is not None else []
    return {
        "job": f"{job.name}, as of {job.as_of:%Y-%m-%d %H:%M} UTC",
        "inputs": f"{job.inputs.folder} ({job.inputs.source.kind})",
        "subscriber columns": str(len(schema or {})),
        "event tables": listed(job.inputs.tables()),
        "features": f"{len(job.features)} in {len(columns)} columns",
        "scores": job.scores.kind,
        "offers": listed(catalogue.offers),
        "channels": listed(catalogue.channels),
        "actions": _actions(job),
        "policies": listed([policy.name for policy in job.policies]),
        "constraints": f"{constraints} ({len(job.constraints)} stated, "
        f"{capacities} capacities, {quotas} quotas, {minimums} minimums)",
        **({"fatigue": listed([fatigue.of for fatigue in job.fatigue])} if job.fatigue else {}),
        "pursues": "; then ".join(_pursued(stage) for stage in stages(job)),
        "hold-out": f"{job.holdout_share:.1%}",
        "cluster": job.cluster.kind,
    }
