"""Run one peer on one problem in a process of its own, and judge its answer.

``python -m benchmarks.peers NAME INSTANCE.npz --gap G --time-limit S`` prints one line of JSON:
seconds of solving, those of building the model apart, value, bound, overruns, peak memory. The
peer runs in a child, so that a time limit always holds; the parent judges.
"""

import argparse
import json
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from time import perf_counter, process_time

from benchmarks.compare import compared
from benchmarks.peers import PEERS, AbsentError, Task
from benchmarks.plain import load
from benchmarks.process import leave, peak_memory


def answered(options: argparse.Namespace) -> None:
    """Solve, and write the answer with its figures to a file that appears when it is whole."""
    plain = load(options.instance)
    task = Task(options.peer, options.gap, options.time_limit)
    task.on_begin = Path(f"{options.answer}.begun").touch
    start = perf_counter()
    arrays = {}
    try:
        solve = import_module(f"benchmarks.peers.{PEERS[options.peer]}").solve
        answer = solve(plain, task)
        end, used = perf_counter(), process_time() - task.began_cpu
        figures = {k: v for k, v in asdict(answer).items() if k not in ("chosen", "prices")}
        figures |= {"seconds": end - task.began, "build_seconds": task.began - start}
        figures["cpu_seconds"] = used
        arrays = {"chosen": answer.chosen}
        if answer.prices is not None:
            arrays["prices"] = answer.prices
    except AbsentError as error:
        figures = {"status": f"ABSENT: {error}"}
    figures["peak_bytes"] = peak_memory()
    leave(options.answer, figures, arrays)


def main(arguments: list[str] | None = None) -> None:
    """Run one peer."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("instance", help="a problem, from benchmarks.plain.save")
    parser.add_argument("--gap", type=float, default=1e-4, help="share of the bound")
    parser.add_argument("--time-limit", type=float, default=600.0, help="seconds of solving")
    parser.add_argument("--answer", help="be the child: write the answer to this file")
    options = parser.parse_args(arguments)
    if options.answer:
        answered(options)
        return
    (row,) = compared(
        options.instance, [options.peer], gap=options.gap, time_limit=options.time_limit
    )
    print(json.dumps(row))
    if row["status"].startswith(("ABSENT", "FAILED")):
        sys.exit(f"{options.peer}: {row['status']}")


if __name__ == "__main__":
    main()
