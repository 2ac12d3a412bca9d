"""From SQL text to our own tree: parsed by sqlglot, then only what is on the list passes."""

import math
from datetime import UTC, date, datetime
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, TokenError

from engine.errors import ConfigError
from engine.expression_kinds import FUNCTIONS, unknown
from engine.expression_nodes import Call, Column, Literal, Node, Span, joined, problem
from engine.expression_tokens import ALLOWED, MAX_DEPTH, TOO_DEEP, Report, check_tokens

MAX_LENGTH = 20_000
DIALECT = "postgres"

COMPARISONS: dict[type, str] = {
    exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=",
}  # fmt: skip
PREDICATES = (*COMPARISONS, exp.Like, exp.In, exp.Between, exp.Is)
BINARY: dict[type, str] = COMPARISONS | {exp.Sub: "-", exp.Div: "/", exp.Mod: "%"}
CHAINS: dict[type, str] = {exp.And: "AND", exp.Or: "OR", exp.Add: "+", exp.Mul: "*"}
CALLS: dict[type, tuple[str, tuple[str, ...]]] = {
    exp.Abs: ("ABS", ("this",)),
    exp.Ceil: ("CEIL", ("this",)),
    exp.Coalesce: ("COALESCE", ("this", "expressions")),
    exp.Exp: ("EXP", ("this",)),
    exp.Floor: ("FLOOR", ("this",)),
    exp.Greatest: ("GREATEST", ("this", "expressions")),
    exp.Least: ("LEAST", ("this", "expressions")),
    exp.Length: ("LENGTH", ("this",)),
    exp.Ln: ("LN", ("this",)),
    exp.Log: ("LOG10", ("expression",)),
    exp.Lower: ("LOWER", ("this",)),
    exp.Nullif: ("NULLIF", ("this", "expression")),
    exp.Pow: ("POWER", ("this", "expression")),
    exp.Round: ("ROUND", ("this", "decimals")),
    exp.Sqrt: ("SQRT", ("this",)),
    exp.Upper: ("UPPER", ("this",)),
    exp.Not: ("NOT", ("this",)),
    exp.Neg: ("unary -", ("this",)),
}
"""sqlglot's class, our name, and the places of its arguments; anything elsewhere is refused."""


def tree(sql: str, where: str) -> Node:
    """Parse a SQL expression.

    Raises:
        ConfigError: every part that is not allowed, with its place.
    """
    if len(sql) > MAX_LENGTH:
        raise ConfigError(f"{where}: expression of {len(sql)} characters; at most {MAX_LENGTH}")
    problems: list[str] = []

    def report(span: Span, message: str) -> None:
        line = problem(where, sql, span, message)
        if line not in problems:
            problems.append(line)

    try:
        check_tokens(sqlglot.tokenize(sql, dialect=DIALECT), report)
        if not problems:
            parsed = sqlglot.parse_one(sql, into=exp.Condition, dialect=DIALECT)
            node = _Converter(report).node(parsed, 0)
    except TokenError:
        report(Span(), "text or name that does not end; close every quote")
    except ParseError as error:
        report(*_unparsable(sql, error))
    except RecursionError:
        report(Span(), TOO_DEEP)
    if problems:
        raise ConfigError("\n".join(problems))
    return node


def _unparsable(sql: str, error: ParseError) -> tuple[Span, str]:
    """Return the place and text of sqlglot's first complaint, in our words."""
    cause = error.errors[0] if error.errors else {}
    before, found = cause.get("start_context") or "", cause.get("highlight") or ""
    start = sql.rfind(before + found) + len(before) if found else -1
    span = Span(start, start + len(found)) if start >= len(before) else Span()
    return span, f"not a SQL expression: {_reason(cause.get('description') or '')}; {ALLOWED}"


def _reason(description: str) -> str:
    if description.startswith("Required keyword"):
        return "something is missing"
    return description.split(" / ")[-1].lower() or "nothing was understood"


