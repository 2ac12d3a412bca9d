"""Time one allocation, from a problem in memory to whole bundles within every limit.

``python -m benchmarks.allocation --subscribers 1000000 --actions 50 --constraints 30 --json``:
draws the problem (``benchmarks/instance.py``), solves it, recomputes value and uses from the
bundles in plain NumPy and whole numbers, and says how long it took: in seconds and in streaming
reads of the propensities, timed in the same run. The clock runs from the first sample to the last
full pass, which gives the bound, and to the exact value and uses of the answer. The medians of
``--repeats`` runs are told. With ``--peers`` other solvers follow, each in a process of its own
(``benchmarks/compare.py``); with ``--device cuda`` the propensities are on the GPU. The cases
``v1``, ``knapsack-sparse`` and ``knapsack-dense`` are the literature's
(``benchmarks/generators.py``), solved as listed pairs (``benchmarks/listed.py``). The last line
is one JSON object.
"""

import argparse
import json
import resource
from statistics import median
from time import perf_counter

import numpy as np

from benchmarks import machine
from benchmarks.compare import compared
from benchmarks.generators import GENERATORS
from benchmarks.instance import CASES, instance
from benchmarks.listed import measured_lists
from benchmarks.peers import PEERS
from benchmarks.plain import lowered
from engine.block import Block, to_host
from engine.errors import AllocationError
from engine.problem import USE_UNIT, VALUE_UNIT
from engine.settings.job import Solver
from engine.solve import Status, solve
from kernels import backend

SHOWN = ("peer", "status", "seconds", "value", "bound", "overruns", "fractional", "ratio")
WARM_UP = 30_000  # subscribers of the first problem, whose time is compilation


def moved(problem, device):
    """Return the problem with its blocks on the device."""
    if device == "cpu":
        return problem
    return problem.with_blocks(
        [Block(**{n: backend.to_gpu(a) for n, a in b.__dict__.items()}) for b in problem.blocks]
    )


def recomputed(problem, chosen):
    """Return the value and [K] uses of whole bundles as exact fractions' numerators.

    Args:
        problem: the problem, its blocks on the host.
        chosen: by block: [Q, S] int16, bundles.

    Returns:
        value in units of 1 / VALUE_UNIT money, uses in units of 1 / USE_UNIT.

    Raises:
        AssertionError: a bundle is not allowed.
    """
    contacts, p_sum, w_sum, wp_sum = np.zeros((4, problem.groups, len(problem.offer)), np.int64)
    for block, bundles in zip(problem.blocks, chosen, strict=True):
        check_bundles(problem, block, bundles)
        for actions in bundles:
            s = np.flatnonzero(actions >= 0)
            at = block.group[s], actions[s]
            p = (block.propensity[actions[s], s] * 2.0**24).astype(np.int64)
            w = (block.weight[s] * 2.0**10).astype(np.int64)
            for total, amount in ((contacts, 1), (p_sum, p), (w_sum, w), (wp_sum, w * p)):
                np.add.at(total, at, amount)
    exact = [total.astype(object) for total in (contacts, p_sum, w_sum, wp_sum)]
    fixed, accept = problem.value_fixed.astype(object), problem.value_accept.astype(object)
    value = (exact[2] * fixed * 2**24 + exact[3] * accept).sum()
    uses = [
        (exact[0][scope] * fixed * 2**24 + exact[1][scope] * accept).sum()
        for fixed, accept, scope in zip(
            problem.use_fixed.astype(object),
            problem.use_accept.astype(object),
            problem.in_scope,
            strict=True,
        )
    ]
    return int(value), [int(use) for use in uses]


def check_bundles(problem, block, bundles):
    """Check open pairs, one channel per offer, and the caps of each subscriber.

    Raises:
        AssertionError: a bundle is not allowed.
    """
    taken = bundles >= 0
    actions, subscriber = bundles[taken], np.nonzero(taken)[1]
    assert not np.isnan(block.propensity[actions, subscriber]).any(), "a pair is not open"
    assert (taken.sum(axis=0) <= block.most).all(), "more offers than allowed"
    caps = [(problem.offer == offer, 1) for offer in np.unique(problem.offer)]
    for members, most in (*caps, *zip(problem.rules.members, block.cap, strict=True)):
        count = np.bincount(subscriber[members[actions]], minlength=len(block))
        assert (count <= most).all(), "an offer twice, or a cap exceeded"


