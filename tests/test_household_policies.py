"""Policies over households: the solver's reading of them against their plain meaning."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import plan_rules, policies, tables
from engine.assemble import assemble
from engine.block import KEY_RANGE
from engine.candidates import candidates
from engine.errors import DataError
from engine.history import History
from tests import brute_policies as brute
from tests import problems
from tests.brute_policies import Person
from tests.policy_cases import cases, mapping_of, parsed, profiled, scored, solved_for, told

MOST_TRIED = 400  # of a household's joint choices


def rooms_of(job, person):
    """Return the room that caps over households leave, by what they count."""
    acts, found = brute.actions(job), {}
    for policy in job["policies"]:
        if not brute.is_joint(policy) or "exclusive" in policy:
            continue
        names = [brute.held(job, policy, person, (a,)) for a in acts]
        for name in {name for own in names for name, _ in own}:
            counted = tuple(i for i, own in enumerate(names) if own and own[0][0] == name)
            key = policy.get("per", "all") in {"all", "channel"}, counted
            found.setdefault(key, []).append(brute.room(job, policy, person, name))
    return {key: min(own) for key, own in found.items()}


def fits(problem, block, rows, bundles):
    """Whether bundles of a household's rows of a block fit together, by the words of its rules."""
    rules, offer = problem.rules, problem.offer.tolist()
    for e, counted in enumerate(rules.households.members):
        contacts = [
            (i, int(rules.contact[a])) for i, bundle in enumerate(bundles)
            for a in bundle if counted[a]
        ]  # fmt: skip
        used = len(set(contacts)) if rules.households.per_contact[e] else len(contacts)
        if used > min(block.room[e, rows]):
            return False
    offers = {offer[a] for bundle in bundles for a in bundle}
    return all(len(offers & set(some)) <= 1 for some in rules.households.exclusive)


@settings(max_examples=80)
@given(cases(homes=True))
def test_the_solver_has_what_policies_over_households_mean(case):
    mapping, people = case
    job, features, history = parsed(mapping), profiled(people), told(mapping, people)
    acts, left = brute.actions(mapping), policies.left(job, features, history)
    groups = plan_rules.capped_together(job)
    for s, person in enumerate(people):
        for policy in mapping["policies"]:
            shut = [brute.blocks(mapping, policy, person, a) for a in acts]
            assert left.forbids(policy["name"], len(acts))[:, s].tolist() == shut
        room = {plan_rules.key_of(g): int(left.room[e, s]) for e, g in enumerate(groups)}
        assert room == rooms_of(mapping, person)
    _, found = solved_for(job, features, history)
    for person, own in zip(people, found, strict=True):
        assert {tuple(acts[a] for a in bundle) for bundle in own} == brute.bundles(mapping, person)


@settings(max_examples=40)
@given(cases(most=4, days=3, homes=True))
def test_policies_over_households_close_days_of_a_plan(case):
    mapping, people = case
    acts = brute.actions(mapping)
    left = policies.left(parsed(mapping), profiled(people), told(mapping, people))
    for s, person in enumerate(people):
        for policy in mapping["policies"]:
            shut = [brute.blocks(mapping, policy, person, a) for a in acts]
            assert left.forbids(policy["name"], len(acts))[:, s].tolist() == shut


@settings(max_examples=60)
@given(cases(most=4, homes=True), st.integers(0, 2**32 - 1))
def test_a_household_may_get_what_its_policies_mean(case, seed):
    """Every choice for all members, or some of them where there are many."""
    mapping, people = case
    job, acts, rng = parsed(mapping), brute.actions(mapping), np.random.default_rng(seed)
    features, history = profiled(people), told(mapping, people)
    part = candidates(job, features, scored(job, features), history)
    problem = assemble(job, [part]).problem
    joint = [policy for policy in mapping["policies"] if brute.is_joint(policy)]
    assert (problem.rules.households is None) == (not joint)
    (block,) = problem.blocks
    words = {w["key"]: w for w in problems.in_words(problem)}
    for home in {person.home for person in people if person.others} if joint else ():
        own = [i for i, person in enumerate(people) if person.home == home]
        household, keys = [people[i] for i in own], part.key[own].tolist()
        rows = [block.key.tolist().index(key) for key in keys]
        each = [problems.bundles_of(problem, words[key]) for key in keys]
        every = list(product(*each)) if np.prod([*map(len, each)]) <= MOST_TRIED else [
            tuple(bundles[rng.integers(len(bundles))] for bundles in each)
            for _ in range(MOST_TRIED)
        ]  # fmt: skip
        for chosen in every:
            named = [tuple(acts[a] for a in bundle) for bundle in chosen]
            meant = all(brute.allows_together(mapping, p, household, named) for p in joint)
            assert fits(problem, block, rows, chosen) == meant


