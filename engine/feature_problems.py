"""What is wrong with the features of a job, found before any data is read."""

from collections import Counter
from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from engine import expressions
from engine.errors import ConfigError
from engine.features import names_of
from engine.quantities import DAY_S, pairs
from engine.settings import Job
from engine.settings.base import seconds
from engine.settings.features import (
    BaselineFeature,
    DecayFeature,
    EventFeature,
    ExpressionFeature,
    Feature,
    LatestFeature,
    LifecycleFeature,
    RunOutFeature,
    ScoreFeature,
    TenureFeature,
    TrendFeature,
    WindowFeature,
)
from engine.settings.group_features import GroupCountFeature, GroupRecencyFeature, ResponseFeature
from engine.settings.inputs import EventTable
from engine.settings.sequence_features import (
    BestHourFeature,
    BurstFeature,
    FatigueFeature,
    OpenCaseFeature,
    RepeatFeature,
)
from engine.settings.value_features import LifetimeFeature, RfmFeature
from engine.tables import Kind, Schema

EVENTS_ONLY, VALUE_NEEDED, EITHER = "table", "table.column", "table or table.column"
LONGEST_S = 3_650 * DAY_S  # of a lifetime value's horizon
FORMS = {"count": EVENTS_ONLY, "active_days": EVENTS_ONLY, "share": EVENTS_ONLY, "change": EITHER}


def problems(job: Job, schema: Schema) -> list[str]:
    """Check the features of a job against its tables and the subscriber columns that exist.

    Args:
        job: the job.
        schema: kind by column of the subscriber table.

    Returns:
        Every problem, a line each, ``features.<position> (<name>).<setting>: ...``; empty when
        there is none.
    """
    found = [*_twice(job, schema), *_accepted(job)]
    known: dict[str, Kind] = dict(schema)
    doubtful: set[str] = set()  # columns whose kind is unknown because their feature is wrong
    for i, feature in enumerate(job.features):
        where = f"features.{i} ({feature.name})"
        names = names_of(feature, job)
        if isinstance(feature, ExpressionFeature):
            kind, wrong = _expression(feature, where, known, doubtful)
        else:
            kind = "text" if isinstance(feature, LifecycleFeature) else "number"
            wrong = list(_wrong(feature, where, job, schema))
        found += wrong
        if kind is None:
            doubtful.update(names)
        known.update(dict.fromkeys(names, kind or "number"))
    return found


def event_schema(table: EventTable) -> dict[str, Kind]:
    """Return the kind of each column that a condition over an event table may name."""
    kinds: dict[str, Kind] = dict.fromkeys(table.categories, "text")
    return kinds | dict.fromkeys(table.values, "number")


def _twice(job: Job, schema: Schema) -> list[str]:
    names = [name for feature in job.features for name in names_of(feature, job)]
    return [
        f"features: the column {name} is made {times} times; names and windows must differ"
        for name, times in Counter(names).items()
        if times > 1
    ] + [
        f"features: the column {name} is also a subscriber column; give the feature another name"
        for name in dict.fromkeys(names)
        if name in schema or name == "subscriber"
    ]


def _accepted(job: Job) -> list[str]:
    """Check the condition of accepts over the outcomes."""
    table = job.inputs.outcomes
    if table is None or table.accepted is None:
        return []
    try:
        parsed = expressions.parse(table.accepted, "inputs.outcomes.accepted")
        parsed.check(event_schema(table), "boolean")
    except ConfigError as error:
        return str(error).splitlines()
    return []


def _expression(
    feature: ExpressionFeature, where: str, known: Mapping[str, Kind], doubtful: set[str]
) -> tuple[Kind | None, list[str]]:
    """Return the kind of an expression (None when unknown) and its problems."""
    try:
        expression = expressions.parse(feature.sql, f"{where}.sql")
        if expression.columns & doubtful:  # its own problems can only be told once those are gone
            return None, []
        return expression.check(known), []
    except ConfigError as error:
        return None, str(error).splitlines()


