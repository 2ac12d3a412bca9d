"""How near an amount is to saturation: half at the scale, half of the rest at twice it."""

import math
from typing import Any

import numpy as np
from numba import njit

from kernels import backend
from kernels.exponential import exponential
from kernels.threads import LIGHT_CHUNK, each_chunk

LN_2 = 0.6931471805599453
FULL, NONE = 64.0, -1_100.0  # halvings after which 1 is left over of 1 - 2 ** -n, and -infinity


@njit(cache=True, nogil=True)
def _saturation(amount: Any, scale: float, out: Any) -> None:
    for r in range(len(amount)):
        halvings = amount[r] / scale
        if halvings != halvings:
            out[r] = halvings
            continue
        halvings = FULL if halvings > FULL else NONE if halvings < NONE else halvings
        whole = math.floor(halvings)
        part = exponential(-LN_2 * (halvings - whole))
        out[r] = 1.0 - math.ldexp(part, -int(whole))


def saturation_cpu(amount: Any, scale: float) -> Any:
    """Return ``1 - 2 ** (-amount / scale)``, exact where the exponent is a whole number.

    The power is within 4 units in the last place, and the same bits on both sides.

    Args:
        amount: [R] float64.
        scale: amount that gives 1 / 2, > 0.

    Returns:
        [R] float64, at most 1; NaN where the amount is, -infinity from about -1,024 scales down.
    """
    out = np.empty(len(amount))
    (amount,) = backend.read_only(amount)

    def work(begin: int, end: int) -> None:
        _saturation(amount[begin:end], float(scale), out[begin:end])

    each_chunk(len(out), work, LIGHT_CHUNK)
    return out


def saturation_gpu(amount: Any, scale: float) -> Any:
    rows = len(amount)
    out = backend.cupy.empty(rows, np.float64)
    kernel = backend.cuda_function("saturation", "saturation")
    backend.launch(kernel, rows, amount, np.float64(scale), np.int64(rows), out)
    return out


saturation = backend.twin(saturation_cpu, saturation_gpu, dtypes=("float64",))
