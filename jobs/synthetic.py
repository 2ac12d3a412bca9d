"""A synthetic telecom operator: made-up subscribers, events, contacts and acceptances.

Nothing here is measured on people. Each subscriber has hidden traits (activity, hunger for data,
sensitivity to price, a liking for each channel). The traits drive what the tables show, and
together with what happened just before a contact they drive whether its offer is accepted::

    logit P(accept) = base[offer] + base[channel] + 0.7 liking[channel]
                      + loading[offer] · (price, data, value, youth, tenure)
                      + trouble[offer] * recent network trouble + low[offer] * low balance
                      - 0.3 contacts in the last 14 days

so a model has something real to learn, and something it can never know. Households are made up too:
40 % of the subscribers are in one, of 2 to 5 members, who are no more alike than others are.
Subscribers are made in chunks of a fixed size, each from its own seed: the result does not depend
on the workers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs import experience
from jobs.marker import mark
from jobs.tasks import Tasks
from jobs.traits import (
    ALONE,
    CHANNELS,
    DAY,
    DIRTY,
    END,
    KINDS,
    OFFERS,
    REGIONS,
    SEGMENTS,
    Cells,
    People,
    Rows,
    cells_of,
    events_before,
    households_of,
    instants,
    logistic,
    people_of,
    places,
)

CHUNK = 50_000  # subscribers of a chunk; part of the definition, since each has its own seed
TABLES = (
    "subscribers", "usage", "recharges", "network", "care", "contacts", "outcomes",
    "speed", "cases", "advocacy",
)  # fmt: skip


@dataclass(frozen=True)
class Chunk:
    """The subscribers ``first`` to ``first + count - 1``, and where their tables go."""

    folder: Path
    index: int
    first: int
    count: int
    days: int
    seed: int


def generate(folder: Path, subscribers: int, days: int, seed: int, tasks: Tasks) -> dict[str, int]:
    """Write the tables of a synthetic operator, as Parquet.

    Args:
        folder: receives a folder for each of ``TABLES``, and says so; made if it is not there.
        subscribers: number of subscribers.
        days: days of events before ``AS_OF``.
        seed: the same seed gives the same bytes.
        tasks: where the work is done.

    Returns:
        Rows of each table.
    """
    for table in TABLES:
        (folder / table).mkdir(parents=True, exist_ok=True)
    items = [
        Chunk(folder, i, first, min(CHUNK, subscribers - first), days, seed)
        for i, first in enumerate(range(0, subscribers, CHUNK))
    ]
    found = tasks.map("generate", write_chunk, items, rows=lambda counts: sum(counts.values()))
    size = {"subscribers": subscribers, "days": days, "seed": seed}
    mark(folder, filling({"kind": "synthetic", **size}))
    return {table: sum(counts[table] for counts in found) for table in found[0]}


def filling(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a folder says that is filled as a source asks, with the number of tables."""
    return {**source, "tables": len(TABLES)}


def write_chunk(chunk: Chunk) -> dict[str, int]:
    """Write the tables of one chunk; return the rows of each."""
    rng = np.random.default_rng(np.random.SeedSequence(chunk.seed, spawn_key=(chunk.index,)))
    people = people_of(chunk.first, chunk.count, chunk.days, rng)
    counts = {"usage": _write(chunk, "usage", _usage(people, rng))}
    recharges = _recharges(people, rng)
    cells = cells_of(chunk.days, chunk.seed)
    network = _network(people, cells, rng)
    care = _care(people, network, rng)
    contacts, outcomes = _contacts(people, (recharges, network), rng)
    household = households_of(chunk.first, chunk.count, chunk.seed)
    subscribers = _subscribers(people, household, recharges, rng)
    counts["subscribers"] = _write(chunk, "subscribers", subscribers)
    counts["recharges"] = _write(chunk, "recharges", _table(people, recharges, "amount", rng))
    for name, rows in (
        ("network", network), ("care", care), ("contacts", contacts), ("outcomes", outcomes),
    ):  # fmt: skip
        counts[name] = _write(chunk, name, _table(people, rows, "", rng))
    own = np.random.default_rng(np.random.SeedSequence(chunk.seed, spawn_key=(chunk.index, 1)))
    for name, rows in (
        ("speed", experience.speed(people, cells, network, own)),
        ("cases", experience.cases(care, own)),
        ("advocacy", experience.advocacy(people, network, care, own)),
    ):
        counts[name] = _write(chunk, name, _table(people, rows, "", own))
    return counts


def _write(chunk: Chunk, table: str, rows: pa.Table) -> int:
    path = chunk.folder / table / f"part-{chunk.index:05}.parquet"
    texts = [f.name for f in rows.schema if pa.types.is_dictionary(f.type)]
    pq.write_table(rows, path, compression="lz4", use_dictionary=texts, store_schema=False)
    return len(rows.columns[0])


