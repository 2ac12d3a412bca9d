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
from engine.actions import Action, actions, actions_of
from engine.block import KEY_RANGE
from engine.history import History
from engine.households import Households
from engine.limits import limits
from engine.plan_rules import day_class
from engine.send_times import SendTimes, plan_of, send_times
from engine.settings import Job
from engine.settings.catalogue import Catalogue, Offer
from engine.weights import BadWeights, weights
from kernels.backend import library, to_cpu
from kernels.choose import PROPENSITY_GRID

REASONS = ("open", "hold_out", "not_eligible", "policy")
HOUR_S = 3_600
WORD = 62  # conditions in a 64-bit word of a subscriber's scope


@dataclass(frozen=True, eq=False)
class Candidates:
    """One partition of the problem, before scope groups are numbered."""

    subscriber: Any  # [S] key of the subscriber, a series
    key: Any  # [S] int64, as in Block
    scope: Any  # [W, S] int64, word i // 62 bit i % 62: the i-th ``where`` of the limits holds
    reason: Any  # [S] int8, position in REASONS
    blocked_by: list[str]  # [S] for reason "policy": the policies that forbid every action
    propensity: Any  # [P, S] as in Block
    weight: Any  # [S]
    most: Any  # [S]
    fewest: Any  # [S]
    cap: Any  # [D, S]
    days: Any  # [M, S] as in Block
    household: Any  # [1 or 0, S]
    room: Any  # [E, S]
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

    Raises:
        DataError: as of :meth:`engine.policy_questions.Asked.of`.

    Returns:
        The candidates, on the side of the frames.
    """
    pairs, catalogue, classes = actions(job.catalogue), job.catalogue, day_class(job)
    side, keys = tables.array_library(features), features["subscriber"]
    held = tables.unit_hash(keys, job.seed) < job.holdout_share
    left = policies.left(job, features, history)
    fit = Fit.of(job, features, left.times)
    allowed = fit.pairs(pairs)
    acts = actions_of(job)

    def free(rows: slice) -> Any:
        """Return [A, n] bool, the actions of n rows that nothing closes by itself."""
        return fit.take(rows).actions(acts) & ~held[rows] & ~left.blocked(len(acts), rows)

    policies.forbid_the_stuck(job, left, free, side)
    open_ = allowed & ~held & ~left.blocked_pairs(len(pairs))
    days = fit.days(pairs, classes)
    if classes is not None:
        days &= ~left.blocked_days(classes)
        open_ &= (days > 0)[side.asarray(classes)]
    p = propensities(propensity, pairs, side)
    p[~open_] = np.nan
    reason = side.where(held, 1, side.where(~allowed.any(axis=0), 2, 3)).astype("int8")
    reason[open_.any(axis=0)] = 0
    weight, bad_weights = weights(catalogue.weight, features, side)
    key, household = _keys(job, keys, left.households)
    return Candidates(
        keys.reset_index(drop=True),
        key,
        _scope(job, features, side),
        reason,
        _blockers(job, reason, fit, left),
        p,
        weight,
        left.most,
        left.fewest,
        left.cap,
        days,
        household,
        left.room,
        left.times,
        bad_weights,
    )


def _keys(job: Job, subscriber: Any, households: Households | None) -> tuple[Any, Any]:
    """Return [S] int64 keys, and [1 or 0, S] int64 households, as in :class:`Block`."""
    own = tables.bucket(subscriber, KEY_RANGE)
    if households is None or not any(policy.is_joint for policy in job.policies):
        return own, library(own).zeros((0, len(own)), "int64")
    return households.keys(own), households.key[None]


def propensities(propensity: Any, acts: Sequence[Action], side: Any) -> Any:
    """Return [A, S] float32, the propensities of all pairs on the grid, open or not."""
    p = side.empty((len(acts), len(propensity)), "float32")
    for a, action in enumerate(acts):
        exact = tables.array(propensity[action.name]).astype("float64") * PROPENSITY_GRID
        p[a] = side.rint(exact) / PROPENSITY_GRID
    return p


@dataclass(frozen=True, eq=False)
class Fit:
    """Who may get what, but for policies: by catalogue, consent and device, on each day."""

    job: Job
    times: SendTimes
    offers: dict[str, Any]  # [S] bool, who is eligible
    columns: dict[str | None, Any]  # [S] bool, consents and devices
    until: dict[str, Any]  # [S] float64 s after the start, of offers that ask for it

    @classmethod
    def of(cls, job: Job, features: Any, times: SendTimes) -> "Fit":
        """Ask the columns of a partition."""
        side, catalogue, rows = tables.array_library(features), job.catalogue, len(features)
        offers: dict[str, Any] = {}
        until: dict[str, Any] = {}
        for name, offer in catalogue.offers.items():
            where = f"catalogue.offers.{name}"
            if offer.eligible is None:
                offers[name] = side.ones(rows, bool)
            else:
                mask = expressions.parse(offer.eligible, f"{where}.eligible").mask(features)
                offers[name] = tables.array(mask).astype(bool)
            if offer.until is not None:
                hours = expressions.parse(offer.until, f"{where}.until").evaluate(features)
                until[name] = tables.array(hours).astype("float64") * HOUR_S
        columns: dict[str | None, Any] = {None: side.ones(rows, bool)}
        for column in _asked(catalogue):
            columns[column] = tables.array(features[column].fillna(value=False)).astype(bool)
        return cls(job, times, offers, columns, until)

    def take(self, rows: Any) -> "Fit":
        """Return that of some rows."""
        return Fit(
            self.job,
            replace(self.times, zone=self.times.zone[rows]),
            {name: mask[rows] for name, mask in self.offers.items()},
            {name: mask[rows] for name, mask in self.columns.items()},
            {name: until[rows] for name, until in self.until.items()},
        )

    def pairs(self, pairs: Sequence[Action]) -> Any:
        """Return [P, S] bool, whether the pair is allowed on some day."""
        days = range(self.times.days)
        some = {}
        for name in dict.fromkeys(pair.offer for pair in pairs):
            some[name] = self._is_valid(name, 0)
            for day in days[1:]:
                some[name] = some[name] | self._is_valid(name, day)
        return self._table([some[pair.offer] & self._is_reached(pair) for pair in pairs])

    def actions(self, acts: Sequence[Action]) -> Any:
        """Return [A, S] bool, whether the pair is allowed on the day."""
        valid = {key: self._is_valid(*key) for key in dict.fromkeys((a.offer, a.day) for a in acts)}
        return self._table([valid[a.offer, a.day] & self._is_reached(a) for a in acts])

    def days(self, pairs: Sequence[Action], classes: Any) -> Any:
        """Return [M, S] uint16, bit d: the offers of a class of pairs are valid on day d."""
        side = library(self.times.zone)
        first = (
            {} if classes is None else dict(zip(classes[::-1].tolist(), pairs[::-1], strict=True))
        )
        found = side.zeros((len(first), len(self.times.zone)), "uint16")
        for m, pair in first.items():
            for day in range(self.times.days):
                found[m] |= self._is_valid(pair.offer, day).astype("uint16") << np.uint16(day)
        return found

    def _table(self, rows: list[Any]) -> Any:
        side = library(self.times.zone)
        return side.stack(rows) if rows else side.zeros((0, len(self.times.zone)), bool)

    def _is_reached(self, action: Action) -> Any:
        """Return [S] bool, who is eligible, consents and has the device."""
        catalogue = self.job.catalogue
        channel, offer = catalogue.channels[action.channel], catalogue.offers[action.offer]
        consents = self.columns[channel.consent_for(offer.purpose)]
        return self.offers[action.offer] & consents & self.columns[channel.device]

    def _is_valid(self, name: str, day: int) -> Any:
        """Return [S] bool, for whom an offer may still, or already, go out on a day."""
        offer, at = self.job.catalogue.offers[name], self.times.on(day)
        found = self.times.of_rows([_is_within(offer, instant) for instant in at])
        if name in self.until:
            start = plan_of(self.job)[0]
            passed = self.times.of_rows([float(instant - start) for instant in at])
            found &= ~(passed > self.until[name])  # null: no bound
        return found


def _is_within(offer: Offer, instant: int) -> bool:
    """Return whether an offer is valid at an instant, s."""
    first, end = offer.valid_from, offer.valid_until
    return (first is None or first.timestamp() <= instant) and (
        end is None or instant < end.timestamp()
    )


def eligible(job: Job, features: Any, acts: Sequence[Action], side: Any) -> Any:
    """Return [A, S] whether catalogue, consent and device allow the pair on the day."""
    return Fit.of(job, features, send_times(job, features)).actions(acts)


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


def _blockers(job: Job, reason: Any, fit: Fit, left: policies.Left) -> list[str]:
    """Return the policies that forbid an eligible action, for those whom policies leave none."""
    text = ["" for _ in range(len(reason))]
    acts, stuck = actions_of(job), library(reason).flatnonzero(reason == 3)
    for low in range(0, len(stuck), policies.CHUNK):
        rows = stuck[low : low + policies.CHUNK]
        allowed, keys = fit.take(rows).actions(acts), to_cpu(rows)
        for name, closed in left.closed.items():
            stands = library(reason).zeros(len(rows), bool)
            for one in closed:
                stands |= one.rows[rows] & allowed[list(one.actions)].any(axis=0)
            for row in keys[to_cpu(stands)]:
                text[row] += f", {name}" if text[row] else name
    return text


def described(part: Candidates) -> Candidates:
    """Return the candidates without the large arrays, which the blocks have too."""
    return replace(part, propensity=None, scope=None, most=None, fewest=None, cap=None,
                   days=None, household=None, room=None)  # fmt: skip
