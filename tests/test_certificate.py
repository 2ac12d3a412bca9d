"""The certificate: planted faults are caught and named, and the bound is never too low."""

import ast
import itertools
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import tables
from engine.actions import actions
from engine.certificate import CLAIM_TOLERANCE, certify, check_partition
from engine.certificate_bound import _flow
from engine.errors import DataError
from engine.limits import MICRO, coefficients, limits
from engine.settings import parse

AS_OF = 1_790_812_800  # 2026-10-01T00:00:00Z
DAY = 86_400
FORBIDDEN = {
    "engine.problem", "engine.zoom", "engine.prices", "engine.rounding", "engine.integers",
    "engine.candidates", "engine.solve", "kernels.choose",
}  # fmt: skip


def job_of(**changes):
    """Return a small job: two offers on two channels, a budget, a scoped minimum."""
    content = {
        "name": "tiny",
        "as_of": "2026-10-01T00:00:00Z",
        "inputs": {
            "folder": "data",
            "subscribers": {"path": "s/*.parquet"},
            "contacts": {"path": "c/*.parquet", "categories": ["offer", "channel"]},
        },
        "scores": {"kind": "formula", "formulas": {"a": "0.5"}},
        "holdout_share": 0.0,
        "catalogue": {
            "currency": "EUR",
            "weight": "weight",
            "channels": {
                "sms": {"unit_cost": 0.25, "consent": "consent"},
                "app": {"unit_cost": 0.0, "device": "has_app"},
            },
            "offers": {
                "a": {"category": "data", "value": 4, "cost": 1, "channels": ["sms", "app"]},
                "b": {
                    "category": "voice", "value": 8, "cost": 2, "channels": ["sms", "app"],
                    "eligible": "age >= 18",
                },
            },
        },
        "policies": [
            {"name": "two", "at_most": 2},
            {"name": "sms_weekly", "at_most": 1, "per": "channel", "only": ["sms"], "within": "7d"},
            {"name": "data_once", "at_most": 1, "per": "category", "only": ["data"]},
        ],
        "constraints": [
            {"name": "budget", "measure": "cost", "at_most": 3},
            {"name": "gold", "measure": "contacts", "where": "gold", "at_least": 1},
        ],
    }  # fmt: skip
    return parse(yaml.safe_dump(content | changes), "tiny.yaml")


def people(n=4, **columns):
    return pd.DataFrame(
        {
            "subscriber": np.arange(10, 10 + n),
            "age": np.full(n, 30.0),
            "weight": np.full(n, 1.0),
            "gold": np.full(n, True),  # noqa: FBT003 (a value, not a switch)
            "consent": np.full(n, True),  # noqa: FBT003
            "has_app": np.full(n, True),  # noqa: FBT003
        }
        | columns
    )


def scores_of(job, features, value=0.5):
    names = [action.name for action in actions(job.catalogue)]
    frame = {"subscriber": features["subscriber"]}
    return pd.DataFrame(frame | {n: np.full(len(features), value, np.float32) for n in names})


def history(*rows):
    frame = pd.DataFrame(rows, columns=["subscriber", "time", "offer", "channel"])
    return frame.astype({"subscriber": "int64", "time": "int64"})


def allocation(job, features, propensity, chosen):
    """Write (row, offer, channel) down as the solver would."""
    names = [action.name for action in actions(job.catalogue)]
    cost, value = coefficients(job, "cost"), coefficients(job, "value")
    rows = []
    for row, offer, channel in chosen:
        a = names.index(f"{offer}@{channel}")
        p = float(propensity[names[a]].iloc[row])
        weight = round(features["weight"].iloc[row] * 1024) / 1024
        money = [(fixed + accept * p) / MICRO for fixed, accept in (value[a], cost[a])]
        rows.append(
            (features["subscriber"].iloc[row], offer, channel, weight * money[0], money[1], p)
        )
    names = ["subscriber", "offer", "channel", "value", "cost", "propensity"]
    return pd.DataFrame(rows, columns=names)


