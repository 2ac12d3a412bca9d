"""What policies cost against enumeration: every bundle of a job with one policy relaxed."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from engine import contact_counts, policy_sets
from engine.actions import actions, actions_of
from engine.candidates import candidates
from engine.history import History
from engine.plan_rules import rules
from engine.policy_market import Market, Partition
from engine.policy_prices import added, costs, shown
from engine.policy_relaxed import GRID
from engine.policy_sets import merged
from engine.reasons import closed
from kernels.choose import MUST
from tests.certified import job_of

AS_OF, DAY = 1_790_812_800, 86_400  # 2026-10-01T00:00:00Z
OFFERS = {
    "a": {"category": "data", "value": 4, "cost": 1, "channels": ["sms", "app"]},
    "b": {"category": "voice", "value": 8, "cost": 2, "channels": ["sms", "app"]},
    "c": {"category": "data", "value": 3, "channels": ["app"], "purpose": "service"},
    "d": {"category": "other", "value": 2, "cost": 1, "channels": ["sms"], "eligible": "age > 20"},
}
POLICIES = [
    {"name": "one", "at_most": 1},
    {"name": "two", "at_most": 2},
    {"name": "none", "at_most": 0, "per": "category", "only": ["voice"]},
    {"name": "largest", "at_most": 255},
    {"name": "channels", "at_most": 1, "per": "channel"},
    {"name": "sms_weekly", "at_most": 1, "per": "channel", "only": ["sms"], "within": "7d"},
    {"name": "monthly", "at_most": 2, "each": "month"},
    {"name": "few", "at_most": 1, "per": "offers", "only": ["a", "b"], "within": "3d"},
    {"name": "apart", "spacing": "2d", "exempt": ["service"]},
    {"name": "either", "exclusive": ["a", "c"]},
    {"name": "or_else", "exclusive": ["b", "c", "d"], "within": "5d"},
    {"name": "with", "offer": "b", "requires": ["a", "d"]},
    {"name": "beside", "offer": "c", "requires": ["b"]},
    {"name": "pair", "at_least": 2},
    {"name": "welcome", "exactly": 1},
    {"name": "both", "exactly": 2, "within": "2d"},
    {"name": "later", "offer": "a", "not_after": ["b"], "within": "4d"},
    {"name": "answered", "offer": "d", "only_after": ["a"]},
    {"name": "rest", "cool_down": "10d"},
    {"name": "night", "quiet": "23:00-01:00", "per": "channel", "only": ["sms"]},
    {"name": "holiday", "blackout": ["2026-10-01"], "per": "offer", "only": ["b"]},
    {"name": "old", "suppress": "age > 60"},
    {"name": "letter", "package": ["a", "b"]},
]


def drawn(seed, people=9, days=1):
    """Return a job with some of the policies, its frames and what each row is in the problem."""
    rng = np.random.default_rng(seed)
    some = [p for p in POLICIES if rng.random() < 0.25 and (days == 1 or "package" not in p)]
    table = {"path": "x/*.parquet", "categories": ["offer", "channel"]}
    inputs = {"folder": "data", "subscribers": {"path": "s/*.parquet"}, "contacts": table,
              "outcomes": table}  # fmt: skip
    catalogue = {
        "currency": "EUR",
        "channels": {"sms": {"unit_cost": 0.25}, "app": {"device": "has_app"}},
        "offers": OFFERS,
    }
    job = job_of(
        policies=some,
        inputs=inputs,
        catalogue=catalogue,
        holdout_share=0.1,
        constraints=[],
        horizon={"days": days},
    )
    acts = actions_of(job)
    features = pd.DataFrame({
        "subscriber": rng.permutation(50)[:people], "age": rng.choice([10.0, 30.0, 70.0], people),
        "has_app": rng.random(people) < 0.8,
    })  # fmt: skip
    scores = {a.name: rng.choice([0.25, 0.5, 1.0], people).astype(np.float32) for a in acts}
    propensity = pd.DataFrame({"subscriber": features["subscriber"]} | scores)

    def events(count):
        frame = pd.DataFrame({
            "subscriber": features["subscriber"].to_numpy()[rng.integers(0, people, count)],
            "time": AS_OF - DAY * rng.integers(-1, 9, count),
            "offer": rng.choice([*OFFERS, "gone"], count),
            "channel": rng.choice(["sms", "app"], count),
        })  # fmt: skip
        return frame.astype({"offer": "str", "channel": "str"})

    frames = features, propensity, History(events(people), events(people // 2))
    group = rng.integers(0, 2, people).astype(np.int32)
    weight = rng.choice([0.5, 1.0, 2.0], people).astype(np.float32)
    market = Market(*(rng.choice([0.0, 0.5, 1.0, 2.0], (2, len(acts))) for _ in range(3)))
    return job, frames, group, weight, market


def eligible_days(found, own):
    """Return [A, S] whether a pair that is open on some day is open on the action's."""
    actions = len(own.contact)
    if own.day_class is None:
        return np.ones((actions, found.propensity.shape[1]), bool)
    bits = found.days[own.day_class].repeat(own.days, axis=0)
    return bits >> (np.arange(actions) % own.days)[:, None].astype(np.uint16) & 1 == 1


