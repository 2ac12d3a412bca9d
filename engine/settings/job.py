"""The job file as types: one file says all a run needs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from engine import zones
from engine.settings import policies
from engine.settings.base import Folder, Name, Settings
from engine.settings.catalogue import Catalogue, Instant
from engine.settings.constraints import Constraint, Goal, Objective, Scope
from engine.settings.fatigue import Fatigue
from engine.settings.features import Feature
from engine.settings.inputs import Inputs
from engine.settings.policies import Clock, ContactPolicy
from engine.settings.scores import Scores


class Solver(Settings):
    """How the allocation is solved.

    Stops as OPTIMAL when ``bound - value <= gap_tolerance * max(1, |bound|)``.
    """

    gap_tolerance: Annotated[float, Field(gt=0, le=1)] = 1e-4
    """Largest certified gap that counts as solved."""
    time_limit_s: Annotated[
        float, Field(gt=0, allow_inf_nan=False, json_schema_extra={"unit": "s"})
    ] = 600.0
    """Seconds after which the best answer so far is returned."""
    sample: Annotated[int, Field(ge=100)] = 20_000
    """Subscribers on which the first prices are found."""
    exact_pairs: Annotated[int, Field(ge=0)] = 20_000
    """Problems with at most so many open pairs are solved as one exact OR-Tools model."""


MOST_DAYS = 15


class Horizon(Settings):
    """When the contacts of a run go out."""

    days: Annotated[int, Field(ge=1, le=MOST_DAYS, json_schema_extra={"unit": "d"})] = 1
    """Days that one run plans; an offer goes out on one of them. Each is a calendar day later."""

    start: Instant | None = None
    """The instant, or the first one with ``at``; null: as_of."""
    at: Clock | None = None
    """Time of day in the subscriber's time zone, the first from ``start`` on; null: at once."""


class LocalCluster(Settings):
    """Dask workers on this machine's processors."""

    kind: Literal["local"] = "local"
    workers: Annotated[int, Field(ge=0)] = 0
    """Number of workers, and of threads that the solver takes; 0: one per processor."""
    processes: bool = False
    """Whether each worker is a process of its own; otherwise threads of this one."""


class LocalCudaCluster(Settings):
    """One Dask worker per NVIDIA GPU of this machine (needs ``walras[gpu]``)."""

    kind: Literal["local-cuda"]
    rmm_pool_share: Annotated[float, Field(gt=0, lt=1, json_schema_extra={"unit": "share"})] = 0.8
    """Share of device memory that the RMM pool takes at the start."""
    spill: bool = True
    """Whether cuDF may spill device buffers to host memory."""


class AddressCluster(Settings):
    """An existing Dask scheduler."""

    kind: Literal["address"]
    address: str
    """Address of the scheduler, such as tcp://scheduler:8786."""


Cluster = Annotated[LocalCluster | LocalCudaCluster | AddressCluster, Field(discriminator="kind")]


class Job(Settings):
    """One run: what to read, what to compute, what may be offered, under which limits."""

    name: Name
    """Name of the job; the run folder starts with it."""
    as_of: Instant
    """The instant the run looks back from; later events are dropped and counted."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 7
    """Seed of the hold-out draw and of a model's training; the solver draws nothing."""
    inputs: Inputs
    """The tables a job reads."""
    features: list[Feature] = []
    """Features to compute, in order."""
    scores: Scores
    """Where propensities come from."""
    catalogue: Catalogue
    """Offers and channels."""
    policies: list[ContactPolicy] = []
    """What subscribers and households may receive: all of them hold, whatever their order."""
    constraints: list[Constraint] = []
    """Limits over all subscribers, beside the catalogue's capacities, quotas and minimums."""
    fatigue: list[Fatigue] = []
    """What contacts cost in annoyance; a contact costs the sum of all items."""
    goals: list[Goal] = []
    """What comes before the objective, the first first: each keeps what those before it reached."""
    objective: Objective = Objective()
    """What the allocation is best at; null and null: the most value."""
    time_zone: str = "UTC"
    """Time zone (IANA name) of subscribers without one of their own, for policies."""
    horizon: Horizon = Horizon()
    """When the contacts of this run go out, for policies."""
    holdout_share: Annotated[float, Field(ge=0, lt=1, json_schema_extra={"unit": "share"})] = 0.05
    """Share of subscribers never contacted, drawn by a hash of subscriber and ``seed``."""
    solver: Solver = Solver()
    """How the allocation is solved."""
    cluster: Cluster = LocalCluster()
    """Where tasks run."""
    output: Folder = Path("runs")
    """Folder that receives run folders; relative to the current folder."""

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        problems = list(_disagreements(self))
        if problems:
            raise ValueError("\n".join(problems))
        return self


