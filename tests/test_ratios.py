"""Ratios of sums: their linear form, the solver under them, and how they conflict."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import AllocationError
from engine.infeasible import explain
from engine.limits import MICRO
from engine.offer_core import tally_of_bundles
from engine.offer_oracle import OfferOracle
from engine.problem import USE_UNIT, VALUE_UNIT, Row, use_units
from engine.quotient import Quotient
from engine.settings.job import Solver
from engine.solve import Status, solve
from engine.stop import Deadline
from tests import problems
from tests.test_solve import ROUNDED, TIGHT, is_bound

LIMITS = [Fraction(x, MICRO) for x in (0, 1, 250_000, 333_333, MICRO, 3_500_000, 7_000_001)]


def with_ratios(problem, quotients):
    """Return the problem with ratios in place of its limits; (quotient, is_minimum) each."""
    terms = [q.terms(q.limit, is_minimum=is_minimum) for q, is_minimum in quotients]
    counts = [len(fixed) for fixed, _, _ in terms]
    return replace(
        problem,
        rows=[Row(f"ratio_{k}", "cost", m, quotient=q) for k, (q, m) in enumerate(quotients)],
        use_fixed=np.concatenate([fixed for fixed, _, _ in terms]),
        use_accept=np.concatenate([accept for _, accept, _ in terms]),
        in_scope=np.concatenate([scope for _, _, scope in terms]),
        limit=np.zeros(len(quotients), np.int64),
        term_of=None if sum(counts) == len(counts) else np.arange(len(counts)).repeat(counts),
    )


@st.composite
def ratio_problems(draw):
    problem = draw(problems.small_problems())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    actions, groups = len(problem.offer), problem.groups
    money = [0, MICRO, 3 * MICRO, 1_000_003, 1]
    quotients = []
    for _ in range(draw(st.integers(1, 3))):
        of = rng.choice(money, (2, actions)) * (rng.random(actions) < 0.7)
        to = [[MICRO], [0]] if rng.random() < 0.5 else rng.choice(money, (2, actions))
        to = np.array(to) * (rng.random(actions) < 0.8)
        scopes = rng.random((2, groups)) < 0.7
        if rng.random() < 0.5:
            scopes[1] = scopes[0]
        limit = LIMITS[rng.integers(len(LIMITS))]
        quotients.append((Quotient(of, to, *scopes, limit), bool(rng.random() < 0.4)))
    return with_ratios(problem, quotients), quotients


def sums(problem, quotient, bundles):
    """Return numerator and denominator of an allocation by the words of a ratio, micro-units."""
    found = [Fraction(0), Fraction(0)]
    for subscriber in problems.in_words(problem):
        for a in bundles[subscriber["key"]]:
            sides = ((quotient.of, quotient.of_scope), (quotient.to, quotient.to_scope))
            for i, (use, scope) in enumerate(sides):
                if scope[subscriber["group"]]:
                    found[i] += int(use[0, a]) + int(use[1, a]) * subscriber["p"][a]
    return found


def forms(quotients):
    """Return a function: subscriber and bundle to what each form changes by, use units."""

    def of(subscriber, bundle):
        out = []
        for quotient, is_minimum in quotients:
            numerator = denominator = Fraction(0)
            for a in bundle:
                p = subscriber["p"][a]
                if quotient.of_scope[subscriber["group"]]:
                    numerator += int(quotient.of[0, a]) + int(quotient.of[1, a]) * p
                if quotient.to_scope[subscriber["group"]]:
                    denominator += int(quotient.to[0, a]) + int(quotient.to[1, a]) * p
            form = numerator - quotient.limit * denominator
            out.append(-form if is_minimum else form)
        return tuple(out)

    return of


def optimum(problem, quotients):
    """Return the most value, value units, whose ratios hold; None: there is none."""
    form, found = forms(quotients), {(Fraction(0),) * len(quotients): 0}
    for subscriber in problems.in_words(problem):
        bundles = [
            (form(subscriber, bundle), problems.worth(with_none(problem), subscriber, bundle)[0])
            for bundle in problems.bundles_of(problem, subscriber)
        ]
        grown = {}
        for use, value in found.items():
            for more, worth in bundles:
                total = tuple(u + m for u, m in zip(use, more, strict=True))
                grown[total] = max(grown.get(total, value + worth), value + worth)
        found = grown
    return max((v for use, v in found.items() if all(u <= 0 for u in use)), default=None)


def with_none(problem):
    return problem.with_rows([])


@settings(max_examples=100)
@given(ratio_problems())
def test_the_best_allocation_within_ratios_is_found_and_keeps_them(case):
    problem, quotients = case
    best = optimum(problem, quotients)
    found = solve(problem, TIGHT)
    assert (found.status == Status.INFEASIBLE) == (best is None)
    if best is None:  # some must have an offer
        return
    value = problems.value_of(with_none(problem), found.chosen)
    assert value == best and found.value == best / VALUE_UNIT
    assert is_bound(found.bound, best) and is_bound(found.dual_bound, best)
    bundles = problems.bundles_by_key(problem, found.chosen)
    used = use_units(problem, tally_of_bundles(problem, found.chosen))
    for (quotient, is_minimum), use in zip(quotients, used, strict=True):
        of, to = sums(problem, quotient, bundles)
        assert of >= quotient.limit * to if is_minimum else of <= quotient.limit * to
        scale = quotient.scale(quotient.limit)
        form = scale * (of - quotient.limit * to) * (-1 if is_minimum else 1)
        assert Fraction(use, USE_UNIT) * MICRO == form and use <= 0


@settings(max_examples=60)
@given(ratio_problems())
def test_prices_and_rounding_keep_ratios_too(case):
    problem, quotients = case
    best = optimum(problem, quotients)
    try:
        found = solve(problem, ROUNDED)
    except AllocationError as error:  # a coefficient a million times another: prices end before
        assert "raise solver.exact_pairs" in str(error)
        return
    if found.status == Status.INFEASIBLE:
        assert best is None
        return
    assert is_bound(found.bound, best)
    assert problems.value_of(with_none(problem), found.chosen) <= best
    used = use_units(problem, tally_of_bundles(problem, found.chosen))
    assert all(use <= 0 for use in used)


@given(ratio_problems(), st.integers(0, 2**32 - 1))
def test_terms_add_up_in_a_pass(case, seed):
    """The oracle's use of a limit of several terms is that of the exact sums."""
    problem, _ = case
    prices = np.random.default_rng(seed).random(len(problem.rows)) * 2
    oracle = OfferOracle(problem, problem.blocks)
    survey = oracle.survey(prices)
    evaluation, chosen = survey.evaluation, survey.chosen
    exact = use_units(problem, tally_of_bundles(problem, chosen))
    expected = [use / USE_UNIT for use in exact]
    size = [abs(problem.use_fixed[problem.terms == k] / MICRO).max(initial=0) * 30 + 1
            for k in range(len(exact))]  # fmt: skip
    for got, want, most in zip(evaluation.use.sum(axis=1), expected, size, strict=True):
        assert got == pytest.approx(want, rel=1e-12, abs=1e-12 * most)