@settings(max_examples=40)
@given(cases(most=8, homes=True), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_any_partitions_and_orders_have_the_same_households(case, parts, seed):
    """The rows of a block, too: those alone by group and key, then members by household."""
    mapping, people = case
    job, rng = parsed(mapping), np.random.default_rng(seed)
    joint = any(map(brute.is_joint, mapping["policies"]))
    whole = policies.left(job, profiled(people), told(mapping, people))
    homes = {home: rng.integers(parts) for home in {person.home for person in people}}
    place = np.array([
        homes[p.home] if p.others else rng.integers(parts) for p in people
    ], np.int64)  # fmt: skip
    order = rng.permutation(len(people))
    for part in range(parts):
        own = order[place[order] == part]
        taken, blocks = [people[s] for s in own], []
        for rows in (own, np.sort(own)):
            taken = [people[s] for s in rows]
            features, history = profiled(taken, rows.tolist()), told(mapping, taken, rows.tolist())
            shuffled = History(*(
                frame.iloc[rng.permutation(len(frame))] for frame in vars(history).values()
            ))  # fmt: skip
            left = policies.left(job, features, shuffled)
            for name in ("most", "fewest", "cap", "room"):
                assert np.array_equal(getattr(left, name), getattr(whole, name)[..., rows])
            scores = scored(job, profiled(people)).iloc[rows]
            found = candidates(job, features, scores, shuffled)
            blocks += assemble(job, [found]).problem.blocks
            check_keys(found, taken, rows, joint=joint)
        one, other = (vars(block) for block in blocks)
        assert all(np.array_equal(one[n], other[n], equal_nan=True) for n in one)
        check_order(blocks[0])


def check_keys(part, people, subscribers, *, joint):
    """Compare keys and households with the hashes that they are made of."""
    plain = tables.bucket(pd.Series(subscribers, dtype="int64"), KEY_RANGE)
    assert part.household.shape == (joint, len(people))
    for s, person in enumerate(people):
        home = int(tables.bucket(pd.Series([person.home]), KEY_RANGE)[0]) if person.others else -1
        if not joint or home < 0:
            assert part.key[s] == plain[s]
        else:
            assert part.key[s] == (home >> 32 << 32) + int(plain[s]) % 2**32
        assert not joint or part.household[0, s] == home


def check_order(block):
    household = block.household[0] if len(block.household) else np.full(len(block), -1)
    rows = list(zip(household.tolist(), block.key.tolist(), block.group.tolist(), strict=True))
    alone = [(group, key) for home, key, group in rows if home < 0]
    members = [(key >> 32, home, key) for home, key, _ in rows if home >= 0]
    assert [home >= 0 for home, _, _ in rows] == [False] * len(alone) + [True] * len(members)
    assert alone == sorted(alone) and members == sorted(members)


ROW = {"churned": False, "tenure": 9.0, "agreed": True, "lasts": None}
ONE = [{"at_most": 1, "over": "household"}]


def one(rules, homes, zones=(), **changes):
    """Return a job, and the profile of people in households."""
    job = mapping_of(rules, "2025-06-10T12:00:00+00:00", **changes)
    job["inputs"]["subscribers"]["household"] = "home"
    zones = zones or [""] * len(homes)
    people = [Person(z, ROW, [], [], home) for z, home in zip(zones, homes, strict=True)]
    return parsed(job), profiled(people)


def test_members_in_several_time_zones_are_refused():
    zones = ["", "Asia/Kolkata", "UTC", "Europe/Berlin", "UTC", ""]
    job, features = one(
        [{"suppress": "churned", "over": "household"}], ["a", "b", "b", "a", "c", "c"], zones
    )
    message = (
        "s.csv: column home: 2 households are in several time zones, such as "
        "a: 0 in UTC and 3 in Europe/Berlin; b: 1 in Asia/Kolkata and 2 in UTC; "
    )
    with pytest.raises(DataError, match=message):
        policies.left(job, features, History())
    alone, _ = one([{"suppress": "churned"}], [])
    policies.left(alone, features, History())


def test_households_too_large_to_choose_for_are_refused():
    homes = [*"a" * 8, *"b" * 9, *"c" * 11, "", "", None]
    job, features = one(ONE, homes)
    message = (
        "s.csv: column home: 2 households are too large, such as b of 9, c of 11; .* at most 8"
    )
    with pytest.raises(DataError, match=message):
        policies.left(job, features, History())
    policies.left(job, features.iloc[:8], History())
    closing, _ = one([{"cool_down": "7d", "over": "household"}], [])
    policies.left(closing, features, History())


@pytest.mark.parametrize("empty", [pd.Series([None] * 3, dtype=object), pd.Series([""] * 3),
                                   pd.Series([np.nan] * 3)])  # fmt: skip
def test_without_names_everyone_is_alone(empty):
    job, features = one(ONE, [None] * 3)
    part = candidates(job, features.assign(home=empty), scored(job, features), History())
    assert part.household.tolist() == [[-1, -1, -1]]
    assert (part.most == 1).all() and (part.room == 1).all()


def test_households_of_one_hash_are_refused(monkeypatch):
    job, features = one(ONE, ["a", "b"])
    monkeypatch.setattr("engine.households.KEY_RANGE", 1)
    with pytest.raises(DataError, match="column home: two households have one hash"):
        policies.left(job, features, History())
