"""What summary.json and manifest.json of a finished run hold, as far as they are shown again."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from engine.errors import ConfigError

MOST_SHOWN = 5


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Step(_Shape):
    step: str
    subscribers: int
    text: str


class _Total(_Shape):
    contacts: int
    acceptances: float
    value: float
    cost: float


class _Offer(_Total):
    offer: str
    category: str


class _Channel(_Total):
    channel: str
    capacity: float | None


class _Segment(_Shape):
    segment: str
    subscribers: int
    contacted: int
    contacts: int
    value: float


class _Constraint(_Shape):
    name: str
    kind: str
    unit: str
    use: float | None
    at_least: float | None
    at_most: float | None
    price: float | None
    holds_from: float | None = None
    holds_to: float | None = None
    worth: str
    overrun: float | None
    penalty: float | None
    paid: float | None
    numerator: float | None
    denominator: float | None


class _Objective(_Shape):
    maximise: str | None = None
    minimise: str | None = None
    unit: str


class _Stage(_Shape):
    name: str
    objective: _Objective
    status: str
    value: float
    bound: float
    gap: float
    final_value: float
    kept: dict[str, float]


class _Baseline(_Shape):
    name: str
    value: float
    contacts: int
    violations: int
    text: str


class _Iteration(_Shape):
    step: str
    seconds: float
    reads: float
    bound: float
    value: float | None
    gap: float | None
    active: int


class _Policy(_Shape):
    policy: str
    kind: str
    relaxed: str
    subscribers: int
    pairs: int
    alone: int
    gaining: int | None
    gain: float | None


class _Day(_Shape):
    day: str
    past: int
    planned: int


class _Cap(_Shape):
    policy: str
    group: str
    over: str
    cap: int
    before: list[int]
    after: list[int]


class _Contacts(_Shape):
    days: list[_Day]
    caps: list[_Cap]


class _Conflict(_Shape):
    set_number: int
    is_minimal: bool
    constraint: str
    limit: float
    smallest_relaxation: float | None
    text: str


class Summary(_Shape):
    """The figures of a run; those that need a price are null while limits conflict."""

    status: str
    remedy: str
    interrupted: bool = False
    currency: str
    objective: _Objective
    value: float
    expected_value: float
    penalties: float
    bound: float | None
    gap: float | None
    bound_by: str | None
    violations: int
    subscribers: int
    contacted: int
    contacts: int
    funnel: list[_Step]
    policies: list[_Policy]
    contact_history: _Contacts
    offers: list[_Offer]
    channels: list[_Channel]
    segments: dict[str, list[_Segment]]
    stages: list[_Stage]
    constraints: list[_Constraint]
    baselines: list[_Baseline]
    iterations: list[_Iteration]
    conflict: list[_Conflict]


class _Solver(_Shape):
    gap_tolerance: float


class _Job(_Shape):
    solver: _Solver


class Manifest(_Shape):
    """What a run was made of."""

    name: str
    job: _Job
    seconds: dict[str, float]
    peak_memory_bytes: int


def refuse(path: Path, content: Any, shape: type[BaseModel]) -> None:
    """Refuse JSON that no finished run has written.

    Args:
        path: the file, for the message.
        content: what is in it.
        shape: :class:`Summary` or :class:`Manifest`.

    Raises:
        ConfigError: something is missing in it, or is of another kind.
    """
    try:
        shape.model_validate_json(json.dumps(content))
    except ValidationError as error:
        found = [_problem(problem) for problem in error.errors()]
    else:
        return
    more = [f"{len(found) - MOST_SHOWN} more"] if len(found) > MOST_SHOWN else []
    raise ConfigError(
        f"{path}: is not of a finished run of this walras: "
        f"{', '.join([*found[:MOST_SHOWN], *more])}; give the folder that `walras run` names, "
        "or, if an earlier walras made this one, move it away and run its job again"
    )


def _problem(problem: Any) -> str:
    place = ".".join(map(str, problem["loc"])) or "the file"
    if problem["type"] == "missing":
        return f"{place} is missing"
    message = problem["msg"].removeprefix("Input ")
    return f"{place} {message}, got {problem['input']!r:.40}"
