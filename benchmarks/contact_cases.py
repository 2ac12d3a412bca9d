"""Arguments of the operations on contact histories, and what they should give."""

import numpy as np

from tests.test_contact_windows import latest_definition, met, most_definition, part

DAY_S, DAYS = 86_400, 90
CODES, COUNTERS, EACH, ZONES = 60, 10, 4, 3
WIDTHS = np.array([1, 7, 14, 30, 30, 60, 90, 7, 30, 2**40]) * DAY_S


def contacts(size):
    """Return events, zones and counters; one contact in twenty comes at the time of another."""
    rng = np.random.default_rng(size.seed)
    counts = rng.poisson(size.each, size.subscribers)
    indptr = np.cumsum([0, *counts])
    owner = np.repeat(np.arange(size.subscribers), counts)
    time = np.sort(owner * (DAYS * DAY_S) + rng.integers(0, DAYS * DAY_S, len(owner)))
    tied = np.flatnonzero((rng.random(len(owner)) < 0.05) & (np.diff(owner, prepend=-1) == 0))
    time[tied] = time[tied - 1]
    lists = [np.sort(rng.choice(COUNTERS, EACH, replace=False)) for _ in range(CODES)]
    return (
        np.sort(time) - owner * (DAYS * DAY_S),
        rng.integers(0, CODES, len(owner)).astype(np.int32),
        indptr,
        rng.integers(0, ZONES, size.subscribers).astype(np.int32),
        np.cumsum([0, *map(len, lists)], dtype=np.int32),
        np.concatenate(lists).astype(np.int32),
    )  # fmt: skip


def used(size, later_days):
    """Return the arguments of ``most_in_window``: windows that end in so many days, or at once."""
    first = np.full((ZONES, COUNTERS), (DAYS - later_days) * DAY_S) + np.arange(ZONES)[:, None]
    contact, once = np.arange(CODES) // 2, np.arange(COUNTERS) % 2
    kinds = contact.astype(np.int32), once.astype(np.uint8)
    width = np.tile(WIDTHS, (ZONES, 1))
    return *contacts(size), *kinds, width, first, first + later_days * DAY_S


def latest(size):
    """Return the arguments of ``latest_burst``: of one event, or of two."""
    times = (1 + np.arange(COUNTERS) % 2).astype(np.int32)
    return *contacts(size), times, WIDTHS, np.full(ZONES, (DAYS - 1) * DAY_S)


def by_most(operands, count, _):
    """Return the numbers of the first subscribers."""
    return [most_definition(part(operands, 0, count), met)]


def by_latest(operands, count, _):
    """Return the latest bursts of the first subscribers."""
    return [latest_definition(part(operands, 0, count))]
