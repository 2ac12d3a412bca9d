"""What contact policies cost: who stands before them, and what relaxing one by one is worth.

At the prices every subscriber takes the bundle of the most surplus. Relaxing policy i allows
subscriber s more bundles, X[s] becomes X[i,s], so the dual at the same prices rises by

    gain[i] = sum_s (max over X[i,s] of the surplus - max over X[s] of the surplus)  >= 0

By weak duality no allocation that keeps all limits is then worth more than bound + gain[i]. A cap
is relaxed by one contact, any other policy is left out. A package only allows, and costs nothing.
Where households choose together, X[s] is what all members may get, and the household gains once: it
is told as a gain of its first member by key.

A subscriber's best bundle changes only if the policies allow a pair more, a group has more good
offers than its cap, or a relation fell that two good offers met; that of a household if this is so
for any member, or for all together. So few are asked again. Gains are summed in whole numbers, so
they do not depend on partitions. S subscribers, A actions, G groups.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from engine import policies, tables
from engine.actions import Action, actions, actions_of
from engine.block import KEY_RANGE
from engine.candidates import eligible, propensities
from engine.history import History
from engine.households import Households
from engine.plan_rules import rules
from engine.policies import Left
from engine.policy_questions import Asked
from engine.policy_sets import Sets, sets_of
from engine.rules import Rules
from engine.settings import Job
from engine.settings.policies import MOST_CAP, ContactPolicy
from kernels.choose import MOST_ACTIONS, MOST_BUNDLE, choose
from kernels.households import choose_households

GRID = 1 << 20  # of gains, per unit of what is pursued


@dataclass(frozen=True, eq=False)
class Market:
    """What surpluses are made of, on the host; as in :class:`engine.offer_oracle.OfferOracle`."""

    value: Any  # [2, A] float64, money per contact and per acceptance
    price_fixed: Any  # [G, A] float64, money to pay per contact
    price_accept: Any  # [G, A] float64, money to pay per acceptance

    def surplus(self, a: int, group: Any, weight: Any, p: Any) -> Any:
        """Return [S] float64, the surplus of an action, as :mod:`kernels.choose` has it."""
        w, (fixed, accept) = weight.astype(np.float64), self.value[:, a]
        at_once = w * fixed - self.price_fixed[group, a]
        return at_once + (w * accept - self.price_accept[group, a]) * p.astype(np.float64)


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


@dataclass(frozen=True, eq=False)
class Partition:
    """A partition's subscribers and all that is open to them but for policies, on the host."""

    job: Job
    open_: Any  # [A, S] bool
    p: Any  # [P, S] float32, of offers on channels
    group: Any  # [S] int32
    weight: Any  # [S] float32
    past: Asked
    left: Left

    @classmethod
    def of(cls, job: Job, frames: tuple[Any, Any, History], group: Any, weight: Any) -> "Partition":
        """Ask policies and history.

        Args:
            job: the job.
            frames: the partition's features, propensities and history, on the host.
            group: [S] int32, scope group of each row, as in a block.
            weight: [S] float32, as in a block.
        """
        features, propensity, history = frames
        acts = actions_of(job)
        held = tables.unit_hash(features["subscriber"], job.seed) < job.holdout_share
        open_ = eligible(job, features, acts, np) & ~held
        past = Asked.of(job, features, history)
        left = policies.left_of(past, job.policies)
        return cls(
            job,
            open_,
            propensities(propensity, actions(job.catalogue), np),
            group,
            weight,
            past,
            left,
        )

    @cached_property
    def acts(self) -> list[Action]:
        """Return the A actions."""
        return actions_of(self.job)

    @cached_property
    def members(self) -> Any:
        """Return the rows of those in households, each household's by key; none of other jobs."""
        households = self.past.households
        if households is None or not any(policy.is_joint for policy in self.job.policies):
            return np.empty(0, np.int64)
        own = tables.bucket(self.past.features["subscriber"], KEY_RANGE)
        rows = np.lexsort((own, households.number))
        return rows[households.key[rows] >= 0]

    @cached_property
    def forbidding(self) -> Any:
        """Return [A, S] uint16, how many policies forbid a pair by themselves."""
        count = np.zeros(self.open_.shape, np.uint16)
        for name in self.left.closed:
            count += self.left.forbids(name, len(count))
        return count

    def surplus(self, market: Market, a: int, rows: Any) -> Any:
        """Return the surplus of an action for some rows."""
        return market.surplus(
            a, self.group[rows], self.weight[rows], self.p[a // self.job.horizon.days, rows]
        )

    def with_stuck(self) -> "Partition":
        """Return it with the pairs closed of those who can have no bundle."""
        own = {name: list(closed) for name, closed in self.left.closed.items()}
        left = replace(self.left, closed=own)
        free = self.open_ & (self.forbidding == 0)
        policies.forbid_the_stuck(self.job, left, lambda rows: free[:, rows], np)
        return replace(self, left=left)


def relaxed(policy: ContactPolicy) -> ContactPolicy | None:
    """Return a policy that is relaxed by one contact; None: it is left out."""
    if policy.at_most is None or policy.at_most == MOST_CAP:
        return None
    return policy.model_copy(update={"at_most": policy.at_most + 1})


def costs(partition: Partition, market: Market | None) -> tuple[list[Cost], Sets]:
    """Return what each policy costs a partition, and which sets of policies forbid what.

    Args:
        partition: the partition.
        market: None: there are no prices, and nobody gains.
    """
    priced = [policy for policy in partition.job.policies if policy.kind != "package"]
    gains = [np.zeros(len(partition.group), np.int64)] * len(priced)
    if market is not None and len(partition.open_) <= MOST_ACTIONS:
        ask = _Relaxing(partition, market)
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


def in_units(amount: Any) -> Any:
    """Return amounts as int64 in units of 1 / GRID."""
    return np.rint(amount * GRID).astype(np.int64)


def _added(units: Any) -> int:
    """Return the exact sum."""
    return (int((units >> 31).sum()) << 31) + int((units & ((1 << 31) - 1)).sum())


@dataclass(frozen=True, eq=False)
class _Relaxing:
    """The search for the bundles that one policy stands in the way of."""

    partition: Partition
    market: Market

    @cached_property
    def offer(self) -> Any:
        """Return [A] int32."""
        names = list(self.partition.job.catalogue.offers)
        return np.array([names.index(a.offer) for a in self.partition.acts], np.int32)

    @cached_property
    def rules(self) -> Rules:
        """Return the rules with all policies."""
        return rules(self.partition.job)

    @cached_property
    def free(self) -> Any:
        """Return [A, S] bool, the open pairs."""
        return self.partition.open_ & (self.partition.forbidding == 0)

    @cached_property
    def is_worth(self) -> Any:
        """Return [A, S] bool, whether a pair's surplus is above 0."""
        every = np.arange(len(self.partition.group))
        count = range(len(self.partition.open_))
        return np.array([self.partition.surplus(self.market, a, every) > 0.0 for a in count])

    def gain(self, policy: ContactPolicy) -> Any:
        """Return [S] int64, what each subscriber gains by its relaxing, in units of 1 / GRID."""
        job, part = self.partition.job, self.partition
        other = relaxed(policy)
        others = [(other if own is policy else own) for own in job.policies]
        kept = [own for own in others if own is not None]
        new_job = job.model_copy(update={"policies": kept})
        left, new_rules = part.left, self.rules
        if _has_size(policy):
            asked = replace(part.past, job=new_job)
            left = policies.left_of(asked, [own for own in kept if _has_size(own)])
        newly = part.left.forbids(policy.name, len(self.free)) & part.open_
        newly &= part.forbidding == 1
        if other is not None:
            newly &= ~left.forbids(policy.name, len(self.free))
        if _has_size(policy) or policy.kind in {"requires", "not_after"}:
            new_rules = rules(new_job)
        rows = self._whole(self._may_change(policy, newly, left, new_rules))
        gain = np.zeros(len(part.group), np.int64)
        before = self._best(rows, self.free[:, rows], part.left, self.rules)
        after = self._best(rows, (self.free | newly)[:, rows], left, new_rules)
        gain[rows] = in_units(after - before)
        return gain

    def _whole(self, wanted: Any) -> Any:
        """Return the rows that are wanted, those in households last, with all their members."""
        members = self.partition.members
        if not len(members):
            return np.flatnonzero(wanted)
        alone, wanted = wanted.copy(), self._home.any(wanted)
        alone[members] = False
        return np.concatenate([np.flatnonzero(alone), members[wanted[members]]])

    @property
    def _home(self) -> Households:
        households = self.partition.past.households
        assert households is not None
        return households

    def _may_change(self, policy: ContactPolicy, newly: Any, left: Left, new_rules: Rules) -> Any:
        """Return [S] bool, for whom the best bundle may be another; nobody else gains.

        Where bundles stay allowed when an action is left out, only actions worth more than 0 are in
        the best ones.
        """
        base = self.partition.left
        is_whole = (left.fewest > 1) | bool(new_rules.requires)
        good = (self.free | newly) & (self.is_worth | is_whole)
        found = (newly & good).any(axis=0) | (left.fewest != base.fewest)
        everything = np.ones(len(self.offer), bool)
        sizes = [(everything, base.most, left.most)]
        old, new = _rooms(self.rules, base), _rooms(new_rules, left)
        none = np.full(len(base.most), MOST_BUNDLE, np.uint8)
        sizes += [(counted, room, new.get(key, (counted, none))[1])
                  for key, (counted, room) in old.items()]  # fmt: skip
        for counted, before, after in sizes:
            if (after > before).any():
                found |= (after > before) & (self._offers(good, counted) > before)
        names = list(self.partition.job.catalogue.offers)
        met = [names.index(name) for name in policy.exclusive]
        if policy.requires and policy.offer is not None:
            met = [names.index(policy.offer)]
        if policy.not_after and new_rules.days > 1:
            met = [names.index(name) for name in (policy.offer or "", *policy.not_after)]
        if met:
            found |= self._offers(good, np.isin(self.offer, met)) >= min(2, len(met))
        if policy.is_joint and met:
            found |= self._home.total(self._offers(good, np.isin(self.offer, met))) > 1
        rooms, more = _joint_rooms(self.rules, base), _joint_rooms(new_rules, left)
        for key, (counted, room) in rooms.items():
            is_more = more[key][1] > room if key in more else np.ones(len(room), bool)
            found |= is_more & (self._home.total(self._offers(good, counted)) > room)
        return found

    def _offers(self, good: Any, counted: Any) -> Any:
        """Return [S] int64, how many offers have a good action among those counted."""
        number = np.zeros(good.shape[1], np.int64)
        for offer in np.unique(self.offer[counted]):
            number += good[counted & (self.offer == offer)].any(axis=0)
        return number

    def _best(self, rows: Any, open_: Any, left: Left, own: Rules) -> Any:
        """Return the surplus of the best bundle of some rows, float64; of a household the first's.

        Its other members have 0.

        Args:
            rows: as of ``_whole``.
            open_: [A, rows] bool.
            left: what policies leave.
            own: the rules.
        """
        part, width = self.partition, min(MOST_BUNDLE, len(self.partition.job.catalogue.offers))
        own_p = part.p[:, rows].repeat(part.job.horizon.days, axis=0)
        p = np.ascontiguousarray(np.where(open_, own_p, np.float32(np.nan)))
        cap, tables_ = np.ascontiguousarray(left.cap[:, rows]), own.arrays(self.offer)
        mine = p, part.weight[rows], part.group[rows], left.most[rows]
        prices = (*self.market.value, self.market.price_fixed, self.market.price_accept)
        found = choose(*mine, left.fewest[rows], cap, *tables_, *prices, width)
        chosen, joint = found[0], own.households
        home = self._home.key[rows] if len(part.members) else np.full(len(rows), -1)
        if joint is not None:
            room = np.ascontiguousarray(left.room[:, rows])
            relations = (*tables_[:-1], *joint.arrays(self.offer))  # nothing requires another
            choose_households(*mine, cap, home, room, *relations, *prices, *found)
        each = np.zeros(chosen.shape)
        for a in range(len(self.offer)):
            place, row = np.nonzero(chosen == a)
            each[place, row] = part.surplus(self.market, a, rows[row])
        surplus = np.sort(each, axis=0).sum(axis=0)
        is_first = np.ones(len(rows), bool)
        is_first[1:] = (home[1:] < 0) | (home[1:] != home[:-1])
        if not is_first.all():
            first = np.flatnonzero(is_first)
            surplus[first] = np.add.reduceat(surplus, first)
            surplus[~is_first] = 0.0
        return surplus


def _has_size(policy: ContactPolicy) -> bool:
    """Return whether a policy says how large bundles are, or is a cap of near days."""
    return policy.cap is not None or policy.kind in {"exactly", "at_least", "exclusive"}


def _rooms(own: Rules, left: Left) -> dict[tuple[bytes, bool], tuple[Any, Any]]:
    """Return the caps by what they count: the actions, [A] bool, and the room, [S]."""
    keys = zip((row.tobytes() for row in own.members), own.per_contact.tolist(), strict=True)
    return dict(zip(keys, zip(own.members, left.cap, strict=True), strict=True))


def _joint_rooms(own: Rules, left: Left) -> dict[tuple[bytes, bool], tuple[Any, Any]]:
    """Return the caps over households likewise, and the room of each household, [S]."""
    joint = own.households
    if joint is None:
        return {}
    keys = zip((row.tobytes() for row in joint.members), joint.per_contact.tolist(), strict=True)
    return dict(zip(keys, zip(joint.members, left.room, strict=True), strict=True))


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