def measured(case, sizes, gap, device, repeats=1):
    """Draw, solve, check and time one problem.

    Args:
        case: the kind of problem.
        sizes: subscribers, actions, constraints.
        gap: share of the bound that may be missing.
        device: "cpu" or "cuda".
        repeats: how often it is solved; seconds are the median's.

    Returns:
        The figures, and the problem.

    Raises:
        AssertionError: the answer is not what it says it is.
    """
    problem = instance(case, *sizes)
    settings = Solver(gap_tolerance=gap)
    quick = Solver(gap_tolerance=1, exact_pairs=0)
    solve(moved(instance(case, WARM_UP, *sizes[1:]), device), quick)
    found = judged(problem, settings, device, repeats)
    names = dict(zip(("subscribers", "actions", "constraints"), sizes, strict=True))
    return {"case": case.name, "solver": "walras", "device": device, **names, **found}, problem


def judged(problem, settings, device="cpu", repeats=1):
    """Solve a problem, check the answer against plain sums, and return the figures.

    Raises:
        AllocationError: no allocation keeps every limit.
        AssertionError: the answer is not what it says it is.
    """
    on_device = moved(problem, device)
    took = []
    for _ in range(repeats):
        start = perf_counter()
        found = solve(on_device, settings)
        took.append(perf_counter() - start)
    if found.status is Status.INFEASIBLE:
        raise AllocationError(f"{found.status}: {found.remedy}")
    seconds = median(took)
    value, uses = recomputed(problem, found.chosen)
    limit = [int(b) * 2**24 for b in problem.limit]  # as they are, not rounded to whole contacts
    overrun = max(use - most for use, most in zip(uses, limit, strict=True)) / USE_UNIT
    assert overrun <= 0, f"a limit is exceeded by {overrun}"
    assert value / VALUE_UNIT == found.value, "the value is not that of the bundles"
    assert value / VALUE_UNIT <= found.bound, "the bound is below the value"
    propensities = [to_host(b).propensity for b in problem.blocks]
    one_read = machine.read_seconds(propensities, machine.cores())
    if device == "cuda":
        one_read = sum(p.nbytes for p in propensities) / machine.copy_bytes_per_s()
    return {
        "pairs": int(sum((p == p).sum() for p in propensities)),
        "status": str(found.status), "value": found.value, "bound": found.bound, "gap": found.gap,
        "seconds": seconds, "streaming_reads": seconds / one_read, "one_read_s": one_read,
        "passes": found.iterations[-1].reads, "peak_bytes": peak_bytes(device),
        "contacts": int(sum((c >= 0).sum() for c in found.chosen)),
        "binding": int((found.prices > 0).sum()), "repeats": repeats,
    }  # fmt: skip


def peak_bytes(device):
    """Return the most memory held: of this process, or of the pool on the device."""
    if device == "cuda":
        return int(backend.cupy.get_default_memory_pool().total_bytes())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(arguments=None):
    """Run one case."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.allocation", description=__doc__)
    parser.add_argument("--case", choices=(*CASES, *GENERATORS), default="bundles")
    parser.add_argument("--subscribers", type=int, default=100_000)
    parser.add_argument("--actions", type=int, default=50)
    parser.add_argument("--constraints", type=int, help="30, or of the literature's cases actions")
    parser.add_argument("--gap", type=float, default=1e-4, help="share of the bound")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--peers", nargs="+", choices=sorted(PEERS), default=[])
    parser.add_argument("--time-limit", type=float, default=600.0, help="s, for each peer")
    parser.add_argument("--json", action="store_true", help="the figures as JSON, last")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not backend.HAS_GPU:
        parser.error("--device cuda needs CuPy and an NVIDIA GPU")
    is_listed = options.case in GENERATORS
    constraints = options.constraints or (options.actions if is_listed else 30)
    sizes = options.subscribers, options.actions, constraints
    how = sizes, options.gap, options.device, options.repeats
    try:
        if is_listed:
            figures, problem = measured_lists(options.case, *how)
            figures["peak_bytes"] = peak_bytes(options.device)
        else:
            figures, problem = measured(CASES[options.case], *how)
    except ValueError as error:
        parser.error(str(error))
    except AllocationError as error:
        parser.exit(1, f"{error}\n")
    for name, value in figures.items():
        print(f"{name:16} {value}")
    if options.peers:
        figures["peers"] = compared(
            problem if is_listed else lowered(problem), options.peers,
            gap=options.gap, time_limit=options.time_limit,
            own={name: figures[name] for name in ("seconds", "value", "bound")},
        )  # fmt: skip
        for row in figures["peers"]:
            print(" ".join(f"{name}={row[name]}" for name in SHOWN if row[name] is not None))
    if options.json:
        print(json.dumps({"machine": machine.described(), **figures}))


if __name__ == "__main__":
    main()
