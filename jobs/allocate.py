"""Stage ``allocate``: features and propensities in, certified allocations out."""

from dataclasses import asdict
from math import isinf
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pandas as pd

from engine import decisions, sensitivity, tables
from engine.baselines import Baseline, Instance, arrival_order, greedy
from engine.candidates import Candidates, Placed, assemble, candidates
from engine.errors import AllocationError
from engine.limits import MICRO, limits
from engine.offer_oracle import OfferOracle
from engine.problem import joined, to_host
from engine.settings import Job
from engine.solve import Allocation, Status, solve
from engine.stop import first_ctrl_c
from engine.zoom import Step
from jobs.certify import Part, certified, frames_of
from jobs.cluster import frames
from jobs.manifest import write_json
from jobs.tasks import Tasks

ROWS_A_FILE = 1_000_000
CLEAR_FALL = 0.7
INTERRUPTED = "interrupted: the best answer so far is certified and kept; Ctrl-C again ends at once"


def allocate(job: Job, stages: dict[str, Path], folder: Path, tasks: Tasks) -> dict[str, Any]:
    """Decide who gets which offer on which channel, and certify it.

    Args:
        job: the job.
        stages: folders of the stages ``ingest``, ``profile`` and ``score``.
        folder: an empty folder; receives ``allocations/``, ``decisions/``, ``prices.json`` and
            ``certificate.json``.
        tasks: where the partitions run.

    Returns:
        The summary that the report shows.
    """
    parts = parts_of(job, stages)
    found_parts = tasks.map("candidates", read_candidates, parts, rows=lambda c: len(c.reason))
    placed = assemble(job, found_parts)

    stop = Event()

    def tell(step: Step) -> None:
        if stop.is_set():
            tasks.tell(INTERRUPTED)
        else:
            tasks.tell("solve", gap=step.gap, bound=step.bound, active=step.active)

    try:
        with first_ctrl_c(stop.set):
            found = solve(placed.problem, job.solver, tell, stop=stop)
    except AllocationError:
        if stop.is_set():  # nothing to publish: it ends as any interrupted run
            raise KeyboardInterrupt from None
        raise
    is_answered = found.status != Status.INFEASIBLE
    figures = {"gap": found.gap, "value": found.value} if is_answered else {}
    tasks.tell("solve", status=str(found.status), **figures)
    table = decisions.allocated(job, placed, found_parts, found)
    left_out = decisions.undecided(placed, found_parts, found)
    _write_rows(table.drop(columns="partition"), folder / "allocations")
    _write_rows(left_out, folder / "decisions")
    certificate = certified(job, placed.problem, found, (parts, folder, tasks))
    priced = _priced(job, placed, found, certificate)
    write_json(folder / "certificate.json", certificate)
    write_json(folder / "prices.json", {"currency": job.catalogue.currency, "prices": priced})
    return _summary(job, placed, found_parts, found, (table, left_out, certificate, priced, parts))


def parts_of(job: Job, stages: dict[str, Path]) -> list[Part]:
    """Return the partitions' files of a job whose scores are there."""
    return [
        Part(
            job,
            frames(job.cluster),
            path,
            stages["score"] / "propensity" / path.name,
            stages["ingest"] / "events" / "contacts" / path.name if job.inputs.contacts else None,
        )
        for path in sorted((stages["profile"] / "features").glob("part-*.parquet"))
    ]


def read_candidates(part: Part) -> Candidates:
    """Read one partition and find what its subscribers may get."""
    return candidates(part.job, *frames_of(part, part.backend))


