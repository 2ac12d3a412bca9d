"""What contact policies cost: who stands before them, and what relaxing one by one is worth.

At the prices every subscriber takes the bundle of the most surplus. Relaxing policy i allows
subscriber s more bundles, X[s] becomes X[i,s], so the dual at the same prices rises by

    gain[i] = sum_s (max over X[i,s] of the surplus - max over X[s] of the surplus)  >= 0

By weak duality no allocation that keeps all limits is then worth more than bound + gain[i]. A cap
is relaxed by one contact, any other policy is left out. A package only allows, and costs nothing.
Where households choose together, X[s] is what all members may get, and the household gains once: it
is told as a gain of its first member by key.

Gains are summed in whole numbers, so they do not depend on partitions. S subscribers, A actions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.policy_market import Market, Partition
from engine.policy_relaxed import GRID, Relaxing, in_units, relaxed
from engine.policy_sets import Sets, sets_of
from engine.settings import Job
from kernels.choose import MOST_ACTIONS


@dataclass(frozen=True)
class Cost:
    """What a policy costs. Pairs are those that are open but for policies."""

    policy: str
    subscribers: int  # of whom it forbids a pair, or who gain if it is relaxed
    pairs: int  # that it forbids
    alone: int  # that no other policy forbids
    gaining: int  # subscribers who gain if it is relaxed
    gain: int  # in units of 1 / GRID

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.policy, *(self.numbers[i] + n for i, n in enumerate(other.numbers)))

    @property
    def numbers(self) -> tuple[int, ...]:
        """Return all but the name."""
        return self.subscribers, self.pairs, self.alone, self.gaining, self.gain


def costs(partition: Partition, market: Market | None) -> tuple[list[Cost], Sets]:
    """Return what each policy costs a partition, and which sets of policies forbid what.

    Args:
        partition: the partition.
        market: None: there are no prices, and nobody gains.
    """
    priced = [policy for policy in partition.job.policies if policy.kind != "package"]
    gains = [np.zeros(len(partition.group), np.int64)] * len(priced)
    if market is not None and len(partition.open_) <= MOST_ACTIONS:
        ask = Relaxing(partition, market)
        gains = [ask.gain(policy) for policy in priced]
    partition = partition.with_stuck()
    found = []
    for policy, gain in zip(priced, gains, strict=True):
        forbids = partition.left.forbids(policy.name, len(partition.open_)) & partition.open_
        stands = forbids.any(axis=0) | (gain > 0)
        alone = forbids & (partition.forbidding == 1)
        numbers = [int(x.sum()) for x in (stands, forbids, alone, gain > 0)]
        found.append(Cost(policy.name, *[*numbers, _added(gain)]))
    return found, sets_of(partition.left.closed, partition.open_, _worths(partition, market))


def added(costs_of: Sequence[Sequence[Cost]]) -> list[Cost]:
    """Return the costs of all partitions together."""
    return [sum(own[1:], own[0]) for own in zip(*costs_of, strict=True)]


def _worths(partition: Partition, market: Market | None) -> Any:
    """Return what gives the worth of an action to some rows: its surplus, 0 if that is negative."""

    def worth(a: int, rows: Any) -> Any:
        if market is None:
            return np.zeros(len(rows), np.int64)
        return in_units(np.maximum(partition.surplus(market, a, rows), 0.0))

    return worth


def _added(units: Any) -> int:
    """Return the exact sum."""
    return (int((units >> 31).sum()) << 31) + int((units & ((1 << 31) - 1)).sum())


def shown(job: Job, found: Sequence[Cost], *, has_prices: bool) -> Iterator[dict[str, Any]]:
    """Yield what the summary tells of each policy's cost, in the order of the job."""
    settings = {policy.name: policy for policy in job.policies}
    for cost in found:
        policy = settings[cost.policy]
        other = relaxed(policy)
        how = "left out" if other is None else f"{policy.at_most} to {other.at_most}"
        yield {
            "policy": cost.policy,
            "kind": policy.kind,
            "relaxed": how,
            "subscribers": cost.subscribers,
            "pairs": cost.pairs,
            "alone": cost.alone,
            "gaining": cost.gaining if has_prices else None,
            "gain": cost.gain / GRID if has_prices else None,
        }
