"""The pass over a series of events against plain definitions, on every backend."""

import math
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.ingest import EARLIEST, LATEST
from kernels import backend, summarised, summary, threads, weights
from kernels.summary import MARKS, MOST_WEIGHED, Asked, Summary

DAY_S = 86_400
ROUNDING = 2.0**-53
VALUES = st.sampled_from([-2.5, 0.0, -0.0, 0.1, 0.2, 1.0, 1e6])
WINDOWS = st.sets(st.sampled_from([1, 2, 5, 3_600, 7_200, DAY_S, 2 * DAY_S]), max_size=4)
HALF_LIVES = st.sampled_from([1, 1_800, 3_600, 100_000, 10**7])
TRENDS = st.sampled_from([(2, 1), (3, 2), (6, 1), (4, 7)])
WEIGHED = [(4, 4), (0, 0), (1, 0), (0, 1), (2, 3)]  # numbers of half-lives and of trends
# A pass is compiled for what is asked, which takes a second each: every combination of three flags,
# whichever three, but not with every number.
SHAPES = [
    (dict(zip(MARKS, (*flags, flags[0] ^ flags[1] ^ flags[2]), strict=True)), WEIGHED[i % 5])
    for i, flags in enumerate(product([True, False], repeat=len(MARKS) - 1))
]
EXACT = ("recency_days", "age_days", "gap_mean_days", "latest", "count", "total", "least", "most",
         "days")  # fmt: skip
EVERYTHING = Asked(
    (DAY_S, 7 * DAY_S), rhythm=True, extremes=True, spread=True, days=True,
    half_lives=(DAY_S, 7 * DAY_S), trends=((7, 1), (4, 7)),
)  # fmt: skip
ALL = np.empty(0, bool)  # every event is kept


@st.composite
def rows_of_events(draw):
    """Few subscribers with few distinct instants, and rows (subscriber, instant) over them.

    Instants are multiples of a step, give or take one second, so ties and events exactly at the
    edge of a window or a day are common; rows share events, and some have none.
    """
    step = draw(st.sampled_from([1, 3_600, DAY_S]))
    origin = draw(st.sampled_from([0, EARLIEST + 1, LATEST - 8 * DAY_S]))
    instants = st.builds(lambda k, off: k * step + off, st.integers(0, 6), st.integers(-1, 1))
    per_subscriber = draw(st.lists(st.lists(instants, max_size=7), max_size=4))
    time = np.array([t for times in per_subscriber for t in sorted(times)], np.int64) + origin
    value = np.array(draw(st.lists(VALUES, min_size=len(time), max_size=len(time))), np.float64)
    ends = np.cumsum([0, *map(len, per_subscriber)])
    subscriber = st.integers(0, max(len(per_subscriber) - 1, 0))
    pairs = st.lists(st.tuples(subscriber, instants), max_size=5)
    rows = draw(pairs) if per_subscriber else []
    start = np.array([ends[s] for s, _ in rows], np.int64)
    end = np.array([ends[s + 1] for s, _ in rows], np.int64)
    at = np.array([t for _, t in rows], np.int64) + origin
    stop = np.array(
        [a + np.sum(time[a:b] <= t) for a, b, t in zip(start, end, at, strict=True)], np.int64
    )
    keep = st.lists(st.booleans(), min_size=len(time), max_size=len(time))
    kept = np.array(draw(st.just([]) | keep), bool)
    return time, value, kept, start, stop, at


@st.composite
def passes(draw):
    """Return the arguments of a pass: events, rows, and what is asked of them."""
    time, value, *rows = draw(rows_of_events())
    flags, (half_lives, trends) = draw(st.sampled_from(SHAPES))
    asked = Asked(
        windows=tuple(sorted(draw(WINDOWS))),
        rhythm=draw(st.booleans()),
        half_lives=tuple(draw(HALF_LIVES) for _ in range(half_lives)),
        trends=tuple(draw(TRENDS) for _ in range(trends)),
        **flags,
    )
    return time, value if asked.valued else np.empty(0), *rows, asked


