"""From prices to whole contacts: the few subscribers the prices leave open are chosen exactly.

At the dual's minimum most subscribers have one best bundle. The rest are nearly indifferent
between two or more: the core. The others' use is taken off the limits and OR-Tools picks one
bundle for each subscriber of the core within what is left. Where masses of subscribers tie, most
of the core is first dealt out by the shares that the dual's cuts call for.
"""

from dataclasses import dataclass
from fractions import Fraction
from time import perf_counter
from typing import Any

import numpy as np

from engine import integers
from engine.oracle import Oracle, scale_of
from engine.prices import Dual
from engine.problem import (
    VALUE_UNIT,
    Block,
    Problem,
    limit_units,
    net_value,
    penalty_units,
    total_units,
)
from engine.zoom import Zoomed, settle
from kernels.backend import to_cpu
from kernels.choose import NO_ACTION, PROPENSITY_GRID, WEIGHT_GRID

CORE = 3_000  # most subscribers of the exact core
NODES = 1_000  # most nodes of SCIP's search in a core
WIDEN = 0.002  # the first core's room in surplus, as a share of the bound per subscriber
ATTEMPTS = 4  # each with a core four times as wide


@dataclass(frozen=True, eq=False)
class Rounded:
    """Whole bundles for every subscriber."""

    chosen: list[Any]  # by block: [Q, S] int16 on the host, NO_ACTION beyond the bundle
    value: int | Fraction  # in units of 1 / VALUE_UNIT money, less what overruns cost
    is_feasible: bool  # false: no whole answer was found in the core


def round_bundles(
    problem: Problem, zoomed: Zoomed, *, tolerance: float, deadline: float
) -> Rounded:
    """Return bundles that keep every limit to the last unit.

    Args:
        problem: the allocation problem.
        zoomed: prices, settled bundles and open subscribers.
        tolerance: the core is solved to a quarter of it, as a share of the bound.
        deadline: ``perf_counter`` instant.

    Returns:
        Bundles of every subscriber; those of the best prices, not feasible, if none was found.
    """
    slack = int(tolerance / 4 * max(1.0, abs(zoomed.bound)) * VALUE_UNIT)
    enough = int((zoomed.bound - tolerance * max(1.0, abs(zoomed.bound))) * VALUE_UNIT)
    best: Rounded | None = None
    for attempt in range(ATTEMPTS):
        core = open_core(zoomed, widen=WIDEN * 4.0**attempt)
        chosen = core.solve(slack, NODES, max(1.0, deadline - perf_counter()))
        bundles = core.spread(core.first if chosen is None else chosen)
        value = net_value(problem, tally_of_bundles(problem, bundles))
        if best is None or (chosen is not None and (not best.is_feasible or value > best.value)):
            best = Rounded(bundles, value, chosen is not None)
        if (best.is_feasible and best.value >= enough) or perf_counter() > deadline:
            break
    assert best is not None
    return best