class _Converter:
    """Turns sqlglot's tree into ours, reporting every part that is not allowed."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def node(self, source: Any, depth: int) -> Node:
        kind = type(source)
        if depth > 4 * MAX_DEPTH:
            self.report(self.span(source), "expression too long; use parentheses or fewer terms")
            return Literal(None, None, Span())
        if kind is exp.Paren:
            return self.node(source.this, depth)
        if kind in CHAINS:
            return self.call(CHAINS[kind], _chain(source), source, depth)
        if kind in BINARY or kind in CALLS or kind is exp.Anonymous:
            return self.operation(source, depth)
        method = getattr(self, f"_{kind.__name__.lower()}", None)
        if method is None:
            return self.refuse(source)
        result: Node = method(source, depth)
        return result

    def span(self, source: Any) -> Span:
        """Return the characters of a part: from its first word that knows its place to its last."""
        return joined(map(_own_span, source.walk()))

    def refuse(self, source: Any, message: str = "") -> Node:
        what = message or f"{source.key.upper()} is not allowed; {ALLOWED}"
        self.report(self.span(source), what)
        return Literal(None, None, self.span(source))

    def call(self, name: str, parts: list[Any], source: Any, depth: int) -> Call:
        arguments = tuple(self.node(part, depth + 1) for part in parts)
        return Call(name, arguments, joined([_own_span(source), *(a.span for a in arguments)]))

    def operation(self, source: Any, depth: int) -> Node:
        """Convert an operator or function whose arguments are plain expressions."""
        kind = type(source)
        places: tuple[str, ...]
        if kind is exp.Anonymous:
            name, places = str(source.this).upper(), ("expressions",)
            if name != "SIGMOID" or isinstance(source.this, exp.Expression):
                return self.refuse(source, unknown("function", name, FUNCTIONS))
        elif kind in BINARY:
            name, places = BINARY[kind], ("this", "expression")
            if kind in COMPARISONS and isinstance(source.this, PREDICATES):
                return self.refuse(source, "comparisons in a row; use parentheses")
            if kind in COMPARISONS and isinstance(source.expression, PREDICATES):
                return self.refuse(source, "comparisons in a row; use parentheses")
        else:
            name, places = CALLS[kind]
        parts: list[Any] = []
        for place in places:
            value = source.args.get(place)
            parts += value if isinstance(value, list) else [value] if value is not None else []
        if _elsewhere(source, {*places, *(("this",) if kind is exp.Log else ())}):
            return self.refuse(source)
        made = self.call(name, parts, source, depth)
        if name == "unary -" and isinstance(made.arguments[0], Literal):
            number = made.arguments[0]
            if number.kind == "number" and isinstance(number.value, float):
                return Literal("number", -number.value, made.span)
        if name == "ROUND" and len(parts) == 2 and not _digits(made.arguments[1]):
            return self.refuse(source, "ROUND takes a whole number of digits from 0 to 15")
        return made

    def _column(self, source: Any, depth: int) -> Node:
        if type(source.this) is not exp.Identifier or _elsewhere(source, {"this"}):
            return self.refuse(source)
        return Column(str(source.this.this), _own_span(source.this))

    def _literal(self, source: Any, depth: int) -> Node:
        span = self.span(source)
        if source.is_string:
            return Literal("text", str(source.this), span)
        value = float(source.this)
        if not math.isfinite(value):
            return self.refuse(source, "number too large; at most 1e308")
        return Literal("number", value, span)

    def _boolean(self, source: Any, depth: int) -> Node:
        return Literal("boolean", bool(source.this), self.span(source))

    def _null(self, source: Any, depth: int) -> Node:
        return Literal(None, None, self.span(source))

    def _cast(self, source: Any, depth: int) -> Node:
        """Read ``DATE '...'`` and ``TIMESTAMP '...'``; other casts were refused as words."""
        type_name = source.to.this.name
        text = source.this
        if type_name not in {"DATE", "TIMESTAMP"} or type(text) is not exp.Literal:
            return self.refuse(source)
        form = "2026-01-31" if type_name == "DATE" else "2026-01-31 12:00:00"
        parse = _date if type_name == "DATE" else datetime.fromisoformat
        try:
            instant = parse(str(text.this))
        except ValueError:
            message = f"{type_name} '{text.this}' is no such instant; write {type_name} '{form}'"
            return self.refuse(source, message)
        instant = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
        since = instant - datetime(1970, 1, 1, tzinfo=UTC)
        micros = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
        return Literal("instant", float(micros), self.span(source))

    def _case(self, source: Any, depth: int) -> Node:
        if source.this is not None:
            return self.refuse(source, "CASE with a value; write CASE WHEN value = ... THEN ...")
        parts = [part for i in source.args["ifs"] for part in (i.this, i.args["true"])]
        otherwise = source.args.get("default") or exp.Null()
        return self.call("CASE", [*parts, otherwise], source, depth)

    def _is(self, source: Any, depth: int) -> Node:
        if type(source.expression) is not exp.Null:
            return self.refuse(source, "IS takes NULL or NOT NULL alone; compare with = TRUE")
        made = self.call("IS NULL", [source.this], source, depth)
        return _negated(made, source)

    def _like(self, source: Any, depth: int) -> Node:
        pattern = source.expression
        if type(pattern) is not exp.Literal or not pattern.is_string:
            return self.refuse(source, "LIKE takes a pattern in single quotes, with % and _")
        return _negated(self.call("LIKE", [source.this, pattern], source, depth), source)

    def _between(self, source: Any, depth: int) -> Node:
        if source.args.get("symmetric") is not None:
            return self.refuse(
                source, "BETWEEN SYMMETRIC is not allowed; write BETWEEN low AND high"
            )
        parts = [source.this, source.args["low"], source.args["high"]]
        return self.call("BETWEEN", parts, source, depth)

    def _in(self, source: Any, depth: int) -> Node:
        values = source.args.get("expressions") or []
        if not values or _elsewhere(source, {"this", "expressions"}):
            return self.refuse(
                source, "IN takes a list of values; write IN (1, 2) or IN ('a', 'b')"
            )
        made = self.call("IN", [source.this, *values], source, depth)
        if not all(isinstance(value, Literal) for value in made.arguments[1:]):
            return self.refuse(source, "IN takes a list of values; use OR for other expressions")
        return made


def _chain(source: Any) -> list[Any]:
    """Return the operands of ``a AND b AND c ...``, however many, without recursion."""
    parts, kind = [], type(source)
    while type(source) is kind:
        parts.append(source.expression)
        source = source.this
    return [source, *reversed(parts)]


def _elsewhere(source: Any, places: set[str]) -> bool:
    """Return whether a node has parts of the tree in places we do not read."""
    return any(
        isinstance(value, exp.Expression) or (isinstance(value, list) and value)
        for place, value in source.args.items()
        if place not in places
    )


def _own_span(source: Any) -> Span:
    meta = source.meta
    return Span(meta["start"], meta["end"] + 1) if "start" in meta else Span()


def _negated(made: Call, source: Any) -> Call:
    return Call("NOT", (made,), made.span) if source.args.get("negate") else made


def _digits(node: Node) -> bool:
    return isinstance(node, Literal) and node.value in {float(d) for d in range(16)}


def _date(text: str) -> datetime:
    day = date.fromisoformat(text)
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
