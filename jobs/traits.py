"""Who the synthetic subscribers are: their hidden traits, and what offers mean to them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from engine import tables

AS_OF = datetime(2026, 10, 1, tzinfo=UTC)
END = int(AS_OF.timestamp())
DAY = 86_400
CELLS = 400
OUTAGES = 8  # most outages of a cell in the period
DIRTY = 0.0005  # share of usage and recharge rows that break the schema on purpose

BLOCK = 25  # subscribers in a row, ten of them in households
SIZES = ((2, 2, 2, 2, 2), (2, 2, 2, 4), (2, 2, 3, 3), (2, 3, 5), (2, 4, 4), (3, 3, 4), (5, 5))
"""Sizes of the households of a block, one of these."""
ALONE = -1  # the household of who has none

SEGMENTS = ("gold", "silver", "bronze", "youth")
REGIONS = ("north", "south", "east", "west", "coast", "hills", "capital", "islands")
CHANNELS = {  # base logit, share of consent, share of past contacts
    "sms": (0.0, 0.85, 0.40),
    "email": (-0.4, 0.55, 0.20),
    "push": (0.1, 0.70, 0.20),
    "ussd": (-0.2, 0.90, 0.12),
    "call": (0.9, 0.45, 0.08),
}
OFFERS = {  # base logit; loadings on price, data, value, youth, tenure; on trouble; on low balance
    "data_boost": (-3.3, (0.2, 1.0, 0.0, 0.3, 0.0), -0.3, 0.2),
    "data_big": (-3.9, (-0.5, 1.3, 0.5, 0.2, 0.0), -0.4, 0.0),
    "social_pass": (-3.4, (0.4, 0.5, -0.2, 1.0, -0.2), -0.2, 0.2),
    "night_data": (-3.6, (0.7, 0.6, -0.2, 0.6, -0.1), -0.2, 0.1),
    "voice_bundle": (-3.4, (0.3, -0.7, 0.1, -0.6, 0.4), -0.2, 0.1),
    "loyalty_bonus": (-2.9, (0.6, 0.0, 0.2, 0.0, 0.6), 0.2, 0.1),
    "win_back": (-3.5, (0.8, 0.0, -0.1, 0.1, 0.2), 0.3, 0.1),
    "plan_upgrade": (-4.2, (-0.9, 0.4, 0.9, -0.2, 0.3), -0.5, -0.3),
    "family_plan": (-4.3, (-0.1, 0.1, 0.8, -0.9, 0.5), -0.4, -0.2),
    "device_5g": (-4.5, (-0.8, 0.7, 0.9, 0.2, 0.1), -0.4, -0.3),
    "roaming_pass": (-4.0, (-0.4, 0.3, 1.0, -0.2, 0.1), -0.2, -0.1),
    "outage_apology": (-3.0, (0.3, 0.2, 0.0, 0.0, 0.1), 0.9, 0.0),
    "emergency_credit": (-3.4, (0.7, 0.0, -0.4, 0.4, 0.0), -0.1, 1.5),
    "music_pass": (-3.8, (-0.1, 0.5, 0.1, 1.0, -0.2), -0.2, 0.0),
}
KINDS = {
    "usage": ("voice", "data", "sms"),
    "network": ("dropped", "blocked", "slow"),
    "care": ("complaint", "billing", "technical"),
    "recharge": ("app", "shop", "voucher", "bank"),
    "speed": ("4g", "5g", "3g"),
    "cases": ("opened", "resolved"),
    "advocacy": ("referral", "survey", "social"),
}


@dataclass(frozen=True)
class Rows:
    """Events of subscribers of a chunk; every array has a value for each.

    Attributes:
        who: place of the subscriber in the chunk.
        time: seconds since the epoch.
        values: numbers, by column.
        texts: codes and their texts, by column.
    """

    who: Any
    time: Any
    values: dict[str, Any]
    texts: dict[str, tuple[Any, tuple[str, ...]]]

    def take(self, rows: Any) -> "Rows":
        """Return the rows at these places, or where this mask holds."""
        return Rows(
            self.who[rows],
            self.time[rows],
            {name: value[rows] for name, value in self.values.items()},
            {name: (codes[rows], names) for name, (codes, names) in self.texts.items()},
        )


@dataclass(frozen=True)
class People:
    """Subscribers of a chunk with their hidden traits; every array has a value for each."""

    key: Any
    segment: Any
    prepaid: Any
    smartphone: Any
    has_app: Any
    cell: Any
    start: Any  # seconds; first instant of the period at which the subscriber is active
    activated: Any  # days since the epoch
    rate: Any  # usage events per day
    fade: Any  # > 1: activity fades, < 1: it grows
    data: Any  # hunger for data, about N(0, 1)
    price: Any  # sensitivity to price, about N(0, 1)
    value: Any  # spending power, about N(0, 1)
    liking: Any  # [C, S] liking for each channel
    consent: Any  # [C, S] boolean


@dataclass(frozen=True)
class Cells:
    """The cells of the network, the same to all chunks."""

    trouble: Any  # [cells] everyday trouble of a subscriber per day
    outages: Any  # [cells] how many outages there are
    outage_start: Any  # [cells, OUTAGES] seconds
    outage_length: Any  # [cells, OUTAGES] seconds


def cells_of(days: int, seed: int) -> Cells:
    """Draw the cells: everyday trouble, and outages, out of order for hours."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2**32 - 1,)))
    return Cells(
        trouble=rng.gamma(0.6, 0.03, CELLS),
        outages=np.minimum(rng.poisson(0.01 * days, CELLS), OUTAGES),
        outage_start=END - rng.random((CELLS, OUTAGES)) * days * DAY,
        outage_length=(0.2 + 1.8 * rng.random((CELLS, OUTAGES))) * DAY,
    )


