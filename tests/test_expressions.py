"""SQL expressions against a row-by-row definition and against SQLite."""

import math
import sqlite3
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import expressions, tables
from engine.expression_kinds import FUNCTIONS, OPERATORS

# A generated expression is a nested tuple (operator, argument, ...). `text` prints it with as few
# parentheses as SQL needs, `value` is the definition: one row, None for null.

COLUMNS = {
    "n": ("number", [None, -2.5, -1.0, 0.0, 0.5, 1.0, 3.0, 1e308]),
    "m": ("number", [None, 0.0, 1.0, 2.0, 2.5]),
    "t": ("text", [None, "", "a", "A_", "ab", "b%", "a\nb"]),
    "u v": ("text", [None, "a", "ab"]),
    "b": ("boolean", [None, False, True]),
    "c": ("boolean", [None, False, True]),
    "d": ("instant", [None, datetime(2026, 1, 1, tzinfo=UTC), datetime(1969, 7, 20, 20, 17)]),
    "e": ("instant", [None, datetime(2026, 1, 1, tzinfo=UTC)]),
}
KINDS = {name: kind for name, (kind, _) in COLUMNS.items()}
rows = st.lists(st.tuples(*(st.sampled_from(values) for _, values in COLUMNS.values())), max_size=5)


def utc(instant):
    return instant.replace(tzinfo=UTC) if instant is not None else None


def table(tuples):
    frame = pd.DataFrame(
        [dict(zip(COLUMNS, row, strict=True)) for row in tuples], columns=list(COLUMNS)
    )
    frame["d"] = pd.to_datetime(pd.Series([utc(row[6]) for row in tuples]), utc=True)
    frame["e"] = pd.to_datetime(pd.Series([utc(row[7]) for row in tuples]), utc=True)
    dtypes = {"n": "float64", "m": "float64", "t": "str", "u v": "str", "b": "boolean"}
    return frame.astype(dtypes).set_index(pd.Index(range(7, 7 + len(tuples))))


def columns_of(kind):
    return st.sampled_from([("column", name) for name, of in KINDS.items() if of == kind])


GENERATED = {"IN"}


def call(name, *arguments):
    GENERATED.add(name)
    return st.tuples(st.just(name), *arguments)


LITERALS = {
    "number": st.sampled_from([("literal", x) for x in (-1.0, 0.0, 0.5, 1.0, 2.0, 1e308, None)]),
    "text": st.sampled_from([("literal", x) for x in ("", "a", "A_", "it's", None)]),
    "boolean": st.sampled_from([("literal", x) for x in (True, False, None)]),
    "instant": st.sampled_from(
        [("literal", datetime(2026, 1, 1, tzinfo=UTC)), ("literal", datetime(1960, 1, 1, 1, 2, 3))]
    ),
}
PATTERNS = st.sampled_from(["", "%", "_", "a%", "%b", "_\\", "a_", "%a%b%", "A\\_", "b%%", "__%"])


@cache
def of_kind(kind, depth, *, exact):
    """Return a strategy of expressions of one kind; ``exact``: what SQLite computes alike."""
    leaf = columns_of(kind) | LITERALS[kind]
    if depth == 0:
        return leaf

    def sub(k):
        return of_kind(k, depth - 1, exact=exact)

    condition, same = sub("boolean"), sub(kind)
    made = [
        leaf,
        call("CASE", condition, same, condition, same, same),
        call("COALESCE", same, same),
        call("NULLIF", same, same),
    ]
    if kind != "boolean":
        made += [call("LEAST", same, same), call("GREATEST", same, same)]
    if kind == "number":
        made += [call(op, same, same) for op in "+-*/"]
        made += [call(op, same) for op in ("unary -", "ABS", "ROUND")]
        made += [call("LENGTH", sub("text"))]
        if not exact:
            made += [call(op, same, same) for op in ("%", "POWER")]
            made += [call(op, same) for op in ONE_NUMBER]
            made += [call("ROUND", same, st.just(("literal", 1.0)))]
    if kind == "text":
        made += [call("LOWER", same), call("UPPER", same)]
    if kind == "boolean":
        made += [call("AND", same, same), call("OR", same, same), call("NOT", same)]
        for k in ("number", "text") if exact else ("number", "text", "instant"):
            one, some = sub(k), st.lists(LITERALS[k], min_size=1, max_size=3)
            made += [call(op, one, one) for op in ("=", "<>", "<", "<=", ">", ">=")]
            made += [call("BETWEEN", one, one, one), call("IS NULL", one)]
            made += [st.tuples(st.just("IN"), one, some.map(tuple))]
        made += [call("LIKE", sub("text"), PATTERNS), call("=", same, same)]
    return st.one_of(made)


