"""A task that the machine fails is run again; wrong input is told at once."""

import errno
import os
import signal
from functools import partial

import dask
import dask.utils
import pytest

from engine.errors import ConfigError, DataError
from engine.settings import load
from engine.settings.job import LocalCluster
from jobs import profile, score, shuffle
from jobs.attempts import TRIES
from jobs.cluster import cluster
from jobs.ingest import ingest
from jobs.progress import ShownTasks, Silent
from jobs.tasks import SerialTasks
from tests.golden.__main__ import HERE

THREADS = LocalCluster(workers=2)
PROCESSES = LocalCluster(workers=2, processes=True)
FILES = {2: "in/part-00002.parquet"}


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


def run(workers, function, seen=lambda result: None):
    return workers.run(function, range(5), seen, lambda item: FILES.get(item, "another"))


@pytest.mark.parametrize("error", [OSError(errno.EIO, "no answer"), MemoryError()])
def test_a_failure_of_the_machine_is_tried_again_and_named_in_the_end(tmp_path, error):
    few, many = tmp_path / "few", tmp_path / "many"
    few.mkdir()
    many.mkdir()
    seen = []
    with cluster(THREADS) as workers:
        found = run(workers, partial(failing, few, error, TRIES - 1), seen.append)
        assert found == [0, 1, 4, 9, 16] and sorted(seen) == found
        assert len(list(few.glob("2-*"))) == TRIES and len(list(few.iterdir())) == TRIES + 4
        with pytest.raises((DataError, ConfigError), match=r"^in/part-00002.parquet: .* 3 times"):
            run(workers, partial(failing, many, error, 99))
        assert len(list(many.glob("2-*"))) == TRIES


@pytest.mark.parametrize(
    "error", [DataError("table: wrong"), ValueError("ours"), OSError(errno.ENOSPC, "full")]
)
def test_what_no_further_run_would_change_ends_the_map_at_once(tmp_path, error):
    with cluster(THREADS) as workers, pytest.raises(type(error), match=str(error.args[-1])):
        run(workers, partial(failing, tmp_path, error, 99))
    assert len(list(tmp_path.glob("2-*"))) == 1


@pytest.mark.usefixtures("forked_workers")
def test_a_task_that_kills_its_worker_is_survived_or_named(tmp_path):
    few, many = tmp_path / "few", tmp_path / "many"
    few.mkdir()
    many.mkdir()
    with cluster(PROCESSES) as workers:
        assert run(workers, partial(deadly, few, 1)) == [0, 1, 4, 9, 16]
        with pytest.raises(ConfigError, match=r"^in/part-00002.parquet: the worker died each time"):
            run(workers, partial(deadly, many, 99))
        assert len(list(many.glob("2-*"))) >= TRIES
        assert workers.run(abs, [-1], lambda result: None) == [1]


class Killing(ShownTasks):
    """Tasks each kind of which kills a worker once: while the first task of it runs."""

    def map(self, label, function, items, rows=None, named=str):
        self.folder.mkdir(exist_ok=True)
        mark = self.folder / getattr(function, "func", function).__name__
        return super().map(label, partial(killed_once, mark, function), items, rows, named)


def killed_once(mark, function, item):
    """Run a task to its end, then kill the worker before its result is told: once."""
    if not mark.exists():
        mark.touch()
        (mark.parent / f"{mark.name}.pid{os.getpid()}").touch()
        function(item)
        os.kill(os.getpid(), signal.SIGKILL)
    return function(item)


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".tmp")
    }


@pytest.mark.usefixtures("forked_workers")
def test_stages_whose_workers_are_killed_write_the_same_bytes(tmp_path):
    job = load(HERE / "job.yaml", [f"inputs.folder={HERE / 'inputs'}", "inputs.partitions=3"])
    names = ("ingest", "profile", "score")

    def run_all(root, tasks):
        folders = {name: root / name for name in names}
        for folder in folders.values():
            folder.mkdir(parents=True)
        ingest(job, folders["ingest"], tasks)
        profile.profile(job, folders["ingest"], folders["profile"], tasks)
        score.score(job, folders, folders["score"], tasks)
        return {name: content(folder) for name, folder in folders.items()}

    expected = run_all(tmp_path / "undisturbed", SerialTasks())
    with cluster(PROCESSES) as workers:
        tasks = Killing(workers, Silent())
        tasks.folder = tmp_path / "marks"
        assert run_all(tmp_path / "killed", tasks) == expected
    killed = {path.name.partition(".pid")[0] for path in tasks.folder.glob("*.pid*")}
    shuffled = {f"{phase}_{rows}" for phase in ("scatter", "gather")
                for rows in ("subscribers", "events")}  # fmt: skip
    assert killed > shuffled and len(killed) >= len(shuffled) + 2


def test_a_worker_that_takes_long_to_begin_anew_is_not_given_up():
    with cluster(PROCESSES):
        patience = dask.config.get("distributed.deploy.lost-worker-timeout")
        assert dask.utils.parse_timedelta(patience) >= 3_600  # Dask's own: 15 s, then none is left


def test_a_fragment_is_whole_or_not_there(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError("disk")

    monkeypatch.setattr(shuffle.rows_of, "split", fail)
    job = load(HERE / "job.yaml", [f"inputs.folder={HERE / 'inputs'}"])
    with pytest.raises(OSError, match="disk"):
        ingest(job, tmp_path, SerialTasks())
    assert not list(tmp_path.rglob("*.arrow"))
