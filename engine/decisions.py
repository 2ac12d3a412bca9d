"""An allocation as tables: who gets what and why, who gets nothing and why."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from engine.actions import actions
from engine.candidates import REASONS, Candidates, Placed
from engine.limits import MICRO, coefficients
from engine.offer_oracle import OfferOracle
from engine.problem import Problem
from engine.settings import Job
from engine.solve import Allocation, Status
from kernels.backend import to_cpu

NO_OFFER, CONFLICT = "no_offer_worth_its_price", "limits_conflict"
BEST, TIE = "best at the prices", "near tie, chosen to fill the limits"
LEFT_OUT, NOTHING = "near tie, left out to keep the limits", "nothing allocated: limits conflict"
MOST_SEGMENTS = 12  # values of a column that the report still shows one by one
STEPS = {
    "subscribers": "all subscribers of the table",
    "hold_out": "held out to measure the effect, never contacted",
    "not_eligible": "no offer is valid, eligible and reachable with consent",
    "policy": "contact policies leave no contact open",
    NO_OFFER: "every open offer costs more, at the prices, than it is worth",
    CONFLICT: "nothing is allocated, because limits conflict",
    "contacted": "receive at least one offer",
}


def allocated(job: Job, placed: Placed, parts: Sequence[Candidates], found: Allocation) -> Any:
    """Return the allocations, ordered by subscriber and action.

    Returns:
        DataFrame: subscriber, offer, channel, value (money, weighted, expected), cost (money,
        expected), propensity, surplus (value less the prices paid, money), reason,
        dearest_limit (the limit that took most of the price, or empty), partition.
    """
    frames = []
    oracle = OfferOracle(placed.problem, placed.problem.blocks)
    for b, part in enumerate(parts):
        row, action, is_best = _contacts(found.chosen[b], found.best[b])
        subscriber = _host(part.subscriber)[to_cpu(placed.order[b])[row]]
        contacts = (b, subscriber, row, action, is_best)
        frames.append(_told(job, placed, oracle, found.prices, contacts))
    table = pd.concat(frames, ignore_index=True)
    table = table.sort_values(["subscriber", "action"], kind="stable", ignore_index=True)
    return table.drop(columns="action")


def _contacts(chosen: Any, best: Any) -> tuple[Any, Any, Any]:
    """Return row, action and whether the prices alone would choose it, of every contact."""
    place, row = np.nonzero(chosen >= 0)
    action = chosen[place, row].astype(np.int64)
    return row, action, (best[:, row] == action).any(axis=0)


def _told(
    job: Job, placed: Placed, oracle: OfferOracle, prices: Any, contacts: tuple[Any, ...]
) -> Any:
    b, subscriber, row, action, is_best = contacts
    problem, block = placed.problem, placed.problem.blocks[b]
    p = to_cpu(block.propensity)[action, row].astype(np.float64)
    weight = to_cpu(block.weight)[row].astype(np.float64)
    group = to_cpu(block.group)[row]
    cost_fixed, cost_accept = (
        np.array(c, np.float64) / MICRO for c in zip(*coefficients(job, "cost"), strict=True)
    )
    value = weight * (oracle.value[0, action] + oracle.value[1, action] * p)
    use_fixed, use_accept = problem.use_fixed / MICRO, problem.use_accept / MICRO
    paid, dearest, name = np.zeros(len(p)), np.zeros(len(p)), np.full(len(p), "", object)
    for k in np.flatnonzero(prices).tolist():
        share = prices[k] * (use_fixed[k, action] + use_accept[k, action] * p)
        share *= problem.in_scope[k, group]
        paid += share
        name[share > dearest] = problem.rows[k].name
        dearest = np.maximum(dearest, share)
    acts = actions(job.catalogue)
    return pd.DataFrame(
        {
            "subscriber": subscriber,
            "offer": np.array([a.offer for a in acts], object)[action],
            "channel": np.array([a.channel for a in acts], object)[action],
            "value": value,
            "cost": cost_fixed[action] + cost_accept[action] * p,
            "propensity": p,
            "surplus": value - paid,
            "reason": np.where(is_best, BEST, TIE),
            "dearest_limit": name,
            "action": action,
            "partition": b,
        }
    )


def _host(series: Any) -> Any:
    return np.asarray(series.to_pandas() if hasattr(series, "to_pandas") else series)


def undecided(placed: Placed, parts: Sequence[Candidates], found: Allocation) -> Any:
    """Return those without an offer, ordered by subscriber: subscriber, reason, detail."""
    frames = []
    for b, part in enumerate(parts):
        contacted = np.zeros(len(part.reason), bool)
        order = to_cpu(placed.order[b])
        contacted[order[(found.chosen[b] >= 0).any(axis=0)]] = True
        reason = np.array(REASONS, object)[to_cpu(part.reason)]
        is_open = reason == "open"
        reason[is_open] = NO_OFFER
        detail = np.array(part.blocked_by, object)
        is_wanted = np.zeros(len(reason), bool)
        is_wanted[order[(found.best[b] >= 0).any(axis=0)]] = True
        detail[is_open & is_wanted] = LEFT_OUT
        if found.status == Status.INFEASIBLE:
            reason[is_open], detail[is_open] = CONFLICT, NOTHING
        frame = pd.DataFrame(
            {"subscriber": _host(part.subscriber), "reason": reason, "detail": detail}
        )
        frames.append(frame[~contacted])
    return pd.concat(frames, ignore_index=True).sort_values(
        "subscriber", kind="stable", ignore_index=True
    )


def funnel(subscribers: int, contacted: int, left_out: Any, status: Status) -> list[dict[str, Any]]:
    """Return how many subscribers remain or leave at each step, with the reason in words."""
    counts = left_out["reason"].value_counts()
    known = {"subscribers": subscribers, "contacted": contacted}
    other = NO_OFFER if status == Status.INFEASIBLE else CONFLICT
    return [
        {"step": step, "subscribers": int(known.get(step, counts.get(step, 0))), "text": text}
        for step, text in STEPS.items()
        if step != other
    ]


def by(table: Any, column: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return contacts, expected acceptances, value and cost by offer or channel."""
    totals = table.groupby(column)[["propensity", "value", "cost"]].sum()
    contacts = table[column].value_counts()
    rows = []
    for name in names:
        found = totals.loc[name] if name in totals.index else None
        rows.append(
            {
                column: name,
                "contacts": int(contacts.get(name, 0)),
                "acceptances": 0.0 if found is None else float(found["propensity"]),
                "value": 0.0 if found is None else float(found["value"]),
                "cost": 0.0 if found is None else float(found["cost"]),
            }
        )
    return rows


