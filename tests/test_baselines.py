"""The simple rules against their definition, worked with exact fractions."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.baselines import Instance, _use, arrival_order, greedy
from engine.rules import plain
from kernels.choose import MUST
from tests.test_choose import rules_of

MICRO = 10**6


@st.composite
def instances(draw):
    """Draw a small problem: few distinct values, so that ties happen."""
    actions, size = draw(st.integers(1, 5)), draw(st.integers(0, 6))
    limits, groups = draw(st.integers(0, 4)), draw(st.integers(1, 2))

    def array(values, *shape, dtype):
        count = math.prod(shape)
        drawn = draw(st.lists(st.sampled_from(values), min_size=count, max_size=count))
        return np.array(drawn, dtype).reshape(shape)

    is_minimum = array([False, False, True], limits, dtype=bool)
    sign = np.where(is_minimum, -1, 1)
    offer = np.sort(array([0, 1, 2], actions, dtype=np.int32))
    channel = array([0, 1], actions, dtype=np.int32)
    keep = np.unique(np.stack([offer, channel]), axis=1)  # each action once
    actions, (offer, channel) = keep.shape[1], keep.astype(np.int32)
    rules = draw(rules_of(offer, channel, offer % 2, draw(st.booleans())))
    money = [0, 1, 333_333, MICRO, 2 * MICRO]
    is_charged = array([False, False, True], limits, dtype=bool) & ~is_minimum
    amount = array([0, 333_333, 900_000, MICRO, 3 * MICRO], limits, dtype=np.int64)
    use_accept = array([-5, *money], limits, actions, dtype=np.int64)
    return Instance(
        propensity=array([math.nan, 0.0, 0.1, 0.3, 0.5, 1.0], actions, size, dtype=np.float32),
        weight=array([0.0, 0.25, 1.0, 1.5], size, dtype=np.float64),
        most=array([0, 1, 2, 8], size, dtype=np.uint8),
        fewest=array([0, 0, 2, MUST, MUST + 1, MUST + 2], size, dtype=np.uint8),
        cap=array([0, 1, 2, 8], len(rules.members), size, dtype=np.uint8),
        offer=offer,
        rules=rules,
        value_fixed=array([-MICRO, -1, 0, 500_000], actions, dtype=np.int64),
        value_accept=array([-MICRO, 0, MICRO, 3 * MICRO], actions, dtype=np.int64),
        in_scope=array([True, True, False], limits, groups, dtype=bool),
        group=array(range(groups), size, dtype=np.int32),
        use_fixed=array(money, limits, actions, dtype=np.int64) * sign[:, None],
        use_accept=np.where(is_charged[:, None], abs(use_accept), use_accept * sign[:, None]),
        limit=np.where(is_charged, 0, amount * sign),
        is_minimum=is_minimum,
        penalty=np.where(is_charged, array([0.25, 1.0], limits, dtype=np.float64), math.inf),
        is_charged=is_charged,
        order=np.array(draw(st.permutations(range(size))), np.int64),
    )


def use_of(problem, k, s, a, p):
    """Return what an action of a subscriber uses of a limit."""
    if not problem.in_scope[k, problem.group[s]]:
        return 0
    return int(problem.use_fixed[k, a]) + int(problem.use_accept[k, a]) * p


def definition(problem, by_arrival):
    """Return (value, contacts, contacted, violations), slowly."""
    actions, size = problem.propensity.shape
    pairs = []
    for place, s in enumerate(problem.order.tolist()):
        for a in range(actions):
            if math.isnan(problem.propensity[a, s]):
                continue
            p = Fraction(round(float(problem.propensity[a, s]) * 2**24), 2**24)
            w = Fraction(round(problem.weight[s] * 1024), 1024)
            gross = w * (int(problem.value_fixed[a]) + int(problem.value_accept[a]) * p)
            value = gross - sum(
                Fraction(problem.penalty[k]) * use_of(problem, k, s, a, p)
                for k in np.flatnonzero(problem.is_charged)
            )
            if value > 0 or problem.fewest[s] >= MUST:
                rank = (place, -value, a) if by_arrival else (-value, place, a)
                pairs.append((rank, value, gross, s, a, p))
    uses, taken = [Fraction(0)] * len(problem.limit), []
    for _, value, gross, s, a, p in sorted(pairs):
        own = [b for t, b, *_ in taken if t == s]
        wanted = max(1, problem.fewest[s] % MUST) if problem.fewest[s] >= MUST else 0
        limits = int(problem.most[s]), 0, problem.cap[:, s]
        if value <= 0 and len(own) >= wanted:
            continue
        if not problem.rules.allows([*own, a], problem.offer, *limits):
            continue
        then = list(uses)
        for k in range(len(uses)):
            then[k] += use_of(problem, k, s, a, p)
        bars = ~(problem.is_minimum | problem.is_charged)
        changed = [k for k in range(len(uses)) if then[k] != uses[k] and bars[k]]
        if all(then[k] <= problem.limit[k] for k in changed):
            uses = then
            taken.append((s, a, gross, p))
    had = [sum(t == s for t, *_ in taken) for s in range(size)]
    short = {s for s in range(size) if had[s] < problem.fewest[s] % MUST}
    for s, a, _, p in taken:
        for k in range(len(uses) if s in short else 0):
            uses[k] -= use_of(problem, k, s, a, p)
    taken = [t for t in taken if t[0] not in short]
    got = {s for s, *_ in taken}
    missed = [
        s for s in range(size)
        if problem.fewest[s] >= MUST and s not in got
        and not np.isnan(problem.propensity[:, s]).all()
    ]  # fmt: skip
    over = [use - limit for use, limit in zip(uses, problem.limit.tolist(), strict=True)]
    broken = sum(more > 0 for more, paid in zip(over, problem.is_charged, strict=True) if not paid)
    value = float(sum((v for _, _, v, _ in taken), Fraction(0)) / MICRO)
    value -= sum(float(Fraction(problem.penalty[k]) * over[k] / MICRO)
                 for k in np.flatnonzero(problem.is_charged))  # fmt: skip
    return value, len(taken), len(got), broken + len(missed)


@given(problem=instances())
@pytest.mark.parametrize("rule", [greedy, arrival_order])
def test_a_rule_matches_its_definition(rule, problem):
    found = rule(problem)
    expected = definition(problem, rule is arrival_order)
    assert (found.value, found.contacts, found.contacted, found.violations) == expected


@given(problem=instances(), seed=st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("rule", [greedy, arrival_order])
def test_the_layout_of_subscribers_changes_no_bit(rule, problem, seed):
    moved = np.random.default_rng(seed).permutation(len(problem.order))
    fields = ("propensity", "weight", "most", "fewest", "cap", "group")
    change = {f: np.ascontiguousarray(getattr(problem, f)[..., moved]) for f in fields}
    place = np.argsort(moved)  # where each subscriber went
    assert rule(replace(problem, **change, order=place[problem.order])) == rule(problem)


@given(
    fixed=st.integers(-(2**51), 2**51),
    accept=st.integers(-(2**51), 2**51),
    p=st.integers(0, 2**24),
)
def test_uses_are_exact_for_the_largest_amounts(fixed, accept, p):
    high, low = _use(np.int64(fixed), np.int64(accept), np.int64(p))
    assert int(high) * 2**44 + int(low) == fixed * 2**24 + accept * p
    assert 0 <= low < 2**44


def budget(amount, size=3):
    """One offer at 1 a contact, worth 3, 2 and 1 to three subscribers."""
    one, zero = np.ones(1, np.int64), np.zeros(1, np.int32)
    return Instance(
        propensity=np.ones((1, size), np.float32),
        weight=np.arange(size, 0, -1).astype(np.float64),
        most=np.ones(size, np.uint8),
        fewest=np.zeros(size, np.uint8),
        cap=np.ones((0, size), np.uint8),
        offer=zero,
        rules=plain(1),
        value_fixed=0 * one, value_accept=MICRO * one,
        in_scope=np.ones((1, 1), bool), group=np.zeros(size, np.int32),
        use_fixed=MICRO * one[:, None], use_accept=0 * one[:, None],
        limit=amount * one, is_minimum=np.zeros(1, bool),
        order=np.arange(size)[::-1].copy(),
    )  # fmt: skip


def test_greedy_serves_the_best_and_arrival_order_the_first():
    assert greedy(budget(2 * MICRO)).value == 3 + 2
    assert arrival_order(budget(2 * MICRO)).value == 1 + 2  # the last key arrives first


def test_a_limit_is_filled_to_its_last_unit():
    assert greedy(budget(2 * MICRO)).contacts == 2
    assert greedy(budget(2 * MICRO - 1)).contacts == 1
    found = greedy(
        replace(budget(-4 * MICRO), is_minimum=np.ones(1, bool), use_fixed=np.array([[-MICRO]]))
    )
    assert (found.contacts, found.violations) == (3, 1)  # a minimum of 4 is missed, and counted


def test_a_charge_bars_nothing_and_comes_off_the_value():
    """Worth 3, 2 and 1, each charged 1.5: the first two are taken, for 1.5 and 0.5."""
    charged = replace(budget(0), penalty=np.full(1, 1.5), is_charged=np.ones(1, bool))
    for rule in (greedy, arrival_order):
        found = rule(charged)
        assert (found.value, found.contacts, found.violations) == (2.0, 2, 0)


def test_equal_values_go_to_the_lower_key():
    problem = replace(
        budget(MICRO, 2), weight=np.ones(2), propensity=np.full((1, 2), 0.5, np.float32)
    )
    problem = replace(problem, use_fixed=np.array([[0]]), use_accept=np.array([[2 * MICRO]]))
    skewed = replace(
        problem, propensity=np.array([[0.5, 0.5]], np.float32), group=np.array([0, 1], np.int32)
    )
    skewed = replace(skewed, in_scope=np.array([[True, False]]))
    assert greedy(problem).contacts == 1
    assert greedy(skewed).contacts == 2
