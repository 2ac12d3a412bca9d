"""Tasks that fail or kill their worker; they import little, as each new worker imports it."""

import os
import signal


def runs_of(folder, item):
    """Note a run of an item; return how many there have been."""
    (folder / f"{item}-{len(list(folder.iterdir()))}").touch()
    return len(list(folder.glob(f"{item}-*")))


def failing(folder, error, times, item):
    runs = runs_of(folder, item)
    if item == 2 and runs <= times:
        raise error
    return item * item


def deadly(folder, times, item):
    runs = runs_of(folder, item)
    if item == 2 and runs <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return item * item


def killed_once(mark, function, item):
    """Run a task to its end, then kill the worker before its result is told: once."""
    if not mark.exists():
        mark.touch()
        (mark.parent / f"{mark.name}.pid{os.getpid()}").touch()
        function(item)
        os.kill(os.getpid(), signal.SIGKILL)
    return function(item)
