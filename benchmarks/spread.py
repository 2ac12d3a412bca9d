"""Time one allocation whose blocks stay on workers, beside the same one in this process.

``python -m benchmarks.spread --subscribers 1000000 --actions 20 --constraints 60 --workers 2
--json``: draws the problem (``benchmarks/instance.py``), cuts it into ``--parts`` of about equal
size, solves it here, puts each part on one of ``--workers`` worker processes of one thread, solves
it there, and compares all bits. Making and sending the parts is not timed: in a job they are born
there. Each answer's clock runs from the first sample to the bundles of all in this process. Bytes
moved are those of what the solver asked for, as counted here. The last line is one JSON object.
"""

import argparse
import json
from time import perf_counter

import numpy as np

from benchmarks.allocation import WARM_UP
from benchmarks.instance import CASES, instance
from engine.block import joined
from engine.settings.job import LocalCluster, Solver
from engine.solve import solve
from jobs.cluster import cluster
from jobs.spread import Spread, spread


class Counted(Spread):
    """Parts that count the bytes of arrays that come here."""

    received = 0

    def map(self, function, *args):
        found = super().map(function, *args)
        Counted.received += sum(nbytes(item) for item in found)
        return found

    def keep(self, function, *args):
        return Counted(self.client, super().keep(function, *args).futures)


def nbytes(item):
    """Return the bytes of the arrays in a result."""
    if hasattr(item, "nbytes"):
        return int(item.nbytes)
    if isinstance(item, tuple | list):
        return sum(nbytes(each) for each in item)
    return sum(nbytes(each) for each in vars(item).values()) if hasattr(item, "__dict__") else 0


def cut(problem, parts):
    """Return the problem in so many blocks, by row."""
    whole = joined(list(problem.blocks))
    rows = np.array_split(np.arange(len(whole)), parts)
    return problem.with_blocks([whole.take(own) for own in rows])


def itself(block):
    return block


def timed(problem, settings):
    """Return seconds and the answer."""
    start = perf_counter()
    found = solve(problem, settings)
    return perf_counter() - start, found


def same_bits(one, other):
    """Return whether two answers are the same to the last bit."""
    numbers = [(f.status, f.value, f.bound, f.dual_bound) for f in (one, other)]
    arrays = [[f.prices, *f.chosen, *f.best] for f in (one, other)]
    equal = all(np.array_equal(a, b) for a, b in zip(*arrays, strict=True))
    return numbers[0] == numbers[1] and equal


def measured(case, sizes, gap, workers, parts):
    """Draw, solve here and on the workers, and compare.

    Args:
        case: the kind of problem.
        sizes: subscribers, actions, constraints.
        gap: share of the bound that may be missing.
        workers: processes of one thread.
        parts: blocks of the problem.
    """
    settings = Solver(gap_tolerance=gap)
    warm = cut(instance(case, min(WARM_UP, sizes[0]), *sizes[1:]), workers)
    problem = cut(instance(case, *sizes), parts)
    with cluster(LocalCluster(workers=workers, processes=True)) as there:

        def put(blocks):
            kept = spread(there.client, itself, blocks, len, lambda rows: None)
            return Counted(there.client, kept.futures)

        quick = Solver(gap_tolerance=1, exact_pairs=0)
        solve(warm, quick)
        solve(warm.with_blocks(put(warm.blocks)), quick)
        local_seconds, local = timed(problem, settings)
        blocks = put(problem.blocks)
        resident = sum(nbytes(block) for block in problem.blocks)
        Counted.received = 0
        seconds, found = timed(problem.with_blocks(blocks), settings)
    return {
        "case": case.name, "subscribers": sizes[0], "actions": sizes[1], "constraints": sizes[2],
        "workers": workers, "parts": parts, "status": str(found.status), "seconds": seconds,
        "local_seconds": local_seconds, "passes": found.iterations[-1].reads, "value": found.value,
        "bound": found.bound, "gap": found.gap, "same_bits": same_bits(found, local),
        "bytes_received": Counted.received, "bytes_resident": resident,
    }  # fmt: skip


def main(argv=None):
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", choices=sorted(CASES), default=next(iter(CASES)))
    parser.add_argument("--subscribers", type=int, default=1_000_000)
    parser.add_argument("--actions", type=int, default=20)
    parser.add_argument("--constraints", type=int, default=60)
    parser.add_argument("--gap", type=float, default=1e-6)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--parts", type=int, default=0, help="0: two a worker")
    parser.add_argument("--json", action="store_true", help="print nothing but the last line")
    options = parser.parse_args(argv)
    sizes = options.subscribers, options.actions, options.constraints
    parts = options.parts or 2 * options.workers
    figures = measured(CASES[options.case], sizes, options.gap, options.workers, parts)
    if not options.json:
        for name, figure in figures.items():
            print(f"{name:16} {figure}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
