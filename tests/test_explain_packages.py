"""Explanations where offers go out together and histories block: against the rules in words."""

from datetime import UTC, datetime
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.actions import actions
from engine.assemble import assemble
from engine.candidates import candidates
from engine.history import History
from engine.limits import MICRO, coefficients, limits, question
from engine.reasons import beside, closed
from engine.session import Session
from engine.solve import Status
from tests.certified import history, job_of, people, scores_of

NOW = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp())
DAY = 86_400
POLICIES = [
    {"name": "pack", "package": ["a", "b"]},
    {"name": "weekly", "at_most": 2, "within": "7d"},
    {"name": "sms_gap", "at_most": 1, "per": "channel", "only": ["sms"], "within": "3d"},
    {"name": "voice_month", "at_most": 1, "per": "category", "only": ["voice"], "within": "30d"},
]
COUNTED = {  # policy -> most, days, whether it counts an action; and whether packages are one
    "weekly": (2, 7, lambda action: True, True),
    "sms_gap": (1, 3, lambda action: action[1] == "sms", True),
    "voice_month": (1, 30, lambda action: action[0] in {"b", "c"}, False),
}


def packed_job():
    """Return a job of three offers on two channels: a and b are a package, b and c of voice."""
    catalogue = job_of().catalogue.model_dump(mode="json")
    b = catalogue["offers"]["b"]
    catalogue["offers"]["c"] = b | {"value": 9, "eligible": None}
    return job_of(policies=POLICIES, catalogue=catalogue, solver={"gap_tolerance": 1e-9})


def contacts_of(sent):
    """Return how many contacts (offer, channel, instant) are: a and b together are one."""
    return len({("pack" if o in {"a", "b"} else o, c, at) for o, c, at in sent})


def broken(bundle, sent):
    """Return the policies that do not allow (offer, channel) pairs after what was sent."""
    found = []
    for name, (most, days, counts, is_packed) in COUNTED.items():
        past = [x for x in sent if counts(x) and NOW - days * DAY < x[2] <= NOW]
        now = [(*x, NOW + 1) for x in bundle if counts(x)]
        size = contacts_of if is_packed else len
        if now and size(past) + size(now) > most:
            found.append(name)
    return found


SENT = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["sms", "app"]),
              st.sampled_from([0, 1, 2, 3, 6, 7, 29, 30]).map(lambda days: NOW - days * DAY)),
    max_size=3, unique=True,
)  # fmt: skip


@settings(max_examples=25)
@given(st.lists(SENT, min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_packages_and_histories_are_explained_as_the_rules_say(sent, seed):
    job, size = packed_job(), len(sent)
    acts = [(action.offer, action.channel) for action in actions(job.catalogue)]
    rng = np.random.default_rng(seed)
    features = people(size, age=rng.choice([10.0, 30.0, 30.0], size))
    propensity = scores_of(job, features)
    for name in propensity.columns[1:]:
        propensity[name] = rng.choice(np.array([0.25, 0.5, 0.75], np.float32), size)
    past = history(*((10 + s, at, o, c) for s, rows in enumerate(sent) for o, c, at in rows))
    placed = assemble(job, [candidates(job, features, propensity, History(past))])
    session = Session(placed.stock.pose(question(job)), names=[f"{o}@{c}" for o, c in acts])
    found = session.solve()
    if found.status == Status.INFEASIBLE:
        return
    value, cost = coefficients(job, "value"), coefficients(job, "cost")
    scope = [limit.actions for limit in limits(job)]
    budget, gold = found.prices
    (order,) = placed.order
    for row, s in enumerate(order.tolist()):
        one = features.iloc[[s]].reset_index(drop=True)
        of_one = past[past["subscriber"] == 10 + s]

        def reasons(block, at, best, one=one, of_one=of_one):
            shut = closed(job, one, History(of_one))[0]
            return [
                x or y for x, y in zip(shut, beside(job, (one, History(of_one)), best), strict=True)
            ]

        told = session.explain(row=row, reasons=reasons)
        able = [a for a, (o, _) in enumerate(acts) if o != "b" or features["age"][s] >= 18]
        p = [float(propensity[f"{o}@{c}"][s]) for o, c in acts]
        surplus = [
            (value[a][0] + value[a][1] * p[a] - budget * (cost[a][0] + cost[a][1] * p[a])) / MICRO
            + gold * (a in scope[1])
            for a in range(len(acts))
        ]
        of = {
            bundle: sum(surplus[a] for a in bundle)
            for n in range(4)
            for bundle in combinations(able, n)
            if len({acts[a][0] for a in bundle}) == n
            and not broken([acts[a] for a in bundle], sent[s])
        }
        near = {"rel": 1e-9, "abs": 1e-9}
        assert told.best_surplus == pytest.approx(max(of.values()), **near)
        assert of[told.best] == pytest.approx(told.best_surplus, **near) and told.chosen in of
        assert told.chosen_surplus == pytest.approx(of[told.chosen], **near)
        rest = [worth for bundle, worth in of.items() if bundle != told.best]
        assert told.margin == pytest.approx(told.best_surplus - max(rest, default=-np.inf), **near)
        for a, action in enumerate(told.actions):
            alone = broken([acts[a]], sent[s])
            assert action.is_open == (a in able and not alone)
            if not action.is_open:
                parts = [] if a in able else [
                    "not valid, not eligible, or no consent or device for the channel"
                ]  # fmt: skip
                parts += [f"policy {', '.join(alone)}"] if alone else []
                assert action.reason == "; ".join(parts)
                assert f"{action.name}: not open ({action.reason})" in told.text()
                continue
            if a in told.best:
                assert action.reason == "" and action.change is None
                continue
            others = [acts[b] for b in told.best]
            if acts[a][0] in {offer for offer, _ in others}:
                assert action.reason == "its offer goes out on another channel"
            else:
                against = broken([*others, acts[a]], sent[s])
                words = f"beside that bundle not by policy {', '.join(against)}"
                assert action.reason == (words if against else "")
            having = max(worth for bundle, worth in of.items() if a in bundle)
            assert action.change.shortfall == pytest.approx(told.best_surplus - having, **near)


def test_two_offers_of_a_package_go_out_in_the_one_contact_that_is_left():
    """One of two contacts a week is used: a and b on one channel still fit, on two they do not."""
    job = packed_job()
    job = job.model_copy(update={"constraints": [], "policies": job.policies[:3]})
    features = people(1)
    past = history((10, NOW - 5 * DAY, "c", "app"))
    placed = assemble(job, [candidates(job, features, scores_of(job, features), History(past))])
    session = Session(placed.stock.pose(question(job)))
    session.solve()
    told = session.explain(
        row=0, reasons=lambda b, r, best: beside(job, (features, History(past)), best)
    )
    names = [f"{x.offer}@{x.channel}" for x in actions(job.catalogue)]
    assert [names[a] for a in told.chosen] == ["a@app", "b@app"] and told.is_best
    by_name = dict(zip(names, told.actions, strict=True))
    assert by_name["a@sms"].reason == by_name["b@sms"].reason
    assert by_name["a@sms"].reason == "its offer goes out on another channel"
    assert by_name["c@sms"].reason == "beside that bundle not by policy weekly"
