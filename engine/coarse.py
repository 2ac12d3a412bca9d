"""The same problem with limits of several days taken together: prices from coarse to fine.

Where a limit holds on every day by itself, the days' prices are near each other's: a subscriber
would rather move to another day than go without, so they move together by much and against each
other by little. Newton's method takes small steps then. So the dual is minimised first with one
limit over all days, then with one over each half of them, and so on: each time the prices found
before are where the search begins, and only the difference within a half is to be found.

A limit over several days is implied by those of the days, so the coarse problem is a relaxation.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from engine.limits import MOST_AMOUNT
from engine.problem import Problem


def coarser(problem: Problem) -> Iterator[tuple[Problem, Any]]:
    """Yield the problem with limits over ever fewer days, and where its limits have gone.

    Yields:
        the problem with fewer limits; [K] int64, for each limit of ``problem`` the one that it is
        part of. Nothing if no limit holds by days.
    """
    days = 1 + max((row.day for row in problem.rows if row.series is not None), default=0)
    width, before = 1 << (days - 1).bit_length(), 0
    while width > 1:
        place = _places(problem, width)
        count = len(np.unique(place))
        if before < count < len(place):
            yield _merged(problem, place), place
        width, before = width // 2, count


def _places(problem: Problem, width: int) -> Any:
    """Return [K] int64, the number of the limit that each is part of when so many days are one.

    Limits of several terms, or of another scope or penalty than the first of their series, stay.
    """
    terms = problem.terms.tolist()
    found: dict[Any, int] = {}
    places = []
    for k, row in enumerate(problem.rows):
        kind: Any = k
        if row.series is not None and row.quotient is None and terms.count(k) == 1:
            scope = problem.in_scope[terms.index(k)].tobytes()
            penalty = None if problem.penalty is None else float(problem.penalty[k])
            kind = (row.series, row.is_minimum, row.day // width, scope, penalty)
        places.append(found.setdefault(kind, len(found)))
    return np.array(places, np.int64)


def _merged(problem: Problem, place: Any) -> Problem:
    first = np.unique(place, return_index=True)[1]
    terms = problem.terms
    kept = np.flatnonzero(np.isin(terms, first))  # of each limit its terms, in order
    target = np.searchsorted(terms[kept], first)[place]  # where a merged limit's only term is
    use = {}
    for name in ("use_fixed", "use_accept"):
        whole = getattr(problem, name)
        out = whole[kept].copy()
        for k in np.setdiff1d(np.arange(len(place)), first).tolist():
            out[target[k]] += whole[int(np.searchsorted(terms, k))]
        use[name] = out
    sums = [0] * len(first)
    for k, amount in zip(place.tolist(), problem.limit.tolist(), strict=True):
        sums[k] += amount
    limit = np.array([max(-MOST_AMOUNT, min(MOST_AMOUNT, amount)) for amount in sums], np.int64)
    return replace(
        problem, rows=[problem.rows[k] for k in first.tolist()], limit=limit,
        in_scope=problem.in_scope[kept],
        penalty=None if problem.penalty is None else problem.penalty[first],
        term_of=None if problem.term_of is None else place[terms[kept]], **use,
    )  # fmt: skip
