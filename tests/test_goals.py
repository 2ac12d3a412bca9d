"""Goals one after the other, against every allocation listed."""

from dataclasses import replace
from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import goals, levels
from engine.actions import actions
from engine.assemble import assemble
from engine.candidates import candidates
from engine.certificate import certify, check_partition
from engine.errors import AllocationError, DataError
from engine.history import History
from engine.limits import MICRO, coefficients, limits
from engine.solve import Status, solve
from tests.certified import allocation, history, job_of, people, scores_of

SOLVER = {"gap_tolerance": 1e-12}


def asked(job, features, propensity, answer=solve):
    placed = assemble(job, [candidates(job, features, propensity, History(history()))])
    return placed, goals.pursue(job, placed.stock, answer)


def contacts(job, placed, pursued, features):
    """Return (row, offer, channel) of what was chosen."""
    found = actions(job.catalogue)
    (chosen,), (order,) = pursued.found.chosen, placed.order
    return [
        (int(order[column]), found[a].offer, found[a].channel)
        for column in range(chosen.shape[1])
        for a in chosen[:, column]
        if a >= 0
    ]


class Listed:
    """Every allocation of a few subscribers, with its exact sums."""

    def __init__(self, job, features, propensity):
        self.job, found = job, actions(job.catalogue)
        names = [action.name for action in found]
        each = []
        for s, row in enumerate(features.itertuples()):
            allowed = [a for a in range(len(found)) if found[a].offer == "a" or row.age >= 18]
            of_bundle = []
            for size in range(3):
                for bundle in combinations(allowed, size):
                    offers = {found[a].offer for a in bundle}
                    sms = sum(found[a].channel == "sms" for a in bundle)
                    if len(offers) == size and sms <= 1:
                        p = [Fraction(float(propensity[names[a]].iloc[s])) for a in bundle]
                        of_bundle.append((row, s, list(zip(bundle, p, strict=True))))
            each.append(of_bundle)
        self.every = list(product(*each))

    def measure(self, allocation, name, limit=None):
        total = Fraction(0)
        for row, _, pairs in allocation:
            if limit is not None and limit.where and not row.gold:
                continue
            weight = Fraction(round(row.weight * 1024), 1024)
            for a, p in pairs:
                if limit is None or a in limit.actions:
                    fixed, accept = coefficients(self.job, name)[a]
                    more = (fixed + accept * p) / MICRO
                    total += more * weight if limit is None and name == "value" else more
        return total

    def missed(self, allocation, limit):
        use = self.measure(allocation, limit.measure, limit)
        amount = Fraction(limit.amount, MICRO)
        return max(Fraction(0), amount - use if limit.is_minimum else use - amount)


@st.composite
def worlds(draw):
    size = draw(st.integers(1, 3))

    def column(values):
        return draw(st.lists(st.sampled_from(values), min_size=size, max_size=size))

    features = people(
        size, weight=column([0.5, 1.0, 1.25]), gold=np.array(column([True, False, True]), bool),
        age=column([10.0, 30.0, 30.0]),
    )  # fmt: skip
    features.loc[0, "gold"] = True
    measures = ["value", "acceptances", "contacts"]
    rules = [
        {"name": "budget", "measure": "cost", "at_most": draw(st.sampled_from([1, 2.5, 4]))},
        {"name": "gold", "measure": "contacts", "where": "gold",
         "at_least": draw(st.sampled_from([1, 3]))},
        {"name": "app", "measure": "acceptances", "channels": ["app"],
         "at_least": draw(st.sampled_from([0.5, 2]))},
    ]  # fmt: skip
    goal = {"name": "volume", "meet": {"gold": draw(st.sampled_from([1, 3])), "app": 2}}
    first = {"name": "first", "maximise": draw(st.sampled_from(measures)),
             "within": draw(st.sampled_from([0.0, 0.2]))}  # fmt: skip
    then = {"maximise": draw(st.sampled_from(measures)), "within": draw(st.sampled_from([0, 0.1]))}
    objective = draw(st.sampled_from([{}, {"minimise": "cost"}, {"maximise": "acceptances"}]))
    job = job_of(
        constraints=rules, goals=draw(st.sampled_from([[goal], [goal, first], [first, goal], []])),
        objective=objective | draw(st.sampled_from([{}, {"then": then | {"within": 0.25}}])),
        solver=SOLVER,
        policies=[{"name": "two", "at_most": 2},
                  {"name": "sms", "at_most": 1, "per": "channel", "only": ["sms"]}],
    )  # fmt: skip
    propensity = scores_of(job, features)
    for action in actions(job.catalogue):
        propensity[action.name] = np.array(column([0.25, 0.5, 1.0]), np.float32)
    return job, features, propensity


