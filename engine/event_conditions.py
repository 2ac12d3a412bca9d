"""Which events of a table conditions keep: asked once of each category where a column has them."""

from collections.abc import Callable, Sequence
from functools import lru_cache, reduce
from operator import and_
from typing import Any

import numpy as np
import pandas as pd

from engine import expressions, tables
from engine.quantities import Source
from kernels import backend

COMPARED = 8
"""Most codes that are compared with those of the rows one by one: many rows at a time."""

REMEMBERED = 1 << 10
"""Most categories of a column whose answers are kept: cells, say, differ between partitions."""

Codes = Callable[[str], tuple[Any, tuple[str, ...]] | None]
"""Of a column: the code of each row and the texts by code; None where it has none."""


def coded(series: Any) -> tuple[Any, tuple[str, ...]] | None:
    """Return the code of each row and the texts by code; None where a column has none."""
    found = tables.coded(series)
    return None if found is None else (found[0], tuple(tables.texts(found[1])))


def parsed(source: Source) -> list[expressions.Expression]:
    """Return the conditions that a source's events fulfil."""
    return [expressions.parse(sql, str(source)) for sql in source.conditions]


def mask(frame: Any, source: Source, codes: Codes) -> Any:
    """Return which events of a table a source keeps, [E] bool; [0]: all of them."""
    if not source.conditions:
        return tables.array_library(frame).empty(0, bool)
    return reduce(and_, (holds(condition, frame, codes) for condition in parsed(source)))


def marks(frame: Any, source: Source, codes: Codes) -> Any:
    """Return what each event does to a case, [E] int8: 1 opens, -1 closes (also both), 0 none."""
    assert source.opens is not None
    assert source.closes is not None
    both = (expressions.parse(sql, sql) for sql in (source.opens, source.closes))
    opening, closing = (holds(condition, frame, codes) for condition in both)
    return (opening & ~closing).astype("int8") - closing.astype("int8")


def holds(condition: expressions.Expression, frame: Any, codes: Codes) -> Any:
    """Return [E] bool; a condition over one column of categories is asked once of each."""
    names = sorted(condition.columns)
    of_column = codes(names[0]) if len(names) == 1 else None
    if of_column is None:
        return tables.array(condition.mask(frame)).astype(bool, copy=False)
    code, texts = of_column
    return _of_codes(held([condition], names[0], texts), code)


def held(conditions: Sequence[expressions.Expression], column: str, texts: tuple[str, ...]) -> Any:
    """Return for which values of their only column conditions hold, [texts] bool, on the CPU."""
    asked = _of_texts if len(texts) <= REMEMBERED else _of_texts.__wrapped__
    return reduce(and_, (asked(condition, column, texts) for condition in conditions))


@lru_cache(1_024)  # partitions have the same categories, most often
def _of_texts(condition: expressions.Expression, column: str, texts: tuple[str, ...]) -> Any:
    frame = pd.DataFrame({column: pd.Series(texts, dtype="str")})
    return tables.array(condition.mask(frame)).astype(bool, copy=False)


def _of_codes(holding: Any, codes: Any) -> Any:
    """Return what holds of each row by its code, [E] bool."""
    few = np.flatnonzero(holding)
    if len(few) > COMPARED:
        return backend.library(codes).asarray(holding)[codes]
    found = backend.library(codes).zeros(len(codes), bool)
    for code in few.tolist():
        found |= codes == code
    return found
