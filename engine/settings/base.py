"""What every setting is made of: the frozen base model and the shared value types."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
DURATION = "[1-9][0-9]{0,5}[smhdw]"
NAME = "[a-z][a-z0-9_]{0,62}"


class Settings(BaseModel):
    """Base of all settings: frozen; unknown keys, and values of another type, are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )


def as_duration(value: object) -> str:
    """Return a duration as it is written."""
    if isinstance(value, str) and re.fullmatch(DURATION, value):
        return value
    raise ValueError(
        "should be a duration: a whole number and s, m, h, d or w, for example 30d or 12h"
    )


def seconds(duration: str) -> int:
    """Return the length of a duration such as ``30d``, in seconds."""
    return int(duration[:-1]) * SECONDS[duration[-1]]


def duration(length_s: int) -> str:
    """Return a length as a duration in the largest of d, h, m and s that divides it."""
    unit = next(u for u in "dhms" if length_s % SECONDS[u] == 0)
    return f"{length_s // SECONDS[unit]}{unit}"


def _name(value: str) -> str:
    if re.fullmatch(NAME, value):
        return value
    raise ValueError("should be a name: a-z, 0-9 and _, starting with a letter, at most 63 long")


def representable(amount: float) -> float:
    """Refuse an amount that the grid of 0.000001 would turn into 0."""
    if 0 < abs(amount) <= 5e-7:
        raise ValueError("rounds to 0, as amounts are whole numbers of 0.000001; change the unit")
    return amount


Duration = Annotated[
    str,
    BeforeValidator(as_duration),
    Field(json_schema_extra={"unit": "s, m, h, d or w", "pattern": DURATION}),
]
Folder = Annotated[Path, Field(strict=False)]
Name = Annotated[str, AfterValidator(_name), Field(json_schema_extra={"pattern": NAME})]
Share = Annotated[float, Field(ge=0, le=1, json_schema_extra={"unit": "share"})]
Money = Annotated[
    float,
    Field(ge=0, le=1e9, allow_inf_nan=False, json_schema_extra={"unit": "money"}),
    AfterValidator(representable),
]
Count = Annotated[int, Field(ge=0, le=10**12)]
Sql = Annotated[str, Field(min_length=1, json_schema_extra={"unit": "SQL expression"})]
Windows = Annotated[list[Duration], Field(min_length=1, max_length=16)]
Where = Annotated[
    Sql | None, Field(description="Only events for which this SQL condition over the table holds.")
]
