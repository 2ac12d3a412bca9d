"""Every kernel test runs on every backend that this machine has."""

import ctypes
import gc
import itertools
import os
import platform
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from hashlib import sha256
from multiprocessing import forkserver
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from kernels import backend

settings.register_profile(
    "walras",
    deadline=None,
    derandomize="CI" in os.environ,  # a change is judged by the same examples each time
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("walras")

BACKENDS = [
    pytest.param("cpu", id="cpu"),
    pytest.param(
        "host",
        id="host",
        marks=pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++"),
    ),
    pytest.param("gpu", id="gpu", marks=pytest.mark.gpu),
]


BUILT = Path(__file__).parents[1] / "build" / "host"  # C++ builds of .cu files

signal.signal(signal.SIGINT, signal.default_int_handler)
"""Tests of Ctrl-C need it; a shell that starts the suite in the background has it ignored."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--require-gpu", action="store_true", help="fail instead of skipping on a GPU")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gpu: needs CuPy and an NVIDIA GPU")


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Put the tests of whole jobs first.

    Of two processes that share the tests one begins in the middle: with single functions then, so
    that not both at once compile all that a job needs.
    """
    items.sort(key=lambda item: not uses_jobs(item.module))


def pytest_collection_finish() -> None:
    """Leave what all tests share out of the collections of garbage to come."""
    gc.collect()
    gc.freeze()


@cache
def uses_jobs(module: ModuleType) -> bool:
    """Say whether a test's module names something of the package ``jobs``."""
    named = (getattr(value, "__module__", None) or getattr(value, "__name__", "")
             for value in vars(module).values())  # fmt: skip
    return any(str(name).partition(".")[0] == "jobs" for name in named)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not backend.HAS_GPU:
        if item.config.getoption("--require-gpu"):
            pytest.fail("needs CuPy and a GPU (--require-gpu)")
        pytest.skip("needs CuPy and a GPU")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    skipped = [r for r in terminalreporter.stats.get("skipped", []) if "GPU" in str(r.longrepr)]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} GPU tests skipped: this machine has no GPU")
    if any("CDNOW" in str(r.longrepr) for r in terminalreporter.stats.get("skipped", [])):
        terminalreporter.write_line("the published fit of CDNOW was not checked: walras[cdnow]")


@cache
def host_library(source: str) -> ctypes.CDLL:
    """Compile a .cu file as C++: the same source, run by the CPU; other processes take it too."""
    command = [
        "g++", "-O1", "-std=c++17", "-ffp-contract=off", "-Wall", "-Werror",
        "-Wno-unknown-pragmas", "-shared", "-fPIC", "-x", "c++",
        "-include", str(backend.HERE / "portable.cuh"), str(backend.HERE / f"{source}.cu"),
    ]  # fmt: skip
    known = sha256(
        " ".join([platform.platform(), *command, backend.cuda_source(source)]).encode()
    ).hexdigest()
    built = BUILT / f"{source}-{known[:16]}.so"
    if not built.exists():
        BUILT.mkdir(parents=True, exist_ok=True)
        own = built.with_suffix(f".{os.getpid()}")
        subprocess.run([*command, "-o", str(own)], check=True)
        own.replace(built)
    return ctypes.CDLL(str(built))


class Place(ctypes.Structure):
    """An index of the emulated grid, as in portable.cuh."""

    _fields_ = [("x", ctypes.c_uint)]


CTYPES = {"int64": ctypes.c_longlong, "int32": ctypes.c_int}
CTYPES |= {"float64": ctypes.c_double, "float32": ctypes.c_float}


def host_function(source: str, name: str) -> Callable[..., None]:
    """Return the C++ build of a kernel, launched as CuPy launches one: every thread in turn."""
    library = host_library(source)
    kernel = getattr(library, name)
    names = ("gridDim", "blockDim", "blockIdx", "threadIdx")
    blocks, threads, block, thread = (Place.in_dll(library, place) for place in names)

    def launch(grid: tuple[int], size: tuple[int], arguments: tuple[Any, ...]) -> None:
        converted = [
            a.ctypes.data_as(ctypes.c_void_p)
            if isinstance(a, np.ndarray)
            else CTYPES[a.dtype.name](a)
            for a in arguments
        ]
        (blocks.x,), (threads.x,) = grid, size
        for block.x, thread.x in itertools.product(range(*grid), range(*size)):
            kernel(*converted)

    return launch


class HostCupy:
    """Enough of CuPy for a ``*_gpu`` function to run its C++ build on NumPy arrays."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def run_on(
    side: str,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    *values: Any,
    grid: tuple[int, int] = (2, 2),  # fewer threads than rows, so that a thread takes several
) -> Any:
    """Run operation ``name`` on one backend: its CPU twin, its CUDA code as C++, or the GPU."""
    cpu, gpu = backend.TWINS[name]
    if side == "cpu":
        return cpu(*values)
    if side == "host":
        with monkeypatch.context() as patch:
            patch.setattr(backend, "cupy", HostCupy())
            patch.setattr(backend, "cuda_function", host_function)
            patch.setattr(backend, "MOST_BLOCKS", grid[0])
            patch.setattr(backend, "THREADS", grid[1])
            return gpu(*values)
    moved = [backend.to_gpu(v) if isinstance(v, np.ndarray) else v for v in values]
    result = gpu(*moved)
    if isinstance(result, tuple):
        fetched = map(backend.to_cpu, result)
        return type(result)(*fetched) if hasattr(result, "_fields") else tuple(fetched)
    return backend.to_cpu(result)


@pytest.fixture
def forked_workers() -> Iterator[None]:
    """Fork worker processes off one that has loaded all, for tests of what becomes of them.

    A process that starts by itself, as they do elsewhere, takes two seconds to load its modules.
    """
    import dask  # some tests need neither it nor jobs, and run where they are not installed
    from distributed.utils import get_mp_context

    from jobs.cluster import POOLS

    loaded = ("cluster", "ingest", "profile", "score", "allocate")
    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        get_mp_context().set_forkserver_preload(["distributed", *(f"jobs.{m}" for m in loaded)])
        with pytest.MonkeyPatch.context() as patch:
            for name in POOLS:
                patch.setenv(name, "1")  # libraries read it when they are loaded
            forkserver.ensure_running()
        yield


@pytest.fixture(params=BACKENDS)
def on_each_backend(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Call ``on_each_backend("operation", *arrays)``; results are NumPy arrays."""
    return lambda name, *values: run_on(request.param, name, monkeypatch, *values)
