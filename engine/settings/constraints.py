"""Settings over all subscribers: what is limited, what is pursued, and in which order."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from engine.settings.base import Name, Settings, Share, Sql, representable

Measure = Literal["contacts", "acceptances", "cost", "value"]
Limit = Annotated[
    float,
    Field(ge=0, le=1e12, allow_inf_nan=False, json_schema_extra={"unit": "of the measure"}),
    AfterValidator(representable),
]
Penalty = Annotated[
    float,
    Field(gt=0, le=1e9, allow_inf_nan=False, json_schema_extra={"unit": "per unit"}),
    AfterValidator(representable),
]
Weight = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False), AfterValidator(representable)]
LimitName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_:@.-]{0,126}$")]


def _once(days: list[int]) -> list[int]:
    """Refuse a day that stands twice in a list."""
    if len(set(days)) < len(days):
        raise ValueError("should have each day once")
    return days


Days = Annotated[
    list[Annotated[int, Field(ge=1, json_schema_extra={"unit": "d"})]], AfterValidator(_once)
]


class Sum(Settings):
    """A measure, summed over the chosen actions in its scope and in the constraint's."""

    measure: Measure
    """What is summed."""
    offers: list[Name] = []
    """Offers in scope; empty: all."""
    categories: list[Name] = []
    """Offer categories in scope; empty: all."""
    channels: list[Name] = []
    """Channels in scope; empty: all."""
    days: Days = []
    """Days of the plan in scope, from 1 on; empty: all."""
    where: Sql | None = None
    """Subscribers in scope: a SQL condition; null: all."""


def _sum(value: object) -> object:
    return {"measure": value} if isinstance(value, str) else value


class Ratio(Settings):
    """A sum over a sum, such as cost per acceptance or an offer's share of the contacts.

    Kept as ``of - limit * to <= 0`` (>= 0 for ``at_least``) in whole numbers, the limit rounded to
    0.000001. While ``to`` is 0, ``at_most`` thus allows no ``of``, and ``at_least`` is kept.
    """

    of: Annotated[Sum, BeforeValidator(_sum)]
    """What is divided: a measure, or a measure with a scope."""
    to: Annotated[Sum, BeforeValidator(_sum)]
    """What it is divided by, never negative: a measure, or a measure with a scope."""


