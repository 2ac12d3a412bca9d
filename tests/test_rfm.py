"""RFM scores against their definition by sorting, and independent of how subscribers are split."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import rfm

DAY_S = 86_400
PEOPLE = st.lists(
    st.tuples(
        st.sampled_from([0.0, 1.0, 60.0, 3 * DAY_S, 9 * DAY_S + 1.0]),  # s since the last event
        st.sampled_from([0.0, 1.0, 2.0, 8_191.0]),
        st.sampled_from([-3.5, -0.0, 0.0, 1.0, 2.25, 1e6]),
    ),
    max_size=30,
)


def columns_of(people):
    """Return recency (days, NaN without events), frequency and money."""
    seconds, frequency, money = np.array(people, np.float64).reshape(-1, 3).T
    return np.where(frequency > 0, seconds / DAY_S, np.nan), frequency.copy(), money.copy()


def score_definition(people, bins):
    """Return the three scores of each subscriber: 1 + floor(bins * smaller / all)."""
    values = [(-seconds, n, money) if n else None for seconds, n, money in people]
    known = [row for row in values if row is not None]
    for row in values:
        yield [
            math.nan if row is None
            else 1 + bins * sum(other[d] < row[d] for other in known) // len(known)
            for d in range(3)
        ]  # fmt: skip


@given(people=PEOPLE, bins=st.integers(2, 9), cut=st.integers(0, 30))
def test_scores_are_those_of_the_definition_for_any_split(people, bins, cut):
    whole = columns_of(people)
    parts = [columns_of(people[:cut]), columns_of(people[cut:])]
    cuts = rfm.cuts([rfm.counted(*part) for part in parts], bins)
    assert cuts == rfm.cuts([rfm.counted(*whole)], bins)
    assert cuts.subscribers == sum(n > 0 for _, n, _ in people)
    expected = np.array(list(score_definition(people, bins))).reshape(-1, 3).T
    for dimension, exact in zip(rfm.DIMENSIONS, expected, strict=True):
        np.testing.assert_array_equal(rfm.score(cuts, *whole, dimension=dimension), exact)
    digits = expected[0] * 100 + expected[1] * 10 + expected[2]
    np.testing.assert_array_equal(rfm.combined(cuts, *whole), digits)


def test_each_score_has_an_equal_share_where_there_are_no_ties():
    rng = np.random.default_rng(1)
    columns = rng.permutation(1_000) / DAY_S, 1.0 + rng.permutation(1_000), rng.gamma(1, 9, 1_000)
    cuts = rfm.cuts([rfm.counted(*columns)], 5)
    for dimension in ("recency", "frequency"):
        found = rfm.score(cuts, *columns, dimension=dimension)
        assert np.bincount(found.astype(int)).tolist() == [0, *[200] * 5]
    best = rfm.score(cuts, *columns, dimension="recency")[np.argmin(columns[0])]
    assert best == 5  # the most recent


def test_money_that_differs_by_more_than_a_cell_is_told_apart_and_less_is_not():
    money = np.array([1_000.0, 1_000.1, 1_001.0])  # cells are 0.125 wide there
    columns = np.zeros(3), np.ones(3), money
    cuts = rfm.cuts([rfm.counted(*columns)], 3)
    assert rfm.score(cuts, *columns, dimension="monetary").tolist() == [1, 1, 3]


@given(value=st.lists(st.floats(-1e300, 1e300), min_size=2, max_size=9))
def test_cells_are_in_order_and_narrow(value):
    value = np.sort(np.array(value))
    cell = rfm._cell(value)
    assert (np.diff(cell) >= 0).all()
    least = rfm._least(cell)
    assert (least <= value).all() and (rfm._cell(least) == cell).all()
    narrow = np.abs(value) > 1e-300
    assert (value[narrow] - least[narrow] <= np.abs(least[narrow]) / 4_096).all()


@pytest.mark.parametrize("people", [[], [(5.0, 0.0, 0.0)] * 3])
def test_nobody_with_events_has_no_scores(people):
    columns = columns_of(people)
    cuts = rfm.cuts([rfm.counted(*columns)], 5)
    assert cuts == rfm.Cuts((), (), (), 0)
    assert np.isnan(rfm.combined(cuts, *columns)).all()


def test_everybody_alike_has_the_lowest_score():
    columns = np.ones(7), np.ones(7), np.ones(7)
    cuts = rfm.cuts([rfm.counted(*columns)], 5)
    assert rfm.combined(cuts, *columns).tolist() == [111.0] * 7
