"""Who may get what, against the rules said row by row."""

from collections import Counter
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import tables
from engine.actions import actions
from engine.assemble import assemble
from engine.block import KEY_RANGE
from engine.candidates import REASONS, Fit, candidates, scopes
from engine.errors import ConfigError, DataError
from engine.history import History
from engine.settings import parse
from tests import problems

AS_OF, DAY = 1_790_812_800, 86_400  # 2026-10-01T00:00:00Z
CATEGORY = {"data": "boost", "voice": "talk", "old": "boost", "soon": "talk"}
POLICIES = [
    {"name": "two", "at_most": 2},
    {"name": "monthly", "at_most": 3, "within": "30d"},
    {"name": "sms_weekly", "at_most": 1, "per": "channel", "only": ["sms"], "within": "7d"},
    {"name": "each_channel", "at_most": 2, "per": "channel", "within": "1d"},
    {"name": "boost_daily", "at_most": 1, "per": "category", "only": ["boost"], "within": "1d"},
    {"name": "talk_once", "at_most": 1, "per": "category", "only": ["talk"]},
    {"name": "none", "at_most": 0},
    {"name": "few", "at_most": 1, "per": "offers", "only": ["old", "data"], "within": "1d"},
    {"name": "either", "exclusive": ["old", "data", "voice"]},
    {"name": "after", "offer": "voice", "requires": ["data", "old"]},
    {"name": "together", "package": ["data", "voice"]},
    {"name": "pair", "at_least": 2},
    {"name": "weekly_pair", "at_least": 2, "within": "7d"},
    {"name": "welcome", "exactly": 1},
    {"name": "monthly_two", "exactly": 2, "within": "30d"},
]
WINDOW = {"30d": 30 * DAY, "7d": 7 * DAY, "1d": DAY}


def job_of(policies=(), holdout=0.0, constraints=(), weight="weight"):
    content = {
        "name": "tiny",
        "as_of": "2026-10-01T00:00:00Z",
        "inputs": {
            "folder": "data",
            "subscribers": {"path": "s.csv"},
            "contacts": {"path": "c.csv", "categories": ["offer", "channel"]},
        },
        "scores": {"kind": "formula", "formulas": {"data": "0.5"}},
        "holdout_share": holdout,
        "catalogue": {
            "currency": "EUR",
            "weight": weight,
            "channels": {"sms": {"consent": "consent"}, "app": {"device": "has_app"}, "mail": {}},
            "offers": {
                "data": {"category": "boost", "value": 4, "channels": ["sms", "app", "mail"],
                         "eligible": "tenure >= 10"},
                "voice": {"category": "talk", "value": 8, "channels": ["sms", "mail"],
                          "valid_from": "2026-10-01T00:00:00Z"},
                "old": {"category": "boost", "value": 8, "channels": ["mail"],
                        "valid_until": "2026-10-01T00:00:00Z"},
                "soon": {"category": "talk", "value": 8, "channels": ["app"],
                         "valid_from": "2026-10-01T00:00:01Z"},
            },
        },
        "policies": list(policies),
        "constraints": list(constraints),
    }  # fmt: skip
    return parse(yaml.safe_dump(content, sort_keys=False), "tiny.yaml")


ACTIONS = actions(job_of().catalogue)


