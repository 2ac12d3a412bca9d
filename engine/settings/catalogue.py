"""Settings of the catalogue: channels and offers."""

from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from functools import cache
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from engine.settings.base import Count, Duration, Money, Name, Settings, Share, Sql, seconds


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
    """Most contacts of a day of this run; null: no limit."""
    consent: str | dict[Name, str | None] | None = None
    """Boolean column that must be true (opt-in), of all or by purpose; null: none is needed."""
    device: str | None = None
    """Boolean column the subscriber must have true (device capability); null: none is needed."""

    @property
    def consents(self) -> dict[str, str | None]:
        """Return the consent column by purpose; empty where it is one for all."""
        return self.consent if isinstance(self.consent, dict) else {}

    def consent_for(self, purpose: str) -> str | None:
        """Return the column that must be true for offers of a purpose; None: none."""
        return self.consent.get(purpose) if isinstance(self.consent, dict) else self.consent


DAY_S, DIGITS = 86_400, 40


@cache
def _left(half_life_or_share: str | float, day: int, value: int) -> int:
    """Return what a decay leaves of a value on a day."""
    with localcontext(prec=DIGITS, rounding=ROUND_HALF_EVEN):
        if isinstance(half_life_or_share, str):
            share = Decimal(2) ** -(Decimal(DAY_S * day) / seconds(half_life_or_share))
        else:
            share = Decimal(half_life_or_share)
        return int((value * share).to_integral_value())


class Decay(Settings):
    """What later days of a plan of several days take off an acceptance's value; one of the two."""

    half_life: Duration | None = None
    """After so long the value is half; null: ``by_day`` says it."""
    by_day: list[Share] = []
    """For each day, what share of the value is left; empty: ``half_life`` says it."""

    def on(self, day: int, value: int) -> int:
        """Return what is left of a value in whole units, the same number on any machine.

        Args:
            day: of the plan, from 0 on.
            value: in whole units.
        """
        return _left(self.half_life or self.by_day[day], day, value)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.half_life is None) == (not self.by_day):
            raise ValueError("should have either half_life or by_day")
        return self


class Offer(Settings):
    """Something a subscriber may be offered."""

    category: Name
    """Category, for contact policies and the report."""
    purpose: Name = "marketing"
    """What it is sent for: marketing, service, ...; consents and exemptions go by it."""
    team: Name | None = None
    """Who makes the offer, for contact policies per team; null: nobody in particular."""
    value: Money
    """Value of one acceptance, before its cost, rounded to 0.000001."""
    decay: Decay | None = Decay(half_life="60d")
    """What later days of a plan take off the value: sooner is better; null: nothing."""
    cost: Money = 0.0
    """Cost of one acceptance (discount, bonus), rounded to 0.000001."""
    channels: Annotated[list[Name], Field(min_length=1)]
    """Channels that can carry the offer."""
    eligible: Sql | None = None
    """Who may get it: a SQL condition over subscriber columns and features; null: everyone."""
    valid_from: Instant | None = None
    """First instant at which it may go out; null: always."""
    valid_until: Instant | None = None
    """First instant at which it may no longer go out; null: always."""
    until: Sql | None = None
    """Hours after ``horizon.start`` in which it may go out, of a subscriber; null: at any time."""
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
        problems += [
            f"channels.{channel}.consent: says nothing of purpose {offer.purpose} of offer {name}; "
            "name a column, or null where none is needed"
            for name, offer in self.offers.items()
            for channel in offer.channels
            if channel in self.channels
            and isinstance(self.channels[channel].consent, dict)
            and offer.purpose not in self.channels[channel].consents
        ]
        if problems:
            raise ValueError("\n".join(problems))
        return self
