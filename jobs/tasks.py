"""How a stage runs its per-partition functions and tells what it is doing."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from engine.parts import Here, Parts
from jobs.memory import Memory, here

T = TypeVar("T")
R = TypeVar("R")


class Tasks(Protocol):
    """What a stage may ask of its surroundings."""

    def map(
        self,
        label: str,
        function: Callable[[T], R],
        items: Sequence[T],
        rows: Callable[[R], int] | None = None,
        named: Callable[[T], str] = str,
    ) -> list[R]:
        """Run ``function`` on every item, on the cluster; return results in order of the items.

        Args:
            label: what is done, for people, such as "ingest usage".
            function: a picklable function of one item (module level, or a partial of one).
            items: the items, small and picklable (paths and settings, never tables).
            rows: rows that a result stands for, for the progress display.
            named: the files of an item, for people; asked when the machine failed it repeatedly.
        """

    def keep(
        self, label: str, function: Callable[[T], R], items: Sequence[T], rows: Callable[[R], int]
    ) -> Parts:
        """Run ``function`` on every item and leave each result where it was made.

        Args:
            label: as in :meth:`map`.
            function: as in :meth:`map`, and pure: a lost worker's results are made again.
            items: as in :meth:`map`.
            rows: as in :meth:`map`.
        """

    def memory(self) -> Memory:
        """Return what the processes that run tasks hold, this one included."""

    def tell(self, label: str, **figures: Any) -> None:
        """Show a step that is not a map, with its figures: ``tell("solve", gap=1e-3)``."""


class SerialTasks:
    """Tasks run one by one in this thread, in silence."""

    def map(
        self,
        label: str,
        function: Callable[[T], R],
        items: Sequence[T],
        rows: Callable[[R], int] | None = None,
        named: Callable[[T], str] = str,
    ) -> list[R]:
        return [function(item) for item in items]

    def keep(
        self, label: str, function: Callable[[T], R], items: Sequence[T], rows: Callable[[R], int]
    ) -> Parts:
        return Here(self.map(label, function, items, rows))

    def memory(self) -> Memory:
        return Memory(*here(), processes=1, at_once=1)

    def tell(self, label: str, **figures: Any) -> None:
        pass
