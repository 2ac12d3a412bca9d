"""The allocation problem as data.

    maximise    sum_s sum_a  w[s] (value_fixed[a] + value_accept[a] p[a,s]) x[s,a]
    subject to  x[s,.] in X_s                                              for every s
                sum_s sum_a in_scope[k,g(s)] (use_fixed[k,a] + use_accept[k,a] p[a,s]) x[s,a]
                                                          <= limit[k]      for every k
                x in {0, 1}

A soft limit may be passed: each unit beyond it takes penalty[k] off the objective. At prices in
[0, penalty] the Lagrangian bound holds as it does for hard limits. Where a limit's use has no such
product form, several rows of coefficients (terms, T of them) add up to it.

X_s: only open actions (p is not NaN), and what :mod:`engine.rules` says of ``most[s]``,
``fewest[s]`` and ``cap[d,s]``. The Lagrangian bound is the optimum over the convex hulls of the
X_s. It is never above the bound of the linear program that relaxes x alone, and equals it where
that relaxation of every X_s is integral: with caps on channels and categories X_s is a flow
polytope; with caps on overlapping groups, exclusions, requirements or minimums it need not be.

Every number is exact: p is a multiple of 2**-24, w of 2**-10, and coefficients and limits are
whole micro-units (1e-6). So the value and every use are integers in units of 1e-6 * 2**-34 and
1e-6 * 2**-24, and sums do not depend on order. S subscribers, A actions, K constraints,
D caps, G scope groups, Q most actions of any subscriber.

Over N days an action is a pair on a day (:mod:`engine.rules`). A block has the propensities of the
P = A / N pairs, which are those of each day, and says on which days a pair is open. A block that is
spread (:meth:`Problem.spread`) has a row for each action instead; both mean the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from math import inf, nextafter
from typing import Any

import numpy as np

from engine.block import Block, spread
from engine.errors import DataError
from engine.limits import MICRO
from engine.parts import Parts, told
from engine.problem_checks import MOST_WEIGHT as MOST_WEIGHT
from engine.problem_checks import Checked, problems_of
from engine.quotient import Quotient
from engine.rules import Rules
from kernels.choose import (
    MOST_ACTIONS,
    MOST_BUNDLE,
    MOST_CODES,
    MUST,
    PROPENSITY_GRID,
    WEIGHT_GRID,
)

VALUE_UNIT = MICRO * PROPENSITY_GRID * WEIGHT_GRID
USE_UNIT = MICRO * PROPENSITY_GRID
MOST_CLASSES = 32

UNIT = {"contacts": "contact", "acceptances": "expected acceptance"}  # of other measures: money


@dataclass(frozen=True)
class Row:
    """What a global constraint is called: one limit of one measure."""

    name: str
    measure: str
    is_minimum: bool  # a minimum is stored negated: -use <= -limit
    twin: str | None = None  # of one side of an equation: the constraint
    quotient: Quotient | None = None  # of a ratio
    is_weighted: bool = False  # whether subscribers' weights count
    scale: int = 1  # what the form of a unit of the measure is multiplied by
    series: str | None = None  # name of the limits that are this one on other days; None: no day's
    day: int = 0  # of a series: the day, from 0 on


@dataclass(frozen=True, eq=False)
class Problem:
    """One allocation problem. Coefficients are whole micro-units, on the host."""

    blocks: Sequence[Block] | Parts  # Parts: each where it was made
    offer: Any  # [A] int32
    channel: Any  # [A] int32
    rules: Rules
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
    checked: Checked | None = field(default=None, repr=False)  # once the blocks are found right

    def __post_init__(self) -> None:
        found = problems_of(self, self.checked)
        if found:
            raise DataError.of(found)
        object.__setattr__(self, "checked", Checked.of(self))
        actions = len(self.offer)
        is_searched = self.width > 1 or self.rules.households is not None
        if is_searched and actions > MOST_ACTIONS:
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
        return int(sum(told(self.blocks, len)))

    @property
    def days(self) -> int:
        """Return N."""
        return self.rules.days

    @property
    def pairs(self) -> int:
        """Return P."""
        return len(self.offer) // self.rules.days

    @property
    def spans(self) -> int:
        """Return L (Q - 1), the rows of a block's spans; 0 of one day."""
        plan = self.rules.plan()
        return 0 if plan is None else len(plan.within) * (self.width - 1)

    def spread(self, block: Block) -> Block:
        """Return the block with a row for each action, NaN on days on which it is not open."""
        return spread(block, self.rules.plan())

    def row_of(self, block: Block, action: Any) -> Any:
        """Return the row of a block that has the propensity of an action."""
        return action // (len(self.offer) // max(1, len(block.propensity)))

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
        return int(max([1, *told(self.blocks, _widest)]))

    @property
    def has_musts(self) -> bool:
        """Return whether the empty bundle is no choice for some subscribers."""
        return any(told(self.blocks, _has_musts))

    @property
    def is_soft(self) -> Any:
        """Return [K] bool whether a limit may be passed, at its penalty."""
        none = np.zeros(len(self.rows), bool)
        return none if self.penalty is None else np.isfinite(self.penalty)

    @property
    def is_charged(self) -> Any:
        """Return [K] bool whether a price is known to be its penalty.

        Where a soft limit of 0 or less counts what is never below 0, every use passes it, and the
        dual never rises with its price.
        """
        uses = (self.use_fixed < 0) | (self.use_fixed + self.use_accept < 0)
        has_less = np.zeros(len(self.rows), bool)
        np.logical_or.at(has_less, self.terms, uses.any(axis=1))
        return self.is_soft & (self.limit <= 0) & ~has_less

    @property
    def terms(self) -> Any:
        """Return [T] the limit of each term."""
        return np.arange(len(self.rows)) if self.term_of is None else self.term_of

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

    def with_blocks(self, blocks: Sequence[Block] | Parts) -> "Problem":
        """Return the same problem over other subscribers."""
        return Problem(**{**self.__dict__, "blocks": blocks})

    def gathered(self) -> "Problem":
        """Return the same problem with its blocks in this process."""
        return self.with_blocks(list(self.blocks)) if isinstance(self.blocks, Parts) else self

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


