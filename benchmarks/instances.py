"""Solve benchmark instances of the multiple-choice knapsack and assignment problems.

``python -m benchmarks.instances FILE... --format khan --time-limit 60 --json``: reads all files
(``benchmarks/instance_files.py`` has the formats), solves each problem, checks the answer against
the file's numbers and prints a row a problem. Compilation, once a machine, is not timed. The
last line with ``--json`` is one JSON object. The command exits with 2 if a file is broken.
"""

import argparse
import csv
import json
import sys
from fractions import Fraction
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks import machine
from benchmarks.instance_files import FORMATS, Instance, read
from engine.errors import DataError
from engine.multiple_choice import MultipleChoice, solve

OPTIMA = "optimal_values.csv"
PARENTS = 3  # so many folders up the optima may be
COLUMNS = "{:32} {:>6} {:>12} {:>12} {:>10} {:>9} {:>12}"


def warm_up() -> None:
    """Compile what the searches need."""
    draw = np.random.default_rng(1)
    value, use = draw.integers(1, 50, (2, 36))
    group = np.repeat(np.arange(12), 3)
    uses = np.where(np.tile(np.arange(3), 12) == np.arange(3)[:, None], use, 0)
    for one in (uses, np.maximum(uses, 1)):
        solve(MultipleChoice(-value, group, one, np.full(3, 90), 12), seconds=60.0)


def checked(instance: Instance, chosen: list[int]) -> int:
    """Return the value of a choice, reckoned in plain whole numbers.

    Raises:
        AssertionError: a group has not exactly one item of its own, or a capacity is exceeded.
    """
    problem = instance.problem
    assert len(chosen) == problem.groups, "a group is missing"
    assert [int(problem.group[e]) for e in chosen] == list(range(problem.groups)), "a wrong group"
    for k, capacity in enumerate(problem.capacity.tolist()):
        used = sum(int(problem.use[k, e]) for e in chosen)
        assert used <= capacity, f"resource {k + 1}: {used} used of {capacity}"
    return sum(int(problem.value[e]) for e in chosen)


def optima(file: Path) -> dict[int, int | float]:
    """Return the known optimum by problem number, from the table beside the data if there is one.

    The table names a file in its first column, from the table's folder, and the optimum in its
    last; a column ``number`` says which problem of the file.
    """
    path = file.resolve()
    for folder in path.parents[:PARENTS]:
        table = folder / OPTIMA
        if table.is_file():
            name = path.relative_to(folder).as_posix()
            with table.open(newline="") as lines:
                rows = [row for row in csv.DictReader(lines) if row.get("file") == name]
            return {int(row.get("number") or 1): _plain(list(row.values())[-1]) for row in rows}
    return {}


def _plain(text: str) -> int | float:
    exact = Fraction(text)
    return exact.numerator if exact.denominator == 1 else float(exact)


def measured(instance: Instance, seconds: float) -> dict:
    """Solve, check and time one problem; return its row."""
    start = perf_counter()
    found = solve(instance.problem, seconds=seconds, workers=machine.cores())
    took = perf_counter() - start
    value = bound = gap = None
    if found.bound is not None:
        bound = instance.in_file_units(found.bound)
    if found.value is not None:
        assert checked(instance, found.chosen.tolist()) == found.value <= found.bound
        value = instance.in_file_units(found.value)
        gap = abs(found.bound - found.value) / max(instance.unit, abs(found.bound))
    row = {"file": instance.file.name, "number": instance.number, "value": value, "bound": bound}
    row |= {"gap": gap, "status": str(found.status), "seconds": round(took, 3)}
    known = optima(instance.file).get(instance.number)
    return row if known is None else row | {"optimum": known}


def main(arguments: list[str] | None = None) -> int:
    """Solve the problems of some files."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instances", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.add_argument("--time-limit", type=_seconds, default=60.0, help="seconds a problem")
    parser.add_argument("--json", action="store_true", help="the results as JSON, last")
    options = parser.parse_args(arguments)
    instances, problems = [], []
    for file in options.files:
        try:
            instances += read(file, options.format)
        except DataError as error:
            problems.append(str(error))
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 2
    warm_up()
    header = ("file", "number", "value", "bound", "status", "seconds", "optimum")
    print(COLUMNS.format(*header))
    rows = []
    for instance in instances:
        row = measured(instance, options.time_limit)
        rows.append(row)
        print(COLUMNS.format(*(str(row.get(name, "-")) for name in header)), flush=True)
    solved = sum(row["status"] != "TIME_LIMIT" for row in rows)
    print(f"{solved} of {len(rows)} problems solved")
    if options.json:
        found = {"machine": machine.described(), "results": rows}
        print(json.dumps(found | {"solved": solved, "problems": len(rows)}))
    return 0


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds < 1e9:
        raise argparse.ArgumentTypeError(f"got {text!r}; expected seconds above 0, below 1e9")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
