"""Blocks given in full: the same problem as listed pairs, and what is refused."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import pair_full
from engine.errors import DataError
from engine.pair_block import PairBlock, joined_pairs
from engine.pair_full import FullBlock
from engine.pair_problem import PairProblem
from engine.problem import Row
from engine.settings.job import Solver
from engine.solve import solve
from tests import pair_problems


@st.composite
def full_blocks(draw):
    """A block of few distinct numbers; its uses are nothing, one an action, or full."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.sampled_from([0, 1, 2, 5])), draw(st.sampled_from([0, 1, 2, 3, 7]))
    value = rng.choice([-1.0, 0.0, 0.5, 1.0, 2.25], shape)
    value[rng.random(shape) < draw(st.sampled_from([0.0, 0.4, 1.0]))] = np.nan
    uses = []
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(["none", "action", "full"]))
        size = shape[0] if kind == "action" else shape
        uses.append(None if kind == "none" else rng.choice([-0.5, 0.0, 0.0, 1.0, 3.0], size))
        if kind == "full" and draw(st.booleans()):
            uses[-1][np.isnan(value)] = np.nan  # what closed pairs use does not count
    open_ = ~np.isnan(value)
    most = rng.choice([0, 1, 2], shape[1]).astype(np.uint8)
    fewest = (most == 1) & open_.any(axis=0) & (rng.random(shape[1]) < 0.5)
    caps = rng.integers(1, 3, (2, 2, shape[1])).astype(np.uint8)
    keys = rng.integers(0, 2**62, shape[1])
    return FullBlock(keys, value, uses, most, fewest.astype(np.uint8), *caps)


def in_words(block):
    """Return the pairs of a full block as its words say: a loop over everything."""
    indptr, action, value, first, row, amount = [0], [], [], [0], [], []
    for s in range(len(block.key)):
        for a in range(len(block.value)):
            if np.isnan(block.value[a, s]):
                continue
            action.append(a)
            value.append(block.value[a, s])
            for k, use in enumerate(block.uses):
                u = 0.0 if use is None else use[a] if use.ndim == 1 else use[a, s]
                if u != 0:
                    row.append(k)
                    amount.append(u)
            first.append(len(row))
        indptr.append(len(action))
    lists = [(indptr, np.int64), (action, np.int32), (value, np.float64), (first, np.int64),
             (row, np.int32), (amount, np.float64)]  # fmt: skip
    arrays = [np.array(x, dtype) for x, dtype in lists]
    caps = block.most, block.fewest, block.channel_most, block.category_most
    return PairBlock(block.key, *arrays, *caps)


def problem_of(blocks, full):
    """Return the problem over some blocks, which are of the same kind as a full one."""
    index = np.arange(len(full.value), dtype=np.int32)
    rows = [Row(f"limit_{k}", "value", is_minimum=False) for k in range(len(full.uses))]
    return PairProblem.of(blocks, (index, index % 2, index // 2 % 2), rows, [1.5] * len(rows))


def same(one, other):
    for mine, theirs in zip(one.arrays(), other.arrays(), strict=True):
        assert mine.dtype == theirs.dtype and mine.shape == theirs.shape
        assert mine.tobytes() == theirs.tobytes()


@given(full_blocks(), st.sampled_from([1, 2, pair_full.CHUNK]))
def test_a_full_block_is_the_same_pairs_listed(block, chunk):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pair_full, "CHUNK", chunk)
        same(block.listed(), in_words(block))
    one, other = (problem_of([b], block) for b in (block, in_words(block)))
    assert (one.value_unit, one.use_unit, one.limit) == (
        other.value_unit, other.use_unit, other.limit,
    )  # fmt: skip
    same(one.blocks[0], other.blocks[0])


@settings(max_examples=15)
@given(full_blocks(), st.integers(0, 99))
def test_any_order_and_any_blocks_of_full_ones_give_the_same_bits(block, seed):
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(block.key))
    parts = [taken(block, rows) for rows in np.array_split(order, 3)]
    whole, moved = problem_of([block], block), problem_of(parts, block)
    assert whole.use_unit == moved.use_unit
    (mine,), theirs = whole.blocks, joined_pairs(list(moved.blocks))
    same(*(b.take(np.argsort(b.key, kind="stable")) for b in (mine, theirs)))
    one, other = (solve(p, Solver()) for p in (whole, moved))
    assert (one.status, one.value, one.bound) == (other.status, other.value, other.bound)
    assert pair_problems.by_key(whole, one.chosen) == pair_problems.by_key(moved, other.chosen)


