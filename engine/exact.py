"""Small problems as one whole-number model: every open pair is a variable of CP-SAT."""

from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import Any

import numpy as np

from engine import integers
from engine.exact_rules import BundleRows, Choices, Uses, without_exempt
from engine.forms import AnyProblem, limits_of, penalties_of
from engine.pair_exact import pairs_of, sums_of
from engine.pair_problem import PairProblem
from kernels.backend import to_cpu
from kernels.choose import NO_ACTION, PROPENSITY_GRID, WEIGHT_GRID

MOST_STEPS = 20  # of the search for a ratio; it takes a handful


@dataclass(frozen=True, eq=False)
class Pairs:
    """The open pairs of a problem, in the order of subscribers' keys, and what each counts."""

    block: Any  # [N] block of the pair
    row: Any  # [N] row in its block
    action: Any  # [N]
    value: list[int]  # [N] in value units
    use: list[list[int]]  # [K][N] in use units
    choices: Choices  # X_s of every subscriber: at most so many of these
    uses: Uses  # X_s, what no such count says: sum coefficients x <= limit
    helpers: int  # further variables of X_s behind the N pairs, of no value


def pairs(problem: AnyProblem) -> Pairs:
    """List a problem's open pairs with exact numbers."""
    if isinstance(problem, PairProblem):
        return Pairs(*pairs_of(problem), helpers=0)
    blocks = [
        without_exempt(problem, {n: to_cpu(a) for n, a in problem.spread(b).__dict__.items()})
        for b in problem.blocks
    ]
    subscribers = sorted(
        (int(key), b, row) for b, block in enumerate(blocks) for row, key in enumerate(block["key"])
    )
    found: list[tuple[int, int, int]] = []
    value: list[int] = []
    use: list[list[int]] = [[] for _ in problem.rows]
    rules, terms = BundleRows(problem), problem.terms.tolist()
    for _, b, row in subscribers:
        block = blocks[b]
        open_ = np.flatnonzero(~np.isnan(block["propensity"][:, row]))
        first = len(found)
        g, weight = int(block["group"][row]), int(block["weight"][row] * WEIGHT_GRID)
        for a in open_:
            p = int(float(block["propensity"][a, row]) * PROPENSITY_GRID)
            found.append((b, row, int(a)))
            fixed, accept = int(problem.value_fixed[a]), int(problem.value_accept[a])
            value.append(weight * (fixed * PROPENSITY_GRID + accept * p))
            for own in use:
                own.append(0)
            for t, k in enumerate(terms):
                if problem.in_scope[t, g]:
                    use[k][-1] += int(problem.use_fixed[t, a]) * PROPENSITY_GRID
                    use[k][-1] += int(problem.use_accept[t, a]) * p
        rules.add(block, row, open_.tolist(), first)
    rules.add_households()
    block_, row_, action = np.array(found, np.int64).reshape(-1, 3).T
    choices, uses = rules.rows(len(found))
    return Pairs(block_, row_, action, value, use, choices, uses, rules.helpers)


@dataclass(frozen=True, eq=False)
class Exact:
    """The answer of the exact model."""

    status: str  # as in integers.Answer
    chosen: list[Any]  # by block: [Q, S] int16
    value: int | Fraction  # in value units, less what overruns cost
    bound: int | Fraction  # in value units, no allocation is worth more


def solve_exactly(
    problem: AnyProblem, *, slack: int, effort: float, seconds: float, share: float = 0.0
) -> Exact:
    """Solve a problem as one model.

    Args:
        problem: a small allocation problem.
        slack: as in :func:`engine.integers.solve`.
        effort: as in :func:`engine.integers.solve`.
        seconds: as in :func:`engine.integers.solve`.
        share: as in :func:`engine.integers.solve`.
    """
    found = pairs(problem)
    everything = list(range(len(found.value)))
    costs, limits = penalties_of(problem), limits_of(problem)
    # The model counts in parts of a value unit in which every penalty is whole.
    part = lcm(*(cost.denominator for cost in costs if cost is not None))
    values = [value * part for value in found.value]
    uses, soft = [], []
    for use, limit, cost in zip(found.use, limits, costs, strict=True):
        if cost is None:
            uses.append((everything, use, limit))
        elif limit == 0 and min(use, default=0) >= 0:  # every use passes it
            values = [v - int(cost * part) * u for v, u in zip(values, use, strict=True)]
        else:
            soft.append((everything, use, limit, int(cost * part)))
    answer = integers.solve(
        [*values, *[0] * found.helpers],
        found.choices, [*uses, *found.uses], soft,
        slack=slack * part, effort=effort, seconds=seconds, share=share,
    )  # fmt: skip
    chosen = [np.full((problem.width, len(b)), NO_ACTION, np.int16) for b in problem.blocks]
    taken = np.flatnonzero(answer.taken[: len(found.value)]).tolist()
    for i in taken:
        bundle = chosen[found.block[i]][:, found.row[i]]
        bundle[np.flatnonzero(bundle < 0)[0]] = found.action[i]
    worth = sum(values[i] for i in taken)
    for _, use, limit, each in soft:
        worth -= each * max(0, sum(use[i] for i in taken) - limit)
    return Exact(answer.status, chosen, Fraction(worth, part), Fraction(answer.bound, part))


