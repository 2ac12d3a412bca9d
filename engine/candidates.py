"""Who may get what: a partition's frames become the arrays of the allocation problem.

A pair (subscriber, action) is open when the offer is valid at the as-of instant, the subscriber
is eligible, has given the channel's consent and has its device, is not held out, and no contact
policy forbids it. What the contact history has used of a policy's cap is taken off it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine import expressions, tables
from engine.actions import Action, actions
from engine.errors import ConfigError, DataError
from engine.limits import Limit, coefficients, limits
from engine.problem import KEY_RANGE, MOST_WEIGHT, Block, Problem, Row
from engine.settings import Job
from engine.settings.base import seconds
from engine.settings.catalogue import ContactPolicy
from kernels.backend import to_cpu
from kernels.choose import MOST_BUNDLE, PROPENSITY_GRID, WEIGHT_GRID

REASONS = ("open", "hold_out", "not_eligible", "policy")
GROUPS_AT_LEAST = 16  # scope groups are split by key until there are about so many


@dataclass(frozen=True, eq=False)
class Candidates:
    """One partition of the problem, before scope groups are numbered."""

    subscriber: Any  # [S] key of the subscriber, a series
    key: Any  # [S] int64, as in Block
    scope: Any  # [S] int64, bit i: the i-th distinct ``where`` of the limits holds
    reason: Any  # [S] int8, position in REASONS
    blocked_by: list[str]  # [S] for reason "policy": the policies that forbid every action
    propensity: Any  # [A, S] as in Block
    weight: Any  # [S]
    most: Any  # [S]
    channel_most: Any  # [C, S]
    category_most: Any  # [H, S]


def categories(job: Job) -> list[str]:
    """Return the H offer categories in catalogue order."""
    return list(dict.fromkeys(offer.category for offer in job.catalogue.offers.values()))


def scopes(job: Job) -> list[str]:
    """Return the distinct ``where`` conditions of the limits, in order."""
    return list(dict.fromkeys(limit.where for limit in limits(job) if limit.where))


def candidates(job: Job, features: Any, propensity: Any, contacts: Any | None) -> Candidates:
    """Return what a partition's subscribers may get.

    Args:
        job: the job.
        features: the profile's partition.
        propensity: the score's partition, the same rows.
        contacts: the partition's contact history (subscriber, time, offer, channel), or None.

    Returns:
        The candidates, on the side of the frames.

    Raises:
        DataError: a weight that is not a number in [0, 1000].
    """
    acts, catalogue = actions(job.catalogue), job.catalogue
    side, keys = tables.array_library(features), features["subscriber"]
    held = tables.unit_hash(keys, job.seed) < job.holdout_share
    allowed = eligible(job, features, acts, side)
    forbids, most, channel_most, category_most = caps(job, features, contacts, side)
    open_ = allowed & ~held
    blocked = side.zeros_like(open_)
    for forbidden in forbids.values():
        blocked |= forbidden
    reason = side.where(held, 1, side.where(~allowed.any(axis=0), 2, 3)).astype("int8")
    reason[(open_ & ~blocked).any(axis=0)] = 0
    p = side.empty(open_.shape, "float32")
    for a, action in enumerate(acts):
        exact = tables.array(propensity[action.name]).astype("float64") * PROPENSITY_GRID
        p[a] = side.rint(exact) / PROPENSITY_GRID
    p[~open_ | blocked] = np.nan
    return Candidates(
        keys.reset_index(drop=True),
        tables.bucket(keys, KEY_RANGE),
        _scope(job, features, side),
        reason,
        _blockers(reason, allowed, forbids),
        p,
        _weight(catalogue.weight, features, side),
        most,
        channel_most,
        category_most,
    )


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
    by_channel: dict[str, Any] = {}
    for name, channel in catalogue.channels.items():
        by_channel[name] = side.ones(rows, bool)
        for column in (channel.consent, channel.device):
            if column is not None:
                by_channel[name] &= tables.array(features[column].fillna(value=False)).astype(bool)
    out = side.empty((len(acts), rows), bool)
    for a, action in enumerate(acts):
        out[a] = by_offer[action.offer] & by_channel[action.channel]
    return out


def caps(job: Job, features: Any, contacts: Any | None, side: Any) -> tuple[Any, ...]:
    """Return the pairs each policy forbids by itself, and what it leaves of the caps."""
    acts, rows = actions(job.catalogue), len(features)
    names = categories(job)
    channels = list(job.catalogue.channels)
    most = side.full(rows, MOST_BUNDLE, "int64")
    channel_most = side.full((len(channels), rows), MOST_BUNDLE, "int64")
    category_most = side.full((len(names), rows), MOST_BUNDLE, "int64")
    forbids: dict[str, Any] = {}
    for policy in job.policies:
        forbidden = side.zeros((len(acts), rows), bool)
        for scope, actions_in_scope in _scopes_of(policy, job, acts):
            used = _used(job, policy, scope, (features, contacts))
            left = side.maximum(policy.at_most - used, 0)
            for a in actions_in_scope:
                forbidden[a] |= left == 0
            if policy.per == "all":
                most = side.minimum(most, left)
            elif policy.per == "channel":
                c = channels.index(scope)
                channel_most[c] = side.minimum(channel_most[c], left)
            else:
                h = names.index(scope)
                category_most[h] = side.minimum(category_most[h], left)
        forbids[policy.name] = forbidden
    offers = min(MOST_BUNDLE, len(job.catalogue.offers))
    most = side.minimum(most, offers)
    for caps in (channel_most, category_most):  # a bundle is never larger than its caps in all
        most = side.minimum(most, caps.sum(axis=0))
    return (
        forbids,
        most.astype("uint8"),
        channel_most.astype("uint8"),
        category_most.astype("uint8"),
    )


def _scopes_of(
    policy: ContactPolicy, job: Job, acts: Sequence[Action]
) -> list[tuple[str, list[int]]]:
    """Return each scope a policy counts by itself, with the actions in it."""
    every = list(range(len(acts)))
    if policy.per == "all":
        return [("", every)]
    if policy.per == "channel":
        names = policy.only or list(job.catalogue.channels)
        return [(n, [a for a in every if acts[a].channel == n]) for n in names]
    offers = job.catalogue.offers
    names = policy.only or categories(job)
    return [(n, [a for a in every if offers[acts[a].offer].category == n]) for n in names]


def _used(job: Job, policy: ContactPolicy, scope: str, frames: tuple[Any, Any]) -> Any:
    """Return [S] int64, contacts of the history that count in a policy's scope."""
    features, contacts = frames
    side = tables.array_library(features)
    if policy.within is None or contacts is None:
        return side.zeros(len(features), "int64")
    as_of = int(job.as_of.timestamp())
    counted = contacts[
        (contacts["time"] > as_of - seconds(policy.within)) & (contacts["time"] <= as_of)
    ]
    if policy.per == "channel":
        counted = counted[counted["channel"] == scope]
    elif policy.per == "category":
        offers = job.catalogue.offers
        counted = counted[counted["offer"].isin([n for n in offers if offers[n].category == scope])]
    counts = counted.groupby("subscriber").size().rename("used").reset_index()
    keys = features[["subscriber"]].reset_index(drop=True)
    keys["row"] = side.arange(len(keys))
    merged = keys.merge(counts, on="subscriber", how="left").sort_values("row")
    return tables.array(merged["used"].fillna(0).astype("int64"))


