"""Peers: heuristics against their definitions, solvers against enumeration, time limits held."""

import json
import os
import sys
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from itertools import product
from math import isinf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import compare
from benchmarks.compare import compared
from benchmarks.generators import GENERATORS
from benchmarks.instance import CASES, instance
from benchmarks.judge import judged, lagrangian_bound
from benchmarks.peers import HEURISTICS, PEERS, Task, __main__, chunks
from benchmarks.peers.linear import linear
from benchmarks.peers.sweep import arrival_order, sweep
from benchmarks.peers.whole import whole
from benchmarks.plain import check, lowered, save
from tests.plains import bundles, optimum, pairs_of, random_plain, worth

SEEDS = st.integers(0, 2**32 - 1)
MATCHING = GENERATORS["v1"](1_500, 8, 8)
WHOLE, SHARES = ("scip", "cp-sat"), ("pdlp-1e-4", "pdlp-1e-6")
HIGHS = ("highs-simplex", "highs-ipm", "highs-pdlp")
needs_highspy = pytest.mark.skipif(
    find_spec("highspy") is None and "PEERS_PYTHON" not in os.environ,
    reason="needs highspy: pip install 'walras[peers]', or PEERS_PYTHON, a Python that has it",
)


def answer(peer, plain, *, gap=0.0, seconds=30.0):
    """Return a peer's answer, found in this process."""
    module = import_module(f"benchmarks.peers.{PEERS[peer]}")
    return module.solve(plain, Task(peer, gap, seconds, threads=1))


def swept(plain, order, surplus, chosen):
    """Go through the subscribers by the definition; return the pairs and their summed surplus."""
    kept = [k for k, b in enumerate(plain.limit) if b >= 0]
    taken = set(pairs_of(chosen))
    totals = []
    for s in order:
        taken -= set(range(int(plain.indptr[s]), int(plain.indptr[s + 1])))

        def fits(bundle, taken=taken):
            _, uses = worth(plain, [*taken, *bundle])
            return all(uses[k] <= plain.limit[k] for k in kept)

        allowed = [b for b in bundles(plain, s) if fits(b)]
        best = max(sum(float(surplus[n]) for n in b) for b in allowed)
        totals.append(best)
        yield best, allowed
        chosen_now = next(b for b in allowed if sum(float(surplus[n]) for n in b) == best)
        taken |= set(chosen_now)


@settings(deadline=None, max_examples=80)
@given(SEEDS)
def test_a_sweep_gives_each_subscriber_its_best_bundle_that_fits(seed):
    plain = random_plain(seed, with_minimums=False)
    # Distinct powers of two: no two bundles are worth the same.
    surplus = np.random.default_rng(seed).permutation(2.0 ** np.arange(plain.pairs))
    order = np.random.default_rng(seed).permutation(plain.subscribers)
    nothing = np.zeros(plain.pairs, bool)
    found = sweep(plain, whole(plain), order, surplus, nothing)
    for s, (best, _) in zip(order, swept(plain, order, surplus, nothing), strict=True):
        own = slice(int(plain.indptr[s]), int(plain.indptr[s + 1]))
        assert surplus[own][found[own]].sum() == best


@settings(deadline=None, max_examples=40)
@given(SEEDS)
def test_a_second_sweep_never_loses_value(seed):
    plain = random_plain(seed, 6, with_minimums=False)
    order = arrival_order(plain)
    once = sweep(plain, whole(plain), order, plain.value, np.zeros(plain.pairs, bool))
    again = sweep(plain, whole(plain), order[::-1].copy(), plain.value, once)
    assert plain.value[again].sum() >= plain.value[once].sum()


@pytest.mark.parametrize("peer", HEURISTICS)
@settings(deadline=None, max_examples=15)
@given(seed=SEEDS)
def test_a_heuristic_keeps_every_limit_and_beats_no_optimum(peer, seed):
    plain = random_plain(seed, 3, with_minimums=False)
    found = judged(plain, answer(peer, plain).chosen)
    assert (found.overruns, found.cap_overruns) == (0, 0)
    assert 0 <= found.value <= optimum(plain)


@pytest.mark.parametrize("peer", ["arrival", "greedy", "single-price"])
@settings(deadline=None, max_examples=15)
@given(seed=SEEDS)
def test_a_minimum_that_greed_misses_is_counted(peer, seed):
    plain = random_plain(seed)
    found = answer(peer, plain).chosen
    _, uses = worth(plain, pairs_of(found))
    over = [u > b for u, b in zip(uses, map(float, plain.limit), strict=True)]
    assert judged(plain, found).overruns == sum(over)
    assert not any(o for o, b in zip(over, plain.limit, strict=True) if b >= 0)


def test_arrival_is_the_definition_in_the_seed_s_order():
    plain = random_plain(11, 6, with_minimums=False)
    order, nothing = arrival_order(plain), np.zeros(plain.pairs, bool)
    assert sorted(order) == list(range(6))
    expected = sum(best for best, _ in swept(plain, order, plain.value, nothing))
    assert plain.value[answer("arrival", plain).chosen].sum() == expected


