"""What the solver asks of a problem: best bundles at prices, added up, by one pass.

The solver knows problems by this interface alone. An oracle holds some of the subscribers, those
left out being constants; amounts are float64 in money and units while prices are sought, and whole
numbers when an answer is judged. What adds up the chosen bundles (``total``) is an integer array of
the oracle's own: totals of disjoint subscribers may be added and subtracted.

How far surpluses may move (``reach``) is an array of the oracle's own too: it may be multiplied,
compared, and numbers and other reaches of the same oracle added.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from engine.core import MOST_CORE, Core
from engine.prices import Evaluation
from kernels.backend import library, to_cpu
from kernels.threads import each_task

LARGEST_PRICE = 1e4  # in typical values a contact
FEWEST_NEAR = 48  # near subscribers that use a tight limit, if there are so many
DEEPENINGS, DEEPER = 4, 16.0  # how often a reach is lengthened, and by what at most
LEAST_REACH = 1e-6  # of a reach before it is lengthened, in typical values
MOST_NEAR = MOST_CORE // 2  # subscribers: a mass that ties is not taken in


AS_HARD = 1e6  # times the value of a contact: a larger penalty says that the limit is to be kept


def unit_of_prices(gained: float, saved: Any, *, is_worth: bool) -> float:
    """Return the money by which prices are measured: what a typical contact gains or saves.

    Args:
        gained: money, the typical value of a contact, > 0.
        saved: money that a contact saves or costs in penalties, of each soft limit.
        is_worth: whether any contact is worth anything; then penalties beyond ``AS_HARD`` times
            that do not set the scale.
    """
    most = float(saved.max(initial=0.0))
    return max(gained, min(most, AS_HARD * gained) if is_worth else most)


@dataclass(frozen=True, eq=False)
class Survey:
    """The best bundles of all subscribers at some prices."""

    evaluation: Evaluation
    total: Any  # on the host, settled bundles included
    chosen: list[Any]  # by block: the bundles, on the block's side
    margin: list[Any]  # by block: how much better they are than the next best, money
    near: list[Any]  # by block: rows whose margin is within their reach
    reach: Any  # what was near

    @property
    def near_count(self) -> int:
        """Return how many subscribers are near to changing."""
        return sum(len(rows) for rows in self.near)


def _copied(arrays: list[Any]) -> list[Any]:
    """Return copies; of arrays in host memory by several threads."""
    if all(library(array) is np for array in arrays):
        return each_task(lambda array: array.copy(), arrays)
    return [array.copy() for array in arrays]


class Oracle(ABC):
    """Best bundles of some subscribers at any prices, on top of settled bundles' constant sums."""

    problem: Any
    subscribers: int
    limit: Any  # [K] float64, units
    scale: Any  # [K] float64, > 0: what a typical contact uses, units
    typical: float  # > 0: what a typical contact is worth, money

    @cached_property
    def range(self) -> tuple[Any, Any]:
        """Return [K] smallest and largest price: 0, and more than any contact can be worth.

        Or the penalty of a soft limit, if that is less; of a charge both are its penalty.
        """
        highest = np.minimum(LARGEST_PRICE * self.typical / self.scale, self.penalty)
        charged = self.charged
        return np.where(charged, self.penalty, 0.0), np.where(charged, self.penalty, highest)

    @property
    def charged(self) -> Any:
        """Return [K] bool whether a price is known to be its penalty, whatever is chosen."""
        return np.zeros(len(self.scale), bool)

    @cached_property
    def penalty(self) -> Any:
        """Return [K] float64 what a unit beyond a limit costs, money; inf: the limit is hard."""
        return np.full(len(self.scale), np.inf)

    @property
    def penalty_units(self) -> list[Fraction | None]:
        """Return [K] the same exactly, in whole units of value and use; None: the limit is hard."""
        return [None] * len(self.scale)

    @abstractmethod
    def under(self, problem: Any) -> "Oracle":
        """Return the oracle of the same subscribers under a problem's limits.

        Args:
            problem: differs from this one's problem in its limits and in what they count, alone.
        """

    def coarser(self) -> Iterator[tuple["Oracle", Any]]:
        """Yield oracles of the same subscribers under fewer limits, the coarsest first.

        Yields:
            the oracle; [K] int64, for each limit of this one the one that it is part of.
        """
        yield from ()

    def tied(self) -> tuple["Oracle", Any] | None:
        """Return the oracle under limits over all days that tie, and its limits as ``coarser``.

        None: it makes a difference on which day a contact is.
        """
        return None

    @abstractmethod
    def sampled(self, share: float) -> "Oracle":
        """Return the oracle of the subscribers whose key is in the lowest share of its range."""

    @abstractmethod
    def survey(self, prices: Any, reach: Any = None) -> Survey:
        """Return the best bundles at the prices, and who is near to changing; None: nobody."""

    def _surveyed(self, prices: Any, total: Any, found: Iterable[Any], reach: Any) -> Survey:
        """Return the survey of bundles, margins and totals by block, added to a total."""
        bundles, margins = [], []
        for chosen, margin, more in found:
            total = total + to_cpu(more)
            bundles.append(chosen)
            margins.append(margin)
        nobody = [library(m).empty(0, np.int64) for m in margins]
        survey = Survey(self.evaluation(prices, total), total, bundles, margins, nobody, None)
        return survey if reach is None else self.reached(survey, reach)

    @abstractmethod
    def evaluation(self, prices: Any, total: Any) -> Evaluation:
        """Return value and use of every class, from the total of the bundles at the prices."""

    @abstractmethod
    def reached(self, survey: Survey, reach: Any) -> Survey:
        """Return the same survey with those near whose margin is within another reach."""

    @abstractmethod
    def near_by_reach(self, survey: Survey) -> Any:
        """Return how many near subscribers there are to each entry of the survey's reach."""

    @property
    @abstractmethod
    def users(self) -> tuple[Any, Any]:
        """Return [N] constraints and [N] entries of a reach, flat: those of who uses what."""

    def deepened(self, survey: Survey) -> Survey:
        """Return the survey with a longer reach where a tight limit has few near subscribers.

        Where few subscribers use a limit, few are near to changing that; but some must, for its use
        to come out right. So the reach of all that use such a limit is lengthened until about
        ``FEWEST_NEAR`` are near, if there are so many.
        """
        if np.isinf(survey.reach).all():
            return survey
        left, count = self.exact(survey.total)[1], len(self.scale)
        is_tight = (survey.evaluation.prices > 0) | np.array([rest < 0 for rest in left], bool)
        constraint, entry = self.users
        is_tight &= (np.bincount(constraint, minlength=count) > 0) & ~self.charged
        for _ in range(DEEPENINGS):
            near = self.near_by_reach(survey).reshape(-1)[entry]
            held = np.bincount(constraint, near, minlength=count)
            is_short = is_tight & (held < FEWEST_NEAR)
            if not is_short.any():
                break
            longer = np.where(is_short, np.minimum(FEWEST_NEAR / np.maximum(held, 1), DEEPER), 1.0)
            times = np.ones(survey.reach.size)
            np.maximum.at(times, entry, longer[constraint])
            times = times.reshape(survey.reach.shape)
            reach = (survey.reach + LEAST_REACH * self.typical) * times
            deeper = self.reached(survey, np.where(times > 1.0, reach, survey.reach))
            if deeper.near_count > MOST_NEAR:
                break
            survey = deeper
        return survey

    @abstractmethod
    def narrowed(self, survey: Survey) -> "Oracle":
        """Return the oracle of the near subscribers; the others keep their bundles."""

    def with_near(self, survey: Survey, inner: "Oracle", prices: Any, reach: Any) -> Survey:
        """Return a survey whose near subscribers have their best bundles at other prices.

        Args:
            survey: of all.
            inner: ``narrowed(survey)``, which has them in one block.
            prices: [K] float64.
            reach: which of them are near then.
        """
        return self.filled(survey, inner.survey(prices, reach), reach)

    def filled(self, survey: Survey, theirs: Survey, reach: Any) -> Survey:
        """Return a survey whose near subscribers have other bundles.

        Args:
            survey: of all.
            theirs: of ``narrowed(survey)``.
            reach: which of them are near there.
        """
        chosen, margin = _copied(survey.chosen), _copied(survey.margin)
        near, begin = [], 0
        for bundles, distance, rows in zip(chosen, margin, survey.near, strict=True):
            end = begin + len(rows)
            bundles[:, rows] = theirs.chosen[0][:, begin:end]
            distance[rows] = theirs.margin[0][begin:end]
            still = theirs.near[0]
            near.append(rows[still[(still >= begin) & (still < end)] - begin])
            begin = end
        both = np.minimum(reach, survey.reach)  # nobody else was looked at
        return Survey(theirs.evaluation, theirs.total, chosen, margin, near, both)

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

    @abstractmethod
    def bound(self, survey: Survey) -> float:
        """Return the dual at a survey's prices, money, never too low.

        The search's own sums are rounded; this one adds up exactly and makes up for bundles that
        rounding has let the kernels prefer.

        Args:
            survey: of all.
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
    def moved(self, one: Any, other: Any, survey: Survey) -> Any:
        """Return how far surpluses move against each other between two prices.

        Args:
            one: [K] prices.
            other: [K] prices.
            survey: of all, which tells what others have.
        """

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
    def exact(self, total: Any) -> tuple[int | Fraction, list[int]]:
        """Return the value less what overruns cost, and what is left of each limit [K].

        In whole units; of soft limits less than nothing may be left.
        """

    @property
    @abstractmethod
    def value_unit(self) -> int:
        """Return how many whole units of value are one unit of money."""

    @property
    @abstractmethod
    def use_unit(self) -> list[int]:
        """Return [K] how many whole units of use are one unit of each constraint."""