def _wrong(feature: Feature, where: str, job: Job, schema: Schema) -> Iterator[str]:
    match feature:
        case WindowFeature():
            yield from _of(feature.of, where, job, FORMS.get(feature.op, VALUE_NEEDED))
            if feature.op == "share" and feature.where is None:
                yield f"{where}.where: share needs a condition, got none; say which events it is of"
        case EventFeature() | LifecycleFeature():
            yield from _of(feature.of, where, job, EVENTS_ONLY)
        case BurstFeature() | RepeatFeature() | BestHourFeature():
            yield from _of(feature.of, where, job, EVENTS_ONLY)
        case DecayFeature() | ScoreFeature() | TrendFeature():
            yield from _of(feature.of, where, job, EITHER)
        case BaselineFeature():
            yield from _of(feature.of, where, job, VALUE_NEEDED)
            for window in feature.windows:
                if seconds(window) >= seconds(feature.baseline):
                    yield (
                        f"{where}.windows: should be shorter than baseline ({feature.baseline}), "
                        f"got {window}"
                    )
        case GroupCountFeature() | GroupRecencyFeature():
            yield from _of(feature.of, where, job, EVENTS_ONLY)
            yield from _groups(feature.of, feature.per, where, job)
        case FatigueFeature():
            yield from _of(feature.of, where, job, EITHER)
            yield from _groups(feature.of, feature.per, where, job)
        case OpenCaseFeature():
            yield from _of(feature.of, where, job, EVENTS_ONLY)
            for setting in ("opens", "closes"):
                yield from _condition(feature, setting, where, job)
        case LatestFeature():
            yield from _of(feature.of, where, job, VALUE_NEEDED)
        case RunOutFeature():
            yield from _of(feature.of, where, job, VALUE_NEEDED)
            yield from _subscriber(feature.balance, f"{where}.balance", "number", schema)
        case RfmFeature() | LifetimeFeature():
            yield from _of(feature.of, where, job, VALUE_NEEDED)
        case ResponseFeature():
            needed = ["contacts"] + ["outcomes"] * (feature.op == "response_rate")
            for table in needed:
                if getattr(job.inputs, table) is None:
                    yield f"{where}.op: {feature.op} needs inputs.{table}, which is not set"
    if isinstance(feature, LifetimeFeature) and seconds(feature.horizon) > LONGEST_S:
        yield f"{where}.horizon: should be at most 3650d, got {feature.horizon}"
    if isinstance(feature, ScoreFeature | FatigueFeature | LifetimeFeature):
        yield from _never_negative(feature, where, job)
    if isinstance(feature, TrendFeature):
        length, every = seconds(feature.window), seconds(feature.every)
        if every % DAY_S:
            yield f"{where}.every: should be whole days, got {feature.every}"
        elif length % every or length < 2 * every:
            yield (
                f"{where}.window: should be at least two times {feature.every} (every), and a "
                f"whole number of it, got {feature.window}"
            )
    if isinstance(feature, TenureFeature | LifecycleFeature):
        yield from _subscriber(feature.since, f"{where}.since", "instant", schema)
    if isinstance(feature, LifecycleFeature) and not (
        seconds(feature.quiet) < seconds(feature.dormant) < seconds(feature.lost)
    ):
        limits = f"{feature.quiet}, {feature.dormant}, {feature.lost}"
        yield f"{where}: should have quiet < dormant < lost, got {limits}"
    if getattr(feature, "per", None) == "both":
        for name, times in Counter(map("_".join, pairs(job))).items():
            if times > 1:
                yield (
                    f"{where}.per: {times} pairs of channel and category would both be named "
                    f"{name}; rename one"
                )
    if getattr(feature, "where", None) is not None:
        yield from _condition(feature, "where", where, job)


def _of(of: str, where: str, job: Job, form: str) -> Iterator[str]:
    """Check what ``of`` names: a table, or a table and one of its value columns."""
    tables = job.inputs.tables()
    table, _, column = of.partition(".")
    if table not in tables:
        yield f"{where}.of: unknown event table, got {of}; {_there_are(table, list(tables))}"
        return
    values = list(tables[table].values)
    if column and form == EVENTS_ONLY:
        yield f"{where}.of: takes a table without a column, got {of}; write {table}"
    elif not column and form == VALUE_NEEDED:
        yield f"{where}.of: needs a column (table.column), got {of}; {_there_are('', values)}"
    elif column and column not in values:
        yield f"{where}.of: unknown value column, got {of}; {_there_are(column, values)}"


def _there_are(name: str, names: list[str]) -> str:
    close = get_close_matches(name, names, 1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}there are {', '.join(sorted(names))}" if names else "there are none"


def _subscriber(column: str, where: str, kind: Kind, schema: Schema) -> Iterator[str]:
    if column not in schema:
        yield f"{where}: unknown subscriber column, got {column}; {_there_are(column, [*schema])}"
    elif schema[column] != kind:
        named = {"number": "a number", "instant": "a date or timestamp"}[kind]
        yield f"{where}: should be {named}, got {column}, which is {schema[column]}"


def _groups(of: str, per: str | None, where: str, job: Job) -> Iterator[str]:
    """Check that the events tell their channel or their offer, if that is asked for."""
    table = job.inputs.tables().get(of.partition(".")[0])
    needed = {"channel": ["channel"], "category": ["offer"], "both": ["channel", "offer"]}
    for column in needed.get(per or "", []):
        if table is not None and column not in table.categories:
            yield (
                f"{where}.per: {per} needs the text column {column} in {of.partition('.')[0]}; "
                f"{_there_are('', table.categories)}"
            )


def _never_negative(
    feature: ScoreFeature | FatigueFeature | LifetimeFeature, where: str, job: Job
) -> Iterator[str]:
    table, _, column = feature.of.partition(".")
    tables = job.inputs.tables()
    value = tables[table].values.get(column) if table in tables else None
    named = {"fatigue": "fatigue", "lifetime_value": "a lifetime value"}
    what = named.get(feature.op, "a score")
    if value is not None and (value.minimum is None or value.minimum < 0):
        yield (
            f"{where}.of: {what} needs values that are never negative, got {feature.of} with "
            f"minimum {value.minimum}; set the column's minimum to 0 or more"
        )


def _condition(feature: Feature, setting: str, where: str, job: Job) -> Iterator[str]:
    """Check the condition over an event table, if the table is known."""
    table = job.inputs.tables().get(getattr(feature, "of", "").partition(".")[0])
    if table is None:
        return
    sql = getattr(feature, setting)
    try:
        expressions.parse(sql, f"{where}.{setting}").check(event_schema(table), "boolean")
    except ConfigError as error:
        yield from str(error).splitlines()
