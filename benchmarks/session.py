"""Time what-if questions to a base in memory: one changed limit, and a frontier of budgets.

``python -m benchmarks.session --subscribers 1000000 --actions 50 --constraints 60 --json``: draws
the problem (``benchmarks/instance.py``), solves it once, then changes the budget and one capacity,
each from the first answer, and recomputes value and uses from the bundles. A second problem, of
``--frontier-actions``, is asked for its best value at ``--points`` budgets.
"""

import argparse
import json
import os
from statistics import median
from time import perf_counter

from benchmarks import machine
from benchmarks.allocation import WARM_UP, recomputed
from benchmarks.instance import CASES, instance
from engine import asked
from engine.problem import USE_UNIT, VALUE_UNIT
from engine.session import Session
from engine.settings.job import Solver

CHANGES = (("budget", 1.01), ("budget", 0.95), ("budget", 1.05), ("capacity:2", 0.9))
LOWEST, HIGHEST = 0.5, 1.5  # of the frontier's budgets, as shares of the first one


def amount(session, name):
    """Return a limit of a session's base, in its units."""
    return asked.amount(session.problem, name)


def warmed(case, sizes):
    """Compile what a session runs, on few subscribers."""
    few = Session(instance(case, 5 * WARM_UP, *sizes), Solver(gap_tolerance=1, exact_pairs=0))
    few.solve()
    few.solve({"budget": amount(few, "budget") * 1.01})


def resolved(case, sizes, settings):
    """Time answers after one changed limit.

    Raises:
        AssertionError: an answer is not what it says it is.
    """
    problem = instance(case, *sizes)
    session = Session(problem, settings)
    start = perf_counter()
    session.solve()
    first = perf_counter() - start
    rows = []
    for name, factor in CHANGES:
        limits = {name: amount(session, name) * factor}
        start = perf_counter()
        found = session.solve(limits)
        seconds = perf_counter() - start
        check(session, limits, found)
        rows.append(
            {
                "limit": name, "factor": factor, "seconds": seconds,
                "passes": found.iterations[-1].reads, "gap": found.gap,
                "status": str(found.status), "value": found.value, "bound": found.bound,
            }
        )  # fmt: skip
    return {"first_s": first, "changes": rows, "median_s": median(r["seconds"] for r in rows)}


def check(session, limits, found):
    """Recompute value and uses of an answer in plain whole numbers."""
    value, uses = recomputed(session.problem, found.chosen)
    assert value / VALUE_UNIT == found.value <= found.bound
    for name, use, stored in zip(session.limits, uses, session.problem.limit, strict=True):
        most = limits.get(name, int(stored) / 1e6)
        assert use / USE_UNIT <= most + 1e-6, f"{name} is exceeded"


def frontier(case, sizes, points, settings):
    """Time a frontier of budgets."""
    session = Session(instance(case, *sizes), settings)
    session.solve()
    budget = amount(session, "budget")
    step = (HIGHEST - LOWEST) / max(1, points - 1)
    start = perf_counter()
    found = session.frontier("budget", [budget * (LOWEST + step * i) for i in range(points)])
    seconds = perf_counter() - start
    assert all(a.value <= b.value for a, b in zip(found, found[1:], strict=False))
    return {
        "actions": sizes[1], "constraints": sizes[2], "points": len(found), "seconds": seconds,
        "largest_gap": max(p.gap for p in found),
        "values": [p.value for p in found],
    }  # fmt: skip


def main(arguments=None):
    """Run both."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.session", description=__doc__)
    parser.add_argument("--case", choices=CASES, default="bundles")
    parser.add_argument("--subscribers", type=int, default=1_000_000)
    parser.add_argument("--actions", type=int, default=50)
    parser.add_argument("--constraints", type=int, default=60)
    parser.add_argument("--frontier-actions", type=int, default=20)
    parser.add_argument("--frontier-constraints", type=int, default=30)
    parser.add_argument("--points", type=int, default=20)
    parser.add_argument("--gap", type=float, default=1e-4, help="share of the bound")
    parser.add_argument("--json", action="store_true", help="the figures as JSON, last")
    options = parser.parse_args(arguments)
    case, settings = CASES[options.case], Solver(gap_tolerance=options.gap)
    sizes = options.subscribers, options.actions, options.constraints
    narrow = options.subscribers, options.frontier_actions, options.frontier_constraints
    load = os.getloadavg()[0]
    warmed(case, sizes[1:])
    again = resolved(case, sizes, settings)
    for row in again["changes"]:
        print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    curve = frontier(case, narrow, options.points, settings)
    print(f"frontier of {curve['points']} budgets: {curve['seconds']:.2f} s")
    result = {
        "case": case.name, "subscribers": sizes[0], "actions": sizes[1], "constraints": sizes[2],
        "resolve": again, "frontier": curve, "load_before": load, "load_after": os.getloadavg()[0],
        "seconds": again["median_s"],
        "gap": max(r["gap"] for r in again["changes"]),
        "passes": max(r["passes"] for r in again["changes"]),
    }  # fmt: skip
    if options.json:
        print(json.dumps({"machine": machine.described(), "result": result}))


if __name__ == "__main__":
    main()
