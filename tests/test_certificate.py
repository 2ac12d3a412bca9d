"""The certificate: planted faults are caught and named, by code that the solver does not share."""

import ast
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engine import tables
from engine.certificate import CLAIM_TOLERANCE, certify, check_partition
from engine.errors import DataError
from engine.history import History
from tests.certified import (
    GOOD,
    allocation,
    checked,
    history,
    job_of,
    kinds,
    people,
    scores_of,
    truth,
)

AS_OF = 1_790_812_800  # 2026-10-01T00:00:00Z
DAY = 86_400
FORBIDDEN = {
    "engine.problem", "engine.zoom", "engine.prices", "engine.rounding", "engine.integers",
    "engine.candidates", "engine.assemble", "engine.levels", "engine.solve", "engine.pose",
    "engine.goals", "engine.quotient", "engine.policies", "engine.policy_groups",
    "engine.history_counts", "engine.rules", "engine.household_rules", "engine.households",
    "engine.block", "engine.history_events", "kernels.choose", "kernels.contact_windows",
}  # fmt: skip


def test_an_honest_allocation_is_certified():
    job = job_of()
    found = truth(job, checked(job))
    # value: a@sms 1.5 - 0.25, b@app 3, b@sms 3 - 0.25, a@app 1.5; cost 0.5 or 1 and 0.25 on sms
    assert found["value"] == 8.5
    assert [row["use"] for row in found["constraints"]] == [3.5, 4.0]
    assert found["constraints"][0]["overrun"] == 0.5
    assert not found["certified"] and found["agrees"]
    found = truth(job, checked(job, chosen=GOOD[:3]))
    assert found["certified"] and found["agrees"] and found["violations"] == []
    assert found["value"] == 7.0
    assert found["constraints"][0] == {
        "name": "budget", "measure": "cost", "unit": "EUR", "is_minimum": False,
        "use": 3.0, "limit": 3.0, "overrun": 0.0, "price": 0.5,
    }  # fmt: skip
    # At these prices each takes a@app and b@app, worth 4.5, less 0.75 for cost, and 0.5 as gold.
    assert found["bound"] == pytest.approx(0.5 * 3 - 0.25 + 4 * 4.25, abs=2 * found["allowance"])
    assert found["gap"] == pytest.approx((found["bound"] - 7) / found["bound"], rel=1e-12)
    assert 0 < found["allowance"] < 1e-6


def test_an_overrun_is_named_however_small():
    job = job_of(constraints=[{"name": "budget", "measure": "cost", "at_most": 2.999999}])
    found = truth(job, checked(job, chosen=GOOD[:3], prices=[0.5]))
    assert not found["certified"]
    assert found["constraints"][0]["overrun"] == 1e-6
    (violation,) = found["violations"]
    assert violation["kind"] == "limit" and violation["text"].startswith("budget: 3.0 EUR is 1e-06")


def test_a_missed_minimum_is_named():
    job = job_of()
    features = people(gold=[False, False, False, True])
    found = truth(job, checked(job, features, GOOD[:3]))
    (violation,) = found["violations"]
    assert violation["text"] == "gold: 0.0 contacts is 1.0 below its minimum 1.0"


def test_a_duplicated_contact_is_caught():
    job = job_of(policies=[])
    (violation,) = checked(job, chosen=[(0, "b", "sms"), (0, "b", "app")]).violations
    assert (violation.kind, violation.subscriber) == ("duplicate", 10)
    twice = checked(job, chosen=[(0, "b", "sms")] * 2)
    assert kinds(twice) == ["duplicate"]
    assert twice.counts == {"duplicate": 1}


def test_a_contact_of_the_hold_out_is_caught():
    job = job_of(holdout_share=0.5)
    features = people(40)
    drawn = tables.unit_hash(features["subscriber"], job.seed) < 0.5
    inside, outside = int(np.argmax(drawn)), int(np.argmin(drawn))
    check = checked(job, features, [(inside, "a", "app"), (outside, "a", "app")])
    (violation,) = check.violations
    assert violation.kind == "hold_out"
    assert violation.subscriber == features["subscriber"][inside]


def test_the_hold_out_adds_nothing_to_the_bound():
    job = job_of(holdout_share=0.5)
    features = people(40)
    drawn = tables.unit_hash(features["subscriber"], job.seed) < 0.5
    everyone = checked(job, features, []).surplus
    rest = features[~drawn].reset_index(drop=True)
    assert everyone == checked(job, rest, []).surplus > 0


