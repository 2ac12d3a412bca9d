"""The Lagrangian bound of one partition: the highest surplus of every subscriber, never too low.

    bound = sum_k price[k] limit[k] + sum_s max over bundles of s of sum_a t[s,a]
    t[s,a] = w[s] (value[0,a] + value[1,a] p[s,a]) - sum_k price[k] (use[k,0,a] + use[k,1,a] p[s,a])

with rows of minimums negated. It is valid at any prices >= 0, of a soft limit up to its penalty
(weak duality). An objective in which weights do not count, and limits in which they do, change
places: each is charged where its weights are right.

Rounding. t is computed in float64, u = 2**-53, from terms whose sizes add up to m[s,a]: N + 1
roundings for the sums over the N charges (one for a sum, two for a ratio) and 6 more, so
``|computed - t| <= 1.01 (N + 7) u m``. The integer
``ceil((computed + (N + 16) u m) 2**e)`` is therefore >= t 2**e. Bundles are compared and summed in
these integers, so the sum over subscribers is exact: the same for any order and any partitions.

With other policies than caps in all, per channel and per category, and for several days, bundles
are tried one by one (:mod:`engine.certificate_bundles`). Where policies bound what the members of a
household get together, the sum is over households (:mod:`engine.certificate_joint`). Else the best
bundle is a best flow: source -> category -> offer (1) -> channel -> sink, an action being an arc
offer -> channel. It grows by one contact at a time along the path of highest gain, found by Bellman
and Ford, until no path gains; flows of highest gain of each size arise that way.

Source:
    Fisher, "The Lagrangian Relaxation Method for Solving Integer Programming Problems",
    Management Science 27(1), 1981. Ahuja, Magnanti and Orlin, "Network Flows", 1993, section 9.7
    (successive shortest paths). Higham, "Accuracy and Stability of Numerical Algorithms", 3.1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numba import njit

from engine.certificate_bundles import NONE, best_of
from engine.certificate_freedom import Freedom
from engine.certificate_joint import best_together
from engine.certificate_rules import BUNDLE, HOUSEHOLD, P_ONE, W_MOST, W_ONE, Charge, Terms

U = 2.0**-53
FINEST = 20
"""Surpluses are whole numbers of 2**-20 micro-money, or of a coarser grid for enormous values."""
CHUNK = 16_384
EFFORT = 16, 4, 2_000
"""Of a household: see :func:`engine.certificate_joint.best_together`."""
LOW = np.iinfo(np.int64).min // 4


@dataclass(frozen=True)
class Menu:
    """What a partition's subscribers may choose from. [S, ...] arrays are C-contiguous."""

    weight: Any  # [S] int64, 2**-10
    propensity: Any  # [S, P] int32, 2**-24
    open: Any  # [S, P] uint16, bit d: on day d
    scope: Any  # [S, D] bool
    freedom: Freedom | None  # what other policies there are, or of several days; else:
    most: Any = None  # [S] uint8
    channel_most: Any = None  # [S, C] uint8
    category_most: Any = None  # [S, H] uint8


def grid(terms: Terms, prices: Sequence[float]) -> int:
    """Return the exponent e: surpluses are rounded up to whole numbers of 2**-e micro-money.

    No sum of 8 surpluses, of households 32, may leave int64: ``8 * largest * 2**e < 2**62``.
    """
    most = BUNDLE * (HOUSEHOLD if terms.is_joint else 1)
    return min(FINEST, 61 - (most * _largest(terms, prices)).bit_length())


def allowance(terms: Terms, prices: Sequence[float]) -> Fraction:
    """Return by how much rounding may raise a pair's surplus at most, micro-money."""
    slack = Fraction(2 * (len(terms.charges) + 16), 2**53) * _largest(terms, prices)
    return Fraction(2) ** -grid(terms, prices) + slack


def _largest(terms: Terms, prices: Sequence[float]) -> int:
    """Return a whole number above every size m[s,a], micro-money."""
    weight = W_MOST if terms.is_weighted else 1
    sizes = [Fraction(weight * int(v)) for v in abs(terms.objective).sum(0)]
    charged = [c for c in terms.charges if prices[c.limit]]
    for charge in charged:
        price = Fraction(prices[charge.limit]) * (W_MOST if charge.is_weighted else 1)
        use = abs(charge.use).sum(0)
        sizes = [m + price * int(u) for m, u in zip(sizes, use, strict=True)]
    times = 2 if any(charge.is_weighted for charge in charged) else 1  # see _paid
    return times * int(max(sizes)) + 1


