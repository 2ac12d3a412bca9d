"""Ratios of sums over listed pairs: against enumeration of plain problems, and in exact numbers."""

from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.pairs import keys
from engine.errors import AllocationError, DataError
from engine.infeasible import explain
from engine.limits import MICRO
from engine.pair_block import PairBlock
from engine.pair_full import FullBlock
from engine.pair_problem import PairProblem
from engine.pair_ratio import Ratio
from engine.problem import Row
from engine.quotient import Quotient
from engine.settings.job import Solver
from engine.solve import Status, solve
from engine.stop import Deadline
from kernels import backend
from tests import pair_problems, plains
from tests.device_stand_in import install

TIGHT = Solver(gap_tolerance=1e-13)
ROUNDED = Solver(gap_tolerance=1e-9, exact_pairs=0)
LIMITS = [Fraction(0), 0.25, Fraction(1, 3), 0.1, 1, 2.5, Fraction(22, 7)]


@st.composite
def ratio_problems(draw):
    """A plain problem, how many of its limits are kept, and ratios of any of its uses."""
    plain = plains.random_plain(
        draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([0, 1, 2, 4]))
    )
    ratios = [
        Ratio(
            f"ratio_{r}", draw(st.integers(0, 2)), draw(st.integers(1, 2)),  # uses of 0 are negated
            draw(st.sampled_from(LIMITS)), draw(st.booleans()),
        )
        for r in range(draw(st.integers(1, 2)))
    ]  # fmt: skip
    return plain, draw(st.integers(0, 3)), ratios


def listed(plain, limits, ratios):
    """Return the problem; constraints beyond the limits are listed where a ratio is of them."""
    further = sorted({k for ratio in ratios for k in (ratio.of, ratio.to) if k >= limits})
    place = {k: k for k in range(limits)} | {k: limits + i for i, k in enumerate(further)}
    block = PairBlock(
        keys(plain.subscribers), plain.indptr, plain.action, plain.value * plain.value_unit,
        plain.use_indptr, plain.use_row, plain.use_amount * plain.use_unit, plain.most,
        np.zeros_like(plain.most), *allowing(plain),
    )  # fmt: skip
    kept = np.array([place.get(k, -1) for k in range(3)], np.int32)
    return PairProblem.of(
        [block.with_rows(kept)], (plain.offer, plain.channel, plain.category),
        [Row(f"limit_{k}", "value", is_minimum=False) for k in range(limits)],
        (plain.limit[:limits] * plain.use_unit).tolist(),
        ratios=[replace(ratio, of=place[ratio.of], to=place[ratio.to]) for ratio in ratios],
    )  # fmt: skip


def allowing(plain):
    """Return the caps, 1 where they are 0: such pairs should not be listed."""
    return np.maximum(plain.channel_most, 1), np.maximum(plain.category_most, 1)


def keeps(ratio, uses):
    of, to, limit = uses[ratio.of], uses[ratio.to], Fraction(str(ratio.limit))
    return of >= limit * to if ratio.is_minimum else of <= limit * to


def optimum(plain, limits, ratios):
    """Return the most value of bundles within limits and ratios, by trying all; or None."""
    channel, category = allowing(plain)
    plain = replace(plain, channel_most=channel, category_most=category)
    best = None
    for choice in product(*(plains.bundles(plain, s) for s in range(plain.subscribers))):
        value, uses = plains.worth(plain, [n for bundle in choice for n in bundle])
        if all(uses[k] <= plain.limit[k] for k in range(limits)) and all(
            keeps(ratio, uses) for ratio in ratios
        ):
            best = value if best is None else max(best, value)
    return None if best is None else float(best) * plain.value_unit


def check(plain, limits, ratios, found, problem):
    """Check an answer's limits and ratios by the plain problem's words; return its value."""
    taken = [
        n
        for s, actions in enumerate(found.chosen[0].T.tolist())
        for n in range(plain.indptr[s], plain.indptr[s + 1])
        if plain.action[n] in actions
    ]
    value, uses = plains.worth(plain, taken)
    assert len(taken) == (found.chosen[0] >= 0).sum()
    assert all(uses[k] <= plain.limit[k] for k in range(limits))
    reached = problem.reached(found.chosen)
    for ratio in ratios:
        assert keeps(ratio, uses)
        nothing = uses[ratio.to] == 0
        assert reached[ratio.name] == (None if nothing else uses[ratio.of] / uses[ratio.to])
        if nothing and not ratio.is_minimum:
            assert uses[ratio.of] <= 0
    return float(value) * plain.value_unit


