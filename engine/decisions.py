"""An allocation as tables: who gets what and why, who gets nothing and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from engine.actions import actions_of
from engine.assemble import Placed
from engine.block import Block
from engine.candidates import REASONS, Candidates
from engine.limits import MICRO, coefficients
from engine.parts import Dealt, Parts, parts_of
from engine.problem import Problem
from engine.settings import Job
from engine.solve import Allocation, Status
from kernels.backend import to_cpu

NO_OFFER, CONFLICT = "no_offer_worth_its_price", "limits_conflict"
BEST, TIE = "best at the prices", "near tie, chosen to fill the limits"
LEFT_OUT, NOTHING = "near tie, left out to keep the limits", "nothing allocated: limits conflict"
BESIDE = "beside what others of its household get"
RATIO_STEP = 0.01  # of a ratio: what its worth is told for
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


def allocated(
    job: Job, placed: Placed, parts: Sequence[Candidates] | Parts, found: Allocation
) -> Any:
    """Return the allocations, ordered by subscriber and action.

    Returns:
        DataFrame: subscriber, time (when it goes out, UTC), time_zone, of a plan of several days
        day (from 1 on), offer, channel, value (money, weighted, expected), cost (money, expected),
        propensity, surplus (what it adds to what is pursued, less the prices paid), reason,
        dearest_limit (the limit that took most of the price, or empty), partition.
    """
    blocks, order = parts_of(placed.problem.blocks), parts_of(placed.order)
    taken = Dealt(list(zip(range(len(blocks)), found.chosen, found.best, strict=True)))
    asked = _Asked(job, placed.problem.with_blocks([]), found.prices)
    frames = parts_of(parts).map(_allocated, blocks, order, taken, asked)
    table = pd.concat(frames, ignore_index=True)
    table = table.sort_values(["subscriber", "action"], kind="stable", ignore_index=True)
    return _texts(
        table.drop(columns="action"), "time_zone", "offer", "channel", "reason", "dearest_limit"
    )


@dataclass(frozen=True, eq=False)
class _Asked:
    """What is the same for all partitions."""

    job: Job
    problem: Problem  # without its blocks
    prices: Any


def _allocated(
    part: Candidates, block: Block, order: Any, taken: tuple[int, Any, Any], asked: _Asked
) -> Any:
    b, chosen, best = taken
    row, action, is_best = _contacts(chosen, best)
    own = to_cpu(order)[row]
    subscriber = _host(part.subscriber)[own]
    weight = to_cpu(part.weight)[own].astype(np.float64)
    told = _told(block, asked, (b, subscriber, weight, row, action, is_best))
    zone, times = to_cpu(part.times.zone)[own], part.times
    told.insert(1, "time", times.table[zone, action % times.days].astype("datetime64[s]"))
    told.insert(2, "time_zone", np.array(times.zones, object)[zone])
    if times.days > 1:
        told.insert(3, "day", action % times.days + 1)
    return told.assign(time=told["time"].dt.tz_localize("UTC"))


def _contacts(chosen: Any, best: Any) -> tuple[Any, Any, Any]:
    """Return row, action and whether the prices alone would choose it, of every contact."""
    place, row = np.nonzero(chosen >= 0)
    action = chosen[place, row].astype(np.int64)
    return row, action, (best[:, row] == action).any(axis=0)


def _told(block: Block, asked: _Asked, contacts: tuple[Any, ...]) -> Any:
    b, subscriber, weight, row, action, is_best = contacts
    job, problem, prices = asked.job, asked.problem, asked.prices
    fixed, accept = problem.value_fixed / MICRO, problem.value_accept / MICRO
    p = to_cpu(block.propensity)[problem.row_of(block, action), row].astype(np.float64)
    counted = to_cpu(block.weight)[row].astype(np.float64)
    group = to_cpu(block.group)[row]

    def money(measure: str) -> tuple[Any, Any]:
        fixed, accept = zip(*coefficients(job, measure), strict=True)
        return np.array(fixed, np.float64) / MICRO, np.array(accept, np.float64) / MICRO

    cost_fixed, cost_accept = money("cost")
    value_fixed, value_accept = money("value")
    pursued = counted * (fixed[action] + accept[action] * p)
    use_fixed, use_accept = problem.use_fixed / MICRO, problem.use_accept / MICRO
    paid, dearest, name = np.zeros(len(p)), np.zeros(len(p)), np.full(len(p), "", object)
    for k in np.flatnonzero(prices).tolist():
        share = np.zeros(len(p))
        for t in np.flatnonzero(problem.terms == k).tolist():
            use = use_fixed[t, action] + use_accept[t, action] * p
            share += prices[k] * use * problem.in_scope[t, group]
        paid += share
        name[share > dearest] = problem.rows[k].name
        dearest = np.maximum(dearest, share)
    acts = actions_of(job)
    return pd.DataFrame(
        {
            "subscriber": subscriber,
            "offer": np.array([a.offer for a in acts], object)[action],
            "channel": np.array([a.channel for a in acts], object)[action],
            "value": weight * (value_fixed[action] + value_accept[action] * p),
            "cost": cost_fixed[action] + cost_accept[action] * p,
            "propensity": p,
            "surplus": pursued - paid,
            "reason": np.where(is_best, BEST, TIE),
            "dearest_limit": name,
            "action": action,
            "partition": b,
        }
    )


def _host(series: Any) -> Any:
    return np.asarray(series.to_pandas() if hasattr(series, "to_pandas") else series)


def undecided(placed: Placed, parts: Sequence[Candidates] | Parts, found: Allocation) -> Any:
    """Return those without an offer, ordered by subscriber: subscriber, reason, detail."""
    has = [
        tuple((bundles >= 0).any(axis=0) for bundles in pair)
        for pair in zip(found.chosen, found.best, strict=True)
    ]
    blocks, order = parts_of(placed.problem.blocks), parts_of(placed.order)
    frames = parts_of(parts).map(_undecided, blocks, order, Dealt(has), found.status)
    table = pd.concat(frames, ignore_index=True)
    table = table.sort_values("subscriber", kind="stable", ignore_index=True)
    return _texts(table, "reason", "detail")


def _texts(table: Any, *names: str) -> Any:
    """Return the table with text columns of one type, also where a partition has no rows."""
    return table.astype(dict.fromkeys(names, "str"))


def _undecided(
    part: Candidates, block: Block, order: Any, has: tuple[Any, Any], status: Status
) -> Any:
    contacted, is_wanted, is_beside = np.zeros((3, len(part.reason)), bool)
    order = to_cpu(order)
    contacted[order[has[0]]] = True
    is_wanted[order[has[1]]] = True
    for home in to_cpu(block.household):
        is_beside[order] = (home >= 0) & np.isin(home, home[has[0]])
    reason = np.array(REASONS, object)[to_cpu(part.reason)]
    is_open = reason == "open"
    reason[is_open] = NO_OFFER
    detail = np.array(part.blocked_by, object)
    detail[is_open & is_beside] = BESIDE
    detail[is_open & is_wanted] = LEFT_OUT
    if status == Status.INFEASIBLE:
        reason[is_open], detail[is_open] = CONFLICT, NOTHING
    frame = pd.DataFrame({"subscriber": _host(part.subscriber), "reason": reason, "detail": detail})
    return frame[~contacted]


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


def by(table: Any, column: str, names: Sequence[Any]) -> list[dict[str, Any]]:
    """Return contacts, expected acceptances, value and cost by offer, channel or day."""
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


def by_day(table: Any, channels: Sequence[str], days: int) -> list[dict[str, Any]]:
    """Return what goes out on each day of a plan: contacts by channel too, value and cost."""
    totals = by(table, "day", range(1, days + 1))
    found = table.groupby(["day", "channel"]).size()
    for row in totals:
        row["channels"] = {name: int(found.get((row["day"], name), 0)) for name in channels}
    return totals


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


def worth(problem: Problem, k: int, row: Mapping[str, Any], pursued: str) -> str:
    """Return what one unit more of limit k would be worth, in words; without a price, why.

    Args:
        problem: the allocation problem.
        k: the limit.
        row: the certificate's row of it.
        pursued: the unit of what is pursued.
    """
    price, is_minimum = row["price"], problem.rows[k].is_minimum
    if price is None:
        return "limits conflict"
    if row["overrun"]:
        missed = f"{'missed' if is_minimum else 'passed'} by {row['overrun']:.4g}"
        return f"{missed}, at {row['penalty']:.4g} {pursued} a unit: {row['paid']:,.2f} in all"
    if price == 0.0:
        return "not binding: one unit more is worth nothing"
    if "denominator" in row:
        each = price * row["scale"] * row["denominator"] * RATIO_STEP
        way = "lower" if is_minimum else "higher"
        return f"a ratio {way} by {RATIO_STEP:g} would be worth about {each:.4g} {pursued}"
    more, each = "less to deliver" if is_minimum else "more", price * row.get("scale", 1)
    return f"one {problem.unit(k)} {more} would be worth {each:.4g} {pursued}"
