"""All global limits of a job: its constraints, and the catalogue's capacities and quotas.

A limit holds a linear form in whole numbers. Of a sum it is ``sum <= amount`` (>= of a minimum); of
a ratio ``scale (of - limit to) <= 0``, where the limit is a whole number of 0.000001 and ``scale``
the least whole number that makes every coefficient whole: 1 unless ``to`` is money.

What contacts cost in annoyance is a soft limit of 0 on the sum of these costs: every unit of it
takes one off the objective. Its price is its penalty of 1, as no use is below 0.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from math import lcm

from engine.actions import actions_of
from engine.settings import Job
from engine.settings.constraints import Constraint, Scope

MICRO = 1_000_000
"""Money, uses and limits are whole numbers of millionths of their unit."""
MOST_USE = 1 << 51
"""Micro-units of a form that a contact can use at most: sums of 2**31 contacts never wrap."""
FATIGUE = "fatigue"
"""Name and measure of the limit that stands for what contacts cost in annoyance."""
MOST_AMOUNT = 1 << 62
"""Micro-units of a form's limit at most."""


@dataclass(frozen=True)
class Part:
    """A sum of a measure over the chosen actions in a scope."""

    measure: str  # contacts, acceptances, cost or value
    actions: tuple[int, ...]  # actions in scope, by position in engine.actions.actions_of
    where: str | None  # SQL condition of the subscribers in scope; None: all


@dataclass(frozen=True)
class ContactCost:
    """What each contact costs by one channel, of the subscribers that a condition holds for."""

    channel: str
    actions: tuple[int, ...]  # of the channel
    where: str
    cost: int  # micro-money per contact


@dataclass(frozen=True)
class Limit:
    """One limit of one measure: ``sum of measure over scope <= amount`` (or >=, a minimum)."""

    name: str
    measure: str  # contacts, acceptances, cost, value or fatigue
    is_minimum: bool
    amount: int  # micro-units
    actions: tuple[int, ...]  # actions in scope, by position in engine.actions.actions_of
    where: str | None  # SQL condition of the subscribers in scope; None: all
    to: Part | None = None  # of a ratio: what the sum is divided by
    ratio: int = 0  # of a ratio: its limit in millionths; the amount is 0
    scale: int = 1  # whole, what the form is multiplied by; prices are per unit of the form
    penalty: int | None = None  # micro-money per unit of the form beyond it; None: it is kept
    is_weighted: bool = False  # whether subscribers' weights count, as in the value pursued
    twin: str | None = None  # of one side of an equation: the constraint
    costs: tuple[ContactCost, ...] = ()  # of fatigue: what is summed
    series: str | None = None  # of a day's limit: what it is called but for its day
    day: int = 0  # of a series: the day, from 0 on

    @property
    def parts(self) -> list[tuple[Part, Fraction]]:
        """Return the sums that make up the form, and what each counts in it."""
        if self.measure == FATIGUE:
            return [
                (Part("contacts", c.actions, c.where), Fraction(c.cost, MICRO)) for c in self.costs
            ]
        of = (self.of, Fraction(self.scale))
        if self.to is None:
            return [of]
        return [of, (self.to, -Fraction(self.scale * self.ratio, MICRO))]

    @property
    def of(self) -> Part:
        """Return the sum, or what a ratio divides."""
        return Part(self.measure, self.actions, self.where)

    @property
    def passed_at(self) -> float | None:
        """Return the money that a unit of the measure beyond a soft limit costs."""
        return None if self.penalty is None else self.penalty * self.scale / MICRO


@dataclass(frozen=True)
class Measured:
    """A constraint that is only measured."""

    name: str
    of: Part
    to: Part | None
    at_most: int | None  # micro-units, or millionths of a ratio
    at_least: int | None


@dataclass(frozen=True)
class Aim:
    """What is made as large as possible: ``sign`` times a measure, less penalties."""

    measure: str  # of ``value``, subscribers' weights count
    sign: int  # 1, -1, or 0: only penalties count