@settings(max_examples=40)
@given(worlds())
def test_each_stage_is_the_best_within_what_those_before_it_reached(world):
    job, features, propensity = world
    listed = Listed(job, features, propensity)
    placed, pursued = asked(job, features, propensity)
    course, by_name = levels.stages(job), {limit.name: limit for limit in limits(job)}
    later = {name for stage in course for name in stage.meet}
    hard = [limit for limit in by_name.values() if limit.name not in later]
    left = [a for a in listed.every if not any(listed.missed(a, limit) for limit in hard)]
    if pursued.found.status == Status.INFEASIBLE:
        assert not pursued.before and not left
        return
    reached = [*pursued.before]
    for i, stage in enumerate(course):
        found = pursued.found if i == len(course) - 1 else reached[i].found

        def worth(a, stage=stage):
            if stage.meet:
                weights = {n: Fraction(w, MICRO) for n, w in stage.meet.items()}
                return -sum(w * listed.missed(a, by_name[n]) for n, w in weights.items())
            return stage.aim.sign * listed.measure(a, stage.aim.measure)

        best = max(map(worth, left))
        assert found.value == pytest.approx(float(best), rel=1e-12, abs=1e-12)
        assert found.bound >= float(best) - 1e-9 * max(1, abs(float(best)))
        if i == len(course) - 1:
            break
        # A level is a whole number of micro-units, so that a little less may count as reached.
        floor = best - stage.within * abs(best) - Fraction(1, MICRO)
        if stage.meet:
            kept = {
                n: Fraction(round(level * MICRO), MICRO) for n, level in reached[i].kept.items()
            }
            left = [a for a in left if all(
                listed.missed(a, replace(by_name[n], amount=int(level * MICRO))) == 0
                for n, level in kept.items())]  # fmt: skip
        else:
            left = [a for a in left if worth(a) >= floor]
    is_certified(job, placed, pursued, (features, propensity))


def is_certified(job, placed, pursued, frames):
    """The certificate of the last stage's question agrees, and each stage's level is a limit."""
    features, propensity = frames
    chosen = contacts(job, placed, pursued, features)
    check = check_partition(
        job, features, propensity, history=History(history()), asked=pursued.question,
        allocations=allocation(job, features, propensity, chosen),
        prices=pursued.found.prices.tolist(),
    )  # fmt: skip
    sign = 1 if pursued.question.aim.sign > 0 else -1
    none = {"value": 0.0, "bound": 0.0, "uses": [0.0] * len(pursued.question.limits)}
    uses = [r.get("form", r["use"] * r.get("scale", 1))
            for r in certify(job, [check], none, pursued.question)["constraints"]]  # fmt: skip
    claims = {"value": sign * pursued.found.value, "bound": sign * pursued.found.dual_bound,
              "uses": uses}  # fmt: skip
    found = certify(job, [check], claims, pursued.question)
    assert found["certified"], found["violations"]