@st.composite
def people(draw):
    """Features, propensities and a contact history with contacts on every window's edge."""
    rows = draw(st.sampled_from([0, 1, 2, 7]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    keys = rng.permutation(50)[:rows]
    keys = np.array([f"s{k}" for k in keys], object) if draw(st.booleans()) else keys
    dtype = draw(st.sampled_from(["object", "boolean"]))
    features = pd.DataFrame(
        {
            "subscriber": pd.Series(keys, dtype="str" if keys.dtype == object else "int64"),
            "tenure": rng.choice([np.nan, 9.0, 10.0, 11.0], rows),
            "consent": pd.Series(rng.choice([True, False, None], rows), dtype=dtype),
            "has_app": pd.Series(rng.choice([True, True, False, None], rows), dtype=dtype),
            "weight": rng.choice([0.0, 0.5, 1 / 3, 1000.0], rows),
        }
    )
    names = [action.name for action in ACTIONS]
    scores = {n: rng.choice([0.0, 1 / 3, 0.5, 1.0], rows).astype(np.float32) for n in names}
    edges = [AS_OF - w + d for w in WINDOW.values() for d in (-1, 0, 1)] + [AS_OF, AS_OF + 1]
    count = int(rng.integers(0, 3 * rows + 1))
    history = pd.DataFrame(
        {
            "subscriber": features["subscriber"].iloc[rng.integers(0, max(rows, 1), count)]
            if rows else features["subscriber"],
            "time": rng.choice(edges, count).astype(np.int64),
            "offer": rng.choice([*CATEGORY, "retired"], count).astype(object),
            "channel": rng.choice(["sms", "app", "mail", "letter"], count).astype(object),
        }
    )  # fmt: skip
    scored = pd.DataFrame({"subscriber": features["subscriber"]} | scores)
    return features, scored, history.reset_index(drop=True)


def left_of(policy, scope, row, history, packed):
    """Return what the history leaves of a policy's count in one scope.

    A cap holds in every window that the new contact is in, contacts booked for later included.
    """
    within, times, seen = policy.get("within"), [], set()
    for contact in history[history["subscriber"] == row.subscriber].itertuples():
        if packed and "at_most" in policy and policy.get("per", "all") in {"all", "channel"}:
            sent = (contact.time, contact.channel)
            if contact.offer in {"data", "voice"} and sent in seen:
                continue  # one contact with the other offer of the package
            seen |= {sent} if contact.offer in {"data", "voice"} else set()
        times += [contact.time] * (named(policy, contact.offer, contact.channel) == scope)
    wanted = {"at_most", "exactly", "at_least"} & set(policy)
    ends = range(AS_OF, AS_OF + 2) if within and "at_most" in policy else [AS_OF]
    width = WINDOW[within] if within else 0
    used = max(sum(end - width < t <= end for t in times) for end in ends)
    return max(0, policy[wanted.pop()] - used)


def named(policy, offer, channel):
    """Return the scope of a policy that counts an offer on a channel; None: none of them."""
    per = policy.get("per", "all")
    if per == "offers":
        return "" if offer in policy["only"] else None
    return {"all": "", "channel": channel, "category": CATEGORY.get(offer)}[per]


def scope_of(policy, action):
    scope = named(policy, action.offer, action.channel)
    inside = policy.get("per", "all") in {"all", "offers"} or scope in policy.get("only", [scope])
    return scope if inside and "at_most" in policy else None


def yes(value):
    return not pd.isna(value) and bool(value)


def eligible(row, action):
    fits = {"data": row.tenure >= 10, "voice": True, "old": False, "soon": False}[action.offer]
    reach = {"sms": yes(row.consent), "app": yes(row.has_app), "mail": True}[action.channel]
    return fits and reach


def bundles_of(row, policies, history):
    """Return the sets of actions a subscriber may get, by the words of the policies."""
    acts, packed = ACTIONS, any("package" in p for p in policies)
    own = history[history["subscriber"] == row.subscriber]
    left = {
        (i, scope_of(p, a)): left_of(p, scope_of(p, a), row, own, packed)
        for i, p in enumerate(policies) if "at_most" in p for a in acts
    }  # fmt: skip

    def counted(policy, chosen):
        """Return the scopes of a policy, one for each contact or offer that counts."""
        if not packed or policy.get("per", "all") not in {"all", "channel"}:
            return [scope_of(policy, a) for a in chosen]
        contacts = {(a.channel, a.offer in {"data", "voice"} or a.offer): a for a in chosen}
        return [scope_of(policy, a) for a in contacts.values()]

    def is_kept(bundle):
        chosen, offers = [acts[a] for a in bundle], {acts[a].offer for a in bundle}
        if not all(eligible(row, a) for a in chosen) or len(offers) < len(chosen):
            return False
        for p in policies:
            if "exactly" in p and len(chosen) != left_of(p, "", row, own, packed):
                return False
            if "at_least" in p and len(chosen) < left_of(p, "", row, own, packed):
                return False
            if len(offers & set(p.get("exclusive", ()))) > 1:
                return False
            if p.get("offer") in offers and not offers & set(p["requires"]):
                return False
        counts = Counter(
            (i, scope) for i, p in enumerate(policies) if "at_most" in p
            for scope in counted(p, chosen)
        )  # fmt: skip
        return all(key[1] is None or n <= left[key] for key, n in counts.items())

    sizes = range(1, 4)
    found = {b for n in sizes for b in combinations(range(len(acts)), n) if is_kept(b)}
    must = any("exactly" in p and left_of(p, "", row, own, packed) for p in policies)
    return found if must and found else found | {()}


@settings(max_examples=50)
@given(people(), st.lists(st.sampled_from(POLICIES), unique_by=lambda p: p["name"]),
       st.sampled_from([0.0, 0.5]), st.booleans())  # fmt: skip
def test_everybody_may_get_what_the_rules_say(frames, policies, holdout, with_history):
    features, scored, history = frames
    job = job_of(policies, holdout)
    part = candidates(job, features, scored, History(history if with_history else None))
    problem = assemble(job, [part]).problem
    told = history if with_history else history.iloc[:0]
    acts, held = actions(job.catalogue), tables.unit_hash(features["subscriber"], 7) < holdout
    words = {w["key"]: w for w in problems.in_words(problem)}
    keys = tables.bucket(features["subscriber"], KEY_RANGE)
    packed = any("package" in p for p in policies)
    for i, row in enumerate(features.itertuples()):

        def is_forbidden(p, a, row=row):
            scope = "" if "exactly" in p else scope_of(p, a)
            return scope is not None and left_of(p, scope, row, told, packed) == 0

        word = words[int(keys[i])]
        expected = {()} if held[i] else bundles_of(row, policies, told)
        bundles = {
            b for n in range(4) for b in combinations(range(len(acts)), n)
            if problems.is_allowed(problem, word, b)
        }  # fmt: skip
        assert bundles == expected
        if not any({"at_least", "exactly", "requires"} & set(p) for p in policies):
            assert {(a,) for a in word["p"]} == {b for b in expected if len(b) == 1}
        for a, p in word["p"].items():
            assert abs(p - scored[acts[a].name].iloc[i].item()) <= 0.5 / problems.GRID
        assert abs(word["weight"] - row.weight) <= 0.5 / problems.WEIGHT_GRID
        may = [a for a in acts if eligible(row, a)]
        forbids = [p["name"] for p in policies if any(is_forbidden(p, a) for a in may)]
        left = [a for a in may if not any(is_forbidden(p, a) for p in policies)]
        if left and expected == {()}:  # each action has room, but no bundle is allowed
            forbids = [
                p["name"] for p in policies
                if p["name"] in forbids or "at_least" in p or p.get("exactly", 0) > 1
                or p.get("offer") in {a.offer for a in may}
            ]  # fmt: skip
        reason = "open" if expected != {()} else "policy" if may else "not_eligible"
        reason = "hold_out" if held[i] else reason
        assert REASONS[part.reason[i]] == reason
        # The policies in the order of the job, whichever stand in the way of an eligible action.
        assert part.blocked_by[i] == (", ".join(forbids) if reason == "policy" else "")


@settings(max_examples=25)
@given(people(), st.lists(st.sampled_from(POLICIES), unique_by=lambda p: p["name"]),
       st.integers(1, 3))  # fmt: skip
def test_all_actions_are_looked_at_of_few_subscribers_together(frames, own, chunk):
    features, scored, history = frames
    job, widths, whole = job_of(own, 0.2), [], Fit.actions

    def actions_of_some(self, acts):
        found = whole(self, acts)
        widths.append(found.shape[1])
        return found

    found = []
    for size in (chunk, 1 << 16):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Fit, "actions", actions_of_some)
            patch.setattr("engine.policies.CHUNK", size)
            found.append(candidates(job, features, scored, History(history)))
        assert max(widths, default=0) <= size
    one, other = found
    assert one.blocked_by == other.blocked_by
    for name in ("reason", "propensity", "most", "fewest", "cap", "days", "scope", "key", "room"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


SCOPED = [
    {"name": "all", "measure": "contacts", "at_most": 5},
    {"name": "long", "measure": "contacts", "at_most": 5, "where": "tenure >= 10"},
    {"name": "able", "measure": "cost", "at_least": 1, "where": "has_app", "offers": ["data"]},
    {"name": "long_too", "measure": "value", "at_most": 2, "where": "tenure >= 10"},
]


@settings(max_examples=20)
@given(people(), st.integers(1, 3))
def test_groups_are_the_scopes_and_blocks_are_ordered(frames, parts):
    features, scored, history = frames
    job = job_of(constraints=SCOPED)
    found = [
        candidates(job, features.iloc[i::parts], scored.iloc[i::parts], History(history))
        for i in range(parts)
    ]
    matched = [(features["tenure"] >= 10).any(), any(map(yes, features["has_app"]))]
    if len(features) and not all(matched):
        with pytest.raises(ConfigError, match="matches no subscriber"):
            assemble(job, found)
        return
    placed = assemble(job, found)
    problem = placed.problem
    assert scopes(job) == ["tenure >= 10", "has_app"]
    for i, (block, order) in enumerate(zip(problem.blocks, placed.order, strict=True)):
        assert sorted(order.tolist()) == list(range(len(block)))
        pairs = list(zip(block.group.tolist(), block.key.tolist(), strict=True))
        assert pairs == sorted(pairs)
        for s, row in enumerate(features.iloc[i::parts].iloc[order].itertuples()):
            long, able = row.tenure >= 10, yes(row.has_app)
            assert problem.in_scope[:, block.group[s]].tolist() == [True, long, able, long]
            assert block.key[s] == tables.bucket(pd.Series([row.subscriber]), KEY_RANGE)[0]
    assert [row.is_minimum for row in problem.rows] == [False, False, True, False]
    assert problem.limit.tolist() == [5_000_000, 5_000_000, -1_000_000, 2_000_000]
    whole = assemble(job, [candidates(job, features, scored, History(history))]).problem
    assert whole.typical_propensity == problem.typical_propensity
    groups = {w["key"]: w["group"] for w in problems.in_words(whole)}
    assert groups == {w["key"]: w["group"] for w in problems.in_words(problem)}


def one(**columns):
    frame = {"subscriber": [4, 5], "tenure": [12.0, 12.0], "consent": [True, True],
             "has_app": [True, True], "weight": [1.0, 1.0]}  # fmt: skip
    features = pd.DataFrame(frame | columns)
    names = [action.name for action in ACTIONS]
    return features, pd.DataFrame({"subscriber": [4, 5]} | {n: [0.5, 0.5] for n in names})


@pytest.mark.parametrize("wrong", [np.nan, -0.5, 1000.5, np.inf])
def test_weights_out_of_range_are_counted_over_all_partitions(wrong):
    parts = []
    for keys, weight in (([7, 8], [wrong, 2.0]), ([4, 5], [1.0, wrong])):
        features, scored = one(weight=weight)
        features["subscriber"] = scored["subscriber"] = keys
        parts.append(candidates(job_of(), features, scored, History()))
    got = "no value" if np.isnan(wrong) else f"{wrong:g}"
    message = (
        f"catalogue.weight: weight: the weight is wrong for 2 subscribers, got {got} for "
        "subscriber 5; every weight must be a number from 0 to 1000"
    )
    for order in (parts, parts[::-1]):
        with pytest.raises(DataError, match=message):
            assemble(job_of(), order)


def test_weights_too_large_in_sum_are_refused(monkeypatch):
    monkeypatch.setattr("engine.assemble.MOST_WEIGHT", 1)
    job, frames = job_of(), one()
    with pytest.raises(DataError, match="catalogue.weight: sums to 2; at most 1 allowed"):
        assemble(job, [candidates(job, *frames, History())])


def test_as_many_scopes_as_settings_allow_stay_apart():
    limits = [
        {"name": f"c{i}", "measure": "contacts", "at_most": 1, "where": f"tenure >= {i}"}
        for i in range(62)
    ]
    job = job_of(constraints=limits)
    features, scored = one(tenure=[60.5, 100.0])
    problem = assemble(job, [candidates(job, features, scored, History())]).problem
    held = {int(problem.in_scope[:, w["group"]].sum()) for w in problems.in_words(problem)}
    assert held == {61, 62}
