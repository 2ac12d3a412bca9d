"""Features of subscribers: all of a partition as of the job's instant, or rows at their own.

A row is a subscriber at an instant t. Its events are those at or before t (as of the job), or
strictly before t (a past contact, which must not see itself or its future).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from engine import expressions, feature_groups, feature_passes, feature_plan, tables
from engine.errors import DataError
from engine.feature_passes import Rows
from engine.feature_problems import problems
from engine.features import columns_of, names_of
from engine.fitted import NOTHING, Fitted, Summaries, fit, summaries
from engine.quantities import DAY_S, Column, Snapshot
from engine.settings import Job
from engine.settings.features import ExpressionFeature, LifecycleFeature
from engine.tables import Kind, Schema
from kernels import backend

__all__ = [
    "columns", "describe", "event_columns", "features_at", "fit", "fit_columns", "groups", "kinds",
    "passes", "problems", "profile_columns", "profile_partition", "subscriber_columns",
    "summarise_partition",
]  # fmt: skip

MOST_KNOWN = 16  # jobs whose plans are kept


def columns(job: Job) -> list[str]:
    """Return the name of every feature column of a job, in order; features may have problems."""
    return [name for feature in job.features for name in names_of(feature, job)]


def kinds(job: Job, schema: Schema) -> dict[str, Kind]:
    """Return the kind of every subscriber and feature column.

    Args:
        job: the job; problems of features other than expressions do not matter here.
        schema: kind by column of the subscriber table.

    Raises:
        ConfigError: an expression has problems.
    """
    known: dict[str, Kind] = dict(schema)
    for feature in job.features:
        kind: Kind = "text" if isinstance(feature, LifecycleFeature) else "number"
        if isinstance(feature, ExpressionFeature):
            kind = expressions.parse(feature.sql, f"feature {feature.name}").check(known)
        known.update(dict.fromkeys(names_of(feature, job), kind))
    return known


def describe(job: Job) -> list[dict[str, Any]]:
    """Describe every feature column: name, formula, unit and source, in order.

    ``snapshot`` says that the column uses a subscriber column as the table has it now, also when
    a feature is asked for as of an earlier instant (start dates do not count as such), or
    parameters fitted to the whole base as of the job's instant.
    """
    rows: list[dict[str, Any]] = []
    snapshots: dict[str, bool] = {}
    for column in _columns(job):
        source, snapshot = column.source, column.snapshot
        if column.sql is not None:
            used = sorted(_expression(column).columns)
            source = ", ".join(used)
            snapshot = any(snapshots.get(name, True) for name in used)
        snapshots[column.name] = snapshot
        rows.append(
            {
                "name": column.name,
                "feature": column.feature,
                "formula": column.formula,
                "unit": column.unit,
                "source": source,
                "snapshot": snapshot,
            }
        )
    return rows


def passes(job: Job) -> dict[str, int]:
    """Return how many tables a partition reads, in how many passes, for how many quantities."""
    return feature_plan.counted(_plan(job).passes)


def groups(job: Job) -> list[dict[str, Any]]:
    """Tell of every pass over a partition what it reads, and which columns it gives."""
    return feature_groups.grouped(_columns(job))


def event_columns(job: Job) -> dict[str, list[str]]:
    """Return the columns of each event table that the features need, key and time first."""
    return feature_plan.needed(_plan(job).passes)


def fit_columns(job: Job) -> dict[str, list[str]]:
    """Return the columns of each event table that parameters need; empty without parameters."""
    return feature_plan.needed(_plan(job).fit_passes)


def subscriber_columns(job: Job, present: Iterable[str]) -> list[str]:
    """Return the columns, of those present in the subscriber table, that features need."""
    needed = set()
    for column in _columns(job):
        needed |= {i.column for i in column.inputs if isinstance(i, Snapshot)}
        if column.sql is not None:
            needed |= _expression(column).columns
    return [name for name in present if name in needed]


def summarise_partition(job: Job, subscribers: Any, events: Mapping[str, Any]) -> Summaries:
    """Summarise a partition for the features that take parameters of the whole base.

    Args:
        job: a job whose features have no problems.
        subscribers: the column ``subscriber``, sorted (pandas or cuDF).
        events: event tables by name, with the columns of :func:`fit_columns`, else as for
            :func:`profile_partition`.
    """
    plan, keys = _plan(job), subscribers["subscriber"].reset_index(drop=True)
    found = feature_passes.quantities(plan.fit_passes, events, keys, _as_of(job, subscribers))
    return summaries(job, keys, plan.fitted, found)


def profile_columns(
    job: Job, subscribers: Any, events: Mapping[str, Any], fitted: Fitted = NOTHING
) -> dict[str, Any]:
    """Compute the features of a partition as of the job's instant.

    Args:
        job: a job whose features have no problems.
        subscribers: subscriber columns, sorted by ``subscriber`` (pandas or cuDF).
        events: event tables by name, each sorted by subscriber and time, with int64 ``time``.
        fitted: the parameters that features of the job take.

    Returns:
        ``subscriber``, the subscriber columns, then the feature columns, by name: series with a
        plain index, or arrays.
    """
    subscribers = subscribers.reset_index(drop=True)
    features = _features(job, subscribers, events, _as_of(job, subscribers), fitted)
    return {name: subscribers[name] for name in subscribers.columns} | features


def profile_partition(
    job: Job, subscribers: Any, events: Mapping[str, Any], fitted: Fitted = NOTHING
) -> Any:
    """Return what :func:`profile_columns` computes as a DataFrame."""
    return tables.frame(profile_columns(job, subscribers, events, fitted), subscribers)


def features_at(
    job: Job, subscribers: Any, events: Mapping[str, Any], rows: Any, fitted: Fitted = NOTHING
) -> Any:
    """Compute the features of rows, each as of its own instant and from earlier events only.

    Parameters of the whole base are those of the job's instant, so the columns that take them know
    more than their rows: :func:`describe` calls them snapshots.

    Args:
        job: a job whose features have no problems.
        subscribers: subscriber columns, sorted by ``subscriber`` (pandas or cuDF).
        events: event tables by name, each sorted by subscriber and time, with int64 ``time``.
        rows: columns ``subscriber`` and ``time`` (int64 s), in any order.
        fitted: the parameters that features of the job take.

    Returns:
        DataFrame of the feature columns, a row for each of ``rows``, in their order.

    Raises:
        DataError: a row names an unknown subscriber.
    """
    subscribers = subscribers.reset_index(drop=True)
    keys, wanted = subscribers["subscriber"], rows["subscriber"].reset_index(drop=True)
    position = feature_passes.searched(keys, wanted, "left")
    unknown = position == feature_passes.searched(keys, wanted, "right")
    if unknown.any():
        first = wanted.iloc[int(unknown.argmax())]
        raise DataError(f"features: a row names an unknown subscriber, got {first}")
    at = tables.array(rows["time"]).astype("int64", copy=False)
    order = backend.library(position).argsort(position, kind="stable")
    sorted_rows = Rows(position[order], at[order], at[order] - 1)
    found = _features(job, subscribers, events, sorted_rows, fitted)
    back = backend.library(order).argsort(order)
    return tables.frame(found, subscribers).take(back).reset_index(drop=True)


@dataclass(frozen=True)
class _Plan:
    """What is the same for all partitions of a job."""

    job: Job
    columns: list[Column]
    passes: tuple[feature_plan.AnyPass, ...]
    fitted: list[Column]  # those that take parameters of the whole base
    fit_passes: tuple[feature_plan.AnyPass, ...]


_known: dict[int, _Plan] = {}  # by the identity of the job, which a plan keeps alive


def _plan(job: Job) -> _Plan:
    plan = _known.get(id(job))
    if plan is None:
        columns = [column for feature in job.features for column in columns_of(feature, job)]
        fitted = [column for column in columns if column.fitted]
        plan = _Plan(
            job, columns, feature_plan.planned(columns), fitted, feature_plan.planned(fitted)
        )
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        _known[id(job)] = plan
    return plan


def _columns(job: Job) -> list[Column]:
    return _plan(job).columns


def _as_of(job: Job, subscribers: Any) -> Rows:
    """Return a row for each subscriber, at the job's instant."""
    library = tables.array_library(subscribers)
    instant = library.asarray(int(job.as_of.timestamp()), dtype=np.int64)
    instants = library.broadcast_to(instant, (len(subscribers),))
    return Rows(None, instants, instants)


