"""Prior response rates from the whole base: the beta-binomial by the method of moments.

Subscriber i of a group (a channel or a category) has n_i contacts and k_i accepts (at most n_i
count). With N and K their sums over the M contacted subscribers and p = K / N, Kleinman's estimate
of the correlation of the contacts of one subscriber, each weighed by its contacts, is

    rho = (sum k_i ** 2 / n_i - K ** 2 / N - p (1 - p) (M - 1)) /
          (p (1 - p) (N - sum n_i ** 2 / N - (M - 1)))

and the prior is Beta(p s, (1 - p) s) with the strength s = 1 / rho - 1, held within ``STRENGTHS``.

Source: Kleinman, "Proportions with Extraneous Variance: Single and Independent Samples", Journal of
the American Statistical Association 68(341), 1973.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from kernels import backend

STRENGTHS = (0.1, 1_000.0)
"""Least and most strength, contacts: rates all 0 or 1 have none, equal rates would have any."""
FEWEST = 30  # contacted subscribers, of whom some have several contacts, that a fit needs
PLACE = 2**31  # contacts and accepts share a 64-bit number


@dataclass(frozen=True)
class Prior:
    """The prior of one group."""

    rate: float  # accepts per contact of a subscriber without history
    strength: float  # its weight, contacts
    subscribers: int  # contacted in this group
    source: Literal["group", "all groups", "settings"]  # what it was fitted to


@dataclass(frozen=True)
class Priors:
    """The priors of a feature, by group: channel or category."""

    groups: Mapping[str, Prior]
    kind: Literal["priors"] = "priors"


def counted(accepts: Any, contacts: Any) -> Counter[tuple[int, int]]:
    """Count a partition's subscribers by (contacts, accepts), those with contacts.

    Args:
        accepts: [S] float64, accepts in the window; more than the contacts count as those.
        contacts: [S] float64, contacts in the window.
    """
    library = backend.library(contacts)
    some = contacts > 0.0
    known = library.minimum(accepts, contacts)[some]
    pairs = contacts[some].astype(np.int64) * PLACE + known.astype(np.int64)
    pair, number = (backend.to_cpu(a).tolist() for a in library.unique(pairs, return_counts=True))
    return Counter({divmod(both, PLACE): n for both, n in zip(pair, number, strict=True)})


def fit(
    parts: Sequence[Mapping[str, Counter[tuple[int, int]]]], rate: float, strength: float
) -> Priors:
    """Return the prior of every group from the counts of the partitions.

    A group with fewer than ``FEWEST`` contacted subscribers, none of them contacted twice, or
    with no accept or nothing but accepts has that of all groups together; if they too have too
    little, it has the rate and strength of the settings.

    Args:
        parts: counts of each partition, by group.
        rate: the settings' rate.
        strength: the settings' strength, contacts.
    """
    whole: dict[str, Counter[tuple[int, int]]] = {name: Counter() for name in parts[0]}
    for part in parts:
        for name, counts in part.items():
            whole[name].update(counts)
    together: Counter[tuple[int, int]] = Counter()
    for counts in whole.values():
        together.update(counts)
    pooled = _moments(together)
    found = {}
    for name, counts in whole.items():
        own, people = _moments(counts), counts.total()
        if own is not None:
            found[name] = Prior(*own, people, "group")
        elif pooled is not None:
            found[name] = Prior(*pooled, people, "all groups")
        else:
            found[name] = Prior(rate, strength, people, "settings")
    return Priors(found)


def smoothed(priors: Priors, accepts: Any, contacts: Any, *, group: str) -> Any:
    """Return the smoothed response rates of a group, [R] float64."""
    prior = priors.groups[group]
    return (accepts + prior.rate * prior.strength) / (contacts + prior.strength)


def _moments(counts: Mapping[tuple[int, int], int]) -> tuple[float, float] | None:
    """Return rate and strength; None when there is too little to tell them."""
    people = sum(counts.values())
    contacts = sum(n * number for (n, _), number in counts.items())
    accepts = sum(k * number for (_, k), number in counts.items())
    if people < FEWEST or contacts == people or accepts in (0, contacts):
        return None
    rate = accepts / contacts
    chance = rate * (1.0 - rate)
    squares = math.fsum(k * k * number / n for (n, k), number in counts.items())  # in any order
    spread = squares - accepts * accepts / contacts - chance * (people - 1)
    twice = sum(n * n * number for (n, _), number in counts.items())
    correlation = spread / (chance * (contacts - twice / contacts - (people - 1)))
    least, most = STRENGTHS
    if correlation <= 1.0 / (1.0 + most):
        return rate, most
    return rate, max(least, 1.0 / correlation - 1.0)
