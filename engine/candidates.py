"""Who may get what: a partition's frames become arrays of subscribers and actions.

A pair (subscriber, action) is open when the offer is valid at the as-of instant, the subscriber
is eligible, has given the channel's consent and has its device, is not held out, and no contact
policy forbids it. What the contact history has used of a policy's cap is taken off it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from engine import expressions, policies, tables
from engine.actions import Action, actions_of
from engine.history import History
from engine.limits import limits
from engine.problem import KEY_RANGE
from engine.send_times import SendTimes
from engine.settings import Job
from engine.settings.catalogue import Catalogue
from engine.weights import BadWeights, weights
from kernels.backend import library, to_cpu
from kernels.choose import PROPENSITY_GRID

REASONS = ("open", "hold_out", "not_eligible", "policy")
WORD = 62  # conditions in a 64-bit word of a subscriber's scope


@dataclass(frozen=True, eq=False)
class Candidates:
    """One partition of the problem, before scope groups are numbered."""

    subscriber: Any  # [S] key of the subscriber, a series
    key: Any  # [S] int64, as in Block
    scope: Any  # [W, S] int64, word i // 62 bit i % 62: the i-th ``where`` of the limits holds
    reason: Any  # [S] int8, position in REASONS
    blocked_by: list[str]  # [S] for reason "policy": the policies that forbid every action
    propensity: Any  # [A, S] as in Block
    weight: Any  # [S]
    most: Any  # [S]
    fewest: Any  # [S]
    cap: Any  # [D, S]
    times: SendTimes  # when they are contacted
    bad_weights: tuple[BadWeights, ...] = ()  # at most one


def scopes(job: Job) -> list[str]:
    """Return the distinct ``where`` conditions of the limits, in order."""
    parts = (part for limit in limits(job) for part, _ in limit.parts)
    return list(dict.fromkeys(part.where for part in parts if part.where))


def candidates(job: Job, features: Any, propensity: Any, history: History) -> Candidates:
    """Return what a partition's subscribers may get.

    Args:
        job: the job.
        features: the profile's partition.
        propensity: the score's partition, the same rows.
        history: the partition's contact history.

    Returns:
        The candidates, on the side of the frames.
    """
    acts, catalogue = actions_of(job), job.catalogue
    side, keys = tables.array_library(features), features["subscriber"]
    held = tables.unit_hash(keys, job.seed) < job.holdout_share
    allowed = eligible(job, features, acts, side)
    left = policies.left(job, features, history)
    open_ = allowed & ~held
    blocked = left.blocked(len(acts))
    policies.forbid_the_stuck(job, left, open_ & ~blocked, side)
    blocked = left.blocked(len(acts))
    reason = side.where(held, 1, side.where(~allowed.any(axis=0), 2, 3)).astype("int8")
    reason[(open_ & ~blocked).any(axis=0)] = 0
    p = propensities(propensity, acts, side)
    p[~open_ | blocked] = np.nan
    weight, bad_weights = weights(catalogue.weight, features, side)
    return Candidates(
        keys.reset_index(drop=True),
        tables.bucket(keys, KEY_RANGE),
        _scope(job, features, side),
        reason,
        _blockers(reason, allowed, left),
        p,
        weight,
        left.most,
        left.fewest,
        left.cap,
        left.times,
        bad_weights,
    )


def propensities(propensity: Any, acts: Sequence[Action], side: Any) -> Any:
    """Return [A, S] float32, the propensities of all pairs on the grid, open or not."""
    p = side.empty((len(acts), len(propensity)), "float32")
    for a, action in enumerate(acts):
        exact = tables.array(propensity[action.name]).astype("float64") * PROPENSITY_GRID
        p[a] = side.rint(exact) / PROPENSITY_GRID
    return p


def eligible(job: Job, features: Any, acts: Sequence[Action], side: Any) -> Any:
    """Return [A, S] whether catalogue, consent and device allow the pair."""
    catalogue, rows = job.catalogue, len(features)
    by_offer: dict[str, Any] = {}
    for name, offer in catalogue.offers.items():
        valid = (offer.valid_from is None or offer.valid_from <= job.as_of) and (
            offer.valid_until is None or job.as_of < offer.valid_until
        )
        if not valid:
            by_offer[name] = side.zeros(rows, bool)
        elif offer.eligible is None:
            by_offer[name] = side.ones(rows, bool)
        else:
            where = f"catalogue.offers.{name}.eligible"
            mask = expressions.parse(offer.eligible, where).mask(features)
            by_offer[name] = tables.array(mask).astype(bool)
    true: dict[str | None, Any] = {None: side.ones(rows, bool)}
    for column in _asked(catalogue):
        true[column] = tables.array(features[column].fillna(value=False)).astype(bool)
    out = side.empty((len(acts), rows), bool)
    for a, action in enumerate(acts):
        channel, purpose = (
            catalogue.channels[action.channel],
            catalogue.offers[action.offer].purpose,
        )
        out[a] = by_offer[action.offer] & true[channel.device] & true[channel.consent_for(purpose)]
    return out


def _asked(catalogue: Catalogue) -> set[str]:
    """Return the columns that say who consents and who has a device."""
    found = {channel.device for channel in catalogue.channels.values()}
    for channel in catalogue.channels.values():
        found |= {channel.consent_for(offer.purpose) for offer in catalogue.offers.values()}
    return {column for column in found if column is not None}


def _scope(job: Job, features: Any, side: Any) -> Any:
    """Return [W, S] int64 with a bit for each distinct condition that holds."""
    where = scopes(job)
    words = side.zeros((max(1, -(-len(where) // WORD)), len(features)), "int64")
    for i, sql in enumerate(where):
        mask = tables.array(expressions.parse(sql, "constraints").mask(features)).astype("int64")
        words[i // WORD] |= mask << i % WORD
    return words


def _blockers(reason: Any, allowed: Any, left: policies.Left) -> list[str]:
    """Return the policies that forbid an eligible action, for those whom policies leave none."""
    stuck = reason == 3
    text = ["" for _ in range(len(reason))]
    for name, closed in left.closed.items():
        stands = library(reason).zeros(len(reason), bool)
        for one in closed:
            stands |= one.rows & allowed[list(one.actions)].any(axis=0)
        for row in np.flatnonzero(to_cpu(stuck & stands)):
            text[row] += f", {name}" if text[row] else name
    return text


def described(part: Candidates) -> Candidates:
    """Return the candidates without the large arrays, which the blocks have too."""
    return replace(part, propensity=None, scope=None, most=None, fewest=None, cap=None)