def least_use(problem: AnyProblem, k: int, *, effort: float, seconds: float) -> int | None:
    """Return the least use of limit k (use units) that the other limits allow, or None.

    If the effort ends first, the least found. All limits are taken as hard.

    Args:
        problem: a small allocation problem.
        k: the limit.
        effort: as in :func:`engine.integers.solve`.
        seconds: as in :func:`engine.integers.solve`.
    """
    found = pairs(problem)
    taken = _least(problem, found, (k, found.use[k]), effort=effort, seconds=seconds)
    return None if taken is None else sum(found.use[k][i] for i in taken)


def _least(
    problem: AnyProblem,
    found: Pairs,
    what: tuple[int, list[int]],
    *,
    effort: float,
    seconds: float,
) -> list[int] | None:
    """Return the pairs of least sum that all limits but one allow; None: there are none."""
    but, amounts = what
    everything, limits = list(range(len(found.value))), limits_of(problem)
    uses = [(everything, found.use[i], limits[i]) for i in range(len(limits)) if i != but]
    answer = integers.solve(
        [*(-u for u in amounts), *[0] * found.helpers], found.choices, [*uses, *found.uses],
        slack=0, effort=effort, seconds=seconds,
    )  # fmt: skip
    if answer.status not in ("OPTIMAL", "FEASIBLE"):
        return None
    return [int(i) for i in np.flatnonzero(answer.taken[: len(found.value)])]


def best_ratio(problem: AnyProblem, k: int, *, effort: float, seconds: float) -> Fraction | None:
    """Return the limit of ratio k next to its present one that the other limits allow, or None.

    Starts from an allocation with a large denominator (of a minimum: a large numerator) and goes
    on to the least (largest) ``of - ratio to`` at the ratio reached, until that is 0.

    Args:
        problem: a small allocation problem.
        k: the ratio.
        effort: as in :func:`engine.integers.solve`, for each step.
        seconds: as in :func:`engine.integers.solve`, for each step.

    Source:
        Dinkelbach, "On Nonlinear Fractional Programming", Management Science 13(7), 1967.
    """
    found, row = pairs(problem), problem.rows[k]
    of, to = _sums(problem, found, k)
    sign = -1 if row.is_minimum else 1
    amounts = [-u for u in (of if row.is_minimum else to)]
    best: Fraction | None = None
    for _ in range(MOST_STEPS):
        taken = _least(problem, found, (k, amounts), effort=effort, seconds=seconds)
        if taken is None or not sum(to[i] for i in taken):
            return best
        reached = Fraction(sum(of[i] for i in taken), sum(to[i] for i in taken))
        if best is not None and sign * (best - reached) <= 0:
            return best
        best = reached
        amounts = [
            sign * (best.denominator * n - best.numerator * d) for n, d in zip(of, to, strict=True)
        ]
    return best


def _sums(problem: AnyProblem, found: Pairs, k: int) -> tuple[list[int], list[int]]:
    """Return [N] what each pair adds to the numerator and the denominator of a ratio."""
    if isinstance(problem, PairProblem):
        return sums_of(problem, zip(found.block, found.row, found.action, strict=True), k)
    quotient = problem.rows[k].quotient
    if quotient is None:
        raise AssertionError(f"{problem.rows[k].name} is no ratio")
    sums: tuple[list[int], list[int]] = [], []
    blocks = list(problem.blocks)
    sides = ((quotient.of, quotient.of_scope), (quotient.to, quotient.to_scope))
    for b, row, a in zip(found.block, found.row, found.action, strict=True):
        block = blocks[b]
        own = float(block.propensity[problem.row_of(block, a), row])
        g, p = int(block.group[row]), int(own * PROPENSITY_GRID)
        for out, (coefficients, scope) in zip(sums, sides, strict=True):
            fixed, accept = (int(c) for c in coefficients[:, a])
            out.append(fixed * PROPENSITY_GRID + accept * p if scope[g] else 0)
    return sums