GOOD = ((0, "a", "sms"), (0, "b", "app"), (1, "b", "sms"), (2, "a", "app"))


def checked(job, features=None, chosen=GOOD, *, contacts=None, change=None, prices=(0.5, 0.25)):
    features = people() if features is None else features
    propensity = scores_of(job, features)
    allocations = allocation(job, features, propensity, chosen)
    allocations = change(allocations) if change else allocations
    return check_partition(
        job,
        features,
        propensity,
        contacts=history() if contacts is None else contacts,
        allocations=allocations,
        prices=list(prices),
    )


def truth(job, *checks):
    """Return the certificate with the claims of an honest solver."""
    none = {"value": 0.0, "bound": 0.0, "uses": [0.0] * len(limits(job))}
    found = certify(job, checks, none)
    uses = [row["use"] for row in found["constraints"]]
    return certify(job, checks, {"value": found["value"], "bound": found["bound"], "uses": uses})


def kinds(check):
    return [violation.kind for violation in check.violations]


def test_an_honest_allocation_is_certified():
    job = job_of()
    found = truth(job, checked(job))
    # value: a@sms 1.5 - 0.25, b@app 3, b@sms 3 - 0.25, a@app 1.5; cost 0.5 or 1 and 0.25 on sms
    assert found["value"] == 8.5
    assert [row["use"] for row in found["constraints"]] == [3.5, 4.0]
    assert found["constraints"][0]["overrun"] == 0.5
    assert not found["certified"] and found["agrees"]
    found = truth(job, checked(job, chosen=GOOD[:3]))
    assert found["certified"] and found["agrees"] and found["violations"] == []
    assert found["value"] == 7.0
    assert found["constraints"][0] == {
        "name": "budget", "measure": "cost", "unit": "EUR", "is_minimum": False,
        "use": 3.0, "limit": 3.0, "overrun": 0.0, "price": 0.5,
    }  # fmt: skip
    # At these prices each takes a@app and b@app, worth 4.5, less 0.75 for cost, and 0.5 as gold.
    assert found["bound"] == pytest.approx(0.5 * 3 - 0.25 + 4 * 4.25, abs=2 * found["allowance"])
    assert found["gap"] == pytest.approx((found["bound"] - 7) / found["bound"], rel=1e-12)
    assert 0 < found["allowance"] < 1e-6


def test_an_overrun_is_named_however_small():
    job = job_of(constraints=[{"name": "budget", "measure": "cost", "at_most": 2.999999}])
    found = truth(job, checked(job, chosen=GOOD[:3], prices=[0.5]))
    assert not found["certified"]
    assert found["constraints"][0]["overrun"] == 1e-6
    (violation,) = found["violations"]
    assert violation["kind"] == "limit" and violation["text"].startswith("budget: 3.0 EUR is 1e-06")


def test_a_missed_minimum_is_named():
    job = job_of()
    features = people(gold=[False, False, False, True])
    found = truth(job, checked(job, features, GOOD[:3]))
    (violation,) = found["violations"]
    assert violation["text"] == "gold: 0.0 contacts is 1.0 below its minimum 1.0"


def test_a_duplicated_contact_is_caught():
    job = job_of(policies=[])
    (violation,) = checked(job, chosen=[(0, "b", "sms"), (0, "b", "app")]).violations
    assert (violation.kind, violation.subscriber) == ("duplicate", 10)
    twice = checked(job, chosen=[(0, "b", "sms")] * 2)
    assert kinds(twice) == ["duplicate"]
    assert twice.counts == {"duplicate": 1}


def test_a_contact_of_the_hold_out_is_caught():
    job = job_of(holdout_share=0.5)
    features = people(40)
    drawn = tables.unit_hash(features["subscriber"], job.seed) < 0.5
    inside, outside = int(np.argmax(drawn)), int(np.argmin(drawn))
    check = checked(job, features, [(inside, "a", "app"), (outside, "a", "app")])
    (violation,) = check.violations
    assert violation.kind == "hold_out"
    assert violation.subscriber == features["subscriber"][inside]


