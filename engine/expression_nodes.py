"""The tree of an expression: literals, columns and calls; nothing else can be in one."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from engine.tables import Kind

MAX_SHOWN = 120


@dataclass(frozen=True)
class Span:
    """Characters ``start`` to ``stop`` (exclusive) of an expression's text; none: the whole."""

    start: int = 0
    stop: int = 0


@dataclass(frozen=True)
class Literal:
    """A value: float, str, bool, None, or microseconds since 1970 (kind instant) as a float."""

    kind: Kind | None
    value: float | str | bool | None
    span: Span


@dataclass(frozen=True)
class Column:
    """A column of the frame."""

    name: str
    span: Span


@dataclass(frozen=True)
class Call:
    """An operator or function of ``engine.expression_kinds.RULES`` on its arguments."""

    name: str
    arguments: tuple["Node", ...]
    span: Span


Node = Literal | Column | Call


def walk(node: Node) -> Iterator[Node]:
    """Yield the node and everything below it, from left to right."""
    yield node
    if isinstance(node, Call):
        for argument in node.arguments:
            yield from walk(argument)


def joined(spans: Iterable[Span]) -> Span:
    """Return the shortest span around those that are somewhere."""
    known = [span for span in spans if span.stop]
    return Span(min(s.start for s in known), max(s.stop for s in known)) if known else Span()


def place(sql: str, span: Span) -> str:
    """Return where a span is, for people: line, column, and the fragment itself."""
    span = span if span.stop else Span(0, len(sql))
    before = sql[: span.start]
    line, column = before.count("\n") + 1, span.start - (before.rfind("\n") + 1) + 1
    fragment = " ".join(sql[span.start : span.stop].split())
    return f"at line {line}, column {column} ({fragment[:MAX_SHOWN]})"


def problem(where: str, sql: str, span: Span, message: str) -> str:
    """Return one line of an error: where, what, the place in the expression and the expression."""
    what, _, allowed = message.partition("; ")
    start = max(0, span.start - MAX_SHOWN // 2)
    shown = " ".join(sql[start : start + MAX_SHOWN].split())
    left, right = "..." if start else "", "..." if start + MAX_SHOWN < len(sql) else ""
    tail = f"; {allowed}" if allowed else ""
    return f"{where}: {what} {place(sql, span)}, got {left}{shown}{right}{tail}"
