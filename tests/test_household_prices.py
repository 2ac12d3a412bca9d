"""What policies over households cost, and how their contacts count, by trying every choice."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import contact_counts
from engine.policy_market import Market, Partition
from engine.policy_prices import costs
from engine.policy_questions import Asked
from engine.policy_relaxed import GRID
from tests import brute_policies as brute
from tests.brute_policies import Person
from tests.policy_cases import cases, events, mapping_of, parsed, profiled, scored, told

MANY = 250  # a cap that no history reaches


def homes_of(people):
    """Return the positions of each household's members; who is alone is one."""
    found = {}
    for s, person in enumerate(people):
        found.setdefault(person.home if person.others else (s,), []).append(s)
    return list(found.values())


def best(job, household, worth):
    """Return the most that members can get together; what is worth nothing need not be tried."""
    each = [
        [b for b in brute.bundles(job, person) if all(own[a] > 0.0 for a in b)]
        for person, own in zip(household, worth, strict=True)
    ]
    joint = [policy for policy in job["policies"] if brute.is_joint(policy)]

    def rest(*chosen):
        """Return the most that those may add who have not chosen."""
        if len(chosen) == len(household):
            return 0.0
        none = [()] * (len(household) - len(chosen) - 1)
        return max(
            sum(worth[len(chosen)][a] for a in bundle) + rest(*chosen, bundle)
            for bundle in each[len(chosen)]
            if all(
                brute.allows_together(job, p, household, [*chosen, bundle, *none]) for p in joint
            )
        )

    return rest()


def relaxed(job, name):
    """Return the job with one policy relaxed by a contact, or left out."""
    policies = []
    for policy in job["policies"]:
        if policy["name"] != name:
            policies.append(policy)
        elif "at_most" in policy:
            policies.append({**policy, "at_most": policy["at_most"] + 1})
    return {**job, "policies": policies}


POLICIES = [
    {"at_most": 1, "over": "household"},
    {"at_most": 2, "over": "household"},
    {"at_most": 3, "within": "7d", "over": "household"},
    {"at_most": 1, "per": "offer", "over": "household"},
    {"at_most": 2, "per": "channel", "each": "day", "over": "household"},
    {"at_most": 1, "per": "category", "within": "1d", "over": "household"},
    {"spacing": "1d", "per": "channel", "only": ["sms"], "over": "household"},
    {"exclusive": ["data", "voice", "old"], "over": "household"},
    {"exclusive": ["voice", "notice"], "within": "1d", "over": "household"},
    {"suppress": "churned", "over": "household"},
    {"suppress": "churned"},
    {"at_most": 1},
    {"exclusive": ["data", "voice"]},
    {"at_most": 1, "per": "channel", "only": ["sms"]},
    {"package": ["data", "notice"]},
]


def drawn(rng):
    """Return a job with policies that bind members of households, and a few people in them."""
    rules = [POLICIES[i] for i in rng.choice(len(POLICIES), rng.integers(1, 4), replace=False)]
    job = mapping_of(rules, "2025-06-10T12:00:00+00:00")
    job["inputs"]["subscribers"]["household"] = "home"
    people = []
    for _ in range(rng.integers(2, 5)):
        row = {"churned": bool(rng.random() < 0.2), "tenure": 9.0, "agreed": True, "lasts": None}
        person = Person("", row, [], [], [None, "a", "a", "b"][rng.integers(4)])
        now = brute.time_of(job, person)
        person.contacts.extend(events(rng, job, [now], rng.integers(0, 2), now))
        people.append(person)
    return job, brute.together(people)


