"""What policies over households cost, and how their contacts count, by trying every choice."""

from collections import Counter
from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import contact_counts
from engine.policy_prices import GRID, Market, Partition, costs
from engine.policy_questions import Asked
from tests import brute_policies as brute
from tests.policy_cases import cases, parsed, profiled, scored, told

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
    return max(
        sum(own[a] for own, bundle in zip(worth, chosen, strict=True) for a in bundle)
        for chosen in product(*each)
        if all(brute.allows_together(job, policy, household, chosen) for policy in joint)
    )


def relaxed(job, name):
    """Return the job with one policy relaxed by a contact, or left out."""
    policies = []
    for policy in job["policies"]:
        if policy["name"] != name:
            policies.append(policy)
        elif "at_most" in policy:
            policies.append({**policy, "at_most": policy["at_most"] + 1})
    return {**job, "policies": policies}


@settings(max_examples=60)
@given(cases(most=4, homes=True), st.integers(0, 2**32 - 1))
def test_a_household_gains_once_what_its_members_gain_together(case, seed):
    mapping, people = case
    job, features, history = parsed(mapping), profiled(people), told(mapping, people)
    acts, rng = brute.actions(mapping), np.random.default_rng(seed)
    scores, size = scored(job, features), (1, len(acts))
    market = Market(
        np.array([rng.integers(-2, 3, len(acts)), rng.integers(0, 9, len(acts))]) / 4.0,
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
