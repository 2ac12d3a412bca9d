"""Deal tied subscribers to days, a few at a time, at prices that follow what is left.

Where offers are worth the same on several days, masses of subscribers are indifferent between them.
No prices say who goes when: the least difference sends all to one day. Whole bundles that fill the
days are found by dealing instead. Subscribers come in the order of their keys, which is random;
each batch gets its best bundles at the prices of the moment, and where more has been used than the
batches so far may use of a limit, its price is a little higher for the next one. So the days fill
side by side. Batches become smaller as fewer subscribers are left, and with them what a limit is
passed by; the rest is mended as ever.

The first prices are those of the problem whose limits hold over all tied days: a few, found by
cutting planes on samples. Then a limit's price moves by a little with what it is passed by itself,
which costs next to no value; and, together with the prices of the tied days, by what would bring
the use of all of them back among the subscribers that are left, as contacts of the one kind are
given up for those of others there. The mean of a deal's prices is where the next one begins, if the
dual is lower there: so limits of tied days may differ in price after all.

Source:
    Balseiro, Lu and Mirrokni, "The Best of Many Worlds: Dual Mirror Descent for Online Allocation
    Problems", Operations Research 71(1), 2023.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.oracle import Oracle, Survey
from engine.prices import Evaluation, minimise_dual
from engine.rounding import Rounded, round_bundles
from engine.stop import Deadline
from engine.zoom import Step, Tell, Zoomed
from kernels.backend import library, to_cpu

if TYPE_CHECKING:
    from engine.offer_oracle import OfferOracle

SAMPLES = (2_000, 8_000)  # subscribers that the first prices are of, one after the other
RADII = (0.3, 0.03)  # of their first boxes, in typical values
ROUGH, MOST_CUTS = 1e-5, 200  # tolerance of the samples' duals; evaluations of each
RAISE = 0.05  # typical values, of 1 and the price: how far a price is raised to see what follows
LEAST_RESPONSE = 0.1  # of the limit, for a typical value: a smaller response counts as such
SHARE, FEWEST = 50, 20  # a batch has one in so many of those left, and so many at least
LAST, LEFT = 0.02, 1_000  # share of the subscribers, and most: gains grow until so few are left
LEAST_LIMIT = 0.002  # typical contacts a subscriber: a smaller limit counts as such
SETTLING = 0.25  # share of the subscribers whose prices the mean leaves out
# Of each deal: typical values by which a price rises where its limit is passed by as much again;
# and which share of what tied days' limits are passed by the others' prices are to bring back.
FIRST = ((1e-2, 2.0), (1e-3, 0.5))  # for prices alone
LATER = ((1e-4, 0.5), (3e-4, 0.5), (3e-4, 1.0), (3e-4, 0.25), (1e-4, 0.25))
NEAR, MOST_NEAR = 0.02, 10_000  # typical values: whose margin is less is near; the most of them


@dataclass(frozen=True, eq=False)
class _First:
    """Prices that are equal on tied days."""

    prices: Any  # [K]
    place: Any  # [K] int64, the limit over tied days that each is part of
    response: Any  # [K'] typical contacts that a typical value more of its price saves
    reads: float


@dataclass(frozen=True, eq=False)
class _Dealt:
    """One deal among some subscribers."""

    chosen: Any  # [Q, S], on their side
    margin: Any  # [S]
    total: Any  # the others' included
    mean: Any  # [K] of the prices


@dataclass(frozen=True, eq=False)
class _Found:
    """What the deals so far have led to."""

    dealt: _Dealt  # the last one
    least: Evaluation  # at the prices of the lowest dual
    bound: float  # the dual there, money
    gap: float  # what the dealt bundles miss of it, limits being met; a share of it
    reads: float
    subscribers: int

    def step(self, began: float) -> Step:
        """Return the line of the log."""
        seconds = perf_counter() - began
        return Step("deal", self.reads, self.bound, self.gap, self.subscribers, seconds)


def solve_tied(
    full: Oracle, tied: tuple[Oracle, Any], *, tolerance: float, tell: Tell, deadline: Deadline
) -> tuple[Zoomed, Rounded] | None:
    """Return prices and whole bundles of a problem with tied days, or None: nobody has a choice.

    Args:
        full: over all subscribers.
        tied: what ``full.tied()`` returns.
        tolerance: share of the bound that may be missing.
        tell: receives each step.
        deadline: when to end.
    """
    began = perf_counter()
    first = _first_prices(tied, deadline)
    whole = full.reached(full.survey(first.prices), full.everybody)
    inner: Any = full.narrowed(whole)  # of whom a batch can be taken
    best: tuple[Zoomed, Rounded] | None = None
    for number, found in enumerate(_deals(full, inner, first), 1):
        tell(found.step(began))
        is_last = number == len(FIRST + LATER) or deadline.is_over()
        if not is_last and (number <= len(FIRST) or found.gap > tolerance):
            continue
        prices, dealt = found.least.prices, found.dealt
        survey = full.reached(full.survey(prices), full.everybody)
        theirs = Survey(
            full.evaluation(prices, dealt.total), dealt.total, [dealt.chosen], [dealt.margin],
            [_near(inner, dealt)], full.everybody,
        )  # fmt: skip
        start = full.filled(whole, theirs, full.everybody)
        still = found.gap * max(1.0, abs(found.bound))
        zoomed = Zoomed(full, survey, start, full.bound(survey), still, found.reads + 1.0)
        rounded = round_bundles(
            zoomed, tolerance=tolerance, deadline=deadline, is_quick=not is_last
        )
        if best is not None:
            was = best[1]
            if (was.is_feasible, was.value) > (rounded.is_feasible, rounded.value):
                rounded = was
        best = zoomed, rounded
        if rounded.is_enough or deadline.is_over():
            break
    return best


def tied_prices(full: Oracle, tied: tuple[Oracle, Any], *, deadline: Deadline) -> Any:
    """Return [K] prices near the dual's minimum of a problem with tied days; as ``solve_tied``."""
    first = _first_prices(tied, deadline)
    prices, whole = first.prices, full.reached(full.survey(first.prices), full.everybody)
    for found in _deals(full, full.narrowed(whole), first):
        prices = found.least.prices
        if deadline.is_over():
            break
    return prices


