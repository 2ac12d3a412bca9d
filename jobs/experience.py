"""What synthetic subscribers live through and say of it: throughput, care cases, advocacy.

These tables follow from the others, with draws of their own. Throughput is lower in busy cells,
during an outage of the cell and soon after trouble of one's own; a complaint opens a case, which
most often is resolved some days later; who has little trouble and few complaints is happier, and
happy people recommend the operator and score it higher::

    happiness = 0.5 spending power - 0.3 price sensitivity - 0.25 trouble (at most 6, last 90 days)
                - 0.6 complaints (at most 3) + 0.5 N(0, 1)
    score     = 7.5 + 1.6 happiness + N(0, 1), rounded, from 0 to 10
"""

from typing import Any

import numpy as np

from jobs.traits import (
    DAY,
    END,
    KINDS,
    Cells,
    People,
    Rows,
    events_before,
    instants,
    logistic,
    places,
)

SAMPLES = 0.05  # throughput samples of a smartphone per day
MBPS = np.array([25.0, 120.0, 3.0])  # usual throughput of 4g, 5g and 3g
SURVEYS = 0.005  # answered surveys per day


def speed(people: People, cells: Cells, network: Rows, rng: np.random.Generator) -> Rows:
    """Return throughput samples of smartphones, Mbit/s."""
    who = rng.permutation(
        places(people, SAMPLES * people.smartphone * np.exp(0.3 * people.data), rng)
    )
    time = instants(people, who, rng)
    modern = rng.random(len(who)) < logistic(0.5 * people.value + 0.4 * people.data - 1)[who]
    kind = np.where(rng.random(len(who)) < 0.12, 2, np.where(modern, 1, 0))
    cell = people.cell[who]
    busy = np.minimum(cells.trouble[cell] / cells.trouble.mean(), 3)
    begun = time[:, None] - cells.outage_start[cell]
    known = np.arange(cells.outage_start.shape[1]) < cells.outages[cell][:, None]
    out = (known & (begun >= 0) & (begun < cells.outage_length[cell])).any(axis=1)
    troubled = events_before(network, who, time, 2) > 0
    noise = np.exp(0.4 * rng.standard_normal(len(who)) - 0.25 * busy)
    mbps = MBPS[kind] * noise * np.where(out, 0.15, np.where(troubled, 0.6, 1.0))
    return Rows(who, time, {"mbps": mbps}, {"kind": (kind, KINDS["speed"])})


def cases(care: Rows, rng: np.random.Generator) -> Rows:
    """Return care cases, opened and resolved: of most complaints, and of some other contacts."""
    kind = care.texts["kind"][0]
    chance = np.array([0.7, 0.1, 0.3])[kind]  # of complaint, billing, technical
    opens = np.flatnonzero(rng.random(len(kind)) < chance)
    opened = care.time[opens] + rng.integers(60, 3_600, len(opens))
    days = 0.1 + rng.standard_gamma(1.3, len(opens)) * 3
    resolved = opened + (days * DAY).astype(np.int64)
    ends = (rng.random(len(opens)) < 0.9) & (resolved < END)
    who = np.concatenate([care.who[opens], care.who[opens][ends]])
    time = np.concatenate([opened, resolved[ends]])
    codes = np.repeat([0, 1], [len(opens), int(ends.sum())])
    rows = Rows(who, time, {}, {"kind": (codes, KINDS["cases"])}).take(time < END)
    return rows.take(rng.permutation(len(rows.who)))


def advocacy(people: People, network: Rows, care: Rows, rng: np.random.Generator) -> Rows:
    """Return referrals, answered surveys with their score, and mentions on social networks."""
    happy = _happiness(people, network, care, rng)
    referrals = places(people, 0.002 * np.exp(0.6 * np.minimum(happy, 3)), rng)
    surveys = places(people, SURVEYS, rng)
    mentions = places(people, 0.001 * np.exp(0.4 * np.minimum(np.abs(happy), 3)), rng)
    who = np.concatenate([referrals, surveys, mentions])
    kind = np.repeat([0, 1, 2], [len(referrals), len(surveys), len(mentions)])
    said = 7.5 + 1.6 * happy[who] + rng.standard_normal(len(who))
    score = np.where(kind == 1, np.clip(said.round(), 0, 10), 0.0)
    rows = Rows(
        who, instants(people, who, rng), {"score": score}, {"kind": (kind, KINDS["advocacy"])}
    )
    return rows.take(rng.permutation(len(who)))


def _happiness(people: People, network: Rows, care: Rows, rng: np.random.Generator) -> Any:
    n = len(people.key)
    end = np.full(n, END)
    trouble = np.minimum(events_before(network, np.arange(n), end, 90), 6)
    complaints = care.take(care.texts["kind"][0] == 0)
    complained = np.minimum(events_before(complaints, np.arange(n), end, 90), 3)
    own = 0.5 * people.value - 0.3 * people.price + 0.5 * rng.standard_normal(n)
    return own - 0.25 * trouble - 0.6 * complained
