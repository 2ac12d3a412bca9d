"""Allocation problems of the literature, drawn from seeds, as plain pair lists.

``knapsack-sparse`` and ``knapsack-dense``: in the manner of Zhang, Qi, Hua, Yang, "Solving
Billion-Scale Knapsack Problems" (arXiv 2002.00352). Every subscriber is offered all M items, worth
U[0, 1]. Sparse: K = M, item j uses resource j only, U[0, 1] of it. Dense: every item uses all K
resources, each U[0, 1] or U[0, 10], as likely. Hierarchical caps [2, 2, 3]: at most 2 of the first
half of the items, 2 of the second, 3 in all. Limits are scaled with N, M and K so that they bind;
the scale is our own: TIGHTNESS of what bundles that fill the caps use on average, TIGHTNESS * 3 N
E[b], and for the sparse ones a K-th of that. Blocks of subscribers have streams of their own.

``v1``: matching. Of J actions, each with a capacity, a subscriber gets one at most.

    Z, s ~ logN(0, 1)   v ~ logN(-4, .75)   u ~ logN(0, .5)
    degree_j ~ Poisson(I sparsity J Z_j / sum Z), so many distinct subscribers at random
    c = min(v_j u_i logN(0, .5), .5)     a = .05 s_j logN(0, .5)
    b_j = U[.3, 1] (.5 load_j + .05 sum_i a_ij),  load_j: uses if all took their largest c

Structure and c come from default_rng(42), in the order Z, s, v, u, degrees, then action by action
its subscribers and their noise; a and b from default_rng(7), pairs in the order of subscribers.
100,000 x 50 has 985,499 pairs, and the optimum of its linear program is 8864.604385.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.plain import Plain, below_on_grid, joined, on_grid

VALUE_GRID, USE_GRID = -40, -32
TIGHTNESS = 0.25
CAPS = (2, 2, 3)  # of the first half, of the second half, in all
WIDE = 10.0  # the wider range of a dense use
BLOCK = 1 << 16  # subscribers drawn from one stream
SPARSITY = 0.2
MOST_VALUE = 0.5


def knapsack_sparse(subscribers: int, actions: int, constraints: int, *, seed: int = 1) -> Plain:
    """Draw a sparse knapsack.

    Raises:
        ValueError: there is not one resource for each item.
    """
    if constraints != actions:
        raise ValueError(
            f"constraints: {constraints}; a sparse knapsack has {actions}, one an item"
        )
    rng = [np.random.default_rng([seed, 0, b]) for b in range(-(-subscribers // BLOCK))]
    value, use = (_uniform(rng, subscribers, actions) for _ in range(2))
    row = np.tile(np.arange(actions, dtype=np.int32), subscribers)
    limit = TIGHTNESS * CAPS[2] * subscribers * 0.5 / constraints
    return _knapsack(value, row, use, (subscribers, actions, constraints), limit)


def knapsack_dense(subscribers: int, actions: int, constraints: int, *, seed: int = 1) -> Plain:
    """Draw a dense knapsack."""
    rng = [np.random.default_rng([seed, 1, b]) for b in range(-(-subscribers // BLOCK))]
    value = _uniform(rng, subscribers, actions)
    use = _uniform(rng, subscribers, actions * constraints)
    use[_uniform(rng, subscribers, actions * constraints) < 0.5] *= WIDE
    row = np.tile(np.arange(constraints, dtype=np.int32), subscribers * actions)
    limit = TIGHTNESS * CAPS[2] * subscribers * 0.25 * (1 + WIDE)
    return _knapsack(value, row, use, (subscribers, actions, constraints), limit)


def _uniform(rngs: list[Any], subscribers: int, each: int) -> Any:
    """Draw so many numbers for each subscriber, block by block."""
    out = np.empty(subscribers * each)
    for b, rng in enumerate(rngs):
        rng.random(out=out[b * BLOCK * each : (b + 1) * BLOCK * each])
    return out


def _knapsack(value: Any, row: Any, use: Any, sizes: tuple[int, int, int], limit: float) -> Plain:
    subscribers, actions, constraints = sizes
    action = np.arange(actions, dtype=np.int32)
    caps = np.array(CAPS, np.uint8)[:, None].repeat(subscribers, axis=1)
    pairs = subscribers * actions
    return Plain(
        np.arange(subscribers + 1) * actions, np.tile(action, subscribers),
        on_grid(value, VALUE_GRID), np.arange(pairs + 1) * (len(use) // max(1, pairs)), row,
        on_grid(use, USE_GRID), below_on_grid(np.full(constraints, limit), USE_GRID),
        caps[2].copy(), (action >= (actions + 1) // 2).astype(np.int32), caps[:2].copy(),
        np.zeros(actions, np.int32), caps[2:].copy(), action, VALUE_GRID, USE_GRID,
    )  # fmt: skip


def matching(
    subscribers: int, actions: int, constraints: int, *, seed: int = 42, sparsity: float = SPARSITY
) -> Plain:
    """Draw a matching problem.

    Args:
        subscribers: I.
        actions: J.
        constraints: J too.
        seed: of the structure and of c; 42 is the published instance.
        sparsity: share of all pairs that are open.

    Raises:
        ValueError: there is not one limit for each action.
    """
    if constraints != actions:
        raise ValueError(f"constraints: {constraints}; matching has {actions}, one an action")
    rng = np.random.default_rng(seed)
    breadth, scale = rng.lognormal(0.0, 1.0, actions), rng.lognormal(0.0, 1.0, actions)
    worth, liking = rng.lognormal(-4.0, 0.75, actions), rng.lognormal(0.0, 0.5, subscribers)
    expected = breadth / breadth.sum() * (sparsity * actions) * subscribers
    degree = np.minimum(rng.poisson(expected), subscribers)
    owners, values = [], []
    for j, count in enumerate(degree):
        owners.append(rng.choice(subscribers, size=int(count), replace=False))
        noise = rng.lognormal(0.0, 0.5, int(count))
        values.append(np.minimum(worth[j] * liking[owners[j]] * noise, MOST_VALUE))
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    owner = owner[order]
    action = np.repeat(np.arange(actions, dtype=np.int32), degree)[order]
    value = np.concatenate(values)[order]
    rng = np.random.default_rng(7)
    use = 0.05 * scale[action] * rng.lognormal(0.0, 0.5, len(action))
    largest = np.lexsort((-value, owner))[np.flatnonzero(np.diff(owner, prepend=-1))]
    load = np.bincount(action[largest], use[largest], actions)
    limit = rng.uniform(0.3, 1.0, actions) * (0.5 * load + 0.05 * np.bincount(action, use, actions))
    each = np.arange(actions, dtype=np.int32)
    one = np.ones((1, subscribers), np.uint8)
    return Plain(
        joined(np.bincount(owner, minlength=subscribers)), action, on_grid(value, VALUE_GRID),
        np.arange(len(action) + 1), action.copy(), on_grid(use, USE_GRID),
        below_on_grid(limit, USE_GRID), one[0].copy(), np.zeros(actions, np.int32), one,
        np.zeros(actions, np.int32), one.copy(), each, VALUE_GRID, USE_GRID,
    )  # fmt: skip


GENERATORS: dict[str, Callable[..., Plain]] = {
    "knapsack-sparse": knapsack_sparse, "knapsack-dense": knapsack_dense, "v1": matching,
}  # fmt: skip
