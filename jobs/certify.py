"""Certify an allocation from its files as they were written, partition by partition."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine import placing, tables
from engine.certificate import Check, certify, check_partition, objective_of
from engine.goals import Pursued, Reached
from engine.history import TEXTS, History, columns_of_accepts
from engine.limits import Question
from engine.offer_core import tally_of_bundles
from engine.problem import USE_UNIT, use_units
from engine.settings import Job
from engine.solve import Status
from jobs import households, stored
from jobs.stages import remove
from jobs.tasks import Tasks


@dataclass(frozen=True)
class Part:
    """One partition's files."""

    job: Job
    backend: tables.Backend
    features: Path
    propensity: Path
    ingested: Path  # the folder of stage ``ingest``


def frames_of(
    part: Part, backend: tables.Backend, columns: Sequence[str] | None = None
) -> tuple[Any, Any, History]:
    """Read one partition: features, propensities, and what policies ask of the history.

    Args:
        part: its files.
        backend: the library that shall own the frames.
        columns: of the features; None: all.
    """
    job = part.job
    contacts = outcomes = None
    if any(policy.looks_back for policy in job.policies):
        contacts = _history(part, "contacts", backend, set())
    if any(policy.needs_outcomes for policy in job.policies):
        outcomes = _history(part, "outcomes", backend, columns_of_accepts(job))
    return (
        stored.read(part.features, columns, backend),
        stored.read(part.propensity, None, backend),
        History(contacts, outcomes),
    )


def _history(part: Part, table: str, backend: tables.Backend, more: set[str]) -> Any:
    """Read a partition's contacts, those booked for later too, or its outcomes."""
    known = part.job.inputs.tables()[table].categories
    texts = [name for name in TEXTS if name in known]
    columns = ["subscriber", "time", *texts, *sorted(more - {"subscriber", "time", *texts})]
    coded = [name for name in columns if name in known]
    name = part.features.name
    found = stored.read(part.ingested / "events" / table / name, columns, backend, coded)
    booked = part.ingested / "future" / table / name
    if table == "contacts" and part.job.inputs.ledger is not None and booked.exists():
        later = stored.read(booked, columns, backend)
        return tables.concat([found.astype(dict.fromkeys(coded, "str")), later])
    return found


@dataclass(frozen=True)
class Deal:
    """One file of written allocations, and the folder that has a folder for each partition."""

    written: Path
    folder: Path
    partitions: int
    moved: Path | None = None  # folder of who is not in the bucket of the own key; None: nobody is


def deal_out(deal: Deal) -> int:
    """Copy the rows of a written file to the partitions of their subscribers; return how many."""
    rows = tables.read(deal.written)
    place = placing.of_keys(rows["subscriber"], households.moved(deal.moved), deal.partitions)
    order = np.argsort(place, kind="stable")
    begins = np.searchsorted(place[order], np.arange(1, deal.partitions))
    for partition, own in enumerate(np.split(order, begins)):
        tables.write(rows.iloc[own], deal.folder / str(partition) / deal.written.name)
    return len(rows)


@dataclass(frozen=True)
class CheckPart:
    """One partition to certify, with the folder of what was written for its subscribers."""

    part: Part
    allocations: Path
    prices: tuple[float, ...]
    asked: Question


def check_part(check: CheckPart) -> Check:
    """Certify one partition, from the files as they were written."""
    features, propensity, history = frames_of(check.part, "pandas")
    own = [tables.read(path) for path in sorted(check.allocations.glob("*.parquet"))]
    return check_partition(
        check.part.job, features, propensity,
        history=history, allocations=tables.concat(own), prices=check.prices, asked=check.asked,
    )  # fmt: skip


