"""What is wrong with the written contacts of a subscriber together: caps, minimums, relations.

Of caps and exclusions over a household, what is wrong with those of all its members.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numba import njit

from engine.certificate_contacts import Contacts, Violation
from engine.certificate_history import Past
from engine.certificate_policies import Apart, Least, Relations, Room
from engine.certificate_rules import Terms
from engine.settings import Job

PEOPLE = 65_536  # subscribers, or households, whose rooms are told at a time


@dataclass(frozen=True)
class _Sorted:
    """Known contacts by subscriber or by household."""

    who: Any  # [W] int64, the position of a subscriber, of a household that of one contacted
    begin: Any  # [W] int64, the first contact of each
    end: Any  # [W] int64, the one after the last
    member: Any  # [C] int64, the subscriber of a contact
    pair: Any  # [C] int64
    day: Any  # [C] int64

    @classmethod
    def by(cls, written: Contacts, group: Any) -> "_Sorted":
        """Sort contacts by the group of their subscriber, [S] int64."""
        known = np.flatnonzero(written.known)
        own = group[written.subscriber[known]]
        order = np.lexsort((written.subscriber[known], own))
        begin = np.unique(own[order], return_index=True)[1]
        rows = known[order]
        member = written.subscriber[rows]
        end = np.append(begin[1:], len(rows))
        return cls(member[begin], begin, end, member, written.pair[rows], written.day[rows])


def over_caps(
    written: Contacts, past: Past, rooms: Sequence[Room], contact: Any
) -> Iterator[tuple[Room, int, tuple[int, ...]]]:
    """Yield the caps that written contacts pass, once for each subscriber or household.

    Args:
        written: the contacts.
        past: the partition's history.
        rooms: the caps.
        contact: [P] int64, the first pair that is one contact with a pair.

    Returns:
        The cap; the subscriber's position, of a household that of the first whose contact counts;
        how many contacts are left and written, and from which day to which.
    """
    found = {False: _Sorted.by(written, np.arange(past.size))}
    if past.homes is not None:
        found[True] = _Sorted.by(written, past.homes.of)
    for room in rooms:
        own = found[room.span.is_joint]
        code = np.arange(len(own.pair))
        if room.by_contact:
            code = own.member * len(contact) + contact[own.pair]
        for start in range(0, len(own.who), PEOPLE):
            rows = slice(start, start + PEOPLE)
            left = past.left(room.span, own.who[rows])
            over = _over(
                own.begin[rows], own.end[rows], room.counted[own.pair], code, own.day,
                left.reshape(len(left), past.days, past.days),
            )  # fmt: skip
            for s in np.flatnonzero(over[:, 1]).tolist():
                *what, first = over[s].tolist()
                yield room, int(own.member[first]), tuple(what)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _over(  # noqa: PLR0917 (arrays, as kernels take them)
    begin: Any, end: Any, counted: Any, code: Any, day: Any, left: Any
) -> Any:
    """Return [S, 5] int64: what is left, the contacts, first and last day, and the first contact.

    Where the cap is kept, 0 contacts.
    """
    found = np.zeros((len(begin), 5), np.int64)
    for s in range(len(begin)):
        worst = 0
        for one in range(begin[s], end[s]):
            for other in range(begin[s], end[s]):
                i, d = day[one], day[other]
                if i > d or not (counted[one] and counted[other]):
                    continue
                count = 0
                for n in range(begin[s], end[s]):
                    is_new = counted[n] and i <= day[n] <= d
                    for m in range(begin[s], n):
                        if counted[m] and code[m] == code[n] and day[m] == day[n]:
                            is_new = False
                    count += is_new
                if count - left[s, i, d] > worst:
                    worst = count - left[s, i, d]
                    found[s, 0], found[s, 1], found[s, 2], found[s, 3] = left[s, i, d], count, i, d
                    found[s, 4] = one
    return found


def passed(
    written: Contacts, past: Past, rooms: Sequence[Room], contact: Any, keys: Sequence[Any]
) -> Iterator[Violation]:
    """Yield the caps that written contacts pass; arguments as in :func:`over_caps`.

    ``keys``: [S] of the partition's subscribers.
    """
    for room, s, (left, count, i, d) in over_caps(written, past, rooms, contact):
        on = f"{on_days(i, d)} " if past.days > 1 else ""
        text = f"{room.text} leaves {left}{room.whose}, got {count} contacts {on}".rstrip()
        yield Violation("policy", keys[s], text)


def on_days(first: int, last: int) -> str:
    """Return days of a plan in words, given from 0 on."""
    return f"on day {first + 1}" if first == last else f"from day {first + 1} to {last + 1}"


def broken_relations(
    job: Job,
    terms: Terms,
    written: Contacts,
    past: Past,
    policies: tuple[Sequence[Least], Relations, Any, Sequence[Any]],
) -> Iterator[Violation]:
    """Yield the minimums, exclusions and needs that written contacts do not keep.

    Args:
        job: the job.
        terms: its terms.
        written: the contacts.
        past: the partition's history.
        policies: minimums; relations; [S] bool who is exempt from having any contact; [S] keys.
    """
    asked, related, is_exempt, keys = policies
    names = list(job.catalogue.offers)
    s, p = written.subscriber[written.known], written.pair[written.known]
    has = np.zeros((len(keys), len(names)), bool)
    has[s, terms.offer[p]] = True
    count = np.bincount(s, minlength=len(keys))
    for one in asked:
        wrong = (count < one.wanted) & ((count > 0) | (one.must & ~is_exempt))
        for row in np.flatnonzero(wrong).tolist():
            text = f"{one.text} {one.wanted[row]}, got {count[row]} offers"
            yield Violation("policy", keys[row], text)
    at = past.instants[past.zone[s], written.day[written.known]]
    sent = pd.DataFrame({"subscriber": s, "who": s, "offer": terms.offer[p], "at": at})
    for apart in related.apart:
        own = sent
        if apart.is_joint and past.homes is not None:
            own = sent.assign(who=past.homes.of[s])
        for row, offers in _too_near(apart, own):
            yield Violation(
                "policy", keys[row], _apart_text(apart, [names[o] for o in offers], names)
            )
    for policy, offer, others in related.requires:
        for row in np.flatnonzero(has[:, offer] & ~has[:, others].any(axis=1)).tolist():
            needed = " or ".join(names[o] for o in others)
            text = f"policy {policy} wants {needed} beside {names[offer]}, got none"
            yield Violation("policy", keys[row], text)


def _too_near(apart: Apart, sent: pd.DataFrame) -> Iterator[tuple[int, list[int]]]:
    """Yield each subscriber whose contacts are too near, and their offers in order.

    Of each that is ``who`` in the table the first one: a subscriber, or one of a household.
    """
    first = sent[sent["offer"].isin(apart.offers)]
    second = first if apart.late is None else sent[sent["offer"] == apart.late]
    both = first.merge(second, on="who", suffixes=("", "_other"))
    gap = both["at_other"] - both["at"]
    wrong = (gap.abs() < apart.width) & (both["offer"] != both["offer_other"])
    if apart.late is not None:
        wrong &= gap > 0
    for _, own in both[wrong].groupby("who"):
        yield int(own["subscriber"].min()), sorted({*own["offer"], *own["offer_other"]})


def _apart_text(apart: Apart, got: Sequence[str], names: Sequence[str]) -> str:
    if apart.late is None:
        where = "in the household" if apart.is_joint else "together"
        return f"policy {apart.policy} excludes {' and '.join(got)} {where}"
    late = names[apart.late]
    before = " and ".join(name for name in got if name != late)
    return f"policy {apart.policy} keeps {late} from following {before} so soon"
