"""Tasks that are run again when the machine fails them, and what is said when that does not help.

A task's input can be wrong, which no further run would change: its error ends the map at once. Or
the machine fails it: its worker dies, memory runs out, a disk does not answer. Then it is run
again, ``TRIES`` times in all; tasks write their files whole, so that a run cut short leaves none.

Of the tasks that a dead worker had, one may have killed it and the others may have waited for it.
Dask runs all of them again on another worker and gives up those that have lost ``TRIES`` workers.
Each of these is then run with no other task beside it: one that is lost again is the one to name.
"""

import errno
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Generic, TypeVar

import distributed
from distributed.scheduler import KilledWorker

from engine.errors import ConfigError, DataError, EngineError

T = TypeVar("T")
R = TypeVar("R")

TRIES = 3
LIVES = {
    "distributed.scheduler.allowed-failures": TRIES - 1,  # of a task, beside its first one
    # A worker that died begins anew. Where that takes longer Dask would give it up, and tasks would
    # wait for ever.
    "distributed.deploy.lost-worker-timeout": "24h",
}
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}
ROOM = "use more inputs.partitions or fewer cluster.workers"


class Attempts(Generic[T, R]):
    """The results of a function on items, as far as they have come."""

    def __init__(
        self,
        client: Any,
        function: Callable[[T], R],
        items: Sequence[T],
        seen: Callable[[R], None],
        named: Callable[[T], str],
    ) -> None:
        """Take what is to be done; nothing runs yet.

        Args:
            client: of the cluster.
            function: what is run on every item; its files are whole or not there.
            items: small and picklable.
            seen: called with each result as it comes.
            named: the files of an item, for people.
        """
        self._client, self._seen, self._named = client, seen, named
        self._items = items
        # A task is one opaque call, so that no item is taken for a Dask key.
        self._calls = [partial(function, item) for item in items]
        self._results: dict[int, R] = {}
        self._failures: Counter[int] = Counter()

    def results(self) -> list[R]:
        """Run all; return the results in order of the items.

        Raises:
            Exception: the first that a task raised, as it was, unless the machine failed it.
            EngineError: the machine failed one item ``TRIES`` times.
        """
        while left := [i for i in range(len(self._calls)) if i not in self._results]:
            for suspect in self._run(left):
                if self._run([suspect]):
                    raise ConfigError(
                        f"{self._named(self._items[suspect])}: the worker died each time that this "
                        f"was tried, {TRIES} times and more, most often for want of memory; {ROOM}"
                    )
        return [self._results[i] for i in range(len(self._calls))]

    def _run(self, indices: Sequence[int]) -> list[int]:
        """Run these items until all are done or Dask gives some up; return those."""
        place: dict[str, int] = {}
        futures = self._submit(indices, place)
        completed = distributed.as_completed(futures, loop=self._client.loop)
        try:
            for future in completed:
                index = place[future.key]
                try:
                    result = future.result()
                except KilledWorker:
                    return self._given_up(futures, place)
                except (OSError, MemoryError) as error:
                    self._count(index, error)
                    again = self._submit([index], place)
                    futures += again
                    completed.update(again)
                else:
                    self._results[index] = result
                    self._seen(result)
        finally:
            if any(index not in self._results for index in indices):
                with suppress(Exception):
                    self._client.cancel(futures, force=True)
        return []

    def _submit(self, indices: Iterable[int], place: dict[str, int]) -> list[Any]:
        calls = [self._calls[index] for index in indices]
        futures: list[Any] = self._client.map(_call, calls, pure=False, retries=0)
        place |= {future.key: index for future, index in zip(futures, indices, strict=True)}
        return futures

    def _given_up(self, futures: Iterable[Any], place: dict[str, int]) -> list[int]:
        lost = [
            future
            for future in futures
            if future.status == "error" and isinstance(future.exception(), KilledWorker)
        ]
        return sorted({place[future.key] for future in lost})

    def _count(self, index: int, error: OSError | MemoryError) -> None:
        """Raise unless the item may be tried again."""
        if isinstance(error, OSError) and error.errno in FULL | CLOSED:
            raise error  # a disk that is full or closed stays so
        self._failures[index] += 1
        if self._failures[index] >= TRIES:
            raise _failed(self._named(self._items[index]), error) from error


def _failed(files: str, error: OSError | MemoryError) -> EngineError:
    if isinstance(error, MemoryError):
        return ConfigError(f"{files}: memory ran out {TRIES} times; {ROOM}")
    said = " ".join(str(error).split())
    return DataError(
        f"{files}: the machine failed {TRIES} times, the last time with {type(error).__name__} "
        f"({said}); see to the disk or the network that holds these files and run the job again"
    )


def _call(task: Callable[[], R]) -> R:
    return task()
