"""Ranges of prices at limits that were moved, where the price is an order statistic of values.

One action. In group 0 at most ``few`` contacts: their price is what the next one is worth. In
group 1, where most contacts are a loss, at least ``many``: their price is the loss of the last.
"""

from dataclasses import replace

import numpy as np
import pytest

from engine.problem import Row
from engine.session import Session
from engine.settings.job import Solver
from engine.solve import Status
from kernels.choose import PROPENSITY_GRID
from tests.problems import MICRO
from tests.test_solve import line

SIZE = 3_000  # subscribers of a group
NEXT = 2  # contacts by which a price may be off: the dual is minimised to a tolerance
QUESTIONS = [
    {}, {"few": 600}, {"few": 2_000}, {"many": 1_400}, {"few": 300, "many": 2_500}, {"few": 2_900},
    {"many": 0},
]  # fmt: skip


def worths():
    """Return [2, SIZE] what a contact is worth by group, the most first: money."""
    drawn = np.random.default_rng(6).beta(2, 3, (2, SIZE))
    p = (np.rint(drawn * PROPENSITY_GRID) / PROPENSITY_GRID).astype(np.float32)
    return -np.sort(-p.astype(float), axis=1) - np.array([[0.0], [0.75]])


def problem_of(few=1_000, many=1_000):
    """Return the problem; the worth of a contact is p, less 0.75 in group 1."""
    one = line(2 * SIZE, rows=((few, False), (many, True)), fixed=0)
    p = (worths() + np.array([[0.0], [0.75]])).astype(np.float32).reshape(1, -1)
    group = np.arange(2).repeat(SIZE).astype(np.int32)
    order = np.random.default_rng(7).permutation(2 * SIZE)
    block = replace(one.blocks[0], propensity=np.ascontiguousarray(p[:, order]), group=group[order])
    loss = Row("loss", "cost", is_minimum=False)  # is passed at its penalty
    return replace(
        one,
        blocks=[block],
        value_accept=np.array([MICRO]),
        rows=[Row("few", "contacts", False), Row("many", "contacts", True), loss],  # noqa: FBT003
        use_fixed=np.array([[MICRO], [-MICRO], [3 * MICRO // 4]]),
        use_accept=np.zeros((3, 1), np.int64),
        in_scope=np.array([[True, False], [False, True], [False, True]]),
        limit=np.array([few, -many, 0], np.int64) * MICRO,
        penalty=np.array([np.inf, np.inf, 1.0]),
    )


def least_and_most(name, limit):
    """Return between which prices that of a limit is, by the values in their order."""
    gain, loss = np.maximum(worths()[0], 0.0), np.maximum(-worths()[1], 0.0)
    values = np.array([np.inf, *gain, 0.0] if name == "few" else [0.0, *loss, np.inf])
    lower, upper = int(np.floor(limit)), int(np.ceil(limit))
    at = values[max(0, lower - NEXT) : upper + 2 + NEXT]
    return at.min(), at.max()


@pytest.fixture(scope="module")
def session():
    found = Session(problem_of(), Solver(exact_pairs=0, gap_tolerance=1e-6))
    found.solve()
    return found


@pytest.mark.parametrize("question", QUESTIONS)
def test_prices_and_their_ranges_are_of_the_moved_limits(session, question):
    found = session.solve(question)
    assert found.status == Status.OPTIMAL
    limits = {"few": 1_000, "many": 1_000, **question}
    values = worths()
    used = {"few": min(limits["few"], SIZE), "many": max(limits["many"], (values[1] > 0).sum())}
    for s in session.sensitivity(["few", "many"]):
        limit = limits[s.name]
        assert (s.limit, s.use) == (limit, used[s.name])
        assert s.slack == (limit - s.use if s.name == "few" else s.use - limit) and s.is_verified
        low, high = least_and_most(s.name, limit)
        assert low - 1e-9 <= s.price <= high + 1e-9
        if s.price == 0.0:
            assert s.name == "many"
            assert (s.holds_from, s.holds_to) == (0.0, pytest.approx(used["many"]))
            continue
        assert s.holds_from <= limit <= s.holds_to and s.holds_from < s.holds_to
        for end, price in ((s.holds_from, s.price_from), (s.holds_to, s.price_to)):
            assert abs(price - s.price) <= 0.05 * s.price
            low, high = least_and_most(s.name, end)
            assert low - 1e-9 <= price <= high + 1e-9
    # So they are not those of the base.
    assert len({least_and_most("few", q.get("few", 1_000)) for q in QUESTIONS}) == 5


def test_ranges_of_a_session_are_those_of_one_posed_with_the_limits():
    moved = Session(problem_of(), Solver(exact_pairs=0, gap_tolerance=1e-6))
    moved.solve()
    moved.solve({"few": 500, "many": 1_700})
    posed = Session(problem_of(500, 1_700), Solver(exact_pairs=0, gap_tolerance=1e-6))
    posed.solve()
    for one, other in zip(moved.sensitivity(), posed.sensitivity(), strict=True):
        assert (one.name, one.limit, one.use) == (other.name, other.limit, other.use)
        for field in ("price", "price_from", "price_to"):
            assert getattr(one, field) == pytest.approx(getattr(other, field), rel=0.02)


def test_a_dropped_limit_has_no_range_and_others_are_without_it(session):
    session.solve({"few": 700}, drop=["many"])
    told = {s.name: s for s in session.sensitivity()}
    assert list(told) == ["few", "loss"]
    low, high = least_and_most("few", 700)
    assert low - 1e-9 <= told["few"].price <= high + 1e-9


@pytest.mark.parametrize("amount", [60, 400, 1_500])
def test_the_price_of_a_moved_equation_may_be_below_zero(amount):
    """Of so many contacts in group 1 the last is worth something, or is a loss."""
    one = problem_of()
    sides = [Row(f"many:{end}", "contacts", end == "low", "many") for end in ("high", "low")]
    sign = np.array([[1], [-1]])
    posed = replace(
        one,
        rows=[one.rows[0], *sides],
        use_fixed=np.concatenate([one.use_fixed[:1], sign * MICRO]),
        use_accept=one.use_accept,
        in_scope=np.array([[True, False], [False, True], [False, True]]),
        limit=np.array([1_000, 1_000, -1_000], np.int64) * MICRO,
        value_fixed=np.array([-3 * MICRO // 4]),
        penalty=None,
    )
    session = Session(posed, Solver(exact_pairs=0, gap_tolerance=1e-6))
    session.solve()
    session.solve({"many": amount})
    (s,) = session.sensitivity(["many"])
    values = worths()[1]
    assert (s.price > 0) == (amount == 60)
    assert (s.limit, s.use) == (amount, amount)
    for end, price in ((amount, s.price), (s.holds_from, s.price_from), (s.holds_to, s.price_to)):
        near = values[max(0, int(np.floor(end)) - NEXT - 1) : int(np.ceil(end)) + NEXT + 1]
        assert near.min() - 1e-9 <= price <= near.max() + 1e-9
        assert abs(price - s.price) <= 0.05 * abs(s.price)
