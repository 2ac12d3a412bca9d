"""The loop of ``planned.py`` that turns caps on runs of days into spans, compiled by Numba."""

from typing import Any

from numba import njit

from kernels.planned_search import DIGIT, LARGEST_DIGIT


@njit(cache=True, nogil=True)
def spans_rows(
    cap: Any, group: Any, first: Any, last: Any, reach: int, begin: int, end: int, out: Any
) -> None:
    for k in range(cap.shape[0]):
        room = cap[k]
        for r in range(1, reach + 1):
            word = out[group[k] * reach + r - 1]
            for d in range(first[k], last[k] + 1):
                shift, more = DIGIT * d, last[k] - d + 1
                for s in range(begin, end):
                    has = word[s] >> shift & LARGEST_DIGIT
                    if room[s] <= r and has < more:
                        word[s] += (more - has) << shift
