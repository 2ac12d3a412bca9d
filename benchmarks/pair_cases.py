"""The operations on listed pairs of ``cases.py``: operands and what their results must be."""

import numpy as np

from kernels import choose_pairs
from kernels.choose import NO_ACTION
from tests import test_choose_pairs

CLASSES = 16
MOST_ENUMERATED = 1_000  # subscribers whose bundles are listed for the curvature
ROUNDED, MARGIN_ROUNDED = 1e-12, 1e-6  # of surpluses; of margins, which are float32
LISTS = (2, 3, 4, 5, 6, 0, 1, 7, 8)  # the pairs first: they are what is counted


def pair_lists(size, width):
    """Return the lists of ``choose_pairs``: a third of the pairs open, two constraints each."""
    rng = np.random.default_rng(size.seed)
    actions, subscribers = size.each, size.subscribers
    owner, action = np.nonzero(rng.random((subscribers, actions), np.float32) < 1 / 3)
    pairs, one = len(action), np.ones(subscribers, np.uint8)
    index = np.arange(actions, dtype=np.int32)
    return (
        rng.integers(0, 1 << 62, subscribers),
        np.searchsorted(owner, np.arange(subscribers + 1)).astype(np.int64),
        action.astype(np.int32),
        rng.integers(0, 1 << 20, pairs),
        2 * np.arange(pairs + 1, dtype=np.int64),
        np.stack([0 * action, 1 + action], axis=1).reshape(-1).astype(np.int32),
        rng.integers(0, 1 << 20, 2 * pairs),
        one * np.uint8(width),
        one * np.uint8(0),
        one[None] * np.uint8(width),
        np.ones((2, subscribers), np.uint8),
        index,
        0 * index,
        index % 2,
        rng.uniform(0.0, 0.5, actions + 1) / (1 << 20),
    )  # fmt: skip


def pair_choices(size, width):
    """Return the arguments of ``choose_pairs``."""
    return (*pair_lists(size, width), 1 / (1 << 20), CLASSES, width)


def pair_switches(size, width):
    """Return the arguments of ``curve_pairs``."""
    lists = pair_lists(size, width)
    step = np.full(size.each + 1, 1 / (1 << 20))
    return (*lists, step, 1 / (1 << 20), 0.02, 2.0**20, CLASSES, width)


def by_pair_choice(operands, count, result):
    """Return the best bundles of the first rows, their margins, and what all bundles add up to."""
    *lists, worth, classes, _ = operands
    chosen, margin = result[0][:, :count].copy(), result[1][:count].copy()
    for s in range(len(margin)):
        total = test_choose_pairs.totals(lists, s, worth)
        best = total.pop(test_choose_pairs.pairs_of(lists, chosen[:, s], s), -np.inf)
        second = max(total.values(), default=-np.inf)
        if best < second - ROUNDED:
            chosen[:, s] = NO_ACTION - 1  # as no result is
        elif best - second != margin[s] and not abs(best - second - margin[s]) <= MARGIN_ROUNDED:
            margin[s] = best - second
    return [chosen, margin, test_choose_pairs.added(lists, result[0], classes)]


def by_pair_curvature(operands, _, result):
    """Return total, curvature and count of the near; at larger sizes than smoke the total alone."""
    *lists, step, worth, bandwidth, unit, classes, width = operands
    _, _, total = choose_pairs(*lists, worth, classes, width)
    rows = len(lists[0])
    if rows > MOST_ENUMERATED:
        return [total, *result[1:]]
    curvature, near = np.zeros((len(step), len(step))), 0
    for s in range(rows):
        surplus = test_choose_pairs.totals(lists, s, worth)
        best, *others = sorted(surplus, key=surplus.get)[::-1][:2]
        if not others or surplus[best] - surplus[others[0]] >= bandwidth:
            continue
        near += 1
        moved = np.zeros(len(step))
        for sign, bundle in ((1.0, best), (-1.0, others[0])):
            for n in bundle:
                moved += sign * (test_choose_pairs.uses(lists, n) * step)
        curvature += np.rint(np.tril(np.outer(moved, moved)) * unit)
    return [total, curvature, np.array([near])]
