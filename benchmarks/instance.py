"""Allocation problems of a made-up telecom operator, drawn from a seed.

Propensity: a logistic of (taste for contact of the subscriber) + (taste of the subscriber's
segment for the offer) + (taste of the subscriber for the channel) + noise, around 2 %, so that
pairs of a subscriber are correlated, and so are the channels of one offer: near ties, as in life.
Open pairs: a subscriber is eligible for half of the offers and consents to each channel with 70 %.
Actions: offers by five channels, one subscriber getting an offer on one channel only, at most one
contact per channel and per category. Limits, in the order in which a number of them is taken:
budget, capacity of each channel, quota of each offer, contacts of each segment, cost of each
segment, a minimum volume of every fourth offer, contacts of each channel in each segment, of each
offer in each segment, cost of each channel in each segment, acceptances and cost of each offer in
each segment, contacts of each action, then of each action in each segment. That makes 207 limits
of 20 actions, 437 of 50. Each quarter of a block comes from a stream of its own, so a part of a
base can be drawn alone (:func:`block`); the number of limits changes no subscriber.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from os import sched_getaffinity
from typing import Any

import numpy as np

from engine.block import Block, joined
from engine.problem import Problem, Row
from engine.rules import Rules
from kernels.choose import PROPENSITY_GRID, WEIGHT_GRID

MICRO = 1_000_000
CHANNEL_COST = (0.03, 0.01, 0.005, 0.02, 0.8)
CATEGORIES, SEGMENTS, SPLIT = 6, 4, 4
SHARES = (0.5, 0.25, 0.15, 0.1)  # of the segments
STREAM = 1 << 18  # subscribers that are drawn from one stream of random numbers
BLOCK = 4 * STREAM  # subscribers of a block
MEAN_LOGIT = -4.0


@dataclass(frozen=True)
class Case:
    """A kind of problem."""

    name: str
    width: int  # offers of a subscriber at most
    seed: int = 7


CASES = {case.name: case for case in (Case("one-offer", 1), Case("bundles", 2))}


@dataclass(frozen=True)
class Catalogue:
    """Offers, channels and what they are worth. [A] arrays; [O] ones with ``offer_`` before."""

    offer: Any
    channel: Any
    rules: Rules
    value: Any  # money per acceptance, less its cost
    cost: Any  # money per acceptance
    unit_cost: Any  # money per contact
    taste: Any  # [SEGMENTS, O] of a segment for an offer, logit

    @property
    def offers(self) -> int:
        """Return O."""
        return int(self.taste.shape[1])


def catalogue(case: Case, actions: int) -> Catalogue:
    """Draw a catalogue of so many actions."""
    rng = np.random.default_rng([case.seed, 0])
    index = np.arange(actions, dtype=np.int32)
    offer, channel = index // len(CHANNEL_COST), index % len(CHANNEL_COST)
    offers = int(offer.max()) + 1
    cost = rng.uniform(0.1, 2.0, offers)
    margin = rng.uniform(2.0, 20.0, offers)
    members = [channel == c for c in range(len(CHANNEL_COST))]
    members += [offer % CATEGORIES == h for h in range(CATEGORIES)]
    rules = Rules(np.array(members), np.zeros(len(members), bool), index)
    return Catalogue(
        offer, channel, rules, margin[offer], cost[offer],
        np.array(CHANNEL_COST)[channel], rng.normal(0.0, 0.6, (SEGMENTS, offers)),
    )  # fmt: skip


def block(case: Case, sold: Catalogue, number: int, subscribers: int) -> Block:
    """Draw the subscribers of one block."""
    rng = np.random.default_rng([case.seed, 1, number])
    channels = len(CHANNEL_COST)
    key = rng.integers(0, 2**63 - 1, subscribers)
    segment = rng.choice(SEGMENTS, subscribers, p=SHARES)
    group = (segment * SPLIT + (key >> 20) % SPLIT).astype(np.int32)
    order = np.lexsort((key, group))
    key, segment, group = key[order], segment[order], group[order]
    keen = rng.normal(MEAN_LOGIT, 1.0, subscribers)
    by_channel = rng.normal(0.0, 0.4, (channels, subscribers))
    consents = rng.random((channels, subscribers)) < 0.7
    eligible = rng.random((sold.offers, subscribers)) < 0.5
    propensity = np.empty((len(sold.offer), subscribers), np.float32)
    for a, (o, c) in enumerate(zip(sold.offer, sold.channel, strict=True)):
        logit = keen + sold.taste[segment, o] + by_channel[c] + rng.normal(0, 0.1, subscribers)
        p = np.rint(PROPENSITY_GRID / (1 + np.exp(-logit))) / PROPENSITY_GRID
        propensity[a] = np.where(eligible[o] & consents[c], p, np.nan)
    weight = np.rint(rng.gamma(4.0, 0.25, subscribers).clip(0.1, 10) * WEIGHT_GRID) / WEIGHT_GRID
    return Block(
        key, propensity, weight.astype(np.float32), group,
        np.full(subscribers, case.width, np.uint8),
        np.zeros(subscribers, np.uint8),
        np.ones((channels + CATEGORIES, subscribers), np.uint8),
    )  # fmt: skip


def limits(sold: Catalogue, subscribers: int) -> Iterator[tuple[Any, ...]]:
    """Give the limits one by one: row, use per contact, per acceptance, scope, amount."""
    rng = np.random.default_rng(len(sold.offer))
    everybody = np.ones(SEGMENTS, bool)
    none, one = np.zeros(len(sold.offer)), np.ones(len(sold.offer))

    def contacts(name: str, of: Any, scope: Any, amount: float) -> tuple[Any, ...]:
        return Row(name, "contacts", is_minimum=False), of * 1.0, none, scope, amount

    def cost(name: str, scope: Any, amount: float) -> tuple[Any, ...]:
        return Row(name, "cost", is_minimum=False), sold.unit_cost, sold.cost, scope, amount

    yield cost("budget", everybody, subscribers * 0.03)
    for c in range(len(CHANNEL_COST)):
        amount = subscribers * rng.uniform(0.08, 0.25)
        yield contacts(f"capacity:{c}", sold.channel == c, everybody, amount)
    for o in range(sold.offers):
        amount = subscribers * rng.uniform(0.5, 1.5) / sold.offers
        yield contacts(f"quota:{o}", sold.offer == o, everybody, amount)
    inside = np.eye(SEGMENTS, dtype=bool)
    for g in range(SEGMENTS):
        amount = subscribers * SHARES[g] * rng.uniform(0.4, 0.8)
        yield contacts(f"segment:{g}", one, inside[g], amount)
    for g in range(SEGMENTS):
        yield cost(f"spend:{g}", inside[g], subscribers * SHARES[g] * 0.05)
    for o in range(0, sold.offers, 4):
        row = Row(f"minimum:{o}", "contacts", is_minimum=True)
        yield row, (sold.offer == o) * -1.0, none, everybody, -subscribers * 0.2 / sold.offers
    for c in range(len(CHANNEL_COST)):
        for g in range(SEGMENTS):
            amount = subscribers * SHARES[g] * rng.uniform(0.1, 0.3)
            yield contacts(f"channel:{c}:{g}", sold.channel == c, inside[g], amount)
    for o in range(sold.offers):
        for g in range(SEGMENTS):
            amount = subscribers * SHARES[g] * rng.uniform(0.8, 2.0) / sold.offers
            yield contacts(f"offer:{o}:{g}", sold.offer == o, inside[g], amount)
    yield from _finer_limits(sold, subscribers, rng)


def _finer_limits(sold: Catalogue, subscribers: int, rng: Any) -> Iterator[tuple[Any, ...]]:
    """Give the limits beyond the first few dozen, which are there to make many."""
    everybody, inside = np.ones(SEGMENTS, bool), np.eye(SEGMENTS, dtype=bool)
    channels, actions = len(CHANNEL_COST), len(sold.offer)

    def limit(name: str, measure: str, of: Any, scope: Any, amount: float) -> tuple[Any, ...]:
        fixed, accept = {
            "contacts": (of * 1.0, of * 0.0),
            "acceptances": (of * 0.0, of * 1.0),
            "cost": (of * sold.unit_cost, of * sold.cost),
        }[measure]
        return Row(name, measure, is_minimum=False), fixed, accept, scope, amount

    def of_segment(name: str, measure: str, of: Any, each: float) -> Iterator[tuple[Any, ...]]:
        for g in range(SEGMENTS):
            amount = subscribers * SHARES[g] * rng.uniform(0.8, 2.0) * each
            yield limit(f"{name}:{g}", measure, of, inside[g], amount)

    for c in range(channels):
        yield from of_segment(f"spend:{c}", "cost", sold.channel == c, 0.05 / channels)
    for measure, each in (("acceptances", 0.03), ("cost", 0.05)):
        for o in range(sold.offers):
            each_offer = each / sold.offers
            yield from of_segment(f"{measure}:{o}", measure, sold.offer == o, each_offer)
    for a in range(actions):
        amount = subscribers * rng.uniform(0.8, 2.0) / actions
        yield limit(f"action:{a}", "contacts", np.arange(actions) == a, everybody, amount)
    for a in range(actions):
        yield from of_segment(f"action:{a}", "contacts", np.arange(actions) == a, 1.0 / actions)


def instance(case: Case, subscribers: int, actions: int, constraints: int) -> Problem:
    """Draw a problem; the blocks are on the host.

    Raises:
        ValueError: there are not so many limits for so few actions.
    """
    sold = catalogue(case, actions)
    taken = list(islice(limits(sold, subscribers), constraints))
    if len(taken) < constraints:
        raise ValueError(f"constraints: {len(taken)} at most with {actions} actions")
    rows, fixed, accept, scope, amount = zip(*taken, strict=True)
    starts = range(0, subscribers, STREAM)
    sizes = [min(STREAM, subscribers - begin) for begin in starts]
    each = BLOCK // STREAM

    def drawn(first: int) -> Block:
        streams = range(first, min(first + each, len(sizes)))
        return joined([block(case, sold, i, sizes[i]) for i in streams])

    with ThreadPoolExecutor(len(sched_getaffinity(0))) as threads:
        blocks = list(threads.map(drawn, range(0, len(sizes), each)))
    return Problem(
        blocks,
        sold.offer, sold.channel, sold.rules, _micro(-sold.unit_cost), _micro(sold.value),
        rows, _micro(fixed), _micro(accept), np.array(scope).repeat(SPLIT, axis=1),
        _micro(amount), typical_propensity=0.03,
    )  # fmt: skip


def _micro(amount: Any) -> Any:
    return np.rint(np.array(amount) * MICRO).astype(np.int64)