def test_the_hold_out_adds_nothing_to_the_bound():
    job = job_of(holdout_share=0.5)
    features = people(40)
    drawn = tables.unit_hash(features["subscriber"], job.seed) < 0.5
    everyone = checked(job, features, []).surplus
    rest = features[~drawn].reset_index(drop=True)
    assert everyone == checked(job, rest, []).surplus > 0


@pytest.mark.parametrize(
    ("columns", "chosen", "reason"),
    [
        ({"age": [17.0, 30, 30, 30]}, (0, "b", "app"), "not eligible for b"),
        ({"age": [math.nan, 30, 30, 30]}, (0, "b", "app"), "not eligible for b"),
        ({"consent": [False, True, True, True]}, (0, "a", "sms"), "consent consent is not true"),
        ({"consent": [None, True, True, True]}, (0, "a", "sms"), "consent consent is not true"),
        ({"has_app": [False, True, True, True]}, (0, "a", "app"), "device has_app is not true"),
    ],
)
def test_a_closed_pair_is_caught_with_its_reason(columns, chosen, reason):
    if chosen[2] == "sms":  # without the app, so that sms is their best
        columns = columns | {"has_app": [False, True, True, True]}
    job, before = job_of(), people(has_app=columns.get("has_app", [True] * 4))
    before = people() if "device" in reason else before
    columns = {n: pd.array(c, "boolean") if n == "consent" else c for n, c in columns.items()}
    check = checked(job, people(**columns), [chosen])
    (violation,) = check.violations
    assert (violation.kind, violation.subscriber) == ("closed", 10)
    assert violation.text == f"{chosen[1]} on {chosen[2]} is closed: {reason}"
    assert check.surplus < checked(job, before, [chosen]).surplus


@pytest.mark.parametrize(
    ("validity", "reason"),
    [
        ({"valid_from": "2026-10-01T00:00:01Z"}, "a is not valid yet"),
        ({"valid_until": "2026-10-01"}, "a is no longer valid"),
        ({"valid_from": "2026-10-01", "valid_until": "2026-10-01T00:00:01Z"}, None),
    ],
)
def test_an_offer_outside_its_validity_is_closed(validity, reason):
    catalogue = job_of().catalogue.model_dump(mode="json")
    catalogue["offers"]["a"] |= validity
    found = [v.text for v in checked(job_of(catalogue=catalogue), chosen=GOOD[3:]).violations]
    assert found == ([f"a on app is closed: {reason}"] if reason else [])


@pytest.mark.parametrize(
    ("time", "caught"),
    [(AS_OF, True), (AS_OF - 7 * DAY + 1, True), (AS_OF - 7 * DAY, False)],
)
def test_a_cap_broken_through_history_is_named(time, caught):
    job = job_of()
    features = people(has_app=[True, False, True, True])
    contacts = history((11, time, "gone", "sms"))
    check = checked(job, features, GOOD[:3], contacts=contacts)
    texts = [(v.kind, v.subscriber, v.text) for v in check.violations]
    text = "policy sms_weekly sms leaves 0, got 1 contacts"
    assert texts == ([("policy", 11, text)] if caught else [])
    # Without sms and the app nothing is left for the bound either.
    assert (check.surplus < checked(job, features, GOOD[:3]).surplus) == caught


def test_a_history_above_its_cap_leaves_nothing():
    job = job_of(policies=[{"name": "weekly", "at_most": 1, "within": "7d"}])
    contacts = history(*[(10, AS_OF - n, "a", "sms") for n in range(3)])
    check = checked(job, chosen=GOOD[3:], contacts=contacts)
    assert check.violations == () and check.choices == 3
    (violation,) = checked(job, chosen=[(0, "a", "app")], contacts=contacts).violations
    assert violation.text == "policy weekly leaves 0, got 1 contacts"