def certified(job: Job, pursued: Pursued, where: tuple[list[Part], Path, Tasks]) -> dict[str, Any]:
    """Return the certificate of an allocation, with what the solver has proved.

    It is of the last stage's question. Each earlier stage is stated with its own bound, certified
    too, and with what the final allocation is worth by its measure.

    Args:
        job: the job.
        pursued: the solver's answer, and the stages before it.
        where: every partition's files, the folder that holds the written ``allocations/``, and
            where the partitions are checked.

    Raises:
        RuntimeError: the allocation is not what the solver claims, or breaks a rule.
    """
    parts, folder, tasks = where
    found, problem = pursued.found, pursued.problem
    dealt = folder / ".dealt"
    for partition in range(len(parts)):
        (dealt / str(partition)).mkdir(parents=True)
    files = sorted((folder / "allocations").glob("*.parquet"))
    moved = households.place(job, parts[0].ingested)
    deals = [Deal(path, dealt, len(parts), moved) for path in files]
    written = sum(tasks.map("read allocations", deal_out, deals, rows=int))

    def checked(question: Question, prices: Any) -> list[Check]:
        own = tuple(float(price) for price in prices)
        items = [CheckPart(part, dealt / str(i), own, question) for i, part in enumerate(parts)]
        found: list[Check] = tasks.map(
            "certify", check_part, items, rows=lambda check: check.subscribers
        )
        return found

    checks = checked(pursued.question, found.prices)
    stages = [_stage(job, s, checked(s.question, s.found.prices)) for s in pursued.before]
    remove(dealt)
    seen = sum(check.subscribers for check in checks), sum(check.contacts for check in checks)
    if seen != (problem.subscribers, written):
        raise RuntimeError(
            f"certified {seen} subscribers and contacts, but there are {problem.subscribers} and "
            f"{written} are written"
        )
    certificate = certify(job, checks, _claimed(pursued), pursued.question)
    certificate["status"] = str(found.status)
    certificate["stages"] = stages
    if found.status == Status.INFEASIBLE:
        return _without_prices(certificate)
    if not certificate["certified"]:
        raise RuntimeError(f"the allocation failed its certificate: {certificate['violations']}")
    sign = _sign(pursued.question)
    certificate["proved"] = {"bound": sign * found.bound, "gap": found.gap, "by": found.bound_by}
    return certificate


def _sign(question: Question) -> int:
    return 1 if question.aim.sign > 0 else -1


def _stage(job: Job, reached: Reached, checks: list[Check]) -> dict[str, Any]:
    """Return what a stage reached and proved, and what the final allocation is worth by it."""
    found, sign = reached.found, _sign(reached.question)
    none = {"value": 0.0, "bound": 0.0, "uses": []}
    final = certify(job, checks, none, reached.question)
    return {
        "name": reached.stage.name,
        "objective": objective_of(job, reached.question.aim),
        "status": str(found.status),
        "value": sign * found.value + 0.0,
        "bound": final["bound"],
        "gap": found.gap,
        "proved": {"bound": sign * found.bound + 0.0, "by": found.bound_by},
        "kept": dict(reached.kept),
        "final_value": final["value"],
    }


def _claimed(pursued: Pursued) -> dict[str, Any]:
    problem, found = pursued.problem, pursued.found
    uses = use_units(problem, tally_of_bundles(problem, found.chosen))
    signs, sign = [-1 if row.is_minimum else 1 for row in problem.rows], _sign(pursued.question)
    return {
        "value": sign * found.value + 0.0,
        "bound": sign * found.dual_bound + 0.0,
        "uses": [each * int(use) / USE_UNIT for each, use in zip(signs, uses, strict=True)],
    }


def _without_prices(certificate: dict[str, Any]) -> dict[str, Any]:
    """Return the certificate without what prices say: while limits conflict, they mean nothing."""
    return {
        **certificate,
        "bound": None,
        "gap": None,
        "allowance": None,
        "constraints": [{**row, "price": None} for row in certificate["constraints"]],
        "claimed": {**certificate["claimed"], "bound": None},
        "proved": {"bound": None, "gap": None, "by": None},
    }
