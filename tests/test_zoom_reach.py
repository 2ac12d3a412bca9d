"""How far a zoom looks: where reaches are next to nothing, and what a curvature is counted from."""

import numpy as np
import pytest

from engine.block import Block
from engine.offer_oracle import COUNTED, OfferOracle
from engine.parts import Here
from engine.problem import Problem, Row
from engine.rules import plain
from engine.settings.job import Solver
from engine.solve import Status, solve
from engine.spread_oracle import SpreadOracle
from tests import problems
from tests.problems import MICRO


def crowd(subscribers, seed, *, value=0.1, actions=6, key=None):
    """Return a problem of one limit that all actions use alike, 1 % less than they would use."""
    rng = np.random.default_rng(seed)
    p = np.rint(rng.beta(1, 20, (actions, subscribers)) * 2**24) / 2**24
    one, offer = np.ones(subscribers, np.uint8), np.arange(actions, dtype=np.int32)
    key = rng.integers(0, 2**63 - 1, subscribers) if key is None else key
    caps = np.ones((len(plain(actions).members), subscribers), np.uint8)
    block = Block(
        key,
        p.astype(np.float32),
        one.astype(np.float32),
        0 * one.astype(np.int32),
        one,
        0 * one,
        caps,
    )
    whole = np.full((1, actions), MICRO)
    return Problem(
        [block], offer, offer, plain(actions), np.full(actions, int(value * MICRO)),
        np.full(actions, 5 * MICRO), [Row("all", "contacts", is_minimum=False)], whole, 0 * whole,
        np.ones((1, 1), bool), np.array([int(0.99 * subscribers) * MICRO]),
    )  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_limit_that_all_actions_use_alike_takes_few_reads(seed):
    """Actions do not move against each other then: most of the reach is next to nothing."""
    steps = []
    found = solve(crowd(200_000, seed), Solver(gap_tolerance=1e-5), steps.append)
    assert found.status is Status.OPTIMAL
    assert steps[-1].reads < 15


def test_soft_limits_alone_are_priced_though_the_sample_has_no_price():
    rng, count = np.random.default_rng(5), 30_000
    problem = crowd(count, 5, value=0.0, actions=2)
    block = problem.blocks[0]
    block = Block(**block.__dict__ | {"most": (rng.random(count) < 2 / 3).astype(np.uint8)})
    one, none = np.full(2, MICRO), np.zeros(2, np.int64)
    zero = 0 * problem.value_fixed
    problem = Problem(
        [block], problem.offer, problem.channel, problem.rules, zero, zero,
        [Row("least", "contacts", is_minimum=True), Row("most", "acceptances", is_minimum=False)],
        np.stack([-one, none]), np.stack([none, one]), np.ones((2, 1), bool),
        np.array([-15_000 * MICRO, 100 * MICRO]), penalty=np.array([10.0, 10.0]),
    )  # fmt: skip
    found = solve(problem, Solver(gap_tolerance=1e-3))
    assert found.status is Status.OPTIMAL


@pytest.mark.parametrize("shift", [0, 43])
def test_curvature_counted_from_a_share_is_about_that_of_all(shift, monkeypatch):
    """Also where the low bits of the keys, or the high ones, are all the same."""
    count = 1 << 18
    key = np.random.default_rng(3).permutation(count).astype(np.int64) << shift
    problem = crowd(count, 3, key=key)
    oracle = OfferOracle(problem, problem.blocks)
    assert oracle.every == 4
    at = np.full(1, 0.3), 0.05
    counted, whole, near = oracle.curve(*at)
    monkeypatch.setattr("engine.offer_oracle.COUNTED", count)
    every, all_of_it, all_near = OfferOracle(problem, problem.blocks).curve(*at)
    assert abs(near - all_near) < 0.05 * all_near
    np.testing.assert_allclose(whole, all_of_it, rtol=0.1)
    assert counted.use_in_all.tolist() == every.use_in_all.tolist()


def test_a_spread_base_counts_the_same_curvature():
    problem = problems.realistic(2 * COUNTED + 10, width=1, blocks=3)
    prices = np.full(len(problem.rows), 0.01)
    here, apart = OfferOracle(problem, problem.blocks), SpreadOracle(problem, Here(problem.blocks))
    assert here.every == apart.every == 2
    (one, curvature, near), (other, its, theirs) = here.curve(prices, 0.1), apart.curve(prices, 0.1)
    assert (one.use.tolist(), near) == (other.use.tolist(), theirs)
    assert curvature.tolist() == its.tolist()