def test_history_counts_by_the_offers_category_of_today():
    job = job_of(policies=[
        {"name": "monthly", "at_most": 2, "within": "30d"},
        {"name": "category", "at_most": 1, "per": "category", "within": "30d"},
    ])  # fmt: skip
    at = AS_OF - DAY
    chosen = [(0, "a", "app"), (1, "a", "app"), (2, "b", "app"), (3, "a", "sms"), (3, "b", "app")]
    contacts = history(
        (10, at, "a", "sms"), (11, at, "gone", "sms"), (11, at, "gone", "fax"),
        (12, at, "a", "sms"), (13, at, "gone", "fax"),
    )  # fmt: skip
    found = {
        (v.subscriber, v.text) for v in checked(job, chosen=chosen, contacts=contacts).violations
    }
    assert found == {
        (10, "policy category data leaves 0, got 1 contacts"),
        (11, "policy monthly leaves 0, got 1 contacts"),
        (13, "policy monthly leaves 1, got 2 contacts"),
    }


def test_unknown_subscribers_offers_and_channels_are_caught():
    job = job_of()

    def change(frame):
        return frame.assign(
            subscriber=[99, 11, 12], offer=["a", "z", "a"], channel=["sms", "sms", "fax"]
        )

    check = checked(job, chosen=GOOD[:3], change=change)
    assert [(v.subscriber, v.text) for v in check.violations] == [
        (11, "no such action: z on sms"),
        (12, "no such action: a on fax"),
        (99, "unknown subscriber: a on sms"),
    ]
    assert check.value == 0 and check.uses == (0, 0)


@pytest.mark.parametrize("column", ["value", "cost", "propensity"])
@pytest.mark.parametrize("error", [1e-5, -1e-5, math.nan])
def test_a_falsified_number_is_caught(column, error):
    def change(frame):
        frame.loc[1, column] += error
        return frame

    check = checked(job_of(), chosen=GOOD[:3], change=change)
    (violation,) = check.violations
    assert (violation.kind, violation.subscriber) == ("written", 10)
    assert violation.text.startswith(f"b on app: {column} ")


@pytest.mark.parametrize("what", ["value", "bound", "uses"])
@pytest.mark.parametrize("factor", [1 + 1e-6, 1 - 1e-6, math.nan])
def test_a_false_claim_is_caught(what, factor):
    job = job_of()
    check = checked(job, chosen=GOOD[:3])
    claims = dict(truth(job, check)["claimed"])
    claim = claims[what]
    claims[what] = [claim[0], claim[1] * factor] if what == "uses" else claim * factor
    found = certify(job, [check], claims)
    assert not found["certified"] and not found["agrees"]
    (violation,) = found["violations"]
    assert violation["kind"] == "claim"
    assert "the solver claims" in violation["text"] and "the certificate finds" in violation["text"]


def test_claims_within_the_tolerance_agree():
    job = job_of()
    check = checked(job, chosen=GOOD[:3])
    claims = dict(truth(job, check)["claimed"])
    claims["bound"] *= 1 - CLAIM_TOLERANCE / 2
    assert certify(job, [check], claims)["certified"]
    claims["uses"] = claims["uses"][:1]
    assert not certify(job, [check], claims)["certified"]


def test_many_violations_are_counted_and_the_first_shown():
    job = job_of()
    features = people(50, age=[10.0] * 50)
    check = checked(job, features, [(row, "b", "app") for row in range(50)])
    assert check.counts == {"closed": 50}
    assert [v.subscriber for v in check.violations] == list(range(10, 30))
    found = truth(job, check)
    assert found["policy_violations"] == 50 and len(found["violations"]) == 20
    assert found["violation_count"] == 51  # and the budget


@pytest.mark.parametrize("weight", [-0.1, 1000.1, math.nan, math.inf])
def test_a_wrong_weight_is_refused(weight):
    with pytest.raises(DataError, match=r"catalogue.weight: .* 1 subscribers, got .* for 11; "):
        checked(job_of(), people(weight=[1.0, weight, 1, 1]), [])


