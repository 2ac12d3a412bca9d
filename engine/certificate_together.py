"""What is wrong with the written contacts of a subscriber together: caps, minimums, relations."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numba import njit

from engine.certificate_contacts import Contacts, Violation
from engine.certificate_history import Past
from engine.certificate_policies import Apart, Least, Relations, Room
from engine.certificate_rules import Terms
from engine.settings import Job

PEOPLE = 65_536  # subscribers whose rooms are told at a time


def over_caps(
    written: Contacts, past: Past, rooms: Sequence[Room], contact: Any
) -> Iterator[tuple[Room, int, tuple[int, ...]]]:
    """Yield the caps that written contacts pass, once for each subscriber.

    Args:
        written: the contacts.
        past: the partition's history.
        rooms: the caps.
        contact: [P] int64, the first pair that is one contact with a pair.

    Returns:
        The cap; the subscriber's position; how many contacts are left and written, and from which
        day to which.
    """
    order = np.flatnonzero(written.known)
    order = order[np.argsort(written.subscriber[order], kind="stable")]
    who, begin = np.unique(written.subscriber[order], return_index=True)
    ends = np.append(begin[1:], len(order))
    pair, day = written.pair[order], written.day[order]
    for start in range(0, len(who), PEOPLE):
        rows = slice(start, start + PEOPLE)
        for room in rooms:
            left = past.left(room.span, who[rows])
            code = contact[pair] if room.by_contact else np.arange(len(pair))
            found = _over(
                begin[rows], ends[rows], room.counted[pair], code, day,
                left.reshape(len(left), past.days, past.days),
            )  # fmt: skip
            for s in np.flatnonzero(found[:, 1]).tolist():
                yield room, int(who[start + s]), tuple(found[s].tolist())


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _over(  # noqa: PLR0917 (arrays, as kernels take them)
    begin: Any, end: Any, counted: Any, code: Any, day: Any, left: Any
) -> Any:
    """Return [S, 4] int64: what is left, the contacts, and first and last day; 0 contacts: kept."""
    found = np.zeros((len(begin), 4), np.int64)
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
    return found


def passed(
    written: Contacts, past: Past, rooms: Sequence[Room], contact: Any, keys: Sequence[Any]
) -> Iterator[Violation]:
    """Yield the caps that written contacts pass; arguments as in :func:`over_caps`.

    ``keys``: [S] of the partition's subscribers.
    """
    for room, s, (left, count, i, d) in over_caps(written, past, rooms, contact):
        on = f"{on_days(i, d)} " if past.days > 1 else ""
        text = f"{room.text} leaves {left}, got {count} contacts {on}".rstrip()
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
    sent = pd.DataFrame({"subscriber": s, "offer": terms.offer[p], "at": at})
    for apart in related.apart:
        for row, offers in _too_near(apart, sent):
            yield Violation(
                "policy", keys[row], _apart_text(apart, [names[o] for o in offers], names)
            )
    for policy, offer, others in related.requires:
        for row in np.flatnonzero(has[:, offer] & ~has[:, others].any(axis=1)).tolist():
            needed = " or ".join(names[o] for o in others)
            text = f"policy {policy} wants {needed} beside {names[offer]}, got none"
            yield Violation("policy", keys[row], text)


def _too_near(apart: Apart, sent: pd.DataFrame) -> Iterator[tuple[int, list[int]]]:
    """Yield each subscriber whose contacts are too near, and their offers in order."""
    first = sent[sent["offer"].isin(apart.offers)]
    second = first if apart.late is None else sent[sent["offer"] == apart.late]
    both = first.merge(second, on="subscriber", suffixes=("", "_other"))
    gap = both["at_other"] - both["at"]
    wrong = (gap.abs() < apart.width) & (both["offer"] != both["offer_other"])
    if apart.late is not None:
        wrong &= gap > 0
    for row, own in both[wrong].groupby("subscriber"):
        yield int(str(row)), sorted({*own["offer"], *own["offer_other"]})


def _apart_text(apart: Apart, got: Sequence[str], names: Sequence[str]) -> str:
    if apart.late is None:
        return f"policy {apart.policy} excludes {' and '.join(got)} together"
    late = names[apart.late]
    before = " and ".join(name for name in got if name != late)
    return f"policy {apart.policy} keeps {late} from following {before} so soon"
