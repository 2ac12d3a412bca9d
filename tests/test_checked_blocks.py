"""Subscribers found right are not looked at again, but where what they may be changes."""

from dataclasses import replace

import numpy as np
import pytest

from engine import problem_checks
from engine.errors import DataError
from engine.parts import Here
from engine.rules import Rules
from tests.test_bad_numbers import CAPPED, ROWS, block, posed


@pytest.mark.parametrize("is_in_parts", [False, True])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"in_scope": np.ones((2, 1), bool)}, "group: got 1 for subscriber 1, and 1 such in all"),
        ({"rules": CAPPED}, "cap: got 0 for subscriber 0, cap 0, and 2 such in all"),
    ],
)
def test_subscribers_are_looked_at_again_where_what_they_may_be_changes(change, said, is_in_parts):
    """They were right for two scope groups and a cap that counts no action."""
    uncounted = Rules(np.zeros((1, 3), bool), np.zeros(1, bool), np.arange(3, dtype=np.int32))
    blocks = [block(2, group=np.int32([0, 1]), cap=np.uint8([[0, 0]]))]
    problem = posed(
        Here(blocks) if is_in_parts else blocks, rules=uncounted, in_scope=np.ones((2, 2), bool)
    )
    with pytest.raises(DataError) as error:
        replace(problem, **change)
    assert said in str(error.value)


def test_a_block_put_in_the_place_of_another_is_looked_at():
    blocks = [block(2), block(2)]
    problem = posed(blocks)
    blocks[1] = block(2, group=np.int32([0, 7]))
    with pytest.raises(DataError, match="group: got 7 for subscriber 3"):
        replace(problem, limit=problem.limit // 2)


def test_what_if_limits_do_not_look_at_subscribers_again(monkeypatch):
    problem = posed([block(2)])

    def looked_at(problem):
        raise AssertionError("they are right")

    monkeypatch.setattr(problem_checks, "blocks", looked_at)
    other = replace(problem, limit=problem.limit // 2).with_rows([1])
    other = other.with_value(other.value_fixed * 2, other.value_accept)
    assert other.blocks is problem.blocks and other.rows == [ROWS[1]]