def test_greedy_takes_the_best_ratio_first():
    # One limit of 4: pairs of value 3, 4, 5 that use 1, 2, 4. By ratio: 3 and 4 fit, 5 does not.
    plain = one_limit(value=[3.0, 4.0, 5.0], use=[1.0, 2.0, 4.0], limit=4.0)
    assert pairs_of(answer("greedy", plain).chosen) == [0, 1]


def test_single_price_gives_the_scarce_to_whom_it_is_worth_most():
    plain = one_limit(value=[1.0, 5.0, 2.0, 4.0, 3.0], use=[1.0] * 5, limit=3.0)
    found = answer("single-price", plain)
    assert pairs_of(found.chosen) == [1, 3, 4]
    assert 2.0 <= found.prices[0] < 2.0 + 1e-6, "the price at which the fourth best goes without"
    assert judged(plain, found.chosen, found.prices).bound == pytest.approx(12.0)


def one_limit(value, use, limit):
    """Return a problem of one pair a subscriber and one limit."""
    count = len(value)
    each, one = np.arange(count + 1), np.ones((1, count), np.uint8)
    zero = np.zeros(1, np.int32)
    return replace(
        random_plain(0, limits=1, with_minimums=False), indptr=each, use_indptr=each,
        action=np.zeros(count, np.int32), value=np.array(value), use_amount=np.array(use),
        use_row=np.zeros(count, np.int32), limit=np.array([limit]), most=one[0], category=zero,
        category_most=one, channel=zero, channel_most=one, offer=zero, value_unit=1.0, use_unit=1.0,
    )  # fmt: skip


@pytest.mark.parametrize("peer", HEURISTICS)
def test_a_heuristic_does_well_where_there_is_much_room(peer):
    roomy = replace(MATCHING, limit=MATCHING.limit * 1e4)
    found = judged(roomy, answer(peer, roomy, gap=1e-6).chosen)
    bound = lagrangian_bound(roomy, np.zeros(8))
    assert found.value == pytest.approx(bound, rel=1e-6)  # SCIP stops at that gap


def test_chunks_part_the_subscribers_and_the_limits():
    plain = lowered(instance(CASES["bundles"], 300, 10, 30))
    rows = np.sort(np.random.default_rng(0).permutation(300)[:100])
    part, pairs = chunks.taken(plain, rows)
    check(part)
    assert (part.limit <= plain.limit / 3).all()
    np.testing.assert_allclose(part.limit, plain.limit / 3, rtol=1e-5)
    np.testing.assert_array_equal(part.value, plain.value[pairs])
    np.testing.assert_array_equal(plain.owner[pairs], rows[part.owner])
    for i in (0, 7, part.pairs - 1):
        assert worth(part, [i]) == worth(plain, [int(pairs[i])])
    free = chunks.without_minimums(part)
    assert judged(free, np.zeros(part.pairs, bool)).overruns == 0
    assert (part.limit < 0).sum() == judged(part, np.zeros(part.pairs, bool)).overruns > 0


