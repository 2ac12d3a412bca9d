"""SQL expressions: what is refused, and how it is said."""

import time

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import expressions
from engine.errors import ConfigError
from engine.expression_parse import MAX_LENGTH

KINDS = {
    "n": "number", "m": "number", "t": "text", "b": "boolean", "c": "boolean", "d": "instant",
}  # fmt: skip

HOSTILE = [
    "", "   ", "a; b", "a > 1;", "a > 1 -- why", "a /* why */ > 1", "/*+ hint */ a > 1", "SELECT 1",
    "(SELECT 1) > 0", "a IN (SELECT b FROM c)", "EXISTS(SELECT 1)", "DROP TABLE a", "a AS b", "a b",
    "a, b", "(a, b) = (1, 2)", "count(*)", "ROW_NUMBER() OVER (ORDER BY a)", "SUM(a)", "a OVER b",
    "eval('1')", "__import__('os')", "\"ABS\"(a)", "a.b > 1", "a[0] > 1", "{'a': 1}", "ARRAY[1]",
    "CAST(a AS INT)", "a::int", "TRY_CAST(a AS INT)", "DATE(a)", "DATE 'soon'", "DATE '2026-02-30'",
    "TIMESTAMP 'never'", "INTERVAL '1' DAY", "CURRENT_DATE", "CURRENT_TIMESTAMP > a", "? > 1",
    ":a > 1", "$1 > 1", "@a > 1", "#a", "x -> x + 1", "x => 1", "a || 'b'", "a ^ 2", "a & 1",
    "a ~ 'b'", "a == 1", "a <=> b", "a // 2", "MOD(a, 2)", "IF(a, 1, 2)", "IFNULL(a, 1)",
    "a ILIKE 'b'",
    "a LIKE b", "a LIKE 'b' ESCAPE '!'", "a LIKE ANY ('b')", "a SIMILAR TO 'b'", "a RLIKE 'b'",
    "a IS TRUE", "a IS NOT FALSE", "a IS DISTINCT FROM b", "a ISNULL", "a NOTNULL", "a = ANY(b)",
    "a IN ()", "a IN 1", "a IN (b)", "a IN (1 + 1)", "a BETWEEN SYMMETRIC 1 AND 2", "a COLLATE x",
    "CASE a WHEN 1 THEN 2 END", "CASE WHEN a THEN 1", "CASE END", "a = b = c", "1 < a < 2", "1e999",
    "ABS()", "ABS(*)", "ABS(1, 2)", "LOG10(a, b)", "POWER(a)", "ROUND(a, b)", "ROUND(a, 0.5)",
    "ROUND(a, 1, 2)", "COALESCE()", "ABS(DISTINCT a)", "LOWER(a, b)", "LENGTH(a, 'x')",
    "CEIL(a, 1)", "E'a'", "X'ab'", "N'a'", "U&'a'", "$$a$$", "'a' 'b'", "'open", '"open', "(a",
    "a)", "a >", "AND", "a AND", ".5", "1_000", "0x1F", "a AT TIME ZONE 'x'", "LEAST(VARIADIC a)",
    "TRUE TRUE", "\\", "(" * 10_000 + "a" + ")" * 10_000, "(" * 5_000 + "a", "NOT " * 4_000 + "a",
    "-" * 10_000 + "1", "- " * 5_000 + "1", "CASE WHEN a THEN " * 1_000 + "1" + " END" * 1_000,
    "a" * 30_000, "ABS(" * 4_000 + "1" + ")" * 4_000, "(end" * 3_000,
    "a - (" * 2_000 + "1" + ")" * 2_000,
    " - ".join(["a"] * 1_500), "a > 1 \x00 b", "a > 1 ☃",
]  # fmt: skip


@pytest.mark.parametrize("sql", HOSTILE, ids=lambda sql: repr(sql[:30]))
def test_everything_else_is_refused(sql):
    begin = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        expressions.parse(sql, "job.yaml: catalogue.offers.x.eligible")
    assert time.monotonic() - begin < 2  # seconds; a refusal never takes long
    for line in str(caught.value).splitlines():
        assert line.startswith("job.yaml: catalogue.offers.x.eligible: ")
        assert len(line) < 1_000
        assert " at line " in line or str(MAX_LENGTH) in line


