"""Small problems as one whole-number model: every open pair is a variable of CP-SAT."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from engine import integers
from engine.forms import AnyProblem, limits_of
from engine.pair_exact import pairs_of
from engine.pair_problem import PairProblem
from engine.problem import Problem
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
    choices: list[tuple[list[int], int]]  # X_s of every subscriber: at most so many of these
    uses: list[tuple[list[int], list[int], int]]  # X_s otherwise: sum coefficients x <= limit


def pairs(problem: AnyProblem) -> Pairs:
    """List a problem's open pairs with exact numbers."""
    if isinstance(problem, PairProblem):
        return Pairs(*pairs_of(problem))
    blocks = [{n: to_cpu(a) for n, a in b.__dict__.items()} for b in problem.blocks]
    subscribers = sorted(
        (int(key), b, row) for b, block in enumerate(blocks) for row, key in enumerate(block["key"])
    )
    found: list[tuple[int, int, int]] = []
    value: list[int] = []
    use: list[list[int]] = [[] for _ in problem.rows]
    choices: list[tuple[list[int], int]] = []
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
        choices += _choices(problem, block, row, open_, first)
    block_, row_, action = np.array(found, np.int64).reshape(-1, 3).T
    return Pairs(block_, row_, action, value, use, choices, [])


def _choices(
    problem: Problem, block: dict[str, Any], row: int, open_: Any, first: int
) -> list[tuple[list[int], int]]:
    everything = list(range(first, first + len(open_)))
    found = [(everything, int(block["most"][row]))]
    for of, caps in (
        (problem.offer, None),
        (problem.channel, block["channel_most"]),
        (problem.category, block["category_most"]),
    ):
        for item in np.unique(of[open_]):
            members = [first + int(i) for i in np.flatnonzero(of[open_] == item)]
            found.append((members, 1 if caps is None else int(caps[item, row])))
    return [(members, most) for members, most in found if len(members) > most]


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
        found.value, found.choices, [*uses, *found.uses],
        slack=slack, effort=effort, seconds=seconds, share=share,
    )  # fmt: skip
    chosen = [np.full((problem.width, len(b)), NO_ACTION, np.int16) for b in problem.blocks]
    taken = np.flatnonzero(answer.taken)
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
        [-u for u in found.use[k]], found.choices, [*uses, *found.uses],
        slack=0, effort=effort, seconds=seconds,
    )  # fmt: skip
    if answer.status not in ("OPTIMAL", "FEASIBLE"):
        return None
    return sum(found.use[k][i] for i in np.flatnonzero(answer.taken))
