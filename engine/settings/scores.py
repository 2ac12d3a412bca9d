"""Settings of the scores: where the propensity of each action comes from."""

from typing import Annotated, Literal

from pydantic import Field

from engine.settings.base import Duration, Settings, Sql


class ColumnScores(Settings):
    """Propensities the user brings, as subscriber columns."""

    kind: Literal["columns"]
    columns: dict[str, str]
    """Subscriber column by offer (``offer``) or action (``offer@channel``); action goes first."""


class FormulaScores(Settings):
    """Propensities by SQL formulas over subscriber columns and features."""

    kind: Literal["formula"]
    formulas: dict[str, Sql]
    """Formula by offer (``offer``) or action (``offer@channel``); the action's goes first."""
    channel_factors: dict[str, Sql] = {}
    """Formula by channel; an offer's formula is multiplied by its channel's."""


class ModelScores(Settings):
    """Propensities from gradient-boosted trees (XGBoost) trained on past contacts and outcomes.

    Past contacts are ordered by time: the first share trains, the next calibrates, the rest tests.
    Features are computed as of each contact, and a contact whose outcome window reaches into the
    next share is left out, so the model never sees its future. A feature over a subscriber
    column as the table has it now (a balance, not a start date) would: it is used only if listed.
    """

    kind: Literal["model"]
    horizon: Duration = "7d"
    """A contact counts as accepted when an outcome of its offer follows within this time."""
    features: list[str] = []
    """Columns the model sees; empty: numeric features free of present subscriber values."""
    train_share: Annotated[float, Field(gt=0, lt=1, json_schema_extra={"unit": "share"})] = 0.6
    """Share of the past contacts, earliest first, that trains the model."""
    calibrate_share: Annotated[float, Field(gt=0, lt=1, json_schema_extra={"unit": "share"})] = 0.2
    """Share of the past contacts, next in time, that calibrates it."""
    max_contacts: Annotated[int, Field(ge=100)] = 200_000
    """Most past contacts used; more are sampled by a hash of subscriber, time and ``seed``."""
    min_accepts: Annotated[int, Field(ge=1)] = 20
    """Fewest accepted contacts in the training share; fewer are an error."""
    trees: Annotated[int, Field(ge=1, le=10_000)] = 120
    """Number of trees."""
    depth: Annotated[int, Field(ge=1, le=16)] = 4
    """Depth of a tree."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Step of one tree."""
    max_propensity: Annotated[float, Field(gt=0, le=1, json_schema_extra={"unit": "share"})] = 1.0
    """Calibrated propensities are never above this."""


Scores = Annotated[ColumnScores | FormulaScores | ModelScores, Field(discriminator="kind")]