@dataclass(frozen=True)
class Question:
    """What one search answers: the aim, under which limits."""

    aim: Aim
    limits: tuple[Limit, ...]


def micro(amount: float) -> int:
    """Return an amount in whole micro-units."""
    return round(amount * MICRO)


def limits(job: Job) -> list[Limit]:
    """Return the K limits of a job in their order: catalogue's channels, offers, constraints.

    A constraint with both bounds gives two limits, ``name`` and ``name:minimum``; one of each day,
    and a capacity of a plan of several days, is one for each: ``name:day-1`` and so on. Fatigue is
    last.
    """
    found = []
    for series, constraint in [*_of_catalogue(job), *_stated(job)]:
        if not constraint.enforce:
            continue
        both = constraint.upper is not None and constraint.lower is not None
        own = []
        if constraint.upper is not None:
            own.append(_limit(job, constraint, constraint.name, constraint.upper))
        if constraint.lower is not None:
            name = f"{constraint.name}:minimum" if both else constraint.name
            own.append(_limit(job, constraint, name, constraint.lower, is_minimum=True))
        day = 0 if series is None else constraint.days[0] - 1
        found += [replace(limit, series=series, day=day) for limit in own]
    return [*found, *_fatigue(job)]


def measured(job: Job) -> list[Measured]:
    """Return the constraints that are measured and not enforced, in their order."""
    found = []
    for _, constraint in _stated(job):
        if not constraint.enforce:
            of, to = parts_of_limit(constraint, job)
            upper, lower = (None if x is None else micro(x) for x in _bounds(constraint))
            found.append(Measured(constraint.name, of, to, upper, lower))
    return found


def _stated(job: Job) -> list[tuple[str | None, Constraint]]:
    """Return the constraints of a job, those of each day as one of every day."""
    return [own for constraint in job.constraints for own in _by_day(constraint, job.horizon.days)]


def _by_day(constraint: Constraint, days: int) -> Iterator[tuple[str | None, Constraint]]:
    """Yield a constraint, or that of each day after the name of all of them."""
    if not constraint.each_day:
        yield None, constraint
        return
    for day in constraint.each_of(days):
        own = {"name": f"{constraint.name}:day-{day}", "days": [day], "each_day": False}
        yield constraint.name, constraint.model_copy(update=own)


def question(job: Job) -> Question:
    """Return what a job without goals asks: its objective, under all its limits."""
    return Question(aim(job.objective.measure, job.objective.minimise), tuple(limits(job)))


def aim(measure: str, minimised: str | None) -> Aim:
    """Return the aim of pursuing a measure."""
    return Aim(measure, 1 if minimised is None else -1)


def resolution(what: str, count: int, *, is_minimal: bool) -> str:
    """Return what to do about a set of limits in conflict.

    Args:
        what: the limits, as people should read them.
        count: how many they are.
        is_minimal: whether every one of them is known to have a part in the conflict.
    """
    if not is_minimal:
        return (
            f"no allocation keeps {what} together, though not all need have a part in it; raise "
            "solver.time_limit_s to know which"
        )
    if count == 1:
        return f"no allocation keeps {what}; relax it"
    return f"no allocation keeps {what} together; relax one of them"


def _fatigue(job: Job) -> list[Limit]:
    """Return the limit that stands for fatigue, if there is any."""
    acts, costs = actions_of(job), []
    by_channel = {
        name: tuple(a for a, action in enumerate(acts) if action.channel == name)
        for name in job.catalogue.channels
    }
    for state in job.fatigue:
        for level in range(len(state.borders) + 1):
            where = state.condition(level)
            for channel, own in by_channel.items():
                each = state.of_channel(channel)
                if own and each and micro(each[level]):
                    costs.append(ContactCost(channel, own, where, micro(each[level])))
    every = tuple(sorted({a for cost in costs for a in cost.actions}))
    limit = Limit(
        FATIGUE, FATIGUE, is_minimum=False, amount=0, actions=every, where=None, penalty=MICRO,
        costs=tuple(costs),
    )  # fmt: skip
    return [limit] if costs else []