def highest_surplus(terms: Terms, menu: Menu, prices: Sequence[float]) -> int:
    """Return the sum over subscribers of their highest surplus, in whole 2**-e micro-money.

    Args:
        terms: what holds for every subscriber.
        menu: what each may choose from.
        prices: [K] money per unit of a limit, finite, >= 0.
    """
    scale = 2.0 ** grid(terms, prices)
    value = _worth(terms, prices)
    total = 0
    for rows, begin in _chunks(menu, chunk_of(terms)):
        groups, group = np.unique(menu.scope[rows], axis=0, return_inverse=True)
        paid = _paid(terms, groups, prices)
        worth = _worths(
            menu.weight[rows] / W_ONE, menu.propensity[rows], menu.open[rows], group.reshape(-1),
            value, paid, (len(terms.charges) + 16) * U, scale,
        )  # fmt: skip
        if menu.freedom is None:
            surplus = _best_bundles(
                worth[:, :, 0], menu.open[rows], menu.most[rows], menu.channel_most[rows],
                menu.category_most[rows], terms.offer, terms.channel, terms.category,
            )  # fmt: skip
        else:
            own, free = menu.open[rows], menu.freedom.arrays(rows)
            surplus, chosen = best_of(worth, own, free)
            surplus[surplus == NONE] = 0  # exempt: no bundle
            if begin is not None:
                joint = menu.freedom.is_joint, menu.freedom.exclusive, *EFFORT
                surplus = best_together(worth, own, begin, surplus, chosen, free, joint)
        total += int((surplus >> 32).sum()) * 2**32 + int((surplus & 0xFFFFFFFF).sum())
    return total


def _chunks(menu: Menu, size: int) -> Iterator[tuple[Any, Any]]:
    """Yield the rows of so many subscribers; of whole households too, where each begins."""
    if menu.freedom is None or not menu.freedom.joins:
        for start in range(0, len(menu.weight), size):
            yield slice(start, start + size), None
        return
    homes = menu.freedom.past.homes
    assert homes is not None
    ends = np.searchsorted(homes.indptr, np.arange(size, len(homes.order) + size, size), "right")
    first = 0
    for end in np.unique(ends - 1).tolist():
        begin = homes.indptr[first : end + 1]
        yield homes.order[begin[0] : begin[-1]], begin - begin[0]
        first = end


