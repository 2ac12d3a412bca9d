"""A plain problem as one sparse linear model, in money and units of use."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from benchmarks.plain import Plain


@dataclass(frozen=True, eq=False)
class Linear:
    """Maximise ``objective x`` subject to ``matrix x <= upper``, ``0 <= x <= column_upper``."""

    objective: Any  # [N] float64
    matrix: Any  # [R, N] sparse, compressed by column; the first K rows are the limits
    upper: Any  # [R] float64
    column_upper: Any  # [N] float64: 0 where a cap forbids a pair


def linear(plain: Plain) -> Linear:
    """Build the model; a cap is a row only where it can be exceeded and no wider cap implies it."""
    pairs, owner, limits = plain.pairs, plain.owner, len(plain.limit)
    most = plain.most.astype(np.int64)
    kinds = [
        (np.zeros(len(plain.category), np.int32), most[None]),
        (plain.category, plain.category_most.astype(np.int64)),
        (plain.channel, plain.channel_most.astype(np.int64)),
        (plain.offer, np.ones((int(plain.offer.max(initial=0)) + 1, 1), np.int64)),
    ]
    rows, columns, uppers = [plain.use_row], [np.repeat(np.arange(pairs), _uses(plain))], []
    column_upper, count = np.ones(pairs), limits
    for i, (kind, caps) in enumerate(kinds):
        member = kind[plain.action]
        place = owner * len(caps) + member
        size = np.bincount(place, minlength=plain.subscribers * len(caps))
        cap = np.broadcast_to(caps, (len(caps), plain.subscribers)).T.reshape(-1)
        column_upper[cap[place] == 0] = 0.0
        bound = size if i == 0 else np.minimum(size, most.repeat(len(caps)))
        is_row = (cap < bound) & (cap > 0)
        number = np.cumsum(is_row) - 1 + count
        column = np.flatnonzero(is_row[place])
        rows.append(number[place[column]])
        columns.append(column)
        uppers.append(cap[is_row].astype(np.float64))
        count += int(is_row.sum())
    entries = sum(len(c) for c in columns[1:])
    amounts = np.concatenate([plain.use_amount * plain.use_unit, np.ones(entries)])
    matrix = sparse.csc_matrix(
        (amounts, (np.concatenate(rows), np.concatenate(columns))), shape=(count, pairs)
    )
    upper = np.concatenate([plain.limit * plain.use_unit, *uppers])
    return Linear(plain.value * plain.value_unit, matrix, upper, column_upper)


def _uses(plain: Plain) -> Any:
    return np.diff(plain.use_indptr)
