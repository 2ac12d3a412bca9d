"""``walras explain``: one subscriber of a finished run: its contacts, policies and offers."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError
from rich.table import Table
from rich.text import Text

from engine import tables, zones
from engine.actions import OF_A_DAY, actions_of, labels
from engine.assemble import assemble
from engine.candidates import candidates
from engine.errors import ConfigError, DataError
from engine.explain import Explanation, explained
from engine.history import History
from engine.households import mates
from engine.levels import last_question
from engine.levels import stages as stages_of
from engine.reasons import beside, closed
from engine.settings import Job
from engine.settings.job import LocalCluster
from engine.spread_oracle import offer_oracle
from engine.standing import Standing, instant_of, standings
from jobs.allocate import parts_of
from jobs.certify import Part, frames_of
from jobs.fatigue import filled
from jobs.pieces import amount
from jobs.run_folder import Run
from jobs.stages import STORE


@dataclass(frozen=True)
class _One:
    """One subscriber's rows, then those of the other members of its household."""

    job: Job
    features: Any
    propensity: Any
    history: History


def explain(run: Run, subscriber: str) -> dict[str, Any]:
    """Return what a run knows of a subscriber.

    Args:
        run: the run.
        subscriber: its key, as text.

    Raises:
        ConfigError: the stages that the run came from are gone, or there is no such subscriber.
    """
    job, folders = _origin(run)
    one = _found(job, parts_of(job, folders), subscriber)
    at, zone = instant_of(job, one.features)
    names = labels(job)
    got, *others = _chosen(run.folder, one)
    certificate = json.loads((run.folder / "certificate.json").read_text(encoding="utf-8"))
    told = _explained(run.folder, certificate, one, [got, *others])
    bundle = told.best if told else got
    shut = closed(job, one.features, one.history)[0]
    apart = beside(job, (one.features, one.history), bundle, others)
    keys = one.features["subscriber"].tolist()
    return {
        "subscriber": keys[0],
        "time_zone": zone,
        "sent": _local(at, zone),
        "days": job.horizon.days,
        "gets": [names[a] for a in got],
        "household": [
            {"subscriber": key, "gets": [names[a] for a in own]}
            for key, own in zip(keys[1:], others, strict=True)
        ],
        "surplus": told.chosen_surplus if told else None,
        "best_surplus": told.best_surplus if told else None,
        "best": [names[a] for a in told.best] if told else None,
        "currency": job.catalogue.currency,
        "pursued": _pursued(job, certificate) if told else None,
        "policies": [
            _standing(s, zone, names, keys) for s in standings(job, one.features, one.history)
        ],
        "actions": [
            _action(a, name, told, is_chosen=a in got, why=shut[a] or apart[a])
            for a, name in enumerate(names)
        ],
    }


