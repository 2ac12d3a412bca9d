"""Time an allocation in which members of households are chosen for together.

``python -m benchmarks.households --subscribers 1000000 --actions 20 --json``: draws the base of
``benchmarks/instance.py`` and puts 40 % of the subscribers into households of two to five. A
household has at most two contacts in all, each offer once and one contact on the first channel;
one in five has had a contact already and has one left. The same base is solved without households
in the same run, and the time is told as a multiple of that and in streaming reads of the
propensities.

Value and uses are recomputed from the bundles in plain NumPy and whole numbers, and every rule of
subscribers and households is asked of them. The clock is that of ``benchmarks/allocation.py``.
Synthetic data.
"""

import argparse
import json
from dataclasses import replace
from statistics import median
from time import perf_counter

import numpy as np

from benchmarks import machine
from benchmarks.allocation import WARM_UP, moved, peak_bytes
from benchmarks.instance import CASES, instance
from benchmarks.plans import recomputed
from engine.block import MEMBER_BITS, Block
from engine.household_rules import HouseholdRules
from engine.problem import USE_UNIT, VALUE_UNIT
from engine.settings.job import Solver
from engine.solve import solve

SHARE, SIZES = 0.4, (2, 5)  # of the subscribers who are members; members of a household
IN_ALL, HAD = 2, 0.2  # contacts of a household; share of those that have had one
OWN = (1 << MEMBER_BITS) - 1
LIMITS = 40


def with_households(problem):
    """Return a problem of one day with households, and caps over them."""
    offer, channel = problem.offer, problem.channel
    offers = np.unique(offer)
    members = np.concatenate([np.ones((1, len(offer)), bool), offer == offers[:, None],
                              [channel == 0]])  # fmt: skip
    joint = HouseholdRules(members, np.zeros(len(members), bool))
    blocks = [_block(block, len(members), n) for n, block in enumerate(problem.blocks)]
    return replace(problem, rules=replace(problem.rules, households=joint), blocks=blocks)


def _block(block, caps, number):
    """Return a block in whose order those alone come first, then household by household."""
    rng = np.random.default_rng([13, number])
    size, count = len(block), int(SHARE * len(block))
    sizes = rng.integers(SIZES[0], SIZES[1] + 1, count)
    own = np.repeat(rng.integers(0, 2**63 - 1, count), sizes)[:count]
    if count > 1 and own[-1] != own[-2]:
        own[-1] = own[-2]
    household = np.full(size, -1, np.int64)
    household[rng.permutation(size)[:count]] = own
    is_member = household >= 0
    high = household >> MEMBER_BITS << MEMBER_BITS
    key = np.where(is_member, high | block.key & OWN, block.key)
    room = np.ones((caps, size), np.uint8)
    room[0] = IN_ALL - ((household & 0xFFFF) < HAD * 0x10000)
    alone = np.flatnonzero(~is_member)
    together = np.flatnonzero(is_member)
    together = together[np.lexsort((key[together], household[together], high[together]))]
    order = np.concatenate([alone[np.lexsort((key[alone], block.group[alone]))], together])
    whole = Block(**block.__dict__ | {"key": key, "household": household[None], "room": room})
    return whole.take(order)


def check_bundles(problem, block, bundles):
    """Ask every rule of the bundles of a block.

    Raises:
        AssertionError: a bundle, or what a household has together, is not allowed.
    """
    place, s = np.nonzero(bundles >= 0)
    action = bundles[place, s].astype(np.int64)
    assert not np.isnan(block.propensity[action, s]).any(), "a pair is not open"
    assert (np.bincount(s, minlength=len(block)) <= block.most).all(), "too many actions"
    pairs = s * (int(problem.offer.max()) + 1) + problem.offer[action]
    assert (np.bincount(pairs) <= 1).all(), "an offer twice"
    for d, members in enumerate(problem.rules.members):
        own = np.bincount(s, members[action], len(block))
        assert (own <= block.cap[d]).all(), f"cap {d} of a subscriber"
    joint = problem.rules.households
    if joint is None:
        return
    number = np.unique(block.household[0], return_inverse=True)[1].reshape(-1)
    is_member = block.household[0] >= 0
    for e, members in enumerate(joint.members):
        own = np.bincount(number[s], members[action], number.max() + 1)
        assert (own[number] <= block.room[e])[is_member].all(), f"cap {e} of a household"


def solved(problem, gap, device, repeats):
    """Return the answer and the median of seconds.

    Raises:
        AssertionError: the answer is not what it says it is.
    """
    on_device, took = moved(problem, device), []
    for _ in range(repeats):
        start = perf_counter()
        found = solve(on_device, Solver(gap_tolerance=gap))
        took.append(perf_counter() - start)
    for block, bundles in zip(problem.blocks, found.chosen, strict=True):
        check_bundles(problem, block, bundles)
    value, uses = recomputed(problem, found.chosen)
    overrun = max(u - int(b) * 2**24 for u, b in zip(uses, problem.limit, strict=True)) / USE_UNIT
    assert overrun <= 0, f"a limit is exceeded by {overrun}"
    assert value / VALUE_UNIT == found.value, "the value is not that of the bundles"
    assert found.value <= found.bound, "the bound is below the value"
    return found, median(took)


def measured(subscribers, actions, limits=LIMITS, *, gap=1e-4, device="cpu", repeats=1):
    """Draw, solve, check and time one base with and without households."""
    base = instance(CASES["bundles"], subscribers, actions, limits)
    problem = with_households(base)
    small = with_households(instance(CASES["bundles"], WARM_UP, actions, limits))
    solve(moved(small, device), Solver(gap_tolerance=1, exact_pairs=0))
    found, seconds = solved(problem, gap, device, repeats)
    alone, without = solved(base, gap, device, repeats)
    one_read = machine.read_seconds([b.propensity for b in base.blocks], machine.cores())
    own = np.concatenate([b.household[0] for b in problem.blocks])
    return {
        "subscribers": subscribers, "actions": actions, "limits": limits, "device": device,
        "households": len(np.unique(own[own >= 0])), "members": int((own >= 0).sum()),
        "status": str(found.status), "value": found.value, "bound": found.bound, "gap": found.gap,
        "seconds": seconds, "streaming_reads": seconds / one_read, "one_read_s": one_read,
        "passes": found.iterations[-1].reads, "seconds_without_households": without,
        "value_without_households": alone.value, "peak_bytes": peak_bytes(device),
        "repeats": repeats,
    }  # fmt: skip


def main(arguments=None):
    """Run one case."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.households", description=__doc__)
    parser.add_argument("--subscribers", type=int, default=200_000)
    parser.add_argument("--actions", type=int, default=20)
    parser.add_argument("--limits", type=int, default=LIMITS)
    parser.add_argument("--gap", type=float, default=1e-4, help="share of the bound")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="the figures as JSON, last")
    options = parser.parse_args(arguments)
    figures = measured(
        options.subscribers, options.actions, options.limits, gap=options.gap,
        repeats=options.repeats,
    )  # fmt: skip
    for name, value in figures.items():
        print(f"{name:28} {value}")
    if options.json:
        print(json.dumps({"machine": machine.described(), **figures}))


if __name__ == "__main__":
    main()
