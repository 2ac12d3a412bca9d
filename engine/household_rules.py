"""What the bundles of one household may have together, whichever household it is.

Members of a household each have a bundle by their own rules (:mod:`engine.rules`). Together

    the actions, or contacts, of all their bundles that cap e counts <= room[e, h]    for every e
    they have at most one of the offers that exclude one another

The same contact to two members is two contacts. No bundle at all is always allowed.

S subscribers, A actions, E caps over households.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.households import MOST_MEMBERS as MOST_MEMBERS


@dataclass(frozen=True, eq=False)
class HouseholdRules:
    """The relations between the actions of a household's members, on the host."""

    members: Any  # [E, A] bool, the actions that a cap counts
    per_contact: Any  # [E] bool, whether it counts contacts
    exclusive: Sequence[tuple[int, ...]] = ()  # sets of offers: a household has one of each at most

    def conflict(self, offer: Any) -> Any:
        """Return [A, A] bool whether actions of two members, or of one, exclude one another.

        Args:
            offer: [A] int32, offer of an action.
        """
        found = np.zeros((len(offer), len(offer)), bool)
        for offers in self.exclusive:
            inside = np.isin(offer, offers)
            found |= inside[:, None] & inside & (offer[:, None] != offer)
        return found

    def used(self, bundles: Sequence[Sequence[int]], contact: Any) -> Any:
        """Return [E] int64, how many actions, or contacts, of several members each cap counts.

        Args:
            bundles: the actions of each member.
            contact: [A] int32, as in :class:`engine.rules.Rules`.
        """
        found = np.zeros(len(self.members), np.int64)
        for bundle in bundles:
            for e in range(len(found)):
                counted = [int(contact[a]) for a in bundle if self.members[e, a]]
                found[e] += len(set(counted) if self.per_contact[e] else counted)
        return found

    def arrays(self, offer: Any) -> tuple[Any, ...]:
        """Return them as the kernels take them (:func:`kernels.households.choose_households_cpu`).

        Args:
            offer: [A] int32, offer of an action.
        """
        indptr, group = counting(self.members)
        return indptr, group, self.per_contact.astype(np.uint8), bits(self.conflict(offer))


def counting(members: Any) -> tuple[Any, Any]:
    """Return the caps that count each action: [A + 1] and [...] int32, as the kernels have them.

    Args:
        members: [D, A] bool, the actions that a cap counts.
    """
    caps, at = np.nonzero(members)
    indptr = np.concatenate([[0], np.cumsum(members.sum(axis=0, dtype=np.int64))])
    return indptr.astype(np.int32), caps[np.lexsort((caps, at))].astype(np.int32)


def bits(table: Any) -> Any:
    """Return the rows of [N, A] bool as [N, ceil(A / 64)] int64, bit b % 64 of word b // 64."""
    padded = np.zeros((len(table), -(-table.shape[1] // 64) * 8), np.uint8)
    packed = np.packbits(table, axis=1, bitorder="little")
    padded[:, : packed.shape[1]] = packed
    return padded.view("<i8").astype(np.int64)
