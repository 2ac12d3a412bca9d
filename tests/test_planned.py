"""The choice over several days against its plain definition, on every backend."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.block import Block, spanned, spread
from engine.rules import Rules
from kernels.choose import MUST, NO_ACTION, choose
from kernels.planned import MOST_DAYS, choose_planned, curve_planned, spans
from tests.plan_problems import (
    FEWEST,
    MOST,
    PRICE_FIXED,
    VALUE_FIXED,
    counted,
    curvature_of,
    entries_of,
    part_of,
    plan_problem,
    surpluses,
    totals,
)

SEEDS = st.integers(0, 2**32 - 1)
UNIT, CONSTRAINTS = 2.0**10, 3


@st.composite
def small(draw):
    """A problem whose bundles can all be tried: at most 16 actions, of few distinct numbers."""
    days = draw(st.integers(2, 5))
    offers, channels = draw(st.sampled_from([(1, 1), (3, 1), (2, 2), (1, 3), (3, 1), (4, 1)]))
    shape = (offers, min(channels, 16 // (offers * days)) or 1, days, draw(st.integers(1, 4)))
    rows = draw(st.sampled_from([0, 1, 2, 9, 17]))
    return plan_problem(draw(SEEDS), rows, shape, related=draw(st.booleans()))


@st.composite
def larger(draw):
    days = draw(st.sampled_from([2, 3, 7, 14, MOST_DAYS]))
    shape = (draw(st.integers(1, 5)), draw(st.integers(1, 3)), days, draw(st.integers(1, 4)))
    flags = {"related": draw(st.booleans()), "odd": draw(st.booleans())}
    return plan_problem(draw(SEEDS), draw(st.sampled_from([0, 1, 2, 61])), shape, **flags)


def same_bits(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@settings(max_examples=60)
@given(case=small())
def test_choose_planned_matches_its_definition(on_each_backend, case):
    problem, width, rules, block = case
    chosen, margin, tally = on_each_backend("choose_planned", *problem, width)
    for s in range(len(block)):
        total = totals(problem, rules, block.cap, s)
        bundle = tuple(int(a) for a in chosen[:, s] if a != NO_ACTION)
        own = [total.pop(b) for b in list(total) if set(b) == set(bundle)]
        if problem[MOST][s] == 0 or problem[FEWEST][s] % MUST > problem[MOST][s]:
            assert bundle == () and margin[s] == np.inf
            continue
        if own == []:  # nothing that must be is possible
            assert bundle == () and problem[FEWEST][s] >= MUST and margin[s] == np.inf
            continue
        # Sums of halves and quarters are exact, so equal optima are equal bits.
        assert max(total.values(), default=-np.inf) <= own[0]
        assert margin[s] == own[0] - max(total.values(), default=-np.inf)
    assert tally.tolist() == counted(problem, rules.days, chosen).tolist()
    same_bits((chosen, margin, tally), choose_planned(*problem, width))


@settings(max_examples=40)
@given(case=small(), bandwidth=st.sampled_from([0.125, 0.5, 2.0]), seed=SEEDS)
def test_curve_planned_matches_its_definition(on_each_backend, case, bandwidth, seed):
    problem, width, rules, block = case
    entries = entries_of(seed, problem[PRICE_FIXED].size, CONSTRAINTS)
    sizes = (bandwidth, UNIT, CONSTRAINTS, width)
    found = on_each_backend("curve_planned", *problem, *entries, *sizes)
    relations = rules, block.cap
    expected, count, alone = curvature_of(
        problem, relations, (*entries, CONSTRAINTS), bandwidth, UNIT
    )
    assert found[0].tolist() == choose_planned(*problem, width)[2].tolist()
    assert found[2].tolist() == [count] and (np.triu(found[1], 1) == 0).all()
    if alone:  # then the switch is known
        assert found[1].tolist() == expected.tolist()
    same_bits(found, curve_planned(*problem, *entries, *sizes))


@settings(max_examples=40)
@given(case=larger(), seed=SEEDS)
def test_a_row_for_each_action_gives_as_good_bundles(on_each_backend, case, seed):
    problem, width, rules, block = case
    chosen, margin, tally = on_each_backend("choose_planned", *problem, width)
    same_bits((chosen, margin, tally), choose_planned(*problem, width))
    offer, plain = problem[7], spread(block, rules.plan())
    tables = problem[VALUE_FIXED : VALUE_FIXED + 4]
    other = choose(*plain.arrays(), *rules.arrays(offer), *tables, width)
    for s in range(len(block)):
        surplus, total = surpluses(problem, rules, s), []
        for bundle in (chosen[:, s], other[0][:, s]):
            taken = [int(a) for a in bundle if a != NO_ACTION]
            total.append(sum(surplus[a] for a in taken))
            limits = int(block.most[s]), int(block.fewest[s]), block.cap[:, s]
            assert not taken or rules.allows(taken, offer, *limits)
        assert total[0] == pytest.approx(total[1], rel=1e-12, abs=1e-12)  # added in another order
    # Of single actions the other margin is computed in float32.
    np.testing.assert_allclose(margin, other[1], rtol=1e-5, atol=1e-5)
    entries = entries_of(seed, problem[PRICE_FIXED].size, CONSTRAINTS)
    sizes = (0.5, UNIT, CONSTRAINTS, width)
    found = on_each_backend("curve_planned", *problem, *entries, *sizes)
    same_bits(found, curve_planned(*problem, *entries, *sizes))


@pytest.mark.parametrize("odd", [True, False])
@pytest.mark.parametrize(
    ("subscribers", "days", "width"), [(1_300, 4, 2), (300, 2, 4), (300, 3, 3), (700, 15, 3)]
)
def test_no_answer_depends_on_neighbours(subscribers, days, width, odd):
    """Those who stand beside others with the same open days are looked at together."""
    for seed in range(10, 16):
        problem, _, _, _ = plan_problem(seed, subscribers, (3, 2, days, width), odd=odd)
        entries = entries_of(seed, problem[PRICE_FIXED].size, CONSTRAINTS)
        sizes = (2.0, UNIT, CONSTRAINTS, width)
        shuffled = np.random.default_rng(seed).permutation(subscribers)
        parts = [part_of(problem, rows) for rows in (np.arange(5), np.arange(5, subscribers))]
        for at, mixed in (
            (np.arange(subscribers), parts),
            (shuffled, [part_of(problem, shuffled)]),
        ):
            whole = choose_planned(*problem, width)
            split = [choose_planned(*part, width) for part in mixed]
            for i in range(2):
                joined = np.concatenate([found[i] for found in split], axis=-1)
                np.testing.assert_array_equal(joined, whole[i][..., at])
            curved = curve_planned(*problem, *entries, *sizes)
            added = [curve_planned(*part, *entries, *sizes) for part in mixed]
            for i in range(3):
                np.testing.assert_array_equal(sum(found[i] for found in added), curved[i])


@settings(max_examples=60)
@given(
    seed=SEEDS,
    sizes=st.tuples(st.integers(0, 9), st.integers(1, 3), st.integers(1, 15), st.integers(0, 3)),
    rows=st.sampled_from([0, 1, 2, 5]),
)
def test_spans_match_their_definition(on_each_backend, seed, sizes, rows):
    """A run with room for r or fewer does not hold r + 1 actions; all else does."""
    caps, groups, days, reach = sizes
    rng = np.random.default_rng(seed)
    group, first, last = rng.integers(0, [[groups], [days], [days]], (3, caps)).astype(np.int32)
    first, last = np.minimum(first, last), np.maximum(first, last)
    cap = rng.integers(1, 5, (caps, rows)).astype(np.uint8)
    found = on_each_backend("spans", cap, group, first, last, groups, reach)
    assert found.shape == (groups * reach, rows) and found.dtype == np.int64
    for row, s in np.ndindex(found.shape):
        own, r = divmod(row, reach)
        for begin in range(days):
            digit = int(found[row, s]) >> 4 * begin & 15
            for end in range(begin, days):
                holds = (group == own) & (cap[:, s] <= r + 1) & (first <= begin) & (end <= last)
                assert (end >= begin + digit) == (not holds.any())
        assert int(found[row, s]) >> 4 * days == 0
    same_bits([found], [spans(cap, group, first, last, groups, reach)])


def hand_made(members, days, caps, *, propensity, open_days, most=4, apart=None, requires=()):
    """Return the arguments for one subscriber; pair i is offer i; an acceptance is worth 1."""
    pairs = len(propensity)
    actions = pairs * days
    rules = Rules(
        np.array(members, bool).reshape(-1, actions), np.zeros(len(members), bool),
        np.arange(actions, dtype=np.int32), (), requires, days,
        np.arange(pairs, dtype=np.int32), apart,
    )  # fmt: skip
    block = Block(
        np.zeros(1, np.int64), np.array(propensity, np.float32)[:, None], np.ones(1, np.float32),
        np.zeros(1, np.int32), np.array([most], np.uint8), np.zeros(1, np.uint8),
        np.array(caps, np.uint8).reshape(-1, 1), np.array(open_days, np.uint16)[:, None],
    )  # fmt: skip
    block = spanned(block, rules.plan(), 4)
    offer = np.arange(pairs, dtype=np.int32).repeat(days)
    _, _, _, _, _, _, conflicts, needs = rules.arrays(offer)
    none = np.zeros((1, actions))
    return (
        *block.arrays()[:5], block.days, block.spans, offer, conflicts, needs,
        *rules.plan().arrays(), none[0], np.ones(actions), none, none, 4,
    )  # fmt: skip


def run_of(pairs, days, first, last):
    day = np.arange(days)
    return np.tile((first <= day) & (day <= last), pairs)


EVERY = 2**15 - 1


def test_one_contact_in_all_fifteen_days_is_one(on_each_backend):
    problem = hand_made(
        [run_of(3, 15, 0, 14)], 15, [1], propensity=[0.5, 1.0, 0.25], open_days=[EVERY] * 3
    )
    chosen, margin, _ = on_each_backend("choose_planned", *problem)
    assert chosen[:, 0].tolist() == [15, -1, -1, -1] and margin[0] == 0.0  # on other days as good


def test_contacts_eight_days_apart_are_on_the_first_and_on_the_last_days(on_each_backend):
    runs = [run_of(3, 15, d, min(14, d + 6)) for d in range(15)]
    problem = hand_made(
        runs, 15, [1] * 15, propensity=[1.0, 0.5, 0.25], open_days=[1 << 7, EVERY, 1 << 14]
    )
    chosen, _, tally = on_each_backend("choose_planned", *problem)
    assert sorted(chosen[:, 0].tolist()) == [-1, 7, 15, 44]  # day 0, 7 and 14 of 15
    assert tally[0, 44].tolist() == [1, 1 << 22, 1 << 10, 1 << 32]


@pytest.mark.parametrize(("open_days", "expected"), [([0, 0], []), ([1 << 2, 0], [2]),
                                                     ([1 << 1, 1 << 1], [1]),
                                                     ([1 << 0, 1 << 1], [0, 4])])  # fmt: skip
def test_closed_days_are_not_used(on_each_backend, open_days, expected):
    days = [run_of(2, 3, d, d) for d in range(3)]  # one contact a day
    problem = hand_made(days, 3, [1] * 3, propensity=[0.5, 0.25], open_days=open_days)
    chosen, margin, _ = on_each_backend("choose_planned", *problem)
    assert [a for a in chosen[:, 0].tolist() if a >= 0] == expected
    assert margin[0] == (np.inf if not expected else 0.5 if expected == [2] else 0.25)


def test_actions_apart_are_not_in_one_plan(on_each_backend):
    apart = np.zeros((4, 4), bool)
    apart[0, 3] = apart[3, 0] = apart[1, 3] = apart[3, 1] = True  # offer 1 on the second day: never
    problem = hand_made([], 2, [], propensity=[0.5, 0.25], open_days=[3, 2], apart=apart)
    chosen, margin, _ = on_each_backend("choose_planned", *problem)
    assert chosen[:, 0].tolist() == [0, -1, -1, -1] and margin[0] == 0.0


def test_what_is_required_may_be_on_a_later_day(on_each_backend):
    problem = hand_made([], 2, [], propensity=[1.0, 0.0], open_days=[1, 2], requires=((0, (1,)),))
    chosen, margin, _ = on_each_backend("choose_planned", *problem)
    assert sorted(chosen[:, 0].tolist()) == [-1, -1, 0, 3] and margin[0] == 1.0
