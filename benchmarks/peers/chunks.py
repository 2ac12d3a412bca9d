"""Random chunks: a thousand subscribers at a time, each chunk solved against its share of limits.

The way round a solver that cannot take the whole: SCIP solves each chunk to the gap asked for, its
limits being those of the problem times the chunk's share of the subscribers, rounded down. It
begins with the chunk's global greedy answer, which stands where the time is too short for a better
one. A chunk that cannot keep its share of the minimums is solved without them. Once the time is
out, the chunks that are left have their greedy answer.
"""

from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

import numpy as np

from benchmarks.peers import Answer, Task, greedy
from benchmarks.peers.scip import best, whole_model
from benchmarks.peers.sweep import arrival_order
from benchmarks.plain import Plain, below_on_grid, joined

CHUNK = 1_000  # subscribers
MARGIN = 2e-6  # share of a limit left free: SCIP keeps limits to 1e-6
LEAST_S = 0.05  # SCIP is not asked for less


def solve(plain: Plain, task: Task) -> Answer:
    """Solve chunk by chunk, as many at a time as there are threads."""
    order = arrival_order(plain)
    members = [np.sort(order[b : b + CHUNK]) for b in range(0, plain.subscribers, CHUNK)]
    chosen, counts = np.zeros(plain.pairs, bool), {"without minimums": 0, "by greed alone": 0}
    greedy.warm_up(plain)
    task.begin()

    def one(number: int) -> None:
        part, pairs = taken(plain, members[number])
        after = -(-(len(members) - number) // task.threads)
        end = task.left() * (1 - 1 / after)  # what the chunks after this one have
        found = solved(part, task.gap, task.left() - end)
        if found is None and (part.limit < 0).any() and task.left() - end > LEAST_S:
            counts["without minimums"] += 1
            found = solved(without_minimums(part), task.gap, task.left() - end)
        if found is None:
            counts["by greed alone"] += 1
            found = greedy.choice(part)
        chosen[pairs[found]] = True

    with ThreadPoolExecutor(task.threads) as threads:
        list(threads.map(one, range(len(members))))
    status = ", ".join([f"{len(members)} chunks", *(f"{n} {t}" for t, n in counts.items() if n)])
    return Answer(status, f"ortools {version('ortools')}, SCIP", chosen)


def solved(part: Plain, gap: float, seconds: float) -> Any:
    """Return the best choice found; None if there is none, or too little time to look for it."""
    if seconds < LEAST_S:
        return None
    start = greedy.choice(part)
    found, _, _ = best(whole_model(part), part.pairs, gap=gap, seconds=seconds, hint=start)
    is_allowed = (part.limit >= 0).all()  # the greedy choice knows of no minimums
    if is_allowed and (found is None or part.value[found].sum() < part.value[start].sum()):
        return start
    return found


def taken(plain: Plain, rows: Any) -> tuple[Plain, Any]:
    """Return the problem of some subscribers with their share of the limits, and [n] their pairs.

    Args:
        plain: the problem.
        rows: subscribers, ascending.
    """
    pairs = _ranges(plain.indptr, rows)
    entries = _ranges(plain.use_indptr, pairs)
    share = plain.limit * (len(rows) / plain.subscribers)
    part = Plain(
        joined(np.diff(plain.indptr)[rows]), plain.action[pairs], plain.value[pairs],
        joined(np.diff(plain.use_indptr)[pairs]), plain.use_row[entries],
        plain.use_amount[entries], below_on_grid(share - MARGIN * np.abs(share), plain.use_grid),
        plain.most[rows], plain.category, plain.category_most[:, rows], plain.channel,
        plain.channel_most[:, rows], plain.offer, plain.value_grid, plain.use_grid,
        plain.value_unit, plain.use_unit,
    )  # fmt: skip
    return part, pairs


def without_minimums(plain: Plain) -> Plain:
    """Return the problem with limits below 0 made harmless."""
    least = np.zeros(len(plain.limit))
    np.add.at(least, plain.use_row, np.maximum(plain.use_amount, 0.0))
    return Plain(**{**plain.__dict__, "limit": np.where(plain.limit < 0, least, plain.limit)})


def _ranges(pointer: Any, rows: Any) -> Any:
    """Return the items of some lists, one after the other."""
    counts = pointer[rows + 1] - pointer[rows]
    start = pointer[rows] - (np.cumsum(counts) - counts)
    return np.arange(counts.sum()) + np.repeat(start, counts)
