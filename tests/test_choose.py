"""The bundle choice against its plain definition, on every backend."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.choose import NO_ACTION, choose, settled

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


def surpluses(problem, s, spread=None, held=()):
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
        if spread is not None:
            move = spread[0][g[s], a] + spread[1][g[s], a] * x
            out[a] += -move if a in held else move
    return out


def definition(problem, s, surplus):
    """Try every bundle in the stated order; keep the first of the best."""
    *_, most, channel_most, category_most, offer, channel, category = problem[:9]
    order = sorted((a for a in surplus if surplus[a] > 0), key=lambda a: (-surplus[a], a))
    best, best_total = (), 0.0
    for size in range(1, int(most[s]) + 1):
        for bundle in combinations(order, size):
            offers = [offer[a] for a in bundle]
            if len(set(offers)) < size:
                continue
            counts = ((channel, channel_most), (category, category_most))
            if any(sum(of[b] == of[a] for b in bundle) > cap[of[a], s]
                   for a in bundle for of, cap in counts):  # fmt: skip
                continue
            total = 0.0
            for a in bundle:
                total += surplus[a]
            if total > best_total:
                best, best_total = bundle, total
    return best, best_total


@given(case=problems())
def test_choose_matches_its_definition(on_each_backend, case):
    problem, width = case
    chosen, tally = on_each_backend("choose", *problem, width)
    p, w, g = problem[:3]
    expected = np.zeros_like(tally)
    for s in range(p.shape[1]):
        surplus = surpluses(problem, s)
        _, best_total = definition(problem, s, surplus)
        bundle = [a for a in chosen[:, s] if a != NO_ACTION]
        # Sums of halves and quarters are exact, so equal optima are equal bits; which of several
        # optimal bundles wins is the search order's choice, the same on every backend (below).
        assert sum(surplus[a] for a in bundle) == best_total
        assert bundle in [list(b) for b in feasible(problem, s, surplus)]
        for a in bundle:
            unit = int(p[a, s] * GRID), int(w[s] * 1024)
            expected[:, g[s], a] += (1, unit[0], unit[1], unit[0] * unit[1])
    assert tally.tolist() == expected.tolist()
    assert chosen.tolist() == choose(*problem, width)[0].tolist()


def feasible(problem, s, surplus):
    *_, most, channel_most, category_most, offer, channel, category = problem[:9]
    order = sorted((a for a in surplus if surplus[a] > 0), key=lambda a: (-surplus[a], a))
    for size in range(int(most[s]) + 1):
        for bundle in combinations(order, size):
            of = [(offer[a], channel[a], category[a]) for a in bundle]
            if (
                len({o for o, _, _ in of}) == size
                and all(sum(d == c for _, d, _ in of) <= channel_most[c, s] for _, c, _ in of)
                and all(sum(d == h for _, _, d in of) <= category_most[h, s] for _, _, h in of)
            ):
                yield bundle


@given(case=problems(), spread=st.sampled_from([0.0, 0.25, 1.0]), data=st.data())
def test_a_settled_bundle_survives_every_move_within_the_spread(
    on_each_backend, case, spread, data
):
    problem, width = case
    shape = problem[11].shape
    spreads = np.full(shape, spread), np.full(shape, spread / 2)
    chosen, _ = choose(*problem, width)
    still = on_each_backend("settled", *problem, *spreads, chosen)
    assert still.tolist() == settled(*problem, *spreads, chosen).tolist()
    moves = data.draw(st.lists(st.sampled_from([-1, 0, 1]), min_size=shape[1], max_size=shape[1]))
    moved = list(problem)
    moved[11] = problem[11] + spread * np.array(moves)
    moved[12] = problem[12] + spread / 2 * np.array(moves)
    for s in np.flatnonzero(still):
        value = definition(moved, s, surpluses(moved, s))[1]
        kept = sum(surpluses(moved, s)[a] for a in chosen[:, s] if a != NO_ACTION)
        assert kept == value


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
    chosen, tally = on_each_backend(
        "choose", propensity, np.ones(rows, np.float32), np.zeros(rows, np.int32),
        np.ones(rows, np.uint8), np.ones((1, rows), np.uint8), np.ones((1, rows), np.uint8),
        index, index * 0, index * 0, none[0], np.ones(actions), none, none, 1,
    )  # fmt: skip
    assert chosen.tolist() == [[577, 599, 0, 512, NO_ACTION]]
    assert np.flatnonzero(tally[0, 0]).tolist() == [0, 512, 577, 599]
