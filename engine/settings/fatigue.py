"""What contacts cost in annoyance, by the state that a subscriber is in."""

from decimal import Decimal
from typing import Annotated, Self

from pydantic import Field, model_validator

from engine.settings.base import Money, Name, Settings, Sql

Border = Annotated[float, Field(allow_inf_nan=False)]


class FatigueEstimate(Settings):
    """A cost estimated from past contacts: what later ones lose, as success falls with the state.

    Within strata, log odds of success fall by a slope for each unit of the state; what strata do
    not hold is counted as fatigue. Needs ``scores.kind`` model, from whose training rows it comes.
    """

    value: Money
    """Of a success that a later contact loses."""
    chance: Annotated[float, Field(gt=0, lt=1, json_schema_extra={"unit": "share"})]
    """Probability that another contact follows one, times the discount until then."""
    recovery: Annotated[float, Field(gt=0, le=1, json_schema_extra={"unit": "share"})] = 1.0
    """Share of the state that is left at the next contact."""
    strata: list[str] = []
    """Compare like with like: columns as of a contact, subscriber columns as now, or ``offer``."""


class Fatigue(Settings):
    """A cost of each contact by the level of a state of its subscriber, beside all other costs.

    Level i begins at border i, its lowest number included; the first level lies below all borders.
    Where the state is null (no contact so far, for the days since the last one) it costs nothing.
    """

    of: Sql
    """State: a number expression over columns and features, as of ``as_of``."""
    borders: Annotated[list[Border], Field(min_length=1, max_length=64)]
    """Where levels begin, ascending: n borders part n + 1 levels."""
    cost: list[Money] = []
    """Of a contact at each level, rounded to 0.000001; empty: channels say it, others are free."""
    channels: dict[Name, list[Money]] = {}
    """Cost at each level by channel, instead of ``cost``."""
    estimate: FatigueEstimate | None = None
    """Estimate costs by channel where each level begins, the first at 0; null: they are stated."""

    @model_validator(mode="after")
    def _levels(self) -> Self:
        problems = []
        if any(a >= b for a, b in zip(self.borders, self.borders[1:], strict=False)):
            problems.append(f"borders: must ascend, got {self.borders}")
        is_stated = bool(self.cost or self.channels)
        if not is_stated and self.estimate is None:
            problems.append("has no cost: set cost, channels or both, or estimate")
        if is_stated and self.estimate is not None:
            problems.append("estimate: comes instead of cost and channels; leave one out")
        if self.estimate is not None and self.borders[0] <= 0:
            problems.append(f"borders: begin above 0 with estimate, got {self.borders[0]}")
        costs = {"cost": self.cost, **{f"channels.{c}": x for c, x in self.channels.items()}}
        problems += [
            f"{where}: has {len(each)} levels; {len(self.borders)} borders part "
            f"{len(self.borders) + 1}"
            for where, each in costs.items()
            if len(each) != len(self.borders) + 1 and (each or where != "cost")
        ]
        if problems:
            raise ValueError("\n".join(f"fatigue of {self.of}: {text}" for text in problems))
        return self

    def of_channel(self, channel: str) -> list[float]:
        """Return what a contact by a channel costs at each level; empty: nothing."""
        return self.channels.get(channel, self.cost)

    def condition(self, level: int) -> str:
        """Return the SQL condition of the subscribers at a level."""
        borders = [format(Decimal(repr(border)), "f") for border in self.borders]
        sides = [f"({self.of}) >= {x}" for x in borders[:level][-1:]]
        sides += [f"({self.of}) < {x}" for x in borders[level : level + 1]]
        return " AND ".join(sides)
