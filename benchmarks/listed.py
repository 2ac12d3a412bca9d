"""Time walras on the generators of ``generators.py``: their pairs as they are listed."""

from statistics import median
from time import perf_counter

import numpy as np

from benchmarks import machine
from benchmarks.generators import GENERATORS
from benchmarks.judge import judged
from benchmarks.pairs import pair_problem
from engine.pair_block import PairBlock
from engine.settings.job import Solver
from engine.solve import solve
from kernels import backend

SLIP = 1e-12  # of a value: the judge adds float64, the solver whole units
WARM_UP = 20_000  # subscribers of the first problem, whose time is compilation


def moved(problem, device):
    """Return the problem with its pairs on the device."""
    if device == "cpu":
        return problem
    blocks = [PairBlock(*map(backend.to_gpu, b.arrays())) for b in problem.blocks]
    return problem.with_blocks(blocks)


def measured_lists(name, sizes, gap, device, repeats=1):
    """Draw, solve, check and time one problem of listed pairs.

    Args:
        name: of a generator.
        sizes: subscribers, actions, constraints.
        gap: share of the bound that may be missing.
        device: "cpu" or "cuda".
        repeats: how often it is solved; seconds are the median's.

    Returns:
        The figures but for memory, and the plain problem. The bound is the greater of the solver's
        and the judge's at the solver's prices, where no exact model has lowered it.

    Raises:
        AssertionError: the answer is not what it says it is.
        ValueError: as the generator.
    """
    plain = GENERATORS[name](*sizes)
    problem = pair_problem(plain)
    small = GENERATORS[name](min(WARM_UP, sizes[0]), *sizes[1:])
    solve(moved(pair_problem(small), device), Solver(gap_tolerance=1, exact_pairs=0))
    on_device, took = moved(problem, device), []
    for _ in range(repeats):
        start = perf_counter()
        found = solve(on_device, Solver(gap_tolerance=gap))
        took.append(perf_counter() - start)
    seconds = median(took)
    judgement = judged(plain, taken(plain, found.chosen[0]), found.prices)
    assert judgement.overruns == judgement.cap_overruns == 0, "a limit or a cap is exceeded"
    off = abs(judgement.value - found.value)
    assert off <= SLIP * max(1.0, abs(found.value)), "the value is not that of the bundles"
    bound = found.bound
    if found.bound == found.dual_bound:
        bound = max(bound, judgement.bound)
    (block,) = problem.blocks
    lists = [a for a in block.arrays() if a.size]
    one_read = machine.read_seconds(lists, machine.cores())
    if device == "cuda":
        one_read = sum(a.nbytes for a in lists) / machine.copy_bytes_per_s()
    figures = {
        "case": name, "solver": "walras", "device": device,
        "subscribers": sizes[0], "actions": sizes[1], "constraints": sizes[2],
        "pairs": plain.pairs, "status": str(found.status), "value": found.value, "bound": bound,
        "gap": (bound - found.value) / max(1.0, abs(bound)), "seconds": seconds,
        "streaming_reads": seconds / one_read, "one_read_s": one_read,
        "passes": found.iterations[-1].reads, "contacts": int((found.chosen[0] >= 0).sum()),
        "binding": int((found.prices > 0).sum()), "repeats": repeats,
    }  # fmt: skip
    return figures, plain


def taken(plain, chosen):
    """Return [N] bool which pairs bundles [Q, S] take."""
    out, owner = np.zeros(plain.pairs, bool), plain.owner
    for actions in chosen:
        out |= actions[owner] == plain.action
    assert int(out.sum()) == int((chosen >= 0).sum()), "a pair that is not listed, or one twice"
    return out
