"""Small problems as one whole-number model: every open pair is a variable of CP-SAT."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from engine import integers
from engine.exact_rules import BundleRows, Choices, Uses, without_exempt
from engine.forms import AnyProblem, limits_of
from engine.pair_exact import pairs_of
from engine.pair_problem import PairProblem
from kernels.backend import to_cpu
from kernels.choose import NO_ACTION, PROPENSITY_GRID, WEIGHT_GRID


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
        without_exempt(problem, {n: to_cpu(a) for n, a in b.__dict__.items()})
        for b in problem.blocks
    ]
    subscribers = sorted(
        (int(key), b, row) for b, block in enumerate(blocks) for row, key in enumerate(block["key"])
    )
    found: list[tuple[int, int, int]] = []
    value: list[int] = []
    use: list[list[int]] = [[] for _ in problem.rows]
    rules = BundleRows(problem)
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
            for k in range(len(use)):
                amount = int(problem.use_fixed[k, a]) * PROPENSITY_GRID
                amount += int(problem.use_accept[k, a]) * p
                use[k].append(amount if problem.in_scope[k, g] else 0)
        rules.add(block, row, open_.tolist(), first)
    block_, row_, action = np.array(found, np.int64).reshape(-1, 3).T
    choices, uses = rules.rows(len(found))
    return Pairs(block_, row_, action, value, use, choices, uses, rules.helpers)


@dataclass(frozen=True, eq=False)
class Exact:
    """The answer of the exact model."""

    status: str  # as in integers.Answer
    chosen: list[Any]  # by block: [Q, S] int16
    value: int  # in value units
    bound: int  # in value units, no allocation is worth more


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
    uses = [
        (everything, use, limit)
        for use, limit in zip(found.use, limits_of(problem), strict=True)
    ]  # fmt: skip
    answer = integers.solve(
        [*found.value, *[0] * found.helpers], found.choices, [*uses, *found.uses],
        slack=slack, effort=effort, seconds=seconds, share=share,
    )  # fmt: skip
    chosen = [np.full((problem.width, len(b)), NO_ACTION, np.int16) for b in problem.blocks]
    taken = np.flatnonzero(answer.taken[: len(found.value)])
    for i in taken:
        bundle = chosen[found.block[i]][:, found.row[i]]
        bundle[np.flatnonzero(bundle < 0)[0]] = found.action[i]
    return Exact(answer.status, chosen, sum(found.value[i] for i in taken), answer.bound)


def least_use(problem: AnyProblem, k: int, *, effort: float, seconds: float) -> int | None:
    """Return the least use of limit k (use units) that the other limits allow, or None.

    If the effort ends first, the least found.

    Args:
        problem: a small allocation problem.
        k: the limit.
        effort: as in :func:`engine.integers.solve`.
        seconds: as in :func:`engine.integers.solve`.
    """
    found = pairs(problem)
    everything = list(range(len(found.value)))
    limits = limits_of(problem)
    uses = [(everything, found.use[i], limits[i]) for i in range(len(limits)) if i != k]
    answer = integers.solve(
        [*(-u for u in found.use[k]), *[0] * found.helpers], found.choices, [*uses, *found.uses],
        slack=0, effort=effort, seconds=seconds,
    )  # fmt: skip
    if answer.status not in ("OPTIMAL", "FEASIBLE"):
        return None
    return sum(found.use[k][i] for i in np.flatnonzero(answer.taken[: len(found.value)]))
