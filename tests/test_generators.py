"""Generated problems are what they are said to be, the same for the same seed, and tight."""

import numpy as np
import pytest

from benchmarks import generators
from benchmarks.bundles import best_bundles
from benchmarks.generators import CAPS, GENERATORS, USE_GRID, VALUE_GRID, matching
from benchmarks.instance import BLOCK, CASES, STREAM, block, catalogue, instance, limits
from benchmarks.judge import judged, lagrangian_bound
from benchmarks.plain import check, lowered

SIZES = {"knapsack-sparse": (800, 10, 10), "knapsack-dense": (800, 10, 5), "v1": (800, 10, 10)}


@pytest.mark.parametrize("name", GENERATORS)
def test_a_problem_depends_on_its_seed_alone_and_keeps_to_its_grid(name):
    one, two, other = (GENERATORS[name](*SIZES[name], seed=s) for s in (5, 5, 6))
    check(one)
    assert (one.value_grid, one.use_grid) == (VALUE_GRID, USE_GRID)
    for field, array in one.__dict__.items():
        np.testing.assert_array_equal(array, getattr(two, field))
    assert not np.array_equal(one.value[:50], other.value[:50])


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("subscribers", [0, 1, 2])
def test_few_subscribers_are_a_problem_too(name, subscribers):
    plain = GENERATORS[name](subscribers, *SIZES[name][1:])
    check(plain)
    assert plain.subscribers == subscribers


@pytest.mark.parametrize("name", GENERATORS)
def test_most_limits_bind(name):
    plain = GENERATORS[name](*SIZES[name])
    free, _ = best_bundles(plain, np.zeros(len(plain.limit)))
    assert judged(plain, free).overruns > len(plain.limit) / 3
    assert lagrangian_bound(plain, np.zeros(len(plain.limit))) == judged(plain, free).value


def test_knapsacks_have_their_uses_and_hierarchical_caps():
    sparse, dense = (GENERATORS[f"knapsack-{n}"](300, 10, 10) for n in ("sparse", "dense"))
    for plain in (sparse, dense):
        assert plain.pairs == 3_000
        assert plain.category.tolist() == [0] * 5 + [1] * 5
        assert (plain.category_most == np.array(CAPS[:2])[:, None]).all()
        assert (plain.most == CAPS[2]).all()
        assert len(set(plain.offer.tolist())) == 10
        assert 0 <= plain.value.min() < 0.1 < 0.9 < plain.value.max() <= 1
        assert judged(plain, best_bundles(plain, np.zeros(10))[0]).cap_overruns == 0
    assert sparse.use_row.tolist() == sparse.action.tolist()
    assert 0.9 < sparse.use_amount.max() <= 1
    assert (np.diff(dense.use_indptr) == 10).all()
    assert 0.4 < (dense.use_amount > 1).mean() < 0.5  # half are U[0, 10], a tenth of those small
    assert 9 < dense.use_amount.max() <= 10


def test_blocks_of_a_knapsack_do_not_depend_on_what_follows(monkeypatch):
    monkeypatch.setattr(generators, "BLOCK", 100)
    few, many = (GENERATORS["knapsack-dense"](n, 4, 3) for n in (200, 350))
    np.testing.assert_array_equal(many.value[:800], few.value)
    np.testing.assert_array_equal(many.use_amount[:2400], few.use_amount)


@pytest.mark.parametrize("name", ["knapsack-sparse", "v1"])
def test_one_resource_an_action_is_asked_for(name):
    with pytest.raises(ValueError, match="constraints: 9"):
        GENERATORS[name](10, 10, 9)


def test_v1_is_the_matching_problem_of_its_formulas():
    plain = matching(2_000, 12, 12)
    owner = plain.owner
    assert (np.diff(plain.action)[np.diff(owner) == 0] > 0).all(), "distinct, ascending"
    assert 0 < plain.value.min() < plain.value.max() <= 0.5
    assert (plain.most == 1).all()
    assert plain.use_row.tolist() == plain.action.tolist()
    # a = .05 s_j logN(0, .5): of one action, the logarithm's deviation is .5
    large = np.bincount(plain.action).argmax()
    assert np.log(plain.use_amount[plain.action == large]).std() == pytest.approx(0.5, abs=0.06)
    load, total = np.zeros((2, 12))
    for s in range(2_000):
        pairs = np.arange(plain.indptr[s], plain.indptr[s + 1])
        np.add.at(total, plain.action[pairs], plain.use_amount[pairs])
        if len(pairs):
            first = pairs[plain.value[pairs].argmax()]
            load[plain.action[first]] += plain.use_amount[first]
    share = plain.limit / (0.5 * load + 0.05 * total)
    assert ((share > 0.3 - 1e-6) & (share < 1)).all()


def test_v1_of_the_issue_has_as_many_pairs_and_a_bound_no_lower_than_its_optimum():
    plain = matching(100_000, 50, 50)
    assert plain.pairs == 985_499
    assert lagrangian_bound(plain, np.zeros(50)) > 8864.604385


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("constraints", [25, 60, 200])
def test_telecom_problems_have_many_limits(case, constraints):
    problem = instance(CASES[case], 400, 20, constraints)
    assert len({row.name for row in problem.rows}) == constraints
    everything = (problem.use_fixed != 0) | (problem.use_accept != 0)
    assert everything.any(axis=1).all()
    assert (everything.all(axis=1) & problem.in_scope.all(axis=1)).any(), "one dense over all pairs"
    plain = lowered(problem)
    check(plain)
    free, _ = best_bundles(plain, np.zeros(constraints))
    assert judged(plain, free).overruns > constraints / 5


def test_more_limits_change_neither_the_first_ones_nor_the_subscribers():
    few, many = (instance(CASES["bundles"], 300, 20, k) for k in (55, 200))
    for name in ("use_fixed", "use_accept", "in_scope", "limit"):
        np.testing.assert_array_equal(getattr(many, name)[:55], getattr(few, name))
    for name, array in few.blocks[0].__dict__.items():
        np.testing.assert_array_equal(array, getattr(many.blocks[0], name))


def test_how_many_limits_there_are_is_as_documented():
    counts = [len(list(limits(catalogue(CASES["bundles"], a), 1000))) for a in (20, 50)]
    assert counts == [207, 437]


def test_a_partition_is_a_block_of_the_whole():
    whole = instance(CASES["one-offer"], BLOCK + 10, 5, 3)
    place = BLOCK // STREAM
    alone = block(CASES["one-offer"], catalogue(CASES["one-offer"], 5), place, 10)
    for name, array in alone.__dict__.items():
        np.testing.assert_array_equal(array, getattr(whole.blocks[1], name))
