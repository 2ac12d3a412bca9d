"""Contact policies of random jobs against their meaning: the solver's side and the certificate."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import actions, certificate, policies, reasons, tables
from engine.assemble import assemble
from engine.candidates import REASONS, candidates
from engine.history import History
from engine.limits import MICRO, coefficients
from engine.problem import KEY_RANGE
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
    "voice": {"category": "talk", "team": "blue", "value": 8, "cost": 1, "channels": ["sms", "app"]},
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
def scopes(draw):
    """What a policy counts or closes, and what skips it."""
    per = draw(st.sampled_from(["all", *NAMES, "offers"]))
    found = {"per": per}
    if per != "all":
        is_listed = per == "offers"
        found["only"] = draw(some(NAMES["offer" if is_listed else per], least=is_listed))
    return found | draw(st.sampled_from([{}, {}, {"exempt": ["service"]}]))


@st.composite
def kinds(draw, as_of):
    """A policy of any kind but package."""
    kind = draw(st.sampled_from([k for k in brute.KINDS if k != "package"]))
    outcomes = {"outcome": draw(some(["yes", "no", "late"]))}
    is_past = draw(st.booleans())
    past = {"within": draw(WITHIN)} if is_past else {}
    first, *others = draw(st.permutations(list(OFFERS)))
    others = others[: draw(st.integers(1, 3))]
    if kind == "at_most":
        period = draw(st.sampled_from(["day", "week", "month", None]))
        if period and not is_past:
            past = {"each": period}
        if period == "week" and not is_past:
            past["week_starts"] = draw(st.sampled_from(brute.DAYS))
        return {"at_most": draw(st.integers(0, 3)), **past, **draw(scopes())}
    if kind == "spacing":
        return {"spacing": draw(st.sampled_from(WIDTHS)), **draw(scopes())}
    if kind in {"exactly", "at_least"}:
        return {kind: draw(st.integers(1 + (kind == "at_least"), 4)), **past}
    if kind == "suppress":
        return {"suppress": draw(st.sampled_from(list(brute.SUPPRESSED))), **draw(scopes())}
    if kind == "quiet":
        clock = st.sampled_from([*CLOCKS, "08:00", "21:00", "03:00", "23:01"])
        return {"quiet": f"{draw(clock)}-{draw(clock)}", **draw(scopes())}
    if kind == "blackout":
        day = date.fromisoformat(as_of[:10])
        days = [(day + timedelta(d)).isoformat() for d in range(-1, 4)]
        return {"blackout": draw(some(days, least=1)), **draw(scopes())}
    if kind == "cool_down":
        past = {"within": draw(WITHIN), "times": draw(st.integers(1, 3))} if is_past else {}
        return {"cool_down": draw(st.sampled_from(WIDTHS)), **past, **outcomes, **draw(scopes())}
    if kind == "exclusive":
        return {"exclusive": [first, *others], **past}
    if kind == "requires":
        return {"offer": first, "requires": others}
    if kind == "not_after":
        return {"offer": first, "not_after": others, "within": draw(WITHIN)}
    return {"offer": first, "only_after": others, **past, **outcomes}


@st.composite
def jobs(draw):
    """The mapping of a job file."""
    as_of = draw(st.sampled_from(AS_OF)) + "+00:00"
    drawn = draw(st.lists(kinds(as_of), min_size=1, max_size=4))
    if draw(st.booleans()):
        drawn.append({"package": ["data", "voice"]})
    start = brute.instant(as_of) + draw(st.sampled_from([0, 1, 3_600, 30 * 3_600]))
    horizon = {"start": pd.Timestamp(start, unit="s", tz="UTC").isoformat()}
    horizon["at"] = draw(st.sampled_from([None, None, *CLOCKS]))
    extra = draw(st.sampled_from([[], ["category", "team"], ["team"]]))
    job = {
        "name": "any",
        "as_of": as_of,
        "inputs": {
            "folder": "data",
            "subscribers": {"path": "s.csv", "time_zone": draw(st.sampled_from([None, "zone"]))},
            "contacts": {"path": "c.csv", "categories": ["offer", "channel", *extra]},
            "outcomes": {
                "path": "o.csv", "categories": ["offer", "channel", "outcome", *extra],
                "accepted": draw(st.sampled_from(list(brute.ACCEPTED))),
            },
        },
        "scores": {"kind": "formula", "formulas": {"data": "0.5"}},
        "holdout_share": 0.0,
        "catalogue": {"currency": "EUR", "channels": CHANNELS, "offers": OFFERS},
        "policies": [{"name": f"p{i}", **policy} for i, policy in enumerate(drawn)],
        "time_zone": draw(st.sampled_from(["UTC", *ZONES])),
        "horizon": {key: value for key, value in horizon.items() if value is not None},
    }  # fmt: skip
    return job


def parsed(job):
    return parse(yaml.dump(job, Dumper=certified.Plain, sort_keys=False), "any.yaml")


def events(rng, job, at, count, latest):
    """Draw events around an instant: on edges of windows, and on half hours of nearby days."""
    widths = [brute.seconds(w) for w in WIDTHS]
    edges = [at + sign * w + d for w in widths for sign in (-1, 1) for d in (-1, 0, 1)]
    edges += [at - 1, at, at, at + 1]
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
def cases(draw, most=5):
    """A job, and its subscribers: most has as many at most."""
    job = draw(jobs())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    people = []
    for _ in range(draw(st.integers(0, most))):
        zone = str(rng.choice(["", *ZONES])) if job["inputs"]["subscribers"]["time_zone"] else ""
        row = {
            "churned": bool(rng.random() < 0.3),
            "tenure": float(rng.choice([9.0, 10.0, 11.0])),
            "agreed": bool(rng.random() < 0.8),
        }
        person = Person(zone, row, [], [])
        at, as_of = brute.time_of(job, person), brute.instant(job["as_of"])
        person.contacts.extend(events(rng, job, at, rng.integers(0, 9), at + 60 * 86_400))
        person.outcomes.extend(events(rng, job, at, rng.integers(0, 7), as_of))
        people.append(person)
    return job, people


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
    columns = {"churned": bool, "tenure": float, "agreed": bool}
    return features.assign(
        **{n: np.array([p.row[n] for p in people], kind) for n, kind in columns.items()}
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


def named_by(job, person, allowed):
    """Return the policies that stand in the way of each action, in their order.

    Where all that is left open fits in no bundle, those that want offers together do.
    """
    acts = brute.actions(job)
    found = [
        [p["name"] for p in job["policies"] if brute.blocks(job, p, person, a)] for a in acts
    ]
    is_left = any(
        not names and brute.is_eligible(job, person, a)
        for names, a in zip(found, acts, strict=True)
    )
    is_stuck = is_left and allowed == {()}
    stuck = [
        {p["name"] for p in job["policies"]
         if is_stuck and ("at_least" in p or p.get("exactly", 0) > 1
                          or ("requires" in p and p["offer"] == offer))}
        for offer, _ in acts
    ]  # fmt: skip
    return [
        [p["name"] for p in job["policies"] if p["name"] in {*names, *more}]
        for names, more in zip(found, stuck, strict=True)
    ]


@settings(max_examples=60)
@given(cases())
def test_the_solver_has_the_bundles_that_the_policies_mean(case):
    mapping, people = case
    job, features, history = parsed(mapping), profiled(people), told(mapping, people)
    acts, forbids = brute.actions(mapping), policies.left(job, features, history).forbids
    part = candidates(job, features, scored(job, features), history)
    problem = assemble(job, [part]).problem
    words = {w["key"]: w for w in problems.in_words(problem)}
    keys = tables.bucket(features["subscriber"], KEY_RANGE)
    closed = reasons.closed(job, features, history)
    for s, person in enumerate(people):
        for policy in mapping["policies"]:
            alone = [brute.blocks(mapping, policy, person, a) for a in acts]
            assert forbids[policy["name"]][:, s].tolist() == alone
        allowed = brute.bundles(mapping, person)
        found = problems.bundles_of(problem, words[int(keys[s])])
        assert {tuple(acts[a] for a in bundle) for bundle in found} == allowed
        may = [brute.is_eligible(mapping, person, a) for a in acts]
        names = named_by(mapping, person, allowed)
        expected = [
            "; ".join(["not valid, not eligible, or no consent or device for the channel"]
                      * (not is_fit) + [f"policy {', '.join(own)}"] * bool(own))
            for is_fit, own in zip(may, names, strict=True)
        ]  # fmt: skip
        assert closed[s] == expected
        is_open = any(not text for text in expected)
        assert REASONS[part.reason[s]] == ("open" if is_open else "policy")
        told_of = {n for is_fit, own in zip(may, names, strict=True) if is_fit for n in own}
        blockers = [p["name"] for p in mapping["policies"] if p["name"] in told_of and not is_open]
        assert part.blocked_by[s] == ", ".join(blockers)


@settings(max_examples=40)
@given(cases(most=2))
def test_the_certificate_finds_what_the_policies_do_not_mean(case):
    """Everyone is there once for every bundle, and gets it."""
    mapping, people = case
    job, tried = parsed(mapping), brute.tried(mapping)
    allowed = [brute.bundles(mapping, person) for person in people]
    rows = [(person, bundle, own) for person, own in zip(people, allowed, strict=True)
            for bundle in tried]  # fmt: skip
    all_of_them = [person for person, _, _ in rows]
    features, history = profiled(all_of_them), told(mapping, all_of_them)
    propensity = scored(job, features)
    chosen = [(row, *action) for row, (_, bundle, _) in enumerate(rows) for action in bundle]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certificate, "SHOWN", 100_000)
        check = certificate.check_partition(
            job, features, propensity, history=history, prices=[],
            allocations=certified.allocation(job, features, propensity, chosen),
        )  # fmt: skip
    assert {v.subscriber for v in check.violations} == {
        row for row, (_, bundle, own) in enumerate(rows) if bundle not in own
    }
    assert not set(certified.kinds(check)) - {"closed", "duplicate", "policy"}
    found = certificate.certify(job, [check], {"value": 0.0, "bound": 0.0, "uses": []})
    best = sum(best_of(job, mapping, own, propensity.iloc[row])
               for row, (_, _, own) in enumerate(rows))  # fmt: skip
    assert best <= found["bound"] <= best + found["allowance"]


def best_of(job, mapping, allowed, propensity):
    """Return the most money of a bundle: in quarters, so exactly."""
    value = dict(zip(brute.actions(mapping), coefficients(job, "value"), strict=True))
    worth = {
        (offer, channel): (fixed + accept * float(propensity[f"{offer}@{channel}"])) / MICRO
        for (offer, channel), (fixed, accept) in value.items()
    }
    return max(sum(worth[a] for a in bundle) for bundle in allowed)


@settings(max_examples=30)
@given(cases(), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_any_partitions_and_orders_have_the_same_bits(case, parts, seed):
    mapping, people = case
    job, rng = parsed(mapping), np.random.default_rng(seed)
    whole = policies.left(job, profiled(people), told(mapping, people))
    for prefix in (None, "s"):
        place, order = rng.integers(0, parts, len(people)), rng.permutation(len(people))
        for part in range(parts):
            own = order[place[order] == part]
            keys = [int(s) if prefix is None else f"{prefix}{s}" for s in own]
            taken = [people[s] for s in own]
            history = told(mapping, taken, keys)
            shuffled = History(*(
                frame.iloc[rng.permutation(len(frame))] for frame in vars(history).values()
            ))  # fmt: skip
            same_bits(policies.left(job, profiled(taken, keys), shuffled), whole, own)


def same_bits(found, whole, rows):
    assert list(found.forbids) == list(whole.forbids)
    for name, forbidden in found.forbids.items():
        assert np.array_equal(forbidden, whole.forbids[name][:, rows])
    for name in ("most", "fewest", "cap"):
        one, other = getattr(found, name), getattr(whole, name)[..., rows]
        assert one.dtype == other.dtype and np.array_equal(one, other)


@settings(max_examples=15)
@given(cases(most=2))
def test_no_table_is_an_empty_history(case):
    mapping, people = case
    job, features = parsed(mapping), profiled(people)
    new = [Person(person.zone, person.row, [], []) for person in people]
    empty = policies.left(job, features, told(mapping, new))
    same_bits(policies.left(job, features, History()), empty, np.arange(len(people)))
