"""The core: subscribers near to changing, and every bundle that each may reasonably have.

At the dual's minimum most subscribers have one best bundle by far. The others are nearly
indifferent between a few: to take another costs them little. What a bundle costs against the best
is its regret, and for any choice of bundles

    bound - value = sum of regrets + prices . (limit - use),

so whole contacts are found by moving the fewest and least regretful subscribers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from kernels.choose import NO_ACTION

MOST_CORE = 12_000  # subscribers of a core
MOST_BUNDLES, MOST_TIED = 60_000, 300_000  # the more where most tie
FEWEST_BUNDLES = 4  # of a subscriber on average, about: sets the largest regret


@dataclass(frozen=True, eq=False)
class Core:
    """Subscribers in the order of their keys, and the bundles to choose from."""

    block: Any  # [N] on the host
    place: Any  # [N, 2] int64, block of the problem and row in it
    first: Any  # [N + 1] int64, bundles of subscriber s are first[s]:first[s + 1]; its best first
    bundles: Any  # [B, Q] int16, NO_ACTION beyond the bundle
    regret: Any  # [B] float64, money
    value: Any  # [B] float64, money
    use: Any  # [B, K] float64, units of the constraints
    prices: Any  # [K] float64, money per unit, at which regrets count

    def __len__(self) -> int:
        return len(self.place)

    @cached_property
    def owner(self) -> Any:
        """Return [B] the subscriber of each bundle."""
        return np.repeat(np.arange(len(self)), np.diff(self.first))

    def by_regret(self) -> Any:
        """Return the subscribers by their least regret of another bundle; equal ones by key."""
        regret = self.regret.copy()
        regret[self.first[:-1]] = np.inf
        least = np.minimum.reduceat(regret, self.first[:-1]) if len(self) else np.empty(0)
        return np.argsort(least, kind="stable")


def least_regretful(
    list_them: Callable[..., int], subscribers: int, width: int, tie: float = 0.0
) -> tuple[Any, Any, Any]:
    """Return owner [N], bundle [N, Q] and regret [N] of those of least regret, not too many.

    Args:
        list_them: writes the bundles of less regret than a number to owner, bundles and regret,
            as many as there is space for, and returns how many there are.
        subscribers: whose bundles they are.
        width: Q.
        tie: money: where most are of less regret than this, these do not count as many.
    """
    enough = min(MOST_BUNDLES, FEWEST_BUNDLES * subscribers + 1_000)
    space, room = MOST_BUNDLES, np.inf
    while True:
        owner, regret = np.empty(space, np.int64), np.empty(space)
        bundles = np.full((space, width), NO_ACTION, np.int16)
        count = list_them(room, owner, bundles, regret)
        if count > space:
            space = count
        elif count > enough and room == np.inf:
            ties = int((regret[:count] < tie).sum()) - subscribers
            if 2 * ties > enough:
                enough = min(MOST_TIED, 2 * enough + ties, count - 1)
            room = float(np.partition(regret[:count], enough)[enough])
        else:
            return owner[:count], bundles[:count], regret[:count]
