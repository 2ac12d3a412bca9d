"""Stage ``allocate``: features and propensities in, certified allocations out."""

from dataclasses import asdict, replace
from functools import partial
from math import inf
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pandas as pd
import psutil

from engine import decisions, goals, recheck, sensitivity, tables
from engine.assemble import Placed, assemble
from engine.baselines import Baseline, Instance, arrival_order, greedy
from engine.block import Block, joined, to_host
from engine.candidates import Candidates, candidates, described
from engine.errors import AllocationError
from engine.goals import Pursued
from engine.limits import FATIGUE
from engine.parts import Parts, told
from engine.settings import Job
from engine.solve import Allocation, Status, solve
from engine.spread_oracle import offer_oracle
from engine.stop import first_ctrl_c
from engine.zoom import Step
from jobs import policy_costs
from jobs.certify import Part, certified, frames_of
from jobs.cluster import frames
from jobs.fatigue import filled
from jobs.manifest import write_json
from jobs.tasks import Tasks

ROWS_A_FILE = 1_000_000
CLEAR_FALL = 0.7
ROOM = 10  # simple methods hold so many times the blocks' bytes: copies, lists of pairs, orders
INTERRUPTED = "interrupted: the best answer so far is certified and kept; Ctrl-C again ends at once"


def allocate(job: Job, stages: dict[str, Path], folder: Path, tasks: Tasks) -> dict[str, Any]:
    """Decide who gets which offer on which channel, and certify it.

    Args:
        job: the job.
        stages: folders of the stages ``ingest``, ``profile`` and ``score``.
        folder: an empty folder; receives ``allocations/``, ``decisions/``, ``blocked.parquet``,
            ``prices.json`` and ``certificate.json``; where policies ask for the history of
            households, ``households.parquet`` too.
        tasks: where the partitions run.

    Returns:
        The summary that the report shows.
    """
    job = filled(job, stages["score"])
    parts = parts_of(job, stages)
    found_parts = tasks.keep("candidates", read_candidates, parts, rows=_subscribers)
    placed = assemble(job, found_parts)
    found_parts = found_parts.keep(described)
    stop = Event()

    def tell(step: Step) -> None:
        if stop.is_set():
            tasks.tell(INTERRUPTED)
        else:
            tasks.tell("solve", gap=step.gap, bound=step.bound, active=step.active)

    try:
        with first_ctrl_c(stop.set):
            pursued = goals.pursue(job, placed.stock, partial(solve, stop=stop), tell)
    except AllocationError:
        if stop.is_set():  # nothing to publish: it ends as any interrupted run
            raise KeyboardInterrupt from None
        raise
    found, placed = pursued.found, replace(placed, problem=pursued.problem)
    found = replace(found, was_interrupted=found.was_interrupted or stop.is_set())
    is_answered = found.status != Status.INFEASIBLE
    figures = {"gap": found.gap, "value": found.value} if is_answered else {}
    tasks.tell("solve", status=str(found.status), **figures)
    table = decisions.allocated(job, placed, found_parts, found)
    left_out = decisions.undecided(placed, found_parts, found)
    _write_rows(table.drop(columns="partition"), folder / "allocations")
    _write_rows(left_out, folder / "decisions")
    if recheck.asks_households(job):
        tables.write(contacted_households(job, parts, table), folder / "households.parquet")
    certificate = certified(job, pursued, (parts, folder, tasks))
    priced = _priced(pursued, certificate, _held(pursued))
    costed = policy_costs.costs(job, placed, found, parts)
    tables.write(costed.blocked, folder / "blocked.parquet")
    write_json(folder / "certificate.json", certificate)
    write_json(folder / "prices.json", {"currency": job.catalogue.currency, "prices": priced})
    told = _summary(job, placed, found, (table, left_out, certificate, priced, parts))
    return {**told, "policies": costed.policies, "contact_history": costed.contacts}


def parts_of(job: Job, stages: dict[str, Path]) -> list[Part]:
    """Return the partitions' files of a job whose scores are there."""
    return [
        Part(
            job,
            frames(job.cluster),
            path,
            stages["score"] / "propensity" / path.name,
            stages["ingest"],
        )
        for path in sorted((stages["profile"] / "features").glob("part-*.parquet"))
    ]


def contacted_households(job: Job, parts: list[Part], contacted: Any) -> Any:
    """Return all members of the households that get a contact, by subscriber.

    Args:
        job: the job.
        parts: its partitions.
        contacted: subscriber and partition of each contact.

    Returns:
        DataFrame: subscriber, household, as the subscribers' table has them.
    """
    names = {str(job.inputs.subscribers.household): recheck.HOUSEHOLD}
    found = []
    for b, part in enumerate(parts):
        rows = tables.read(part.features, ["subscriber", *names]).rename(columns=names)
        home = rows[recheck.HOUSEHOLD]
        rows = rows[home.notna() & (home.astype("str") != "")]
        own = contacted.loc[contacted["partition"] == b, "subscriber"]
        homes = rows.loc[rows["subscriber"].isin(own), recheck.HOUSEHOLD]
        found.append(rows[rows[recheck.HOUSEHOLD].isin(homes)])
    return pd.concat(found).sort_values("subscriber", kind="stable", ignore_index=True)


