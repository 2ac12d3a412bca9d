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

FEWEST_TIED = 2  # days of equal worth, on average


def coarser(problem: Problem) -> Iterator[tuple[Problem, Any]]:
    """Yield the problem with limits over ever fewer days, and where its limits have gone.

    Yields:
        the problem with fewer limits; [K] int64, for each limit of ``problem`` the one that it is
        part of. Nothing if no limit holds by days.
    """
    days = 1 + max((row.day for row in problem.rows if row.series is not None), default=0)
    width, before = 1 << (days - 1).bit_length(), 0
    while width > 1:
        place = _places(problem, np.arange(days) // width)
        count = len(np.unique(place))
        if before < count < len(place):
            yield _merged(problem, place), place
        width, before = width // 2, count


def tied(problem: Problem) -> tuple[Problem, Any] | None:
    """Return the problem with limits over all days that tie, as one of :func:`coarser`, or None.

    Its limits may be the same.
    """
    number = tied_days(problem)
    if number is None:
        return None
    place = _places(problem, number)
    return _merged(problem, place), place


def tied_days(problem: Problem) -> Any:
    """Return [N] int, equal for days that tie; None: few do.

    Days tie if every contact is worth and uses as much on each, but for the limits that hold by
    days: who may have a contact on several of them has no reason to prefer one.
    """
    days = problem.rules.days
    if days == 1:
        return None
    kinds = _kinds(problem)
    by_days = np.array([kind is not None for kind in kinds], bool)[problem.terms]
    alike = [problem.value_fixed[None], problem.value_accept[None]]
    alike += [use[~by_days] for use in (problem.use_fixed, problem.use_accept)]
    table = np.concatenate(alike).reshape(-1, days)
    number = np.unique(table, axis=1, return_inverse=True)[1].reshape(-1)
    return number if FEWEST_TIED * len(np.unique(number)) <= days else None


def _places(problem: Problem, together: Any) -> Any:
    """Return [K] int64, the number of the limit that each is part of when some days are one.

    Args:
        problem: the problem.
        together: [N] int, equal for days that are one.
    """
    found: dict[Any, int] = {}
    own = zip(_kinds(problem), problem.rows, strict=True)
    places = [
        found.setdefault(k if kind is None else (*kind, int(together[row.day])), len(found))
        for k, (kind, row) in enumerate(own)
    ]
    return np.array(places, np.int64)


def _kinds(problem: Problem) -> list[tuple[Any, ...] | None]:
    """Return [K] what limits have in common that may be one over several days; None: it stays.

    Limits of several terms, or of another scope or penalty than the first of their series, stay.
    """
    terms = problem.terms.tolist()
    kinds: list[tuple[Any, ...] | None] = []
    for k, row in enumerate(problem.rows):
        kind: tuple[Any, ...] | None = None
        if row.series is not None and row.quotient is None and terms.count(k) == 1:
            scope = problem.in_scope[terms.index(k)].tobytes()
            penalty = None if problem.penalty is None else float(problem.penalty[k])
            kind = (row.series, row.is_minimum, scope, penalty)
        kinds.append(kind)
    return kinds


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
