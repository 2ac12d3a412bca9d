"""What simple rules would have reached: greedy, and subscribers served as they come.

Both keep eligibility, contact policies and every upper limit; they do not pursue minimums, whose
shortfalls are counted. What a limit charges for whatever uses it, such as fatigue, is no upper
limit, and comes off the value of a pair. Only pairs of positive value are taken, except by those
who must have an offer and have none yet. An offer that requires another is taken after it or not
at all, and whoever ends below a minimum of offers gets none; those who must have one and got none
are counted too. Uses are exact whole numbers.

A use ``fixed + accept p`` is a whole number of 2**-24 micro-units; it is held as two int64,
``high * 2**44 + low`` with ``0 <= low < 2**44``, which has room for 2**31 contacts of any size.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import inf
from typing import Any

import numpy as np
from numba import njit

from engine.baseline_rules import fill_caps, fill_household, household_allows, may_join
from engine.limits import MICRO
from engine.rules import Rules
from kernels.choose import MUST

P_ONE = 2**24
W_ONE = 2**10
LOW_BITS = 44
BUNDLE = 4
"""A run never gives a subscriber more actions than this, whatever the policies."""


@dataclass(frozen=True)
class Instance:
    """An allocation problem as arrays; G scope groups."""

    propensity: Any  # [A, S] float32, NaN: not an open pair
    weight: Any  # [S] float, in [0, 1000]
    most: Any  # [S] uint8
    fewest: Any  # [S] uint8, with the flag MUST
    cap: Any  # [D, S] uint8
    offer: Any  # [A] int32
    rules: Rules
    value_fixed: Any  # [A] int64, micro-units per contact
    value_accept: Any  # [A] int64, micro-units per acceptance
    in_scope: Any  # [T, G] bool
    group: Any  # [S] int32
    use_fixed: Any  # [T, A] int64, micro-units per contact, negated for a minimum
    use_accept: Any  # [T, A] int64, micro-units per acceptance, negated for a minimum
    limit: Any  # [K] int64, micro-units, negated for a minimum
    is_minimum: Any  # [K] bool
    order: Any  # [S] int64, subscribers by ascending key: who comes first, and first of equals
    term_of: Any = (
        None  # [T] int64, ascending: the limit that a row of uses is part of; None: T = K
    )
    penalty: Any = (
        None  # [K] float64, of a soft limit, per unit beyond it; else inf; None: all hard
    )
    is_charged: Any = (
        None  # [K] bool, soft limits of 0 that all uses pass: see Problem; None: there are none
    )

    household: Any = None  # [S] int64, equal for members, -1: alone; None: nothing is asked of them
    room: Any = None  # [E, S] uint8, what caps leave the household

    @property
    def charged(self) -> Any:
        """Return [K] bool, the limits that bar nothing and charge for every use."""
        return np.zeros(len(self.limit), bool) if self.is_charged is None else self.is_charged


@dataclass(frozen=True)
class Baseline:
    """What a rule reached."""

    value: float  # money, less charges and what missing soft minimums costs
    contacts: int
    contacted: int  # subscribers
    violations: int  # hard limits that do not hold, and subscribers without what they must have


def greedy(instance: Instance) -> Baseline:
    """Take pairs by value, highest first, while policies and limits have room.

    Of equal values the subscriber with the lower key goes first, then the first action.
    """
    value, pair = _pairs(instance)
    order = np.argsort(-value, kind="stable")
    return _take(instance, value[order], pair[order])


def arrival_order(instance: Instance) -> Baseline:
    """Serve subscribers in the order of their keys, each with its best actions that still fit.

    This is "no optimisation": who comes late finds budgets spent.
    """
    value, pair = _pairs(instance)
    _best_first(value, pair, len(instance.offer))
    return _take(instance, value, pair)


def _pairs(instance: Instance) -> tuple[Any, Any]:
    """Return value and number of every open pair that may be taken, by arrival, then action.

    Pair ``i A + a`` is action a of subscriber ``order[i]``.
    """
    arguments = (
        instance.propensity, _weights(instance), instance.order, instance.fewest >= MUST,
        instance.value_fixed, instance.value_accept, instance.group, *_charges(instance),
    )  # fmt: skip
    count = _count_pairs(*arguments, np.empty(0), np.empty(0, np.int64))
    value, pair = np.empty(count), np.empty(count, np.int64)
    _count_pairs(*arguments, value, pair)
    return value, pair


def _charges(instance: Instance) -> tuple[Any, Any]:
    """Return [A, G] float64 twice, what a contact and an acceptance are charged, micro-money."""
    terms, penalty = _terms(instance), _penalties(instance)
    fixed, accept = (np.zeros((len(instance.offer), instance.in_scope.shape[1])) for _ in range(2))
    for t in np.flatnonzero(instance.charged[terms]).tolist():
        each = penalty[terms[t]] * instance.in_scope[t]
        fixed += np.outer(instance.use_fixed[t], each)
        accept += np.outer(instance.use_accept[t], each)
    return fixed, accept


def _weights(instance: Instance) -> Any:
    return np.rint(np.asarray(instance.weight, np.float64) * W_ONE).astype(np.int64)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _count_pairs(  # noqa: PLR0917 (arrays, as kernels take them)
    propensity: Any, weight: Any, order: Any, must: Any, fixed: Any, accept: Any, group: Any,
    charge_fixed: Any, charge_accept: Any, value: Any, pair: Any,
) -> Any:  # fmt: skip
    """Count the pairs, and write them down when there is room for them."""
    actions = len(propensity)
    count = 0
    for i in range(len(order)):
        s = order[i]
        for a in range(actions):
            p = np.rint(np.float64(propensity[a, s]) * P_ONE) / P_ONE
            worth = (weight[s] / W_ONE) * (fixed[a] + accept[a] * p)
            worth -= charge_fixed[a, group[s]] + charge_accept[a, group[s]] * p
            if worth > 0 or (must[s] and worth <= 0):  # NaN is not open
                if count < len(value):
                    value[count], pair[count] = worth, i * actions + a
                count += 1
    return count


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _best_first(value: Any, pair: Any, actions: int) -> None:
    """Sort each subscriber's pairs in place, highest value first, the first of equals first."""
    for i in range(1, len(pair)):
        worth, own, j = value[i], pair[i], i
        while j > 0 and value[j - 1] < worth and pair[j - 1] // actions == own // actions:
            value[j], pair[j] = value[j - 1], pair[j - 1]
            j -= 1
        value[j], pair[j] = worth, own