def seen(operands):
    """Yield the events that each row sees, oldest first, as (instant, value), and its instant."""
    time, value, kept, start, stop, at, asked = operands
    for a, b, t in zip(start, stop, at, strict=True):
        places = [e for e in range(a, b) if kept[e]] if len(kept) else range(a, b)
        yield [(int(time[e]), float(value[e]) if asked.valued else 1.0) for e in places], int(t)


def added(values):
    """Return the sum of values, newest first."""
    total = 0.0
    for value in reversed(values):
        total += value
    return total


def deviation(values):
    """Return the population standard deviation, in two passes over exact numbers."""
    exact = [Fraction(v) for v in values]
    if not exact:
        return math.nan
    mean = sum(exact) / len(exact)
    return math.sqrt(sum((v - mean) ** 2 for v in exact) / len(exact))


def slope(events, at, bins, days):
    """Return the exact least-squares slope over the sums of bins."""
    sums = [Fraction(0)] * bins
    for t, v in events:
        if (at - t) // (days * DAY_S) < bins:
            sums[(at - t) // (days * DAY_S)] += Fraction(v)
    x = [Fraction(-b) for b in range(bins)]
    x_mean, y_mean = sum(x) / bins, sum(sums) / bins
    above = sum((p - x_mean) * (q - y_mean) for p, q in zip(x, sums, strict=True))
    return float(above / sum((p - x_mean) ** 2 for p in x))


def halved(age, half_life):
    """Return ``2 ** (-age / half_life)``; the power is small, so that it is rounded little."""
    halvings, rest = divmod(age, half_life)
    return math.ldexp(2.0 ** (-rest / half_life), -halvings)


def row_definition(events, at, asked):
    """Return the fields of one row, each a number or a list."""
    times, nan = [t for t, _ in events], math.nan
    gaps = [later - earlier for earlier, later in pairwise(times)]
    inside = [[v for t, v in events if at - w < t <= at] for w in asked.windows]
    days = [{(at - t) // DAY_S for t, _ in events if at - w < t} for w in asked.windows]
    all_gaps = len(gaps) and asked.turns > len(asked.windows)
    return Summary(
        recency_days=(at - times[-1]) / DAY_S if times else nan,
        age_days=(at - times[0]) / DAY_S if times else nan,
        gap_mean_days=float(Fraction(sum(gaps), len(gaps))) / DAY_S if gaps else nan,
        gap_std_days=deviation(gaps) / DAY_S if all_gaps else nan,
        latest=events[-1][1] if events else nan,
        count=[len(values) for values in inside],
        total=[added(values) for values in inside],
        least=[min(reversed(v), default=nan) for v in inside if asked.extremes],
        most=[max(reversed(v), default=nan) for v in inside if asked.extremes],
        spread=[deviation(values) for values in inside if asked.spread],
        days=[len(distinct) for distinct in days if asked.days],
        decayed=[math.fsum(v * halved(at - t, h) for t, v in events) for h in asked.half_lives],
        trend=[slope(events, at, *bins) for bins in asked.trends],
    )


def summary_definition(operands):
    """Return the summary of all rows, field by field."""
    rows = [row_definition(events, at, operands[-1]) for events, at in seen(operands)]
    shapes = [np.shape(field) for field in row_definition([], 0, operands[-1])]
    return Summary(
        *(
            np.array([row[i] for row in rows], np.float64).reshape(len(rows), *shape).T
            for i, shape in enumerate(shapes)
        )
    )


def bounds(operands):
    """Return by how much fields may be off that are rounded otherwise than their definition."""
    asked, rows = operands[-1], list(seen(operands))
    absolute = np.array([sum(abs(v) for _, v in events) for events, _ in rows])
    span = np.array([events[-1][0] - events[0][0] if events else 0 for events, _ in rows]) / DAY_S
    # A weight is the product of two factors within 4 units in the last place (2**-52 of them at
    # most), the definition's is within 2; each of the up to 7 products and sums rounds once.
    decayed = [
        [math.fsum(abs(v) * halved(at - t, h) for t, v in events) for events, at in rows]
        for h in asked.half_lives
    ]
    steepest = [(n - 1) / 2 / (n * (n * n - 1) / 12) for n, _ in asked.trends]
    return {
        # A mean is rounded once, each distance, square and sum once more: 7 of them here.
        "gap_std_days": 16 * ROUNDING * span,
        "spread": 32 * ROUNDING * absolute,
        "decayed": 40 * ROUNDING * np.reshape(decayed, (len(asked.half_lives), len(rows)))
        + 1e-300,  # underflow
        "trend": 16 * ROUNDING * np.outer(steepest, absolute),
    }


def same(one, other):
    """Check that two summaries have the same bits; a NaN is as good as another."""
    assert type(one) is type(other) is Summary
    for a, b, name in zip(one, other, Summary._fields, strict=True):
        assert a.dtype == b.dtype == "float64" and a.shape == b.shape, name
        np.testing.assert_array_equal(a, b, err_msg=name)
        np.testing.assert_array_equal(np.signbit(a[a == a]), np.signbit(b[b == b]), err_msg=name)


@given(operands=passes())
def test_a_summary_matches_its_definition(on_each_backend, operands):
    found, expected = on_each_backend("summarised", *operands), summary_definition(operands)
    assert isinstance(found, Summary)
    for name in EXACT:  # rounded once, or added in the same order: no tolerance
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    for name, bound in bounds(operands).items():
        a, b = getattr(found, name), getattr(expected, name)
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b), err_msg=name)
        assert not (np.abs(a - b) > bound).any(), name


@given(operands=passes())
def test_both_sides_return_the_same_bits(on_each_backend, operands):
    same(on_each_backend("summarised", *operands), summary.summarised_cpu(*operands))


@given(operands=passes())
def test_rows_do_not_see_each_other(on_each_backend, operands):
    *events, start, stop, at, asked = operands
    together = on_each_backend("summarised", *operands)
    for r in range(len(at)):
        one = slice(r, r + 1)
        alone = on_each_backend("summarised", *events, start[one], stop[one], at[one], asked)
        same(alone, Summary(*(field[..., one] for field in together)))


@given(operands=passes())
def test_events_that_are_not_kept_could_as_well_be_absent(on_each_backend, operands):
    time, value, kept, start, stop, at, asked = operands
    if not len(kept):
        return
    before = np.cumsum([0, *kept])
    own = time[kept], value[kept] if asked.valued else value, ALL, before[start], before[stop]
    same(on_each_backend("summarised", *operands), on_each_backend("summarised", *own, at, asked))


@given(operands=passes())
def test_chunks_and_sizes_of_tables_do_not_matter(operands):
    expected = summarised(*operands)
    with pytest.MonkeyPatch.context() as patch:
        for size in ("CHUNK", "NARROW_CHUNK", "FIRST_LONGEST"):
            patch.setattr(summary, size, 2)
        same(summarised(*operands), expected)


@given(rows=rows_of_events())
def test_a_window_holds_at_least_what_a_shorter_one_holds(on_each_backend, rows):
    asked = replace(EVERYTHING, windows=tuple(range(1, 9)))
    found = on_each_backend("summarised", *rows, asked)
    for field in (found.count, found.days, found.most, -found.least):
        more = np.diff(field, axis=0)
        assert (more[~np.isnan(more)] >= 0).all()


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_rows_without_events(on_each_backend, rows):
    whole = np.zeros(rows, np.int64)
    nothing = np.empty(0, np.int64), np.empty(0), ALL
    found = on_each_backend("summarised", *nothing, whole, whole, whole, EVERYTHING)
    for name in ("count", "total", "days", "decayed", "trend"):
        assert getattr(found, name).shape == (2, rows) and not getattr(found, name).any()
    for name in ("recency_days", "age_days", "gap_mean_days", "gap_std_days", "latest"):
        assert getattr(found, name).shape == (rows,) and np.isnan(getattr(found, name)).all()
    for name in ("least", "most", "spread"):
        assert getattr(found, name).shape == (2, rows) and np.isnan(getattr(found, name)).all()


def one_row(on_each_backend, ages, values, asked, at=0):
    """Return the summary of one row with events of these ages, oldest first."""
    time = at - np.array(ages, np.int64)
    row = np.array([0], np.int64), np.array([len(ages)], np.int64), np.array([at], np.int64)
    return on_each_backend("summarised", time, np.array(values, np.float64), ALL, *row, asked)


def test_an_event_at_the_old_edge_is_out_and_at_the_instant_is_in(on_each_backend):
    asked = replace(EVERYTHING, windows=(DAY_S,))
    found = one_row(on_each_backend, [DAY_S, DAY_S - 1, 0], [4.0, 2.0, 1.0], asked)
    assert (found.count[0, 0], found.total[0, 0]) == (2, 3.0)
    assert (found.least[0, 0], found.most[0, 0]) == (1.0, 2.0)


def test_a_day_begins_after_its_old_edge(on_each_backend):
    ages = [3 * DAY_S, 2 * DAY_S, 2 * DAY_S - 1, DAY_S, DAY_S - 1, 1, 0]
    windows = 1, DAY_S, DAY_S + 1, 2 * DAY_S, 2 * DAY_S + 1, 9 * DAY_S
    asked = replace(EVERYTHING, windows=windows)
    found = one_row(on_each_backend, ages, [1.0] * 7, asked)
    assert found.days[:, 0].tolist() == [1, 1, 2, 2, 3, 4]


@pytest.mark.parametrize(("old", "new"), [(0.0, -0.0), (-0.0, 0.0)])
def test_of_two_zeros_the_newest_is_least_and_most(on_each_backend, old, new):
    found = one_row(on_each_backend, [2, 1], [old, new], replace(EVERYTHING, windows=(5,)))
    assert np.signbit(found.least[0, 0]) == np.signbit(found.most[0, 0]) == np.signbit(new)


def test_equal_gaps_and_equal_values_do_not_deviate(on_each_backend):
    asked = replace(EVERYTHING, windows=(700,))
    found = one_row(on_each_backend, range(700, 0, -7), [0.5] * 100, asked)
    assert (found.gap_mean_days[0], found.gap_std_days[0]) == (7 / DAY_S, 0.0)
    assert found.spread[0, 0] == 0.0


def test_small_deviations_of_long_gaps_are_not_cancelled(on_each_backend):
    gap = 10**9
    found = one_row(on_each_backend, [4 * gap, 3 * gap - 1, 2 * gap, gap - 1, 0], [1.0] * 5,
                    Asked(rhythm=True))  # fmt: skip
    # The mean is off by gap * 2**-53 at most, which counts by its square: 1e-14 of a second.
    expected = deviation([gap + 1, gap - 1, gap + 1, gap - 1]) / DAY_S
    assert found.gap_std_days[0] == pytest.approx(expected, rel=1e-12)


def test_small_deviations_of_large_values_are_not_cancelled(on_each_backend):
    values = [1e9 + 1, 1e9, 1e9 - 1, 1e9]
    found = one_row(on_each_backend, [4, 3, 2, 1], values, replace(EVERYTHING, windows=(9,)))
    assert found.spread[0, 0] == pytest.approx(math.sqrt(0.5), rel=1e-12)


def test_an_event_one_half_life_old_weighs_half(on_each_backend):
    half_lives = (DAY_S, 2 * DAY_S, 7 * DAY_S, 14 * DAY_S)
    found = one_row(
        on_each_backend, [14 * DAY_S, DAY_S], [8.0, 1.0], Asked((), half_lives=half_lives)
    )
    expected = [8 * halved(14, h) + halved(1, h) for h in (1, 2, 7, 14)]
    # Each weight is within 8.5 units in the last place of 1/2, and 2**-52 a unit at most.
    np.testing.assert_allclose(found.decayed[:, 0], expected, rtol=20 * 2**-53)


@pytest.mark.parametrize(("bins", "days"), [(2, 1), (7, 1), (28, 1), (4, 7)])
def test_the_trend_of_a_straight_line_is_its_slope(on_each_backend, bins, days):
    ages = np.arange(bins)[::-1]  # one event a bin, the newest at the instant
    asked = Asked(trends=((bins, days),))
    found = one_row(on_each_backend, ages * days * DAY_S, 100.0 - 3.0 * ages, asked)
    assert found.trend[0, 0] == pytest.approx(3.0, abs=bins * 100 * 2**-52)


def test_the_longest_history_that_ingest_allows(on_each_backend):
    at, longest = LATEST - 1, 999_999 * 7 * DAY_S  # the longest duration of a job file
    asked = Asked((1, longest), rhythm=True, extremes=True, spread=True, days=True,
                  half_lives=(longest,), trends=((2, 1),))  # fmt: skip
    age = at - EARLIEST
    found = one_row(on_each_backend, [age, age, 0], [2.0, 3.0, 4.0], asked, at)
    weights.halving_tables.cache_clear()  # the tables of five centuries are large
    assert (found.recency_days[0], found.age_days[0]) == (0.0, age / DAY_S)
    assert found.gap_mean_days[0] == found.gap_std_days[0] == age / 2 / DAY_S
    assert found.count[:, 0].tolist() == [1, 3] and found.total[:, 0].tolist() == [4.0, 9.0]
    assert found.days[:, 0].tolist() == [1, 2] and found.trend[0, 0] == 4.0
    assert found.decayed[0, 0] == pytest.approx(4.0 + 5.0 * halved(age, longest), rel=20 * 2**-53)


def test_as_many_weights_as_a_pass_takes(on_each_backend):
    half_lives = tuple(range(1, MOST_WEIGHED + 1))
    found = one_row(on_each_backend, [3, 1], [5.0, 7.0], Asked(half_lives=half_lives))
    expected = [5.0 * halved(3, h) + 7.0 * halved(1, h) for h in half_lives]
    np.testing.assert_allclose(found.decayed[:, 0], expected, rtol=20 * 2**-53)


def test_a_wrong_dtype_is_refused_with_the_name_of_the_argument():
    whole = np.zeros(1, np.int64)
    with pytest.raises(TypeError, match="summarised: value must be contiguous float64, got int64"):
        summarised(whole, whole, ALL, whole, whole, whole, EVERYTHING)


def test_inputs_stay_writable_and_unchanged():
    arrays = [np.arange(3, dtype=np.int64) for _ in range(2)]
    views = backend.read_only(*arrays)
    assert not any(view.flags.writeable for view in views)
    assert all(array.flags.writeable for array in arrays)
    assert all(np.shares_memory(a, v) for a, v in zip(arrays, views, strict=True))


def test_a_single_thread_too_copies_the_kept_events_of_some_rows_at_a_time(monkeypatch):
    narrow, copied = summary._narrow, []

    def counted(*arrays):
        copied.append(len(arrays[-1]))
        return narrow(*arrays)

    monkeypatch.setattr(summary, "_narrow", counted)
    monkeypatch.setattr(threads, "_count", lambda: 1)
    rows = 2 * summary.NARROW_CHUNK + 1
    time, kept = np.array([1, 2, 3]), np.array([True, False, True])
    start, stop = np.zeros(rows, np.int64), np.full(rows, 3)
    found = summary.summarised_cpu(time, np.ones(3), kept, start, stop, stop, Asked((9,)))
    assert copied == [summary.NARROW_CHUNK] * 2 + [1]
    assert (found.total == 2.0).all()