@settings(max_examples=60)
@given(ratio_problems())
def test_the_best_allocation_within_ratios_is_found_and_keeps_them(case):
    problem, best = listed(*case), optimum(*case)
    found = solve(problem, TIGHT)
    assert (found.status == Status.INFEASIBLE) == (best is None)
    if best is not None:
        assert check(*case, found, problem) == found.value == best
        assert min(found.bound, found.dual_bound) >= best - 1e-9


@settings(max_examples=40)
@given(ratio_problems())
def test_prices_and_rounding_keep_ratios_too(case):
    problem, best = listed(*case), optimum(*case)
    try:
        found = solve(problem, ROUNDED)
    except AllocationError:  # whole contacts alone may be impossible: the dual cannot tell
        return
    if found.status == Status.INFEASIBLE:
        assert best is None
        return
    assert check(*case, found, problem) == found.value <= best <= found.bound + 1e-9


@settings(max_examples=20)
@given(ratio_problems(), st.integers(0, 99), st.integers(1, 4))
def test_any_order_and_any_blocks_give_the_same_bits(case, seed, blocks):
    problem = listed(*case)
    moved = pair_problems.rearranged(problem, np.random.default_rng(seed), blocks)
    one, other = solve(problem, TIGHT), solve(moved, TIGHT)
    assert (one.status, one.value, one.bound) == (other.status, other.value, other.bound)
    assert pair_problems.by_key(problem, one.chosen) == pair_problems.by_key(moved, other.chosen)
    assert problem.reached(one.chosen) == moved.reached(other.chosen)


@settings(max_examples=40)
@given(ratio_problems(), st.sampled_from(LIMITS), st.data())
def test_another_limit_of_a_ratio_gives_the_problem_that_has_it(case, limit, data):
    plain, limits, ratios = case
    r = data.draw(st.integers(0, len(ratios) - 1))
    other = list(ratios)
    other[r] = replace(ratios[r], limit=limit)
    expected = listed(plain, limits, other)
    got = listed(*case).at_ratio(limits + r, Fraction(str(limit)))
    assert (got.use_unit, got.ratios) == (expected.use_unit, expected.ratios)
    for mine, theirs in zip(got.blocks[0].arrays(), expected.blocks[0].arrays(), strict=True):
        assert mine.dtype == theirs.dtype and mine.tolist() == theirs.tolist()
    alone = got.with_rows([limits + r])
    assert alone.ratios == [got.ratios[limits + r]]
    nobody = [np.full((1, plain.subscribers), -1, np.int16)]
    assert alone.reached(nobody) == {ratios[r].name: None}


def one_each(of, to, limit, *, value=None, is_minimum=False, fewest=0, penalty=None):
    """Return a problem of subscribers with a pair each, and a ratio of two sums alone."""
    subscribers = len(of)
    value = np.ones(subscribers) if value is None else np.array(value, float)
    one = np.ones((1, subscribers), np.uint8)
    block = FullBlock(
        keys(subscribers), value[None], [np.array([of], float), np.array([to], float)], one[0],
        one[0] * np.uint8(fewest), one, one,
    )  # fmt: skip
    kind = np.zeros(1, np.int32)
    ratio = Ratio("cpa", 0, 1, limit, is_minimum)
    return PairProblem.of([block], (kind,) * 3, [], [], ratios=[ratio], penalty=penalty)


@pytest.mark.parametrize("is_minimum", [False, True])
def test_decimals_are_what_they_are_written_as(is_minimum):
    """0.1 + 0.2 over 3 is 0.1 on the dot, as no float64 is."""
    problem = one_each([0.1, 0.2], [1, 2], 0.1, is_minimum=is_minimum, fewest=1)
    assert problem.ratios[0].limit == Fraction(1, 10)
    assert not problem.blocks[0].use_row.size  # each keeps it by itself: there is no use
    problem = one_each([0.3, 0.1], [1, 3], 0.1, is_minimum=is_minimum, fewest=1)
    assert problem.use_unit == [10]
    sign = -1 if is_minimum else 1
    assert problem.blocks[0].use_amount.tolist() == [sign * 2, sign * -2]
    found = solve(problem, TIGHT)
    assert found.status == Status.OPTIMAL
    assert problem.reached(found.chosen) == {"cpa": Fraction(1, 10)}


