"""Problems posed in arrays: what is refused, and what extreme numbers come to."""

from dataclasses import replace
from fractions import Fraction
from math import inf, nan

import numpy as np
import pytest

from engine.block import Block
from engine.errors import DataError
from engine.household_rules import HouseholdRules
from engine.pair_block import PairBlock
from engine.pair_problem import PairProblem
from engine.parts import Here
from engine.problem import USE_UNIT, VALUE_UNIT, Problem, Row, use_units, value_units
from engine.problem_checks import MOST_AMOUNT, MOST_USE, MOST_WEIGHT
from engine.rules import Rules, plain
from engine.settings.job import Solver
from engine.solve import Status, solve
from kernels import backend
from tests import device_stand_in

MICRO, GRID, WEIGHT_GRID = 10**6, 2**24, 2**10
ROWS = [Row("budget", "cost", is_minimum=False), Row("promise", "contacts", is_minimum=True)]


def block(subscribers, actions=3, **change):
    """Return subscribers who may get every action at a propensity of one half."""
    arrays = {
        "key": np.arange(subscribers, dtype=np.int64),
        "propensity": np.full((actions, subscribers), 0.5, np.float32),
        "weight": np.ones(subscribers, np.float32),
        "group": np.zeros(subscribers, np.int32),
        "most": np.ones(subscribers, np.uint8),
        "fewest": np.zeros(subscribers, np.uint8),
        "cap": np.ones((0, subscribers), np.uint8),
    }
    return Block(**{**arrays, **change})


def posed(blocks, actions=3, rows=ROWS, rules=None, **change):
    """Return a problem in which action a is worth a + 1 and everything else is harmless."""
    shape, offer = (len(rows), actions), np.arange(actions, dtype=np.int32)
    sign = np.array([-1 if row.is_minimum else 1 for row in rows], np.int64)
    arrays = {
        "value_fixed": (offer + np.int64(1)) * MICRO, "value_accept": np.zeros(actions, np.int64),
        "use_fixed": np.broadcast_to(sign[:, None] * MICRO, shape).copy(),
        "use_accept": np.zeros(shape, np.int64), "in_scope": np.ones((len(rows), 1), bool),
        "limit": np.where(sign < 0, 0, 10**9 * MICRO),
    }  # fmt: skip
    rules = rules or plain(actions)
    return Problem(blocks, offer, offer, rules, rows=rows, **{**arrays, **change})


def with_at(array, at, value):
    out = array.copy()
    out[at] = value
    return out


def p(at, value):
    """Return propensities [3, 2], one of them another."""
    return {"propensity": with_at(np.full((3, 2), 0.5, np.float32), at, value)}


CAPPED = Rules(np.array([[True, False, True]]), np.zeros(1, bool), np.arange(3, dtype=np.int32))
SUBSCRIBERS = {
    "infinite": (p((2, 1), inf), "propensity: got inf for subscriber 4, action 2, and 1 such"),
    "negative": (p((0, 0), -0.25), "propensity: got -0.25 for subscriber 3, action 0, and 1"),
    "above 1": (p((1, slice(None)), 1.5), "got 1.5 for subscriber 3, action 1, and 2 such in all"),
    "off the grid": (p((1, 0), 0.3e-7), "allowed is a multiple of 2**-24 from 0 to 1"),
    "NaN weight": ({"weight": np.float32([1, nan])}, "weight: got nan for subscriber 4, and 1"),
    "heavy": ({"weight": np.float32([1001, 1])}, "weight: got 1001 for subscriber 3, and 1 such"),
    "negative weight": ({"weight": np.float32([-1, 1])}, "multiple of 1/1024 from 0 to 1000"),
    "weight off the grid": ({"weight": np.float32([0.1, 1])}, "weight: got 0.1"),
    "negative key": ({"key": np.array([5, -1])}, "key: got -1 for subscriber 4"),
    "group": ({"group": np.array([0, 1], np.int32)}, "group: got 1 for subscriber 4, and 1 such"),
    "no cap left": (
        {"cap": np.uint8([[1, 0]])}, "cap: got 0 for subscriber 4, cap 0, and 1 such in all",
    ),
    "too wide": ({"most": np.uint8([1, 5])}, "at most 4 are allowed"),
    "a shape": ({"weight": np.ones(3, np.float32)}, "block 1: weight: is float32 of shape (3,)"),
    "a type": ({"most": np.ones(2)}, "block 1: most: is float64 of shape (2,); uint8 of shape"),
}  # fmt: skip