@settings(max_examples=150)
@given(st.text(max_size=30) | st.lists(st.sampled_from(
    ["a", "(", ")", "1", "'x'", "AND", "NOT", "=", "CASE", "WHEN", "THEN", "END", "IN", ",", "-",
     "ABS(", "LIKE", "NULL", "BETWEEN", "IS", "DATE", "%", "SELECT", "FROM", "OVER", ".", "::"]
), max_size=12).map(" ".join))  # fmt: skip
def test_any_text_is_parsed_or_refused(sql):
    try:
        expression = expressions.parse(sql, "here")
        expression.evaluate(pd.DataFrame({"a": [1.0, None]}))
    except ConfigError as error:
        assert all(line.startswith("here: ") for line in str(error).split("\n"))


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        (
            "tenure_dys >= 90 AND\n segmnt = 'x'",
            "here: unknown column tenure_dys at line 1, column 1 (tenure_dys), got tenure_dys "
            ">= 90 AND segmnt = 'x'; did you mean tenure_days? there are app, born, segment, "
            "tenure_days\n"
            "here: unknown column segmnt at line 2, column 2 (segmnt), got tenure_dys >= 90 "
            "AND segmnt = 'x'; did you mean segment? there are app, born, segment, tenure_days",
        ),
        (
            "Segment = 'x'",
            "here: unknown column Segment at line 1, column 1 (Segment), got Segment = 'x'; "
            "did you mean segment? there are app, born, segment, tenure_days",
        ),
        (
            "tenure_days > '90'",
            "here: > mixes number and text at line 1, column 1 (tenure_days > '90'), got "
            "tenure_days > '90'; write numbers without quotes and text in single quotes",
        ),
        (
            "app = 1 OR born > '2026-01-01'",
            "here: = mixes boolean and number at line 1, column 1 (app = 1), got app = 1 OR born > "
            "'2026-01-01'; compare conditions with TRUE or FALSE, numbers with numbers\n"
            "here: > mixes instant and text at line 1, column 12 (born > '2026-01-01'), got app "
            "= 1 OR born > '2026-01-01'; write "
            "DATE '2026-01-31' or TIMESTAMP '2026-01-31 12:00:00'",
        ),
        (
            "tenure_days AND app",
            "here: AND takes boolean, not number at line 1, column 1 (tenure_days), got "
            "tenure_days AND app; compare conditions with TRUE or FALSE, numbers with numbers",
        ),
    ],
)
def test_messages_name_the_place_and_what_is_allowed(sql, message):
    schema = {"app": "boolean", "born": "instant", "segment": "text", "tenure_days": "number"}
    expression = expressions.parse(sql, "here")
    with pytest.raises(ConfigError) as caught:
        expression.check(schema)
    assert str(caught.value) == message
    assert expression.problems(schema) == message.split("\n")


@pytest.mark.parametrize(
    "sql",
    [
        "n + t", "t * 2", "-t", "ABS(b)", "LOWER(n)", "LENGTH(n)", "n LIKE 'a'", "NOT n", "n OR b",
        "b < c", "b BETWEEN b AND c", "LEAST(b, c)", "d + 1", "d - d", "d IN ('2026-01-01')",
        "n IN ('1')", "t BETWEEN 1 AND 2", "CASE WHEN n THEN 1 END",
        "CASE WHEN b THEN 1 ELSE t END",
        "COALESCE(n, t)", "NULLIF(d, 1)", "EXP(d)", "NULL", "COALESCE(NULL, NULL)", "z",
        "ROUND(t, 1)", "GREATEST(n, d)",
    ],
)  # fmt: skip
def test_kinds_that_do_not_fit_are_found_before_any_row(sql):
    with pytest.raises(ConfigError, match=r"^here: .+ at line 1, column \d+ \(|^here: always null"):
        expressions.parse(sql, "here").check(KINDS)


@pytest.mark.parametrize(("sql", "kind"), [("n", "number"), ("t", "text"), ("d", "instant")])
def test_a_mask_is_a_condition(sql, kind):
    expression = expressions.parse(sql, "here")
    assert expression.check(KINDS) == kind == expression.check(KINDS, kind)
    with pytest.raises(ConfigError, match=rf"should be a condition \(boolean\), is {kind}"):
        expression.check(KINDS, "boolean")
    with pytest.raises(ConfigError, match="should be a condition"):
        expression.mask(pd.DataFrame({"n": [1.0], "t": ["a"], "d": pd.to_datetime(["2026-01-01"])}))


def test_a_frame_that_lacks_a_column_is_refused_with_those_it_has():
    expression = expressions.parse("a > 1 AND z > 1", "here")
    with pytest.raises(ConfigError, match="unknown column z .* there are a, q$"):
        expression.evaluate(pd.DataFrame({"a": [1], "q": [2]}))
