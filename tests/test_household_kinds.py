"""Each kind of policy over households by hand, to the second: for solver and plain meaning."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings

from engine import limit_problems, policies, tables
from engine.assemble import assemble
from engine.candidates import candidates
from engine.limits import coefficients
from tests import brute_policies as brute
from tests import problems
from tests.brute_policies import Person
from tests.policy_cases import cases, mapping_of, parsed, profiled, scored, told
from tests.test_household_policies import fits
from tests.test_policy_kinds import (
    AT,
    CATALOGUE,
    DATA_APP,
    DATA_SMS,
    DAY,
    NOTICE,
    NOW,
    ROW,
    VOICE,
    sent,
)  # fmt: skip

NOTHING = ()


def both(*rules, mine=(), yours=(), my_row=(), at=AT, zone="", **changes):
    """Return what the two members of a household may get, on which solver and meaning agree.

    Args:
        rules: the policies, over households where they do not say otherwise.
        mine: contacts, or with ``outcome`` outcomes, of the first.
        yours: of the second.
        my_row: what of the first's profile is different.
        at: when contacts go out.
        zone: of both.
        changes: of the job.
    """
    rules = [rule if "package" in rule else {"over": "household"} | rule for rule in rules]
    mapping = mapping_of(rules, at, catalogue=CATALOGUE, **changes)
    mapping["inputs"]["subscribers"]["household"] = "home"
    people = brute.together([
        Person(zone, ROW | dict(row), [e for e in own if not e.outcome],
               [e for e in own if e.outcome], "a")
        for row, own in ((my_row, mine), ((), yours))
    ])  # fmt: skip
    job, features, history = parsed(mapping), profiled(people), told(mapping, people)
    part = candidates(job, features, scored(job, features), history)
    problem = assemble(job, [part]).problem
    (block,), acts = problem.blocks, brute.actions(mapping)
    words = {w["key"]: w for w in problems.in_words(problem)}
    rows = [block.key.tolist().index(key) for key in part.key.tolist()]
    each = [problems.bundles_of(problem, words[key]) for key in part.key.tolist()]
    is_joint = problem.rules.households is not None
    found = {
        tuple(tuple(acts[a] for a in bundle) for bundle in chosen)
        for chosen in product(*each)
        if not is_joint or fits(problem, block, rows, chosen)
    }
    assert found == brute.joint_bundles(mapping, people)
    return found


def sizes(found):
    return {sum(map(len, chosen)) for chosen in found}


def singles(found):
    """Return the actions that the first member may get if the second gets nothing."""
    return {mine[0] for mine, yours in found if len(mine) == 1 and not yours}


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (NOW - DAY, {0, 1}), (NOW - DAY + 1, {0}), (NOW, {0}), (NOW + DAY - 1, {0}),
        (NOW + DAY, {0, 1}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("rule", [{"at_most": 1, "within": "1d"}, {"spacing": "1d"}])
def test_a_cap_counts_the_contacts_of_all(rule, time, expected):
    assert sizes(both(rule, yours=[sent(time)])) == expected
    assert sizes(both(rule, mine=[sent(time)])) == expected


def test_contacts_of_several_members_are_in_one_window():
    rule, early, late = {"at_most": 2, "within": "1d"}, NOW - DAY // 2, NOW + DAY // 2
    assert sizes(both(rule, mine=[sent(early)], yours=[sent(late)])) == {0, 1}
    assert sizes(both(rule, mine=[sent(early)], yours=[sent(late - 1)])) == {0}
    assert sizes(both({"at_most": 3})) == {0, 1, 2, 3}


def test_a_calendar_period_is_of_their_time_zone():
    rule, zone = {"at_most": 1, "each": "day"}, "Asia/Kolkata"  # its day begins at 18:30
    begins = brute.instant("2025-06-09T18:30:00+00:00")
    for time, expected in [(begins - 1, {0, 1}), (begins, {0}), (begins + DAY - 1, {0}),
                           (begins + DAY, {0, 1})]:  # fmt: skip
        assert sizes(both(rule, yours=[sent(time)], zone=zone)) == expected


def test_an_offer_may_go_to_as_many_as_its_cap_says():
    once, twice = both({"at_most": 1, "per": "offer"}), both({"at_most": 2, "per": "offer"})
    assert ((DATA_SMS,), (VOICE,)) in once and ((DATA_SMS,), (DATA_APP,)) not in once
    assert ((DATA_SMS,), (DATA_APP,)) in twice
    past = both({"at_most": 2, "per": "offer", "within": "1d"}, yours=[sent(NOW)])
    assert ((DATA_SMS,), NOTHING) in past and ((DATA_SMS,), (DATA_SMS,)) not in past


def test_a_package_is_one_contact_of_each_member():
    package = {"package": ["data", "voice"]}
    found = both({"at_most": 2}, package)
    assert ((DATA_SMS, VOICE), (DATA_SMS, VOICE)) in found
    assert ((DATA_SMS, VOICE), (DATA_APP, VOICE)) not in found
    rule, letter = {"at_most": 3, "within": "1d"}, [sent(NOW), sent(NOW, "voice")]
    assert ((DATA_SMS, VOICE), NOTHING) in both(rule, package, yours=letter, mine=letter)
    assert ((DATA_SMS,), (DATA_SMS,)) not in both(rule, package, yours=letter, mine=letter)
    assert ((DATA_SMS,), (DATA_SMS,)) in both(rule, package, yours=letter)


def test_exempt_offers_skip_a_cap_and_count():
    rule = {"at_most": 1, "within": "1d", "exempt": ["service"]}
    assert ((DATA_SMS, NOTICE), (NOTICE,)) in both(rule)
    assert ((DATA_SMS,), (DATA_SMS,)) not in both(rule)
    assert singles(both(rule, yours=[sent(NOW, "notice")])) == {NOTICE}


def test_of_exclusive_offers_a_household_gets_one():
    found = both({"exclusive": ["data", "voice"]})
    assert ((DATA_SMS,), (DATA_APP,)) in found and ((VOICE,), (VOICE,)) in found
    assert ((DATA_SMS,), (VOICE,)) not in found and ((DATA_SMS, VOICE), NOTHING) not in found
    rule = {"exclusive": ["data", "voice"], "within": "1d"}
    for time, expected in [(NOW - DAY, True), (NOW - DAY + 1, False), (NOW + DAY - 1, False),
                           (NOW + DAY, True)]:  # fmt: skip
        found = both(rule, yours=[sent(time, "voice")])
        assert (((DATA_SMS,), NOTHING) in found) == expected
        assert ((VOICE,), (VOICE,)) in found


def test_what_closes_for_one_closes_for_all():
    rule = {"suppress": "churned", "exempt": ["service"]}
    assert both(rule, my_row={"churned": True}) == set(product([(), (NOTICE,)], repeat=2))
    own = {**rule, "over": "subscriber"}
    assert (NOTHING, (DATA_SMS,)) in both(own, my_row={"churned": True})
    cool = {"cool_down": "2d", "times": 2, "within": "1d", "outcome": ["no"]}
    early, late = (sent(NOW - 2 * DAY + lag, outcome="no") for lag in (0, DAY - 1))
    assert sizes(both(cool, mine=[early], yours=[late])) == {0}
    assert sizes(both(cool, mine=[early], yours=[late._replace(time=late.time + 1)])) > {0}
    assert sizes(both(cool, mine=[early])) > {0}


def test_the_history_of_those_held_out_counts():
    mapping = mapping_of([{"at_most": 1, "within": "1d", "over": "household"}], AT,
                         catalogue=CATALOGUE, holdout_share=0.5)  # fmt: skip
    mapping["inputs"]["subscribers"]["household"] = "home"
    job, keys = parsed(mapping), np.arange(20)
    held = tables.unit_hash(keys, job.seed) < 0.5
    pair = [int(keys[held][0]), int(keys[~held][0])]
    for contacts, may in (([], True), ([sent(NOW)], False)):
        people = [Person("", ROW, contacts, [], "a"), Person("", ROW, [], [], "a")]
        features, history = profiled(people, pair), told(mapping, people, pair)
        part = candidates(job, features, scored(job, features), history)
        assert part.room.tolist() == [[may, may]] and (part.household == part.household[0, 0]).all()
        assert np.isnan(part.propensity[:, 0]).all()
        assert (~np.isnan(part.propensity[:, 1])).any() == may


@settings(max_examples=40)
@given(cases(most=3, homes=True))
def test_over_households_of_one_a_policy_is_what_it_is_over_subscribers(case):
    mapping, people = case
    people = [person._replace(home=None, others=()) for person in people]
    plain = [{k: v for k, v in p.items() if k != "over"} for p in mapping["policies"]]
    features, history = profiled(people), told(mapping, people)
    one, other = (
        policies.left(parsed(own), features, history)
        for own in (mapping, {**mapping, "policies": plain})
    )
    acts = len(coefficients(parsed(mapping), "value"))
    for policy in mapping["policies"]:
        name = policy["name"]
        assert np.array_equal(one.forbids(name, acts), other.forbids(name, acts))
    for name in ("most", "fewest", "cap"):
        assert np.array_equal(getattr(one, name), getattr(other, name))


def test_more_than_the_joint_search_takes_is_refused(monkeypatch):
    names = [f"c{i}" for i in range(9)]
    offers = {f"o{i}": {"category": "boost", "value": 1, "channels": names} for i in range(57)}
    big = {"channels": {name: {} for name in names}, "offers": offers}
    rule = {"at_most": 1, "per": "channel"}
    for over, said in (
        ({}, "at most 512 are allowed, or 32767 with"),
        ({"over": "household"}, "at most 512 are allowed with caps and exclusions over households"),
    ):
        for more in ([], [{"at_most": 1}] if over else []):
            mapping = mapping_of([{**rule, **over}, *more], AT, catalogue=big)
            mapping["scores"]["formulas"] = {"o0": "0.5"}
            mapping["inputs"]["subscribers"]["household"] = "home"
            (problem,) = limit_problems.problems(parsed(mapping))
            assert problem.startswith("catalogue: has 513 actions") and said in problem
    mapping = mapping_of([{**rule, "over": "household"}], AT, catalogue=CATALOGUE)
    mapping["inputs"]["subscribers"]["household"] = "home"
    for most, is_fine in ((4, True), (3, False)):  # two channels, a member's and a household's
        monkeypatch.setattr(limit_problems, "MOST_CAPS", most)
        assert is_fine == (limit_problems.problems(parsed(mapping)) == [])
