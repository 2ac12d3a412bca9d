"""What a job allows, as the certificate reads it: weights, open pairs, scopes of limits.

Written for the certificate alone; it shares no code with the solver. Letters as in DESIGN.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from engine import expressions, tables
from engine.actions import actions
from engine.errors import DataError
from engine.limits import Limit, coefficients, limits
from engine.settings import Job

P_ONE = 2**24
"""Propensities are whole numbers of 2**-24."""
W_ONE = 2**10
"""Weights are whole numbers of 2**-10."""
W_MOST = 1000
BUNDLE = 4
"""A run never gives a subscriber more actions than this, whatever the policies."""


@dataclass(frozen=True)
class Terms:
    """What holds for every subscriber alike."""

    offer: Any  # [A] int64, position of the action's offer in the catalogue
    channel: Any  # [A] int64
    category: Any  # [A] int64, position among the sorted categories
    categories: tuple[str, ...]
    value: Any  # [2, A] int64, value per contact and per acceptance, micro-units
    limits: tuple[Limit, ...]
    use: Any  # [K, 2, A] int64, use per contact and per acceptance, 0 out of scope, micro-units
    scopes: tuple[str | None, ...]  # the D distinct conditions of limits
    scope: tuple[int, ...]  # [K], position of a limit's condition in scopes


def terms(job: Job) -> Terms:
    """Return the actions, coefficients and limits of a job as arrays."""
    offers, channels = list(job.catalogue.offers), list(job.catalogue.channels)
    found, bounds = actions(job.catalogue), limits(job)
    of_action = [job.catalogue.offers[action.offer].category for action in found]
    categories = tuple(sorted(set(of_action)))
    measures = {m: np.array(coefficients(job, m), np.int64).T for m in {b.measure for b in bounds}}
    use = np.zeros((len(bounds), 2, len(found)), np.int64)
    for k, bound in enumerate(bounds):
        inside = list(bound.actions)
        use[k][:, inside] = measures[bound.measure][:, inside]
    scopes = tuple(dict.fromkeys(bound.where for bound in bounds))
    return Terms(
        offer=np.array([offers.index(action.offer) for action in found], np.int64),
        channel=np.array([channels.index(action.channel) for action in found], np.int64),
        category=np.array([categories.index(c) for c in of_action], np.int64),
        categories=categories,
        value=np.array(coefficients(job, "value"), np.int64).T,
        limits=tuple(bounds),
        use=use,
        scopes=scopes,
        scope=tuple(scopes.index(bound.where) for bound in bounds),
    )


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