def _priced(
    job: Job, placed: Placed, found: Allocation, certificate: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return each limit with its use, price and what one unit more is worth.

    The range of the limit over which its price holds is an estimate; nothing certifies it.
    """
    problem, rows = placed.problem, []
    held = None
    if found.status != Status.INFEASIBLE:
        oracle = OfferOracle(problem, problem.blocks)
        held = sensitivity.ranges(problem, *sensitivity.foretold(oracle, found.prices))
    for k, limit in enumerate(limits(job)):
        price = certificate["constraints"][k]["price"]
        amount = limit.amount / MICRO
        rows.append(
            {
                "name": limit.name,
                "measure": limit.measure,
                "unit": problem.units(k),
                "use": certificate["constraints"][k]["use"],
                "at_least": amount if limit.is_minimum else None,
                "at_most": None if limit.is_minimum else amount,
                "price": price,
                "holds_from": None if held is None else held[k][0],
                "holds_to": None if held is None or isinf(held[k][1]) else held[k][1],
                "worth": decisions.worth(problem, k, price),
            }
        )
    return rows


def _summary(
    job: Job, placed: Placed, parts: list[Candidates], found: Allocation, made: tuple[Any, ...]
) -> dict[str, Any]:
    table, left_out, certificate, priced, files = made
    catalogue = job.catalogue
    is_answered = found.status != Status.INFEASIBLE
    subscribers = sum(len(part.reason) for part in parts)
    contacted = int(table["subscriber"].nunique())
    offers = decisions.by(table, "offer", list(catalogue.offers))
    channels = decisions.by(table, "channel", list(catalogue.channels))
    return {
        "status": str(found.status),
        "remedy": found.remedy,
        "interrupted": found.was_interrupted,
        "currency": catalogue.currency,
        "value": certificate["value"],
        "bound": min(certificate["bound"], found.bound) if is_answered else None,
        "gap": min(certificate["gap"], found.gap) if is_answered else None,
        "bound_by": found.bound_by if is_answered else None,
        "certified": certificate["certified"],
        "constraints": priced,
        "funnel": decisions.funnel(subscribers, contacted, left_out, found.status),
        "offers": [{**o, "category": catalogue.offers[o["offer"]].category} for o in offers],
        "channels": [
            {**c, "capacity": catalogue.channels[c["channel"]].capacity} for c in channels
        ],
        "segments": decisions.segments(_text_columns(files), table),
        "baselines": _baselines(placed, certificate, len(table)) if is_answered else [],
        "iterations": [_told(step, found) for step in _telling(found.iterations) if is_answered],
        "violations": len(certificate["violations"]),
        "conflict": [asdict(conflict) for conflict in found.conflict],
        "subscribers": subscribers,
        "contacts": len(table),
        "contacted": contacted,
    }


def _telling(steps: list[Step]) -> list[Step]:
    """Return the steps worth showing: the first, the last ones, and each clear fall of the gap."""
    kept: list[Step] = []
    for step in steps:
        if step.step != "zoom" or not kept or step.gap < CLEAR_FALL * kept[-1].gap:
            kept.append(step)
    return kept


def _told(step: Step, found: Allocation) -> dict[str, Any]:
    value = found.value if step.step == "rounded" else None
    return {**asdict(step), "value": value}


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
            "violations": sum(c["overrun"] > 0 for c in certificate["constraints"]),
            "text": "this allocation",
        }
    ]
    instance = _instance(placed)
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
                "value": baseline.value,
                "contacts": baseline.contacts,
                "violations": baseline.violations,
                "text": f"{text}; minimums are not pursued",
            }
        )
    return rows


def _instance(placed: Placed) -> Instance:
    """Return the whole problem as arrays on the host; subscribers arrive in order of their hash."""
    problem = placed.problem
    block = joined([to_host(b) for b in problem.blocks])
    return Instance(
        block.propensity, block.weight, block.most, block.channel_most, block.category_most,
        problem.offer, problem.channel, problem.category, problem.value_fixed,
        problem.value_accept, problem.in_scope, block.group, problem.use_fixed,
        problem.use_accept, problem.limit, np.array([row.is_minimum for row in problem.rows], bool),
        block.key.argsort(kind="stable"),
    )  # fmt: skip


def _write_rows(table: Any, folder: Path) -> None:
    folder.mkdir()
    for i, begin in enumerate(range(0, max(1, len(table)), ROWS_A_FILE)):
        tables.write(table.iloc[begin : begin + ROWS_A_FILE], folder / f"part-{i:05d}.parquet")
