"""A command that is ended from outside: nobody reads it, Ctrl-C, killed, a full disk."""

import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from jobs.stages import STORE
from tests.test_cli import allocated, job, output_of, runs_in, walras

__all__ = ["allocated", "job"]  # fixtures

ROOT = Path(__file__).parent.parent


def unread(stream, *arguments):
    """Run the command while nobody reads one of its streams; return how it ended."""
    read, write = os.pipe()
    os.close(read)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: write}
    command = [sys.executable, "-m", "jobs", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, text=True, **streams)
    os.close(write)
    return done


@pytest.mark.parametrize("arguments", ["settings", "settings --json", "version", "--help"])
def test_whoever_stops_reading_is_left_in_peace(arguments):
    done = unread("stdout", *arguments.split())
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("manner", [(), ("--json",)])
def test_a_run_whose_result_nobody_reads_is_whole(job, manner):
    done = unread("stdout", "run", job, "--quiet", *manner)
    assert (done.returncode, done.stderr) == (141, "")
    (folder,) = runs_in(output_of(job))
    assert (folder / "report.html").exists()


def test_a_run_whose_progress_nobody_reads_ends_and_leaves_nothing(job):
    done = unread("stderr", "run", job)
    assert (done.returncode, done.stdout) == (141, "")
    assert runs_in(output_of(job)) == [] and list((output_of(job) / STORE).iterdir()) == []


def start(job, patch, **options):
    """Start the command in a process of its own, some code of it replaced."""
    code = textwrap.dedent(patch) + f"\nimport sys\nsys.argv = ['walras', 'run', {str(job)!r}]\n"
    code += "from jobs.cli import main\nmain()\n"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


SLEEPY = """
    import time
    from jobs import stages

    def ingest(job, folder, tasks):
        (folder / "half").write_text("half")
        print("begun", flush=True)
        tasks.map("sleep", time.sleep, [0, 50, 50])

    stages.stage_function = lambda name: ingest
"""


def test_ctrl_c_ends_a_running_job_soon_and_leaves_nothing(job):
    process = start(job, SLEEPY)
    assert process.stdout.readline() == "begun\n"
    time.sleep(1.0)  # until the tasks sleep
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=40)
    assert process.returncode == 130
    assert time.monotonic() - began < 30
    assert said.splitlines()[-1].startswith("interrupted: nothing half-written is left")
    assert list((output_of(job) / STORE).iterdir()) == []


def test_a_killed_job_leaves_nothing_that_looks_finished(job, allocated):
    process = start(job, SLEEPY)
    process.stdout.readline()
    process.kill()
    process.communicate()
    (left,) = (output_of(job) / STORE).iterdir()
    assert left.name.startswith(".tmp-") and (left / "half").exists()
    assert walras("run", job).exit_code == 0
    assert not left.exists()


def test_a_full_disk_is_one_message(job):
    def no_room():  # a file may have so many bytes: the write that goes on fails as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))

    process = start(job, "", preexec_fn=no_room, env={**os.environ, "NUMBA_DISABLE_JIT": "1"})
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "is full" in said.splitlines()[-1] and "Traceback" not in said
    assert runs_in(output_of(job)) == [] and list((output_of(job) / STORE).iterdir()) == []
