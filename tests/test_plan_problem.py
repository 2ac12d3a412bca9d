"""Problems of several days: what a block says of its actions, and limits taken together."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from engine.block import Block, spanned, spread
from engine.coarse import coarser
from engine.errors import DataError
from engine.limits import MOST_AMOUNT
from engine.problem import Problem, Row
from engine.quotient import Quotient
from kernels.backend import library, to_cpu, to_gpu
from tests import device_stand_in
from tests.plan_problems import GROUPS, plan_problem, surpluses

SHAPE = (3, 2, 5, 3)
SUBSCRIBERS, DAYS = 7, 5
BUDGET = Row("budget", "cost", is_minimum=False)
QUOTA = Row("quota", "contacts", is_minimum=False)


def problem_of(rows=(), terms=None, *, scope=None, penalty=None, shape=SHAPE):
    """Return a problem of some limits, whose k-th term uses 10 k + 1 a contact on its day."""
    arguments, _, rules, block = plan_problem(3, SUBSCRIBERS, shape)
    offer = arguments[7]
    term_of = None if terms is None else np.array(terms, np.int64)
    count = len(rows) if terms is None else len(terms)
    limits = range(count) if terms is None else terms
    day = np.arange(len(offer)) % rules.days
    use = np.zeros((count, len(offer)), np.int64)
    for t, k in enumerate(limits):
        sign = -1 if rows[k].is_minimum else 1
        use[t] = sign * (10 * t + 1) * (day == rows[k].day)
    return Problem(
        [block], offer, np.zeros(len(offer), np.int32), rules, np.ones(len(offer), np.int64),
        np.ones(len(offer), np.int64), list(rows), use, 2 * use,
        np.ones((count, GROUPS), bool) if scope is None else np.array(scope),
        np.array([100 + k for k in range(len(rows))], np.int64), penalty=penalty, term_of=term_of,
    )  # fmt: skip


def by_day(name, days=DAYS, **row):
    return [Row(f"{name}:day-{d + 1}", "contacts", row.get("is_minimum", False), series=name, day=d)
            for d in range(days)]  # fmt: skip


def plain_merge(problem, place):
    """Return limits and uses of the problem in which the limits of equal number are one."""
    count = max(place.tolist(), default=-1) + 1
    limit = [sum(int(b) for b, k in zip(problem.limit, place, strict=True) if k == m)
             for m in range(count)]  # fmt: skip
    use = [problem.use_fixed[place[problem.terms] == m].sum(axis=0) for m in range(count)]
    return limit, use


def checked(problem):
    """Return the places of ever finer limits, after a look at what they add up to."""
    found = []
    for coarse, place in coarser(problem):
        limit, use = plain_merge(problem, place)
        assert coarse.limit.tolist() == limit
        assert coarse.per_limit(coarse.use_fixed).tolist() == np.array(use).tolist()
        assert coarse.per_limit(coarse.use_accept).tolist() == (2 * np.array(use)).tolist()
        assert [coarse.rows[m] for m in place] == [
            problem.rows[place.tolist().index(m)] for m in place
        ]
        found.append(place.tolist())
    return found


def test_limits_of_days_are_taken_together_from_all_to_two():
    assert checked(problem_of(by_day("capacity"))) == [[0] * 5, [0, 0, 0, 0, 1], [0, 0, 1, 1, 2]]


def test_without_limits_of_days_nothing_is_coarser():
    assert checked(problem_of()) == checked(problem_of([BUDGET])) == []
    assert checked(problem_of(by_day("capacity", 1))) == []


def test_series_and_other_limits_stay_apart():
    rows = [BUDGET, *by_day("one", 2), QUOTA,
            *by_day("two", 2), *by_day("least", 2, is_minimum=True)]  # fmt: skip
    assert checked(problem_of(rows)) == [[0, 1, 1, 2, 3, 3, 4, 4]]


def test_limits_of_another_scope_or_penalty_stay():
    scope = [[True, True], [True, False], [True, True]]
    assert checked(problem_of(by_day("a", 3), scope=scope)) == [[0, 1, 0]]
    for other in (2.0, np.inf):
        penalty = np.array([1.0, other, 1.0])
        problem = problem_of(by_day("a", 3), penalty=penalty)
        ((coarse, place),) = [(c, p) for c, p in coarser(problem) if p.tolist() == [0, 1, 0]]
        assert coarse.penalty.tolist() == [1.0, other]
        assert coarse.limit.tolist() == [202, 101] and place.tolist() == [0, 1, 0]


def test_limits_of_several_terms_and_ratios_stay():
    problem = problem_of(by_day("a", 3), [0, 1, 1, 2])
    assert checked(problem) == [[0, 1, 0]]
    ((coarse, _),) = coarser(problem)
    assert coarse.terms.tolist() == [0, 1, 1]
    rows = by_day("a", 3)
    rows[2] = replace(rows[2], quotient=Quotient(None, None, None, None, Fraction(1)))
    assert checked(problem_of(rows)) == [[0, 0, 1]]


@pytest.mark.parametrize("seed", range(6))
def test_a_spread_block_has_a_row_for_each_action(seed):
    arguments, _, rules, block = plan_problem(seed, SUBSCRIBERS, SHAPE)
    problem = problem_of()
    found = Problem(**{**problem.__dict__, "rules": rules, "blocks": [block], "offer": arguments[7],
                       **dict.fromkeys(("value_fixed", "value_accept"), 0 * arguments[7]),
                       "use_fixed": np.zeros((0, len(arguments[7])), int),
                       "use_accept": np.zeros((0, len(arguments[7])), int),
                       "channel": 0 * arguments[7], "checked": None})  # fmt: skip
    plain = found.spread(block)
    for s in range(SUBSCRIBERS):
        is_open = np.flatnonzero(~np.isnan(plain.propensity[:, s])).tolist()
        assert is_open == list(surpluses(arguments, rules, s))
        for a in is_open:
            assert plain.propensity[a, s] == block.propensity[found.row_of(block, a), s]
            assert found.row_of(plain, a) == a
    assert plain.days.shape == plain.spans.shape == (0, SUBSCRIBERS)
    assert found.spread(plain) is plain
    assert spanned(block, None, 3) is block


def test_the_shapes_of_days_and_spans_are_told():
    problem = problem_of()
    block = problem.blocks[0]
    side = library(block.days)
    rows = len(block.days), len(block.spans)
    for change, said in (
        ({"days": side.zeros((rows[0] + 1, SUBSCRIBERS), "uint16")},
         rf"days: is uint16 of shape \({rows[0] + 1}, 7\); uint16 of shape \({rows[0]}, 7\)"),
        ({"days": block.days.astype("int64")}, rf"days: is int64 .* uint16 of shape \({rows[0]}, "),
        ({"days": None}, r"days: is uint16 of shape \(0, 7\)"),
        ({"spans": None}, rf"spans: is int64 of shape \(0, 7\); int64 of shape \({rows[1]}, 7\)"),
        ({"spans": block.spans.astype("int32")}, "spans: is int32"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=said):
            problem.with_blocks([replace(block, **change)])


def test_a_cap_of_zero_matters_only_where_a_pair_is_open():
    problem = problem_of()
    block = problem.blocks[0]
    counted = int(np.flatnonzero(problem.rules.members.any(axis=1))[0])
    cap = block.cap.copy()
    cap[counted, 0] = 0
    days = block.days.copy()
    days[:, 0] = 0
    problem.with_blocks([replace(block, cap=cap, days=days)])
    days[:, 0] = 2**DAYS - 1
    p = block.propensity.copy()
    p[:, 0] = 0.5
    with pytest.raises(DataError, match=rf"cap: got 0 for subscriber 0, cap {counted}"):
        problem.with_blocks([replace(block, cap=cap, days=days, propensity=p)])


def test_a_plan_without_caps_has_no_groups():
    problem = problem_of()
    rules = replace(problem.rules, members=problem.rules.members[:0],
                    per_contact=problem.rules.per_contact[:0])  # fmt: skip
    plan = rules.plan()
    assert plan.within.shape == (0, problem.pairs) and len(plan.group) == 0


@device_stand_in.on_a_device
def test_blocks_on_a_device_are_spread_and_spanned_there(device, monkeypatch):
    _, width, rules, block = plan_problem(5, SUBSCRIBERS, SHAPE)
    plan = rules.plan()
    expected = [spread(block, plan), spanned(block, plan, width)]
    if device == "stand-in":
        device_stand_in.install(monkeypatch)
    moved = Block(**{name: to_gpu(array) for name, array in block.__dict__.items()})
    for one, other in zip(
        [spread(moved, plan), spanned(moved, plan, width)], expected, strict=True
    ):
        for name, array in other.__dict__.items():
            found = getattr(one, name)
            assert not isinstance(found, np.ndarray) and found.dtype == array.dtype
            np.testing.assert_array_equal(to_cpu(found), array)


def test_enormous_limits_are_one_without_wrapping():
    problem = problem_of(by_day("a", 3))
    problem = replace(problem, limit=np.array([MOST_AMOUNT, MOST_AMOUNT, 7]))
    ((coarse, _), *_) = coarser(problem)
    assert coarse.limit.tolist() == [MOST_AMOUNT]
