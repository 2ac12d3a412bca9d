"""What is wrong with written contacts, one by one: those of a subscriber together are elsewhere."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from engine.actions import actions
from engine.certificate_bound import Menu
from engine.certificate_history import Past
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
    subscriber: Any  # [C] int64
    pair: Any  # [C] int64, offer and channel
    day: Any  # [C] int64, of the plan, from 0 on
    days: int  # N
    keys: list[Any]  # C subscribers, plain numbers or texts
    texts: list[str]  # C offers, channels and days, for people

    @classmethod
    def of(cls, job: Job, subscribers: "pd.Index[Any]", rows: pd.DataFrame) -> "Contacts":
        """Find the subscribers and actions of written contacts."""
        position = {(p.offer, p.channel): n for n, p in enumerate(actions(job.catalogue))}
        pairs = list(zip(rows["offer"].tolist(), rows["channel"].tolist(), strict=True))
        keys, days = rows["subscriber"].tolist(), job.horizon.days
        texts = [f"{offer} on {channel}" for offer, channel in pairs]
        day = np.zeros(len(rows), np.int64)
        if days > 1:
            day = rows["day"].to_numpy(np.int64) - 1
            texts = [f"{text} on day {d + 1}" for text, d in zip(texts, day.tolist(), strict=True)]
        return cls(
            rows=rows.reset_index(drop=True),
            subscriber=subscribers.get_indexer(pd.Index(rows["subscriber"])),
            pair=np.array([position.get(pair, -1) for pair in pairs], np.int64),
            day=day,
            days=days,
            keys=[key if isinstance(key, int) else str(key) for key in keys],
            texts=texts,
        )

    @property
    def known(self) -> Any:
        """Return [C] bool: whether both subscriber and action exist."""
        return (self.subscriber >= 0) & (self.pair >= 0) & (self.day >= 0) & (self.day < self.days)

    @property
    def action(self) -> Any:
        """Return [C] int64, the actions of those that are known."""
        return self.pair * self.days + self.day


def violations(
    job: Job,
    terms: Terms,
    written: Contacts,
    menu: Menu,
    reasons: tuple[Any, Sequence[Closure]],
) -> Iterator[Violation]:
    """Yield everything that is wrong with each written contact by itself.

    Args:
        job: the job.
        terms: its terms.
        written: the contacts.
        menu: what the subscribers may choose from.
        reasons: [S] bool who is in the hold-out; what closes pairs.
    """
    held_out, closures = reasons
    for row in np.flatnonzero(~written.known).tolist():
        what = "unknown subscriber" if written.subscriber[row] < 0 else "no such action"
        yield Violation("unknown", written.keys[row], f"{what}: {written.texts[row]}")
    known = np.flatnonzero(written.known)
    s, p = written.subscriber[known], written.pair[known]
    for row in known[held_out[s]].tolist():
        text = f"in the hold-out, but contacted: {written.texts[row]}"
        yield Violation("hold_out", written.keys[row], text)
    yield from _closed(written, known, closures)
    by_offer = pd.DataFrame({"subscriber": s, "offer": terms.offer[p]})
    offers = list(job.catalogue.offers)
    for row in known[by_offer.duplicated().to_numpy()].tolist():
        text = f"offer {offers[terms.offer[written.pair[row]]]} more than once"
        yield Violation("duplicate", written.keys[row], text)
    yield from _misstated(job, terms, written, menu)


def _closed(written: Contacts, known: Any, closures: Sequence[Closure]) -> Iterator[Violation]:
    s, p, day = written.subscriber[known], written.pair[known], written.day[known]
    why: dict[int, list[str]] = {}
    for closure in closures:
        for row in known[closure.closes(s, p, day)]:
            why.setdefault(int(row), []).append(closure.text)
    for row, texts in why.items():
        text = f"{written.texts[row]} is closed: {'; '.join(texts)}"
        yield Violation("closed", written.keys[row], text)


def misdated(written: Contacts, past: Past) -> Iterator[Violation]:
    """Yield contacts that are written with another time than policies were asked about."""
    known = np.flatnonzero(written.known)
    due = past.instants[past.zone[written.subscriber[known]], written.day[known]]
    stated = pd.to_datetime(written.rows["time"], utc=True).to_numpy("datetime64[s]")[known]
    wrong = stated.astype(np.int64) != due
    for row, own in zip(known[wrong].tolist(), due[wrong].tolist(), strict=True):
        at = pd.Timestamp(own, unit="s", tz="UTC")
        text = (
            f"{written.texts[row]}: time {written.rows['time'].iloc[row]} is written, {at} is due"
        )
        yield Violation("written", written.keys[row], text)


def _misstated(job: Job, terms: Terms, written: Contacts, menu: Menu) -> Iterator[Violation]:
    """Yield written values, costs and propensities that are not what they should be."""
    known = np.flatnonzero(written.known)
    s, a = written.subscriber[known], written.action[known]
    p, w = menu.propensity[s, written.pair[known]] / P_ONE, menu.weight[s] / W_ONE
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