def _usage(people: People, rng: np.random.Generator) -> pa.Table:
    who = rng.permutation(places(people, people.rate, rng))
    n = len(who)
    online = (0.2 + 0.5 * logistic(1.2 * people.data)) * people.smartphone
    draw = rng.random(n)
    kind = np.where(draw < online[who], 1, np.where(draw > 0.85, 2, 0))
    size = rng.standard_gamma(1.0, n)
    megabytes = np.where(kind == 1, size * 120 * np.exp(0.7 * people.data)[who], 0.0)
    minutes = np.where(kind == 0, size * 4, 0.0)
    charge = 0.002 * megabytes + 0.05 * minutes + 0.03 * (kind == 2)
    rows = Rows(
        who,
        instants(people, who, rng),
        {"data_mb": megabytes, "minutes": minutes, "charge": charge},
        {"kind": (kind, KINDS["usage"])},
    )
    return _table(people, rows, "charge", rng)


def _recharges(people: People, rng: np.random.Generator) -> Rows:
    per_day = people.prepaid * np.exp(-2.2 + 0.3 * people.price + 0.2 * people.value)
    who = rng.permutation(places(people, per_day, rng))
    noise = rng.standard_normal(len(who))
    step = 2.2 + 0.7 * people.value[who] - 0.6 * people.price[who] + 0.6 * noise
    amounts = np.array([1.0, 2.0, 5.0, 10.0, 20.0, 50.0])
    amount = amounts[np.clip(step.round().astype(np.int64), 0, 5)]
    texts = {"channel": (rng.integers(0, len(KINDS["recharge"]), len(who)), KINDS["recharge"])}
    return Rows(who, instants(people, who, rng), {"amount": amount}, texts)


def _network(people: People, cells: Cells, rng: np.random.Generator) -> Rows:
    """Everyday trouble, and trouble during outages."""
    calm = places(people, cells.trouble[people.cell], rng)
    hits = cells.outages[people.cell] * rng.poisson(3, len(people.key))
    hit = np.repeat(np.arange(len(hits)), hits)
    cell = people.cell[hit]
    outage = (rng.random(len(hit)) * cells.outages[cell]).astype(np.int64)
    length = cells.outage_length[cell, outage]
    during = cells.outage_start[cell, outage] + rng.random(len(hit)) * length
    during = np.minimum(during.astype(np.int64), END - 1)
    known = during >= people.start[hit]
    who = np.concatenate([calm, hit[known]])
    time = np.concatenate([instants(people, calm, rng), during[known]])
    kind = rng.choice(3, len(who), p=[0.5, 0.2, 0.3])
    severity = np.array([1.0, 2.0, 0.5])[kind] * (0.5 + rng.standard_gamma(2.0, len(who)) / 4)
    texts = {"kind": (kind, KINDS["network"])}
    return _shuffled(Rows(who, time, {"severity": severity}, texts), rng)


def _care(people: People, network: Rows, rng: np.random.Generator) -> Rows:
    """Calls to the care desk: some at any time, some within two days after network trouble."""
    calm = places(people, 0.004 * np.exp(0.3 * people.price), rng)
    upset = np.flatnonzero(rng.random(len(network.who)) < 0.06)
    who = np.concatenate([calm, network.who[upset]])
    after = network.time[upset] + rng.integers(600, 2 * DAY, len(upset))
    time = np.concatenate([instants(people, calm, rng), np.minimum(after, END - 1)])
    kind = np.where(rng.random(len(who)) < 0.5, 0, rng.integers(1, 3, len(who)))
    kind[len(calm) :] = np.where(rng.random(len(upset)) < 0.7, 2, 0)
    duration = 1 + rng.standard_gamma(1.5, len(who)) * 4
    texts = {"kind": (kind, KINDS["care"])}
    return _shuffled(Rows(who, time, {"duration_min": duration}, texts), rng)


