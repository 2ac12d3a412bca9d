"""What each action uses of each constraint, and what that costs and adds up to."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from engine.limits import MICRO
from engine.problem import Problem


@dataclass(frozen=True, eq=False)
class Entries:
    """What each action uses of each constraint, the zeros left out; a cell is a group's action."""

    first: Any  # [G A + 1] int64
    constraint: Any  # [N] int64, increasing within a cell
    fixed: Any  # [N] float64, units of the constraint per contact
    accept: Any  # [N] float64, per acceptance

    @staticmethod
    def of(problem: Problem) -> "Entries":
        """Collect the entries of a problem; terms of the same constraint become one."""
        used = (problem.use_fixed != 0) | (problem.use_accept != 0)
        mask = problem.in_scope.T[:, None, :] & used.T[None, :, :]
        group, action, term = np.nonzero(mask)
        cell, constraint = group * len(problem.offer) + action, problem.terms[term]
        is_new = (np.diff(cell, prepend=-1) != 0) | (np.diff(constraint, prepend=-1) != 0)
        starts = np.flatnonzero(is_new)
        fixed, accept = problem.use_fixed[term, action], problem.use_accept[term, action]
        if len(starts) < len(term):
            fixed, accept = np.add.reduceat(fixed, starts), np.add.reduceat(accept, starts)
        return Entries(
            np.searchsorted(cell[starts], np.arange(problem.groups * len(problem.offer) + 1)),
            np.ascontiguousarray(constraint[starts]),
            fixed / MICRO,
            accept / MICRO,
        )


@njit(cache=True)
def paid(first: Any, constraint: Any, use: Any, prices: Any, out: Any) -> None:
    for cell in range(out.size):
        total = 0.0
        for e in range(first[cell], first[cell + 1]):
            total += prices[constraint[e]] * use[e]
        out[cell] = total


@njit(cache=True)
def added(
    tally: Any, value: Any, first: Any, constraint: Any, fixed: Any, accept: Any, classes: Any,
    p_grid: float, w_grid: float, worth: Any, use: Any,
) -> None:  # fmt: skip
    """Add up value and use by class, in the order of groups, actions and constraints."""
    for g in range(tally.shape[0]):
        for a in range(tally.shape[1]):
            contacts, p = np.float64(tally[g, a, 0]), np.float64(tally[g, a, 1]) / p_grid
            weight = np.float64(tally[g, a, 2]) / w_grid
            weighted = np.float64(tally[g, a, 3]) / (p_grid * w_grid)
            worth[classes[g]] += weight * value[0, a] + weighted * value[1, a]
            cell = g * tally.shape[1] + a
            for e in range(first[cell], first[cell + 1]):
                use[constraint[e], classes[g]] += fixed[e] * contacts + accept[e] * p