def _scope(job: Job, features: Any, side: Any) -> Any:
    """Return [S] int64 with a bit for each distinct condition that holds."""
    bits = side.zeros(len(features), "int64")
    for i, where in enumerate(scopes(job)):
        mask = tables.array(expressions.parse(where, "constraints").mask(features)).astype("int64")
        bits |= mask << i
    return bits


def _weight(sql: str | None, features: Any, side: Any) -> Any:
    """Return [S] float32 weights on their grid."""
    if sql is None:
        return side.ones(len(features), "float32")
    weight = tables.array(expressions.parse(sql, "catalogue.weight").evaluate(features))
    weight = weight.astype("float64")
    wrong = ~((weight >= 0) & (weight <= 1000))
    if wrong.any():
        first = int(side.flatnonzero(wrong)[0])
        raise DataError(
            f"catalogue.weight: {int(wrong.sum())} subscribers have no weight in [0, 1000], the "
            f"first is {features['subscriber'].iloc[first]} with {float(weight[first])}; "
            f"change the expression {sql}"
        )
    return (side.rint(weight * WEIGHT_GRID) / WEIGHT_GRID).astype("float32")


def _blockers(reason: Any, allowed: Any, forbids: dict[str, Any]) -> list[str]:
    """Return the policies that forbid an eligible action, for those whom policies leave none."""
    stuck = reason == 3
    text = ["" for _ in range(len(reason))]
    for name, forbidden in forbids.items():
        for row in np.flatnonzero(to_cpu(stuck & (allowed & forbidden).any(axis=0))):
            text[row] += f", {name}" if text[row] else name
    return text


