"""Single-price bidding: one price for the scarcest resource, then arrival order at that price.

The scarcest resource is the one that everybody's best bundle would overrun most. Its price is
found by bisection: the least, to ``STEPS`` halvings, at which the best bundles keep its limit.
Subscribers then come at random, and each takes the bundle of most value less priced use that fits.
"""

from typing import Any

import numpy as np

from benchmarks.bundles import best_bundles, pair_surplus
from benchmarks.peers import Answer, Task
from benchmarks.peers.arrival import warm_up
from benchmarks.peers.sweep import arrival_order, sweep
from benchmarks.peers.whole import whole
from benchmarks.plain import Plain

STEPS = 30


def solve(plain: Plain, task: Task) -> Answer:
    """Find the price, then go once through the subscribers."""
    uses = whole(plain)
    warm_up(plain)
    price = np.zeros(len(plain.limit))
    best_bundles(plain, price)
    task.begin()
    k = _scarcest(plain, price)
    if k is not None:
        price[k] = _clearing(plain, k)
    surplus = np.empty(plain.pairs)
    pair_surplus(plain.value, plain.uses, price, 0, plain.pairs, surplus)
    chosen = sweep(
        plain, uses, arrival_order(plain), surplus, np.zeros(plain.pairs, bool)
    )  # fmt: skip
    prices = price * plain.value_unit / plain.use_unit
    return Answer("ENDED", "this repository", chosen, prices)


def _use(plain: Plain, price: Any) -> Any:
    chosen, _ = best_bundles(plain, price)
    entries = chosen.repeat(np.diff(plain.use_indptr))
    return np.bincount(plain.use_row[entries], plain.use_amount[entries], len(plain.limit))


def _scarcest(plain: Plain, price: Any) -> int | None:
    """Return the limit above 0 that is overrun by the largest factor, or None."""
    if not (plain.limit > 0).any():
        return None
    limit = np.where(plain.limit > 0, plain.limit, np.inf)
    factor = _use(plain, price) / limit
    k = int(factor.argmax())
    return k if factor[k] > 1 else None


def _clearing(plain: Plain, k: int) -> float:
    """Return the least price of limit k, about, at which the best bundles keep it."""
    price = np.zeros(len(plain.limit))

    def keeps(at: float) -> bool:
        price[k] = at
        return bool(_use(plain, price)[k] <= plain.limit[k])

    high = float(plain.value.max()) / float(plain.limit[k])
    while not keeps(high):
        high *= 2
    low = 0.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if keeps(middle) else (middle, high)
    return high
