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

MOST_MEMBERS = 8  # of a household


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
