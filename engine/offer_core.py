"""The core of a base: near subscribers, with every bundle a step away from their best."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from engine.block import MEMBER_BITS, Block, joined, to_host
from engine.coarse import tied_days
from engine.core import MOST_CORE, Core, least_regretful
from engine.household_core import deal
from engine.parts import Dealt, parts_of
from engine.problem import Problem
from kernels.backend import to_cpu
from kernels.bundle_rows import MUST, REST, fill, fits, is_complete, surplus_at
from kernels.choose import NO_ACTION, PROPENSITY_GRID, WEIGHT_GRID

if TYPE_CHECKING:
    from engine.offer_oracle import OfferOracle

TIE = 1e-3  # typical values: a bundle of less regret ties, where days do


@njit(cache=True)
def _surpluses(
    propensity: Any, weight: Any, group: Any, value: Any, price_fixed: Any, price_accept: Any,
    out: Any,
) -> None:  # fmt: skip
    fixed, accept = value[0], value[1]
    for a in range(out.shape[0]):
        for s in range(out.shape[1]):
            w, g, p = np.float64(weight[s]), group[s], propensity[a, s]
            out[a, s] = surplus_at(w, g, p, a, fixed, accept, price_fixed, price_accept)


@njit(cache=True)
def _neighbours(
    surplus: Any, most: Any, fewest: Any, cap: Any, rules: Any, best: Any, limit: float,
    owner: Any, bundles: Any, regret: Any,
) -> int:  # fmt: skip
    """List each subscriber's best bundle, then those that differ by one action and cost < limit.

    An action is dropped, added or put in the place of another. Returns how many there are; no more
    are written than there is space for.
    """
    width, caps = best.shape[0], cap.shape[0]
    trial, room = np.empty(width + 1, np.int64), np.empty(caps, np.int64)
    count = 0
    for s in range(surplus.shape[1]):
        size = 0
        for i in range(width):
            size += best[i, s] >= 0
        must, least = fewest[s] >= MUST, fewest[s] & REST
        for drop in range(-1, size):  # -1: nothing is dropped
            kept = 0
            for d in range(caps):
                room[d] = cap[d, s]
            for i in range(size):
                if i != drop:
                    fill(trial, kept, best[i, s], 1, room, rules)
                    trial[kept] = best[i, s]
                    kept += 1
            lost = surplus[best[drop, s], s] if drop >= 0 else 0.0
            for a in range(-1, surplus.shape[0]):  # -1: nothing is added
                total = kept + (a >= 0)
                if a >= 0:
                    if not surplus[a, s] > lost - limit or total > most[s]:
                        continue
                    if not fits(trial, kept, a, room, rules):
                        continue
                    is_held = False
                    for i in range(size):
                        is_held |= best[i, s] == a
                    if is_held:
                        continue
                    trial[kept] = a
                elif lost >= limit:
                    continue
                if drop >= 0 or a >= 0:  # the best itself is allowed
                    if total < least if total else must:
                        continue
                    if not is_complete(trial, total, rules[7]):
                        continue
                if count < owner.size:
                    owner[count] = s
                    regret[count] = lost - (surplus[a, s] if a >= 0 else 0.0)
                    for i in range(width):
                        bundles[count, i] = trial[i] if i < total else NO_ACTION
                count += 1
    return count


@njit(cache=True)
def _worth(
    propensity: Any, weight: Any, group: Any, value: Any, entries: Any, owner: Any, bundles: Any,
    worth: Any, use: Any,
) -> None:  # fmt: skip
    first, constraint, fixed, accept = entries
    for j in range(owner.size):
        s = owner[j]
        w, g = np.float64(weight[s]), group[s]
        for i in range(bundles.shape[1]):
            a = bundles[j, i]
            if a < 0:
                continue
            p = np.float64(propensity[a, s])
            worth[j] += w * (value[0, a] + value[1, a] * p)
            cell = g * propensity.shape[0] + a
            for e in range(first[cell], first[cell + 1]):
                use[j, constraint[e]] += fixed[e] + accept[e] * p


@dataclass(frozen=True, eq=False)
class Near:
    """Near subscribers of a block, on the host."""

    block: Block
    row: Any  # [N] int64, where they are in the block
    best: Any  # [Q, N] int16


def near_of(block: Block, chosen: Any, rows: Any) -> Near:
    """Return the subscribers of some rows with their bundles."""
    return Near(to_host(block.take(rows)), to_cpu(rows), to_cpu(chosen[:, rows]))


def core_of(oracle: "OfferOracle", near: list[Near], prices: Any, part: int) -> Core:
    """Collect near subscribers, given by block, as in :meth:`engine.oracle.Oracle.core`."""
    problem = oracle.problem
    whole = joined([n.block for n in near]) if near else Block.empty(problem)
    place = np.concatenate(
        [np.stack([np.full(len(n.row), b), n.row], axis=1) for b, n in enumerate(near)]
        or [np.empty((0, 2), np.int64)]
    )
    order = _part_of(whole, part)
    block, place = problem.spread(whole.take(order)), place[order]
    none = np.empty((oracle.width, 0), np.int16)
    best = np.ascontiguousarray(np.concatenate([none, *(n.best for n in near)], axis=1)[:, order])
    surplus = np.empty((len(problem.offer), len(block)))
    _surpluses(
        block.propensity, block.weight, block.group, oracle.value, *oracle.price_tables(prices),
        surplus,
    )  # fmt: skip
    rules, cap = oracle.rules, block.cap
    if problem.rules.households is not None:
        cap = deal(problem, block, surplus, best)
        rules = problem.rules.with_households().arrays(problem.offer)
    tie = 0.0 if tied_days(problem) is None else TIE * oracle.typical
    owner, bundles, regret = _listed(rules, (block.most, block.fewest, cap), surplus, best, tie)
    entries = oracle.entries
    worth, use = np.zeros(len(owner)), np.zeros((len(owner), len(problem.rows)))
    _worth(
        block.propensity, block.weight, block.group, oracle.value,
        (entries.first, entries.constraint, entries.fixed, entries.accept), owner, bundles,
        worth, use,
    )  # fmt: skip
    first = np.searchsorted(owner, np.arange(len(block) + 1))
    return Core(block, place, first, bundles, regret, worth, use, prices)


def _part_of(whole: Block, part: int) -> Any:
    """Return the rows of a part of the near subscribers, by key, members beside one another.

    A part ends with a whole household.
    """
    if not len(whole.household):
        return np.argsort(whole.key, kind="stable")[part * MOST_CORE : (part + 1) * MOST_CORE]
    household = whole.household[0]
    high = np.where(household < 0, whole.key, whole.key >> MEMBER_BITS << MEMBER_BITS)
    order = np.lexsort((whole.key, household, high))
    own = household[order]
    begin, end = (_whole_until(own, n * MOST_CORE) for n in (part, part + 1))
    return order[begin:end]


def _whole_until(household: Any, end: int) -> int:
    """Return the first place from ``end`` on at which a household begins, or nobody is left."""
    while 0 < end < len(household) and household[end - 1] == household[end] >= 0:
        end += 1
    return end


def _listed(rules: Any, sizes: Any, surplus: Any, best: Any, tie: float) -> tuple[Any, Any, Any]:
    """Return owner, bundle and regret of the bundles: those of least regret, not too many."""

    def list_them(room: float, *out: Any) -> int:
        return int(_neighbours(surplus, *sizes, rules, best, room, *out))

    return least_regretful(list_them, surplus.shape[1], best.shape[0], tie)


def exact_numbers(
    problem: Problem, core: Core, listed: list[int]
) -> tuple[list[int], list[list[int]]]:
    """Return value [N] and use [K][N] of some bundles, exact, in value and use units."""
    values, uses = [], [[0] * len(listed) for _ in problem.rows]
    fixed, accept = problem.value_fixed.tolist(), problem.value_accept.tolist()
    use_fixed, use_accept = problem.use_fixed.tolist(), problem.use_accept.tolist()
    in_scope, terms, block = problem.in_scope.tolist(), problem.terms.tolist(), core.block
    for i, j in enumerate(listed):
        s = int(core.owner[j])
        weight, g = int(block.weight[s] * WEIGHT_GRID), int(block.group[s])
        value = 0
        for a in core.bundles[j].tolist():
            if a < 0:
                continue
            p = int(float(block.propensity[a, s]) * PROPENSITY_GRID)
            value += weight * (fixed[a] * PROPENSITY_GRID + accept[a] * p)
            for t, k in enumerate(terms):
                if in_scope[t][g]:
                    uses[k][i] += use_fixed[t][a] * PROPENSITY_GRID + use_accept[t][a] * p
        values.append(value)
    return values, uses


def tally_of(problem: Problem, block: Block, bundles: Any) -> Any:
    """Return [G, A, 4] the tally of bundles [N, Q] of a host block."""
    tally = np.zeros((problem.groups, len(problem.offer), 4), np.int64)
    for i in range(bundles.shape[1]):
        rows = np.flatnonzero(bundles[:, i] >= 0)
        a, g = bundles[rows, i].astype(np.int64), block.group[rows]
        p = block.propensity[problem.row_of(block, a), rows].astype(np.float64)
        p = (p * PROPENSITY_GRID).astype(np.int64)
        w = (block.weight[rows].astype(np.float64) * WEIGHT_GRID).astype(np.int64)
        for column, amount in enumerate((np.ones_like(p), p, w, w * p)):
            np.add.at(tally[..., column], (g, a), amount)
    return tally


def tally_of_bundles(problem: Problem, chosen: list[Any]) -> Any:
    """Return the tally of whole bundles [Q, S] of every block."""
    blocks, bare = parts_of(problem.blocks), problem.with_blocks([])
    parts = blocks.map(_tally_of_block, bare, Dealt(chosen))
    return sum(parts, np.zeros((problem.groups, len(problem.offer), 4), np.int64))


def _tally_of_block(block: Block, problem: Problem, chosen: Any) -> Any:
    return tally_of(problem, to_host(block), chosen.T)
