"""Settings of the catalogue: channels, offers and contact policies."""

from datetime import UTC, date, datetime
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from engine.settings.base import Count, Duration, Money, Name, Settings, Sql


def _instant(value: object) -> datetime:
    try:
        instant = datetime.fromisoformat(value) if isinstance(value, str) else value
        if type(instant) is date:
            instant = datetime(instant.year, instant.month, instant.day)
        if isinstance(instant, datetime):
            zoned = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
            return zoned.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError("should be an instant, for example 2026-10-01 or 2026-10-01T12:00:00Z")


Instant = Annotated[
    datetime, BeforeValidator(_instant), Field(json_schema_extra={"unit": "UTC without a zone"})
]


class Channel(Settings):
    """A way to contact a subscriber."""

    unit_cost: Money = 0.0
    """Cost of one contact, rounded to 0.000001."""
    capacity: Count | None = None
    """Most contacts of this run; null: no limit."""
    consent: str | None = None
    """Boolean column the subscriber must have true (opt-in); null: none is needed."""
    device: str | None = None
    """Boolean column the subscriber must have true (device capability); null: none is needed."""


class Offer(Settings):
    """Something a subscriber may be offered."""

    category: Name
    """Category, for contact policies and the report."""
    value: Money
    """Value of one acceptance, before its cost, rounded to 0.000001."""
    cost: Money = 0.0
    """Cost of one acceptance (discount, bonus), rounded to 0.000001."""
    channels: Annotated[list[Name], Field(min_length=1)]
    """Channels that can carry the offer."""
    eligible: Sql | None = None
    """Who may get it: a SQL condition over subscriber columns and features; null: everyone."""
    valid_from: Instant | None = None
    """First instant of validity; null: always."""
    valid_until: Instant | None = None
    """First instant at which it is no longer valid; null: always."""
    quota: Count | None = None
    """Most contacts with this offer; null: no limit."""
    minimum: Count | None = None
    """Fewest contacts with this offer; null: none."""

    @model_validator(mode="after")
    def _limits(self) -> Self:
        problems = []
        if self.quota is not None and self.minimum is not None and self.minimum > self.quota:
            problems.append(f"minimum {self.minimum} is above quota {self.quota}")
        if self.valid_from and self.valid_until and self.valid_from >= self.valid_until:
            problems.append(f"valid_until {self.valid_until} is not after {self.valid_from}")
        twice = sorted({c for c in self.channels if self.channels.count(c) > 1})
        problems += [f"channels: {channel} is named twice" for channel in twice]
        if problems:
            raise ValueError("\n".join(problems))
        return self


class Catalogue(Settings):
    """What can be offered, and through what."""

    currency: Annotated[str, Field(min_length=1, max_length=8)]
    """Currency of every money setting and column."""
    channels: Annotated[dict[Name, Channel], Field(min_length=1)]
    """Channels by name; their order breaks ties."""
    offers: Annotated[dict[Name, Offer], Field(min_length=1)]
    """Offers by name; their order breaks ties."""
    weight: Sql | None = None
    """Weight of a subscriber's value: 0 to 1000, rounded to 1/1024, 2 ** 28 in sum; null: 1."""

    @model_validator(mode="after")
    def _channels_exist(self) -> Self:
        problems = [
            f"offers.{name}.channels: unknown channel {channel}; "
            f"the channels are {', '.join(self.channels)}"
            for name, offer in self.offers.items()
            for channel in offer.channels
            if channel not in self.channels
        ]
        if problems:
            raise ValueError("\n".join(problems))
        return self


KINDS = ("at_most", "exactly", "at_least", "exclusive", "requires", "package")
COUNTS = KINDS[:3]  # those that count contacts, so that a history may count too


class ContactPolicy(Settings):
    """A rule for each subscriber by itself; it has one of the kinds below, from at_most on."""

    name: Name
    """Name of the policy, shown in reasons."""
    at_most: Annotated[int, Field(ge=0, le=255)] | None = None
    """Most contacts, those of this run included; null: no cap."""
    exactly: Annotated[int, Field(ge=1, le=4)] | None = None
    """Offers, no fewer and no more, even at a loss; who can't get so many is exempt; null: any."""
    at_least: Annotated[int, Field(ge=2, le=4)] | None = None
    """All or nothing: so many offers at least, or none; null: any number."""
    exclusive: list[Name] = []
    """Offers that exclude each other: a subscriber gets one of them at most in this run."""
    offer: Name | None = None
    """The offer that needs another, with requires; null: none."""
    requires: list[Name] = []
    """The offer is allocated only together with one of these, in this run."""
    package: list[Name] = []
    """Offers that on one channel are one contact, for caps in all and per channel."""
    per: Literal["all", "channel", "category", "offers"] = "all"
    """What a cap counts together: all contacts, each channel's, each category's, some offers'."""
    only: list[Name] = []
    """Channels or categories it holds for, empty: each; the offers that it counts together."""
    within: Duration | None = None
    """Trailing window of the contact history that counts too; null: this run only."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = [kind for kind in KINDS if getattr(self, kind) not in (None, [])]
        problems = []
        if len(kinds) != 1:
            got = " and ".join(kinds) or "none"
            problems.append(f"policy {self.name}: should have one of {', '.join(KINDS)}, got {got}")
        if (self.offer is None) != (not self.requires):
            problems.append(f"policy {self.name}: offer and requires go together")
        if self.offer in self.requires:
            problems.append(f"policy {self.name}: {self.offer} can't require itself")
        if "at_most" not in kinds and (self.per != "all" or self.only):
            problems.append(f"policy {self.name}: per and only go with at_most")
        if self.within and not set(kinds) & set(COUNTS):
            problems.append(f"policy {self.name}: within goes with {', '.join(COUNTS)}")
        for kind in ("exclusive", "package"):
            if len(getattr(self, kind)) == 1:
                problems.append(f"policy {self.name}: {kind} needs two offers at least, got one")
        for setting in ("exclusive", "requires", "package", "only"):
            names = getattr(self, setting)
            twice = sorted({name for name in names if names.count(name) > 1})
            problems += [f"policy {self.name}: {setting} names {name} twice" for name in twice]
        if problems:
            raise ValueError("\n".join(problems))
        return self