def _pursued(job: Job, certificate: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stage whose values, prices and surpluses are told, the last, and its aim."""
    *before, last = stages_of(job)
    return {
        "stage": last.name,
        "after": [stage.name for stage in before],
        **certificate["objective"],
    }


def _origin(run: Run) -> tuple[Job, dict[str, Path]]:
    """Return the job of a run, and the folders of the stages that it came from."""
    try:
        job = Job.model_validate(run.manifest["job"])
        prints = run.manifest["fingerprints"]
        store = run.folder.absolute().parent / STORE
        folders = {name: store / f"{name}-{prints[name][:16]}" for name in
                   ("ingest", "profile", "score")}  # fmt: skip
    except (KeyError, TypeError, ValidationError) as error:
        raise ConfigError(
            f"{run.folder}: its manifest is not of this walras ({type(error).__name__}); run the "
            "job again"
        ) from None
    gone = [name for name, folder in folders.items() if not (folder / "stage.json").exists()]
    if gone:
        raise ConfigError.of(
            f"{run.folder}: stage {name} that it came from was deleted, {folders[name]} is not "
            "there; run the job again to another output"
            for name in gone
        )
    return filled(job.model_copy(update={"cluster": LocalCluster()}), folders["score"]), folders


def _found(job: Job, parts: Sequence[Part], subscriber: str) -> _One:
    """Return the rows of a subscriber, wherever they are."""
    rows = 0
    for part in parts:
        keys = pq.read_table(part.features, columns=["subscriber"])["subscriber"]
        at = pc.index(pc.cast(keys, "string"), subscriber).as_py()
        rows += len(keys)
        if at < 0:
            continue
        features, propensity, history = frames_of(part, "pandas")
        own_rows = mates(job, features, at)
        own = features.iloc[own_rows].reset_index(drop=True)

        def of(frame: Any, keys: Any = own["subscriber"]) -> Any:
            return (
                None if frame is None else frame[frame["subscriber"].isin(keys)]
                .reset_index(drop=True)
            )  # fmt: skip

        return _One(job, own, propensity.iloc[own_rows].reset_index(drop=True),
                    History(of(history.contacts), of(history.outcomes)))  # fmt: skip
    raise ConfigError(
        f"explain: no such subscriber, got {subscriber}; there are {rows:,} in the run"
    )


def _chosen(folder: Path, one: _One) -> list[tuple[int, ...]]:
    """Return the actions that the run gave to a subscriber, and to each other of its household."""
    found: dict[Any, list[int]] = {key: [] for key in one.features["subscriber"].tolist()}
    place = {(a.offer, a.channel, a.day + 1): n for n, a in enumerate(actions_of(one.job))}
    columns = ["offer", "channel", *(["day"] if one.job.horizon.days > 1 else [])]
    for path in sorted((folder / "allocations").glob("*.parquet")):
        rows = tables.read(path, ["subscriber", *columns])
        own = rows[rows["subscriber"].isin(list(found))]
        own = own.assign(**{} if "day" in columns else {"day": 1})
        names = ("subscriber", "offer", "channel", "day")
        for key, *action in zip(*(own[name] for name in names), strict=True):
            found[key].append(place[tuple(action)])
    return [tuple(sorted(bundle)) for bundle in found.values()]


def _explained(
    folder: Path, certificate: Mapping[str, Any], one: _One, got: Sequence[tuple[int, ...]]
) -> Explanation | None:
    """Return values and prices paid in what was pursued last; None: there are no prices.

    Args:
        folder: of the run.
        certificate: of the run.
        one: the subscriber.
        got: what it gets, then the others of its household.
    """
    prices = [row["price"] for row in certificate["constraints"]]
    if None in prices or certificate["status"] == "INFEASIBLE":
        return None
    part = candidates(one.job, one.features, one.propensity, one.history)
    placed = assemble(one.job, [part], is_whole=False)
    scales = {row["name"]: row["scale"] for row in certificate["constraints"] if "scale" in row}
    problem = placed.stock.pose(last_question(one.job, scales))
    if [row["name"] for row in certificate["constraints"]] != [row.name for row in problem.rows]:
        raise DataError(f"{folder}: its certificate has other limits than its job")
    names = labels(one.job)
    (block,), (order,) = problem.blocks, placed.order
    block = block.take(np.flatnonzero(order == 0))
    return explained(offer_oracle(problem), np.array(prices), block, chosen=got[0], names=names,
                     reasons=None, others=got[1:])  # fmt: skip


def _standing(
    one: Standing, zone: str, names: Sequence[str], keys: Sequence[Any]
) -> dict[str, Any]:
    return {
        "policy": one.policy,
        "kind": one.kind,
        "group": one.group,
        "used": one.used,
        "allowed": one.allowed,
        "day": None if one.day is None else one.day + 1,
        "contacts": [
            {
                "time": _local(c.time, zone),
                "offer": c.kind.offer,
                "channel": c.kind.channel,
                "subscriber": keys[c.of],
            }
            for c in one.contacts
        ],  # fmt: skip
        "blocks": [names[a] for a in one.blocked],
        "until": None if one.until is None else _local(one.until, zone),
    }


def _local(instant: int, zone: str) -> str:
    return datetime.fromtimestamp(instant, zones.zone(zone)).isoformat()


def _action(
    a: int, name: str, told: Explanation | None, *, is_chosen: bool, why: str
) -> dict[str, Any]:
    own = told.actions[a] if told else None
    change = own.change if own else None
    is_open = own.is_open if own else not why
    return {
        "action": name,
        "is_chosen": is_chosen,
        "is_open": is_open,
        "reason": "" if is_chosen else why,
        "propensity": own.propensity if own else None,
        "value": own.value if own and is_open else None,
        "paid": own.paid if own else {},
        "surplus": own.surplus if own and is_open else None,
        "more_value_needed": change.shortfall if change else None,
        "or_price": change.prices if change else {},
    }


def shown(told: Mapping[str, Any]) -> Iterator[Any]:
    """Yield a subscriber's explanation as rich renderables."""
    gets = " and ".join(told["gets"]) or "nothing"
    yield Text(f"subscriber {told['subscriber']} gets {gets}")
    days = f" on {told['days']} days, the first" if told["days"] > 1 else ""
    if told["household"]:
        others = "; ".join(f"{own['subscriber']} gets {' and '.join(own['gets']) or 'nothing'}"
                           for own in told["household"])  # fmt: skip
        yield Text(f"of its household {others}; its own offers are judged beside these")
    yield Text(f"contacts go out{days} at {told['sent']} ({told['time_zone']})")
    is_less = told["best"] is not None and told["surplus"] < told["best_surplus"]
    if is_less and told["best"] != told["gets"]:  # of equals another may have been taken
        best = " and ".join(told["best"]) or "nothing"
        yield Text(f"best at the prices is {best}; a limit is kept or filled by giving it up")
    title = "Policies with contacts in their window, and those that block"
    title += "; of each cap the day with the fullest window" if told["days"] > 1 else ""
    head = ("policy", "of", "used", "contacts in its window", "blocks", "until")
    policies = _table(title, *head)
    for row in told["policies"]:
        if not (row["contacts"] or row["blocks"]):
            continue
        used = "" if row["used"] is None else f"{row['used']} of {row['allowed']}"
        used += f", day {row['day']}" if used and told["days"] > 1 else ""
        contacts = "\n".join(_contact(c, told["subscriber"]) for c in row["contacts"])
        cells = row["policy"], row["group"], used, contacts, "\n".join(_by_pair(row["blocks"]))
        policies.add_row(*map(Text, (*cells, row["until"] or ("not known" if cells[4] else ""))))
    yield policies
    unit, pursued = told["currency"], told["pursued"]
    if pursued:
        unit = pursued["unit"]
    if pursued and pursued["after"]:
        aim = " ".join(
            f"{way} {pursued[way]}" for way in ("maximise", "minimise") if way in pursued
        )
        yield Text(
            f"values, prices and surplus are of {pursued['stage']}, {aim}; it keeps what "
            f"{', '.join(pursued['after'])} reached"
        )
    best = ", each on its best day" if told["days"] > 1 else ""
    offers = _table(
        f"Offers{best}", "action", f"value, {unit}", "prices paid", f"surplus, {unit}", "why"
    )
    for row in _of_each_pair(told["actions"]):
        paid = "\n".join(f"{name} {amount(x)}" for name, x in row["paid"].items())
        figures = ("" if row[k] is None else amount(row[k]) for k in ("value", "surplus"))
        value, surplus = figures
        offers.add_row(*map(Text, (row["action"], value, paid, surplus, _why(row))))
    yield offers


def _contact(contact: Mapping[str, Any], subscriber: Any) -> str:
    """Return a contact as a line, with whose it is if it is another member's of the household."""
    of = contact["subscriber"]
    whose = "" if of == subscriber else f" of {of}"
    return f"{contact['time']} {contact['offer']}@{contact['channel']}{whose}"


def _by_pair(names: Sequence[str]) -> list[str]:
    """Return actions, of which those of one pair on several days are one line."""
    days: dict[str, list[str]] = {}
    for name in names:
        pair, _, day = name.partition(OF_A_DAY)
        days.setdefault(pair, []).append(day)
    return [pair if own == [""] else f"{pair}, day {', '.join(own)}" for pair, own in days.items()]


def _of_each_pair(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return of each pair what is chosen, or its day with the most surplus, the first of equals."""
    found: dict[str, Mapping[str, Any]] = {}

    def rank(row: Mapping[str, Any]) -> tuple[bool, float]:
        return row["is_chosen"], -inf if row["surplus"] is None else row["surplus"]

    for row in rows:
        pair = row["action"].partition(OF_A_DAY)[0]
        if pair not in found or rank(row) > rank(found[pair]):
            found[pair] = row
    return list(found.values())


def _table(title: str, *names: str) -> Table:
    made = Table(title=title, title_justify="left")
    for name in names:
        made.add_column(name)
    return made


def _why(row: Mapping[str, Any]) -> str:
    if row["is_chosen"]:
        return "chosen"
    needs = []
    if row["more_value_needed"] is not None:
        needs = [f"needs {row['more_value_needed']:.4g} more value"]
        needs += [f"or a price of {x:.4g} of {name}" for name, x in row["or_price"].items()]
    return "; ".join([*filter(None, [row["reason"]]), *needs])