@pytest.mark.parametrize("where", ["here", "in parts", "on a device"])
@pytest.mark.parametrize("case", SUBSCRIBERS)
def test_bad_numbers_of_subscribers_are_named(case, where, monkeypatch):
    change, said = SUBSCRIBERS[case]
    rules = CAPPED if "cap" in change else plain(3)
    caps = {"cap": np.ones((len(rules.members), 3), np.uint8)}
    blocks = [block(3, **caps), block(2, **{"cap": caps["cap"][:, :2], **change})]
    if where == "on a device":
        device_stand_in.install(monkeypatch)
        blocks = [Block(**{n: backend.to_gpu(a) for n, a in b.__dict__.items()}) for b in blocks]
    with pytest.raises(DataError) as error:
        posed(Here(blocks) if where == "in parts" else blocks, rules=rules)
    assert said in str(error.value) and "np." not in str(error.value)


def test_all_bad_numbers_are_told_at_once_and_a_closed_action_is_none():
    bad = block(2, **p((0, 1), inf), weight=np.float32([nan, nan]), group=np.int32([3, 0]))
    with pytest.raises(DataError) as error:
        posed([bad])
    assert [line.split(":")[0] for line in str(error.value).splitlines()] == [
        "propensity", "weight", "group",
    ]  # fmt: skip
    assert "and 2 such in all" in str(error.value)
    closed = block(2, **p((0, slice(None)), nan), cap=np.uint8([[1, 1]]))
    assert posed([closed], rules=CAPPED).subscribers == 2
    shut = replace(closed, cap=np.uint8([[0, 1]]), propensity=np.full((3, 2), nan, np.float32))
    assert posed([shut], rules=CAPPED).subscribers == 2  # a cap of no open action may be 0


def test_weights_sum_to_what_64_bits_hold():
    most = MOST_WEIGHT // 512 + 1
    heavy = block(most, 1, weight=np.full(most, 512, np.float32))
    with pytest.raises(DataError, match="weight: sums to 268,435,968; at most 268,435,456"):
        posed([heavy], 1)
    assert posed([heavy.take(np.arange(most - 1))], 1).subscribers == most - 1


NONE = np.zeros((2, 3), np.int64)
COEFFICIENTS = {
    "a large value": (
        {"value_accept": np.array([0, MOST_USE + 1, -(2**63)])},
        ["value_accept: got 2251799813685249 micro-units for action 1, and 2 such in all"],
    ),
    "a large use": (
        {"use_accept": with_at(NONE, (0, 2), -(2**63))},
        ["use_accept of budget: got -9223372036854775808 micro-units for action 2, and 1 such"],
    ),
    "a negative cost": (
        {"use_fixed": with_at(NONE, (0, slice(1, 3)), -7)},
        ["use_fixed of budget: got -7 micro-units for action 1, and 2", "must be 0 or more"],
    ),
    "a minimum that is not negated": (
        {"use_fixed": with_at(NONE, (1, 0), 7)},
        ["use_fixed of promise: got 7 micro-units for action 0", "a minimum is stored negated"],
    ),
    "large limits": (
        {"limit": np.array([2**63 - 1, -(2**63)])},
        ["limit of budget: got 9223372036854775807", "limit of promise: got -9223372036854775808"],
    ),
    "penalties": (
        {"penalty": np.array([nan, 0.0])},
        ["penalty of budget: got nan; it must be above 0", "penalty of promise: got 0"],
    ),
    "decimals": ({"value_fixed": np.ones(3)}, ["value_fixed: is float64 of shape (3,); whole"]),
    "a number too few": ({"limit": np.zeros(1, np.int64)}, ["limit: is int64 of shape (1,)"]),
    "no scope": ({"in_scope": np.ones((1, 1), bool)}, ["in_scope: is bool of shape (1, 1)"]),
    "terms": ({"term_of": np.array([1, 0])}, ["term_of: must never fall and name each of the 2"]),
}  # fmt: skip


@pytest.mark.parametrize("case", COEFFICIENTS)
def test_bad_coefficients_are_named(case):
    change, said = COEFFICIENTS[case]
    with pytest.raises(DataError) as error:
        posed([block(2)], **change)
    assert all(text in str(error.value) for text in said)
    assert len(str(error.value).splitlines()) == (len(said) if "limit" in change else
                                                  2 if case == "penalties" else 1)  # fmt: skip


def test_a_value_may_have_any_sign_and_a_limit_any_amount_within_range():
    rows = [Row("worth", "value", is_minimum=False), Row("gain", "value", is_minimum=True)]
    both = np.array([[-5, 5, 0], [5, -5, 0]])
    limit = np.array([MOST_AMOUNT, -MOST_AMOUNT])
    assert posed([block(2)], rows=rows, use_fixed=both, limit=limit).subscribers == 2


