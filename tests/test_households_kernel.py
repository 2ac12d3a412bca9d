"""The joint choice of households against its plain definition, on every backend."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import backend, households
from kernels.choose import NO_ACTION, choose
from kernels.households import choose_households, curve_households
from tests import device_stand_in
from tests.household_problems import (
    arguments,
    choices_of,
    fit_together,
    household_problem,
    households_of,
    solved,
)
from tests.plan_problems import entries_of
from tests.test_choose import PRICE_FIXED, counted, surpluses

SEEDS = st.integers(0, 2**32 - 1)
UNIT, CONSTRAINTS = 2.0**10, 3


@st.composite
def small(draw):
    """Households whose joint choices can all be tried."""
    sizes = draw(st.sampled_from([[], [0], [1], [2], [3], [2, 0, 3], [1, 2, 2], [4]]))
    width = draw(st.integers(1, 2 if max(sizes, default=0) > 2 else 3))
    shapes = [(1, 1), (2, 1), (1, 3), (2, 2), (3, 1), (3, 2)]
    shape = (2, 2) if sizes == [4] else draw(st.sampled_from(shapes))
    return household_problem(draw(SEEDS), sizes, shape, width=width), width


def chosen_by(case, width, call=choose_households):
    """Return bundles, margins and tally of a case's households."""
    inputs, out = arguments(case, width)
    return call(*inputs, *out)


def curved_by(case, entries, bandwidth, width, call=curve_households):
    """Return tally, curvature and near ties of a case's households."""
    inputs, (_, _, tally) = arguments(case, width)
    out = tally, np.zeros((CONSTRAINTS, CONSTRAINTS), np.int64), np.zeros(1, np.int64)
    return call(*inputs, *entries, *out, bandwidth, UNIT, width)


