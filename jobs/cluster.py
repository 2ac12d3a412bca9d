"""Where tasks run: threads or processes of this machine, its GPUs, or an existing scheduler.

Results never depend on the kind of cluster, nor on its number of workers: a task is a function
of one item, and results come back in the order of the items.
"""

import gc
import logging
import math
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property, partial
from importlib.util import find_spec
from multiprocessing import resource_tracker
from typing import Any, TypeVar

import dask
import distributed
import pyarrow as pa
from threadpoolctl import threadpool_limits

from engine import tables
from engine.errors import ConfigError
from engine.settings.job import AddressCluster, Cluster, LocalCluster, LocalCudaCluster
from jobs.attempts import LIVES, Attempts
from jobs.manifest import versions
from jobs.memory import Memory, here
from jobs.spread import telling_losses
from kernels import backend
from kernels.threads import MOST_THREADS, VARIABLE

T = TypeVar("T")
R = TypeVar("R")

CONNECT_S = 10
CLOSE_S, PATIENT_S = 3, 30
# Arrow's pool, OpenMP, BLAS and our kernels read these when a worker process starts.
# No dashboard: only a port of this machine's own, any free one, as several runs may be under way.
QUIET = {
    "dashboard_address": "127.0.0.1:0",
    "scheduler_kwargs": {"dashboard": False},
    "silence_logs": logging.CRITICAL,
}
# The solver's tables go with its tasks; partitions stay where they are, unless a worker is lost.
GRAPHS = {
    "distributed.admin.large-graph-warning-threshold": "1GB",
    "distributed.scheduler.work-stealing": False,
}
POOLS = (
    VARIABLE,
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def local_options(settings: LocalCluster) -> dict[str, Any]:
    """Return what ``distributed.LocalCluster`` is called with.

    Threads: one worker of N threads in this process, without a memory limit, as its memory is
    this process's. Processes: N workers of one thread.
    """
    workers = settings.workers or len(os.sched_getaffinity(0))
    shape = {"n_workers": workers, "threads_per_worker": 1, "env": dict.fromkeys(POOLS, "1")}
    if not settings.processes:
        shape = {"n_workers": 1, "threads_per_worker": workers, "memory_limit": 0}
    return {
        **shape,
        "processes": settings.processes,
        **QUIET,
    }


def cuda_options(settings: LocalCudaCluster) -> dict[str, Any]:
    """Return what ``dask_cuda.LocalCUDACluster`` is called with: one worker per device."""
    return {
        "rmm_pool_size": settings.rmm_pool_share,
        "rmm_allocator_external_lib_list": "cupy",
        "enable_cudf_spill": settings.spill,
        "threads_per_worker": 1,
        **QUIET,
    }


def frames(settings: Cluster) -> tables.Backend:
    """Return the library that owns the tables on this kind of cluster."""
    return "cudf" if settings.kind == "local-cuda" else "pandas"


class Workers:
    """A Dask cluster that starts when it gets its first task."""

    def __init__(self, settings: Cluster, stack: ExitStack) -> None:
        self._settings = settings
        self._stack = stack

    @cached_property
    def client(self) -> Any:
        client = _start(self._settings, self._stack)
        if self.are_apart:
            client.register_plugin(_Adopts(frames(self._settings)))
        return client

    @property
    def are_apart(self) -> bool:
        """Whether the workers have memory of their own, so that partitions stay with them."""
        return self._settings.kind != "local" or self._settings.processes

    def run(
        self,
        function: Callable[[T], R],
        items: Sequence[T],
        seen: Callable[[R], None],
        named: Callable[[T], str] = str,
    ) -> list[R]:
        """Run ``function`` on every item; call ``seen`` with each result as it comes.

        Tasks that the machine fails are run again, see :mod:`jobs.attempts`.

        Raises:
            Exception: the first that a task raised, as it was; the other tasks are cancelled.
            EngineError: when the machine failed an item again and again: ``named`` gives its files.
            ConfigError: when the scheduler was lost.
        """
        with telling_losses():
            return Attempts(self.client, function, items, seen, named).results()

    def peak_bytes(self) -> int:
        """Return the peak memory of this process, and of its worker processes if it has any."""
        started = "client" in self.__dict__
        return self.memory().peak if started else here()[1]

    def memory(self) -> Memory:
        """Return what this process holds, and its worker processes if it has any."""
        found = [here()]
        if self.are_apart:
            found += self.client.run(here).values()
        threads = sum(self.client.nthreads().values())
        held, peak = (sum(each) for each in zip(*found, strict=True))
        limit = {} if self._settings.kind != "address" else {"limit": math.inf}
        return Memory(held, peak, len(found), threads, **limit)


@contextmanager
def cluster(settings: Cluster) -> Iterator[Workers]:
    """Give workers of the kind that ``settings`` names, and take them down at the end.

    Raises:
        ConfigError: when this machine cannot give such a cluster, naming what is missing.
    """
    level = logging.getLogger("distributed").level
    cpus = pa.cpu_count()
    if isinstance(settings, LocalCudaCluster):
        _require_cuda()
    with (
        ExitStack() as stack,
        dask.config.set({"dataframe.backend": frames(settings), **GRAPHS, **LIVES}),
        # One BLAS thread: its sums do not depend on the number of processors then.
        threadpool_limits(1, user_api="blas"),
    ):
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        # Dask drops heartbeats of its own when it closes, and asyncio reports them long after. What
        # a task raises reaches the caller through its result, never through this logger.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        stack.callback(logging.getLogger("distributed").setLevel, level)
        if isinstance(settings, LocalCluster) and settings.workers:
            pa.set_cpu_count(settings.workers)
            stack.callback(pa.set_cpu_count, cpus)
            stack.callback(MOST_THREADS.reset, MOST_THREADS.set(settings.workers))
        yield Workers(settings, stack)


class _Adopts(distributed.WorkerPlugin):  # type: ignore[misc]
    """Gives worker processes, later ones too, the caller's dataframe backend."""

    name = "walras-dataframe-backend"

    def __init__(self, backend_name: str) -> None:
        self.backend_name = backend_name

    def setup(self, worker: Any) -> None:
        dask.config.set({"dataframe.backend": self.backend_name})


def _start(settings: Cluster, stack: ExitStack) -> Any:
    if isinstance(settings, AddressCluster):
        return _connect(settings, stack)
    if isinstance(settings, LocalCudaCluster):
        from dask_cuda import LocalCUDACluster

        with _deaf_to_ctrl_c():
            workers = LocalCUDACluster(**cuda_options(settings))
    else:
        with _deaf_to_ctrl_c():
            workers = distributed.LocalCluster(**local_options(settings))
    stack.push(partial(_close, workers))
    client = distributed.Client(workers, set_as_default=False)
    stack.push(partial(_close, client))
    return client


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Start processes that do not hear Ctrl-C: this one does, and takes them down in order."""
    resource_tracker.ensure_running()  # it unblocks signals when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _connect(settings: AddressCluster, stack: ExitStack) -> Any:
    client, why = None, ""
    try:
        client = distributed.Client(settings.address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, ImportError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
    if client is None:
        gc.collect()  # finalises what was made of the client here; in a new loop it may lock
        raise ConfigError(
            f"cluster.address: no Dask scheduler answers within {CONNECT_S} s ({why}), got "
            f"{settings.address!r}; give the address that the scheduler prints, such as "
            "tcp://scheduler:8786"
        )
    stack.push(partial(_close, client))
    if not client.scheduler_info()["workers"]:
        raise ConfigError(
            f"cluster.address: the scheduler has no workers, got {settings.address!r}; "
            "start `dask worker` with the same walras installed"
        )
    _require_same(client)
    return client


def _require_same(client: Any) -> None:
    """Raise unless the scheduler and its workers have all versions that shape a result as here."""
    found = client.run(versions, on_error="return")
    try:
        found["the scheduler"] = client.run_on_scheduler(versions)
    except Exception as error:  # noqa: BLE001 (what it raised there: walras may be missing)
        found["the scheduler"] = error
    ours = versions()
    other = {place: theirs for place, theirs in found.items() if theirs != ours}
    if other:
        place, theirs = next(iter(other.items()))
        raise ConfigError(
            f"cluster.address: {len(other)} of {len(found)} processes differ from this one, such "
            f"as {place}: {_difference(theirs, ours)}; install the same walras, Python and "
            "libraries on scheduler and workers"
        )


def _difference(theirs: Mapping[str, str] | Exception, ours: Mapping[str, str]) -> str:
    if isinstance(theirs, Exception):
        return f"walras cannot be imported ({' '.join(str(theirs).split())})"
    names = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    return ", ".join(f"{n} {theirs.get(n, 'missing')}, not {ours.get(n, 'missing')}" for n in names)


def _close(resource_: Any, kind: type[BaseException] | None, *_: Any) -> None:
    """Close a client or cluster: patiently after a result, at once after an interruption.

    A cluster that is closed while it makes up for a dead worker may wait for it without end; its
    processes end with this one.
    """
    if kind is None or issubclass(kind, Exception):
        with suppress(TimeoutError):
            resource_.close(timeout=PATIENT_S)
        return
    with suppress(Exception):  # running threads cannot be stopped, and shall not be waited for
        resource_.close(timeout=CLOSE_S)


def _require_cuda() -> None:
    missing = _missing(
        {name: find_spec(name) is not None for name in ("cudf", "dask_cuda", "cupy")},
        has_gpu=backend.HAS_GPU,
    )
    if missing:
        raise ConfigError(
            f"cluster.kind: local-cuda cannot run here, {missing}; "
            "install walras[gpu] on a machine with an NVIDIA GPU, or use kind: local"
        )


def _missing(packages: Mapping[str, bool], *, has_gpu: bool) -> str:
    """Say what a CUDA cluster lacks; empty when nothing."""
    absent = [name for name, present in packages.items() if not present]
    if absent:
        return f"missing packages: {', '.join(absent)}"
    return "" if has_gpu else "missing driver or device: CuPy sees no NVIDIA GPU"
