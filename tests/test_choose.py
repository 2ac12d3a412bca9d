"""The bundle choice against its plain definition, on every backend."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.choose import NO_ACTION, choose

GRID = 1 << 24


@st.composite
def problems(draw, max_rows=7):
    """A small problem: few distinct values, so ties, empty rows and blocked rows are common."""
    rows = draw(st.sampled_from([0, 1, 2, max_rows]))
    offers, channels, categories = (draw(st.integers(1, n)) for n in (5, 4, 3))
    groups, width = draw(st.integers(1, 2)), draw(st.integers(1, 4))
    pairs = sorted(draw(st.sets(st.tuples(st.integers(0, offers - 1), st.integers(0, channels - 1)),
                                min_size=1, max_size=10)))  # fmt: skip
    actions = len(pairs)

    def array(choices, shape, dtype):
        size = int(np.prod(shape))
        flat = draw(st.lists(st.sampled_from(choices), min_size=size, max_size=size))
        return np.array(flat, dtype).reshape(shape)

    most = array([0, 1, width, width], rows, np.uint8)
    channel_most = array([0, 1, 1, 2], (channels, rows), np.uint8)
    category_most = array([0, 1, 3, 4], (categories, rows), np.uint8)
    offer = np.array([o for o, _ in pairs], np.int32)
    channel = np.array([c for _, c in pairs], np.int32)
    category = (offer % categories).astype(np.int32)
    propensity = array([np.nan, 0.0, 0.25, 0.5, 1.0], (actions, rows), np.float32)
    propensity[(channel_most[channel] == 0) | (category_most[category] == 0)] = np.nan
    money = [-1.0, 0.0, 0.5, 1.0]
    return (
        propensity,
        array([0.5, 1.0, 2.0], rows, np.float32),
        array(range(groups), rows, np.int32),
        np.minimum(most, width).astype(np.uint8),
        channel_most,
        category_most,
        offer,
        channel,
        category,
        array(money, actions, np.float64),
        array(money, actions, np.float64),
        array(money, (groups, actions), np.float64),
        array(money, (groups, actions), np.float64),
    ), width


def surpluses(problem, s):
    p, w, g, *_ = problem
    fixed, accept, paid, paid_accept = problem[9:13]
    out = {}
    for a in range(len(p)):
        if np.isnan(p[a, s]):
            continue
        x = float(p[a, s])
        out[a] = (float(w[s]) * fixed[a] - paid[g[s], a]) + (
            float(w[s]) * accept[a] - paid_accept[g[s], a]
        ) * x
    return out


def feasible(problem, s, surplus):
    """Yield every bundle that the caps allow, the empty one too."""
    *_, most, channel_most, category_most, offer, channel, category = problem[:9]
    for size in range(int(most[s]) + 1):
        for bundle in combinations(sorted(surplus), size):
            of = [(offer[a], channel[a], category[a]) for a in bundle]
            if (
                len({o for o, _, _ in of}) == size
                and all(sum(d == c for _, d, _ in of) <= channel_most[c, s] for _, c, _ in of)
                and all(sum(d == h for _, _, d in of) <= category_most[h, s] for _, _, h in of)
            ):
                yield bundle


def totals(problem, s):
    """Return bundle -> surplus. Sums of halves and quarters are exact in any order."""
    surplus = surpluses(problem, s)
    return {b: sum(surplus[a] for a in b) for b in map(frozenset, feasible(problem, s, surplus))}


def counted(problem, chosen):
    """Return the tally of chosen bundles."""
    p, w, g = problem[:3]
    tally = np.zeros((*problem[11].shape, 4), np.int64)
    for s in range(p.shape[1]):
        for a in chosen[:, s][chosen[:, s] != NO_ACTION]:
            unit = int(p[a, s] * GRID), int(w[s] * 1024)
            tally[g[s], a] += (1, unit[0], unit[1], unit[0] * unit[1])
    return tally


@given(case=problems())
def test_choose_matches_its_definition(on_each_backend, case):
    problem, width = case
    chosen, margin, tally = on_each_backend("choose", *problem, width)
    for s in range(problem[0].shape[1]):
        total = totals(problem, s)
        best = total.pop(frozenset(chosen[:, s].tolist()) - {NO_ACTION})
        second = max(total.values(), default=-np.inf)
        assert best >= second  # which of equals wins is the search's choice, the same on each side
        assert margin[s] == best - second
    assert tally.tolist() == counted(problem, chosen).tolist()
    for one, other in zip((chosen, margin), choose(*problem, width), strict=False):
        assert one.tolist() == other.tolist()


@given(case=problems(), data=st.data())
def test_within_matches_its_definition(on_each_backend, case, data):
    problem, width = case
    groups, actions = problem[11].shape
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


@given(case=problems(), bandwidth=st.sampled_from([0.125, 0.5, 2.0]), seed=st.integers(0, 999))
def test_curve_matches_its_definition(on_each_backend, case, bandwidth, seed):
    problem, width = case
    groups, actions = problem[11].shape
    rng = np.random.default_rng(seed)
    constraints = int(rng.integers(1, 5))
    use = rng.choice([0.0, 0.0, 1.0, -0.5], (2, groups, actions, constraints))
    cells, constraint = np.nonzero((use != 0).any(axis=0).reshape(-1, constraints))
    constraint = np.ascontiguousarray(constraint)
    first = np.searchsorted(cells, np.arange(groups * actions + 1)).astype(np.int64)
    fixed, accept = (part.reshape(-1, constraints)[cells, constraint] for part in use)
    unit = 2.0**10
    tally, curvature, near = on_each_backend(
        "curve", *problem, first, constraint, fixed, accept, bandwidth, unit, constraints, width
    )
    chosen, _, counts = choose(*problem, width)
    assert tally.tolist() == counts.tolist()
    margins = [sorted(totals(problem, s).values())[::-1] for s in range(problem[0].shape[1])]
    close = [len(m) > 1 and m[0] - m[1] < bandwidth for m in margins]
    assert near.tolist() == [sum(close)]
    assert (np.triu(curvature, 1) == 0).all()
    # Where one bundle alone is second best, the switch to it is known.
    if not any(len(m) > 2 and m[1] == m[2] or len(m) > 1 and m[0] == m[1] for m in margins):
        expected = np.zeros((constraints, constraints))
        for s in np.flatnonzero(close):
            total = totals(problem, s)
            first_, second = sorted(total, key=total.get)[::-1][:2]
            g, p = problem[2][s], problem[0][:, s].astype(float)
            d = sum((use[0, g, a] + use[1, g, a] * p[a] for a in first_), np.zeros(constraints))
            d = d - sum((use[0, g, a] + use[1, g, a] * p[a] for a in second), 0 * d)
            expected += np.outer(d, d)
        assert curvature.tolist() == (np.tril(expected) * unit).tolist()


def test_a_wrong_dtype_is_refused():
    problem = [np.zeros((1, 1), np.float64)] + [np.zeros(1, np.float32)] * 12
    with pytest.raises(TypeError, match="choose: propensity must be contiguous float32"):
        choose(*problem, 1)


def test_one_offer_of_any_number_of_actions_is_chosen(on_each_backend):
    actions, rows = 600, 5
    propensity = np.full((actions, rows), 0.25, np.float32)
    propensity[[577, 599, 0, 512, 300], np.arange(rows)] = 0.5
    propensity[:, 4] = np.nan
    index, none = np.arange(actions, dtype=np.int32), np.zeros((1, actions))
    chosen, margin, tally = on_each_backend(
        "choose", propensity, np.ones(rows, np.float32), np.zeros(rows, np.int32),
        np.ones(rows, np.uint8), np.ones((1, rows), np.uint8), np.ones((1, rows), np.uint8),
        index, index * 0, index * 0, none[0], np.ones(actions), none, none, 1,
    )  # fmt: skip
    assert chosen.tolist() == [[577, 599, 0, 512, NO_ACTION]]
    assert margin.tolist() == [0.25, 0.25, 0.25, 0.25, np.inf]
    assert np.flatnonzero(tally[0, :, 0]).tolist() == [0, 512, 577, 599]
