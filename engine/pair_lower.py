"""Other forms of a problem as listed pairs: the structured one, and full blocks of numbers."""

from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np

from engine.errors import DataError
from engine.pair_problem import MOST_UNITS, PairBlock, PairProblem
from engine.problem import USE_UNIT, VALUE_UNIT, Block, Problem, limit_units, to_host
from kernels.backend import to_cpu
from kernels.choose import PROPENSITY_GRID, WEIGHT_GRID


@dataclass(frozen=True, eq=False)
class _Listed:
    """A block's open pairs in whole numbers of any size."""

    block: Block  # on the host
    owner: Any  # [N]
    action: Any  # [N]
    value: Any  # [N] object
    use: Any  # [N, K] object

    @staticmethod
    def of(problem: Problem, block: Block) -> "_Listed":
        open_ = ~np.isnan(block.propensity.T) & (block.most > 0)[:, None]
        owner, action = np.nonzero(open_)
        p = np.rint(block.propensity.T[open_].astype(np.float64) * PROPENSITY_GRID)
        weight = np.rint(block.weight.astype(np.float64) * WEIGHT_GRID)
        p, weight = (x.astype(np.int64).astype(object) for x in (p, weight))

        def worth(fixed: Any, accept: Any) -> Any:
            fixed, accept = fixed.astype(object), accept.astype(object)
            return fixed[action] * PROPENSITY_GRID + accept[action] * p

        value = worth(problem.value_fixed, problem.value_accept) * weight[owner]
        inside = problem.in_scope[:, block.group[owner]]
        uses = zip(problem.use_fixed, problem.use_accept, inside, strict=True)
        use = np.zeros((len(owner), len(problem.rows)), object)
        for k, (fixed, accept, scope) in enumerate(uses):
            use[:, k] = worth(fixed, accept) * scope.astype(object)
        return _Listed(block, owner, action, value, use)

    def lowered(self, value: int, use: list[int]) -> PairBlock:
        """Return the pairs in units so many times as large."""
        amount = self.use // np.array(use, object)
        used = amount != 0
        block, count = self.block, np.bincount(self.owner, minlength=len(self.block))
        return PairBlock(
            block.key, _pointers(count), self.action.astype(np.int32),
            (self.value // value).astype(np.int64), _pointers(used.sum(axis=1)),
            np.nonzero(used)[1].astype(np.int32), amount[used].astype(np.int64), block.most,
            np.zeros(len(block), np.uint8), block.channel_most, block.category_most,
        )  # fmt: skip


def paired(problem: Problem) -> PairProblem:
    """Return a structured problem as listed pairs, number by number the same.

    Raises:
        DataError: numbers of a pair do not fit into 64 bits, or sums may not.
    """
    parts = [_Listed.of(problem, to_host(block)) for block in problem.blocks]
    value = gcd(VALUE_UNIT, *(gcd(*part.value.tolist()) for part in parts))
    use = [
        gcd(USE_UNIT, *(gcd(*part.use[:, k].tolist()) for part in parts))
        for k in range(len(problem.rows))
    ]
    names = ["value", *(f"use of {row.name}" for row in problem.rows)]
    columns = [[p.value for p in parts], *([p.use[:, k] for p in parts] for k in range(len(use)))]
    for name, arrays, divisor in zip(names, columns, [value, *use], strict=True):
        largest = max((abs(x) for array in arrays for x in array.tolist()), default=0) // divisor
        if largest >= MOST_UNITS:
            raise DataError(
                f"{name}: needs whole numbers up to {largest}; below {MOST_UNITS} is allowed"
            )
    return PairProblem(
        [part.lowered(value, use) for part in parts], problem.offer, problem.channel,
        problem.category, problem.rows,
        [b // d for b, d in zip(limit_units(problem), use, strict=True)], VALUE_UNIT // value,
        [USE_UNIT // d for d in use], problem.currency,
    )  # fmt: skip


def listed(
    key: Any, value: Any, use: Any, most: Any, *, channel_most: Any, category_most: Any,
    fewest: Any,
) -> PairBlock:  # fmt: skip
    """Return a block of full tables as listed pairs with float64 numbers, for ``PairProblem.of``.

    Args:
        key: [S] int64.
        value: [A, S] money; NaN where the pair is not open.
        use: [K, A, S] units of the constraints; zeros are left out, not open pairs do not matter.
        most: [S] uint8, as in :class:`engine.pair_problem.PairBlock`.
        channel_most: [C, S] uint8, likewise.
        category_most: [H, S] uint8, likewise.
        fewest: [S] uint8, likewise.
    """
    open_ = ~np.isnan(value.T)
    amounts = np.ascontiguousarray(np.moveaxis(to_cpu(use), 0, -1).swapaxes(0, 1)[open_])
    used = amounts != 0
    return PairBlock(
        key, _pointers(open_.sum(axis=1)), np.nonzero(open_)[1].astype(np.int32),
        value.T[open_].astype(np.float64), _pointers(used.sum(axis=1)),
        np.nonzero(used)[1].astype(np.int32), amounts[used].astype(np.float64), most, fewest,
        channel_most, category_most,
    )  # fmt: skip


def _pointers(counts: Any) -> Any:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