@pytest.mark.parametrize("seed", range(200))
def test_a_household_gains_once_what_its_members_gain_together(seed):
    rng = np.random.default_rng(seed)
    mapping, people = drawn(rng)
    job, features, history = parsed(mapping), profiled(people), told(mapping, people)
    acts, scores = brute.actions(mapping), scored(job, features)
    size = (1, len(acts))
    market = Market(
        np.array([rng.integers(-6, 2, len(acts)), rng.integers(0, 9, len(acts))]) / 4.0,
        rng.integers(0, 2, size) / 4.0, rng.integers(0, 2, size) / 4.0,
    )  # fmt: skip
    weight = rng.choice([0.5, 1.0, 2.0], len(people)).astype(np.float32)
    group = np.zeros(len(people), np.int32)
    found, _ = costs(Partition.of(job, (features, scores, history), group, weight), market)
    worth = []
    for s in range(len(people)):
        p = [float(scores[f"{a.offer}@{a.channel}"].iloc[s]) for a in acts]
        own = weight[s] * (market.value[0] + market.value[1] * p)
        own -= market.price_fixed[0] + market.price_accept[0] * p
        worth.append({
            a: x if brute.is_eligible(mapping, people[s], a) else 0.0
            for a, x in zip(acts, own.tolist(), strict=True)
        })  # fmt: skip
    for cost in found:
        gains = []
        for rows in homes_of(people):
            household, own = [people[s] for s in rows], [worth[s] for s in rows]
            after = best(relaxed(mapping, cost.policy), household, own)
            gains.append(after - best(mapping, household, own))
        assert cost.gain / GRID == sum(gains)
        if any(map(brute.is_joint, mapping["policies"])):
            assert cost.gaining == sum(gain > 0.0 for gain in gains)


def test_offers_that_exclude_one_another_meet_in_two_members():
    """Nobody has two good offers; only together do they gain."""
    mapping = mapping_of([{"exclusive": ["data", "voice"], "over": "household"}],
                         "2025-06-10T12:00:00+00:00")  # fmt: skip
    mapping["inputs"]["subscribers"]["household"] = "home"
    row = {"churned": False, "tenure": 9.0, "agreed": True, "lasts": None}
    people = brute.together([Person("", row, [], [], "a")] * 2)
    job, features, history = parsed(mapping), profiled(people), told(mapping, people)
    acts = brute.actions(mapping)
    scores = scored(job, features).assign(**{f"{a.offer}@{a.channel}": 0.0 for a in acts})
    scores.loc[0, "data@app"] = scores.loc[1, "voice@sms"] = 1.0
    none = np.zeros((1, len(acts)))
    market = Market(np.array([[-0.5] * len(acts), [1.0] * len(acts)]), none, none)
    sizes = np.zeros(2, np.int32), np.ones(2, np.float32)
    [cost], _ = costs(Partition.of(job, (features, scores, history), *sizes), market)
    assert cost.gain / GRID == 0.5 and cost.gaining == 1


@settings(max_examples=40)
@given(cases(most=6, homes=True), st.integers(0, 2**32 - 1))
def test_caps_over_households_count_households(case, seed):
    mapping, people = case
    job, features, history = parsed(mapping), profiled(people), told(mapping, people)
    acts, rng = brute.actions(mapping), np.random.default_rng(seed)
    chosen = np.sort(rng.integers(-1, len(acts), (2, len(people))), axis=0)[::-1].astype(np.int16)
    chosen[1, chosen[1] == chosen[0]] = -1
    found = contact_counts.contacts(Asked.of(job, features, history), history, chosen)
    told_of = {policy["name"]: policy for policy in mapping["policies"]}
    for one in found.counted:
        policy, before, after = told_of[one.policy], Counter(), Counter()
        assert one.over == policy.get("over", "subscriber")
        rows = homes_of(people) if brute.is_shared(policy) else [[s] for s in range(len(people))]
        for own in rows:
            used, more = 0, 0
            wide = {k: v for k, v in policy.items() if k not in {"spacing", "exempt"}}
            wide |= {"at_most": MANY}
            wide |= {"within": policy["spacing"]} if "spacing" in policy else {}
            used = MANY - brute.room(mapping, wide, people[own[0]], name_of(policy, one.group))
            for s in own:
                bundle = [acts[a] for a in chosen[:, s] if a >= 0]
                events = [
                    event for name, event in brute.held(mapping, wide, people[s], bundle)
                    if name == name_of(policy, one.group)
                ]  # fmt: skip
                more += len(brute.times(mapping, wide, events))
            before[used] += 1
            after[used + more] += 1
        assert one.before == before and one.after == after


def name_of(policy, group):
    """Return by what name a policy counts a group."""
    return "offers" if policy.get("per") == "offers" else group
