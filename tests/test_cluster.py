"""Tasks give the same results, in order and with their own errors, on every kind of cluster."""

import gc
import logging
import os
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from io import StringIO
from pathlib import Path

import dask
import distributed
import pytest
from rich.console import Console
from rich.progress import Progress, TextColumn

from engine.errors import ConfigError, DataError
from engine.settings.job import AddressCluster, LocalCluster, LocalCudaCluster
from jobs import cluster as clusters
from jobs import progress
from jobs.cluster import cluster, cuda_options, local_options
from jobs.memory import here
from jobs.progress import Lines, Live, ShownTasks, Silent, display
from kernels.threads import CHUNK, each_chunk

ROOT = Path(__file__).parents[1]
THREADS = LocalCluster(workers=2)
PROCESSES = LocalCluster(workers=2, processes=True)


def slow_square(number):
    time.sleep(0.02 * (3 - number % 4))  # later items end first
    return number * number


def refuse_two(number):
    if number == 2:
        raise DataError("table: row 2 is wrong, got 2")
    return number


def environment(_):
    return os.getpid(), os.environ["OMP_NUM_THREADS"], dask.config.get("dataframe.backend")


BOTH = threading.Barrier(2, timeout=10)
RUNNING, RELEASE = threading.Event(), threading.Event()


def meet(_):
    """Pass only when two tasks run at once."""
    BOTH.wait()
    return os.getpid()


def wait(seconds):
    if seconds:
        RUNNING.set()
        RELEASE.wait(seconds)


def run_tasks(workers):
    tasks = ShownTasks(workers, Silent())
    for size in (0, 1, 2, 9):
        assert tasks.map("square", slow_square, range(size)) == [n * n for n in range(size)]
    with pytest.raises(DataError, match=r"^table: row 2 is wrong, got 2$"):
        tasks.map("refuse", refuse_two, range(50))
    assert tasks.map("again", slow_square, [3]) == [9]


def test_threads_give_results_in_order_and_errors_as_they_are():
    with cluster(THREADS) as workers:
        run_tasks(workers)
        assert workers.peak_bytes() >= here()[1] > 10_000_000


def test_processes_do_too():
    with cluster(PROCESSES) as workers:
        run_tasks(workers)
        found = workers.run(environment, range(8), lambda result: None)
        pids, threads, backends = zip(*found, strict=True)
        assert os.getpid() not in pids
        assert set(threads) == {"1"} and set(backends) == {"pandas"}
        assert workers.peak_bytes() > here()[1]


def test_items_are_never_taken_for_anything_else():
    odd = ["square-1", ("square", 1), (str, 5), {"a": [1]}, None, b"x"]
    with cluster(THREADS) as workers:
        first = workers.run(repr, odd, lambda result: None)
        assert first == [repr(item) for item in odd]


def test_threads_are_as_many_as_asked_and_in_this_process():
    with cluster(THREADS) as workers:
        assert set(workers.run(meet, range(4), lambda result: None)) == {os.getpid()}


def threads_of_a_pass():
    """Return how many threads a pass of the solver's kernel takes, which run in this process."""
    seen = set()

    def work(begin, end):
        seen.add(threading.get_ident())
        time.sleep(0.01)

    each_chunk(12 * CHUNK, work)
    return len(seen)


def test_the_solver_takes_as_many_threads_as_workers_and_processors_allow(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 5})
    assert threads_of_a_pass() == 3
    for settings, threads in ((THREADS, 2), (PROCESSES, 2), (LocalCluster(workers=4), 3)):
        with cluster(settings):
            assert threads_of_a_pass() == threads
    assert threads_of_a_pass() == 3


def test_a_cluster_starts_with_its_first_task_and_leaves_nothing(monkeypatch):
    level = logging.getLogger("distributed").level
    before = set(threading.enumerate())
    with cluster(THREADS) as workers:
        assert "client" not in vars(workers)
        assert dask.config.get("dataframe.backend") == "pandas"
    assert logging.getLogger("distributed").level == level
    assert set(threading.enumerate()) == before


