"""The bundle choice against its plain definition, on every backend."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.rules import Rules, plain
from kernels.choose import MUST, NO_ACTION, choose

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
    may = [bool(package) and (of == of[contact]).all() for of in groups]  # contacts as a whole
    per_contact = np.array([whole and draw(st.booleans()) for whole in may], bool)
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


def surpluses(problem, s):
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


def totals(problem, s, rules):
    """Return bundle -> surplus of all that are allowed."""
    surplus = surpluses(problem, s)
    return {frozenset(b): total_of(b, surplus) for b in bundles(problem, s, rules, surplus)}


def counted(problem, chosen):
    """Return the tally of chosen bundles."""
    p, w, g = problem[:3]
    tally = np.zeros((*problem[PRICE_FIXED].shape, 4), np.int64)
    for s in range(p.shape[1]):
        for a in chosen[:, s][chosen[:, s] != NO_ACTION]:
            unit = int(p[a, s] * GRID), int(w[s] * 1024)
            tally[g[s], a] += (1, unit[0], unit[1], unit[0] * unit[1])
    return tally


@settings(max_examples=300)
@given(case=problems())
def test_choose_matches_its_definition(on_each_backend, case):
    problem, width, rules = case
    chosen, margin, tally = on_each_backend("choose", *problem, width)
    for s in range(problem[0].shape[1]):
        surplus = surpluses(problem, s)
        _, best_total, best_margin = definition(problem, s, rules, surplus)
        bundle = [int(a) for a in chosen[:, s] if a != NO_ACTION]
        # Sums of halves and quarters are exact, so equal optima are equal bits; which of several
        # optimal bundles wins is the search order's choice, the same on every backend (below).
        assert sum(surplus[a] for a in bundle) == best_total
        assert tuple(bundle) in bundles(problem, s, rules, surplus)
        assert margin[s] == best_margin
    assert tally.tolist() == counted(problem, chosen).tolist()
    same = choose(*problem, width)
    assert (chosen.tolist(), margin.tolist()) == (same[0].tolist(), same[1].tolist())


@given(case=problems(), data=st.data())
def test_within_matches_its_definition(on_each_backend, case, data):
    problem, width, _ = case
    groups, actions = problem[PRICE_FIXED].shape
    moves = st.sampled_from([0.0, 0.25, 0.5, 4.0])
    size = groups * (actions + 1)
    reach = data.draw(st.lists(moves, min_size=size, max_size=size))
    reach = np.array(reach).reshape(groups, actions + 1)
    chosen, margin, _ = choose(*problem, width)
    near = on_each_backend("within", chosen, margin, problem[2], reach)
    for s in range(len(near)):
        bundle = [a for a in chosen[:, s] if a != NO_ACTION]
        own = reach[problem[2][s]]
        assert near[s] == (margin[s] < (sum(own[a + 1] for a in bundle) if bundle else own[0]))


def curvature_of(problem, rules, entries, bandwidth, unit):
    """Return curvature, who is near, and whether each has one second best bundle alone."""
    first, constraint, fixed, accept, constraints = entries
    curvature, near, alone = np.zeros((constraints, constraints)), 0, True
    for s in range(problem[0].shape[1]):
        total = totals(problem, s, rules)
        ranked = sorted(total, key=total.get)[::-1]
        ties = [total[b] for b in ranked[:3]]
        if len(ranked) < 2 or not ties[0] - ties[1] < bandwidth:
            continue
        near += 1
        alone &= len(set(ties)) == len(ties)
        moved = np.zeros(constraints)
        for sign, bundle in ((1.0, ranked[0]), (-1.0, ranked[1])):
            for a in bundle:
                cell = problem[2][s] * problem[PRICE_FIXED].shape[1] + a
                at = slice(first[cell], first[cell + 1])
                use = fixed[at] + accept[at] * float(problem[0][a, s])
                np.add.at(moved, constraint[at], sign * use)
        curvature += np.rint(np.tril(np.outer(moved, moved)) * unit)
    return curvature, near, alone


@given(case=problems(), bandwidth=st.sampled_from([0.125, 0.5, 2.0]), seed=st.integers(0, 999))
def test_curve_matches_its_definition(on_each_backend, case, bandwidth, seed):
    problem, width, rules = case
    groups, actions = problem[PRICE_FIXED].shape
    rng = np.random.default_rng(seed)
    constraints = int(rng.integers(1, 5))
    use = rng.choice([0.0, 0.0, 1.0, -0.5], (2, groups, actions, constraints))
    cells, constraint = np.nonzero((use != 0).any(axis=0).reshape(-1, constraints))
    constraint = np.ascontiguousarray(constraint)
    first = np.searchsorted(cells, np.arange(groups * actions + 1)).astype(np.int64)
    fixed, accept = (part.reshape(-1, constraints)[cells, constraint] for part in use)
    unit, entries = 2.0**10, (first, constraint, fixed, accept)
    tally, curvature, near = on_each_backend(
        "curve", *problem, *entries, bandwidth, unit, constraints, width
    )
    assert tally.tolist() == choose(*problem, width)[2].tolist()
    expected, count, alone = curvature_of(problem, rules, (*entries, constraints), bandwidth, unit)
    assert near.tolist() == [count] and (np.triu(curvature, 1) == 0).all()
    if alone:  # then the switch is known
        assert curvature.tolist() == expected.tolist()


@pytest.mark.parametrize(("actions", "width"), [(20, 3), (70, 2), (130, 2)])
@pytest.mark.parametrize("paying", [0.2, 0.9])
def test_bundles_of_many_actions_match_their_definition(on_each_backend, actions, width, paying):
    rng, rows = np.random.default_rng(actions), 12
    index = np.arange(actions, dtype=np.int32)
    offer, channel = index // 5, index % 5
    groups = [channel == c for c in range(5)] + [offer % 4 == h for h in range(4)]
    rules = Rules(np.array(groups), np.zeros(len(groups), bool), index, exclusive=((0, 1),))
    propensity = rng.choice([np.nan, 0.25, 0.5, 1.0], (actions, rows)).astype(np.float32)
    money = np.where(rng.random(actions) < paying, 1.0, -1.0) * rng.integers(1, 9, actions) / 4
    none = np.zeros((1, actions))
    problem = (
        propensity, rng.choice([0.5, 1.0, 2.0], rows).astype(np.float32), np.zeros(rows, np.int32),
        np.full(rows, width, np.uint8), np.zeros(rows, np.uint8),
        rng.integers(1, 3, (len(groups), rows)).astype(np.uint8),
        *rules.arrays(offer), none[0], money, none, none,
    )  # fmt: skip
    chosen, margin, tally = on_each_backend("choose", *problem, width)
    for s in range(rows):
        surplus = surpluses(problem, s)
        found, _, apart = definition(problem, s, rules, surplus)
        bundle = tuple(int(a) for a in chosen[:, s] if a != NO_ACTION)
        assert total_of(bundle, surplus) == total_of(found, surplus)
        assert bundle in bundles(problem, s, rules, surplus)
        assert margin[s] == apart
    assert tally.tolist() == counted(problem, chosen).tolist()
    same = choose(*problem, width)
    assert (chosen.tolist(), margin.tolist()) == (same[0].tolist(), same[1].tolist())


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
    chosen, margin, tally = on_each_backend(
        "choose", propensity, np.ones(rows, np.float32), np.zeros(rows, np.int32),
        np.ones(rows, np.uint8), np.zeros(rows, np.uint8), np.ones((0, rows), np.uint8),
        *rules.arrays(index), none[0], np.ones(actions), none, none, 1,
    )  # fmt: skip
    assert chosen.tolist() == [[577, 599, 0, 512, NO_ACTION]]
    assert margin.tolist() == [0.25, 0.25, 0.25, 0.25, np.inf]
    assert np.flatnonzero(tally[0, :, 0]).tolist() == [0, 512, 577, 599]
