"""The allocation problem as data.

    maximise    sum_s sum_a  w[s] (value_fixed[a] + value_accept[a] p[a,s]) x[s,a]
    subject to  x[s,.] in X_s                                              for every s
                sum_s sum_a in_scope[k,g(s)] (use_fixed[k,a] + use_accept[k,a] p[a,s]) x[s,a]
                                                          <= limit[k]      for every k
                x in {0, 1}

A soft limit may be passed: each unit beyond it takes penalty[k] off the objective. At prices in
[0, penalty] the Lagrangian bound holds as it does for hard limits. Where a limit's use has no such
product form, several rows of coefficients (terms, T of them) add up to it.

X_s: at most ``most[s]`` actions, ``channel_most[c,s]`` on channel c, ``category_most[h,s]`` of
category h, each offer on one channel, and only open actions (p is not NaN). Every X_s is a
flow polytope, so its relaxation is integral and the Lagrangian bound equals the LP bound.

Every number is exact: p is a multiple of 2**-24, w of 2**-10, and coefficients and limits are
whole micro-units (1e-6). So the value and every use are integers in units of 1e-6 * 2**-34 and
1e-6 * 2**-24, and sums do not depend on order. S subscribers, A actions, K constraints,
C channels, H categories, G scope groups, Q most actions of any subscriber.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from math import inf, nextafter
from typing import Any

import numpy as np

from engine.errors import DataError
from engine.limits import MICRO
from engine.quotient import Quotient
from kernels.choose import MOST_ACTIONS, MOST_BUNDLE, MOST_CODES, PROPENSITY_GRID, WEIGHT_GRID

VALUE_UNIT = MICRO * PROPENSITY_GRID * WEIGHT_GRID
USE_UNIT = MICRO * PROPENSITY_GRID
KEY_RANGE = 1 << 63
MOST_CLASSES = 32
MOST_WEIGHT = 1 << 28  # sum of all weights: keeps the 64-bit sums of w p from overflowing

UNIT = {"contacts": "contact", "acceptances": "expected acceptance"}  # of other measures: money


@dataclass(frozen=True, eq=False)
class Block:
    """Some of the subscribers; the arrays may live on either side, all on one."""

    key: Any  # [S] int64 in [0, KEY_RANGE), stable hash of the subscriber: the canonical order
    propensity: Any  # [A, S] float32, multiple of 2**-24 in [0, 1]; NaN: not open
    weight: Any  # [S] float32, multiple of 2**-10 in [0, 1000]
    group: Any  # [S] int32, in [0, G)
    most: Any  # [S] uint8
    channel_most: Any  # [C, S] uint8
    category_most: Any  # [H, S] uint8

    def __len__(self) -> int:
        return int(self.propensity.shape[1])

    def take(self, rows: Any) -> "Block":
        """Return the block of some of its rows (positions)."""
        return Block(
            self.key[rows],
            _contiguous(self.propensity[:, rows]),
            self.weight[rows],
            self.group[rows],
            self.most[rows],
            _contiguous(self.channel_most[:, rows]),
            _contiguous(self.category_most[:, rows]),
        )

    def arrays(self) -> tuple[Any, ...]:
        """Return the subscriber side of the kernels' arguments."""
        return (
            self.propensity,
            self.weight,
            self.group,
            self.most,
            self.channel_most,
            self.category_most,
        )


def _contiguous(array: Any) -> Any:
    return array if array.flags.c_contiguous else array.copy(order="C")


@dataclass(frozen=True)
class Row:
    """What a global constraint is called: one limit of one measure."""

    name: str
    measure: str
    is_minimum: bool  # a minimum is stored negated: -use <= -limit
    twin: str | None = None  # of one side of an equation: the constraint
    quotient: Quotient | None = None  # of a ratio


