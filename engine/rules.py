"""What may be in one subscriber's bundle, whoever the subscriber is: the relations between actions.

A bundle b, not empty, of subscriber s keeps the rules when

    most[s] >= |b| >= fewest[s] without the flag MUST
    no two actions of b are of one offer, or of two offers that exclude one another
    cap[d,s] >= the actions, or contacts, of b that cap d counts           for every d
    b has one of the offers that each of its actions requires

Actions of b with an equal ``contact`` are one contact. The empty bundle is always allowed, but to
those with the flag MUST only where no other is: they are exempt.

With N days an action is a pair of offer and channel on a day: action a is pair ``a // N`` on day
``a % N``.

S subscribers, P pairs, N days, A = P N actions, D caps, M classes of pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from engine.errors import DataError
from engine.household_rules import HouseholdRules, bits, counting
from kernels.choose import MOST_ACTIONS, MOST_CAPS, MUST, choose
from kernels.planned import MOST_DAYS

Exclusions = Sequence[tuple[int, int]]
Requirements = Sequence[tuple[int, tuple[int, ...]]]


@dataclass(frozen=True, eq=False)
class Plan:
    """What several days add to the rules: groups of pairs, and runs of days that caps count."""

    days: int  # N
    day_class: Any  # [P] int32, the row of Block.days that says when a pair is open
    within: Any  # [L, P] bool, the pairs of a group
    group: Any  # [D] int32, the group of a cap
    first: Any  # [D] int32, the first day that it counts
    last: Any  # [D] int32, the last one

    def is_by_pair(self, propensity: Any) -> bool:
        """Return whether propensities have a row for each pair, not one for each action."""
        return len(propensity) == len(self.day_class)

    def arrays(self) -> tuple[Any, ...]:
        """Return it as the kernels take it (:func:`kernels.planned.choose_planned_cpu`)."""
        action = np.arange(self.days * len(self.day_class), dtype=np.int32)
        pair, group = np.nonzero(self.within.T)
        indptr = np.searchsorted(pair, np.arange(len(self.day_class) + 1))
        return (
            self.day_class, action // self.days, action % self.days, indptr.astype(np.int32),
            group.astype(np.int32), self.within.astype(np.uint8),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Rules:
    """The relations between a problem's actions, on the host.

    The first cap that counts an action bounds the search: put those first that bind most.
    """

    members: Any  # [D, A] bool, the actions that a cap counts
    per_contact: Any  # [D] bool, whether it counts contacts (all actions of one, or none of them)
    contact: Any  # [A] int32, the first action that goes out in one contact with it
    exclusive: Exclusions = ()  # pairs of offers that are not in one bundle
    requires: Requirements = ()  # (offer, others): it only with one of those, each of an action
    days: int = 1  # N
    day_class: Any = None  # [P] int32, as in Plan; None: of one day
    apart: Any = None  # [A, A] bool, further actions that are not in one bundle; None: none
    households: HouseholdRules | None = None  # None: nothing is said of households

    def __post_init__(self) -> None:
        if len(self.members) > MOST_CAPS:
            raise DataError(
                f"policies: {len(self.members)} caps on groups of actions; at most {MOST_CAPS} "
                "are allowed; name fewer channels, categories or offers under only"
            )

        whole = self.members[self.per_contact]
        assert (whole == whole[:, self.contact]).all(), "a cap counts a part of a contact"

    @property
    def classes(self) -> int:
        """Return M; 0 of one day."""
        return 0 if self.day_class is None else int(self.day_class.max(initial=-1)) + 1

    @property
    def household_caps(self) -> int:
        """Return E."""
        return 0 if self.households is None else len(self.households.members)

    @property
    def exclusive_over_households(self) -> Sequence[tuple[int, ...]]:
        """Return the sets of offers of which a household, or who is alone, has one at most."""
        return () if self.households is None else self.households.exclusive

    def with_households(self) -> "Rules":
        """Return the rules of one member where its household's caps are its own, behind others."""
        if self.households is None:
            return self
        joint = self.households
        return replace(
            self, members=np.concatenate([self.members, joint.members]),
            per_contact=np.concatenate([self.per_contact, joint.per_contact]),
        )  # fmt: skip

    def plan(self) -> Plan | None:
        """Return what several days add; None: there is one."""
        if self.day_class is None:
            return None
        assert self.days <= MOST_DAYS, "a digit of a span has no room for so many days"
        by_day = self.members.reshape(len(self.members), len(self.day_class), self.days)
        counts, pairs = by_day.any(axis=1), by_day.any(axis=2)
        within, group = np.unique(pairs, axis=0, return_inverse=True)
        first = counts.argmax(axis=1)
        last = self.days - 1 - counts[:, ::-1].argmax(axis=1)
        day = np.arange(self.days)
        is_run = (first[:, None] <= day) & (day <= last[:, None])
        assert (by_day == pairs[:, :, None] & is_run[:, None]).all(), "a cap counts no run of days"
        numbers = (x.astype(np.int32) for x in (group.reshape(-1), first, last))
        return Plan(self.days, self.day_class, within, *numbers)

    def conflict(self, offer: Any) -> Any:
        """Return [A, A] bool whether two actions are never in one bundle; false with itself.

        What a household has not together, a subscriber has not either.

        Args:
            offer: [A] int32, offer of an action.
        """
        found = offer[:, None] == offer
        for one, other in self.exclusive:
            found |= (offer[:, None] == one) & (offer == other)
            found |= (offer[:, None] == other) & (offer == one)
        if self.apart is not None:
            found |= self.apart
        if self.households is not None:
            found |= self.households.conflict(offer)
        np.fill_diagonal(found, val=False)
        return found

    def arrays(self, offer: Any) -> tuple[Any, ...]:
        """Return the relations as the kernels take them (:func:`kernels.choose.choose_cpu`).

        With more actions than bundles are searched for, only whether an action requires anything
        is told: one action alone meets no requirement and is in no conflict.
        """
        actions = len(offer)
        is_searched = actions <= MOST_ACTIONS
        words = -(-actions // 64) if is_searched else 1
        conflicts = np.zeros((actions, words), np.int64)
        if is_searched:
            conflicts = bits(self.conflict(offer))
        layer: dict[int, int] = {}
        requires = np.zeros((self._layers(), actions, words), np.int64)
        for one, others in self.requires:
            r = layer[one] = layer.get(one, -1) + 1
            met_by = np.isin(offer, others)[None]
            requires[r, offer == one] = bits(met_by) if is_searched else 1
        return (
            offer, self._kinds(offer), self.contact, *counting(self.members),
            self.per_contact.astype(np.uint8), conflicts, requires,
        )  # fmt: skip

    def _layers(self) -> int:
        """Return R, the most requirements of one offer."""
        offers = [one for one, _ in self.requires]
        return max(map(offers.count, offers), default=0)

    def _kinds(self, offer: Any) -> Any:
        """Return [A] int32: equal for actions that differ for no rule but by their offer."""
        kinds = np.zeros(len(offer), np.int64)
        if len(self.members):
            kinds = np.unique(self.members, axis=1, return_inverse=True)[1]
        own = {o for pair in self.exclusive for o in pair}
        own |= {o for one, others in self.requires for o in (one, *others)}
        own |= {o for offers in self.exclusive_over_households for o in offers}
        is_own = np.isin(offer, sorted(own))
        if self.apart is not None:
            is_own |= self.apart.any(axis=0)
        shared = np.bincount(self.contact, minlength=len(offer))[self.contact] > 1
        return np.where(is_own | shared, -1, kinds.reshape(-1)).astype(np.int32)

    def allows(self, bundle: Sequence[int], offer: Any, most: int, fewest: int, cap: Any) -> bool:
        """Whether a bundle that is not empty keeps the rules.

        Args:
            bundle: distinct open actions.
            offer: [A] int32, offer of an action.
            most: actions at most.
            fewest: actions at least; the flag MUST does not matter.
            cap: [D] uint8.
        """
        taken = list(bundle)
        offers = [int(offer[a]) for a in taken]
        if not fewest % MUST <= len(taken) <= most or len(set(offers)) < len(offers):
            return False
        for d in range(len(self.members)):
            counted = [int(self.contact[a]) for a in taken if self.members[d, a]]
            if len(set(counted) if self.per_contact[d] else counted) > cap[d]:
                return False
        if self.apart is not None and self.apart[np.ix_(taken, taken)].any():
            return False
        if any(len(set(own) & set(offers)) > 1 for own in self.exclusive_over_households):
            return False
        return not any(one in offers and other in offers for one, other in self.exclusive) and all(
            one not in offers or any(o in offers for o in others) for one, others in self.requires
        )


def plain(actions: int) -> Rules:
    """Return the rules of a problem without caps and relations."""
    none = np.zeros((0, actions), bool)
    return Rules(none, np.zeros(0, bool), np.arange(actions, dtype=np.int32))


def has_bundle(rules: Rules, offer: Any, open_: Any, sizes: tuple[Any, Any, Any], side: Any) -> Any:
    """Return [S] bool whether a subscriber has any bundle that is not empty.

    Args:
        rules: the relations.
        offer: [A] int32, offer of an action, on the host.
        open_: [A, S] bool, on the side of the arrays; open actions have room in every cap.
        sizes: most [S], fewest [S] and cap [D, S], uint8.
        side: the arrays' library.
    """
    (actions, subscribers), (most, fewest, cap) = open_.shape, sizes
    none = np.zeros((1, actions))
    propensity = side.where(open_, 0.0, side.full(open_.shape, np.nan, "float32")).astype("float32")
    chosen, _, _ = choose(
        propensity, side.ones(subscribers, "float32"), side.zeros(subscribers, "int32"),
        most, fewest | MUST, cap, *(side.asarray(a) for a in rules.arrays(offer)),
        *(side.asarray(t) for t in (none[0], none[0], none, none)),
        max(1, int(most.max())) if subscribers else 1,
    )  # fmt: skip
    return chosen[0] >= 0
