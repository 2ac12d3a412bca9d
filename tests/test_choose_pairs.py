"""The choice among listed pairs against its plain definition, on every backend."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.choose import NO_ACTION
from kernels.choose_pairs import choose_pairs

CLASSES = 3


@st.composite
def listed(draw, max_rows=7):
    """A few subscribers' lists: few distinct numbers, so ties, empty and blocked lists happen."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, width = draw(st.sampled_from([0, 1, 2, max_rows])), draw(st.integers(1, 4))
    return random_lists(
        rng, rows, draw(st.integers(1, 9)), width=width, constraints=draw(st.integers(0, 4))
    )


def random_lists(rng, rows, actions, *, width, constraints, share=0.6):
    """Return the arguments of ``choose_pairs`` but worth, classes and width; then the width."""
    channel = rng.integers(0, 3, actions).astype(np.int32)
    category = rng.integers(0, 2, actions).astype(np.int32)
    open_ = rng.random((rows, actions)) < share
    most = rng.choice([0, 1, width, width], rows).astype(np.uint8)
    fewest = ((most == 1) & open_.any(axis=1) & (rng.random(rows) < 0.5)).astype(np.uint8)
    action = np.nonzero(open_)[1].astype(np.int32)
    used = rng.random((len(action), constraints)) < 0.6
    return (
        rng.integers(0, 2**62, rows),
        np.concatenate([[0], np.cumsum(open_.sum(axis=1))]).astype(np.int64),
        action,
        rng.choice([-2, 0, 1, 2, 3], len(action)),
        np.concatenate([[0], np.cumsum(used.sum(axis=1))]).astype(np.int64),
        np.nonzero(used)[1].astype(np.int32),
        rng.choice([-1, 1, 2], int(used.sum())),
        most,
        fewest,
        rng.integers(1, 3, (3, rows)).astype(np.uint8),
        rng.integers(1, 4, (2, rows)).astype(np.uint8),
        rng.integers(0, actions, actions).astype(np.int32),
        channel,
        category,
        rng.choice([0.0, 0.25, 0.5, 1.0], constraints),
    ), width


def uses(lists, n):
    """Return [K] the uses of pair n."""
    out = np.zeros(len(lists[14]), np.int64)
    for e in range(lists[4][n], lists[4][n + 1]):
        out[lists[5][e]] += lists[6][e]
    return out


def totals(lists, s, worth):
    """Return bundle of pairs -> surplus. Sums of quarters are exact in any order."""
    _, indptr, action, value, *_ = lists
    most, fewest, channel_most, category_most, offer, channel, category, price = lists[7:15]
    surplus = {
        n: float(value[n]) * worth
        - sum((p * u for p, u in zip(price, uses(lists, n), strict=True)))
        for n in range(indptr[s], indptr[s + 1])
    }
    found = {}
    for size in range(int(fewest[s]), int(most[s]) + 1):
        for bundle in combinations(surplus, size):
            of = [(offer[a], channel[a], category[a]) for a in action[list(bundle)]]
            if (
                len({o for o, _, _ in of}) == size
                and all(sum(d == c for _, d, _ in of) <= channel_most[c, s] for _, c, _ in of)
                and all(sum(d == h for _, _, d in of) <= category_most[h, s] for _, _, h in of)
            ):
                found[bundle] = sum(surplus[n] for n in bundle)
    return found


def pairs_of(lists, chosen, s):
    """Return the chosen pairs of a subscriber."""
    low, high = lists[1][s : s + 2]
    places = [np.flatnonzero(lists[2][low:high] == a) for a in chosen if a >= 0]
    assert all(len(place) == 1 for place in places)  # only listed pairs are chosen
    return tuple(sorted(low + int(place[0]) for place in places))


def added(lists, chosen, classes):
    """Return the total of chosen bundles."""
    total = np.zeros((classes, 1 + len(lists[14])), np.int64)
    for s in range(chosen.shape[1]):
        for n in pairs_of(lists, chosen[:, s], s):
            total[lists[0][s] % classes] += [lists[3][n], *uses(lists, n)]
    return total


