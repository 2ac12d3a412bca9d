"""The border: do the input files have the columns and types that the job names?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import pyarrow as pa

from engine.errors import DataError
from engine.ingest import FILE, KEY, ROW, TIME
from engine.settings import Job
from engine.settings.inputs import EventTable
from jobs.raw import RawFile, find, open_file

ALLOWED = {
    "key": ("whole number", "text"),
    "time": ("instant", "whole number", "text"),
    "value": ("number", "whole number"),
    "category": ("text",),
}


@dataclass(frozen=True)
class Inputs:
    """The input files of a job, with the schema in which each is read.

    Attributes:
        key: type of the subscriber key, int64 or string.
        subscribers: files of the subscriber table.
        subscriber_schema: its columns, those of every file.
        events: files of each event table.
    """

    key: pa.DataType
    subscribers: tuple[RawFile, ...]
    subscriber_schema: pa.Schema
    events: Mapping[str, tuple[RawFile, ...]]


def inspect(job: Job) -> Inputs:
    """Open every input file of a job and check its schema; rows are not read.

    Raises:
        DataError: every problem of every file.
    """
    problems: list[str] = []
    tables = job.inputs.tables()
    subscribers = _open(job, job.inputs.subscribers.path, "inputs.subscribers", problems)
    events = {
        name: _open(job, table.path, _where(job, name), problems) for name, table in tables.items()
    }
    schema = _subscriber_schema(subscribers, job.inputs.subscribers.key, problems)
    for name, table in tables.items():
        problems += _name_problems(table, _where(job, name))
        problems += _event_problems(events[name], table)
        key_field = schema.field(KEY) if KEY in schema.names else None
        problems += _key_problems(events[name], table, key_field)
    if problems:
        raise DataError.of(problems)
    return Inputs(schema.field(KEY).type, subscribers, schema, events)


def read_schema(file: RawFile, table: EventTable) -> pa.Schema:
    """Return the columns to read from a file of an event table, with their types there."""
    return pa.schema([(name, plain(file.schema.field(name).type)) for name in _roles(table)])


def plain(kind: pa.DataType) -> pa.DataType:
    """Return the type in which a column is read: dictionaries by value, all text as string."""
    if pa.types.is_dictionary(kind):
        return plain(kind.value_type)
    texts = (pa.types.is_large_string, pa.types.is_string_view)
    return pa.string() if any(is_text(kind) for is_text in texts) else kind


def kind_of(kind: pa.DataType) -> str:
    """Name the kind of a type for people; a type that no role allows is named as it is."""
    kinds = {
        "whole number": (pa.types.is_integer,),
        "number": (pa.types.is_floating, pa.types.is_decimal),
        "text": (pa.types.is_string,),
        "instant": (pa.types.is_timestamp, pa.types.is_date),
    }
    for name, tests in kinds.items():
        if any(test(plain(kind)) for test in tests):
            return name
    return str(kind)


def _where(job: Job, name: str) -> str:
    return f"inputs.events.{name}" if name in job.inputs.events else f"inputs.{name}"


def _open(job: Job, pattern: str, where: str, problems: list[str]) -> tuple[RawFile, ...]:
    folder, files = job.inputs.folder, []
    try:
        paths = find(folder, pattern, f"{where}.path")
    except DataError as error:
        problems.append(str(error))
        return ()
    for path in paths:
        try:
            files.append(open_file(path, folder, typed=where == "inputs.subscribers"))
        except DataError as error:
            problems.append(str(error))
    return tuple(files)


def _roles(table: EventTable) -> dict[str, str]:
    """Return the columns that a table needs, each with its role; the first role wins."""
    roles = chain(
        [(table.key, "key"), (table.time, "time")],
        ((name, "value") for name in table.values),
        ((name, "category") for name in table.categories),
    )
    result: dict[str, str] = {}
    for name, role in roles:
        result.setdefault(name, role)
    return result


def _name_problems(table: EventTable, where: str) -> list[str]:
    names = [KEY, TIME, *table.values, *table.categories]
    problems = [
        f"{where}: the column {name} would be there twice; "
        f"a name is used once among values and categories, and is not {KEY} or {TIME}"
        for name in sorted({n for n in names if names.count(n) > 1})
    ]
    problems += [
        f"{where}: the column name {name} is taken; rename the column"
        for name in (ROW, FILE)
        if name in names
    ]
    if table.key == table.time:
        problems.append(f"{where}: key and time are the same column, {table.key}")
    return problems


def _event_problems(files: Sequence[RawFile], table: EventTable) -> list[str]:
    problems = []
    first: dict[str, tuple[RawFile, str]] = {}
    for file in files:
        for name, role in _roles(table).items():
            if name not in file.schema.names:
                problems.append(_missing(file, name))
                continue
            found = kind_of(file.schema.field(name).type)
            if file.is_csv:
                continue  # CSV has no types; each field is parsed, or its row rejected
            if found not in ALLOWED[role]:
                problems.append(
                    f"{file.path}: column {name} ({role}) has the type "
                    f"{file.schema.field(name).type}; allowed is {' or '.join(ALLOWED[role])}"
                )
                continue
            found = "number" if role == "value" else found
            other, expected = first.setdefault(name, (file, found))
            if found != expected:
                problems.append(_differs(file, other, name, (found, expected)))
    return problems


def _key_problems(files: Sequence[RawFile], table: EventTable, key: pa.Field | None) -> list[str]:
    if key is None:
        return []
    return [
        f"{file.path}: column {table.key} (key) is {kind_of(file.schema.field(table.key).type)}, "
        f"but the key of the subscriber table is {kind_of(key.type)}; they should be the same"
        for file in files
        if not file.is_csv
        and table.key in file.schema.names
        and kind_of(file.schema.field(table.key).type) in ALLOWED["key"]
        and kind_of(file.schema.field(table.key).type) != kind_of(key.type)
    ]


def _missing(file: RawFile, name: str) -> str:
    return (
        f"{file.path}: the column {name} is missing; the columns are {', '.join(file.schema.names)}"
    )


def _differs(file: RawFile, other: RawFile, name: str, kinds: tuple[str, str]) -> str:
    return (
        f"{file.path}: column {name} is {kinds[0]}, but {kinds[1]} in {other.path}; "
        f"all files of a table should have one schema"
    )


def _subscriber_schema(files: Sequence[RawFile], key: str, problems: list[str]) -> pa.Schema:
    """Return one schema for all files, the key first as ``subscriber``; without it if unknown."""
    if not files:
        return pa.schema([])
    first, fields = files[0], {}
    for file in files:
        if key not in file.schema.names:
            problems.append(_missing(file, key))
        if differing := set(file.schema.names) ^ set(first.schema.names):
            problems.append(
                f"{file.path}: its columns differ from those of {first.path} in "
                f"{', '.join(sorted(differing))}; all files of a table should have one schema"
            )
    for name in first.schema.names:
        kind = plain(first.schema.field(name).type)
        for file in files[1:]:
            if name in file.schema.names:
                other = plain(file.schema.field(name).type)
                joined = _joined(kind, other)
                if joined is None:
                    problems.append(_differs(file, first, name, (str(other), str(kind))))
                kind = joined or kind
        fields[name] = pa.string() if pa.types.is_null(kind) else kind
    if key != KEY and KEY in fields:
        problems.append(
            f"{first.path}: has a column {KEY} beside the key {key}; "
            f"the key becomes {KEY}, so rename one of them"
        )
        del fields[KEY]
    problems += [
        f"{first.path}: the column name {name} is taken; rename the column"
        for name in (ROW, FILE)
        if name in fields
    ]
    if key not in fields:
        return pa.schema([])
    if kind_of(fields[key]) not in ALLOWED["key"]:
        problems.append(
            f"{first.path}: column {key} (key) has the type {fields[key]}; "
            f"allowed is {' or '.join(ALLOWED['key'])}"
        )
        return pa.schema([])
    key_type = pa.string() if kind_of(fields.pop(key)) == "text" else pa.int64()
    return pa.schema([(KEY, key_type), *fields.items()])


def _joined(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Return a type that holds both, or None: widths of numbers may differ, kinds may not."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    kinds = {kind_of(one), kind_of(other)}
    if kinds == {"whole number"}:
        return pa.int64()
    return pa.float64() if kinds <= {"whole number", "number"} else None