def test_chunks_that_miss_their_minimums_go_without(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK", 2)
    plain = one_limit(value=[1.0, 1.0, 1.0, 1.0], use=[-1.0] * 4, limit=-3.0)
    found = answer("chunks", replace(plain, most=np.array([1, 1, 1, 0], np.uint8)))
    assert "1 without minimums" in found.status
    assert pairs_of(found.chosen) == [0, 1, 2]


def test_chunks_without_time_are_greedy():
    found = answer("chunks", MATCHING, seconds=0.0)
    assert found.status == "2 chunks, 2 by greed alone"
    result = judged(MATCHING, found.chosen)
    assert result.value > 0 == result.overruns


@settings(deadline=None, max_examples=60)
@given(SEEDS)
def test_the_linear_model_allows_exactly_the_allowed_bundles(seed):
    plain = random_plain(seed, 2, actions=4)
    model = linear(plain)
    matrix = model.matrix.toarray()
    allowed = [bundles(plain, s) for s in range(2)]
    for bits in product([0, 1], repeat=plain.pairs):
        x = np.array(bits, float)
        own = [tuple(n for n in pairs_of(x) if plain.owner[n] == s) for s in range(2)]
        _, uses = worth(plain, pairs_of(x))
        fits = all(u <= b for u, b in zip(uses, map(float, plain.limit), strict=True))
        expected = fits and all(b in a for b, a in zip(own, allowed, strict=True))
        assert ((matrix @ x <= model.upper).all() and (x <= model.column_upper).all()) == expected
        assert model.objective @ x == float(worth(plain, pairs_of(x))[0]) * plain.value_unit


@settings(deadline=None, max_examples=100)
@given(SEEDS, st.sampled_from([61, 8, 4]))
def test_whole_numbers_are_exact_or_on_the_safe_side(seed, bits):
    plain = random_plain(seed)
    uses = whole(plain, bits)
    chosen = np.random.default_rng(seed).random(plain.pairs) < 0.4
    entries = chosen.repeat(np.diff(plain.use_indptr))
    total = np.zeros(3, np.int64)
    np.add.at(total, plain.use_row[entries], uses.amount[entries])
    fits = total <= uses.limit
    truly = np.array([u <= b for u, b in zip(worth(plain, pairs_of(chosen))[1],
                                             map(float, plain.limit), strict=True)])  # fmt: skip
    assert (fits <= truly).all()
    if bits == 61:
        assert (fits == truly).all()


@pytest.mark.parametrize("peer", WHOLE)
@settings(deadline=None, max_examples=25)
@given(seed=SEEDS)
def test_a_solver_of_whole_numbers_finds_the_optimum(peer, seed):
    plain = random_plain(seed, 3)
    best, found = optimum(plain), answer(peer, plain)
    if best is None:
        assert found.status.startswith("INFEASIBLE")
        assert not found.chosen.any()
        return
    assert found.status == "OPTIMAL"
    result = judged(plain, found.chosen)
    assert (result.value, result.overruns, result.cap_overruns) == (best, 0, 0)
    assert found.claimed_bound >= best - 1e-9


@pytest.mark.parametrize("peer", SHARES)
def test_pdlp_s_prices_bound_its_value(peer):
    found = answer(peer, MATCHING)
    result = judged(MATCHING, found.chosen, found.prices)
    assert found.status == "OPTIMAL"
    tolerance = 10 * float(
        peer.removeprefix("pdlp-")
    )  # of value and bound, each about that far off
    assert result.bound == pytest.approx(result.value, rel=tolerance)
    assert result.bound < 0.9 * lagrangian_bound(MATCHING, np.zeros(8)), "prices do something"
    assert result.overrun_share < 0.1


@pytest.mark.parametrize(
    "peer", ["pdlp-1e-6", *(pytest.param(h, marks=needs_highspy) for h in HIGHS)]
)
def test_peers_run_in_processes_of_their_own_and_find_the_same_bound(peer, request):
    own = {"seconds": 0.5, "value": 1.0, "bound": 1e9}
    rows = compared(MATCHING, [peer, "greedy", "dualip"], gap=1e-6, time_limit=60, own=own)
    row, heuristic, absent = rows
    assert [r["peer"] for r in rows] == [peer, "greedy", "dualip"]
    assert row["status"].upper() == "OPTIMAL"
    assert row["bound"] == pytest.approx(_best_bound(), rel=1e-5)
    assert row["value"] == pytest.approx(row["bound"], rel=1e-3)
    assert row["bound_by"] == "prices"
    assert row["ratio"] == row["seconds"] / 0.5
    assert row["peak_bytes"] > 50e6
    assert heuristic["bound"] is None
    assert heuristic["loss"] == (row["bound"] - heuristic["value"]) / row["bound"]
    assert heuristic["overruns"] == heuristic["fractional"] == 0
    assert absent["status"].startswith("ABSENT: dualip")
    assert absent["value"] is absent["ratio"] is absent["loss"] is None


def _best_bound():
    found = answer("pdlp-1e-6", MATCHING)
    return lagrangian_bound(MATCHING, found.prices)


def test_a_claimed_bound_is_said_to_be_one():
    plain = random_plain(3, with_minimums=False)
    (row,) = compared(plain, ["cp-sat"], gap=0.0, time_limit=30)
    assert row["bound_by"] == "claimed"
    assert row["bound"] >= row["value"] == optimum(plain)
    assert not isinf(row["bound"])


def test_a_time_limit_holds_and_says_so(monkeypatch):
    monkeypatch.setattr(compare, "GRACE_S", 0.0)
    (row,) = compared(MATCHING, ["scip"], gap=0.0, time_limit=0.2)
    assert row["status"].startswith("KILLED: 0.22 s of ")
    assert row["value"] is row["seconds"] is None
    assert row["peak_bytes"] > 0


def test_a_peer_that_breaks_is_told_with_its_reason(tmp_path):
    (tmp_path / "it.npz").write_text("no problem at all")
    found = compare._run("arrival", tmp_path / "it.npz", tmp_path / "out", 0.0, 30.0)
    assert found["figures"]["status"].startswith("FAILED: exit status 1: ")
    assert "ickle" in found["figures"]["status"]


def test_a_peer_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(ValueError, match="no peer gurobi; there are pdlp-1e-4, "):
        compared(MATCHING, ["gurobi"], gap=0.0, time_limit=1)


def test_the_command_prints_one_line_of_json(tmp_path, capsys):
    save(MATCHING, tmp_path / "it.npz")
    __main__.main(["arrival", str(tmp_path / "it.npz")])
    row = json.loads(capsys.readouterr().out)
    assert row["peer"] == "arrival"
    assert row["value"] > 0
    with pytest.raises(SystemExit, match="finds no distribution"):
        __main__.main(["dualip", str(tmp_path / "it.npz")])


def test_no_peer_s_package_comes_with_another_s():
    assert "highspy" not in sys.modules
    assert set(PEERS) == {*HEURISTICS, *WHOLE, *SHARES, *HIGHS, "dualip"}