def _deals(full: Oracle, inner: Any, first: _First) -> Iterator[_Found]:
    """Deal time and again; yield what each deal has led to."""
    if not inner.subscribers:
        return
    batches = list(_batches(inner))
    least = inner.evaluate(first.prices)
    bound, reads = least.dual(full.limit), first.reads + 2.0
    for gains in FIRST + LATER:
        dealt = _deal(inner, batches, least.prices, first, gains)
        mean = inner.evaluate(dealt.mean)
        reads += 2.0
        if mean.dual(full.limit) < bound:
            least, bound = mean, mean.dual(full.limit)
        missing = bound - full.evaluation(least.prices, dealt.total).dual(full.limit)
        yield _Found(dealt, least, bound, missing / max(1.0, abs(bound)), reads, inner.subscribers)


def _first_prices(tied: tuple[Oracle, Any], deadline: Deadline) -> _First:
    """Return the prices of samples of the problem whose limits hold over all tied days."""
    coarse, place = tied
    total = max(1, coarse.subscribers)
    prices, reads, response = coarse.range[0], 0.0, np.zeros(len(coarse.limit))
    for size, radius in zip(SAMPLES, RADII, strict=True):
        part = coarse.sampled(min(1.0, size / total))
        share = part.subscribers / total
        if not share:
            continue
        found = minimise_dual(
            part.evaluate, coarse.limit * share, prices, scale=coarse.scale, unit=coarse.typical,
            range_=coarse.range, radius=radius * coarse.typical, tolerance=ROUGH,
            is_done=lambda count, best, model: count >= MOST_CUTS or deadline.is_over(),
        )  # fmt: skip
        prices, reads = found.prices, reads + found.evaluations * share
        if size == SAMPLES[-1]:
            response = _response(part, found.best) / share
            reads += len(prices) * share
    return _First(prices[place], place, response, reads)


def _response(part: Oracle, there: Evaluation) -> Any:
    """Return [K'] by how many typical contacts less is used for a typical value more."""
    less = np.empty(len(part.scale))
    for k, unit in enumerate((part.typical / part.scale).tolist()):
        more = RAISE * (1.0 + there.prices[k] / unit)
        raised = there.prices.copy()
        raised[k] += more * unit
        use = part.evaluate(raised).use_in_all[k]
        less[k] = (there.use_in_all[k] - use) / part.scale[k] / more
    return less


def _batches(inner: "OfferOracle") -> Iterator[tuple[Any, "OfferOracle"]]:
    """Yield rows and oracles of ever smaller batches, in the order of keys."""
    (block,) = inner.blocks
    order = np.argsort(to_cpu(block.key), kind="stable")
    begin, count = 0, len(order)
    while begin < count:
        size = max(FEWEST, (count - begin) // SHARE)
        rows = library(block.key).asarray(np.sort(order[begin : begin + size]))
        yield rows, inner.over([block.take(rows)])
        begin += size


def _deal(
    inner: "OfferOracle", batches: list[Any], start: Any, first: _First,
    gains: tuple[float, float],
) -> _Dealt:  # fmt: skip
    """Give each batch its best bundles at prices that follow what limits are passed by.

    Args:
        inner: whom it is dealt to.
        batches: of them.
        start: [K] the first prices.
        first: what the response is to the prices of tied days together.
        gains: as in ``FIRST`` and ``LATER``.
    """
    place, response = first.place, first.response
    unit, count, (own, together) = inner.typical / inner.scale, inner.subscribers, gains
    limit = inner.limit / inner.scale
    size = np.maximum(np.abs(limit), LEAST_LIMIT * count)
    all_days = np.maximum(np.abs(np.bincount(place, limit)), LEAST_LIMIT * count)
    response = np.maximum(response, LEAST_RESPONSE * all_days)
    (block,) = inner.blocks
    chosen = library(block.key).empty((inner.width, count), np.int16)
    margin = library(block.key).empty(count, np.float32)
    total, seen, weight = inner.constant, 0, 0
    prices, mean = start, np.zeros(len(start))
    for rows, part in batches:
        found = part.survey(prices)
        chosen[:, rows], margin[rows] = found.chosen[0], found.margin[0]
        total = total + found.total
        if seen >= SETTLING * count:
            mean, weight = mean + prices * len(rows), weight + len(rows)
        seen += len(rows)
        over = inner.evaluation(prices, total).use_in_all / inner.scale - limit * (seen / count)
        soon = unit * count / max(count - seen, min(LAST * count, LEFT))
        level = start + soon * together * (np.bincount(place, over) / response)[place]
        level = np.clip(level, *inner.range)  # what is left by far is not saved up
        prices = np.clip(level + soon * own * over / size, *inner.range)
    return _Dealt(chosen, margin, total, mean / weight if weight else start)


def _near(inner: "OfferOracle", dealt: _Dealt) -> Any:
    """Return the rows of subscribers whose margin is little, of the lowest keys."""
    (block,) = inner.blocks
    rows = np.flatnonzero(to_cpu(dealt.margin) <= NEAR * inner.typical)
    first = np.argsort(to_cpu(block.key)[rows], kind="stable")[:MOST_NEAR]
    return library(dealt.margin).asarray(np.sort(rows[first]))
