"""How far prices from a sample of listed pairs scatter, and with them the surpluses.

As :mod:`engine.scatter`, where every pair has uses of its own: an action moves as its pairs do on
average. Compiled loops in a fixed order, so that any machine finds the same subscribers near.
"""

from typing import Any

import numpy as np
from numba import njit

from engine.pair_block import PairBlock
from engine.scatter import invert, product


@njit(cache=True)
def _add_scatter(lists: Any, chosen: Any, step: Any, out: Any) -> None:
    """Add up u u' over the chosen pairs, u being the use of one."""
    indptr, action, use_first, row, amount = lists[1], lists[2], lists[4], lists[5], lists[6]
    for s in range(indptr.size - 1):
        for n in range(indptr[s], indptr[s + 1]):
            is_chosen = False
            for i in range(chosen.shape[0]):
                is_chosen |= chosen[i, s] == action[n]
            if not is_chosen:
                continue
            for e in range(use_first[n], use_first[n + 1]):
                u = np.float64(amount[e]) * step[row[e]]
                for f in range(use_first[n], use_first[n + 1]):
                    out[row[e], row[f]] += u * (np.float64(amount[f]) * step[row[f]])


@njit(cache=True)
def _add_squares(lists: Any, step: Any, spread: Any, centre: Any, squares: Any, count: Any) -> None:
    """Add up E[((u - centre) . move)^2] over each action's pairs; the first is no action's."""
    action, use_first, row, amount = lists[2], lists[4], lists[5], lists[6]
    pull = np.zeros(centre.size)
    whole = 0.0
    for k in range(centre.size):
        for j in range(centre.size):
            pull[k] += spread[k, j] * centre[j]
        whole += centre[k] * pull[k]
    squares[0], count[0] = whole, 1
    for n in range(action.size):
        square = whole
        for e in range(use_first[n], use_first[n + 1]):
            u = np.float64(amount[e]) * step[row[e]]
            square -= 2.0 * u * pull[row[e]]
            for f in range(use_first[n], use_first[n + 1]):
                square += u * spread[row[e], row[f]] * (np.float64(amount[f]) * step[row[f]])
        squares[1 + action[n]] += max(square, 0.0)
        count[1 + action[n]] += 1


def spread_of(block: PairBlock, chosen: Any, step: Any, bend: tuple[Any, Any]) -> Any:
    """Return [K, K] float64, the covariance of a sample's prices: H^-1 C H^-1.

    Args:
        block: the sample on the host, in the order of its keys.
        chosen: [Q, S] its bundles, whose uses have covariance C.
        step: [K] float64, what a whole unit of each constraint counts.
        bend: [K, K] float64, the dual's curvature H; [K] bool, the constraints it counts for.
    """
    curvature, is_free = bend
    covariance, inverse = np.zeros((2, len(step), len(step)))
    _add_scatter(block.arrays(), chosen, step, covariance)
    invert(curvature, np.flatnonzero(is_free), inverse)
    return product(product(inverse, covariance), inverse)


def deviations(block: PairBlock, step: Any, spread: Any, centre: Any, actions: int) -> Any:
    """Return [1 + A] float64, money, how far surpluses move: of no action, and of each action.

    Args:
        block: as in :func:`spread_of`.
        step: as in :func:`spread_of`.
        spread: [K, K] float64, the covariance of prices.
        centre: [K] float64, what a contact uses on average.
        actions: A.
    """
    squares, pairs = np.zeros((2, 1 + actions))
    _add_squares(block.arrays(), step, spread, centre, squares, pairs)
    return np.sqrt(squares / np.maximum(pairs, 1.0))


def against_others(move: Any, held: Any) -> Any:
    """Return [1 + A] how far surpluses move against others, which move as contacts do.

    Args:
        move: [1 + A] float64, money, how far the surplus of no action and of each action moves.
        held: [1 + A] whole numbers, contacts.
    """
    others = (held * move * move).sum() / max(1, int(held.sum()))
    return np.sqrt(move * move + others)
