"""Where partitions are: in this process, or each on the worker that made it.

What needs all subscribers asks each partition by a plain function of its item and adds up what
comes back. So the same code serves both, and only small things move. Functions are pure and of
module level: what a lost worker held is made again by calling them again, with the same bits.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class Dealt:
    """An argument that has one item for each partition, in their order."""

    items: Sequence[Any]


class Parts(ABC):
    """One item of each partition, in their order.

    An argument of a function may be such items too, or :class:`Dealt`: each partition then gets its
    own. All other arguments are the same for all.
    """

    def __init__(self) -> None:
        self._told: dict[Callable[[Any], Any], list[Any]] = {}

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def map(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """Return ``function(item, *args)`` of each item, here, in order."""

    @abstractmethod
    def keep(self, function: Callable[..., Any], *args: Any) -> "Parts":
        """Return the same, left where the items are."""

    def told(self, function: Callable[[Any], Any]) -> list[Any]:
        """Return what a function tells of each item; each function is asked once."""
        if function not in self._told:
            self._told[function] = self.map(function)
        return self._told[function]

    def __iter__(self) -> Iterator[Any]:
        """Bring all items here."""
        return iter(self.map(_itself))


class Here(Parts):
    """Items in this process."""

    def __init__(self, items: Sequence[Any]) -> None:
        super().__init__()
        self.items = list(items)

    def __len__(self) -> int:
        return len(self.items)

    def map(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """As in :meth:`Parts.map`."""
        own = [_own(arg, len(self)) for arg in args]
        return [function(item, *(o[i] for o in own)) for i, item in enumerate(self.items)]

    def keep(self, function: Callable[..., Any], *args: Any) -> "Here":
        """As in :meth:`Parts.keep`."""
        return Here(self.map(function, *args))


def _own(arg: Any, count: int) -> Sequence[Any]:
    if isinstance(arg, Dealt | Here):
        return arg.items
    return [arg] * count


def _itself(item: Any) -> Any:
    return item


def parts_of(items: Sequence[Any] | Parts) -> Parts:
    """Return partitions as :class:`Parts`."""
    return items if isinstance(items, Parts) else Here(items)


def told(items: Sequence[Any] | Parts, function: Callable[[Any], Any]) -> list[Any]:
    """Return what a function tells of each item, wherever they are."""
    return items.told(function) if isinstance(items, Parts) else [function(i) for i in items]


def at_hand(items: Sequence[Any] | Parts) -> Sequence[Any] | Parts:
    """Return a plain list of items that are here; others stay where they are."""
    return items.items if isinstance(items, Here) else items
