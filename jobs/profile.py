"""Stage ``profile``: ingested partitions in, feature partitions out, one task a partition."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import profile as engine_profile
from engine import tables
from engine.errors import ConfigError
from engine.settings import Job
from jobs.cluster import frames
from jobs.tasks import Tasks


@dataclass(frozen=True)
class Part:
    """One partition to profile."""

    job: Job
    backend: tables.Backend
    ingested: Path
    folder: Path
    name: str  # of its file in every table's folder


def profile(job: Job, ingested: Path, folder: Path, tasks: Tasks) -> dict[str, Any]:
    """Compute the features of every subscriber as of the job's instant.

    Args:
        job: the job.
        ingested: folder of the ingest stage.
        folder: an empty folder, which receives ``features/part-*.parquet``.
        tasks: where the partitions run.

    Returns:
        Number of subscribers and of feature columns, the columns' names and descriptions, and
        how many sources and kernel passes a partition takes.

    Raises:
        ConfigError: every problem of the features.
    """
    (folder / "features").mkdir()
    names = sorted(path.name for path in (ingested / "subscribers").glob("part-*.parquet"))
    schema = tables.schema(tables.read(ingested / "subscribers" / names[0]))
    if problems := engine_profile.problems(job, schema):
        raise ConfigError.of(problems)
    parts = [Part(job, frames(job.cluster), ingested, folder, name) for name in names]
    subscribers = tasks.map("profile", profile_part, parts, rows=int, named=_files)
    columns = engine_profile.columns(job)
    return {
        "subscribers": sum(subscribers),
        "features": len(columns),
        "passes": engine_profile.passes(job),
        "columns": columns,
        "described": engine_profile.describe(job),
    }


def _files(part: Part) -> str:
    tables_of = [
        "subscribers",
        *(f"events/{table}" for table in engine_profile.event_columns(part.job)),
    ]
    return ", ".join(str(part.ingested / table / part.name) for table in tables_of)


def profile_part(part: Part) -> int:
    """Profile one partition; return its number of subscribers."""
    subscribers = tables.read(part.ingested / "subscribers" / part.name, backend=part.backend)
    events = {}
    for table, columns in engine_profile.event_columns(part.job).items():
        texts = [c for c in part.job.inputs.tables()[table].categories if c in columns]
        path = part.ingested / "events" / table / part.name
        events[table] = tables.read(path, columns, part.backend, texts)
    features = engine_profile.profile_partition(part.job, subscribers, events)
    tables.write(features, part.folder / "features" / part.name)
    return len(features)
