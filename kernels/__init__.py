"""Arrays in, arrays out: each operation for the CPU and for CUDA; the arrays choose."""

from kernels.choose import choose, curve, within
from kernels.choose_pairs import choose_pairs, curve_pairs
from kernels.decay import decayed, trend
from kernels.rhythm import rhythm
from kernels.windows import events_until, windowed

__all__ = [
    "choose", "choose_pairs", "curve", "curve_pairs", "decayed", "events_until", "rhythm", "trend",
    "windowed", "within",
]  # fmt: skip
