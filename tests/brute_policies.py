"""Contact policies by their meaning alone: plain Python over full lists of events.

A job is the mapping of its file, an action (offer, channel, day), a bundle a tuple of actions.
Policies over households see the events of all members. Nothing here is taken from the engine.
"""

from bisect import bisect_left
from collections import namedtuple
from datetime import datetime, timedelta
from functools import cache
from itertools import combinations, product
from zoneinfo import ZoneInfo

MOST = 4  # actions of a run's bundle
MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400
LONGEST_SHIFT_S = 3 * HOUR_S  # no clock is put back by more
UNIT_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
CAPS = {"at_most", "spacing"}
KINDS = [
    "at_most", "exactly", "at_least", "spacing", "suppress", "cool_down", "quiet", "blackout",
    "exclusive", "requires", "not_after", "only_after", "package",
]  # fmt: skip
SUPPRESSED = {"churned": lambda row: row["churned"], "tenure < 10": lambda row: row["tenure"] < 10}
ACCEPTED = {None: lambda outcome: True, "outcome = 'yes'": lambda outcome: outcome == "yes"}

Action = namedtuple("Action", "offer channel day", defaults=(0,))  # days count from 0
Event = namedtuple(
    "Event", "time offer channel category team outcome owner", defaults=("", "", "", 0)
)
Person = namedtuple("Person", "zone row contacts outcomes home others", defaults=(None, ()))
"""The row: columns of the profile; home: the name of its household; others: its other members."""


def seconds(duration):
    return int(duration[:-1]) * UNIT_S[duration[-1]]


def instant(text):
    return int(datetime.fromisoformat(text).timestamp())


def kind_of(policy):
    return next(kind for kind in KINDS if kind in policy)


# Clocks and calendars.


@cache
def wall(zone, at):
    """Return what calendar and clock show."""
    return datetime.fromtimestamp(at, ZoneInfo(zone)).replace(tzinfo=None)


@cache
def latest_wall(zone, at):
    """Return the latest that calendar and clock have shown so far."""
    whole = at - at % MINUTE_S
    past = range(whole - LONGEST_SHIFT_S, at + 1, MINUTE_S)
    return max(wall(zone, min(t + MINUTE_S - 1, at)) for t in past)