class Constraint(Settings):
    """A limit over all subscribers, on a sum over the chosen actions in scope or on a ratio.

    Measures: ``contacts``; ``acceptances`` (expected, sum of p); ``cost`` (channel's cost per
    contact plus offer's cost per expected acceptance); ``value`` (value less cost, unweighted).
    """

    name: LimitName
    """Name of the constraint."""
    measure: Measure | None = None
    """What is summed; null: ``ratio`` says it."""
    ratio: Ratio | None = None
    """What is divided by what; null: ``measure`` says what is summed."""
    at_most: Limit | None = None
    """Upper limit, rounded to 0.000001; null: none."""
    at_least: Limit | None = None
    """Lower limit, rounded to 0.000001; null: none."""
    equals: Limit | None = None
    """Both limits at once, rounded to 0.000001; null: none."""
    penalty: Penalty | None = None
    """What a unit beyond the limit (of a ratio: of what is divided) takes off; null: none may."""
    enforce: bool = True
    """Whether the limit is kept; otherwise it is only measured and reported."""
    offers: list[Name] = []
    """Offers in scope; empty: all."""
    categories: list[Name] = []
    """Offer categories in scope; empty: all."""
    channels: list[Name] = []
    """Channels in scope; empty: all."""
    days: Days = []
    """Days of the plan in scope, from 1 on; empty: all."""
    where: Sql | None = None
    """Subscribers in scope: a SQL condition; null: all."""
    each_day: bool = False
    """Whether each day in scope, of a ratio in both sums', is a limit: ``name:day-1`` and so on."""

    @property
    def upper(self) -> float | None:
        """Return the upper limit, of ``at_most`` or ``equals``."""
        return self.at_most if self.equals is None else self.equals

    @property
    def lower(self) -> float | None:
        """Return the lower limit, of ``at_least`` or ``equals``."""
        return self.at_least if self.equals is None else self.equals

    def each_of(self, days: int) -> list[int]:
        """Return the days of a plan that each have a limit of their own, with ``each_day``.

        A day that only one of a ratio's sums has is none of them: there is nothing to compare.
        """
        scopes: list[Constraint | Sum] = [self]
        if self.ratio is not None:
            scopes += [self.ratio.of, self.ratio.to]
        own = self.days or range(1, days + 1)
        return [day for day in own if all(not s.days or day in s.days for s in scopes)]

    @model_validator(mode="after")
    def _limits(self) -> Self:
        problems = []
        if (self.measure is None) == (self.ratio is None):
            problems.append("should have either a measure or a ratio")
        if self.equals is not None and (self.at_most, self.at_least) != (None, None):
            problems.append("equals is both limits at once: leave at_most and at_least out")
        if self.enforce and (self.upper, self.lower) == (None, None):
            problems.append("has no limit: set at_most, at_least or equals, or enforce: false")
        if None not in (self.at_most, self.at_least) and self.at_least > self.at_most:  # type: ignore[operator]
            problems.append(f"at_least {self.at_least} is above at_most {self.at_most}")
        if self.penalty is not None and not self.enforce:
            problems.append("penalty has no effect with enforce: false; leave one of them out")
        if problems:
            raise ValueError("\n".join(f"constraint {self.name}: {text}" for text in problems))
        return self


class Then(Settings):
    """What is pursued next, at a small loss."""

    maximise: Measure | None = None
    """Measure of which the most is wanted; ``value`` counts subscribers' weights."""
    minimise: Measure | None = None
    """Measure of which the least is wanted."""
    within: Share = 0.0
    """Share of what was reached before that may be given up for it."""

    @property
    def measure(self) -> Measure:
        """Return the measure that is pursued."""
        return self.maximise or self.minimise or "value"

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.maximise is None) == (self.minimise is None):
            raise ValueError("should have either maximise or minimise")
        return self


class Objective(Settings):
    """What the allocation is best at."""

    maximise: Measure | None = None
    """Measure of which the most is wanted; ``value`` counts subscribers' weights."""
    minimise: Measure | None = None
    """Measure of which the least is wanted."""
    then: Then | None = None
    """What is pursued next, among allocations about as good; null: nothing."""

    @property
    def measure(self) -> Measure:
        """Return the measure that is pursued."""
        return self.maximise or self.minimise or "value"

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.maximise is not None and self.minimise is not None:
            raise ValueError("should have either maximise or minimise")
        return self


class Goal(Settings):
    """What comes before the objective: limits to meet as far as possible, or a measure."""

    name: Name
    """Name of the goal, shown in the certificate."""
    meet: dict[LimitName, Weight] = {}
    """Limits by name and the weight of a unit missed: the weighted sum of misses is least."""
    maximise: Measure | None = None
    """Measure of which the most is wanted; ``value`` counts subscribers' weights."""
    minimise: Measure | None = None
    """Measure of which the least is wanted."""
    within: Share = 0.0
    """Share of the measure reached that later goals and the objective may give up."""

    @property
    def measure(self) -> Measure:
        """Return the measure that is pursued."""
        return self.maximise or self.minimise or "value"

    @model_validator(mode="after")
    def _one(self) -> Self:
        ways = [bool(self.meet), self.maximise is not None, self.minimise is not None]
        if sum(ways) != 1:
            raise ValueError(f"goal {self.name} should have one of meet, maximise and minimise")
        if self.meet and self.within:
            raise ValueError(f"goal {self.name}: within only goes with maximise or minimise")
        return self


Scope = Constraint | Sum