@dataclass(frozen=True, eq=False)
class Core:
    """The subscribers whose bundle is open, in the order of their keys."""

    problem: Problem
    zoomed: Zoomed
    settled: list[tuple[Any, Any]]  # by block of the zoomed oracle: rows and bundles
    rows: list[Any]  # by block of the zoomed oracle: rows of the core
    order: Any  # [N] position in the blocks' rows, one after the other, of each in key order
    block: Block  # [N] subscribers
    dealt: Any  # [N, Q] bundle by the cuts' shares
    candidates: list[list[tuple[int, ...]]]  # [N] bundles to choose from, the empty one included
    first: Any  # [N, Q] bundle at the best prices
    rest: Any  # [4, G, A] tally of everybody else

    def solve(self, slack: int, nodes: int, seconds: float) -> Any:
        """Return [N, Q] the best bundles within the limits, or None when there are none."""
        chosen = self.dealt.copy()
        count = min(len(self.candidates), CORE)
        tally = self.rest + _tally_of(
            self.problem, self.block, chosen, np.arange(count, len(chosen))
        )
        used = total_units(self.problem, tally)
        left = [b - u for b, u in zip(limit_units(self.problem), used, strict=True)]
        costs = penalty_units(self.problem)
        owner = [s for s in range(count) for _ in self.candidates[s]]
        bundles = [b for s in range(count) for b in self.candidates[s]]
        values, uses = _exact_numbers(self.problem, self.block, owner, bundles)
        choices: dict[int, list[int]] = {}
        for i, s in enumerate(owner):
            choices.setdefault(s, []).append(i)
        rows, soft = [], []
        for k, cost in enumerate(costs):
            users = [i for i in range(len(bundles)) if uses[k][i]]
            if not users and left[k] < 0 and cost is None:
                return None
            if users and cost is None:
                rows.append((users, [uses[k][i] for i in users], left[k]))
            elif users:
                soft.append((users, [uses[k][i] for i in users], left[k], cost))
        taken = integers.near_best(
            values, [(c, 1) for c in choices.values()], rows, soft,
            slack=slack, nodes=nodes, seconds=seconds,
        )  # fmt: skip
        if taken is None:
            return None
        chosen[:count] = NO_ACTION
        for i in np.flatnonzero(taken).tolist():
            chosen[owner[i], : len(bundles[i])] = bundles[i]
        return chosen

    def spread(self, chosen: Any) -> list[Any]:
        """Put the core's bundles and the settled ones in their places, block by block."""
        width = self.problem.width
        by_position = np.empty_like(chosen)
        by_position[self.order] = chosen
        out, begin = [], 0
        for i, block in enumerate(self.problem.blocks):
            full = np.full((width, len(block)), NO_ACTION, np.int16)
            rows, bundles = self.zoomed.fixed[i]
            full[:, to_cpu(rows)] = to_cpu(bundles)
            open_rows = to_cpu(self.zoomed.open_rows[i])
            rows, bundles = self.settled[i]
            full[:, open_rows[to_cpu(rows)]] = to_cpu(bundles)
            core_rows = open_rows[to_cpu(self.rows[i])]
            full[:, core_rows] = by_position[begin : begin + len(core_rows)].T
            begin += len(core_rows)
            out.append(full)
        return out


def open_core(zoomed: Zoomed, widen: float) -> Core:
    """Collect the subscribers whose best bundle is not the same at all prices of the mix.

    Args:
        zoomed: the minimised dual.
        widen: further room for surpluses to move, as a share of the bound per subscriber.
    """
    oracle, dual = zoomed.oracle, zoomed.dual
    mixed = sorted({j for j, _ in dual.mix})
    room = widen * _typical_surplus(zoomed)
    spread = _mix_spread(oracle, dual, mixed, room)
    inner, fixed, rows = settle(oracle, dual.prices, spread)
    blocks = [to_host(b) for b in inner.blocks]
    keys = np.concatenate([b.key for b in blocks]) if blocks else np.empty(0, np.int64)
    order = np.argsort(keys, kind="stable")
    block = joined(blocks).take(order)
    at = {j: oracle.choose(block, dual.evaluations[j].prices)[0] for j in mixed}
    first = oracle.choose(block, dual.prices)[0]
    dealt = _deal(dual, block, oracle.problem.classes[block.group], at, first)
    pool = [first, *at.values(), dealt.T]
    step = room / scale_of(oracle.problem)
    for k in range(len(dual.prices)):
        for sign in (-1.0, 1.0):
            prices = dual.prices.copy()
            prices[k] = max(0.0, prices[k] + sign * step[k])
            pool.append(oracle.choose(_head(block), prices)[0])
    return Core(
        oracle.problem, zoomed, fixed, rows, order, block, dealt, _candidates(pool, len(block)),
        first.T.copy(), inner.constant,
    )  # fmt: skip


def _typical_surplus(zoomed: Zoomed) -> float:
    """Return the bound per subscriber, money: the size of a typical surplus."""
    subscribers = sum(len(rows) for rows, _ in zoomed.fixed) + zoomed.oracle.subscribers
    return max(abs(zoomed.bound), 1e-6) / max(1, subscribers)


def _head(block: Block) -> Block:
    return block if len(block) <= CORE else block.take(np.arange(CORE))


def _mix_spread(oracle: Oracle, dual: Dual, mixed: list[int], room: float) -> tuple[Any, Any]:
    """Return how far each pair's surplus moves between the best prices and those of the mix."""
    centre = oracle.price_tables(dual.prices)
    spread = [np.zeros_like(c) for c in centre]
    for j in mixed:
        groups = np.isin(oracle.problem.classes, [g for i, g in dual.mix if i == j])
        tables = oracle.price_tables(dual.evaluations[j].prices)
        for out, table, middle in zip(spread, tables, centre, strict=True):
            out[groups] = np.maximum(out, np.abs(table - middle))[groups]
    return spread[0] + room + 1e-12, spread[1]


def to_host(block: Block) -> Block:
    """Return the block in host memory."""
    return Block(**{name: to_cpu(array) for name, array in block.__dict__.items()})