def same_bits(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def ranked(totals):
    """Return bundles or choices, best first, and the margin of the best."""
    order = sorted(totals, key=totals.get)[::-1]
    return order, totals[order[0]] - totals[order[1]] if len(order) > 1 else np.inf


def bundle_sets(chosen, rows):
    return tuple(frozenset(a for a in chosen[:, s].tolist() if a != NO_ACTION) for s in rows)


@settings(max_examples=300)
@given(case=small())
def test_choose_matches_its_definition(on_each_backend, case):
    case, width = case
    problem, household, _, _ = case
    chosen, margin, tally = chosen_by(
        case, width, lambda *values: on_each_backend("choose_households", *values)
    )
    assert (chosen[:, household < 0] == -7).all() and (margin[household < 0] == -7).all()
    by_themselves = choose(*problem, width)[0]
    for rows in households_of(household):
        total, own = choices_of(case, rows)
        choice, alone = bundle_sets(chosen, rows), bundle_sets(by_themselves, rows)
        assert total[choice] == max(total.values())  # exact sums of halves and quarters
        if alone in total:
            assert choice == alone and margin[rows].tolist() == [ranked(each)[1] for each in own]
        else:
            assert margin[rows].tolist() == [ranked(total)[1]] * len(rows)
    taken = np.where(household < 0, NO_ACTION, chosen)
    assert tally.tolist() == counted(problem, taken).tolist()
    same_bits((chosen, margin, tally), chosen_by(case, width))


@settings(max_examples=150)
@given(case=small(), bandwidth=st.sampled_from([0.125, 0.5, 2.0]), seed=SEEDS)
def test_curve_matches_its_definition(on_each_backend, case, bandwidth, seed):
    case, width = case
    problem, household, _, _ = case
    groups, actions = problem[PRICE_FIXED].shape
    entries = entries_of(seed, groups * actions, CONSTRAINTS)
    found = curved_by(
        case,
        entries,
        bandwidth,
        width,
        lambda *values: on_each_backend("curve_households", *values),
    )
    near, is_known, curvature = 0, True, np.zeros((CONSTRAINTS, CONSTRAINTS))
    by_themselves = choose(*problem, width)[0]
    for rows in households_of(household):
        total, own = choices_of(case, rows)
        choosers = [(rows, total)]
        if bundle_sets(by_themselves, rows) in total:
            choosers = [
                ([s], {(b,): worth for b, worth in each.items()})
                for s, each in zip(rows, own, strict=True)
            ]
        for who, totals in choosers:
            order, apart = ranked(totals)
            if not apart < bandwidth:
                continue
            near += 1
            ties = [totals[choice] for choice in order[:3]]
            is_known &= len(set(ties)) == len(ties)
            curvature += np.rint(moved_square(problem, who, order[:2], entries) * UNIT)
    assert found[2].tolist() == [near] and (np.triu(found[1], 1) == 0).all()
    if is_known:  # then the switch is known
        assert found[1].tolist() == curvature.tolist()
    assert found[0].tolist() == chosen_by(case, width)[2].tolist()
    same_bits(found, curved_by(case, entries, bandwidth, width))


def moved_square(problem, rows, choices, entries):
    """Return the lower triangle of d d', d being what a switch between two choices moves."""
    first, constraint, fixed, accept = entries
    moved = np.zeros(CONSTRAINTS)
    for sign, choice in zip((1.0, -1.0), choices, strict=True):
        for s, bundle in zip(rows, choice, strict=True):
            for a in bundle:
                cell = problem[2][s] * problem[PRICE_FIXED].shape[1] + a
                at = slice(first[cell], first[cell + 1])
                use = fixed[at] + accept[at] * float(problem[0][a, s])
                np.add.at(moved, constraint[at], sign * use)
    return np.tril(np.outer(moved, moved))


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize(("heads", "shape"), [(5, (6, 3)), (8, (4, 2)), (8, (7, 3)), (4, (14, 5))])
def test_larger_households_have_the_two_best_choices(on_each_backend, heads, shape, width):
    money = np.array([-1.0, 0.5, 1.0, 1.25, 2.0, 3.0, 5.0])
    for seed in range(4):
        case = household_problem(
            heads + 100 * seed, [heads] * 2, shape, width=width, related=seed == 0, money=money
        )
        chosen, margin, tally = chosen_by(
            case, width, lambda *values: on_each_backend("choose_households", *values)
        )
        same_bits((chosen, margin, tally), chosen_by(case, width))
        problem, household, _, _ = case
        own = choose(*problem, width)[0]
        for rows in households_of(household):
            best, _ = solved(case, rows)
            taken = {(m, a) for m, b in enumerate(bundle_sets(chosen, rows)) for a in b}
            assert fit_together(bundle_sets(chosen, rows), case, rows)
            assert sum(worth_of(problem, rows, taken)) == best
            alone = bundle_sets(own, rows)
            if not fit_together(alone, case, rows):
                assert margin[rows].tolist() == [best - solved(case, rows, taken)[0]] * heads


def worth_of(problem, rows, taken):
    return [surpluses(problem, rows[m])[a] for m, a in taken]


def in_parts(case, cuts):
    """Return the cases of the rows between some cuts."""
    problem, household, room, rules = case
    rows = [
        (*(x[..., low:high].copy() for x in problem[:6]), *problem[6:])
        for low, high in pairwise(cuts)
    ]
    return [
        (part, household[low:high].copy(), room[:, low:high].copy(), rules)
        for part, (low, high) in zip(rows, pairwise(cuts), strict=True)
    ]


@pytest.mark.parametrize("width", [1, 3])
def test_no_answer_depends_on_where_rows_are_cut(width, monkeypatch):
    sizes = np.random.default_rng(5).integers(0, 9, 400).tolist()
    case = household_problem(11, sizes, (4, 2), width=width)
    household = case[1]
    entries = entries_of(3, case[0][PRICE_FIXED].size, CONSTRAINTS)
    whole, curved = chosen_by(case, width), curved_by(case, entries, 0.5, width)
    begins = np.flatnonzero(np.diff(household, prepend=-2))
    cuts = [0, *begins[[3, 4, 50, 51, 200]].tolist(), len(household)]
    parts = in_parts(case, cuts)
    found = [chosen_by(part, width) for part in parts]
    for i in range(2):
        np.testing.assert_array_equal(np.concatenate([f[i] for f in found], axis=-1), whole[i])
    np.testing.assert_array_equal(sum(f[2] for f in found), whole[2])
    for i, total in enumerate(curved):
        parted = sum(curved_by(part, entries, 0.5, width)[i] for part in parts)
        np.testing.assert_array_equal(parted, total)
    for step in (1, 5, 7, 513):

        def chunks(rows, work, empty, _, step=step):
            total = empty()
            for low in range(0, rows, step):
                for all_, more in zip(total, work(low, min(low + step, rows)), strict=True):
                    all_ += more
            return total

        monkeypatch.setattr(households, "added_chunks", chunks)
        same_bits(chosen_by(case, width), whole)
        same_bits(curved_by(case, entries, 0.5, width), curved)


@device_stand_in.on_a_device
def test_arrays_on_a_device_are_written_to(device, monkeypatch):
    case = household_problem(4, [3, 0, 8, 2], (3, 2), width=2)
    entries = entries_of(1, case[0][PRICE_FIXED].size, CONSTRAINTS)
    expected = (*chosen_by(case, 2), *curved_by(case, entries, 0.5, 2))
    if device == "stand-in":
        device_stand_in.install(monkeypatch)

    def call(operation):
        def moved(*values):
            values = [backend.to_gpu(v) if isinstance(v, np.ndarray) else v for v in values]
            arrays = [v for v in values if hasattr(v, "get")]
            operation(*values)
            return tuple(backend.to_cpu(a) for a in arrays[-3:])

        return moved

    found = chosen_by(case, 2, call(choose_households))
    same_bits((*found, *curved_by(case, entries, 0.5, 2, call(curve_households))), expected)