def people_of(first: int, count: int, days: int, rng: np.random.Generator) -> People:
    """Draw the subscribers ``first`` to ``first + count - 1``."""
    n, end = count, END // DAY
    index = np.arange(first, first + n)
    price, data, value = rng.standard_normal((3, n))
    segment = np.searchsorted([-1.1, 0.4, 1.2], value + 0.5 * rng.standard_normal(n))
    segment = np.array([2, 2, 1, 0])[segment]
    segment[rng.random(n) < 0.2] = 3  # youth
    data += 0.6 * (segment == 3)
    price -= 0.4 * value
    activated = end - 1 - np.minimum(rng.exponential(900, n), 6_000).astype(np.int64)
    start = np.maximum(end - days, activated)
    smartphone = rng.random(n) < logistic(1.5 + 0.8 * data + 0.4 * value)
    shares = np.array([[share] for _, share, _ in CHANNELS.values()])
    return People(
        key=10_000_000 + 7 * index + rng.integers(0, 7, n),
        segment=segment,
        prepaid=rng.random(n) < np.where(segment == 0, 0.45, 0.75),
        smartphone=smartphone,
        has_app=smartphone & (rng.random(n) < 0.65),
        cell=rng.integers(0, CELLS, n),
        start=start * DAY,
        activated=activated,
        rate=rng.gamma(1.2, 0.45, n) * np.exp(0.25 * value),
        fade=np.exp(0.35 * rng.standard_normal(n)),
        data=data,
        price=price,
        value=value,
        liking=rng.standard_normal((len(CHANNELS), n)),
        consent=rng.random((len(CHANNELS), n)) < shares,
    )


def households_of(first: int, count: int, seed: int) -> Any:
    """Return the households of the subscribers ``first`` to ``first + count - 1``, or ``ALONE``.

    Of each block of ``BLOCK`` subscribers ten are in households of 2 to 5, whoever they are: traits
    have no say in it. They are drawn by hashes of the subscribers' numbers, so no other draw and no
    chunk changes them. A household that the last subscriber cuts off is smaller.
    """
    block = np.arange(first // BLOCK, -(-(first + count) // BLOCK))
    member = block[:, None] * BLOCK + np.arange(BLOCK)
    draw = tables.unit_hash(member.ravel(), seed, np.zeros(member.size, np.int64))
    rank = draw.reshape(member.shape).argsort(axis=1, kind="stable").argsort(axis=1)
    slots = np.array([np.repeat(range(len(sizes)), sizes) for sizes in SIZES])
    kind = (tables.unit_hash(block, seed, np.ones(len(block), np.int64)) * len(SIZES)).astype(int)
    taken = len(slots[0])
    slot = np.take_along_axis(slots[kind], np.minimum(rank, taken - 1), axis=1)
    found = np.where(rank < taken, 5_000_000 + block[:, None] * len(SIZES[0]) + slot, ALONE)
    start = first - block[0] * BLOCK
    return found.ravel()[start : start + count]


def logistic(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def places(people: People, per_day: Any, rng: np.random.Generator) -> Any:
    """Draw whose events there are: places of subscribers, each as often as it has events."""
    days = (END - people.start) / DAY
    return np.repeat(np.arange(len(days)), rng.poisson(per_day * days))


def instants(people: People, who: Any, rng: np.random.Generator) -> Any:
    """Draw instants of events: anywhere in the active period, more often by day than at night."""
    start = people.start[who]
    share = rng.random(len(who)) ** people.fade[who]
    day = (start + (END - start) * share).astype(np.int64) // DAY
    by_day = rng.random(len(who)) + rng.random(len(who))
    return day * DAY + (by_day * (DAY // 2)).astype(np.int64)


def events_before(rows: Rows, who: Any, time: Any, days: int) -> Any:
    """Count the rows of each ``who`` in the ``days`` before ``time``, itself left out."""
    wide = 1 << 34  # more than the seconds of any period
    codes = np.sort(rows.who * wide + rows.time)
    instant = who * wide + time
    return np.searchsorted(codes, instant) - np.searchsorted(codes, instant - days * DAY)
