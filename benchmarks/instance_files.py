"""Read multiple-choice instances from text files of three formats, exactly.

khan       ``n l m`` (groups, items a group, resources), m capacities, then for each group its
           number and l times ``value use_1 .. use_m``. What follows is somebody's old solution.
hiremath   several problems a file, each ``number n l m`` and the rest as khan.
gap        ``m n`` (agents, jobs), m x n costs, m x n uses, m capacities. Costs are minimised.

Numbers may stand on any lines. Decimals are taken as they are written, as fractions: values and
each resource are multiplied by what makes them whole.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import NamedTuple

import numpy as np

from engine.errors import DataError
from engine.multiple_choice import MultipleChoice

FORMATS = ("khan", "hiremath", "gap")
NUMBER = re.compile(r"[+-]?(\d{1,18}(\.\d{0,9})?|\.\d{1,9})")
MOST_WHOLE = 1 << 62
SHOWN = 20  # problems of a file that are listed, the others are counted


class Token(NamedTuple):
    """A word of a file."""

    text: str
    line: int
    column: int


@dataclass(frozen=True, eq=False)
class Instance:
    """A problem of a file."""

    file: Path
    number: int
    problem: MultipleChoice  # value is maximised
    unit: int  # the problem's values are the file's times ``unit``
    minimise: bool

    def in_file_units(self, value: int) -> int | float:
        """Return a value of the problem as the file would write it."""
        exact = Fraction(-value if self.minimise else value, self.unit)
        return exact.numerator if exact.denominator == 1 else float(exact)


class _Stop(Exception):
    """The rest of a file cannot be told apart."""


class _Reader:
    """The numbers of a file in turn, and what is wrong with them."""

    def __init__(self, file: Path, text: str) -> None:
        self.file, self.at, self.problems = file, 0, []
        self.tokens = list(_tokens(text))
        self.last_line = text.count("\n") + 1

    def fail(self, token: Token | None, what: str) -> None:
        """Note a problem."""
        where = f"line {self.last_line}" if token is None else f"line {token.line}"
        where += ", at the end" if token is None else f", column {token.column}"
        self.problems.append(f"{self.file}: {where}: {what}")

    def more(self) -> bool:
        """Say whether anything is left."""
        return self.at < len(self.tokens)

    def number(self, what: str, *, least: int | None, whole: bool = False) -> Fraction:
        """Return the next number.

        Raises:
            _Stop: the file has ended.
        """
        allowed = f"{what}, {'a whole number' if whole else 'a number'}"
        allowed += "" if least is None else f" of {least} or more"
        if not self.more():
            self.fail(None, f"the file ends; expected {allowed}")
            raise _Stop
        token = self.tokens[self.at]
        self.at += 1
        if not NUMBER.fullmatch(token.text):
            self.fail(token, f"got {token.text[:40]!r}; expected {allowed}, at most 18 digits "
                      "before the point and 9 after it")  # fmt: skip
            return Fraction(0)
        value = Fraction(token.text)
        if (least is not None and value < least) or (whole and value.denominator > 1):
            self.fail(token, f"got {token.text}; expected {allowed}")
        return value

    def numbers(self, count: int, what: str, *, least: int | None) -> list[Fraction]:
        """Return the next numbers."""
        return [self.number(f"{what} {i + 1} of {count}", least=least) for i in range(count)]

    def sizes(self, names: list[str], whole_file: str) -> list[int]:
        """Return the sizes of a problem.

        Raises:
            _Stop: they are not usable.
        """
        before, start = len(self.problems), self.at
        found = [int(self.number(name, least=1, whole=True)) for name in names]
        if len(self.problems) > before:
            raise _Stop
        if max(found) > len(self.tokens):
            token = self.tokens[start]
            self.fail(token, f"the sizes {' '.join(map(str, found))} ({whole_file}) ask for more "
                      f"numbers than the file has, got {len(self.tokens)}")  # fmt: skip
            raise _Stop
        return found


def _tokens(text: str) -> Iterator[Token]:
    for number, line in enumerate(text.split("\n"), 1):
        for match in re.finditer(r"\S+", line):
            yield Token(match.group(), number, match.start() + 1)


def read(file: Path, layout: str) -> list[Instance]:
    """Return the problems of a file.

    Args:
        file: the file.
        layout: one of FORMATS.

    Raises:
        DataError: the file cannot be read, or breaks its format: each problem on a line.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file}: byte {error.start}: is not text, got {error.object[error.start]:#x}; "
            "expected numbers in ASCII or UTF-8"
        ) from None
    reader = _Reader(file, text.replace("\r\n", "\n").replace("\r", "\n"))
    found = []
    try:
        if layout == "gap":
            found.append(_gap(reader))
            _end(reader)
        elif layout == "khan":
            found.append(_groups(reader, 1))
        else:
            found.append(_numbered(reader))
            while reader.more():
                found.append(_numbered(reader))
    except _Stop:
        pass
    if reader.problems:
        more = len(reader.problems) - SHOWN
        rest = [f"{file}: and {more} more problems"] if more > 0 else []
        raise DataError.of([*reader.problems[:SHOWN], *rest])
    return [i for i in found if i is not None]


