"""The joint choice of households against its plain definition, on every backend."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.choose import NO_ACTION, choose
from kernels.households import choose_households
from tests.household_problems import arguments, definition, household_problem, households_of
from tests.test_choose import counted

SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def small(draw):
    """Households whose joint choices can all be tried."""
    sizes = draw(st.sampled_from([[], [0], [1], [2], [3], [2, 0, 3], [1, 2, 2], [4]]))
    width = draw(st.integers(1, 3))
    shape = draw(st.sampled_from([(1, 1), (2, 1), (1, 3), (2, 2), (3, 1), (3, 2)]))
    if max(sizes, default=0) == 4:
        width, shape = min(width, 2), (2, 2)
    if max(sizes, default=0) == 3:
        width = min(width, 2)
    return household_problem(draw(SEEDS), sizes, shape, width=width), width


def second(values):
    ranked = sorted(values)
    return ranked[-2] if len(ranked) > 1 else -np.inf


@settings(max_examples=300)
@given(case=small())
def test_choose_matches_its_definition(on_each_backend, case):
    case, width = case
    problem, household, _, _ = case
    inputs, (chosen, margin, tally) = arguments(case, width)
    on_each_backend("choose_households", *inputs, chosen, margin, tally)
    assert (chosen[:, household < 0] == -7).all() and (margin[household < 0] == -7).all()
    for rows in households_of(household):
        total, own = definition(case, rows)
        choice = tuple(frozenset(a for a in chosen[:, s].tolist() if a >= 0) for s in rows)
        assert total[choice] == max(total.values())  # exact sums of halves and quarters
        best = [max(each.values()) for each in own]
        firsts = choose(*problem, width)[0][:, rows]
        alone = tuple(frozenset(a for a in b.tolist() if a >= 0) for b in firsts.T)
        if alone in total:
            assert choice == alone
            expected = [b - second(each.values()) for b, each in zip(best, own, strict=True)]
        else:
            expected = [max(total.values()) - second(total.values())] * len(rows)
        assert margin[rows].tolist() == expected
    taken = np.where(household < 0, NO_ACTION, chosen)
    assert tally.tolist() == counted(problem, taken).tolist()
    same = arguments(case, width)[1]
    choose_households(*inputs, *same)
    for one, other in zip((chosen, margin, tally), same, strict=True):
        np.testing.assert_array_equal(one, other)
