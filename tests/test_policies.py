"""Contact policies of random jobs against their meaning: the solver's side and the certificate."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import certificate, policies, reasons
from engine.candidates import REASONS
from engine.history import History
from engine.limits import MICRO, coefficients
from tests import brute_policies as brute
from tests import certified
from tests.brute_policies import Person
from tests.policy_cases import cases, checked, parsed, profiled, solved_for, told


def named_by(job, person, allowed):
    """Return the policies that stand in the way of each action, in their order.

    Where all that is left open fits in no bundle, those that want offers together do.
    """
    acts = brute.actions(job)
    found = [[p["name"] for p in job["policies"] if brute.blocks(job, p, person, a)] for a in acts]
    is_left = any(
        not names and brute.is_eligible(job, person, a)
        for names, a in zip(found, acts, strict=True)
    )
    is_stuck = is_left and allowed == {()}
    stuck = [
        {p["name"] for p in job["policies"]
         if is_stuck and ("at_least" in p or p.get("exactly", 0) > 1
                          or ("requires" in p and p["offer"] == offer))}
        for offer, *_ in acts
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
    acts, left = brute.actions(mapping), policies.left(job, features, history)
    part, found = solved_for(job, features, history)
    closed = reasons.closed(job, features, history)
    for s, person in enumerate(people):
        for policy in mapping["policies"]:
            alone = [brute.blocks(mapping, policy, person, a) for a in acts]
            assert left.forbids(policy["name"], len(acts))[:, s].tolist() == alone
        allowed = brute.bundles(mapping, person)
        assert {tuple(acts[a] for a in bundle) for bundle in found[s]} == allowed
        check_reasons(mapping, person, allowed, (closed[s], part.reason[s], part.blocked_by[s]))


def check_reasons(job, person, allowed, told_of):
    """Compare why each action is closed, why nothing is open, and by which policies."""
    acts, (closed, reason, blocked_by) = brute.actions(job), told_of
    may = [brute.is_eligible(job, person, a) for a in acts]
    names = named_by(job, person, allowed)
    expected = [
        "; ".join(["not valid, not eligible, or no consent or device for the channel"]
                  * (not is_fit) + [f"policy {', '.join(own)}"] * bool(own))
        for is_fit, own in zip(may, names, strict=True)
    ]  # fmt: skip
    assert closed == expected
    is_open = any(not text for text in expected)
    assert REASONS[reason] == ("open" if is_open else "policy" if any(may) else "not_eligible")
    blocking = {n for is_fit, own in zip(may, names, strict=True) if is_fit for n in own}
    blockers = [p["name"] for p in job["policies"] if p["name"] in blocking and not is_open]
    assert blocked_by == ", ".join(blockers)


@settings(max_examples=40)
@given(st.one_of(cases(most=2), cases(most=1, days=3)))
def test_the_certificate_finds_what_the_policies_do_not_mean(case):
    """Everyone is there once for every bundle, and gets it."""
    mapping, people = case
    job, tried = parsed(mapping), brute.tried(mapping)
    allowed = [brute.bundles(mapping, person) for person in people for _ in tried]
    check, propensity = checked(mapping, people)
    wrong = {row for row, own in enumerate(allowed) if tried[row % len(tried)] not in own}
    assert {violation.subscriber for violation in check.violations} == wrong
    assert not set(certified.kinds(check)) - {"closed", "duplicate", "policy"}
    found = certificate.certify(job, [check], {"value": 0.0, "bound": 0.0, "uses": []})
    best = sum(best_of(job, mapping, *one) for one in zip(allowed, propensity, strict=True))
    assert best <= found["bound"] <= best + found["allowance"]


def best_of(job, mapping, allowed, propensity):
    """Return the most money of a bundle: in quarters, so exactly."""
    value = dict(zip(brute.actions(mapping), coefficients(job, "value"), strict=True))
    worth = {
        a: (fixed + accept * propensity[f"{a.offer}@{a.channel}"]) / MICRO
        for a, (fixed, accept) in value.items()
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
            found = policies.left(job, profiled(taken, keys), shuffled)
            same_bits(found, whole, own, len(brute.actions(mapping)))


def same_bits(found, whole, rows, acts):
    assert list(found.closed) == list(whole.closed)
    for name in found.closed:
        forbidden = whole.forbids(name, acts)[:, rows]
        assert np.array_equal(found.forbids(name, acts), forbidden)
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
    found = policies.left(job, features, History())
    same_bits(found, empty, np.arange(len(people)), len(brute.actions(mapping)))
