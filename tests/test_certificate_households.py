"""The certificate's reading of policies over households, against their plain meaning."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import certificate, tables
from engine.errors import DataError
from engine.limits import MICRO, coefficients
from tests import brute_policies as brute
from tests import certified
from tests.certified import checked, history, job_of, people, truth
from tests.policy_cases import cases, parsed, profiled, scored, told

TRIED = 30  # joint choices of a household
MOST_TRIED = 20_000


def households(everyone):
    """Return the people by household; who is alone is one."""
    found = {}
    for i, person in enumerate(everyone):
        found.setdefault(person.home if person.others else ("alone", i), []).append(person)
    return list(found.values())


def check(mapping, everyone, chosen):
    """Check what everyone gets, a bundle each."""
    job, features, history = parsed(mapping), profiled(everyone), told(mapping, everyone)
    propensity = scored(job, features)
    rows = [(i, *action) for i, bundle in enumerate(chosen) for action in bundle]
    times = [pd.Timestamp(brute.time_of(mapping, everyone[i], day), unit="s", tz="UTC")
             for i, _, _, day in rows]  # fmt: skip
    allocations = certified.allocation(job, features, propensity, rows).assign(time=times)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certificate, "SHOWN", 10**6)
        return certificate.check_partition(
            job, features, propensity, history=history, allocations=allocations, prices=[]
        )


@settings(max_examples=60)
@given(cases(most=5, homes=True), st.integers(0, 2**32 - 1))
def test_it_finds_what_policies_over_households_do_not_mean(case, seed):
    """Each household is there again and again, and gets another joint choice each time."""
    mapping, everyone = case
    rng, tried = np.random.default_rng(seed), brute.tried(mapping)
    joint = [policy for policy in mapping["policies"] if brute.is_joint(policy)]
    again, chosen, homes, wrong = [], [], [], set()
    for own in households(everyone):
        each = [sorted(brute.bundles(mapping, person)) for person in own]
        for _ in range(TRIED):
            pools = [bundles if rng.random() < 0.85 else tried for bundles in each]
            picked = [pool[rng.integers(len(pool))] for pool in pools]
            is_meant = all(
                bundle in bundles for bundle, bundles in zip(picked, each, strict=True)
            ) and all(brute.allows_together(mapping, policy, own, picked) for policy in joint)
            home = homes[-1] + 1 if homes else 1
            wrong |= set() if is_meant else {home}
            again += [person._replace(home=home) for person in own]
            homes += [home] * len(own)
            chosen += picked
    found = check(mapping, again, chosen)
    assert {homes[violation.subscriber] for violation in found.violations} == wrong
    assert not set(certified.kinds(found)) - {"closed", "duplicate", "policy"}


@settings(max_examples=60)
@given(cases(most=4, homes=True), st.integers(0, 2**32 - 1))
def test_its_bound_is_the_best_that_households_may_have(case, seed):
    mapping, everyone = case
    job, rng = parsed(mapping), np.random.default_rng(seed)
    propensity = scored(job, profiled(everyone))
    value = dict(zip(brute.actions(mapping), coefficients(job, "value"), strict=True))
    rows = {id(person): row for person, row in
            zip(everyone, propensity.to_dict("records"), strict=True)}  # fmt: skip
    best = 0
    for own in households(everyone):
        each = []
        for person in own:
            row = rows[id(person)]
            worth = {a: (fixed + accept * row[f"{a.offer}@{a.channel}"]) / MICRO
                     for a, (fixed, accept) in value.items()}  # fmt: skip
            bundles = [(sum(worth[a] for a in b), b) for b in brute.bundles(mapping, person)]
            each.append(sorted(bundles, reverse=True))
        if np.prod([len(bundles) for bundles in each], dtype=float) > MOST_TRIED:
            return
        joint = [policy for policy in mapping["policies"] if brute.is_joint(policy)]
        best += max(
            sum(worth for worth, _ in picked) for picked in product(*each)
            if all(brute.allows_together(mapping, p, own, [b for _, b in picked]) for p in joint)
        )  # fmt: skip
    found = check(mapping, everyone, [()] * len(everyone))
    bound = certificate.certify(job, [found], {"value": 0.0, "bound": 0.0, "uses": []})
    assert best <= bound["bound"] <= best + bound["allowance"]
    order = rng.permutation(len(everyone))
    shuffled = [everyone[i] for i in order]
    features = profiled(everyone).iloc[order].reset_index(drop=True)
    again = certificate.check_partition(
        job, features, propensity.iloc[order].reset_index(drop=True),
        history=told(mapping, shuffled, order.tolist()),
        allocations=certified.allocation(job, features, propensity, []), prices=[],
    )  # fmt: skip
    assert again.surplus == found.surplus


# ── By hand ─────────────────────────────────────────────────────────────────────────────────────

AS_OF = 1_790_812_800  # 2026-10-01T00:00:00Z
INPUTS = {
    "folder": "data",
    "subscribers": {"path": "s/*.parquet", "household": "home", "time_zone": "zone"},
    "contacts": {"path": "c/*.parquet", "categories": ["offer", "channel"]},
}
HOMES = ["x", "y", "x", None, ""]


def joint_job(*policies, **changes):
    """Return a job with policies over households; its catalogue is that of other tests."""
    own = [{"over": "household", **policy} for policy in policies]
    return job_of(inputs=INPUTS, policies=own, constraints=[], **changes)


def family(n=5, homes=None, **columns):
    homes = HOMES if homes is None else homes
    return people(n, home=homes, **{"zone": ["UTC"] * n} | columns)


def texts(job, chosen, features=None, contacts=None):
    found = checked(
        job, family() if features is None else features, chosen, contacts=contacts, prices=[]
    ).violations
    return [(violation.kind, violation.subscriber, violation.text) for violation in found]


A_SMS, A_APP, B_APP = ((0, "a", "sms"), (2, "a", "app"), (2, "b", "app"))
ALONE = [(3, "a", "sms"), (3, "b", "app"), (4, "a", "sms"), (4, "b", "app")]


@pytest.mark.parametrize(
    ("policy", "chosen", "expected"),
    [
        ({"at_most": 2}, [A_SMS, B_APP, *ALONE], []),
        ({"at_most": 2}, [A_SMS, A_APP, B_APP, *ALONE],
         [("policy", 10, "policy p leaves 2 to the household, got 3 contacts")]),
        ({"at_most": 1}, [A_APP, B_APP],
         [("policy", 12, "policy p leaves 1 to the household, got 2 contacts")]),
        ({"at_most": 1, "per": "channel"}, [A_SMS, A_APP, (0, "b", "app")],
         [("policy", 10, "policy p app leaves 1 to the household, got 2 contacts")]),
        ({"at_most": 1, "per": "offer"}, [A_SMS, B_APP, *ALONE], []),
        ({"at_most": 1, "per": "offer"}, [A_SMS, A_APP, (1, "a", "app")],
         [("policy", 10, "policy p a leaves 1 to the household, got 2 contacts")]),
        ({"exclusive": ["a", "b"]}, [A_SMS, A_APP, (1, "b", "app")], []),
        ({"exclusive": ["a", "b"]}, [A_SMS, B_APP],
         [("policy", 10, "policy p excludes a and b in the household")]),
        ({"suppress": "age < 30"}, [A_SMS, (1, "b", "app"), *ALONE],
         [("closed", 10, "a on sms is closed: policy p")]),
    ],
)  # fmt: skip
def test_what_members_get_together_is_told(policy, chosen, expected):
    features = family(age=[30.0, 30, 20, 30, 30])
    assert texts(joint_job({"name": "p"} | policy), chosen, features) == expected


def test_the_history_of_all_members_counts():
    """That of one in the hold-out, and of one who gets nothing, too."""
    job = joint_job({"name": "p", "at_most": 2, "within": "7d"})
    past = history((12, AS_OF - 1, "gone", "sms"), (13, AS_OF - 1, "a", "sms"))
    told_ = "policy p leaves 1 to the household, got 2 contacts"
    chosen = [A_SMS, (0, "b", "app")]
    assert texts(job, chosen, contacts=past) == [("policy", 10, told_)]
    assert texts(job, chosen, contacts=past.iloc[1:]) == []
    held = joint_job({"name": "p", "at_most": 2, "within": "7d"}, holdout_share=0.5)
    features = family(40, [n // 2 for n in range(40)])
    out = tables.unit_hash(features["subscriber"], held.seed) < 0.5
    one = next(n for n in range(0, 40, 2) if not out[n] and out[n + 1])
    both = [(one, "a", "sms"), (one, "b", "app")]
    past = history((11 + one, AS_OF - 1, "gone", "sms"))
    assert texts(held, both, features) == []
    assert texts(held, both, features, past) == [("policy", 10 + one, told_)]


@pytest.mark.parametrize(("early", "leaves"), [(13, 1), (12, 1), (11, 0)])
def test_contacts_of_several_members_count_in_the_order_of_their_times(early, leaves):
    job = joint_job({"name": "p", "at_most": 2, "within": "1d"})
    past = history((10, AS_OF + 12 * 3600, "a", "sms"), (12, AS_OF - early * 3600, "a", "sms"))
    text = "policy p leaves 0 to the household, got 1 contacts"
    assert texts(job, [A_APP], contacts=past) == [("policy", 12, text)] * (1 - leaves)


@pytest.mark.parametrize(
    "homes",
    [
        ["x", "", "x", None, ""], [7, None, 7, None, 8], pd.array([7, None, 7, None, 8], "Int64"),
        [7.0, np.nan, 7.0, np.nan, np.nan], pd.Categorical(["x", None, "x", "", ""]),
    ],
)  # fmt: skip
def test_households_are_equal_values_that_are_not_empty(homes):
    job = joint_job({"name": "p", "at_most": 1})
    each = [(n, "a", "sms") for n in range(5)]
    text = "policy p leaves 1 to the household, got 2 contacts"
    assert texts(job, each, family(homes=homes)) == [("policy", 10, text)]
    found = truth(job, checked(job, family(homes=homes), [], prices=[]))
    # each household takes b by the app, worth 3; there are four
    assert found["bound"] == pytest.approx(12, abs=1e-6)


def test_without_policies_over_households_their_column_says_nothing():
    job = joint_job({"name": "p", "at_most": 1, "over": "subscriber"})
    features = family(zone=["UTC", "UTC", "Asia/Kolkata", "UTC", "UTC"])
    assert texts(job, [A_SMS, A_APP], features) == []


def test_households_that_policies_cannot_ask_are_refused():
    job = joint_job({"name": "p", "at_most": 1})
    apart = family(zone=["UTC", "UTC", "Asia/Kolkata", "UTC", "UTC"])
    with pytest.raises(DataError, match="household x has .*, 10 in UTC and 12 in Asia/Kolkata"):
        texts(job, [], apart)
    large = family(9, ["x"] * 9)
    with pytest.raises(DataError, match="household x has 9 members; at most 8 are allowed"):
        texts(job, [], large)
    assert texts(joint_job({"name": "p", "suppress": "age < 3"}), [], large) == []


def test_enormous_values_of_a_household_do_not_overflow():
    offers = {f"o{i}": {"category": "x", "value": 1e9, "channels": ["app"]} for i in range(5)}
    catalogue = {
        "currency": "EUR", "weight": "weight", "channels": {"app": {}}, "offers": offers,
    }  # fmt: skip
    features = family(8, ["x"] * 8, weight=np.full(8, 1000.0))
    for most, contacts in ((31, 31), (32, 32), (255, 32)):
        job = joint_job({"name": "p", "at_most": most}, catalogue=catalogue)
        found = truth(job, checked(job, features, [], prices=[]))
        assert found["bound"] == pytest.approx(contacts * 5e11, rel=1e-12)


@pytest.mark.parametrize("size", [2, 5, 8])
def test_the_bound_of_many_equal_members_is_exact(size):
    """Three offers, once each for the household: whoever gets them, they are worth as much."""
    offers = {f"o{i}": {"category": "x", "value": 2 + i, "channels": ["app"]} for i in range(3)}
    catalogue = {"currency": "EUR", "channels": {"app": {}}, "offers": offers}
    job = joint_job({"name": "p", "at_most": 1, "per": "offer"}, catalogue=catalogue)
    found = truth(job, checked(job, family(size, ["x"] * size), [], prices=[]))
    assert found["bound"] == pytest.approx(0.5 * (2 + 3 + 4), abs=1e-6)
