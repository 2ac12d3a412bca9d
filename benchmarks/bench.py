"""Check each kernel against its definition and twin, then time it.

``python -m benchmarks.bench [CASE ...] [--json]``: without names every case runs; ``--json`` adds
a last line with the results. The CPU twin runs on one core, as one task of a stage does.
"""

import argparse
import json
import platform
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import numba
import numpy as np

from kernels import backend
from tests.test_decay import decay_definition, trend_definition
from tests.test_rhythm import rhythm_definition
from tests.test_windows import window_definition

CHECKED_ROWS = 50
"""Rows compared with the definition, which is slow; the twins are compared on all rows."""
REPEATS = 5
DAY_S = 86_400


@dataclass(frozen=True)
class Operation:
    """A public operation of ``kernels``, on a partition of events."""

    name: str
    numbers: Callable[[], tuple]  # its arguments after the events and rows
    definition: Callable[[tuple], list]  # its operands -> expected columns, for few rows
    valued: bool = True  # whether it reads values, not only times
    rounding: float = 0.0  # largest relative difference, 0: the same bits

    def operands(self, case):
        """Return the arguments of the operation for a case."""
        time, value, *rows = case.events()
        return (time, *((value,) if self.valued else ()), *rows, *self.numbers())


@dataclass(frozen=True)
class Size:
    """One size; everything else follows from the seed."""

    name: str
    subscribers: int
    events_per_subscriber: int
    seed: int = 7

    def events(self):
        """Return time, value, start, stop and instant: a skewed number of events in 90 days."""
        rng = np.random.default_rng(self.seed)
        counts = rng.poisson(rng.gamma(0.8, self.events_per_subscriber / 0.8, self.subscribers))
        ends = np.cumsum(counts)
        owner = np.repeat(np.arange(self.subscribers), counts)
        seconds = rng.integers(0, 90 * DAY_S, len(owner))
        time = np.sort(owner * (90 * DAY_S) + seconds) - owner * (90 * DAY_S)
        at = np.full(self.subscribers, 90 * DAY_S, np.int64)
        return time, rng.gamma(1.0, 3.0, len(owner)), ends - counts, ends, at


def by_window(operands):
    """Return count, sum and max of the rows, window by window."""
    *rows, windows = operands
    columns = zip(*window_definition(rows, windows), strict=True)
    return [np.reshape(column, (len(windows), -1)) for column in columns]


def by_rhythm(operands):
    """Return recency, mean and deviation of the gaps of the rows."""
    return [
        np.array(column, np.float64) for column in zip(*rhythm_definition(*operands), strict=True)
    ]


def by_decay(operands):
    """Return the decayed sum of the rows."""
    *rows, half_life = operands
    return [np.array([total for total, _ in decay_definition(rows, half_life)])]


def by_trend(operands):
    """Return the slope of the rows."""
    *rows, days = operands
    return [np.array([float(slope) for slope in trend_definition(rows, days)])]


SIZES = (
    Size("smoke", subscribers=300, events_per_subscriber=20),
    Size("city", subscribers=100_000, events_per_subscriber=70),
)
WINDOWS = np.array([1, 7, 30, 90], np.int64) * DAY_S
# Rounding: hundreds of terms of either sign in another order than the definition's; exp2 may be
# off by two units in the last place, 2**-52. Slopes cancel, so they lose a few digits more.
OPERATIONS = (
    Operation("windowed", lambda: (WINDOWS,), by_window),
    Operation("rhythm", tuple, by_rhythm, valued=False, rounding=1e-12),
    Operation("decayed", lambda: (14.0 * DAY_S,), by_decay, rounding=1e-12),
    Operation("trend", lambda: (28,), by_trend, rounding=1e-9),
)
CASES = {f"{o.name}:{size.name}": (o, size) for size in SIZES for o in OPERATIONS}


def outputs(result):
    """Return the result of an operation as a list of NumPy arrays."""
    return [backend.to_cpu(a) for a in (result if isinstance(result, tuple) else (result,))]


def check(operation, operands, result):
    """Compare the first rows of a result with the definition.

    Raises:
        AssertionError: they differ by more than the operation's rounding.
    """
    first = len(operands) - 3 - len(operation.numbers())  # start, stop and at come before numbers
    few = [a[:CHECKED_ROWS] if first <= i < first + 3 else a for i, a in enumerate(operands)]
    for found, expected in zip(result, operation.definition(tuple(few)), strict=True):
        limit = operation.rounding
        np.testing.assert_allclose(found[..., :CHECKED_ROWS], expected, rtol=limit, atol=limit)


def timed(function, operands):
    """Return the median seconds of a call, first call left out."""
    seconds = []
    for _ in range(REPEATS + 1):
        start = perf_counter()
        function(*operands)
        if not isinstance(operands[0], np.ndarray):
            backend.cupy.cuda.Device().synchronize()
        seconds.append(perf_counter() - start)
    return median(seconds[1:])


def measured(name):
    """Check a case, then time it; return its figures on each side that this machine has."""
    operation, size = CASES[name]
    cpu, gpu = backend.TWINS[operation.name]
    operands = operation.operands(size)
    result = outputs(cpu(*operands))
    check(operation, operands, result)
    events = len(operands[0])
    read = sum(a.nbytes for a in operands[: 1 + operation.valued])
    one_read = timed(lambda *arrays: [a.max() for a in arrays], operands[: 1 + operation.valued])
    sides = [("cpu", cpu, operands)]
    if backend.HAS_GPU:
        moved = [backend.to_gpu(a) if isinstance(a, np.ndarray) else a for a in operands]
        for found, expected in zip(outputs(gpu(*moved)), result, strict=True):
            np.testing.assert_allclose(found, expected, rtol=operation.rounding, atol=1e-9)
        sides.append(("gpu", gpu, moved))
    rows = []
    for side, function, arguments in sides:
        seconds = timed(function, arguments)
        figures = {"case": name, "side": side, "events": events, "subscribers": size.subscribers}
        figures |= {"seconds": seconds, "events_per_s": events / seconds}
        figures |= {"bytes_per_s": read / seconds, "cpu_reads": seconds / one_read}
        rows.append(figures | {"median_of": REPEATS})
    return rows


def machine():
    """Say what the figures were measured on."""
    device = platform.processor() or platform.machine()
    found = {"cpu": device, "python": platform.python_version(), "numpy": np.__version__}
    found["numba"] = numba.__version__
    if backend.HAS_GPU:
        properties = backend.cupy.cuda.runtime.getDeviceProperties(0)
        found |= {"gpu": properties["name"].decode(), "cupy": backend.cupy.__version__}
    return found


def main(arguments=None):
    """Run the cases that are named (``windowed:smoke``, or a kernel, or a size)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--json", action="store_true", help="results as JSON on the last line")
    options = parser.parse_args(arguments)
    unknown = [n for n in options.cases if not any(n in (c, *c.split(":")) for c in CASES)]
    if unknown:
        parser.error(f"unknown case {', '.join(unknown)}; there are {', '.join(CASES)}")
    results = []
    for name in CASES:
        if options.cases and not {name, *name.split(":")} & set(options.cases):
            continue
        for row in measured(name):
            results.append(row)
            print(
                f"{row['case']:16} {row['side']} {row['events']:>10,} events "
                f"{row['seconds'] * 1e3:>9.2f} ms {row['events_per_s'] / 1e6:>8.1f} M events/s "
                f"{row['bytes_per_s'] / 1e9:>6.2f} GB/s  {row['cpu_reads']:>5.1f} reads"
            )
    if options.json:
        print(json.dumps({"machine": machine(), "results": results}))


if __name__ == "__main__":
    main()
