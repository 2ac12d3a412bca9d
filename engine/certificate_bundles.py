"""The best bundle under any policies, by trying bundles one after the other: for the certificate.

A bundle is at most four actions. Actions are sorted by worth; a bundle grows by later ones. What
may not be together (conflicts, caps) ends a branch; what must be together (a minimum, an offer that
another needs) is asked of the whole bundle. A branch ends when its total and the worths that follow
do not beat the best. Everything is a whole number, so the best is the best.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from engine.certificate_policies import Least, Relations, Room
from engine.certificate_rules import BUNDLE, Terms

NONE = np.iinfo(np.int64).min // 4


@dataclass(frozen=True)
class Freedom:
    """What a partition's subscribers may have together. [S, ...] arrays are C-contiguous."""

    most: Any  # [S] int64
    least: Any  # [S] int64, 0 or 1: no minimum
    must: Any  # [S] bool
    left: Any  # [S, D] int64
    counted: Any  # [D, A] bool
    by_contact: Any  # [D] bool
    contact: Any  # [A] int64
    conflict: Any  # [A, A] bool
    needy: Any  # [R, A] bool
    met_by: Any  # [R, A] bool

    def arrays(self, rows: slice) -> tuple[Any, ...]:
        """Return the arrays of some of the subscribers."""
        own = (self.most[rows], self.least[rows], self.must[rows], self.left[rows])
        return (*own, self.counted, self.by_contact, self.contact, self.conflict, self.needy,
                self.met_by)  # fmt: skip


def freedom(
    terms: Terms,
    found: Sequence[Room],
    asked: Sequence[Least],
    related: Relations,
    subscribers: int,
) -> Freedom | None:
    """Return what there is beside caps in all, per channel and per category; None: nothing."""
    together = len(np.unique(related.contact)) < len(related.contact)
    caps = [room for room in found if room.policy]
    if not (
        asked or together or related.exclusive or related.requires
        or any(room.per in {"team", "offers"} for room in caps)
    ):  # fmt: skip
        return None
    most = np.full(subscribers, BUNDLE, np.int64)
    least, must = np.zeros(subscribers, np.int64), np.zeros(subscribers, bool)
    for one in asked:
        least, must = np.maximum(least, one.wanted), must | one.must
    left = np.array([room.left for room in caps], np.int64).reshape(len(caps), subscribers)
    counted = np.array([room.counted for room in caps], bool).reshape(len(caps), len(terms.offer))
    return Freedom(
        most, least, must, np.ascontiguousarray(left.T), counted,
        np.array([room.by_contact for room in caps], bool), related.contact,
        related.conflict(terms.offer), *related.needs(terms.offer),
    )  # fmt: skip


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def best_of(worth: Any, is_open: Any, free: Any) -> Any:
    """Return [S] int64 the highest worth of a bundle that is allowed.

    ``NONE`` is the answer for those who must have a bundle and can have none.

    Args:
        worth: [S, A] int64.
        is_open: [S, A] bool.
        free: from :meth:`Freedom.arrays`.
    """
    highest = np.empty(len(worth), np.int64)
    number, value = np.empty(worth.shape[1], np.int64), np.empty(worth.shape[1], np.int64)
    for s in range(len(worth)):
        most, least, must, left = free[0][s], free[1][s], free[2][s], free[3][s]
        loses = must or least > 1 or len(free[8]) > 0  # whether an action may be worth its loss
        n = 0
        for a in range(worth.shape[1]):
            if is_open[s, a] and (loses or worth[s, a] > 0):
                place = n
                while place > 0 and value[place - 1] < worth[s, a]:
                    number[place], value[place] = number[place - 1], value[place - 1]
                    place -= 1
                number[place], value[place] = a, worth[s, a]
                n += 1
        best = np.int64(NONE) if must else np.int64(0)
        highest[s] = _search(number[:n], value[:n], most, least, best, left, free)
    return highest


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _search(  # noqa: PLR0917 (arrays, as kernels take them)
    number: Any, value: Any, most: int, least: int, best: int, left: Any, free: Any
) -> Any:
    place, taken = np.zeros(BUNDLE + 1, np.int64), np.zeros(BUNDLE, np.int64)
    total = np.zeros(BUNDLE + 1, np.int64)
    depth, place[0] = 0, -1
    while depth >= 0:
        place[depth] += 1
        i = place[depth]
        is_over = i >= len(number) or depth == most
        if not is_over:
            reach = total[depth] + value[i]
            for j in range(i + 1, min(len(number), i + most - depth)):
                reach += max(value[j], 0)
            is_over = reach <= best
        if is_over:
            depth -= 1
            continue
        taken[depth] = number[i]
        if not _may_be_together(taken[: depth + 1], left, free):
            continue
        worth = total[depth] + value[i]
        if depth + 1 >= least and worth > best and _has_its_needs(taken[: depth + 1], free):
            best = worth
        depth += 1
        place[depth], total[depth] = i, worth
    return best


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _may_be_together(taken: Any, left: Any, free: Any) -> Any:
    """Whether the last of the actions may be with the others, which may be together."""
    counted, by_contact, contact, conflict = free[4], free[5], free[6], free[7]
    last = len(taken) - 1
    for i in range(last):
        if conflict[taken[i], taken[last]]:
            return False
    for d in range(len(counted)):
        if not counted[d, taken[last]]:
            continue
        count = 0
        for i in range(len(taken)):
            is_new = counted[d, taken[i]]
            for j in range(i if by_contact[d] else 0):
                if counted[d, taken[j]] and contact[taken[j]] == contact[taken[i]]:
                    is_new = False
            count += is_new
        if count > left[d]:
            return False
    return True


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _has_its_needs(taken: Any, free: Any) -> Any:
    needy, met_by = free[8], free[9]
    for r in range(len(needy)):
        is_needed = is_met = False
        for a in taken:
            is_needed |= needy[r, a]
            is_met |= met_by[r, a]
        if is_needed and not is_met:
            return False
    return True


def exempt(is_open: Any, free: Freedom) -> Any:
    """Return [S] bool: who must have a bundle and can have none."""
    found = best_of(np.zeros(is_open.shape, np.int64), is_open, free.arrays(slice(None)))
    return free.must & (found == NONE)
