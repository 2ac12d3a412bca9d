"""From prices to whole contacts that keep every limit to the last unit.

The core's subscribers are moved until limits hold (:mod:`engine.mend`). If that leaves too large a
gap, OR-Tools chooses the bundles of a small core exactly against what is left of the limits.
"""

from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from typing import Any

import numpy as np

from engine import integers
from engine.core import Core, core_of, exact_numbers, parts, tally_of
from engine.limits import MICRO
from engine.mend import mend
from engine.problem import USE_UNIT, VALUE_UNIT, Problem, limit_units, use_units, value_units
from engine.zoom import Zoomed
from kernels.backend import to_cpu

EXACT_CORE = 1_000  # most subscribers of the exact core
NODES = 1_000  # most nodes of SCIP's search in a core
MARGINS = (0.0, 1e-12, 1e-9)  # room left unused against rounding, as a share of a limit
ATTEMPTS = 4  # surveys, each reaching eight times as far
WIDEN = 8.0


@dataclass(frozen=True, eq=False)
class Rounded:
    """Whole bundles for every subscriber."""

    chosen: list[Any]  # by block: [Q, S] int16 on the host, NO_ACTION beyond the bundle
    value: int  # in units of 1 / VALUE_UNIT money
    is_feasible: bool  # false: no whole answer was found in the core


def round_bundles(
    problem: Problem, zoomed: Zoomed, *, tolerance: float, deadline: float
) -> Rounded:
    """Return bundles that keep every limit to the last unit.

    Args:
        problem: the allocation problem.
        zoomed: prices, bundles and near subscribers.
        tolerance: share of the bound that may be missing.
        deadline: ``perf_counter`` instant.

    Returns:
        Bundles of every subscriber; those of the prices, not feasible, if none was found.
    """
    size = max(1.0, abs(zoomed.bound))
    enough = int((zoomed.bound - tolerance * size) * VALUE_UNIT)
    slack = int(tolerance / 4 * size * VALUE_UNIT)
    best: _Answer | None = None
    for _ in range(ATTEMPTS):
        answer = _Answer.first(zoomed)
        for part in range(parts(zoomed)):
            core = core_of(zoomed, part=part)
            answer = _mended(answer, core)
            if answer.is_feasible:
                break
        best = answer.better(best)
        if not best.value_at_least(enough) and perf_counter() <= deadline:
            best = _solved(answer, core, slack, deadline).better(best)
        if best.value_at_least(enough) or perf_counter() > deadline or zoomed.covers_all:
            break
        zoomed = zoomed.widened(WIDEN)
    assert best is not None
    return Rounded(best.bundles(), best.value, best.is_feasible)


@dataclass(frozen=True, eq=False)
class _Answer:
    """A survey's bundles, changed for some subscribers."""

    zoomed: Zoomed
    tally: Any  # [G, A, 4] of all bundles
    changes: tuple[tuple[Core, Any], ...]  # cores and [N] the bundle taken

    @staticmethod
    def first(zoomed: Zoomed) -> "_Answer":
        return _Answer(zoomed, zoomed.survey.tally, ())

    @property
    def problem(self) -> Problem:
        return self.zoomed.oracle.problem

    @cached_property
    def value(self) -> int:
        return value_units(self.problem, self.tally)

    @cached_property
    def left(self) -> list[int]:
        """Return [K] what is left of each limit, in units of 1 / USE_UNIT."""
        used = use_units(self.problem, self.tally)
        return [b - u for b, u in zip(limit_units(self.problem), used, strict=True)]

    @property
    def is_feasible(self) -> bool:
        return min(self.left, default=0) >= 0

    def value_at_least(self, enough: int) -> bool:
        return self.is_feasible and self.value >= enough

    def better(self, other: "_Answer | None") -> "_Answer":
        """Return the better of two; of equals the other."""
        if other is None:
            return self
        mine, its = ((a.is_feasible, a.value) for a in (self, other))
        return self if mine > its else other

    def taken(self, core: Core) -> Any:
        """Return [N] the bundles that a core's subscribers have."""
        for changed, taken in reversed(self.changes):
            if changed is core:
                return taken
        return core.first[:-1]

    def changed(self, core: Core, taken: Any) -> "_Answer":
        """Return the answer with other bundles for a core's subscribers."""
        before, after = (
            tally_of(self.problem, core.block, core.bundles[t]) for t in (self.taken(core), taken)
        )
        return _Answer(self.zoomed, self.tally - before + after, (*self.changes, (core, taken)))

    def bundles(self) -> list[Any]:
        """Return the bundles by block, on the host."""
        out = [np.array(to_cpu(chosen)) for chosen in self.zoomed.survey.chosen]
        for core, taken in self.changes:
            for b, bundles in enumerate(out):
                mine = core.place[:, 0] == b
                bundles[:, core.place[mine, 1]] = core.bundles[taken[mine]].T
        return out


def _mended(answer: _Answer, core: Core) -> _Answer:
    """Return the answer with the core's subscribers moved until limits hold, as far as they can."""
    if not len(core):
        return answer
    limit = np.abs(answer.problem.limit / MICRO)
    slack = np.array([units / USE_UNIT for units in answer.left])
    found = answer
    for margin in MARGINS:
        taken = mend(core, answer.zoomed.prices, slack, margin * limit)
        found = answer.changed(core, taken)
        if found.is_feasible:
            break
    return found


def _solved(answer: _Answer, core: Core, slack: int, deadline: float) -> _Answer:
    """Return the answer with a core of few subscribers chosen exactly, if that succeeds."""
    open_ = np.sort(core.by_regret()[:EXACT_CORE])
    now, problem = answer.taken(core), answer.problem
    rest = answer.tally - tally_of(problem, core.block.take(open_), core.bundles[now[open_]])
    left = [b - u for b, u in zip(limit_units(problem), use_units(problem, rest), strict=True)]
    listed = [j for s in open_ for j in range(core.first[s], core.first[s + 1])]
    owner = core.owner[listed]
    values, uses = exact_numbers(problem, core, listed)
    choices: dict[int, list[int]] = {}
    for i, s in enumerate(owner.tolist()):
        choices.setdefault(s, []).append(i)
    rows = []
    for k, room in enumerate(left):
        used = [i for i, use in enumerate(uses[k]) if use]
        if used:
            rows.append((used, [uses[k][i] for i in used], room))
        elif room < 0:
            return answer
    taken = integers.near_best(
        values, [(c, 1) for c in choices.values()], rows, slack=slack, nodes=NODES,
        seconds=max(1.0, deadline - perf_counter()),
    )  # fmt: skip
    if taken is None:
        return answer
    after = now.copy()
    nothing = {s: j for s, j in zip(owner.tolist(), listed, strict=True) if core.is_empty(j)}
    for s in choices:
        after[s] = nothing.get(s, -1)
    for i in np.flatnonzero(taken).tolist():
        after[owner[i]] = listed[i]
    return answer.changed(core, after)
