"""The pass over several groups of events against a plain definition, on every backend."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import backend, summarised, threads
from kernels.grouped import CODES, MOST_GROUPS, Grouped, grouped
from kernels.summary import Asked
from tests.test_summary import WINDOWS, added, rows_of_events

DAY_S = 86_400


@st.composite
def passes(draw):
    """Return the arguments of a pass: few codes, so that groups have several events."""
    time, value, _, *rows = draw(rows_of_events())
    groups = draw(st.sampled_from([1, 2, 3, MOST_GROUPS]))
    codes = st.sampled_from([0, 1, 5, CODES - 1])
    code = np.array(draw(st.lists(codes, min_size=len(time), max_size=len(time))), np.int8)
    group = np.full(CODES, groups, np.int8)
    for known in (0, 1, 5, CODES - 1):
        group[known] = draw(st.integers(0, groups))
    windows = np.array(sorted(draw(WINDOWS)), np.int64)
    valued, recent = draw(st.booleans()), draw(st.booleans())
    value = value if valued else np.empty(0)
    return time, value, code, group, *rows, windows, groups, int(valued), int(recent)


def grouped_definition(operands):
    """Return the fields, event by event."""
    time, value, code, group, start, stop, at, windows, groups, valued, recent = operands
    rows = len(start)
    recency = np.full((groups * recent, rows), math.nan)
    count, total = np.zeros((2, len(windows), groups, rows))
    for r in range(rows):
        for g in range(groups):
            own = [e for e in range(start[r], stop[r]) if group[code[e]] == g]
            if own and recent:
                recency[g, r] = (at[r] - time[own[-1]]) / DAY_S
            for w, length in enumerate(windows):
                inside = [e for e in own if at[r] - time[e] < length]
                count[w, g, r] = len(inside)
                if valued:
                    total[w, g, r] = added([value[e] for e in inside])
    return Grouped(recency, count, total[: len(windows) * valued])


def same(found, expected):
    """Compare fields: the same bits."""
    for name, one, other in zip(Grouped._fields, found, expected, strict=True):
        assert one.dtype == "float64", name
        np.testing.assert_array_equal(one, other, err_msg=name)


@given(operands=passes())
def test_grouped_matches_its_definition(on_each_backend, operands):
    same(on_each_backend("grouped", *operands), grouped_definition(operands))


@given(operands=passes())
def test_a_group_has_the_bits_of_its_events_alone(on_each_backend, operands):
    time, value, code, group, *rows, windows, groups, valued, _ = operands
    found = on_each_backend("grouped", *operands[:-1], 1)
    asked = Asked(tuple(windows.tolist()), valued=bool(valued))
    for g in range(groups):
        kept = group[code] == g
        if not kept.any():
            assert np.isnan(found.recency_days[g]).all() and not found.count[:, g].any()
            continue
        alone = summarised(time, value, kept, *rows, asked)
        np.testing.assert_array_equal(found.recency_days[g], alone.recency_days)
        np.testing.assert_array_equal(found.count[:, g], alone.count)
        if valued:
            np.testing.assert_array_equal(found.total[:, g], alone.total)


@given(operands=passes())
def test_rows_do_not_depend_on_each_other_or_on_threads(operands):
    time, value, code, group, start, stop, at, *numbers = operands
    whole = grouped(*operands)
    for r in range(len(start)):
        one = slice(r, r + 1)
        alone = grouped(time, value, code, group, start[one], stop[one], at[one], *numbers)
        same(alone, Grouped(*(field[..., one] for field in whole)))


@pytest.mark.parametrize("rows", [0, 1, 2, threads.CHUNK + 3])
def test_ragged_sizes(rows):
    rng = np.random.default_rng(rows)
    time, code = np.arange(20), rng.integers(0, 4, 20).astype(np.int8)
    group = np.minimum(np.arange(CODES), 3).astype(np.int8)
    start = rng.integers(0, 10, rows)
    stop = start + rng.integers(0, 10, rows)
    windows, at = np.array([3, 15]), np.full(rows, 20)
    operands = time, rng.random(20), code, group, start, stop, at, windows, 3, 1, 1
    found = grouped(*operands)
    last = slice(max(0, rows - 50), rows)
    few = (*operands[:4], start[last], stop[last], at[last], *operands[7:])
    same(Grouped(*(field[..., last] for field in found)), grouped_definition(few))


def test_a_wrong_dtype_is_refused_with_the_name_of_the_argument():
    none = np.empty(0, np.int64)
    with pytest.raises(TypeError, match="grouped: code must be contiguous int8, got int64"):
        grouped(none, np.empty(0), none, np.zeros(CODES, np.int8), *[none] * 4, 1, 0, 1)
    assert set(backend.TWINS) >= {"grouped", "summarised"}
