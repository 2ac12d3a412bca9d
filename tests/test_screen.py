"""The float32 screen of single actions: whom it settles, float64 settles the same way."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import choose
from kernels.choose import MUST, NO_ACTION
from kernels.screen import LEAST, beyond, screened, usable
from tests.test_choose import VALUE_FIXED, counted

GRID = 1 << 24


@st.composite
def problems(draw):
    """Draw arguments of ``choose`` with one action a subscriber at most, any real numbers.

    Many actions are all but equal to another, so that float32 cannot tell them apart.
    """
    seed, rows = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([1, 9, 40]))
    actions, groups = draw(st.integers(1, 9)), draw(st.integers(1, 3))
    scale = draw(st.sampled_from([1e-12, 1e-6, 1.0, 1e9]))
    closeness = draw(st.sampled_from([0.0, 1e-12, 1e-8, 1e-6]))
    source = np.random.default_rng(seed)
    propensity = (source.integers(0, GRID + 1, (actions, rows)) / GRID).astype(np.float32)
    copies = source.random(actions) < 0.5
    copies[0] = False
    propensity[copies] = propensity[0]
    propensity[source.random((actions, rows)) < 0.1] = np.nan
    tables = [
        source.normal(0, scale, shape) for shape in [(actions,)] * 2 + [(groups, actions)] * 2
    ]
    for table in tables:
        near = 1 + closeness * source.normal(0, 1, table.shape)
        table[..., copies] = (table[..., :1] * near)[..., copies]
    fewest = np.where(source.random(rows) < 0.2, MUST, 0).astype(np.uint8)
    most = (source.random(rows) < 0.95).astype(np.uint8)
    weight = (source.integers(0, 1 << 13, rows) / 1024).astype(np.float32)
    group = source.integers(0, groups, rows).astype(np.int32)
    one = np.arange(actions, dtype=np.int32)
    requires = np.zeros((1, actions, 1), np.int64)
    if draw(st.booleans()):
        requires[0, source.integers(actions), 0] = 1  # it cannot be taken alone
    return (
        propensity, weight, group, most, fewest, np.ones((1, rows), np.uint8), one,
        np.full(actions, -1, np.int32), one, np.zeros(actions + 1, np.int32),
        np.empty(0, np.int32), np.zeros(1, np.uint8), np.zeros((actions, 1), np.int64), requires,
        *tables,
    )  # fmt: skip


def ranked(problem, s, tables, real):
    """Return surpluses, best first, of what one may have: (surplus, action), in one precision."""
    propensity, weight, group, most, fewest = problem[:5]
    fixed, accept, paid, paid_accept = tables
    w, g = real(weight[s]), group[s]
    found = [] if fewest[s] >= MUST else [(real(0), NO_ACTION)]
    for a in usable(problem[13]).tolist() if most[s] else []:
        if np.isnan(propensity[a, s]):
            continue
        p = real(propensity[a, s])
        v = (w * fixed[a] - paid[g, a]) + (w * accept[a] - paid_accept[g, a]) * p
        assert isinstance(v, real)
        found.append((v, a))
    if not found:
        found = [(real(np.inf), NO_ACTION)]
    return sorted(found, key=lambda one: -one[0])  # stable: the first of equals comes first


def margin_of(found, real):
    return found[0][0] - found[1][0] if len(found) > 1 else real(np.inf)


def definition(problem, s):
    """Return the action by float64, and the margin: by float32 where that is beyond doubt."""
    tables = problem[VALUE_FIXED : VALUE_FIXED + 4]
    screen, doubt = screened(*tables)
    exact, rough = ranked(problem, s, tables, np.float64), ranked(problem, s, screen, np.float32)
    margin = margin_of(rough, np.float32)
    if margin > problem[1][s] * doubt[0] + doubt[1 + problem[2][s]]:
        assert rough[0][1] == exact[0][1]  # what the screen is for
        return exact[0][1], margin
    return exact[0][1], np.float32(margin_of(exact, np.float64))


@settings(max_examples=300)
@given(problem=problems())
def test_single_choices_are_those_of_float64(on_each_backend, problem):
    chosen, margin, tally = on_each_backend("choose", *problem, 1)
    expected = [definition(problem, s) for s in range(problem[0].shape[1])]
    assert chosen[0].tolist() == [a for a, _ in expected]
    assert margin.tolist() == [float(m) for _, m in expected]
    assert tally.tolist() == counted(problem, chosen).tolist()


@given(problem=problems(), data=st.data())
def test_near_ties_are_those_of_float64(on_each_backend, problem, data):
    groups, actions = problem[-1].shape
    rows = range(problem[0].shape[1])
    tables = problem[VALUE_FIXED : VALUE_FIXED + 4]
    found = [ranked(problem, s, tables, np.float64) for s in rows]
    margins = [float(margin_of(one, np.float64)) for one in found]
    finite = [m for m in margins if np.isfinite(m) and m > 0]
    bandwidth = data.draw(st.sampled_from([*finite, 1e-9, 1.0]))  # as often a margin itself
    cells = groups * actions
    entries = np.arange(cells + 1), np.zeros(cells, np.int64), np.ones(cells), np.zeros(cells)
    tally, curvature, near = on_each_backend("curve", *problem, *entries, bandwidth, 1.0, 1, 1)
    close = [s for s in rows if margins[s] < bandwidth]
    assert near.tolist() == [len(close)]
    # Only to do something or nothing changes the use, which is 1 a contact.
    sides = [{found[s][0][1] < 0, found[s][1][1] < 0} for s in close]
    assert curvature.tolist() == [[sum(len(side) == 2 for side in sides)]]
    assert tally.tolist() == choose(*problem, 1)[2].tolist()


def test_small_coefficients_are_nothing_on_the_screen():
    table, paid = np.array([0.5 * LEAST, LEAST, 1e-300, 0.0]), np.zeros((1, 4))
    (fixed, *_), doubt = screened(table, table, paid, paid)
    assert fixed.tolist() == [0.0, LEAST, 0.0, 0.0]
    assert (doubt > 0).all()


def test_what_is_beyond_a_bandwidth_is_beyond_its_rounding():
    for bandwidth in (1e-9, 0.1, 1.0 / 3.0, 7e8):
        assert float(beyond(bandwidth)) > bandwidth * (1 + 2.0**-22)


def test_no_action_leaves_empty_tables():
    none, paid = np.empty(0), np.empty((2, 0))
    (fixed, _, price, _), doubt = screened(none, none, paid, paid)
    assert (fixed.shape, price.shape, doubt.tolist()) == ((0,), (2, 0), [0.0, 0.0, 0.0])


@given(problem=problems(), size=st.sampled_from([1e28, 1e39, 1e200]))
def test_tables_beyond_float32_are_left_to_float64(on_each_backend, problem, size):
    tables = [table * size for table in problem[VALUE_FIXED:]]
    problem = (*problem[:VALUE_FIXED], *tables)
    chosen, margin, tally = on_each_backend("choose", *problem, 1)
    with np.errstate(over="ignore"):
        expected = [definition(problem, s) for s in range(len(margin))]
    assert chosen[0].tolist() == [a for a, _ in expected]
    assert margin.tolist() == [float(m) for _, m in expected]
    assert tally.tolist() == counted(problem, chosen).tolist()


def test_the_blocked_have_no_action_at_any_bandwidth(on_each_backend):
    one = np.ones(3, np.uint8)
    problem = (
        np.full((2, 3), 0.5, np.float32), one.astype(np.float32), 0 * one.astype(np.int32),
        np.array([0, 1, 1], np.uint8), np.array([0, 0, 2], np.uint8), np.ones((1, 3), np.uint8),
        np.arange(2, dtype=np.int32), np.full(2, -1, np.int32), np.arange(2, dtype=np.int32),
        np.zeros(3, np.int32), np.empty(0, np.int32), np.zeros(1, np.uint8),
        np.zeros((2, 1), np.int64), np.zeros((0, 2, 1), np.int64),
        np.ones(2), np.ones(2), np.zeros((1, 2)), np.zeros((1, 2)),
    )  # fmt: skip
    entries = np.arange(3), np.zeros(2, np.int64), np.ones(2), np.zeros(2)
    tally, _, near = on_each_backend("curve", *problem, *entries, 1e39, 1.0, 1, 1)
    assert tally[..., 0].sum() == choose(*problem, 1)[2][..., 0].sum() == 1
    assert near.tolist() == [1]
