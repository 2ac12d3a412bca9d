"""What is wrong with written contacts, one by one."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from engine.actions import actions
from engine.certificate_bound import Menu
from engine.certificate_history import Past
from engine.certificate_policies import Least, Relations, Room
from engine.certificate_rules import P_ONE, W_ONE, Closure, Terms
from engine.limits import MICRO, coefficients
from engine.settings import Job

MONEY_TOLERANCE = 1e-6
"""Written money: ``|written - found| <= 1e-6 + 1e-9 |found|``, one micro-unit."""
PROPENSITY_TOLERANCE = 2.0**-24
"""Written propensity: ``|written - found| <= 2**-24``, so a float32 may be written unrounded."""


@dataclass(frozen=True)
class Violation:
    """One thing that is wrong.

    Kinds: unknown (subscriber, offer or channel), hold_out, closed (not an open pair), duplicate
    (an offer twice), policy, written (a number), limit, claim.
    """

    kind: str
    subscriber: Any  # its key; "" when it is about no subscriber
    text: str

    def rank(self) -> tuple[Any, ...]:
        """Return what violations are ordered by: subscriber, kind, text."""
        is_text = not isinstance(self.subscriber, int)
        number = 0 if is_text else self.subscriber
        return is_text, number, str(self.subscriber), self.kind, self.text

    def row(self) -> dict[str, Any]:
        """Return it as a mapping for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Contacts:
    """Written contacts by position in the partition and in the catalogue; -1: there is none."""

    rows: pd.DataFrame
    subscriber: Any  # [N] int64
    action: Any  # [N] int64
    keys: list[Any]  # N subscribers, plain numbers or texts
    texts: list[str]  # N offers and channels, for people

    @classmethod
    def of(cls, job: Job, subscribers: "pd.Index[Any]", rows: pd.DataFrame) -> "Contacts":
        """Find the subscribers and actions of written contacts."""
        found = actions(job.catalogue)
        position = {(action.offer, action.channel): a for a, action in enumerate(found)}
        pairs = list(zip(rows["offer"].tolist(), rows["channel"].tolist(), strict=True))
        keys = rows["subscriber"].tolist()
        return cls(
            rows=rows.reset_index(drop=True),
            subscriber=subscribers.get_indexer(pd.Index(rows["subscriber"])),
            action=np.array([position.get(pair, -1) for pair in pairs], np.int64),
            keys=[key if isinstance(key, int) else str(key) for key in keys],
            texts=[f"{offer} on {channel}" for offer, channel in pairs],
        )

    @property
    def known(self) -> Any:
        """Return [N] bool: whether both subscriber and action exist."""
        return (self.subscriber >= 0) & (self.action >= 0)


def violations(
    job: Job,
    terms: Terms,
    written: Contacts,
    menu: Menu,
    reasons: tuple[Any, Sequence[Closure], Sequence[Room]],
) -> Iterator[Violation]:
    """Yield everything that is wrong with the written contacts.

    Args:
        job: the job.
        terms: its terms.
        written: the contacts.
        menu: what the subscribers may choose from.
        reasons: [S] bool who is in the hold-out; what closes pairs; what policies leave.
    """
    held_out, closures, rooms = reasons
    for row in np.flatnonzero(~written.known).tolist():
        what = "unknown subscriber" if written.subscriber[row] < 0 else "no such action"
        yield Violation("unknown", written.keys[row], f"{what}: {written.texts[row]}")
    known = np.flatnonzero(written.known)
    s, a = written.subscriber[known], written.action[known]
    for row in known[held_out[s]].tolist():
        text = f"in the hold-out, but contacted: {written.texts[row]}"
        yield Violation("hold_out", written.keys[row], text)
    yield from _closed(written, known, closures)
    by_offer = pd.DataFrame({"subscriber": s, "offer": terms.offer[a]})
    offers = list(job.catalogue.offers)
    for row in known[by_offer.duplicated().to_numpy()].tolist():
        text = f"offer {offers[terms.offer[written.action[row]]]} more than once"
        yield Violation("duplicate", written.keys[row], text)
    first = dict(zip(s[::-1].tolist(), known[::-1].tolist(), strict=True))
    for room in rooms:
        inside = room.counted[a]
        counted = s[inside]
        if room.by_contact and menu.freedom is not None:
            together = menu.freedom.contact[a[inside]]
            counted = np.unique(np.stack([counted, together]), axis=1)[0]
        count = np.bincount(counted, minlength=len(room.left))
        over = np.flatnonzero(count > room.left)
        for subscriber in over.tolist():
            text = f"{room.text} leaves {room.left[subscriber]}, got {count[subscriber]} contacts"
            yield Violation("policy", written.keys[first[subscriber]], text)
    yield from _misstated(job, terms, written, menu)