@given(case=listed(), worth=st.sampled_from([0.5, 1.0]))
def test_choose_pairs_matches_its_definition(on_each_backend, case, worth):
    lists, width = case
    chosen, margin, total = on_each_backend("choose_pairs", *lists, worth, CLASSES, width)
    for s in range(chosen.shape[1]):
        surplus = totals(lists, s, worth)
        # Which of equal bundles wins is the search order's choice, the same on every backend.
        mine = surplus.pop(pairs_of(lists, chosen[:, s], s))
        others = max(surplus.values(), default=-np.inf)
        assert mine >= others
        assert margin[s] == mine - others
    assert total.tolist() == added(lists, chosen, CLASSES).tolist()
    for one, other in zip(
        (chosen, margin, total), choose_pairs(*lists, worth, CLASSES, width), strict=True
    ):
        assert one.tolist() == other.tolist()


@given(case=listed(), bandwidth=st.sampled_from([0.125, 0.5, 2.0]))
def test_curve_pairs_matches_its_definition(on_each_backend, case, bandwidth):
    lists, width = case
    constraints, unit, worth = len(lists[14]), 2.0**10, 1.0
    step = np.linspace(0.5, 2.0, constraints)
    total, curvature, near = on_each_backend(
        "curve_pairs", *lists, step, worth, bandwidth, unit, CLASSES, width
    )
    chosen, margin, expected = choose_pairs(*lists, worth, CLASSES, width)
    assert total.tolist() == expected.tolist()
    assert near.tolist() == [(margin < bandwidth).sum()]
    assert (np.triu(curvature, 1) == 0).all()
    squares = np.zeros((constraints, constraints), np.int64)
    for s in np.flatnonzero(margin < bandwidth):
        surplus = totals(lists, s, worth)
        first = pairs_of(lists, chosen[:, s], s)
        mine = surplus.pop(first)
        second = [b for b, v in surplus.items() if v == mine - margin[s]]
        if len(second) > 1:
            return  # any of them may be meant
        d = sum((uses(lists, n) * step for n in first), np.zeros(constraints))
        d = d - sum((uses(lists, n) * step for n in second[0]), np.zeros(constraints))
        squares += np.rint(np.outer(d, d) * unit).astype(np.int64)
    # The changes are added in the order of the pairs: a last bit of 64 may differ, a square by one.
    assert np.abs(curvature - np.tril(squares)).max(initial=0) <= chosen.shape[1]


def test_ties_go_to_the_lowest_action(on_each_backend):
    lists = list(random_lists(np.random.default_rng(0), 1, 4, width=1, constraints=0, share=2)[0])
    lists[3], lists[7], lists[8] = np.full(4, 5), np.ones(1, np.uint8), np.zeros(1, np.uint8)
    chosen, margin, total = on_each_backend("choose_pairs", *lists, 1.0, 1, 1)
    assert (chosen.tolist(), margin.tolist(), total.tolist()) == ([[0]], [0.0], [[5]])


def test_who_may_not_go_without_takes_a_loss(on_each_backend):
    lists = list(random_lists(np.random.default_rng(0), 2, 2, width=1, constraints=0, share=2)[0])
    lists[3], lists[7] = np.array([-5, -3, -5, -3]), np.ones(2, np.uint8)
    lists[8] = np.array([1, 0], np.uint8)
    chosen, margin, _ = on_each_backend("choose_pairs", *lists, 1.0, 1, 1)
    assert chosen.tolist() == [[1, NO_ACTION]]
    assert margin.tolist() == [2.0, 3.0]


def test_a_wrong_dtype_is_refused():
    lists, width = random_lists(np.random.default_rng(0), 2, 3, width=1, constraints=1)
    with pytest.raises(TypeError, match="choose_pairs: key must be contiguous int64"):
        choose_pairs(lists[0].astype(np.float64), *lists[1:], 1.0, 1, width)