@dataclass(frozen=True, eq=False)
class Placed:
    """A problem and where its rows came from."""

    problem: Problem
    order: list[Any]  # by block: the candidates' row of each of the block's rows


def assemble(job: Job, parts: Sequence[Candidates]) -> Placed:
    """Return the allocation problem of all partitions, one block a partition.

    Subscribers with equal scopes form a group; groups are split by key while there are few, so
    that the dual gets more cuts a pass. A block's rows are ordered by group, then key.

    Args:
        job: the job.
        parts: the candidates of each partition.

    Raises:
        ConfigError: conditions of constraints that no subscriber meets.
        DataError: weights too large in sum, or too many distinct scopes.
    """
    _refuse_empty_scopes(job, parts)
    codes = sorted({int(c) for part in parts for c in np.unique(to_cpu(part.scope))}) or [0]
    total = sum(float(part.weight.sum(dtype="float64")) for part in parts)
    if total > MOST_WEIGHT:
        raise DataError(
            f"catalogue.weight: sums to {total:,.0f}; at most {MOST_WEIGHT:,} allowed; divide the "
            "expression, or take fewer subscribers"
        )
    split = max(1, GROUPS_AT_LEAST // max(1, len(codes)))
    blocks, order = [], []
    for part in parts:
        side = tables.array_library(part.subscriber)
        code = side.searchsorted(side.asarray(codes, dtype="int64"), part.scope)
        group = (code * split + (part.key >> 20) % split).astype("int32")
        rows = side.lexsort(side.stack([part.key, group.astype("int64")]))
        order.append(rows)
        blocks.append(
            Block(
                part.key[rows],
                side.ascontiguousarray(part.propensity[:, rows]),
                part.weight[rows],
                group[rows],
                part.most[rows],
                side.ascontiguousarray(part.channel_most[:, rows]),
                side.ascontiguousarray(part.category_most[:, rows]),
            )
        )
    return Placed(_problem(job, blocks, np.array(codes, np.int64).repeat(split)), order)


def _refuse_empty_scopes(job: Job, parts: Sequence[Candidates]) -> None:
    """Raise if there are subscribers, but none in the scope of some constraint."""
    if not any(len(part.reason) for part in parts):
        return
    where = scopes(job)
    found = [any(bool((part.scope >> i & 1).any()) for part in parts) for i in range(len(where))]
    problems = [
        f"constraints.{c.name}.where: matches no subscriber, got {c.where}; "
        "change the condition or leave the constraint out"
        for c in job.constraints
        if c.where and not found[where.index(c.where)]
    ]
    if problems:
        raise ConfigError.of(problems)


def _problem(job: Job, blocks: list[Block], codes: Any) -> Problem:
    acts, limited, where = actions(job.catalogue), limits(job), scopes(job)
    offers, channels, names = (
        list(job.catalogue.offers),
        list(job.catalogue.channels),
        categories(job),
    )
    fixed, accept = (np.array(c, np.int64) for c in zip(*coefficients(job, "value"), strict=True))
    shape = (len(limited), len(acts))
    use_fixed, use_accept = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    in_scope = np.ones((len(limited), len(codes)), bool)
    for k, limit in enumerate(limited):
        sign = -1 if limit.is_minimum else 1
        measure = np.array(coefficients(job, limit.measure), np.int64)
        taken = list(limit.actions)
        use_fixed[k, taken], use_accept[k, taken] = sign * measure[taken].T
        if limit.where:
            in_scope[k] = codes >> where.index(limit.where) & 1
    return Problem(
        blocks,
        np.array([offers.index(a.offer) for a in acts], np.int32),
        np.array([channels.index(a.channel) for a in acts], np.int32),
        np.array([names.index(job.catalogue.offers[a.offer].category) for a in acts], np.int32),
        fixed,
        accept,
        [Row(limit.name, limit.measure, limit.is_minimum) for limit in limited],
        use_fixed,
        use_accept,
        in_scope,
        np.array([_signed(limit) for limit in limited], np.int64),
        _typical_propensity(blocks),
        job.catalogue.currency,
    )


def _typical_propensity(blocks: list[Block]) -> float:
    """Return the mean propensity of the open pairs, summed in whole grid units: order-free."""
    total = count = 0
    for block in blocks:
        open_ = block.propensity[block.propensity == block.propensity]
        total += int((open_ * PROPENSITY_GRID).astype("int64").sum())
        count += len(open_)
    return total / PROPENSITY_GRID / count if count else 0.05


def _signed(limit: Limit) -> int:
    return -limit.amount if limit.is_minimum else limit.amount
