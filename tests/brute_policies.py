"""Contact policies by their meaning alone: plain Python over full lists of events.

A job is the mapping of its file, an action is (offer, channel), a bundle is a tuple of actions.
Nothing here is taken from the engine.
"""

from collections import namedtuple
from datetime import datetime, timedelta
from functools import cache
from itertools import combinations
from zoneinfo import ZoneInfo

MOST = 4  # actions of a run's bundle
MINUTE_S, LONGEST_SHIFT_S = 60, 3 * 3_600  # no clock is put back by more
UNIT_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
CAPS = {"at_most", "spacing"}
KINDS = [
    "at_most", "exactly", "at_least", "spacing", "suppress", "cool_down", "quiet", "blackout",
    "exclusive", "requires", "not_after", "only_after", "package",
]  # fmt: skip
SUPPRESSED = {"churned": lambda row: row["churned"], "tenure < 10": lambda row: row["tenure"] < 10}
ACCEPTED = {None: lambda outcome: True, "outcome = 'yes'": lambda outcome: outcome == "yes"}

Event = namedtuple("Event", "time offer channel category team outcome", defaults=("", "", ""))
Person = namedtuple("Person", "zone row contacts outcomes")  # the row: columns of the profile


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
    past = range(whole - LONGEST_SHIFT_S, at, MINUTE_S)
    return max([wall(zone, at), *(wall(zone, t) for t in past)])


