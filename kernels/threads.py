"""Loops over rows, done by several threads of this process."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T", bound=tuple[Any, ...])
CHUNK = 32_768  # subscribers a thread takes at a time
LIGHT_CHUNK = 1 << 17  # where a subscriber costs next to nothing
VARIABLE = "WALRAS_NUM_THREADS"  # of the environment: most threads of a process that tasks share
MOST_THREADS = ContextVar("MOST_THREADS", default=int(os.environ.get(VARIABLE, "0")))
"""Most threads; 0: one per processor of this process."""
MANY = 4  # tasks a thread: so many keep all threads busy to the end
_here = threading.local()  # ``is_busy`` in the threads that do tasks


def _mark() -> None:
    _here.is_busy = True


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, initializer=_mark)


os.register_at_fork(after_in_child=_threads.cache_clear)  # a forked process has no threads


def _count() -> int:
    """Return how many threads may work here; one where a thread already does a task."""
    if getattr(_here, "is_busy", False):
        return 1
    processors = len(os.sched_getaffinity(0))  # those of the machine may be more
    return min(MOST_THREADS.get() or processors, processors)


def each_task(work: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Any]:
    """Return ``work(task)`` of every task, done by several threads."""
    count = _count()
    if len(tasks) <= 1 or count == 1:
        return [work(task) for task in tasks]
    return list(_threads(count).map(work, tasks))


def each_whole(work: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Any]:
    """Return ``work(task)`` of tasks that themselves use threads: each by one if they are many."""
    if len(tasks) < MANY * _count():
        return [work(task) for task in tasks]
    return each_task(work, tasks)


def each_chunk(rows: int, work: Callable[[int, int], Any], chunk: int = CHUNK) -> list[Any]:
    """Return ``work(begin, end)`` of every run of rows, done by several threads."""
    if _count() == 1:
        return [work(0, rows)] if rows else []
    return each_task(lambda low: work(low, min(low + chunk, rows)), range(0, rows, chunk))


def added_chunks(rows: int, work: Callable[[int, int], T], empty: Callable[[], T], chunk: int) -> T:
    """Return the sums of the arrays that :func:`each_chunk` gives, from empty ones."""
    total = empty()
    for part in each_chunk(rows, work, chunk):
        for whole, more in zip(total, part, strict=True):
            whole += more
    return total


def chunk_of(rows: int, *, width: int) -> int:
    """Return how many rows a thread takes at a time: few where the rows are few or costly."""
    return min(CHUNK, max(1_024, rows // 8 if width > 1 else rows // 4))
