"""Problems of listed pairs: bad input, units, and the structured form as pairs."""

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.pairs import keys, pair_problem
from benchmarks.plain import lowered
from engine.errors import DataError
from engine.pair_block import PairBlock, joined_pairs
from engine.pair_problem import MOST_UNITS, PairProblem
from engine.problem import Row
from kernels import backend
from tests import device_stand_in, pair_problems, problems
from tests.test_pair_ratios import one_each

ONE_KIND = tuple(np.array(x, np.int32) for x in ([0, 1, 2], [0, 0, 0], [0, 0, 0]))
ROWS = [Row("budget", "cost", is_minimum=False)]


def block(**changes):
    """Three subscribers: two pairs, none, one pair; every pair uses the budget."""
    arrays = {
        "key": np.arange(3), "indptr": np.array([0, 2, 2, 3]), "action": np.array([0, 2, 1]),
        "value": np.array([1.0, 2.5, 3.0]), "use_first": np.arange(4),
        "use_row": np.zeros(3), "use_amount": np.array([0.5, 1.0, 2.0]), "most": np.ones(3),
        "fewest": np.zeros(3), "channel_most": np.ones((1, 3)), "category_most": np.ones((1, 3)),
    } | changes  # fmt: skip
    types = {"action": np.int32, "use_row": np.int32, "most": np.uint8, "fewest": np.uint8}
    types |= {"channel_most": np.uint8, "category_most": np.uint8}
    types |= {"value": np.float64, "use_amount": np.float64}
    return PairBlock(**{n: np.asarray(a, types.get(n, np.int64)) for n, a in arrays.items()})


def of(limit=(2.0,), **changes):
    return PairProblem.of([block(**changes)], ONE_KIND, ROWS, list(limit))


def test_numbers_with_few_decimals_are_counted_in_decimals():
    problem = of(limit=[2.3], use_amount=[0.1, 0.2, 2.0])
    assert (problem.value_unit, problem.use_unit, problem.limit) == (10, [10], [23])
    assert problem.blocks[0].use_amount.tolist() == [1, 2, 20]
    assert problem.blocks[0].value.tolist() == [10, 25, 30]