def joined(blocks: list[Block]) -> Block:
    """Return one block of the subscribers of all."""
    parts = [b.__dict__ for b in blocks]
    return Block(
        **{
            name: np.ascontiguousarray(np.concatenate([p[name] for p in parts], axis=-1))
            for name in parts[0]
        }
    )


def _deal(dual: Dual, block: Block, class_: Any, at: dict[int, Any], first: Any) -> Any:
    """Give each subscriber one of the mixed choices, in the shares that the cuts call for.

    Subscribers of a class with the same choices at all prices are dealt out together, so that each
    choice gets its share of them to within one.
    """
    dealt = first.T.copy()
    for g in np.unique(class_):
        shares = [(j, share) for (j, h), share in sorted(dual.mix.items()) if h == g]
        members = np.flatnonzero(class_ == g)
        if not shares:  # the empty bundle's cut carries the whole class
            dealt[members] = NO_ACTION
            continue
        patterns = np.concatenate([at[j][:, members] for j, _ in shares]).T
        _, kind = np.unique(patterns, axis=0, return_inverse=True)
        order = np.lexsort((block.key[members], kind.ravel()))
        edges = np.cumsum([share for _, share in shares])
        # Low-discrepancy positions: within any run of equal patterns each share is met evenly.
        position = (np.arange(len(members)) * 0.6180339887498949 + 0.5) % 1.0
        pick = np.searchsorted(edges, position, side="right")
        for i, (j, _) in enumerate(shares):
            taken = members[order[pick == i]]
            dealt[taken] = at[j][:, taken].T
        dealt[members[order[pick == len(shares)]]] = NO_ACTION
    return dealt


def _candidates(pool: list[Any], count: int) -> list[list[tuple[int, ...]]]:
    """Return the distinct bundles of each subscriber, with each action left out, and none."""
    out = []
    for s in range(min(count, CORE)):
        bundles = {tuple(int(a) for a in chosen[:, s] if a >= 0) for chosen in pool}
        bundles |= {b[:i] + b[i + 1 :] for b in bundles for i in range(len(b))}
        out.append(sorted(bundles | {()}))
    return out


def _exact_numbers(
    problem: Problem, block: Block, owner: list[int], bundles: list[tuple[int, ...]]
) -> tuple[list[int], list[list[int]]]:
    """Return value [N] and use [K][N] of each bundle, exact, in value and use units."""
    values, uses = [], [[0] * len(bundles) for _ in problem.rows]
    fixed, accept = problem.value_fixed.tolist(), problem.value_accept.tolist()
    use_fixed, use_accept = problem.use_fixed.tolist(), problem.use_accept.tolist()
    in_scope, terms = problem.in_scope.tolist(), problem.terms.tolist()
    for i, (s, bundle) in enumerate(zip(owner, bundles, strict=True)):
        weight, g = int(block.weight[s] * WEIGHT_GRID), int(block.group[s])
        value = 0
        for a in bundle:
            p = int(float(block.propensity[a, s]) * PROPENSITY_GRID)
            value += weight * (fixed[a] * PROPENSITY_GRID + accept[a] * p)
            for t, k in enumerate(terms):
                if in_scope[t][g]:
                    uses[k][i] += use_fixed[t][a] * PROPENSITY_GRID + use_accept[t][a] * p
        values.append(value)
    return values, uses


def _tally_of(problem: Problem, block: Block, chosen: Any, rows: Any) -> Any:
    """Return the tally of bundles ``chosen`` [S, Q] of some rows of a host block."""
    tally = np.zeros((4, problem.groups, len(problem.offer)), np.int64)
    for i in range(chosen.shape[1]):
        taken = rows[chosen[rows, i] >= 0]
        a, g = chosen[taken, i].astype(np.int64), block.group[taken]
        p = (block.propensity[a, taken].astype(np.float64) * PROPENSITY_GRID).astype(np.int64)
        w = (block.weight[taken].astype(np.float64) * WEIGHT_GRID).astype(np.int64)
        for row, amount in enumerate((np.ones_like(p), p, w, w * p)):
            np.add.at(tally[row], (g, a), amount)
    return tally


def tally_of_bundles(problem: Problem, chosen: list[Any]) -> Any:
    """Return the tally of whole bundles of every block."""
    parts = [
        _tally_of(problem, to_host(block), bundles.T, np.arange(len(block)))
        for block, bundles in zip(problem.blocks, chosen, strict=True)
    ]
    return sum(parts, np.zeros((4, problem.groups, len(problem.offer)), np.int64))
