"""The certificate of ratios, soft limits, equations, measured constraints and other aims."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.actions import actions
from engine.certificate import certify, check_partition
from engine.history import History
from engine.limits import MICRO, Aim, Limit, Question, coefficients, limits, question
from tests.certified import GOOD, allocation, history, job_of, kinds, people, scores_of
from tests.test_certificate_bound import bundles, instances, numbers

RATIO = {"of": "cost", "to": "acceptances"}


def found_by(job, chosen=GOOD, *, features=None, prices=None, asked=None, claims=None):
    """Certify some contacts with honest claims, or those given."""
    features = people() if features is None else features
    propensity = scores_of(job, features)
    asked = asked or question(job)
    check = check_partition(
        job, features, propensity, history=History(history()), asked=asked,
        allocations=allocation(job, features, propensity, chosen),
        prices=prices or [0.0] * len(asked.limits),
    )  # fmt: skip
    assert kinds(check) == []
    none = {"value": 0.0, "bound": 0.0, "uses": [0.0] * len(asked.limits)}
    first = certify(job, [check], none, asked)
    honest = {
        "value": first["value"],
        "bound": first["bound"],
        "uses": [row.get("form", row["use"]) for row in first["constraints"]],
    }
    return certify(job, [check], honest | (claims or {}), asked)


def test_a_ratio_is_stated_with_what_it_is_made_of():
    # Cost: a 0.5, b 1 an expected acceptance of p = 0.5, and 0.25 on sms: 3.5 for 2 acceptances.
    rule = {"name": "cpa", "ratio": RATIO, "at_most": 1.75}
    found = found_by(job_of(constraints=[rule]))
    assert found["certified"] and found["agrees"]
    assert found["constraints"] == [{
        "name": "cpa", "measure": "cost", "unit": "EUR", "is_minimum": False, "use": 1.75,
        "numerator": 3.5, "denominator": 2.0, "per": "acceptances", "limit": 1.75, "overrun": 0.0,
        "price": 0.0, "form": 0.0, "scale": 1,
    }]  # fmt: skip


@pytest.mark.parametrize(
    ("bound", "limit", "over"),
    [("at_most", 1.749999, 2e-6), ("at_least", 1.750001, 2e-6), ("at_least", 1.75, 0.0)],
)
def test_a_ratio_is_checked_to_the_last_unit_of_its_form(bound, limit, over):
    found = found_by(job_of(constraints=[{"name": "cpa", "ratio": RATIO, bound: limit}]))
    assert found["certified"] == (over == 0) and found["constraints"][0]["overrun"] == over
    if over:
        (violation,) = found["violations"]
        side = "above its limit" if bound == "at_most" else "below its minimum"
        assert violation["text"] == (f"cpa: 3.5 EUR by 2.0 is {side} {limit}, the form by {over}")


@pytest.mark.parametrize(("bound", "holds"), [("at_most", False), ("at_least", True)])
def test_the_rule_of_an_empty_denominator(bound, holds):
    """Contacts on sms by contacts on the app, of which there are none."""
    ratio = {"of": {"measure": "contacts", "channels": ["sms"]},
             "to": {"measure": "contacts", "channels": ["app"]}}  # fmt: skip
    job = job_of(constraints=[{"name": "mix", "ratio": ratio, bound: 0.5}])
    found = found_by(job, [(0, "a", "sms")])
    assert (found["certified"], found["constraints"][0]["use"]) == (holds, None)
    nobody = found_by(job, [])
    assert nobody["certified"] and nobody["constraints"][0]["use"] is None


def test_scopes_of_numerator_and_denominator():
    ratio = {"of": {"measure": "contacts", "offers": ["b"], "where": "gold"}, "to": "contacts"}
    rules = [{"name": "mix", "ratio": ratio, "at_most": 0.5},
             {"name": "adults", "ratio": ratio, "where": "age >= 40", "at_most": 1}]  # fmt: skip
    features = people(gold=[True, False, True, True], age=[50.0, 50.0, 30.0, 30.0])
    mix, adults = found_by(job_of(constraints=rules), features=features)["constraints"]
    assert (mix["numerator"], mix["denominator"], mix["use"]) == (1, 4, 0.25)
    assert (adults["numerator"], adults["denominator"]) == (1, 3)


def test_a_soft_limit_is_passed_at_its_penalty_and_the_value_is_net_of_it():
    rule = {"name": "budget", "measure": "cost", "at_most": 3, "penalty": 2.5}
    found = found_by(job_of(constraints=[rule]), prices=[2.5])
    (row,) = found["constraints"]
    assert (row["overrun"], row["penalty"], row["paid"]) == (0.5, 2.5, 1.25)
    assert found["certified"] and found["penalties"] == 1.25
    assert (found["value"], found["expected_value"]) == (8.5 - 1.25, 8.5)
    gross = found_by(job_of(constraints=[rule]), claims={"value": 8.5})
    assert not gross["certified"] and "claims value 8.5" in gross["violations"][0]["text"]
    with pytest.raises(ValueError, match="above the penalty of 2.5 there is no bound"):
        found_by(job_of(constraints=[rule]), prices=[float(np.nextafter(2.5, 3))])


def test_a_soft_ratio_pays_by_what_is_divided():
    rule = {"name": "cpa", "ratio": RATIO, "at_most": 1.5, "penalty": 4}
    (row,) = found_by(job_of(constraints=[rule]))["constraints"]
    assert (row["overrun"], row["paid"]) == (0.5, 2.0)  # 3.5 - 1.5 * 2


def test_measured_constraints_are_stated_and_break_nothing():
    rules = [
        {"name": "spent", "measure": "cost", "at_most": 1, "enforce": False},
        {"name": "cpa", "ratio": RATIO, "at_least": 9, "enforce": False},
        {"name": "none", "ratio": RATIO, "where": "age < 0", "enforce": False},
    ]
    found = found_by(job_of(constraints=rules))
    assert found["certified"] and found["constraints"] == []
    spent, cpa, none = found["measured"]
    assert spent == {"name": "spent", "measure": "cost", "unit": "EUR", "use": 3.5,
                     "at_most": 1.0, "at_least": None}  # fmt: skip
    assert (cpa["use"], cpa["at_least"], none["use"]) == (1.75, 9.0, None)


def test_an_equation_is_two_limits():
    job = job_of(constraints=[{"name": "four", "measure": "contacts", "equals": 4}])
    assert [row["name"] for row in found_by(job)["constraints"]] == ["four", "four:minimum"]
    assert found_by(job)["certified"]
    assert not found_by(job, GOOD[:3])["certified"]


@pytest.mark.parametrize(
    ("objective", "value", "unit"),
    [
        ({"maximise": "acceptances"}, 2.0, "acceptances"),
        ({"maximise": "contacts"}, 4.0, "contacts"),
        ({"minimise": "cost"}, 3.5, "EUR"),
        ({"maximise": "value"}, 2 * 8.5, "EUR"),
    ],
)
def test_value_and_bound_are_of_what_is_pursued(objective, value, unit):
    job = job_of(objective=objective, constraints=[])
    features = people(weight=np.full(4, 2.0))
    found = found_by(job, features=features)
    assert found["certified"] and found["objective"] == objective | {"unit": unit}
    assert found["value"] == value and found["expected_value"] == 17.0
    ahead = found["value"] - found["bound"] if "minimise" in objective else (
        found["bound"] - found["value"])  # fmt: skip
    assert found["gap"] == pytest.approx(ahead / max(1, abs(found["bound"])), rel=1e-12)
    assert found["gap"] >= 0


KEPT = Limit("kept:objective", "value", True, 5_000_000, (0, 1, 2, 3), None, scale=1024,  # noqa: FBT003
             is_weighted=True)  # fmt: skip


@settings(max_examples=60)
@given(instance=instances(most_offers=3, most_subscribers=3), data=st.data())
def test_the_bound_of_any_question_is_never_below_the_lagrangian_dual(instance, data):
    """Other aims, ratios and a kept weighted value, against exact numbers bundle by bundle."""
    job, features, propensity, _ = instance
    count = len(actions(job.catalogue))
    ratio = {"name": "cpa", "ratio": {"of": {"measure": "cost", "where": "gold"}, "to": "contacts"},
             "at_most": data.draw(st.sampled_from([0.1, 0.333333, 2]))}  # fmt: skip
    soft = {"name": "soft", "measure": "contacts", "at_most": 1, "penalty": 3}
    job = job_of(
        catalogue=job.catalogue.model_dump(mode="json"), constraints=[ratio, soft],
        policies=[p.model_dump(mode="json") for p in job.policies],
    )  # fmt: skip
    aim = data.draw(st.sampled_from([Aim("value", 1), Aim("acceptances", 1), Aim("cost", -1)]))
    kept = replace(KEPT, actions=tuple(range(count)))
    asked = Question(aim, (*limits(job), kept))
    price = st.sampled_from([0.0, 0.1, 0.7, 3.0])
    prices = [data.draw(price), data.draw(price), data.draw(price) / 1024]
    check = check_partition(
        job, features, propensity, history=History(), asked=asked, prices=prices,
        allocations=allocation(job, features, propensity, []),
    )  # fmt: skip
    none = {"value": 0.0, "bound": 0.0, "uses": []}
    found = certify(job, [check], none, asked)
    w, p = numbers(job, features, propensity)
    exact = Fraction(prices[1]) - Fraction(prices[2]) * 1024 * 5
    for s, row in enumerate(features.itertuples()):

        def worth(a, s=s, row=row):
            def of(measure):
                fixed, accept = coefficients(job, measure)[a]
                return (fixed + accept * p[a][s]) / MICRO

            weight = w[s] if aim.measure == "value" else 1
            form = of("cost") * bool(row.gold) - Fraction(limits(job)[0].ratio, MICRO)
            return (
                aim.sign * weight * of(aim.measure)
                - Fraction(prices[0]) * form
                - Fraction(prices[1])
                + Fraction(prices[2]) * 1024 * w[s] * of("value")
            )

        exact += max(sum(map(worth, bundle)) for bundle in bundles(job, row))
    bound = -Fraction(found["bound"]) if aim.sign < 0 else Fraction(found["bound"])
    assert exact <= bound <= exact + 2 * Fraction(found["allowance"]) + Fraction(1, 10**12)