@pytest.mark.parametrize("exact_pairs", [0, 20_000])
def test_without_constraints_everyone_gets_the_best(exact_pairs):
    found = solve(posed([block(5), block(2)], rows=[]), Solver(exact_pairs=exact_pairs))
    assert (found.status, found.value, found.bound) == (Status.OPTIMAL, 21.0, pytest.approx(21))
    assert [b.tolist() for b in found.chosen] == [[[2] * 5], [[2] * 2]]


@pytest.mark.parametrize("exact_pairs", [0, 20_000])
@pytest.mark.parametrize(("subscribers", "actions"), [(0, 3), (4, 0), (0, 0)])
def test_without_subscribers_or_actions_nobody_is_contacted(subscribers, actions, exact_pairs):
    problem = posed([block(subscribers, actions)], actions)
    found = solve(problem, Solver(exact_pairs=exact_pairs))
    assert (found.status, found.value) == (Status.OPTIMAL, 0.0)
    assert found.bound == pytest.approx(0.0, abs=1e-6)
    assert [b.tolist() for b in found.chosen] == [[[-1] * subscribers]]
    asked = replace(problem, limit=np.array([10**9, -MICRO]))  # one contact at least
    assert solve(asked, Solver(exact_pairs=exact_pairs)).status == Status.INFEASIBLE


@pytest.mark.parametrize("exact_pairs", [0, 20_000])
def test_one_subscriber(exact_pairs):
    for limit, best, value in ((10**9, 2, 3.0), (0, -1, 0.0)):
        problem = posed([block(1)], limit=np.array([limit, 0]))
        found = solve(problem, Solver(exact_pairs=exact_pairs))
        assert (found.status, found.value) == (Status.OPTIMAL, value)
        assert found.chosen[0].tolist() == [[best]]


@pytest.mark.parametrize("exact_pairs", [0, 20_000])
def test_equal_subscribers_get_the_same_in_any_order_and_any_blocks(exact_pairs):
    rng = np.random.default_rng(3)
    keys = rng.integers(0, 2**63 - 1, 60)
    few = {"limit": np.array([23 * MICRO, -11 * MICRO]),
           "value_fixed": np.full(3, 5 * MICRO)}  # fmt: skip
    answers = set()
    for count in (1, 2, 5):
        order, place = rng.permutation(60), rng.integers(0, count, 60)
        blocks = [block(int((place == b).sum()), key=keys[order[place == b]]) for b in range(count)]
        found = solve(posed(blocks, **few), Solver(exact_pairs=exact_pairs))
        assert (found.status, found.value) == (Status.OPTIMAL, 115.0)
        key = np.concatenate([b.key for b in blocks])
        chosen = np.concatenate(found.chosen, axis=1)[0]
        answers.add(tuple(zip(key[key.argsort()], chosen[key.argsort()], strict=True)))
    assert len(answers) == 1


