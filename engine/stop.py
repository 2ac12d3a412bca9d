"""When a search has to end: at an instant, when its caller says so, or at Ctrl-C.

A search asks between passes, so that it ends with an answer and not in the middle of one.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, TypeVar

Stop = Callable[[], bool] | threading.Event
T = TypeVar("T")
LEAST_S = 1.0  # what a step gets that begins at the last moment


class Deadline:
    """The end of a search."""

    def __init__(self, seconds: float, stop: Stop | None = None) -> None:
        """Start the clock.

        Args:
            seconds: how long the search may take.
            stop: asked between passes: an event that is set, or a callable that returns true,
                ends the search. None: nothing but the clock does.
        """
        self._at = perf_counter() + seconds
        self._stop = stop.is_set if isinstance(stop, threading.Event) else stop
        self._interrupted = False

    def interrupt(self) -> None:
        """End the search at the next question."""
        self._interrupted = True

    @property
    def was_interrupted(self) -> bool:
        """Return whether the search was told to end; once true, always true."""
        if self._stop is not None and not self._interrupted:
            self._interrupted = bool(self._stop())
        return self._interrupted

    def is_over(self) -> bool:
        """Return whether the search has to end."""
        return self.was_interrupted or perf_counter() > self._at

    def listening(self, tell: Callable[[T], None]) -> Callable[[T], None]:
        """Return ``tell`` such that a first KeyboardInterrupt in it ends the search, a second all.

        The first Ctrl-C may come as an exception where the caller listens for it.
        """

        def told(step: T) -> None:
            try:
                tell(step)
            except KeyboardInterrupt:
                if self.was_interrupted:
                    raise
                self.interrupt()

        return told

    def seconds(self) -> float:
        """Return the seconds left, ``LEAST_S`` at least."""
        return LEAST_S if self._interrupted else max(LEAST_S, self._at - perf_counter())

    def later(self, seconds: float) -> "Deadline":
        """Return a deadline no sooner than this one and no sooner than in so many seconds."""
        return Deadline(max(self._at - perf_counter(), seconds), lambda: self.was_interrupted)


@contextmanager
def first_ctrl_c(ask: Callable[[], None]) -> Iterator[None]:
    """Call ``ask`` at the first Ctrl-C, in place of raising KeyboardInterrupt; then as before.

    In threads other than the main one, and where something else listens to Ctrl-C already, nothing
    is changed.

    Args:
        ask: does no more than to remember that it was called.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def heard(*_: Any) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        ask()

    signal.signal(signal.SIGINT, heard)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
