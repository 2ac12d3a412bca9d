"""The value of an expression, column by column, on pandas and cuDF alike.

Values are held so that one line of array code serves for both sides and all nulls:

- number, instant: float64, null is NaN (an instant is microseconds since 1970, UTC);
- boolean: int8, 0 false, 1 null, 2 true, so that AND is the minimum, OR the maximum and NOT 2 - x;
- text: a series, or a plain str where it is the same for all rows.

Source:
    Kleene, "Introduction to Metamathematics", 1952, section 64 (three-valued logic).
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from engine import tables
from engine.expression_nodes import Call, Column, Literal, Node
from engine.tables import Kind

FALSE, NULL, TRUE = 0, 1, 2
COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq, "<>": operator.ne, "<": operator.lt,
    "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
MIRROR = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


@dataclass(frozen=True)
class Value:
    """The value of a node for each row; kind None: null in every row, of any kind."""

    kind: Kind | None
    data: Any


def evaluate(node: Node, frame: Any) -> Any:
    """Return the value of a checked tree as a series with the index of the frame."""
    with np.errstate(all="ignore"):  # what has no value is null, as the module head says
        rows = _Rows(frame)
        value = rows.value(node)
        value = rows.like(value, "number")
        found = rows.text(value) if value.kind == "text" else value.data
    return tables.column(found, value.kind or "number", frame)


def condition(node: Node, frame: Any) -> Any:
    """Return whether a checked condition holds, as a series with the index of the frame."""
    with np.errstate(all="ignore"):
        rows = _Rows(frame)
        code = rows.like(rows.value(node), "boolean").data
    return tables.column(code == TRUE, "boolean", frame)


class _Rows:
    """The rows of one frame, and the values of nodes over them."""

    def __init__(self, frame: Any) -> None:
        self.frame = frame
        self.count = len(frame)
        self.xp = tables.array_library(frame)
        self.columns: dict[str, Value] = {}

    def value(self, node: Node) -> Value:
        if isinstance(node, Literal):
            return self.constant(node)
        if isinstance(node, Column):
            if node.name not in self.columns:
                self.columns[node.name] = Value(*tables.values(self.frame[node.name]))
            return self.columns[node.name]
        return self.call(node)

    def constant(self, node: Literal) -> Value:
        if node.kind is None or node.kind == "text":
            return Value(node.kind, node.value)
        if node.kind == "boolean":
            return Value("boolean", self.filled(TRUE if node.value else FALSE, "int8"))
        return Value(node.kind, self.filled(node.value, "float64"))

    def filled(self, value: Any, dtype: str) -> Any:
        """Return one value for every row, without the memory."""
        return self.xp.broadcast_to(self.xp.asarray(value, dtype=dtype), (self.count,))

    def like(self, value: Value, kind: Kind | None) -> Value:
        """Give a NULL the kind of its place."""
        if value.kind is not None or kind is None:
            return value
        if kind == "text":
            return Value(kind, tables.repeat(None, self.frame))
        if kind == "boolean":
            return Value(kind, self.filled(NULL, "int8"))
        return Value(kind, self.filled(np.nan, "float64"))

    def call(self, node: Call) -> Value:
        name = node.name
        if name == "IN":
            return self.member(node)
        if name == "LIKE":
            return self.matches(node)
        values = [self.value(argument) for argument in node.arguments]
        if name == "IS NULL":
            known = self.known(values[0])
            return Value("boolean", self.xp.where(known, FALSE, TRUE).astype("int8"))
        if name == "CASE":
            return self.case(values)
        if name in {"AND", "OR", "NOT"}:
            return self.logic(name, values)
        if name in COMPARE:
            return self.compare(name, *self.alike(values))
        if name == "BETWEEN":
            middle, low, high = self.alike(values)
            both = [self.compare(">=", middle, low), self.compare("<=", middle, high)]
            return self.logic("AND", both)
        if name in {"COALESCE", "LEAST", "GREATEST", "NULLIF"}:
            return self.choice(name, self.alike(values))
        if name in {"LOWER", "UPPER", "LENGTH"}:
            return self.textual(name, self.like(values[0], "text"))
        numbers = [self.like(value, "number").data for value in values]
        return Value("number", NUMBERS[name](self.xp, *numbers))

    def alike(self, values: list[Value]) -> list[Value]:
        """Give every NULL among values the kind of the others."""
        kind = next((value.kind for value in values if value.kind), None)
        return [self.like(value, kind) for value in values]

    def text(self, value: Value) -> Any:
        return tables.repeat(value.data, self.frame) if isinstance(value.data, str) else value.data

    def known(self, value: Value) -> Any:
        """Return a boolean array: where the value is not null."""
        if value.kind is None:
            return self.filled(False, "bool")  # noqa: FBT003 (a value, not a switch)
        if value.kind == "boolean":
            return value.data != NULL
        if value.kind != "text":
            return ~self.xp.isnan(value.data)
        if isinstance(value.data, str):
            return self.filled(True, "bool")  # noqa: FBT003 (a value, not a switch)
        return tables.array(value.data.notna())

    def code(self, holds: Any, known: Any) -> Value:
        """Return a boolean value: null where not known, else whether it holds."""
        return Value("boolean", self.xp.where(known, 2 * holds.astype("int8"), NULL).astype("int8"))

    def logic(self, name: str, values: list[Value]) -> Value:
        codes = [self.like(value, "boolean").data for value in values]
        if name == "NOT":
            return Value("boolean", TRUE - codes[0])
        return Value(
            "boolean", reduce(self.xp.minimum if name == "AND" else self.xp.maximum, codes)
        )

    def compare(self, name: str, left: Value, right: Value) -> Value:
        known = self.known(left) & self.known(right)
        if left.kind is None:
            return self.like(left, "boolean")
        if left.kind != "text":
            return self.code(COMPARE[name](left.data, right.data), known)
        one, other = left.data, right.data
        if isinstance(one, str):
            if isinstance(other, str):
                one = self.text(left)
            else:
                name, one, other = MIRROR[name], other, one
        holds = tables.array(COMPARE[name](one, other).fillna(False))  # noqa: FBT003 (a value)
        return self.code(holds.astype("bool"), known)

    def member(self, node: Call) -> Value:
        """``x IN (values)``: true when one is equal, else null when x or a value is null."""
        kinds = [argument.kind for argument in node.arguments[1:] if isinstance(argument, Literal)]
        literals = [a.value for a in node.arguments[1:] if isinstance(a, Literal)]
        values = [v for v in literals if v is not None]
        kind = next((k for k in kinds if k), None)
        value = self.like(self.value(node.arguments[0]), kind)
        if not values or value.kind is None:
            return self.like(Value(None, None), "boolean")
        if value.kind == "text":
            among = self.text(value).isin(values)
            found = tables.array(among.fillna(False))  # noqa: FBT003 (a value, not a switch)
        else:
            listed = [TRUE if v else FALSE for v in values] if kind == "boolean" else values
            found = self.xp.isin(value.data, self.xp.asarray(listed, dtype=value.data.dtype))
        decided = self.known(value) & (found | (len(values) == len(literals)))
        return self.code(found, decided)

    def matches(self, node: Call) -> Value:
        value = self.like(self.value(node.arguments[0]), "text")
        pattern = node.arguments[1]
        assert isinstance(pattern, Literal)
        found = tables.like(self.text(value), str(pattern.value))
        return self.code(tables.array(found), self.known(value))

    def select(self, mask: Any, chosen: Value, other: Value) -> Value:
        """Return ``chosen`` where the mask holds, else ``other``; both are of one kind or NULL."""
        chosen, other = self.alike([chosen, other])
        if chosen.kind is None:
            return chosen
        if chosen.kind == "text":
            where = tables.column(mask, "boolean", self.text(chosen))
            return Value("text", self.text(chosen).where(where, other.data))
        return Value(chosen.kind, self.xp.where(mask, chosen.data, other.data))

    def case(self, values: list[Value]) -> Value:
        result = values[-1]
        for at in range(len(values) - 3, -1, -2):
            holds = self.like(values[at], "boolean").data == TRUE
            result = self.select(holds, values[at + 1], result)
        return result

    def choice(self, name: str, values: list[Value]) -> Value:
        null = Value(None, None)
        if name == "COALESCE":
            result = values[-1]
            for value in reversed(values[:-1]):
                result = self.select(self.known(value), value, result)
            return result
        if name == "NULLIF":
            equal = self.compare("=", *values)
            return self.select(equal.data == TRUE, null, values[0])
        result = values[0]
        for value in values[1:]:
            before = self.compare("<=" if name == "LEAST" else ">=", result, value)
            best = self.select(before.data == TRUE, result, value)
            result = self.select(before.data == NULL, null, best)
        return result

    def textual(self, name: str, value: Value) -> Value:
        series = self.text(value)
        if name == "LENGTH":
            return Value("number", tables.numbers(series.str.len()))
        return Value("text", series.str.lower() if name == "LOWER" else series.str.upper())


def _power(xp: Any, base: Any, exponent: Any) -> Any:
    """``base ** exponent``; NumPy's own says 1 for ``nan ** 0`` and infinity for ``0 ** -1``."""
    undefined = xp.isnan(base) | xp.isnan(exponent) | ((base == 0) & (exponent < 0))
    return xp.where(undefined, np.nan, xp.power(base, exponent))


