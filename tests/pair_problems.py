"""Random problems of listed pairs, and their optimum by enumeration."""

from itertools import combinations

import numpy as np
from hypothesis import strategies as st

from engine.pair_block import PairBlock
from engine.pair_problem import PairProblem
from engine.problem import Row
from tests.test_choose_pairs import random_lists

# Palettes of structured problems whose numbers are the same in money and in micro-units.
EXACT = ["ties", "ties", "ties"]


@st.composite
def small_pair_problems(draw, *, with_musts=True):
    """A problem of up to six subscribers in one block; its numbers are small and whole."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    subscribers = draw(st.sampled_from([0, 1, 2, 3, 5, 6]))
    constraints, width = draw(st.integers(0, 4)), draw(st.integers(1, 3))
    lists, _ = random_lists(
        rng, subscribers, draw(st.integers(1, 5)), width=width, constraints=constraints
    )
    key, indptr, action, value, use_first, use_row, use_amount, most, fewest, *rest = lists
    channel_most, category_most, offer, channel, category, _ = rest
    block = PairBlock(
        key, indptr, action, value, use_first, use_row, use_amount, most,
        fewest if with_musts else np.zeros_like(fewest), channel_most, category_most,
    )  # fmt: skip
    rows = [Row(f"limit_{k}", "value", is_minimum=False) for k in range(constraints)]
    limit = rng.integers(-1, 5, constraints).tolist()
    return PairProblem([block], offer, channel, category, rows, limit, 2, [4] * constraints)


def bundles(problem, block, s):
    """Yield (pairs, value, uses) of every bundle that the words of engine.pair_problem allow."""
    pairs = range(block.indptr[s], block.indptr[s + 1])
    for size in range(int(block.fewest[s]), int(block.most[s]) + 1):
        for bundle in combinations(pairs, size):
            if is_allowed(problem, block, s, bundle):
                yield bundle, *worth(problem, block, bundle)


def is_allowed(problem, block, s, bundle):
    """May the subscriber have these of its pairs?"""
    size, actions = len(bundle), block.action[list(bundle)]
    offers, channels, categories = (
        kind[actions].tolist() for kind in (problem.offer, problem.channel, problem.category)
    )
    return (
        block.fewest[s] <= size <= block.most[s]
        and len(set(offers)) == size
        and all(channels.count(c) <= block.channel_most[c, s] for c in channels)
        and all(categories.count(h) <= block.category_most[h, s] for h in categories)
    )


def worth(problem, block, bundle):
    """Return the value and the uses of some pairs, whole units."""
    uses = [0] * len(problem.rows)
    for n in bundle:
        for e in range(block.use_first[n], block.use_first[n + 1]):
            uses[block.use_row[e]] += int(block.use_amount[e])
    return int(block.value[list(bundle)].sum()), tuple(uses)


def totals(problem):
    """Return use -> the most value of it, in whole units, over all allocations."""
    found = {(0,) * len(problem.rows): 0}
    for block in problem.blocks:
        for s in range(len(block)):
            grown = {}
            for use, value in found.items():
                for _, more, uses in bundles(problem, block, s):
                    total = tuple(u + v for u, v in zip(use, uses, strict=True))
                    grown[total] = max(grown.get(total, value + more), value + more)
            found = grown
    return found


def optimum(problem):
    """Return the most value within the limits in whole units; None: there is no allocation."""
    return max(
        (
            value
            for use, value in totals(problem).items()
            if all(u <= b for u, b in zip(use, problem.limit, strict=True))
        ),
        default=None,
    )


def value_of(problem, chosen):
    """Return an allocation's value in whole units, after checking every rule and limit."""
    value, use = 0, np.zeros(len(problem.rows), object)
    for block, mine in zip(problem.blocks, chosen, strict=True):
        for s in range(len(block)):
            first, end = block.indptr[s : s + 2].tolist()
            pair = dict(zip(block.action[first:end].tolist(), range(first, end), strict=True))
            bundle = [pair[a] for a in mine[:, s].tolist() if a >= 0]
            assert is_allowed(problem, block, s, bundle)
            more, uses = worth(problem, block, bundle)
            value += more
            use += np.array(uses, object)
    assert all(u <= b for u, b in zip(use, problem.limit, strict=True))
    return value


def rearranged(problem, rng, blocks):
    """Return the problem with its subscribers shuffled and dealt into so many blocks."""
    (whole,) = problem.blocks
    place, order = rng.integers(0, blocks, len(whole)), rng.permutation(len(whole))
    return problem.with_blocks([whole.take(order[place[order] == b]) for b in range(blocks)])


def by_key(problem, chosen):
    """Return key -> actions."""
    return {
        int(key): tuple(column.tolist())
        for block, mine in zip(problem.blocks, chosen, strict=True)
        for key, column in zip(block.key, mine.T, strict=True)
    }


def knapsack(subscribers, *, seed=0, actions=10, dense=True, exactly=False):
    """Return a knapsack with caps [2, 2, 3] whose limits bind, or of exactly one item each."""
    rng = np.random.default_rng(seed)
    pairs, one = subscribers * actions, np.ones(subscribers, np.uint8)
    each = actions if dense else 1
    row = np.tile(np.arange(actions), pairs if dense else subscribers).astype(np.int32)
    caps = (1, 1, 1) if exactly else (2, 2, 3)
    block = PairBlock(
        rng.integers(0, 2**63 - 1, subscribers), np.arange(subscribers + 1) * actions,
        np.tile(np.arange(actions, dtype=np.int32), subscribers), rng.random(pairs),
        np.arange(pairs + 1) * each, row, rng.random(pairs * each), one * caps[2],
        one * np.uint8(exactly), one[None] * caps[2],
        np.stack([one * caps[0], one * caps[1]]),
    )  # fmt: skip
    index = np.arange(actions, dtype=np.int32)
    kinds = index, index * 0, (index >= actions // 2).astype(np.int32)
    limit = subscribers * (0.4 if exactly else 0.3) / (1 if dense else actions)
    rows = [Row(f"resource_{k}", "cost", is_minimum=False) for k in range(actions)]
    return PairProblem.of([block], kinds, rows, [limit] * actions)
