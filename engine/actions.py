"""The actions of a job: an offer on a channel that carries it, on a day, in one fixed order."""

from dataclasses import dataclass

from engine.settings import Job
from engine.settings.catalogue import Catalogue

OF_A_DAY = ":day-"  # between the name of a pair and its day


@dataclass(frozen=True)
class Action:
    """One offer on one channel, on one day of the horizon."""

    offer: str
    channel: str
    day: int = 0

    @property
    def name(self) -> str:
        """Return ``offer@channel``, the name of the action's propensity column."""
        return f"{self.offer}@{self.channel}"


def labels(job: Job) -> list[str]:
    """Return [A] what the actions of a job are called, for people: of several days by day."""
    if job.horizon.days == 1:
        return [action.name for action in actions_of(job)]
    return [f"{action.name}{OF_A_DAY}{action.day + 1}" for action in actions_of(job)]


def actions(catalogue: Catalogue) -> list[Action]:
    """Return the P pairs: offers in catalogue order, and for each its channels in theirs.

    These are the A actions of a job of one day. The order breaks ties: of equal actions the first
    is chosen.
    """
    return [
        Action(offer, channel)
        for offer, settings in catalogue.offers.items()
        for channel in catalogue.channels
        if channel in settings.channels
    ]


def actions_of(job: Job) -> list[Action]:
    """Return the A actions of a job: every pair on each day, day by day.

    Action a is pair ``a // days`` on day ``a % days``.
    """
    days = range(job.horizon.days)
    return [Action(p.offer, p.channel, day) for p in actions(job.catalogue) for day in days]
