"""What a job allows, as the certificate reads it: weights, open pairs, scopes of limits.

Written for the certificate alone; it shares no code with the solver. A pair is an offer on a
channel, of P in all; an action is a pair on one of N days: action a is pair ``a // N`` on day
``a % N``. Letters as in DESIGN.md.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd
from typing import Any

import numpy as np
import pandas as pd

from engine import expressions, tables
from engine.actions import actions
from engine.errors import DataError
from engine.limits import Limit, Measured, Part, Question, coefficients, measured
from engine.settings import Job
from engine.settings.catalogue import Offer

P_ONE = 2**24
"""Propensities are whole numbers of 2**-24."""
W_ONE = 2**10
"""Weights are whole numbers of 2**-10."""
W_MOST = 1000
BUNDLE = 4
"""A run never gives a subscriber more actions than this, whatever the policies."""
HOUSEHOLD = 8
"""Members of a household at most, where a policy bounds what they get together."""


@dataclass(frozen=True)
class Added:
    """One sum over the chosen actions: what a limit or a measured constraint counts."""

    use: Any  # [2, A] int64, per contact and per acceptance, 0 out of scope, micro-units
    scope: int  # position of its condition in Terms.scopes
    is_weighted: bool  # whether subscribers' weights count


@dataclass(frozen=True)
class Charge:
    """What a limit's price is paid for: one part of its form, which a minimum negates."""

    limit: int  # position in Terms.limits
    use: Any  # [2, A] int64, per contact and per acceptance, micro-units of the form
    scope: int
    is_weighted: bool


@dataclass(frozen=True)
class Terms:
    """What holds for every subscriber alike."""

    days: int  # N
    offer: Any  # [P] int64, position of the pair's offer in the catalogue
    channel: Any  # [P] int64
    category: Any  # [P] int64, position among the sorted categories
    categories: tuple[str, ...]
    value: Any  # [2, A] int64, money per contact and per acceptance, micro-units
    objective: Any  # [2, A] int64, what is maximised, per contact and per acceptance, micro-units
    is_weighted: bool  # whether subscribers' weights count in the objective
    limits: tuple[Limit, ...]  # [K]
    charges: tuple[Charge, ...]  # parts of the limits' forms
    sums: tuple[Added, ...]  # [J] of each limit, then of each measured constraint: of, and to
    scopes: tuple[str | None, ...]  # the D distinct conditions of sums
    is_joint: bool  # whether a policy bounds what members of a household get together


def terms(job: Job, asked: Question) -> Terms:
    """Return the actions, coefficients and limits of a question about a job as arrays."""
    offers, channels = list(job.catalogue.offers), list(job.catalogue.channels)
    found = actions(job.catalogue)
    of_action = [job.catalogue.offers[action.offer].category for action in found]
    categories = tuple(sorted(set(of_action)))
    parts = [(part, bound.is_weighted) for bound in asked.limits for part in _parts(bound)]
    parts += [(part, False) for other in measured(job) for part in _parts(other)]
    scopes = tuple(dict.fromkeys(part.where for part, _ in parts))
    place = {where: d for d, where in enumerate(scopes)}
    charges = []
    for k, bound in enumerate(asked.limits):
        for part, factor in bound.parts:
            use = _coefficients(job, part, factor)
            charges.append(Charge(k, use, place[part.where], bound.is_weighted))
    return Terms(
        days=job.horizon.days,
        offer=np.array([offers.index(action.offer) for action in found], np.int64),
        channel=np.array([channels.index(action.channel) for action in found], np.int64),
        category=np.array([categories.index(c) for c in of_action], np.int64),
        categories=categories,
        value=np.array(coefficients(job, "value"), np.int64).T,
        objective=asked.aim.sign * np.array(coefficients(job, asked.aim.measure), np.int64).T,
        is_weighted=asked.aim.measure == "value",
        limits=asked.limits,
        charges=tuple(charges),
        sums=tuple(
            Added(_coefficients(job, part, Fraction(1)), place[part.where], is_weighted)
            for part, is_weighted in parts
        ),
        scopes=scopes,
        is_joint=any(policy.is_joint for policy in job.policies),
    )