def segments(features: Any, table: Any) -> dict[str, list[dict[str, Any]]]:
    """Return, for each text column of few values, who was contacted and what that is worth.

    Args:
        features: subscriber and its text columns.
        table: from :func:`allocated`.
    """
    own = table.groupby("subscriber").agg(contacts=("offer", "size"), value=("value", "sum"))
    ordered = features.sort_values("subscriber", kind="stable", ignore_index=True)
    reached = own.reindex(ordered["subscriber"]).reset_index(drop=True)
    out: dict[str, list[dict[str, Any]]] = {}
    for column in features.columns.drop("subscriber"):
        if features[column].nunique() > MOST_SEGMENTS:
            continue
        named = reached.assign(segment=ordered[column])  # whatever the column's own name is
        out[column] = [
            {
                "segment": "unknown" if pd.isna(segment) else str(segment),
                "subscribers": len(rows),
                "contacted": int(rows["contacts"].notna().sum()),
                "contacts": int(rows["contacts"].sum()),
                "value": float(rows["value"].sum()),
            }
            for segment, rows in named.groupby("segment", dropna=False, sort=True)
        ]
    return out


def worth(problem: Problem, k: int, price: float | None) -> str:
    """Return what one unit more of limit k would be worth, in words; without a price, why."""
    if price is None:
        return "limits conflict"
    if price == 0.0:
        return "not binding: one unit more is worth nothing"
    more = "less to deliver" if problem.rows[k].is_minimum else "more"
    return f"one {problem.unit(k)} {more} would be worth {price:.4g} {problem.currency}"