@cache
def first_send(start, clock, zone):
    """Return the first instant, from one on, at which a day first shows a time of day, or more.

    And which day's: the date and time that were due.
    """
    if clock is None:
        return start, wall(zone, start)
    hour, minute = map(int, clock.split(":"))
    at = -(-start // MINUTE_S) * MINUTE_S
    before = latest_wall(zone, at - MINUTE_S)
    while True:
        shown = max(before, wall(zone, at))
        today = shown.replace(hour=hour, minute=minute, second=0)
        for due in (today - timedelta(days=1), today):
            if before < due <= shown:
                return at, due
        at, before = at + MINUTE_S, shown


@cache
def send_times(start, clock, zone, days):
    """Return when each day goes out: the same time of day, each a date later than the one before.

    A time that a day never shows is the first instant after it; one that comes twice the first.
    """
    at, due = first_send(start, clock, zone)
    found = [at]
    for day in range(1, days):
        later = due + timedelta(days=day)
        near = range(at + (day - 2) * DAY_S, at + (day + 2) * DAY_S)
        place = bisect_left(near, later, key=lambda t: latest_wall(zone, t))
        found.append(near[place])
    return found


def days_of(job):
    return job.get("horizon", {}).get("days", 1)


def start_of(job):
    return instant(job.get("horizon", {}).get("start") or job["as_of"])


def times_of(job, person):
    """Return when each day of the run goes out to a subscriber."""
    clock = job.get("horizon", {}).get("at")
    return send_times(start_of(job), clock, zone_of(job, person), days_of(job))


def time_of(job, person, day=0):
    return times_of(job, person)[day]


def zone_of(job, person):
    return person.zone or job.get("time_zone", "UTC")


def period_of(policy, zone, at):
    """Return what tells calendar periods apart. A day that has begun lasts until the next one."""
    day = latest_wall(zone, at).date()
    if policy["each"] == "month":
        return day.year, day.month
    if policy["each"] == "week":
        first = DAYS.index(policy.get("week_starts", "monday"))
        return day - timedelta(days=(day.weekday() - first) % 7)
    return day


# Households.


def is_joint(policy):
    """Whether a policy bounds what members of a household get together in a run."""
    return is_shared(policy) and kind_of(policy) in {*CAPS, "exclusive"}


def is_shared(policy):
    return policy.get("over") == "household"


def together(people):
    """Return the people, each with the other members of its household."""
    homes = [i if p.home in {None, ""} else ("home", p.home) for i, p in enumerate(people)]
    return [
        person._replace(others=tuple(
            other for j, other in enumerate(people) if j != i and homes[j] == homes[i]
        ))
        for i, person in enumerate(people)
    ]  # fmt: skip


def members(policy, person):
    """Return those whose events a policy counts together, the person first."""
    return [person, *person.others] if is_shared(policy) else [person]


def events_of(policy, person, table):
    """Return the contacts or outcomes that a policy sees."""
    return [
        event._replace(owner=i)
        for i, own in enumerate(members(policy, person))
        for event in getattr(own, table)
    ]


# Groups.


def name_of(job, policy, event):
    """Return by what name a policy counts an action or an event; None: not at all."""
    offer = job["catalogue"]["offers"].get(event.offer, {})
    per, only = policy.get("per", "all"), policy.get("only", [])
    if per == "all":
        return "all"
    if per == "offers":
        return "offers" if event.offer in only else None
    name = {
        "channel": event.channel,
        "offer": event.offer,
        "category": event.category or offer.get("category"),
        "team": event.team or offer.get("team"),
    }[per]
    return name if name and (not only or name in only) else None


def sent(job, person, bundle):
    """Return the events that a bundle's actions become."""
    return [Event(time_of(job, person, a.day), a.offer, a.channel) for a in bundle]


def held(job, policy, person, bundle):
    """Return the name and event of each action that a policy holds for."""
    offers = job["catalogue"]["offers"]
    events = [
        event for event in sent(job, person, bundle)
        if offers[event.offer].get("purpose", "marketing") not in policy.get("exempt", [])
    ]  # fmt: skip
    named = [(name_of(job, policy, event), event) for event in events]
    return [(name, event) for name, event in named if name is not None]


def times(job, policy, events):
    """Return the times of what a policy counts: contacts in all and per channel, else offers."""
    if kind_of(policy) not in CAPS or policy.get("per", "all") not in {"all", "channel"}:
        return [event.time for event in events]
    packages = [other["package"] for other in job["policies"] if "package" in other]

    def contact(i, event):
        package = next((n for n, offers in enumerate(packages) if event.offer in offers), None)
        return i if package is None else (package, event.channel, event.time, event.owner)

    return [time for _, time in {(contact(i, e), e.time) for i, e in enumerate(events)}]


# Policies.


def fits(job, policy, person, name, new):
    """Whether a cap allows new contacts that it counts by a name, beside each other and the past.

    A window or a period without a new contact is none of its business.
    """
    cap, zone = policy.get("at_most", 1), zone_of(job, person)
    past = events_of(policy, person, "contacts")
    past = times(job, policy, [e for e in past if name_of(job, policy, e) == name])
    new = times(job, policy, new)
    if "each" in policy:
        labels = [period_of(policy, zone, t) for t in new]
        every = labels + [period_of(policy, zone, t) for t in past]
        return all(every.count(label) <= cap for label in labels)
    within = policy.get("spacing") or policy.get("within")
    if within is None:
        return len(new) <= cap
    if within == "ever":
        return len(new) + len(past) <= cap
    width = seconds(within)  # a count changes where a contact comes in, and where one goes out
    ends = {*new, *past, *(t + width for t in new + past)}
    windows = [range(u - width + 1, u + 1) for u in ends]
    return all(
        sum(t in window for t in new + past) <= cap
        for window in windows
        if any(t in window for t in new)
    )


def used(job, policy, person):
    """Return how many contacts a minimum finds in the history, up to the first day."""
    at, within = time_of(job, person), policy.get("within")
    if within is None:
        return 0
    found = [e.time for e in person.contacts]
    return sum(t <= at and (within == "ever" or at - seconds(within) < t) for t in found)


def is_near(policy, at, events, offers, when):
    """Whether some offer of these has a contact, less than ``within`` away, before or after.

    ``when``: what is asked of the time from that contact to the new one.
    """
    gaps = [at - e.time for e in events if e.offer in offers]
    within = policy["within"]
    return any(when(gap) and (within == "ever" or abs(gap) < seconds(within)) for gap in gaps)


def outcomes_of(job, policy, person):
    """Return the outcomes that a policy asks for."""
    accepted = ACCEPTED[job["inputs"].get("outcomes", {}).get("accepted")]
    wanted = policy.get("outcome", [])
    events = events_of(policy, person, "outcomes")
    return [e for e in events if (e.outcome in wanted if wanted else accepted(e.outcome))]


def is_cooling(job, policy, person, name, at):
    """Whether so many outcomes were within so long, less than the cool-down ago."""
    within = policy.get("within", "ever")
    events = outcomes_of(job, policy, person)
    found = [e.time for e in events if name_of(job, policy, e) == name]
    return any(
        at < e + seconds(policy["cool_down"])
        and sum(t <= e and (within == "ever" or e - seconds(within) < t) for t in found)
        >= policy.get("times", 1)
        for e in found
    )


def is_shut(job, policy, person, name, at):
    """Whether a policy closes what it counts by a name at an instant."""
    shown = wall(zone_of(job, person), at)
    if "suppress" in policy:
        return any(SUPPRESSED[policy["suppress"]](own.row) for own in members(policy, person))
    if "blackout" in policy:
        return shown.date().isoformat() in policy["blackout"]
    if "cool_down" in policy:
        return is_cooling(job, policy, person, name, at)
    begin, end = policy["quiet"].split("-")
    clock = f"{shown:%H:%M}"
    return begin <= clock < end if begin <= end else clock >= begin or clock < end


def still(job, policy, person):
    """Return how many offers a minimum still asks for."""
    return policy[kind_of(policy)] - used(job, policy, person)


def allows(job, policy, person, bundle):
    """Whether a policy by itself allows a bundle that is not empty."""
    kind, new = kind_of(policy), sent(job, person, bundle)
    offers = {event.offer for event in new}
    every = events_of(policy, person, "contacts") + new
    if kind in CAPS:
        named = held(job, policy, person, bundle)
        return all(
            fits(job, policy, person, name, [e for other, e in named if other == name])
            for name in {name for name, _ in named}
        )
    if kind == "exactly":
        return len(bundle) == still(job, policy, person)
    if kind == "at_least":
        return len(bundle) >= still(job, policy, person)
    if kind in {"suppress", "cool_down", "quiet", "blackout"}:
        named = held(job, policy, person, bundle)
        return not any(is_shut(job, policy, person, name, event.time) for name, event in named)
    if kind == "exclusive":
        own = set(policy["exclusive"])
        if "within" not in policy:
            return len(offers & own) <= 1
        return not any(
            is_near(policy, e.time, every, own - {e.offer}, lambda gap: True)
            for e in new if e.offer in own
        )  # fmt: skip
    if kind == "requires":
        return policy["offer"] not in offers or bool(offers & set(policy["requires"]))
    if kind == "not_after":
        one, others = {policy["offer"]}, set(policy["not_after"])
        is_late = any(
            is_near(policy, e.time, every, others, lambda gap: gap > 0)
            for e in new if e.offer in one
        )  # fmt: skip
        is_booked = any(
            is_near(policy, e.time, every, one, lambda gap: gap < 0)
            for e in new if e.offer in others
        )  # fmt: skip
        return not is_late and not is_booked
    if kind == "only_after":
        found = [e.time for e in outcomes_of(job, policy, person)
                 if e.offer in policy["only_after"]]  # fmt: skip
        within = policy.get("within", "ever")
        return all(
            any(within == "ever" or t > e.time - seconds(within) for t in found)
            for e in new if e.offer == policy["offer"]
        )  # fmt: skip
    return True


def allows_together(job, policy, household, bundles):
    """Whether a policy over households allows what the members get, each a bundle."""
    first = household[0]
    if kind_of(policy) in CAPS:
        named = [
            (name, event._replace(owner=i))
            for i, (person, bundle) in enumerate(zip(household, bundles, strict=True))
            for name, event in held(job, policy, person, bundle)
        ]
        return all(
            fits(job, policy, first, name, [e for other, e in named if other == name])
            for name in {name for name, _ in named}
        )
    offers = {action.offer for bundle in bundles for action in bundle}
    return len(offers & set(policy["exclusive"])) <= 1


def room(job, policy, person, name):
    """Return how many contacts more a cap allows those who share it, of what it counts by a name.

    They go out on the first day.
    """
    at = time_of(job, person)
    new = [Event(at, "", "") for _ in range(policy.get("at_most", 1))]
    return max(n for n in range(len(new) + 1) if fits(job, policy, person, name, new[:n]))


def blocks(job, policy, person, action):
    """Whether a policy by itself blocks an action, whatever goes with it."""
    if kind_of(policy) in {"at_least", "requires"}:
        return False
    if kind_of(policy) == "exactly":
        return still(job, policy, person) <= 0
    return not allows(job, policy, person, (action,))


def is_eligible(job, person, action):
    """Whether the subscriber may get an action at all: consent by purpose, and validity."""
    offer, at = job["catalogue"]["offers"][action.offer], time_of(job, person, action.day)
    consent = job["catalogue"]["channels"][action.channel].get("consent")
    column = (
        consent.get(offer.get("purpose", "marketing")) if isinstance(consent, dict) else consent
    )
    if column is not None and not person.row[column]:
        return False
    if "valid_from" in offer and at < instant(offer["valid_from"]):
        return False
    if "valid_until" in offer and at >= instant(offer["valid_until"]):
        return False
    hours = person.row.get(offer["until"]) if "until" in offer else None
    return hours is None or at <= start_of(job) + hours * HOUR_S


def actions(job):
    return [
        Action(offer, channel, day) for offer, own in job["catalogue"]["offers"].items()
        for channel in job["catalogue"]["channels"] if channel in own["channels"]
        for day in range(days_of(job))
    ]  # fmt: skip


def tried(job):
    """Return every set of up to four actions."""
    acts = actions(job)
    return [b for size in range(MOST + 1) for b in combinations(acts, size)]


def bundles(job, person):
    """Return the bundles that a subscriber may get."""
    may = {a for a in actions(job) if is_eligible(job, person, a)}
    may -= {a for a in may for p in job["policies"] if blocks(job, p, person, a)}
    found = {
        bundle for bundle in tried(job)
        if bundle and set(bundle) <= may and len({a.offer for a in bundle}) == len(bundle)
        and all(allows(job, policy, person, bundle) for policy in job["policies"])
    }  # fmt: skip
    must = any("exactly" in p and still(job, p, person) > 0 for p in job["policies"])
    return found if found and must else found | {()}


def joint_bundles(job, household):
    """Return what the members of a household may get: a bundle each, in their order."""
    joint = [policy for policy in job["policies"] if is_joint(policy)]
    return {
        chosen
        for chosen in product(*(bundles(job, person) for person in household))
        if all(allows_together(job, policy, household, chosen) for policy in joint)
    }