def _parts(bound: Limit | Measured) -> list[Part]:
    if isinstance(bound, Limit):
        return [part for part, _ in bound.parts]
    return [bound.of] if bound.to is None else [bound.of, bound.to]


def _coefficients(job: Job, part: Part, factor: Fraction) -> Any:
    """Return [2, A] int64 a sum's coefficients times a factor, 0 out of scope.

    Raises:
        ValueError: a product is no whole number.
    """
    measure = coefficients(job, part.measure)
    out = np.zeros((2, len(measure)), np.int64)
    for a in part.actions:
        products = [factor * c for c in measure[a]]
        if any(product.denominator != 1 for product in products):
            raise ValueError(f"limits: {factor} times {measure[a]} is not whole")
        out[:, a] = [int(product) for product in products]
    return out


def step(terms: Terms, k: int) -> int:
    """Return a whole number of which every use of limit k is a multiple, micro-units of its form.

    Where a limit counts contacts alone, nothing between two multiples can be used, so a hard limit
    is as good as the multiple within it. Else 1.
    """
    own = [charge for charge in terms.charges if charge.limit == k]
    if terms.limits[k].penalty is not None or any(
        charge.is_weighted or charge.use[1].any() for charge in own
    ):
        return 1
    return max(1, gcd(*(int(use) for charge in own for use in charge.use[0])))


def weights(job: Job, features: pd.DataFrame) -> Any:
    """Return [S] int64, the subscribers' weights in 2**-10, halves to even.

    Raises:
        DataError: a weight is null, not finite or not in [0, 1000].
    """
    if job.catalogue.weight is None:
        return np.full(len(features), W_ONE, np.int64)
    series = expressions.parse(job.catalogue.weight, "catalogue.weight").evaluate(features)
    weight = tables.numbers(series)
    wrong = ~((weight >= 0) & (weight <= W_MOST))  # NaN is wrong too
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"catalogue.weight: out of range for {wrong.sum()} subscribers, got {weight[row]} for "
            f"{features['subscriber'].iloc[row]}; it is a finite number in [0, {W_MOST}]"
        )
    return np.rint(weight * W_ONE).astype(np.int64)


def in_scopes(terms: Terms, features: pd.DataFrame) -> Any:
    """Return [S, D] bool: whether the condition of a limit holds for a subscriber."""
    inside = np.ones((len(features), len(terms.scopes)), bool)
    for d, where in enumerate(terms.scopes):
        if where is not None:
            inside[:, d] = _mask(where, "where", features)
    return inside


@dataclass(frozen=True)
class Closure:
    """Why some pairs are closed to some subscribers."""

    text: str
    pairs: tuple[int, ...]
    days: Any  # [S] uint16, bit d: on day d

    def closes(self, subscriber: Any, pair: Any, day: Any) -> Any:
        """Return bool whether it closes pairs of some subscribers on some days."""
        return np.isin(pair, self.pairs) & ((self.days[subscriber] >> day) & 1 > 0)


def on_days(rows: Sequence[Any]) -> Any:
    """Return [S] uint16, whether something holds on each day, as bits; given [S] bool by day."""
    found = np.zeros(len(rows[0]), np.uint16)
    for day, own in enumerate(rows):
        found |= np.left_shift(own.astype(np.uint16), np.uint16(day))
    return found


def every_day(rows: Any, days: int) -> Any:
    """Return [S] uint16: what holds on no day or on each, as bits."""
    return rows.astype(np.uint16) * np.uint16((1 << days) - 1)