def _bounds(constraint: Constraint) -> tuple[float | None, float | None]:
    return constraint.upper, constraint.lower


def _limit(
    job: Job, constraint: Constraint, name: str, amount: float, *, is_minimum: bool = False
) -> Limit:
    of, to = parts_of_limit(constraint, job)
    limit = micro(amount)
    scale = 1 if to is None else _scale(job, to, limit)
    penalty = None
    if constraint.penalty is not None:
        penalty = max(1, round(Fraction(micro(constraint.penalty), scale)))
    return Limit(
        name, of.measure, is_minimum, limit if to is None else 0, of.actions, of.where,
        to=to, ratio=0 if to is None else limit, scale=scale, penalty=penalty,
        twin=None if constraint.equals is None else constraint.name,
    )  # fmt: skip


def _scale(job: Job, to: Part, limit: int) -> int:
    """Return the least whole number that makes ``limit * coefficient`` whole for all of ``to``."""
    measure = coefficients(job, to.measure)
    products = (Fraction(limit * c, MICRO) for a in to.actions for c in measure[a])
    return lcm(*(product.denominator for product in products))


def parts_of_limit(constraint: Constraint, job: Job) -> tuple[Part, Part | None]:
    """Return what is summed, and of a ratio what it is divided by."""
    if constraint.ratio is None:
        where, scope = constraint.where, _scope([constraint], job)
        return Part(str(constraint.measure), scope, where), None
    of, to = (
        Part(
            part.measure,
            _scope([constraint, part], job),
            _both(constraint.where, part.where),
        )
        for part in (constraint.ratio.of, constraint.ratio.to)
    )
    return of, to


def _both(first: str | None, second: str | None) -> str | None:
    """Return the condition that both hold."""
    if first is None or second is None or first == second:
        return first or second
    return f"({first}) AND ({second})"


def _of_catalogue(job: Job) -> Iterator[tuple[str | None, Constraint]]:
    for name, channel in job.catalogue.channels.items():
        if channel.capacity is not None:
            capacity = Constraint(
                name=f"capacity:{name}",
                measure="contacts",
                at_most=channel.capacity,
                channels=[name],
                each_day=job.horizon.days > 1,
            )
            yield from _by_day(capacity, job.horizon.days)
    for name, offer in job.catalogue.offers.items():
        for kind, bound, amount in (
            ("quota", "at_most", offer.quota),
            ("minimum", "at_least", offer.minimum),
        ):
            if amount is not None:
                settings = {"name": f"{kind}:{name}", "measure": "contacts", "offers": [name]}
                yield None, Constraint.model_validate({**settings, bound: amount})


def _scope(scopes: list[Scope], job: Job) -> tuple[int, ...]:
    catalogue = job.catalogue
    return tuple(
        a
        for a, action in enumerate(actions_of(job))
        if all(
            (not scope.offers or action.offer in scope.offers)
            and (not scope.channels or action.channel in scope.channels)
            and (not scope.days or action.day + 1 in scope.days)
            and (
                not scope.categories or catalogue.offers[action.offer].category in scope.categories
            )
            for scope in scopes
        )
    )


def coefficients(job: Job, measure: str) -> list[tuple[int, int]]:
    """Return [A] (per contact, per acceptance) of a measure, micro-units.

    contacts (1, 0); acceptances (0, 1); cost (channel's unit cost, offer's cost); value
    (minus the channel's unit cost, the offer's value, as its day leaves it, less its cost).
    """
    found = []
    for action in actions_of(job):
        offer = job.catalogue.offers[action.offer]
        worth = micro(offer.value)
        if offer.decay is not None:
            worth = offer.decay.on(action.day, worth)
        unit_cost = micro(job.catalogue.channels[action.channel].unit_cost)
        found.append(
            {
                "contacts": (MICRO, 0),
                "acceptances": (0, MICRO),
                "cost": (unit_cost, micro(offer.cost)),
                "value": (-unit_cost, worth - micro(offer.cost)),
            }[measure]
        )
    return found
