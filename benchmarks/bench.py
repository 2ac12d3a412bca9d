"""Check each kernel against its definition and twin, then time it.

``python -m benchmarks.bench [CASE ...] [--json]``: without names every case runs; ``--json`` adds
a last line with the results. ``reads`` is the time over one streaming read of what the operation
must read, by as many cores as its CPU twin uses. On a GPU the times are the device's, over several
input sets in turn, and ``copy_share`` is the rate over that of a copy from device to device.
"""

import argparse
import json

import numpy as np

from benchmarks import machine
from benchmarks.cases import CASES, CHECKED_ROWS
from kernels import backend


def outputs(result):
    """Return the result of an operation as a list of NumPy arrays."""
    return [backend.to_cpu(a) for a in (result if isinstance(result, tuple) else (result,))]


def check(operation, operands, result):
    """Compare the first rows of a result with the definition.

    Raises:
        AssertionError: they differ by more than the operation's rounding.
    """
    expected = operation.definition(operands, CHECKED_ROWS, result)
    for found, right in zip(result, expected, strict=True):
        limit = operation.rounding
        np.testing.assert_allclose(found[..., : right.shape[-1]], right, rtol=limit, atol=limit)


def measured(name, copy_rate):
    """Check a case, then time it; return its figures on each side that this machine has.

    Args:
        name: the case.
        copy_rate: bytes a second of a copy on the device; None on a machine without a GPU.
    """
    operation, size = CASES[name]
    cpu, gpu = backend.TWINS[operation.name]
    operands = operation.operands(size)
    result = outputs(cpu(*operation.own(operands)))
    check(operation, operands, result)
    streamed = [operands[i] for i in operation.streamed]
    read_bytes = sum(a.nbytes for a in streamed)
    threads = machine.cores() if operation.is_threaded else 1
    one_read = machine.read_seconds(streamed, threads)
    sides = [("cpu", cpu, operands)]
    if copy_rate:
        moved = tuple(backend.to_gpu(a) if isinstance(a, np.ndarray) else a for a in operands)
        for found, expected in zip(outputs(gpu(*operation.own(moved))), result, strict=True):
            limit = operation.rounding
            np.testing.assert_allclose(found, expected, rtol=limit, atol=limit)
        sides.append(("gpu", gpu, moved))
    rows = []
    for side, function, arguments in sides:
        sets = machine.copies(arguments, read_bytes)
        seconds = machine.timed(function, sets)
        figures = {"case": name, "side": side, "subscribers": size.subscribers}
        figures |= {"items": streamed[0].size, "item": operation.item, "bytes": read_bytes}
        figures |= {"seconds": seconds, "items_per_s": streamed[0].size / seconds}
        figures |= {"rows_per_s": size.subscribers / seconds, "bytes_per_s": read_bytes / seconds}
        if side == "cpu":
            figures |= {"reads": seconds / one_read, "threads": threads}
        else:
            figures["copy_share"] = read_bytes / seconds / copy_rate
        rows.append(figures | {"median_of": max(machine.REPEATS, len(sets)), "sets": len(sets)})
    return rows


def line(row):
    """Return a row of figures as text."""
    last = f"{row['reads']:>6.1f} reads" if "reads" in row else f"{row['copy_share']:>6.1%} of copy"
    return (
        f"{row['case']:20} {row['side']} {row['items']:>11,} {row['item']} "
        f"{row['seconds'] * 1e3:>9.3f} ms {row['rows_per_s'] / 1e6:>8.2f} M rows/s "
        f"{row['bytes_per_s'] / 1e9:>8.2f} GB/s {last}"
    )


def main(arguments=None):
    """Run the cases that are named (``counts:smoke``, or an operation, or a size)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--json", action="store_true", help="results as JSON on the last line")
    options = parser.parse_args(arguments)
    unknown = [n for n in options.cases if not any(n in (c, *c.split(":")) for c in CASES)]
    if unknown:
        parser.error(f"unknown case {', '.join(unknown)}; there are {', '.join(CASES)}")
    copy_rate = machine.copy_bytes_per_s() if backend.HAS_GPU else None
    results = []
    for name in CASES:
        if options.cases and not {name, *name.split(":")} & set(options.cases):
            continue
        for row in measured(name, copy_rate):
            results.append(row)
            print(line(row), flush=True)
    if options.json:
        found = {"machine": machine.described(), "device_copy_bytes_per_s": copy_rate}
        print(json.dumps(found | {"results": results}))


if __name__ == "__main__":
    main()
