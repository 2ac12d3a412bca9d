"""The certificate's bound: the Lagrangian dual, never too low, the same for any partitions."""

import itertools
from fractions import Fraction
from math import gcd

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import tables
from engine.actions import actions
from engine.certificate import check_partition
from engine.certificate_bound import _flow
from engine.history import History
from engine.limits import MICRO, coefficients, limits
from tests.certified import allocation, checked, job_of, people, scores_of, truth


@st.composite
def instances(draw, most_offers=4, most_subscribers=3):
    """Draw a tiny job with its partition: few distinct values, so that ties happen."""
    offers, channels = draw(st.integers(1, most_offers)), draw(st.integers(1, 3))
    names = [f"c{c}" for c in range(channels)]
    several = st.lists(st.sampled_from(names), min_size=1, unique=True)
    carried = draw(st.lists(several, min_size=offers, max_size=offers))
    in_use = sorted(set().union(*carried))
    money = st.sampled_from([0.0, 0.1, 1.0, 2.5, 7.0])
    policies = draw(policies_of([f"o{o}" for o in range(offers)]))
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


@st.composite
def policies_of(draw, offers):
    """Draw policies: caps in all, per channel and per category; every second time any kind."""
    cap, policies = st.integers(0, 3), []
    several = st.lists(st.sampled_from(offers), min_size=2, max_size=3, unique=True)
    if draw(st.booleans()):
        policies.append({"name": "all", "at_most": draw(st.integers(0, 4))})
    for per in ("channel", "category"):
        if draw(st.booleans()):
            policies.append({"name": per, "at_most": draw(cap), "per": per})
    if draw(st.booleans()):
        return policies
    if draw(st.booleans()):
        group = draw(st.lists(st.sampled_from(offers), min_size=1, unique=True))
        policies.append({"name": "group", "at_most": draw(cap), "per": "offers", "only": group})
    if draw(st.booleans()):
        kind = draw(st.sampled_from([{"at_least": 2}, {"exactly": 1}, {"exactly": 2}]))
        policies.append({"name": "least"} | kind)
    if len(offers) > 1:
        for kind in draw(st.sets(st.sampled_from(["exclusive", "package", "requires"]))):
            one, *others = draw(several)
            if kind == "requires":
                policies.append({"name": kind, "offer": one, "requires": others})
            else:
                policies.append({"name": kind, kind: [one, *others]})
    return policies


def holds(job, chosen):
    """Whether a bundle that is not empty keeps every policy: the definition, in words."""
    category = {name: offer.category for name, offer in job.catalogue.offers.items()}
    offers = [c.offer for c in chosen]
    if len(set(offers)) < len(chosen) or len(chosen) > 4:
        return False
    packages = [policy.package for policy in job.policies if policy.package]

    def contact(c):
        return next(((i, c.channel) for i, p in enumerate(packages) if c.offer in p), c)

    for policy in job.policies:
        if policy.at_most is not None:
            if policy.per == "offers":
                groups = ["" for c in chosen if c.offer in policy.only]
            elif policy.per == "category":
                groups = [category[c.offer] for c in chosen]
            elif policy.per == "channel":
                groups = [channel for channel, _ in {(c.channel, contact(c)) for c in chosen}]
            else:
                groups = ["" for _ in {contact(c) for c in chosen}]
            if any(groups.count(group) > policy.at_most for group in groups):
                return False
        if policy.exactly is not None and len(chosen) != policy.exactly:
            return False
        if policy.at_least is not None and len(chosen) < policy.at_least:
            return False
        if len(set(offers) & set(policy.exclusive)) > 1:
            return False
        if policy.offer in offers and not set(offers) & set(policy.requires):
            return False
    return True


def bundles(job, row):
    """Return every bundle of one subscriber, as tuples of actions: the definition, slowly."""
    found = actions(job.catalogue)
    allowed = range(len(found)) if row.age >= 18 else []
    some = [
        bundle
        for size in range(1, 5)
        for bundle in itertools.combinations(allowed, size)
        if holds(job, [found[a] for a in bundle])
    ]
    must = any(policy.exactly for policy in job.policies)
    return some if some and must else [(), *some]


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


def whole(job, limit):
    """Return the amount, a minimum's negated; of what contacts alone count, a whole multiple."""
    found = [coefficients(job, limit.measure)[a] for a in limit.actions]
    signed = -limit.amount if limit.is_minimum else limit.amount
    step = 1 if any(accept for _, accept in found) else gcd(*(fixed for fixed, _ in found)) or 1
    return signed // step * step


@given(instance=instances())
@settings(max_examples=120)
def test_the_bound_is_the_lagrangian_dual_and_never_below_it(instance):
    job, features, propensity, prices = instance
    w, p = numbers(job, features, propensity)
    value = coefficients(job, "value")
    exact = Fraction(0)
    for price, limit in zip(prices, limits(job), strict=True):
        exact += Fraction(price) * whole(job, limit) / MICRO
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
    frames = {"history": History(), "allocations": allocations}
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
