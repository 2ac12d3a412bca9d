"""Everything that needs a GPU, in one go: the tests of all backends, then the benchmarks.

``python -m benchmarks.gpu [--require NAME ...]`` (``make gpu``). Writes every step's output to
``$OUT``, or to ``build/gpu``, and prints a short table last. A step whose packages are missing is
left out, and the table says so; ``--require ortools`` makes that a failure. Ends within eight
minutes; safe to run again, files are replaced.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

from kernels import backend

LIMIT_S = 460  # of all steps together
PYTEST = ("-m", "pytest", "-q", "--require-gpu", "-p", "no:cacheprovider")
KERNELS = ("bursts", "choose", "contact_windows", "fatigue", "hours", "kernel_sources", "lifetime",
           "logarithm", "open_case", "planned", "ranges", "repeats", "run_out", "saturation",
           "summary", "weights")  # fmt: skip
ENGINE = ("ortools", "pydantic", "sqlglot", "yaml")
ALLOCATION = ("-m", "benchmarks.allocation", *["--gap", "1e-4", "--device", "cuda", "--json"])


@dataclass(frozen=True)
class Step:
    """One run of Python."""

    name: str
    arguments: tuple[str, ...]
    needs: tuple[str, ...] = ()  # packages besides CuPy, Numba and pytest


def allocation(case, subscribers, actions=50, constraints=30):
    """Return the step of one allocation benchmark."""
    sizes = ("--subscribers", subscribers, "--actions", actions, "--constraints", constraints)
    arguments = (*ALLOCATION, "--case", case, *map(str, sizes))
    return Step(f"allocation-{case}-{subscribers}", arguments, ENGINE)


STEPS = (
    Step("tests-kernels", (*PYTEST, *(f"tests/test_{name}.py" for name in KERNELS))),
    Step("tests-device", (*PYTEST, "tests/test_device_side.py"), ENGINE),
    Step("tests-benchmarks", (*PYTEST, "tests/test_bench.py")),
    Step("tests-cluster", (*PYTEST, "-m", "gpu", "tests/test_cluster.py"),
         (*ENGINE, "cudf", "dask_cuda", "distributed", "threadpoolctl", "xgboost", "bokeh")),
    Step("kernels", ("-m", "benchmarks.bench", "--json")),
    allocation("one-offer", 200_000),
    allocation("bundles", 200_000),
    allocation("one-offer", 1_000_000),
)  # fmt: skip


def run(step, folder, deadline):
    """Run one step and return whether it succeeded, and the lines of the table.

    Args:
        step: what to run.
        folder: receives the output as ``<name>.txt``, and figures as ``<name>.json``.
        deadline: ``perf_counter`` instant after which it is stopped.
    """
    left = deadline - perf_counter()
    if left <= 0:
        return False, ["no time left"]
    out = folder / f"{step.name}.txt"
    with out.open("w") as file:
        try:
            code = subprocess.run(
                [sys.executable, *step.arguments], stdout=file, stderr=subprocess.STDOUT,
                timeout=left, check=False,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            code = 124
    lines = out.read_text().splitlines() or [""]
    if code:
        return False, [f"failed with status {code}, see {out}", *lines[-5:]]
    if "--json" not in step.arguments:
        return True, lines[-1:]
    figures = json.loads(lines[-1])
    (folder / f"{step.name}.json").write_text(lines[-1] + "\n")
    if "streaming_reads" in figures:
        found = figures
        return True, [
            f"{found['seconds']:.3f} s, {found['streaming_reads']:.1f} streaming reads, "
            f"gap {found['gap']:.1e}, {found['status']}"
        ]
    return True, [line for line in lines[:-1] if " gpu " in line]


def main(arguments=None):
    """Run the steps; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument(
        "--require", action="append", default=[], metavar="NAME", help="a package that must be here"
    )
    options = parser.parse_args(arguments)
    if not backend.HAS_GPU:
        print("make gpu: needs CuPy and an NVIDIA GPU; this machine has none")
        return 2
    absent = [name for name in options.require if find_spec(name) is None]
    if absent:
        print(f"make gpu: missing packages: {', '.join(absent)}")
        return 2
    folder = Path(os.environ.get("OUT") or "build/gpu")
    folder.mkdir(parents=True, exist_ok=True)
    deadline = perf_counter() + LIMIT_S
    table, all_good = [], True
    for step in STEPS:
        missing = [name for name in step.needs if find_spec(name) is None]
        start = perf_counter()
        good, lines = (
            (True, [f"SKIPPED: missing {', '.join(missing)}"])
            if missing
            else run(step, folder, deadline)
        )
        all_good &= good
        title = f"{step.name}: {'ok' if good else 'FAILED'} ({perf_counter() - start:.0f} s)"
        table += [title, *(f"    {line}" for line in lines)]
        print(title, flush=True)
    text = "\n".join(table)
    (folder / "table.txt").write_text(text + "\n")
    print(f"\n{text}")
    return 0 if all_good else 1


if __name__ == "__main__":
    sys.exit(main())
