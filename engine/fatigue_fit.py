"""What a contact costs in annoyance, estimated from outcomes: how success falls with a state.

Within a stratum g of contacts by one channel c, success falls with the state f at the contact:

    logit P(success) = alpha_g - slope_c f

f is what the contacts before have left: their number, or a ``decayed_sum`` of them, which recovers
with the days since. Intercepts are nuisances: for any slope each one is solved for, and the profile
likelihood is climbed in the slope alone. Its curvature gives the standard error. Slopes of channels
are drawn to their mean by how uncertain they are and how far channels differ (random effects).

A contact costs what later ones lose by it. The j-th later one comes with probability chance^j,
finds the state g_j that it would find anyway, and recovery^j more:

    cost(f) = sum_j chance^j (P(g_j) - P(g_j + recovery^j)),  g_1 = recovery f,
    g_(j+1) = recovery (g_j + 1)

in shares of a success's value; P is the success of a contact averaged over the strata. ``chance``
holds the discount too. Later contacts are held to be made as before, so it is what annoyance costs
a policy that does not react; one that does loses less.

Who is contacted often was chosen so, and who accepts is not contacted again: those left at a high
state are harder to win whatever was done to them. Strata (segment, offer, earlier outcome, month)
compare like with like; what they do not hold is counted as fatigue. Only contacts drawn at random
tell them apart.

Source:
    Cox and Snell, "Analysis of Binary Data", 1989 (logistic strata); Murphy and van der Vaart, "On
    Profile Likelihood", JASA 95, 2000; DerSimonian and Laird, "Meta-Analysis in Clinical Trials",
    Controlled Clinical Trials 7, 1986; Morris, "Parametric Empirical Bayes Inference", JASA 78,
    1983; Hohnhold, O'Brien and Tang, "Focusing on the Long-term", KDD 2015 (what later impressions
    lose by today's).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import numpy as np

from engine.errors import DataError
from engine.fatigue_profile import CLOSE, TURNS, averaged, profile
from engine.limits import MICRO, micro

NORMAL_95 = 1.959963984540054
FEWEST = 10  # successes that tell of the slope, for a channel to have one of its own
STEEPEST = 1e4  # over the range of the state: beyond it there is no finite slope
LEAST_CHANCE = 1e-12  # of a later contact that is still counted


@dataclass(frozen=True, eq=False)
class Curve:
    """How success by one channel falls with the state."""

    slope: float  # per unit of the state, drawn to the mean of the channels
    error: float  # its standard error
    own: float | None  # the channel's own slope; None: too few successes tell of it
    own_error: float | None
    contacts: int
    successes: int
    log_likelihood: float  # of the strata that tell of the slope, at ``slope``
    stratum: Any  # [G] these strata
    intercept: Any  # [G] float64 of each
    weight: Any  # [G] float64, share of the channel's contacts; the rest always fails or succeeds
    always: float  # share of contacts in strata where all succeed

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95 % confidence interval of the slope."""
        return self.slope - NORMAL_95 * self.error, self.slope + NORMAL_95 * self.error

    def success(self, state: Any) -> Any:
        """Return [n] the success of a contact at states [n], averaged over the strata."""
        state = np.asarray(state, np.float64)
        return self.always + averaged(self.intercept, self.weight, self.slope, state)

    def cost(self, state: Any, *, chance: float, recovery: float = 1.0) -> Any:
        """Return [n] what a contact at states [n] costs, in shares of a success's value, >= 0.

        Where success does not fall with the state it costs nothing.

        Args:
            state: [n] float64, >= 0, before the contact.
            chance: in [0, 1), that another contact follows it, times the discount until then.
            recovery: in (0, 1], share of the state left at the next contact.
        """
        if not (0 <= chance < 1 and 0 < recovery <= 1):
            raise ValueError(f"chance: is in [0, 1), recovery in (0, 1], got {chance}, {recovery}")
        found, state = np.zeros(np.shape(state)), np.asarray(state, np.float64) * recovery
        comes, left = chance, recovery
        while comes > LEAST_CHANCE and self.slope > 0.0:
            found += comes * (self.success(state) - self.success(state + left))
            state, comes, left = recovery * (state + 1.0), comes * chance, left * recovery
        return found