def _disagreements(job: Job) -> list[str]:
    offers, channels = job.catalogue.offers, job.catalogue.channels
    categories = {offer.category for offer in offers.values()}
    problems = list(policies.disagreements(job.policies, job.catalogue, job.inputs))
    if job.time_zone not in zones.names():
        problems.append(f"time_zone: {zones.unknown(job.time_zone)}")
    if job.horizon.start is not None and job.horizon.start < job.as_of:
        problems.append(f"horizon.start: should not be before as_of, got {job.horizon.start}")
    problems += _of_days(job)

    def known(where: str, names: list[str], kind: str, allowed: object) -> None:
        listed = list(allowed)  # type: ignore[call-overload]
        for name in names:
            if name not in listed:
                problems.append(
                    f"{where}: unknown {kind} {name}; there are {', '.join(sorted(listed))}"
                )

    def known_scope(where: str, scope: Scope) -> None:
        known(f"{where}.offers", scope.offers, "offer", offers)
        known(f"{where}.categories", scope.categories, "category", categories)
        known(f"{where}.channels", scope.channels, "channel", channels)
        late = sorted({day for day in scope.days if day > job.horizon.days})
        if late:
            got = ", ".join(map(str, late))
            problems.append(f"{where}.days: got {got}; horizon.days is {job.horizon.days}")

    def channels_of(scopes: list[Scope]) -> set[str]:
        return set(channels).intersection(*(s.channels for s in scopes if s.channels))

    def has_day(scopes: list[Scope]) -> bool:
        every = set(range(1, job.horizon.days + 1))
        return bool(every.intersection(*(s.days for s in scopes if s.days)))

    def is_of(scopes: list[Scope], offer: str, category: str) -> bool:
        return all(
            (not s.offers or offer in s.offers) and (not s.categories or category in s.categories)
            for s in scopes
        )

    for i, constraint in enumerate(job.constraints):
        where = f"constraints.{i}"
        scopes: list[tuple[str, list[Scope]]] = [(where, [constraint])]
        if constraint.ratio is not None:
            scopes = [
                (f"{where}.ratio.of", [constraint.ratio.of, constraint]),
                (f"{where}.ratio.to", [constraint.ratio.to, constraint]),
            ]
            known_scope(where, constraint)
        for place, several in scopes:
            known_scope(place, several[0])
            is_empty = not has_day(several) or not any(
                set(offer.channels) & channels_of(several) and is_of(several, name, offer.category)
                for name, offer in offers.items()
            )
            if is_empty and not any(text.startswith(f"{where}.") for text in problems):
                problems.append(
                    f"{place}: constraint {constraint.name} has no action in scope: none of "
                    "its offers and categories goes by its channels on its days"
                )
        ratio, is_told = constraint.ratio, any(text.startswith(f"{where}.") for text in problems)
        if ratio and constraint.each_day and not (is_told or constraint.each_of(job.horizon.days)):
            of, to = (", ".join(map(str, s.days or constraint.days)) for s in (ratio.of, ratio.to))
            problems.append(
                f"{where}.each_day: constraint {constraint.name} has no day that both its sums "
                f"count, got days {of} of ratio.of and {to} of ratio.to; give both a day in "
                "common, or leave each_day out"
            )
    for i, fatigue in enumerate(job.fatigue):
        known(f"fatigue.{i}.channels", list(fatigue.channels), "channel", channels)
        if fatigue.estimate is not None and job.scores.kind != "model":
            problems.append(
                f"fatigue.{i}.estimate: learns from the rows that train a model; set scores.kind "
                "model, or state cost"
            )
    if job.fatigue and job.objective.measure not in {"value", "cost"}:
        problems.append(
            f"fatigue: costs money, but the objective counts {job.objective.measure}; pursue value "
            "or cost, or leave fatigue out"
        )
    for kind, names in (
        ("policies", [p.name for p in job.policies]),
        ("constraints", [c.name for c in job.constraints]),
        ("goals", [g.name for g in job.goals]),
        ("features", [f.name for f in job.features]),
    ):
        problems += [
            f"{kind}: {n} is named twice" for n in sorted(set(names)) if names.count(n) > 1
        ]
    for table in ("contacts", "outcomes"):
        settings = getattr(job.inputs, table)
        if settings and not {"offer", "channel"} <= set(settings.categories):
            problems.append(f"inputs.{table}.categories: must include offer and channel")
        if table in job.inputs.events:
            problems.append(f"inputs.events.{table}: set inputs.{table} instead")
        if settings is None and job.scores.kind == "model":
            problems.append(f"inputs.{table}: scores.kind model needs it")
    return problems


def _of_days(job: Job) -> Iterator[str]:
    """Yield what does not go with the number of days that the job plans."""
    days = job.horizon.days
    for name, offer in job.catalogue.offers.items():
        count = 0 if offer.decay is None else len(offer.decay.by_day)
        if count not in {0, days}:
            yield (
                f"catalogue.offers.{name}.decay.by_day: should have a share for each day, "
                f"horizon.days, which is {days}, got {count}"
            )
    for i, policy in enumerate(job.policies):
        if policy.package and days > 1:
            yield (
                f"policies.{i}.package: does not go with horizon.days above 1, got {days}; plan "
                "one day, or leave the package out"
            )
        if policy.is_joint and days > 1:
            yield (
                f"policies.{i}.over: caps and exclusions over a household do not go with "
                f"horizon.days above 1, got {days}; plan one day, or count over subscribers"
            )
