"""What each subscriber, or household, gains at the prices if one policy is relaxed.

A subscriber's best bundle changes only if the policies allow a pair more, a group has more good
offers than its cap, or a relation fell that two good offers met; that of a household if this is so
for any member, or for all together. So few are asked again. S subscribers, A actions.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from engine import policies
from engine.household_rules import HouseholdRules
from engine.households import Households
from engine.plan_rules import rules
from engine.policies import Left
from engine.policy_market import Market, Partition
from engine.rules import Rules
from engine.settings.policies import MOST_CAP, ContactPolicy
from kernels.choose import MOST_BUNDLE, choose
from kernels.households import choose_households

GRID = 1 << 20  # of gains, per unit of what is pursued


def in_units(amount: Any) -> Any:
    """Return amounts as int64 in units of 1 / GRID."""
    return np.rint(amount * GRID).astype(np.int64)


def relaxed(policy: ContactPolicy) -> ContactPolicy | None:
    """Return a policy that is relaxed by one contact; None: it is left out."""
    if policy.at_most is None or policy.at_most == MOST_CAP:
        return None
    return policy.model_copy(update={"at_most": policy.at_most + 1})


@dataclass(frozen=True, eq=False)
class Relaxing:
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
        old, new = _rooms(self.rules, base.cap), _rooms(new_rules, left.cap)
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
        rooms = _rooms(self.rules.households, base.room)
        more = _rooms(new_rules.households, left.room)
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


def _rooms(
    relations: Rules | HouseholdRules | None, room: Any
) -> dict[tuple[bytes, bool], tuple[Any, Any]]:
    """Return caps by what they count: the actions, [A] bool, and the room, [S].

    Args:
        relations: with the caps, of subscribers or over households; None: there are none.
        room: [D or E, S] uint8, what they leave.
    """
    if relations is None:
        return {}
    members, per_contact = relations.members, relations.per_contact.tolist()
    keys = zip((row.tobytes() for row in members), per_contact, strict=True)
    return dict(zip(keys, zip(members, room, strict=True), strict=True))
