"""Arrays in, arrays out: each operation for the CPU and for CUDA; the arrays choose."""

from kernels.bursts import bursts
from kernels.choose import choose, curve, within
from kernels.choose_pairs import choose_pairs, curve_pairs
from kernels.contact_windows import latest_burst, most_in_window
from kernels.fatigue import fatigue
from kernels.grouped import grouped
from kernels.hours import hours
from kernels.households import choose_households, curve_households
from kernels.lifetime import lifetime
from kernels.open_case import open_case
from kernels.planned import choose_planned, curve_planned, spans
from kernels.ranges import disordered, events_until, ranges
from kernels.repeats import repeats
from kernels.run_out import run_out
from kernels.saturation import saturation
from kernels.summary import summarised

__all__ = [
    "bursts", "choose", "choose_households", "choose_pairs", "choose_planned", "curve",
    "curve_households", "curve_pairs", "curve_planned", "disordered", "events_until", "fatigue",
    "grouped", "hours", "latest_burst", "lifetime", "most_in_window", "open_case", "ranges",
    "repeats", "run_out", "saturation", "spans", "summarised", "within",
]  # fmt: skip