@dataclass(frozen=True, eq=False)
class Problem:
    """One allocation problem. Coefficients are whole micro-units, on the host."""

    blocks: Sequence[Block]
    offer: Any  # [A] int32
    channel: Any  # [A] int32
    category: Any  # [A] int32
    value_fixed: Any  # [A] int64, micro-money per contact
    value_accept: Any  # [A] int64, micro-money per acceptance
    rows: Sequence[Row]  # [K]
    use_fixed: Any  # [T, A] int64, micro-units per contact
    use_accept: Any  # [T, A] int64, micro-units per acceptance
    in_scope: Any  # [T, G] bool
    limit: Any  # [K] int64, micro-units
    typical_propensity: float = 0.05  # for scales only: no answer depends on it being right
    currency: str = "money"  # its name, for people
    penalty: Any = None  # [K] float64, money per unit beyond a limit, inf: hard; None: all are hard
    term_of: Any = None  # [T] int64 the limit of each term, ascending; None: T = K, one each

    def __post_init__(self) -> None:
        actions = len(self.offer)
        if self.width > 1 and actions > MOST_ACTIONS:
            raise DataError(f"catalogue: {actions} actions; bundles allow at most {MOST_ACTIONS}")
        if actions > MOST_CODES:
            raise DataError(f"catalogue: {actions} actions; at most {MOST_CODES} are allowed")
        if self.width > MOST_BUNDLE:
            raise DataError(
                f"policies: {self.width} actions per subscriber; at most {MOST_BUNDLE} are allowed"
            )

    @property
    def subscribers(self) -> int:
        """Return S."""
        return sum(len(block) for block in self.blocks)

    @property
    def groups(self) -> int:
        """Return G."""
        return int(self.in_scope.shape[1])

    @property
    def classes(self) -> Any:
        """Return [G] the cut class of each group: groups share cuts when there are many."""
        return np.arange(self.groups) % MOST_CLASSES

    @property
    def width(self) -> int:
        """Return Q, the most actions of any subscriber, at least 1."""
        return max([1, *(int(b.most.max()) for b in self.blocks if len(b))])

    @property
    def terms(self) -> Any:
        """Return [T] the limit of each term."""
        return np.arange(len(self.rows)) if self.term_of is None else self.term_of

    def per_term(self, amounts: Any) -> Any:
        """Return [T] what [K] amounts are for each term: its limit's."""
        return amounts if self.term_of is None else amounts[self.term_of]

    def per_limit(self, amounts: Any) -> Any:
        """Return [K, ...] the sums of [T, ...] amounts, in the order of the terms."""
        if self.term_of is None:
            return amounts
        out = np.zeros((len(self.rows), *amounts.shape[1:]), amounts.dtype)
        for t, k in enumerate(self.term_of.tolist()):
            out[k] += amounts[t]
        return out

    def unit(self, k: int) -> str:
        """Return the unit of limit k in words, one of it."""
        return UNIT.get(self.rows[k].measure, self.currency)

    def units(self, k: int) -> str:
        """Return the unit of limit k in words, many of it."""
        return f"{self.unit(k)}s" if self.rows[k].measure in UNIT else self.currency

    def with_blocks(self, blocks: Sequence[Block]) -> "Problem":
        """Return the same problem over other subscribers."""
        return Problem(**{**self.__dict__, "blocks": blocks})

    def with_value(self, fixed: Any, accept: Any) -> "Problem":
        """Return the same problem with another objective (micro-units)."""
        return Problem(**{**self.__dict__, "value_fixed": fixed, "value_accept": accept})

    def with_rows(self, keep: Sequence[int]) -> "Problem":
        """Return the same problem with some of its constraints."""
        k = np.asarray(keep, np.int64)
        terms = self.terms
        t = np.concatenate([np.flatnonzero(terms == i) for i in keep] or [k])
        counts = [int((terms == i).sum()) for i in keep]
        return Problem(
            **{
                **self.__dict__,
                "rows": [self.rows[i] for i in keep],
                "use_fixed": self.use_fixed[t],
                "use_accept": self.use_accept[t],
                "in_scope": self.in_scope[t],
                "limit": self.limit[k],
                "penalty": None if self.penalty is None else self.penalty[k],
                "term_of": None
                if self.term_of is None
                else np.arange(len(k)).repeat(np.array(counts, np.int64)),
            }
        )

    def at_ratio(self, k: int, limit: Fraction) -> "Problem":
        """Return the same problem with another limit of the ratio k."""
        row = self.rows[k]
        if row.quotient is None:
            raise AssertionError(f"{row.name} is no ratio")
        fixed, accept, scope = row.quotient.terms(limit, is_minimum=row.is_minimum)
        own = self.terms == k
        first = int(np.flatnonzero(own)[0])
        rest = np.delete(self.terms, np.flatnonzero(own))
        put = partial(np.insert, axis=0)
        return Problem(
            **{
                **self.__dict__,
                "use_fixed": put(self.use_fixed[~own], [first] * len(fixed), fixed),
                "use_accept": put(self.use_accept[~own], [first] * len(fixed), accept),
                "in_scope": put(self.in_scope[~own], [first] * len(fixed), scope),
                "term_of": np.insert(rest, [first] * len(fixed), k),
            }
        )


