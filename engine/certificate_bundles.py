"""The best bundle under any policies, by trying bundles one after the other: for the certificate.

A bundle is at most four actions, of pairs on days. Actions are sorted by worth; a bundle grows by
later ones. What may not be together (offers, conflicts, caps) is left out of what can follow; what
must be together (a minimum, an offer that another needs) is asked of the whole bundle. A branch
ends when its total, and the most that so many different offers of what can follow are worth, do not
beat the best. Where the best actions of distinct offers may be together, they are the best bundle.
Everything is a whole number, so the best is the best.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from engine.certificate_history import Past
from engine.certificate_policies import Least, Relations, Room
from engine.certificate_rules import BUNDLE, Terms
from engine.certificate_windows import UNBOUNDED

NONE = np.iinfo(np.int64).min // 4


@dataclass(frozen=True)
class Freedom:
    """What a partition's subscribers may have together. [S, ...] arrays are C-contiguous.

    D caps, N days, P pairs, A actions, R needs, G time zones that differ.
    """

    past: Past
    rooms: tuple[Room, ...]  # [D] the caps
    least: Any  # [S] int64, 0 or 1: no minimum
    must: Any  # [S] bool
    counted: Any  # [D, P] bool
    by_contact: Any  # [D] bool
    contact: Any  # [P] int64
    offer: Any  # [P] int64
    group: Any  # [S] int64, in [0, G)
    conflict: Any  # [G, A, A] bool
    needy: Any  # [R, P] bool
    met_by: Any  # [R, P] bool

    def arrays(self, rows: slice) -> tuple[Any, ...]:
        """Return the arrays of some of the subscribers."""
        days, found = self.past.days, [self.past.left(room.span, rows) for room in self.rooms]
        left = np.empty((len(self.least[rows]), len(found), days, days), np.uint8)
        for d, own in enumerate(found):
            left[:, d] = own.reshape(-1, days, days)
        return (left, self.least[rows], self.must[rows], self.group[rows], self.counted,
                self.by_contact, self.contact, self.offer, self.conflict, self.needy,
                self.met_by)  # fmt: skip


def freedom(
    terms: Terms,
    found: Sequence[Room],
    asked: Sequence[Least],
    related: Relations,
    past: Past,
) -> Freedom | None:
    """Return what there is beside caps in all, per channel and per category; None: nothing.

    Of several days there always is.
    """
    together = len(np.unique(related.contact)) < len(related.contact)
    caps = tuple(room for room in found if room.policy)
    if past.days == 1 and not (
        asked or together or related.apart or related.requires
        or any(room.per in {"team", "offers"} for room in caps)
    ):  # fmt: skip
        return None
    least, must = np.zeros(past.size, np.int64), np.zeros(past.size, bool)
    for one in asked:
        least, must = np.maximum(least, one.wanted), must | one.must
    counted = np.array([room.counted for room in caps], bool).reshape(len(caps), len(terms.offer))
    later = past.instants - past.instants[:, :1]
    kinds, group = np.unique(later, axis=0, return_inverse=True)
    return Freedom(
        past, caps, least, must, counted, np.array([room.by_contact for room in caps], bool),
        related.contact, terms.offer, group.reshape(-1)[past.zone],
        np.array([related.conflict(terms.offer, own) for own in kinds]),
        *related.needs(terms.offer),
    )  # fmt: skip


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def best_of(worth: Any, is_open: Any, free: Any) -> Any:
    """Return [S] int64 the highest worth of a bundle that is allowed.

    ``NONE`` is the answer for those who must have a bundle and can have none.

    Args:
        worth: [S, P, N] int64.
        is_open: [S, P] uint16, bit d: on day d.
        free: from :meth:`Freedom.arrays`.
    """
    days = worth.shape[2]
    highest = np.empty(len(worth), np.int64)
    actions = worth.shape[1] * days
    number, value = np.empty(actions, np.int64), np.empty(actions, np.int64)
    for s in range(len(worth)):
        left, least, must, group = free[0][s], free[1][s], free[2][s], free[3][s]
        loses = must or least > 1 or len(free[9]) > 0  # whether an action may be worth its loss
        n = _candidates(worth[s], is_open[s], left, loses, free, number, value)
        best = np.int64(NONE) if must else np.int64(0)
        if n:
            most = _most(left, free)
            order = np.argsort(-value[:n], kind="mergesort")
            highest[s] = _search(
                number[:n][order], value[:n][order], most, least, best, left, free[8][group], free
            )
        else:
            highest[s] = best
    return highest


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _candidates(  # noqa: PLR0917 (arrays, as kernels take them)
    worth: Any, is_open: Any, left: Any, loses: int, free: Any, number: Any, value: Any
) -> int:
    """Write down the actions that may be in a bundle, by themselves; return how many."""
    counted, days, n = free[4], worth.shape[1], 0
    for p in range(len(worth)):
        bits = np.int64(is_open[p])
        if bits == 0:
            continue
        for d in range(len(counted)):
            if counted[d, p]:
                for day in range(days):
                    if left[d, day, day] == 0:
                        bits &= ~(np.int64(1) << day)
        for day in range(days):
            if (bits >> day) & 1 and (loses or worth[p, day] > 0):
                number[n], value[n] = p * days + day, worth[p, day]
                n += 1
    return n


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _most(left: Any, free: Any) -> int:
    """Return how many actions there may be at most, by the caps that count all pairs.

    The days fall into runs, of each of which there may be as many as is left; of others any number.
    """
    counted, by_contact, days = free[4], free[5], left.shape[1]
    most = BUNDLE
    fewest = np.zeros(days + 1, np.int64)
    for c in range(len(counted)):
        if by_contact[c] and (free[6] != np.arange(len(free[6]))).any():
            continue  # a contact may be several actions
        if not counted[c].all():
            continue
        for d in range(days):
            fewest[d + 1] = UNBOUNDED
            for i in range(d + 1):
                fewest[d + 1] = min(fewest[d + 1], fewest[i] + left[c, i, d])
        most = min(most, fewest[days])
    return most


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _search(  # noqa: PLR0917 (arrays, as kernels take them)
    number: Any, value: Any, most: int, least: int, best: int, left: Any, conflict: Any, free: Any
) -> Any:
    """Return the highest worth of a bundle of at most so many of some actions, the worthiest first.

    Row ``depth`` of ``after`` has what can follow the first ``depth`` actions of a bundle.
    """
    days, offer = left.shape[1], free[7]
    after = np.empty((BUNDLE + 1, len(number)), np.int64)
    size, place = np.zeros(BUNDLE + 1, np.int64), np.zeros(BUNDLE + 1, np.int64)
    taken, total = np.zeros(BUNDLE, np.int64), np.zeros(BUNDLE + 1, np.int64)
    offers = np.zeros(BUNDLE, np.int64)
    for i in range(len(number)):
        after[0, i] = i
    size[0], depth = len(number), 0
    while depth >= 0:
        row = place[depth]
        place[depth] += 1
        if (
            depth == most
            or row >= size[depth]
            or total[depth]
            + _reach(
                after[depth, row : size[depth]], number, value, most - depth, offer, days, offers
            )
            <= best
        ):
            depth -= 1
            continue
        i = after[depth, row]
        taken[depth] = number[i]
        worth = total[depth] + value[i]
        if depth + 1 >= least and worth > best and _has_its_needs(taken[: depth + 1], free, days):
            best = worth
        if depth + 1 == most:
            continue
        n = 0
        for j in range(row + 1, size[depth]):
            then = number[after[depth, j]]
            if conflict[number[i], then]:
                continue
            taken[depth + 1 : depth + 2] = then
            if _fits(taken[: depth + 2], left, free, days):
                after[depth + 1, n] = after[depth, j]
                n += 1
        depth += 1
        size[depth], place[depth], total[depth] = n, 0, worth
    return best


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _reach(  # noqa: PLR0917 (arrays, as kernels take them)
    rows: Any, number: Any, value: Any, most: int, offer: Any, days: int, offers: Any
) -> Any:
    """Return the most that so many actions of distinct offers are worth, the first one included."""
    reach, n = np.int64(0), 0
    for i in rows:
        if n and value[i] <= 0:
            break
        own, is_new = offer[number[i] // days], True
        for m in range(n):
            is_new &= offers[m] != own
        if is_new:
            offers[n] = own
            reach += value[i]
            n += 1
            if n == most:
                break
    return reach


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _fits(taken: Any, left: Any, free: Any, days: int) -> Any:
    """Whether the last of some actions keeps the caps beside the others, which keep them."""
    counted, by_contact, contact = free[4], free[5], free[6]
    last = len(taken) - 1
    own, on = taken[last] // days, taken[last] % days
    for c in range(len(counted)):
        if not counted[c, own]:
            continue
        for i in range(len(taken)):
            first = taken[i] % days
            if first > on or not counted[c, taken[i] // days]:
                continue
            for j in range(len(taken)):
                end = taken[j] % days
                if end < on or not counted[c, taken[j] // days]:
                    continue
                if len(taken) <= left[c, first, end]:
                    continue
                count = 0
                for n in range(len(taken)):
                    pair, day = taken[n] // days, taken[n] % days
                    is_new = counted[c, pair] and first <= day <= end
                    for m in range(n if by_contact[c] else 0):
                        other = taken[m] // days
                        if (
                            counted[c, other] and contact[other] == contact[pair]
                            and taken[m] % days == day
                        ):  # fmt: skip
                            is_new = False
                    count += is_new
                if count > left[c, first, end]:
                    return False
    return True


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _has_its_needs(taken: Any, free: Any, days: int) -> Any:
    needy, met_by = free[9], free[10]
    for r in range(len(needy)):
        is_needed = is_met = False
        for a in taken:
            is_needed |= needy[r, a // days]
            is_met |= met_by[r, a // days]
        if is_needed and not is_met:
            return False
    return True


def exempt(is_open: Any, free: Freedom, chunk: int) -> Any:
    """Return [S] bool: who must have a bundle and can have none.

    Args:
        is_open: [S, P] uint16, bit d: on day d.
        free: what they may have together.
        chunk: subscribers at a time.
    """
    found = np.zeros(len(is_open), bool)
    if not free.must.any():
        return found
    for start in range(0, len(is_open), chunk):
        rows = slice(start, start + chunk)
        own = is_open[rows]
        worth = np.zeros((*own.shape, free.past.days), np.int64)
        found[rows] = free.must[rows] & (best_of(worth, own, free.arrays(rows)) == NONE)
    return found
