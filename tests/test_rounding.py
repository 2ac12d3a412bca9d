"""Rounding: whole bundles that keep every limit, near the bound, also when masses tie."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import offer_core, rounding
from engine.block import joined
from engine.offer_core import tally_of_bundles
from engine.offer_oracle import OfferOracle
from engine.problem import VALUE_UNIT, Row, use_units, value_units
from engine.rounding import round_bundles
from engine.stop import Deadline
from engine.zoom import zoom
from tests import problems
from tests.problems import MICRO


def zoomed(problem, sample=200):
    oracle = OfferOracle(problem, problem.blocks)
    return zoom(
        oracle, sample=sample, tolerance=1e-7, tell=lambda step: None, deadline=Deadline(1e9)
    )


def rounded(problem, *, tolerance=1e-4, sample=200):
    found = zoomed(problem, sample)
    return found, round_bundles(found, tolerance=tolerance, deadline=Deadline(1e9))


@pytest.mark.parametrize(("width", "blocks"), [(1, 1), (2, 3), (3, 2)])
def test_whole_bundles_keep_every_limit_and_lose_little(width, blocks):
    problem = problems.realistic(2_500, seed=width, width=width, blocks=blocks)
    found, answer = rounded(problem)
    assert answer.is_feasible
    assert problems.value_of(problem, answer.chosen) == answer.value
    bound = found.bound * VALUE_UNIT
    assert bound * (1 - 1e-4) <= answer.value <= bound * (1 + 1e-12)


@settings(max_examples=40)
@given(problems.small_problems(), st.data())
def test_a_tally_adds_up_to_value_and_use(problem, data):
    chosen = []
    value, use = 0, [0] * len(problem.rows)
    words = iter(problems.in_words(problem))
    for block in problem.blocks:
        bundles = np.full((problem.width, len(block)), -1, np.int16)
        for s in range(len(block)):
            subscriber = next(words)
            bundle = data.draw(st.sampled_from(problems.bundles_of(problem, subscriber)))
            bundles[: len(bundle), s] = bundle
            more, uses = problems.worth(problem, subscriber, bundle)
            value += more
            use = [u + m for u, m in zip(use, uses, strict=True)]
        chosen.append(bundles)
    tally = tally_of_bundles(problem, chosen)
    assert value_units(problem, tally) == value
    assert use_units(problem, tally) == use


@pytest.mark.parametrize("most", [7, 40, 12_000])
def test_masses_of_ties_are_moved_core_by_core(monkeypatch, most):
    """All subscribers are equal: the limits alone tell how many get each offer."""
    monkeypatch.setattr(offer_core, "MOST_CORE", most)
    monkeypatch.setattr(rounding, "MOST_CORE", most)
    problem = problems.realistic(400, seed=1, offers=3, channels=2, width=1, minimums=False)
    block = problem.blocks[0]
    p = np.full_like(block.propensity, 0.25)
    equal = replace(block, propensity=p, weight=np.ones_like(block.weight))
    problem = problem.with_blocks([equal]).with_value(
        np.arange(1, p.shape[0] + 1, dtype=np.int64) * MICRO, np.zeros(p.shape[0], np.int64)
    )
    found, answer = rounded(problem, tolerance=1e-9)
    assert answer.is_feasible
    value = problems.value_of(problem, answer.chosen)
    assert value == answer.value
    lost = found.bound - value / VALUE_UNIT
    assert -1e-6 <= lost <= p.shape[0]


def test_an_overrun_is_never_returned(monkeypatch):
    monkeypatch.setattr(offer_core, "MOST_CORE", 1)
    problem = problems.realistic(600, seed=2)
    _, answer = rounded(problem, sample=1_000)
    if answer.is_feasible:
        assert problems.value_of(problem, answer.chosen) == answer.value


def test_half_a_contact_is_no_answer():
    """At least and at most half a contact: a share can, a whole contact can't."""
    problem = problems.realistic(300, offers=1, channels=2, minimums=False).with_rows([])
    one = np.full((2, len(problem.offer)), MICRO)
    one[1] *= -1
    problem = replace(
        problem,
        rows=[Row("half", "contacts", is_minimum=False), Row("least", "contacts", is_minimum=True)],
        use_fixed=one,
        use_accept=np.zeros_like(one),
        in_scope=np.ones((2, problem.groups), bool),
        limit=np.array([MICRO // 2, -MICRO // 2]),
    )
    found, answer = rounded(problem)
    assert found.bound < 0 and not answer.is_feasible  # 0 contacts at most, 1 at least


def test_joined_blocks_hold_all_rows():
    parts = problems.realistic(50, blocks=3).blocks
    whole = joined(parts)
    assert len(whole) == 50
    assert whole.key.tolist() == [k for part in parts for k in part.key.tolist()]
    assert whole.propensity.flags.c_contiguous


@pytest.mark.parametrize("width", [1, 2, 3])
def test_a_core_lists_what_is_a_step_from_the_best(width):
    """Regret, value, use and permission of every bundle, by the words of engine.problem."""
    problem = problems.realistic(60, seed=3, width=width, blocks=3)
    oracle = OfferOracle(problem, problem.blocks)
    prices = np.full(len(problem.rows), 0.05) * (np.arange(len(problem.rows)) % 2)
    survey = oracle.survey(prices, oracle.everybody)
    core = oracle.core(survey, 0)
    may = [s for s in problems.in_words(problem) if s["p"]]
    assert len(core) == len(may) and (np.diff(core.block.key) > 0).all()
    words = {s["key"]: s for s in problems.in_words(problem)}
    best = problems.bundles_by_key(problem, survey.chosen)
    values, uses = oracle.exact_bundles(core, range(len(core.owner)))
    for j, s in enumerate(core.owner):
        subscriber = words[int(core.block.key[s])]
        bundle = tuple(int(a) for a in core.bundles[j] if a >= 0)
        assert problems.is_allowed(problem, subscriber, bundle)
        own = set(best[subscriber["key"]])
        assert len(own - set(bundle)) <= 1 and len(set(bundle) - own) <= 1
        value, use = problems.worth(problem, subscriber, bundle)
        assert (values[j], [u[j] for u in uses]) == (value, list(use))
        assert core.value[j] == pytest.approx(value / VALUE_UNIT)
        least = problems.worth(problem, subscriber, tuple(own))
        surplus, highest = (
            v / VALUE_UNIT - sum(prices * np.array(u, float) / np.array(oracle.use_unit))
            for v, u in ((value, use), least)
        )
        assert core.regret[j] == pytest.approx(highest - surplus, abs=1e-9)
        assert core.regret[j] >= 0.0
    assert (core.regret[core.first[:-1]] == 0).all()
