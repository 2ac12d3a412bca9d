"""Settings of the features with a column for each channel or category of the catalogue."""

from typing import Annotated, Literal

from pydantic import Field

from engine.settings.base import Duration, Name, Settings, Where, Windows

Per = Literal["channel", "category", "both"]
"""Both: each channel with each category of an offer that it can carry."""


class ResponseFeature(Settings):
    """Smoothed response rate, or days since the last contact, per channel or category.

    Columns ``<name>_<channel>``, ``<name>_<category>`` or ``<name>_<channel>_<category>``; an event
    is of the category of its offer. The rate is
    ``(accepts + prior * strength) / (contacts + strength)`` (empirical Bayes).
    """

    op: Literal["response_rate", "last_contact"]
    name: Name
    """Stem of the columns."""
    window: Duration = "90d"
    """Trailing window of contacts and outcomes."""
    per: Per = "channel"
    """What has a column: each channel, each category, or each pair of both in the catalogue."""
    prior: Annotated[float, Field(gt=0, lt=1, json_schema_extra={"unit": "share"})] = 0.05
    """Response rate of a subscriber without history (response_rate only)."""
    strength: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 5.0
    """Weight of the prior, in contacts (response_rate only)."""
    priors: Literal["given", "fitted"] = "given"
    """Fitted: both from the whole base as of now, so models use it if listed (response_rate)."""


class GroupCountFeature(Settings):
    """Events of each channel or category over trailing windows: contacts, accepts or rejects, say.

    Columns ``<name>_<channel>_<window>``, ``<name>_<category>_<window>`` or, of both,
    ``<name>_<channel>_<category>_<window>``.
    """

    op: Literal["count_per"]
    name: Name
    """Stem of the columns."""
    of: str
    """The event table: ``contacts``, ``outcomes`` or one with such text columns."""
    per: Per = "channel"
    """Each channel (text column ``channel``), category (of the offer in ``offer``), or pair."""
    windows: Windows = ["30d", "90d"]
    """Trailing windows."""
    where: Where = None


class GroupRecencyFeature(Settings):
    """Days since the last event of each channel or category: a contact or a rejection, say.

    Columns ``<name>_<channel>``, ``<name>_<category>`` or ``<name>_<channel>_<category>``, missing
    without one.
    """

    op: Literal["recency_per"]
    name: Name
    """Stem of the columns."""
    of: str
    """The event table: ``contacts``, ``outcomes`` or one with such text columns."""
    per: Per = "channel"
    """Each channel (text column ``channel``), category (of the offer in ``offer``), or pair."""
    where: Where = None


GroupFeature = ResponseFeature | GroupCountFeature | GroupRecencyFeature