@cache
def send_time(start, clock, zone):
    """Return the first instant, from one on, at which a day first shows a time of day, or more."""
    if clock is None:
        return start
    hour, minute = map(int, clock.split(":"))
    at = -(-start // MINUTE_S) * MINUTE_S
    before = latest_wall(zone, at - MINUTE_S)
    while True:
        shown = max(before, wall(zone, at))
        due = shown.replace(hour=hour, minute=minute, second=0)
        if any(before < due - timedelta(days=d) <= shown for d in (0, 1)):
            return at
        at, before = at + MINUTE_S, shown


def time_of(job, person):
    """Return when the run contacts a subscriber."""
    horizon = job.get("horizon", {})
    start = instant(horizon.get("start") or job["as_of"])
    return send_time(start, horizon.get("at"), zone_of(job, person))


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


def held(job, policy, bundle):
    """Return the name and event of each action that a policy holds for."""
    offers = job["catalogue"]["offers"]
    events = [
        Event(None, offer, channel) for offer, channel in bundle
        if offers[offer].get("purpose", "marketing") not in policy.get("exempt", [])
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
        return i if package is None else (package, event.channel, event.time)

    return [time for _, time in {(contact(i, e), e.time) for i, e in enumerate(events)}]


# Policies.


def used(job, policy, person, name):
    """Return what the history has of a policy's count, by a name."""
    at, zone = time_of(job, person), zone_of(job, person)
    events = [e for e in person.contacts if name_of(job, policy, e) == name]
    found = times(job, policy, events)
    if "each" in policy:
        own = period_of(policy, zone, at)
        return sum(period_of(policy, zone, t) == own for t in found)
    within = policy.get("spacing") or policy.get("within")
    if within is None:
        return 0
    if kind_of(policy) not in CAPS:
        return sum(t <= at and (within == "ever" or at - seconds(within) < t) for t in found)
    if within == "ever":
        return len(found)
    width = seconds(within)  # a count changes where a contact comes in, and where one goes out
    ends = {at} | set(found) | {t + width for t in found}
    return max(sum(u - width < t <= u for t in found) for u in ends if at <= u < at + width)


def is_near(job, policy, person, offers, when):
    """Whether some offer of these has a contact, less than ``within`` away, before or after.

    ``when``: what is asked of the time from that contact to the new one.
    """
    at = time_of(job, person)
    gaps = [at - e.time for e in person.contacts if e.offer in offers]
    within = policy["within"]
    return any(when(gap) and (within == "ever" or abs(gap) < seconds(within)) for gap in gaps)


def outcomes_of(job, policy, person):
    """Return the outcomes that a policy asks for."""
    accepted = ACCEPTED[job["inputs"].get("outcomes", {}).get("accepted")]
    wanted = policy.get("outcome", [])
    return [e for e in person.outcomes if (e.outcome in wanted if wanted else accepted(e.outcome))]


def is_cooling(job, policy, person, name):
    """Whether so many outcomes were within so long, less than the cool-down ago."""
    at, within = time_of(job, person), policy.get("within", "ever")
    events = outcomes_of(job, policy, person)
    found = [e.time for e in events if name_of(job, policy, e) == name]
    return any(
        at < e + seconds(policy["cool_down"])
        and sum(t <= e and (within == "ever" or e - seconds(within) < t) for t in found)
        >= policy.get("times", 1)
        for e in found
    )


def is_shut(job, policy, person, name):
    """Whether a policy closes what it counts by a name."""
    shown = wall(zone_of(job, person), time_of(job, person))
    if "suppress" in policy:
        return SUPPRESSED[policy["suppress"]](person.row)
    if "blackout" in policy:
        return shown.date().isoformat() in policy["blackout"]
    if "cool_down" in policy:
        return is_cooling(job, policy, person, name)
    begin, end = policy["quiet"].split("-")
    clock = f"{shown:%H:%M}"
    return begin <= clock < end if begin <= end else clock >= begin or clock < end


def still(job, policy, person):
    """Return how many offers a minimum still asks for."""
    return policy[kind_of(policy)] - used(job, policy, person, "all")


def allows(job, policy, person, bundle):
    """Whether a policy by itself allows a bundle that is not empty."""
    kind, offers, at = kind_of(policy), {offer for offer, _ in bundle}, time_of(job, person)
    if kind in CAPS:
        new = held(job, policy, bundle)
        return all(
            len(times(job, policy, [e for other, e in new if other == name]))
            + used(job, policy, person, name)
            <= policy.get("at_most", 1)
            for name in {name for name, _ in new}
        )
    if kind == "exactly":
        return len(bundle) == still(job, policy, person)
    if kind == "at_least":
        return len(bundle) >= still(job, policy, person)
    if kind in {"suppress", "cool_down", "quiet", "blackout"}:
        names = {name for name, _ in held(job, policy, bundle)}
        return not any(is_shut(job, policy, person, name) for name in names)
    if kind == "exclusive":
        inside, own = offers & set(policy["exclusive"]), set(policy["exclusive"])
        return len(inside) <= 1 and not any(
            "within" in policy and is_near(job, policy, person, own - {o}, lambda gap: True)
            for o in inside
        )
    if kind == "requires":
        return policy["offer"] not in offers or bool(offers & set(policy["requires"]))
    if kind == "not_after":
        one, others = {policy["offer"]}, set(policy["not_after"])
        is_late = offers & one and is_near(job, policy, person, others, lambda gap: gap > 0)
        is_booked = offers & others and is_near(job, policy, person, one, lambda gap: gap < 0)
        return not is_late and not is_booked
    if kind == "only_after":
        within = policy.get("within", "ever")
        return policy["offer"] not in offers or any(
            e.offer in policy["only_after"] and (within == "ever" or e.time > at - seconds(within))
            for e in outcomes_of(job, policy, person)
        )
    return True


def blocks(job, policy, person, action):
    """Whether a policy by itself blocks an action, whatever goes with it."""
    if kind_of(policy) in {"at_least", "requires"}:
        return False
    if kind_of(policy) == "exactly":
        return still(job, policy, person) <= 0
    return not allows(job, policy, person, (action,))


def is_eligible(job, person, action):
    """Whether the subscriber may get an action at all: consent by purpose."""
    offer, channel = action
    consent = job["catalogue"]["channels"][channel].get("consent")
    purpose = job["catalogue"]["offers"][offer].get("purpose", "marketing")
    column = consent.get(purpose) if isinstance(consent, dict) else consent
    return column is None or bool(person.row[column])


def actions(job):
    return [
        (offer, channel) for offer, own in job["catalogue"]["offers"].items()
        for channel in job["catalogue"]["channels"] if channel in own["channels"]
    ]  # fmt: skip


def tried(job):
    """Return every set of up to four actions."""
    acts = actions(job)
    return [b for size in range(MOST + 1) for b in combinations(acts, size)]


def bundles(job, person):
    """Return the bundles that a subscriber may get."""
    may = [a for a in actions(job) if is_eligible(job, person, a)]
    found = {
        bundle for bundle in tried(job)
        if bundle and set(bundle) <= set(may) and len({o for o, _ in bundle}) == len(bundle)
        and all(allows(job, policy, person, bundle) for policy in job["policies"])
    }  # fmt: skip
    must = any("exactly" in p and still(job, p, person) > 0 for p in job["policies"])
    return found if found and must else found | {()}