def _widest(block: Block) -> int:
    return int(block.most.max()) if len(block) else 1


def _has_musts(block: Block) -> bool:
    return bool((block.fewest >= MUST).any())


def value_units(problem: Problem, tally: Any) -> int:
    """Return the exact value of a tally, in units of 1 / VALUE_UNIT money.

    Args:
        problem: the allocation problem.
        tally: [G, A, 4] int64 on the host, from ``kernels.choose``.
    """
    weight, weighted = (tally[..., i].sum(axis=0).astype(object) for i in (2, 3))
    fixed, accept = problem.value_fixed.astype(object), problem.value_accept.astype(object)
    return int((weight * PROPENSITY_GRID * fixed + weighted * accept).sum())


def use_units(problem: Problem, tally: Any) -> list[int]:
    """Return [K] the exact use of each constraint, in units of 1 / USE_UNIT."""
    used, terms = [0] * len(problem.rows), problem.terms.tolist()
    inside = problem.in_scope.astype(np.int64)
    count, accepts = inside @ tally[..., 0], inside @ tally[..., 1]  # whole numbers: exact
    for t, a in np.argwhere(count != 0).tolist():
        fixed, accept = int(problem.use_fixed[t, a]), int(problem.use_accept[t, a])
        used[terms[t]] += fixed * PROPENSITY_GRID * int(count[t, a]) + accept * int(accepts[t, a])
    return used


def whole_limits(problem: Problem) -> Any:
    """Return [K] int64, limits in micro-units, less what no whole contacts can use up.

    Where a constraint counts contacts alone, every use is a multiple of their common divisor, and
    so may the limit be: 100.5 contacts are 100. That changes no allocation, but lowers the bound.
    Soft limits stay as they are: how far one is passed counts from where it is. So do those that
    count weights.
    """
    divisor = np.zeros(len(problem.rows), np.int64)
    np.gcd.at(divisor, problem.terms, np.gcd.reduce(problem.use_fixed, axis=1, initial=0))
    is_open = np.array([row.is_weighted for row in problem.rows], bool)
    np.logical_or.at(is_open, problem.terms, (problem.use_accept != 0).any(axis=1))
    divisor = np.where(is_open | problem.is_soft | (divisor == 0), 1, divisor)
    return problem.limit // divisor * divisor


def limit_units(problem: Problem) -> list[int]:
    """Return [K] limits in units of 1 / USE_UNIT, rounded by :func:`whole_limits`."""
    return [int(b) * PROPENSITY_GRID for b in whole_limits(problem)]


def penalties(micro_money: Sequence[int | None]) -> Any:
    """Return [K] penalties as a problem holds them, never above the exact ones; None: all hard."""
    if all(p is None for p in micro_money):
        return None
    return np.array([inf if p is None else not_above(Fraction(p, MICRO)) for p in micro_money])


def not_above(exact: Fraction) -> float:
    """Return the largest float64 that is not above a fraction."""
    rounded = float(exact)
    return rounded if rounded <= exact else nextafter(rounded, -inf)


def not_below(exact: Fraction) -> float:
    """Return the next float64 that is not below an exact number."""
    rounded = float(exact)
    return rounded if rounded >= exact else nextafter(rounded, inf)


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
    value: int | Fraction = value_units(problem, tally)
    if problem.penalty is None:
        return value
    uses, limits = use_units(problem, tally), limit_units(problem)
    for use, limit, cost in zip(uses, limits, penalty_units(problem), strict=True):
        if cost is not None and use > limit:
            value -= cost * (use - limit)
    return value
