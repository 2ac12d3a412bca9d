"""A plain problem of the benchmarks as listed pairs for the solver."""

from typing import Any

import numpy as np

from engine.pair_block import PairBlock
from engine.pair_problem import PairProblem
from engine.problem import Row


def keys(subscribers: int) -> Any:
    """Return [S] int64, a key for each place: SplitMix64's finaliser of 1, 2, 3, ...

    Source:
        Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
    """
    x = np.arange(1, subscribers + 1, dtype=np.uint64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((x ^ (x >> np.uint64(31))) >> np.uint64(1)).astype(np.int64)


def pair_problem(plain: Any) -> PairProblem:
    """Return a ``benchmarks.plain.Plain`` as the solver takes it, in money and units."""
    block = PairBlock(
        keys(plain.subscribers), np.asarray(plain.indptr, np.int64), plain.action,
        plain.value * plain.value_unit, np.asarray(plain.use_indptr, np.int64), plain.use_row,
        plain.use_amount * plain.use_unit, plain.most, np.zeros_like(plain.most),
        plain.channel_most, plain.category_most,
    )  # fmt: skip
    rows = [Row(f"limit_{k}", "value", is_minimum=False) for k in range(len(plain.limit))]
    kinds = plain.offer, plain.channel, plain.category
    return PairProblem.of([block], kinds, rows, (plain.limit * plain.use_unit).tolist())
