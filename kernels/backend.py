"""Which memory holds an array, and how a CUDA source becomes a function.

The only file in the project that imports CuPy.
"""

import re
from collections.abc import Callable
from functools import cache, wraps
from inspect import signature
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

try:
    import cupy as cupy

    HAS_GPU = cupy.cuda.is_available()
except ImportError:  # a machine without CuPy is a CPU machine
    cupy, HAS_GPU = None, False

HERE = Path(__file__).parent
THREADS, MOST_BLOCKS = 256, 65_535
PAGE, APART = 512, 24  # numbers of 8 bytes
CUDA_OPTIONS = ("--std=c++17", "--fmad=false")

F = TypeVar("F", bound=Callable[..., Any])
TWINS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {}


def to_gpu(array: Any) -> Any:
    return cupy.asarray(array)


def to_cpu(array: Any) -> Any:
    return array if isinstance(array, np.ndarray) else array.get()


def library(array: Any) -> Any:
    """Return the array library (NumPy or CuPy) that owns ``array``."""
    return np if isinstance(array, np.ndarray) else cupy


def lines(library: Any, *shape: int) -> Any:
    """Return room for float64 lines, the last axis, which on the CPU lie apart from whole pages.

    Lines that are filled side by side would otherwise meet in the same places of the cache.
    """
    *outer, length = shape
    stride = -(-length // PAGE) * PAGE + APART if library is np else length
    return library.empty((*outer, stride))[..., :length]


def read_only(*arrays: Any) -> tuple[Any, ...]:
    """Return views of NumPy arrays that cannot be written to.

    Numba compiles a function anew for every mix of writable and read-only arguments; with all
    inputs read-only there is one build.
    """
    views = tuple(array.view() for array in arrays)
    for view in views:
        view.flags.writeable = False
    return views


def twin(cpu: F, gpu: F, dtypes: tuple[str, ...]) -> F:
    """Pair a CPU function with its CUDA counterpart; the arrays passed in choose.

    The first ``len(dtypes)`` arguments are arrays of these dtypes, the rest plain numbers.
    Both sides get the same check, so a call that works on one works on the other.
    """
    name = cpu.__name__.removesuffix("_cpu")
    arguments = tuple(signature(cpu).parameters)

    @wraps(cpu)
    def dispatch(*values: Any) -> Any:
        if len(values) != len(arguments):
            raise TypeError(f"{name}: takes {', '.join(arguments)}, got {len(values)} arguments")
        arrays = values[: len(dtypes)]
        for argument, array, dtype in zip(arguments, arrays, dtypes, strict=False):
            if array.dtype != dtype or not array.flags.c_contiguous:
                raise TypeError(
                    f"{name}: {argument} must be contiguous {dtype}, got {array.dtype} "
                    f"with strides {array.strides}; convert it with astype({dtype!r}, order='C')"
                )
        sides = ["cpu" if isinstance(array, np.ndarray) else "gpu" for array in arrays]
        if len(set(sides)) > 1:
            raise TypeError(
                f"{name}: arrays live in different memories ({', '.join(sides)}); "
                "move them to one side with to_gpu or to_cpu"
            )
        return (gpu if sides[0] == "gpu" else cpu)(*values)

    dispatch.__name__ = name
    TWINS[name] = (cpu, gpu)
    return cast(F, dispatch)


def cuda_source(source: str) -> str:
    """Return the text that CUDA compiles for ``<source>.cu``, its headers put in."""
    text = '#include "portable.cuh"\n' + (HERE / f"{source}.cu").read_text()
    return re.sub(r'#include "(\w+\.cuh)"\n', lambda found: (HERE / found[1]).read_text(), text)


@cache
def cuda_function(source: str, name: str) -> Any:
    """Compile ``<source>.cu`` on first use and return its kernel ``name``."""
    return cupy.RawModule(code=cuda_source(source), options=CUDA_OPTIONS).get_function(name)


def launch(kernel: Any, rows: int, *arguments: Any) -> None:
    """Run ``kernel`` with one thread per row; the kernel's own loop takes the rest."""
    if rows:
        kernel((min(-(-rows // THREADS), MOST_BLOCKS),), (THREADS,), arguments)