def _subscribers(found: Candidates) -> int:
    return len(found.reason)


def read_candidates(part: Part) -> Candidates:
    """Read one partition and find what its subscribers may get."""
    return candidates(part.job, *frames_of(part, part.backend))


def _held(pursued: Pursued) -> dict[str, tuple[float, float] | None]:
    """Return the range of each limit over which its price holds, an estimate, as far as told."""
    problem, found = pursued.problem, pursued.found
    if found.status == Status.INFEASIBLE:
        return {}
    oracle = offer_oracle(problem)
    ends = sensitivity.foretold(oracle, found.prices)
    return sensitivity.ranges(problem, found.prices, *ends)


def _priced(
    pursued: Pursued, certificate: dict[str, Any], held: dict[str, tuple[float, float] | None]
) -> list[dict[str, Any]]:
    """Return each limit with its use, price and what one unit more is worth; measured ones too."""
    problem, rows = pursued.problem, []
    unit = certificate["objective"]["unit"]
    for k, row in enumerate(certificate["constraints"]):
        if "penalty" in row and row["name"] == FATIGUE:
            rows.append(_cost(row))
            continue
        side = "at_least" if row["is_minimum"] else "at_most"
        low, high = held.get(problem.rows[k].twin or row["name"]) or (None, None)
        rows.append(
            {
                **_shown(row, "soft" if "penalty" in row else "hard", problem.units(k)),
                side: row["limit"],
                "price": None if row["price"] is None else row["price"] * row.get("scale", 1),
                "holds_from": None if low == -inf else low,
                "holds_to": None if high == inf else high,
                "worth": decisions.worth(problem, k, row, unit),
            }
        )
    for row in certificate["measured"]:
        own = {"at_least": row["at_least"], "at_most": row["at_most"]}
        only = {**_shown(row, "measured", row["unit"]), **own, "worth": "measured, not enforced"}
        rows.append(only)
    return rows


def _cost(row: dict[str, Any]) -> dict[str, Any]:
    """Return what contacts cost in annoyance, in the columns of limits: its price is always 1."""
    spent = f"what contacts cost in annoyance: {row['use']:,.2f} {row['unit']} in all"
    return {**_shown(row, "cost", row["unit"]), "price": row["price"], "worth": spent}


def _shown(row: dict[str, Any], kind: str, unit: str) -> dict[str, Any]:
    """Return what is told of any constraint; a ratio's numerator and denominator too."""
    is_ratio = "denominator" in row
    return {
        "name": row["name"],
        "measure": row["measure"],
        "kind": kind,
        "unit": f"{row['unit']} / {row['per']}" if is_ratio else unit,
        "use": row["use"],
        "at_least": None,
        "at_most": None,
        "price": None,
        "holds_from": None,
        "holds_to": None,
        "worth": "",
        "overrun": row.get("overrun"),
        **{name: row.get(name) for name in ("penalty", "paid", "numerator", "denominator")},
    }


def _summary(job: Job, placed: Placed, found: Allocation, made: tuple[Any, ...]) -> dict[str, Any]:
    table, left_out, certificate, priced, files = made
    catalogue, sign = job.catalogue, -1 if "minimise" in certificate["objective"] else 1
    is_answered = found.status != Status.INFEASIBLE
    subscribers = placed.problem.subscribers
    contacted = int(table["subscriber"].nunique())
    offers = decisions.by(table, "offer", list(catalogue.offers))
    channels = decisions.by(table, "channel", list(catalogue.channels))
    return {
        "status": str(found.status),
        "remedy": found.remedy,
        "interrupted": found.was_interrupted,
        "currency": catalogue.currency,
        "objective": certificate["objective"],
        "value": certificate["value"],
        "expected_value": certificate["expected_value"],
        "penalties": certificate["penalties"],
        **{name: certificate[name] for name in ("fatigue",) if name in certificate},
        "bound": _tighter(certificate, found) if is_answered else None,
        "gap": min(certificate["gap"], found.gap) if is_answered else None,
        "bound_by": found.bound_by if is_answered else None,
        "certified": certificate["certified"],
        "stages": certificate["stages"],
        "constraints": priced,
        "funnel": decisions.funnel(subscribers, contacted, left_out, found.status),
        "offers": [{**o, "category": catalogue.offers[o["offer"]].category} for o in offers],
        "channels": [
            {**c, "capacity": catalogue.channels[c["channel"]].capacity} for c in channels
        ],
        **_plan(job, table),
        "segments": decisions.segments(_text_columns(files), table),
        "baselines": _baselines(placed, certificate, len(table)) if is_answered else [],
        "iterations": [
            _told(step, found, sign) for step in _telling(found.iterations) if is_answered
        ],
        "violations": len(certificate["violations"]),
        "conflict": [asdict(conflict) for conflict in found.conflict],
        "subscribers": subscribers,
        "contacts": len(table),
        "contacted": contacted,
    }


