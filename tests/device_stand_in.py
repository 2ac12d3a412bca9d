"""Device memory on a machine without a GPU: arrays as strict as CuPy's, kernels built as C++.

An array of the stand-in never turns into a NumPy array by itself and never mixes with one, as in
CuPy. It does only what CuPy does; whether CuPy does it as NumPy does is left to a real device.
"""

import operator
import shutil
from typing import Any

import numpy as np
import pytest

from kernels import backend
from tests.conftest import host_function

on_a_device = pytest.mark.parametrize(
    "device",
    [
        pytest.param(
            "stand-in", marks=pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
        ),
        pytest.param("cuda", marks=pytest.mark.gpu),
    ],
)
"""Runs a test with the stand-in, for which it calls :func:`install`, and on a GPU."""

UNARY = ("neg", "pos", "abs", "invert")
BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "and_", "or_", "xor", "lshift",
          "rshift", "lt", "le", "gt", "ge", "eq", "ne")  # fmt: skip
MIRRORED = BINARY[:11]
PLAIN = ("shape", "dtype", "size", "ndim", "nbytes", "flags", "strides")
METHODS = (
    "any",
    "all",
    "sum",
    "max",
    "min",
    "astype",
    "copy",
    "view",
    "ravel",
    "repeat",
    "reshape",
    "T",
)
FUNCTIONS = ("asarray", "arange", "ascontiguousarray", "concatenate", "cumsum", "empty",
             "empty_like", "flatnonzero", "full", "full_like", "lexsort", "maximum", "minimum",
             "ones", "rint", "searchsorted", "stack", "tile", "where", "zeros",
             "zeros_like")  # fmt: skip


class DeviceArray:
    """An array that is on the device, for all that its users can tell."""

    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, host: np.ndarray) -> None:
        self.host = host

    def get(self) -> np.ndarray:
        return self.host.copy()

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("implicit conversion of a device array to NumPy")

    def __getattr__(self, name: str) -> Any:
        if name in PLAIN:
            return getattr(self.host, name)
        if name not in METHODS:
            raise AttributeError(name)
        found = getattr(self.host, name)
        return on_device(found) if callable(found) else placed(found)

    def __getitem__(self, at: Any) -> Any:
        return placed(self.host[on_host(at)])

    def __setitem__(self, at: Any, value: Any) -> None:
        self.host[on_host(at)] = on_host(value)

    def __len__(self) -> int:
        return len(self.host)

    def __bool__(self) -> bool:
        return bool(self.host)

    def __int__(self) -> int:
        return int(self.host)

    def __float__(self) -> float:
        return float(self.host)


def on_host(value: Any) -> Any:
    """Return what a NumPy function takes for an argument of the device's."""
    if isinstance(value, DeviceArray):
        return value.host
    if isinstance(value, np.ndarray):
        raise TypeError("a NumPy array meets a device array")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise OverflowError(f"{value} is no 64-bit whole number")
    return type(value)(map(on_host, value)) if isinstance(value, list | tuple) else value


def placed(value: Any) -> Any:
    """Return a NumPy result as the device's: scalars are arrays without axes, as in CuPy."""
    return DeviceArray(np.asarray(value)) if isinstance(value, np.ndarray | np.generic) else value


def on_device(function: Any) -> Any:
    """Return a NumPy function as one of the device's arrays."""

    def call(*values: Any, **options: Any) -> Any:
        return placed(function(*on_host(values), **{k: on_host(v) for k, v in options.items()}))

    return call


def _mirrored(function: Any) -> Any:
    return on_device(lambda right, left: function(left, right))


for _name in (*UNARY, *BINARY):
    _function, _dunder = getattr(operator, _name), _name.strip("_")
    setattr(DeviceArray, f"__{_dunder}__", on_device(_function))
    if _name in MIRRORED:
        setattr(DeviceArray, f"__r{_dunder}__", _mirrored(_function))


class Cupy:
    """The functions of CuPy that the project calls."""

    def __getattr__(self, name: str) -> Any:
        if name not in FUNCTIONS:
            raise AttributeError(f"the stand-in for CuPy has no {name}")
        return on_device(getattr(np, name))

    def asarray(self, value: Any, dtype: Any = None) -> Any:
        return value if isinstance(value, DeviceArray) else DeviceArray(np.array(value, dtype))

    def bincount(self, codes: Any, minlength: int) -> Any:
        if not codes.size:
            raise ValueError("CuPy's bincount takes no empty array")
        return DeviceArray(np.bincount(codes.host, minlength=minlength))

    def lexsort(self, keys: Any) -> Any:
        if not isinstance(keys, DeviceArray):
            raise TypeError("CuPy's lexsort takes one array, its keys stacked")
        return DeviceArray(np.lexsort(keys.host))


def kernel(source: str, name: str) -> Any:
    """Return the C++ build of a kernel, called with the stand-in's arrays."""
    launch = host_function(source, name)

    def call(grid: Any, size: Any, arguments: Any) -> None:
        launch(grid, size, on_host(tuple(arguments)))

    return call


def install(patch: Any) -> None:
    """Put the stand-in in CuPy's place; one thread does all rows."""
    patch.setattr(backend, "cupy", Cupy())
    patch.setattr(backend, "cuda_function", kernel)
    patch.setattr(backend, "MOST_BLOCKS", 1)
    patch.setattr(backend, "THREADS", 1)
