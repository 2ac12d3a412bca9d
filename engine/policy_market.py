"""What the prices of an answer are to a partition: its subscribers and what policies leave them.

S subscribers, P pairs of offer and channel, A actions, G groups.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from engine import policies, tables
from engine.actions import Action, actions, actions_of
from engine.block import KEY_RANGE
from engine.candidates import eligible, propensities
from engine.history import History
from engine.policies import Left
from engine.policy_questions import Asked
from engine.settings import Job


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
