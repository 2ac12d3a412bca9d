"""All global limits of a job: its constraints, and the catalogue's capacities and quotas."""

from dataclasses import dataclass

from engine.actions import actions
from engine.settings import Job
from engine.settings.catalogue import Catalogue, Constraint

MICRO = 1_000_000
"""Money, uses and limits are whole numbers of millionths of their unit."""


@dataclass(frozen=True)
class Limit:
    """One limit of one measure: ``sum of measure over scope <= amount`` (or >=, a minimum)."""

    name: str
    measure: str  # contacts, acceptances, cost or value
    is_minimum: bool
    amount: int  # micro-units
    actions: tuple[int, ...]  # actions in scope, by position in engine.actions.actions
    where: str | None  # SQL condition of the subscribers in scope; None: all


def micro(amount: float) -> int:
    """Return an amount in whole micro-units."""
    return round(amount * MICRO)


def limits(job: Job) -> list[Limit]:
    """Return the K limits of a job in their order: catalogue's channels, offers, constraints.

    A constraint with both bounds gives two limits, ``name`` and ``name:minimum``.
    """
    found = []
    for constraint in [*_of_catalogue(job.catalogue), *job.constraints]:
        scope = _scope(constraint, job.catalogue)
        both = constraint.at_most is not None and constraint.at_least is not None
        if constraint.at_most is not None:
            found.append(_limit(constraint, constraint.name, constraint.at_most, scope))
        if constraint.at_least is not None:
            name = f"{constraint.name}:minimum" if both else constraint.name
            found.append(_limit(constraint, name, constraint.at_least, scope, is_minimum=True))
    return found


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


def _limit(
    constraint: Constraint,
    name: str,
    amount: float,
    scope: tuple[int, ...],
    *,
    is_minimum: bool = False,
) -> Limit:
    return Limit(name, constraint.measure, is_minimum, micro(amount), scope, constraint.where)


def _of_catalogue(catalogue: Catalogue) -> list[Constraint]:
    found = []
    for name, channel in catalogue.channels.items():
        if channel.capacity is not None:
            found.append(
                Constraint(
                    name=f"capacity:{name}",
                    measure="contacts",
                    at_most=channel.capacity,
                    channels=[name],
                )
            )
    for name, offer in catalogue.offers.items():
        for kind, bound, amount in (
            ("quota", "at_most", offer.quota),
            ("minimum", "at_least", offer.minimum),
        ):
            if amount is not None:
                settings = {"name": f"{kind}:{name}", "measure": "contacts", "offers": [name]}
                found.append(Constraint.model_validate({**settings, bound: amount}))
    return found


def _scope(constraint: Constraint, catalogue: Catalogue) -> tuple[int, ...]:
    return tuple(
        a
        for a, action in enumerate(actions(catalogue))
        if (not constraint.offers or action.offer in constraint.offers)
        and (not constraint.channels or action.channel in constraint.channels)
        and (
            not constraint.categories
            or catalogue.offers[action.offer].category in constraint.categories
        )
    )


def coefficients(job: Job, measure: str) -> list[tuple[int, int]]:
    """Return [A] (per contact, per acceptance) of a measure, micro-units.

    contacts (1, 0); acceptances (0, 1); cost (channel's unit cost, offer's cost); value
    (minus the channel's unit cost, the offer's value less its cost).
    """
    found = []
    for action in actions(job.catalogue):
        offer = job.catalogue.offers[action.offer]
        unit_cost = micro(job.catalogue.channels[action.channel].unit_cost)
        found.append(
            {
                "contacts": (MICRO, 0),
                "acceptances": (0, MICRO),
                "cost": (unit_cost, micro(offer.cost)),
                "value": (-unit_cost, micro(offer.value) - micro(offer.cost)),
            }[measure]
        )
    return found
