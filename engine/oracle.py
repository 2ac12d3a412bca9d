"""What the solver asks of a problem: best bundles at prices, added up, by one pass.

The solver knows problems by this interface alone. An oracle holds some of the subscribers, those
left out being constants; amounts are float64 in money and units while prices are sought, and whole
numbers when an answer is judged. What adds up the chosen bundles (``total``) is an integer array of
the oracle's own: totals of disjoint subscribers may be added and subtracted.

How far surpluses may move (``reach``) is an array of the oracle's own too: it may be multiplied,
compared, and numbers and other reaches of the same oracle added.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from engine.core import Core
from engine.prices import Evaluation

LARGEST_PRICE = 1e4  # in typical values a contact


@dataclass(frozen=True, eq=False)
class Survey:
    """The best bundles of all subscribers at some prices."""

    evaluation: Evaluation
    total: Any  # on the host, settled bundles included
    settled: Any  # total of all but the near subscribers
    chosen: list[Any]  # by block: the bundles, on the block's side
    near: list[Any]  # by block: rows whose margin is within their reach
    reach: Any  # what was near

    def with_near(self, inner: "Survey") -> "Survey":
        """Return everybody's bundles when the near subscribers have those of another survey.

        Args:
            inner: a survey of the near subscribers alone, on top of the settled total, at other
                prices: the evaluation is theirs, and so are the ones near to changing.
        """
        chosen = [bundles.copy() for bundles in self.chosen]
        for bundles, rows, theirs in zip(chosen, self.near, inner.chosen, strict=True):
            bundles[:, rows] = theirs
        near = [rows[some] for rows, some in zip(self.near, inner.near, strict=True)]
        return Survey(inner.evaluation, inner.total, inner.settled, chosen, near, inner.reach)

    @property
    def near_count(self) -> int:
        """Return how many subscribers are near to changing."""
        return sum(len(rows) for rows in self.near)


class Oracle(ABC):
    """Best bundles of some subscribers at any prices, on top of settled bundles' constant sums."""

    problem: Any
    subscribers: int
    limit: Any  # [K] float64, units
    scale: Any  # [K] float64, > 0: what a typical contact uses, units
    typical: float  # > 0: what a typical contact is worth, money

    @cached_property
    def range(self) -> tuple[Any, Any]:
        """Return [K] smallest and largest price: 0, and more than any contact can be worth."""
        return np.zeros(len(self.scale)), LARGEST_PRICE * self.typical / self.scale

    @abstractmethod
    def under(self, problem: Any) -> "Oracle":
        """Return the oracle of the same subscribers under a problem's limits.

        Args:
            problem: differs from this one's problem in its limits and in what they count, alone.
        """

    @abstractmethod
    def sampled(self, share: float) -> "Oracle":
        """Return the oracle of the subscribers whose key is in the lowest share of its range."""

    @abstractmethod
    def survey(self, prices: Any, reach: Any = None) -> Survey:
        """Return the best bundles at the prices, and who is near to changing; None: nobody."""

    @abstractmethod
    def narrowed(self, survey: Survey) -> "Oracle":
        """Return the oracle of the near subscribers; the others keep their bundles."""

    @abstractmethod
    def curve(self, prices: Any, bandwidth: float) -> tuple[Evaluation, Any, int]:
        """Return the evaluation, the dual's curvature there, and how many made it up.

        Args:
            prices: [K] float64.
            bandwidth: money, margins below it count.

        Returns:
            the evaluation; [K, K] float64, second derivatives in prices of a typical contact
            (``scale``); the number of subscribers whose margin is below the bandwidth.
        """

    def evaluate(self, prices: Any) -> Evaluation:
        """Return value and use at the prices."""
        return self.survey(prices).evaluation

    @property
    @abstractmethod
    def everybody(self) -> Any:
        """Return the reach that takes in all."""

    @property
    def nowhere(self) -> Any:
        """Return the reach that takes in nobody."""
        return np.zeros_like(self.everybody)

    @abstractmethod
    def scattered(self, prices: Any, curvature: Any, rest: float) -> Any:
        """Return the standard deviation of surpluses at prices that come from these subscribers.

        The slope of a sample of n scatters as the uses of its contacts do, with covariance C; so
        its prices scatter around the true ones with covariance H^-1 C H^-1, H its curvature.

        Args:
            prices: [K] float64, that minimise these subscribers' dual.
            curvature: [K, K] float64, as from :meth:`curve`.
            rest: share of all subscribers that are not among these.
        """

    @abstractmethod
    def moved(self, one: Any, other: Any) -> Any:
        """Return how far surpluses move against each other between two prices."""

    @abstractmethod
    def core(self, survey: Survey, part: int) -> Core:
        """Return near subscribers of a survey with their bundles, ``MOST_CORE`` of them at most.

        Args:
            survey: the survey.
            part: which of the near subscribers, in the order of their keys.
        """

    @abstractmethod
    def total_of(self, core: Core, rows: Any, taken: Any) -> Any:
        """Return the total of the bundles taken by some rows of a core."""

    @abstractmethod
    def exact_bundles(self, core: Core, listed: list[int]) -> tuple[list[int], list[list[int]]]:
        """Return value [N] and use [K][N] of some bundles of a core in whole units."""

    @abstractmethod
    def exact(self, total: Any) -> tuple[int, list[int]]:
        """Return the value and what is left of each limit [K], in whole units."""

    @property
    @abstractmethod
    def value_unit(self) -> int:
        """Return how many whole units of value are one unit of money."""

    @property
    @abstractmethod
    def use_unit(self) -> int:
        """Return how many whole units of use are one unit of a constraint."""
