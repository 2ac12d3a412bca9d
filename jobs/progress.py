"""What a person sees while a job runs: a live display, plain log lines, or nothing."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from engine.parts import Here, Parts
from jobs.cluster import Workers
from jobs.memory import Memory
from jobs.spread import spread

T = TypeVar("T")
R = TypeVar("R")

LINE_EVERY_S = 2.0


@dataclass
class Step:
    """One map or one told step, as far as it has come."""

    label: str
    started: float
    total: int = 0
    done: int = 0
    rows: int = 0
    figures: str = ""

    def line(self, now: float) -> str:
        """Return the step with its label."""
        return ": ".join(part for part in (self.label, self.text(now)) if part)

    def text(self, now: float) -> str:
        """Return what has been done, in words and figures."""
        parts = [self.figures] if self.figures else []
        if self.total:
            parts.append(f"{self.done} of {self.total}")
        if self.rows:
            rate = self.rows / max(now - self.started, 1e-3)
            parts += [f"{self.rows:,} rows", f"{rate:,.0f} rows/s"]
        return " · ".join(parts)


class Display(Protocol):
    """Something that shows steps."""

    def show(self, step: Step, *, ended: bool) -> None:
        """Show a step that has moved on, or ended."""

    def note(self, text: str) -> None:
        """Say something that stays."""


class Silent:
    """Shows nothing."""

    def show(self, step: Step, *, ended: bool) -> None:
        pass

    def note(self, text: str) -> None:
        pass


class Lines:
    """Timestamped lines: one per finished step, and at most one per two seconds in between."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = monotonic()

    def show(self, step: Step, *, ended: bool) -> None:
        if ended or monotonic() - self._last >= LINE_EVERY_S:
            self.note(step.line(monotonic()))

    def note(self, text: str) -> None:
        self._last = monotonic()
        stamp = self._console.get_datetime().strftime("%H:%M:%S")
        self._console.print(Text(f"{stamp} {text}"), soft_wrap=True)


class Live:
    """A live display of the running step, with finished ones above it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, Any] = {}

    def show(self, step: Step, *, ended: bool) -> None:
        now = monotonic()
        if ended:
            if step.label in self._bars:
                self._progress.remove_task(self._bars.pop(step.label))
            self.note(f"  {step.line(now)}, {now - step.started:.1f} s")
            return
        if step.label not in self._bars:
            total = step.total or None
            self._bars[step.label] = self._progress.add_task(step.label, total=total, text="")
        self._progress.update(self._bars[step.label], completed=step.done, text=step.text(now))

    def note(self, text: str) -> None:
        self._progress.console.print(Text(text), soft_wrap=True)


class ShownTasks:
    """The tasks of a stage: run on the workers, shown on the display."""

    def __init__(self, workers: Workers, display: Display) -> None:
        self._workers = workers
        self._display = display
        self._told: Step | None = None

    def map(
        self,
        label: str,
        function: Callable[[T], R],
        items: Sequence[T],
        rows: Callable[[R], int] | None = None,
        named: Callable[[T], str] = str,
    ) -> list[R]:
        self.settle()
        if not items:
            return []
        step = Step(label, monotonic(), total=len(items))

        def seen(result: R) -> None:
            step.done += 1
            step.rows += rows(result) if rows else 0
            self._display.show(step, ended=step.done == step.total)

        self._display.show(step, ended=False)
        return self._workers.run(function, items, seen, named)

    def keep(
        self, label: str, function: Callable[[T], R], items: Sequence[T], rows: Callable[[R], int]
    ) -> Parts:
        """As in :meth:`jobs.tasks.Tasks.keep`; workers of this process leave results here."""
        if not self._workers.are_apart:
            return Here(self.map(label, function, items, rows))
        self.settle()
        step = Step(label, monotonic(), total=len(items))

        def seen(count: int) -> None:
            step.done += 1
            step.rows += count
            self._display.show(step, ended=step.done == step.total)

        self._display.show(step, ended=False)
        return spread(self._workers.client, function, items, rows, seen)

    def memory(self) -> Memory:
        return self._workers.memory()

    def tell(self, label: str, **figures: Any) -> None:
        if self._told is None or self._told.label != label:
            self.settle()
            self._told = Step(label, monotonic())
        self._told.figures = " · ".join(f"{k} {_figure(v)}" for k, v in figures.items())
        self._display.show(self._told, ended=False)

    def note(self, text: str) -> None:
        """Say something that stays, after what was told last."""
        self.settle()
        self._display.note(text)

    def settle(self) -> None:
        """End the step that was told last, so that its last figures are shown."""
        if self._told is not None:
            self._display.show(self._told, ended=True)
        self._told = None


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) >= 1_000 or value == 0 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


@contextmanager
def display(*, quiet: bool) -> Iterator[Display]:
    """Give the display that fits: on standard error, live on a terminal, lines elsewhere."""
    console = Console(file=sys.stderr)
    if quiet:
        yield Silent()
    elif not console.is_terminal:
        yield Lines(console)
    else:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console, transient=True) as progress:
            yield Live(progress)