@given(
    st.lists(st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)), min_size=1, max_size=4),
    st.floats(1e-3, 1e3), st.booleans(),
)  # fmt: skip
def test_what_keeps_the_whole_form_keeps_the_ratio(uses, limit, is_minimum):
    """Numbers of many digits are rounded against the ratio, and hardly."""
    of, to = zip(*uses, strict=True)
    problem = one_each(of, to, limit, is_minimum=is_minimum)
    (block,), (unit,), sign = problem.blocks, problem.use_unit, -1 if is_minimum else 1
    amounts = np.zeros(len(of), object)
    amounts[np.repeat(np.arange(len(of)), np.diff(block.use_first))] = block.use_amount.tolist()
    for n, d, amount in zip(of, to, amounts, strict=True):
        exact = sign * (Fraction(n) - Fraction(limit) * Fraction(d))
        size = n + limit * d
        # A number of few decimals is read as them: half a last digit of float64 apart at most.
        assert Fraction(amount, unit) >= exact - Fraction(size) * Fraction(1, 2**52)
        assert Fraction(amount, unit) - exact <= Fraction(size) * Fraction(1, 2**48) + Fraction(
            4, unit
        )
    assert max(map(abs, amounts)) <= problem.most_units


@pytest.mark.parametrize("exact_pairs", [0, 20_000])
def test_with_nothing_to_divide_by_at_most_allows_nothing_and_at_least_is_kept(exact_pairs):
    solver = Solver(exact_pairs=exact_pairs)
    problem = one_each([1, 2, 0], [0, 0, 0], 5.0)
    found = solve(problem, solver)
    assert found.chosen[0].tolist() == [[-1, -1, 0]]
    assert problem.reached(found.chosen) == {"cpa": None}
    problem = one_each([1, 2, 0], [0, 0, 0], 5.0, is_minimum=True)
    found = solve(problem, solver)
    assert found.chosen[0].tolist() == [[0, 0, 0]]
    assert problem.reached(found.chosen) == {"cpa": None}


def test_a_ratio_may_be_passed_at_its_penalty():
    """Two contacts cost 3 above the ratio of 1 each; a unit beyond it takes 0.25 or 0.5 off."""
    for penalty, taken in ((0.25, 3), (0.5, 1)):
        problem = one_each([4, 4, 1], [1, 1, 1], 1, penalty=[penalty])
        found = solve(problem, TIGHT)
        assert int((found.chosen[0] >= 0).sum()) == taken
        assert found.value == (3 - 6 * 0.25 if penalty == 0.25 else 1)


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("is_minimum", [False, True])
def test_a_conflict_is_told_in_terms_of_the_ratio(small, is_minimum):
    problem = one_each([1, 2, 4], [2, 2, 3], 2 if is_minimum else 0.5, is_minimum=is_minimum,
                       fewest=1)  # fmt: skip
    (told,) = explain(problem, small=small, deadline=Deadline(60.0))
    side = "at least 2" if is_minimum else "at most 0.5"
    assert told.text.startswith(f"cpa (a ratio of {side}): {'lower' if is_minimum else 'raise'} it")
    assert told.smallest_relaxation == pytest.approx(1 if is_minimum else 0.5, abs=2 / MICRO)
    moved = Fraction(2 if is_minimum else Fraction(1, 2)) + (-1 if is_minimum else 1) * Fraction(
        round((told.smallest_relaxation + 2 / MICRO) * MICRO), MICRO
    )
    assert solve(problem.at_ratio(0, moved), TIGHT).status == Status.OPTIMAL


def test_a_ratio_of_nothing_cannot_be_reached_by_changing_it():
    problem = one_each([1, 2], [0, 0], 1, fewest=1)
    for small in (True, False):
        (told,) = explain(problem, small=small, deadline=Deadline(60.0))
        assert told.smallest_relaxation is None and "not enough" in told.text


