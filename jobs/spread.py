"""Partitions on the workers of a Dask cluster: each stays where it was made.

A partition's item is a future. Whatever is asked of it is a task that runs where the item is; only
what the task returns moves, and only if it is wanted here. Tasks are pure functions of futures, so
when a worker is lost Dask makes its items again, from the files if need be, with the same bits.
"""

import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import distributed

from engine.errors import ConfigError
from engine.parts import Dealt, Here, Parts
from kernels.threads import MOST_THREADS

EACH_BYTES = 1 << 15  # arguments of more are sent once, not with each task


@dataclass(frozen=True, eq=False)
class _Call:
    """A function and its arguments; Dask sees neither into it nor takes any part for a key."""

    function: Callable[..., Any]
    shared: bytes | None  # pickled arguments that are the same for all; None: sent once
    own: tuple[Any, ...]  # this partition's
    places: tuple[str, ...]  # of each argument: "all", "own" or "part"

    def on(self, item: Any, parts: tuple[Any, ...], sent: tuple[Any, ...] | None) -> Any:
        same = pickle.loads(self.shared) if self.shared is not None else sent or ()
        source = {"all": iter(same), "own": iter(self.own), "part": iter(parts)}
        token = MOST_THREADS.set(1)  # a worker runs as many tasks at once as it has threads
        try:
            return self.function(item, *(next(source[place]) for place in self.places))
        finally:
            MOST_THREADS.reset(token)


def _run(call: _Call, sent: Any, item: Any, *parts: Any) -> Any:
    return call.on(item, parts, sent)


def _first(call: Callable[[], Any]) -> Any:
    return call()


class Spread(Parts):
    """Items on the workers of a client."""

    def __init__(self, client: Any, futures: Sequence[Any]) -> None:
        """Hold on to the futures: items live as long as something here refers to them."""
        super().__init__()
        self.client, self.futures = client, list(futures)

    def __len__(self) -> int:
        return len(self.futures)

    def map(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """As in :meth:`engine.parts.Parts.map`.

        Raises:
            Exception: the first that a task raised, as it was.
            ConfigError: when workers died again and again, or the scheduler was lost.
        """
        futures = self._submit(function, args)
        with telling_losses():
            found: list[Any] = self.client.gather(futures, direct=True)
        return found

    def keep(self, function: Callable[..., Any], *args: Any) -> "Spread":
        """As in :meth:`engine.parts.Parts.keep`."""
        return Spread(self.client, self._submit(function, args))

    def __iter__(self) -> Iterator[Any]:
        """Bring all items here."""
        with telling_losses():
            return iter(self.client.gather(self.futures, direct=True))

    def _submit(self, function: Callable[..., Any], args: tuple[Any, ...]) -> list[Any]:
        if not self.futures:
            return []
        kinds = tuple(_kind(arg) for arg in args)
        shared = pickle.dumps(tuple(a for a, k in zip(args, kinds, strict=True) if k == "all"))
        sent = None
        if len(shared) > EACH_BYTES:
            sent = self.client.submit(pickle.loads, shared, pure=False)
        dealt = [a.items for a, k in zip(args, kinds, strict=True) if k == "own"]
        alike = None if sent is not None else shared
        calls = [
            _Call(function, alike, tuple(items[i] for items in dealt), kinds)
            for i in range(len(self))
        ]
        parts = [a.futures for a, k in zip(args, kinds, strict=True) if k == "part"]
        futures: list[Any] = self.client.map(
            _run, calls, [sent] * len(self), self.futures, *parts, pure=False
        )
        return futures


def _kind(arg: Any) -> str:
    if isinstance(arg, Spread):
        return "part"
    return "own" if isinstance(arg, Dealt | Here) else "all"


def spread(
    client: Any,
    function: Callable[[Any], Any],
    items: Sequence[Any],
    rows: Callable[[Any], int],
    seen: Callable[[int], None],
) -> Spread:
    """Run a function on every item and leave the results on the workers.

    Args:
        client: of the cluster.
        function: pure, of module level.
        items: small and picklable.
        rows: how many rows a result stands for.
        seen: called with that as each result comes to be.
    """
    calls = [partial(function, item) for item in items]
    kept = Spread(client, client.map(_first, calls, pure=False))
    counted = kept.keep(rows)
    with telling_losses():
        for future in distributed.as_completed(counted.futures, loop=client.loop):
            seen(future.result())
    return kept


@contextmanager
def telling_losses() -> Iterator[None]:
    """Say in a ConfigError that a worker that Dask cannot make up for, or the scheduler, is lost.

    Raises:
        ConfigError: in their place.
    """
    try:
        yield
    except (distributed.scheduler.KilledWorker, CancelledError) as error:
        raise ConfigError(
            f"cluster: a worker or the scheduler was lost ({type(error).__name__}), most often "
            "for want of memory; use fewer cluster.workers or more inputs.partitions"
        ) from error