@dataclass(frozen=True, eq=False)
class Cells:
    """Contacts of one channel, counted by stratum and state, ordered by both."""

    stratum: Any  # [G]
    first: Any  # [G + 1] int64, where each begins
    state: Any  # [n] float64
    trials: Any  # [n] float64
    successes: Any  # [n] float64


def fit(state: Any, success: Any, channel: Any, stratum: Any) -> Mapping[str, Curve]:
    """Return the curve of each channel, by name in their order.

    Args:
        state: [n] float64, >= 0, before each contact.
        success: [n] bool.
        channel: [n] text.
        stratum: [n] any values that can be ordered, of the channel's contacts; best with hundreds
            of contacts each, as many small ones bend the slope away from 0.

    Raises:
        DataError: states that are no numbers >= 0; no channel has a slope: too few successes share
            a stratum with failures at another state, or a state parts them.
    """
    state, success = np.asarray(state, np.float64), np.asarray(success, bool)
    if not ((state >= 0) & np.isfinite(state)).all():
        raise DataError("fatigue: a state is no number >= 0; leave contacts without one out")
    channel, stratum = np.asarray(channel), np.asarray(stratum)
    rows = {name: channel == name for name in np.unique(channel).tolist()}
    cells = {name: _cells(state[r], success[r], stratum[r]) for name, r in rows.items()}
    own = {name: _slope(each) for name, each in cells.items() if _tells(each)}
    if not own:
        raise DataError(
            f"fatigue: no channel has {FEWEST} successes in strata that also have failures at "
            "other states; take coarser strata or more outcomes"
        )
    mean, mean_error, between = _random_effects(list(own.values()))
    curves = {}
    for name, r in rows.items():
        slope, error = mean, sqrt(mean_error * mean_error + between)
        if name in own and between > 0.0:
            mine, weight = own[name][0], 1.0 / (own[name][1] * own[name][1])
            precision = weight + 1.0 / between
            slope = (mine * weight + mean / between) / precision
            of_mean = 1.0 / (between * precision)  # the mean's part, which is uncertain too
            error = sqrt(1.0 / precision + of_mean * mean_error * of_mean * mean_error)
        counts = int(r.sum()), int(success[r].sum())
        curve = _curve(cells[name], (slope, error), own.get(name, (None, None)), counts)
        curves[name] = replace(curve, always=_always(success[r], stratum[r]))
    return curves


def item(
    curves: Mapping[str, Curve], of: str, borders: Sequence[float], *, value: float, chance: float,
    recovery: float = 1.0,
) -> dict[str, Any]:  # fmt: skip
    """Return an item of a job's ``fatigue``: each level costs what a contact does where it begins.

    Args:
        curves: by channel, from :func:`fit`.
        of: the state's expression.
        borders: ascending, above 0; the first level begins at 0.
        value: of a success, money.
        chance: as in :meth:`Curve.cost`.
        recovery: as in ``Curve.cost``.
    """
    states = [0.0, *borders]
    if any(a >= b for a, b in zip(states, states[1:], strict=False)):
        raise ValueError(f"borders: must ascend from above 0, got {list(borders)}")
    channels = {}
    for name, curve in curves.items():
        cost = value * curve.cost(states, chance=chance, recovery=recovery)
        channels[name] = [micro(each) / MICRO for each in cost.tolist()]
    return {"of": of, "borders": [float(border) for border in borders], "channels": channels}