def chunk_of(terms: Terms) -> int:
    """Return of how many subscribers all actions are looked at at a time."""
    return max(1, CHUNK // terms.days)


def _worth(terms: Terms, prices: Sequence[float]) -> Any:
    """Return [2, A]: what weights multiply, per contact and per acceptance."""
    worth = terms.objective.astype(np.float64) * float(terms.is_weighted)
    for charge in terms.charges:
        if charge.is_weighted:
            worth -= _side(terms, charge) * prices[charge.limit] * charge.use
    return worth


def _paid(terms: Terms, groups: Any, prices: Sequence[float]) -> Any:
    """Return [4, G, A]: what a group pays per contact and per acceptance, and sizes of both.

    The sizes also cover what cancels out in :func:`_worth`.
    """
    paid = np.zeros((4, len(groups), terms.value.shape[1]))
    if not terms.is_weighted:
        paid[:2] -= terms.objective[:, None]
        paid[2:] += abs(terms.objective)[:, None]
    weighted = [c for c in terms.charges if c.is_weighted and prices[c.limit]]
    if weighted:
        hidden = float(terms.is_weighted) * abs(terms.objective)
        for charge in weighted:
            hidden = hidden + prices[charge.limit] * abs(charge.use)
        paid[2:] += W_MOST * hidden[:, None]
    for charge in terms.charges:
        if charge.is_weighted:
            continue
        inside = groups[:, charge.scope]
        amount = prices[charge.limit] * charge.use
        for part in range(2):
            paid[part, inside] += _side(terms, charge) * amount[part]
            paid[2 + part, inside] += abs(amount[part])
    return paid


def _side(terms: Terms, charge: Charge) -> float:
    return -1.0 if terms.limits[charge.limit].is_minimum else 1.0


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _worths(  # noqa: PLR0917 (arrays, as kernels take them)
    weight: Any, propensity: Any, is_open: Any, group: Any, value: Any, paid: Any,
    error: float, scale: float,
) -> Any:  # fmt: skip
    """Return [S, P, N] int64, what the open actions are worth at the prices, never too low."""
    pairs = propensity.shape[1]
    days = value.shape[1] // pairs
    worth = np.zeros((len(weight), pairs, days), np.int64)
    for s in range(len(weight)):
        w, g = weight[s], group[s]
        for pair in range(pairs):
            bits = np.int64(is_open[s, pair])
            if bits == 0:
                continue
            p = propensity[s, pair] / P_ONE
            for day in range(days):
                if not (bits >> day) & 1:
                    continue
                a = pair * days + day
                fixed, accept = value[0, a], value[1, a]
                t = (w * fixed - paid[0, g, a]) + (w * accept - paid[1, g, a]) * p
                m = (w * abs(fixed) + paid[2, g, a]) + (w * abs(accept) + paid[3, g, a]) * p
                worth[s, pair, day] = np.int64(np.ceil((t + error * m) * scale))
    return worth


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _best_bundles(  # noqa: PLR0917 (arrays, as kernels take them)
    worths: Any, is_open: Any, most: Any, channel_most: Any, category_most: Any,
    offer: Any, channel: Any, category: Any,
) -> Any:  # fmt: skip
    highest = np.zeros(len(worths), np.int64)
    number, worth = np.empty(len(offer), np.int64), np.empty(len(offer), np.int64)
    offers = 1 + offer.max()
    for s in range(len(worths)):
        n, best = 0, np.int64(0)
        for a in range(len(offer)):
            room = min(channel_most[s, channel[a]], category_most[s, category[a]])
            if not is_open[s, a] or min(room, most[s]) == 0:
                continue
            if worths[s, a] > 0:  # leaving an action out is always allowed
                number[n], worth[n] = a, worths[s, a]
                n += 1
                best = max(best, worths[s, a])
        if most[s] > 1 and n > 1:
            best = _flow(
                offer[number[:n]], channel[number[:n]], category[number[:n]], worth[:n],
                most[s], channel_most[s], category_most[s], offers,
            )  # fmt: skip
        highest[s] = best
    return highest


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _flow(  # noqa: PLR0917 (arrays, as kernels take them)
    offer: Any, channel: Any, category: Any, worth: Any,
    most: int, channel_most: Any, category_most: Any, offers: int,
) -> Any:  # fmt: skip
    """Return the highest total worth of a bundle of these actions."""
    chosen = np.zeros(len(offer), np.bool_)
    taken = np.zeros(offers, np.bool_)
    channel_left, category_left = channel_most.astype(np.int64), category_most.astype(np.int64)
    at_channel, by_channel = (
        np.empty(len(channel_left), np.int64),
        np.empty(len(channel_left), np.int64),
    )
    at_offer, by_offer = np.empty(offers, np.int64), np.empty(offers, np.int64)
    at_category, by_category = (
        np.empty(len(category_left), np.int64),
        np.empty(len(category_left), np.int64),
    )
    total = np.int64(0)
    for _ in range(most):
        at_channel[:], at_offer[:] = LOW, LOW
        for h in range(len(category_left)):
            at_category[h], by_category[h] = (0 if category_left[h] > 0 else LOW), -1
        moved = True
        while moved:
            moved = False
            for i in range(len(offer)):
                o, c, h = offer[i], channel[i], category[i]
                if chosen[i]:  # undo it: from its channel back to its offer, to its category
                    if at_channel[c] > LOW and at_channel[c] - worth[i] > at_offer[o]:
                        at_offer[o], by_offer[o], moved = at_channel[c] - worth[i], i, True
                    if at_offer[o] > at_category[h]:
                        at_category[h], by_category[h], moved = at_offer[o], o, True
                    continue
                if not taken[o] and at_category[h] > at_offer[o]:
                    at_offer[o], by_offer[o], moved = at_category[h], -1, True
                if at_offer[o] > LOW and at_offer[o] + worth[i] > at_channel[c]:
                    at_channel[c], by_channel[c], moved = at_offer[o] + worth[i], i, True
        last = -1
        for c in range(len(channel_left)):
            if (
                channel_left[c] > 0
                and at_channel[c] > 0
                and (last < 0 or at_channel[c] > at_channel[last])
            ):
                last = c
        if last < 0:
            break
        total += at_channel[last]
        channel_left[last] -= 1
        _augment(
            offer,
            channel,
            category,
            last,
            by_channel,
            by_offer,
            by_category,
            chosen,
            taken,
            category_left,
        )
    return total


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _augment(  # noqa: PLR0917 (arrays, as kernels take them)
    offer: Any, channel: Any, category: Any, last: int,
    by_channel: Any, by_offer: Any, by_category: Any, chosen: Any, taken: Any, category_left: Any,
) -> None:  # fmt: skip
    """Walk the path back from its last channel to the source; choose and undo along it."""
    c = last
    while True:
        i = by_channel[c]
        chosen[i] = True
        o, h = offer[i], category[i]
        if by_offer[o] < 0:  # it came from the category: a new offer
            taken[o] = True
            if by_category[h] < 0:  # and that from the source
                category_left[h] -= 1
                return
            o = by_category[h]  # or from an offer of the category that is given up
            taken[o] = False
        undone = by_offer[o]
        chosen[undone] = False
        c = channel[undone]
