"""The certificate's reading of policies over households, against their plain meaning."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import certificate
from engine.errors import DataError
from engine.history import History
from engine.limits import MICRO, coefficients
from tests import brute_policies as brute
from tests import certified
from tests.certified import job_of, people, scores_of, truth
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
