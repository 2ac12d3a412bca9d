"""A program run in a process of its own: what it may use, what it held, and what it leaves.

Imports as little as it can, so that what a process holds is its own program's.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from os import sched_getaffinity
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np

POLL_S = 0.05
ROOT = Path(__file__).parent.parent


def cores() -> int:
    """Return how many processors this process may use."""
    return len(sched_getaffinity(0))


def peak_memory(process: int | None = None) -> int:
    """Return the most resident bytes a process (this one) has held since its program began, or 0.

    Of Linux's figures, ``VmHWM``: ``ru_maxrss`` would count what the parent held when it forked.
    """
    status = Path("/proc", str(process or "self"), "status")
    try:
        lines = status.read_text().splitlines()
    except OSError:  # no such process any more, or no such file system
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def forget_peak() -> int:
    """Let :func:`peak_memory` of this process count from now; return the bytes held now.

    Where the system does not allow it, it goes on counting from the program's begin.
    """
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()


def peers_python() -> str:
    """Return the Python that peers run with: ``PEERS_PYTHON`` of the environment, or this one."""
    return os.environ.get("PEERS_PYTHON", sys.executable)


def apart(command: Sequence[str], answer: Path, most_s: float) -> dict[str, Any]:
    """Run a command that leaves an answer (:func:`leave`), and return its figures and arrays.

    Args:
        command: the program and its arguments.
        answer: the file it writes. While it works it may touch ``<answer>.begun``, which gives it
            its time again: to prepare first, then to work.
        most_s: seconds after which it is killed, from its start and once more from its begin.

    Returns:
        The arrays by name, and ``figures``; of a process that failed or was killed ``status`` and
        ``peak_bytes`` alone.
    """
    begun, errors = Path(f"{answer}.begun"), Path(f"{answer}.stderr")
    with errors.open("wb") as stderr:
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=stderr)
        end, has_begun, peak = monotonic() + most_s, False, 0
        while child.poll() is None:
            peak = max(peak, peak_memory(child.pid))
            if not has_begun and begun.exists():
                has_begun, end = True, monotonic() + most_s
            if monotonic() > end:
                child.kill()
                child.wait()
                stage = "work" if has_begun else "preparation"
                status = f"KILLED: {most_s:g} s of {stage}"
                return {"figures": {"status": status, "peak_bytes": peak}}
            sleep(POLL_S)
    if not answer.exists():
        lines = errors.read_text(errors="replace").strip().splitlines() or ["no message"]
        status = f"FAILED: exit status {child.returncode}: {lines[-1]}"
        return {"figures": {"status": status, "peak_bytes": peak}}
    with np.load(answer) as file:
        return {**{n: file[n] for n in file if n != "figures"},
                "figures": json.loads(str(file["figures"]))}  # fmt: skip


def leave(answer: str, figures: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write figures and arrays to a file that appears when it is whole."""
    part = Path(f"{answer}.part")
    with part.open("wb") as file:
        np.savez(file, figures=json.dumps(figures), **arrays)
    part.rename(answer)