def test_the_scale_is_the_least_that_makes_a_form_whole():
    scopes = np.ones((2, 1), bool)
    of, contacts = np.array([[3], [5]]), np.array([[MICRO], [0]])
    quotient = Quotient(of, contacts, *scopes, Fraction(3_333_333, MICRO))
    assert quotient.scale(quotient.limit) == 1
    fixed, accept, _ = quotient.terms(quotient.limit, is_minimum=False)
    assert (fixed.tolist(), accept.tolist()) == ([[3 - 3_333_333]], [[5]])
    money = Quotient(of, np.array([[4_000], [6]]), *scopes, Fraction(1, 4))
    assert money.scale(money.limit) == 2  # a quarter of 6 is one and a half
    fixed, accept, _ = money.terms(money.limit, is_minimum=True)
    assert (fixed.tolist(), accept.tolist()) == ([[2_000 - 6]], [[3 - 10]])
    large = Quotient(of, np.array([[10**15], [0]]), *scopes, Fraction(10**12))
    with pytest.raises(OverflowError):
        large.terms(large.limit, is_minimum=False)


def cost_per_acceptance(seed, limit, *, minimum):
    """A ratio that is out of reach while so many contacts must be made."""
    problem = problems.realistic(200, seed=seed, minimums=False, width=1)
    problem = problem.with_rows([])
    everyone = np.ones(problem.groups, bool)
    actions = len(problem.offer)
    of = np.array([np.full(actions, MICRO // 2), np.full(actions, MICRO)])
    to = np.array([np.zeros(actions, np.int64), np.full(actions, MICRO)])
    quotient = Quotient(of, to, everyone, everyone, Fraction(limit))
    contacts = np.full((1, actions), -MICRO)
    fixed, accept, scope = quotient.terms(quotient.limit, is_minimum=False)
    return replace(
        problem,
        rows=[Row("cpa", "cost", is_minimum=False, quotient=quotient),
              Row("enough", "contacts", is_minimum=True)],
        use_fixed=np.concatenate([fixed, contacts]),
        use_accept=np.concatenate([accept, np.zeros_like(contacts)]),
        in_scope=np.concatenate([scope, everyone[None]]),
        limit=np.array([0, -minimum * MICRO]),
    )  # fmt: skip


@pytest.mark.parametrize("small", [True, False])
def test_a_ratios_relaxation_is_told_in_terms_of_the_ratio(small):
    """Cost is 0.5 a contact and 1 an acceptance: the best ratio is of the likeliest contacts."""
    problem = cost_per_acceptance(3, 1, minimum=20)
    told = explain(problem, small=small, deadline=Deadline(60.0))
    assert [c.constraint for c in told] == ["cpa", "enough"]
    likeliest = sorted(max(s["p"].values()) for s in problems.in_words(problem) if s["p"])[-20:]
    best = float(1 + Fraction(1, 2) * 20 / sum(likeliest))
    ratio = told[0]
    assert ratio.limit == 1.0
    # In millionths, rounded up; by the dual to 1e-7 of the first miss.
    assert ratio.smallest_relaxation == pytest.approx(best - 1, abs=1.1e-6 if small else 1e-4)
    assert ratio.text.startswith("cpa (a ratio of at most 1): raise it by at least ")
    relaxed = Fraction(1) + Fraction(round(ratio.smallest_relaxation * MICRO), MICRO)
    if small:
        enough = solve(problem.at_ratio(0, relaxed), Solver())
        assert enough.status != Status.INFEASIBLE
        short = solve(problem.at_ratio(0, relaxed - Fraction(2, MICRO)), Solver())
        assert short.status == Status.INFEASIBLE
    # Without a single contact there is nothing to be too dear.
    assert told[1].smallest_relaxation == 20.0


def with_quotient(problem, quotient):
    """Return a problem of a ratio and another limit with another quotient in its ratio."""
    fixed, accept, _ = quotient.terms(quotient.limit, is_minimum=False)
    return replace(
        problem,
        rows=[replace(problem.rows[0], quotient=quotient), problem.rows[1]],
        use_fixed=np.concatenate([fixed, problem.use_fixed[1:]]),
        use_accept=np.concatenate([accept, problem.use_accept[1:]]),
    )


def test_a_ratio_of_nobody_cannot_be_reached_by_changing_it():
    problem = cost_per_acceptance(3, 1, minimum=20)
    row = problem.rows[0]
    nobody = replace(row.quotient, to=np.zeros_like(row.quotient.to))
    problem = with_quotient(problem, nobody)
    for small in (True, False):
        told = explain(problem, small=small, deadline=Deadline(60.0))
        assert told[0].smallest_relaxation is None and "not enough" in told[0].text


@pytest.mark.parametrize(("price", "told"), [(10**15, None), (10**9 + 1, 0.0)])
def test_a_ratio_is_relaxed_within_the_exact_range(price, told):
    """Beyond it no ratio can be asked for: there the search ends."""
    problem = cost_per_acceptance(3, 1, minimum=20)
    row, actions = problem.rows[0], len(problem.offer)
    dear = np.array([np.zeros(actions, np.int64), np.full(actions, price)])
    of = dear[::-1] * 2 if told is None else row.quotient.of * 2000
    quotient = replace(row.quotient, of=of, to=dear)
    problem = with_quotient(problem, quotient)
    found = explain(problem, small=False, deadline=Deadline(60.0))[0]
    if told is None:
        assert found.smallest_relaxation is None
    else:  # a middle ratio has a form beyond the range: what is told is enough, if not the least
        assert found.smallest_relaxation > told


def test_an_equation_is_told_as_one_limit():
    problem = problems.realistic(50, seed=1, minimums=False).with_rows([])
    each = np.full((1, len(problem.offer)), MICRO)
    everyone = np.ones((3, problem.groups), bool)
    problem = replace(
        problem,
        rows=[Row("half", "contacts", is_minimum=False, twin="half"),
              Row("half:minimum", "contacts", is_minimum=True, twin="half"),
              Row("few", "contacts", is_minimum=False)],
        use_fixed=np.concatenate([each, -each, each]),
        use_accept=np.zeros((3, len(problem.offer)), np.int64),
        in_scope=everyone,
        limit=np.array([2_500_000, -2_500_000, 100 * MICRO]),
    )  # fmt: skip
    (told,) = explain(problem, small=True, deadline=Deadline(60.0))
    assert told.constraint == "half" and told.limit == 2.5
    assert told.text == (
        "half (equal to 2.5 contacts): raise it by at least 0.5, to 3 or lower it by at least 0.5, "
        "to 2"
    )
    few = problem.limit.copy()
    few[2] = 1 * MICRO
    few[:2] = [4 * MICRO, -4 * MICRO]
    told = explain(replace(problem, limit=few), small=True, deadline=Deadline(60.0))
    assert [c.constraint for c in told] == ["half", "few"]
    assert told[0].text == "half (equal to 4 contacts): lower it by at least 3, to 1"
