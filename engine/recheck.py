"""Planned contacts against the contact history as it is now: which policies would they break?

A cap with ``within`` holds of every window ``(t - within, t]`` that ends at a contact, whether it
was planned, or booked meanwhile for a later time. What a policy counts is what
:mod:`engine.certificate_policies` counts; caps of one run alone are the certificate's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from engine.settings import Job
from engine.settings.base import seconds
from engine.settings.catalogue import ContactPolicy


@dataclass(frozen=True)
class Broken:
    """One policy that the planned contacts of one subscriber would break."""

    subscriber: Any
    policy: str
    text: str


def reach(job: Job) -> int:
    """Return how far from a planned contact, in seconds, others can count with it."""
    return max((seconds(policy.within) for policy in job.policies if policy.within), default=0)


def broken(
    job: Job, planned: pd.DataFrame, contacts: pd.DataFrame, outcomes: pd.DataFrame
) -> list[Broken]:
    """Return the policies that the planned contacts would break, by subscriber.

    Args:
        job: the job.
        planned: subscriber, time (int64 s since 1970, UTC), offer, channel.
        contacts: the effective contacts within :func:`reach` of the planned ones; columns alike.
        outcomes: outcomes since the earliest of these: subscriber, time, offer, channel, outcome.
            No policy counts them.
    """
    both = pd.concat([planned, contacts], ignore_index=True)
    both["planned"] = np.arange(len(both)) < len(planned)
    both["row"] = pd.factorize(both["subscriber"])[0]
    offers = job.catalogue.offers
    both["category"] = both["offer"].map({name: o.category for name, o in offers.items()})
    package = {o: n for n, p in enumerate(p.package for p in job.policies if p.package) for o in p}
    both["package"] = both["offer"].map(package)
    found: list[Broken] = []
    for policy in job.policies:
        cap = policy.exactly if policy.at_most is None else policy.at_most
        if cap is None or policy.within is None:
            continue
        for member, rows in _groups(job, policy, both):
            found += _over(policy, member, cap, rows)
    return sorted(found, key=lambda one: (str(one.subscriber), one.policy, one.text))


def _groups(
    job: Job, policy: ContactPolicy, rows: pd.DataFrame
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield what a policy counts together: the channel or category, and its contacts."""
    if policy.at_most is not None and policy.per in ("all", "channel"):
        once = rows.duplicated(["row", "time", "channel", "package"]) & rows["package"].notna()
        rows = rows[~once]
    if policy.per == "all":
        yield "", rows
    elif policy.per == "offers":
        yield "", rows[rows["offer"].isin(policy.only)]
    else:
        known = {
            "channel": list(job.catalogue.channels),
            "category": sorted({offer.category for offer in job.catalogue.offers.values()}),
        }[policy.per]
        for member in policy.only or known:
            yield member, rows[rows[policy.per] == member]


def _over(policy: ContactPolicy, member: str, cap: int, rows: pd.DataFrame) -> list[Broken]:
    """Return the subscribers with a planned contact in a window with more than the cap."""
    if not rows["planned"].any():
        return []
    assert policy.within is not None
    within = seconds(policy.within)
    first = int(rows["time"].min())
    span = int(rows["time"].max()) - first + within + 1  # windows of two subscribers never meet
    key = rows["row"].to_numpy(np.int64) * span + (rows["time"].to_numpy(np.int64) - first)
    order = np.argsort(key, kind="stable")
    key = key[order]
    begin = np.searchsorted(key, key - within, side="right")
    end = np.searchsorted(key, key, side="right")
    is_planned = rows["planned"].to_numpy(bool)[order]
    before = np.concatenate([[0], np.cumsum(is_planned)])
    over = np.flatnonzero((end - begin > cap) & (before[end] > before[begin]))
    if not len(over):
        return []
    seen = rows.iloc[order[over]].assign(count=(end - begin)[over])
    worst = seen.sort_values("count", kind="stable").drop_duplicates("row", keep="last")
    which = f"policy {policy.name} {member}".rstrip()
    return [
        Broken(
            subscriber,
            policy.name,
            f"{which} allows {cap} within {policy.within}, would be {count} by "
            f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S} UTC",
        )
        for subscriber, time, count in zip(
            worst["subscriber"].tolist(),
            worst["time"].tolist(),
            worst["count"].tolist(),
            strict=True,
        )
    ]