def best_by_enumeration(job, drawn_):
    """Return [S] the surplus of the best bundle of a job's policies, every bundle tried."""
    _, (features, propensity, history), group, weight, market = drawn_
    found, own = candidates(job, features, propensity, history), rules(job)
    acts, names = actions_of(job), list(job.catalogue.offers)
    open_days = eligible_days(found, own)
    offer = np.array([names.index(a.offer) for a in acts], np.int32)
    best = []
    for s in range(len(features)):
        w, g = float(weight[s]), group[s]
        p = np.where(open_days[:, s], found.propensity[:, s].repeat(own.days), np.nan).astype(float)
        surplus = (w * market.value[0] - market.price_fixed[g]) + (
            w * market.value[1] - market.price_accept[g]
        ) * p
        open_ = np.flatnonzero(~np.isnan(p)).tolist()
        sizes = int(found.most[s]), int(found.fewest[s]), found.cap[:, s]
        worth = [
            sum(surplus[list(bundle)])
            for n in range(1, len(names) + 1)
            for bundle in combinations(open_, n)
            if own.allows(bundle, offer, *sizes)
        ]
        is_must = sizes[1] >= MUST and worth
        best.append(max(worth if is_must else [0.0, *worth]))
    return np.array(best)


def without(job, policy):
    """Return the job with a policy relaxed by one contact."""
    others = [
        own.model_copy(update={"at_most": own.at_most + 1}) if own is policy else own
        for own in job.policies
        if own is not policy or (own.at_most is not None and own.at_most < 255)
    ]
    return job.model_copy(update={"policies": others})


@pytest.mark.parametrize(
    "case", [(seed, 9, 1) for seed in range(60)] + [(seed, 3, 2) for seed in range(100, 130)]
)
def test_a_price_is_what_enumeration_gains(case):
    asked = job, frames, group, weight, market = drawn(*case)
    found, _ = costs(Partition.of(job, frames, group, weight), market)
    before = best_by_enumeration(job, asked)
    priced = [policy for policy in job.policies if not policy.package]
    assert [cost.policy for cost in found] == [policy.name for policy in priced]
    for policy, cost in zip(priced, found, strict=True):
        gain = best_by_enumeration(without(job, policy), asked) - before
        assert cost.gain == np.rint(gain * GRID).sum(), policy
        assert cost.gaining == (gain > 0).sum()


@pytest.mark.parametrize("seed", range(60, 90))
def test_every_policy_that_blocks_a_pair_is_counted(seed):
    job, frames, group, weight, market = drawn(seed)
    features, propensity, history = frames
    partition = Partition.of(job, frames, group, weight)
    found, sets = costs(partition, market)
    reasons, acts = closed(job, features, history), actions(job.catalogue)
    blocked = {}
    for s, told in enumerate(reasons):
        for a, text in enumerate(told):
            if text.startswith("policy "):
                blocked[s, a] = tuple(text.removeprefix("policy ").split(", "))
    w, p = weight.astype(float), np.array([propensity[a.name] for a in acts], float)
    expected = {}
    for (s, a), names in blocked.items():
        worth = w[s] * market.value[0, a] - market.price_fixed[group[s], a]
        worth += (w[s] * market.value[1, a] - market.price_accept[group[s], a]) * p[a, s]
        n, some, units = expected.get((a, names), (0, 0, 0))
        expected[a, names] = n + 1, some + (worth > 0), units + int(np.rint(max(worth, 0) * GRID))
    assert sets == expected
    for cost in found:
        own = {pair: names for pair, names in blocked.items() if cost.policy in names}
        assert cost.pairs == len(own)
        assert cost.alone == sum(len(names) == 1 for names in own.values())
        stands = {s for s, _ in own}
        assert len(stands) <= cost.subscribers <= len(stands) + cost.gaining
    table = policy_sets.table(sets, acts, GRID)
    assert int(table["subscribers"].sum()) == len(blocked)
    assert table["worthwhile"].sum() == sum(some for _, some, _ in expected.values())


@pytest.mark.parametrize("cut", [0, 1, 4, 9])
def test_partitions_do_not_matter(cut):
    job, frames, group, weight, market = drawn(3)
    chosen = np.full((2, len(group)), -1, np.int16)
    chosen[0, ::2], chosen[1, ::4] = 0, 2

    def told(rows):
        features, propensity, history = frames
        own = features.iloc[rows].reset_index(drop=True)
        kept = [f[f["subscriber"].isin(own["subscriber"])] for f in vars(history).values()]
        part = own, propensity.iloc[rows].reset_index(drop=True), History(*kept)
        partition = Partition.of(job, part, group[rows], weight[rows])
        counts = contact_counts.contacts(partition.past, part[2], chosen[:, rows])
        return *costs(partition, market), counts

    whole = told(np.arange(9))
    parts = [told(np.arange(cut)), told(np.arange(cut, 9))]
    assert added([own[0] for own in parts]) == whole[0]
    assert merged([own[1] for own in parts]) == whole[1]
    assert contact_counts.merged([own[2] for own in parts]) == whole[2]


def test_without_prices_nobody_gains():
    job, frames, group, weight, _ = drawn(5)
    found, sets = costs(Partition.of(job, frames, group, weight), None)
    told = list(shown(job, found, has_prices=False))
    assert all(row["gain"] is None and row["gaining"] is None for row in told)
    assert policy_sets.table(sets, actions(job.catalogue), None)["surplus"].isna().all()


def test_many_sets_of_policies_are_told_apart(monkeypatch):
    job, frames, group, weight, market = drawn(7)
    job = job.model_copy(update={"policies": [p for p in job.policies if not p.package]})
    partition = Partition.of(job, frames, group, weight)
    whole = costs(partition, market)
    monkeypatch.setattr(policy_sets, "MOST_SETS", 1)
    assert costs(partition, market) == whole