def test_frames_that_do_not_fit_are_refused():
    job, features = job_of(), people()
    propensity, none = scores_of(job, features), allocation(job, features, None, [])
    rest = {"contacts": history(), "allocations": none, "prices": [0.0, 0.0]}
    with pytest.raises(DataError, match="propensity: its subscribers"):
        check_partition(job, features, propensity[::-1], **rest)
    with pytest.raises(DataError, match="propensity: no column a@app, b@app"):
        check_partition(job, features, propensity.drop(columns=["a@app", "b@app"]), **rest)
    with pytest.raises(DataError, match=r"propensity: column b@sms .* not in \[0, 1\]"):
        check_partition(job, features, propensity.assign(**{"b@sms": np.float32(1.5)}), **rest)
    with pytest.raises(DataError, match="subscriber 10 is there twice"):
        check_partition(job, pd.concat([features, features]), propensity, **rest)
    with pytest.raises(DataError, match="contacts: missing, but policy sms_weekly counts 7d"):
        check_partition(job, features, propensity, **rest | {"contacts": None})
    with pytest.raises(DataError, match="contacts: subscriber 77 is not in this partition"):
        stranger = history((77, AS_OF, "a", "sms"))
        check_partition(job, features, propensity, **rest | {"contacts": stranger})
    with pytest.raises(DataError, match="sms.consent: no column consent"):
        check_partition(job, features.drop(columns="consent"), propensity, **rest)
    for prices in ([0.0], [0.0, -1e-9], [0.0, math.nan], [math.inf, 0.0]):
        with pytest.raises(ValueError, match="prices"):
            check_partition(job, features, propensity, **rest | {"prices": prices})


# ── The bound ───────────────────────────────────────────────────────────────────────────────────


@st.composite
def instances(draw, most_offers=4, most_subscribers=3):
    """Draw a tiny job with its partition: few distinct values, so that ties happen."""
    offers, channels = draw(st.integers(1, most_offers)), draw(st.integers(1, 3))
    names = [f"c{c}" for c in range(channels)]
    several = st.lists(st.sampled_from(names), min_size=1, unique=True)
    carried = draw(st.lists(several, min_size=offers, max_size=offers))
    in_use = sorted(set().union(*carried))
    money = st.sampled_from([0.0, 0.1, 1.0, 2.5, 7.0])
    cap = st.integers(0, 3)
    policies = [{"name": "all", "at_most": draw(st.integers(0, 4))}] if draw(st.booleans()) else []
    for per in ("channel", "category"):
        if draw(st.booleans()):
            policies.append({"name": per, "at_most": draw(cap), "per": per})
    constraints = [{"name": "minimum", "measure": "contacts", "where": "gold", "at_least": 0}]
    for k in range(draw(st.integers(0, 3))):
        measure = draw(st.sampled_from(["contacts", "acceptances", "cost", "value"]))
        side = draw(st.sampled_from(["at_most", "at_least"]))
        scope = (
            {"where": "gold"}
            if draw(st.booleans())
            else {"channels": [draw(st.sampled_from(in_use))]}
        )
        amount = draw(st.sampled_from([0.5, 1.0, 2.0, 3.3]))
        constraints.append({"name": f"k{k}", "measure": measure, side: amount} | scope)
    catalogue = {
        "currency": "EUR",
        "weight": "weight",
        "channels": {n: {"unit_cost": draw(st.sampled_from([0.0, 0.1, 0.5]))} for n in names},
        "offers": {
            f"o{o}": {
                "category": draw(st.sampled_from(["x", "y"])),
                "value": draw(money),
                "cost": draw(money),
                "channels": carried[o],
                "eligible": "age >= 18",
            }
            for o in range(offers)
        },
    }
    job = job_of(catalogue=catalogue, policies=policies, constraints=constraints)
    size = draw(st.integers(0, most_subscribers))

    def column(values):
        return draw(st.lists(st.sampled_from(values), min_size=size, max_size=size))

    features = people(
        size,
        age=column([10.0, 30.0, 30.0]),
        weight=column([0.0, 0.6667, 1.0, 1.5]),
        gold=np.array(column([True, False]), bool),
    )
    propensity = scores_of(job, features)
    for action in actions(job.catalogue):
        propensity[action.name] = np.array(column([0.0, 0.1, 0.3, 0.5, 1.0]), np.float32)
    price = st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0])
    prices = draw(st.lists(price, min_size=len(limits(job)), max_size=len(limits(job))))
    return job, features, propensity, prices


