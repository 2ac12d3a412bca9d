"""Settings of contact policies: what a subscriber or household may receive, and when."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from engine.settings.base import Duration, Name, Settings, Sql, as_duration
from engine.settings.catalogue import Catalogue
from engine.settings.inputs import Inputs

EVER = "ever"
CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]"
KINDS = (
    "at_most", "exactly", "at_least", "spacing", "suppress", "cool_down", "quiet", "blackout",
    "exclusive", "requires", "not_after", "only_after", "package",
)  # fmt: skip
CAPS = ("at_most", "spacing")
MOST_CAP = 255  # the largest
SCOPED = (*CAPS, "suppress", "cool_down", "quiet", "blackout")  # those that per and only narrow
OVER_HOUSEHOLD = ("at_most", "spacing", "suppress", "cool_down", "exclusive")
OF_OFFER = ("requires", "not_after", "only_after")  # what they say is said of one offer
REMEMBERED = {
    "at_most", "exactly", "at_least", "cool_down", "exclusive", "not_after", "only_after",
}  # fmt: skip
"""Those that may look back (``within``)."""


def _day(value: object) -> date:
    try:
        day = date.fromisoformat(value) if isinstance(value, str) else value
        if isinstance(day, date) and not isinstance(day, datetime):
            return day
    except ValueError:
        pass
    raise ValueError("should be a date, for example 2026-12-24")


def _clock(value: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError('should be a time of day in quotes, for example "21:30"')


def _some_hours(value: str) -> str:
    begin, end = value.split("-")
    if begin == end:
        raise ValueError(
            "should begin and end at different times, as it holds from the first until before the "
            "second; for whole days there is blackout"
        )
    return value


def _within(value: object) -> str:
    return EVER if value == EVER else as_duration(value)


def clock_s(clock: str) -> int:
    """Return a time of day such as ``21:30`` in seconds since midnight."""
    hours, minutes = clock.split(":")
    return 3_600 * int(hours) + 60 * int(minutes)


Day = Annotated[date, BeforeValidator(_day)]
Clock = Annotated[str, BeforeValidator(_clock), Field(pattern=f"^{CLOCK}$")]
Hours = Annotated[
    str,
    BeforeValidator(_clock),
    Field(pattern=f"^{CLOCK}-{CLOCK}$"),
    AfterValidator(_some_hours),
]
Within = Annotated[
    str, BeforeValidator(_within), Field(json_schema_extra={"unit": "s, m, h, d or w; or ever"})
]
Outcome = Annotated[str, Field(min_length=1, max_length=63)]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
WEEKDAYS = get_args(Weekday)


class ContactPolicy(Settings):
    """A rule for each subscriber, or each household; it has one kind, up to ``package``."""

    name: Name
    """Name of the policy, shown in reasons."""
    at_most: Annotated[int, Field(ge=0, le=MOST_CAP)] | None = None
    """Most contacts, those of this run included; null: no cap."""
    exactly: Annotated[int, Field(ge=1, le=4)] | None = None
    """Offers, no fewer and no more, even at a loss; who can't get so many is exempt; null: any."""
    at_least: Annotated[int, Field(ge=2, le=4)] | None = None
    """All or nothing: so many offers at least, or none; null: any number."""
    spacing: Duration | None = None
    """Least time between two contacts: a cap of one within it; null: none."""
    suppress: Sql | None = None
    """No contact for whom this SQL condition over columns and features holds; null: no such."""
    cool_down: Duration | None = None
    """No contact for so long after the outcome that makes it ``times`` within ``within``."""
    quiet: Hours | None = None
    """No contact from the one local time to the other, such as "21:00-08:00"; null: none."""
    blackout: list[Day] = []
    """No contact on these local dates."""
    exclusive: list[Name] = []
    """Offers one of which excludes the others: in this run, and if ``within`` is set so long."""
    requires: list[Name] = []
    """The offer is allocated only together with one of these, in this run."""
    not_after: list[Name] = []
    """The offer is not made within ``within`` after one of these."""
    only_after: list[Name] = []
    """The offer is made only after an outcome of one of these, within ``within``."""
    package: list[Name] = []
    """Offers that on one channel are one contact, for caps in all and per channel."""
    offer: Name | None = None
    """The offer that requires, not_after and only_after speak of; null: none."""
    per: Literal["all", "channel", "category", "team", "offer", "offers"] = "all"
    """What it counts or closes: all together, each channel, ..., each offer, or some offers."""
    only: list[Name] = []
    """Channels, categories, teams or offers it holds for, empty: each; the offers of ``offers``."""
    over: Literal["subscriber", "household"] = "subscriber"
    """Whose contacts and outcomes count together, and for whom it closes what it closes."""
    within: Within | None = None
    """Sliding window of the contact history that counts too, or ever; null: this run only."""
    each: Literal["day", "week", "month"] | None = None
    """Calendar period in the subscriber's time zone in which at_most counts; null: no such."""
    week_starts: Weekday = "monday"
    """First day of the weeks of ``each: week``."""
    outcome: list[Outcome] = []
    """Outcomes that count, by the column ``outcome`` of the outcomes; empty: accepted ones."""
    times: Annotated[int, Field(ge=1, le=1_000)] = 1
    """Outcomes within ``within`` that begin a cool-down."""
    exempt: list[Name] = []
    """Purposes of offers that skip the policy, though their contacts count."""

    @property
    def kind(self) -> str:
        """Return its kind, one of :data:`KINDS`."""
        return next(kind for kind in KINDS if getattr(self, kind) not in (None, []))

    @property
    def cap(self) -> int | None:
        """Return the most contacts in its window; None: it is no cap."""
        return 1 if self.spacing is not None else self.at_most

    @property
    def is_joint(self) -> bool:
        """Return whether it bounds what the members of a household get together in a run."""
        is_cap = self.cap is not None or self.kind == "exclusive"
        return self.over == "household" and is_cap

    @property
    def looks_back(self) -> bool:
        """Return whether it needs the contact history."""
        is_past = self.within is not None and self.kind not in {"cool_down", "only_after"}
        return is_past or self.each is not None or self.spacing is not None

    @property
    def needs_outcomes(self) -> bool:
        """Return whether it needs the outcomes."""
        return self.kind in {"cool_down", "only_after"}

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = [kind for kind in KINDS if getattr(self, kind) not in (None, [])]
        problems = []
        if len(kinds) != 1:
            got = " and ".join(kinds) or "none"
            problems.append(f"should have one of {', '.join(KINDS)}, got {got}")
        problems += self._misplaced(set(kinds))
        for kind in ("exclusive", "package"):
            if len(getattr(self, kind)) == 1:
                problems.append(f"{kind} needs two offers at least, got one")
        for setting in ("exclusive", "package", "only", "exempt", "outcome", *OF_OFFER):
            names = getattr(self, setting)
            twice = sorted({name for name in names if names.count(name) > 1})
            problems += [f"{setting} names {name} twice" for name in twice]
        if problems:
            raise ValueError("\n".join(f"policy {self.name}: {problem}" for problem in problems))
        return self

    def _misplaced(self, kinds: set[str]) -> list[str]:
        """Return what is set that goes with other kinds, and what is missing."""
        problems = []
        of_offer = [kind for kind in OF_OFFER if kind in kinds]
        if (self.offer is None) != (not of_offer):
            problems.append(f"offer goes with one of {', '.join(OF_OFFER)}")
        for kind in of_offer:
            if self.offer in getattr(self, kind):
                problems.append(f"{kind}: {self.offer} can't be beside or after itself")
        if not kinds & set(SCOPED) and (self.per != "all" or self.only):
            problems.append(f"per and only go with {', '.join(SCOPED)}")
        if not kinds & set(SCOPED) and self.exempt:
            problems.append(f"exempt goes with {', '.join(SCOPED)}")
        if self.within and not kinds & REMEMBERED:
            problems.append(f"within goes with {', '.join(k for k in KINDS if k in REMEMBERED)}")
        if self.each and ("at_most" not in kinds or self.within):
            problems.append("each goes with at_most, and not with within")
        if self.week_starts != "monday" and self.each != "week":
            problems.append("week_starts goes with each: week")
        if self.outcome and not kinds & {"cool_down", "only_after"}:
            problems.append("outcome goes with cool_down and only_after")
        if self.times != 1 and "cool_down" not in kinds:
            problems.append("times goes with cool_down")
        if "cool_down" in kinds and self.times > 1 and self.within is None:
            problems.append("times needs within: in how long so many outcomes begin a cool-down")
        if self.over == "household" and not kinds & set(OVER_HOUSEHOLD):
            problems.append(f"over: household goes with {', '.join(OVER_HOUSEHOLD)}")
        if "not_after" in kinds and self.within is None:
            problems.append("not_after needs within: how long after, or ever")
        return problems


