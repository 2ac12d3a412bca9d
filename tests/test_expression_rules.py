"""SQL expressions: the rules of values, dtypes and frames that the module states."""

import math
from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from engine import expressions
from engine.expression_tokens import MAX_DEPTH
from tests.test_expressions import plain


@pytest.mark.parametrize("function", ["EXP", "LN", "LOG10", "SQRT", "SIGMOID"])
def test_functions_agree_with_the_math_library(function):
    x = np.linspace(-3, 30, 101)
    found = expressions.parse(f"{function}(x)", "here").evaluate(pd.DataFrame({"x": x}))
    definition = {
        "EXP": math.exp, "LN": math.log, "LOG10": math.log10, "SQRT": math.sqrt,
        "SIGMOID": lambda v: 1 / (1 + math.exp(-v)),
    }[function]  # fmt: skip
    for got, at in zip(found, x, strict=True):
        if at <= 0 and function in {"LN", "LOG10", "SQRT"} and not (function == "SQRT" and at == 0):
            assert math.isnan(got)
        else:  # both round correctly to a unit or two in the last place of the exponential
            assert got == pytest.approx(definition(at), rel=1e-15, abs=5e-324) or abs(
                got - definition(at)
            ) <= 4 * math.ulp(definition(at))


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("7 / 2", 3.5), ("-7 % 3", -1.0), ("7 % -3", 1.0), ("1 / 0", None), ("1 % 0", None),
        ("POWER(0, -1)", None), ("POWER(-8, 0.5)", None), ("POWER(NULL, 0)", None),
        ("POWER(1, NULL)", None), ("LN(0)", None), ("SQRT(-1)", None), ("ROUND(-2.5)", -3.0),
        ("ROUND(2.5)", 3.0), ("ROUND(0.49999999999999994)", 0.0), ("ROUND(1234.565, 2)", 1234.57),
        ("ROUND(1e300, 15)", 1e300), ("LEAST(1, NULL)", None), ("GREATEST(1, NULL)", None),
        ("LEAST(3)", 3.0), ("COALESCE(NULL, NULL, 4)", 4.0), ("2 + 3 * 4 - 1", 13.0),
        ("2 - 3 - 4", -5.0), ("16 / 4 / 2", 2.0), ("1e308 * 10", math.inf), ("SIGMOID(-1e9)", 0.0),
        ("- - 2", 2.0), ("CASE WHEN FALSE THEN 1 END", None), ("LENGTH('naïve☃')", 6.0),
        ("CASE WHEN NULL THEN 1 ELSE 2 END", 2.0), ("'it''s'", "it's"), ("NOT NULL", None),
        ("NULL AND FALSE", False), ("NULL OR TRUE", True), ("1 IN (2, NULL)", None),
        ("1 NOT IN (1, NULL)", False), ("1 NOT IN (2, NULL)", None), ("NULL IS NULL", True),
        ("NULL IS NOT NULL", False), ("1 NOT BETWEEN 2 AND 3", True), ("'a' NOT LIKE 'A'", True),
        ("'a\\b' LIKE 'a\\b'", True), ("'☃' LIKE '_'", True), ("'b' > 'B'", True),
        ("DATE '2026-01-01' = TIMESTAMP '2026-01-01 02:00:00+02:00'", True),
        ("1 IN (-1, 1)", True), ("TRUE IN (FALSE)", False), ("NOT 1 = 2 AND FALSE", False),
        ("case when true then 'x' end", "x"), ("NOT TRUE = FALSE", True),
    ],
)  # fmt: skip
def test_rules_of_values(sql, expected):
    found = plain(expressions.parse(sql, "here").evaluate(pd.DataFrame({"x": [1, 2]})))
    assert found == [expected] * 2


def test_frames_of_every_size_keep_index_and_stay_unchanged():
    whole = pd.DataFrame(
        {"x": [3.0, None, 1.0, 3.0], "t": ["b", None, "a", "b"]}, index=[4, 4, 0, 9]
    )
    before = whole.copy()
    for sql in (
        "x * 2",
        "t",
        "'c'",
        "x > 1",
        "CASE WHEN x > 1 THEN t ELSE 'z' END",
        "NULL IS NULL",
    ):
        expression = expressions.parse(sql, "here")
        for size in (0, 1, 2, 4):
            part = whole.iloc[:size]
            found = expression.evaluate(part)
            assert plain(found) == plain(expression.evaluate(whole))[:size]
            assert found.index.equals(part.index)
            assert found.dtype == expression.evaluate(whole).dtype
    pd.testing.assert_frame_equal(whole, before)


@pytest.mark.parametrize(
    ("column", "sql", "expected"),
    [
        (pd.Series([1, 2], dtype="int8"), "x = 2", [False, True]),
        (pd.Series([1, None], dtype="Int64"), "x + 1", [2.0, None]),
        (pd.Series([Decimal("1.5"), None]), "x + 1", [2.5, None]),
        (pd.Series(["a", None], dtype="category"), "x = 'a'", [True, None]),
        (pd.Series([1, 2], dtype="category"), "x = 1", [True, False]),
        (pd.Series(["a", None], dtype="object"), "UPPER(x)", ["A", None]),
        (pd.Series([True, None], dtype="object"), "NOT x", [False, None]),
        (pd.Series([True, False]), "x = FALSE", [False, True]),
        (pd.Series([date(2026, 1, 1), None]), "x < DATE '2026-01-02'", [True, None]),
        (pd.Series(pd.to_datetime(["2026-01-01", None])), "x >= DATE '2026-01-01'", [True, None]),
        (
            pd.Series(pd.to_datetime(["2026-01-01T01:00+02:00", None])),
            "x < DATE '2026-01-01'",
            [True, None],
        ),
        (pd.Series([None, None], dtype="object"), "x > 1 OR x = 1", [None, None]),
        (pd.Series([None, None], dtype="object"), "x LIKE 'a'", [None, None]),
        (pd.Series([None, None], dtype="object"), "x", [None, None]),
    ],
)
def test_every_dtype_of_a_kind(column, sql, expected):
    assert plain(expressions.parse(sql, "here").evaluate(pd.DataFrame({"x": column}))) == expected


def test_columns_are_those_read():
    expression = expressions.parse('a > 1 AND "b c" IN (1) OR COALESCE(Offer, a) = 2', "here")
    assert expression.columns == {"a", "b c", "Offer"}
    assert expressions.parse("1", "here").columns == frozenset()


def test_long_chains_are_evaluated():
    terms = 1_000
    sql = " AND ".join(["x > 0"] * terms) + " OR " + " + ".join(["x"] * terms) + " = 1000"
    assert expressions.parse(sql, "here").mask(pd.DataFrame({"x": [1.0, -1.0]})).tolist() == [
        True,
        False,
    ]
    nested = MAX_DEPTH - 2
    deep = "(" * nested + "x" + ")" * nested + " > 0"
    assert expressions.parse(deep, "here").mask(pd.DataFrame({"x": [1.0]})).tolist() == [True]
    listed = f"x IN ({', '.join(map(str, range(2_000)))})"
    assert expressions.parse(listed, "here").mask(pd.DataFrame({"x": [1999.0]})).tolist() == [True]