def _expression(column: Column) -> expressions.Expression:
    assert column.sql is not None
    return expressions.parse(column.sql, f"feature {column.name}")


def _features(
    job: Job, subscribers: Any, events: Mapping[str, Any], rows: Rows, fitted: Fitted
) -> dict[str, Any]:
    """Return the feature columns of the rows by name."""
    wanted, passes = _columns(job), _plan(job).passes
    found: dict[Any, Any] = {
        **feature_passes.quantities(passes, events, subscribers["subscriber"], rows)
    }
    for one in dict.fromkeys(i for c in wanted for i in c.inputs if isinstance(i, Snapshot)):
        found[one] = _snapshot(one, subscribers, rows)
    made: dict[str, Any] = {}
    for column in wanted:
        if column.sql is None:
            made[column.name] = _computed(column, found, fitted, subscribers)
        else:
            made[column.name] = _evaluated(_expression(column), subscribers, made, rows)
    return made


def _computed(column: Column, found: dict[Any, Any], fitted: Fitted, like: Any) -> Any:
    """Return a column; arrays that several columns share are added to what is found."""
    assert column.compute is not None
    if column.compute in found:
        return found[column.compute][column.part]
    parameters = [fitted.features[column.feature]] if column.fitted else []
    array = column.compute(*parameters, *(found[i] for i in column.inputs))
    if column.part is not None:
        found[column.compute] = array
        return array[column.part]
    if not column.labels:
        return array
    positions = tables.frame({column.name: array}, like)[column.name]
    return positions.map(dict(enumerate(column.labels))).astype("str")


def _evaluated(
    expression: expressions.Expression, subscribers: Any, made: Mapping[str, Any], rows: Rows
) -> Any:
    """Evaluate an expression over features made before it and subscriber columns."""
    known = {"": rows.at}  # gives the frame its length when the expression reads no column
    for name in sorted(expression.columns):
        if name in made:
            known[name] = made[name]
        else:
            known[name] = subscribers[name]
            if rows.position is not None:
                known[name] = known[name].take(rows.position).reset_index(drop=True)
    return expression.evaluate(tables.frame(known, subscribers))


def _snapshot(snapshot: Snapshot, subscribers: Any, rows: Rows) -> Any:
    """Return a subscriber column of the rows as float64: its number, or days since its instant."""
    series = subscribers[snapshot.column]
    if not snapshot.days_since:
        return rows.of(tables.array(series)).astype("float64", copy=False)
    if isinstance(series.dtype, pd.DatetimeTZDtype):
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    missing = rows.of(tables.array(series.isna()))
    since = rows.of(tables.array(series.astype("datetime64[s]")).astype("int64"))
    return backend.library(missing).where(missing, np.nan, (rows.at - since) / DAY_S)