@pytest.mark.parametrize(
    ("columns", "chosen", "reason"),
    [
        ({"age": [17.0, 30, 30, 30]}, (0, "b", "app"), "not eligible for b"),
        ({"age": [math.nan, 30, 30, 30]}, (0, "b", "app"), "not eligible for b"),
        ({"consent": [False, True, True, True]}, (0, "a", "sms"), "consent consent is not true"),
        ({"consent": [None, True, True, True]}, (0, "a", "sms"), "consent consent is not true"),
        ({"has_app": [False, True, True, True]}, (0, "a", "app"), "device has_app is not true"),
    ],
)
def test_a_closed_pair_is_caught_with_its_reason(columns, chosen, reason):
    if chosen[2] == "sms":  # without the app, so that sms is their best
        columns = columns | {"has_app": [False, True, True, True]}
    job, before = job_of(), people(has_app=columns.get("has_app", [True] * 4))
    before = people() if "device" in reason else before
    columns = {n: pd.array(c, "boolean") if n == "consent" else c for n, c in columns.items()}
    check = checked(job, people(**columns), [chosen])
    (violation,) = check.violations
    assert (violation.kind, violation.subscriber) == ("closed", 10)
    assert violation.text == f"{chosen[1]} on {chosen[2]} is closed: {reason}"
    assert check.surplus < checked(job, before, [chosen]).surplus


@pytest.mark.parametrize(
    ("validity", "reason"),
    [
        ({"valid_from": "2026-10-01T00:00:01Z"}, "a is not valid yet"),
        ({"valid_until": "2026-10-01"}, "a is no longer valid"),
        ({"valid_from": "2026-10-01", "valid_until": "2026-10-01T00:00:01Z"}, None),
    ],
)
def test_an_offer_outside_its_validity_is_closed(validity, reason):
    catalogue = job_of().catalogue.model_dump(mode="json")
    catalogue["offers"]["a"] |= validity
    found = [v.text for v in checked(job_of(catalogue=catalogue), chosen=GOOD[3:]).violations]
    assert found == ([f"a on app is closed: {reason}"] if reason else [])


@pytest.mark.parametrize(
    ("time", "caught"),
    [(AS_OF, True), (AS_OF - 7 * DAY + 1, True), (AS_OF - 7 * DAY, False)],
)
def test_a_cap_broken_through_history_is_named(time, caught):
    job = job_of()
    features = people(has_app=[True, False, True, True])
    contacts = history((11, time, "gone", "sms"))
    check = checked(job, features, GOOD[:3], contacts=contacts)
    texts = [(v.kind, v.subscriber, v.text) for v in check.violations]
    text = "policy sms_weekly sms leaves 0, got 1 contacts"
    assert texts == ([("policy", 11, text)] if caught else [])
    # Without sms and the app nothing is left for the bound either.
    assert (check.surplus < checked(job, features, GOOD[:3]).surplus) == caught


def test_a_history_above_its_cap_leaves_nothing():
    job = job_of(policies=[{"name": "weekly", "at_most": 1, "within": "7d"}])
    contacts = history(*[(10, AS_OF - n, "a", "sms") for n in range(3)])
    check = checked(job, chosen=GOOD[3:], contacts=contacts)
    assert check.violations == () and check.choices == 3
    (violation,) = checked(job, chosen=[(0, "a", "app")], contacts=contacts).violations
    assert violation.text == "policy weekly leaves 0, got 1 contacts"


BOTH = ((0, "a", "sms"), (0, "b", "sms"))


@pytest.mark.parametrize(
    ("policy", "chosen", "texts"),
    [
        ({"at_most": 1, "per": "offers", "only": ["a", "b"]}, BOTH,
         ["policy p leaves 1, got 2 contacts"]),
        ({"at_most": 1, "per": "offers", "only": ["a"]}, BOTH, []),
        ({"exclusive": ["a", "b"]}, BOTH, ["policy p excludes a and b together"]),
        ({"exclusive": ["a", "b"]}, BOTH[:1], []),
        ({"offer": "b", "requires": ["a"]}, BOTH[1:], ["policy p wants a beside b, got none"]),
        ({"offer": "b", "requires": ["a"]}, BOTH, []),
        ({"at_least": 2}, BOTH[:1], ["policy p asks for none or at least 2, got 1 offers"]),
        ({"at_least": 2}, BOTH, []),
        ({"at_least": 2}, (), []),
        ({"exactly": 2}, BOTH, []),
        ({"exactly": 1}, BOTH, ["policy p leaves 1, got 2 contacts"]),
        ({"exactly": 1}, (), ["policy p asks for exactly 1, got 0 offers"]),
    ],
)  # fmt: skip
def test_a_broken_policy_is_named(policy, chosen, texts):
    check = checked(job_of(policies=[{"name": "p"} | policy]), people(1), chosen)
    assert [(v.kind, v.subscriber, v.text) for v in check.violations] == [
        ("policy", 10, text) for text in texts
    ]


