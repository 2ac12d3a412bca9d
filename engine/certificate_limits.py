"""What the certificate says of limits: their use, and whether they hold, in exact numbers.

The form of a sum is the sum; of a ratio it is ``scale (of - limit to)``, compared with 0; of
fatigue the sum of what contacts cost. A limit holds when its form does, to the last unit; the ratio
itself is stated beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from engine.certificate_contacts import Violation
from engine.limits import FATIGUE, MICRO, Limit, measured
from engine.settings import Job


@dataclass(frozen=True)
class Form:
    """A limit's form, and how far it is beyond the limit."""

    use: Fraction  # units of the form
    over: Fraction  # units of the measure, >= 0
    paid: Fraction  # money, what passing a soft limit costs


@dataclass(frozen=True)
class Stated:
    """Every limit with its use."""

    forms: list[Form]  # [K]
    rows: list[dict[str, Any]]  # [K]
    measured: list[dict[str, Any]]
    fatigue: dict[str, Any] | None  # what contacts cost in annoyance; None: nothing
    broken: list[Violation]


def state(
    job: Job, limits: Sequence[Limit], sums: Sequence[Fraction], prices: Sequence[float]
) -> Stated:
    """Return every limit with its use, and those that do not hold.

    Args:
        job: the job.
        limits: [K] the limits.
        sums: [J] of each limit, then of each measured constraint: ``of``, and of a ratio ``to``.
        prices: [K] money per unit of the form.
    """
    left = iter(sums)
    forms, rows, broken, fatigue = [], [], [], None
    for limit, price in zip(limits, prices, strict=True):
        own = [next(left) for _ in limit.parts]
        form = _form(limit, own)
        of, to = form.use if limit.costs else own[0], None if limit.to is None else own[1]
        forms.append(form)
        rows.append(_row(job, limit, form, (of, to, price)))
        if form.over and limit.penalty is None:
            broken.append(Violation("limit", "", _broken(job, limit, form, (of, to))))
        if limit.costs:
            fatigue = _by_channel(job, limit, own)
    others = []
    for other in measured(job):
        of, to = next(left), None if other.to is None else next(left)
        unit = _unit(job, other.of.measure)
        others.append({
            "name": other.name, "measure": other.of.measure, "unit": unit,
            **_used(job, other, of, to),
            "at_most": None if other.at_most is None else other.at_most / MICRO,
            "at_least": None if other.at_least is None else other.at_least / MICRO,
        })  # fmt: skip
    return Stated(forms, rows, others, fatigue, broken)


def _form(limit: Limit, sums: Sequence[Fraction]) -> Form:
    """Return a limit's form, given the sums of its parts."""
    parts = zip(limit.parts, sums, strict=True)
    use = sum((factor * own for (_, factor), own in parts), Fraction(0))
    amount = Fraction(limit.amount * limit.scale, MICRO)
    over = max(Fraction(0), amount - use if limit.is_minimum else use - amount)
    paid = Fraction(0)
    if limit.penalty is not None:
        paid = over * Fraction(limit.penalty, MICRO)
    return Form(use, over / limit.scale, paid)


def _by_channel(job: Job, limit: Limit, contacts: Sequence[Fraction]) -> dict[str, Any]:
    """Return what contacts cost in annoyance, in all and by channel, money."""
    spent = dict.fromkeys(job.catalogue.channels, Fraction(0))
    for cost, count in zip(limit.costs, contacts, strict=True):
        spent[cost.channel] += Fraction(cost.cost, MICRO) * count
    return {
        "cost": float(sum(spent.values(), Fraction(0))),
        "unit": job.catalogue.currency,
        "channels": {channel: float(amount) for channel, amount in spent.items()},
    }


def _row(
    job: Job, limit: Limit, form: Form, rest: tuple[Fraction, Fraction | None, float]
) -> dict[str, Any]:
    of, to, price = rest
    amount = limit.amount if limit.to is None else limit.ratio
    row = {
        "name": limit.name, "measure": limit.measure, "unit": _unit(job, limit.measure),
        "is_minimum": limit.is_minimum, **_used(job, limit, of, to), "limit": amount / MICRO,
        "overrun": float(form.over), "price": price,
    }  # fmt: skip
    if limit.to is not None:
        row |= {"form": float(form.use)}
    if limit.to is not None or limit.scale != 1:
        row |= {"scale": limit.scale}
    if limit.penalty is not None:
        row |= {"penalty": limit.passed_at, "paid": float(form.paid)}
    return row


def _used(job: Job, bound: Any, of: Fraction, to: Fraction | None) -> dict[str, Any]:
    """Return a sum, or a ratio with what it is made of; null where nothing is to divide by."""
    if to is None:
        return {"use": float(of)}
    return {
        "use": float(of / to) if to else None,
        "numerator": float(of),
        "denominator": float(to),
        "per": _unit(job, bound.to.measure),
    }


def _unit(job: Job, measure: str) -> str:
    return job.catalogue.currency if measure in {"cost", "value", FATIGUE} else measure


def _broken(job: Job, limit: Limit, form: Form, sums: tuple[Fraction, Fraction | None]) -> str:
    of, to = sums
    unit, side = _unit(job, limit.measure), "above its limit"
    if limit.is_minimum:
        side = "below its minimum"
    if to is None:
        amount = limit.amount / MICRO
        return f"{limit.name}: {float(of)} {unit} is {float(form.over)} {side} {amount}"
    ratio = limit.ratio / MICRO
    return (
        f"{limit.name}: {float(of)} {unit} by {float(to)} is {side} {ratio}, the form by "
        f"{float(form.over)}"
    )
