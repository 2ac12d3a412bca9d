"""What a job allows, as the certificate reads it: weights, open pairs, scopes, contact policies.

Written for the certificate alone; it shares no code with the solver. Letters as in DESIGN.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from engine import expressions, tables
from engine.actions import actions
from engine.errors import DataError
from engine.limits import MICRO, Limit, Measured, Part, Question, coefficients, measured
from engine.settings import Job
from engine.settings.base import seconds
from engine.settings.catalogue import ContactPolicy

P_ONE = 2**24
"""Propensities are whole numbers of 2**-24."""
W_ONE = 2**10
"""Weights are whole numbers of 2**-10."""
W_MOST = 1000
BUNDLE = 4
"""A run never gives a subscriber more actions than this, whatever the policies."""


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

    offer: Any  # [A] int64, position of the action's offer in the catalogue
    channel: Any  # [A] int64
    category: Any  # [A] int64, position among the sorted categories
    categories: tuple[str, ...]
    value: Any  # [2, A] int64, money per contact and per acceptance, micro-units
    objective: Any  # [2, A] int64, what is maximised, per contact and per acceptance, micro-units
    is_weighted: bool  # whether subscribers' weights count in the objective
    limits: tuple[Limit, ...]  # [K]
    charges: tuple[Charge, ...]  # parts of the limits' forms
    sums: tuple[Added, ...]  # [J] of each limit, then of each measured constraint: of, and to
    scopes: tuple[str | None, ...]  # the D distinct conditions of sums


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
        factors = (Fraction(bound.scale), -Fraction(bound.scale * bound.ratio, MICRO))
        for part, factor in zip(_parts(bound), factors, strict=False):
            use = _coefficients(job, part, factor)
            charges.append(Charge(k, use, place[part.where], bound.is_weighted))
    return Terms(
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
    )


def _parts(bound: Limit | Measured) -> list[Part]:
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
    """Why some actions are closed to some subscribers."""

    text: str
    actions: tuple[int, ...]
    rows: Any  # [S] bool, to whom


def closures(job: Job, features: pd.DataFrame) -> list[Closure]:
    """Return every reason that closes pairs: eligibility, validity, consent, device."""
    found, catalogue = actions(job.catalogue), job.catalogue
    everyone = np.ones(len(features), bool)
    reasons = []
    for name, offer in catalogue.offers.items():
        own = tuple(a for a, action in enumerate(found) if action.offer == name)
        if offer.eligible is not None:
            rows = ~_mask(offer.eligible, f"catalogue.offers.{name}.eligible", features)
            reasons.append(Closure(f"not eligible for {name}", own, rows))
        if offer.valid_from is not None and job.as_of < offer.valid_from:
            reasons.append(Closure(f"{name} is not valid yet", own, everyone))
        if offer.valid_until is not None and job.as_of >= offer.valid_until:
            reasons.append(Closure(f"{name} is no longer valid", own, everyone))
    for name, channel in catalogue.channels.items():
        own = tuple(a for a, action in enumerate(found) if action.channel == name)
        for kind, column in (("consent", channel.consent), ("device", channel.device)):
            if column is not None:
                rows = ~_is_true(features, column, f"catalogue.channels.{name}.{kind}")
                reasons.append(Closure(f"{kind} {column} is not true", own, rows))
    return reasons


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


@dataclass(frozen=True)
class Room:
    """How many more contacts a policy leaves each subscriber."""

    policy: str
    per: str  # all, channel or category
    member: int  # position of the channel or category; -1 for all
    text: str  # name of the policy and of the channel or category
    left: Any  # [S] int64, >= 0


def rooms(
    job: Job, terms: Terms, subscribers: "pd.Index[Any]", contacts: pd.DataFrame | None
) -> list[Room]:
    """Return what each contact policy leaves, after the contact history.

    Args:
        job: the job.
        terms: its terms.
        subscribers: [S] keys of the partition, unique.
        contacts: the partition's contact history; None: there is none.

    Raises:
        DataError: a policy counts a history that is missing, or one of other subscribers.
    """
    no_policy = np.full(len(subscribers), BUNDLE, np.int64)
    found = [Room("", "all", -1, f"a run's {BUNDLE} actions", no_policy)]
    channels = list(job.catalogue.channels)
    members = {"all": [""], "channel": channels, "category": list(terms.categories)}
    for policy in job.policies:
        used = _history(job, policy, subscribers, contacts)
        for m, member in enumerate(members[policy.per]):
            if policy.only and member not in policy.only:
                continue
            counted = [row for row, name in used if name == member] if used else []
            left = np.full(len(subscribers), policy.at_most, np.int64)
            for rows in counted:
                left -= np.bincount(rows, minlength=len(subscribers))
            text = f"policy {policy.name} {member}".rstrip()
            position = -1 if policy.per == "all" else m
            found.append(Room(policy.name, policy.per, position, text, np.maximum(left, 0)))
    return found


def _history(
    job: Job, policy: ContactPolicy, subscribers: "pd.Index[Any]", contacts: pd.DataFrame | None
) -> list[tuple[Any, str]]:
    """Return the subscribers' rows of the contacts that a policy counts, by channel or category."""
    if policy.within is None:
        return []
    if contacts is None:
        raise DataError(
            f"contacts: missing, but policy {policy.name} counts {policy.within} of history"
        )
    as_of = int(job.as_of.timestamp())
    recent = contacts["time"].between(as_of - seconds(policy.within), as_of, inclusive="right")
    history = contacts[recent]
    rows = subscribers.get_indexer(pd.Index(history["subscriber"]))
    if (rows < 0).any():
        stranger = history["subscriber"].iloc[int(np.argmax(rows < 0))]
        raise DataError(f"contacts: subscriber {stranger} is not in this partition")
    if policy.per == "all":
        return [(rows, "")]
    if policy.per == "channel":
        names = history["channel"].to_numpy(dtype=object)
    else:  # an offer that left the catalogue has no category any more
        of = {name: offer.category for name, offer in job.catalogue.offers.items()}
        names = np.array([of.get(offer, "") for offer in history["offer"]], dtype=object)
    return [(rows[names == name], name) for name in sorted(set(names))]


def most(found: Iterable[Room], per: str, members: int, subscribers: int) -> Any:
    """Return [S, members] uint8: the fewest contacts that the policies of a kind leave."""
    left = np.full((subscribers, members), BUNDLE, np.int64)
    for room in found:
        if room.per == per:
            column = max(room.member, 0)
            np.minimum(left[:, column], room.left, out=left[:, column])
    return left.astype(np.uint8)


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