def closures(job: Job, features: pd.DataFrame, at: Sequence[Any]) -> list[Closure]:
    """Return every reason that closes pairs: eligibility, validity, consent, device.

    Args:
        job: the job.
        features: the partition's subscribers.
        at: [N] of [S] int64 s, when each is contacted on each day.
    """
    found, catalogue, days = actions(job.catalogue), job.catalogue, len(at)
    reasons = []
    for name, offer in catalogue.offers.items():
        own = tuple(p for p, pair in enumerate(found) if pair.offer == name)
        if offer.eligible is not None:
            rows = ~_mask(offer.eligible, f"catalogue.offers.{name}.eligible", features)
            reasons.append(Closure(f"not eligible for {name}", own, every_day(rows, days)))
        reasons += [
            Closure(text, own, rows) for text, rows in _late(job, name, offer, features, at)
        ]
    for name, channel in catalogue.channels.items():
        by_column: dict[tuple[str, str], list[int]] = {}
        for a, action in enumerate(found):
            if action.channel != name:
                continue
            purpose = catalogue.offers[action.offer].purpose
            consent = channel.consent
            column = consent.get(purpose) if isinstance(consent, dict) else consent
            for kind, wanted in (("consent", column), ("device", channel.device)):
                if wanted is not None:
                    by_column.setdefault((kind, wanted), []).append(a)
        for (kind, column), closed in by_column.items():
            rows = ~_is_true(features, column, f"catalogue.channels.{name}.{kind}")
            text = f"{kind} {column} is not true"
            reasons.append(Closure(text, tuple(closed), every_day(rows, days)))
    return reasons


def _late(
    job: Job, name: str, offer: Offer, features: pd.DataFrame, at: Sequence[Any]
) -> Iterator[tuple[str, Any]]:
    """Yield why an offer can't go out at some times, and on which days of whom."""
    if offer.valid_from is not None:
        first = offer.valid_from.timestamp()
        yield f"{name} is not valid yet", on_days([t < first for t in at])
    if offer.valid_until is not None:
        end = offer.valid_until.timestamp()
        yield f"{name} is no longer valid", on_days([t >= end for t in at])
    if offer.until is not None:
        where = f"catalogue.offers.{name}.until"
        hours = tables.numbers(expressions.parse(offer.until, where).evaluate(features))
        start = (job.horizon.start or job.as_of).timestamp()
        last = start + 3_600.0 * np.where(np.isnan(hours), np.inf, hours)
        yield f"{name} is too late", on_days([t > last for t in at])


def held_out(job: Job, features: pd.DataFrame) -> Any:
    """Return [S] bool: whether a subscriber is in the hold-out."""
    drawn: Any = tables.unit_hash(features["subscriber"], job.seed) < job.holdout_share
    return drawn


def _mask(sql: str, where: str, features: pd.DataFrame) -> Any:
    mask = expressions.parse(sql, where).mask(features)
    return mask.to_numpy().astype(bool)


def _is_true(features: pd.DataFrame, column: str, where: str) -> Any:
    if column not in features.columns:
        raise DataError(f"{where}: no column {column}; it is a boolean column of the subscribers")
    kind, codes = tables.values(features[column])
    if kind not in {None, "boolean"}:
        raise DataError(f"{where}: column {column} should be boolean, got {kind}")
    return np.zeros(len(features), bool) if kind is None else codes == 2


def propensities(frame: pd.DataFrame, names: Sequence[str]) -> Any:
    """Return [S, A] int32, propensities in 2**-24, halves to even.

    Raises:
        DataError: a column is missing, or a propensity is not in [0, 1].
    """
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise DataError(f"propensity: no column {', '.join(missing)}; each action has one")
    found = np.empty((len(frame), len(names)), np.int32)
    for a, name in enumerate(names):
        column = frame[name].to_numpy(np.float32).astype(np.float64)
        if not ((column >= 0) & (column <= 1)).all():
            raise DataError(f"propensity: column {name} has values that are not in [0, 1]")
        found[:, a] = np.rint(column * P_ONE)
    return found