def bad(uses=(1.0, 2.0), **changes):
    ratio = replace(Ratio("cpa", 0, 1, 0.5), **changes)
    one = np.ones((1, 2), np.uint8)
    full = [np.ones((1, 2)), np.array([uses])]
    block = FullBlock(np.arange(2), np.ones((1, 2)), full, one[0], one[0] * 0, one, one)
    rows = [Row("budget", "cost", is_minimum=False)]
    return PairProblem.of([block], (np.zeros(1, np.int32),) * 3, rows, [9.0], ratios=[ratio])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"limit": -0.5}, "limit of cpa: got -0.5; it must be a finite number from 0"),
        ({"limit": np.nan}, "limit of cpa: got nan"),
        ({"limit": np.inf}, "limit of cpa: got inf"),
        ({"of": -1}, "cpa: is of constraints -1 and 1; 0 is the first"),
        ({"to": 3}, "ratios: constraint 1 is no limit's, and no ratio is of it"),
        ({"to": 0}, r"use_row: 2 are not in \[0, 1\), the first 1 at 1"),
        ({"uses": (1.0, -2.0)}, "use of what cpa divides by: got -2 for subscriber 1, action 0, "
         "and 1 such in all; what is divided by is 0 or more"),
        ({"uses": (1.0, np.nan)}, "use of what cpa divides by: got nan for subscriber 1, action 0"),
        ({"limit": 1e20}, r"limit of cpa: got 1e\+20; the form of the ratio is of up to 2e\+20"),
    ],
)  # fmt: skip
def test_bad_ratios_are_refused_by_name(changes, message):
    with pytest.raises(DataError, match=message):
        bad(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ratios": [None]}, "ratios: has 1 entries; 2 are needed"),
        ({"limit": [9, 1]}, "limit: is 1 for constraint 1; of a ratio's form it is 0"),
        ({"sums": None}, r"sums: has shape \(\); two rows of 2 a ratio are needed"),
        ({"sums": np.full((2, 2), 2**61)}, "sums: of constraint 1 are above"),
    ],
)
def test_ratios_in_whole_units_are_checked(changes, message):
    problem = bad()
    sums = changes.pop("sums", problem.blocks[0].sums)
    with pytest.raises(DataError, match=message):
        replace(problem, blocks=[replace(problem.blocks[0], sums=sums)], **changes)


def test_a_ratio_of_the_structured_form_is_refused():
    everyone = np.ones(1, bool)
    quotient = Quotient(np.ones((2, 1), int), np.ones((2, 1), int), everyone, everyone, Fraction(1))
    problem = bad()
    rows = [problem.rows[0], replace(problem.rows[1], quotient=quotient)]
    with pytest.raises(DataError, match=r"cpa: is a ratio of a structured problem; give it as"):
        replace(problem, rows=rows)


@given(ratio_problems(), st.integers(0, 2), st.integers(0, 2**32 - 1))
def test_other_uses_of_a_constraint_take_the_place_of_its_own_on_either_side(case, k, seed):
    block = listed(*case).blocks[0]
    amounts = np.random.default_rng(seed).choice([-2, 0, 0, 1], len(block.action))
    with pytest.MonkeyPatch.context() as patch:
        got = block.with_uses(k, amounts)
        install(patch)
        arrays = {n: backend.to_gpu(a) for n, a in block.__dict__.items()}
        there = PairBlock(**arrays).with_uses(k, backend.to_gpu(amounts)).to_host()
    for mine, theirs in zip(got.arrays(), there.arrays(), strict=True):
        assert mine.dtype == theirs.dtype and mine.tolist() == theirs.tolist()
    for n in range(len(block.action)):
        uses = [dict(zip(*(x[b.use_first[n] : b.use_first[n + 1]].tolist()
                           for x in (b.use_row, b.use_amount)), strict=True))
                for b in (block, got)]  # fmt: skip
        expected = {row: u for row, u in uses[0].items() if row != k}
        expected |= {k: int(amounts[n])} if amounts[n] else {}
        assert list(uses[1].items()) == sorted(expected.items())


def test_without_blocks_a_ratio_is_of_nothing():
    rows, kinds = [Row("budget", "cost", is_minimum=False)], [np.zeros(1, np.int32)] * 3
    ratio = Ratio("share", 0, 1, 0.5, is_minimum=False)
    problem = PairProblem.of([], kinds, rows, [1.0], ratios=[ratio])
    assert problem.reached([]) == {"share": None}


def test_limits_are_as_many_as_the_rows_that_limit_a_sum():
    rows, kinds = [Row("budget", "cost", is_minimum=False)], [np.zeros(1, np.int32)] * 3
    with pytest.raises(DataError, match="limit: has 2 entries; one for each of the 1 constraints"):
        PairProblem.of([], kinds, rows, [1.0, -5.0])
