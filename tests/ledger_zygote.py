"""A process that forks workers for tests of the ledger: none has used Delta before it forks.

``python -m tests.ledger_zygote`` reads a JSON list of tasks, runs each in a fork of its own, all at
once, and prints a JSON list of how they ended. A task is a list of calls: the name of a fault or of
a command below, and its arguments.
"""

import json
import os
import resource
import signal
import sys
import traceback
from pathlib import Path

from jobs.ledger import book, care, events, files, table

ENDS = {"RefusedError": 5, "DataError": 2, "OSError": 3}


def from_write(number, fault):
    """Have something happen at so manieth write that is made to last; 0: at once."""
    sync, count = table.sync, [0]

    def counted(path):
        count[0] += 1
        if count[0] == number:
            fault()
        sync(path)

    table.sync = files.sync = counted
    if number == 0:
        fault()


def killed(number):
    from_write(number, lambda: os.kill(os.getpid(), signal.SIGKILL))


def limited(number, size, is_killed):
    """From then on no file grows beyond a size: the process dies, or is told of a full disk."""

    def fault():
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if is_killed else signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    from_write(number, fault)


FAULTS = {"killed": killed, "limited": limited}
COMMANDS = {
    "commit": lambda ledger, run: book.book(book.planned(Path(run)), Path(ledger)),
    "outcomes": lambda ledger, file: events.add_outcomes(Path(file), Path(ledger)),
    "compact": lambda ledger: care.compact(Path(ledger)),
    "purge": lambda ledger, day: care.purge(Path(ledger), care.date.fromisoformat(day)),
    "erase": lambda ledger, *keys: care.erase(Path(ledger), keys),
}


def ended(task):
    """Do a task; return how it ended."""
    try:
        for name, *arguments in task:
            {**FAULTS, **COMMANDS}[name](*arguments)
    except Exception as error:  # noqa: BLE001 (its name is what is told)
        if type(error).__name__ not in ENDS:
            traceback.print_exc()
        return ENDS.get(type(error).__name__, 1)
    return 0


def main():
    ends = {}
    for i, task in enumerate(json.loads(sys.stdin.read())):
        child = os.fork()
        if child == 0:
            os._exit(ended(task))
        ends[child] = i
    codes = [0] * len(ends)
    for _ in range(len(ends)):
        child, status = os.wait()
        codes[ends[child]] = os.waitstatus_to_exitcode(status)
    print(json.dumps(codes))


if __name__ == "__main__":
    main()