def value_units(problem: Problem, tally: Any) -> list[int]:
    """Return the exact value of each group's tally, in units of 1 / VALUE_UNIT money.

    Args:
        problem: the allocation problem.
        tally: [4, G, A] int64 on the host, from ``kernels.choose``.

    Returns:
        [G] whole numbers of any size.
    """
    _, _, weight, weighted = tally.astype(object)
    fixed, accept = problem.value_fixed.astype(object), problem.value_accept.astype(object)
    return list((weight * PROPENSITY_GRID * fixed + weighted * accept).sum(axis=1))


def use_units(problem: Problem, tally: Any) -> Any:
    """Return the exact use of each constraint by each group, in units of 1 / USE_UNIT.

    Returns:
        [K, G] object array of whole numbers; zero out of scope.
    """
    contacts, p = tally[0].astype(object), tally[1].astype(object)
    out = np.zeros((len(problem.rows), problem.groups), object)
    for t, k in enumerate(problem.terms.tolist()):
        fixed = problem.use_fixed[t].astype(object) * PROPENSITY_GRID
        for g in np.flatnonzero(problem.in_scope[t]):
            out[k, g] += int((contacts[g] * fixed + p[g] * problem.use_accept[t]).sum())
    return out


def total_units(problem: Problem, tally: Any) -> list[int]:
    """Return [K] the exact use of each constraint by all groups, in units of 1 / USE_UNIT."""
    out = [0] * len(problem.rows)
    for t, k in enumerate(problem.terms.tolist()):
        # Over all groups, contacts and p in 2**-24 sum to less than 2**56.
        contacts, p = tally[:2, problem.in_scope[t]].sum(axis=1).tolist()
        fixed, accept = problem.use_fixed[t].tolist(), problem.use_accept[t].tolist()
        for a in range(len(fixed)):
            out[k] += contacts[a] * fixed[a] * PROPENSITY_GRID + p[a] * accept[a]
    return out


def limit_units(problem: Problem) -> list[int]:
    """Return [K] limits in units of 1 / USE_UNIT."""
    return [int(b) * PROPENSITY_GRID for b in problem.limit]


def penalties(micro_money: Sequence[int | None]) -> Any:
    """Return [K] penalties as a problem holds them, never above the exact ones; None: all hard."""
    if all(p is None for p in micro_money):
        return None
    return np.array([inf if p is None else _not_above(Fraction(p, MICRO)) for p in micro_money])


def _not_above(exact: Fraction) -> float:
    rounded = float(exact)
    return rounded if rounded <= exact else nextafter(rounded, -inf)


def penalty_units(problem: Problem) -> list[Fraction | None]:
    """Return [K] what a use unit beyond each limit costs, in value units; None: the limit is hard.

    A penalty is a whole number of micro-money per unit.
    """
    if problem.penalty is None:
        return [None] * len(problem.rows)
    each = Fraction(VALUE_UNIT, MICRO * USE_UNIT)
    return [None if p == inf else round(p * MICRO) * each for p in problem.penalty.tolist()]


def net_value(problem: Problem, tally: Any) -> int | Fraction:
    """Return the exact objective of a tally, in value units: the value less what overruns cost."""
    value: int | Fraction = sum(value_units(problem, tally))
    if problem.penalty is None:
        return value
    uses, limits = total_units(problem, tally), limit_units(problem)
    for use, limit, cost in zip(uses, limits, penalty_units(problem), strict=True):
        if cost is not None and use > limit:
            value -= cost * (use - limit)
    return value