def test_a_package_on_one_channel_is_one_contact_in_history_too():
    policies = [{"name": "pack", "package": ["a", "b"]},
                {"name": "one", "at_most": 1},
                {"name": "sms", "at_most": 1, "per": "channel", "only": ["sms"]},
                {"name": "weekly", "at_most": 2, "within": "7d"},
                {"name": "each", "at_most": 1, "per": "category"}]  # fmt: skip
    job = job_of(policies=policies)
    at = AS_OF - DAY
    sent = history((10, at, "a", "sms"), (10, at, "b", "sms"))
    assert checked(job, people(1), BOTH, contacts=sent).violations == ()
    twice = history((10, at, "a", "sms"), (10, at, "b", "app"))
    (violation,) = checked(job, people(1), BOTH, contacts=twice).violations
    assert violation.text == "policy weekly leaves 0, got 1 contacts"
    apart = checked(job, people(1), [(0, "a", "sms"), (0, "b", "app")])
    assert [v.text for v in apart.violations] == ["policy one leaves 1, got 2 contacts"]


def test_who_can_have_nothing_is_exempt_and_counted():
    job = job_of(policies=[{"name": "one", "exactly": 1}, {"name": "old", "at_most": 0}],
                 constraints=[], holdout_share=0.2)  # fmt: skip
    features = people(50, age=np.where(np.arange(50) % 2, 30.0, 10.0))
    held = tables.unit_hash(features["subscriber"], job.seed) < 0.2
    assert checked(job, features, [], prices=[]).exempt == 50 - held.sum() < 50
    job = job_of(policies=[{"name": "one", "exactly": 1}], constraints=[], holdout_share=0.2)
    none = features.assign(consent=features["age"] > 20, has_app=features["age"] > 20)
    check = checked(job, none, [], prices=[])
    young = none["age"].to_numpy() < 20
    assert check.exempt == (young & ~held).sum()
    assert check.counts == {"policy": (~young & ~held).sum()}
    assert truth(job, check)["exempt"] == check.exempt


def test_history_counts_by_the_offers_category_of_today():
    job = job_of(policies=[
        {"name": "monthly", "at_most": 2, "within": "30d"},
        {"name": "category", "at_most": 1, "per": "category", "within": "30d"},
    ])  # fmt: skip
    at = AS_OF - DAY
    chosen = [(0, "a", "app"), (1, "a", "app"), (2, "b", "app"), (3, "a", "sms"), (3, "b", "app")]
    contacts = history(
        (10, at, "a", "sms"), (11, at, "gone", "sms"), (11, at, "gone", "fax"),
        (12, at, "a", "sms"), (13, at, "gone", "fax"),
    )  # fmt: skip
    found = {
        (v.subscriber, v.text) for v in checked(job, chosen=chosen, contacts=contacts).violations
    }
    assert found == {
        (10, "policy category data leaves 0, got 1 contacts"),
        (11, "policy monthly leaves 0, got 1 contacts"),
        (13, "policy monthly leaves 1, got 2 contacts"),
    }


def test_unknown_subscribers_offers_and_channels_are_caught():
    job = job_of()

    def change(frame):
        return frame.assign(
            subscriber=[99, 11, 12], offer=["a", "z", "a"], channel=["sms", "sms", "fax"]
        )

    check = checked(job, chosen=GOOD[:3], change=change)
    assert [(v.subscriber, v.text) for v in check.violations] == [
        (11, "no such action: z on sms"),
        (12, "no such action: a on fax"),
        (99, "unknown subscriber: a on sms"),
    ]
    assert check.value == 0 and check.uses == (0, 0)


@pytest.mark.parametrize("column", ["value", "cost", "propensity"])
@pytest.mark.parametrize("error", [1e-5, -1e-5, math.nan])
def test_a_falsified_number_is_caught(column, error):
    def change(frame):
        frame.loc[1, column] += error
        return frame

    check = checked(job_of(), chosen=GOOD[:3], change=change)
    (violation,) = check.violations
    assert (violation.kind, violation.subscriber) == ("written", 10)
    assert violation.text.startswith(f"b on app: {column} ")