def _numbered(reader: _Reader) -> Instance | None:
    return _groups(reader, int(reader.number("a problem's number", least=0, whole=True)))


def _end(reader: _Reader) -> None:
    """Refuse what follows the last number."""
    if reader.more():
        token = reader.tokens[reader.at]
        reader.fail(token, f"got {token.text[:40]!r} and {len(reader.tokens) - reader.at - 1} more "
                    "words; expected the end of the file: do the sizes fit?")  # fmt: skip


def _line_ends(reader: _Reader) -> None:
    """Refuse a number too many on a group's last line, unless the file does without lines."""
    if not reader.more():
        return
    last, token = reader.tokens[reader.at - 1], reader.tokens[reader.at]
    if token.line == last.line and reader.tokens[0].line != last.line:
        reader.fail(token, f"got {token.text[:40]!r}; expected the end of the line: the last item "
                    "of the last group is complete")  # fmt: skip
        raise _Stop


def _groups(reader: _Reader, number: int) -> Instance | None:
    """Read a problem of groups."""
    names = ["the number of groups", "the number of items a group", "the number of resources"]
    groups, items, resources = reader.sizes(names, "groups, items a group, resources")
    capacity = reader.numbers(resources, "capacity", least=0)
    values, uses, base = [], [], 0
    for g in range(groups):
        at = reader.at
        got = reader.number(f"the number of group {g + 1}", least=0, whole=True)
        if g == 0 and got == 0:
            base = 1
        if got + base != g + 1:
            if not reader.problems or NUMBER.fullmatch(reader.tokens[at].text):
                sizes = f"{items} items of {resources + 1} numbers"
                reader.fail(reader.tokens[at], f"got {reader.tokens[at].text}; expected the number "
                            f"of group {g + 1 - base}, before its {sizes}: "
                            f"{_odd_lines(reader, at, resources)}")  # fmt: skip
            raise _Stop
        for i in range(items):
            name = f"group {g + 1}, item {i + 1}"
            values.append(reader.number(f"{name}: value", least=None))
            uses.append(reader.numbers(resources, f"{name}: use", least=0))
    _line_ends(reader)
    if reader.problems:
        return None
    group = np.repeat(np.arange(groups, dtype=np.int64), items)
    by_resource = [list(column) for column in zip(*uses, strict=True)]
    return _instance(reader, number, (values, group, by_resource, capacity), minimise=False)


def _odd_lines(reader: _Reader, at: int, resources: int) -> str:
    """Name the last line before a place that has an unusual count of numbers."""
    counts: dict[int, int] = {}
    first = reader.tokens[0].line  # the sizes
    for token in reader.tokens:
        if first < token.line <= reader.tokens[at].line:
            counts[token.line] = counts.get(token.line, 0) + 1
    usual = {1, 4, resources, resources + 1}
    odd = [line for line, count in counts.items() if count not in usual]
    if not odd:
        return "a line may be missing or one too many"
    return f"look at line {odd[-1]}, which has {counts[odd[-1]]} numbers"


def _gap(reader: _Reader) -> Instance | None:
    """Read a generalised assignment problem."""
    names = ["the number of agents", "the number of jobs"]
    agents, jobs = reader.sizes(names, "agents, jobs")
    costs = [reader.numbers(jobs, f"agent {i + 1}: cost", least=None) for i in range(agents)]
    uses = [reader.numbers(jobs, f"agent {i + 1}: use", least=0) for i in range(agents)]
    capacity = reader.numbers(agents, "capacity", least=0)
    if reader.problems:
        return None
    values = [-costs[i][j] for j in range(jobs) for i in range(agents)]
    group = np.repeat(np.arange(jobs, dtype=np.int64), agents)
    zero = Fraction(0)
    by_resource = [
        [uses[k][j] if i == k else zero for j in range(jobs) for i in range(agents)]
        for k in range(agents)
    ]
    return _instance(reader, 1, (values, group, by_resource, capacity), minimise=True)


def _instance(reader: _Reader, number: int, parts: tuple, *, minimise: bool) -> Instance | None:
    """Return a problem in whole numbers."""
    values, group, uses, capacity = parts
    unit = lcm(*(v.denominator for v in values))
    scales = [
        lcm(most.denominator, *(u.denominator for u in use))
        for most, use in zip(capacity, uses, strict=True)
    ]
    whole = [int(v * unit) for v in values]
    used = [[int(u * s) for u in use] for use, s in zip(uses, scales, strict=True)]
    limits = [int(c * s) for c, s in zip(capacity, scales, strict=True)]
    for what, numbers in (("values", whole), ("capacities", limits), *(("uses", u) for u in used)):
        if sum(map(abs, numbers)) > MOST_WHOLE:
            reader.problems.append(f"{reader.file}: problem {number}: the {what} are too large or "
                                   f"have too many decimals, got {sum(map(abs, numbers))} in all "
                                   f"as whole numbers; at most {MOST_WHOLE}")  # fmt: skip
            return None
    arrays = (np.array(a, np.int64) for a in (whole, group, used, limits))
    try:
        problem = MultipleChoice(*arrays, groups=int(group[-1]) + 1)
    except DataError as error:
        reader.problems.append(f"{reader.file}: problem {number}: {error}")
        return None
    return Instance(reader.file, number, problem, unit, minimise)