def bundles(job, row):
    """Return every bundle of one subscriber, as tuples of actions: the definition, slowly."""
    found = actions(job.catalogue)
    category = {name: offer.category for name, offer in job.catalogue.offers.items()}
    allowed = range(len(found)) if row.age >= 18 else []

    def holds(bundle):
        chosen = [found[a] for a in bundle]
        if len({c.offer for c in chosen}) < len(chosen):
            return False
        for policy in job.policies:
            member = {
                "all": lambda c: "",
                "channel": lambda c: c.channel,
                "category": lambda c: category[c.offer],
            }[policy.per]
            groups = [member(c) for c in chosen]
            if any(groups.count(group) > policy.at_most for group in groups):
                return False
        return True

    sizes = range(len(job.catalogue.offers) + 1)
    return [b for n in sizes for b in itertools.combinations(allowed, n) if holds(b)]


def numbers(job, features, propensity):
    """Return exact weights and propensities."""
    names = [action.name for action in actions(job.catalogue)]
    w = [Fraction(round(x * 1024), 1024) for x in features["weight"]]
    p = [[Fraction(round(float(x) * 2**24), 2**24) for x in propensity[n]] for n in names]
    return w, p


def used(job, limit, row, a, p):
    """Return the exact use of a limit by one pair, in units."""
    if a not in limit.actions or (limit.where and not row.gold):
        return Fraction(0)
    fixed, accept = coefficients(job, limit.measure)[a]
    return (fixed + accept * p) / MICRO


@given(instance=instances())
@settings(max_examples=120)
def test_the_bound_is_the_lagrangian_dual_and_never_below_it(instance):
    job, features, propensity, prices = instance
    w, p = numbers(job, features, propensity)
    value = coefficients(job, "value")
    exact = Fraction(0)
    for price, limit in zip(prices, limits(job), strict=True):
        sign = -1 if limit.is_minimum else 1
        exact += sign * Fraction(price) * limit.amount / MICRO
    for s, row in enumerate(features.itertuples()):
        worth = {}
        for a, (fixed, accept) in enumerate(value):
            worth[a] = w[s] * (fixed + accept * p[a][s]) / MICRO
            for price, limit in zip(prices, limits(job), strict=True):
                sign = -1 if limit.is_minimum else 1
                worth[a] -= sign * Fraction(price) * used(job, limit, row, a, p[a][s])
        exact += max(sum(worth[a] for a in bundle) for bundle in bundles(job, row))
    found = truth(job, check_instance(instance, []))
    assert (
        exact
        <= Fraction(found["bound"])
        <= exact + 2 * Fraction(found["allowance"]) + Fraction(1, 10**12)
    )