ONE_NUMBER = {
    "FLOOR": np.floor, "CEIL": np.ceil, "EXP": np.exp, "SIGMOID": lambda x: 1 / (1 + np.exp(-x)),
    "SQRT": lambda x: np.sqrt(x) if x >= 0 else None,
    "LN": lambda x: np.log(x) if x > 0 else None,
    "LOG10": lambda x: np.log10(x) if x > 0 else None,
}  # fmt: skip
EXPRESSIONS = st.sampled_from(tables.KINDS).flatmap(lambda k: of_kind(k, 2, exact=False))
COMPARABLE = st.sampled_from(["number", "text", "boolean"]).flatmap(
    lambda k: of_kind(k, 2, exact=True)
)
LEVELS = [{"OR"}, {"AND"}, {"NOT"}, {"=", "<>", "<", "<=", ">", ">=", "BETWEEN", "IN", "LIKE",
          "IS NULL"}, {"+", "-"}, {"*", "/", "%"}, {"unary -"}]  # fmt: skip


def level(node):
    return next((n for n, names in enumerate(LEVELS) if node[0] in names), len(LEVELS))


def text(node, least=0):
    """Print with parentheses only where the levels of SQL's operators ask for them."""
    op, *rest = node
    at = level(node)
    if op == "column":
        return '"u v"' if rest[0] == "u v" else rest[0]
    if op == "literal":
        return literal(rest[0])
    if op == "CASE":
        a, x, b, y, z = map(text, rest)
        return f"CASE WHEN {a} THEN {x} WHEN {b} THEN {y} ELSE {z} END"
    if at == len(LEVELS):
        return f"{op}({', '.join(map(text, rest))})"
    if op == "NOT":
        printed = f"NOT {text(rest[0], at)}"
    elif op == "unary -":
        printed = f"- {text(rest[0], at)}"
    elif op == "IS NULL":
        printed = f"{text(rest[0], at + 1)} IS NULL"
    elif op == "LIKE":
        printed = f"{text(rest[0], at + 1)} LIKE '{rest[1]}'"
    elif op == "BETWEEN":
        a, low, high = (text(part, at + 1) for part in rest)
        printed = f"{a} BETWEEN {low} AND {high}"
    elif op == "IN":
        printed = f"{text(rest[0], at + 1)} IN ({', '.join(map(text, rest[1]))})"
    else:
        left = at + 1 if at == 3 else at  # comparisons in a row are refused
        printed = f"{text(rest[0], left)} {op} {text(rest[1], at + 1)}"
    return f"({printed})" if at < least else printed


def literal(x):
    if x is None:
        return "NULL"
    if isinstance(x, bool):
        return "TRUE" if x else "FALSE"
    if isinstance(x, datetime):
        return f"TIMESTAMP '{x.isoformat(sep=' ')}'"
    return f"({x!r})" if isinstance(x, float) and x < 0 else repr(x) if x == 1e308 else quoted(x)


def quoted(x):
    return repr(x) if isinstance(x, float) else "'" + x.replace("'", "''") + "'"


def value(node, row):
    """Evaluate for one row with SQL's three-valued logic; None is null."""
    op, *rest = node
    if op == "literal":
        return utc(rest[0]) if isinstance(rest[0], datetime) else rest[0]
    if op == "column":
        return row[rest[0]]
    if op == "IN":
        x = value(rest[0], row)
        listed = [value(item, row) for item in rest[1]]
        if x is None or all(item is None for item in listed):
            return None
        return True if x in listed else None if None in listed else False
    if op == "LIKE":
        x = value(rest[0], row)
        return None if x is None else matches(rest[1], x)
    a, *more = [value(part, row) for part in rest]
    if op == "IS NULL":
        return a is None
    if op in {"AND", "OR"}:
        decides = op == "OR"
        if decides in {a, more[0]}:
            return decides
        return None if None in {a, more[0]} else not decides
    if op == "CASE":
        return more[0] if a is True else more[2] if more[1] is True else more[3]
    if op == "COALESCE":
        return more[0] if a is None else a
    if op == "NULLIF":
        return None if a is not None and a == more[0] else a
    if op == "BETWEEN":
        low, high = more
        parts = (None if None in {a, low} else a >= low, None if None in {a, high} else a <= high)
        return False if False in parts else None if None in parts else True
    if a is None or None in more:
        return None
    return STRICT[op](a, *more)