def _round(xp: Any, number: Any, digits: Any = 0.0) -> Any:
    """Round halves away from zero; a number too large for a fraction stays what it is."""
    scale = xp.power(10.0, digits)
    scaled = number * scale
    whole = xp.trunc(scaled)
    rounded = (whole + xp.sign(scaled) * (xp.abs(scaled - whole) >= 0.5)) / scale
    return xp.where(xp.abs(scaled) < 2.0**52, rounded, number)


NUMBERS: dict[str, Callable[..., Any]] = {
    "+": lambda xp, *terms: reduce(operator.add, terms),
    "-": lambda xp, a, b: a - b,
    "*": lambda xp, *factors: reduce(operator.mul, factors),
    "/": lambda xp, a, b: xp.where(b == 0, np.nan, a / b),
    "%": lambda xp, a, b: xp.fmod(a, b),
    "unary -": lambda xp, a: -a,
    "ABS": lambda xp, a: xp.abs(a),
    "CEIL": lambda xp, a: xp.ceil(a),
    "EXP": lambda xp, a: xp.exp(a),
    "FLOOR": lambda xp, a: xp.floor(a),
    "LN": lambda xp, a: xp.where(a > 0, xp.log(a), np.nan),
    "LOG10": lambda xp, a: xp.where(a > 0, xp.log10(a), np.nan),
    "POWER": _power,
    "ROUND": _round,
    "SIGMOID": lambda xp, a: 1.0 / (1.0 + xp.exp(-a)),
    "SQRT": lambda xp, a: xp.sqrt(a),
}