@given(instance=instances(most_offers=3, most_subscribers=2))
@settings(max_examples=80)
def test_weak_duality_no_allocation_beats_the_bound(instance):
    job, features, propensity, _ = instance
    w, p = numbers(job, features, propensity)
    value, all_limits = coefficients(job, "value"), limits(job)
    rows = list(features.itertuples())
    choices = []
    for s, row in enumerate(rows):
        of_bundle = []
        for bundle in bundles(job, row):
            worth = sum((w[s] * (value[a][0] + value[a][1] * p[a][s]) for a in bundle), Fraction(0))
            uses = [
                sum((used(job, k, row, a, p[a][s]) for a in bundle), Fraction(0))
                for k in all_limits
            ]
            of_bundle.append((worth / MICRO, uses, bundle))
        choices.append(of_bundle)
    best = None
    for chosen in itertools.product(*choices):
        uses = [sum((c[1][k] for c in chosen), Fraction(0)) for k in range(len(all_limits))]
        held = [
            use >= Fraction(k.amount, MICRO) if k.is_minimum else use <= Fraction(k.amount, MICRO)
            for k, use in zip(all_limits, uses, strict=True)
        ]
        worth = sum((c[0] for c in chosen), Fraction(0))
        if all(held) and (best is None or worth > best[0]):
            best = worth, chosen, uses
    if best is None:
        return
    found = actions(job.catalogue)
    contacts = [(s, found[a].offer, found[a].channel) for s, c in enumerate(best[1]) for a in c[2]]
    certificate = truth(job, check_instance(instance, contacts))
    assert certificate["certified"], certificate
    assert certificate["value"] == float(best[0])
    assert [row["use"] for row in certificate["constraints"]] == [float(u) for u in best[2]]
    assert Fraction(certificate["bound"]) >= best[0]


@pytest.mark.parametrize(
    ("offer", "channel", "category", "worth", "best"),
    [
        # The first offer moves to its other channel so that the second fits: 9 + 8, not 10.
        ([0, 0, 1], [0, 1, 0], [0, 0, 0], [10, 9, 8], 17),
        # The first offer is given up for another of its category: 9 + 8, not 10.
        ([0, 1, 2], [0, 1, 0], [0, 0, 1], [10, 8, 9], 17),
    ],
)
def test_a_bundle_gives_up_what_came_first(offer, channel, category, worth, best):
    arrays = [np.array(x, np.int64) for x in (offer, channel, category, worth)]
    category_most = np.array([2 - max(category), 1], np.uint8)  # the second case allows one of each
    assert _flow(*arrays, 2, np.ones(2, np.uint8), category_most, 3) == best


@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=200)
def test_the_best_bundle_is_the_best(data, seed):
    rng = np.random.default_rng(seed)
    offers, channels, categories = (data.draw(st.integers(1, n)) for n in (7, 4, 3))
    pairs = [(o, c) for o in range(offers) for c in range(channels) if rng.random() < 0.8]
    if not pairs:
        return
    offer, channel = np.array(pairs, np.int64).T.copy()
    of_offer = rng.integers(categories, size=offers)
    worth = rng.integers(1, data.draw(st.sampled_from([3, 10, 10**12])), len(pairs))
    most = data.draw(st.integers(1, 8))
    channel_most = rng.integers(0, 4, channels).astype(np.uint8)
    category_most = rng.integers(0, 4, categories).astype(np.uint8)
    # Definition: offer by offer, the best total for every use of the caps.
    best = {(0,) * (channels + categories): 0}
    for o in range(offers):
        for state, total in list(best.items()):
            for gain, c in zip(worth[offer == o].tolist(), channel[offer == o], strict=True):
                then = list(state)
                then[c] += 1
                then[channels + of_offer[o]] += 1
                caps = [*channel_most, *category_most]
                if all(x <= cap for x, cap in zip(then, caps, strict=True)) and (
                    sum(then[:channels]) <= most
                ):
                    best[tuple(then)] = max(best.get(tuple(then), 0), total + gain)
    arguments = (offer, channel, of_offer[offer], worth, most, channel_most, category_most, offers)
    assert _flow(*arguments) == max(best.values())


def check_instance(instance, chosen, rows=slice(None)):
    job, features, propensity, prices = instance
    allocations = allocation(job, features, propensity, chosen)
    features, propensity = (f[rows].reset_index(drop=True) for f in (features, propensity))
    allocations = allocations[allocations["subscriber"].isin(features["subscriber"])]
    allocations = allocations.sort_values(["value", "subscriber"])  # any order
    frames = {"contacts": None, "allocations": allocations}
    return check_partition(job, features, propensity, **frames, prices=prices)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=8)
