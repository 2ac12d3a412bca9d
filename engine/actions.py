"""The actions of a catalogue: an offer on a channel that carries it, in one fixed order."""

from dataclasses import dataclass

from engine.settings.catalogue import Catalogue


@dataclass(frozen=True)
class Action:
    """One offer on one channel."""

    offer: str
    channel: str

    @property
    def name(self) -> str:
        """Return ``offer@channel``, the name of the action's propensity column."""
        return f"{self.offer}@{self.channel}"


def actions(catalogue: Catalogue) -> list[Action]:
    """Return the A actions: offers in catalogue order, and for each its channels in theirs.

    The order breaks ties: of equal actions the first is chosen.
    """
    return [
        Action(offer, channel)
        for offer, settings in catalogue.offers.items()
        for channel in catalogue.channels
        if channel in settings.channels
    ]
