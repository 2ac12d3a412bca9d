"""SQL expressions over the columns of a table: conditions, weights, formulas, features.

Nothing of a job file is executed: the text becomes a small tree of allowed parts
(:mod:`engine.expression_parse`), its kinds are checked against the columns before any row is read
(:mod:`engine.expression_kinds`), and it is evaluated column by column
(:mod:`engine.expression_evaluate`), on pandas and cuDF alike.

SQL's three-valued logic holds: an operator or function of a null is null, except IS NULL, COALESCE,
CASE, and AND and OR where the other side decides. NaN is null. Numbers are float64, ``/`` never
divides whole numbers, ``%`` has the sign of its left side. What has no value is null: division by
zero, the logarithm of a number <= 0, the root of a negative one. LEAST and GREATEST of a null are
null (SQL:2023). ROUND rounds halves away from zero. Text compares by code point; LIKE knows ``%``
and ``_``, tells capitals apart and has no escape. Instants without a zone are UTC. Names of columns
are as in the table, capitals too; those that are no plain word go in double quotes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from engine.errors import ConfigError
from engine.expression_evaluate import condition, evaluate
from engine.expression_kinds import kind_of
from engine.expression_nodes import Column, Node, Span, problem, walk
from engine.expression_parse import tree
from engine.tables import KINDS, Kind, Schema, is_void, schema

__all__ = ["KINDS", "Expression", "Kind", "Schema", "parse"]


@dataclass(frozen=True)
class Expression:
    """A SQL expression that was parsed: only allowed parts are in it."""

    sql: str
    """Its text."""
    where: str
    """The setting it stands in, for errors."""
    node: Node
    """Its tree."""

    @property
    def columns(self) -> frozenset[str]:
        """Return the names of the columns it reads."""
        return frozenset(n.name for n in walk(self.node) if isinstance(n, Column))

    def problems(self, schema: Schema, expected: Kind | None = None) -> list[str]:
        """Return everything wrong with it over a table of this schema, a line each.

        Args:
            schema: kind of each column.
            expected: the kind it should have; None: any.
        """
        kind, problems = self._judge(schema, expected)
        if kind is None and not problems:
            return [
                f"{self.where}: always null, got {self.sql}; write COALESCE(NULL, 0) or the like"
            ]
        return problems

    def check(self, schema: Schema, expected: Kind | None = None) -> Kind:
        """Return its kind over a table of this schema.

        Raises:
            ConfigError: unknown columns, with those that exist; kinds that do not fit.
        """
        problems = self.problems(schema, expected)
        if problems:
            raise ConfigError("\n".join(problems))
        kind = self._judge(schema, expected)[0]
        assert kind is not None
        return kind

    def evaluate(self, frame: Any) -> Any:
        """Return its value for each row.

        Returns:
            Series on the side of the frame, with its index: float64 (null is NaN), text, nullable
            booleans, or timestamps (UTC, without a zone).

        Raises:
            ConfigError: as :meth:`check`.
        """
        self._require(frame, None)
        return evaluate(self.node, frame)

    def mask(self, frame: Any) -> Any:
        """Return for each row whether the condition holds; null counts as false.

        Returns:
            Boolean series without nulls on the side of the frame, with its index.

        Raises:
            ConfigError: as :meth:`check`; it is no condition.
        """
        self._require(frame, "boolean")
        return condition(self.node, frame)

    def _require(self, frame: Any, expected: Kind | None) -> None:
        """Refuse a frame that the expression does not fit, before a row is evaluated."""
        read = [name for name in frame.columns if name in self.columns]
        complete = len(read) == len(self.columns)
        kinds = schema(frame, read if complete else None)  # an error names all that there are
        # An object column without a value, of an empty partition say, fits as every kind.
        known = {n: None if n in read and is_void(frame[n]) else k for n, k in kinds.items()}
        problems = self._judge(known, expected)[1]
        if problems:
            raise ConfigError("\n".join(problems))

    def _judge(
        self, schema: Mapping[str, Kind | None], expected: Kind | None
    ) -> tuple[Kind | None, list[str]]:
        problems: list[str] = []

        def report(span: Span, message: str) -> None:
            line = problem(self.where, self.sql, span, message)
            if line not in problems:
                problems.append(line)

        kind = kind_of(self.node, schema, report)
        if expected is not None and kind not in {None, expected} and not problems:
            names = {"boolean": "a condition (boolean)", "instant": "an instant"}
            report(Span(), f"should be {names.get(expected, expected)}, is {kind}")
        return kind or expected, problems


@lru_cache(4_096)  # a job's expressions are parsed once, not for each partition
def parse(sql: str, where: str) -> Expression:
    """Parse a SQL expression; ``where`` names its setting in errors.

    Raises:
        ConfigError: every part that is not allowed, with its place and what is allowed.
    """
    return Expression(sql, where, tree(sql, where))