def test_after_an_interruption_running_tasks_are_not_waited_for():

    def interrupt(_):
        assert RUNNING.wait(10)
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), cluster(THREADS) as workers:
        workers.run(wait, [0, 60], interrupt)
    assert time.monotonic() - began < 20
    RELEASE.set()


def test_an_existing_scheduler_is_used_and_kept():
    with distributed.LocalCluster(**local_options(THREADS), scheduler_port=0) as running:
        address = running.scheduler_address
        # An address of another process would be tcp://; the scheduler is the same.
        with cluster(AddressCluster(kind="address", address=address)) as workers:
            assert workers.run(slow_square, [2, 3], lambda result: None) == [4, 9]
        assert running.scheduler.status.name == "running"


WORKER = """
import sys
{spoil}
from distributed.cli.dask_worker import main
main([sys.argv[1], "--no-nanny", "--nthreads", "1", "--no-dashboard"])
"""


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            "from jobs import manifest; manifest._installed = lambda name: '9'",
            rf"1 of 2 processes differ from this one, such as tcp://\S+: walras 9\+\S+, not \S+, "
            rf"dask 9, not {dask.__version__}, .*numpy 9, not .*; install the same walras, Python",
        ),
        ("sys.modules['jobs'] = None", r"such as tcp://\S+: walras cannot be imported \(.*jobs"),
        ("", ""),
    ],
    ids=["other versions", "no walras", "the same"],
)
def test_workers_of_a_scheduler_must_have_the_same_versions(spoil, said):
    options = {"n_workers": 0, "processes": True, **clusters.QUIET}
    with distributed.LocalCluster(**options) as running:
        address = running.scheduler_address
        words = [sys.executable, "-c", WORKER.format(spoil=spoil), address]
        worker = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            with distributed.Client(address, set_as_default=False) as client:
                client.wait_for_workers(1, timeout=60)
            refused = pytest.raises(ConfigError, match=said) if said else nullcontext()
            with refused, cluster(AddressCluster(kind="address", address=address)) as workers:
                assert workers.run(abs, [-2, -3], lambda result: None) == [2, 3]
        finally:
            worker.kill()
            worker.wait()


def test_a_scheduler_without_walras_is_a_clear_error():
    class Client:
        def run(self, function, on_error):
            return {"tcp://a:1": function()}

        def run_on_scheduler(self, function):
            raise ModuleNotFoundError("No module named 'jobs'")

    with pytest.raises(ConfigError, match=r"1 of 2 .* the scheduler: walras cannot be imported"):
        clusters._require_same(Client())


def clients():
    """Return the identities of the clients there are."""
    return {id(made) for made in gc.get_objects() if isinstance(made, distributed.Client)}


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://x", "tcp://127.0.0.1:port"])
def test_a_scheduler_that_does_not_answer_is_a_clear_error(monkeypatch, address):
    monkeypatch.setattr(clusters, "CONNECT_S", 0.5)
    before = clients()
    with (
        pytest.raises(ConfigError, match=r"^cluster.address: no Dask scheduler answers") as error,
        cluster(AddressCluster(kind="address", address=address)) as workers,
    ):
        workers.run(slow_square, [1], lambda result: None)
    assert f"got {address!r}" in str(error.value)
    assert clients() <= before  # one that is half made may lock the next one's loop


def test_options_of_local_clusters():
    threads, processes = local_options(THREADS), local_options(PROCESSES)
    assert (threads["n_workers"], threads["threads_per_worker"]) == (1, 2)
    assert (processes["n_workers"], processes["threads_per_worker"]) == (2, 1)
    assert processes["env"]["NUMBA_NUM_THREADS"] == "1"
    assert threads["dashboard_address"] == "127.0.0.1:0"
    assert local_options(LocalCluster())["threads_per_worker"] == len(os.sched_getaffinity(0))