def _plan(job: Job, table: Any) -> dict[str, Any]:
    """Return what goes out day by day, of several days."""
    days = job.horizon.days
    if days == 1:
        return {}
    return {"plan": decisions.by_day(table, list(job.catalogue.channels), days)}


def _tighter(certificate: dict[str, Any], found: Allocation) -> float:
    """Return the better one of the certificate's bound and the one that the solver has proved."""
    proved: float = certificate["proved"]["bound"]
    is_better = found.gap < certificate["gap"]
    return proved if is_better else float(certificate["bound"])


def _telling(steps: list[Step]) -> list[Step]:
    """Return the steps worth showing: the first, the last ones, and each clear fall of the gap."""
    kept: list[Step] = []
    for step in steps:
        if step.step != "zoom" or not kept or step.gap < CLEAR_FALL * kept[-1].gap:
            kept.append(step)
    return kept


def _told(step: Step, found: Allocation, sign: int) -> dict[str, Any]:
    value = sign * found.value if step.step == "rounded" else None
    return {**asdict(step), "bound": sign * step.bound, "value": value}


def _text_columns(files: list[Part]) -> Any:
    names = None
    found = []
    for part in files:
        frame = tables.read(part.features, names)
        if names is None:
            kinds = tables.schema(frame)
            names = ["subscriber", *(n for n in frame.columns if kinds.get(n) == "text")]
            names = list(dict.fromkeys(names))
        found.append(frame[names])
    return pd.concat(found, ignore_index=True)


def _baselines(placed: Placed, certificate: dict[str, Any], contacts: int) -> list[dict[str, Any]]:
    rows = [
        {
            "name": "walras",
            "value": certificate["value"],
            "contacts": contacts,
            "violations": sum(
                c["overrun"] > 0 and "penalty" not in c for c in certificate["constraints"]
            ),
            "text": "this allocation",
        }
    ]
    if not _fits_here(placed):
        rows[0]["text"] += "; simple methods are not computed at this size"
        return rows
    instance, sign = _instance(placed), -1 if "minimise" in certificate["objective"] else 1
    compared: tuple[tuple[str, Baseline, str], ...] = (
        ("greedy", greedy(instance), "the most valuable pairs first, while limits have room"),
        (
            "no optimisation",
            arrival_order(instance),
            "subscribers as they come, each its most valuable offers while there is room",
        ),
    )
    for name, baseline, text in compared:
        rows.append(
            {
                "name": name,
                "value": sign * baseline.value + 0.0,  # no -0.0
                "contacts": baseline.contacts,
                "violations": baseline.violations,
                "text": f"{text}; minimums are not pursued",
            }
        )
    return rows


def _fits_here(placed: Placed) -> bool:
    """Return whether this machine has room for all actions of blocks.

    Blocks of one day that are here already have had it.
    """
    blocks, days = placed.problem.blocks, placed.problem.rules.days
    if not isinstance(blocks, Parts) and days == 1:
        return True
    size = sum(told(blocks, _bytes))
    return bool(ROOM * days * size <= psutil.virtual_memory().available)


def _bytes(block: Block) -> int:
    return sum(int(array.nbytes) for array in block.__dict__.values())


def _instance(placed: Placed) -> Instance:
    """Return the whole problem as arrays on the host; subscribers arrive in order of their hash."""
    problem = placed.problem
    block = problem.spread(joined([to_host(b) for b in problem.blocks]))
    return Instance(
        block.propensity, block.weight, block.most, block.fewest, block.cap,
        problem.offer, problem.rules, problem.value_fixed,
        problem.value_accept, problem.in_scope, block.group, problem.use_fixed,
        problem.use_accept, problem.limit, np.array([row.is_minimum for row in problem.rows], bool),
        block.key.argsort(kind="stable"), problem.term_of, problem.penalty, problem.is_charged,
        block.household[0] if len(block.household) else None, block.room,
    )  # fmt: skip


def _write_rows(table: Any, folder: Path) -> None:
    folder.mkdir()
    for i, begin in enumerate(range(0, max(1, len(table)), ROWS_A_FILE)):
        tables.write(table.iloc[begin : begin + ROWS_A_FILE], folder / f"part-{i:05d}.parquet")