def test_a_volume_that_is_out_of_reach_is_met_as_far_as_possible_and_then_value_counts():
    rules = [
        {"name": "budget", "measure": "cost", "at_most": 2},
        {"name": "many", "measure": "contacts", "channels": ["sms"], "at_least": 9},
    ]
    job = job_of(constraints=rules, goals=[{"name": "volume", "meet": {"many": 1}}], policies=[
        {"name": "one", "at_most": 1}], solver=SOLVER)  # fmt: skip
    features = people()
    placed, pursued = asked(job, features, scores_of(job, features))
    (reached,) = pursued.before
    # By sms a contact with a costs 0.75, with b 1.25: the budget is good for two.
    assert (reached.found.value, reached.kept) == (-7.0, {"many": 2.0})
    assert pursued.found.status == Status.OPTIMAL
    chosen = contacts(job, placed, pursued, features)
    assert sum(channel == "sms" for _, _, channel in chosen) == 2
    # What is left of the budget, 0.5, goes to b, which is worth more than a, by the app.
    assert pursued.found.value == 1.25 + 2.75 or pursued.found.value == 2 * 1.25 + 1.5


def test_almost_the_best_value_buys_acceptances():
    job = job_of(
        constraints=[],
        policies=[{"name": "one", "at_most": 1}],
        solver=SOLVER,
        objective={"maximise": "value", "then": {"minimise": "cost", "within": 0.6}},
    )
    features = people(2, weight=[1.0, 1.25])
    _, pursued = asked(job, features, scores_of(job, features))
    (reached,) = pursued.before
    assert reached.found.value == 3 * 2.25  # b by the app for both
    # 40 % of it, 2.7, are left by b for the first alone, 3, or a for both, 1.5 * 2.25, cost 1 each.
    assert reached.kept == {"kept:objective": 2.7}
    assert pursued.found.value == -1.0
    limit = pursued.question.limits[-1]
    assert limit.is_weighted and limit.scale == 4  # quarters become whole


def test_soft_limits_keep_what_the_objective_made_of_them():
    rule = {"name": "few", "measure": "contacts", "at_most": 1, "penalty": 1}
    job = job_of(constraints=[rule], policies=[{"name": "one", "at_most": 1}], solver=SOLVER,
                 goals=[{"name": "most", "maximise": "contacts", "within": 0.5}],
                 objective={"then": {"maximise": "acceptances", "within": 0.5}})  # fmt: skip
    features = people(4)
    _, pursued = asked(job, features, scores_of(job, features))
    most, objective = pursued.before
    assert most.found.value == 4.0  # the soft limit does not count before the objective
    assert objective.found.value == 4 * 3 - 3  # b is worth more than passing the limit costs
    assert objective.kept == {"few": 4.0, "kept:objective": 12 - 4.5}
    names = [(limit.name, limit.penalty) for limit in pursued.question.limits]
    assert names == [("few", None), ("kept:most", None), ("kept:objective", None)]


def test_a_search_that_finds_nothing_leaves_what_was_reached():
    job = job_of(
        constraints=[],
        policies=[{"name": "one", "at_most": 1}],
        solver=SOLVER,
        objective={"then": {"maximise": "acceptances"}},
    )
    calls = []

    def answer(problem, settings, tell):
        calls.append(settings.time_limit_s)
        if len(calls) > 1:
            raise AllocationError("solver: nothing was found")
        return solve(problem, settings, tell)

    features = people(3)
    placed, pursued = asked(job, features, scores_of(job, features), answer)
    assert pursued.found.status == Status.TIME_LIMIT
    assert (
        pursued.found.remedy
        == "objective.then: nothing better was found; solver: nothing was found"
    )
    assert pursued.found.value == 1.5  # all p are a half
    # At price 0 the bound is 1.5 as well, and what the kernels' roundings may have hidden.
    assert 1.5 <= pursued.found.bound == pursued.found.dual_bound <= 1.5 * (1 + 1e-12)
    assert calls[0] == 600.0 >= calls[1]
    is_certified(job, placed, pursued, (features, scores_of(job, features)))


