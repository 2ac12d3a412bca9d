"""From prices to whole contacts that keep every limit to the last unit.

The core's subscribers are moved until limits hold (:mod:`engine.mend`). If that leaves too large a
gap, they are moved at the core's own prices (:mod:`engine.repricing`) and in pairs
(:mod:`engine.swaps`); then OR-Tools chooses the bundles of a small core exactly against what is
left of the limits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, partial
from typing import Any

import numpy as np

from engine import integers
from engine.core import MOST_CORE, Core
from engine.mend import MOST_ROUNDS, mend
from engine.oracle import Oracle
from engine.repricing import Repriced, repriced
from engine.stop import Deadline
from engine.swaps import swap
from engine.zoom import Zoomed
from kernels.backend import to_cpu

EXACT_CORE = 300  # most subscribers of the exact core
SMALL, SMALL_CORE = 20_000, 1_000  # of a small base it is larger: each contact matters more
MARGINS = (0.0, 1e-12, 1e-9)  # room left unused against rounding, as a share of a limit
ATTEMPTS = 4  # surveys, each reaching eight times as far
WIDEN = 8.0
FEW_USES = 8  # limits that a bundle uses, on average


@dataclass(frozen=True, eq=False)
class Rounded:
    """Whole bundles for every subscriber."""

    chosen: list[Any]  # by block: [Q, S] int16 on the host, NO_ACTION beyond the bundle
    value: int | Fraction  # in units of 1 / VALUE_UNIT money, less what overruns cost
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
    is_small = zoomed.oracle.subscribers <= SMALL
    best: _Answer | None = None
    for attempt in range(ATTEMPTS):
        before = best
        has_answer = best is not None and best.is_feasible
        answer, core = _moved(zoomed, tolerance * size, deadline if has_answer else None)
        best = answer.better(best)
        if is_quick:
            break
        is_open = not best.value_at_least(enough) and not deadline.is_over()
        if is_open and len(core) and not is_small:  # the exact core of a small base does better
            allowed = tolerance * size
            methods = [mend]
            if attempt or np.count_nonzero(core.use) <= FEW_USES * len(core.use):
                methods.append(partial(swap, deadline=deadline))  # many limits: takes seconds
            answer, core = _improved(
                answer, core, enough, allowed, methods=methods, deadline=deadline
            )
            best = answer.better(best)
            is_open = not best.value_at_least(enough) and not deadline.is_over()
        if best is not before or is_small:
            open_core = answer, core
        is_vain = best is before and best.is_feasible and not is_small
        is_last = attempt == ATTEMPTS - 1 or zoomed.covers_all or is_vain
        if is_open and (is_small or is_last):  # of a large base it is slow, and gains little
            best = _solved(*open_core, slack, deadline).better(best)
        if best.value_at_least(enough) or deadline.is_over() or is_last:
            break
        near = zoomed.start.near_count
        zoomed = zoomed.widened(min(max(0.9 * MOST_CORE / max(near, 1), 2.0), WIDEN))
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
        return _Answer(zoomed, zoomed.start.total, ())

    @cached_property
    def exact(self) -> tuple[int | Fraction, list[int]]:
        """Return the net value and what is left of each limit [K], in whole units."""
        return self.zoomed.oracle.exact(self.total)

    @property
    def value(self) -> int | Fraction:
        return self.exact[0]

    @property
    def is_feasible(self) -> bool:
        costs = self.zoomed.oracle.penalty_units
        return all(b >= 0 for b, cost in zip(self.exact[1], costs, strict=True) if cost is None)

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
            if np.array_equal(changed.place, core.place):
                return taken
        return core.first[:-1]

    def renumbered(self, core: Core, other: Repriced) -> "_Answer":
        """Return the same answer, a core's bundles by their numbers in the repriced core."""
        now = (other.core, other.place[self.taken(core)])
        return replace(self, changes=(*self.changes, now))

    def changed(self, core: Core, taken: Any) -> "_Answer":
        """Return the answer with other bundles for a core's subscribers."""
        rows = np.flatnonzero(taken != self.taken(core))
        before, after = (
            self.zoomed.oracle.total_of(core, rows, t[rows]) for t in (self.taken(core), taken)
        )
        return _Answer(self.zoomed, self.total - before + after, (*self.changes, (core, taken)))

    def bundles(self) -> list[Any]:
        """Return the bundles by block, on the host."""
        out = [np.array(to_cpu(chosen)) for chosen in self.zoomed.start.chosen]
        for core, taken in self.changes:
            for b, bundles in enumerate(out):
                mine = core.place[:, 0] == b
                bundles[:, core.place[mine, 1]] = core.bundles[taken[mine]].T
        return out


