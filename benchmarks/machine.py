"""What a benchmark ran on, and how it takes times."""

import platform
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import cycle
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numba
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.process import cores
from kernels import backend

REPEATS = 7
CACHES = 4  # input sets together are at least so many times as large as the device's cache
MOST_SETS = 32
COPY_BYTES = 1 << 30


def described() -> dict[str, Any]:
    """Say what the figures were measured on."""
    found: dict[str, Any] = {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "cpu": _processor()}
    found |= {"cores": cores(), "python": platform.python_version()}
    found |= {"numpy": np.__version__, "numba": numba.__version__}
    for package in ("ortools", "cudf"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    if backend.HAS_GPU:
        runtime = backend.cupy.cuda.runtime
        found["gpu"] = runtime.getDeviceProperties(0)["name"].decode()
        found |= {"cupy": backend.cupy.__version__, "cuda": runtime.runtimeGetVersion()}
        found["driver"] = runtime.driverGetVersion()
    return found


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), platform.processor() or platform.machine())


def timed(function: Callable[..., Any], sets: Sequence[tuple[Any, ...]]) -> float:
    """Return the median seconds of a call, over the sets of arguments in turn, after a warm-up.

    On a GPU the time is taken by events on the device, so that it ends when the work does.
    """
    on_gpu = any(not isinstance(a, np.ndarray) and hasattr(a, "device") for a in sets[0])
    clock = _device_seconds if on_gpu else _host_seconds
    for arguments in sets:
        function(*arguments)
    turns = zip(range(max(REPEATS, len(sets))), cycle(sets), strict=False)
    return median([clock(function, arguments) for _, arguments in turns])


def _host_seconds(function: Callable[..., Any], arguments: tuple[Any, ...]) -> float:
    start = perf_counter()
    function(*arguments)
    return perf_counter() - start


def _device_seconds(function: Callable[..., Any], arguments: tuple[Any, ...]) -> float:
    cuda = backend.cupy.cuda
    start, end = cuda.Event(), cuda.Event()
    cuda.Device().synchronize()
    start.record()
    function(*arguments)
    end.record()
    end.synchronize()
    return float(cuda.get_elapsed_time(start, end)) / 1e3


def printed(rows: Sequence[dict[str, Any]], names: Sequence[str], width: int) -> None:
    """Print figures as a table: the named ones of each row, numbers to three digits."""
    table = Table(*names)
    for row in rows:
        cells = (row[name] for name in names)
        table.add_row(*(f"{c:.3g}" if isinstance(c, float) else str(c) for c in cells))
    Console(width=width).print(table)


def copies(arguments: tuple[Any, ...], size_bytes: int) -> list[tuple[Any, ...]]:
    """Return so many copies of arguments that one is out of the cache before it comes again.

    Args:
        arguments: arrays of one side, and numbers.
        size_bytes: what a call reads of them.
    """
    cache_bytes = 64 << 20
    if any(not isinstance(a, np.ndarray) and hasattr(a, "device") for a in arguments):
        cache_bytes = int(backend.cupy.cuda.Device().attributes["L2CacheSize"])
    count = min(MOST_SETS, max(2, -(-CACHES * cache_bytes // max(1, size_bytes))))
    more = [
        tuple(a.copy() if hasattr(a, "copy") else a for a in arguments) for _ in range(count - 1)
    ]
    return [arguments, *more]


def read_seconds(arrays: Sequence[Any], threads: int) -> float:
    """Return the median seconds of one streaming read of host arrays by some threads."""
    pieces = [piece for a in arrays for piece in np.array_split(a.reshape(-1), threads)]
    pieces = [piece for piece in pieces if len(piece)]
    with ThreadPoolExecutor(threads) as pool:
        return timed(lambda *parts: list(pool.map(np.max, parts)), [tuple(pieces)])


def copy_bytes_per_s() -> float:
    """Return the bytes read plus written a second by a copy from device memory to device memory."""
    source = backend.cupy.ones(COPY_BYTES // 8)
    target = backend.cupy.empty_like(source)
    return 2 * COPY_BYTES / timed(backend.cupy.copyto, [(target, source)])
