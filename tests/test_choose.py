"""The bundle choice against its plain definition, on every backend."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.rules import Rules, plain
from kernels.choose import MUST, NO_ACTION, choose, settled

GRID = 1 << 24
VALUE_FIXED, PRICE_FIXED = 14, 16  # places among the arguments of choose


@st.composite
def rules_of(draw, offer, channel, category, related):
    """Draw the relations between some actions: caps of channels, categories and any groups."""
    actions, any_offer = len(offer), st.sampled_from(sorted(set(offer.tolist())))
    groups = [channel == c for c in range(channel.max() + 1)]
    groups += [category == h for h in range(category.max() + 1)]
    several = st.lists(any_offer, min_size=1, max_size=3, unique=True)
    pair = st.tuples(any_offer, any_offer)
    contact, package = np.arange(actions, dtype=np.int32), []
    exclusive = requires = ()
    if related:
        groups += [np.isin(offer, draw(several)) for _ in range(draw(st.integers(0, 2)))]
        groups += [np.ones(actions, bool)] * draw(st.integers(0, 1))
        exclusive = tuple(p for p in draw(st.lists(pair, max_size=2)) if p[0] != p[1])
        needed = [(o, tuple(draw(several))) for o, _ in draw(st.lists(pair, max_size=2))]
        requires = tuple((o, others) for o, others in needed if o not in others)
        package = draw(st.sampled_from([[], [], [0, 1], [0, 1, 2]]))
    for c in range(channel.max() + 1):
        together = np.flatnonzero(np.isin(offer, package) & (channel == c))
        contact[together] = together[:1]
    per_contact = np.array([bool(package) and draw(st.booleans()) for _ in groups], bool)
    return Rules(np.array(groups), per_contact, contact, exclusive, requires)


@st.composite
def problems(draw, max_rows=7):
    """A small problem: few distinct values, so ties, empty rows and blocked rows are common.

    Returns the arguments of ``choose``, the width, and the rules they came from.
    """
    rows = draw(st.sampled_from([0, 1, 2, max_rows]))
    offers, channels, categories = (draw(st.integers(1, n)) for n in (5, 4, 3))
    groups, width = draw(st.integers(1, 2)), draw(st.integers(1, 4))
    pairs = sorted(draw(st.sets(st.tuples(st.integers(0, offers - 1), st.integers(0, channels - 1)),
                                min_size=1, max_size=10)))  # fmt: skip
    actions, related = len(pairs), draw(st.booleans())

    def array(choices, shape, dtype):
        size = int(np.prod(shape))
        flat = draw(st.lists(st.sampled_from(choices), min_size=size, max_size=size))
        return np.array(flat, dtype).reshape(shape)

    offer, channel = (np.array(x, np.int32) for x in zip(*pairs, strict=True))
    rules = draw(rules_of(offer, channel, (offer % categories).astype(np.int32), related))
    most = array([0, 1, width, width], rows, np.uint8)
    fewest = array([0, 0, 2, 3, MUST, MUST + 1, MUST + 2] if related else [0], rows, np.uint8)
    cap = array([0, 1, 1, 2, 3, 4], (len(rules.members), rows), np.uint8)
    propensity = array([np.nan, 0.0, 0.25, 0.5, 1.0], (actions, rows), np.float32)
    for d, members in enumerate(rules.members):
        propensity[np.ix_(members, cap[d] == 0)] = np.nan
    money = [-1.0, 0.0, 0.5, 1.0]
    return (
        propensity,
        array([0.5, 1.0, 2.0], rows, np.float32),
        array(range(groups), rows, np.int32),
        np.minimum(most, width).astype(np.uint8),
        fewest,
        cap,
        *rules.arrays(offer),
        array(money, actions, np.float64),
        array(money, actions, np.float64),
        array(money, (groups, actions), np.float64),
        array(money, (groups, actions), np.float64),
    ), width, rules  # fmt: skip


def surpluses(problem, s, spread=None, held=()):
    p, w, g, *_ = problem
    fixed, accept, paid, paid_accept = problem[VALUE_FIXED : VALUE_FIXED + 4]
    out = {}
    for a in range(len(p)):
        if np.isnan(p[a, s]):
            continue
        x = float(p[a, s])
        out[a] = (float(w[s]) * fixed[a] - paid[g[s], a]) + (
            float(w[s]) * accept[a] - paid_accept[g[s], a]
        ) * x
        if spread is not None:
            move = spread[0][g[s], a] + spread[1][g[s], a] * x
            out[a] += -move if a in held else move
    return out


def bundles(problem, s, rules, surplus):
    """Give every bundle that is allowed, smaller ones first; the empty one where it is."""
    most, fewest, cap, offer = problem[3:7]
    order = sorted(surplus, key=lambda a: (-surplus[a], a))
    found = []
    for size in range(1, int(most[s]) + 1):
        for bundle in combinations(order, size):
            offers = [int(offer[a]) for a in bundle]
            if len(set(offers)) < size or size < int(fewest[s]) % MUST:
                continue
            if any(one in offers and other in offers for one, other in rules.exclusive):
                continue
            if any(one in offers and not set(others) & set(offers)
                   for one, others in rules.requires):  # fmt: skip
                continue
            counted = [[int(rules.contact[a]) for a in bundle if of[a]] for of in rules.members]
            counts = [len(set(counted[d]) if rules.per_contact[d] else counted[d])
                      for d in range(len(counted))]  # fmt: skip
            if all(count <= cap[d, s] for d, count in enumerate(counts)):
                found.append(bundle)
    return found if found and fewest[s] >= MUST else [(), *found]


def total_of(bundle, surplus):
    total = 0.0
    for a in bundle:
        total += surplus[a]
    return total


def definition(problem, s, rules, surplus):
    """Try every bundle in the stated order; keep the first of the best, and its margin."""
    found = bundles(problem, s, rules, surplus)
    totals = [total_of(bundle, surplus) for bundle in found]
    best = totals.index(max(totals))
    rest = totals[:best] + totals[best + 1 :]
    return found[best], totals[best], totals[best] - max(rest) if rest else np.inf


@settings(max_examples=300)
@given(case=problems())
def test_choose_matches_its_definition(on_each_backend, case):
    problem, width, rules = case
    chosen, tally, margin = on_each_backend("choose", *problem, width)
    p, w, g = problem[:3]
    expected = np.zeros_like(tally)
    for s in range(p.shape[1]):
        surplus = surpluses(problem, s)
        _, best_total, best_margin = definition(problem, s, rules, surplus)
        bundle = [int(a) for a in chosen[:, s] if a != NO_ACTION]
        # Sums of halves and quarters are exact, so equal optima are equal bits; which of several
        # optimal bundles wins is the search order's choice, the same on every backend (below).
        assert sum(surplus[a] for a in bundle) == best_total
        assert tuple(bundle) in bundles(problem, s, rules, surplus)
        assert margin[s] == best_margin
        for a in bundle:
            unit = int(p[a, s] * GRID), int(w[s] * 1024)
            expected[:, g[s], a] += (1, unit[0], unit[1], unit[0] * unit[1])
    assert tally.tolist() == expected.tolist()
    same = choose(*problem, width)
    assert (chosen.tolist(), margin.tolist()) == (same[0].tolist(), same[2].tolist())


@given(case=problems(), spread=st.sampled_from([0.0, 0.25, 1.0]), data=st.data())
def test_a_settled_bundle_survives_every_move_within_the_spread(
    on_each_backend, case, spread, data
):
    problem, width, rules = case
    shape = problem[PRICE_FIXED].shape
    spreads = np.full(shape, spread), np.full(shape, spread / 2)
    chosen = choose(*problem, width)[0]
    still = on_each_backend("settled", *problem, *spreads, chosen)
    assert still.tolist() == settled(*problem, *spreads, chosen).tolist()
    moves = data.draw(st.lists(st.sampled_from([-1, 0, 1]), min_size=shape[1], max_size=shape[1]))
    moved = list(problem)
    moved[PRICE_FIXED] = problem[PRICE_FIXED] + spread * np.array(moves)
    moved[PRICE_FIXED + 1] = problem[PRICE_FIXED + 1] + spread / 2 * np.array(moves)
    for s in np.flatnonzero(still):
        value = definition(moved, s, rules, surpluses(moved, s))[1]
        kept = sum(surpluses(moved, s)[a] for a in chosen[:, s] if a != NO_ACTION)
        assert kept == value


def test_a_wrong_dtype_is_refused():
    problem = [np.zeros((1, 1), np.float64)] + [np.zeros(1, np.float32)] * 17
    with pytest.raises(TypeError, match="choose: propensity must be contiguous float32"):
        choose(*problem, 1)


def test_one_offer_of_any_number_of_actions_is_chosen(on_each_backend):
    actions, rows = 600, 5
    propensity = np.full((actions, rows), 0.25, np.float32)
    propensity[[577, 599, 0, 512, 300], np.arange(rows)] = 0.5
    propensity[:, 4] = np.nan
    index, none = np.arange(actions, dtype=np.int32), np.zeros((1, actions))
    rules = plain(actions)
    chosen, tally, margin = on_each_backend(
        "choose", propensity, np.ones(rows, np.float32), np.zeros(rows, np.int32),
        np.ones(rows, np.uint8), np.zeros(rows, np.uint8), np.ones((0, rows), np.uint8),
        *rules.arrays(index), none[0], np.ones(actions), none, none, 1,
    )  # fmt: skip
    assert chosen.tolist() == [[577, 599, 0, 512, NO_ACTION]]
    assert margin.tolist() == [0.25, 0.25, 0.25, 0.25, np.inf]
    assert np.flatnonzero(tally[0, 0]).tolist() == [0, 512, 577, 599]
