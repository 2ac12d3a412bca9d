"""A job with what stage ``score`` has estimated of fatigue filled in."""

import json
from pathlib import Path

from engine.errors import DataError
from engine.limit_problems import fatigue_problems
from engine.settings import Job

FILE = "fatigue.json"  # in the folder of stage ``score``


def filled(job: Job, scored: Path) -> Job:
    """Return the job with costs in place of estimates.

    Args:
        job: the job.
        scored: folder of its stage ``score``.

    Raises:
        DataError: costs are too large for whole numbers.
    """
    if all(state.estimate is None for state in job.fatigue):
        return job
    found = iter(json.loads((scored / FILE).read_text(encoding="utf-8"))["items"])
    states = [
        state
        if state.estimate is None
        else state.model_copy(
            update={
                "channels": {c["channel"]: c["cost"] for c in next(found)["channels"]},
                "estimate": None,
            }
        )
        for state in job.fatigue
    ]
    stated = job.model_copy(update={"fatigue": states})
    problems = list(fatigue_problems(stated))
    if problems:
        raise DataError.of(problems)
    return stated