def disagreements(
    policies: Sequence[ContactPolicy], catalogue: Catalogue, inputs: Inputs
) -> Iterator[str]:
    """Yield what policies name that the catalogue and the inputs do not have."""
    offers = catalogue.offers
    known = {
        "channel": set(catalogue.channels),
        "category": {offer.category for offer in offers.values()},
        "team": {offer.team for offer in offers.values() if offer.team},
        "offer": set(offers),
        "purpose": {offer.purpose for offer in offers.values()},
    }
    packed = [name for policy in policies for name in policy.package]
    for i, policy in enumerate(policies):
        where = f"policies.{i}"
        named = [(setting, getattr(policy, setting), "offer")
                 for setting in ("exclusive", "package", *OF_OFFER)]  # fmt: skip
        named.append(("offer", [policy.offer] if policy.offer else [], "offer"))
        named.append(("exempt", policy.exempt, "purpose"))
        if policy.per != "all":
            named.append(("only", policy.only, policy.per.removesuffix("s")))
        elif policy.only:
            yield f"{where}.only: goes with per: channel, category, team, offer or offers"
        if policy.per == "offers" and not policy.only:
            yield f"{where}.only: per: offers needs the offers, got none"
        for setting, names, kind in named:
            there = ", ".join(sorted(known[kind])) or "none"
            yield from (
                f"{where}.{setting}: unknown {kind} {name}; there are {there}"
                for name in names
                if name not in known[kind]
            )
        if policy.looks_back and not inputs.contacts:
            setting = "spacing" if policy.spacing else "each" if policy.each else "within"
            yield f"{where}.{setting}: needs inputs.contacts, the contact history"
        if policy.needs_outcomes and not inputs.outcomes:
            yield f"{where}.{policy.kind}: needs inputs.outcomes"
        elif policy.outcome and inputs.outcomes and "outcome" not in inputs.outcomes.categories:
            yield f"{where}.outcome: needs a column outcome among inputs.outcomes.categories"
        if policy.over == "household" and inputs.subscribers.household is None:
            yield f"{where}.over: household needs inputs.subscribers.household, the column"
        purposes = {offers[name].purpose for name in policy.package if name in offers}
        if len(purposes) > 1 and any(other.exempt for other in policies):
            got = ", ".join(sorted(purposes))
            yield f"{where}.package: its offers should have one purpose, got {got}"
    joint = next((policy.name for policy in policies if policy.is_joint), None)
    for i, policy in enumerate(policies):
        if joint is not None and policy.kind in {"exactly", "at_least", "requires"}:
            yield (
                f"policies.{i}.{policy.kind}: does not go with caps and exclusions over "
                f"households, got {joint}; leave one of them out"
            )
    for name in sorted({name for name in packed if packed.count(name) > 1}):
        yield f"policies: offer {name} is in two packages; it should be in one"