@pytest.mark.parametrize("exact_pairs", [0, 20_000])
def test_values_from_a_millionth_to_a_thousand_million(exact_pairs):
    """The value and the use are what plain fractions say, to the last unit."""
    rng = np.random.default_rng(5)
    subscribers, actions = 40, 6
    money = np.array([1, 10, 10**3, 10**6, 10**12, 10**15])  # micro-money: 1e-6 to 1e9
    q = (rng.integers(0, GRID + 1, (actions, subscribers)) / GRID).astype(np.float32)
    weight = (rng.choice([1, 1023, 1000 * WEIGHT_GRID], subscribers) / WEIGHT_GRID).astype("f4")
    people = block(subscribers, actions, propensity=q, weight=weight)
    rows = [Row("budget", "cost", is_minimum=False), Row("few", "contacts", is_minimum=False)]
    problem = posed(
        [people], actions, rows=rows, value_fixed=-money // 7, value_accept=money,
        use_fixed=np.array([[1] * actions, [MICRO] * actions]),
        use_accept=np.array([money[::-1], [0] * actions]),
        limit=np.array([3 * 10**14, 30 * MICRO]),
    )  # fmt: skip
    found = solve(problem, Solver(exact_pairs=exact_pairs, gap_tolerance=0.05))
    value, use = Fraction(0), Fraction(0)
    for s, a in enumerate(found.chosen[0][0].tolist()):
        if a >= 0:
            share = Fraction(float(q[a, s]))
            value += Fraction(float(weight[s])) * (int(-money[a] // 7) + int(money[a]) * share)
            use += 1 + int(money[::-1][a]) * share
    assert found.value == float(value / MICRO) and value > 0
    assert use <= 3 * 10**14 and found.use[0] == float(use / MICRO)
    assert found.status == Status.OPTIMAL and found.bound >= found.value


def test_sums_over_a_hundred_million_subscribers_never_wrap():
    """The largest sums that the limits on numbers allow, against plain whole numbers."""
    people, actions, most = 10**8, 2, MOST_USE
    heaviest = MOST_WEIGHT * WEIGHT_GRID
    tally = np.zeros((2, actions, 4), np.int64)
    tally[:] = [people, people * GRID, heaviest // 2, heaviest // 2 * GRID]
    problem = posed(
        [], actions, in_scope=np.ones((2, 2), bool),
        value_fixed=np.full(actions, most), value_accept=np.full(actions, most),
        use_fixed=np.full((2, actions), most) * [[1], [-1]],
        use_accept=np.full((2, actions), most) * [[1], [-1]],
    )  # fmt: skip
    assert value_units(problem, tally) == 2 * 2 * actions * most * (heaviest // 2) * GRID
    use = 2 * 2 * actions * most * people * GRID
    assert use_units(problem, tally) == [use, -use]
    assert value_units(problem, tally) / VALUE_UNIT > 1e18 and use / USE_UNIT > 1e17


def pairs(value, amount, rows=ROWS[:1]):
    """Return two subscribers with a pair each."""
    return PairBlock(
        np.array([1, 2]), np.array([0, 1, 2]), np.zeros(2, np.int32), np.array(value),
        np.array([0, 1, 2]), np.zeros(2, np.int32), np.array(amount), np.ones(2, np.uint8),
        np.zeros(2, np.uint8), np.ones((1, 2), np.uint8), np.ones((1, 2), np.uint8),
    )  # fmt: skip


def test_listed_uses_of_the_wrong_sign_are_named():
    kinds = (np.zeros(1, np.int32),) * 3
    with pytest.raises(DataError, match=r"use of budget: got -0.5 for subscriber 1, action 0, and "
                       r"1 such in all; the cost of a contact must be 0 or more"):  # fmt: skip
        PairProblem.of([pairs([1.0, 2.0], [1.0, -0.5])], kinds, ROWS[:1], [3.0])
    with pytest.raises(DataError, match="use of promise: got 1 for subscriber 0, action 0, and 2"):
        PairProblem.of([pairs([1.0, 2.0], [1.0, 1.0])], kinds, ROWS[1:], [-1.0])
    worth = [Row("worth", "value", is_minimum=False)]
    assert PairProblem.of([pairs([1.0, 2.0], [1.0, -0.5])], kinds, worth, [3.0]).subscribers == 2


def test_listed_pairs_without_subscribers_actions_or_constraints():
    none = np.zeros(0, np.int64)
    empty = PairBlock(
        none, np.zeros(1, np.int64), none.astype(np.int32), np.zeros(0), np.zeros(1, np.int64),
        none.astype(np.int32), np.zeros(0), none.astype(np.uint8), none.astype(np.uint8),
        np.zeros((0, 0), np.uint8), np.zeros((0, 0), np.uint8),
    )  # fmt: skip
    kinds = (np.zeros(0, np.int32),) * 3
    found = solve(PairProblem.of([empty], kinds, [], []), Solver())
    assert (found.status, found.value) == (Status.OPTIMAL, 0.0)
    free = replace(pairs([1.0, 2.0], []), use_first=np.zeros(3, np.int64),
                   use_row=none.astype(np.int32), use_amount=np.zeros(0))  # fmt: skip
    found = solve(PairProblem.of([free], (np.zeros(1, np.int32),) * 3, [], []), Solver())
    assert (found.status, found.value) == (Status.OPTIMAL, 3.0)


def test_more_members_than_are_chosen_for_together_are_refused():
    rules = replace(plain(3), households=HouseholdRules(np.zeros((0, 3), bool), np.zeros(0, bool)))
    room = np.zeros((0, 20), np.uint8)
    homes = np.repeat([-1, 4, 7, 5], [3, 8, 8, 1])[None]
    posed([block(20, household=homes, room=room)], rules=rules)
    wrong = np.repeat([-1, 4, 7, 5], [1, 8, 10, 1])[None]
    message = "household: got 7 for subscriber 17, and 2 such in all; at most 8 neighbours"
    with pytest.raises(DataError, match=message):
        posed([block(20, household=wrong, room=room)], rules=rules)
