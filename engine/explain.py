"""Why a subscriber gets what it gets: values, prices paid, and what would have to change.

At prices every subscriber takes the bundle of the most surplus, its value less the prices paid.
Subscribers near to changing may be given another bundle, to fill limits or to keep them. Of a
household one member is looked at, all others keeping what they get: its bundles are those that go
with theirs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from engine import asked
from engine.block import Block
from engine.errors import ConfigError
from engine.limits import MICRO
from engine.offer_oracle import OfferOracle
from engine.problem import Problem
from engine.rules import Rules
from kernels.backend import library
from kernels.choose import MUST, choose

BONUS = 1e6  # that forces an action into a bundle, in the greatest surplus there is


@dataclass(frozen=True)
class Change:
    """What would have to change for an action to be among the best, all else being equal."""

    bundle: tuple[int, ...]  # the best one with the action
    shortfall: float  # money: the action's value would have to be more than this above what it is
    prices: dict[str, float]  # limit -> the price at which the bundle draws level, alone; money


@dataclass(frozen=True)
class Told:
    """One action of a subscriber."""

    action: int
    name: str
    is_open: bool
    reason: str  # why it is not open or does not fit beside the best bundle, as far as known
    propensity: float | None  # None: not open
    value: float  # money, weighted, expected; 0 if not open, as all below
    paid: dict[str, float]  # limit -> money: what its use costs at the price, zeros left out
    surplus: float  # value less what is paid
    change: Change | None  # None: not open, in the best bundle, or in none


@dataclass(frozen=True)
class Explanation:
    """What a subscriber may get, what it gets, and why."""

    key: int
    weight: float
    actions: list[Told]
    chosen: tuple[int, ...]  # what it gets
    best: tuple[int, ...]  # the bundle of the most surplus at the prices
    chosen_surplus: float  # money
    best_surplus: float
    margin: float  # of the best bundle over the second best, money; inf: there is no other
    currency: str
    others: tuple[tuple[int, ...], ...] = ()  # what the others of its household get

    @property
    def is_best(self) -> bool:
        """Return whether the subscriber gets the best bundle at the prices."""
        return self.chosen == self.best

    def text(self) -> str:
        """Return it in plain words, a line for each action."""
        lines = [
            f"gets {self._named(self.chosen)}: surplus {self.chosen_surplus:.6g} {self.currency}",
            f"best at the prices: {self._named(self.best)}, ahead of the next by "
            f"{self.margin:.6g} {self.currency}",
        ]
        if not self.is_best:
            loss = self.best_surplus - self.chosen_surplus
            lines.append(
                f"not the best bundle: giving up {loss:.6g} {self.currency} of surplus keeps or "
                "fills a limit"
            )
        if self.others:
            got = "; ".join(map(self._named, self.others))
            lines.append(f"beside what the others of its household get: {got}")
        return "\n".join([*lines, *(self._line(told) for told in self.actions)])

    def _named(self, bundle: Sequence[int]) -> str:
        return " and ".join(self.actions[a].name for a in bundle) or "nothing"

    def _line(self, told: Told) -> str:
        if not told.is_open:
            return f"  {told.name}: not open{_in_brackets(told)}"
        paid = "".join(f" - {amount:.6g} {name}" for name, amount in told.paid.items())
        line = f"  {told.name}: surplus {told.surplus:.6g} = value {told.value:.6g}{paid}"
        if told.change is None:
            return line if told.action in self.best else f"{line}; in no bundle{_in_brackets(told)}"
        ways = "".join(f", or a price of {p:.6g} of {n}" for n, p in told.change.prices.items())
        need = f"to be chosen it needs {told.change.shortfall:.6g} more value{ways}"
        return f"{line}; {need}{_in_brackets(told)}"


def _in_brackets(told: Told) -> str:
    return f" ({told.reason})" if told.reason else ""


def place_of(blocks: Sequence[Block], *, key: int | None, row: int | None) -> tuple[int, int]:
    """Return block and row in it of a subscriber, given by key or by row of all blocks in order.

    Raises:
        ConfigError: neither or both are given, or there is no such subscriber.
    """
    if (key is None) == (row is None):
        raise ConfigError("explain: give either the key of a subscriber or its row")
    before = 0
    for b, block in enumerate(blocks):
        if key is not None:
            rows = library(block.key).flatnonzero(block.key == key)
            if len(rows):
                return b, int(rows[0])
        elif row is not None and 0 <= row - before < len(block):
            return b, row - before
        before += len(block)
    named = f"key {key}" if key is not None else f"row {row}"
    raise ConfigError(f"explain: no such subscriber, got {named}; there are {before:,} rows")


def explained(
    oracle: OfferOracle, prices: Any, block: Block, *, chosen: Sequence[int],
    names: Sequence[str], reasons: Callable[[Sequence[int]], Sequence[str]] | None,
    others: Sequence[Sequence[int]] = (),
) -> Explanation:  # fmt: skip
    """Explain one subscriber's bundle.

    Args:
        oracle: of the problem.
        prices: [K] float64.
        block: the subscriber alone, on the host.
        chosen: its bundle.
        names: [A].
        reasons: given the best bundle, says of each action why it is not open or not beside it.
        others: the bundles of the other members of its household.
    """
    problem, rows = oracle.problem, oracle.problem.rows
    block, own_rules = _alone(problem, problem.spread(block), others)
    group, weight = int(block.group[0]), float(block.weight[0])
    p = block.propensity[:, 0].astype(np.float64)
    is_open = ~np.isnan(p) & (int(block.most[0]) > 0)
    p = np.where(is_open, p, 0.0)
    value = weight * (oracle.value[0] + oracle.value[1] * p) * is_open
    use = (problem.use_fixed + problem.use_accept * p) / MICRO * is_open
    use = problem.per_limit(use * problem.in_scope[:, group][:, None])
    paid = prices[:, None] * use
    surplus = value - paid.sum(axis=0)

    def of(bundle: Sequence[int]) -> float:
        return float(sum(surplus[a] for a in bundle))

    tables = own_rules.arrays(problem.offer)
    search = _Search(oracle, prices, block, tables, float(np.abs(surplus).max(initial=0.0)) + 1.0)
    best = search.bundle()
    forced = {a: search.bundle(forced=a) for a in np.flatnonzero(is_open).tolist() if a not in best}
    forced = {a: bundle for a, bundle in forced.items() if a in bundle}
    rest = [*forced.values(), *(search.bundle(without=a) for a in best)]
    if int(block.fewest[0]) >= MUST:  # nothing is a choice only where there is no other
        rest = [bundle for bundle in rest if bundle]
    margin = of(best) - max((of(bundle) for bundle in rest), default=-np.inf)
    why = reasons(best) if reasons else [""] * len(names)
    limits = _Limits(asked.named(rows), prices, oracle.range, [row.scale for row in rows])
    told = [
        Told(
            a, names[a], bool(is_open[a]), why[a] if a not in best else "",
            float(p[a]) if is_open[a] else None, float(value[a]), limits.paid(paid[:, a]),
            float(surplus[a]),
            None if a not in forced
            else limits.change(use, (forced[a], best), of(best) - of(forced[a])),
        )
        for a in range(len(names))
    ]  # fmt: skip
    return Explanation(
        int(block.key[0]), weight, told, tuple(sorted(chosen)), best, of(chosen), of(best),
        max(0.0, margin), problem.currency, tuple(tuple(sorted(bundle)) for bundle in others),
    )  # fmt: skip


def _alone(problem: Problem, block: Block, others: Sequence[Sequence[int]]) -> tuple[Block, Rules]:
    """Return a subscriber alone, with what its household's others leave it, and its rules.

    Of a household's caps it has those that are left, behind its own.
    """
    joint, rules = problem.rules.households, problem.rules
    if joint is None:
        return block, rules
    left = np.maximum(block.room[:, 0] - joint.used(others, rules.contact), 0)
    p, taken = block.propensity.copy(), [a for bundle in others for a in bundle]
    p[joint.members[left == 0].any(axis=0)] = np.nan
    p[joint.conflict(problem.offer)[:, taken].any(axis=1)] = np.nan
    cap = np.concatenate([block.cap, left[:, None].astype(np.uint8)])
    return replace(block, propensity=p, cap=cap), rules.with_households()


@dataclass(frozen=True, eq=False)
class _Search:
    """The exact search for bundles of one subscriber."""

    oracle: OfferOracle
    prices: Any
    block: Block
    rules: tuple[Any, ...]  # as the kernels take them
    greatest: float

    def bundle(self, forced: int | None = None, without: int | None = None) -> tuple[int, ...]:
        """Return the bundle of the most surplus, with an action in it or without it."""
        oracle, block = self.oracle, self.block
        fixed, accept = oracle.price_tables(self.prices)
        if forced is not None:
            fixed[:, forced] -= BONUS * self.greatest
        if without is not None:
            p = block.propensity.copy()
            p[without] = np.nan
            block = replace(block, propensity=p)
        tables = (*self.rules, *oracle.value, fixed, accept)
        found, _, _ = choose(*block.arrays(), *tables, oracle.width)
        return tuple(sorted(int(a) for a in found[:, 0] if a >= 0))


@dataclass(frozen=True, eq=False)
class _Limits:
    """Limits by name, and their prices."""

    rows: Mapping[str, tuple[int, ...]]
    prices: Any  # [K] of the forms
    range: tuple[Any, Any]  # [K] smallest and largest
    scale: Sequence[int]  # [K]

    def paid(self, amounts: Any) -> dict[str, float]:
        """Return what is paid for each limit, zeros left out."""
        found = {name: float(amounts[list(rows)].sum()) for name, rows in self.rows.items()}
        return {name: amount for name, amount in found.items() if amount != 0.0}

    def change(
        self, use: Any, bundles: tuple[Sequence[int], Sequence[int]], shortfall: float
    ) -> Change:
        """Return what makes one bundle draw level with the other: value, or one limit's price."""
        bundle, best = bundles
        shortfall = max(0.0, shortfall)
        more = use[:, list(bundle)].sum(axis=1) - use[:, list(best)].sum(axis=1)
        level = {}
        for name, (k, *other) in self.rows.items():
            if more[k] == 0.0:
                continue
            price = float(self.prices[k] - sum(self.prices[other]) - shortfall / more[k])
            if other or self.range[0][k] <= price <= self.range[1][k]:
                level[name] = price * self.scale[k]
        return Change(tuple(bundle), shortfall, level)
