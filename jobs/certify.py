"""Certify an allocation from its files as they were written, partition by partition."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine import tables
from engine.certificate import Check, certify, check_partition
from engine.offer_core import tally_of_bundles
from engine.problem import USE_UNIT, Problem, use_units
from engine.settings import Job
from engine.solve import Allocation, Status
from jobs.tasks import Tasks


@dataclass(frozen=True)
class Part:
    """One partition's files."""

    job: Job
    backend: tables.Backend
    features: Path
    propensity: Path
    contacts: Path | None


def frames_of(part: Part, backend: tables.Backend) -> tuple[Any, Any, Any]:
    """Read one partition: features, propensities and contact history, or None."""
    contacts = part.contacts and tables.read(
        part.contacts, ["subscriber", "time", "offer", "channel"], backend
    )
    return (
        tables.read(part.features, None, backend),
        tables.read(part.propensity, None, backend),
        contacts,
    )


@dataclass(frozen=True)
class Deal:
    """One file of written allocations, and the folder that has a folder for each partition."""

    written: Path
    folder: Path
    partitions: int


def deal_out(deal: Deal) -> int:
    """Copy the rows of a written file to the partitions of their subscribers; return how many."""
    rows = tables.read(deal.written)
    bucket = tables.bucket(rows["subscriber"], deal.partitions)
    order = np.argsort(bucket, kind="stable")
    begins = np.searchsorted(bucket[order], np.arange(1, deal.partitions))
    for partition, own in enumerate(np.split(order, begins)):
        tables.write(rows.iloc[own], deal.folder / str(partition) / deal.written.name)
    return len(rows)


@dataclass(frozen=True)
class CheckPart:
    """One partition to certify, with the folder of what was written for its subscribers."""

    part: Part
    allocations: Path
    prices: tuple[float, ...]


def check_part(check: CheckPart) -> Check:
    """Certify one partition, from the files as they were written."""
    features, propensity, contacts = frames_of(check.part, "pandas")
    own = [tables.read(path) for path in sorted(check.allocations.glob("*.parquet"))]
    return check_partition(
        check.part.job, features, propensity,
        contacts=contacts, allocations=tables.concat(own), prices=check.prices,
    )  # fmt: skip


def certified(
    job: Job, problem: Problem, found: Allocation, where: tuple[list[Part], Path, Tasks]
) -> dict[str, Any]:
    """Return the certificate of an allocation, with what the solver has proved.

    Args:
        job: the job.
        problem: the allocation problem.
        found: the solver's answer.
        where: every partition's files, the folder that holds the written ``allocations/``, and
            where the partitions are checked.

    Raises:
        RuntimeError: the allocation is not what the solver claims, or breaks a rule.
    """
    parts, folder, tasks = where
    prices = tuple(float(price) for price in found.prices)
    dealt = folder / ".dealt"
    for partition in range(len(parts)):
        (dealt / str(partition)).mkdir(parents=True)
    files = sorted((folder / "allocations").glob("*.parquet"))
    deals = [Deal(path, dealt, len(parts)) for path in files]
    written = sum(tasks.map("read allocations", deal_out, deals, rows=int))
    items = [CheckPart(part, dealt / str(i), prices) for i, part in enumerate(parts)]
    checks = tasks.map("certify", check_part, items, rows=lambda check: check.subscribers)
    shutil.rmtree(dealt)
    seen = sum(check.subscribers for check in checks), sum(check.contacts for check in checks)
    if seen != (problem.subscribers, written):
        raise RuntimeError(
            f"certified {seen} subscribers and contacts, but there are {problem.subscribers} and "
            f"{written} are written"
        )
    certificate = certify(job, checks, _claimed(problem, found))
    certificate["status"] = str(found.status)
    if found.status == Status.INFEASIBLE:
        return _without_prices(certificate)
    if not certificate["certified"]:
        raise RuntimeError(f"the allocation failed its certificate: {certificate['violations']}")
    certificate["proved"] = {"bound": found.bound, "gap": found.gap, "by": found.bound_by}
    return certificate


def _claimed(problem: Problem, found: Allocation) -> dict[str, Any]:
    uses = use_units(problem, tally_of_bundles(problem, found.chosen))
    signs = [-1 if row.is_minimum else 1 for row in problem.rows]
    return {
        "value": found.value,
        "bound": found.dual_bound,
        "uses": [sign * int(use) / USE_UNIT for sign, use in zip(signs, uses, strict=True)],
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