@pytest.mark.parametrize("size", [1, 2, 7, 10, 14, 39])
def test_where_nothing_was_found_the_bound_is_not_below_the_best_without_limits(size):
    """Everybody's best bundle without limits, summed in whole numbers, is what it must cover."""
    then = {"maximise": "value", "within": 0.9}
    catalogue = job_of().catalogue.model_dump(mode="json")
    for offer in catalogue["offers"].values():
        offer["value"] += 0.123457  # sums of these have more bits than float64
    job = job_of(policies=[{"name": "one", "at_most": 1}], solver=SOLVER, constraints=[],
                 objective={"maximise": "acceptances", "then": then},
                 catalogue=catalogue)  # fmt: skip
    features, rng = people(size), np.random.default_rng(size)
    features["weight"] = rng.integers(1, 2_000, size) / 1024
    propensity = scores_of(job, features)
    for action in actions(job.catalogue):
        propensity[action.name] = rng.random(size, np.float32)

    def answer(problem, settings, tell):
        if problem.rows:
            raise AllocationError("solver: nothing was found")
        return solve(problem, settings, tell)

    _, pursued = asked(job, features, propensity, answer)
    best = Fraction(0)
    for row in range(size):
        weight = Fraction(float(features["weight"][row]))
        best += weight * max(
            [Fraction(0)]
            + [
                (fixed + accept * Fraction(float(propensity[action.name][row]))) / MICRO
                for action, (fixed, accept) in zip(
                    actions(job.catalogue), coefficients(job, "value"), strict=True
                )
            ]
        )
    found = pursued.found
    assert found.remedy.startswith("objective.then: nothing better was found")
    assert best <= Fraction(found.bound) <= best * (1 + Fraction(1, 10**12))
    assert found.value <= found.bound


def test_a_worse_answer_than_the_stage_before_is_replaced():
    job = job_of(
        constraints=[],
        policies=[{"name": "one", "at_most": 1}],
        solver=SOLVER,
        objective={"then": {"maximise": "acceptances"}},
    )
    calls = []

    def answer(problem, settings, tell):
        found = solve(problem, settings, tell)
        calls.append(found)
        if len(calls) == 1:
            return found
        nothing = [np.full_like(chosen, -1) for chosen in found.chosen]
        return replace(found, chosen=nothing, value=0.0, status=Status.TIME_LIMIT)

    features = people(3)
    _, pursued = asked(job, features, scores_of(job, features), answer)
    assert (pursued.found.value, pursued.found.status) == (1.5, Status.OPTIMAL)


def test_prices_are_handed_on_where_the_solver_takes_them():
    job = job_of(objective={"then": {"maximise": "acceptances", "within": 0.1}}, solver=SOLVER)
    given = []

    def answer(problem, settings, tell, prices=None):
        given.append(prices)
        return solve(problem, settings, tell)

    features = people(4)
    _, pursued = asked(job, features, scores_of(job, features), answer)
    first, then = given
    assert first is None and len(then) == len(pursued.question.limits) == 3
    assert then[:2].tolist() == pursued.before[0].found.prices.tolist() and then[2] == 0


def test_the_price_of_an_equation_is_of_one_side():
    rule = {"name": "two", "measure": "contacts", "equals": 2}
    job = job_of(constraints=[rule], solver=SOLVER)
    features = people(4)
    _, pursued = asked(job, features, scores_of(job, features))
    assert pursued.found.prices.min() == 0 < pursued.found.prices.max()


def test_values_beyond_the_exact_range_are_refused():
    catalogue = job_of().catalogue.model_dump(mode="json")
    catalogue["offers"]["a"]["value"] = 1e8
    job = job_of(catalogue=catalogue, objective={"then": {"maximise": "acceptances"}},
                 constraints=[])  # fmt: skip
    features = people(2, weight=[1000.0, 1 / 1024])
    with pytest.raises(DataError, match="objective: the value reached cannot be kept exactly"):
        asked(job, features, scores_of(job, features))