def _take(instance: Instance, value: Any, pair: Any) -> Baseline:
    """Take the pairs in this order, each if policies and limits have room."""
    left_high, left_low = _split_limits(instance.limit)
    must, least = instance.fewest >= MUST, (instance.fewest % MUST).astype(np.int64)
    limits = (
        instance.in_scope, instance.use_fixed, instance.use_accept,
        instance.is_minimum | instance.charged, _terms(instance), left_high, left_low,
    )  # fmt: skip
    taken, count = _fill(
        value, pair, instance.propensity, instance.order, instance.group,
        np.minimum(instance.most, BUNDLE).astype(np.int64), np.where(must, np.maximum(least, 1), 0),
        instance.cap.astype(np.int64), instance.rules.arrays(instance.offer),
        *_households(instance), *limits,
    )  # fmt: skip
    short = count < least
    _give_back(pair, taken, instance.propensity, instance.order, instance.group, short, *limits)
    missed = must & (short | (count == 0)) & ~np.isnan(instance.propensity).all(axis=0)
    is_hard = np.isinf(_penalties(instance))
    chosen = pair[taken]
    actions = len(instance.offer)
    s, a = instance.order[chosen // actions], chosen % actions
    return Baseline(
        value=_value(instance, s, a) - _missed(instance, left_high, left_low),
        contacts=len(chosen),
        contacted=len(np.unique(s)),
        violations=int(((left_high < 0) & is_hard).sum()) + int(missed.sum()),
    )


def _households(instance: Instance) -> tuple[Any, Any, Any]:
    """Return [S] the number of a subscriber's household or -1, [E, H] room, and the relations."""
    if instance.household is None:
        none = np.zeros((0, 0), np.int64)
        index = np.zeros(len(instance.offer) + 1, np.int32)
        no_caps = np.zeros(0, np.int32)
        return (
            np.full(len(instance.order), -1), none,
            (index, no_caps, np.zeros(0, np.uint8), none),
        )  # fmt: skip
    known, first, number = np.unique(instance.household, return_index=True, return_inverse=True)
    alone = int((known < 0).sum())
    joint = instance.rules.households
    assert joint is not None
    room = instance.room[:, first[alone:]].astype(np.int64)
    return number.reshape(-1) - alone, room, joint.arrays(instance.offer)


def _terms(instance: Instance) -> Any:
    """Return [T] the limit of each row of uses."""
    return np.arange(len(instance.limit)) if instance.term_of is None else instance.term_of


def _penalties(instance: Instance) -> Any:
    return np.full(len(instance.limit), inf) if instance.penalty is None else instance.penalty


def _missed(instance: Instance, left_high: Any, left_low: Any) -> float:
    """Return what the soft limits that do not hold cost, money."""
    unit = P_ONE * MICRO
    return sum(
        float(penalty * Fraction(-(high * 2**LOW_BITS + low), unit))
        for penalty, high, low in zip(
            _penalties(instance).tolist(), left_high.tolist(), left_low.tolist(), strict=True
        )
        if penalty < inf and high < 0
    )


def _split_limits(limit: Any) -> tuple[Any, Any]:
    whole = np.asarray(limit, np.int64)
    bits = LOW_BITS - 24
    return whole >> bits, (whole & (2**bits - 1)) << 24


def _value(instance: Instance, s: Any, a: Any) -> float:
    """Return the exact value of chosen pairs, rounded once; money."""
    p = np.rint(instance.propensity[a, s].astype(np.float64) * P_ONE).astype(np.int64)
    w = _weights(instance)[s]
    total = 0
    for action in range(len(instance.offer)):
        own = a == action
        accepted = w[own] * p[own]  # < 2**44: halves of 22 bits sum exactly in int64
        sums = int((accepted >> 22).sum()) * 2**22 + int((accepted & (2**22 - 1)).sum())
        total += int(instance.value_fixed[action]) * int(w[own].sum()) * P_ONE
        total += int(instance.value_accept[action]) * sums
    return float(Fraction(total, P_ONE * W_ONE * MICRO))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _use(fixed: Any, accept: Any, p: Any) -> Any:
    """Return ``fixed * 2**24 + accept * p`` as (high, low); p in 2**-24, all may be negative.

    ``accept = upper * 2**25 + lower`` keeps both products below 2**50.
    """
    upper, lower = accept >> 25, accept & (2**25 - 1)
    product = lower * p
    whole = fixed + 2 * upper * p + (product >> 24)
    bits = LOW_BITS - 24
    return whole >> bits, ((whole & (2**bits - 1)) << 24) | (product & (P_ONE - 1))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _fill(  # noqa: PLR0917 (arrays, as kernels take them)
    value: Any, pair: Any, propensity: Any, order: Any, group: Any, most: Any, wanted: Any,
    cap: Any, rules: Any, household: Any, room: Any, joint: Any, in_scope: Any, use_fixed: Any,
    use_accept: Any, bars_nothing: Any, term_of: Any, left_high: Any, left_low: Any,
) -> Any:  # fmt: skip
    """Return for each pair whether it was taken; the room left is counted down in place.

    Pairs of no value are taken by those who have fewer than they ``wanted``.
    """
    actions, terms = len(propensity), len(term_of)
    taken = np.zeros(len(pair), np.bool_)
    had = np.full((len(order), BUNDLE), -1, np.int64)  # actions that a subscriber has
    count = np.zeros(len(order), np.int64)
    held = np.zeros((room.shape[1], joint[3].shape[1]), np.int64)  # actions that a household has
    high, low = np.empty(terms, np.int64), np.empty(terms, np.int64)
    applies = np.zeros((actions, terms), np.int64)  # rows of uses that an action counts in at all
    applying = np.zeros(actions, np.int64)
    for a in range(actions):
        for t in range(terms):
            if use_fixed[t, a] != 0 or use_accept[t, a] != 0:
                applies[a, applying[a]] = t
                applying[a] += 1
    for i in range(len(pair)):
        s, a = order[pair[i] // actions], pair[i] % actions
        if count[s] >= most[s] or (value[i] <= 0 and count[s] >= wanted[s]):
            continue
        if not may_join(had[s], count[s], a, cap[:, s], rules):
            continue
        h = household[s]
        if h >= 0 and not household_allows(
            had[s], count[s], a, room[:, h], held[h], rules[2], joint
        ):
            continue
        fits = True
        p = np.int64(np.rint(np.float64(propensity[a, s]) * P_ONE))
        for j in range(applying[a]):
            t = applies[a, j]
            k = term_of[t]
            high[j], low[j] = left_high[k], left_low[k]
            if j > 0 and term_of[applies[a, j - 1]] == k:
                high[j], low[j] = high[j - 1], low[j - 1]
            if in_scope[t, group[s]]:
                more, rest = _use(use_fixed[t, a], use_accept[t, a], p)
                rest = low[j] - rest
                high[j] += (rest >> LOW_BITS) - more  # borrows one when rest < 0
                low[j] = rest & (2**LOW_BITS - 1)
            is_whole = j + 1 == applying[a] or term_of[applies[a, j + 1]] != k
            if is_whole and high[j] < 0 and not bars_nothing[k]:
                fits = False
                break
        if not fits:
            continue
        for j in range(applying[a]):
            k = term_of[applies[a, j]]
            left_high[k], left_low[k] = high[j], low[j]
        fill_caps(had[s], count[s], a, cap[:, s], rules)
        if h >= 0:
            fill_household(had[s], count[s], a, room[:, h], held[h], rules[2], joint)
        had[s, count[s]] = a
        count[s] += 1
        taken[i] = True
    return taken, count


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _give_back(  # noqa: PLR0917 (arrays, as kernels take them)
    pair: Any, taken: Any, propensity: Any, order: Any, group: Any, short: Any,
    in_scope: Any, use_fixed: Any, use_accept: Any, bars_nothing: Any, term_of: Any,
    left_high: Any, left_low: Any,
) -> None:  # fmt: skip
    """Undo in place what those took who are short of their minimum."""
    actions = len(propensity)
    for i in range(len(pair)):
        s, a = order[pair[i] // actions], pair[i] % actions
        if not taken[i] or not short[s]:
            continue
        taken[i] = False
        p = np.int64(np.rint(np.float64(propensity[a, s]) * P_ONE))
        for t in range(len(term_of)):
            k = term_of[t]
            if in_scope[t, group[s]]:
                more, rest = _use(use_fixed[t, a], use_accept[t, a], p)
                rest += left_low[k]
                left_high[k] += more + (rest >> LOW_BITS)
                left_low[k] = rest & (2**LOW_BITS - 1)