def _cells(state: Any, success: Any, stratum: Any) -> Cells:
    """Count contacts, strata in which all fail or all succeed left out: they tell of no slope."""
    names, group = np.unique(stratum, return_inverse=True)
    group = group.reshape(-1)
    trials, wins = np.bincount(group), np.bincount(group, success)
    mixed = ((wins > 0) & (wins < trials))[group]
    group, state, success = group[mixed], state[mixed], success[mixed]
    pairs, place = np.unique(np.stack([group, state]), axis=1, return_inverse=True)
    place = place.reshape(-1)
    count = pairs.shape[1]
    starts = np.flatnonzero(np.diff(pairs[0], prepend=-1.0))
    return Cells(
        names[pairs[0, starts].astype(np.int64)],
        np.append(starts, count).astype(np.int64), np.ascontiguousarray(pairs[1]),
        np.bincount(place, minlength=count).astype(np.float64),
        np.bincount(place, success, minlength=count),
    )  # fmt: skip


def _always(success: Any, stratum: Any) -> float:
    """Return the share of contacts in strata where all succeed."""
    group = np.unique(stratum, return_inverse=True)[1].reshape(-1)
    trials = np.bincount(group)
    return float(trials[np.bincount(group, success) == trials].sum() / max(1, len(group)))


def _tells(cells: Cells) -> bool:
    """Return whether enough successes are in strata with more than one state."""
    wins = 0.0
    for begin, end in zip(cells.first[:-1], cells.first[1:], strict=True):
        wins += cells.successes[begin:end].sum() if end - begin > 1 else 0.0
    return wins >= FEWEST


def _slope(cells: Cells) -> tuple[float, float]:
    """Return the slope of most likelihood and its standard error.

    Raises:
        DataError: there is none, as a state parts successes from failures.
    """
    alpha, unit = np.zeros(len(cells.first) - 1), float(np.ptp(cells.state))
    low, high, far = 0.0, 0.0, 1.0 / unit

    def score(slope: float) -> tuple[float, float]:
        found = profile(cells.first, cells.state, cells.trials, cells.successes, slope, alpha)
        return found[0], found[1]

    side = 1.0 if score(0.0)[0] > 0 else -1.0
    while score(side * far)[0] * side > 0:
        low, far = far, 2.0 * far
        if far * unit > STEEPEST:
            raise DataError("fatigue: a state parts successes from failures; there is no slope")
    low, high = sorted((side * low, side * far))  # the score falls with the slope
    slope = 0.5 * (low + high)
    for _ in range(TURNS):
        rise, information = score(slope)
        low, high = (slope, high) if rise > 0 else (low, slope)
        step = rise / information
        following = slope + step if low < slope + step < high else 0.5 * (low + high)
        if abs(following - slope) * unit <= CLOSE:
            break
        slope = following
    return slope, 1.0 / sqrt(score(slope)[1])


def _curve(
    cells: Cells, slope: tuple[float, float], own: tuple[Any, Any], counts: tuple[int, int]
) -> Curve:
    contacts, successes = counts
    alpha = np.zeros(len(cells.first) - 1)
    table = (cells.first, cells.state, cells.trials, cells.successes)
    likelihood = profile(*table, slope[0], alpha)[2]
    weight = np.add.reduceat(cells.trials, cells.first[:-1]) if len(alpha) else alpha
    share = weight / max(1, contacts)
    return Curve(
        *slope, *own, contacts, successes, likelihood, cells.stratum, alpha, share, 0.0
    )  # fmt: skip


def _random_effects(found: list[tuple[float, float]]) -> tuple[float, float, float]:
    """Return the mean slope, its standard error and the variance between channels."""
    weights = [1.0 / (error * error) for _, error in found]
    mean = sum(w * b for w, (b, _) in zip(weights, found, strict=True)) / sum(weights)
    spread = sum(w * (b - mean) * (b - mean) for w, (b, _) in zip(weights, found, strict=True))
    rest = sum(weights) - sum(w * w for w in weights) / sum(weights)
    between = max(0.0, (spread - (len(found) - 1)) / rest) if len(found) > 1 else 0.0
    weights = [1.0 / (error * error + between) for _, error in found]
    mean = sum(w * b for w, (b, _) in zip(weights, found, strict=True)) / sum(weights)
    return mean, 1.0 / sqrt(sum(weights)), between
