"""The profile likelihood of a slope within strata: compiled loops in a fixed order."""

from typing import Any

import numpy as np
from numba import njit

from kernels.exponential import exponential
from kernels.logarithm import logarithm_1p

TURNS, CLOSE = 200, 1e-12  # of a root: most steps, and where it ends


@njit(cache=True)
def _sigmoid(x: float) -> float:
    if x >= 0.0:
        upper: float = 1.0 / (1.0 + exponential(-x))
        return upper
    lower: float = exponential(x) / (1.0 + exponential(x))
    return lower


@njit(cache=True)
def _log_sigmoid(x: float) -> float:
    found: float = min(x, 0.0) - logarithm_1p(exponential(-abs(x)))
    return found


@njit(cache=True)
def averaged(intercept: Any, weight: Any, slope: float, state: Any) -> Any:
    """Return [n] success at states, the strata's weighted sum."""
    found = np.zeros(state.size)
    for i in range(state.size):
        for g in range(intercept.size):
            found[i] += weight[g] * _sigmoid(intercept[g] - slope * state[i])
    return found


@njit(cache=True)
def profile(
    first: Any, state: Any, trials: Any, successes: Any, slope: float, alpha: Any
) -> tuple[float, float, float]:
    """Return slope, curvature and height of the profile likelihood; fill in the intercepts.

    Args:
        first: [G + 1] int64, where each stratum's cells begin.
        state: [n] float64, of a cell.
        trials: [n] float64, its contacts.
        successes: [n] float64; of a stratum neither none nor all contacts.
        slope: by which log odds of success fall with a unit of the state.
        alpha: [G] float64, receives the intercepts.
    """
    score = information = likelihood = 0.0
    for g in range(alpha.size):
        wins = total = 0.0
        least, most = np.inf, -np.inf
        for i in range(first[g], first[g + 1]):
            wins, total = wins + successes[i], total + trials[i]
            least, most = min(least, slope * state[i]), max(most, slope * state[i])
        lost = total - wins
        level = logarithm_1p(max(wins, lost) / min(wins, lost) - 1.0)
        level = level if wins >= lost else -level
        low, high = level + least, level + most
        a = 0.5 * (low + high)
        for _ in range(TURNS):  # so many successes are expected as there were: by Newton's method
            expected = bend = 0.0
            for i in range(first[g], first[g + 1]):
                p = _sigmoid(a - slope * state[i])
                expected, bend = expected + trials[i] * p, bend + trials[i] * p * (1.0 - p)
            low, high = (a, high) if expected < wins else (low, a)
            then = a + (wins - expected) / bend
            if not low <= then <= high:
                then = 0.5 * (low + high)
            if abs(then - a) <= CLOSE:
                break
            a = then
        alpha[g] = a
        bend = cross = square = 0.0
        for i in range(first[g], first[g + 1]):
            p = _sigmoid(a - slope * state[i])
            v = trials[i] * p * (1.0 - p)
            bend, cross, square = bend + v, cross + v * state[i], square + v * state[i] * state[i]
            score += state[i] * (trials[i] * p - successes[i])
            likelihood += successes[i] * _log_sigmoid(a - slope * state[i])
            likelihood += (trials[i] - successes[i]) * _log_sigmoid(slope * state[i] - a)
        information += square - cross * cross / bend
    return score, information, likelihood
