"""The pairs that policies close, as the certificate reads them: by condition, date, hour, history.

Written for the certificate alone. Pairs are of offer and channel. Letters as in DESIGN.md.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from engine import expressions
from engine.actions import actions
from engine.certificate_history import Past, local_times
from engine.certificate_rules import Closure, every_day, on_days
from engine.settings import Job
from engine.settings.base import seconds
from engine.settings.policies import ContactPolicy


def closures(past: Past, features: pd.DataFrame) -> Iterator[Closure]:
    """Yield the pairs that policies close: by condition, hour, date, outcome or earlier contact."""
    job, days = past.job, range(past.days)
    found = actions(job.catalogue)

    def of(offers: Sequence[str]) -> tuple[int, ...]:
        return tuple(p for p, pair in enumerate(found) if pair.offer in offers)

    for policy in job.policies:
        text, within = f"policy {policy.name}", policy.within
        who, own_row = past.whose(policy)
        if policy.kind == "exclusive" and within:
            for offer in policy.exclusive:
                others = [o for o in policy.exclusive if o != offer]
                near = who.near(others, within, sides=(-1, 0, 1))
                yield Closure(text, of([offer]), near[own_row])
        elif policy.not_after and policy.offer and within:
            before = past.near(policy.not_after, within, sides=(-1,))
            yield Closure(text, of([policy.offer]), before)
            yield Closure(text, of(policy.not_after), past.near([policy.offer], within, sides=(1,)))
        elif policy.only_after and policy.offer:
            latest = past.latest(policy, "offer", policy.only_after)
            width = np.inf if within in {None, "ever"} else seconds(str(within))
            late = [
                ~((latest[day] > past.at(day) - width) & np.isfinite(latest[day])) for day in days
            ]
            yield Closure(text, of([policy.offer]), on_days(late))
        elif policy.cool_down is not None:
            for names, own in members(job, policy):
                column = "offer" if policy.per == "offers" else policy.per
                latest, width = who.latest(policy, column, names), seconds(policy.cool_down)
                shut = [latest[day] + width > who.at(day) for day in days]
                yield Closure(text, own, on_days(shut)[own_row])
        elif policy.cap is not None and policy.per == "offer":
            for names, own in members(job, policy):
                span = past.span(policy, names, [(day, day) for day in days], once=False)
                yield Closure(text, own, on_days(list((past.left(span) == 0).T)))
        elif policy.suppress or policy.quiet or policy.blackout:
            rows = _closed(past, policy, features)
            if policy.over == "household":
                found_in = np.zeros(who.size, np.uint16)
                np.bitwise_or.at(found_in, own_row, rows)
                rows = found_in[own_row]
            for _, own in members(job, policy):
                yield Closure(text, own, rows)


def members(
    job: Job, policy: ContactPolicy
) -> Iterator[tuple[tuple[str, ...] | None, tuple[int, ...]]]:
    """Yield what a policy counts or closes together: names (None: everything) and its pairs.

    Exempt pairs are none of it.
    """
    offers = job.catalogue.offers
    by_name: dict[str, list[int]] = {}
    everything = []
    for a, action in enumerate(actions(job.catalogue)):
        offer = offers[action.offer]
        own = {"channel": action.channel, "category": offer.category, "team": offer.team or ""}
        name = own.get(policy.per, action.offer)
        is_held = offer.purpose not in policy.exempt
        by_name.setdefault(name, []).extend([a] * is_held)
        everything += [a] * is_held
    if policy.per == "all":
        yield None, tuple(everything)
    elif policy.per == "offers":
        yield tuple(policy.only), tuple(a for n in policy.only for a in by_name.get(n, []))
    else:
        for name, found in by_name.items():
            if name and (not policy.only or name in policy.only):
                yield (name,), tuple(found)


def _closed(past: Past, policy: ContactPolicy, features: pd.DataFrame) -> Any:
    """Return [S] uint16: whom a condition, the hour or the date closes, a bit for each day."""
    if policy.suppress is not None:
        rows = _mask(policy.suppress, f"policies.{policy.name}.suppress", features)
        return every_day(rows, past.days)
    shut = np.zeros(past.instants.shape, bool)
    for z, name in enumerate(past.zones):
        for day, local in enumerate(local_times(past.instants[z], name)):
            shut[z, day] = _is_shut(policy, local)
    return on_days(list(shut.T))[past.zone]


def _is_shut(policy: ContactPolicy, local: pd.Timestamp) -> bool:
    if policy.quiet is None:
        return local.date() in policy.blackout
    clock = f"{local:%H:%M}"
    begin, end = policy.quiet.split("-")
    return begin <= clock < end if begin <= end else not end <= clock < begin


def _mask(sql: str, where: str, frame: pd.DataFrame) -> Any:
    return expressions.parse(sql, where).mask(frame).to_numpy().astype(bool)