def number(function):
    def run(*arguments):
        with np.errstate(all="ignore"):
            found = function(*(np.float64(x) for x in arguments))
        return None if found is None or math.isnan(found) else float(found)

    return run


def rounded(x, digits=0.0):
    scaled = x * 10.0**digits
    if abs(scaled) >= 2**52:
        return x
    half = Decimal(float(scaled)).quantize(Decimal(1), "ROUND_HALF_UP")
    return np.float64(int(half)) / 10.0**digits


STRICT = {
    "NOT": lambda a: not a, "=": lambda a, b: a == b, "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b, "LEAST": min, "GREATEST": max, "LOWER": str.lower,
    "UPPER": str.upper, "LENGTH": lambda a: float(len(a)), "+": number(lambda a, b: a + b),
    "-": number(lambda a, b: a - b), "*": number(lambda a, b: a * b),
    "/": number(lambda a, b: None if b == 0 else a / b),
    "%": number(lambda a, b: None if b == 0 or math.isinf(a) else math.fmod(a, b)),
    "unary -": number(lambda a: -a), "ABS": number(abs), "ROUND": number(rounded),
    "POWER": number(lambda a, b: None if a == 0 and b < 0 else np.power(a, b)),
    **{name: number(function) for name, function in ONE_NUMBER.items()},
}  # fmt: skip


def matches(pattern, x):
    if not pattern:
        return not x
    if pattern[0] == "%":
        return any(matches(pattern[1:], x[at:]) for at in range(len(x) + 1))
    return bool(x) and pattern[0] in {"_", x[0]} and matches(pattern[1:], x[1:])


def plain(series):
    """Return a result as plain values, None for null."""
    if series.dtype.kind == "M":
        series = series.dt.tz_localize("UTC")
    return [None if pd.isna(x) else x for x in series.tolist()]


@settings(max_examples=150)
@given(node=EXPRESSIONS, tuples=rows)
def test_evaluates_as_defined_row_by_row(node, tuples):
    frame = table(tuples)
    expression = expressions.parse(text(node), "here")
    expected = []
    for row in tuples:
        cells = dict(zip(COLUMNS, row, strict=True))
        cells |= {"d": utc(cells["d"]), "e": utc(cells["e"])}
        expected.append(value(node, cells))
    result = expression.evaluate(frame)
    assert plain(result) == expected
    assert result.index.equals(frame.index)
    if not expression.problems(KINDS, "boolean"):
        assert expression.mask(frame).tolist() == [x is True for x in expected]
        assert expression.mask(frame).dtype == bool


SQLITE = {"LEAST": "MIN", "GREATEST": "MAX"}


@settings(max_examples=150)
@given(node=COMPARABLE, tuples=rows)
def test_agrees_with_sqlite(node, tuples):
    sql = text(node)
    for ours, theirs in SQLITE.items():
        assert ours not in "".join(map(str, COLUMNS))
        sql = sql.replace(f"{ours}(", f"{theirs}(")
    base = sqlite3.connect(":memory:")
    base.execute("PRAGMA case_sensitive_like = ON")
    base.execute('CREATE TABLE x (n REAL, m REAL, t TEXT, "u v" TEXT, b, c)')
    base.executemany("INSERT INTO x VALUES (?, ?, ?, ?, ?, ?)", [row[:6] for row in tuples])
    theirs = [found for (found,) in base.execute(f"SELECT {sql} FROM x ORDER BY rowid")]
    base.close()
    assert plain(expressions.parse(text(node), "here").evaluate(table(tuples))) == theirs


def test_every_operator_and_function_is_generated():
    for kind in tables.KINDS:
        of_kind(kind, 1, exact=False)
    assert set(FUNCTIONS) | set(OPERATORS) <= GENERATED
