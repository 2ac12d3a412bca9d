"""Stage ``score``: the propensity of every action for every subscriber.

Writes ``propensity/part-*.parquet``; a model also leaves ``model.json`` (XGBoost's own format) and
``calibration.json``, and what it estimates of fatigue in ``fatigue.json``. Training rows lie in
``training/`` while the stage runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from engine import fatigue_estimates, model, tables, training
from engine import score as scores
from engine.actions import actions
from engine.errors import ConfigError
from engine.fitted import Fitted
from engine.score import Fault
from engine.settings import Job
from engine.settings.scores import ModelScores
from jobs import fatigue, stored
from jobs.cluster import frames
from jobs.manifest import write_json
from jobs.profile import fitted as fitted_features
from jobs.stages import remove
from jobs.tasks import Tasks


@dataclass(frozen=True)
class _Scored:
    """What a partition's task returns; its propensities are in a file."""

    rows: int
    sums: tuple[int, ...]  # per action, see engine.score.fixed_sum
    faults: tuple[Fault, ...]


@dataclass(frozen=True)
class _Gather:
    """What a task that gathers training rows needs to know."""

    job: Job
    ingested: Path
    folder: Path
    columns: tuple[str, ...]
    limit: float
    fitted: Fitted


def score(job: Job, stages: Mapping[str, Path], folder: Path, tasks: Tasks) -> dict[str, Any]:
    """Score every action for every subscriber.

    Args:
        job: the job.
        stages: folder of each earlier stage, ``ingest`` and ``profile``.
        folder: the stage's own folder, empty.
        tasks: runs the per-partition work.

    Returns:
        The stage's summary: the kind of score, the quality of a model, mean propensities.

    Raises:
        ConfigError: the scores setting does not fit the columns that exist.
        DataError: a propensity is not in [0, 1], or there is too little to learn from.
    """
    parts = sorted(p.name for p in (stages["profile"] / "features").glob("part-*.parquet"))
    schema = tables.schema(stored.read(stages["profile"] / "features" / parts[0]))
    found = scores.problems(job, schema)
    if found:
        raise ConfigError.of(found)
    (folder / "propensity").mkdir()
    summary: dict[str, Any] = {"kind": job.scores.kind}
    if isinstance(job.scores, ModelScores):
        summary |= _train(job, stages, folder, tasks, schema)
    results = tasks.map(
        "score",
        partial(_score_part, job, stages["profile"], folder),
        parts,
        lambda r: r.rows,
        lambda part: str(stages["profile"] / "features" / part),
    )
    scores.refuse(fault for result in results for fault in result.faults)
    rows = sum(result.rows for result in results)
    summary["actions"] = [
        {"action": action.name, "mean": scores.mean(sum(r.sums[index] for r in results), rows)}
        for index, action in enumerate(actions(job.catalogue))
    ]
    return summary


def _train(
    job: Job,
    stages: Mapping[str, Path],
    folder: Path,
    tasks: Tasks,
    schema: Mapping[str, Any],
) -> dict[str, Any]:
    """Gather the training rows of all partitions, train once, save; return the summary's part."""
    columns = training.model_columns(job, schema)
    ingested = stages["ingest"]
    parts = sorted(p.name for p in (ingested / "subscribers").glob("part-*.parquet"))

    def named(part: str) -> str:
        return str(ingested / "events" / "*" / part)

    draw = partial(_draw_part, job, ingested)
    drawn = tasks.map("sample contacts", draw, parts, lambda r: r[1], named)
    limit = training.sample_limit(job, [draws for draws, _, _ in drawn])
    gathered = folder / "training"
    gathered.mkdir()
    parameters = fitted_features(job, stages["profile"])
    seen = (*training.ROW, "accepted", *columns, *fatigue_estimates.columns(job))
    kept_columns = tuple(dict.fromkeys(seen))
    work = partial(
        _training_part, _Gather(job, ingested, gathered, kept_columns, limit, parameters)
    )
    kept = sum(tasks.map("features of contacts", work, parts, lambda n: n, named))
    tasks.tell("train", contacts=kept)
    rows = tables.concat(
        [tables.read(gathered / part, backend=frames(job.cluster)) for part in parts]
    )
    fitted, quality = model.fit(job, rows, columns)
    fitted.save(folder)
    estimates = fatigue_estimates.estimates(job, rows)
    if estimates:
        write_json(folder / fatigue.FILE, {"items": estimates})
    remove(gathered)
    usable, late = sum(n for _, n, _ in drawn), sum(n for _, _, n in drawn)
    return quality | {
        "columns": columns,
        "left_out": training.left_out(job, schema),
        "snapshots": training.snapshots(job, columns),
        "excluded": {"without a full outcome window": late, "not sampled": usable - kept},
        **({"fatigue": estimates} if estimates else {}),
    }


def _draw_part(job: Job, ingested: Path, part: str) -> tuple[Any, int, int]:
    path = ingested / "events" / "contacts" / part
    contacts = stored.read(path, columns=training.ROW, backend=frames(job.cluster))
    return training.smallest_draws(job, contacts)


def _training_part(gather: _Gather, part: str) -> int:
    """Write the training rows of a partition; return how many."""
    job, backend = gather.job, frames(gather.job.cluster)
    subscribers = stored.read(gather.ingested / "subscribers" / part, backend=backend)
    events = {
        name: stored.read(gather.ingested / "events" / name / part, backend=backend)
        for name in job.inputs.tables()
    }
    rows = training.training_rows(job, subscribers, events, gather.fitted, limit=gather.limit)
    tables.write(rows[list(gather.columns)], gather.folder / part)
    return len(rows)


def _score_part(job: Job, profiled: Path, folder: Path, part: str) -> _Scored:
    """Write the propensities of a partition."""
    features = stored.read(profiled / "features" / part, backend=frames(job.cluster))
    faults: list[Fault] = []
    if isinstance(job.scores, ModelScores):
        propensity = model.propensities(job, model.Model.load(folder), features)
    else:
        propensity, faults = scores.score_partition(job, features)
    if faults:  # NaN and infinity have no sum, and the stage ends here
        return _Scored(len(propensity), (), tuple(faults))
    sums = tuple(scores.fixed_sum(tables.array(propensity[a.name])) for a in actions(job.catalogue))
    tables.write(propensity, folder / "propensity" / part)
    return _Scored(len(propensity), sums, ())