def _moved(zoomed: Zoomed, allowed: float, deadline: Deadline | None) -> tuple[_Answer, Core]:
    """Return a survey's bundles, its near subscribers moved, and the first core of them.

    Where masses tie there are several cores: each first does what pays, then what must be.
    """
    answer = _Answer.first(zoomed)
    parts = max(1, -(-zoomed.start.near_count // MOST_CORE))
    for rounds in (1, MOST_ROUNDS) if parts > 1 else (MOST_ROUNDS,):
        for part in range(parts):
            if part and deadline is not None and deadline.is_over():
                break
            core = zoomed.oracle.core(zoomed.start, part)
            if part == 0:
                first = core  # a full one; the last has what is over, which may be next to nobody
            if len(core):
                mender = partial(mend, rounds=rounds)
                answer = _chosen_by(mender, answer, core, allowed)
        if answer.is_feasible:
            break
    return answer, first


def _improved(
    answer: _Answer,
    core: Core,
    enough: int,
    allowed: float,
    *,
    methods: Sequence[Any],
    deadline: Deadline,
) -> tuple[_Answer, Core]:
    """Return a better answer, if one is found by moves at the core's own prices, and the core."""
    oracle = answer.zoomed.oracle
    slack, _ = _left(answer, core)
    other = repriced(core, slack, oracle.scale, oracle.penalty, deadline=deadline)
    if other is not None:
        answer, core = answer.renumbered(core, other), other.core
    for method in methods:
        if not answer.value_at_least(enough) and not deadline.is_over():
            answer = _chosen_by(method, answer, core, allowed).better(answer)
    return answer, core


def _left(answer: _Answer, core: Core) -> tuple[Any, float]:
    """Return what is left of each limit where the core has its best bundles, and the dual there.

    Returns:
        [K] float64, units; money, the bound of all answers that change this core alone.
    """
    oracle, rows = answer.zoomed.oracle, np.arange(len(core))
    rest = answer.total - oracle.total_of(core, rows, answer.taken(core))
    value, left = oracle.exact(rest + oracle.total_of(core, rows, core.first[:-1]))
    slack = np.array([u / unit for u, unit in zip(left, oracle.use_unit, strict=True)])
    penalty = np.where(np.isinf(oracle.penalty), 0.0, oracle.penalty)
    owed = core.prices * slack + penalty * np.maximum(-slack, 0.0)
    return slack, float(value / oracle.value_unit + owed.sum())


def _chosen_by(method: Callable[..., Any], answer: _Answer, core: Core, allowed: float) -> _Answer:
    """Return the answer with the core's bundles chosen anew, so that limits hold if they can."""
    oracle, found = answer.zoomed.oracle, answer
    slack, dual = _left(answer, core)
    allowed -= max(0.0, answer.zoomed.bound - dual)  # the rest is lost whatever the core does
    for margin in MARGINS:
        room = np.where(np.isinf(oracle.penalty), margin * np.abs(oracle.limit), 0.0)
        taken = method(core, slack, room, oracle.penalty, allowed=allowed)
        found = answer.changed(core, taken)
        if found.is_feasible or (slack < 0).all():
            break
    return found


def _solved(answer: _Answer, core: Core, slack: int, deadline: Deadline) -> _Answer:
    """Return the answer with a core of few subscribers chosen exactly, if that succeeds."""
    size = EXACT_CORE if answer.zoomed.oracle.subscribers > SMALL else SMALL_CORE
    open_ = np.sort(core.by_regret()[:size])
    now, oracle = answer.taken(core), answer.zoomed.oracle
    listed = [j for s in open_ for j in range(core.first[s], core.first[s + 1]) if j != now[s]]
    owner = core.owner[listed]
    values, uses = _gains(oracle, core, listed, now)
    left = answer.exact[1]
    choices: dict[int, list[int]] = {}
    for i, s in enumerate(owner.tolist()):
        choices.setdefault(s, []).append(i)
    rows, soft = [], []
    for k, (room, cost) in enumerate(zip(left, oracle.penalty_units, strict=True)):
        used = [i for i, use in enumerate(uses[k]) if use]
        if cost is not None and oracle.charged[k]:
            values = [v - round(cost * use) for v, use in zip(values, uses[k], strict=True)]
        elif used and cost is not None:
            soft.append((used, [uses[k][i] for i in used], room, cost))
        elif used:
            rows.append((used, [uses[k][i] for i in used], room))
        elif room < 0 and cost is None:
            return answer
    taken = integers.near_best(
        values, [(c, 1) for c in choices.values()], rows, soft, slack=slack, nodes=size,
        seconds=deadline.seconds(),
    )  # fmt: skip
    if taken is None:
        return answer
    after = now.copy()
    for i in np.flatnonzero(taken).tolist():
        after[owner[i]] = listed[i]
    return answer.changed(core, after)


def _gains(
    oracle: Oracle, core: Core, listed: list[int], now: Any
) -> tuple[list[int], list[list[int]]]:
    """Return what value [N] and use [K][N] gain when bundles replace those that are taken now."""
    before = now[core.owner[listed]].tolist()
    (values, uses), (less, less_use) = (oracle.exact_bundles(core, j) for j in (listed, before))
    return [a - b for a, b in zip(values, less, strict=True)], [
        [a - b for a, b in zip(one, other, strict=True)]
        for one, other in zip(uses, less_use, strict=True)
    ]