def test_the_number_of_partitions_changes_no_bit(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 60))
    job = job_of(holdout_share=0.1, policies=[{"name": "two", "at_most": 2}])
    weight = rng.random(size) * 3
    features = people(size, weight=weight, gold=rng.random(size) < 0.5, age=rng.random(size) * 60)
    propensity = scores_of(job, features)
    for action in actions(job.catalogue):
        propensity[action.name] = rng.random(size, np.float32)
    found = actions(job.catalogue)
    chosen = [
        (int(rng.integers(size)), found[a].offer, found[a].channel)
        for a in rng.integers(len(found), size=size)
    ]
    instance = (job, features, propensity, list(rng.random(2)))
    whole = truth(job, check_instance(instance, chosen))
    for partitions in (2, 5):
        part = tables.bucket(features["subscriber"], partitions)
        checks = [check_instance(instance, chosen, part == n) for n in range(partitions)]
        assert truth(job, *checks) == whole
        assert truth(job, *checks[::-1]) == whole


def test_text_keys_and_empty_partitions():
    job = job_of()
    features = people(2, subscriber=["y1", "x2"])
    check = checked(job, features, [(0, "b", "app"), (0, "b", "sms")])
    assert [(v.kind, v.subscriber) for v in check.violations] == [("duplicate", "y1")]
    empty = checked(job, people(0), [])
    assert (empty.subscribers, empty.surplus, empty.value, empty.uses) == (0, 0, 0, (0, 0))
    with pytest.raises(ValueError, match="checks: got different prices"):
        truth(job, check, checked(job, people(0), [], prices=[0, 0]))


def test_enormous_values_do_not_overflow():
    catalogue = job_of().catalogue.model_dump(mode="json")
    catalogue["offers"]["a"] |= {"value": 1e9, "cost": 0.0}
    catalogue["offers"]["b"] |= {"value": 1e9, "cost": 0.0}
    job = job_of(catalogue=catalogue, constraints=[])
    features = people(20_000, weight=np.full(20_000, 1000.0))  # more than one chunk
    found = truth(job, checked(job, features, [(0, "a", "app"), (1, "b", "app")], prices=[]))
    assert found["value"] == 1e12
    assert found["certified"]
    # each takes both offers, at most one of them by sms, worth 1000 (1e9 / 2) a piece
    assert found["bound"] == pytest.approx(2e16, rel=1e-9)


def test_a_subscriber_gets_at_most_four_actions_without_policies():
    offers = {f"o{i}": {"category": "x", "value": 4, "channels": ["app"]} for i in range(6)}
    catalogue = {"currency": "EUR", "channels": {"app": {}}, "offers": offers}
    job = job_of(catalogue=catalogue, policies=[], constraints=[])
    every = [(0, f"o{i}", "app") for i in range(6)]
    assert checked(job, people(1), every[:4], prices=[]).violations == ()
    (violation,) = checked(job, people(1), every[:5], prices=[]).violations
    assert violation.text == "a run's 4 actions leaves 4, got 5 contacts"
    assert truth(job, checked(job, people(1), [], prices=[]))["bound"] == pytest.approx(8, abs=1e-6)


# ── Independence ────────────────────────────────────────────────────────────────────────────────


def source(module):
    """Return the file of one of the project's modules; None: it is no module of ours."""
    place = Path(__file__).parent.parent / module.replace(".", "/")
    files = (place.with_suffix(".py"), place / "__init__.py")
    return next((file for file in files if file.exists()), None)


def imported(module):
    """Return the project's modules whose code a module uses.

    ``from package import module`` uses the module, not what the package also offers.
    """
    for node in ast.walk(ast.parse(source(module).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if source(alias.name))
        elif isinstance(node, ast.ImportFrom) and source(node.module):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if source(inner) else node.module


def test_the_certificate_shares_no_code_with_the_solver():
    waiting, seen = ["engine.certificate"], set()
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += imported(module)
    assert {"engine.limits", "engine.tables", "engine.certificate_bound"} <= seen  # it does walk
    assert not seen & FORBIDDEN
    assert {name for name in seen if name.startswith("kernels")} == {"kernels.backend"}
