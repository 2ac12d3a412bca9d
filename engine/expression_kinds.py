"""Which kinds every operator and function takes and returns, and whether an expression keeps them.

NULL has every kind. Kinds are never converted: a number is not a condition and a text no instant.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from engine.expression_nodes import Call, Column, Literal, Node, Span
from engine.tables import KINDS, Kind

ORDERED: tuple[Kind, ...] = ("number", "text", "instant")


@dataclass(frozen=True)
class Rule:
    """What an operator or function takes.

    The arguments are all of one kind, which is one of ``takes``; ``returns`` None: that kind.
    """

    takes: tuple[Kind, ...]
    returns: Kind | None
    fewest: int = 1
    most: int = 1
    hint: str = ""


MANY = 100_000
ARITHMETIC = Rule(("number",), "number", 2, 2)
NUMERIC = Rule(("number",), "number")
TEXTUAL = Rule(("text",), "text")
LOGICAL = Rule(("boolean",), "boolean", 2, MANY)
EQUALITY = Rule(KINDS, "boolean", 2, 2)
COMPARISON = Rule(ORDERED, "boolean", 2, 2)

FUNCTIONS: dict[str, Rule] = {
    "ABS": NUMERIC,
    "CEIL": NUMERIC,
    "COALESCE": Rule(KINDS, None, 1, MANY),
    "EXP": NUMERIC,
    "FLOOR": NUMERIC,
    "GREATEST": Rule(ORDERED, None, 1, MANY),
    "LEAST": Rule(ORDERED, None, 1, MANY),
    "LENGTH": Rule(("text",), "number"),
    "LN": NUMERIC,
    "LOG10": NUMERIC,
    "LOWER": TEXTUAL,
    "NULLIF": Rule(KINDS, None, 2, 2),
    "POWER": ARITHMETIC,
    "ROUND": Rule(("number",), "number", 1, 2),
    "SIGMOID": NUMERIC,
    "SQRT": NUMERIC,
    "UPPER": TEXTUAL,
}
OPERATORS: dict[str, Rule] = {
    "AND": LOGICAL,
    "OR": LOGICAL,
    "NOT": Rule(("boolean",), "boolean"),
    "=": EQUALITY,
    "<>": EQUALITY,
    "<": COMPARISON,
    "<=": COMPARISON,
    ">": COMPARISON,
    ">=": COMPARISON,
    "BETWEEN": Rule(ORDERED, "boolean", 3, 3),
    "IN": Rule(KINDS, "boolean", 2, MANY),
    "LIKE": Rule(("text",), "boolean", 2, 2),
    "+": Rule(("number",), "number", 2, MANY),
    "-": ARITHMETIC,
    "*": Rule(("number",), "number", 2, MANY),
    "/": ARITHMETIC,
    "%": ARITHMETIC,
    "unary -": NUMERIC,
}
RULES = FUNCTIONS | OPERATORS
Report = Callable[[Span, str], None]

HINTS = {
    frozenset({"instant", "text"}): "write DATE '2026-01-31' or TIMESTAMP '2026-01-31 12:00:00'",
    frozenset({"boolean", "number"}): "compare conditions with TRUE or FALSE, numbers with numbers",
    frozenset({"number", "text"}): "write numbers without quotes and text in single quotes",
    frozenset({"instant", "number"}): "instants compare with DATE '2026-01-31' alone",
    frozenset({"boolean", "text"}): "compare conditions with TRUE or FALSE",
}


def kind_of(node: Node, schema: Mapping[str, Kind | None], report: Report) -> Kind | None:
    """Return the kind of a node over columns of these kinds, reporting everything wrong with it.

    None stands for a NULL, or for a part that was reported.
    """
    if isinstance(node, Literal):
        return node.kind
    if isinstance(node, Column):
        if node.name not in schema:
            report(node.span, unknown("column", node.name, schema))
        return schema.get(node.name)
    kinds = [kind_of(argument, schema, report) for argument in node.arguments]
    if node.name == "IS NULL":
        return "boolean"
    if node.name == "CASE":
        conditions, results = kinds[:-1:2], [*kinds[1:-1:2], kinds[-1]]
        for argument, kind in zip(node.arguments[:-1:2], conditions, strict=True):
            if kind not in {None, "boolean"}:
                report(argument.span, f"WHEN takes a condition, not a {kind}")
        parts = (*node.arguments[1:-1:2], node.arguments[-1])
        return _common(Call("CASE", parts, node.span), results, KINDS, report)
    rule = RULES[node.name]
    common = _common(node, kinds, rule.takes, report)
    return rule.returns or common


def _common(
    node: Call, kinds: list[Kind | None], takes: tuple[Kind, ...], report: Report
) -> Kind | None:
    """Return the one kind of the arguments; report those of another and those not taken."""
    first: Kind | None = takes[0] if len(takes) == 1 else None
    for argument, kind in zip(node.arguments, kinds, strict=True):
        if kind is None:
            continue
        if kind not in takes:
            hint = HINTS.get(frozenset({kind, *takes[:1]}), "") if len(takes) == 1 else ""
            report(
                argument.span,
                f"{node.name} takes {', '.join(takes)}, not {kind}" + (f"; {hint}" if hint else ""),
            )
        elif first is None:
            first = kind
        elif kind != first:
            hint = HINTS[frozenset({kind, first})]
            report(node.span, f"{node.name} mixes {first} and {kind}; {hint}")
            return None
    return first


def unknown(what: str, name: str, names: object) -> str:
    """Say that a name is unknown, with the closest that is known and all that are."""
    known = sorted(str(n) for n in names)  # type: ignore[attr-defined]
    lower = {n.lower(): n for n in known}
    close = get_close_matches(name.lower(), list(lower), 1, 0.6)
    hint = f"did you mean {lower[close[0]]}? " if close else ""
    return f"unknown {what} {name}; {hint}there are {', '.join(known) or 'none'}"
