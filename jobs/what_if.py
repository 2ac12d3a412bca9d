"""What-if questions about a job whose scores are there, its problem in memory, from Python."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from engine import goals
from engine.actions import labels
from engine.assemble import Placed, assemble
from engine.candidates import Candidates, candidates
from engine.errors import ConfigError, DataError
from engine.explain import Explanation
from engine.goals import Reached
from engine.history import History
from engine.households import mates
from engine.levels import stages
from engine.limits import measured
from engine.reasons import beside, closed
from engine.session import Session
from engine.settings import Job
from engine.solve import Status, solve
from jobs.allocate import parts_of
from jobs.certify import Part, frames_of
from jobs.fatigue import filled
from jobs.ledger.snapshot import pinned
from jobs.manifest import input_hashes
from jobs.session import Chosen
from jobs.stages import fingerprints, finished, place
from kernels.backend import to_cpu


@dataclass(frozen=True, eq=False)
class WhatIf:
    """A job's session, and where its subscribers came from."""

    session: Session
    job: Job
    placed: Placed
    parts: Sequence[Part]
    candidates: Sequence[Candidates]
    reached: Sequence[Reached] = ()  # the goals' answers, and the levels that are kept of them

    def explain(self, subscriber: Any) -> Explanation:
        """Explain what a subscriber gets in the session's last answer, and what policies forbid.

        Args:
            subscriber: its key in the subscriber table.

        Raises:
            ConfigError: there is no such subscriber, or nothing has been solved yet.
        """
        before = 0
        for b, found in enumerate(self.candidates):
            keys = _host(found.subscriber)
            rows: Any = np.flatnonzero(keys == subscriber) if np.ndim(subscriber) == 0 else []
            if len(rows):
                row = int(np.flatnonzero(to_cpu(list(self.placed.order)[b]) == rows[0])[0])
                return self.session.explain(row=before + row, reasons=self._reasons)
            before += len(found.reason)
        raise ConfigError(
            f"explain: no such subscriber, got {subscriber!r}; there are {before:,} in the job"
        )

    def _reasons(self, b: int, row: int, bundle: Sequence[int]) -> list[str]:
        features, _, history = _frames(self.parts[b])
        at = int(to_cpu(list(self.placed.order)[b])[row])
        got = {int(to_cpu(list(self.placed.order)[b])[s]): own
               for s, own in self.session.mates(b, row).items()}  # fmt: skip
        rows = mates(self.job, features, at)
        own = features.iloc[rows].reset_index(drop=True)
        others = [got.get(other, ()) for other in rows[1:]]
        shut = closed(self.job, own, history)[0]
        apart = beside(self.job, (own, history), bundle, others)
        return [reason or other for reason, other in zip(shut, apart, strict=True)]


def opened(file: str | Path, changes: Sequence[str] = ()) -> WhatIf:
    """Open a job for what-if questions; its stages up to ``score`` are finished.

    Args:
        file: the job file.
        changes: settings over the file's, as ``--set`` of the command takes them.

    Of a job with goals, or with ``objective.then``, the questions are to its last stage: what the
    stages before it reach is sought first, and stays as it is.

    Raises:
        ConfigError: the job is wrong, stages are missing (all are named), or the limits of a goal
            conflict.
    """
    job = pinned(Chosen(Path(file), None, tuple(changes)).load().job)
    prints = fingerprints(job, input_hashes(job))
    folders = {}
    missing = []
    for name in ("ingest", "profile", "score"):
        folders[name] = place(job, name, prints[name])
        if finished(name, folders[name], prints[name]) is None:
            found = "is damaged or cut short" if folders[name].exists() else "is not there"
            missing.append(f"stage {name} is not finished: {folders[name]} {found}")
    if missing:
        again = f"run `walras score {file}` with the same settings"
        raise ConfigError.of(f"{file}: {problem}; {again}" for problem in missing)
    job = filled(job, folders["score"])
    parts = parts_of(job, folders)
    read = [candidates(job, *_frames(part)) for part in parts]
    placed = assemble(job, read)
    names = labels(job)
    only = [other.name for other in measured(job)]
    problem, reached = placed.problem, []
    if len(stages(job)) > 1:  # what goals reach are limits of the last stage
        pursued = goals.pursue(job, placed.stock, solve)
        problem, reached = pursued.problem, pursued.before
        if pursued.found.status == Status.INFEASIBLE:
            raise ConfigError(f"{file}: {pursued.found.remedy}")
    session = Session(problem, job.solver, names=names, measured=only)
    return WhatIf(session, job, replace(placed, problem=problem), parts, read, reached)


def _frames(part: Part) -> tuple[Any, Any, History]:
    """Read one partition; as :func:`jobs.certify.frames_of`.

    Raises:
        ConfigError: its files are gone, or damaged.
    """
    try:
        return frames_of(part, part.backend)
    except (DataError, OSError, pa.ArrowException) as error:
        text = " ".join(str(error).split())
        raise ConfigError(
            f"{part.features}: cannot be read with what belongs to it, got {text}; run `walras "
            "score` again, and open the job again"
        ) from None


def _host(series: Any) -> Any:
    return np.asarray(series.to_pandas() if hasattr(series, "to_pandas") else series)