@pytest.mark.parametrize("what", ["value", "bound", "uses"])
@pytest.mark.parametrize("factor", [1 + 1e-6, 1 - 1e-6, math.nan])
def test_a_false_claim_is_caught(what, factor):
    job = job_of()
    check = checked(job, chosen=GOOD[:3])
    claims = dict(truth(job, check)["claimed"])
    claim = claims[what]
    claims[what] = [claim[0], claim[1] * factor] if what == "uses" else claim * factor
    found = certify(job, [check], claims)
    assert not found["certified"] and not found["agrees"]
    (violation,) = found["violations"]
    assert violation["kind"] == "claim"
    assert "the solver claims" in violation["text"] and "the certificate finds" in violation["text"]


def test_claims_within_the_tolerance_agree():
    job = job_of()
    check = checked(job, chosen=GOOD[:3])
    claims = dict(truth(job, check)["claimed"])
    claims["bound"] *= 1 - CLAIM_TOLERANCE / 2
    assert certify(job, [check], claims)["certified"]
    claims["uses"] = claims["uses"][:1]
    assert not certify(job, [check], claims)["certified"]


def test_many_violations_are_counted_and_the_first_shown():
    job = job_of()
    features = people(50, age=[10.0] * 50)
    check = checked(job, features, [(row, "b", "app") for row in range(50)])
    assert check.counts == {"closed": 50}
    assert [v.subscriber for v in check.violations] == list(range(10, 30))
    found = truth(job, check)
    assert found["policy_violations"] == 50 and len(found["violations"]) == 20
    assert found["violation_count"] == 51  # and the budget


@pytest.mark.parametrize("weight", [-0.1, 1000.1, math.nan, math.inf])
def test_a_wrong_weight_is_refused(weight):
    with pytest.raises(DataError, match=r"catalogue.weight: .* 1 subscribers, got .* for 11; "):
        checked(job_of(), people(weight=[1.0, weight, 1, 1]), [])


def test_frames_that_do_not_fit_are_refused():
    job, features = job_of(), people()
    propensity, none = scores_of(job, features), allocation(job, features, None, [])
    rest = {"history": History(history()), "allocations": none, "prices": [0.0, 0.0]}
    with pytest.raises(DataError, match="propensity: its subscribers"):
        check_partition(job, features, propensity[::-1], **rest)
    with pytest.raises(DataError, match="propensity: no column a@app, b@app"):
        check_partition(job, features, propensity.drop(columns=["a@app", "b@app"]), **rest)
    with pytest.raises(DataError, match=r"propensity: column b@sms .* not in \[0, 1\]"):
        check_partition(job, features, propensity.assign(**{"b@sms": np.float32(1.5)}), **rest)
    with pytest.raises(DataError, match="subscriber 10 is there twice"):
        check_partition(job, pd.concat([features, features]), propensity, **rest)
    with pytest.raises(DataError, match="contacts: missing, but policy sms_weekly counts 7d"):
        check_partition(job, features, propensity, **rest | {"history": History()})
    with pytest.raises(DataError, match="contacts: subscriber 77 is not in this partition"):
        stranger = history((77, AS_OF, "a", "sms"))
        check_partition(job, features, propensity, **rest | {"history": History(stranger)})
    with pytest.raises(DataError, match="sms.consent: no column consent"):
        check_partition(job, features.drop(columns="consent"), propensity, **rest)
    for prices in ([0.0], [0.0, -1e-9], [0.0, math.nan], [math.inf, 0.0]):
        with pytest.raises(ValueError, match="prices"):
            check_partition(job, features, propensity, **rest | {"prices": prices})


# ── Independence ────────────────────────────────────────────────────────────────────────────────


def source(module):
    """Return the file of one of the project's modules; None: it is no module of ours."""
    place = Path(__file__).parent.parent / module.replace(".", "/")
    files = (place.with_suffix(".py"), place / "__init__.py")
    return next((file for file in files if file.exists()), None)


def imported(module):
    """Return the project's modules whose code a module uses.

    ``from package import module`` uses the module, not what the package also offers.
    """
    for node in ast.walk(ast.parse(source(module).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if source(alias.name))
        elif isinstance(node, ast.ImportFrom) and source(node.module):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if source(inner) else node.module


def test_the_certificate_shares_no_code_with_the_solver():
    waiting, seen = ["engine.certificate"], set()
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += imported(module)
    assert {"engine.limits", "engine.tables", "engine.certificate_bound"} <= seen  # it does walk
    assert not seen & FORBIDDEN
    assert {name for name in seen if name.startswith("kernels")} == {"kernels.backend"}