def _contacts(
    people: People, recent: tuple[Rows, Rows], rng: np.random.Generator
) -> tuple[Rows, Rows]:
    """Past contacts, their offers and channels drawn at random, and the accepted ones."""
    recharges, network = recent
    who = places(people, 3.4 / 90, rng)
    time = instants(people, who, rng)
    offer = rng.integers(0, len(OFFERS), len(who))
    shares = np.log([[share] for _, _, share in CHANNELS.values()])
    allowed = people.consent.copy()
    allowed[list(CHANNELS).index("push")] &= people.has_app
    draw = np.where(allowed[:, who], shares + rng.gumbel(size=(len(CHANNELS), len(who))), -np.inf)
    channel = draw.argmax(axis=0)
    reachable = allowed[channel, who]
    who, time, offer, channel = (a[reachable] for a in (who, time, offer, channel))

    base, loading, trouble, low = (
        np.array([settings[i] for settings in OFFERS.values()]) for i in range(4)
    )
    tenure = np.log1p((time / DAY - people.activated[who]) / 365) - 1
    traits = [
        people.price[who],
        people.data[who],
        people.value[who],
        people.segment[who] == 3,
        tenure,
    ]
    past = Rows(who, time, {}, {})
    fatigue = events_before(past, who, time, 14)
    had_trouble = np.minimum(events_before(network, who, time, 7), 3)
    is_low = people.prepaid[who] & (events_before(recharges, who, time, 10) == 0)
    logit = (
        base[offer]
        + np.array([settings[0] for settings in CHANNELS.values()])[channel]
        + 0.7 * people.liking[channel, who]
        + (loading[offer] * np.stack(traits, axis=1)).sum(axis=1)
        + trouble[offer] * had_trouble
        + low[offer] * is_low
        - 0.3 * fatigue
    )
    accepted = rng.random(len(who)) < logistic(logit)
    later = time + 600 + np.minimum(rng.exponential(1.2, len(who)), 6.5) * DAY
    seen = accepted & (later < END)
    texts = {"offer": (offer, tuple(OFFERS)), "channel": (channel, tuple(CHANNELS))}
    contacts = _shuffled(Rows(who, time, {}, texts), rng)
    revenue = np.exp(0.6 + 0.4 * people.value[who] + 0.3 * rng.standard_normal(len(who)))
    outcomes = Rows(who, later.astype(np.int64), {"revenue": revenue}, texts).take(seen)
    return contacts, _shuffled(outcomes, rng)


def _subscribers(
    people: People, household: Any, recharges: Rows, rng: np.random.Generator
) -> pa.Table:
    n = len(people.key)
    order = np.argsort(recharges.time, kind="stable")
    last = np.zeros(n, np.int64)
    paid = np.full(n, 2.0)
    last[recharges.who[order]] = recharges.time[order]  # of repeated subscribers the last stays
    paid[recharges.who[order]] = recharges.values["amount"][order]
    age_days = np.minimum((END - np.where(last, last, people.start)) / DAY, 60)
    balance = paid * np.exp(-age_days / 8) * (0.5 + rng.random(n))
    columns = {
        "subscriber": pa.array(people.key),
        "activated_at": pa.array(people.activated.astype(np.int32)).cast(pa.date32()),
        "segment": _dictionary(people.segment, SEGMENTS),
        "region": _dictionary(people.cell % len(REGIONS), REGIONS),
        "plan": _dictionary(people.prepaid.astype(np.int64), ("postpaid", "prepaid")),
        "balance": pa.array(balance.round(2), mask=~people.prepaid),
        "arpu": pa.array(np.exp(1.8 + 0.5 * people.value + 0.2 * rng.standard_normal(n)).round(2)),
        "smartphone": pa.array(people.smartphone),
        "has_app": pa.array(people.has_app),
    }
    for i, channel in enumerate(CHANNELS):
        columns[f"consent_{channel}"] = pa.array(people.consent[i])
    columns["do_not_contact"] = pa.array(rng.random(n) < 0.02)
    columns["household"] = pa.array(household, mask=household == ALONE)
    return pa.table(columns).take(rng.permutation(n))


def _shuffled(rows: Rows, rng: np.random.Generator) -> Rows:
    return rows.take(rng.permutation(len(rows.who)))


def _dictionary(codes: Any, names: tuple[str, ...]) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int8)), pa.array(names))


def _table(people: People, rows: Rows, spoil: str, rng: np.random.Generator) -> pa.Table:
    """Return rows as a table; if ``spoil`` names a value column, a share ``DIRTY`` is broken."""
    key, n = people.key[rows.who], len(rows.who)
    no_key, no_time = np.zeros((2, n), bool)
    values = dict(rows.values)
    if spoil:
        bad = rng.choice(n, int(n * DIRTY), replace=False)
        no_key[bad[0::4]] = True
        no_time[bad[1::4]] = True
        key[bad[2::4]] *= -1  # nobody has a negative key
        values[spoil] = values[spoil].copy()
        values[spoil][bad[3::4]] *= -1
    return pa.table(
        {
            "subscriber": pa.array(key, mask=no_key),
            "time": pa.array(rows.time, mask=no_time).cast(pa.timestamp("s", "UTC")),
            **{name: pa.array(value) for name, value in values.items()},
            **{name: _dictionary(*texts) for name, texts in rows.texts.items()},
        }
    )
