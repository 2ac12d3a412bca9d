"""Random jobs with contact policies and their subscribers, and the frames of given people."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import strategies as st

from engine import actions, certificate
from engine.assemble import assemble
from engine.candidates import candidates
from engine.history import History
from engine.settings import parse
from tests import brute_policies as brute
from tests import certified, problems
from tests.brute_policies import Event, Person

HALF_HOUR_S, MINUTE_S = 1_800, 60
ZONES = ["Europe/Berlin", "America/New_York", "America/St_Johns", "Pacific/Apia", "Asia/Kolkata"]
AS_OF = [
    "2024-02-29T11:00:00", "2025-07-31T21:59:59", "2025-07-31T22:00:00", "2025-03-30T00:59:59",
    "2025-10-26T00:30:00", "2025-11-02T05:30:00", "2010-11-07T02:30:30", "2011-12-30T09:59:59",
]  # fmt: skip
CLOCKS = ["23:00", "00:30", "02:30", "00:00", "09:00"]
OFFERS = {
    "data": {"category": "boost", "team": "red", "value": 4, "channels": ["sms", "app"]},
    "voice": {
        "category": "talk", "team": "blue", "value": 8, "cost": 1, "channels": ["sms", "app"],
    },
    "old": {"category": "boost", "value": 2, "cost": 9, "channels": ["mail"]},
    "notice": {
        "category": "care", "purpose": "service", "value": 1, "channels": ["sms", "mail"],
    },
}  # fmt: skip
CHANNELS = {
    "sms": {"unit_cost": 0.25, "consent": {"marketing": "agreed", "service": None}},
    "app": {},
    "mail": {"unit_cost": 0.5, "consent": "agreed"},
}
PLANNED = {  # those of a plan of several days: so few pairs that every bundle can be tried
    name: {**offer, "channels": offer["channels"][: 1 + (name == "data")]}
    for name, offer in OFFERS.items()
}
NAMES = {
    "channel": list(CHANNELS),
    "category": ["boost", "talk", "care"],
    "team": ["red", "blue"],
    "offer": list(OFFERS),
}
WIDTHS = ["1s", "1h", "1d", "7d", "30d"]
WITHIN = st.sampled_from([*WIDTHS, "ever"])


def some(names, least=0):
    return st.lists(st.sampled_from(names), unique=True, min_size=least, max_size=3)


@st.composite
def scopes(draw, offers):
    """What a policy counts or closes, and what skips it."""
    per = draw(st.sampled_from(["all", *NAMES, "offers"]))
    found = {"per": per}
    if per != "all":
        is_listed = per == "offers"
        names = list(offers) if is_listed or per == "offer" else NAMES[per]
        found["only"] = draw(some(names, least=is_listed))
    return found | draw(st.sampled_from([{}, {}, {"exempt": ["service"]}]))


SHARED = ["at_most", "spacing", "suppress", "cool_down", "exclusive"]  # over households too
FAMILIES = [
    [kind for kind in brute.KINDS if kind != "package"],
    ["at_most", "spacing"],
    ["at_most", "exactly", "at_least", "exclusive", "requires"],
    ["exclusive", "not_after", "only_after", "cool_down"],
]


FAMILIES_OF_HOUSEHOLDS = [SHARED, ["at_most", "spacing"], [*SHARED, "not_after", "only_after"]]


@st.composite
def policies_of_households(draw, as_of, kinds, offers, *, days):
    """A policy of one of some kinds, mostly over households: one that goes with so many days."""
    found = draw(drawn_policies(as_of, kinds, offers))
    shared = SHARED if days == 1 else ["suppress", "cool_down"]
    is_shared = brute.kind_of(found) in shared and draw(st.sampled_from([True, True, False]))
    return {**found, "over": "household"} if is_shared else found


@st.composite
def drawn_policies(draw, as_of, kinds, offers):
    """A policy of one of some kinds, about some offers."""
    kind = draw(st.sampled_from(kinds))
    outcomes = {"outcome": draw(some(["yes", "no", "late"]))}
    is_past = draw(st.booleans())
    past = {"within": draw(WITHIN)} if is_past else {}
    first, *others = draw(st.permutations(list(offers)))
    others = others[: draw(st.integers(1, 3))]
    if kind == "at_most":
        period = draw(st.sampled_from(["day", "week", "month", None]))
        if period and not is_past:
            past = {"each": period}
        if period == "week" and not is_past:
            past["week_starts"] = draw(st.sampled_from(brute.DAYS))
        return {"at_most": draw(st.integers(0, 3)), **past, **draw(scopes(offers))}
    if kind == "spacing":
        return {"spacing": draw(st.sampled_from(WIDTHS)), **draw(scopes(offers))}
    if kind in {"exactly", "at_least"}:
        return {kind: draw(st.integers(1 + (kind == "at_least"), 4)), **past}
    if kind == "suppress":
        return {"suppress": draw(st.sampled_from(list(brute.SUPPRESSED))), **draw(scopes(offers))}
    if kind == "quiet":
        clocks = [*CLOCKS, "08:00", "21:00", "03:00", "23:01"]
        begin, end = draw(st.permutations(sorted(set(clocks))))[:2]
        return {"quiet": f"{begin}-{end}", **draw(scopes(offers))}
    if kind == "blackout":
        day = date.fromisoformat(as_of[:10])
        days = [(day + timedelta(d)).isoformat() for d in range(-1, 4)]
        return {"blackout": draw(some(days, least=1)), **draw(scopes(offers))}
    if kind == "cool_down":
        past = {"within": draw(WITHIN), "times": draw(st.integers(1, 3))} if is_past else {}
        return {
            "cool_down": draw(st.sampled_from(WIDTHS)),
            **past,
            **outcomes,
            **draw(scopes(offers)),
        }
    if kind == "exclusive":
        return {"exclusive": [first, *others], **past}
    if kind == "requires":
        return {"offer": first, "requires": others}
    if kind == "not_after":
        return {"offer": first, "not_after": others, "within": draw(WITHIN)}
    return {"offer": first, "only_after": others, **past, **outcomes}


def mapping_of(policies, as_of, *, extra=(), accepted=None, catalogue=None, **changes):
    """Return the mapping of a job file; extra: what tables say of events beside their action."""
    return {
        "name": "any",
        "as_of": as_of,
        "inputs": {
            "folder": "data",
            "subscribers": {"path": "s.csv", "time_zone": "zone"},
            "contacts": {"path": "c.csv", "categories": ["offer", "channel", *extra]},
            "outcomes": {
                "path": "o.csv", "categories": ["offer", "channel", "outcome", *extra],
                "accepted": accepted,
            },
        },
        "scores": {"kind": "formula", "formulas": {"data": "0.5"}},
        "holdout_share": 0.0,
        "catalogue": {"currency": "EUR"} | (catalogue or {"channels": CHANNELS, "offers": OFFERS}),
        "policies": [{"name": f"p{i}", **policy} for i, policy in enumerate(policies)],
        **changes,
    }  # fmt: skip


@st.composite
def validities(draw, start):
    """From when, or until when, an offer may go out."""
    found, name = {}, draw(st.sampled_from(["valid_from", "valid_until", "until"]))
    if name == "until":
        found[name] = "lasts"
    else:
        at = start + draw(st.sampled_from([-1, 0, 1, 3_600, 86_399, 86_400, 86_401, 100_000]))
        found[name] = pd.Timestamp(at, unit="s", tz="UTC").isoformat()
    return found


@st.composite
def jobs(draw, days=1, *, homes=False):
    """The mapping of a job file; days: of its plan; homes: whether there are households."""
    as_of = draw(st.sampled_from(AS_OF)) + "+00:00"
    family = draw(st.sampled_from(FAMILIES_OF_HOUSEHOLDS if homes else FAMILIES))
    offers = OFFERS if days == 1 else PLANNED
    of_offers = drawn_policies(as_of, family, offers)
    if homes:
        of_offers = policies_of_households(as_of, family, offers, days=days)
    drawn = draw(st.lists(of_offers, min_size=1, max_size=4))
    if days == 1 and draw(st.booleans()):
        drawn.append({"package": ["data", "voice"]})
    start = brute.instant(as_of) + draw(st.sampled_from([0, 1, 3_600, 30 * 3_600]))
    horizon = {"start": pd.Timestamp(start, unit="s", tz="UTC").isoformat(), "days": days}
    if draw(st.booleans()):
        offers = {**offers, "data": offers["data"] | draw(validities(start))}
    clock = draw(st.sampled_from([None, None, *CLOCKS]))
    job = mapping_of(
        drawn, as_of,
        extra=draw(st.sampled_from([[], ["category", "team"], ["team"]])),
        accepted=draw(st.sampled_from(list(brute.ACCEPTED))),
        time_zone=draw(st.sampled_from(["UTC", *ZONES])),
        horizon=horizon if clock is None else {**horizon, "at": clock},
        catalogue={"channels": CHANNELS, "offers": offers},
    )  # fmt: skip
    if draw(st.booleans()):
        job["inputs"]["subscribers"]["time_zone"] = None
    if homes:
        job["inputs"]["subscribers"]["household"] = "home"
    return job


def parsed(job):
    return parse(yaml.dump(job, Dumper=certified.Plain, sort_keys=False), "any.yaml")


def events(rng, job, times, count, latest):
    """Draw events around instants: on edges of windows, and on half hours of nearby days."""
    widths, at = [brute.seconds(w) for w in WIDTHS], times[0]
    edges = [
        t + sign * w + d for t in times for w in widths for sign in (-1, 1) for d in (-1, 0, 1)
    ]
    edges += [t + d for t in times for d in (-1, 0, 0, 1)]
    near = at - at % HALF_HOUR_S + HALF_HOUR_S * rng.integers(-70, 70, 20)
    far = at - at % HALF_HOUR_S + HALF_HOUR_S * rng.integers(-1_500, 1_500, 10)
    pool = np.concatenate([edges, near, near - 1, far, far + MINUTE_S])
    columns = job["inputs"]["contacts"]["categories"]
    found = []
    for time in np.minimum(rng.choice(pool, count), latest).tolist():
        offer = rng.choice([*OFFERS, "data", "voice", "gone"])
        channel = rng.choice([*CHANNELS, "sms", "letter"])
        category = rng.choice(["", "", "boost", "other"]) if "category" in columns else ""
        team = rng.choice(["", "", "red", "blue"]) if "team" in columns else ""
        outcome = rng.choice(["yes", "yes", "no", "late", ""])
        found.append(Event(time, *map(str, (offer, channel, category, team, outcome))))
    return found


@st.composite
def cases(draw, most=5, days=1, *, homes=False):
    """A job, and its subscribers: most has as many at most; days: of its plan, or up to so many.

    homes: whether there are households, by name or number.
    """
    job = draw(jobs(draw(st.integers(min(days, 2), days)), homes=homes))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    names = draw(st.sampled_from([[None], [None, "", "a", "b"], [None, 7, 8], [7]])) * homes
    zones = {}
    people = []
    for _ in range(draw(st.integers(0, most))):
        zone = str(rng.choice(["", *ZONES])) if job["inputs"]["subscribers"]["time_zone"] else ""
        home = names[rng.integers(len(names))] if homes else None
        if home:
            zone = zones.setdefault(home, zone)
        row = {
            "churned": bool(rng.random() < 0.3),
            "tenure": float(rng.choice([9.0, 10.0, 11.0])),
            "agreed": bool(rng.random() < 0.8),
            "lasts": rng.choice([None, 0.0, 0.5, 23.0, 24.0, 24.5, 48.0, 1e9]),
        }
        person = Person(zone, row, [], [], home)
        times, as_of = brute.times_of(job, person), brute.instant(job["as_of"])
        last = times[-1] + 60 * 86_400
        person.contacts.extend(events(rng, job, times, rng.integers(0, 9), last))
        person.outcomes.extend(events(rng, job, times, rng.integers(0, 7), as_of))
        people.append(person)
    return job, brute.together(people)


def profiled(people, keys=None):
    """Return the profile of some people; keys: theirs, else 0, 1, ..."""
    keys = list(range(len(people))) if keys is None else keys
    features = pd.DataFrame(
        {
            "subscriber": pd.Series(keys, dtype="int64" if not len(keys) else None),
            "zone": pd.Series([person.zone or None for person in people], dtype="str"),
            "weight": np.ones(len(people)),
        }
    )
    columns = {"churned": bool, "tenure": float, "agreed": bool, "lasts": float}
    homes = [person.home for person in people]
    has_numbers = any(isinstance(home, int) for home in homes)
    features["home"] = pd.Series(homes, dtype=None if has_numbers else "str")
    return features.assign(
        **{n: np.array([p.row.get(n) for p in people], kind) for n, kind in columns.items()}
    )


def told(job, people, keys=None):
    """Return the contact history of some people."""
    keys = list(range(len(people))) if keys is None else keys

    def frame(table):
        columns = job["inputs"][table]["categories"]
        found = pd.DataFrame(
            [(key, *event) for key, own in zip(keys, people, strict=True)
             for event in getattr(own, table)],
            columns=["subscriber", *Event._fields],
        )  # fmt: skip
        if len(found):
            return found[["subscriber", "time", *columns]]
        none = found[["subscriber", "time"]].astype("int64")
        return none.assign(**{name: pd.Series(dtype="str") for name in columns})

    return History(frame("contacts"), frame("outcomes"))


def scored(job, features):
    rng = np.random.default_rng(len(features))
    names = [action.name for action in actions.actions(job.catalogue)]
    drawn = {n: rng.choice(np.float32([0.25, 0.5, 1.0]), len(features)) for n in names}
    return pd.DataFrame({"subscriber": features["subscriber"]} | drawn)


def solved_for(job, features, history):
    """Return the candidates, and for each row the bundles that the solver chooses from."""
    part = candidates(job, features, scored(job, features), history)
    problem = assemble(job, [part]).problem
    words = {w["key"]: w for w in problems.in_words(problem)}
    return part, [problems.bundles_of(problem, words[key]) for key in part.key.tolist()]


def checked(mapping, people):
    """Return the certificate's check of everyone with each bundle in turn, and propensities."""
    job, tried = parsed(mapping), brute.tried(mapping)
    each = [person for person in people for _ in tried]
    features, history = profiled(each), told(mapping, each)
    propensity = scored(job, features)
    chosen = [(row, *action) for row in range(len(each)) for action in tried[row % len(tried)]]
    times = [pd.Timestamp(brute.time_of(mapping, each[row], day), unit="s", tz="UTC")
             for row, _, _, day in chosen]  # fmt: skip
    allocations = certified.allocation(job, features, propensity, chosen).assign(time=times)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certificate, "SHOWN", len(each) * len(tried))
        check = certificate.check_partition(
            job, features, propensity, history=history, allocations=allocations, prices=[]
        )
    return check, propensity.to_dict("records")
