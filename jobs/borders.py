"""The border: do the input files have the columns and types that the job names?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import pyarrow as pa

from engine.errors import DataError
from engine.ingest import FILE, KEY, ROW, TIME
from engine.settings import Job
from engine.settings.inputs import EventTable, KeyList
from jobs.raw import RawFile, find, open_file, typed

ALLOWED = {
    "key": ("whole number", "text"),
    "time": ("instant", "whole number", "text"),
    "value": ("number", "whole number"),
    "category": ("text",),
    "household": ("whole number", "text"),
}


@dataclass(frozen=True)
class Inputs:
    """The input files of a job, with the schema in which each is read.

    Attributes:
        key: type of the subscriber key, int64 or string.
        subscribers: files of the subscriber table.
        subscriber_schema: its columns, those of every file.
        events: files of each event table.
        lists: files of each list of subscribers.
    """

    key: pa.DataType
    subscribers: tuple[RawFile, ...]
    subscriber_schema: pa.Schema
    events: Mapping[str, tuple[RawFile, ...]]
    lists: Mapping[str, tuple[RawFile, ...]]

    @property
    def columns(self) -> pa.Schema:
        """Return the columns of subscribers as they are ingested: those of the lists too."""
        return pa.schema([*self.subscriber_schema, *((name, pa.bool_()) for name in self.lists)])


def inspect(job: Job) -> Inputs:
    """Open every input file of a job and check its schema.

    Rows are read only of CSV files of the subscriber table, for the types of their columns.

    Raises:
        DataError: every problem of every file.
    """
    problems: list[str] = []
    tables, key = job.inputs.tables(), job.inputs.subscribers.key
    subscribers = _open(job, job.inputs.subscribers.path, "inputs.subscribers", problems)
    events = {
        name: _open(job, table.path, _where(job, name), problems) for name, table in tables.items()
    }
    lists = {
        name: _open(job, own.path, f"inputs.lists.{name}", problems)
        for name, own in job.inputs.lists.items()
    }
    csv_key = _csv_key(job, subscribers, events)
    subscribers = tuple(_keyed(file, key, csv_key, problems) for file in subscribers)
    problems += _household_problems(job, subscribers)
    schema = _subscriber_schema(_as_text(subscribers, job), key, problems)
    odd = next((f"{file.odd_key} in {file.path}" for file in subscribers if file.odd_key), "")
    for name, table in tables.items():
        problems += _name_problems(table, _where(job, name))
        problems += _event_problems(events[name], table)
        if KEY in schema.names:
            problems += _key_problems(events[name], table, schema.field(KEY).type, odd)
    for name, own in job.inputs.lists.items():
        problems += [_missing(f, own.key) for f in lists[name] if own.key not in f.schema.names]
        if KEY in schema.names:
            problems += _key_problems(lists[name], own, schema.field(KEY).type, odd)
        if name in schema.names:
            problems.append(
                f"inputs.lists.{name}: the subscriber table has a column {name} already; give the "
                "list another name"
            )
    if problems:
        raise DataError.of(problems)
    return Inputs(schema.field(KEY).type, subscribers, schema, events, lists)


def read_schema(file: RawFile, table: EventTable) -> pa.Schema:
    """Return the columns to read from a file of an event table, with their types there."""
    return pa.schema([(name, plain(file.schema.field(name).type)) for name in _roles(table)])


def subscriber_read_schema(file: RawFile, inputs: Inputs, job: Job) -> pa.Schema:
    """Return the columns to read from a file of the subscriber table, with their types there."""
    key, household = job.inputs.subscribers.key, job.inputs.subscribers.household
    found = []
    for field in inputs.subscriber_schema:
        name = key if field.name == KEY else field.name
        own = file.is_csv if name == key else name == household
        kind = field.type
        if own:
            kind = pa.string() if file.is_csv else plain(file.schema.field(name).type)
        found.append((name, kind))
    return pa.schema(found)


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
    folder, files = job.inputs.folder_of(where.removeprefix("inputs.")), []
    try:
        paths = find(folder, pattern, f"{where}.path")
    except DataError as error:
        problems.append(str(error))
        return ()
    for path in paths:
        try:
            file = open_file(path, folder)
            if where == "inputs.subscribers":
                settings = job.inputs.subscribers
                file = typed(file, settings.key, settings.household)
            files.append(file)
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


def _csv_key(
    job: Job, subscribers: Sequence[RawFile], events: Mapping[str, Sequence[RawFile]]
) -> pa.DataType:
    """Return the type of the key in the CSV files of the subscriber table, where it has none.

    It is that of the table's first Parquet file. Without one it is text if a Parquet file of
    events has text keys, or if some key is not written as a whole number; else whole number.
    """
    found = _stored(subscribers, job.inputs.subscribers.key)
    if found:
        return found[0]
    tables = job.inputs.tables()
    stored = [kind for name, files in events.items() for kind in _stored(files, tables[name].key)]
    is_text = any(kind_of(kind) == "text" for kind in stored) or any(f.odd_key for f in subscribers)
    return pa.string() if is_text else pa.int64()


def _stored(files: Sequence[RawFile], name: str) -> list[pa.DataType]:
    """Return the types of a column in those of the files that have types."""
    return [f.schema.field(name).type for f in files if not f.is_csv and name in f.schema.names]


def _keyed(file: RawFile, key: str, kind: pa.DataType, problems: list[str]) -> RawFile:
    """Return a file of the subscriber table, its key of this type if it is a CSV file."""
    if not file.is_csv or key not in file.schema.names:
        return file
    if file.odd_key and kind_of(kind) == "whole number":
        problems.append(
            f"{file.path}: column {key} (key) has {file.odd_key}, which is not written as a whole "
            "number of 64 bits, but the keys of the table's Parquet files are whole numbers"
        )
    place = file.schema.get_field_index(key)
    return replace(file, schema=file.schema.set(place, pa.field(key, kind)))


def _key_problems(
    files: Sequence[RawFile], table: EventTable | KeyList, key: pa.DataType, odd: str
) -> list[str]:
    why = f" ({odd} is not written as a whole number)" if odd and kind_of(key) == "text" else ""
    kinds = [(file, kind_of(kind)) for file in files for kind in _stored([file], table.key)]
    return [
        f"{file.path}: column {table.key} (key) is {kind}, but the key of the subscriber table is "
        f"{kind_of(key)}{why}; they should be the same"
        for file, kind in kinds
        if kind in ALLOWED["key"] and kind != kind_of(key)
    ]


def _household_problems(job: Job, files: Sequence[RawFile]) -> list[str]:
    """Say what is wrong with the column of households."""
    key, name = job.inputs.subscribers.key, job.inputs.subscribers.household
    if name is None:
        return []
    if name == key:
        return [f"inputs.subscribers.household: is the key, got {name}; name another column"]
    problems = [_missing(file, name) for file in files if name not in file.schema.names]
    for file in files:
        for kind in _stored([file], name):
            if kind_of(kind) not in ALLOWED["household"] and not pa.types.is_null(plain(kind)):
                problems.append(
                    f"{file.path}: column {name} (household) has the type {kind}; allowed is "
                    f"{' or '.join(ALLOWED['household'])}"
                )
    return problems


def _as_text(files: Sequence[RawFile], job: Job) -> list[RawFile]:
    """Return files of the subscriber table with households as text, as they are ingested."""
    name, found = job.inputs.subscribers.household, list(files)
    if name is None or name == job.inputs.subscribers.key:
        return found
    for i, file in enumerate(files):
        if (place := file.schema.get_field_index(name)) >= 0:
            text = file.schema.set(place, pa.field(name, pa.string()))
            found[i] = replace(file, schema=text)
    return found


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