def broken_relations(
    job: Job,
    terms: Terms,
    written: Contacts,
    subscribers: "pd.Index[Any]",
    policies: tuple[Sequence[Least], Relations, Any],
) -> Iterator[Violation]:
    """Yield the minimums, exclusions and needs that written contacts do not keep.

    Args:
        job: the job.
        terms: its terms.
        written: the contacts.
        subscribers: [S] keys of the partition.
        policies: minimums; relations; [S] bool who is exempt from having any contact.
    """
    asked, related, is_exempt = policies
    names = list(job.catalogue.offers)
    s, a = written.subscriber[written.known], written.action[written.known]
    keys = [key if isinstance(key, int) else str(key) for key in subscribers.tolist()]
    has = np.zeros((len(keys), len(names)), bool)
    has[s, terms.offer[a]] = True
    count = np.bincount(s, minlength=len(keys))
    for one in asked:
        wrong = (count < one.wanted) & ((count > 0) | (one.must & ~is_exempt))
        for row in np.flatnonzero(wrong).tolist():
            text = f"{one.text} {one.wanted[row]}, got {count[row]} offers"
            yield Violation("policy", keys[row], text)
    for policy, offers in related.exclusive:
        for row in np.flatnonzero(has[:, offers].sum(axis=1) > 1).tolist():
            got = " and ".join(names[o] for o in offers if has[row, o])
            yield Violation("policy", keys[row], f"policy {policy} excludes {got} together")
    for policy, offer, others in related.requires:
        for row in np.flatnonzero(has[:, offer] & ~has[:, others].any(axis=1)).tolist():
            needed = " or ".join(names[o] for o in others)
            text = f"policy {policy} wants {needed} beside {names[offer]}, got none"
            yield Violation("policy", keys[row], text)


def _closed(written: Contacts, known: Any, closures: Sequence[Closure]) -> Iterator[Violation]:
    s, a = written.subscriber[known], written.action[known]
    why: dict[int, list[str]] = {}
    for closure in closures:
        for row in known[closure.rows[s] & np.isin(a, closure.actions)]:
            why.setdefault(int(row), []).append(closure.text)
    for row, texts in why.items():
        text = f"{written.texts[row]} is closed: {'; '.join(texts)}"
        yield Violation("closed", written.keys[row], text)


def misdated(written: Contacts, past: Past) -> Iterator[Violation]:
    """Yield contacts that are written with another time than policies were asked about."""
    known = np.flatnonzero(written.known)
    due = past.at[written.subscriber[known]]
    stated = pd.to_datetime(written.rows["time"], utc=True).to_numpy("datetime64[s]")[known]
    for row in known[stated.astype(np.int64) != due].tolist():
        at = pd.Timestamp(int(past.at[written.subscriber[row]]), unit="s", tz="UTC")
        text = (
            f"{written.texts[row]}: time {written.rows['time'].iloc[row]} is written, {at} is due"
        )
        yield Violation("written", written.keys[row], text)


def _misstated(job: Job, terms: Terms, written: Contacts, menu: Menu) -> Iterator[Violation]:
    """Yield written values, costs and propensities that are not what they should be."""
    known = np.flatnonzero(written.known)
    s, a = written.subscriber[known], written.action[known]
    p, w = menu.propensity[s, a] / P_ONE, menu.weight[s] / W_ONE
    cost = np.array(coefficients(job, "cost"), np.int64).T
    found = {
        "value": w * (terms.value[0, a] + terms.value[1, a] * p) / MICRO,
        "cost": (cost[0, a] + cost[1, a] * p) / MICRO,
        "propensity": p,
    }
    for column, exact in found.items():
        stated = written.rows[column].to_numpy(np.float64)[known]
        money = MONEY_TOLERANCE + 1e-9 * abs(exact)
        tolerance = PROPENSITY_TOLERANCE if column == "propensity" else money
        wrong = ~(abs(stated - exact) <= tolerance)  # NaN is wrong too
        rows = known[wrong].tolist()
        for row, got, right in zip(
            rows, stated[wrong].tolist(), exact[wrong].tolist(), strict=True
        ):
            text = f"{written.texts[row]}: {column} {got} is written, {right} is right"
            yield Violation("written", written.keys[row], text)
