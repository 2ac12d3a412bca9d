"""Settings of the features of value: they take parameters from the whole base."""

from typing import Annotated, Literal

from pydantic import Field

from engine.settings.base import Duration, Name, Settings, Where


class RfmFeature(Settings):
    """Scores of recency, frequency and monetary value among all subscribers, 1 the least.

    Columns ``<name>_recency``, ``<name>_frequency``, ``<name>_monetary`` and ``<name>``, the three
    as digits: 543.
    """

    op: Literal["rfm"]
    name: Name
    """Stem of the columns."""
    of: str
    """``table.column`` with the money of a transaction."""
    window: Duration = "365d"
    """Trailing window of the transactions; without one in it all columns are missing."""
    bins: Annotated[int, Field(ge=2, le=9)] = 5
    """Number of scores; each is given to an equal share of subscribers, as far as ties allow."""
    where: Where = None


class LifetimeFeature(Settings):
    """Expected discounted money of the transactions within a horizon: BG/NBD and Gamma-Gamma.

    Columns ``<name>``, ``<name>_alive`` (probability of being alive), ``<name>_transactions``
    (expected within the horizon) and ``<name>_spend`` (expected money of one).
    """

    op: Literal["lifetime_value"]
    name: Name
    """Stem of the columns."""
    of: str
    """``table.column`` with the money of a transaction, never negative; each event is one."""
    horizon: Duration = "365d"
    """Time ahead that counts, at most 3650d."""
    discount: Annotated[float, Field(ge=0, le=1, json_schema_extra={"unit": "share per 365 d"})] = (
        0.1
    )
    """Discount of later money, counted at the end of each twelfth of the horizon."""
    sample: Annotated[
        int, Field(ge=1_000, le=1_000_000, json_schema_extra={"unit": "subscribers"})
    ] = 50_000
    """Most subscribers that the models are fitted to, drawn by a hash of their key."""
    where: Where = None


ValueFeature = RfmFeature | LifetimeFeature
