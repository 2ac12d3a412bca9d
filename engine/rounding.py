"""From prices to whole contacts that keep every limit to the last unit.

The core's subscribers are moved until limits hold (:mod:`engine.mend`). If that leaves too large a
gap, OR-Tools chooses the bundles of a small core exactly against what is left of the limits.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from engine import integers
from engine.core import MOST_CORE, Core
from engine.mend import mend
from engine.stop import Deadline
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
    left: list[int]  # [K] of each limit, in units of 1 / USE_UNIT
    is_enough: bool  # feasible, and within the tolerance
    passes: float  # so far, those of the search for prices included


def round_bundles(
    zoomed: Zoomed, *, tolerance: float, deadline: Deadline, is_quick: bool = False
) -> Rounded:
    """Return bundles that keep every limit to the last unit.

    Args:
        zoomed: prices, bundles and near subscribers.
        tolerance: share of the bound that may be missing.
        deadline: when to end.
        is_quick: whether to do no more than to mend the first core.

    Returns:
        Bundles of every subscriber; those of the prices, not feasible, if none was found.
    """
    size = max(1.0, abs(zoomed.bound))
    unit = zoomed.oracle.value_unit
    enough = int((zoomed.bound - tolerance * size) * unit)
    slack = int(tolerance / 4 * size * unit)
    best: _Answer | None = None
    for _ in range(ATTEMPTS):
        answer = _Answer.first(zoomed)
        for part in range(max(1, -(-zoomed.survey.near_count // MOST_CORE))):  # masses may tie
            core = zoomed.oracle.core(zoomed.survey, part)
            answer = _mended(answer, core)
            if answer.is_feasible or deadline.is_over():
                break
        best = answer.better(best)
        if is_quick:
            break
        if not best.value_at_least(enough) and not deadline.is_over():
            best = _solved(answer, core, slack, deadline).better(best)
        if best.value_at_least(enough) or deadline.is_over() or zoomed.covers_all:
            break
        zoomed = zoomed.widened(WIDEN)
    assert best is not None
    return Rounded(
        best.bundles(), best.value, best.is_feasible, best.exact[1], best.value_at_least(enough),
        zoomed.passes,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Answer:
    """A survey's bundles, changed for some subscribers."""

    zoomed: Zoomed
    total: Any  # of all bundles
    changes: tuple[tuple[Core, Any], ...]  # cores and [N] the bundle taken

    @staticmethod
    def first(zoomed: Zoomed) -> "_Answer":
        return _Answer(zoomed, zoomed.survey.total, ())

    @cached_property
    def exact(self) -> tuple[int, list[int]]:
        """Return the value and what is left of each limit [K], in whole units."""
        return self.zoomed.oracle.exact(self.total)

    @property
    def value(self) -> int:
        return self.exact[0]

    @property
    def is_feasible(self) -> bool:
        return min(self.exact[1], default=0) >= 0

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
        rows = np.flatnonzero(taken != self.taken(core))
        before, after = (
            self.zoomed.oracle.total_of(core, rows, t[rows]) for t in (self.taken(core), taken)
        )
        return _Answer(self.zoomed, self.total - before + after, (*self.changes, (core, taken)))

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
    oracle = answer.zoomed.oracle
    slack = np.array([units / oracle.use_unit for units in answer.exact[1]])
    found = answer
    for margin in MARGINS:
        taken = mend(core, answer.zoomed.prices, slack, margin * np.abs(oracle.limit))
        found = answer.changed(core, taken)
        if found.is_feasible:
            break
    return found


def _solved(answer: _Answer, core: Core, slack: int, deadline: Deadline) -> _Answer:
    """Return the answer with a core of few subscribers chosen exactly, if that succeeds."""
    open_ = np.sort(core.by_regret()[:EXACT_CORE])
    now, oracle = answer.taken(core), answer.zoomed.oracle
    _, left = oracle.exact(answer.total - oracle.total_of(core, open_, now[open_]))
    listed = [j for s in open_ for j in range(core.first[s], core.first[s + 1])]
    owner = core.owner[listed]
    values, uses = oracle.exact_bundles(core, listed)
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
        seconds=deadline.seconds(),
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
