"""Choices and near subscribers in one go are those of one kernel after another."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import choose, within
from kernels.gather import gather_all, marked
from kernels.nearby import SPAN, choose_nearby
from tests.test_screen import problems


def one_by_one(problem, reach):
    """Return choices, near rows and their columns by the kernels that do it step by step."""
    chosen, margin, tally = choose(*problem, 1)
    rows = marked(within(chosen, margin, problem[2], reach))
    return chosen, margin, tally, rows, gather_all([problem[:5]], [rows])


@settings(max_examples=100)
@given(problem=problems(), share=st.sampled_from([0.0, 0.3, 1.0, 30.0]), several=st.booleans())
def test_nearby_is_choose_within_and_gather(problem, share, several):
    groups, actions = problem[-1].shape
    reach = np.full((groups, 1 + actions), share * np.abs(problem[14]).max())
    blocks = [problem[:5]] * (2 if several else 1)
    choices, total, columns = choose_nearby(blocks, problem[13], problem[14:18], reach)
    chosen, margin, tally, rows, taken = one_by_one(problem, reach)
    for choice in choices:
        assert choice.chosen.tolist() == chosen.tolist()
        assert choice.margin.tolist() == margin.tolist()
        assert choice.rows.tolist() == rows.tolist()
    assert total.tolist() == (len(blocks) * tally).tolist()
    for column, part in zip(columns, taken, strict=True):
        expected = np.concatenate([part] * len(blocks), axis=-1)
        np.testing.assert_array_equal(column, expected)


def test_blocks_of_several_spans_keep_their_order():
    subscribers, rng = 2 * SPAN + 7, np.random.default_rng(1)
    propensity = rng.integers(0, 1 << 24, (2, subscribers)).astype(np.float32) / (1 << 24)
    one = np.ones(subscribers, np.uint8)
    rows = (
        propensity,
        np.ones(subscribers, np.float32),
        np.zeros(subscribers, np.int32),
        one,
        0 * one,
    )
    value, paid = np.ones(2), np.full((1, 2), 0.3)
    tables, requires = (0 * value, value, paid, 0 * paid), np.zeros((0, 2, 1), np.int64)
    for width in (0.05, 0.9):  # few are near, then most
        (choice,), _, columns = choose_nearby([rows], requires, tables, np.full((1, 3), width))
        assert choice.rows.tolist() == np.flatnonzero(choice.margin < width).tolist()
        np.testing.assert_array_equal(columns[0], propensity[:, choice.rows])
