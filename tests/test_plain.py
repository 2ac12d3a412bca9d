"""Plain problems: lowered ones have the structured problem's numbers, and the judge is right."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import plain as module
from benchmarks.bundles import best_bundles
from benchmarks.judge import judged, lagrangian_bound
from benchmarks.plain import check, load, lowered, save
from engine.problem import USE_UNIT, VALUE_UNIT, limit_units
from tests import problems
from tests.plains import bundles, is_allowed, optimum, pairs_of, random_plain, worth

SEEDS = st.integers(0, 2**32 - 1)
# Money of the tests' "odd" palette needs more than the 53 bits that a use may have.
PALETTES = [["ties", "ties", "odd"], ["one", "losses", "one"], ["ties", "one", "ties"]]


@settings(deadline=None)
@given(
    st.sampled_from(PALETTES).flatmap(lambda p: problems.small_problems(palettes=p, related=False))
)
def test_a_lowered_problem_has_the_same_pairs_numbers_and_caps(problem):
    plain = lowered(problem)
    check(plain)
    subscribers = problems.in_words(problem)
    assert plain.subscribers == len(subscribers)
    for s, subscriber in enumerate(subscribers):
        first, last = plain.indptr[s : s + 2]
        assert plain.action[first:last].tolist() == sorted(subscriber["p"])
        for n in range(first, last):
            value, uses = problems.worth(problem, subscriber, (int(plain.action[n]),))
            found, found_uses = worth(plain, [n])
            assert found * VALUE_UNIT / 10**6 == value
            assert [u * USE_UNIT / 10**6 for u in found_uses] == list(uses)
        expected = set(bundles(plain, s))
        assert expected == {
            b
            for b in _all_bundles(range(int(first), int(last)))
            if problems.is_allowed(problem, subscriber, [int(plain.action[n]) for n in b])
        }
    assert [int(b * USE_UNIT / 10**6) for b in plain.limit] == limit_units(problem)


def _all_bundles(pairs):
    found = [()]
    for n in pairs:
        found += [(*b, n) for b in found]
    return found


def test_a_use_that_is_not_exact_in_float64_is_refused():
    problem = problems.realistic(5)
    big = replace(problem, use_fixed=problem.use_fixed * 10**9)
    with pytest.raises(ValueError, match="53 bits"):
        lowered(big)


@settings(deadline=None)
@given(SEEDS)
def test_a_problem_comes_back_from_its_file(tmp_path_factory, seed):
    plain = random_plain(seed)
    path = tmp_path_factory.mktemp("plain") / "it.npz"
    save(plain, path)
    for name, array in load(path).__dict__.items():
        np.testing.assert_array_equal(array, getattr(plain, name))
        assert np.asarray(array).dtype == np.asarray(getattr(plain, name)).dtype


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("value", np.zeros(1), "shape"),
        ("limit", np.array([0.1, 1.0, 1.0]), r"multiples of 2\*\*-2"),
        ("limit", np.array([np.nan, 1.0, 1.0]), "multiples"),
        ("limit", np.array([1.0]), r"use_row: must be in \[0, 1\)"),
        ("most", np.zeros(9, np.uint8), "most"),
        ("indptr", np.array([0, 2, 1, 3, 4]), "must rise"),
    ],
)
def test_a_broken_file_is_refused(tmp_path, name, array, message):
    plain = next(p for p in map(random_plain, range(100)) if p.use_row.max(initial=0) == 2)
    save(replace(plain, **{name: array}), tmp_path / "it.npz")
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "it.npz")


def test_a_file_that_lacks_an_array_is_refused(tmp_path):
    np.savez(tmp_path / "it.npz", indptr=np.zeros(1, np.int64))
    with pytest.raises(ValueError, match="lacks action"):
        load(tmp_path / "it.npz")


def test_rounding_to_a_grid_is_exact_and_down_is_down():
    amounts = np.array([0.3, -0.3, 5.0, 1e-9])
    np.testing.assert_array_equal(module.on_grid(amounts, -2), [0.25, -0.25, 5.0, 0.0])
    np.testing.assert_array_equal(module.below_on_grid(amounts, -2), [0.25, -0.5, 5.0, 0.0])


@settings(deadline=None, max_examples=200)
@given(SEEDS, st.sampled_from([0, 1, 2, 5]))
def test_the_best_bundle_is_that_of_enumeration(seed, subscribers):
    plain = random_plain(seed, subscribers, actions=7)
    price = np.random.default_rng(seed).choice([0.0, 0.5, 1.0], len(plain.limit))
    chosen, best = best_bundles(plain, price)
    for s in range(subscribers):
        surplus = {b: _surplus(plain, price, b) for b in bundles(plain, s)}
        assert best[s] == max(surplus.values())
        first, last = plain.indptr[s : s + 2]
        assert surplus[tuple(first + np.flatnonzero(chosen[first:last]))] == best[s]


def _surplus(plain, price, bundle):
    value, uses = worth(plain, bundle)
    return float(value) - float(sum(u * p for u, p in zip(uses, map(float, price), strict=True)))


def test_bundles_too_large_to_search_are_refused():
    plain = random_plain(1)
    with pytest.raises(ValueError, match="at most 8"):
        best_bundles(replace(plain, most=plain.most + np.uint8(9)), np.zeros(3))


@settings(deadline=None, max_examples=60)
@given(SEEDS, st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=3, max_size=3))
def test_no_allocation_beats_the_bound_at_any_prices(seed, prices):
    plain = random_plain(seed, 3)
    best = optimum(plain)
    assert best is None or best <= lagrangian_bound(plain, np.array(prices))


@settings(deadline=None, max_examples=60)
@given(SEEDS, st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=3, max_size=3))
def test_the_bound_is_that_of_the_formula_in_money(seed, prices):
    plain = random_plain(seed, 3)
    paid = [max(p, 0.0) for p in prices]

    def surplus(bundle):
        value, uses = worth(plain, bundle)
        used = sum(float(u) * plain.use_unit * p for u, p in zip(uses, paid, strict=True))
        return float(value) * plain.value_unit - used

    limits = sum(float(b) * plain.use_unit * p for b, p in zip(plain.limit, paid, strict=True))
    best = sum(max(map(surplus, bundles(plain, s))) for s in range(3))
    assert lagrangian_bound(plain, np.array(prices)) == best + limits


@settings(deadline=None, max_examples=200)
@given(SEEDS, st.booleans())
def test_judged_is_what_the_definition_says(seed, as_shares):
    plain = random_plain(seed)
    chosen = np.random.default_rng(seed).random(plain.pairs) < 0.5
    found = judged(plain, chosen.astype(float) if as_shares else chosen)
    value, uses = worth(plain, pairs_of(chosen))
    over = [u - b for u, b in zip(uses, map(float, plain.limit), strict=True)]
    one = 1 / plain.use_unit
    share = [o / max(one, abs(b)) for o, b in zip(over, map(float, plain.limit), strict=True)]
    assert found.value == float(value) * plain.value_unit
    assert found.overruns == sum(o > 0 for o in over)
    assert found.overrun_share == max([0.0, *map(float, share)])
    assert found.cap_overruns == sum(
        not is_allowed(plain, s, [n for n in pairs_of(chosen) if a <= n < b])
        for s, (a, b) in enumerate(zip(plain.indptr[:-1], plain.indptr[1:], strict=True))
    )
    assert (found.cap_overrun > 0) == (found.cap_overruns > 0)
    assert (found.fractional, found.bound) == (0, np.inf)


def test_shares_count_by_subscriber_and_must_be_shares():
    plain = next(p for p in map(random_plain, range(100)) if len(np.unique(p.owner)) == 4)
    share = np.zeros(plain.pairs)
    share[plain.indptr[[0, 2]]] = 0.5
    assert judged(plain, share).fractional == 2
    for bad in (share + 1, share - 1, share * np.nan):
        with pytest.raises(ValueError, match="shares"):
            judged(plain, bad)
    with pytest.raises(ValueError, match="shape"):
        judged(plain, share[1:])
    with pytest.raises(ValueError, match="finite"):
        judged(plain, share, np.array([np.nan, 0, 0]))


def test_uses_beyond_64_bits_are_summed_exactly():
    plain = random_plain(3, 2_000, limits=1, with_minimums=False)
    uses, everything = len(plain.use_row), np.ones(plain.pairs, bool)
    assert uses * 2**53 > 2**64
    for limit, overruns in ((2.0**53 * uses, 0), ((2.0**53 - 2) * uses, 1)):
        wide = replace(
            plain,
            use_amount=np.full(uses, np.ldexp(2.0**53 - 1, -2)),
            limit=np.array([np.ldexp(limit, -2)]),
        )
        assert judged(wide, everything).overruns == overruns
