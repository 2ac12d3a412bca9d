"""Every kernel test runs on every backend that this machine has."""

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from kernels import backend

settings.register_profile(
    "walras", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
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


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--require-gpu", action="store_true", help="fail instead of skipping on a GPU")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gpu: needs CuPy and an NVIDIA GPU")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not backend.HAS_GPU:
        if item.config.getoption("--require-gpu"):
            pytest.fail("needs CuPy and a GPU (--require-gpu)")
        pytest.skip("needs CuPy and a GPU")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    skipped = [r for r in terminalreporter.stats.get("skipped", []) if "GPU" in str(r.longrepr)]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} GPU tests skipped: this machine has no GPU")


@cache
def host_library(source: str) -> ctypes.CDLL:
    """Compile a .cu file as C++: the same source, run by the CPU."""
    out = Path(tempfile.mkdtemp()) / f"{source}.so"
    subprocess.run(
        ["g++", "-O1", "-std=c++17", "-ffp-contract=off", "-Wall", "-Werror",
         "-Wno-unknown-pragmas", "-shared", "-fPIC", "-x", "c++",
         "-include", str(backend.HERE / "portable.cuh"),
         str(backend.HERE / f"{source}.cu"), "-o", str(out)],
        check=True,
    )  # fmt: skip
    return ctypes.CDLL(str(out))


def host_launch(source: str, name: str) -> Callable[..., None]:
    """Return the C++ build of a kernel, called with NumPy arrays and NumPy scalars in order."""
    ctype = {"int64": ctypes.c_longlong, "int32": ctypes.c_int, "float64": ctypes.c_double}

    def call(*arguments: Any) -> None:
        getattr(host_library(source), name)(
            *(
                a.ctypes.data_as(ctypes.c_void_p)
                if isinstance(a, np.ndarray)
                else ctype[a.dtype.name](a)
                for a in arguments
            )
        )

    return call


class HostCupy:
    """Enough of CuPy for a ``*_gpu`` function to run its C++ build on NumPy arrays."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def run_on(side: str, name: str, monkeypatch: pytest.MonkeyPatch, *values: Any) -> Any:
    """Run operation ``name`` on one backend: its CPU twin, its CUDA code as C++, or the GPU."""
    cpu, gpu = backend.TWINS[name]
    if side == "cpu":
        return cpu(*values)
    if side == "host":
        with monkeypatch.context() as patch:
            patch.setattr(backend, "cupy", HostCupy())
            patch.setattr(backend, "cuda_function", host_launch)
            patch.setattr(backend, "launch", lambda kernel, rows, *a: kernel(*a) if rows else None)
            return gpu(*values)
    moved = [backend.to_gpu(v) if isinstance(v, np.ndarray) else v for v in values]
    result = gpu(*moved)
    return tuple(map(backend.to_cpu, result)) if isinstance(result, tuple) else backend.to_cpu(result)


@pytest.fixture(params=BACKENDS)
def on_each_backend(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Call ``on_each_backend("operation", *arrays)``; results are NumPy arrays."""
    return lambda name, *values: run_on(request.param, name, monkeypatch, *values)