def taken(block, rows):
    """Return the full block of some subscribers; views of it will do."""
    uses = [use if use is None or use.ndim == 1 else use[:, rows] for use in block.uses]
    sides = (block.most, block.fewest, block.channel_most, block.category_most)
    return FullBlock(block.key[rows], block.value[:, rows], uses, *(x[..., rows] for x in sides))


def small():
    """Three subscribers, two actions; subscriber 1 is not open to action 0."""
    one = np.ones((2, 3), np.uint8)
    value = np.array([[1.0, np.nan, 3.0], [4.0, 5.0, 6.0]])
    uses = [np.array([1.0, 0.0]), None, np.arange(6.0).reshape(2, 3)]
    return FullBlock(np.arange(3), value, uses, one[0], one[0] * 0, one, one)


def test_zeros_of_use_are_not_stored():
    listed = small().listed()
    assert listed.use_first.tolist() == [0, 1, 2, 3, 5, 6]
    assert listed.use_row.tolist() == [0, 2, 2, 0, 2, 2]
    assert listed.use_amount.tolist() == [1.0, 3.0, 4.0, 1.0, 2.0, 5.0]


@pytest.mark.parametrize(
    ("number", "at", "message"),
    [
        (np.nan, (1, 1), "use of limit_2: got nan for subscriber 1, action 1, and 1 such in all"),
        (-np.inf, (0, 2), "use of limit_2: got -inf for subscriber 2, action 0, and 1 such in"),
        (np.nan, slice(None), "use of limit_2: got nan for subscriber 0, action 0, and 5 such in"),
        (np.nan, (0, 1), None),  # that pair is not open
    ],
)
def test_uses_of_open_pairs_that_are_no_numbers_are_refused(number, at, message):
    block = small()
    block.uses[2][at] = number
    if message is None:
        problem_of([block], block)
        return
    with pytest.raises(DataError, match=message):
        problem_of([block], block)
    block.uses[0][1] = np.nan  # the same for all who are open to it
    with pytest.raises(DataError, match="use of limit_0: got nan .* and 3 such in all"):
        problem_of([block], block)


def test_infinite_values_are_refused():
    block = small()
    block.value[1] = np.inf
    with pytest.raises(DataError, match="value: got inf for subscriber 0, action 1, and 3 such in"):
        problem_of([block], block)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": np.zeros((2, 3), np.float32)}, r"value: is \(2, 3\) float32; \[A, S\] float64"),
        ({"value": np.zeros(6)}, r"value: is \(6,\) float64"),
        ({"key": np.arange(2)}, "key: has 2 entries; 3 are needed"),
        ({"uses": [None, np.zeros(3)]},
         r"uses of constraint 1: are \(3,\) float64; None, \(2,\) or \(2, 3\) float64 are needed"),
        ({"uses": [np.zeros((2, 3), int)]}, r"uses of constraint 0: are \(2, 3\) int64"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        replace(small(), **changes)


def test_listing_takes_no_more_memory_than_what_comes_out():
    """Python's own measure, which NumPy tells; the loops' scratch is a chunk's."""
    rng, shape, constraints = np.random.default_rng(0), (10, 40_000), 5
    one = np.ones((2, shape[1]), np.uint8)
    uses = [rng.random(shape) for _ in range(constraints)]
    block = FullBlock(np.arange(shape[1]), rng.random(shape), uses, one[0], one[0], one, one)
    stated = shape[0] * shape[1] * (20 + 12 * constraints) + 8 * shape[1]
    block.listed()  # compiled before
    tracemalloc.start()
    try:
        listed = block.listed()
        _, peak = tracemalloc.get_traced_memory()
        assert stated <= peak <= 1.1 * stated
        tracemalloc.reset_peak()
        problem_of([listed], block)
        assert tracemalloc.get_traced_memory()[1] <= 3 * stated
    finally:
        tracemalloc.stop()