def test_options_of_a_cuda_cluster():
    options = cuda_options(LocalCudaCluster(kind="local-cuda", rmm_pool_share=0.7, spill=False))
    assert options["rmm_pool_size"] == 0.7
    assert options["enable_cudf_spill"] is False
    assert options["rmm_allocator_external_lib_list"] == "cupy"
    assert clusters.frames(LocalCudaCluster(kind="local-cuda")) == "cudf"


@pytest.mark.parametrize(
    ("present", "has_gpu", "said"),
    [
        ((), True, "missing packages: cudf, dask_cuda, cupy"),
        (("cudf", "cupy"), True, "missing packages: dask_cuda"),
        (("cudf", "dask_cuda", "cupy"), False, "missing driver or device: CuPy sees no NVIDIA GPU"),
    ],
)
def test_what_a_cuda_cluster_lacks_is_named(monkeypatch, present, has_gpu, said):
    monkeypatch.setattr(clusters, "find_spec", lambda name: name in present or None)
    monkeypatch.setattr(clusters.backend, "HAS_GPU", has_gpu)
    with (
        pytest.raises(ConfigError) as error,
        cluster(LocalCudaCluster(kind="local-cuda")),
    ):
        pass
    assert f"cluster.kind: local-cuda cannot run here, {said}; install walras[gpu]" in str(
        error.value
    )


@pytest.mark.gpu
def test_a_cuda_cluster_runs_tasks_on_its_devices():
    with cluster(LocalCudaCluster(kind="local-cuda", rmm_pool_share=0.2)) as workers:
        found = workers.run(environment, [1, 2], lambda result: None)
    assert {backend for _, _, backend in found} == {"cudf"}


def test_plain_lines_are_one_per_finished_step_and_rare_in_between(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    text = StringIO()

    class Steps:
        def run(self, function, items, seen, named):
            for item in items:
                now[0] += 0.5
                seen(item)
            return list(items)

    tasks = ShownTasks(Steps(), Lines(Console(file=text)))
    tasks.map("ingest usage", None, range(8), lambda result: 1_000)
    tasks.map("ingest nothing", None, [])
    for step in range(7):
        now[0] += 0.5
        tasks.tell("solve", gap=10.0**-step, active=1_000 * step)
    tasks.tell("round")
    tasks.note("allocate: done in 3.5 s")
    lines = [line.split(" ", 1)[1] for line in text.getvalue().splitlines()]
    assert lines == [
        "ingest usage: 4 of 8 · 4,000 rows · 2,000 rows/s",
        "ingest usage: 8 of 8 · 8,000 rows · 2,000 rows/s",
        "solve: gap 0.001 · active 3,000",
        "solve: gap 1e-06 · active 6,000",
        "round",
        "allocate: done in 3.5 s",
    ]


def test_the_live_display_shows_the_running_step_and_keeps_finished_ones():
    text = StringIO()
    console = Console(file=text, force_terminal=True, width=120)
    bar = Progress(TextColumn("{task.description}"), TextColumn("{task.fields[text]}"),
                   console=console)  # fmt: skip
    shown = ShownTasks(None, Live(bar))
    with bar:
        shown.tell("solve", gap=0.25, value=12_345.5)
        assert [task.fields["text"] for task in bar.tasks] == ["gap 0.25 · value 12,345.50"]
        shown.note("allocate: done in 1.0 s")
        assert bar.tasks == []
    assert "  solve: gap 0.25 · value 12,345.50, 0.0 s" in text.getvalue()


def test_quiet_shows_nothing_and_no_terminal_shows_lines(capsys):
    for quiet, expected in ((True, ""), (False, "ingest: reused")):
        with display(quiet=quiet) as shown:
            shown.note("ingest: reused")
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.strip().endswith(expected)


def test_a_cluster_that_does_not_close_is_left_behind():
    class Stuck:
        def close(self, timeout=None):
            assert timeout is not None, "it would wait without end"
            raise TimeoutError

    clusters._close(Stuck(), None)
    clusters._close(Stuck(), DataError)
    clusters._close(Stuck(), KeyboardInterrupt)