@given(
    st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=3),
    st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=3),
    st.floats(-1e6, 1e6),
)
def test_what_keeps_whole_limits_keeps_the_given_ones(value, use, limit):
    problem = of(limit=[limit], value=value, use_amount=use)
    assert problem.contacts * max(abs(problem.blocks[0].value).max(), 1) < MOST_UNITS
    unit = problem.use_unit[0]
    decimal = unit in [10**d for d in range(10)]
    for given_, whole in zip(use, problem.blocks[0].use_amount.tolist(), strict=True):
        assert whole / unit == given_ if decimal else Fraction(whole, unit) >= Fraction(given_)
    assert Fraction(problem.limit[0], unit) <= Fraction(limit) or problem.limit[0] / unit == limit
    for given_, whole in zip(value, problem.blocks[0].value.tolist(), strict=True):
        assert whole / problem.value_unit == pytest.approx(given_, rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": [1, np.nan, np.inf]},
         "value: got nan for subscriber 0, action 2, and 2 such in all; it must be a finite"),
        ({"use_amount": [1, 1, -np.inf]},
         "use of budget: got -inf for subscriber 2, action 1, and 1 such in all"),
        ({"limit": [np.nan]}, "limit of budget: got nan"),
        ({"value": [1, 1e300, 1]}, "value: got 1e\\+300 for subscriber 0, action 2"),
        ({"value": [1e-9, 1.1e17, 1e9]},
         r"value: got 1e-09 for .* with the others it must be 0 or from 0.125 to 1.92e\+17"),
        ({"indptr": [0, 2, 1, 3]}, "indptr: must never fall and go from 0 to 3"),
        ({"indptr": [0, 2, 2, 2]}, "indptr: must never fall and go from 0 to 3"),
        ({"use_first": [0, 1, 2, 4]}, "use_first: must never fall and go from 0 to 3"),
        ({"action": [2, 0, 1]}, "action: of one subscriber must increase, each once; 1 do not, the "
         "first 0 after 2 of subscriber 0"),
        ({"action": [2, 2, 1]}, "action: of one subscriber must increase, each once; 1 do not, the "
         "first 2 after 2 of subscriber 0"),
        ({"action": [0, 3, 1]}, r"action: 1 are not in \[0, 3\), the first 3 at 1"),
        ({"use_row": [0, 0, 1]}, r"use_row: 1 are not in \[0, 1\), the first 1 at 2"),
        ({"use_first": [0, 2, 2, 3]}, "use_row: of one pair must increase, each once"),
        ({"fewest": [0, 1, 0]}, "fewest: is 1 where no pair is listed; .* the first is 1"),
        ({"fewest": [1, 0, 0], "most": [2, 1, 1]}, "fewest: where it is 1, most must be 1"),
        ({"fewest": [2, 0, 0]}, "fewest: must be 0 or 1"),
        ({"most": [5, 1, 1]}, "most: 5 pairs per subscriber; at most 4 are allowed"),
        ({"channel_most": [[1, 1, 0]]},
         "channel_most: is 0 for 1 listed pairs, the first action 1 of subscriber 2"),
        ({"category_most": np.ones((1, 2))}, "category_most: has shape"),
        ({"most": np.ones(2)}, r"most: has shape \(2,\); \(3,\) is needed"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_by_name(changes, message):
    with pytest.raises(DataError, match=message):
        of(**changes)


def test_values_from_1e_9_to_1e9_are_fine_where_they_fit():
    problem = of(value=[1e-9, 1e9, 1.0], most=[1, 0, 0])
    assert problem.blocks[0].value.tolist() == [1, 10**18, 10**9]
    with pytest.raises(DataError, match="value: got 1e-09 for subscriber 0, action 0"):
        of(value=[1e-9, 1e10, 1.0])


def test_whole_numbers_whose_sums_may_wrap_are_refused():
    good = of()
    large = replace(good.blocks[0], value=np.array([1, 2, 2**61]))
    with pytest.raises(DataError, match=r"value: up to .* with 3 contacts at most"):
        good.with_blocks([large])
    least = replace(good.blocks[0], use_amount=np.array([1, 2, -(2**63)]))
    with pytest.raises(DataError, match=r"use of budget: up to"):
        good.with_blocks([least])


@pytest.mark.parametrize("subscribers", [0, 1])
def test_nothing_to_offer_and_no_constraints_are_fine(subscribers):
    none = np.zeros(0, np.int32)
    few = PairBlock(
        np.zeros(subscribers, np.int64), np.zeros(subscribers + 1, np.int64), none, np.zeros(0),
        np.zeros(1, np.int64), none, np.zeros(0), np.ones(subscribers, np.uint8),
        np.zeros(subscribers, np.uint8), np.ones((0, subscribers), np.uint8),
        np.ones((0, subscribers), np.uint8),
    )  # fmt: skip
    problem = PairProblem.of([few], (none, none, none), [], [])
    assert (problem.subscribers, problem.open_pairs) == (subscribers, 0)
    assert pair_problems.optimum(problem) == 0


@given(pair_problems.small_pair_problems(), st.integers(1, 4), st.integers(0, 99))
def test_blocks_are_split_and_joined_without_loss(problem, blocks, seed):
    moved = pair_problems.rearranged(problem, np.random.default_rng(seed), blocks)
    (whole,) = problem.blocks
    again = joined_pairs(list(moved.blocks))
    again = again.take(np.argsort(again.key, kind="stable"))
    whole = whole.take(np.argsort(whole.key, kind="stable"))
    for one, other in zip(whole.arrays(), again.arrays(), strict=True):
        assert one.dtype == other.dtype and one.tolist() == other.tolist()
    first, second = problem.measured, moved.measured
    assert first.mean_value == second.mean_value
    assert first.usual.tolist() == second.usual.tolist()


@given(pair_problems.small_pair_problems(), st.data())
def test_fewer_constraints_and_no_value_change_nothing_else(problem, data):
    keep = data.draw(st.lists(st.sampled_from(range(len(problem.rows))), unique=True)
                     if problem.rows else st.just([]))  # fmt: skip
    less = problem.with_rows(sorted(keep)).without_value()
    for old, new in zip(problem.blocks, less.blocks, strict=True):
        for s in range(len(old)):
            mine = [u for _, _, u in pair_problems.bundles(problem, old, s)]
            kept = list(pair_problems.bundles(less, new, s))
            assert [u for _, _, u in kept] == [tuple(u[k] for k in sorted(keep)) for u in mine]
            assert not any(value for _, value, _ in kept)


@given(problems.small_problems(related=False, palettes=pair_problems.EXACT))
def test_a_structured_problem_has_the_same_optimum_as_pairs(problem):
    pairs = pair_problem(lowered(problem))
    best = problems.optimum(problem)
    mine = pair_problems.optimum(pairs)
    assert (best is None) == (mine is None)
    if best is not None:
        assert Fraction(mine, pairs.value_unit) == Fraction(best, problems.VALUE_UNIT)


def test_a_plain_problem_of_the_benchmarks_is_taken_in_its_units():
    one = np.ones((1, 2), np.uint8)
    plain = SimpleNamespace(
        subscribers=2, indptr=np.array([0, 1, 2]), action=np.array([0, 1], np.int32),
        value=np.array([1.0, 2.0]), use_indptr=np.array([0, 0, 1]),
        use_row=np.zeros(1, np.int32), use_amount=np.array([4.0]), limit=np.array([15.0]),
        most=one[0], category=np.zeros(2, np.int32), category_most=one,
        channel=np.zeros(2, np.int32), channel_most=one, offer=np.arange(2, dtype=np.int32),
        value_unit=0.5, use_unit=0.25,
    )  # fmt: skip
    problem = pair_problem(plain)
    (block_,) = problem.blocks
    assert (block_.value / problem.value_unit).tolist() == [0.5, 1.0]
    assert (block_.use_amount / problem.use_unit[0]).tolist() == [1.0]
    assert problem.amount(0) == 3.0  # 3.75, but uses are whole
    assert len(set(keys(1_000).tolist())) == 1_000 and keys(1_000).min() >= 0


def test_a_block_on_the_device_is_copied_once_to_be_looked_at(monkeypatch):
    problem = one_each([1, 2, 4], [2, 2, 3], 0.5)
    device_stand_in.install(monkeypatch)
    arrays = {n: backend.to_gpu(a) for n, a in problem.blocks[0].__dict__.items()}
    copied = dict.fromkeys(map(id, arrays.values()), 0)

    def get(array):
        copied[id(array)] = copied.get(id(array), 0) + 1
        return array.host.copy()

    monkeypatch.setattr(device_stand_in.DeviceArray, "get", get)
    there = replace(problem, blocks=[PairBlock(**arrays)])
    assert set(copied.values()) == {1}
    assert there.measured.largest_use.tolist() == problem.measured.largest_use.tolist()
    assert there.least_value == problem.least_value and set(copied.values()) == {1}
