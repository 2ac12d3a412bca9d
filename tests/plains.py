"""Random plain problems, and what they are by definition: in whole numbers, by enumeration."""

from fractions import Fraction
from itertools import combinations, product

import numpy as np

from benchmarks.plain import Plain, joined


def random_plain(seed, subscribers=4, *, actions=5, limits=3, with_minimums=True):
    """Return a problem of few distinct numbers, so that ties happen; some pairs use no limit."""
    rng = np.random.default_rng(seed)
    kinds = [rng.integers(0, n, actions).astype(np.int32) for n in (2, 2, 3)]
    counts = rng.integers(0, actions + 1, subscribers)
    action = [np.sort(rng.permutation(actions)[:c]) for c in counts]
    pairs = int(counts.sum())
    used = rng.random((pairs, limits)) < 0.6
    amount = rng.choice([0.25, 0.5, 1.0, 1.5], int(used.sum()))
    limit = rng.choice([0.0, 0.75, 1.0, 2.5, 4.0], limits)
    row = np.nonzero(used)[1].astype(np.int32)
    if with_minimums and limits:
        limit[0] = -rng.choice([0.25, 0.5])
        amount[row == 0] *= -1
    return Plain(
        joined(counts), np.concatenate([*action, []]).astype(np.int32),
        rng.choice([-0.5, 0.0, 0.5, 1.0, 1.25, 3.0], pairs), joined(used.sum(axis=1)), row, amount,
        limit, rng.choice([0, 1, 2, 3], subscribers).astype(np.uint8),
        kinds[0], rng.choice([0, 1, 2, 2], (2, subscribers)).astype(np.uint8),
        kinds[1], rng.choice([0, 1, 1, 2], (2, subscribers)).astype(np.uint8),
        kinds[2], -2, -2, 0.5, 0.25,
    )  # fmt: skip


def bundles(plain, s):
    """Return all allowed bundles of a subscriber: tuples of pairs."""
    pairs = range(int(plain.indptr[s]), int(plain.indptr[s + 1]))
    return [
        bundle
        for size in range(int(plain.most[s]) + 1)
        for bundle in combinations(pairs, size)
        if is_allowed(plain, s, bundle)
    ]


def is_allowed(plain, s, bundle):
    actions = [int(plain.action[n]) for n in bundle]
    offers = [int(plain.offer[a]) for a in actions]
    return (
        len(bundle) <= plain.most[s]
        and len(set(offers)) == len(offers)
        and all(
            sum(kind[a] == g for a in actions) <= caps[g, s]
            for kind, caps in (
                (plain.category, plain.category_most),
                (plain.channel, plain.channel_most),
            )
            for g in range(len(caps))
        )
    )


def worth(plain, pairs):
    """Return the value and [K] uses of some pairs, in their units."""
    uses = [Fraction(0)] * len(plain.limit)
    for n in pairs:
        for m in range(plain.use_indptr[n], plain.use_indptr[n + 1]):
            uses[plain.use_row[m]] += Fraction(float(plain.use_amount[m]))
    return sum((Fraction(float(plain.value[n])) for n in pairs), Fraction(0)), uses


def optimum(plain):
    """Return the most money that whole bundles within all limits are worth, or None."""
    best = None
    for choice in product(*(bundles(plain, s) for s in range(plain.subscribers))):
        value, uses = worth(plain, [n for bundle in choice for n in bundle])
        if all(u <= b for u, b in zip(uses, plain.limit, strict=True)):
            best = value if best is None else max(best, value)
    return None if best is None else float(best) * plain.value_unit


def pairs_of(chosen):
    return [int(n) for n in np.flatnonzero(chosen)]
